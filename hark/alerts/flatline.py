"""The flatline detector: fewer than the level, the hour and the weekday led one to expect.

It learns its expectation as the spike detector does (`baseline`), and looks at the lower tail of the same count: the
surprise of a window is the exponent of the Chernoff bound of the lower tail of a negative binomial. A window in
which little is expected can never be surprising, so that a quiet night of a small brand is not a silence.
"""

from math import log

from msgspec import Struct, field

from hark.alerts.baseline import Baseline
from hark.alerts.holidays import Day

DISPERSION = 0.15
"""Of a window's sum, over-dispersion and the error of the expectation together."""
BAR = 12.0
"""Evidence at the threshold 1, a chance of one in 160,000 windows; rises by the logarithm of the series' number."""
WARM_UP_SECONDS = 7 * 86_400.0
"""A week, so that a first quiet weekend is no silence."""
SETTLED_SECONDS = 86_400.0
"""A silence that has lasted for a day is a new level, and is learned."""
CLIP = 3.0
"""A row teaches at most so many times what was expected."""


class Flatline(Struct):
    """The detector of one series; `rows` holds what was seen and expected in the last rows, None where missing."""

    window: int
    baseline: Baseline = field(default_factory=Baseline)
    rows: list[tuple[float, float] | None] = field(default_factory=list)
    first: float | None = None
    silent_since: float | None = None

    def update(
        self,
        timestamp: float,
        interval: float,
        value: float | None,
        share: float,
        bar: float,
        holiday: Day | None = None,
    ) -> tuple[float, float]:
        """Take the row that begins at `timestamp`; return what it was expected to be, and the window's score.

        The score is the evidence as a multiple of `bar`; 0 while the window is not whole, or all is new.
        """
        weight = interval / 300
        if self.baseline.level < 0:
            if value is None:
                return 0.0, 0.0
            self.baseline.begin(value / share)
            self.first = timestamp
        found = self.baseline.expect(timestamp + interval / 2, weight, holiday)
        doubt = self.baseline.doubt_at(timestamp, found)
        mean = found.mean * share
        self.rows.append(None if value is None else (float(value), mean))
        del self.rows[: -self.window]
        if value is None:
            return mean, 0.0
        young = self.first is None or timestamp - self.first < WARM_UP_SECONDS
        score = 0.0
        if not young and len(self.rows) == self.window and None not in self.rows:
            known = [row for row in self.rows if row is not None]
            score = lack(sum(row[0] for row in known), sum(row[1] for row in known), doubt) / bar
        if score < 1:
            self.silent_since = None
        elif self.silent_since is None:
            self.silent_since = timestamp
        if self.silent_since is None or timestamp - self.silent_since > SETTLED_SECONDS:
            self.baseline.learn(found, min(value, CLIP * mean) / share, weight * share)
        return mean, score


def lack(seen: float, expected: float, doubt: float = 0.0) -> float:
    """Return minus the logarithm of the Chernoff bound of the lower tail, 0 above the mean.

    `doubt` is a relative variance that the expectation has beside the usual one.
    """
    if seen >= expected:
        return 0.0
    size = 1 / (DISPERSION + doubt)
    least = seen * log(seen / expected) if seen > 0 else 0.0
    return max(0.0, least - (seen + size) * log((seen + size) / (expected + size)))
