"""A query's tree in Elasticsearch's own words.

The index has one field of tokens (title and text, already cut by `hark.core.tokens`, GAP positions between the
two), one of filter words (`hark.query.fields.words_of`), and one for each number. What Elasticsearch cannot say
with the matcher's exact meaning becomes a superset, and the matcher decides over the candidates.
"""

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query.fields import is_word, number, word

TOKENS = "tokens"
WORDS = "words"
GAP = 1_000
"""Positions between title and text: more than any phrase or NEAR reaches across."""
DEEPEST = 20
"""Bool queries within each other; Elasticsearch refuses more than 30."""
_FARTHEST = (1 << 63) - 1
_MOST_AFTER_STAR = 4
"""Each ? after a * may double the automaton that Elasticsearch makes of a pattern, until it refuses."""

Dsl = dict[str, Any]
EVERYTHING: Dsl = {"match_all": {}}


class Narrowed(Struct, frozen=True):
    """What Elasticsearch is asked; not `exact`: it finds more, and `hark.query.match` must look at each hit."""

    dsl: Dsl
    exact: bool


def narrow(query: Query) -> Narrowed:
    """Return the query that finds what `query` matches, or the least that contains it."""
    return _narrow(query.root, 0)


def _narrow(node: Node, depth: int) -> Narrowed:
    if depth > DEEPEST:
        return Narrowed(EVERYTHING, False)
    match node:
        case All():
            return Narrowed(EVERYTHING, True)
        case Term(token):
            return Narrowed({"term": {TOKENS: token}}, True)
        case Wildcard(pattern):
            return _wildcard(pattern)
        case Phrase(parts):
            return _phrase(parts, depth)
        case Near():
            return _near(node, depth)
        case Field():
            return Narrowed(_field(node), True)
        case And(children):
            return _joined("filter", [_narrow(child, depth + 1) for child in children])
        case Or(children):
            return _or(children, depth)
        case Not(child):
            inner = _narrow(child, depth + 1)
            # What a superset leaves out is no longer a superset of what the query leaves out.
            return Narrowed({"bool": {"must_not": [inner.dsl]}} if inner.exact else EVERYTHING, inner.exact)


def _or(children: tuple[Node, ...], depth: int) -> Narrowed:
    # Hundreds of plain alternatives are one clause, however many clauses the server takes.
    tokens = [child.token for child in children if isinstance(child, Term)]
    words = [_word(child) for child in children if isinstance(child, Field) and is_word(child)]
    rest = [
        child
        for child in children
        if not isinstance(child, Term) and not (isinstance(child, Field) and is_word(child))
    ]
    found = [_narrow(child, depth + 1) for child in rest]
    found += [
        Narrowed({"terms": {field: values}}, True)
        for field, values in ((TOKENS, tokens), (WORDS, words))
        if values
    ]
    return _joined("should", found)


def _joined(how: str, parts: list[Narrowed]) -> Narrowed:
    exact = all(part.exact for part in parts)
    if len(parts) == 1:
        return parts[0]
    return Narrowed({"bool": {how: [part.dsl for part in parts]}}, exact)


def _phrase(parts: tuple[Term | Wildcard, ...], depth: int) -> Narrowed:
    if len(parts) == 1:
        return _narrow(parts[0], depth)
    tokens = _plain(parts)
    if tokens is None:
        # Elasticsearch expands a pattern inside a phrase to 128 tokens at most, and fails beyond.
        together = _joined("filter", [_narrow(part, depth + 1) for part in parts])
        return Narrowed(together.dsl, False)
    return Narrowed({"match_phrase": {TOKENS: " ".join(tokens)}}, True)


def _near(node: Near, depth: int) -> Narrowed:
    left, right = _alternatives(node.left), _alternatives(node.right)
    if left is None or right is None or set(_flat(left)) & set(_flat(right)):
        both = _joined("filter", [_narrow(node.left, depth + 1), _narrow(node.right, depth + 1)])
        return Narrowed(both.dsl, False)
    rule = {"intervals": [_interval(left), _interval(right)], "ordered": node.ordered}
    return Narrowed({"intervals": {TOKENS: {"all_of": {**rule, "max_gaps": node.distance}}}}, True)


def _alternatives(side: Node) -> list[list[str]] | None:
    """Return a side of NEAR as phrases of one length, or None where intervals would not mean the same.

    Elasticsearch drops an interval that contains another one, so "a b" would hide behind "a".
    """
    match side:
        case Term(token):
            return [[token]]
        case Phrase(parts):
            tokens = _plain(parts)
            return None if tokens is None else [tokens]
        case Or(children):
            found = [_alternatives(child) for child in children]
            phrases = [phrase for inner in found if inner is not None for phrase in inner]
            if any(inner is None for inner in found) or len({len(phrase) for phrase in phrases}) != 1:
                return None
            return phrases
        case _:
            return None


def _interval(phrases: list[list[str]]) -> Dsl:
    rules = [
        {"match": {"query": " ".join(phrase), "ordered": True, "max_gaps": 0}}
        if len(phrase) > 1
        else {"match": {"query": phrase[0]}}
        for phrase in phrases
    ]
    return rules[0] if len(rules) == 1 else {"any_of": {"intervals": rules}}


def _plain(parts: tuple[Term | Wildcard, ...]) -> list[str] | None:
    tokens = [part.token for part in parts if isinstance(part, Term)]
    return tokens if len(tokens) == len(parts) else None


def _flat(phrases: Iterable[list[str]]) -> Iterable[str]:
    return (token for phrase in phrases for token in phrase)


def _field(field: Field) -> Dsl:
    if is_word(field):
        return {"term": {WORDS: _word(field)}}
    wanted = clamped(number(field))
    if field.operator == "=":
        return {"term": {field.name: wanted}}
    return {"range": {field.name: {_OPERATORS[field.operator]: wanted}}}


def clamped(value: int) -> int:
    """Return the nearest number that the index holds: those of 64 bits."""
    return max(-_FARTHEST, min(_FARTHEST, value))


def _word(field: Field) -> str:
    return word(field.name, field.value)


_OPERATORS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def _wildcard(pattern: str) -> Narrowed:
    beginning = pattern[:-1]
    if pattern.endswith("*") and not set(beginning) & set("*?"):
        return Narrowed({"prefix": {TOKENS: {"value": beginning}}}, True)  # a thousand of these are bearable
    exact = pattern.partition("*")[2].count("?") <= _MOST_AFTER_STAR
    if not exact:
        pattern = re.sub(r"[*?]+", "*", pattern)
    return Narrowed({"wildcard": {TOKENS: {"value": pattern.replace("\\", "\\\\")}}}, exact)
