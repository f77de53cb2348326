"""The detector of shares: of negative mentions, of a topic, or of one brand among its competitors, against its past.

The share of a window is held against the share of the weeks before, which is known from decayed sums. Windows of
real mentions differ by more than chance allows (people answer each other), so the variance is that of a binomial
times a factor that is learned from the series itself (quasi-binomial: McCullagh and Nelder, Generalized Linear
Models, 1989, section 4.5). The evidence is the score statistic of the difference; only a rise counts.
"""

from math import sqrt

from msgspec import Struct, field

HALF_LIFE_SECONDS = 7 * 86_400.0
PRIOR_VOLUME = 50.0
"""The past is believed half when it has so many mentions; until then a share is thought to be its own past."""
LEAST_VOLUME = 100.0
"""Mentions of the past below which nothing is said."""
BAR = 4.5
"""Standard deviations at the threshold 1."""
SMALLEST_SHARE = 0.005
WARM_UP_SECONDS = 86_400.0
OVERDISPERSION_RANGE = (1.0, 20.0)
_CLIP = 9.0
"""A window teaches the overdispersion at most three standard deviations."""


class Change(Struct):
    """The detector of one series; `rows` holds (part, whole) of the last rows, None where missing."""

    window: int
    part: float = 0.0
    whole: float = 0.0
    overdispersion: float = 2.0
    rows: list[tuple[int, int] | None] = field(default_factory=list)
    first: float | None = None

    def update(
        self, timestamp: float, interval: float, row: tuple[int, int] | None, bar: float
    ) -> tuple[float, float, float]:
        """Take the row that begins at `timestamp`; return the share expected, its upper edge, and the score.

        The edge is where the window's share would reach `bar`, in standard deviations; the score is a multiple of it.
        """
        if self.first is None:
            self.first = timestamp
        self.rows.append(row)
        del self.rows[: -self.window]
        known = [each for each in self.rows if each is not None]
        part, whole = sum(each[0] for each in known), sum(each[1] for each in known)
        share = (self.part + SMALLEST_SHARE) / (self.whole + 1) if self.whole else 0.0
        share = min(max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
        deviation = sqrt(
            share * (1 - share) * self.overdispersion * (1 / max(whole, 1) + 1 / max(self.whole, 1))
        )
        upper = min(1.0, share + bar * deviation)
        if row is None:
            return share, upper, 0.0
        young = timestamp - self.first < WARM_UP_SECONDS or self.whole < LEAST_VOLUME
        score = 0.0 if young or not whole else max(0.0, (part / whole - share) / deviation / bar)
        self._learn(interval, row, part, whole, share, score)
        return share, upper, score

    def _learn(
        self, interval: float, row: tuple[int, int], part: int, whole: int, share: float, score: float
    ) -> None:
        """Move the past towards the row; what stands out teaches as if it just did not."""
        keep = 0.5 ** (interval / HALF_LIFE_SECONDS)
        counted = float(row[0])
        if score >= 1 and row[1]:
            counted = min(counted, share * row[1])
        self.part = self.part * keep + counted
        self.whole = self.whole * keep + row[1]
        if self.whole >= LEAST_VOLUME and whole >= 5 and score < 1:
            squared = (part - share * whole) ** 2 / (share * (1 - share) * whole)
            gain = (1 - keep) * min(1.0, self.whole / (self.whole + PRIOR_VOLUME)) * 2
            low, high = OVERDISPERSION_RANGE
            moved = self.overdispersion + gain * (
                min(squared, _CLIP * self.overdispersion) - self.overdispersion
            )
            self.overdispersion = min(max(moved, low), high)
