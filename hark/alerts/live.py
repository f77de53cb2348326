"""The rules, judged while mentions come in: every closed bucket once, whoever is killed and however many watch.

A step reads what is closed and not judged yet, judges it, and records the checkpoints, the incidents, their events
and the notifications in one transaction that moves the clock of all rules on from where it was read. A process that
is killed before has done nothing; of two that do the same step one records it, and both would have recorded the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec
import sqlalchemy as sa
import structlog

from hark.alerts import counts, incidents
from hark.alerts.backtest import Past
from hark.alerts.counts import BUCKET_MS, Counts
from hark.alerts.detector import severity_of
from hark.alerts.evaluate import (
    SPIKE_WINDOW_ROWS,
    Blind,
    Stretch,
    Verdict,
    blind_of,
    closed_until,
    evaluate,
    in_parts,
)
from hark.alerts.events import IncidentEvent
from hark.alerts.explain import NO_NAMES, Evidence
from hark.alerts.incidents import REOPENS_MS, Follower, Happening, Incident, Member
from hark.alerts.rules import Rule
from hark.core.change import ENRICHED, MENTIONS
from hark.core.clock import EARLIEST, Clock, from_ms, to_ms
from hark.core.protocols import Bus, Store
from hark.ledger import ENRICH_GROUP, INDEX_GROUP
from hark.query import parse
from hark.query.fields import Taxonomy
from hark.state import State
from hark.state import alerts as tables
from hark.state.alerts import AlertClock, EventRow, Lesson

WARM_UP = timedelta(days=28)
"""What is read before the first judgement, for the baselines."""
MOST_LEARNED, LEAST_LEARNED = 1_000_000, timedelta(days=3)
"""Of a center with more mentions than that in four weeks a shorter time is read, three days at least."""
SHOWN = timedelta(days=7)
"""Incidents that are found in what was read to learn from are kept when they are no older, and nobody is told."""
STEP_BUCKETS = 12
PUBLISHED_SECONDS = 5.0
"""How long a collector may take from a mention's collection to its place in the log."""
MUCH_MORE, MORE = 1.1, 300
"""The rules learn again when a tenth more history has come in, and so many mentions."""
EMPTY_LOOKS = 6
"""How often an empty store is looked at again before it is believed to have no past."""
HISTORY_MS = 3_600_000
"""What is older counts as the past, when it is watched whether the past is still coming in."""
_EVERYTHING = parse("")
_log = structlog.get_logger()

Enqueue = Callable[[sa.Connection, IncidentEvent], None]


class Fence:
    """Whether everything that was in the log at a moment has been tagged and is in the store.

    What a bucket counts is then the same, however far behind the workers were: a bucket is judged later, not with less.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._through: int | None = None
        self._mentions: dict[int, int] | None = None
        self._enriched: dict[int, int] | None = None

    def passed(self, through: int) -> bool:
        """Say whether all that was published before the first call with this `through` is in the store.

        Call it when the buckets up to `through` (ms) are closed, again and again until it is true.
        """
        if through != self._through:
            self._mentions = self._bus.ends(MENTIONS)
            # Only now: while the log is away nothing is passed.
            self._through, self._enriched = through, None
        if self._mentions is not None:
            if not _reached(self._bus.committed(MENTIONS, ENRICH_GROUP), self._mentions):
                return False
            self._mentions, self._enriched = None, self._bus.ends(ENRICHED)
        if self._enriched is not None:
            if not _reached(self._bus.committed(ENRICHED, INDEX_GROUP), self._enriched):
                return False
            self._enriched = None
        return True


class Watch:
    """Judges the rules of a center; used by one thread.

    `sources` are the names of those that should always answer. `enqueue` is given every event that people are to be
    told of, inside the transaction that records it. `names` are what people call brands and topics, by id.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        rules: Mapping[str, Rule],
        taxonomy: Taxonomy,
        sources: Sequence[str],
        enqueue: Enqueue,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        self._store = store
        self._state = state
        self._rules = {name: rule for name, rule in rules.items() if rule.detector != "source"}
        self._source_rules = [rule for rule in rules.values() if rule.detector == "source"]
        self._all_rules = dict(rules)
        self._taxonomy = taxonomy
        self._sources = tuple(sources)
        self._enqueue = enqueue
        self._names = names

    def through(self) -> int | None:
        """Return up to when (ms) all rules have judged, None before the first step."""
        with self._state.read() as connection:
            clock = tables.clock(connection)
        return None if clock is None else clock.through_ms

    def history(self, before: int) -> int:
        """Return how many mentions the store holds from before a time (ms)."""
        return self._store.count(_EVERYTHING, None, from_ms(before))

    def step(self, closed: int, stored: int = 0) -> bool:
        """Judge what is not judged yet of the buckets up to `closed` (ms); False when another process was quicker.

        What was collected before `stored` (ms) is in the store, later than `closed` too; the first step learns from
        it. At most STEP_BUCKETS at once: call it until `through` is `closed`. Raises TransientError while the store
        or the state database is away; nothing is recorded then.
        """
        with self._state.read() as connection:
            clock = tables.clock(connection)
            known = tables.checkpoints(connection)
        if clock is None:
            clock = AlertClock(closed, closed, self.history(closed), stored)
            with self._state.begin() as connection:
                if not tables.start_clock(connection, clock):
                    return False
        new = [rule for name, rule in self._rules.items() if known.get(name, ("", b""))[0] != rule.identity]
        gone = known.keys() - self._all_rules.keys()
        if (new or gone) and not self._learn(clock, new, gone):
            return False
        end = min(closed, clock.through_ms + STEP_BUCKETS * BUCKET_MS)
        return end <= clock.through_ms or self._judge(clock, end)

    def outgrown(self) -> bool:
        """Say whether there is much more to learn from than was learned from."""
        with self._state.read() as connection:
            clock = tables.clock(connection)
        return clock is not None and self.history(clock.live_since_ms) > clock.history * MUCH_MORE + MORE

    def relearn(self, stored: int = 0) -> None:
        """Begin all rules anew, as there is more history to learn from; incidents stay. `stored` as of `step`."""
        with self._state.begin() as connection:
            clock = tables.clock(connection)
            if clock is not None:
                history = self.history(clock.live_since_ms)
                after = msgspec.structs.replace(clock, history=history, learned_ms=stored)
                if tables.move_clock(connection, clock, after):
                    tables.forget_checkpoints(connection)

    def _learn(self, clock: AlertClock, new: Sequence[Rule], gone: Iterable[str]) -> bool:
        """Read the past for rules that are new or changed, up to where the others stand; let go of those gone."""
        end = clock.through_ms
        begin = self._first(end)
        # What counts of the past does not depend on which process gets to it, and when: what came until its last
        # bucket closed, and what was in the store when the past was last counted.
        closes = end + max((rule.allowance_seconds for rule in new), default=0) * 1000
        learned = max(closes, clock.learned_ms)
        _log.info("learning from the past", rules=[rule.name for rule in new], since=str(from_ms(begin)))
        blind = blind_in(self._state, begin, end)
        whole = [rule for rule in new if rule.detector != "new-term"]
        counted = (
            counts.read(self._store, whole, self._taxonomy, begin, end, clock.live_since_ms, learned)
            if whole
            else {}
        )
        lessons = {rule.name: learned for rule in new}
        follower = Follower(self._rules, self._evidence(blind, clock, lessons))
        shown = max(begin, end - int(SHOWN.total_seconds()) * 1000)
        found: dict[str, tuple[str, bytes]] = {}
        said: dict[str, list[Verdict]] = {}
        for rule in new:
            said[rule.name], checkpoint = [], b""
            for stretch in self._past(rule, counted, blind, begin, end, clock, learned):
                more, checkpoint = evaluate(rule, stretch, checkpoint)
                said[rule.name] += more
            found[rule.name] = rule.identity, checkpoint
        happened: list[Happening] = []
        recorded: dict[str, Incident] = {}
        for start, verdicts in _by_start(said):
            if start >= shown:
                happened += _copied(follower.step(start, verdicts))
                recorded |= follower.incidents
        with self._state.begin() as connection:
            if not tables.move_clock(connection, clock, clock):
                return False
            tables.save_checkpoints(connection, found)
            # Of what was learned from too: a gap that is found or filled later changes nothing.
            tables.save_coverage(connection, {begin: blind.get(begin, frozenset()), **blind})
            for rule in new:
                tables.save_lesson(connection, rule.name, Lesson(rule.identity, begin, shown, learned))
            tables.forget_checkpoints(connection, gone)
            self._leave(connection, {rule.name for rule in new}, recorded, end)
            kept = [one for one in happened if tables.get(connection, one.incident.id) is None]
            for one in kept:
                self._record(connection, one, silent=one.at < clock.live_since_ms)
            for incident in recorded.values():
                self._save(connection, incident)
        return True

    def _past(
        self,
        rule: Rule,
        counted: Mapping[str, Counts],
        blind: Blind,
        begin: int,
        end: int,
        clock: AlertClock,
        learned: int,
    ) -> Iterable[Stretch]:
        """Return what a rule counts of the past: of new terms in parts, read as they are judged."""
        if rule.detector == "new-term":
            since = clock.live_since_ms
            return in_parts(self._store, rule, self._taxonomy, begin, end, since, blind, learned=learned)
        return [Stretch(_begin_of(counted[rule.name], end), end, counted[rule.name], blind)]

    def _judge(self, clock: AlertClock, end: int) -> bool:
        """Judge the buckets from where all stand to `end`, and record what came of it."""
        begin = clock.through_ms
        with self._state.read() as connection:
            known = tables.checkpoints(connection)
            rows = tables.following(connection, begin - REOPENS_MS)
            lessons = {rule: lesson.learned_ms for rule, lesson in tables.lessons(connection).items()}
            if tables.clock(connection) != clock:
                return False
        open_before = [msgspec.msgpack.decode(data, type=Incident) for data in rows]
        followed = [one for one in open_before if one.leading.rule in self._rules]
        # The window of an alert that begins now reaches back before the buckets that are judged.
        widest = max(
            [SPIKE_WINDOW_ROWS * BUCKET_MS, *(one.window_seconds * 1000 for one in self._rules.values())]
        )
        earliest = min([begin - widest, *(member.begin for one in followed for member in one.members)])
        blind = {**blind_in(self._state, earliest, begin), **self._away(begin, end)}
        rules = list(self._rules.values())
        # With their lessons, as the first window of a rule on new terms reaches back before it was live.
        counted = (
            counts.read(self._store, rules, self._taxonomy, begin, end, clock.live_since_ms, lessons)
            if rules
            else {}
        )
        follower = Follower(self._rules, self._evidence(blind, clock, lessons), followed)
        found = {rule.name: (rule.identity, b"") for rule in self._source_rules}
        said: dict[str, list[Verdict]] = {}
        for rule in rules:
            stretch = Stretch(begin, end, counted[rule.name], blind)
            said[rule.name], checkpoint = evaluate(rule, stretch, known[rule.name][1])
            found[rule.name] = rule.identity, checkpoint
        recorded = dict(follower.incidents)
        happened: list[Happening] = []
        for start, verdicts in _by_start(said):
            happened += _copied(follower.step(start, verdicts))
            recorded |= follower.incidents
        silent = [one for one in open_before if one.detector == "source"]
        happened += self._sources_silent(silent, end, recorded)
        with self._state.begin() as connection:
            if not tables.move_clock(connection, clock, msgspec.structs.replace(clock, through_ms=end)):
                return False
            tables.save_checkpoints(connection, found)
            tables.save_coverage(
                connection, {start: blind.get(start, frozenset()) for start in range(begin, end, BUCKET_MS)}
            )
            for one in happened:
                self._record(connection, one, silent=False)
            for incident in recorded.values():
                self._save(connection, incident)
        return True

    def _sources_silent(
        self, before: Sequence[Incident], end: int, recorded: dict[str, Incident]
    ) -> list[Happening]:
        """Open and end the incidents of sources that do not answer."""
        alive = {row.name: row for row in self._state.source_states()}
        happened = []
        for rule in self._source_rules:
            lasting = {
                one.leading.group: one for one in before if one.rule == rule.name and one.ended is None
            }
            at = end + rule.allowance_seconds * 1000
            for name in self._sources:
                row = alive.get(name)
                if row is None or row.alive_ms is None:
                    continue  # it never ran here
                silence = end - row.alive_ms
                incident = lasting.get(name)
                if silence >= rule.window_seconds * 1000:
                    if incident is None:
                        incident = _silent(rule, name, row.alive_ms, at)
                        happened.append(Happening(incident, "opened", at, row.error))
                    incident.severity = severity_of(silence / 1000 / rule.window_seconds)
                    incident.worst = max(incident.worst, incident.severity)
                    since = f"{from_ms(row.alive_ms):%Y-%m-%d %H:%M} UTC"
                    incident.text = f"{name} does not answer since {since}" + f": {row.error}" * bool(
                        row.error
                    )
                    incident.headline = incident.text
                    recorded[incident.id] = incident
                elif incident is not None:
                    incident.ended, incident.severity = at, 0
                    incident.leading.ended = end
                    recorded[incident.id] = incident
                    happened.append(Happening(incident, "resolved", at, "it answers again"))
        return happened

    def _leave(
        self, connection: sa.Connection, changed: Iterable[str], found: Mapping[str, Incident], end: int
    ) -> None:
        """End the incidents of rules that were changed or taken away, unless they were found again."""
        gone = set(changed)
        for data in tables.following(connection, end):
            incident = msgspec.msgpack.decode(data, type=Incident)
            if incident.ended is not None or incident.id in found:
                continue
            for member in incident.members:
                if member.ended is None and (member.rule in gone or member.rule not in self._all_rules):
                    member.ended, member.severity = end, 0
            if all(member.ended is not None for member in incident.members):
                incident.ended, incident.severity = end, 0
                self._record(
                    connection, Happening(incident, "resolved", end, "its rule was changed"), silent=False
                )
            self._save(connection, incident)

    def _record(self, connection: sa.Connection, one: Happening, silent: bool) -> None:
        """Write an event, what it does to the incident's status, and whom it is told."""
        incident = one.incident
        row = tables.get(connection, incident.id, lock=True)
        kind = one.kind
        status = "open" if row is None else row.status
        over = row is not None and row.status == "resolved" and kind in ("updated", "resolved")
        told = one.told and not silent and not over
        if kind == "resolved":
            status = "resolved"
        elif kind == "reopened" or (kind == "escalated" and status == "resolved"):
            status, kind = "open", "reopened"
        number = 1 if row is None else row.events + 1
        rules = [
            self._all_rules[member.rule] for member in incident.members if member.rule in self._all_rules
        ]
        incident.notify = tuple(dict.fromkeys(name for rule in rules for name in rule.notify))
        self._save(connection, incident, status=status, events=number)
        tables.add_event(
            connection,
            EventRow(incident.id, number, one.at, kind, "", one.note, incident.headline, incident.severity),
        )
        if told:
            quiet = any(rule.quiet is not None and rule.quiet.at(from_ms(one.at)) for rule in rules)
            silenced = row is not None and (row.silenced_until_ms or 0) > one.at
            self._enqueue(
                connection,
                IncidentEvent(
                    incident.id,
                    number,
                    kind,
                    from_ms(one.at),
                    incident.rule,
                    incident.title,
                    incidents.named(incident.leading.group, self._names),
                    incident.severity,
                    incident.headline,
                    "\n".join(filter(None, (one.note, incidents.body(incident)))),
                    f"/incidents/{incident.id}",
                    incident.notify,
                    quiet=quiet or silenced,
                ),
            )

    def _save(self, connection: sa.Connection, incident: Incident, **more: object) -> None:
        values: dict[str, object] = {
            "rule": incident.rule,
            "opened_ms": incident.opened,
            "ended_ms": incident.ended,
            "severity": incident.severity,
            "data": msgspec.msgpack.encode(incident),
            **more,
        }
        if "status" not in values and tables.get(connection, incident.id) is not None:
            tables.change(connection, incident.id, values)
        else:
            tables.save(connection, incident.id, {"status": "open", **values})

    def _first(self, end: int) -> int:
        """Return where learning begins, whole buckets before `end`."""
        last = from_ms(end)
        earliest = max(last - WARM_UP, EARLIEST)
        days = self._store.histogram(_EVERYTHING, 86_400, earliest, last)
        whole = 0
        for day in reversed(days):
            whole += day.count
            if whole > MOST_LEARNED and last - from_ms(day.start) >= LEAST_LEARNED:
                earliest = from_ms(day.start)
                break
        return to_ms(earliest) // BUCKET_MS * BUCKET_MS

    def _away(self, begin: int, end: int) -> Blind:
        """Return which sources may have missed mentions of buckets that are judged now."""
        touched = dict(blind_of(self._state.gaps(), begin, end))
        alive = {row.name: row.alive_ms for row in self._state.source_states()}
        for name in self._sources:
            last = alive.get(name)
            if last is None:
                continue
            for start in range(begin, end, BUCKET_MS):
                if last < start + BUCKET_MS:
                    touched[start] = touched.get(start, frozenset()) | {name}
        return touched

    def _evidence(self, blind: Blind, clock: AlertClock, lessons: Mapping[str, int]) -> Evidence:
        return Evidence(self._store, self._taxonomy, blind, clock.live_since_ms, lessons, self._names)


class Rounds:
    """What the role does every few seconds: judge what has closed, once the past is in and the workers are through.

    `beat` is called whenever every rule has been looked at and nothing waits. `lag_seconds` is how long it takes until
    what another process wrote to the store is found.
    """

    def __init__(
        self, watch: Watch, fence: Fence, clock: Clock, beat: Callable[[], None], lag_seconds: float = 0.0
    ) -> None:
        self._watch = watch
        self._fence = fence
        self._clock = clock
        self._beat = beat
        self._lag = timedelta(seconds=lag_seconds)
        self._asked: tuple[int, int] | None = None
        self._passed: tuple[int, datetime] | None = None
        self._seen: int | None = None
        self._outgrown: int | None = None
        self._looked = self._looks = 0

    def turn(self, allowance_seconds: int) -> None:
        """Judge everything that is closed and in the store; raises TransientError while a part is away."""
        # Mentions that were collected just before a bucket closed may be on their way into the log.
        published = self._clock() - timedelta(seconds=PUBLISHED_SECONDS)
        closed = closed_until(published, allowance_seconds)
        through = self._watch.through()
        if through is None or closed - self._looked >= BUCKET_MS:
            behind = through is None or closed - through > HISTORY_MS
            if not self._history_is_in(closed, behind):
                return
            through = self._watch.through()
        while through is None or through < closed:
            if self._asked is None or self._asked[0] != closed:
                self._asked = closed, to_ms(published)
            if not self._fence.passed(closed) or not self._visible(closed):
                return
            stored = self._asked[1]
            # Behind a fence that was asked for after the past was seen to have come in: all of it counts.
            if self._outgrown is not None and self._outgrown < closed:
                self._watch.relearn(stored)
                self._outgrown = None
            self._watch.step(closed, stored)
            through = self._watch.through()
        self._beat()

    def _visible(self, closed: int) -> bool:
        """Say whether what was in the store when the fence was passed can be found by now."""
        if self._passed is None or self._passed[0] != closed:
            self._passed = closed, self._clock()
        return self._clock() - self._passed[1] >= self._lag

    def _history_is_in(self, closed: int, behind: bool) -> bool:
        """Wait while the past is coming in, as at the very start; notice when much more of it has come.

        `behind`: nothing was judged for an hour or ever.
        """
        before, self._seen = self._seen, self._watch.history(closed - HISTORY_MS)
        self._looks += 1
        if not settled(self._seen, before) or (self._seen == 0 and self._looks < EMPTY_LOOKS):
            self._outgrown = None
            return not behind
        if self._outgrown is None and self._watch.outgrown():
            self._outgrown = closed
        self._looked = closed
        return True


def blind_in(state: State, begin: int, end: int) -> Blind:
    """Return which sources were away in buckets of the past: as it was judged or learned then, else by the ledger."""
    with state.read() as connection:
        judged = tables.coverage(connection, begin, end)
        first = tables.covered_from(connection)
    by_ledger = end if first is None else min(first, end)
    return {**blind_of(state.gaps(), begin, by_ledger), **judged}


def past_of(state: State, rule: Rule) -> Past:
    """Return what is known of the past, and how `rule` learned from it where it is judged as it stands now."""
    with state.read() as connection:
        clock = tables.clock(connection)
        lesson = tables.lessons(connection).get(rule.name)
    known = Past(partial(blind_in, state), partial(blind_of, state.gaps()))
    if clock is None:
        return known
    known = msgspec.structs.replace(known, live_since=clock.live_since_ms)
    if lesson is None or lesson.identity != rule.identity:
        return known
    return msgspec.structs.replace(
        known, learned=lesson.learned_ms, begun=lesson.begin_ms, shown=lesson.shown_ms
    )


def _reached(committed: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())


def _begin_of(counted: Counts, end: int) -> int:
    # Before the first mention there is no series to judge.
    return min(counted, default=end)


def _by_start(said: Mapping[str, Sequence[Verdict]]) -> list[tuple[int, dict[str, list[Verdict]]]]:
    """Return the verdicts of all rules, bucket by bucket."""
    found: dict[int, dict[str, list[Verdict]]] = {}
    for rule, verdicts in said.items():
        for verdict in verdicts:
            if verdict.severity or verdict.event:
                found.setdefault(verdict.start, {}).setdefault(rule, []).append(verdict)
    return sorted(found.items())


def _copied(happened: Sequence[Happening]) -> list[Happening]:
    """Return what happened with the incidents as they are now: they go on changing within a step."""
    return [
        msgspec.structs.replace(
            one, incident=msgspec.msgpack.decode(msgspec.msgpack.encode(one.incident), type=Incident)
        )
        for one in happened
    ]


def _silent(rule: Rule, source: str, alive_ms: int, at: int) -> Incident:
    member = Member(rule.name, source, alive_ms, alive_ms, at, 0, 0.0, 0.0, 0)
    id = incidents.incident_id(rule.name, source, alive_ms)
    return Incident(id, rule.name, rule.title, rule.metric, "source", at, alive_ms, [member])


def settled(now: int, before: int | None) -> bool:
    """Say whether the past has come in: a second look finds hardly more than the one before."""
    return before is not None and now <= before * 1.01
