"""A query's mentions page by page, in an order that is the same in every store."""

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from hark.core.clock import EARLIEST, LATEST, from_ms, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Hit, Store, cursor_of
from hark.core.tree import Query
from hark.query.fields import NO_TAXONOMY, Taxonomy
from hark.query.match import Document
from hark.query.ranking import Ranker, Said, Statistics
from hark.query.sampling import sample_cursor

Order = Literal["newest", "relevance", "sample"]
ORDERS: tuple[Order, ...] = get_args(Order)
MOST_RANKED = 2_000
"""The newest of a query's mentions that are put in order of relevance; older ones come on no page of it."""
_MILLISECOND = timedelta(milliseconds=1)


class Page(Struct, frozen=True):
    """Some of a query's mentions, and the cursor for those that follow (None: there are none).

    By relevance, `ranked` is how many were put in order, and `cut` whether the query has more than these.
    """

    hits: tuple[Hit, ...]
    after: str | None
    ranked: int | None = None
    cut: bool = False


class _Place(Struct, frozen=True, array_like=True):
    """Where a page by relevance ends, and among which mentions, so that new ones change nothing that follows."""

    score: float
    created: int
    id: str
    oldest: int
    newest: int
    cut: bool
    statistics: Statistics


class _Ranked(Struct, frozen=True):
    key: tuple[float, int, str]
    hit: Hit


def page(
    store: Store,
    query: Query,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    order: Order = "newest",
    limit: int = 50,
    after: str | None = None,
    taxonomy: Taxonomy = NO_TAXONOMY,
) -> Page:
    """Return up to `limit` mentions that follow the cursor `after`.

    newest: the newest first, ties by id, descending. relevance: see `hark.query.ranking`; ties as newest; of the
    MOST_RANKED newest mentions alone; a query without words has no other order than newest. sample: the shuffled
    order of `hark.query.sampling`. No page repeats or skips what is in the store while new mentions arrive.

    Raises SettingsError for a cursor of another order or query; what the store raises passes.
    """
    if order not in ORDERS:
        raise SettingsError(f"order: expected one of {', '.join(ORDERS)}; found {order!r}")
    ranker = Ranker(query) if order == "relevance" else None
    if ranker is not None and ranker.units:
        return _by_relevance(store, query, ranker, since, until, limit, after, taxonomy)
    hits: Iterator[Hit]
    if order == "sample":
        hits = store.sample(query, since, until, limit + 1, after)
    else:
        hits = store.search(query, since, until, limit + 1, after)
    found = tuple(islice(hits, limit + 1))
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1] if limit else None
    if last is None:
        return Page((), after)
    return Page(found[:limit], sample_cursor(last.mention.id) if order == "sample" else cursor_of(last))


def _by_relevance(
    store: Store,
    query: Query,
    ranker: Ranker,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str | None,
    taxonomy: Taxonomy,
) -> Page:
    place = None if after is None else _decoded(after, ranker)
    if place is None:
        found = list(store.search(query, since, until, MOST_RANKED + 1))
        cut = len(found) > MOST_RANKED
        del found[MOST_RANKED:]
    else:
        oldest, newest = from_ms(place.oldest), from_ms(place.newest) + _MILLISECOND
        since = oldest if since is None else max(since, oldest)
        until = newest if until is None else min(until, newest)
        # Late ones may have come into this time: as many again are taken, so that none falls out.
        found = list(store.search(query, since, until, 2 * MOST_RANKED))
        cut = place.cut
    said = [ranker.said(Document(hit.mention, hit.enrichment, taxonomy)) for hit in found]
    statistics = ranker.statistics(said) if place is None else place.statistics
    ranked = _ranked(ranker, found, said, statistics)
    if place is not None:
        end = (place.score, place.created, place.id)
        ranked = [one for one in ranked if one.key < end]
    hits = tuple(one.hit for one in ranked[:limit])
    if len(ranked) <= limit or not hits:
        return Page(hits, None, statistics.mentions, cut)
    if place is None:
        window = to_ms(found[-1].mention.created_at), to_ms(found[0].mention.created_at)
    else:
        window = place.oldest, place.newest
    cursor = _Place(*ranked[limit - 1].key, *window, cut, statistics)
    return Page(hits, _encoded(cursor), statistics.mentions, cut)


def _ranked(ranker: Ranker, hits: list[Hit], said: list[Said], statistics: Statistics) -> list[_Ranked]:
    ranked = [
        _Ranked((ranker.score(one, statistics), to_ms(hit.mention.created_at), hit.mention.id), hit)
        for hit, one in zip(hits, said, strict=True)
    ]
    return sorted(ranked, key=lambda one: one.key, reverse=True)


def _encoded(place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def _decoded(after: str, ranker: Ranker) -> _Place:
    try:
        data = base64.urlsafe_b64decode(after.encode() + b"=" * (-len(after) % 4))
        place = msgspec.msgpack.decode(data, type=_Place)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise SettingsError("this is not a cursor of a page by relevance") from error
    if len(place.statistics.holders) != ranker.units:
        raise SettingsError("this cursor is of a page of another query")
    if not to_ms(EARLIEST) <= place.oldest <= place.newest < to_ms(LATEST):
        raise SettingsError("this is not a cursor of a page by relevance")
    return place
