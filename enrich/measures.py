"""How good labels and confidences are, with intervals.

Intervals are 95 %, by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13): 1,000 resamples, texts of one
group (an author) drawn together; two models are compared on the same resamples. Macro-F1 is the mean F1 of the labels
that people gave; a label that nobody gave counts as wrong wherever it is said.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

RESAMPLES = 1000
BINS = 10


class Figure(Struct, frozen=True):
    """A measure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


class LabelScores(Struct, frozen=True):
    """How well one label was found; `texts` have it."""

    label: str
    texts: int
    precision: Figure
    recall: Figure
    f1: Figure


class Scores(Struct, frozen=True):
    """How well all labels were found."""

    texts: int
    accuracy: Figure
    macro_f1: Figure
    labels: tuple[LabelScores, ...]
    confusion: dict[str, dict[str, int]]
    """By the given label, how often each label was said."""


class Sureness(Struct, frozen=True):
    """What confidences are worth."""

    calibration_error: float
    """Expected calibration error over ten bins of equal width (Naeini et al. 2015)."""
    surest_80: float
    """Accuracy on the surest 80 % of the texts."""
    bins: tuple[tuple[float, float, int], ...]
    """For each bin with texts: mean confidence, share that is right, texts."""


def scores(
    truth: Sequence[str], said: Sequence[str], groups: Sequence[str] | None = None, seed: int = 0
) -> Scores:
    """Return the scores of `said` against `truth`; neither is empty."""
    labels = sorted(set(truth))
    tables = _tables(truth, said, labels, groups, seed)
    right = np.diagonal(tables, axis1=1, axis2=2)
    given, claimed = tables.sum(axis=2), tables.sum(axis=1)[:, :-1]
    precision, recall, f1 = _share(right, claimed), _share(right, given), _share(2 * right, given + claimed)
    confusion: dict[str, dict[str, int]] = {}
    for (a, b), count in sorted(Counter(zip(truth, said, strict=True)).items()):
        confusion.setdefault(a, {})[b] = count
    return Scores(
        len(truth),
        _figure(_accuracy(tables)),
        _figure(_macro_f1(tables)),
        tuple(
            LabelScores(label, int(given[0, at]), *(_figure(each[:, at]) for each in (precision, recall, f1)))
            for at, label in enumerate(labels)
        ),
        confusion,
    )


class Difference(Struct, frozen=True):
    """By how much the second of two that judged the same texts is better than the first; negative where it is worse."""

    accuracy: Figure
    macro_f1: Figure


def difference(
    truth: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Difference:
    """Return what `second` is better than `first`, with intervals by the paired bootstrap: both on each resample."""
    labels = sorted(set(truth))
    # The same seed draws the same texts for both.
    one, other = (_tables(truth, said, labels, groups, seed) for said in (first, second))
    return Difference(_figure(_accuracy(other) - _accuracy(one)), _figure(_macro_f1(other) - _macro_f1(one)))


def sureness(confidence: Sequence[float], right: Sequence[bool]) -> Sureness:
    """Return what the confidences of labels are worth that were right or not."""
    sure, hit = np.array(confidence, dtype=float), np.array(right, dtype=float)
    bin_of = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = [(sure[bin_of == b], hit[bin_of == b]) for b in range(BINS) if (bin_of == b).any()]
    surest = np.argsort(-sure, kind="stable")[: max(1, round(0.8 * len(sure)))]
    return Sureness(
        round(float(sum(abs(a.sum() - b.sum()) for a, b in bins)) / len(sure), 4),
        round(float(hit[surest].mean()), 4),
        tuple((round(float(a.mean()), 4), round(float(b.mean()), 4), len(a)) for a, b in bins),
    )


def _tables(
    truth: Sequence[str], said: Sequence[str], labels: Sequence[str], groups: Sequence[str] | None, seed: int
) -> NDArray[np.float64]:
    """Return tables of given by said, the last column for labels that nobody gave: as it is, then of each resample."""
    number = {label: at for at, label in enumerate(labels)}
    width = len(labels) + 1
    cells = np.array([number[a] * width + number.get(b, width - 1) for a, b in zip(truth, said, strict=True)])
    return _resampled(cells, len(labels) * width, groups, seed).reshape(-1, len(labels), width)


def _accuracy(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    return _share(np.trace(tables, axis1=1, axis2=2), tables.sum(axis=(1, 2)))


def _macro_f1(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    right = np.diagonal(tables, axis1=1, axis2=2)
    given, claimed = tables.sum(axis=2), tables.sum(axis=1)[:, :-1]
    # A label that a resample happens to lack is no part of its mean.
    present = given > 0
    f1 = _share(2 * right, given + claimed)
    means: NDArray[np.float64] = (f1 * present).sum(axis=1) / present.sum(axis=1)
    return means


def _resampled(
    cells: NDArray[np.int64], size: int, groups: Sequence[str] | None, seed: int
) -> NDArray[np.float64]:
    """Return how many texts each cell holds: in the first row as they are, then in each resample."""
    if groups is None:
        group_of, count = np.arange(len(cells)), len(cells)
    else:
        # A text whose group is not told is its own.
        own = [group if group.strip() else f"\0{at}" for at, group in enumerate(groups)]
        names, group_of = np.unique(np.array(own), return_inverse=True)
        count = len(names)
    chance = np.random.default_rng(seed)
    tables = [np.bincount(cells, minlength=size).astype(float)]
    for _ in range(RESAMPLES):
        times = np.bincount(chance.integers(0, count, count), minlength=count)
        tables.append(np.bincount(cells, weights=times[group_of], minlength=size))
    return np.array(tables)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _figure(values: NDArray[np.float64]) -> Figure:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Figure(round(float(values[0]), 4), round(float(low), 4), round(float(high), 4))
