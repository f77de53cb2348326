"""The loops of the roles: collect, enrich, index. Each knows the log before it and the log after it.

All three have the same order of steps: read, work, publish, and only then move the cursor or the offset. A
process that is killed anywhere in between does the batch again; ids and versions make that harmless.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import structlog

from hark import metrics
from hark.bus import messages_of, publish_each
from hark.core.change import (
    ENRICHED,
    MENTIONS,
    REJECTED,
    Change,
    Deleted,
    Edited,
    Item,
    Labelled,
    Rejected,
    Seen,
    Tagged,
    decode_change,
    decode_item,
    encode,
    key_of,
)
from hark.core.clock import Clock, monotonic, now, to_ms
from hark.core.errors import FatalError, RefusedError, SettingsError, TransientError
from hark.core.mention import Enrichment, Mention, source_of
from hark.core.protocols import Batch, Bus, Record, Refusal, Source, Subscription
from hark.ledger import advance, notice_losses
from hark.state import State

T = TypeVar("T")
log = structlog.get_logger()
ENRICH_BATCH = 1_000
INDEX_BATCH = 2_000  # a server of an index answers few large requests sooner than many small ones
POLL_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
_REMEMBERED_IDS = 100_000
_SHORTEST_ORIGINAL_BYTES = 1_000
_LONGEST_ORIGINAL_BYTES = 12_000_000  # a third more as text in JSON, it fits into a message of the log


class Tagger(Protocol):
    """What `enrich_loop` needs of the chain."""

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return one enrichment a mention, in order."""
        ...


class Writes(Protocol):
    """What `index_loop` needs of the store."""

    def write(self, items: Sequence[Item], records: Sequence[bytes]) -> list[Refusal]:
        """See Store.write."""
        ...


def wait_out(work: Callable[[], T], stop: threading.Event, what: str) -> T | None:
    """Return the result of `work`, trying again while something it needs is away; None once `stop` is set."""
    delay = 0.1
    while not stop.is_set():
        try:
            return work()
        except TransientError as error:
            pause = min(error.wait_seconds or delay, LONGEST_WAIT_SECONDS)
            log.warning("waiting", what=what, reason=str(error), seconds=round(pause, 1))
            stop.wait(pause)
            delay = min(delay * 2, 5.0)
    return None


def done(work: Callable[[], object], stop: threading.Event, what: str) -> bool:
    """Do `work`, trying again while something it needs is away; False when `stop` came first."""

    def run() -> bool:
        work()
        return True

    return wait_out(run, stop, what) is True


class Collector:
    """Runs one source: publishes what it reads, then saves its cursor, and starts it again when it fails."""

    def __init__(
        self,
        source: Source,
        bus: Bus,
        state: State,
        matches_brand: Callable[[Mention], bool],
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._bus = bus
        self._state = state
        self._matches_brand = matches_brand
        self._stop = stop
        # A firehose's deletions are kept only for what was kept; the newest ids are not registered yet.
        self._recent: OrderedDict[str, None] = OrderedDict()

    def run(self) -> None:
        """Read until `stop`, or until a finite source has ended or cannot work with its settings."""
        delay = 0.5
        name = self._source.name
        while not self._stop.is_set():
            try:
                self._read()
                return
            except SettingsError as error:
                self._report(str(error))
                pause = 60.0  # credentials may be mended meanwhile; the other sources go on
            except TransientError as error:
                self._report(str(error))
                pause = error.wait_seconds or delay
                delay = min(delay * 2, 60.0)
            metrics.source_errors.labels(name).inc()
            self._stop.wait(pause)

    def _read(self) -> None:
        name = self._source.name
        if self._source.firehose:
            # What was published last, before this process began, is not registered: its deletion would pass as foreign.
            done(partial(advance, self._bus, self._state), self._stop, "ledger")
        cursor = wait_out(lambda: [self._state.cursor(name)], self._stop, "state")
        if cursor is None:
            return
        for batch in self._source.read(cursor[0], self._stop):
            if not done(partial(self._take, batch), self._stop, name):
                return  # stopped before it was durable: the cursor stands where it stood

    def _take(self, batch: Batch) -> None:
        name = self._source.name
        kept = self._of_interest(batch.changes) if self._source.firehose else list(batch.changes)
        refused = publish_taken(self._bus, MENTIONS, kept)
        publish_rejected(self._bus, [*batch.rejected, *refused])
        newest = max((to_ms(c.mention.created_at) for c in kept if isinstance(c, Seen)), default=None)
        unmatched = len(batch.changes) - len(kept)
        self._state.save_batch(name, batch, len(kept), unmatched, newest)
        metrics.published.labels(name).inc(len(kept))
        metrics.unmatched.labels(name).inc(unmatched)
        metrics.reads.labels(name).inc(batch.reads)

    def _of_interest(self, changes: Sequence[Change]) -> list[Change]:
        kept: list[Change] = []
        for change in changes:
            if isinstance(change, Seen | Edited) and self._matches_brand(change.mention):
                self._recent[change.mention.id] = None
                if len(self._recent) > _REMEMBERED_IDS:
                    self._recent.popitem(last=False)
                kept.append(change)
            elif self._is_ours(key_of(change)):
                kept.append(change)  # a deletion, or an edit that no longer names the brand
        return kept

    def _is_ours(self, id: str) -> bool:
        return id in self._recent or bool(self._state.known([id]))

    def _report(self, reason: str) -> None:
        log.error("source stopped", source=self._source.name, reason=reason)
        done(partial(self._state.save_error, self._source.name, reason), self._stop, "state")


def enrich_loop(
    subscription: Subscription,
    chain: Tagger,
    bus: Bus,
    stop: threading.Event,
    clock: Clock = now,
    topic: str = ENRICHED,
) -> None:
    """Tag what is new in topic `mentions` and publish it to `topic`, until `stop`."""
    while not stop.is_set():
        records = wait_out(lambda: subscription.poll(ENRICH_BATCH, POLL_SECONDS), stop, "log")
        if not records:
            continue
        begin = monotonic()
        items, refused = _tag(records, chain, clock)
        too_large = wait_out(partial(publish_taken, bus, topic, items, "index", clock), stop, "log")
        if too_large is None:
            return
        refused += too_large
        if not done(partial(publish_rejected, bus, refused), stop, "log"):
            return
        done(subscription.commit, stop, "log")
        metrics.enriched.inc(len(items))
        metrics.stage_seconds.labels("enrich").observe(monotonic() - begin)


def index_loop(
    subscription: Subscription,
    store: Writes,
    bus: Bus,
    stop: threading.Event,
    clock: Clock = now,
    live: bool = True,
) -> None:
    """Write what is new in topic `enriched` to the store, until `stop`; history (not `live`) is not timed."""
    while not stop.is_set():
        records = wait_out(lambda: subscription.poll(INDEX_BATCH, POLL_SECONDS), stop, "log")
        if not records:
            continue
        begin = monotonic()
        items, refused = _decode(records, clock)
        write = partial(store.write, [item for item, _ in items], [record for _, record in items])
        failures = wait_out(write, stop, "store")
        if failures is None:
            return
        for failure in failures:
            item, original = items[failure.index]
            refused.append(reject(key_of(item), "index", failure.reason, original, clock))
        if not done(partial(publish_rejected, bus, refused), stop, "log"):
            return
        done(subscription.commit, stop, "log")
        metrics.indexed.inc(len(items) - len(failures))
        metrics.stage_seconds.labels("index").observe(monotonic() - begin)
        present = clock()
        for item, _ in items:
            if live and isinstance(item, Tagged):
                metrics.freshness.observe((present - item.mention.collected_at).total_seconds())


def ledger_loop(bus: Bus, state: State, stop: threading.Event, interval_seconds: float = 2.0) -> None:
    """Keep the ledger's register up with the log, until `stop`."""
    while not stop.is_set():
        done(partial(notice_losses, bus, state), stop, "ledger")
        done(partial(advance, bus, state), stop, "ledger")
        stop.wait(interval_seconds)


def publish_items(bus: Bus, items: Sequence[Item], topic: str) -> None:
    """Append `items` to `topic`; returns when they are durable. Raises as Bus.publish does."""
    if items:
        bus.publish(topic, messages_of(items))


def publish_taken(
    bus: Bus, topic: str, things: Sequence[Change | Item], stage: str = "enrich", clock: Clock = now
) -> list[Rejected]:
    """Append `things` to `topic`; returns, when they are durable, those that it does not take, refused for `stage`."""
    messages = messages_of(things)
    return [
        reject(messages[at][0], stage, reason, messages[at][1], clock)
        for at, reason in publish_each(bus, topic, messages)
    ]


def publish_rejected(bus: Bus, rejected: Sequence[Rejected]) -> None:
    """Append `rejected` to the topic of that name; returns when they are durable.

    Of bytes that are more than a message of the log holds, the first are kept, and the reason says so.
    """
    waiting, longest = list(rejected), _LONGEST_ORIGINAL_BYTES
    while waiting:
        messages = [(item.id, encode(_fitting(item, longest))) for item in waiting]
        refused = publish_each(bus, REJECTED, messages)
        if refused and longest < _SHORTEST_ORIGINAL_BYTES:
            raise FatalError(f"topic {REJECTED}: {refused[0][1]}; and not even its beginning")
        waiting, longest = [waiting[at] for at, _ in refused], longest // 4
    for item in rejected:
        metrics.rejected.labels(item.stage).inc()


def reject(id: str, stage: str, reason: str, original: bytes, clock: Clock) -> Rejected:
    """Return what goes into the rejected log for one item of a stage."""
    return Rejected(id, source_of(id), stage, reason, original, clock())  # type: ignore[arg-type]


def _fitting(item: Rejected, longest: int) -> Rejected:
    size = len(item.original)
    if size <= longest:
        return item
    reason = f"{item.reason}; of its {size:,} bytes the first {longest:,} are kept here"
    return msgspec.structs.replace(item, reason=reason, original=item.original[:longest])


def _tag(records: Sequence[Record], chain: Tagger, clock: Clock) -> tuple[list[Item], list[Rejected]]:
    """Return the items in the order of their records, and those that cannot be read or tagged."""
    slots: list[Item | Mention] = []
    originals: dict[str, bytes] = {}
    refused: list[Rejected] = []
    for record in records:
        try:
            change = decode_change(record.value)
        except RefusedError as error:
            refused.append(reject(record.key, "enrich", str(error), record.value, clock))
            continue
        if isinstance(change, Deleted | Labelled):
            slots.append(change)
        else:
            slots.append(change.mention)
            originals[change.mention.id] = record.value
    mentions = [slot for slot in slots if isinstance(slot, Mention)]
    tags = dict(zip(map(id, mentions), _tag_each(mentions, chain, refused, originals, clock), strict=True))
    items: list[Item] = []
    for slot in slots:
        if not isinstance(slot, Mention):
            items.append(slot)
        elif (enrichment := tags[id(slot)]) is not None:
            items.append(Tagged(slot, enrichment))
    return items, refused


def _tag_each(
    mentions: Sequence[Mention],
    chain: Tagger,
    refused: list[Rejected],
    originals: dict[str, bytes],
    clock: Clock,
) -> Sequence[Enrichment | None]:
    try:
        return chain.tag(mentions)
    except Exception as error:  # noqa: BLE001 - an enricher's bug must cost one mention, not stop the log
        if len(mentions) == 1:
            (mention,) = mentions
            log.error("not tagged", id=mention.id, error=repr(error))
            reason = f"could not be tagged: {type(error).__name__}: {error}"
            refused.append(reject(mention.id, "enrich", reason, originals[mention.id], clock))
            return [None]
        return [
            tags for mention in mentions for tags in _tag_each([mention], chain, refused, originals, clock)
        ]


def _decode(records: Sequence[Record], clock: Clock) -> tuple[list[tuple[Item, bytes]], list[Rejected]]:
    items: list[tuple[Item, bytes]] = []
    refused: list[Rejected] = []
    for record in records:
        try:
            items.append((decode_item(record.value), record.value))
        except RefusedError as error:
            refused.append(reject(record.key, "index", str(error), record.value, clock))
    return items, refused
