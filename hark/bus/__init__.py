"""The log between the stages: one literal table of its implementations, each loaded when it is named."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from hark.core.change import MENTIONS, Change, Item, encode, key_of
from hark.core.errors import RefusedError, SettingsError
from hark.core.protocols import Bus
from hark.settings import LogSettings

# The scheme of an address names a module here, whose `connect(address, data, log)` opens the log.
BUSES = {
    "embedded": "hark.bus.embedded",
    "kafka": "hark.bus.kafka",
    "kafka+ssl": "hark.bus.kafka",
    "kafka+confluent": "hark.bus.confluent",
    "kafka+confluent+ssl": "hark.bus.confluent",
}


def open_bus(address: str, data: Path, log: LogSettings | None = None) -> Bus:
    """Open the log at `address`: "embedded", "kafka://host:port,…" or "kafka+confluent://host:port,…"; +ssl: by TLS.

    `data` is the folder where the embedded log lives; `log` holds partitions, retention and replication of
    topics that are created. Nothing is contacted yet. Raises SettingsError for an address that names no log.
    """
    scheme = address.partition("://")[0]
    if scheme not in BUSES:
        raise SettingsError(f"bus: unknown kind {scheme!r}; expected one of {', '.join(sorted(BUSES))}")
    connect: Callable[[str, Path, LogSettings], Bus] = import_module(BUSES[scheme]).connect
    return connect(address, data, log or LogSettings())


def publish_changes(bus: Bus, changes: Sequence[Change]) -> None:
    """Append `changes` to topic `mentions`; returns when they are durable. Raises as Bus.publish does."""
    if changes:
        bus.publish(MENTIONS, messages_of(changes))


def messages_of(things: Sequence[Change | Item]) -> list[tuple[str, bytes]]:
    """Return changes or items as (key, value)."""
    return [(key_of(thing), encode(thing)) for thing in things]


def publish_each(bus: Bus, topic: str, messages: Sequence[tuple[str, bytes]]) -> list[tuple[int, str]]:
    """Append (key, value) pairs and return (index, reason) of those that the log will not take.

    Returns when the others are durable. Of a Kafka topic whose messages may be smaller than Hark's, one that is too
    large must not hold up all that comes after it. Raises TransientError while the log is away: publish all again.
    """
    if not messages:
        return []
    try:
        bus.publish(topic, messages)
    except RefusedError as error:
        if len(messages) == 1:
            return [(0, str(error))]
        half = len(messages) // 2  # the first half first: changes of one key keep their order
        first = publish_each(bus, topic, messages[:half])
        return first + [(half + at, why) for at, why in publish_each(bus, topic, messages[half:])]
    return []
