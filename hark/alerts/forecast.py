"""The next hours of a series of counts, with intervals that cover what they say they cover.

What is expected is the detectors' baseline (level × hour of day × weekday × hour of the week, baseline.py), carried on
by how far the last hours were above or below it, which fades with the distance. The intervals are taken from the
series itself: at each row a forecast is made for some distances; when the row has come, its error, in units of the
spread that counts of that size have, joins the errors of its distance, and the interval is where the stated share of
them lay (split conformal prediction with a rolling window). Long-run misses move the share that is asked for
(adaptive conformal inference: Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021), so
that the coverage holds where the world has changed too.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Literal

from msgspec import Struct

from hark.alerts.baseline import WEIGHT_SECONDS, Baseline
from hark.alerts.holidays import NONE, Holidays
from hark.core.clock import from_ms
from hark.core.protocols import Gap, Store
from hark.core.tree import Query

HOUR_SECONDS = 3600
Metric = Literal["count", "complaints"]
SHARES = (0.8, 0.95)
"""Of the intervals."""
HISTORY_DAYS = 84
"""More than this changes nothing."""

_LEADS_HOURS = (1, 3, 8, 24, 48)
"""Distances at which errors are kept; between them the bounds are interpolated."""
_WINDOW = 1000
"""Errors of a distance that are kept."""
_PRIOR_ROWS, _PRIOR_SPREAD = 60, 1.4
"""The errors that one begins with, normal ones; one is dropped for every four that are seen."""
_STEP = 0.002
"""How fast the shares that are asked for follow what was covered. Faster covers less, since it wavers (docs/forecast.md)."""
_DISPERSION = 0.1
"""What errors are divided by is the deviation of a count of this dispersion; the scale is learned with the errors."""
_CLIP_DEVIATIONS = 2.5
"""What is further out is learned as if it were so far: an incident must not become the expectation."""
_RECENT = ((3.0, 6.0, 10.0), (18.0, 72.0, 40.0))
"""How far the last hours were above what was expected, twice: the hours that it is taken over, the hours that it
lasts (both to 1/e), and the count by which it leans on 1."""


class Point(Struct, frozen=True):
    """One row of a forecast: `start` in seconds since 1970; low and high of the 80 % and the 95 % interval."""

    start: int
    expected: float
    low_80: float
    high_80: float
    low_95: float
    high_95: float


class _Errors:
    """The errors of one distance: the last `_WINDOW`, and the share of them that is asked for on each side."""

    def __init__(self) -> None:
        normal = NormalDist()
        self._recent: deque[float] = deque()
        self._sorted = [_PRIOR_SPREAD * normal.inv_cdf((n + 0.5) / _PRIOR_ROWS) for n in range(_PRIOR_ROWS)]
        self._prior = list(self._sorted)
        self._tails = [[(1 - share) / 2, (1 - share) / 2] for share in SHARES]

    def bounds(self, which: int) -> tuple[float, float]:
        """Return the lower and upper bound of the errors for SHARES[which]."""
        low, high = self._tails[which]
        return self._at(low, up=False), self._at(high, up=True)

    def add(self, error: float) -> None:
        """Take in the error of a row that has come."""
        for which, share in enumerate(SHARES):
            aim = (1 - share) / 2
            low, high = self.bounds(which)
            tails = self._tails[which]
            for side, missed in enumerate((error < low, error > high)):
                tails[side] = min(max(tails[side] + _STEP * (aim - missed), aim / 10), 0.4)
        insort(self._sorted, error)
        self._recent.append(error)
        if self._prior and len(self._recent) % 4 == 0:
            del self._sorted[bisect_left(self._sorted, self._prior.pop(len(self._prior) // 2))]
        if len(self._recent) > _WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]

    def _at(self, tail: float, up: bool) -> float:
        count = len(self._sorted)
        rank = int((count + 1) * tail)  # of those outside: rounded down, towards covering more
        at = count - rank if up else rank - 1
        if 0 <= at < count:
            return self._sorted[at]
        # Further out than any error seen: half as far again.
        edge = self._sorted[-1] if up else self._sorted[0]
        return edge * 1.5 if (edge > 0) == up else edge


class Forecaster:
    """Learns a series row by row; `points` says what the next rows will be. A row takes some 50 microseconds."""

    def __init__(self, start: int, interval_seconds: int = HOUR_SECONDS, holidays: Holidays = NONE) -> None:
        self._next = start
        self._holidays = holidays
        self._interval = interval_seconds
        self._weight = interval_seconds / WEIGHT_SECONDS
        self._baseline = Baseline()
        self._ratios = [[0.0, 0.0] for _ in _RECENT]
        self._pending: dict[int, list[tuple[int, float, float]]] = {}
        rows = sorted({max(1, round(hours * HOUR_SECONDS / interval_seconds)) for hours in _LEADS_HOURS})
        self._leads = rows
        self._errors = [_Errors() for _ in rows]

    def observe(self, value: float | None) -> None:
        """Take in the next row's count; None is a gap, which teaches nothing."""
        start = self._next
        self._next = start + self._interval
        made = self._pending.pop(start, ())
        if value is None:
            return
        if self._baseline.level < 0:
            self._baseline.begin(value)
        for lead, mean, spread in made:
            self._errors[lead].add((value - mean) / spread)
        middle = start + self._interval / 2
        found = self._baseline.expect(middle, self._weight, self._holidays.at(middle))
        mean = found.mean
        clipped = min(value, mean + _CLIP_DEVIATIONS * _width(mean, found.doubt))
        usual = mean
        for (memory, _, leaning), sums in zip(reversed(_RECENT), reversed(self._ratios), strict=True):
            fade = exp(-self._interval / HOUR_SECONDS / memory)
            sums[0], sums[1] = sums[0] * fade + clipped, sums[1] * fade + usual
            usual *= (sums[0] + leaning) / (sums[1] + leaning)
        self._baseline.learn(found, clipped, self._weight)
        for at, lead in enumerate(self._leads):
            target = start + lead * self._interval
            expected, doubt = self._expected(target, lead)
            self._pending.setdefault(target, []).append((at, expected, _width(expected, doubt)))

    def points(self, rows: int) -> list[Point]:
        """Return the next `rows` rows; [] before the first count."""
        if self._baseline.level < 0:
            return []
        return [self._point(self._next + ahead * self._interval, ahead + 1) for ahead in range(rows)]

    def _point(self, start: int, lead: int) -> Point:
        mean, doubt = self._expected(start, lead)
        width = _width(mean, doubt)
        bounds = [
            max(mean + error * width, 0.0)
            for which in range(len(SHARES))
            for error in self._between(lead, which)
        ]
        return Point(start, mean, *bounds)

    def _between(self, lead: int, which: int) -> tuple[float, float]:
        after = min(bisect_left(self._leads, lead), len(self._leads) - 1)
        before = max(after - 1, 0) if self._leads[after] > lead else after
        low, high = self._errors[before].bounds(which), self._errors[after].bounds(which)
        if before == after:
            return high
        share = log(lead / self._leads[before]) / log(self._leads[after] / self._leads[before])
        return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])

    def _expected(self, start: int, lead: int) -> tuple[float, float]:
        """Return the expectation of a row, and the relative variance that it has on a holiday."""
        middle = start + self._interval / 2
        found = self._baseline.expect(middle, self._weight, self._holidays.at(middle))
        mean = found.mean
        for (_, lasts, leaning), (seen, wanted) in zip(_RECENT, self._ratios, strict=True):
            ratio = (seen + leaning) / (wanted + leaning)
            mean *= ratio ** exp(-lead * self._interval / HOUR_SECONDS / lasts)
        return mean, found.doubt


def _width(mean: float, doubt: float) -> float:
    """Return the standard deviation of an over-dispersed count (negative binomial) of this mean."""
    return sqrt(mean + (_DISPERSION + doubt) * mean * mean)


def forecast(
    counts: Iterable[float | None],
    start: int,
    rows: int,
    interval_seconds: int = HOUR_SECONDS,
    holidays: Holidays = NONE,
) -> list[Point]:
    """Return the `rows` rows after `counts`, whose first begins at `start` (seconds since 1970); None is a gap."""
    forecaster = Forecaster(start, interval_seconds, holidays)
    for value in counts:
        forecaster.observe(value)
    return forecaster.points(rows)


def band(
    counts: Sequence[float | None],
    start: int,
    ahead: int = 0,
    interval_seconds: int = HOUR_SECONDS,
    holidays: Holidays = NONE,
) -> list[Point | None]:
    """Return for each row what was expected of it from the rows before, and for `ahead` rows what is to come.

    The band of a chart. None where nothing was known yet.
    """
    forecaster = Forecaster(start, interval_seconds, holidays)
    found: list[Point | None] = []
    for value in counts:
        found += forecaster.points(1) or [None]
        forecaster.observe(value)
    found += forecaster.points(ahead) or [None] * ahead
    return found


class Forecast(Struct, frozen=True):
    """What a query's mentions will come to: `points` from the first hour that is not over, or [] without history."""

    metric: Metric
    learned_from: int | None
    """The first hour that was learned from (seconds since 1970)."""
    points: list[Point]


def forecast_of(
    store: Store,
    query: Query,
    metric: Metric,
    moment: datetime,
    gaps: Sequence[tuple[str, Gap]],
    rows: int = 48,
    interval_seconds: int = HOUR_SECONDS,
    holidays: Holidays = NONE,
) -> Forecast:
    """Return what will match `query` in the `rows` intervals from the one that `moment` lies in, after what did.

    Intervals in which a source may have missed mentions (`gaps`: the ledger's) teach nothing. Raises TransientError
    while the store is away.
    """
    end = int(moment.timestamp()) // interval_seconds * interval_seconds
    start, counts = _read(store, query, metric, end - HISTORY_DAYS * 86_400, end, gaps, interval_seconds)
    if not counts:
        return Forecast(metric, None, [])
    return Forecast(metric, start, forecast(counts, start, rows, interval_seconds, holidays))


def band_of(
    store: Store,
    query: Query,
    metric: Metric,
    since: datetime,
    until: datetime,
    moment: datetime,
    gaps: Sequence[tuple[str, Gap]],
    interval_seconds: int = HOUR_SECONDS,
    holidays: Holidays = NONE,
) -> list[Point]:
    """Return the band of a chart from `since` to `until`: each interval as it was expected from those before it.

    From `moment` on it is the forecast. Intervals before the first mention are left out. Raises TransientError.
    """
    begin = int(since.timestamp()) // interval_seconds * interval_seconds
    end = min(int(moment.timestamp()), int(until.timestamp())) // interval_seconds * interval_seconds
    start, counts = _read(store, query, metric, begin - HISTORY_DAYS * 86_400, end, gaps, interval_seconds)
    ahead = max(0, -(-(int(until.timestamp()) - end) // interval_seconds)) if until > moment else 0
    found = band(counts, start, ahead, interval_seconds, holidays) if counts else []
    return [point for point in found if point is not None and point.start >= begin]


def _read(
    store: Store,
    query: Query,
    metric: Metric,
    begin: int,
    end: int,
    gaps: Sequence[tuple[str, Gap]],
    interval_seconds: int,
) -> tuple[int, list[float | None]]:
    """Return the first interval in which anything matched, and the counts from there; None where there is a gap."""
    buckets = store.histogram(query, interval_seconds, from_ms(max(begin, 0) * 1000), from_ms(end * 1000))
    sums = {
        bucket.start // 1000: bucket.count if metric == "count" else bucket.negative for bucket in buckets
    }
    if not sums:
        return end, []
    start = min(sums)
    counts: list[float | None] = [float(sums.get(at, 0)) for at in range(start, end, interval_seconds)]
    for _, gap in gaps:
        if not gap.closed:
            first = max(0, (int(gap.begin.timestamp()) - start) // interval_seconds)
            last = min(len(counts), -(-(int(gap.end.timestamp()) - start) // interval_seconds))
            counts[first:last] = [None] * max(0, last - first)
    return start, counts
