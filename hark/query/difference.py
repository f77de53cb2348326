"""What a query finds that another does not: shown before a changed search is saved."""

from datetime import datetime

from msgspec import Struct

from hark.core.protocols import Hit, Store
from hark.core.tree import All, And, Node, Not, Query
from hark.query.explain import text_of

EXAMPLES = 5


class Part(Struct, frozen=True):
    """Mentions that one of two queries finds and the other does not: how many, the newest of them, what finds them.

    `query` is "" where there can be none.
    """

    count: int
    examples: tuple[Hit, ...]
    query: str


class Difference(Struct, frozen=True):
    """What a new query adds to an old one and loses of it within a range of time; `kept` is found by both."""

    added: Part
    lost: Part
    kept: int


def difference(
    store: Store, old: Query, new: Query, since: datetime, until: datetime, examples: int = EXAMPLES
) -> Difference:
    """Compare two queries over the same time. Asks the store five times; what it raises passes."""
    lost = _part(store, old.root, new.root, since, until, examples)
    kept = store.count(old, since, until) - lost.count
    return Difference(_part(store, new.root, old.root, since, until, examples), lost, kept)


def _part(store: Store, found: Node, missed: Node, since: datetime, until: datetime, most: int) -> Part:
    if isinstance(missed, All):
        return Part(0, (), "")
    root = Not(missed) if isinstance(found, All) else And((found, Not(missed)))
    query = Query(text_of(root), root)
    count = store.count(query, since, until)
    hits = tuple(store.search(query, since, until, most)) if count else ()
    return Part(count, hits, query.text)
