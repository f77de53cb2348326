"""What every test may ask for: the real servers, each started on first use and once a test session."""

import gc
from collections.abc import Iterator
from typing import TypeVar

import hypothesis
import pytest

from tests.support.servers import ElasticsearchServer, KafkaServer, PostgresServer, Server

S = TypeVar("S", bound=Server)

# A slow moment of the machine is no finding of a property test.
hypothesis.settings.register_profile("hark", deadline=None)
hypothesis.settings.load_profile("hark")


def pytest_configure(config: pytest.Config) -> None:
    """Let pass what a dependency does at its import and only its authors can mend."""
    # kafka-python reads its schemas with importlib.resources.read_text
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")
    # Apprise's mail with PGP imports imghdr
    config.addinivalue_line("filterwarnings", "ignore:'imghdr' is deprecated:DeprecationWarning")
    # and one whose login or certificate was refused
    config.addinivalue_line("filterwarnings", r"ignore:unclosed <ssl.SSLSocket:ResourceWarning")
    # kafka-python leaves a socket whose connection was refused to the garbage collector; it has no address of its own yet
    config.addinivalue_line(
        "filterwarnings", r"ignore:unclosed <socket.*laddr=\('0\.0\.0\.0':ResourceWarning"
    )


def pytest_sessionfinish() -> None:
    """Collect here what the clients of the last tests leave: after this, pytest forgets what is let pass above."""
    gc.collect()


def _running(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """Kafka itself, for tests that kill it; they start it again before they end."""
    yield from _running(KafkaServer())


@pytest.fixture(scope="session")
def elasticsearch_server() -> Iterator[ElasticsearchServer]:
    """Elasticsearch itself, for tests that kill it; they start it again before they end."""
    yield from _running(ElasticsearchServer())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL itself, for tests that kill it; they start it again before they end."""
    yield from _running(PostgresServer())


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> str:
    """Return the bootstrap string of a running Kafka."""
    kafka_server.start()
    return kafka_server.url


@pytest.fixture
def elasticsearch(elasticsearch_server: ElasticsearchServer) -> str:
    """Return the http address of a running Elasticsearch."""
    elasticsearch_server.start()
    return elasticsearch_server.url


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> str:
    """Return the address of a running PostgreSQL's database, postgresql://…"""
    postgres_server.start()
    return postgres_server.url
