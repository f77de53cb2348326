"""Reprocessing over the real embedded parts, crashing at every step that reaches outside, while changes arrive."""

import itertools
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from hark.bus import open_bus, publish_changes
from hark.core.change import (
    ENRICHED,
    MENTIONS,
    Change,
    Deleted,
    Edited,
    Labelled,
    Seen,
    Tagged,
    key_of,
)
from hark.core.errors import SettingsError, TransientError
from hark.core.mention import Enrichment, Language, Mention, Sentiment, Topic, Vader
from hark.core.protocols import Store
from hark.generations import (
    EveryStore,
    Reprocessing,
    ServingStore,
    ServingTags,
    Shown,
    Tags,
    Watch,
    Way,
    shown,
    ways,
)
from hark.ledger import ENRICH_GROUP, INDEX_GROUP, Ledger
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.reprocess import Feeder
from hark.roles import enrich_loop, index_loop
from hark.state import open_state
from hark.state.generations import Generations
from sinks import drop_store, open_store
from tests.integration.test_roles import Crash, Crashing, after

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def _short_waits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hark.roles.POLL_SECONDS", 0.001)
        patch.setattr("hark.reprocess.PAUSE_SECONDS", 0.0)
        patch.setattr("hark.reprocess.PAGE", 2)
        patch.setattr("hark.generations.LOOK_SECONDS", 0.0)
        yield


class Chain:
    """Gives each mention one topic: the generation's."""

    def __init__(self, number: int) -> None:
        self._topic = f"topic-{number}"

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        mood = Sentiment("neutral", 0, 0, Vader(0, 1, 0, 0))
        return [
            Enrichment("1", Language("en", 1), ("southwest",), mood, (Topic(self._topic, 1.0),))
            for _ in mentions
        ]


class Parts(Struct):
    """What one life of all processes works with; everything that reaches outside may crash."""

    data: Path
    bus: Any
    state: Any
    open_store: Callable[[int], Any]
    center: Reprocessing

    @classmethod
    def open(cls, data: Path, steps: Iterator[int], crash_at: int, address: str = "embedded") -> "Parts":
        def store(number: int) -> Any:
            return Crashing(open_store(address, data, NO_TAXONOMY, number), steps, crash_at)

        bus = Crashing(open_bus("embedded", data), steps, crash_at)
        state = Crashing(open_state("embedded", data), steps, crash_at)
        drop = partial(drop_store, address, data)
        center = Reprocessing(bus, state, data, data, store, drop, lambda *_: "version")  # type: ignore[arg-type]
        return cls(data, bus, state, store, center)

    def watch(self) -> Watch:
        return Watch(lambda: (open_state("embedded", self.data), Generations(self.state)))

    def kept(self) -> Shown:
        return shown(self.center.generations)

    def close(self) -> None:
        self.bus._part.close()
        self.state._part.close()


def seen(number: int, hours: int = 0) -> Seen:
    at = NOON + timedelta(hours=hours)
    return Seen(Mention(f"feed:{number}", "feed", "late", at, at))


def edited(number: int) -> Edited:
    return Edited(Mention(f"feed:{number}", "feed", "later", NOON, NOON, edit=1))


def labelled(number: int) -> Labelled:
    return Labelled(f"feed:{number}", "sentiment", "negative", "ana", NOON)


def deleted(number: int) -> Deleted:
    return Deleted(f"feed:{number}", "by its author", NOON)


changes = st.one_of(
    st.builds(
        lambda number, make: make(number),
        st.integers(0, 7),
        st.sampled_from([seen, seen, partial(seen, hours=-20), edited, deleted]),
    ),
    st.just(labelled(0)),  # what is labelled was collected: every history begins with it
)
some = st.lists(changes, max_size=6)


@contextmanager
def ending(part: Any) -> Iterator[Any]:
    """Close what stands behind a part that may crash, without a step: the system does that for a killed process."""
    try:
        yield part
    finally:
        getattr(part, "_part", part).close()


class Done(threading.Event):
    """A stop event that is set once the groups have processed all that is there."""

    def __init__(self, bus: Any, *pairs: tuple[str, str]) -> None:
        super().__init__()
        self._bus, self._pairs = bus._part, pairs

    def is_set(self) -> bool:
        return all(self._bus.committed(topic, group) == self._bus.ends(topic) for topic, group in self._pairs)


def common_way(parts: Parts) -> None:
    """Let the roles of the center do what there is."""
    bus = parts.bus
    tags = ServingTags(parts.watch(), Chain)
    with ending(bus.subscribe(MENTIONS, ENRICH_GROUP)) as subscription:
        enrich_loop(subscription, tags, bus, Done(bus, (MENTIONS, ENRICH_GROUP)))
    with (
        closing(EveryStore(parts.watch(), parts.open_store)) as stores,
        ending(bus.subscribe(ENRICHED, INDEX_GROUP)) as subscription,
    ):
        index_loop(subscription, stores, bus, Done(bus, (ENRICHED, INDEX_GROUP)))


def own_ways(parts: Parts) -> None:
    """Let the workers of the generations do what there is, the feeder first."""
    bus = parts.bus
    for each in parts.kept().kept:
        if not each.shadow:
            continue
        way, building = Way(each.number), each.status == "building"
        if building:
            with ending(parts.open_store(parts.kept().serving)) as source:
                Feeder(each.number, parts.center.generations, bus, source, after(40)).run()
        *before, last = way.pairs(building)
        tags = Tags(Chain(each.number), each.number)
        for pair in before:
            with ending(bus.subscribe(*pair)) as subscription:
                enrich_loop(subscription, tags, bus, Done(bus, pair), topic=way.enriched)
        with (
            ending(bus.subscribe(way.enriched, way.index_group)) as subscription,
            ending(parts.open_store(each.number)) as store,
        ):
            index_loop(subscription, store, bus, Done(bus, last))


def flips(parts: Parts) -> list[int]:
    return [number for number, _ in parts.center.generations.history()]


def live_through(parts: Parts, meanwhile: list[list[Change]], since: datetime | None) -> None:
    """Go on from wherever the life before ended: begin, build, promote, roll back, with changes in between."""
    if not parts.kept().kept or parts.kept().kept[-1].number == 0:
        parts.center.start(since)
    publish_changes(parts.bus, meanwhile[0])
    while parts.kept().kept[-1].status == "building":
        common_way(parts)
        own_ways(parts)
        publish_changes(parts.bus, meanwhile[1])
    parts.center.sweep()
    own_ways(parts)
    if len(flips(parts)) == 1:
        parts.center.promote()
    publish_changes(parts.bus, meanwhile[2])
    if len(flips(parts)) == 2:
        common_way(parts)
        own_ways(parts)
        check(parts, since, flips(parts)[-1])
        parts.center.rollback()
    publish_changes(parts.bus, meanwhile[3])
    common_way(parts)
    own_ways(parts)


def check(parts: Parts, since: datetime | None, serving: int) -> None:
    """The store that is shown holds each mention once, with the tags it should have, and the books balance."""
    with closing(ServingStore(parts.watch(), parts.open_store)) as store:
        hits = list(store.search(parse(""), limit=None))
        assert len({hit.mention.id for hit in hits}) == len(hits)
        for hit in hits:
            fresh = since is None or hit.mention.created_at >= since or hit.mention.edit
            if serving and fresh:
                assert [topic.id for topic in hit.enrichment.topics] == [f"topic-{serving}"], hit
            elif not serving:
                assert [topic.id for topic in hit.enrichment.topics] == ["topic-0"], hit
        books = Ledger(parts.bus, store, parts.state, lambda: ways(parts.kept()))  # type: ignore[arg-type]
        counted, verification = books.verify()
        assert verification.missing == verification.unknown == 0, verification
        assert all(source.balanced and not source.pending for source in counted), counted


def contents(store: Store) -> dict[str, tuple[str, int, str, str]]:
    hits = {hit.mention.id: hit for hit in store.search(parse(""), limit=None)}
    alive = {
        id: (hit.mention.text, hit.mention.edit, hit.enrichment.sentiment.label, "")
        for id, hit in hits.items()
    }
    return alive | {id: ("", 0, "", "deleted") for id, gone in store.ids() if gone}


@settings(max_examples=8, deadline=None)
@given(
    history=st.lists(changes, min_size=3, max_size=8),
    meanwhile=st.tuples(some, some, some, some),
    crash_at=st.integers(0, 400),
    since=st.sampled_from([None, MIDNIGHT]),
)
@example([seen(1), seen(2), labelled(0)], ([edited(2)], [deleted(1)], [seen(3)], [edited(0)]), 60, None)
def test_a_crash_at_any_step_leaves_each_mention_once_with_the_labels_that_people_gave(
    history: list[Change], meanwhile: tuple[list[Change], ...], crash_at: int, since: datetime | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        quiet = Parts.open(data, itertools.count(), -1)
        history = [seen(0), *history]
        publish_changes(quiet.bus, history)
        common_way(quiet)
        quiet.close()
        steps = itertools.count()
        for attempt in range(2):
            parts = Parts.open(data, steps, crash_at if attempt == 0 else -1)
            try:
                live_through(parts, list(meanwhile), since)
                break
            except Crash:
                continue
            finally:
                parts.close()
        quiet = Parts.open(data, itertools.count(), -1)
        try:
            common_way(quiet)
            own_ways(quiet)
            (first, number, last) = flips(quiet)  # 2 where the first life ended while it began generation 1
            assert first == last == 0
            assert number in (1, 2)
            check(quiet, since, 0)
            stores = [open_store("embedded", data, NO_TAXONOMY, each) for each in (0, number)]
            assert contents(stores[0]) == contents(stores[1])
            assert contents(stores[0]) == expected([*history, *itertools.chain(*meanwhile)])
            for store in stores:
                store.close()
            quiet.center.drop()
            quiet.center.sweep()
            common_way(quiet)
            check(quiet, since, 0)
            assert [each.number for each in quiet.kept().kept] == [0]
            assert not quiet.kept().kept[0].shadow
            assert not [*data.glob("store-g*"), *data.glob("log/*-g*")]
        finally:
            quiet.close()


def expected(everything: list[Change]) -> dict[str, tuple[str, int, str, str]]:
    found: dict[str, tuple[str, int, str, str]] = {}
    labels = {key_of(change) for change in everything if isinstance(change, Labelled)}
    edits = {key_of(change) for change in everything if isinstance(change, Edited)}
    for change in everything:
        if isinstance(change, Seen | Edited):
            id = key_of(change)
            text, edit = ("later", 1) if id in edits else ("late", 0)
            found[id] = (text, edit, "negative" if id in labels else "neutral", "")
    for change in everything:
        if isinstance(change, Deleted):
            found[change.id] = ("", 0, "", "deleted")
    return found


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts.open(tmp_path, itertools.count(), -1)
    publish_changes(parts.bus, [seen(1), seen(2, hours=-20)])
    common_way(parts)
    yield parts
    parts.close()


def built(parts: Parts, since: datetime | None = None) -> None:
    parts.center.start(since)
    while parts.kept().kept[-1].status == "building":
        own_ways(parts)
    parts.center.sweep()


def test_what_is_older_than_asked_for_keeps_its_tags(parts: Parts) -> None:
    built(parts, MIDNIGHT)
    parts.center.promote()
    with closing(ServingStore(parts.watch(), parts.open_store)) as store:
        tags = {hit.mention.id: hit.enrichment.topics[0].id for hit in store.search(parse(""))}
    assert tags == {"feed:1": "topic-1", "feed:2": "topic-0"}


def test_nothing_changes_before_the_promotion_and_the_flip_is_seen_by_stores_that_are_open(
    parts: Parts,
) -> None:
    with closing(ServingStore(parts.watch(), parts.open_store)) as store:
        built(parts)
        assert store.count(parse("topic:topic-0")) == 2
        parts.center.promote()
        assert store.count(parse("topic:topic-0")) == 0
        assert store.count(parse("topic:topic-1")) == 2
        parts.center.rollback()
        assert store.count(parse("topic:topic-0")) == 2


def test_a_deletion_is_gone_from_both_stores_when_the_common_index_has_written_it(parts: Parts) -> None:
    built(parts)
    publish_changes(parts.bus, [deleted(1)])
    common_way(parts)
    for number in (0, 1):
        with closing(parts.open_store(number)) as store:
            assert store.get("feed:1") is None
            assert ("feed:1", True) in list(store.ids())


def test_after_a_promotion_new_mentions_get_the_new_tags_and_the_old_generation_its_own(parts: Parts) -> None:
    built(parts)
    parts.center.promote()
    publish_changes(parts.bus, [seen(5)])
    common_way(parts)
    own_ways(parts)
    for number in (0, 1):
        with closing(parts.open_store(number)) as store:
            assert store.get("feed:5").enrichment.topics[0].id == f"topic-{number}"


def test_tags_of_a_generation_that_is_gone_go_to_the_one_that_is_shown(parts: Parts) -> None:
    late = Tagged(seen(9).mention, Tags(Chain(7), 7).tag([seen(9).mention])[0])
    with closing(EveryStore(parts.watch(), parts.open_store)) as stores:
        assert stores.write([late]) == []
    with closing(ServingStore(parts.watch(), parts.open_store)) as store:
        assert store.get("feed:9") is not None


def test_one_that_is_being_built_is_not_promoted_and_no_second_one_begins(parts: Parts) -> None:
    parts.center.start()
    with pytest.raises(SettingsError, match="is being built"):
        parts.center.promote()
    with pytest.raises(SettingsError, match="reprocess drop"):
        parts.center.start()
    with pytest.raises(SettingsError, match="nothing to go back to"):
        parts.center.rollback()


def test_one_that_lacks_a_mention_is_not_promoted(parts: Parts) -> None:
    built(parts)
    drop_store("embedded", parts.data, 1)
    with pytest.raises(SettingsError, match="does not hold all that was collected from feed"):
        parts.center.promote()


def test_one_that_is_behind_is_waited_for(parts: Parts) -> None:
    built(parts)
    publish_changes(parts.bus, [seen(5)])
    stop = threading.Event()
    stop.set()
    with pytest.raises(TransientError, match="1 behind"):
        parts.center.promote(stop=stop)


def test_a_dropped_generation_holds_back_nothing_in_the_log_and_its_number_is_not_used_again(
    parts: Parts,
) -> None:
    built(parts)
    parts.center.promote()
    own_ways(parts)
    parts.center.drop()
    parts.center.sweep()
    assert parts.bus.committed(MENTIONS, Way(0).live_group) == parts.bus.starts(MENTIONS)
    assert not (parts.data / "store.db").exists()
    common_way(parts)
    assert parts.center.start() == 2


def test_a_chain_that_cannot_be_built_begins_nothing(parts: Parts) -> None:
    def refuse(*_: Path | None) -> str:
        raise SettingsError("topics.toml: what is this?")

    parts.center._check = refuse
    with pytest.raises(SettingsError, match="what is this"):
        parts.center.start()
    parts.center.sweep()
    assert [each.number for each in parts.kept().kept] == [0]
    assert not (parts.data / "generations" / "g1").exists()


def test_the_rate_holds_the_feeder_back(parts: Parts) -> None:
    waits: list[float] = []

    class Watched(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return self.is_set()

    parts.center.start(rate=1.0)
    with closing(parts.open_store(0)) as source:
        feeder = Feeder(1, parts.center.generations, parts.bus, source, Watched(), ticks=lambda: 0.0)
        feeder._align(parts.kept().kept[-1])
        feeder._remarks(parts.kept().kept[-1])
        feeder._rows(parts.kept().kept[-1])
    assert [wait for wait in waits if wait] == [1.0, 2.0]  # the clock of this test stands still


def test_elasticsearch_keeps_a_generation_in_indices_of_its_own(tmp_path: Path, elasticsearch: str) -> None:
    address = f"elasticsearch+{elasticsearch}/again{uuid.uuid4().hex[:8]}"
    parts = Parts.open(tmp_path, itertools.count(), -1, address)
    try:
        publish_changes(parts.bus, [seen(1), seen(2, hours=-20), seen(3), labelled(1), deleted(3)])
        common_way(parts)
        built(parts, MIDNIGHT)
        publish_changes(parts.bus, [seen(4), edited(2), deleted(3)])
        common_way(parts)
        own_ways(parts)
        parts.center.promote()
        check(parts, MIDNIGHT, 1)
        publish_changes(parts.bus, [seen(5), labelled(2), deleted(4)])
        common_way(parts)
        own_ways(parts)
        check(parts, MIDNIGHT, 1)
        stores = [parts.open_store(number) for number in (0, 1)]
        assert contents(stores[0]) == contents(stores[1])
        assert contents(stores[0]).keys() == {f"feed:{n}" for n in range(1, 6)}
        for store in stores:
            store.close()
        parts.center.rollback()
        check(parts, MIDNIGHT, 0)
        parts.center.drop()
        parts.center.sweep()
        parts.center.sweep()
        with closing(parts.open_store(1)) as store:
            assert store.count(parse("")) == 0
            assert list(store.ids()) == []
        check(parts, MIDNIGHT, 0)
    finally:
        drop_store(address, tmp_path, 1)
        parts.close()
