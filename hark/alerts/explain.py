"""Why an alert: what its window counts beyond what was expected, divided by topic and by source.

Every figure is a count of the store, or adds up with such counts: the observed parts are matches of the query that
stands beside each, and the parts that were expected share the expectation as the week before shared its mentions.
"""

from datetime import timedelta

from msgspec import Struct

from hark.alerts.detector import surprise
from hark.alerts.evaluate import Window
from hark.alerts.rules import BUCKET_SECONDS, Rule
from hark.core.clock import from_ms
from hark.core.protocols import Store
from hark.core.tree import Field, Node, Not

REFERENCE = timedelta(days=7)
MOST_TOPICS = 4
OTHER = "other"
_DAY_SECONDS = 86_400
_DISPERSION, _SMALLEST = 0.1, 0.1
"""Of a topic's count: its dispersion, and the least that is expected of one never seen."""
_LEAST_SURPRISE = 2.0
"""A topic with less (a chance of one in seven) is left among the others."""


class Contribution(Struct, frozen=True):
    """One part of an excess: `excess` = `observed` - `expected`; `query` finds the observed ones in the window."""

    value: str
    observed: int
    expected: float
    excess: float
    query: str


class Explanation(Struct, frozen=True):
    """The excess of a window and its parts, mentions in hundredths; each list adds up to the excess exactly.

    A mention of several topics counts with the first of them in the list alone; the last part has none of them.
    """

    query: str
    excess: float
    topics: tuple[Contribution, ...]
    sources: tuple[Contribution, ...]


def explain(store: Store, rule: Rule, group: str | None, window: Window) -> Explanation:
    """Divide what `window` counts of the series `group`; raises TransientError while the store is away."""
    sides = _Sides(store, rule, group, window)
    expected = hundredths(window.expected)
    return Explanation(
        rule.selection(group).text,
        (window.observed * 100 - expected) / 100,
        _contributions(sides, _topics(sides, window.expected), expected),
        _contributions(sides, _sources(sides), expected),
    )


class _Part(Struct, frozen=True):
    value: str
    narrowed: tuple[Node, ...]
    observed: int
    before: int


class _Sides:
    """The window, and the week before it, asked the same questions."""

    def __init__(self, store: Store, rule: Rule, group: str | None, window: Window) -> None:
        self._store = store
        self._begin, self._end = from_ms(window.begin), from_ms(window.end)
        self.rule, self.group = rule, group

    def count(self, *narrowed: Node) -> tuple[int, int]:
        """Return how many match in the window, and in the week before."""
        query = self.rule.selection(self.group, *narrowed)
        before = self._store.count(query, self._begin - REFERENCE, self._begin)
        return self._store.count(query, self._begin, self._end), before

    def by(self, field: str, *narrowed: Node) -> dict[str, tuple[int, int]]:
        """Return the same for each value of `field`."""
        query = self.rule.selection(self.group, *narrowed)
        found: dict[str, tuple[int, int]] = {}
        for bucket in self._store.histogram(query, BUCKET_SECONDS, self._begin, self._end, by=field):
            here, before = found.get(bucket.group or "", (0, 0))
            found[bucket.group or ""] = here + bucket.count, before
        since = self._begin - REFERENCE
        for bucket in self._store.histogram(query, _DAY_SECONDS, since, self._begin, by=field):
            here, before = found.get(bucket.group or "", (0, 0))
            found[bucket.group or ""] = here, before + bucket.count
        return found


def _sources(sides: _Sides) -> list[_Part]:
    """Return all sources: each mention has exactly one."""
    found = sides.by("source").items()
    return [_Part(value, (Field("source", "=", value),), *counts) for value, counts in sorted(found)]


def _topics(sides: _Sides, expected: float) -> list[_Part]:
    """Return the topics that the window has surprisingly many of, without overlap, and what has none of them.

    The most surprising one comes first; the next is looked for among the mentions that do not have it.
    """
    every = sides.count()
    parts: list[_Part] = []
    excluded: tuple[Node, ...] = ()
    while len(parts) < MOST_TOPICS:
        found = sides.by("topic", *excluded)
        ranked = sorted(
            (-_surprise(counts, every, expected), value)
            for value, counts in found.items()
            # What all have, as all of a series of this topic, says nothing.
            if counts != every
        )
        if not ranked or -ranked[0][0] < _LEAST_SURPRISE:
            break
        value = ranked[0][1]
        topic = Field("topic", "=", value)
        parts.append(_Part(value, (topic, *excluded), *found[value]))
        excluded = (*excluded, Not(topic))
    return [*parts, _Part(OTHER, excluded, *sides.count(*excluded))]


def _surprise(counts: tuple[int, int], every: tuple[int, int], expected: float) -> float:
    """Return how surprising so many are in the window, given the share they had in the week before."""
    share = counts[1] / every[1] if every[1] else 0.0
    return surprise(counts[0], max(expected * share, _SMALLEST), _DISPERSION)


def _contributions(sides: _Sides, parts: list[_Part], expected: int) -> tuple[Contribution, ...]:
    """Share out `expected` (hundredths) as the week before was shared; the largest excess comes first."""
    weights = [part.before for part in parts]
    if not any(weights):
        weights = [part.observed for part in parts]
    shares = divided(expected, weights)
    found = [
        Contribution(
            part.value,
            part.observed,
            share / 100,
            (part.observed * 100 - share) / 100,
            sides.rule.selection(sides.group, *part.narrowed).text,
        )
        for part, share in zip(parts, shares, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.value == OTHER, -one.excess, one.value)))


def hundredths(expected: float) -> int:
    """Return an expectation as it is shown, in hundredths of a mention."""
    return round(expected * 100)


def divided(total: int, weights: list[int]) -> list[int]:
    """Return whole parts of `total` in proportion to `weights` that add up to it, by the largest remainders.

    Without any weight all of it goes to the last part.
    """
    if not weights:
        return []
    whole = sum(weights)
    if whole == 0:
        return [0] * (len(weights) - 1) + [total]
    parts = [total * weight // whole for weight in weights]
    nearest = sorted(range(len(parts)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in nearest[: total - sum(parts)]:
        parts[at] += 1
    return parts
