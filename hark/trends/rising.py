"""Rising terms: what people say now that they did not say before, one line an event."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
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
        node = _either(terms)
        figures = now.where(node).counted(store), compared.where(node).counted(store)
        found.append(Event(terms, beside, score, *figures))
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


def scored(now: int, before: int, all_now: float, all_before: float) -> float:
    """Return the standard score of a term's log-odds ratio, above 0 where it rises.

    Log-odds with an informative Dirichlet prior: Monroe, Colaresi and Quinn, Fightin' Words, Political Analysis 16
    (2008), 372-403, equations 16 to 22. `now` and `before` count the mentions that say the term, `all_…` are the
    sums over all terms. The prior is both periods together, weighed down to PRIOR: a word that is frequent anyway
    must change more to be told.
    """
    prior, all_prior = PRIOR * (now + before), PRIOR * (all_now + all_before)
    first, second = now + prior, before + prior
    rest, rest_before = all_now + all_prior - first, all_before + all_prior - second
    if min(first, second, rest, rest_before) <= 0:
        return 0.0
    return (log(first / rest) - log(second / rest_before)) / sqrt(1 / first + 1 / second)


def events(
    now: Sequence[Said], before: Sequence[Said]
) -> list[tuple[tuple[str, ...], tuple[str, ...], float]]:
    """Return what rose, grouped: (terms, terms beside, score), the strongest first.

    The strongest term leads an event; terms join it that are said mostly in its mentions. Then the event's mentions
    are set aside, and what no longer rises without them was the same event.
    """
    if not now or not before:
        return []
    counts, past = _counted(now), _counted(before)
    all_now, all_before = counts.total(), past.total()
    holders = _candidates(now, counts, past)
    found: list[tuple[tuple[str, ...], tuple[str, ...], float]] = []
    scores = {term: scored(len(held), past[term], all_now, all_before) for term, held in holders.items()}
    while holders and len(found) < MOST_EVENTS:
        ranked = sorted(holders, key=lambda term: (-scores[term], term))
        score = scores[ranked[0]]
        terms, mentions = _joined(ranked, holders)
        all_now -= sum(len(now[number]) for number in mentions)
        rest = {term: held - mentions for term, held in holders.items() if term not in terms}
        scores = {term: scored(len(held), past[term], all_now, all_before) for term, held in rest.items()}
        fallen = [term for term in ranked if term in rest and not _rises(len(rest[term]), scores[term])]
        beside = [
            term for term in fallen if len(holders[term] & mentions) >= _EXPLAINED_SHARE * len(holders[term])
        ]
        found.append((terms, tuple(beside[:_MOST_BESIDE]), score))
        holders = {term: held for term, held in rest.items() if _rises(len(held), scores[term])}
    return found


def _joined(ranked: Sequence[str], holders: dict[str, set[int]]) -> tuple[tuple[str, ...], set[int]]:
    lead = ranked[0]
    terms, mentions = [lead], set(holders[lead])
    for term in ranked[1:]:
        held = holders[term]
        # One that is said more often than the lead is about more than the event.
        if len(held) <= len(holders[lead]) and len(held & mentions) >= _JOINING_SHARE * len(held):
            terms.append(term)
            mentions |= held
            if len(terms) == _MOST_TERMS:
                break
    return tuple(terms), mentions


def _candidates(now: Sequence[Said], counts: Counter[str], past: Counter[str]) -> dict[str, set[int]]:
    """Return the terms that rise, with the numbers of the mentions that say them."""
    all_now, all_before = counts.total(), past.total()
    scores = {term: scored(count, past[term], all_now, all_before) for term, count in counts.items()}
    rising = {term for term, score in scores.items() if _rises(counts[term], score) and _is_found(term)}
    for pair in [term for term in rising if " " in term]:
        words = [word for word in pair.split(" ") if word in rising]
        if not words:
            continue
        held = counts[pair]
        if len(words) == 2 and held >= _PHRASE_SHARE * min(counts[word] for word in words):
            rising -= {word for word in words if held >= _PHRASE_SHARE * counts[word]}
        else:  # a rising word beside its neighbour by chance
            rising.discard(pair)
    strongest = sorted(rising, key=lambda term: (-scores[term], term))[:_MOST_CANDIDATES]
    holders: dict[str, set[int]] = {term: set() for term in strongest}
    for number, said in enumerate(now):
        for term in said & holders.keys():
            holders[term].add(number)
    return holders


def _rises(mentions: int, score: float) -> bool:
    return mentions >= LEAST_MENTIONS and score >= LEAST_SCORE


def _is_found(term: str) -> bool:
    # A few letters become others when they are tokenized again: a query could not ask for them.
    return tokens(term) == term.split(" ")


def _counted(said: Iterable[Said]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for terms in said:
        counts.update(terms)
    return counts


def _either(terms: Sequence[str]) -> Node:
    nodes: list[Term | Phrase] = []
    for term in terms:
        words = term.split(" ")
        nodes.append(Term(term) if len(words) == 1 else Phrase(tuple(Term(word) for word in words)))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))
