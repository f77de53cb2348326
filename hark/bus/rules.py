"""What every log agrees on: which messages it takes, and how Kafka's topics and members are set up."""

import re
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta

from hark.core.errors import RefusedError, SettingsError
from hark.settings import LogSettings

MAX_MESSAGE_BYTES = 16 << 20
# room for what Kafka wraps around a message
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES + (1 << 20)
# Long enough for a broker to restart; after that the caller hears of it and decides.
DELIVERY_SECONDS = 60
REQUEST_SECONDS = 10
# A static member that comes back within this time finds its partitions as they were, at once; one that is gone for
# good is missed for as long. Longer than a broker's restart: a session that ends meanwhile costs librdkafka its
# place in the group, and the process a restart.
SESSION_SECONDS = 30
HEARTBEAT_SECONDS = 3
SEGMENT_MS = 86_400_000
"""Kafka removes whole segments: one that is filled for a day is gone a day after its first record could be."""
_REMOVING = timedelta(minutes=10)
"""A broker looks every five minutes for what is past retention, and takes a minute to remove it, unless it is told else."""
# How soon partitions that an operator adds to a topic are read and counted. A member that joins before its broker
# knows of a new topic is given no partition until it asks again, too.
METADATA_SECONDS = 10

_HOST = re.compile(r"[A-Za-z0-9.-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def encode(messages: Sequence[tuple[str, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the messages with their keys as bytes; raise RefusedError for the first that no log takes."""
    encoded = []
    for key, value in messages:
        try:
            encoded.append((key.encode(), value))
        except UnicodeEncodeError as error:
            raise RefusedError(f"the key {key!r} is not valid Unicode") from error
        if len(key) + len(value) > MAX_MESSAGE_BYTES:
            raise RefusedError(too_large(key, len(value)))
    return encoded


def decode(key: bytes | None, value: bytes | None) -> tuple[str, bytes]:
    """Return key and value as Hark gives them on; a foreign program may have written neither, or a key that is no text."""
    return (key or b"").decode("utf-8", "replace"), value or b""


def too_large(key: str, size: int) -> str:
    """Return the reason why a message of `size` bytes is refused."""
    return f"the message {key[:200]} of {size:,} bytes is larger than the log takes ({MAX_MESSAGE_BYTES:,})"


def too_large_for(topic: str, key: str, size: int) -> str:
    """Return the reason why Kafka refused a message of `size` bytes: its topic is set to less than Hark's own are."""
    return (
        f"the message {key[:200]} of {size:,} bytes, or what was sent with it, is larger than Kafka's topic {topic} takes: "
        f"set its max.message.bytes to {MAX_BATCH_BYTES}"
    )


def check_name(what: str, name: str) -> None:
    """Raise SettingsError unless `name` can name a topic or a group in every log."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"a {what} has a name of at most 64 letters, digits, '.', '_' and '-', not {name!r}"
        )


def check_share(share: tuple[int, int]) -> None:
    """Raise SettingsError unless `share` says which member of how many."""
    member, members = share
    if not 0 <= member < members:
        raise SettingsError(f"there is no member {member} of {members}; the first is 0")


def check_hosts(scheme: str, hosts: str) -> None:
    """Raise SettingsError unless `hosts` is host:port or several of them with commas between."""
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise SettingsError(
            f"bus: expected {scheme}://host:port or {scheme}://host:port,host:port, found {hosts!r}"
        )


def topic_config(log: LogSettings) -> dict[str, str]:
    """Return the settings of a Kafka topic that Hark creates."""
    retention = int(log.retention_days * 86_400_000)
    return {
        "retention.ms": str(retention),
        "segment.ms": str(min(retention, SEGMENT_MS)),
        "max.message.bytes": str(MAX_BATCH_BYTES),
    }


def kept_by(config: Mapping[str, str | None]) -> timedelta | None:
    """Return how long a Kafka topic of these settings may keep a record at most; None: no end is set.

    A segment is removed when its newest record is past retention, and takes records for `segment.ms`.
    """
    retention = int(config.get("retention.ms") or -1)
    if retention < 0 or "delete" not in (config.get("cleanup.policy") or "delete"):
        return None
    return timedelta(milliseconds=retention + int(config.get("segment.ms") or 0)) + _REMOVING


def next_offsets(oldest: Mapping[int, int], commits: Mapping[int, int]) -> dict[int, int]:
    """Return, for each partition, where a group goes on: at its commit, at the oldest record without one (below 0)."""
    return {partition: max(offset, commits.get(partition, -1)) for partition, offset in oldest.items()}


def gone_before(oldest: Mapping[int, int], commits: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return, where there are any, the offsets from and up to which records went before a group had processed them."""
    return {p: (commits[p], offset) for p, offset in oldest.items() if 0 <= commits.get(p, -1) < offset}


def member_name(topic: str, group: str, share: tuple[int, int]) -> str:
    """Return the name of a static member: the same after a restart, another on another machine."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]
    return f"{topic}-{group}-{host}-{share[0]}-of-{share[1]}"
