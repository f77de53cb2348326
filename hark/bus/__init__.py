"""The log between the stages: one literal table of its implementations, each loaded when it is named."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from hark.core.change import MENTIONS, Change, encode, key_of
from hark.core.errors import SettingsError
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
        bus.publish(MENTIONS, [(key_of(change), encode(change)) for change in changes])
