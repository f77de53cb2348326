"""A cluster whose partitions are without a leader for as many answers as a test says.

A real broker is in this state for an instant after its restart, which no test can hold on to. So librdkafka's own
brokers of its tests are used, that speak Kafka's protocol on loopback (rdkafka_mock.h).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

PRODUCER = 0
NOBODY, BROKER = -1, 1


class Cluster:
    """One broker at `hosts`."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle
        self.hosts: str = library.rd_kafka_mock_cluster_bootstraps(handle).decode()

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; each partition has a leader."""
        error = self._library.rd_kafka_mock_topic_create(self._handle, topic.encode(), partitions, 1)
        assert error == 0, error

    def lose_leader(self, topic: str, partition: int, answers: int) -> None:
        """Say in the next `answers` metadata that the partition has no leader."""
        for _ in range(answers):
            error = self._library.rd_kafka_mock_partition_push_leader_response(
                self._handle, topic.encode(), partition, NOBODY, 0
            )
            assert error == 0, error


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a cluster of one broker."""
    (file,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*.so*")
    library = ctypes.CDLL(str(file))
    for name in ("conf_new", "new", "mock_cluster_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    reason = ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    client = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, configuration, reason, len(reason)))
    assert client, reason.value
    handle = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    try:
        yield Cluster(library, handle)
    finally:
        library.rd_kafka_mock_cluster_destroy(handle)
        library.rd_kafka_destroy(client)
