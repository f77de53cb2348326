"""The detector of shares: of negative mentions, of a topic, or of one brand among its competitors, against its past.

Net sentiment, (positive - negative) / all, is a share too: each mention is two trials, of which a positive one succeeds
in both, a neutral one in one, a negative one in none; what that leaves out of account is learned as overdispersion.

The share of a window is held against the share of the weeks before, which is known from decayed sums. Windows of
real mentions differ by more than chance allows (people answer each other), so the variance is that of a binomial
times a factor that is learned from the series itself (quasi-binomial: McCullagh and Nelder, Generalized Linear
Models, 1989, section 4.5). The evidence is the score statistic of the difference, and at most the signed root of the
deviance, √(2 n KL(seen ‖ expected)): by Chernoff's bound P ≤ exp(-n KL) holds for any n, so that a handful of mentions
is never what a normal approximation would make of it.
"""

from math import log, sqrt
from typing import Literal

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
Direction = Literal["up", "down", "either"]
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
        self,
        timestamp: float,
        interval: float,
        row: tuple[int, int] | None,
        bar: float,
        direction: Direction = "up",
    ) -> tuple[float, float, float]:
        """Take the row that begins at `timestamp`; return the share expected, its edge, and the score.

        The edge is about where the window's share would reach `bar`, in standard deviations, in the `direction` that is
        looked at (of either: on the side where the window is); the score is a multiple of it.
        """
        if self.first is None:
            self.first = timestamp
        self.rows.append(row)
        del self.rows[: -self.window]
        known = [each for each in self.rows if each is not None]
        part, whole = sum(each[0] for each in known), sum(each[1] for each in known)
        share = (self.part + SMALLEST_SHARE) / (self.whole + 1) if self.whole else 0.0
        share = min(max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
        spread = self.overdispersion * (1 / max(whole, 1) + 1 / max(self.whole, 1))
        deviation = sqrt(share * (1 - share) * spread)
        difference = part / whole - share if whole else 0.0
        down = direction == "down" or (direction == "either" and difference < 0)
        edge = max(0.0, share - bar * deviation) if down else min(1.0, share + bar * deviation)
        if row is None:
            return share, edge, 0.0
        young = timestamp - self.first < WARM_UP_SECONDS or self.whole < LEAST_VOLUME
        score = 0.0
        if not young and whole and (difference < 0) == down:
            deviance = sqrt(2 * divergence(part / whole, share) / spread)
            score = min(abs(difference) / deviation, deviance) / bar
        self._learn(interval, row, part, whole, share, score)
        return share, edge, score

    def _learn(
        self, interval: float, row: tuple[int, int], part: int, whole: int, share: float, score: float
    ) -> None:
        """Move the past towards the row; what stands out teaches as if it just did not."""
        keep = 0.5 ** (interval / HALF_LIFE_SECONDS)
        counted = float(row[0])
        if score >= 1 and row[1]:
            most = share * row[1]
            counted = max(counted, most) if part < share * whole else min(counted, most)
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


def divergence(seen: float, expected: float) -> float:
    """Return the Kullback-Leibler divergence of two shares: of `seen` from `expected`, which is neither 0 nor 1."""
    found = seen * log(seen / expected) if seen > 0 else 0.0
    return found + ((1 - seen) * log((1 - seen) / (1 - expected)) if seen < 1 else 0.0)
