"""Rules judged live: whatever is killed, late or done twice, the incidents are those of a replay, recorded once."""

import contextlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from hark.alerts import desk
from hark.alerts.backtest import run
from hark.alerts.counts import BUCKET_MS
from hark.alerts.evaluate import closed_until, evaluate
from hark.alerts.events import IncidentEvent
from hark.alerts.incidents import Incident
from hark.alerts.live import Watch, blind_in, past_of
from hark.alerts.rules import Rule
from hark.core.change import Tagged
from hark.core.clock import from_ms, to_ms
from hark.core.mention import Author
from hark.core.protocols import Batch, Gap
from hark.query import parse
from hark.state import State
from hark.state import alerts as tables
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged
from tests.support import watched
from tests.support.watched import TAXONOMY, Killed

START = datetime(2026, 11, 2, tzinfo=UTC)
LIVE = START + timedelta(hours=30)
"""When the role is first started; the burst comes an hour later."""
BURST = LIVE + timedelta(hours=1)
END = LIVE + timedelta(hours=5)
ALLOWANCE = 300
FIVE = timedelta(minutes=5)
RULES = {
    "brands": Rule(
        "brands",
        "Complaints",
        parse(""),
        "complaints",
        ("brand",),
        "spike",
        minimum_volume=5,
        minimum_severity=3,
        allowance_seconds=ALLOWANCE,
        notify=("ops",),
    )
}
PAIRS = msgspec.structs.replace(
    RULES["brands"], name="pairs", group_by=("brand", "topic"), minimum_severity=4
)


Burst = tuple[datetime, str, str, int]
"""When it begins, the brand, the topic, and how many authors write."""


def mentions(too_late: bool, seed: int = 1, more: Sequence[Burst] = ()) -> list[Tagged]:
    """Return what is said, with the times of collection; lost bags of delta burst for 40 minutes, and `more`."""
    draw = np.random.default_rng(seed)
    items = []

    def say(at: datetime, brand: str, topic: str, author: int) -> None:
        late = int(draw.integers(0, ALLOWANCE)) if draw.random() < 0.5 and not LIVE - FIVE < at < LIVE else 2
        # Of the time before the role was first started, what counts is what the store holds.
        if too_late and at >= LIVE and draw.random() < 0.1:
            late = int(draw.integers(600, 7200))
        source = "x" if draw.random() < 0.6 else "reddit"
        words = "they lost my bag at denver" if topic == "lost" else "late again"
        item = tagged(
            f"{source}:{len(items)}", f"{words} {author}", at, (brand,), "negative", topics=(topic,)
        )
        mention = msgspec.structs.replace(
            item.mention, author=Author(handle=f"a{author}"), collected_at=at + timedelta(seconds=late)
        )
        items.append(msgspec.structs.replace(item, mention=mention))

    for brand in ("delta", "united"):
        for second in np.cumsum(draw.exponential(150, 2000)):
            at = START + timedelta(seconds=round(float(second), 3))
            if at < END:
                say(at, brand, "lost" if draw.random() < 0.2 else "delay", int(draw.integers(0, 400)))
    for begin, brand, topic, authors in ((BURST, "delta", "lost", 400), *more):
        for second in sorted(draw.uniform(0, 2400, 200)):
            at = begin + timedelta(seconds=round(float(second), 3))
            say(at, brand, topic, int(draw.integers(0, authors)))
    return items


def collected(items: Iterable[Tagged], at: datetime, copy: str = "") -> list[Tagged]:
    """Return mentions (or copies of them, by other ids) as they are after an import at `at`."""
    return [
        msgspec.structs.replace(
            item,
            mention=msgspec.structs.replace(item.mention, id=item.mention.id + copy, collected_at=at),
        )
        for item in items
    ]


class Told(watched.Told):
    """What would be sent; with `kill` the process dies as it is written down."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.kill = False

    def __call__(self, connection: sa.Connection, event: IncidentEvent) -> None:
        super().__call__(connection, event)
        if self.kill:
            raise Killed


class Interrupted:
    """A store in which something happens when it is first asked."""

    def __init__(self, store: EmbeddedStore, happens: Any) -> None:
        self._store, self._happens = store, happens

    def __getattr__(self, name: str) -> Any:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return getattr(self._store, name)


def catch_up(watch: Watch, closed: int) -> None:
    while (through := watch.through()) is None or through < closed:
        watch.step(closed)


def recorded(state: State) -> list[Incident]:
    found = [shown.incident for shown in desk.list_incidents(state)]
    return sorted(found, key=lambda one: (one.opened, one.id))


def plain(incident: Incident, figures_alone: bool) -> Any:
    """Return an incident without what only a recorded one has."""
    found = msgspec.to_builtins(msgspec.structs.replace(incident, notify=()))
    if figures_alone:
        for name in ("explanation", "explained", "concentration", "mentions", "place", "headline"):
            del found[name]
    return found


@pytest.mark.parametrize(("seed", "too_late", "name"), [(1, False, "pairs"), (2, True, "brands")])
def test_live_is_replay_whatever_happens(
    store: EmbeddedStore, state: State, seed: int, too_late: bool, name: str
) -> None:
    """The same mentions in pieces and out of order, with a kill or another instance at every second step."""
    draw = random.Random(seed)
    rules = {name: RULES["brands"] if name == "brands" else PAIRS}
    told = Told(state)
    coming = sorted(mentions(too_late), key=lambda item: item.mention.collected_at)
    moment, place = LIVE, 0
    while moment <= END + timedelta(minutes=10):
        arrived = [item for item in coming[place:] if item.mention.collected_at <= moment]
        draw.shuffle(arrived)
        store.write(arrived)
        place += len(arrived)
        closed = closed_until(moment, ALLOWANCE)
        # Every step is another process: nothing lives on but what was recorded.
        match draw.choice(["killed", "killed late", "two", "two", ""]):
            case "killed":
                with contextlib.suppress(Killed):
                    watch_killed(store, state, rules, told).step(closed)
            case "killed late":
                told.kill = True
                with contextlib.suppress(Killed):
                    catch_up(Watch(store, state, rules, TAXONOMY, [], told), closed)
                told.kill = False
            case "two":
                first = Watch(store, state, rules, TAXONOMY, [], told)
                other = Interrupted(store, partial(catch_up, first, closed))
                Watch(other, state, rules, TAXONOMY, [], told).step(closed)  # type: ignore[arg-type]
        catch_up(Watch(store, state, rules, TAXONOMY, [], told), closed)
        moment += timedelta(minutes=draw.choice([1, 4, 5, 9, 30, 70]))
    through = from_ms(Watch(store, state, rules, TAXONOMY, [], told).through() or 0)
    replayed = run(store, rules[name], TAXONOMY, START, through, past_of(state, rules[name]))
    live = recorded(state)
    assert [one.id for one in live] == [one.id for one in replayed.incidents]
    for one, other in zip(live, replayed.incidents, strict=True):
        mine, its = plain(one, too_late), plain(other, too_late)
        assert {key: mine[key] for key in mine if mine[key] != its[key]} == {}
    burst = next(one for one in live if one.leading.group in ("delta", "delta × lost", "delta × baggage"))
    assert burst.ended is not None
    events = told.events()
    for known in ([(e.incident, e.number) for e in events], [(e.incident, e.kind, e.at) for e in events]):
        assert Counter(known).most_common(1)[0][1] == 1
    kinds = [event.kind for event in events if event.incident == burst.id]
    assert (kinds[0], kinds[-1]) == ("opened", "resolved")


def test_a_history_that_was_imported_later_is_tried_by_when_it_was_written(
    store: EmbeddedStore, state: State
) -> None:
    """The rule was live before it, with next to nothing to judge: to a replay by collection there is no import."""
    rule, past = RULES["brands"], mentions(False)
    catch_up(Watch(store, state, RULES, TAXONOMY, [], Told(state)), to_ms(LIVE))
    catch_up(Watch(store, state, RULES, TAXONOMY, [], Told(state)), to_ms(END))
    store.write(collected(past, END + timedelta(days=2)))
    tried = run(store, rule, TAXONOMY, START, END, past_of(state, rule))
    assert (tried.by, tried.imported) == ("written", 1.0)
    assert tried.basis == "Judged by when mentions were written, since 100% of them were imported later."
    assert tried.alerts == run(store, rule, TAXONOMY, START, END).alerts
    assert "delta" in {alert.series for alert in tried.alerts}
    known = run(store, rule, TAXONOMY, START, END, past_of(state, rule), by="collected")
    assert (known.alerts, known.by) == ((), "collected")


def test_a_little_that_was_imported_later_is_left_out_of_a_trial_as_it_was_live(
    store: EmbeddedStore, state: State
) -> None:
    rule, said = RULES["brands"], mentions(False)
    store.write(said)
    catch_up(Watch(store, state, RULES, TAXONOMY, [], Told(state)), to_ms(LIVE))
    catch_up(Watch(store, state, RULES, TAXONOMY, [], Told(state)), to_ms(END))
    before = run(store, rule, TAXONOMY, START, END, past_of(state, rule))
    more = collected(said[::20], END + timedelta(days=2), "b")
    store.write(more)
    tried = run(store, rule, TAXONOMY, START, END, past_of(state, rule))
    assert (tried.alerts, tried.incidents) == (before.alerts, before.incidents)
    assert tried.by == "collected"
    assert tried.imported == pytest.approx(len(more) / (len(said) + len(more)))
    assert tried.basis == "Left out, as it was live: 5% of the mentions, imported later."
    assert before.basis == ""
    assert before.blind_buckets == 0


def watch_killed(store: EmbeddedStore, state: State, rules: dict[str, Rule], told: Told) -> Watch:
    def die() -> None:
        raise Killed

    return Watch(Interrupted(store, die), state, rules, TAXONOMY, [], told)  # type: ignore[arg-type]


def lived(store: EmbeddedStore, state: State, rules: dict[str, Rule], told: Told) -> None:
    """Let everything happen in time, judged once an hour."""
    store.write(mentions(False))
    moment = LIVE
    while moment <= END + timedelta(hours=1):
        watch = Watch(store, state, rules, TAXONOMY, [], told)
        catch_up(watch, closed_until(moment, ALLOWANCE))
        moment += timedelta(hours=1)


def test_a_brand_and_its_topic_are_one_incident_and_everything_of_it_can_be_counted_again(
    store: EmbeddedStore, state: State
) -> None:
    told = Told(state)
    lived(store, state, {**RULES, "pairs": PAIRS}, told)
    live = [one for one in recorded(state) if one.opened > to_ms(BURST)]
    (incident,) = live
    assert {member.group for member in incident.members} >= {"delta", "delta × lost", "delta × baggage"}
    shown = desk.get(state, incident.id)
    assert shown is not None
    assert sum("for the same reason" in row.note for row in shown.timeline)
    # Who joins within half an hour of that stands in the timeline alone.
    heard = [event for event in told.events() if event.incident == incident.id]
    assert all(
        later.at - earlier.at >= timedelta(minutes=30)
        for earlier, later in pairwise(heard)
        if later.kind == "updated"
    )
    explained, explanation = incident.explained, incident.explanation
    assert explained is not None
    assert explanation is not None
    begin, end = from_ms(explained.begin), from_ms(explained.end)
    every = [hit for hit in store.search(parse(""), limit=None) if begin <= hit.mention.created_at < end]
    of = [
        hit
        for hit in every
        if "delta" in hit.enrichment.brands
        and (incident.leading.group == "delta" or any(t.id == "lost" for t in hit.enrichment.topics))
    ]
    assert explained.observed == len(of)
    excess = round(explanation.excess * 100)
    assert excess == len(of) * 100 - round(explained.expected * 100)
    for parts in (
        explanation.topics,
        explanation.sources,
        explanation.authors,
        explanation.places,
        explanation.terms,
    ):
        assert sum(round(part.excess * 100) for part in parts) == excess
        for part in parts:
            assert part.observed == store.count(parse(part.query), begin, end)
    who = incident.concentration
    assert who is not None
    core = list(store.search(parse(explanation.core), begin, end, limit=None))
    authors = Counter(
        f"{hit.mention.source}:{hit.mention.author.handle}" for hit in core if hit.mention.author
    )
    assert (who.mentions, who.authors) == (len(core), len(authors))
    assert who.top_author_share == pytest.approx(max(authors.values()) / len(core), abs=1e-4)
    assert who.pile_on == ""
    texts = [store.get(id) for id in incident.mentions]
    assert all(hit is not None and "lost my bag" in hit.mention.text for hit in texts)
    assert str(explained.observed) in incident.headline


def after_burst(state: State) -> list[tuple[str | None, str]]:
    """Return the leading series of each incident since the first burst, and what leads its excess."""
    found = [one for one in recorded(state) if one.opened > to_ms(BURST)]
    return [(one.leading.group, one.explanation.topics[0].value if one.explanation else "") for one in found]


@pytest.mark.parametrize("hours", [0.5, 2.2])
def test_two_causes_of_one_brand_are_two_incidents(store: EmbeddedStore, state: State, hours: float) -> None:
    told = Told(state)
    store.write(mentions(False, more=[(BURST + timedelta(hours=hours), "delta", "delay", 400)]))
    rules = {**RULES, "pairs": PAIRS}
    for minutes in range(0, 361, 30):
        catch_up(Watch(store, state, rules, TAXONOMY, [], told), to_ms(LIVE) + minutes * 60_000)
    lost, delay = [one for one in recorded(state) if one.opened > to_ms(BURST)]
    assert {member.group for member in lost.members} >= {"delta × lost", "delta × baggage"}
    assert "delta × delay" in {member.group for member in delay.members}
    assert "delta × lost" not in {member.group for member in delay.members}


def test_what_rises_again_for_the_same_reason_is_the_same_incident(
    store: EmbeddedStore, state: State
) -> None:
    told = Told(state)
    store.write(mentions(False, more=[(BURST + timedelta(hours=2.2), "delta", "lost", 400)]))
    for minutes in range(0, 361, 30):
        catch_up(Watch(store, state, RULES, TAXONOMY, [], told), to_ms(LIVE) + minutes * 60_000)
    assert after_burst(state) == [("delta", "lost")]
    kinds = [event.kind for event in told.events() if event.at > BURST]
    assert [kind for kind in kinds if kind not in ("updated", "escalated")] == [
        "opened",
        "resolved",
        "reopened",
        "resolved",
    ]


def test_two_brands_of_one_cause_name_each_other(store: EmbeddedStore, state: State) -> None:
    told = Told(state)
    store.write(mentions(False, more=[(BURST + timedelta(minutes=10), "united", "lost", 400)]))
    for minutes in range(0, 241, 30):
        catch_up(Watch(store, state, RULES, TAXONOMY, [], told), to_ms(LIVE) + minutes * 60_000)
    first, second = [one for one in recorded(state) if one.opened > to_ms(BURST)]
    assert (first.leading.group, second.leading.group) == ("delta", "united")
    assert (first.related, second.related) == ((second.id,), (first.id,))


def test_a_few_loud_accounts_are_told_from_many_customers(store: EmbeddedStore, state: State) -> None:
    told = Told(state)
    store.write(mentions(False, more=[(BURST, "united", "delay", 3)]))
    for minutes in range(0, 121, 30):
        catch_up(Watch(store, state, RULES, TAXONOMY, [], told), to_ms(LIVE) + minutes * 60_000)
    found = {one.leading.group: one.concentration for one in recorded(state) if one.opened > to_ms(BURST)}
    many, few = found["delta"], found["united"]
    assert many is not None
    assert few is not None
    assert many.pile_on == ""
    assert "wrote" in few.pile_on


def test_an_author_is_forgotten_and_the_figures_stay(store: EmbeddedStore, state: State) -> None:
    told = Told(state)
    store.write(mentions(False, more=[(BURST, "united", "delay", 3)]))
    for minutes in range(0, 121, 30):
        catch_up(Watch(store, state, RULES, TAXONOMY, [], told), to_ms(LIVE) + minutes * 60_000)
    (before,) = [
        one for one in recorded(state) if one.leading.group == "united" and one.opened > to_ms(BURST)
    ]
    assert before.concentration is not None
    assert desk.forget_author(state, "@" + before.concentration.top_author.upper()) >= 1
    after = desk.get(state, before.id)
    assert after is not None
    text = msgspec.json.encode(after).decode()
    assert f'"{before.concentration.top_author}"' not in text
    assert f"author:{before.concentration.top_author}" not in text
    explanation = after.incident.explanation
    assert explanation is not None
    assert sum(part.observed for part in explanation.authors) == sum(
        part.observed for part in explanation.topics
    )
    assert desk.forget_author(state, before.concentration.top_author) == 0


def test_an_author_is_not_written_back_by_a_judgement_that_began_before(
    store: EmbeddedStore, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    store.write(mentions(False, more=[(BURST, "united", "delay", 3)]))
    begin = to_ms(LIVE) + 120 * 60_000
    for moment in range(to_ms(LIVE), begin + 1, 30 * 60_000):
        catch_up(watch, moment)
    found = recorded(state)
    authors = recorded_authors(state)
    assert authors

    def meanwhile(*arguments: Any) -> Any:
        if recorded_authors(state) & authors:
            assert desk.forget_author(state, *authors) == len(found)
        return evaluate(*arguments)

    monkeypatch.setattr("hark.alerts.live.evaluate", meanwhile)
    assert not watch.step(begin + 300_000)
    assert not recorded_authors(state) & authors
    monkeypatch.setattr("hark.alerts.live.evaluate", evaluate)
    assert watch.step(begin + 300_000)
    assert watch.through() == begin + 300_000


def recorded_authors(state: State) -> set[str]:
    return {one.concentration.top_author for one in recorded(state) if one.concentration is not None}


def test_people_act_and_the_timeline_says_who(store: EmbeddedStore, state: State) -> None:
    told = Told(state)
    lived(store, state, RULES, told)
    (incident,) = [one for one in recorded(state) if one.opened > to_ms(BURST)]
    assert desk.act(state, incident.id, "kim", "reopen", enqueue=told).status == "open"
    shown = desk.act(state, incident.id, "kim", "acknowledge", enqueue=told)
    assert (shown.status, shown.acknowledged_by, shown.owner) == ("acknowledged", "kim", "kim")
    desk.act(state, incident.id, "ana", "note", "belt 4 stands still", enqueue=told)
    desk.act(state, incident.id, "ana", "link", "C-17", enqueue=told)
    until = datetime.now(UTC) + timedelta(hours=2)
    assert (
        desk.act(state, incident.id, "ana", "silence", until=until, enqueue=told).silenced_until is not None
    )
    desk.act(state, incident.id, "ana", "own", "ana", enqueue=told)
    shown = desk.act(state, incident.id, "ana", "resolve", "repaired", enqueue=told)
    assert (shown.status, shown.owner, shown.cases) == ("resolved", "ana", ("C-17",))
    said = [(event.number, event.kind, event.who) for event in shown.timeline][-7:]
    first = said[0][0]
    assert said == [
        (first + at, kind, who)
        for at, (kind, who) in enumerate(
            [
                ("reopened", "kim"),
                ("acknowledged", "kim"),
                ("noted", "ana"),
                ("linked", "ana"),
                ("silenced", "ana"),
                ("assigned", "ana"),
                ("resolved", "ana"),
            ]
        )
    ]
    assert [event.kind for event in told.events()][-7:] == [kind for _, kind, _ in said]
    assert told.events()[-1].quiet


def test_a_source_that_does_not_answer_is_told_of_and_taken_out(store: EmbeddedStore, state: State) -> None:
    rule = Rule("silent", "A source is silent", parse(""), "count", (), "source", window_seconds=900)
    told = Told(state)
    watch = Watch(store, state, {"silent": rule}, TAXONOMY, ["x", "never-ran"], told)
    state.save_batch("x", Batch([], "1"), 0, 0, None)
    (row,) = state.source_states()
    assert row.alive_ms is not None
    alive = row.alive_ms // BUCKET_MS * BUCKET_MS
    for minutes in (0, 10, 25, 30, 60):
        catch_up(watch, alive + minutes * 60_000)
    assert [(event.kind, event.series) for event in told.events()] == [("opened", "x")]
    (shown,) = desk.list_incidents(state)
    assert shown.headline.startswith("x does not answer since")
    assert shown.severity > 3
    with state.read() as connection:
        judged = tables.coverage(connection, alive, alive + 3_600_000)
    assert {names for start, names in judged.items() if start > alive} == {frozenset({"x"})}
    with state.begin() as connection:
        connection.execute(sa.text("UPDATE sources SET alive_ms = :at"), {"at": alive + 3_660_000})
    catch_up(watch, alive + 65 * 60_000)
    assert [event.kind for event in told.events()] == ["opened", "resolved"]
    assert desk.list_incidents(state, ["open"]) == []


def test_a_changed_rule_begins_anew_and_lets_go_of_what_it_watched(
    store: EmbeddedStore, state: State
) -> None:
    told = Told(state)
    store.write(mentions(False))
    middle = closed_until(BURST + timedelta(minutes=30), ALLOWANCE)
    catch_up(Watch(store, state, RULES, TAXONOMY, [], told), middle - 20 * BUCKET_MS)
    catch_up(Watch(store, state, RULES, TAXONOMY, [], told), middle)
    (shown,) = desk.list_incidents(state, ["open"])
    higher = {"brands": msgspec.structs.replace(RULES["brands"], threshold=50.0)}
    catch_up(Watch(store, state, higher, TAXONOMY, [], told), middle + BUCKET_MS)
    found = desk.get(state, shown.id)
    assert found is not None
    assert found.status == "resolved"
    assert found.timeline[-1].note == "its rule was changed"


def test_gaps_of_the_ledger_stay_what_they_were_when_judged(store: EmbeddedStore, state: State) -> None:
    told = Told(state)
    store.write(mentions(False))
    watch = Watch(store, state, RULES, TAXONOMY, [], told)
    catch_up(watch, to_ms(LIVE))
    gap = Gap(LIVE, LIVE + timedelta(minutes=10), "away")
    state.save_batch("x", Batch([], "1", gaps=[gap]), 0, 0, None)
    catch_up(watch, to_ms(LIVE) + 4 * BUCKET_MS)
    state.save_batch("x", Batch([], "2", gaps=[msgspec.structs.replace(gap, closed=True)]), 0, 0, None)
    found = blind_in(state, to_ms(LIVE), to_ms(LIVE) + 4 * BUCKET_MS)
    assert [found[to_ms(LIVE) + at * BUCKET_MS] for at in range(4)] == [{"x"}, {"x"}, set(), set()]
