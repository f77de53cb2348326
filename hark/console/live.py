"""What is tagged right now, to every open feed: one thread follows the log and fans out to the browsers' queues.

An event's id is the place in the log after it, so that a browser that comes back continues where it was: what it
missed is read from the log, as far as that is not too much. A queue is bounded: a feed that cannot keep up gets a
sample, and is told how much was left out.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from heapq import merge

import msgspec
import structlog
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool

from hark.console.center import within
from hark.core.change import ENRICHED, Deleted, Item, Labelled, Tagged, decode_item
from hark.core.errors import RefusedError, SettingsError, TransientError
from hark.core.protocols import Bus, Record, Subscription
from hark.core.tree import Query
from hark.query.fields import Taxonomy
from hark.query.match import Document, MatcherSet

log = structlog.get_logger()
POLL_SECONDS = 0.2
MOST_AT_ONCE = 200
"""Mentions that one feed takes of one poll of the log: more come only while history is read, and nobody reads so fast."""
MOST_WAITING = 500
MOST_MISSED = 5_000
"""Records of the log that are read again for a browser that comes back; beyond that it starts anew."""
GATHER_SECONDS = 0.05
PING_SECONDS = 10.0
LOOK_SECONDS = 5.0
_REMEMBERED = 2_000

Show = Callable[[Tagged], dict[str, object]]
"""Returns what is sent of a mention."""


class _Event:
    """One event, in the forms in which feeds want it; each is made once, when first wanted."""

    def __init__(self, place: str, item: Item, brief: bool = False) -> None:
        self.place = place
        self.item = item
        self.brief = brief
        """Nothing but that the mention was edited: it does not match the feed's query any more."""
        self._made: dict[Show, bytes] = {}

    def bytes_for(self, show: Show) -> bytes:
        """Return the event as it is sent."""
        made = self._made.get(show)
        if made is None:
            made = self._made[show] = self._make(show)
        return made

    def _make(self, show: Show) -> bytes:
        match self.item:
            case Tagged(mention) if self.brief:
                return event("changed", {"id": mention.id}, self.place)
            case Tagged():
                return event("mention", show(self.item), self.place)
            case Deleted(id):
                return event("gone", {"id": id}, self.place)
            case Labelled(id, tag, value, by):
                return event("labelled", {"id": id, "tag": tag, "value": value, "by": by}, self.place)


class Feed:
    """One open stream. Made by `Live.join`; its queue is the event loop's alone."""

    def __init__(self, query: Query, brands: tuple[str, ...] | None, show: Show) -> None:
        self.query = within(query, brands)
        self.brands = brands
        self.show = show
        self.begin: dict[int, int] = {}
        """The place in the log from which on the queue is filled."""
        self.skipped = 0
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._sent: OrderedDict[str, None] = OrderedDict()

    def shows(self, id: str) -> bool:
        """Say whether this feed may hear of what became of a mention: one of limited sight, of what it was sent."""
        return self.brands is None or id in self._sent

    def remember(self, id: str) -> None:
        """Note that a mention was sent to a feed of limited sight."""
        if self.brands is not None:
            self._sent[id] = None
            if len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)

    def put(self, events: Sequence[bytes], skipped: int) -> None:
        """Hand over events, from the follower's thread."""
        # When the loop has ended already, so has whoever listened.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, events, skipped)

    def close(self) -> None:
        """End the stream, from any thread."""
        self.closed = True
        self.put((), 0)

    def _take(self, events: Sequence[bytes], skipped: int) -> None:
        self._waiting.extend(events)
        self.skipped += skipped
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.skipped += 1
        self._wake.set()

    async def chunks(self, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield what is to be sent, until closed, or until `allowed` says no (asked every few seconds)."""
        loop = asyncio.get_running_loop()
        looked = spoke = loop.time()
        while not self.closed:
            try:
                await asyncio.wait_for(self._wake.wait(), min(PING_SECONDS, LOOK_SECONDS))
                await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                pass
            self._wake.clear()
            if loop.time() - looked >= LOOK_SECONDS:
                looked = loop.time()
                if not await run_in_threadpool(allowed):
                    yield event("over", {})
                    return
            parts = [*self._waiting]
            self._waiting.clear()
            if self.skipped:
                parts.append(event("sampled", {"skipped": self.skipped}))
                self.skipped = 0
            if parts:
                spoke = loop.time()
                yield b"".join(parts)
            elif loop.time() - spoke >= PING_SECONDS:
                spoke = loop.time()
                yield b": ping\n\n"


class Live:
    """Follows the log for all open feeds. Safe to use from any thread; the follower starts with the first feed."""

    def __init__(self, bus: Bus, taxonomy: Taxonomy) -> None:
        self._bus = bus
        self._taxonomy = taxonomy
        self._lock = threading.Lock()
        self._feeds: dict[Query, list[Feed]] = {}
        self._queries: list[Query] = []
        self._matchers = MatcherSet([])
        self._places: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, feed: Feed) -> None:
        """Fill the feed's queue from now on; `feed.begin` is where now is. May block; raises TransientError."""
        with self._lock:
            if self._thread is None:
                # Subscribed first: what lies before the ends is then known to be seen by nobody twice.
                subscription = self._bus.subscribe(ENRICHED, None)
                self._places = dict(self._bus.ends(ENRICHED))
                self._thread = threading.Thread(
                    target=self._follow, args=(subscription,), name="feed", daemon=True
                )
                self._thread.start()
            feed.begin = dict(self._places)
            self._feeds.setdefault(feed.query, []).append(feed)
            self._prepare()

    def leave(self, feed: Feed) -> None:
        """Forget a feed."""
        with self._lock:
            others = [other for other in self._feeds.get(feed.query, ()) if other is not feed]
            if others:
                self._feeds[feed.query] = others
            else:
                self._feeds.pop(feed.query, None)
            self._prepare()

    def missed(self, feed: Feed, place: str) -> list[bytes] | None:
        """Return the events between `place` and the feed's begin; None when that is too much or too long ago."""
        start = read_place(place)
        oldest = self._bus.starts(ENRICHED)
        known = {partition: offset for partition, offset in start.items() if partition in feed.begin}
        if any(known.get(partition, 0) < begin for partition, begin in oldest.items()):
            return None
        gap = sum(max(0, end - known.get(partition, 0)) for partition, end in feed.begin.items())
        if gap > MOST_MISSED:
            return None
        places, matchers = {**feed.begin, **known}, MatcherSet([feed.query])
        found: list[bytes] = []
        read: dict[int, list[Record]] = {}
        for record in self._bus.read(ENRICHED, known, feed.begin) if gap else ():
            read.setdefault(record.partition, []).append(record)
        # The log is read partition by partition; people read by time.
        for record in merge(*read.values(), key=lambda record: record.timestamp_ms):
            places[record.partition] = record.offset + 1
            if (item := _item(record)) is None:
                continue
            for _, brief in self._concerned(item, {feed.query: [feed]}, [feed.query], matchers):
                found.append(_Event(write_place(places), item, brief).bytes_for(feed.show))
        return found if len(found) <= MOST_WAITING else None

    def close(self) -> None:
        """End all streams and the follower."""
        self._stop.set()
        with self._lock:
            feeds = [feed for some in self._feeds.values() for feed in some]
        for feed in feeds:
            feed.close()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _prepare(self) -> None:
        self._queries = list(self._feeds)
        self._matchers = MatcherSet(self._queries)

    def _follow(self, subscription: Subscription) -> None:
        while not self._stop.is_set():
            try:
                records = subscription.poll(1_000, POLL_SECONDS)
            except TransientError as error:
                log.warning("feed waits", reason=str(error))
                self._stop.wait(1.0)
                continue
            with self._lock:
                batches = self._dispatch(records)
            for feed, (events, skipped) in batches.items():
                feed.put(events, skipped)
        subscription.close()

    def _dispatch(self, records: Iterable[Record]) -> dict[Feed, tuple[list[bytes], int]]:
        wanted: dict[Feed, list[_Event]] = {}
        for record in records:
            if record.offset < self._places.get(record.partition, 0):
                continue
            self._places[record.partition] = record.offset + 1
            if not self._feeds or (item := _item(record)) is None:
                continue
            found = self._concerned(item, self._feeds, self._queries, self._matchers)
            made: dict[bool, _Event] = {}
            for feed, brief in found:
                if brief not in made:
                    made[brief] = _Event(write_place(self._places), item, brief)
                wanted.setdefault(feed, []).append(made[brief])
        return {feed: _sample(feed, events) for feed, events in wanted.items()}

    def _concerned(
        self, item: Item, feeds: Mapping[Query, list[Feed]], queries: Sequence[Query], matchers: MatcherSet
    ) -> list[tuple[Feed, bool]]:
        """Return the feeds that are to hear of `item`, each with whether in brief."""
        if not isinstance(item, Tagged):
            return [(feed, False) for some in feeds.values() for feed in some if feed.shows(item.id)]
        document = Document(item.mention, item.enrichment, self._taxonomy)
        matching = {queries[index] for index in matchers.matches(document)}
        found = [(feed, False) for query in matching for feed in feeds[query]]
        for feed, _ in found:
            feed.remember(item.mention.id)
        if item.mention.edit:
            rest = [feed for query, some in feeds.items() if query not in matching for feed in some]
            found += [(feed, True) for feed in rest if feed.shows(item.mention.id)]
        return found


def _sample(feed: Feed, events: list[_Event]) -> tuple[list[bytes], int]:
    """Return all that became of mentions and the newest of the mentions, and how many were left out."""
    over = sum(isinstance(one.item, Tagged) for one in events) - MOST_AT_ONCE
    kept: list[bytes] = []
    skipped = 0
    for one in events:
        if skipped < over and isinstance(one.item, Tagged):
            skipped += 1
        else:
            kept.append(one.bytes_for(feed.show))
    return kept, skipped


def _item(record: Record) -> Item | None:
    try:
        return decode_item(record.value)
    except RefusedError:  # the index sets it aside, with its reason
        return None


def event(name: str, data: Mapping[str, object], place: str | None = None) -> bytes:
    """Return one server-sent event; `place` is its id."""
    return format_sse_event(event=name, data_str=msgspec.json.encode(data).decode(), id=place)


def write_place(places: Mapping[int, int]) -> str:
    """Return a place in the log as text: "0-17.1-4"."""
    return ".".join(f"{partition}-{offset}" for partition, offset in sorted(places.items()))


def read_place(text: str) -> dict[int, int]:
    """Return the place in the log that `write_place` wrote; raises SettingsError."""
    try:
        pairs = [part.split("-", 1) for part in text[:20_000].split(".")]
        return {int(partition): int(offset) for partition, offset in pairs}
    except ValueError:
        raise SettingsError(f"{text[:40]!r} is no place in the log") from None
