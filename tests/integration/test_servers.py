"""The real servers that other tests stand on: they answer, and keep their data through a SIGKILL."""

import json
import urllib.request

import psycopg
from kafka import KafkaAdminClient

from tests.support.servers import ElasticsearchServer, KafkaServer, PostgresServer


def _topics(bootstrap: str) -> set[str]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return set(admin.list_topics())
    finally:
        admin.close()


def test_kafka_keeps_its_topics_through_a_kill(kafka_server: KafkaServer, kafka: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics({"servers.kept": {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    kafka_server.kill()
    kafka_server.start()
    assert "servers.kept" in _topics(kafka)


def test_elasticsearch_keeps_its_documents_through_a_kill(
    elasticsearch_server: ElasticsearchServer, elasticsearch: str
) -> None:
    document = f"{elasticsearch}/servers-kept/_doc/1"
    request = urllib.request.Request(
        document, json.dumps({"kept": True}).encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    elasticsearch_server.kill()
    elasticsearch_server.start()
    with urllib.request.urlopen(document) as answer:
        assert json.load(answer)["_source"] == {"kept": True}


def test_postgres_keeps_its_rows_through_a_kill(postgres_server: PostgresServer, postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    postgres_server.kill()
    postgres_server.start()
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
