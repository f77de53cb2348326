"""A rule tried on history: when it would have told, what it would have missed, and what other thresholds would do.

The verdicts are those of `evaluate`, the incidents those of `incidents`: the live code path. Of buckets that were
judged live it counts what had been collected by then, of older ones what the store holds today; unless much of it was
imported later (docs/adr/0011): then it counts what the store holds today of all, by when it was written.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
from msgspec import Struct, field

from hark.alerts import counts
from hark.alerts.counts import BUCKET_MS
from hark.alerts.evaluate import (
    Blind,
    Stretch,
    Verdict,
    Window,
    evaluate,
    in_parts,
    not_watched,
    other_terms,
    others,
    parts,
    told_at,
)
from hark.alerts.explain import NO_NAMES, Evidence, Explanation, explain, hundredths
from hark.alerts.incidents import Follower, Incident, named
from hark.alerts.rules import BETWEEN, SHARES, Rule
from hark.core.clock import EARLIEST, from_ms, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.query.fields import Taxonomy

WARM_UP = timedelta(days=28)
"""What is read before the time that is asked about, for the baseline; alerts in it are not shown."""
MULTIPLES = (0.6, 0.8, 1.0, 1.25, 1.6, 2.0)
"""The curve: multiples of the rule's threshold."""
FOLLOWED_MS = 7 * 86_400_000
"""So long before the time that is asked about, incidents of a rule that is judged live are followed too."""
MOST_IMPORTED = 0.1
"""Of mentions that were imported later than a rule that is judged live knew them; with more it is tried on all."""
EARLY = timedelta(hours=1)
"""An alert so long before a labelled start still counts as seeing it."""
_PART_BUCKETS = 7 * 288
_WEEK_SECONDS = 7 * 86_400
_CHART_BEFORE, _CHART_AFTER = 288, 144

By = Literal["collected", "written"]
"""What a trial counts: what had been collected when its bucket was judged, or all that was written in it."""
Progress = Callable[[float], None]
"""Called now and then with the share of the work that is done, 0 to 1."""


class Label(Struct, frozen=True):
    """An incident that people know of; `series` is the group it showed in, None for any."""

    name: str
    begin: datetime
    end: datetime
    series: str | None = None
    peak: datetime | None = None


class Bar(Struct, frozen=True):
    """Five minutes of a chart; `value` is None in a gap."""

    start: datetime
    value: float | None
    expected: float
    upper: float


class Alert(Struct, frozen=True):
    """One incident as people would have been told of it.

    `told_at` is when: the end of its bucket and the allowance for late mentions. `escalated_at` are the times when it
    would have been told of again; `ended_at` is None while it lasts. `observed` of `expected` is what the window
    counted at the beginning; `severity` is that of the beginning, `worst` the highest later.
    """

    series: str | None
    title: str
    """The series as people call it."""
    told_at: datetime
    escalated_at: tuple[datetime, ...]
    ended_at: datetime | None
    window_begin: datetime
    window_end: datetime
    observed: int
    expected: float
    severity: int
    worst: int
    explanation: Explanation
    incidents: tuple[str, ...] = ()
    """The names of the labelled incidents that it saw."""
    chart: tuple[Bar, ...] = ()
    """The series from a day before its begin to its end, half a day after at most."""


class Outcome(Struct, frozen=True):
    """What became of one labelled incident; seconds count from its first alert, negative when that came later.

    A missed one that began while an older alert lasted has `lasting_since`: nobody was told anew.
    """

    label: Label
    told_at: datetime | None
    before_begin_seconds: float | None
    before_peak_seconds: float | None
    lasting_since: datetime | None = None


@dataclass(frozen=True)
class Point:
    """The rule with another threshold; what needs known incidents is None without them. The console's API shows it."""

    threshold: float
    alerts: int
    alerts_a_week: float
    hits: int | None
    misses: int | None
    false_alarms: int | None
    false_alarms_a_week: float | None
    median_delay_seconds: float | None


class Backtest(Struct, frozen=True):
    """What a rule would have done from `since` to `until`; `labelled` when known incidents were given.

    `since` is not before the first mention that it counts: time before that would only flatter the rates.
    """

    rule: str
    since: datetime
    until: datetime
    counted_from: datetime | None
    """Where the first mention was found for the baseline, at most WARM_UP before `since`; None when there is none."""
    series: int
    not_watched: int
    """Mentions of series that are not watched, because there are too many."""
    labelled: bool
    blind_buckets: int
    """Buckets in which a source may have missed mentions."""
    by: By
    imported: float
    """Share of the mentions that were imported later than a rule that is judged live knew them."""
    alerts: tuple[Alert, ...]
    incidents: tuple[Incident, ...]
    """What the alerts would have been joined to, as it would stand at the end of the time asked about."""
    outcomes: tuple[Outcome, ...]
    shipped: Point
    curve: tuple[Point, ...]

    @property
    def basis(self) -> str:
        """Say what was counted, in a sentence; "" where nothing was imported later."""
        share = "less than 1%" if 0 < self.imported < 0.01 else f"{self.imported:.0%}"
        if self.by == "written":
            why = f", since {share} of them were imported later" if self.imported else ""
            return f"Judged by when mentions were written{why}."
        return f"Left out, as it was live: {share} of the mentions, imported later." if self.imported else ""


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read labelled incidents: a CSV with the columns begin and end, and if wanted name, series and peak.

    Raises SettingsError with the line and what was expected.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"begin", "end"} - set(rows.fieldnames or ())
            if missing:
                raise SettingsError(
                    f"{path}: expected the columns begin and end (and name, series, peak if you like); "
                    f"there is no {' and no '.join(sorted(missing))}"
                )
            return tuple(_label(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error


class Past(Struct, frozen=True):
    """What was known at the time.

    `blind` returns which sources were away in the buckets between two times (ms) as it was judged, `blind_now` as it is
    known today; `live_since` (ms) is the first bucket that was judged while it was new, None where none was. Of a rule that is judged live: it learned from what
    had been collected at `learned` of the time from `begun` on, and its incidents were kept from `shown` on.
    """

    blind: Callable[[int, int], Blind] = lambda begin, end: {}
    blind_now: Callable[[int, int], Blind] = lambda begin, end: {}
    live_since: int | None = None
    learned: int | None = None
    begun: int | None = None
    shown: int | None = None
    names: Mapping[str, str] = NO_NAMES
    """What people call brands and topics, by id."""

    def from_today(self) -> "Past":
        """Return it as if nothing had been judged yet, and all that the store holds today had been there in time."""
        return Past(self.blind_now, self.blind_now, names=self.names)


NOTHING_KNOWN = Past()


def run(
    store: Store,
    rule: Rule,
    taxonomy: Taxonomy,
    since: datetime,
    until: datetime,
    past: Past = NOTHING_KNOWN,
    labels: Sequence[Label] | None = None,
    progress: Progress = lambda done: None,
    by: By | None = None,
) -> Backtest:
    """Try `rule` on what the store holds between `since` and `until`; whole buckets, all of them closed.

    `by` says what is counted; without it what had been collected in time, unless more than MOST_IMPORTED was imported
    later. `labels` that do not begin in that time are left out. Without `labels` (None) nothing is said of hits and false
    alarms. Raises SettingsError for a rule on sources, TransientError while the store is away.
    """
    if rule.detector == "source":
        raise SettingsError(
            f"rule {rule.name!r}: whether a source answers is known live alone; it cannot be tried on history"
        )
    since = max(since, EARLIEST + WARM_UP)
    begin, start, end = (to_ms(at) // BUCKET_MS * BUCKET_MS for at in (since - WARM_UP, since, until))
    imported = counts.imported(store, rule, begin, end, past.live_since, past.learned, past.blind(begin, end))
    by = by or ("written" if imported > MOST_IMPORTED else "collected")
    if by == "written":
        past = past.from_today()
    if past.begun is not None and past.begun <= start:
        begin = past.begun  # what is expected depends on where learning began
    blind = past.blind(begin, end)
    if rule.detector == "new-term":
        hours = store.histogram(rule.query, 3600, from_ms(begin), from_ms(end))
        counted, first = {}, max(begin, hours[0].start) if hours else None
    else:
        counted = counts.read(store, [rule], taxonomy, begin, end, past.live_since, past.learned)[rule.name]
        first = min(counted, default=None)
    start = start if first is None else max(start, first)
    # Before the first mention there is no series to judge.
    stretch = Stretch(end if first is None else first, end, counted, blind)

    def parts_read(report: Progress) -> Iterable[Stretch]:
        if rule.detector == "new-term":
            return in_parts(
                store,
                rule,
                taxonomy,
                stretch.begin,
                end,
                past.live_since,
                blind,
                progress=report,
                learned=past.learned,
            )
        return parts(stretch, _PART_BUCKETS)

    evidence = Evidence(store, taxonomy, blind, past.live_since, {rule.name: past.learned}, past.names)
    within = [label for label in labels or () if label.end > from_ms(start) and label.begin < from_ms(end)]
    multiples = [m for m in MULTIPLES if not _is_share(rule) or rule.threshold * m <= 1]
    # What lasted when the time asked about began may be what later series join.
    followed = start if past.shown is None else max(min(past.shown, start), start - FOLLOWED_MS)
    kept = _try(
        rule,
        parts_read(lambda done: progress(done / 2)),
        start,
        Follower({rule.name: rule}, evidence),
        followed,
    )
    progress(0.5)
    found = {1.0: kept.found}
    if rule.detector == "spike":
        said = others(rule, stretch, [multiple for multiple in multiples if multiple != 1])
        found |= {multiple: _followed(verdicts, start) for multiple, verdicts in said.items()}
    elif rule.detector == "new-term":
        read_again = parts_read(lambda done: progress(0.5 + done / 2))
        said = other_terms(rule, read_again, [multiple for multiple in multiples if multiple != 1])
        found |= {multiple: _followed(verdicts, start) for multiple, verdicts in said.items()}
    else:
        for number, multiple in enumerate(multiples):
            if multiple != 1:
                tried = msgspec.structs.replace(rule, threshold=rule.threshold * multiple)
                found[multiple] = _try(tried, parts(stretch, _PART_BUCKETS), start).found
            progress(0.5 + (number + 1) / len(multiples) / 2)
    known = within if labels is not None else None
    points = {
        multiple: _point(
            msgspec.structs.replace(rule, threshold=rule.threshold * multiple),
            found[multiple],
            known,
            end - start,
        )
        for multiple in multiples
    }
    progress(1.0)
    return Backtest(
        rule.name,
        from_ms(start),
        from_ms(end),
        None if first is None else from_ms(first),
        kept.series,
        kept.not_watched,
        labels is not None,
        sum(at >= start and bool(away) for at, away in stretch.blind.items()),
        by,
        imported,
        tuple(_alert(evidence, rule, found, within) for found in kept.found),
        tuple(sorted(_since(kept.incidents, start), key=lambda one: (one.opened, one.id))),
        tuple(_outcome(rule, label, kept.found) for label in within),
        points[1.0],
        tuple(points.values()),
    )


def _is_share(rule: Rule) -> bool:
    return rule.detector == "threshold" and rule.metric in SHARES


class _Found(Struct):
    """An incident on the way through the verdicts."""

    group: str | None
    start: int
    window: Window
    severity: int
    worst: int
    chart: list[Verdict]
    escalated: list[int] = field(default_factory=list)
    ended: int | None = None


class _Trial(Struct):
    """What one threshold came to."""

    found: list[_Found] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    series: int = 0
    not_watched: int = 0


def _since(incidents: Mapping[str, Incident], start: int) -> Iterable[Incident]:
    return (one for one in incidents.values() if one.ended is None or one.ended > start)


def _try(
    rule: Rule,
    stretches: Iterable[Stretch],
    start: int,
    follower: Follower | None = None,
    followed: int = 0,
) -> _Trial:
    """Go through the stretches one by one, as their verdicts take room; keep what begins from `start` on.

    With `follower` the alerts are joined to incidents too, those from `followed` on.
    """
    trial = _Trial()
    lasting: dict[str | None, _Found] = {}
    latest: dict[str | None, deque[Verdict]] = {}
    checkpoint = b""
    groups: set[str | None] = set()
    for part in stretches:
        verdicts, checkpoint = evaluate(rule, part, checkpoint)
        for verdict in verdicts:
            before = latest.setdefault(verdict.group, deque(maxlen=_CHART_BEFORE))
            before.append(verdict)
            if verdict.severity or verdict.event:
                _follow(verdict, lasting, trial.found, before)
        if follower is not None:
            for at, of_bucket in groupby(verdicts, key=lambda verdict: verdict.start):
                loud = [verdict for verdict in of_bucket if verdict.severity or verdict.event]
                if loud and at >= followed:
                    follower.step(at, {rule.name: loud})
                    trial.incidents |= follower.incidents
        groups |= {verdict.group for verdict in verdicts}
    trial.series = len(groups)
    trial.found = [found for found in trial.found if found.start >= start]
    trial.not_watched = not_watched(checkpoint) if checkpoint else 0
    return trial


def _followed(verdicts: Sequence[Verdict], start: int) -> list[_Found]:
    """Return what begins from `start` on."""
    lasting: dict[str | None, _Found] = {}
    found: list[_Found] = []
    for verdict in verdicts:
        _follow(verdict, lasting, found, ())
    return [one for one in found if one.start >= start]


def _follow(
    verdict: Verdict, lasting: dict[str | None, _Found], found: list[_Found], before: Iterable[Verdict]
) -> None:
    if verdict.event == "begin" and verdict.window is not None:
        incident = _Found(
            verdict.group, verdict.start, verdict.window, verdict.severity, verdict.severity, list(before)
        )
        lasting[verdict.group] = incident
        found.append(incident)
        return
    current = lasting.get(verdict.group)
    if current is None:
        return
    current.worst = max(current.worst, verdict.severity)
    if verdict.start - current.start <= _CHART_AFTER * BUCKET_MS:
        current.chart.append(verdict)
    if verdict.event == "escalate":
        current.escalated.append(verdict.start)
    elif verdict.event == "end":
        current.ended = verdict.start
        del lasting[verdict.group]


def _alert(evidence: Evidence, rule: Rule, found: _Found, labels: Sequence[Label]) -> Alert:
    window = found.window
    return Alert(
        found.group,
        named(found.group, evidence.names),
        told_at(found.start, rule),
        tuple(told_at(at, rule) for at in found.escalated),
        None if found.ended is None else told_at(found.ended, rule),
        from_ms(window.begin),
        from_ms(window.end),
        window.observed,
        hundredths(window.expected) / 100,
        found.severity,
        found.worst,
        explain(evidence, rule, found.group, window),
        tuple(label.name for label in labels if _seen(rule, label, found) is not None),
        tuple(Bar(from_ms(one.start), one.value, one.expected, one.upper) for one in found.chart),
    )


def _seen(rule: Rule, label: Label, found: _Found) -> datetime | None:
    """Return when people would first have been told of `found` in the time of `label`, None if never."""
    if not _shows_in(label, found):
        return None
    told = (told_at(at, rule) for at in (found.start, *found.escalated))
    return next((at for at in told if label.begin - EARLY <= at <= label.end), None)


def _shows_in(label: Label, found: _Found) -> bool:
    return label.series is None or label.series in (found.group, *(found.group or "").split(BETWEEN))


def _lasted(rule: Rule, label: Label, found: _Found) -> bool:
    """Say whether `found` was told of before `label`, and not over when that began."""
    return (
        _shows_in(label, found)
        and told_at(found.start, rule) < label.begin
        and (found.ended is None or told_at(found.ended, rule) > label.begin)
    )


def _outcome(rule: Rule, label: Label, found: Sequence[_Found]) -> Outcome:
    seen = [at for at in (_seen(rule, label, one) for one in found) if at is not None]
    if not seen:
        older = [told_at(one.start, rule) for one in found if _lasted(rule, label, one)]
        return Outcome(label, None, None, None, max(older, default=None))
    first = min(seen)
    peak = None if label.peak is None else (label.peak - first).total_seconds()
    return Outcome(label, first, (label.begin - first).total_seconds(), peak)


def _point(rule: Rule, found: Sequence[_Found], labels: Sequence[Label] | None, length_ms: int) -> Point:
    weeks = length_ms / 1000 / _WEEK_SECONDS
    alerts = len(found)
    if labels is None:
        return Point(rule.threshold, alerts, alerts / weeks, None, None, None, None, None)
    outcomes = [_outcome(rule, label, found) for label in labels]
    delays = [
        -outcome.before_begin_seconds for outcome in outcomes if outcome.before_begin_seconds is not None
    ]
    wrong = sum(all(_seen(rule, label, one) is None for label in labels) for one in found)
    return Point(
        rule.threshold,
        alerts,
        alerts / weeks,
        len(delays),
        len(labels) - len(delays),
        wrong,
        wrong / weeks,
        median(delays) if delays else None,
    )


def _label(path: Path, line: int, row: dict[str, str | None]) -> Label:
    def instant(column: str) -> datetime:
        text = (row.get(column) or "").strip()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise SettingsError(
                f"{path}: line {line}: {column}: expected a time such as 2026-11-01T12:00:00Z, found {text!r}"
            ) from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    begin, end = instant("begin"), instant("end")
    if end <= begin:
        raise SettingsError(
            f"{path}: line {line}: end: expected a time after begin, found {row.get('end')!r}"
        )
    return Label(
        (row.get("name") or "").strip() or f"line {line}",
        begin,
        end,
        (row.get("series") or "").strip().lower() or None,
        instant("peak") if (row.get("peak") or "").strip() else None,
    )
