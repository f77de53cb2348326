"""Incidents: one for each cause, made of the series that rise for the same reason.

Pure: verdicts and mentions in, incidents and what happened to them out; who records and tells them is `live`'s
matter. How causes are told apart is decided in docs/adr (joining of incidents): by the mentions that the excess is
made of, not by the series that they were noticed in.
"""

import hashlib
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from math import exp, lgamma, log, sqrt
from typing import Literal

from msgspec import Struct, field

from hark.alerts.counts import BUCKET_MS
from hark.alerts.detector import EXPECTATION_VARIANCE
from hark.alerts.evaluate import Verdict, Window, told_at
from hark.alerts.events import EventKind
from hark.alerts.explain import NO_NAMES, OTHER, Evidence, Explanation, explain
from hark.alerts.rules import BETWEEN, OF_ALL, Rule
from hark.alerts.terms import term_in_words
from hark.alerts.voices import Concentration, concentration, leading_place, representative
from hark.core.clock import from_ms, to_ms
from hark.core.protocols import Hit
from hark.query import parse
from hark.query.match import Document, Matcher

SAME_SHARE = 0.5
"""Two series have one cause when at least so many of the mentions that one is about are the other's too."""
_FEWEST_SHARED = 3
REOPENS_MS = 6 * 3_600_000
"""What rises again for the same reason within six hours is the same incident."""
RELATED_MS = 3_600_000
"""Incidents of other brands about the same topic or place that begin within an hour are named beside each other."""
UPDATE_MS = 1_800_000
"""People are told of moved figures every half hour at most."""
_UPDATE_SEVERITY, _UPDATE_TIMES = 2, 1.5
_MOST_BARS = 600
_BY_BUCKET = ("spike", "flatline")
"""Detectors whose verdicts' values are of one bucket; of the others they are of the window."""

Trend = Literal["rising", "steady", "falling"]


class Bar(Struct, frozen=True):
    """Five minutes of a chart (ms): the count, None in a gap, and the interval that nineteen in twenty fall into."""

    start: int
    value: float | None
    expected: float
    low: float
    high: float


class Member(Struct):
    """One series of an incident. `begin` to `until` (ms) is the time that its figures are of."""

    rule: str
    group: str | None
    since: int
    begin: int
    until: int
    observed: int
    expected: float
    dispersion: float
    severity: int
    ended: int | None = None
    waiting: tuple[int, float] = (0, 0.0)
    """Counted and expected since `until`; they count when it is loud again."""
    skipped: tuple[int, ...] = ()
    """Buckets (ms) since `begin` that could not be judged, as too much was away."""
    chart: list[Bar] = field(default_factory=list)
    volume: int = 0
    """Of a share and of a net sentiment: the mentions that it is taken of."""

    @property
    def window(self) -> Window:
        """Return the time that its figures are of."""
        skipped = tuple(start for start in self.skipped if start < self.until)
        return Window(
            self.begin, self.until, self.observed, self.expected, self.observed, self.dispersion, skipped
        )

    @property
    def excess(self) -> float:
        """Return how far it is from what was expected, up or down."""
        return abs(self.observed - self.expected)


class Incident(Struct):
    """One cause. Times in ms; figures are those of its leading series, the one with the largest excess.

    `opened` is when people were told, `since` when it began, `ended` when it was over (None while it lasts).
    `explanation` is of `explained`; `mentions` are ids, as texts may be deleted.
    """

    id: str
    rule: str
    title: str
    metric: str
    detector: str
    opened: int
    since: int
    members: list[Member]
    lead: int = 0
    ended: int | None = None
    severity: int = 0
    worst: int = 0
    trend: Trend = "rising"
    headline: str = ""
    place: str = ""
    explained: Window | None = None
    explanation: Explanation | None = None
    concentration: Concentration | None = None
    mentions: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    told_ms: int = 0
    told_severity: int = 0
    told_observed: int = 0
    notify: tuple[str, ...] = ()
    """Who is told of it: the targets of its members' rules."""
    text: str = ""
    """Of an incident without a series, a source's: what is wrong, in words."""

    @property
    def leading(self) -> Member:
        """Return the member that the figures are of."""
        return self.members[self.lead]

    @property
    def series(self) -> str:
        """Return the leading series, for people."""
        return self.leading.group or "all"


class Happening(Struct, frozen=True):
    """Something that happened to an incident at `at` (ms), with a note in words."""

    incident: Incident
    kind: EventKind
    at: int
    note: str = ""
    told: bool = True
    """False for what stands in the timeline alone: people heard of the incident less than half an hour ago."""


class Follower:
    """Follows incidents from bucket to bucket. `incidents` are those that last or ended in the last six hours."""

    def __init__(
        self, rules: Mapping[str, Rule], evidence: Evidence, incidents: Iterable[Incident] = ()
    ) -> None:
        self._rules = rules
        self._evidence = evidence
        self.incidents = {incident.id: incident for incident in incidents}

    def step(self, start: int, verdicts: Mapping[str, Sequence[Verdict]]) -> list[Happening]:
        """Take the verdicts of the bucket that begins at `start`, by rule; return what happened, in order."""
        by_series = {(rule, verdict.group): verdict for rule, found in verdicts.items() for verdict in found}
        happened: list[Happening] = []
        lasting = [incident for incident in self.incidents.values() if incident.ended is None]
        for incident in sorted(lasting, key=lambda one: (one.opened, one.id)):
            happened += self._follow(incident, start, by_series)
        begun = [
            (self._rules[rule], verdict)
            for (rule, _), verdict in by_series.items()
            if verdict.event == "begin"
        ]
        for rule, verdict in sorted(begun, key=_foremost):
            one = self._begin(rule, verdict)
            # What joins at once is part of what opened.
            if one.kind != "updated" or one.incident.opened != one.at:
                happened.append(one)
        self._forget(start)
        return happened

    def _follow(
        self, incident: Incident, start: int, by_series: Mapping[tuple[str, str | None], Verdict]
    ) -> list[Happening]:
        """Bring an incident up to date with the bucket; say what is to be told of it."""
        escalates = False
        for member in incident.members:
            verdict = by_series.get((member.rule, member.group))
            if member.ended is not None or verdict is None or verdict.event == "begin":
                continue
            rule = self._rules[member.rule]
            _count(member, rule, verdict)
            if rule.detector in _BY_BUCKET:
                member.chart.append(_bar(start, verdict.value, verdict.expected, member.dispersion))
                del member.chart[:-_MOST_BARS]
            escalates = escalates or verdict.event == "escalate"
            if verdict.event == "end":
                member.ended, member.severity = start + BUCKET_MS, 0
        incident.severity = max((one.severity for one in incident.members if one.ended is None), default=0)
        incident.worst = max(incident.worst, incident.severity)
        leads = self._lead(incident)
        incident.trend = _trend(incident.leading.chart)
        at = to_ms(told_at(start, self._rules[incident.rule]))
        if all(member.ended is not None for member in incident.members):
            incident.ended, incident.severity = at, 0
            self._explain(incident, at)
            return [Happening(incident, "resolved", at, "back to what is usual")]
        incident.headline = headline(incident, self._rules, self._evidence.names)
        if escalates:
            self._explain(incident, at)
            return [Happening(incident, "escalated", at, "three times as strong as when it was last told of")]
        grown = abs(incident.leading.observed) >= max(1, _UPDATE_TIMES * abs(incident.told_observed))
        moved = abs(incident.severity - incident.told_severity) >= _UPDATE_SEVERITY
        if at - incident.told_ms >= UPDATE_MS and (grown or moved or leads):
            self._explain(incident, at)
            return [Happening(incident, "updated", at, "its figures have moved")]
        return []

    def _begin(self, rule: Rule, verdict: Verdict) -> Happening:
        """Join a series that begins to the incident of its cause, or open one for it."""
        window = verdict.window
        assert window is not None
        at = to_ms(told_at(verdict.start, rule))
        since = window.begin
        member = Member(
            rule.name,
            verdict.group,
            since,
            since,
            window.end,
            window.observed,
            window.expected,
            window.dispersion,
            verdict.severity,
            chart=_bars(verdict, window.dispersion) if rule.detector in _BY_BUCKET else [],
            volume=window.volume if rule.metric in OF_ALL else 0,
        )
        explanation = explain(self._evidence, rule, verdict.group, window)
        own = self._evidence.hits(parse(explanation.core), window, rule)
        for incident in sorted(
            self.incidents.values(), key=lambda one: (one.ended is not None, one.opened, one.id)
        ):
            if incident.explanation is not None and self._same_cause(incident, own, window, rule):
                return self._join(incident, member, verdict, at)
        incident = Incident(
            incident_id(rule.name, verdict.group, verdict.start),
            rule.name,
            rule.title,
            rule.metric,
            rule.detector,
            at,
            since,
            [member],
            severity=verdict.severity,
            worst=verdict.severity,
        )
        self.incidents[incident.id] = incident
        self._explain(incident, at, explanation, own)
        self._relate(incident)
        return Happening(incident, "opened", at)

    def _join(self, incident: Incident, member: Member, verdict: Verdict, at: int) -> Happening:
        again = incident.ended is not None
        known = next(
            (one for one in incident.members if (one.rule, one.group) == (member.rule, member.group)), None
        )
        if known is None:
            incident.members.append(member)
        else:
            # Its figures are those of the new rise: what lay between was no part of it.
            incident.members[incident.members.index(known)] = member
        incident.ended = None
        incident.since = min(incident.since, member.since)
        incident.severity = max(one.severity for one in incident.members if one.ended is None)
        incident.worst = max(incident.worst, incident.severity)
        leads = self._lead(incident)
        told = again or at - incident.told_ms >= UPDATE_MS
        if told or leads:
            self._explain(incident, at, told=told)
        name = member.group or "all"
        if again:
            return Happening(incident, "reopened", at, f"{name} rises again for the same reason")
        return Happening(incident, "updated", at, f"{name} ({member.rule}) rises for the same reason", told)

    def _same_cause(self, incident: Incident, own: Sequence[Hit], window: Window, rule: Rule) -> bool:
        """Say whether what a series is about is what the incident is about, by the mentions of both."""
        assert incident.explanation is not None
        if incident.ended is not None and window.end - incident.ended > REOPENS_MS:
            return False
        core = parse(incident.explanation.core)
        matchers = [Matcher(core)]
        if incident.explanation.said:
            matchers.append(Matcher(parse(incident.explanation.said)))
        begin = window.begin if incident.ended is not None else max(window.begin, incident.since)
        mine = [hit for hit in own if to_ms(hit.mention.created_at) >= begin]
        taxonomy = self._evidence.taxonomy
        documents = [Document(hit.mention, hit.enrichment, taxonomy) for hit in mine]
        shared = sum(any(one.matches(document) for one in matchers) for document in documents)
        if len(mine) >= _FEWEST_SHARED and shared >= SAME_SHARE * len(mine):
            return True
        if incident.ended is not None:
            return False
        theirs = self._evidence.hits(core, Window(begin, window.end, 0, 0.0, 0), rule)
        return len(theirs) >= _FEWEST_SHARED and shared >= SAME_SHARE * len(theirs)

    def _lead(self, incident: Incident) -> bool:
        """Let the member with the largest excess lead, once it is clearly ahead; say whether that is another one."""
        best = max(range(len(incident.members)), key=lambda at: (incident.members[at].excess, -at))
        if best == incident.lead or incident.members[best].excess < 1.2 * incident.leading.excess:
            return False
        incident.lead = best
        incident.rule = incident.leading.rule
        rule = self._rules[incident.rule]
        incident.title, incident.metric, incident.detector = rule.title, rule.metric, rule.detector
        return True

    def _explain(
        self,
        incident: Incident,
        at: int,
        explanation: Explanation | None = None,
        own: Sequence[Hit] | None = None,
        told: bool = True,
    ) -> None:
        """Explain the leading series' figures anew, and remember when they are told."""
        member = incident.leading
        rule = self._rules[member.rule]
        window = member.window
        if explanation is None:
            explanation = explain(self._evidence, rule, member.group, window)
        if own is None:
            own = self._evidence.hits(parse(explanation.core), window, rule)
        incident.explained, incident.explanation = window, explanation
        incident.concentration = concentration(own)
        incident.mentions = representative(own)
        incident.place = leading_place(own)
        incident.headline = headline(incident, self._rules, self._evidence.names)
        if told:
            incident.told_ms, incident.told_severity = at, incident.severity
            incident.told_observed = member.observed

    def _relate(self, incident: Incident) -> None:
        """Name incidents beside each other that began together and are about the same topic or place."""
        about = _about(incident)
        for other in self.incidents.values():
            if other is incident or other.ended is not None or incident.opened - other.opened > RELATED_MS:
                continue
            if about & _about(other):
                incident.related = tuple(sorted({*incident.related, other.id}))
                other.related = tuple(sorted({*other.related, incident.id}))

    def _forget(self, start: int) -> None:
        for id, incident in list(self.incidents.items()):
            if incident.ended is not None and start - incident.ended > REOPENS_MS:
                del self.incidents[id]


def body(incident: Incident) -> str:
    """Return some lines of plain text: where the excess comes from, and who speaks."""
    lines = []
    explanation, found = incident.explanation, incident.concentration
    if explanation is not None:
        lists = ("topics", explanation.topics), ("sources", explanation.sources), ("terms", explanation.terms)
        for name, parts in lists:
            named = [f"{part.value} {part.excess:+.0f}" for part in parts if part.value != OTHER][:4]
            if named:
                lines.append(f"{name}: " + ", ".join(named))
    if found is not None and found.mentions:
        lines.append(
            f"{found.mentions} mentions of {found.authors} authors"
            + (f"; {found.pile_on}" * bool(found.pile_on))
        )
    if len(incident.members) > 1:
        names = sorted({member.group or "all" for member in incident.members})
        lines.append(f"{len(incident.members)} series rise together: " + ", ".join(names[:6]))
    if incident.related:
        lines.append("at the same time, about the same: " + ", ".join(incident.related))
    return "\n".join(lines)


def incident_id(rule: str, group: str | None, start: int) -> str:
    """Return the id of the incident that a series opens at a bucket: the same wherever it is computed."""
    text = f"{rule}\0{group or ''}\0{start}".encode()
    return b32encode(hashlib.blake2s(text, digest_size=5).digest()).decode().lower()


def named(group: str | None, names: Mapping[str, str]) -> str:
    """Return a series as people call it."""
    return BETWEEN.join(names.get(value, value) for value in group.split(BETWEEN)) if group else "all"


def headline(incident: Incident, rules: Mapping[str, Rule], names: Mapping[str, str] = NO_NAMES) -> str:
    """Return one sentence made of the figures; `names` are what people call brands and topics, by id."""
    if incident.text:
        return incident.text
    member = incident.leading
    rule = rules[member.rule]
    explanation = incident.explanation
    group, _ = rule.divided(member.group)
    topic = ""
    if explanation is not None:
        sign = -1 if rule.metric == "net-sentiment" and explanation.excess < 0 else 1
        leads = [part for part in explanation.topics if part.value != OTHER and sign * part.excess > 0]
        # What the series is grouped by stands there already.
        topic = leads[0].value if leads and leads[0].value not in (member.group or "") else ""
    new = _new_term(incident, rules)
    said = f"“{term_in_words(new)}” is new" if new else ""
    who = " · ".join(filter(None, (named(group, names), said, names.get(topic, topic)))) + (
        f" at {incident.place}" if incident.place else ""
    )
    return f"{who}: {_figures(member, rule)}, since {from_ms(incident.since):%H:%M} UTC, {_state(incident)}"


def _new_term(incident: Incident, rules: Mapping[str, Rule]) -> str:
    """Return the new term that an incident is told by: that of its leading series, or its members' most said one."""
    members = sorted(incident.members, key=lambda one: (one is not incident.leading, -one.observed))
    terms = (rules[one.rule].divided(one.group)[1] for one in members if one.rule in rules)
    return next(filter(None, terms), "")


def _figures(member: Member, rule: Rule) -> str:
    noun = {"complaints": "complaints", "authors": "authors", "reach": "points of reach"}.get(
        rule.metric, "mentions"
    )
    lasted = _duration(member.until - member.begin)
    fixed = rule.detector == "threshold"
    if rule.metric in OF_ALL and member.volume:
        found, usual = member.observed / member.volume, member.expected / member.volume
        of = f"of {member.volume:,} mentions"
        if rule.metric == "net-sentiment":
            return f"net sentiment {found:+.0%} {of} in {lasted}, expected {usual:+.0%}"
        negative = " negative" * (rule.metric == "share-negative")
        bar = f"told from {usual:.0%} on" if fixed else f"expected {usual:.0%}"
        return f"{found:.0%} {of}{negative} in {lasted}, {bar}"
    if fixed:
        return f"{member.observed:,} {noun} in {lasted}, told from {member.expected:,.0f} on"
    low, high = interval(member)
    figures = f"{member.observed:,} {noun} in {lasted}, expected {member.expected:,.0f} ({low:,}–{high:,})"
    if rule.detector == "ratio":
        return f"{figures} by its usual part of all"
    if rule.metric == "share-negative":
        return figures.replace("mentions", "negative mentions", 1)
    return figures


def _state(incident: Incident) -> str:
    if incident.ended is not None:
        return f"over at {from_ms(incident.ended):%H:%M}"
    if incident.detector == "flatline":
        return "lasting"
    return {"rising": "still rising", "steady": "steady", "falling": "falling"}[incident.trend]


def _duration(milliseconds: int) -> str:
    minutes = milliseconds // 60_000
    return f"{minutes} min" if minutes < 180 else f"{minutes / 60:.1f} h"


def interval(member: Member) -> tuple[int, int]:
    """Return the counts that nineteen in twenty such windows would have had; of a share those of its part."""
    if member.volume:
        # The variance is at most that of mentions that are all for or against, which covers the binomial's too.
        mean = member.expected / member.volume
        spread = 1.96 * sqrt(member.volume * max(1 - mean * mean, 0.0))
        return round(member.expected - spread), round(member.expected + spread)
    rows = max(1, (member.until - member.begin) // BUCKET_MS)
    dispersion = member.dispersion / rows + EXPECTATION_VARIANCE
    return quantiles(member.expected, dispersion)


def quantiles(mean: float, dispersion: float) -> tuple[int, int]:
    """Return the 2.5th and 97.5th per cent of a negative binomial with variance mean + dispersion · mean²."""
    if mean <= 0:
        return 0, 0
    if mean > 2_000:
        spread = 1.96 * sqrt(mean + dispersion * mean * mean)
        return round(max(0.0, mean - spread)), round(mean + spread)
    size = 1 / dispersion
    chance = size / (size + mean)
    below, low = 0.0, 0
    for count in range(100_000):
        term = lgamma(count + size) - lgamma(size) - lgamma(count + 1) + size * log(chance)
        below += exp(term + count * log(1 - chance))
        if below < 0.025:
            low = count + 1
        if below >= 0.975:
            return low, count
    return low, round(mean)


def _foremost(begun: tuple[Rule, Verdict]) -> tuple[float, str, str]:
    rule, verdict = begun
    assert verdict.window is not None
    return -abs(verdict.window.observed - verdict.window.expected), rule.name, verdict.group or ""


def _count(member: Member, rule: Rule, verdict: Verdict) -> None:
    """Take the bucket into the member's figures."""
    member.severity = verdict.severity
    if verdict.value is None:
        member.skipped = (*member.skipped, verdict.start)
    if verdict.value is None or verdict.window is None:
        return
    if rule.detector not in _BY_BUCKET:
        if verdict.score >= 1:
            window = verdict.window
            member.begin, member.until = window.begin, window.end
            member.observed, member.expected = window.observed, window.expected
            member.volume = window.volume if rule.metric in OF_ALL else 0
        return
    member.dispersion = verdict.window.dispersion
    observed, expected = member.waiting
    member.waiting = observed + int(verdict.value), expected + verdict.expected
    loud = verdict.calm is None if rule.detector == "spike" else verdict.score >= 1
    if loud:
        member.observed += member.waiting[0]
        member.expected += member.waiting[1]
        member.until, member.waiting = verdict.start + BUCKET_MS, (0, 0.0)


def _trend(chart: Sequence[Bar]) -> Trend:
    """Compare the last quarter of an hour with the one before."""
    values = [bar.value for bar in chart[-6:] if bar.value is not None]
    last, before = sum(values[3:]), sum(values[:3])
    return "rising" if last > 1.15 * before else "falling" if last < 0.85 * before else "steady"


def _bars(verdict: Verdict, dispersion: float) -> list[Bar]:
    first = verdict.start - (len(verdict.before) - 1) * BUCKET_MS
    return [
        _bar(
            first + at * BUCKET_MS,
            None if row is None else row[0],
            0.0 if row is None else row[2],
            dispersion,
        )
        for at, row in enumerate(verdict.before)
    ]


def _bar(start: int, value: float | None, expected: float, dispersion: float) -> Bar:
    low, high = quantiles(expected, dispersion + EXPECTATION_VARIANCE)
    return Bar(start, value, round(expected, 3), low, high)


def _about(incident: Incident) -> set[str]:
    """Return the topic and the place that lead the excess."""
    found = {f"place:{incident.place}"} if incident.place else set()
    explanation = incident.explanation
    if explanation is not None and explanation.topics and explanation.topics[0].value != OTHER:
        found.add(f"topic:{explanation.topics[0].value}")
    return found
