"""Relevance: how much of what a query asks for a mention says.

BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, equation 3.15) over the words, phrases,
patterns and NEARs of the query, counted by the matcher, so that every store has the same order. What stands under
NOT and what is a field counts nothing; a title counts double. How rare something is, is counted over the mentions
that are ranked with it.
"""

from collections.abc import Iterable, Sequence
from math import log

from msgspec import Struct

from hark.core.tree import And, Near, Node, Or, Phrase, Query, Term, Wildcard
from hark.query.match import Document, occurrences_of

MOST_UNITS = 64
"""Words, phrases, patterns and NEARs that are weighed each by itself; of more, all are one."""
_SATURATION, _LENGTH = 1.2, 0.75
"""k1 and b, at their usual values."""


class Statistics(Struct, frozen=True, array_like=True):
    """What a score depends on besides the mention: of how many mentions, their mean length, how many say each unit."""

    mentions: int
    length: float
    holders: tuple[int, ...]


class Said(Struct, frozen=True):
    """What the query found in one mention: how often each unit, in how many tokens."""

    counts: tuple[int, ...]
    length: int


class Ranker:
    """Scores mentions for one query. `units` is how many parts of it are weighed; with none there is no order."""

    def __init__(self, query: Query) -> None:
        nodes = _units(query.root)
        if len(nodes) > MOST_UNITS:
            nodes = [query.root]
        self.units = len(nodes)
        self._found = [occurrences_of(node) for node in nodes]

    def said(self, document: Document) -> Said:
        """Return what a mention says of the query."""
        title, text = len(document.title_tokens), len(document.text_tokens)
        counts = (sum(2 if first < title else 1 for first, _ in found(document)) for found in self._found)
        return Said(tuple(counts), title + text)

    def statistics(self, all_said: Sequence[Said]) -> Statistics:
        """Return the statistics of the mentions that are ranked."""
        holders = tuple(sum(said.counts[unit] > 0 for said in all_said) for unit in range(self.units))
        length = sum(said.length for said in all_said) / len(all_said) if all_said else 0.0
        return Statistics(len(all_said), length, holders)

    def score(self, said: Said, statistics: Statistics) -> float:
        """Return how relevant a mention is: 0 and above."""
        relative = said.length / statistics.length if statistics.length else 1.0
        spread = _SATURATION * (1 - _LENGTH + _LENGTH * relative)
        score = 0.0
        for count, holders in zip(said.counts, statistics.holders, strict=True):
            if count:
                rarity = log(1 + (statistics.mentions - holders + 0.5) / (holders + 0.5))
                score += rarity * count * (_SATURATION + 1) / (count + spread)
        return score


def _units(root: Node) -> list[Node]:
    found: dict[Node, None] = {}
    waiting: list[Node] = [root]
    while waiting:
        match waiting.pop():
            case And(children) | Or(children):
                waiting += _reversed(children)
            case Term() | Wildcard() | Phrase() | Near() as unit:
                found[unit] = None
    return list(found)


def _reversed(children: Iterable[Node]) -> list[Node]:
    return [*children][::-1]
