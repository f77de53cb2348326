"""Why an alert: what its window counts beyond what was expected, divided by topic, source, author, place and term.

Every figure is counted from mentions, or adds up with such counts: the observed parts are the matches of the query
that stands beside each, and the parts that were expected share the expectation as the week before shared its
mentions. Mentions that came too late to be judged, and those of a source that was away, are in none of them; what
came too late is taken out of the week before as well, so that an explanation is the same whenever it is made.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from hark.alerts.counts import Timely, authored, bucket_of, reach, timely
from hark.alerts.detector import surprise
from hark.alerts.evaluate import Blind, Window
from hark.alerts.rules import BETWEEN, BUCKET_SECONDS, Rule
from hark.core.clock import from_ms
from hark.core.protocols import Hit, Store
from hark.core.tree import And, Field, Node, Not, Or, Query
from hark.query.explain import text_of
from hark.query.fields import Taxonomy, values_of
from hark.query.match import Document, Matcher
from hark.trends.rising import either, events, said_in

REFERENCE = timedelta(days=7)
MOST_PARTS = 4
"""Of topics, places and terms; of authors one more."""
OTHER = "other"
CORE_SHARE = 0.25
"""What brings at least so much of the excess is what the alert is about."""
NO_NAMES: Mapping[str, str] = MappingProxyType({})
_DAY_SECONDS = 86_400
_DISPERSION, _SMALLEST = 0.1, 0.1
"""Of a topic's count: its dispersion, and the least that is expected of one never seen."""
_LEAST_SURPRISE = 2.0
"""A topic with less (a chance of one in seven) is left among the others."""
_COMPARED = 1_500
"""Mentions before the window that its terms are compared with."""


_SIGNS = {"positive": 1, "negative": -1}


class Contribution(Struct, frozen=True):
    """One part of an excess: `excess` = `observed` - `expected`; `query` finds the observed ones in the window."""

    value: str
    observed: int
    expected: float
    excess: float
    query: str


class Explanation(Struct, frozen=True):
    """The excess of a window and its parts, in hundredths; each list adds up to the excess exactly.

    It is that of what is still there: what was deleted or edited since it was judged is in no part.

    A mention of several topics (places, terms) counts with the first of them in the list alone; the last part has
    none of them. `core` finds the mentions that the alert is about, by its topics if some lead; `said` those that say
    what is new in it, of any topic of the same brand ("" where nothing is).
    """

    query: str
    excess: float
    topics: tuple[Contribution, ...]
    sources: tuple[Contribution, ...]
    authors: tuple[Contribution, ...]
    places: tuple[Contribution, ...]
    terms: tuple[Contribution, ...]
    core: str
    said: str = ""


class Evidence:
    """What alerts are explained from: the store, as it was when the buckets were judged.

    `learned` is when (ms) each rule learned from the time before `live_since` (see counts.timely). `names` are what
    people call brands and topics, by id.
    """

    def __init__(
        self,
        store: Store,
        taxonomy: Taxonomy,
        blind: Blind,
        live_since: int | None,
        learned: Mapping[str, int | None] | None = None,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        self.names = names
        self.store = store
        self.taxonomy = taxonomy
        self.blind = blind
        self._live_since = live_since
        self._learned = learned or {}

    def hits(self, query: Query, window: Window, rule: Rule) -> list[Hit]:
        """Return the mentions of `window` that were judged, oldest first."""
        test = self.timely(rule)
        found = [
            hit
            for hit in self.store.search(query, from_ms(window.begin), from_ms(window.end), limit=None)
            if test(hit.mention) and not self._left_out(hit, window)
        ]
        return sorted(found, key=lambda hit: (hit.mention.created_at, hit.mention.id))

    def timely(self, rule: Rule) -> Timely:
        """Return whether a mention had been collected when its bucket was judged."""
        return timely(rule.allowance_seconds, self._live_since, self._learned.get(rule.name))

    def late(self, query: Query, begin: int, end: int, rule: Rule) -> list[Document]:
        """Return what matches from `begin` to `end` (ms) and had not been collected in time."""
        if self._live_since is None:
            return []
        test = self.timely(rule)
        return [
            Document(hit.mention, hit.enrichment, self.taxonomy)
            for hit in self.store.search(query, from_ms(begin), from_ms(end), limit=None)
            if not test(hit.mention)
        ]

    def without(self, window: Window) -> tuple[Node, ...]:
        """Return what a query must leave out in `window`: what was not judged, and sources while they were away."""
        width = BUCKET_SECONDS * 1000
        nodes: list[Node] = [
            Not(And((_created(">=", start), _created("<", start + width)))) for start in window.skipped
        ]
        for source, first, last in _stretches(self.blind, window):
            times = _created(">=", first), _created("<", last)
            nodes.append(Not(And((Field("source", "=", source), *times))))
        return tuple(nodes)

    def _left_out(self, hit: Hit, window: Window) -> bool:
        start = bucket_of(hit.mention.created_at)
        return start in window.skipped or hit.mention.source in self.blind.get(start, ())


def explain(evidence: Evidence, rule: Rule, group: str | None, window: Window) -> Explanation:
    """Divide what `window` counts of the series `group`; raises TransientError while the store is away."""
    sides = Sides(evidence, rule, group, window)
    expected = hundredths(window.expected)
    topic_parts, term_parts = _ranked(sides, "topic", window.expected), _terms(sides)
    topics, terms = (_contributions(sides, parts, expected) for parts in (topic_parts, term_parts))
    about = _leading(topic_parts, topics, sides.sign) or _leading(term_parts, terms, sides.sign)
    return Explanation(
        sides.query().text,
        (sides.observed(()) * 100 - expected) / 100,
        topics,
        _contributions(sides, _sources(sides), expected),
        _contributions(sides, _authors(sides), expected),
        _contributions(sides, _ranked(sides, "place", window.expected), expected),
        terms,
        sides.query(*((_any(about),) if about else ())).text,
        _said(sides, term_parts, terms),
    )


class _Part(Struct, frozen=True):
    value: str
    narrowed: tuple[Node, ...]
    observed: int
    before: int


class Sides:
    """The window, and the week before it, asked the same questions."""

    def __init__(self, evidence: Evidence, rule: Rule, group: str | None, window: Window) -> None:
        self._store = evidence.store
        self.taxonomy = evidence.taxonomy
        self._without = evidence.without(window)
        self._begin = from_ms(window.begin)
        self.rule, self.group = rule, group
        self._timely = evidence.timely(rule)
        week = window.begin - REFERENCE // timedelta(milliseconds=1)
        self._late = evidence.late(rule.selection(group), week, window.begin, rule)
        # Where the net sentiment falls, what brings it down is what stands out.
        falls = rule.metric == "net-sentiment" and window.observed < window.expected
        self.sign = -1 if falls else 1
        self.hits = evidence.hits(rule.selection(group), window, rule)
        self.documents = [Document(hit.mention, hit.enrichment, evidence.taxonomy) for hit in self.hits]
        self._weights = _weights(rule, self.hits)
        self._values: dict[str, list[list[str]]] = {}

    def query(self, *narrowed: Node) -> Query:
        """Return what finds the mentions of the window that are narrowed so."""
        return self.rule.selection(self.group, *narrowed, *self._without)

    def within(self, narrowed: Sequence[Node]) -> list[int]:
        """Return the places of the window's mentions that match all of `narrowed`."""
        return _matching(self.documents, narrowed)

    def observed(self, narrowed: Sequence[Node]) -> int:
        """Return what the metric counts of them."""
        return sum(self._weights[at] for at in self.within(narrowed))

    def before(self, *narrowed: Node) -> int:
        """Return how many mentions match in the week before."""
        query = self.rule.selection(self.group, *narrowed)
        counted = self._store.count(query, self._begin - REFERENCE, self._begin)
        return max(0, counted - len(_matching(self._late, narrowed)))

    def part(self, value: str, *narrowed: Node) -> _Part:
        """Return a part of the window and of the week before."""
        return _Part(value, narrowed, self.observed(narrowed), self.before(*narrowed))

    def by(self, field: str, *narrowed: Node) -> dict[str, tuple[int, int]]:
        """Return what is observed and what was before, for each value of `field`."""
        now: Counter[str] = Counter()
        if field not in self._values:
            self._values[field] = [
                values_of(field, hit.mention, hit.enrichment, self.taxonomy) for hit in self.hits
            ]
        for at in self.within(narrowed):
            for value in self._values[field][at]:
                now[value] += self._weights[at]
        before: Counter[str] = Counter()
        query, since = self.rule.selection(self.group, *narrowed), self._begin - REFERENCE
        if field != "place" or now:
            for bucket in self._store.histogram(query, _DAY_SECONDS, since, self._begin, by=field):
                before[bucket.group or ""] += bucket.count
            for at in _matching(self._late, narrowed):
                late = self._late[at]
                before.subtract(values_of(field, late.mention, late.enrichment, self.taxonomy))
            before = +before
        return {value: (now[value], before[value]) for value in now.keys() | before.keys()}

    def said_before(self) -> Iterable[Hit]:
        """Yield the newest mentions before the window; beside a new term, of all that is said in its group."""
        selection = self.rule.selection(self.rule.divided(self.group)[0])
        found = self._store.search(selection, None, self._begin, limit=None)
        return islice((hit for hit in found if self._timely(hit.mention)), _COMPARED)


def _matching(documents: Sequence[Document], narrowed: Sequence[Node]) -> list[int]:
    """Return the places of the documents that match all of `narrowed`."""
    if not narrowed:
        return list(range(len(documents)))
    matchers = [Matcher(Query("", node)) for node in narrowed]
    return [at for at, document in enumerate(documents) if all(one.matches(document) for one in matchers)]


def _sources(sides: Sides) -> list[_Part]:
    """Return all sources: each mention has exactly one."""
    found = sides.by("source").items()
    return [_Part(value, (Field("source", "=", value),), *counts) for value, counts in sorted(found)]


def _ranked(sides: Sides, field: str, expected: float) -> list[_Part]:
    """Return the values that the window has surprisingly many of, without overlap, and what has none of them.

    The most surprising one comes first; the next is looked for among the mentions that do not have it.
    """
    every = sides.sign * sides.observed(()), sides.before()
    own = set((sides.group or "").split(BETWEEN)) if field in sides.rule.group_by else set()
    parts: list[_Part] = []
    excluded: tuple[Node, ...] = ()
    while len(parts) < MOST_PARTS:
        found = sides.by(field, *excluded)
        ranked = sorted(
            # Of a topic and its parent with the same mentions the topic says more.
            (
                -_surprise((sides.sign * counts[0], counts[1]), every, sides.sign * expected),
                -len(sides.taxonomy.get(value, ())),
                value,
            )
            for value, counts in found.items()
            # What all have, as all of a series of this topic, says nothing.
            if (sides.sign * counts[0], counts[1]) != every and value not in own
        )
        if not ranked or -ranked[0][0] < _LEAST_SURPRISE:
            break
        value = ranked[0][2]
        node = Field(field, "=", value)
        parts.append(_Part(value, (node, *excluded), *found[value]))
        excluded = (*excluded, Not(node))
    return [*parts, sides.part(OTHER, *excluded)]


def _authors(sides: Sides) -> list[_Part]:
    """Return the authors who wrote most, of those who wrote twice, and all others."""
    found: Counter[str] = Counter()
    for hit in sides.hits:
        found.update(values_of("author", hit.mention, hit.enrichment)[:1])
    most = sorted((-count, handle) for handle, count in found.items() if count > 1)[: MOST_PARTS + 1]
    nodes = [Field("author", "=", handle) for _, handle in most]
    parts = [sides.part(node.value, node) for node in nodes]
    return [*parts, sides.part(OTHER, *(Not(node) for node in nodes))]


def _terms(sides: Sides) -> list[_Part]:
    """Return what is said that was not said before, one part for what rose together, and the rest."""
    now = [said_in(hit) for hit in sides.hits]
    before = [said_in(hit) for hit in sides.said_before()]
    parts: list[_Part] = []
    excluded: tuple[Node, ...] = ()
    if before:
        for terms, _, _ in events(now, before)[:MOST_PARTS]:
            node = either(terms)
            parts.append(sides.part(terms[0], node, *excluded))
            excluded = (*excluded, Not(node))
    return [*parts, sides.part(OTHER, *excluded)]


def _leading(parts: Sequence[_Part], found: Sequence[Contribution], sign: int) -> list[Node]:
    """Return the conditions of the parts that bring much of the excess."""
    whole = sum(sign * part.excess for part in found)
    much = {
        part.value for part in found if part.value != OTHER and sign * part.excess >= CORE_SHARE * whole > 0
    }
    return [part.narrowed[0] for part in parts if part.value in much]


def _said(sides: Sides, parts: Sequence[_Part], found: Sequence[Contribution]) -> str:
    rising = {part.value for part in found if part.value != OTHER and sides.sign * part.excess > 0}
    nodes = [part.narrowed[0] for part in parts if part.value in rising]
    if not nodes:
        return ""
    brands = [
        Field(name, "=", value)
        for name, value in zip(sides.rule.group_by, (sides.group or "").split(BETWEEN), strict=False)
        if name == "brand"
    ]
    return text_of(And((*brands, _any(nodes)))) if brands else text_of(_any(nodes))


def _any(nodes: Sequence[Node]) -> Node:
    flat: list[Node] = []
    for node in nodes:
        flat += node.children if isinstance(node, Or) else (node,)
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def _surprise(counts: tuple[int, int], every: tuple[int, int], expected: float) -> float:
    """Return how surprising so many are in the window, given the share they had in the week before."""
    share = counts[1] / every[1] if every[1] else 0.0
    return surprise(counts[0], max(expected * share, _SMALLEST), _DISPERSION)


def _contributions(sides: Sides, parts: list[_Part], expected: int) -> tuple[Contribution, ...]:
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
            sides.query(*part.narrowed).text,
        )
        for part, share in zip(parts, shares, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.value == OTHER, -sides.sign * one.excess, one.value)))


def _weights(rule: Rule, hits: Sequence[Hit]) -> list[int]:
    """Return what each mention adds to the metric: an author counts once in a bucket and source."""
    if rule.metric == "net-sentiment":
        return [_SIGNS.get(hit.enrichment.sentiment.label, 0) for hit in hits]
    if rule.metric == "reach":
        return [reach(hit.mention) for hit in hits]
    if rule.metric != "authors":
        return [1] * len(hits)
    seen: set[tuple[int, str, str]] = set()
    weights = []
    for hit in hits:
        key = bucket_of(hit.mention.created_at), hit.mention.source, authored(hit.mention)
        weights.append(int(key not in seen))
        seen.add(key)
    return weights


def _stretches(blind: Blind, window: Window) -> list[tuple[str, int, int]]:
    """Return (source, from, to) of the times in the window in which a source was away."""
    found: list[tuple[str, int, int]] = []
    width = BUCKET_SECONDS * 1000
    starts = range(window.begin, window.end, width)
    for source in sorted({source for start in starts for source in blind.get(start, ())}):
        for start in starts:
            if source in blind.get(start, ()):
                if found and found[-1][0] == source and found[-1][2] == start:
                    found[-1] = (source, found[-1][1], start + width)
                else:
                    found.append((source, start, start + width))
    return found


def _created(operator: Literal[">=", "<"], moment_ms: int) -> Field:
    return Field("created", operator, from_ms(moment_ms).strftime("%Y-%m-%dT%H:%M:%SZ"))


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
