"""Builds a generation: history goes from the store that is shown into the generation's own log, a page at a time.

The order of steps is that of every role: publish, and only when that is durable move the cursor. Killed anywhere,
it sends its last page again, which ids and versions make harmless. It never runs far ahead of the workers, so that
the log holds little of history twice.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import structlog

from hark.core.change import ENRICHED, Seen, Tagged
from hark.core.clock import Clock, from_ms, monotonic, now, to_ms
from hark.core.protocols import Bus, Hit, Store
from hark.generations import Way, lag, passed
from hark.ledger import INDEX_GROUP
from hark.roles import publish_items, wait_out
from hark.state.generations import Generation, Generations

log = structlog.get_logger()
PAGE = 500
AHEAD = 5_000
"""Records that may wait on the way before more are sent."""
PAUSE_SECONDS = 0.1


class Feeder:
    """Sends the history of `source` to the generation `number`, phase after phase, each of which may be repeated.

    align   wait until the store holds all that was below the offsets where the generation's own way begins
    remarks send what persons said, and the tombstones
    rows    send the mentions, oldest first: those of `since` or later to be tagged again, older ones as they are
    settle  wait until all of it is in the new store
    """

    def __init__(
        self,
        number: int,
        generations: Generations,
        bus: Bus,
        source: Store,
        stop: threading.Event,
        clock: Clock = now,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        """`ticks` are the seconds that the rate is kept by."""
        self._number = number
        self._way = Way(number)
        self._generations = generations
        self._bus = bus
        self._source = source
        self._stop = stop
        self._clock = clock
        self._ticks = ticks

    def run(self) -> bool:
        """Do what is left; True when the generation is ready, False when `stop` came first."""
        phases: dict[str, Callable[[Generation], None]] = {
            "align": self._align,
            "remarks": self._remarks,
            "rows": self._rows,
            "settle": self._settle,
        }
        while not self._stop.is_set():
            generation = next(each for each in self._generations.all() if each.number == self._number)
            if generation.status != "building":
                return generation.status == "ready"
            phases[generation.phase](generation)
        return False

    def _align(self, generation: Generation) -> None:
        ends = msgspec.json.decode(generation.ends, type=dict[int, int])
        if self._until(lambda: passed(self._bus.committed(ENRICHED, INDEX_GROUP), ends)):
            self._generations.save(self._number, phase="remarks")

    def _remarks(self, generation: Generation) -> None:
        del generation
        some = []
        for remark in self._source.remarks():
            some.append(remark)
            if len(some) == PAGE:
                publish_items(self._bus, some, self._way.enriched)
                some = []
                if not self._until(self._has_room):
                    return
        publish_items(self._bus, some, self._way.enriched)
        self._generations.save(self._number, phase="rows")

    def _rows(self, generation: Generation) -> None:
        since = None if generation.since_ms is None else from_ms(generation.since_ms)
        cursor, due = generation.cursor, self._ticks()
        size = min(PAGE, max(1, int(generation.rate))) if generation.rate else PAGE
        while self._until(self._has_room):
            page, after = self._source.history(cursor, size)
            if after is None:
                self._generations.save(self._number, phase="settle")
                return
            again, kept = divide(page, since)
            publish_items(self._bus, kept, self._way.enriched)
            self._bus.publish(self._way.history, again)
            self._generations.advance(self._number, after, len(page))
            cursor = after
            if generation.rate:
                due = max(due, self._ticks() - 1) + len(page) / generation.rate
                self._stop.wait(max(0.0, due - self._ticks()))

    def _settle(self, generation: Generation) -> None:
        del generation
        for topic, group in (
            (self._way.history, self._way.history_group),
            (self._way.enriched, self._way.index_group),
        ):
            ends = self._bus.ends(topic)
            if not self._until(lambda: passed(self._bus.committed(topic, group), ends)):  # noqa: B023
                return
        self._generations.save(
            self._number, status="ready", phase="emptying", ready_ms=to_ms(self._clock()), ends=""
        )
        log.info("generation is ready", generation=self._number)

    def _has_room(self) -> bool:
        return (
            lag(self._bus, self._way.history, self._way.history_group)
            + lag(self._bus, self._way.enriched, self._way.index_group)
            < AHEAD
        )

    def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for `condition`; False when `stop` came first."""
        while not self._stop.is_set():
            if condition():
                return True
            self._stop.wait(PAUSE_SECONDS)
        return False


def feed(feeder: Feeder, stop: threading.Event) -> None:
    """Run a feeder, again and again while something that it needs is away, until it is done or `stop`."""
    wait_out(feeder.run, stop, "history")


def divide(page: Sequence[Hit], since: datetime | None) -> tuple[list[tuple[str, bytes]], list[Tagged]]:
    """Return what is to be tagged again, as messages, and what keeps its tags."""
    again = [hit for hit in page if since is None or hit.mention.created_at >= since]
    kept = [hit for hit in page if since is not None and hit.mention.created_at < since]
    messages = [(hit.mention.id, msgspec.json.encode(Seen(hit.mention))) for hit in again]
    return messages, [Tagged(hit.mention, hit.enrichment) for hit in kept]
