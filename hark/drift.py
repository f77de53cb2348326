"""Drift: whether what is tagged now is like what the model was trained on, or like what this version tagged first.

Tags are compared one by one by the population stability index (PSI), the sum over the values of (p - q) ln(p / q): the
Kullback-Leibler divergences of both directions together (Jeffreys 1946; Siddiqi 2006, "Credit Risk Scorecards").
Numbers are compared by ranges. Rare values, under 1 % on both sides, count as one; half a text is added to each, so
that a value that was never seen before does not make the index infinite.

The customary bands are rules of thumb from credit scoring: below 0.1 nothing to see, from 0.25 on a shift. Few texts
differ by chance alone: of B values the index is then distributed like (1/n + 1/m) chi-squared with B - 1 degrees of
freedom (Yurdakul and Naranjo 2020, "Statistical properties of the population stability index", Journal of Risk Model
Validation 14). What is below the 95th percentile of that is never called a drift.
"""

import math
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog
from msgspec import Struct

from enrich.drift import NUMBERS, TAGS, Reference, Row, Tally
from hark import metrics
from hark.core.clock import Clock, from_ms, now
from hark.core.errors import TransientError
from hark.state import State
from hark.state.drift import FIRST_DAYS, Served, TagCounts, day_of

if TYPE_CHECKING:  # loads language models; who only looks does without
    from enrich.chain import Chain

log = structlog.get_logger()

Verdict = Literal["steady", "watch", "look", "too few"]
WATCH, LOOK = 0.1, 0.25
WINDOW_DAYS = 7
"""A week, so that weekdays do not look like drift."""
FEWEST = 500
"""Mentions, below which nothing is said of them."""
FLUSH_SECONDS = 15.0
_RARE = 0.01
_HALF = 0.5
_REST = "(rare)"
_Z95 = 1.6449
_DAY_MS = 86_400_000


class Moved(Struct, frozen=True):
    """A value's share then and now."""

    value: str
    then: float
    now: float


class TagDrift(Struct, frozen=True):
    """How far one tag has moved."""

    tag: str
    index: float | None
    """Population stability index; None where there is too little to compare."""
    chance: float | None
    """What chance alone stays below, nineteen times in twenty."""
    verdict: Verdict
    since: Literal["training", "first week"]
    """What it is compared with: the texts that the model was trained on, or the first seven days of what makes the tag."""
    texts_then: int
    texts_now: int
    mean_then: float | None
    mean_now: float | None
    """Of numbers, such as confidences."""
    moved: tuple[Moved, ...]
    """All values, from the one whose share has moved most."""


class Drift(Struct, frozen=True):
    """The drift of the version that tags now, over the days from `begin` to before `end`."""

    version: str
    begin: datetime
    end: datetime
    tags: tuple[TagDrift, ...]


Sums = dict[str, tuple[int, float]]
"""By value: how often, and the sum of the numbers."""


def population_stability(then: Mapping[str, int], present: Mapping[str, int]) -> tuple[float, float]:
    """Return the index of two tables of counts, neither empty, and what chance alone stays below."""
    before, after = _pooled(then, present)
    values = before.keys() | after.keys()
    m, n = (sum(table.values()) for table in (before, after))
    index = 0.0
    for value in sorted(values):
        p = (after.get(value, 0) + _HALF) / (n + _HALF * len(values))
        q = (before.get(value, 0) + _HALF) / (m + _HALF * len(values))
        index += (p - q) * math.log(p / q)
    return index, (1 / n + 1 / m) * _chi_squared_95(len(values) - 1)


def _chi_squared_95(freedom: int) -> float:
    """Return the 95th percentile of chi-squared, within 3 % (Wilson and Hilferty 1931); 0 without freedom."""
    if freedom == 0:
        return 0.0
    part = 2 / (9 * freedom)
    return freedom * (1 - part + _Z95 * math.sqrt(part)) ** 3


def _pooled(then: Mapping[str, int], present: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return both tables with the values that are rare in both as one."""
    sums = [sum(table.values()) for table in (then, present)]
    common = {
        value
        for table, whole in zip((then, present), sums, strict=True)
        for value, count in table.items()
        if count >= _RARE * whole
    }
    before, after = ({}, {})  # type: tuple[dict[str, int], dict[str, int]]
    for table, pooled in ((then, before), (present, after)):
        for value, count in table.items():
            key = value if value in common else _REST
            pooled[key] = pooled.get(key, 0) + count
    return before, after


def drift(counts: TagCounts, clock: Clock = now) -> Drift | None:
    """Return how far the tags of the version that serves have moved; None where nothing was ever counted."""
    served = counts.serving()
    if served is None:
        return None
    today = day_of(clock())
    first = today - WINDOW_DAYS + 1
    reference = msgspec.json.decode(served.reference, type=Reference)
    trained = _by_tag(reference.rows)
    tags = []
    for alike, made in _made_alike(counts, served, reference):
        begun = day_of(min(version.begun for version in alike))
        names = [version.version for version in alike]
        recent = _by_tag(_rows(counts.between(names, first, today)))
        first_week = _by_tag(_rows(counts.between(names, begun, begun + FIRST_DAYS - 1)))
        later = _by_tag(_rows(counts.between(names, max(first, begun + FIRST_DAYS), today)))
        for tag in (trained.keys() | first_week.keys() | recent.keys()) & made:
            if tag in trained:
                tags.append(_compared(tag, "training", trained[tag], recent.get(tag, {}), 1))
            else:
                tags.append(_compared(tag, "first week", first_week.get(tag, {}), later.get(tag, {}), FEWEST))
    tags.sort(key=lambda one: one.tag)
    return Drift(served.version, from_ms(first * _DAY_MS), from_ms((today + 1) * _DAY_MS), tuple(tags))


def _made_alike(
    counts: TagCounts, served: Served, reference: Reference
) -> Iterable[tuple[list[Served], set[str]]]:
    """Return versions of the chain and the tags that they give as the one that serves does, each tag once.

    What somebody edits begins anew; the other tags go on as if nothing had happened.
    """
    known = {version.version: version for version in counts.versions()} | {served.version: served}
    made = {
        name: msgspec.json.decode(each.reference, type=Reference).versions for name, each in known.items()
    }
    groups: dict[tuple[str, ...], set[str]] = {}
    for tag in TAGS:
        mine = reference.versions.get(tag)
        alike = {name for name, versions in made.items() if mine is not None and versions.get(tag) == mine}
        groups.setdefault(tuple(sorted(alike | {served.version})), set()).add(tag)
    return [([known[name] for name in names], tags) for names, tags in groups.items()]


def _rows(sums: Mapping[tuple[str, str], tuple[int, float]]) -> Iterable[Row]:
    return [(tag, value, count, total) for (tag, value), (count, total) in sums.items()]


def _by_tag(rows: Iterable[Row]) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for tag, value, count, total in rows:
        found.setdefault(tag, {})[value] = (count, total)
    return found


def _compared(
    tag: str, since: Literal["training", "first week"], before: Sums, after: Sums, fewest_before: int
) -> TagDrift:
    then, present = ({value: count for value, (count, _) in sums.items()} for sums in (before, after))
    m, n = sum(then.values()), sum(present.values())
    mean_then, mean_now = (_mean(sums) if tag in NUMBERS else None for sums in (before, after))
    if m < fewest_before or n < FEWEST:
        return TagDrift(tag, None, None, "too few", since, m, n, mean_then, mean_now, ())
    index, chance = population_stability(then, present)
    shares = [Moved(value, then.get(value, 0) / m, present.get(value, 0) / n) for value in then | present]
    moved = sorted(shares, key=lambda each: (-abs(each.now - each.then), each.value))
    return TagDrift(
        tag, index, chance, _verdict(index, chance), since, m, n, mean_then, mean_now, tuple(moved)
    )


def _verdict(index: float, chance: float) -> Verdict:
    if index < max(WATCH, chance):
        return "steady"
    return "watch" if index < LOOK else "look"


def _mean(sums: Sums) -> float | None:
    count = sum(count for count, _ in sums.values())
    return sum(total for _, total in sums.values()) / count if count else None


class Counting:
    """Counts what a worker's chains tag, adds it to the state now and then, and keeps the metrics of drift."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._counts = TagCounts(state, clock)
        self._clock = clock
        self._tallies: list[tuple[str, str, Tally]] = []
        self._told: set[tuple[str, str, str]] = set()

    def watch(self, chain: "Chain") -> "Chain":
        """Count what `chain` tags from now on; it serves in place of the one that was given before."""
        reference = msgspec.json.encode(chain.reference, order="deterministic").decode()
        tally = Tally(chain.reference.topics)
        chain.tally = tally
        self._tallies.append((chain.version, reference, tally))
        return chain

    def loop(self, stop: threading.Event) -> None:
        """Add up every few seconds until `stop`; what is counted after that needs one more `try_to_add_up`."""
        while not stop.wait(FLUSH_SECONDS):
            self.try_to_add_up()

    def try_to_add_up(self) -> None:
        """Add up; while the database is away, say so and lose these counts."""
        try:
            self.add_up()
        except TransientError as error:
            log.warning("these seconds' counts of tags are lost", reason=str(error))

    def add_up(self) -> None:
        """Add what was counted since the last time, and look how far the tags have moved."""
        # The one that serves comes last: it is told of even when it had nothing to do.
        serving = len(self._tallies) - 1
        for at, (version, reference, tally) in enumerate(list(self._tallies)):
            rows = tally.take()
            for tag, value, count, _ in rows:
                metrics.tags.labels(tag, value).inc(count)
            if rows or at == serving:
                counted = {(tag, value): (count, total) for tag, value, count, total in rows}
                self._counts.add(version, reference, counted)
        self._counts.forget()
        found = drift(self._counts, self._clock)
        if found is not None:
            self._show(found)

    def _show(self, found: Drift) -> None:
        told = set()
        for one in found.tags:
            metrics.drift_index.labels(one.tag).set(math.nan if one.index is None else one.index)
            metrics.drift_chance.labels(one.tag).set(math.nan if one.chance is None else one.chance)
            for when, mean in (("then", one.mean_then), ("now", one.mean_now)):
                if mean is not None:
                    metrics.tag_mean.labels(one.tag, when).set(mean)
            for each in one.moved:
                for when, share in (("then", each.then), ("now", each.now)):
                    metrics.tag_share.labels(one.tag, each.value, when).set(share)
                    told.add((one.tag, each.value, when))
        for gone in self._told - told:
            metrics.tag_share.labels(*gone).set(0.0)
        self._told = told
