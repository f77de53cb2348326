"""The log on a real Kafka, through kafka-python, keeps the contract."""

from tests.contract.kafka_contract import KafkaContract


class TestKafkaBus(KafkaContract):
    scheme = "kafka"
