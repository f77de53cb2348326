"""What each kind of store is asked for a query, what is decided afterwards, and what patterns stand for."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from hark.core.tree import And, Query, Wildcard, nodes
from hark.query import sqlite
from hark.query.elastic import narrow
from hark.query.explain import text_of

MOST_SHOWN = 50
"""Terms of a pattern that are listed."""


class Asked(Struct, frozen=True):
    """What a store is asked: `request` by its parts; it is the query itself where nothing is `decided` here.

    `decided` are the parts that the match in memory must judge, mention by mention, which is slower.
    """

    request: dict[str, Any]
    decided: tuple[str, ...]


class Pattern(Struct, frozen=True):
    """What a pattern stands for: the first terms in the order of letters; `number` is None where they are too many."""

    pattern: str
    terms: tuple[str, ...]
    number: int | None


def asked_sqlite(query: Query, expand: sqlite.Expand) -> Asked:
    """Return what the embedded store is asked: the FTS5 expression, conditions on rows in SQL, and the range of time."""
    plan = sqlite.plan(query, expand)
    request: dict[str, Any] = {"match": plan.match}
    if plan.where:
        request |= {"where": " AND ".join(plan.where), "parameters": plan.parameters}
    if plan.since:
        request["since"] = plan.since
    if plan.until != sqlite.Plan(None).until:
        request["until"] = plan.until
    return Asked(request, _decided(query, plan.exact, lambda part: sqlite.plan(part, expand).exact))


def asked_elasticsearch(query: Query) -> Asked:
    """Return what Elasticsearch is asked: the query of a search's body."""
    narrowed = narrow(query)
    request = {"query": narrowed.dsl}
    return Asked(request, _decided(query, narrowed.exact, lambda part: narrow(part).exact))


def patterns(query: Query, expand: sqlite.Expand) -> list[Pattern]:
    """Return what each pattern of the query stands for in a store; at most sqlite.MOST_TERMS are counted."""
    found = []
    for pattern in dict.fromkeys(node.pattern for node in nodes(query.root) if isinstance(node, Wildcard)):
        terms = expand(pattern)
        shown: Sequence[str] = terms or ()
        found.append(Pattern(pattern, tuple(shown[:MOST_SHOWN]), None if terms is None else len(terms)))
    return found


def _decided(query: Query, exact: bool, is_exact: Callable[[Query], bool]) -> tuple[str, ...]:
    if exact:
        return ()
    parts = query.root.children if isinstance(query.root, And) else (query.root,)
    slow = tuple(text_of(part) for part in parts if not is_exact(Query("", part)))
    return slow or (text_of(query.root),)
