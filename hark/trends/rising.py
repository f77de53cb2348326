"""Rising terms: what people say now that they did not say before, one line an event."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from math import log, sqrt

from msgspec import Struct

from hark.core.protocols import Hit, Store
from hark.core.tokens import tokens
from hark.core.tree import Node, Or, Phrase, Term
from hark.trends.figures import Figure, Selection

MOST_READ = 5_000
"""Mentions that are read of each period; of more, a sample."""
CLUSTER = 50
"""Mentions of a sample that are read in one go."""
LEAST_MENTIONS = 5
"""Mentions read that a term needs before it can rise."""
LEAST_SCORE = 3.5
"""Standard deviations above nothing: of ten thousand terms that do not rise, two are above."""
LEAST_RATIO = 1.5
"""How many times as likely a term must be, however certain the difference: a quiet week is no event of its own."""
PRIOR = 0.1
"""Weight of the prior, as a share of all that was read."""
MOST_EVENTS = 12
_MOST_CANDIDATES = 300
_MOST_TERMS = 8
_MOST_BESIDE = 6
_PHRASE_SHARE = 0.7
_JOINING_SHARE = 0.5
_EXPLAINED_SHARE = 1 / 3

Said = frozenset[str]
"""The words of one mention, and each two that follow each other, joined by a space."""


class Event(Struct, frozen=True):
    """What rose together: `terms` by score, of which each mention counted has at least one; `beside` rose with them.

    `score` is the first term's, in standard deviations.
    """

    terms: tuple[str, ...]
    beside: tuple[str, ...]
    score: float
    mentions: Figure
    compared: Figure


class Rising(Struct, frozen=True):
    """Rising terms, the strongest first, and how many mentions of how many were read to find them.

    The counts of an event are of all mentions, not of those read alone.
    """

    events: tuple[Event, ...]
    read: int
    sample_of: int
    compared_read: int
    compared_sample_of: int


def rising(
    store: Store, now: Selection, compared: Selection, count: int, count_compared: int, most: int = MOST_READ
) -> Rising:
    """Return what rose in `now` against `compared`; the counts are the numbers of mentions in both.

    Reads `most` mentions of each at most. May take a second.
    """
    if not count or not count_compared:
        return Rising((), 0, count, 0, count_compared)
    said = [said_in(hit) for hit in read(store, now, count, most)]
    before = [said_in(hit) for hit in read(store, compared, count_compared, most)]
    found = []
    for terms, beside, score in events(said, before):
        node = either(terms)
        first, second = now.where(node).counted(store), compared.where(node).counted(store)
        # What rose in the rest alone, once the events above were set aside, is no news to a reader.
        if first.count > second.count or first.count * count_compared > second.count * count:
            found.append(Event(terms, beside, score, first, second))
    return Rising(tuple(found), len(said), count, len(before), count_compared)


def read(store: Store, chosen: Selection, count: int, most: int = MOST_READ) -> list[Hit]:
    """Return all mentions where `count` is at most `most`, else a sample of about `most`, each once.

    The sample is systematic and the same every time: the mentions, in the order of time, are divided into equal
    parts, and in the middle of each CLUSTER that follow each other are read (the middle to a quarter of an hour).
    """
    if count <= most:
        return list(store.search(chosen.query, chosen.since, chosen.until, limit=most))
    quarters = store.histogram(chosen.query, 900, chosen.since, chosen.until)
    reached = list(accumulate(quarter.count for quarter in quarters))
    parts = max(1, most // CLUSTER)
    middles = ((part + 0.5) * reached[-1] / parts for part in range(parts)) if reached else ()
    wanted = Counter(bisect_right(reached, middle) for middle in middles)
    hits: dict[str, Hit] = {}
    for at, clusters in wanted.items():
        end = datetime.fromtimestamp(quarters[at].start / 1000, UTC) + timedelta(minutes=15)
        until = min(end, chosen.until)
        for hit in store.search(chosen.query, chosen.since, until, limit=clusters * CLUSTER):
            hits[hit.mention.id] = hit
    return list(hits.values())


def said_in(hit: Hit) -> Said:
    """Return the words and pairs of words of title and text, each once; no pair reaches from one into the other."""
    said: set[str] = set()
    for part in (hit.mention.title, hit.mention.text):
        words = tokens(part) if part else []
        said.update(words)
        said.update(f"{first} {second}" for first, second in pairwise(words))
    return frozenset(said)


def scored(now: int, before: int, all_now: int, all_before: int) -> tuple[float, float]:
    """Return a term's log-odds ratio and its standard score; above 0 where it rises.

    Log-odds with an informative Dirichlet prior: Monroe, Colaresi and Quinn, Fightin' Words, Political Analysis 16
    (2008), 372-403, equations 16 to 22. `now` and `before` count the mentions that say the term, `all_…` are the
    sums over all terms. The prior is both periods together, weighed down to PRIOR: a word that is frequent anyway
    must change more to be told.
    """
    prior, all_prior = PRIOR * (now + before), PRIOR * (all_now + all_before)
    first, second = now + prior, before + prior
    rest, rest_before = all_now + all_prior - first, all_before + all_prior - second
    if min(first, second, rest, rest_before) <= 0:
        return 0.0, 0.0
    odds = log(first / rest) - log(second / rest_before)
    return odds, odds / sqrt(1 / first + 1 / second)


def events(
    now: Sequence[Said], before: Sequence[Said]
) -> list[tuple[tuple[str, ...], tuple[str, ...], float]]:
    """Return what rose, grouped: (terms, terms beside, score), the strongest first.

    The strongest term leads an event; terms join it that are said mostly in its mentions. Then the event's mentions
    are set aside, and what no longer rises without them was the same event. What fell is grouped and set aside in
    the same way: else all that is always said would seem to rise where an event has ended.
    """
    sides = _Side(now), _Side(before)
    terms = _candidates(*sides) | _candidates(*reversed(sides))
    for side in sides:
        side.look_for(terms)
    found: list[tuple[tuple[str, ...], tuple[str, ...], float]] = []
    scores = _scores(terms, *sides)
    while scores and len(found) < MOST_EVENTS:
        lead = min(scores, key=lambda term: (-abs(scores[term]), term))
        score, side = scores[lead], sides[0] if scores[lead] > 0 else sides[1]
        alike = sorted(
            (term for term in scores if scores[term] * score > 0), key=lambda term: (-abs(scores[term]), term)
        )
        joined, mentions = _joined(lead, alike, side)
        shares = {term: len(side.holders[term] & mentions) / len(side.holders[term]) for term in alike}
        side.set_aside(mentions)
        scores = _scores(scores.keys() - set(joined), *sides)
        if score > 0:
            fallen = (term for term in alike if term not in scores and term not in joined)
            beside = [term for term in fallen if shares[term] >= _EXPLAINED_SHARE]
            found.append((joined, tuple(beside[:_MOST_BESIDE]), score))
    return sorted(found, key=lambda event: -event[2])


class _Side:
    """What was said in one of the periods; mentions can be set aside."""

    def __init__(self, said: Sequence[Said]) -> None:
        self._said = said
        self.counts: Counter[str] = Counter()
        for terms in said:
            self.counts.update(terms)
        self.all = self.counts.total()
        self.holders: dict[str, set[int]] = {}
        """The numbers of the mentions that say a term, for those that are looked for."""

    def look_for(self, terms: Set[str]) -> None:
        self.holders = {term: set() for term in terms}
        for number, said in enumerate(self._said):
            for term in said & terms:
                self.holders[term].add(number)

    def set_aside(self, mentions: Set[int]) -> None:
        mentions = set(mentions)
        self.all -= sum(len(self._said[number]) for number in mentions)
        for held in self.holders.values():
            held -= mentions


def _scores(terms: Set[str], now: _Side, before: _Side) -> dict[str, float]:
    """Return the scores of those terms that still rise or fall."""
    scores = {}
    for term in terms:
        counts = len(now.holders[term]), len(before.holders[term])
        odds, score = scored(*counts, now.all, before.all)
        if _changes(counts[0] if odds > 0 else counts[1], abs(odds), abs(score)):
            scores[term] = score
    return scores


def _joined(lead: str, alike: Sequence[str], side: _Side) -> tuple[tuple[str, ...], set[int]]:
    holders = side.holders
    terms, mentions = [lead], set(holders[lead])
    for term in alike:
        held = holders[term]
        # One that is said more often than the lead is about more than the event.
        if term != lead and len(held) <= len(holders[lead]):
            if len(held & mentions) < _JOINING_SHARE * len(held):
                continue
            terms.append(term)
            mentions |= held
            if len(terms) == _MOST_TERMS:
                break
    return tuple(terms), mentions


def _candidates(now: _Side, before: _Side) -> set[str]:
    """Return the terms that rise, without those that another of them says better."""
    counts = now.counts
    scores = {}
    for term, count in counts.items():
        odds, score = scored(count, before.counts[term], now.all, before.all)
        if _changes(count, odds, score) and _is_found(term):
            scores[term] = score
    terms = distinct(scores, counts)
    return set(sorted(terms, key=lambda term: (-scores[term], term))[:_MOST_CANDIDATES])


def distinct(rising: Iterable[str], counts: Mapping[str, int]) -> set[str]:
    """Return the terms that rise without those that another of them says better; `counts` are of mentions."""
    known = set(rising)
    terms = set(known)
    for pair in sorted(term for term in known if " " in term):
        words = [word for word in pair.split(" ") if word in known]
        if not words:
            continue
        if len(words) == 2 and counts[pair] >= _PHRASE_SHARE * min(counts[word] for word in words):
            terms -= {word for word in words if counts[pair] >= _PHRASE_SHARE * counts[word]}
        else:  # a rising word beside its neighbour by chance
            terms.discard(pair)
    return terms


def _changes(mentions: int, odds: float, score: float) -> bool:
    return mentions >= LEAST_MENTIONS and score >= LEAST_SCORE and odds >= log(LEAST_RATIO)


def _is_found(term: str) -> bool:
    # A few letters become others when they are tokenized again: a query could not ask for them.
    return tokens(term) == term.split(" ")


def either(terms: Sequence[str]) -> Node:
    """Return the condition that finds what says one of these words and pairs of words."""
    nodes: list[Term | Phrase] = []
    for term in terms:
        words = term.split(" ")
        nodes.append(Term(term) if len(words) == 1 else Phrase(tuple(Term(word) for word in words)))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))
