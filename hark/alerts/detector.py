"""The spike detector: judges each count of a series by those before it, on several time scales at once.

How it works, where the formulas come from and how well it does is in docs/spikes.md. In short: `baseline` says what
was to be expected; the surprise of a window is the exponent of the tail of a negative binomial; two sums of
surprises, a broad one (all scales together) and a sharp one (the largest, as it lasts), are held against what the
series itself usually shows (`record`); the one that stands out begins an alert, which lasts until it has been quiet
for hours.
"""

from math import log, log2, sqrt

import msgspec
from msgspec import Struct, field

from hark.alerts.baseline import WEIGHT_SECONDS, Baseline
from hark.alerts.holidays import Day
from hark.alerts.record import Record
from hark.core.errors import FatalError, RefusedError

SCALES_SECONDS = (300.0, 900.0, 3600.0, 21600.0)
"""Five minutes to six hours; a series with wider rows has fewer scales."""
SHARP_SCALES_SECONDS = (900.0, 3600.0)
SHARP_LASTS_SECONDS = 1200.0
"""The sharp evidence is the mean over so long: a few rows may be large, or more of them a little less."""

EXPECTATION_VARIANCE = 0.01
"""The expectation itself is wrong by about a tenth: its relative variance, the same on every scale."""
CLIP_DEVIATIONS = 2.0
"""A row teaches the baseline at most so many standard deviations more than was expected."""

DISPERSION_START = 0.1
DISPERSION_RANGE = (0.003, 4.0)
DISPERSION_HALF_LIFE_SECONDS = 14 * 86400.0
DISPERSION_CLIP = 2.5
DISPERSION_CLIP_CORRECTION = 1.1
"""What clipping at 2.5 deviations takes from the variance of a count, given back."""

BROAD_FLOOR, BROAD_TIMES_USUAL = 4.5, 3.6
SHARP_FLOOR, SHARP_AT_USUAL, SHARP_USUAL = 6.5, 8.0, 4.8
"""The two thresholds: the broad one grows with the usual surprise, the sharp one with its square, see docs/spikes.md."""
YOUNG_SHARE, YOUNG_HALF_LIFE_SECONDS = 0.2, 4 * 86400.0
"""Both stand higher while the season and the usual are hardly known: by this share at first, halved every four days."""

ESCALATION, ESCALATION_AFTER_SECONDS = 3.0, 3600.0
"""An incident is told of again when the evidence is three times what the hour after its last alert came to."""
END_SHARE, END_QUIET_SECONDS = 0.5, 6 * 3600.0
SETTLED_SECONDS = 86400.0
"""What lasts longer than a day is a new level: from then on it is learned unclipped."""
WARM_UP_SECONDS, WARM_UP_ROWS = 86400.0, 24
SPACING_ROWS = 5
"""The spacing is the lower median of the first five steps."""
SMALLEST_INTERVAL_SECONDS = 1.0


class Options(Struct, frozen=True, kw_only=True):
    """What can be chosen for a series.

    `interval_seconds`: the spacing of its rows; 0 finds it from the first timestamps. `threshold`: the evidence that
    it takes to begin an alert, as a multiple of the usual. `series_watched`: how many series are watched together;
    the thresholds rise by its logarithm, so that many series do not mean many false alarms.
    """

    interval_seconds: float = 0.0
    threshold: float = 1.0
    series_watched: int = 1


class Verdict(Struct, frozen=True):
    """What is said of one row.

    `expected` is the mean that was expected, `upper` the value at which the row by itself would be a spike, both in
    units of the value. `severity` is 0 while there is no incident, else 1 to 10. `is_alert` is true where an alert
    begins or escalates. `score` is the evidence as a multiple of its threshold; `since` is when the incident that
    lasts began (the timestamp of its alert), `scale_seconds` the window with the greatest surprise.
    """

    expected: float
    upper: float
    severity: int
    is_alert: bool
    score: float
    since: float | None
    scale_seconds: float


class _Window(Struct):
    """The last rows of one time scale, as running sums; rows that are missing are in it as nothing."""

    seconds: float
    rows: int
    sharp: bool
    seen: float = 0.0
    expected: float = 0.0
    present: int = 0


class Detector(Struct):
    """The detector of one series. Feed it rows in the order of their time with `update`.

    It never looks back: the state is bounded (about a thousand numbers at five minutes' spacing), `state` writes it
    down, `from_state` goes on from there as if nothing had happened.
    """

    options: Options = Options()
    baseline: Baseline = field(default_factory=Baseline)
    broad: Record = field(default_factory=lambda: Record.start(2.0, 0.7))
    sharp: Record = field(default_factory=lambda: Record.start(5.0, 0.35))
    dispersion: float = DISPERSION_START
    dispersion_weight: float = -1.0
    interval: float = 0.0
    spacings: list[float] = field(default_factory=list)
    windows: list[_Window] = field(default_factory=list)
    recent: list[tuple[float, float] | None] = field(default_factory=list)
    sharp_shares: list[float] = field(default_factory=list)
    place: int = 0
    first: float | None = None
    last: float | None = None
    judged: int = 0
    since: float | None = None
    told: float = 0.0
    loud: float = 0.0
    height: float = 0.0
    severity: int = 0
    doubt: float = 0.0

    def state(self) -> bytes:
        """Return everything that the next verdicts depend on."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_state(cls, state: bytes) -> "Detector":
        """Return the detector that wrote `state`; raises FatalError when no detector of this version did."""
        try:
            return msgspec.msgpack.decode(state, type=cls)
        except msgspec.MsgspecError as error:
            raise FatalError(f"the state of a detector cannot be read: {error}") from error

    def update(
        self, timestamp: float, value: float | None, share: float = 1.0, holiday: Day | None = None
    ) -> Verdict:
        """Judge the row that begins at `timestamp` (seconds since 1970, UTC); None is a value that is missing.

        Rows may be left out: a gap teaches nothing and is no evidence. `share` is how much of the series could be
        counted, 0 to 1: less of it is expected, and the row teaches the less. `holiday` is the one that the row lies in.
        Raises RefusedError, and changes nothing, for a time that is not after the last one's and for a value that is not a finite number of at least 0.
        """
        if value is not None and not 0 <= value < 1e15:
            raise RefusedError(f"the value {value} is not a count: a finite number of at least 0 is expected")
        if self.last is not None and timestamp <= self.last:
            raise RefusedError("the time is not after that of the row before")
        # Numbers of other libraries would be carried into the state, which holds plain ones.
        timestamp, value = float(timestamp), None if value is None else float(value)
        self._advance(timestamp)
        weight = self.interval / WEIGHT_SECONDS
        if self.baseline.level < 0:
            if value is None:
                return Verdict(0.0, 0.0, 0, False, 0.0, None, self.interval)
            self.baseline.begin(value / share)
        found = self.baseline.expect(timestamp + self.interval / 2, weight, holiday)
        doubt = self.baseline.doubt_at(timestamp, found)
        self.doubt = doubt
        error = EXPECTATION_VARIANCE + doubt
        mean = found.mean * share
        self._push(None if value is None else (value, mean))
        broad_threshold, sharp_threshold = self._thresholds(timestamp)
        upper = highest(broad_threshold, mean, self.dispersion + error)
        if value is None:
            return Verdict(mean, upper, self.severity, False, 0.0, self.since, self.interval)
        broad, sharp, scale = self._surprises(error)
        score = max(broad / broad_threshold, self._lasting(sharp / sharp_threshold))
        is_alert = self.judge(timestamp, score)
        verdict = Verdict(mean, upper, self.severity, is_alert, score, self.since, scale)
        self.broad.note(timestamp, broad, self.interval)
        self.sharp.note(timestamp, sharp, self.interval)
        settled = self.since is not None and timestamp - self.since > SETTLED_SECONDS
        deviation = sqrt(mean + self.dispersion * mean * mean)
        clipped = value if settled else min(value, mean + CLIP_DEVIATIONS * deviation)
        if not doubt:
            # How far a holiday is from what was expected says nothing of how counts scatter.
            self._disperse(value, mean)
        self.baseline.learn(found, clipped / share, weight * share)
        self.judged += 1
        return verdict

    def _advance(self, timestamp: float) -> None:
        """Find the spacing of the rows, and let the windows pass over the rows that are missing."""
        last, self.last = self.last, timestamp
        if last is None:
            self.first = timestamp
            self._space(
                max(self.options.interval_seconds, SMALLEST_INTERVAL_SECONDS)
                if self.options.interval_seconds
                else WEIGHT_SECONDS
            )
            return
        step = timestamp - last
        if self.options.interval_seconds == 0 and len(self.spacings) < SPACING_ROWS:
            self.spacings.append(max(step, SMALLEST_INTERVAL_SECONDS))
            interval = sorted(self.spacings)[(len(self.spacings) - 1) // 2]
            if interval != self.interval:
                self._space(interval)
        for _ in range(min(round(step / self.interval) - 1, len(self.recent))):
            self._push(None)

    def _space(self, interval: float) -> None:
        """Begin the windows for rows that are `interval` seconds apart."""
        self.interval = interval
        sharp = {max(1, round(seconds / interval)) for seconds in SHARP_SCALES_SECONDS}
        sizes = sorted({max(1, round(seconds / interval)) for seconds in SCALES_SECONDS})
        self.windows = [_Window(rows * interval, rows, rows in sharp) for rows in sizes]
        self.recent = [None] * sizes[-1]
        self.sharp_shares = []
        self.place = 0
        if self.dispersion_weight < 0 or self.judged <= SPACING_ROWS:
            self.dispersion_weight = min(144.0, max(20.0, 43200.0 / interval))

    def _push(self, row: tuple[float, float] | None) -> None:
        """Put a row, or a missing one, into all windows, and take out those that leave them."""
        recent, place = self.recent, self.place
        size = len(recent)
        for window in self.windows:
            old = recent[(place - window.rows) % size]
            if old is not None:
                window.seen -= old[0]
                window.expected -= old[1]
                window.present -= 1
                if window.present == 0:
                    # What rounding left behind in the sums.
                    window.seen = window.expected = 0.0
            if row is not None:
                window.seen += row[0]
                window.expected += row[1]
                window.present += 1
        recent[place] = row
        self.place = (place + 1) % size
        if row is None:
            self._lasting(0.0)

    def _surprises(self, error: float) -> tuple[float, float, float]:
        """Return the broad and the sharp surprise, and the scale of the greatest in seconds."""
        roots = sharp = greatest = 0.0
        scale = self.windows[0].seconds
        for window in self.windows:
            dispersion = self.dispersion / window.present + error
            found = surprise(window.seen, window.expected, dispersion)
            roots += sqrt(found)
            if window.sharp and found > sharp:
                sharp = found
            if found > greatest:
                greatest, scale = found, window.seconds
        return (roots / len(self.windows)) ** 2, sharp, scale

    def _lasting(self, share: float) -> float:
        """Take in the sharp surprise of a row, as a share of its threshold; return the mean of the last rows'."""
        rows = max(1, round(SHARP_LASTS_SECONDS / self.interval))
        self.sharp_shares.append(share)
        del self.sharp_shares[:-rows]
        return sum(self.sharp_shares) / rows

    def _thresholds(self, timestamp: float) -> tuple[float, float]:
        more = log(max(self.options.series_watched, 1))
        broad = max(BROAD_FLOOR, BROAD_TIMES_USUAL * self.broad.usual) + more
        sharp = max(SHARP_FLOOR, SHARP_AT_USUAL * (self.sharp.usual / SHARP_USUAL) ** 2) + more
        age = timestamp - (timestamp if self.first is None else self.first)
        times = self.options.threshold * (1 + YOUNG_SHARE * 0.5 ** (age / YOUNG_HALF_LIFE_SECONDS))
        return times * broad, times * sharp

    def judge(self, timestamp: float, score: float) -> bool:
        """Begin, escalate, hold or end the incident; return whether this row is to be told of.

        `update` calls it; by itself it says what another threshold would have done with the same evidence.
        """
        if self.since is None:
            young = self.first is None or timestamp - self.first < WARM_UP_SECONDS
            if score < 1 or young or self.judged < WARM_UP_ROWS:
                return False
            self.since = self.told = self.loud = timestamp
            self.height = score
            self.severity = severity_of(score)
            return True
        if score >= END_SHARE:
            self.loud = timestamp
        elif timestamp - self.loud >= END_QUIET_SECONDS:
            self.since, self.severity = None, 0
            return False
        self.severity = severity_of(score)
        if timestamp - self.told < ESCALATION_AFTER_SECONDS:
            # Evidence gathers in the first hour even if nothing gets worse.
            self.height = max(self.height, score)
            return False
        if score < ESCALATION * self.height:
            return False
        self.told, self.height = timestamp, score
        return True

    def _disperse(self, value: float, mean: float) -> None:
        """Move the dispersion towards what this row says of it.

        A weighted moment estimate, clipped so that spikes do not count: the squared deviation should be the variance
        mean + dispersion · mean², and a row tells the more of the dispersion the more of that is the second term.
        """
        dispersion = self.dispersion
        variance = mean + dispersion * mean * mean
        ratio = min((value - mean) ** 2 / variance, DISPERSION_CLIP**2) * DISPERSION_CLIP_CORRECTION
        weight = (dispersion * mean * mean / variance) ** 2
        keep = 0.5 ** (self.interval / DISPERSION_HALF_LIFE_SECONDS)
        self.dispersion_weight = self.dispersion_weight * keep + weight
        moved = dispersion + weight / max(self.dispersion_weight, 20.0) * (ratio - 1) * variance / (
            mean * mean
        )
        low, high = DISPERSION_RANGE
        self.dispersion = min(max(moved, low), high)


def surprise(seen: float, expected: float, dispersion: float) -> float:
    """Return minus the logarithm of the Chernoff bound of the upper tail of a negative binomial, 0 below its mean.

    With mean `expected` and variance expected + dispersion · expected², P(X ≥ seen) ≤ exp(-surprise).
    """
    if seen <= expected:
        return 0.0
    size = 1 / dispersion
    return max(0.0, seen * log(seen / expected) - (seen + size) * log((seen + size) / (expected + size)))


def highest(bound: float, expected: float, dispersion: float) -> float:
    """Return the count whose surprise is `bound`: the upper edge of what is ordinary. By Newton's method."""
    size = 1 / dispersion
    found = expected + sqrt(2 * bound * (expected + dispersion * expected * expected))
    for _ in range(6):
        ratio = log(found / expected)
        damped = log((found + size) / (expected + size))
        found -= (found * ratio - (found + size) * damped - bound) / (ratio - damped)
    return found


def severity_of(score: float) -> int:
    """Return 1 to 10: 3 at the threshold, two more for every doubling."""
    return min(10, max(1, round(3 + 2 * log2(max(score, 0.01)))))
