"""Erasing over the real parts: found wherever it is, gone from every store, again after any crash, the books in balance."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from hark.bus import open_bus, publish_changes
from hark.core.change import (
    ENRICHED,
    MENTIONS,
    REJECTED,
    Change,
    Deleted,
    Edited,
    Labelled,
    Rejected,
    Seen,
    Tagged,
)
from hark.core.errors import SettingsError, TransientError
from hark.core.mention import Author, Mention
from hark.core.protocols import Bus, Store
from hark.erasing import Erasing, Found
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, Ledger
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.rejected import still_rejected
from hark.roles import enrich_loop, index_loop, publish_rejected
from hark.state import State, open_state
from hark.state.labels import Labels
from hark.state.people import People
from sinks import open_store
from tests.integration.test_roles import Crash, Crashing, Tags
from tests.support.elasticsearch import stores_on

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAIT_SECONDS = 60.0
BOB = Author(handle="Bob", id="77")


@pytest.fixture(autouse=True, scope="module")
def _short_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hark.roles.POLL_SECONDS", 0.01)
        patch.setattr("hark.erasing.LOOK_SECONDS", 0.01)
        yield


class Idle(threading.Event):
    """A stop event that is set once a group has processed all that is there."""

    def __init__(self, bus: Bus, topic: str, group: str) -> None:
        super().__init__()
        self._there = partial(bus.ends, topic)
        self._processed = partial(bus.committed, topic, group)

    def is_set(self) -> bool:
        return self._processed() == self._there()


class Center(Struct):
    """One center without its roles, which run while `working`."""

    bus: Bus
    state: State
    store: Store

    def put(self, *mentions: Mention) -> None:
        publish_changes(self.bus, [Seen(mention) for mention in mentions])

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the roles work within a block."""
        stop = threading.Event()
        with (
            closing(self.bus.subscribe(MENTIONS, ENRICH_GROUP)) as mentions,
            closing(self.bus.subscribe(ENRICHED, INDEX_GROUP)) as enriched,
        ):
            loops = [
                threading.Thread(target=enrich_loop, args=(mentions, Tags(), self.bus, stop)),
                threading.Thread(target=index_loop, args=(enriched, self.store, self.bus, stop)),
            ]
            for loop in loops:
                loop.start()
            try:
                yield
            finally:
                stop.set()
                for loop in loops:
                    loop.join()

    def work(self) -> None:
        """Let the roles do what there is."""
        self.tag()
        with closing(self.bus.subscribe(ENRICHED, INDEX_GROUP)) as enriched:
            index_loop(enriched, self.store, self.bus, Idle(self.bus, ENRICHED, INDEX_GROUP))

    def tag(self) -> None:
        with closing(self.bus.subscribe(MENTIONS, ENRICH_GROUP)) as mentions:
            enrich_loop(mentions, Tags(), self.bus, Idle(self.bus, MENTIONS, ENRICH_GROUP))

    def erasing(self, wrap: Callable[[Any], Any] = lambda part: part) -> Erasing:
        return Erasing(wrap(self.bus), wrap(self.state), {0: wrap(self.store)})

    def check(self, *indexed: str) -> None:
        """Fail unless exactly these are in the store, and every mention is somewhere once."""
        assert {hit.mention.id for hit in self.store.search(parse(""), limit=None)} == set(indexed)
        books, verification = Ledger(self.bus, self.store, self.state).verify()
        assert all(book.balanced for book in books)
        assert (verification.missing, verification.unknown) == (0, 0)


@pytest.fixture(params=["embedded", "elasticsearch"])
def center(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Center]:
    with ExitStack() as opened:
        address = "embedded"
        if request.param == "elasticsearch":
            url = request.getfixturevalue("elasticsearch")
            address = f"elasticsearch+{url}/{opened.enter_context(stores_on(url)).name()}"
        yield opened.enter_context(open_center(tmp_path, address))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Center]:
    """The embedded one."""
    with open_center(tmp_path, "embedded") as center:
        yield center


@contextmanager
def open_center(data: Path, address: str) -> Iterator[Center]:
    with (
        closing(open_bus("embedded", data)) as bus,
        closing(open_state("embedded", data)) as state,
        closing(open_store(address, data, NO_TAXONOMY)) as store,
    ):
        yield Center(bus, state, store)


def said(id: str, author: Author | None = BOB, text: str = "late") -> Mention:
    return Mention(id, id.partition(":")[0], text, NOON, NOON, author=author)


def refused(id: str, original: object) -> Rejected:
    data = original if isinstance(original, bytes) else msgspec.json.encode(original)
    return Rejected(id, id.partition(":")[0], "ingest", "not readable", data, NOON)


def until(seconds: float) -> threading.Event:
    """Return an event that is set after so many seconds, so that a hanging test fails."""
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    return stop


def ids(found: Found) -> list[str]:
    return sorted(found.ids)


def test_an_author_is_found_in_the_store_on_the_way_and_among_the_refused_and_erased(center: Center) -> None:
    amy = Author(handle="amy")
    center.put(
        said("x:1"), said("reddit:2", Author(handle="@BOB")), said("x:3", amy), said("x:4", amy, "@bob hi")
    )
    center.work()
    center.put(said("x:5"), said("x:6", amy))
    center.tag()
    center.put(said("x:7"), said("x:8", Author(name="Bob")), said("x:9", None))
    publish_rejected(
        center.bus,
        [
            refused("import:10", {"text": "", "author": {"handle": "bob"}}),
            refused("import:11", {"text": "", "author": "@bob", "created_at": 3}),
            refused("import:12", {"text": "bob", "author": "amy"}),
            refused("import:13", Seen(said("import:13"))),
            *(refused(f"import:{n}", bad) for n, bad in enumerate([b"{bob", b"[1]", {"mention": 3}], 14)),
        ],
    )
    found = center.erasing().by_author("@bOB ")
    assert ids(found) == ["import:10", "import:11", "import:13", "reddit:2", "x:1", "x:5", "x:7", "x:8"]
    assert found.sources == {"import": 3, "reddit": 1, "x": 4}
    assert ids(center.erasing().by_author("bob", "Reddit")) == ["reddit:2"]
    assert ids(center.erasing().by_author("bob", "import")) == ["import:10", "import:11", "import:13"]
    with center.working():
        told: list[int] = []
        receipt = center.erasing().erase(found, until(WAIT_SECONDS), told.append)
    assert (receipt.erased, receipt.waiting, receipt.refused) == (8, 0, 3)
    assert sum(told) == 8
    center.work()
    center.check("x:3", "x:4", "x:6", "x:9")
    assert center.erasing().by_author("bob").ids == []
    assert {item.id for item in still_rejected(center.bus, center.store)} == {
        "import:12",
        *(f"import:{n}" for n in (14, 15, 16)),
    }
    # What is imported, edited or labelled again stays away.
    again: list[Change] = [Seen(said("x:1")), Edited(msgspec.structs.replace(said("x:7"), edit=3))]
    publish_changes(center.bus, [*again, Labelled("x:5", "sentiment", "positive", "ann", NOON)])
    center.work()
    center.check("x:3", "x:4", "x:6", "x:9")
    entry = People(center.state).audit()[0]
    assert (entry.person, entry.action, entry.detail) == (
        "hark erase",
        "mentions erased",
        "import 3, reddit 1, x 4",
    )


def test_ids_are_told_apart_by_what_became_of_them(center: Center) -> None:
    center.put(said("x:1"), said("x:2"))
    center.work()
    publish_changes(center.bus, [Deleted("x:2", "by its author", NOON)])
    center.work()
    center.put(said("x:3"))
    publish_rejected(center.bus, [refused("x:4", b"broken")])
    found = center.erasing().by_id(["x:4", "x:1", "x:2", "nowhere:1", "x:3", "x:1", "a\0b", "half \udc80"])
    assert found == Found(["x:4", "x:1", "x:3"], ["x:2"], ["nowhere:1", "a\0b", "half \udc80"])
    with center.working():
        receipt = center.erasing().erase(found, until(WAIT_SECONDS))
    assert (receipt.erased, receipt.deleted_before) == (3, ("x:2",))
    assert receipt.incidents == 0
    center.check()


def test_labels_go_and_those_of_others_stay(small: Center) -> None:
    small.put(said("x:1"), said("x:2"))
    labels = Labels(small.state)
    given = [Labelled(id, "sentiment", "positive", "ann", NOON) for id in ("x:1", "x:2")]
    labels.give(given, lambda _: None)
    with small.working():
        receipt = small.erasing().erase(small.erasing().by_id(["x:1"]), until(WAIT_SECONDS))
    assert receipt.labels == 1
    assert list(labels.all()) == given[1:]


def test_without_roles_it_waits_as_long_as_it_may_and_goes_on_when_they_run(small: Center) -> None:
    small.put(said("x:1"), said("x:2", Author(handle="amy")))
    receipt = small.erasing().erase(small.erasing().by_author("bob"), until(0.05))
    assert (receipt.erased, receipt.waiting, receipt.log) == (0, 1, ())
    small.work()
    small.check("x:2")
    found = small.erasing().by_id(["x:1"])
    assert found.gone == ["x:1"]
    assert [kept.topic for kept in small.erasing().erase(found, until(WAIT_SECONDS)).log] == [
        MENTIONS,
        ENRICHED,
        REJECTED,
    ]


def test_it_is_gone_when_every_generation_has_deleted_it(small: Center, tmp_path: Path) -> None:
    small.put(said("x:1"))
    small.work()
    with closing(open_store("embedded", tmp_path, NO_TAXONOMY, 1)) as other:
        (hit,) = small.store.search(parse(""))
        other.write([Tagged(hit.mention, hit.enrichment)], [b""])
        both = Erasing(small.bus, small.state, {0: small.store, 1: other})
        with small.working():  # it knows of the first alone
            assert both.erase(both.by_id(["x:1"]), until(0.5)).waiting == 1
        assert both.by_id(["x:1"]).ids == both.by_author("bob").ids == ["x:1"]
        other.write([Deleted("x:1", "", NOON)], [b""])
        assert both.by_id(["x:1"]).gone == ["x:1"]


def test_the_dates_are_those_of_the_log_and_what_it_cannot_say_is_told(small: Center) -> None:
    class Silent:
        """A log that keeps one topic for ever, and says nothing of another."""

        def __init__(self, bus: Bus) -> None:
            self._bus = bus

        def __getattr__(self, name: str) -> Any:
            return getattr(self._bus, name)

        def kept(self, topic: str) -> timedelta | None:
            if topic == REJECTED:
                raise SettingsError("Kafka does not let us in")
            return None if topic == ENRICHED else self._bus.kept(topic)

    small.put(said("x:1"))
    erasing = Erasing(Silent(small.bus), small.state, {0: small.store}, clock=lambda: NOON)
    with small.working():
        receipt = erasing.erase(erasing.by_id(["x:1"]), until(WAIT_SECONDS))
    assert [(kept.until, kept.why) for kept in receipt.log] == [
        (NOON + timedelta(days=7, hours=1), ""),
        (None, "its retention has no end"),
        (None, "Kafka does not let us in"),
    ]


def test_killed_at_any_step_and_given_again_it_is_done(small: Center) -> None:
    others = [said(f"x:other{n}", Author(handle="amy")) for n in range(3)]
    small.put(*others)
    labels = Labels(small.state)
    for crash_at in itertools.count(step=3):  # each call is two steps: both are met
        mine = [said(f"x:{crash_at}-{n}") for n in range(2)]
        small.put(*mine)
        labels.give([Labelled(mine[0].id, "sentiment", "positive", "ann", NOON)], lambda _: None)
        small.work()
        steps = itertools.count()
        wrapped = partial(Crashing, steps=steps, crash_at=crash_at)
        with small.working():
            crashed = False
            try:
                erasing = small.erasing(wrapped)
                erasing.erase(erasing.by_author("bob"), until(WAIT_SECONDS))
            except Crash:
                crashed = True
                again = small.erasing()
                again.erase(again.by_author("bob"), until(WAIT_SECONDS))
        small.check(*(mention.id for mention in others))
        assert list(labels.all()) == []
        if not crashed:
            assert crash_at > 30
            return


def test_an_author_without_a_name_is_refused(small: Center) -> None:
    with pytest.raises(SettingsError, match="expected a handle"):
        small.erasing().by_author(" @ ")


def test_a_log_that_is_away_is_told(small: Center, monkeypatch: pytest.MonkeyPatch) -> None:
    small.put(said("x:1"))
    found = small.erasing().by_id(["x:1"])

    def away(topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        raise TransientError("the log is away")

    with monkeypatch.context() as patch:
        patch.setattr(small.bus, "publish", away)
        with pytest.raises(TransientError):
            small.erasing().erase(found, until(WAIT_SECONDS))
    with small.working():
        assert small.erasing().erase(found, until(WAIT_SECONDS)).erased == 1
