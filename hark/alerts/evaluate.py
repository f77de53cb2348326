"""A rule on counts: verdicts, bucket by bucket. The one way of judging, for what is new and for history alike.

A bucket (five minutes) is judged once, when it is closed: its end and the allowance for late mentions have passed.
`evaluate` is a pure function of closed buckets and a checkpoint; cut anywhere, with the checkpoint carried over, it
says the same as in one go. What comes in later than the allowance changes nothing that was said.

Where a source may have missed mentions, its own are taken out, and so is the share of the expectation that it
usually has in the series: the others go on being judged. A series that is mostly that source's is not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from math import log
from typing import Literal

import msgspec
from msgspec import Struct, field

from hark.alerts import change, counts, flatline
from hark.alerts.change import Change
from hark.alerts.counts import BUCKET_MS, Cell, Cells, Counts, closes
from hark.alerts.detector import EXPECTATION_VARIANCE, Detector, Options, highest, severity_of, surprise
from hark.alerts.flatline import Flatline
from hark.alerts.holidays import Day
from hark.alerts.new_term import DISPERSION as TERM_DISPERSION
from hark.alerts.new_term import MOST_LASTING, Heard, Memory, group_of, term_of
from hark.alerts.rules import BUCKET_SECONDS, OF_ALL, Rule
from hark.core.clock import from_ms, to_ms
from hark.core.errors import FatalError
from hark.core.protocols import Gap, Store
from hark.query.fields import Taxonomy
from hark.trends.rising import distinct

MOST_SERIES = 2_000
"""Series of one rule. Later ones are not watched; how many mentions that concerns is counted."""
SPIKE_WINDOW_ROWS = 72
"""The detector's widest scale is six hours."""
QUIET_MS = 3_600_000
"""An alert that is no spike's ends when its score has been below 1 for an hour."""
CHANGE_HOLDS = 0.7
"""A change that has begun goes on while its score is so much: near the bar it would end and begin in turns."""
PART_BUCKETS = 144
"""What of new terms is read at a time: half a day."""
CALM_ROWS, CALM_SURPRISE, CALM_MS = 6, 1.0, 2_700_000
"""A spike's ends when half hours have been nothing special for three quarters of an hour; the detector's own memory
is longer, as its widest scale looks back six hours."""
FADED = 0.1
"""Or have had, for as long, no more than this share of the excess of its worst half hour: where little is said, in
bursts, half hours stay special for hours after a large incident is over for everybody."""
RISEN_SURPRISE = 4.0
"""And begins anew, while the detector still remembers the last one, when a half hour is so surprising again, and has
more than that share."""
LEAST_SHARE = 0.25
"""A series is judged without a source that is away when the others have at least so much of it."""
SOURCE_KEEP = 0.5 ** (BUCKET_SECONDS / (7 * 86_400))
"""What a source's share of a series forgets in a bucket: half in a week."""

Event = Literal["begin", "escalate", "end", ""]
Row = tuple[int, int, float]
"""What a series remembers of a bucket: the metric's count, what a share is taken of, what was expected."""
Blind = Mapping[int, frozenset[str]]
"""By the start of the bucket (ms), the sources that may have missed mentions in it."""


class Stretch(Struct, frozen=True):
    """Closed buckets from `begin` to `end` (ms, whole buckets); those that count nothing are left out of `cells`."""

    begin: int
    end: int
    cells: Counts
    blind: Blind

    def part(self, begin: int, end: int) -> "Stretch":
        """Return the buckets from `begin` to `end` of this stretch."""
        cells = {start: self.cells[start] for start in range(begin, end, BUCKET_MS) if start in self.cells}
        return Stretch(begin, end, cells, self.blind)


class Window(Struct, frozen=True):
    """The time that an alert is about (ms, whole buckets), and what was counted in it.

    `observed` and `expected` are of the metric (of a share: of its part); `volume` is what the rule's minimum is held
    against. `dispersion` is that of one bucket's count, 0 where the expectation is a fixed number.
    """

    begin: int
    end: int
    observed: int
    expected: float
    volume: int
    dispersion: float = 0.0
    skipped: tuple[int, ...] = ()
    """Buckets within it (ms) that were not judged, and are not in its figures."""


class Verdict(Struct, frozen=True):
    """What is said of one series at one bucket.

    `value` is None in a gap. `expected` and `upper` are of this bucket (of a threshold and a share: of its window).
    `severity` and `window` are set while an incident lasts; `event` says what a person is to be told, once each.
    `calm` is since when (ms) nothing has been special any more, though the incident lasts.
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
    calm: int | None = None
    before: tuple[Row | None, ...] = ()
    """Where an alert begins: the last rows of its series, this one included."""


class _Series(Struct):
    """One series: its detector, its last rows, its sources' shares, and the incident that lasts."""

    group: str | None
    spike: Detector | None = None
    flat: Flatline | None = None
    change: Change | None = None
    rows: list[Row | None] = field(default_factory=list)
    sources: dict[str, float] = field(default_factory=dict)
    loud: int | None = None
    """Of all but spikes: when the score last was 1; None while there is no incident."""
    told: bool = False
    once: bool = False
    """It was told of since the detector's incident began."""
    calm: int | None = None
    peak: float = 0.0
    """Of a spike that lasts: what its worst half hour had above the expectation."""


class _State(Struct):
    """All that the next verdicts depend on."""

    through: int
    series: list[_Series] = field(default_factory=list)
    not_watched: int = 0
    """Mentions of series beyond MOST_SERIES."""
    terms: Memory | None = None
    """Of the detector `new-term`; its series are the terms that are told of, or loud enough to be."""


class _Said(Struct, frozen=True):
    """What a detector says: figures of the bucket, whether its incident lasts, and how many rows stand out."""

    value: float | None
    expected: float
    upper: float
    score: float
    lasting: bool
    rows: int
    escalates: bool = False


def closed_until(moment: datetime, allowance_seconds: int) -> int:
    """Return the end (ms) of the last bucket that is closed at `moment`."""
    return (to_ms(moment) - allowance_seconds * 1000) // BUCKET_MS * BUCKET_MS


def told_at(start: int, rule: Rule) -> datetime:
    """Return when the bucket that begins at `start` (ms) is judged, and people are told."""
    return closes(start, rule.allowance_seconds)


def evaluate(rule: Rule, stretch: Stretch, checkpoint: bytes = b"") -> tuple[list[Verdict], bytes]:
    """Judge each series at each bucket of `stretch`; return the verdicts in order of time, and the new checkpoint.

    `checkpoint` is what the call for the buckets right before returned, b"" for a first one. Raises FatalError when
    it is of another time or cannot be read.
    """
    state = _restored(checkpoint, stretch.begin)
    by_group = {series.group: series for series in state.series}
    verdicts: list[Verdict] = []
    if rule.detector == "new-term":
        for start, heard in _heard(rule, state, stretch, lambda: by_group.keys()):
            verdicts += _judge_terms(rule, by_group, start, heard)
        state.series = list(by_group.values())
        state.through = stretch.end
        return verdicts, msgspec.msgpack.encode(state)
    for start in range(stretch.begin, stretch.end, BUCKET_MS):
        cells = stretch.cells.get(start, {})
        if cells:
            _admit(state, by_group, cells, rule)
        blind = stretch.blind.get(start, frozenset())
        every = _every(cells, blind) if rule.detector == "ratio" else None
        day = _holiday(rule, start)
        for series in state.series:
            verdicts.append(
                _judge(rule, series, start, cells.get(series.group, {}), blind, every, len(by_group), day)
            )
    state.through = stretch.end
    return verdicts, msgspec.msgpack.encode(state)


def in_parts(
    store: Store,
    rule: Rule,
    taxonomy: Taxonomy,
    begin: int,
    end: int,
    live_since: int | None,
    blind: Blind,
    progress: Callable[[float], None] = lambda done: None,
    learned: int | None = None,
) -> Iterator[Stretch]:
    """Read what a rule on new terms counts from `begin` to `end` (ms), some hours at a time, as it takes room.

    Raises TransientError while the store is away.
    """
    for first in range(begin, end, PART_BUCKETS * BUCKET_MS):
        last = min(end, first + PART_BUCKETS * BUCKET_MS)
        cells = counts.read(store, [rule], taxonomy, first, last, live_since, learned)[rule.name]
        progress((last - begin) / (end - begin))
        yield Stretch(first, last, cells, blind)


def other_terms(
    rule: Rule, stretches: Iterable[Stretch], multiples: Sequence[float]
) -> dict[float, list[Verdict]]:
    """Return what a rule on new terms with multiples of its threshold would say, in one pass over the mentions."""
    state: _State | None = None
    rules = _at_multiples(rule, multiples)
    lasting: dict[float, dict[str | None, _Series]] = {multiple: {} for multiple in multiples}
    said: dict[float, list[Verdict]] = {multiple: [] for multiple in multiples}
    for stretch in stretches:
        state = state or _State(stretch.begin)
        every = _heard(rule, state, stretch, lambda: {name for known in lasting.values() for name in known})
        for start, heard in every:
            for multiple, other in rules.items():
                said[multiple] += _judge_terms(other, lasting[multiple], start, heard)
    return said


def _at_multiples(rule: Rule, multiples: Sequence[float]) -> dict[float, Rule]:
    return {
        multiple: msgspec.structs.replace(rule, threshold=rule.threshold * multiple) for multiple in multiples
    }


def others(rule: Rule, stretch: Stretch, multiples: Sequence[float]) -> dict[float, list[Verdict]]:
    """Return what a spike rule with multiples of its threshold would say, without the verdicts that say nothing.

    One pass: the baselines are those that the rule's own threshold leads to, which differ by a hair, as what lasts
    longer than a day is learned unclipped.
    """
    state = _State(stretch.begin)
    by_group: dict[str | None, _Series] = {}
    shadows: dict[tuple[str | None, float], _Series] = {}
    rules = _at_multiples(rule, multiples)
    said: dict[float, list[Verdict]] = {multiple: [] for multiple in multiples}
    for start in range(stretch.begin, stretch.end, BUCKET_MS):
        cells = stretch.cells.get(start, {})
        _admit(state, by_group, cells, rule)
        blind = stretch.blind.get(start, frozenset())
        day = _holiday(rule, start)
        for series in state.series:
            assert series.spike is not None
            counted, share = _counted(rule, series, cells.get(series.group, {}), blind)
            found = _spike(series.spike, start, counted, share, day)
            _remember(series, None if counted is None else (*counted, found.expected), SPIKE_WINDOW_ROWS)
            for multiple in multiples:
                shadow = shadows.get((series.group, multiple))
                if shadow is None:
                    shadow = _Series(series.group, spike=Detector(), rows=series.rows)
                    shadows[series.group, multiple] = shadow
                verdict = _shadowed(rules[multiple], shadow, series.spike, start, found, multiple)
                if verdict is not None:
                    said[multiple].append(verdict)
    return said


def _shadowed(
    rule: Rule, shadow: _Series, detector: Detector, start: int, found: _Said, multiple: float
) -> Verdict | None:
    """Judge the evidence that `detector` found with another threshold; None where there is nothing to say."""
    own = shadow.spike
    assert own is not None
    escalates, score = False, found.score / multiple
    if found.value is not None:
        own.first, own.judged = detector.first, detector.judged - 1
        own.dispersion, own.doubt = detector.dispersion, detector.doubt
        escalates = own.judge(start / 1000, score)
    if own.since is None and not shadow.told:
        shadow.once, shadow.calm = False, None
        return None
    said = msgspec.structs.replace(found, score=score, lasting=own.since is not None, escalates=escalates)
    return _told(rule, shadow, start, said)


def not_watched(checkpoint: bytes) -> int:
    """Return how many mentions were of series that are not watched, because there are too many."""
    return _decoded(checkpoint).not_watched


def blind_of(gaps: Sequence[tuple[str, Gap]], begin: int, end: int) -> dict[int, frozenset[str]]:
    """Return, for each bucket from `begin` to `end`, the sources with an open gap in it; a filled one is none."""
    touched: dict[int, frozenset[str]] = {}
    for source, gap in gaps:
        if not gap.closed:
            first = max(begin, to_ms(gap.begin) // BUCKET_MS * BUCKET_MS)
            for start in range(first, min(end, to_ms(gap.end)), BUCKET_MS):
                touched[start] = touched.get(start, frozenset()) | {source}
    return touched


def parts(stretch: Stretch, buckets: int) -> Iterator[Stretch]:
    """Yield the stretch in parts of at most so many buckets, for progress on the way."""
    for begin in range(stretch.begin, stretch.end, buckets * BUCKET_MS):
        yield stretch.part(begin, min(stretch.end, begin + buckets * BUCKET_MS))


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
    sizes = {
        group: sum(whole for _, whole in cells[group].values()) for group in cells.keys() - by_group.keys()
    }
    for group in sorted(sizes, key=lambda name: (-sizes[name], name or "")):
        if len(by_group) == MOST_SERIES:
            state.not_watched += sizes[group]
            continue
        by_group[group] = series = _begun(rule, group)
        state.series.append(series)
    if len(by_group) != before and rule.detector == "spike":
        for series in state.series:
            if series.spike is not None:
                series.spike.options = msgspec.structs.replace(
                    series.spike.options, series_watched=len(by_group)
                )


def _begun(rule: Rule, group: str | None) -> _Series:
    rows = rule.window_seconds // BUCKET_SECONDS
    match rule.detector:
        case "spike":
            options = Options(interval_seconds=float(BUCKET_SECONDS), threshold=rule.threshold)
            return _Series(group, spike=Detector(options=options))
        case "flatline":
            return _Series(group, flat=Flatline(rows))
        case "change" | "ratio":
            return _Series(group, change=Change(rows))
        case _:
            return _Series(group)


def _judge(
    rule: Rule,
    series: _Series,
    start: int,
    cell: Cell,
    blind: frozenset[str],
    every: int | None,
    watched: int,
    day: Day | None,
) -> Verdict:
    counted, share = _counted(rule, series, cell, blind)
    if counted is not None and every is not None:
        counted = counted[0], every
    if series.spike is not None:
        said = _spike(series.spike, start, counted, share, day)
    elif series.flat is not None:
        said = _flat(rule, series, series.flat, start, counted, share, watched, day)
    elif series.change is not None:
        said = _change(rule, series, series.change, start, counted, watched)
    else:
        said = _threshold(rule, series, start, counted)
    if series.spike is not None or series.flat is not None:
        expected = said.expected
    else:
        expected = said.expected * counted[1] if counted is not None and series.change is not None else 0.0
    if series.change is not None or series.spike is not None or series.flat is not None:
        row = None if counted is None else (*counted, expected)
        _remember(series, row, max(SPIKE_WINDOW_ROWS, said.rows))
    return _told(rule, series, start, said)


def _heard(
    rule: Rule, state: _State, stretch: Stretch, lasting: Callable[[], Set[str | None]]
) -> Iterator[tuple[int, list[Heard]]]:
    """Yield what stands out among the terms, bucket by bucket; `lasting` are the series that go on being judged."""
    memory = state.terms = state.terms or Memory()
    sums = memory.sums()
    window = rule.window_seconds // BUCKET_SECONDS
    for start in range(stretch.begin, stretch.end, BUCKET_MS):
        blind = stretch.blind.get(start, frozenset())
        whole: dict[str, int] = {}
        heard: dict[str, tuple[int, int]] = {}
        for name, cell in stretch.cells.get(start, {}).items():
            here = [found for source, found in cell.items() if source not in blind]
            mentions, voices = sum(found[0] for found in here), sum(found[1] for found in here)
            group, term = rule.divided(name)
            if not here:
                continue
            if term:
                heard[name or ""] = mentions, voices
            else:
                whole[group or ""] = mentions
        known = frozenset(name for name in lasting() if name is not None)
        yield start, memory.update(start, window, whole, heard, known, sums)


def _judge_terms(
    rule: Rule, by_name: dict[str | None, _Series], start: int, heard: Sequence[Heard]
) -> list[Verdict]:
    """Judge the terms that stand out; a series is one while it is loud or told of."""
    known = {found.name: found for found in heard}
    verdicts = []
    for name in [*by_name.keys(), *_begun_terms(rule, by_name, heard)]:
        assert name is not None
        found = known[name]
        series = by_name.setdefault(name, _Series(name))
        series.rows = list(found.rows)
        score = found.evidence / rule.threshold
        lasting = _lasting(series, start, score >= 1 and found.voices >= rule.minimum_volume, False)
        edge = highest(found.bar * rule.threshold, found.expected, TERM_DISPERSION)
        said = _Said(float(found.mentions), found.expected, edge, score, lasting, len(series.rows))
        verdicts.append(_told(rule, series, start, said))
        if not lasting:
            del by_name[name]
    return verdicts


def _begun_terms(rule: Rule, by_name: Mapping[str | None, _Series], heard: Sequence[Heard]) -> list[str]:
    """Return the terms that begin, the strongest first: those that no other one says better, a few at a time."""
    loud = {
        found.name: found.evidence
        for found in heard
        if found.evidence >= rule.threshold and found.voices >= rule.minimum_volume
    }
    mentions = {found.name: found.mentions for found in heard}
    begun: list[str] = []
    for group in sorted({group_of(name) for name in loud}):
        lasting = {term_of(name): name for name in by_name if name is not None and group_of(name) == group}
        here = lasting | {term_of(name): name for name in loud if group_of(name) == group}
        kept = distinct(here, {term: mentions[name] for term, name in here.items()})
        new = [here[term] for term in kept if term not in lasting]
        new.sort(key=lambda name: (-loud[name], name))
        begun += new[: max(0, MOST_LASTING - len(lasting))]
    return begun


def _counted(
    rule: Rule, series: _Series, cell: Cell, blind: frozenset[str]
) -> tuple[tuple[int, int] | None, float]:
    """Return what the sources that are there count, None when too much is away, and their share of the series."""
    share = 1.0
    if blind:
        whole = sum(series.sources.values())
        away = sum(series.sources.get(source, 0.0) for source in blind)
        # Of a series that nothing is known of yet, nobody can say what is missing.
        share = 1 - away / whole if whole > 0 else 0.0
        if share < LEAST_SHARE or ("source" in rule.group_by and share < 1):
            return None, 0.0
    else:
        for source in series.sources:
            series.sources[source] *= SOURCE_KEEP
        for source, (_, whole_of) in cell.items():
            series.sources[source] = series.sources.get(source, 0.0) + whole_of
    present = [counts for source, counts in cell.items() if source not in blind]
    return (sum(part for part, _ in present), sum(whole_of for _, whole_of in present)), share


def _every(cells: Cells, blind: frozenset[str]) -> int:
    """Return what all series together count: what a ratio is taken of."""
    return sum(part for cell in cells.values() for source, (part, _) in cell.items() if source not in blind)


def _holiday(rule: Rule, start: int) -> Day | None:
    """Return the holiday that the middle of a bucket lies in."""
    return rule.holidays.at((start + BUCKET_MS / 2) / 1000)


def _spike(
    detector: Detector, start: int, counted: tuple[int, int] | None, share: float, day: Day | None
) -> _Said:
    value = None if counted is None else counted[0]
    found = detector.update(start / 1000, value, share if counted is not None else 1.0, day)
    rows = max(1, round(found.scale_seconds / BUCKET_SECONDS))
    return _Said(
        value, found.expected, found.upper, found.score, found.since is not None, rows, found.is_alert
    )


def _flat(
    rule: Rule,
    series: _Series,
    detector: Flatline,
    start: int,
    counted: tuple[int, int] | None,
    share: float,
    watched: int,
    day: Day | None,
) -> _Said:
    bar = rule.threshold * (flatline.BAR + log(max(watched, 1)))
    value = None if counted is None else counted[0]
    expected, score = detector.update(start / 1000, float(BUCKET_SECONDS), value, share or 1.0, bar, day)
    lasting = _lasting(series, start, score >= 1, value is None)
    return _Said(value, expected, expected, score, lasting, detector.window)


def _change(
    rule: Rule, series: _Series, detector: Change, start: int, counted: tuple[int, int] | None, watched: int
) -> _Said:
    ways = 2 if rule.direction == "either" else 1
    bar = rule.threshold * change.BAR + log(max(watched, 1) * ways) / change.BAR
    net = rule.metric == "net-sentiment"
    row = (counted[0] + counted[1], 2 * counted[1]) if counted is not None and net else counted
    expected, edge, score = detector.update(start / 1000, float(BUCKET_SECONDS), row, bar, rule.direction)
    known = [row for row in detector.rows if row is not None]
    whole = sum(row[1] for row in known)
    share = sum(row[0] for row in known) / whole if whole else expected
    if net:
        whole //= 2
        expected, edge, share = (2 * each - 1 for each in (expected, edge, share))
    value = None if counted is None else share if whole else 0.0
    bar_now = 1.0 if series.loud is None else CHANGE_HOLDS
    lasting = _lasting(series, start, score >= bar_now and whole >= rule.minimum_volume, value is None)
    return _Said(value, expected, edge, score, lasting, detector.window)


def _threshold(rule: Rule, series: _Series, start: int, counted: tuple[int, int] | None) -> _Said:
    rows = rule.window_seconds // BUCKET_SECONDS
    _remember(series, None if counted is None else (*counted, 0.0), rows)
    if counted is None:
        return _Said(None, rule.threshold, rule.threshold, 0.0, series.loud is not None, rows)
    window = _window(rule, series, start, rows)
    value = float(window.observed)
    if rule.metric in ("share-negative", "share"):
        value = window.observed / window.volume if window.volume else 0.0
    score = value / rule.threshold
    lasting = _lasting(series, start, score >= 1 and window.volume >= rule.minimum_volume, False)
    return _Said(value, rule.threshold, rule.threshold, score, lasting, rows)


def _lasting(series: _Series, start: int, loud: bool, missing: bool) -> bool:
    """Say whether an incident without a memory of its own lasts: it ends after a quiet hour."""
    if loud:
        series.loud = start
    elif series.loud is not None and not missing and start - series.loud >= QUIET_MS:
        series.loud = None
    return series.loud is not None


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
    share = rule.metric in OF_ALL
    of_terms = rule.detector == "new-term"
    expected = sum(row[2] for row in reversed(taken))
    if rule.detector == "threshold":
        expected = rule.threshold * every if share else rule.threshold
    # Of a silence what was expected is the volume, of a share what it is taken of, of a new term the voices.
    volume = round(expected) if rule.detector == "flatline" else every if share or of_terms else observed
    dispersion = 0.0
    if series.spike is not None:
        dispersion = series.spike.dispersion
    elif series.flat is not None:
        dispersion = flatline.DISPERSION
    return Window(end - len(taken) * BUCKET_MS, end, observed, expected, volume, dispersion)


def _told(rule: Rule, series: _Series, start: int, said: _Said) -> Verdict:
    """Decide what a person hears: that it begins, when it is large enough; that it has grown much; that it is over."""
    verdict = Verdict(start, series.group, said.value, said.expected, said.upper, said.score)
    if not said.lasting:
        event: Event = "end" if series.told else ""
        series.told = series.once = False
        series.calm, series.peak = None, 0.0
        return msgspec.structs.replace(verdict, event=event)
    severity = severity_of(said.score)
    if said.value is None:
        return msgspec.structs.replace(verdict, severity=severity, calm=series.calm)
    window = _window(rule, series, start, said.rows)
    recent, excess = _recent(series) if series.spike is not None else (RISEN_SURPRISE, 0.0)
    series.peak = max(series.peak, excess)
    faded = recent < CALM_SURPRISE or excess < FADED * series.peak
    if not faded:
        series.calm = None
    elif series.calm is None:
        series.calm = start
    if series.calm is not None:
        severity = max(1, severity - (start - series.calm) // BUCKET_MS)
    event = _event(rule, series, start, severity, window, recent, said)
    before: tuple[Row | None, ...] = ()
    if event == "begin":
        before, series.peak = tuple(series.rows), excess
    return msgspec.structs.replace(
        verdict, severity=severity, window=window, event=event, calm=series.calm, before=before
    )


def _event(
    rule: Rule, series: _Series, start: int, severity: int, window: Window, recent: float, said: _Said
) -> Event:
    if series.told:
        if series.calm is not None and start - series.calm >= CALM_MS:
            series.told = False
            return "end"
        return "escalate" if said.escalates else ""
    large = window.volume >= rule.minimum_volume and severity >= rule.minimum_severity
    risen = recent >= RISEN_SURPRISE and series.calm is None and said.score >= 1
    if not large or (series.once and not risen):
        return ""
    series.told = series.once = True
    return "begin"


def _recent(series: _Series) -> tuple[float, float]:
    """Return how surprising the last half hour is by itself, and what it has above the expectation."""
    rows = [row for row in series.rows[-CALM_ROWS:] if row is not None]
    if not rows or series.spike is None:
        return 0.0, 0.0
    error = EXPECTATION_VARIANCE + series.spike.doubt
    dispersion = series.spike.dispersion / len(rows) + error
    observed, expected = sum(row[0] for row in rows), sum(row[2] for row in rows)
    return surprise(observed, expected, dispersion), observed - expected
