"""Promise 1 under SIGKILL: the short runs of `make test`, and the long ones of `make chaos`."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.run import Plan, run_chaos
from tests.support.servers import ElasticsearchServer, KafkaServer

SHORT = Plan(mentions=10_000, kills=8, broker_kills=1, store_away_seconds=8, files=5)
LONG = Plan(mentions=50_000, kills=24, broker_kills=2, store_away_seconds=60)


def _seed() -> int:
    return int(os.environ.get("HARK_CHAOS_SEED") or random.randrange(1_000_000))


def _cluster(kafka: KafkaServer, elasticsearch: ElasticsearchServer, scheme: str = "kafka") -> dict[str, str]:
    return {"HARK_BUS": f"{scheme}://{kafka.url}", "HARK_STORE": f"elasticsearch+{elasticsearch.url}"}


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    server = KafkaServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_elasticsearch() -> Iterator[ElasticsearchServer]:
    server = ElasticsearchServer()
    server.start()
    yield server
    server.remove()


def test_nothing_is_lost_or_double_when_embedded_roles_are_killed(tmp_path: Path) -> None:
    run_chaos(tmp_path, SHORT, _seed(), {}, None, None)


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_double_when_kafka_elasticsearch_and_roles_are_killed(
    tmp_path: Path, own_kafka: KafkaServer, own_elasticsearch: ElasticsearchServer
) -> None:
    environment = _cluster(own_kafka, own_elasticsearch)
    run_chaos(tmp_path, SHORT, _seed(), environment, own_kafka, own_elasticsearch)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_the_long_run_on_the_embedded_parts(tmp_path: Path) -> None:
    run_chaos(tmp_path, LONG, _seed(), {}, None, None)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scheme", ["kafka", "kafka+confluent"])
def test_the_long_run_on_kafka_and_elasticsearch(
    tmp_path: Path, own_kafka: KafkaServer, own_elasticsearch: ElasticsearchServer, scheme: str
) -> None:
    environment = _cluster(own_kafka, own_elasticsearch, scheme)
    run_chaos(tmp_path, LONG, _seed(), environment, own_kafka, own_elasticsearch)
