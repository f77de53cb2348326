"""The loops of the roles over the real embedded parts, crashing at every step that reaches outside."""

import itertools
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.bus import open_bus
from hark.bus.embedded import EmbeddedBus
from hark.core.change import (
    ENRICHED,
    MENTIONS,
    REJECTED,
    Change,
    Deleted,
    Edited,
    Rejected,
    Seen,
    decode_change,
    decode_item,
    decode_rejected,
    encode,
    key_of,
)
from hark.core.errors import RefusedError, SettingsError, TransientError
from hark.core.mention import Enrichment, Language, Mention, Sentiment, Vader
from hark.core.protocols import Batch
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, Ledger, advance
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.roles import Collector, enrich_loop, index_loop, publish_rejected
from hark.settings import LogSettings
from hark.state import State, open_state
from ingest.files import read_file
from sinks import open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def _short_polls() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hark.roles.POLL_SECONDS", 0.01)
        yield


class Crash(BaseException):
    """Stands for SIGKILL: nothing that the program catches."""


class Crashing:
    """Hands calls through to a part, and crashes before or after the one that its turn comes at."""

    def __init__(self, part: Any, steps: Iterator[int], crash_at: int) -> None:
        self._part, self._steps, self._crash_at = part, steps, crash_at

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **named: Any) -> Any:
            self._step()
            result = attribute(*arguments, **named)
            self._step()
            return Crashing(result, self._steps, self._crash_at) if name == "subscribe" else result

        return call

    def _step(self) -> None:
        if next(self._steps) == self._crash_at:
            raise Crash


class Tags:
    """A chain that knows nothing, and fails for one word."""

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        if any("poison" in mention.text for mention in mentions):
            raise ValueError("poison")
        vader = Vader(0, 1, 0, 0)
        return [
            Enrichment("1", Language("en", 1), ("southwest",), Sentiment("neutral", 0, 0, vader))
            for _ in mentions
        ]


class Feed:
    """A finite source over a list of batches; the cursor is the number of batches read."""

    name = "feed"

    def __init__(self, batches: Sequence[Sequence[Change]], firehose: bool = False) -> None:
        self._batches = batches
        self.firehose = firehose

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        for number in range(int(cursor or 0), len(self._batches)):
            yield Batch(self._batches[number], str(number + 1))


def mention(number: int, text: str = "late", edit: int = 0) -> Mention:
    return Mention(f"feed:{number}", "feed", text, NOON, NOON, edit=edit)


def after(number: int) -> threading.Event:
    """Return a stop event that is set by the n-th time it is looked at."""

    class Countdown(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > number or super().is_set()

    return Countdown()


changes = st.builds(
    lambda number, kind: {
        "seen": Seen(mention(number)),
        "edited": Edited(mention(number, "later", edit=1)),
        "deleted": Deleted(f"feed:{number}", "by its author", NOON),
        "poison": Seen(mention(number + 100, "poison")),
    }[kind],
    st.integers(0, 5),
    st.sampled_from(["seen", "seen", "seen", "edited", "deleted", "poison"]),
)


@settings(max_examples=40)
@given(batches=st.lists(st.lists(changes, max_size=4), min_size=1, max_size=3), crash_at=st.integers(0, 40))
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(
    batches: list[list[Change]], crash_at: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        steps = itertools.count()
        for attempt in range(3):
            crash = crash_at if attempt == 0 else -1
            try:
                _go_through(data, batches, steps, crash)
            except Crash:
                continue
        bus, store, state = _open(data)
        try:
            books = Ledger(bus, store, state).books()
            books_again, verification = Ledger(bus, store, state).verify()
            found = {hit.mention.id: hit.mention.text for hit in store.search(parse(""), limit=None)}
        finally:
            for part in (bus, store, state):
                part.close()
    everything = [change for batch in batches for change in batch]
    deleted = {key_of(change) for change in everything if isinstance(change, Deleted)}
    edited = {key_of(change) for change in everything if isinstance(change, Edited)}
    ids = {key_of(change) for change in everything}
    rejected = {id for id in ids if int(id.removeprefix("feed:")) >= 100}
    assert found == {id: "later" if id in edited else "late" for id in ids - deleted - rejected}
    assert books == books_again
    assert verification.missing == verification.unknown == 0
    assert all(source.balanced for source in books)
    if ids:
        (feed,) = books
        assert (feed.collected, feed.indexed) == (len(ids), len(found))
        assert (feed.deleted, feed.rejected, feed.pending) == (len(deleted), len(rejected), 0)


def _open(data: Path) -> tuple[Any, Any, State]:
    return open_bus("embedded", data), open_store("embedded", data, NO_TAXONOMY), open_state("embedded", data)


def _go_through(data: Path, batches: list[list[Change]], steps: Iterator[int], crash_at: int) -> None:
    parts = _open(data)
    bus, store, state = (Crashing(part, steps, crash_at) for part in parts)
    subscriptions = []
    try:
        Collector(Feed(batches), bus, state, lambda _: True, threading.Event()).run()
        subscriptions.append(bus.subscribe(MENTIONS, ENRICH_GROUP))
        _until_done(
            lambda: enrich_loop(subscriptions[-1], Tags(), bus, after(9)), bus, MENTIONS, ENRICH_GROUP
        )
        subscriptions.append(bus.subscribe(ENRICHED, INDEX_GROUP))
        _until_done(lambda: index_loop(subscriptions[-1], store, bus, after(9)), bus, ENRICHED, INDEX_GROUP)
    finally:
        for part in (*(subscription._part for subscription in subscriptions), *parts):
            part.close()


def _until_done(loop: Any, bus: Any, topic: str, group: str) -> None:
    while bus.committed(topic, group) != bus.ends(topic):
        loop()


def test_a_firehose_keeps_what_matches_and_the_deletions_of_that(tmp_path: Path) -> None:
    bus, store, state = _open(tmp_path)
    gone = [Deleted("feed:1", "by its author", NOON), Deleted("feed:2", "by its author", NOON)]
    feed = Feed([[Seen(mention(1, "southwest")), Seen(mention(2, "weather"))], gone], firehose=True)
    Collector(feed, bus, state, lambda m: "southwest" in m.text, threading.Event()).run()
    assert [record.key for record in bus.read(MENTIONS)] == ["feed:1", "feed:1"]
    (condition,) = state.source_states()
    assert (condition.published, condition.unmatched, condition.cursor) == (2, 2, "2")
    for part in (bus, store, state):
        part.close()


def test_a_firehose_that_was_killed_keeps_the_deletion_of_what_it_published_last(tmp_path: Path) -> None:
    bus, store, state = _open(tmp_path)
    batches = [[Seen(mention(1, "southwest"))], [Deleted("feed:1", "by its author", NOON)]]
    for known in (batches[:1], batches):  # the second process knows only what the first one left on the disk
        feed = Feed(known, firehose=True)
        Collector(feed, bus, state, lambda m: "southwest" in m.text, threading.Event()).run()
    assert [type(decode_change(record.value)) for record in bus.read(MENTIONS)] == [Seen, Deleted]
    for part in (bus, store, state):
        part.close()


def test_a_source_with_wrong_credentials_says_so_and_is_tried_again(tmp_path: Path) -> None:
    class Refused(Feed):
        def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
            raise SettingsError("the token was refused")

    bus, store, state = _open(tmp_path)
    stop = threading.Event()
    thread = threading.Thread(target=Collector(Refused([]), bus, state, lambda _: True, stop).run)
    thread.start()
    try:
        while not state.source_states():
            assert thread.is_alive()
        assert [source.error for source in state.source_states()] == ["the token was refused"]
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    for part in (bus, store, state):
        part.close()


def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    bus, store, state = _open(tmp_path)
    away = iter([TransientError("away", wait_seconds=0.001)] * 3)

    class Away:
        def write(self, items: Sequence[Any], records: Sequence[bytes]) -> Any:
            for error in away:
                raise error
            return store.write(items, records)

    Collector(Feed([[Seen(mention(1))]]), bus, state, lambda _: True, threading.Event()).run()
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    enrich_loop(subscription, Tags(), bus, after(9))
    subscription.close()
    subscription = bus.subscribe(ENRICHED, INDEX_GROUP)
    index_loop(subscription, Away(), bus, after(20))  # type: ignore[arg-type]
    subscription.close()
    assert store.count(parse("")) == 1
    assert bus.committed(ENRICHED, INDEX_GROUP) == bus.ends(ENRICHED)
    for part in (bus, store, state):
        part.close()


class Narrow(EmbeddedBus):
    """A log whose operator allows less than Hark's largest message, as Kafka's may."""

    def publish(self, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        if any(len(value) > 5_000 for _, value in messages):
            raise RefusedError("too large for the topic")
        super().publish(topic, messages)


def test_what_is_too_large_for_the_topic_is_refused_and_holds_up_nothing(tmp_path: Path) -> None:
    bus = Narrow(tmp_path / "log", LogSettings(partitions=1))
    state = open_state("embedded", tmp_path)
    # feed:2 fits as it is collected, and no longer with its tags
    texts = ["late", "late" * 2_000, "l" * (5_000 - len(encode(Seen(mention(2, ""))))), "late"]
    feed = Feed([[Seen(mention(n, text)) for n, text in enumerate(texts)]])
    Collector(feed, bus, state, lambda _: True, threading.Event()).run()
    assert [record.key for record in bus.read(MENTIONS)] == ["feed:0", "feed:2", "feed:3"]
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    enrich_loop(subscription, Tags(), bus, after(9))
    subscription.close()
    assert [record.key for record in bus.read(ENRICHED)] == ["feed:0", "feed:3"]
    refused = [decode_rejected(record.value) for record in bus.read(REJECTED)]
    assert [item.id for item in refused] == ["feed:1", "feed:2"]
    assert "too large for the topic; of its" in refused[0].reason
    advance(bus, state)
    assert state.totals([])[0] == {"feed": 4}
    for part in (bus, state):
        part.close()


def test_what_the_log_removed_before_it_was_counted_is_told_until_it_is_written_off(tmp_path: Path) -> None:
    clock = [NOON]
    bus = EmbeddedBus(tmp_path / "log", LogSettings(partitions=1, retention_days=1), lambda: clock[0])
    _, store, state = _open(tmp_path)
    bus.publish(MENTIONS, [(f"feed:{n}", encode(Seen(mention(n)))) for n in range(3)])
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    enrich_loop(subscription, Tags(), bus, after(9))
    clock[0] += timedelta(days=2)
    bus.publish(MENTIONS, [("feed:3", encode(Seen(mention(3))))])
    assert bus.starts(MENTIONS) == {0: 3}
    subscription.close()
    ledger = Ledger(bus, store, state)
    (feed,) = ledger.books()
    assert feed.collected == 1
    assert [(loss.topic, loss.reader, loss.records) for loss in ledger.losses()] == [
        (MENTIONS, "the books", 3)
    ]
    ledger.books()
    assert len(ledger.losses()) == 1
    state.write_off()
    ledger.books()
    assert ledger.losses() == []
    for part in (bus, store, state):
        part.close()


def test_what_the_books_have_not_counted_stays_in_the_log(tmp_path: Path) -> None:
    clock = [NOON]
    bus = EmbeddedBus(tmp_path / "log", LogSettings(partitions=1, retention_days=1), lambda: clock[0])
    state = open_state("embedded", tmp_path)
    bus.publish(MENTIONS, [("feed:0", encode(Seen(mention(0))))])
    advance(bus, state)
    bus.publish(MENTIONS, [("feed:1", encode(Seen(mention(1))))])
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    clock[0] += timedelta(days=2)
    for _ in range(2):  # the second one's poll would remove what the first one has committed
        enrich_loop(subscription, Tags(), bus, after(9))
    assert bus.starts(MENTIONS) == {0: 1}
    advance(bus, state)
    clock[0] += timedelta(days=2)
    subscription.poll(1, 0)
    assert bus.starts(MENTIONS) == {0: 2}
    assert state.totals([])[0] == {"feed": 2}
    assert state.losses() == []
    for part in (subscription, bus, state):
        part.close()


def test_a_topic_that_was_made_anew_is_counted_from_its_beginning(tmp_path: Path) -> None:
    bus, store, state = _open(tmp_path)
    bus.publish(MENTIONS, [(f"feed:{n}", encode(Seen(mention(n)))) for n in range(20)])
    advance(bus, state)
    bus.drop(MENTIONS)
    bus.publish(MENTIONS, [("feed:20", encode(Seen(mention(20))))])
    advance(bus, state)
    assert state.totals([])[0] == {"feed": 21}
    assert state.losses() == []
    for part in (bus, store, state):
        part.close()


def test_bytes_that_are_no_change_are_rejected_with_the_bytes(tmp_path: Path) -> None:
    bus, store, state = _open(tmp_path)
    bus.publish(MENTIONS, [("feed:9", b'{"type":"seen","mention":{}}')])
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    enrich_loop(subscription, Tags(), bus, after(9))
    subscription.close()
    (record,) = bus.read(REJECTED)
    refused: Rejected = decode_rejected(record.value)
    assert (refused.id, refused.stage, refused.original) == (
        "feed:9",
        "enrich",
        b'{"type":"seen","mention":{}}',
    )
    assert "missing required field" in refused.reason
    for part in (bus, store, state):
        part.close()


@pytest.mark.parametrize("size", [1, 3])
def test_one_mention_that_cannot_be_tagged_costs_itself_alone(tmp_path: Path, size: int) -> None:
    bus, store, state = _open(tmp_path)
    seen = [Seen(mention(n, "poison" if n == 0 else "fine")) for n in range(size)]
    Collector(Feed([seen]), bus, state, lambda _: True, threading.Event()).run()
    subscription = bus.subscribe(MENTIONS, ENRICH_GROUP)
    enrich_loop(subscription, Tags(), bus, after(9))
    subscription.close()
    assert [record.key for record in bus.read(REJECTED)] == ["feed:0"]
    tagged = sorted(key_of(decode_item(record.value)) for record in bus.read(ENRICHED))
    assert tagged == [f"feed:{n}" for n in range(1, size)]
    for part in (bus, store, state):
        part.close()


def test_a_line_longer_than_a_message_of_the_log_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text('{"text": "' + "x" * 13_000_000 + '"}\n{"text": "fine"}\n')
    bus, store, state = _open(tmp_path)
    outcomes = [piece.outcome for piece in read_file(path, "feed", "m")]
    publish_rejected(bus, [outcome for outcome in outcomes if isinstance(outcome, Rejected)])
    (record,) = bus.read(REJECTED)
    refused: Rejected = decode_rejected(record.value)
    assert refused.original == b'{"text": "' + b"x" * (12_000_000 - 10)
    assert "a line of 13,000,013 bytes" in refused.reason
    assert "the first 12,000,000 are kept" in refused.reason
    for part in (bus, store, state):
        part.close()
