"""How large the surprises of one series usually get: its own record, from the largest of each half day.

A surprise of ten is once in a lifetime for counts that keep to their distribution, and happens every afternoon to a
brand whose friends repost in bursts. No distribution fitted to the bulk of the rows tells the two apart, the record
does. It is the geometric mean of the upper half-day maxima of the last month (from their 60th to their 90th per cent):
incidents themselves, unless they come every day, do not count as usual.
"""

from functools import lru_cache
from math import ceil, exp, log
from statistics import NormalDist

from msgspec import Struct, field

BLOCK_SECONDS = 43200.0
BLOCKS_KEPT = 60
LOWER, UPPER = 0.6, 0.9
PRIOR_BLOCKS, FEWEST_PRIOR_BLOCKS, BLOCKS_PER_PRIOR_BLOCK = 14, 4, 4
"""The record begins as if so many half days had been seen; one is dropped for every four that are, down to four."""


class Record(Struct):
    """The half-day maxima of one kind of surprise; `usual` is what they come to."""

    prior_median: float
    prior_spread: float
    usual: float
    peaks: list[float] = field(default_factory=list)
    seen: int = 0
    block: int = 0
    largest: float = 0.0
    rows: int = 0

    @classmethod
    def start(cls, prior_median: float, prior_spread: float) -> "Record":
        """Return an empty record that believes in lognormal maxima with this median and spread of the logarithm."""
        usual = _middle(_prior(prior_median, prior_spread, PRIOR_BLOCKS))
        return cls(prior_median, prior_spread, usual)

    def note(self, timestamp: float, surprise: float, interval: float) -> None:
        """Take in the surprise of a row; at the turn of the half day `usual` changes, for the rows that follow."""
        block = int(timestamp // BLOCK_SECONDS)
        if block != self.block:
            # A half day that was mostly a gap says nothing about how large a half day's largest is.
            if self.rows * interval >= BLOCK_SECONDS / 2 or (self.rows and interval > BLOCK_SECONDS):
                self._close()
            self.block, self.largest, self.rows = block, 0.0, 0
        self.rows += 1
        if surprise > self.largest:
            self.largest = surprise

    def _close(self) -> None:
        self.peaks.append(max(self.largest, 0.05))
        self.seen += 1
        del self.peaks[:-BLOCKS_KEPT]
        count = max(PRIOR_BLOCKS - self.seen // BLOCKS_PER_PRIOR_BLOCK, FEWEST_PRIOR_BLOCKS)
        self.usual = _middle([*self.peaks, *_prior(self.prior_median, self.prior_spread, count)])


def _middle(peaks: list[float]) -> float:
    ordered = sorted(peaks)
    start = int(LOWER * len(ordered))
    upper = ordered[start : max(ceil(UPPER * len(ordered)), start + 1)]
    return exp(sum(map(log, upper)) / len(upper))


@lru_cache
def _prior(median: float, spread: float, count: int) -> list[float]:
    normal = NormalDist()
    return [median * exp(spread * normal.inv_cdf((at + 0.5) / count)) for at in range(count)]
