"""What a query means, written as plainly as possible and without a thought for speed: the judge of every reader."""

import fnmatch
import re
from datetime import datetime

from hark.core.mention import Enrichment, Mention
from hark.core.tokens import tokens
from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Term, Wildcard
from tests.support.queries import TAXONOMY


def means(node: Node, mention: Mention, enrichment: Enrichment) -> bool:
    """Say whether a mention matches."""
    match node:
        case All():
            return True
        case And(children):
            return all(means(child, mention, enrichment) for child in children)
        case Or(children):
            return any(means(child, mention, enrichment) for child in children)
        case Not(child):
            return not means(child, mention, enrichment)
        case Field():
            return _field(node, mention, enrichment)
        case _:
            return any(_stretches(node, tokens(part)) for part in (mention.title or "", mention.text))


def _stretches(node: Node, sequence: list[str]) -> set[tuple[int, ...]]:
    """Return each way in which the node occurs, as the positions it takes."""
    everywhere = range(len(sequence))
    match node:
        case Term(token):
            return {(i,) for i in everywhere if sequence[i] == token}
        case Wildcard(pattern):
            return {(i,) for i in everywhere if fnmatch.fnmatchcase(sequence[i], pattern)}
        case Phrase(parts):
            return {
                tuple(range(i, i + len(parts)))
                for i in everywhere
                if i + len(parts) <= len(sequence)
                and all(_stretches(part, [sequence[i + k]]) for k, part in enumerate(parts))
            }
        case Or(children):
            return set().union(*(_stretches(child, sequence) for child in children))
        case Near(left, right, distance, ordered):
            found = set()
            for a in _stretches(left, sequence):
                for b in _stretches(right, sequence):
                    after = b[0] - a[-1] - 1
                    before = a[0] - b[-1] - 1
                    if 0 <= after <= distance or (not ordered and 0 <= before <= distance):
                        found.add(tuple(sorted(a + b)))
            return found
        case _:
            raise AssertionError(node)


def _field(node: Field, mention: Mention, enrichment: Enrichment) -> bool:
    if node.name == "created":
        bound = datetime.fromisoformat(node.value)
        return _compare(mention.created_at.timestamp(), node.operator, bound.timestamp())
    if node.name in ("followers", "priority"):
        author = mention.author
        value = (author and author.followers) if node.name == "followers" else enrichment.priority
        return value is not None and _compare(value, node.operator, int(node.value))
    if node.name in ("reach", "influence", "automation"):
        known = getattr(enrichment, node.name)
        percent = known * 100 if node.name == "automation" and known is not None else known
        return percent is not None and _compare(round(percent), node.operator, int(node.value))
    return node.value in {value.lower() for value in _answers(node.name, mention, enrichment) if value}


def _compare(value: float, operator: str, bound: float) -> bool:
    return {
        "=": value == bound,
        "<": value < bound,
        "<=": value <= bound,
        ">": value > bound,
        ">=": value >= bound,
    }[operator]


def _answers(name: str, mention: Mention, enrichment: Enrichment) -> list[str | None]:
    text = f"{mention.title or ''} \n {mention.text}"
    own = re.sub(r"^https?://(www\.)?", "", (mention.url or "").lower())
    links = [own] + ["t.co/a"] * ("https://t.co/a" in text)
    place = (mention.place and mention.place.name) or ""
    author = mention.author
    match name:
        case "source" | "kind" | "id":
            return [getattr(mention, name)]
        case "conversation":
            return [mention.conversation or mention.id]
        case "author":
            return [author and (author.handle or author.name)]
        case "brand":
            return list(enrichment.brands)
        case "topic":
            ids = [topic.id for topic in enrichment.topics]
            return [*ids, *(above for topic in ids for above in TAXONOMY[topic])]
        case "sentiment":
            return [enrichment.sentiment.label]
        case "intent" | "journey" | "urgency":
            return [getattr(enrichment, name)]
        case "lang":
            return [enrichment.language.code]
        case "country":
            return [mention.place and mention.place.country]
        case "place":
            return [place, *(part.strip() for part in place.split(","))]
        case "hashtag":
            return [token[1:] for token in tokens(text) if token.startswith("#")]
        case "mentions":
            return [token[1:] for token in tokens(text) if token.startswith("@")]
        case "site":
            labels = own.split("/")[0].split(".")
            return [".".join(labels[i:]) for i in range(len(labels) - 1)]
        case "url":
            bare = [link.split("?")[0] for link in links]
            return [*links, *("/".join(link.split("/")[:n]) for link in bare for n in range(1, 6))]
        case "has":
            return _has(mention, enrichment, text)
        case _:
            raise AssertionError(name)


def _has(mention: Mention, enrichment: Enrichment, text: str) -> list[str | None]:
    kinds = {media.kind for media in mention.media}
    marks = {token[0] for token in tokens(text)}
    there = {
        "media": kinds & {"image", "video"},
        "image": "image" in kinds,
        "video": "video" in kinds,
        "link": "link" in kinds or "https://t.co/a" in text,
        "place": mention.place,
        "reply": mention.in_reply_to,
        "repost": mention.repost_of,
        "title": mention.title,
        "hashtag": "#" in marks,
        "mentions": "@" in marks,
        "brand": enrichment.brands,
        "topic": enrichment.topics,
    }
    return [name for name, value in there.items() if value]
