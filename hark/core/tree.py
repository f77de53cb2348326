"""The tree of a query: what the parser makes, and what every reader (matcher, stores) reads.

Text nodes (Term, Wildcard, Phrase, Near) are about the tokens of a mention's title and text, see
`hark.core.tokens`; all their strings are in the form of tokens already.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

Operator = Literal["=", "<", "<=", ">", ">="]


class All(Struct, frozen=True, tag="all"):
    """Matches everything: the empty query."""


class Term(Struct, frozen=True, tag="term"):
    """One token."""

    token: str


class Wildcard(Struct, frozen=True, tag="wildcard"):
    """Tokens of a pattern: `*` stands for any characters or none, `?` for exactly one.

    As in Brandwatch, `colo?r` finds colour but not color; `colo*r` finds both.
    """

    pattern: str


class Phrase(Struct, frozen=True, tag="phrase"):
    """Tokens that stand one right after the other."""

    parts: tuple[Term | Wildcard, ...]


class Near(Struct, frozen=True, tag="near"):
    """Both sides occur without overlap, with at most `distance` tokens between their edges.

    `ordered`: left before right. The sides are within the title or within the text, never one in each.
    """

    left: "Text"
    right: "Text"
    distance: int
    ordered: bool = False


class Field(Struct, frozen=True, tag="field"):
    """A field compared with a value. For words (brand, source, …) only "=", without regard to case.

    `value` is normalised by the parser: lower case for words, a decimal number, or RFC 3339 in UTC.
    """

    name: str
    operator: Operator
    value: str


class And(Struct, frozen=True, tag="and"):
    """All of them."""

    children: tuple["Node", ...]


class Or(Struct, frozen=True, tag="or"):
    """At least one of them."""

    children: tuple["Node", ...]


class Not(Struct, frozen=True, tag="not"):
    """Everything else."""

    child: "Node"


Text = Term | Wildcard | Phrase | Or
"""A side of Near: an Or has Text alone below it; a Near within a Near is refused by the parser."""
Node = All | Term | Wildcard | Phrase | Near | Field | And | Or | Not


class Query(Struct, frozen=True):
    """A parsed query: the text as typed, and its tree."""

    text: str
    root: Node


def nodes(root: Node) -> Iterator[Node]:
    """Yield a tree's nodes, each before those below it, from left to right."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case And(children) | Or(children) | Phrase(children):
                waiting.extend(reversed(children))
            case Near(left, right):
                waiting += [right, left]
            case Not(child):
                waiting.append(child)
