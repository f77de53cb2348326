"""Live equals backtest, whatever was drawn: the incidents that the role recorded are those that a replay finds."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from hark.alerts.backtest import run
from hark.alerts.incidents import Incident
from hark.alerts.live import past_of
from hark.alerts.rules import Rule
from hark.bus import publish_changes
from hark.core.change import Change, Deleted, Edited
from hark.core.clock import from_ms
from hark.query import parse
from hark.state import alerts as tables
from sinks.embedded import EmbeddedStore
from tests.support.watched import (
    ALLOWANCE_SECONDS,
    NAMES,
    NOON,
    SOURCES,
    TAXONOMY,
    Burst,
    Calls,
    Center,
    Interruption,
    Plan,
    Step,
    live,
)

EXAMPLES = int(os.environ.get("HARK_REPLAYS", "2"))
"""Of what is drawn for each kind of rules; more of them for a longer search."""
BRANDS = Rule(
    "brands",
    "Complaints",
    parse(""),
    "complaints",
    ("brand",),
    "spike",
    minimum_volume=5,
    minimum_severity=3,
    allowance_seconds=ALLOWANCE_SECONDS,
    notify=("ops",),
)
SHARE = msgspec.structs.replace(
    BRANDS, name="mood", metric="share-negative", detector="change", minimum_severity=1
)
RULES = {
    "brands": BRANDS,
    "pairs": msgspec.structs.replace(BRANDS, name="pairs", group_by=("brand", "topic")),
    "authors": msgspec.structs.replace(BRANDS, name="authors", metric="authors"),
    "many": msgspec.structs.replace(
        BRANDS, name="many", detector="threshold", threshold=12.0, window_seconds=1_800
    ),
    "mood": SHARE,
    "moods": msgspec.structs.replace(
        SHARE, name="moods", group_by=("brand", "topic"), direction="either", threshold=0.7
    ),
    "net": msgspec.structs.replace(SHARE, name="net", metric="net-sentiment", direction="down"),
    "lost": msgspec.structs.replace(SHARE, name="lost", metric="share", part=parse("topic:lost")),
    "mostly": msgspec.structs.replace(SHARE, name="mostly", detector="threshold", threshold=0.75),
    "ratio": msgspec.structs.replace(SHARE, name="ratio", metric="count", detector="ratio"),
    "silence": msgspec.structs.replace(
        SHARE, name="silence", metric="count", detector="flatline", threshold=0.5
    ),
    "new": msgspec.structs.replace(BRANDS, name="new", metric="count", detector="new-term"),
    "angry": msgspec.structs.replace(
        BRANDS, name="angry", detector="new-term", group_by=(), window_seconds=1_800, minimum_severity=1
    ),
}
KINDS = {
    "counts": ["brands", "pairs", "authors", "many"],
    "shares": ["mood", "moods", "net", "lost", "mostly", "ratio"],
    "terms": ["new", "angry"],
    "silence": ["silence"],
}
HOURS = {"counts": 28, "shares": 28, "terms": 75, "silence": 171}
"""What each kind learns from: of new terms nothing is told in the first three days, of silence in the first week."""

bursts = st.builds(
    Burst,
    minute=st.integers(-90, 200),
    lasts=st.integers(10, 60),
    brand=st.sampled_from(["delta", "delta", "united"]),
    topic=st.sampled_from(["lost", "delay", "rude"]),
    mentions=st.integers(30, 120),
    authors=st.sampled_from([3, 200]),
    says=st.sampled_from(["", "", "#boycott", "thanks", "engine fire", "see https://example.com/recall/42"]),
)
interruptions = st.builds(
    Interruption,
    source=st.sampled_from(["x", "reddit"]),
    minute=st.integers(-60, 200),
    lasts=st.integers(5, 90),
    told=st.sampled_from(["open", "closed", "no"]),
)
steps = st.builds(
    Step,
    minutes=st.sampled_from([1, 4, 5, 6, 11, 30, 75]),
    workers=st.sampled_from([True, True, True, False]),
    kill=st.sampled_from([-1, -1]) | st.integers(0, 120),
    beside=st.sampled_from([-1, -1]) | st.integers(0, 120),
)


def plans(kind: str, edits: bool = False) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        seed=st.integers(0, 999),
        bursts=st.lists(bursts, min_size=1, max_size=3),
        late=st.sampled_from([0.0, 0.3]),
        too_late=st.sampled_from([0.0, 0.1]),
        edited=st.sampled_from([0.0, 0.1]) if edits else st.just(0.0),
        deleted=st.sampled_from([0.0, 0.1]) if edits else st.just(0.0),
        interruptions=st.lists(interruptions, max_size=1),
        first=st.integers(-30, 120),
        steps=st.lists(steps, min_size=1, max_size=14),
        hours=st.just(HOURS[kind]),
        content=st.just(0.0) if kind == "counts" else st.sampled_from([0.6, 0.9]),
        # Of more than a tenth the rules would learn again, which a backtest does not follow.
        imported=st.tuples(st.sampled_from([0.0, 0.1]), st.integers(-60, 200)),
        silent=st.tuples(st.integers(-30, 120), st.integers(60, 150) if kind == "silence" else st.just(0)),
    )


@pytest.fixture(autouse=True, scope="module")
def _short_polls() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hark.roles.POLL_SECONDS", 0.01)
        yield


def plain(incident: Incident) -> Any:
    """Return an incident without what only a recorded one has."""
    return msgspec.to_builtins(msgspec.structs.replace(incident, notify=()))


def differences(mine: list[Incident], its: list[Incident]) -> Any:
    """Return where two lists of incidents differ, in words that show it."""
    if [one.id for one in mine] != [one.id for one in its]:
        return [[(one.id, one.series, from_ms(one.opened)) for one in found] for found in (mine, its)]
    found = []
    for one, other in zip(map(plain, mine), map(plain, its), strict=True):
        found += [(one["id"], key, one[key], other[key]) for key in one if one[key] != other[key]]
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_the_incidents_are_those_of_a_backtest_by_the_time_of_collection(
    kind: str, data: st.DataObject
) -> None:
    """Whatever is killed, late, out of order, interrupted or done twice; and no event is told twice."""
    plan, name = data.draw(plans(kind)), data.draw(st.sampled_from(KINDS[kind]))
    with watched(name) as center:
        live(center, plan)
        recorded = center.recorded()
        event(f"{name}: {'some' if recorded else 'no'} incidents")
        assert not differences(recorded, replayed(center, name, plan.hours))
        events = center.told.events()
        for known in ([(e.incident, e.number) for e in events], [(e.incident, e.kind, e.at) for e in events]):
            assert max(Counter(known).values(), default=1) == 1


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=max(1, EXAMPLES // 2))
@given(data=st.data())
def test_what_comes_later_is_shown_and_judges_nothing_again(kind: str, data: st.DataObject) -> None:
    """Edits and deletions at any time, and a day's worth of them when all is over."""
    plan, name = data.draw(plans(kind, edits=True)), data.draw(st.sampled_from(KINDS[kind]))
    with watched(name) as center:
        live(center, plan)
        before = [one for one in center.recorded() if one.ended is not None]
        for incident in center.recorded():
            assert_adds_up(incident)
        hits = list(center.store.search(parse(""), limit=None))
        center.moment += timedelta(minutes=10)
        changes: list[Change] = []
        for number, hit in enumerate(hits):
            if number % 3 == 0:
                changes.append(Deleted(hit.mention.id, "by its author", center.moment))
            elif number % 3 == 1:
                said = {"text": "delta thanks", "edit": 9, "collected_at": center.moment}
                changes.append(Edited(msgspec.structs.replace(hit.mention, **said)))
        publish_changes(center.bus, changes)
        center.work()
        for source in SOURCES:
            center.alive(source)
        with center.process(Calls()) as role:
            role.turns()
        after = {one.id: one for one in center.recorded()}
        for incident in before:
            # What rises again within six hours for the same reason is the same incident, told of anew.
            if after[incident.id].ended == incident.ended:
                assert plain(after[incident.id]) == plain(incident)
        for incident in after.values():
            assert_adds_up(incident)


def assert_adds_up(incident: Incident) -> None:
    """Fail unless each list of contributions adds up to the excess, in hundredths."""
    explanation = incident.explanation
    assert explanation is not None
    lists = (
        explanation.topics,
        explanation.sources,
        explanation.authors,
        explanation.places,
        explanation.terms,
    )
    for parts in lists:
        assert sum(round(part.excess * 100) for part in parts) == round(explanation.excess * 100)
        assert len({sum(part.observed for part in parts) for parts in lists}) == 1


@contextmanager
def watched(name: str) -> Iterator[Center]:
    """Return an empty center with one rule."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        center = Center(Path(folder), {name: RULES[name]}, lambda: EmbeddedStore(file, TAXONOMY))
        try:
            yield center
        finally:
            center.close()


def replayed(center: Center, name: str, hours: int = 28) -> list[Incident]:
    """Return the incidents that a backtest finds up to where the role has judged."""
    with center.state.read() as connection:
        clock = tables.clock(connection)
    assert clock is not None
    rule = RULES[name]
    until = from_ms(clock.through_ms)
    past = msgspec.structs.replace(past_of(center.state, rule), names=NAMES)
    since = NOON - timedelta(hours=hours)
    return list(run(center.store, rule, TAXONOMY, since, until, past, by="collected").incidents)
