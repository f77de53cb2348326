"""Who speaks in an incident: how concentrated it is, and which mentions show best what it is about."""

from collections import Counter
from collections.abc import Sequence
from math import log, sqrt

from msgspec import Struct

from hark.alerts.counts import authored, copy_group
from hark.core.protocols import Hit
from hark.core.tokens import tokens

MOST_SHOWN = 5
BOT = 0.7
"""From this likelihood on an author is counted as a program."""
PILE_ON_AUTHOR, PILE_ON_FIVE, PILE_ON_COPIES, PILE_ON_BOTS = 0.3, 0.6, 0.5, 0.5
_LEADING_SHARE = 0.4
_FEWEST = 10
"""Mentions below which nothing is called a pile-on."""
_MOST_READ = 2_000


class Concentration(Struct, frozen=True):
    """Shares, 0 to 1, of the mentions that an incident is about.

    `copies` is the share of the largest group of reposts and copies, `bots` that of authors who are probably
    programs, None where nothing is known of any. `pile_on` says in words why it looks like the work of a few; "" is
    many people.
    """

    mentions: int
    authors: int
    top_author: str
    top_author_share: float
    top_five_share: float
    copies: float
    bots: float | None
    pile_on: str


def concentration(hits: Sequence[Hit]) -> Concentration:
    """Return how concentrated these mentions are."""
    authors = Counter(f"{hit.mention.source}:{authored(hit.mention)}" for hit in hits)
    groups = Counter(copy_group(hit) for hit in hits)
    whole = len(hits)
    if not whole:
        return Concentration(0, 0, "", 0.0, 0.0, 0.0, None, "")
    ranked = sorted(authors.items(), key=lambda item: (-item[1], item[0]))
    first, five = ranked[0][1] / whole, sum(count for _, count in ranked[:5]) / whole
    largest = max(groups.values())
    copies = largest / whole if largest > 1 else 0.0
    known = [hit.enrichment.automation for hit in hits if hit.enrichment.automation is not None]
    bots = sum(value >= BOT for value in known) / len(known) if known else None
    why = ""
    if whole >= _FEWEST:
        if first >= PILE_ON_AUTHOR:
            why = f"one author wrote {first:.0%} of it"
        elif five >= PILE_ON_FIVE:
            why = f"five authors wrote {five:.0%} of it"
        elif copies >= PILE_ON_COPIES:
            why = f"{copies:.0%} of it are reposts and copies of one text"
        elif bots is not None and bots >= PILE_ON_BOTS and len(known) >= whole / 2:
            why = f"{bots:.0%} of it was probably written by programs"
    return Concentration(
        whole,
        len(authors),
        ranked[0][0].partition(":")[2],
        round(first, 4),
        round(five, 4),
        round(copies, 4),
        None if bots is None else round(bots, 4),
        why,
    )


def representative(hits: Sequence[Hit], most: int = MOST_SHOWN) -> tuple[str, ...]:
    """Return the ids of the mentions nearest to the middle of all, one of each group of copies, the nearest first.

    The middle is the mean of the vectors of words, weighted by rarity (tf-idf) and of length 1: what is said by many,
    not what is said loudest.
    """
    read = list(hits)[:_MOST_READ]
    said = [frozenset(tokens(hit.mention.text)) for hit in read]
    spread = Counter(word for words in said for word in words)
    vectors: list[dict[str, float]] = []
    middle: dict[str, float] = {}
    for words in said:
        weights = {word: log((1 + len(read)) / spread[word]) for word in words if spread[word] > 1}
        length = sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        vector = {word: weight / length for word, weight in weights.items()}
        vectors.append(vector)
        for word in sorted(vector):
            middle[word] = middle.get(word, 0.0) + vector[word]
    near = [
        (
            -round(sum(weight * middle[word] for word, weight in sorted(vector.items())), 9),
            hit.mention.id,
            hit,
        )
        for vector, hit in zip(vectors, read, strict=True)
    ]
    chosen: dict[str, str] = {}
    for _, id, hit in sorted(near, key=lambda item: item[:2]):
        chosen.setdefault(copy_group(hit), id)
    return tuple(list(chosen.values())[:most])


def leading_place(hits: Sequence[Hit]) -> str:
    """Return the airport that most of these mentions name, or the place most were written at; "" where none leads."""
    named: Counter[str] = Counter()
    for hit in hits:
        places = {entity.value for entity in hit.enrichment.entities if entity.kind == "airport"}
        if not places and hit.mention.place is not None and hit.mention.place.name:
            places = {hit.mention.place.name}
        named.update(places)
    value, count = min(named.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return value if count >= max(3, _LEADING_SHARE * len(hits)) else ""
