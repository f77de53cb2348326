"""What readers of a Kafka keep and do, whichever client carries them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from hark.bus.rules import DELIVERY_SECONDS, METADATA_SECONDS
from hark.core.clock import monotonic
from hark.core.errors import TransientError
from hark.core.protocols import Record

T = TypeVar("T")


class Consumer(Protocol):
    """One consumer of either client, of one topic; its errors are Hark's."""

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        """Return up to `limit` records, waiting up to `timeout_seconds` for the first."""
        ...

    def assigned(self) -> Iterable[int]:
        """Return the partitions that it reads now."""
        ...

    def add(self, partitions: Iterable[int]) -> None:
        """Read these partitions too, from their beginning; for a consumer that is in no group."""
        ...

    def stop_at(self, ends: Mapping[int, int]) -> set[int]:
        """Return which partitions stand at their end or behind it; they bring nothing more."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit next offsets; returns when Kafka has them, or when another member has the partitions."""
        ...

    def close(self) -> None:
        """Leave without a commit."""
        ...


class Tail:
    """A subscription without a group; while the broker is away there is just nothing to poll.

    The consumer follows the partitions `known`; `places` returns the topic's as they are now, so that those that are
    added are followed as well.
    """

    def __init__(self, consumer: Consumer, known: Iterable[int], places: Callable[[], Iterable[int]]) -> None:
        self._consumer = consumer
        self._known = set(known)
        self._places = places
        self._looked = monotonic()
        self._closed = False

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        """Return up to `limit` records, waiting up to `timeout_seconds` for the first."""
        if monotonic() - self._looked > METADATA_SECONDS:
            self._look()
        return self._consumer.poll(limit, timeout_seconds)

    def _look(self) -> None:
        with suppress(TransientError):  # the broker is away: they are looked for later
            if added := set(self._places()) - self._known:
                self._consumer.add(added)
                self._known |= added
        self._looked = monotonic()

    def commit(self) -> None:
        """Do nothing: without a group there is nothing to remember."""

    def close(self) -> None:
        """Leave; idempotent."""
        if not self._closed:
            self._closed = True
            self._consumer.close()


class Member:
    """A static member of a consumer group.

    Poll again without delay while nothing comes: kafka-python drops the outcome of a join that ends between two
    polls and joins once more, so that a caller who is mostly elsewhere may never get in.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._next: dict[int, int] = {}
        self._closed = False

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        """Return up to `limit` records, waiting up to `timeout_seconds` for the first."""
        records = self._consumer.poll(limit, timeout_seconds)
        self._next.update((record.partition, record.offset + 1) for record in records)
        return records

    def commit(self) -> None:
        """Commit the offsets of what was polled; returns when Kafka has them.

        Partitions that have gone to another member meanwhile are left out: what was polled of them is delivered
        again there.
        """
        reached, self._next = self._next, {}
        offsets = {p: reached[p] for p in self._consumer.assigned() if p in reached}
        if offsets:
            self._consumer.commit(offsets)

    def close(self) -> None:
        """Leave without a commit; idempotent. Its partitions wait for it, for a session's time."""
        if not self._closed:
            self._closed = True
            self._consumer.close()


def read(follow: Callable[[], Consumer], ends: Mapping[int, int]) -> Iterator[Record]:
    """Yield what the consumer that `follow` opens on the partitions of `ends` has before these, in order within each."""
    if not ends:
        return
    consumer = follow()
    waiting = dict(ends)
    heard = monotonic()
    try:
        while waiting:
            records = consumer.poll(1000, 1.0)
            done = consumer.stop_at(waiting)
            waiting = {partition: end for partition, end in waiting.items() if partition not in done}
            yield from (record for record in records if record.offset < ends[record.partition])
            if records or done:
                heard = monotonic()
            elif monotonic() - heard > DELIVERY_SECONDS:
                raise TransientError(f"Kafka has sent nothing for {DELIVERY_SECONDS} s")
    finally:
        consumer.close()


def span(
    oldest: Mapping[int, int],
    newest: Mapping[int, int],
    start: Mapping[int, int] | None,
    end: Mapping[int, int] | None,
) -> tuple[dict[int, int], dict[int, int]]:
    """Return where a reading begins and stops in each partition that has something to read."""
    begin = {p: max(offset, (start or {}).get(p, offset)) for p, offset in oldest.items()}
    stop = {p: min(offset, (end or {}).get(p, offset)) for p, offset in newest.items()}
    begin = {p: n for p, n in begin.items() if n < stop[p]}
    return begin, {p: stop[p] for p in begin}


def patiently(seconds: float, call: Callable[[], T], passes: Callable[[Exception], bool]) -> T:
    """Return what `call` returns; after an error that passes by itself try again, for `seconds`."""
    deadline = monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if monotonic() > deadline or not passes(error):
                raise
        time.sleep(0.1)
