"""The detector of new terms: what was (nearly) never said with a query before, and is said now by several voices.

Words come in bursts, so that the number of mentions of a term in a window is taken to be negative binomial (Church and
Gale, Poisson mixtures, Natural Language Engineering 1 (1995), 163-190). What is expected of it is the term's share of
the mentions of the past, which fades by half in two weeks, times the mentions in the window: where all is said more
often, so is this. The evidence is the exponent of the tail's Chernoff bound (`detector.surprise`) for the voices, held
against a bar that rises by the logarithm of the number of terms in the window: Bonferroni's correction.

Memory is bounded: a window of what is rare, and the shares of the terms that are said most.
"""

from collections.abc import Mapping, Set
from math import log
from zlib import crc32

from msgspec import Struct, field

from hark.alerts.detector import surprise
from hark.alerts.rules import BETWEEN

HALF_LIFE_MS = 14 * 86_400_000
DISPERSION = 1.0
"""Of a window's count of a rare term. Where little is expected it hardly matters, and a common term's swell is none."""
BAR = 12.0
"""Evidence at the threshold 1, for one term: a chance of one in 160,000 windows."""
LEAST_EXPECTED = 0.05
"""Of a window: of a word never heard nobody knows that it is rarer than that."""
NEARLY_NEVER = 1.0
"""What is expected to be said so often in a window is not new, however often it is said."""
COMMON = 8.0
"""What is expected so often is learned at once, and not kept by the bucket."""
WARM_UP_MS, LEAST_PAST = 3 * 86_400_000, 300.0
"""Nothing is new in the first days, nor before so many mentions of a group are known."""
MOST_KNOWN = 10_000
"""Terms whose share is remembered. Those said least are forgotten: they are said less than once in some days."""
MOST_A_BUCKET = 5_000
"""Rare terms that are kept of a bucket; of more, those with most voices, and a steady choice of the rest."""
MOST_LASTING = 20
"""Terms of a group that are told of at a time."""


class Row(Struct):
    """One bucket: mentions by group, and (mentions, voices) by term."""

    start: int
    whole: dict[str, int]
    heard: dict[str, tuple[int, int]]


class Heard(Struct, frozen=True):
    """What is to be said of a term at a bucket: sums of the window, what was expected of its mentions, the evidence.

    `evidence` is a multiple of `bar`. `rows` are those of the window: mentions, voices, and what was expected.
    """

    name: str
    mentions: int
    voices: int
    expected: float
    evidence: float
    rows: list[tuple[int, int, float]]
    bar: float


class Memory(Struct):
    """What is known of all terms of a rule. Counts of the past are in units that grow as the past fades."""

    rows: list[Row] = field(default_factory=list)
    known: dict[str, float] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    first: int | None = None

    def sums(self) -> dict[str, tuple[int, int]]:
        """Return (mentions, voices) by term over the rows: what `update` keeps up to date."""
        found: dict[str, tuple[int, int]] = {}
        for row in self.rows:
            for name, (mentions, voices) in row.heard.items():
                before = found.get(name, (0, 0))
                found[name] = before[0] + mentions, before[1] + voices
        return found

    def update(
        self,
        start: int,
        window: int,
        whole: Mapping[str, int],
        heard: Mapping[str, tuple[int, int]],
        lasting: Set[str],
        sums: dict[str, tuple[int, int]],
    ) -> list[Heard]:
        """Take the bucket that begins at `start` (ms); return the terms with evidence, and those of `lasting`.

        `window` is in buckets. `sums` is that of `self.sums()` and is brought up to date.
        """
        if self.first is None:
            if not whole:
                return []
            self.first = start
        unit = 2.0 ** ((start - self.first) / HALF_LIFE_MS)
        if len(self.rows) >= window:
            self._leave(self.rows.pop(0), unit, sums)
        row = Row(start, dict(whole), {})
        self.rows.append(row)
        spoken: dict[str, int] = {}
        for each in self.rows:
            for group, count in each.whole.items():
                spoken[group] = spoken.get(group, 0) + count
        expected = {name: self._expected(name, spoken, unit) for name in heard.keys() | lasting}
        rare = [name for name in heard if expected[name] < COMMON or name in lasting]
        if len(rare) > MOST_A_BUCKET:
            rare.sort(key=lambda name: (name not in lasting, -heard[name][1], crc32(name.encode()), name))
            del rare[MOST_A_BUCKET:]
        for name in rare:
            row.heard[name] = heard[name]
            before = sums.get(name, (0, 0))
            sums[name] = before[0] + heard[name][0], before[1] + heard[name][1]
        for name in heard.keys() - row.heard.keys():
            self.known[name] = self.known.get(name, 0.0) + heard[name][0] * unit
        self._forget()
        if start - self.first < WARM_UP_MS:
            return []
        bar = BAR + log(max(len(sums), 1))
        return [
            self._heard(name, sums.get(name, (0, 0)), expected[name], bar)
            for name in sorted({*row.heard, *lasting})
            if name in lasting or self._stands_out(name, sums, expected[name], unit)
        ]

    def _stands_out(
        self, name: str, sums: Mapping[str, tuple[int, int]], expected: float, unit: float
    ) -> bool:
        """Say whether a term is worth a look: rare, and said by more than it is expected of."""
        if expected >= NEARLY_NEVER or sums[name][1] <= 2:
            return False
        return self.whole.get(group_of(name), 0.0) >= LEAST_PAST * unit

    def _heard(self, name: str, found: tuple[int, int], expected: float, bar: float) -> Heard:
        mentions, voices = found
        part = expected / len(self.rows)
        rows = [(*row.heard.get(name, (0, 0)), part) for row in self.rows]
        return Heard(
            name, mentions, voices, expected, surprise(voices, expected, DISPERSION) / bar, rows, bar
        )

    def _expected(self, name: str, spoken: Mapping[str, int], unit: float) -> float:
        """Return how many mentions of the window should say a term: one more than ever did is believed in."""
        group = group_of(name)
        share = (self.known.get(name, 0.0) + unit) / (self.whole.get(group, 0.0) + unit)
        return max(spoken.get(group, 0) * share, LEAST_EXPECTED)

    def _leave(self, row: Row, unit: float, sums: dict[str, tuple[int, int]]) -> None:
        """Let a bucket that leaves the window become part of the past."""
        for group, count in row.whole.items():
            self.whole[group] = self.whole.get(group, 0.0) + count * unit
        for name, (mentions, voices) in row.heard.items():
            self.known[name] = self.known.get(name, 0.0) + mentions * unit
            before = sums[name]
            if before[0] == mentions:
                del sums[name]
            else:
                sums[name] = before[0] - mentions, before[1] - voices

    def _forget(self) -> None:
        if len(self.known) > 1.5 * MOST_KNOWN:
            kept = sorted(self.known, key=lambda name: (-self.known[name], name))[:MOST_KNOWN]
            self.known = {name: self.known[name] for name in kept}


def group_of(name: str) -> str:
    """Return the group of a term's series, "" where there is none."""
    return name.rpartition(BETWEEN)[0]


def term_of(name: str) -> str:
    """Return the term of a series."""
    return name.rpartition(BETWEEN)[2]
