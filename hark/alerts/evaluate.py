"""A rule on counts: verdicts, bucket by bucket. The one way of judging, for what is new and for history alike.

A bucket (a quarter of an hour) is judged once, when it is closed: its end and the allowance for late mentions have
passed. `evaluate` is a pure function of closed buckets and a checkpoint; cut anywhere, with the checkpoint carried
over, it says the same as in one go. What comes in later than the allowance changes nothing that was said.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct, field

from hark.alerts.detector import Detector, Options, severity_of
from hark.alerts.rules import BUCKET_SECONDS, Rule
from hark.core.clock import from_ms, to_ms
from hark.core.errors import FatalError
from hark.core.protocols import Bucket, Gap, Store

BUCKET_MS = BUCKET_SECONDS * 1000
MOST_SERIES = 500
"""Series of one rule. Later ones are not watched; how many mentions that concerns is counted."""
SPIKE_WINDOW_ROWS = 24
"""The detector's widest scale is six hours."""
QUIET_MS = 3_600_000
"""A threshold alert ends when the value has been below the threshold for an hour."""

Event = Literal["begin", "escalate", "end", ""]
Cells = dict[str | None, tuple[int, int]]
"""What one bucket counts: group → (all mentions, negative ones)."""
Row = tuple[int, int, float]
"""What a series remembers of a bucket: the metric's count, all mentions, what was expected."""


class Stretch(Struct, frozen=True):
    """Closed buckets from `begin` to `end` (ms, whole buckets); those that count nothing are left out of `cells`.

    `blind` holds, for each source, the starts of buckets in which it may have missed mentions.
    """

    begin: int
    end: int
    cells: dict[int, Cells]
    blind: dict[str, frozenset[int]]

    def part(self, begin: int, end: int) -> "Stretch":
        """Return the buckets from `begin` to `end` of this stretch."""
        cells = {start: self.cells[start] for start in range(begin, end, BUCKET_MS) if start in self.cells}
        return Stretch(begin, end, cells, self.blind)


class Window(Struct, frozen=True):
    """The time that an alert is about (ms, whole buckets, none of them a gap), and what was counted in it.

    `observed` and `expected` are mentions of the metric (of a share: negative ones); `volume` is what the rule's
    minimum is held against.
    """

    begin: int
    end: int
    observed: int
    expected: float
    volume: int


class Verdict(Struct, frozen=True):
    """What is said of one series at one bucket.

    `value` is None in a gap. `expected` and `upper` are of this bucket (of a threshold: the threshold). `severity`
    and `window` are set while an incident lasts; `event` says what a person is to be told, once each.
    """

    start: int
    group: str | None
    value: float | None
    expected: float
    upper: float
    score: float
    severity: int = 0
    event: Event = ""
    window: Window | None = None


class _Series(Struct):
    """One series: its detector (None for a threshold), its last rows, and the incident that lasts."""

    group: str | None
    detector: Detector | None
    rows: list[Row | None] = field(default_factory=list)
    loud: int | None = None
    """Of a threshold: when it was last reached; None while there is no incident."""
    told: bool = False


class _State(Struct):
    """All that the next verdicts depend on."""

    through: int
    series: list[_Series] = field(default_factory=list)
    not_watched: int = 0
    """Mentions of series beyond MOST_SERIES."""


def closed_until(moment: datetime, allowance_seconds: int) -> int:
    """Return the end (ms) of the last bucket that is closed at `moment`."""
    return (to_ms(moment) - allowance_seconds * 1000) // BUCKET_MS * BUCKET_MS


def told_at(start: int, rule: Rule) -> datetime:
    """Return when the bucket that begins at `start` (ms) is judged, and people are told."""
    return from_ms(start + BUCKET_MS + rule.allowance_seconds * 1000)


def read(store: Store, rule: Rule, begin: int, end: int, gaps: Sequence[tuple[str, Gap]]) -> Stretch:
    """Return what the store counts now from `begin` to `end` (ms, whole buckets), in one call to it.

    `gaps` are the ledger's; one that was filled again is none. Raises TransientError while the store is away.
    """
    found = store.histogram(rule.query, BUCKET_SECONDS, from_ms(begin), from_ms(end), by=rule.group_by)
    return Stretch(begin, end, cells_of(found), _blind(gaps, begin, end))


def cells_of(buckets: Sequence[Bucket]) -> dict[int, Cells]:
    """Return a histogram by start and group."""
    cells: dict[int, Cells] = {}
    for bucket in buckets:
        cells.setdefault(bucket.start, {})[bucket.group] = (bucket.count, bucket.negative)
    return cells


def evaluate(rule: Rule, stretch: Stretch, checkpoint: bytes = b"") -> tuple[list[Verdict], bytes]:
    """Judge each series at each bucket of `stretch`; return the verdicts in order of time, and the new checkpoint.

    `checkpoint` is what the call for the buckets right before returned, b"" for a first one. Raises FatalError when
    it is of another time or cannot be read.
    """
    state = _restored(checkpoint, stretch.begin)
    by_group = {series.group: series for series in state.series}
    verdicts: list[Verdict] = []
    for start in range(stretch.begin, stretch.end, BUCKET_MS):
        cells = stretch.cells.get(start, {})
        if cells:
            _admit(state, by_group, cells, rule)
        nobody = any(start in starts for starts in stretch.blind.values())
        for series in state.series:
            blind = nobody
            if rule.group_by == "source":
                blind = start in stretch.blind.get(series.group or "", ())
            counted = None if blind else cells.get(series.group, (0, 0))
            judge = _spike if series.detector is not None else _threshold
            verdicts.append(judge(rule, series, start, counted))
    state.through = stretch.end
    return verdicts, msgspec.msgpack.encode(state)


def not_watched(checkpoint: bytes) -> int:
    """Return how many mentions were of series that are not watched, because there are too many."""
    return _decoded(checkpoint).not_watched


def _restored(checkpoint: bytes, begin: int) -> _State:
    if not checkpoint:
        return _State(begin)
    state = _decoded(checkpoint)
    if state.through != begin:
        raise FatalError(
            f"the checkpoint ends at {from_ms(state.through)}, the buckets begin at {from_ms(begin)}: "
            "each bucket is judged once, none is left out"
        )
    return state


def _decoded(checkpoint: bytes) -> _State:
    try:
        return msgspec.msgpack.decode(checkpoint, type=_State)
    except msgspec.MsgspecError as error:
        raise FatalError(f"the checkpoint of a rule cannot be read: {error}") from error


def _admit(state: _State, by_group: dict[str | None, _Series], cells: Cells, rule: Rule) -> None:
    """Begin a series for each group that is new, the largest first; thresholds rise with their number."""
    before = len(by_group)
    for group in sorted(cells.keys() - by_group.keys(), key=lambda name: (-cells[name][0], name or "")):
        if len(by_group) == MOST_SERIES:
            state.not_watched += cells[group][0]
            continue
        options = Options(interval_seconds=float(BUCKET_SECONDS), threshold=rule.threshold)
        series = _Series(group, Detector(options=options) if rule.detector == "spike" else None)
        by_group[group] = series
        state.series.append(series)
    if len(by_group) != before and rule.detector == "spike":
        for series in state.series:
            if series.detector is not None:
                series.detector.options = msgspec.structs.replace(
                    series.detector.options, series_watched=len(by_group)
                )


def _spike(rule: Rule, series: _Series, start: int, counted: tuple[int, int] | None) -> Verdict:
    detector = series.detector
    assert detector is not None
    value = None if counted is None else _metric(rule, counted)
    found = detector.update(start / 1000, value)
    row = None if counted is None or value is None else (value, counted[0], found.expected)
    _remember(series, row, SPIKE_WINDOW_ROWS)
    verdict = Verdict(start, series.group, value, found.expected, found.upper, found.score)
    if found.since is None:
        return _over(series, verdict)
    if value is None:
        return msgspec.structs.replace(verdict, severity=found.severity)
    window = _window(rule, series, start, max(1, round(found.scale_seconds / BUCKET_SECONDS)))
    return _told(rule, series, verdict, found.severity, window, escalates=found.is_alert)


def _threshold(rule: Rule, series: _Series, start: int, counted: tuple[int, int] | None) -> Verdict:
    rows = rule.window_seconds // BUCKET_SECONDS
    _remember(series, None if counted is None else (_metric(rule, counted), counted[0], 0.0), rows)
    if counted is None:
        return Verdict(start, series.group, None, rule.threshold, rule.threshold, 0.0)
    window = _window(rule, series, start, rows)
    value = float(window.observed)
    if rule.metric == "share-negative":
        value = window.observed / window.volume if window.volume else 0.0
    score = value / rule.threshold
    verdict = Verdict(start, series.group, value, rule.threshold, rule.threshold, score)
    if score >= 1 and window.volume >= rule.minimum_volume:
        series.loud = start
    elif series.loud is not None and start - series.loud >= QUIET_MS:
        series.loud = None
    if series.loud is None:
        return _over(series, verdict)
    return _told(rule, series, verdict, severity_of(score), window, escalates=False)


def _metric(rule: Rule, counted: tuple[int, int]) -> int:
    return counted[0] if rule.metric == "count" else counted[1]


def _remember(series: _Series, row: Row | None, most: int) -> None:
    series.rows.append(row)
    del series.rows[:-most]


def _window(rule: Rule, series: _Series, start: int, rows: int) -> Window:
    """Return the last `rows` buckets, or those since the last gap."""
    taken: list[Row] = []
    for row in reversed(series.rows[-rows:]):
        if row is None:
            break
        taken.append(row)
    observed, every = sum(row[0] for row in taken), sum(row[1] for row in taken)
    end = start + BUCKET_MS
    volume = every if rule.metric == "share-negative" else observed
    if rule.detector == "spike":
        expected = sum(row[2] for row in reversed(taken))
    else:
        expected = rule.threshold * every if rule.metric == "share-negative" else rule.threshold
    return Window(end - len(taken) * BUCKET_MS, end, observed, expected, volume)


def _told(
    rule: Rule, series: _Series, verdict: Verdict, severity: int, window: Window, escalates: bool
) -> Verdict:
    """Decide what a person hears: once that it begins, when it is large enough, and when it has grown much."""
    event: Event = ""
    if window.volume >= rule.minimum_volume and severity >= rule.minimum_severity:
        if not series.told:
            event, series.told = "begin", True
        elif escalates:
            event = "escalate"
    return msgspec.structs.replace(verdict, severity=severity, window=window, event=event)


def _over(series: _Series, verdict: Verdict) -> Verdict:
    if not series.told:
        return verdict
    series.told = False
    return msgspec.structs.replace(verdict, event="end")


def _blind(gaps: Sequence[tuple[str, Gap]], begin: int, end: int) -> dict[str, frozenset[int]]:
    """Return, for each source, the buckets that a gap of it touches."""
    touched: dict[str, set[int]] = {}
    for source, gap in gaps:
        if not gap.closed:
            first = max(begin, to_ms(gap.begin) // BUCKET_MS * BUCKET_MS)
            touched.setdefault(source, set()).update(range(first, min(end, to_ms(gap.end)), BUCKET_MS))
    return {source: frozenset(starts) for source, starts in touched.items()}


def parts(stretch: Stretch, buckets: int) -> Iterator[Stretch]:
    """Yield the stretch in parts of at most so many buckets, for progress on the way."""
    for begin in range(stretch.begin, stretch.end, buckets * BUCKET_MS):
        yield stretch.part(begin, min(stretch.end, begin + buckets * BUCKET_MS))
