"""The store in Elasticsearch: rows in monthly indices behind one alias, and one head for each id.

How writes stay exact is told in docs/adr/0004-elasticsearch-writes.md.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from elasticsearch import ApiError, NotFoundError
from msgspec import Struct, field
from msgspec.structs import replace

from hark.core.change import Deleted, Item, Labelled
from hark.core.clock import from_ms, monotonic, to_ms
from hark.core.errors import SettingsError, TransientError
from hark.core.protocols import Books, Bucket, Hit, Refusal, cursor_of
from hark.core.tree import Query
from hark.query import patience
from hark.query.elastic import EVERYTHING, WORDS, Dsl, Narrowed, narrow
from hark.query.fields import Taxonomy, values_of, word
from hark.query.match import Document, compile_query
from hark.query.sampling import first_place_below, place, sample_position
from sinks.elasticsearch_client import CLOSED, Address, Client, closed, parse_address, said_by
from sinks.elasticsearch_indices import PAGE, FoundHead, FoundRow, Indices, cut
from sinks.elasticsearch_mapping import LEAST, Names, id_objection, templates
from sinks.elasticsearch_write import Writer
from sinks.groups import check_group, check_interval

_MOST = 10_000
"""Hits, or cells of a histogram, in one answer; more than this Elasticsearch refuses."""
_KEEP_ALIVE = "10m"
_WHOLE: Mapping[str, object] = {"allow_partial_search_results": "false"}
_NEWEST_FIRST = [{"created": "desc"}, {"id": "desc"}]
_SHUFFLED = [{"place_in_sample": "asc"}, {"id": "asc"}]
_POSITIVE, _NEGATIVE = word("sentiment", "positive"), word("sentiment", "negative")


_Order = list[dict[str, str]]


class _RowHits(Struct):
    hits: list[FoundRow] = []


class _Total(Struct):
    value: int = 0


class _Place(Struct, rename={"id": "_id", "index": "_index"}):
    id: str
    index: str
    sort: list[Any] = []


class _Places(Struct):
    hits: list[_Place] = []
    total: _Total = field(default_factory=_Total)


class _HeadHits(Struct):
    hits: list[FoundHead] = []


class _RowAnswer(Struct):
    hits: _RowHits = field(default_factory=_RowHits)


class _HeadAnswer(Struct):
    hits: _HeadHits = field(default_factory=_HeadHits)


class _Cell(Struct):
    key: Any
    doc_count: int
    positive: dict[str, int] = {}
    negative: dict[str, int] = {}


class _Cells(Struct):
    buckets: list[_Cell] = []
    after_key: dict[str, Any] | None = None
    doc_count_error_upper_bound: int = 0


class _Answer(Struct):
    """A search's answer where hits are only places: totals, cells, ids."""

    hits: _Places = field(default_factory=_Places)
    aggregations: dict[str, _Cells] = {}


class _Value(Struct):
    value: float | None = None


class _Newest(Struct):
    aggregations: dict[str, _Value] = {}


class _Moment(Struct):
    id: str


def open_store(address: str, data_dir: Path, taxonomy: Taxonomy, generation: int = 0) -> "ElasticsearchStore":
    """Connect, and make the template and the index of the heads where they are missing.

    Raises SettingsError for a wrong address, login or product, TransientError while the server is away.
    """
    del data_dir  # everything is in the server
    return ElasticsearchStore(_address(address, generation), taxonomy)


def drop_store(address: str, data_dir: Path, generation: int) -> None:
    """Delete the indices of one generation and their templates."""
    del data_dir
    place = _address(address, generation)
    names, client = Names(place.prefix), Client(place, time.sleep)
    try:
        indices = [f"/{index}" for index in Indices(client, names).owned()]
        for path in (*indices, *(f"/_index_template/{name}" for name in templates(names))):
            with suppress(NotFoundError):
                client.ask("DELETE", path, dict[str, Any], expected=(404,))
    finally:
        client.close()


def _address(address: str, generation: int) -> Address:
    # No address can name a hyphen, so that no generation meets another center's indices.
    place = parse_address(address)
    return replace(place, prefix=f"{place.prefix}-g{generation}") if generation else place


class ElasticsearchStore:
    """See hark.core.protocols.Store. Another process sees a write within a second (refresh_interval).

    `search`, `histogram` and `top` refresh before they look when they are the first, and after a write of this
    object; `count`, `account` and `ids` always do.
    """

    def __init__(
        self, address: Address, taxonomy: Taxonomy, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._taxonomy = taxonomy
        self._names = Names(address.prefix)
        self._client = Client(address, sleep)
        self._indices = Indices(self._client, self._names)
        self._writer = Writer(self._client, self._indices, taxonomy)
        self._unseen = True
        try:
            self._indices.prepare()
        except BaseException:
            self._client.close()
            raise

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._client.close()

    def write(self, items: Sequence[Item], records: Sequence[bytes] = ()) -> list[Refusal]:
        """Write items; the next search of this object sees them."""
        try:
            return self._writer.write(items, records)
        finally:
            self._unseen = True

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 50,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions, newest first; pages of Elasticsearch's are fetched as they are drawn."""
        position = None if after is None else _position(after)
        return self._found(query, since, until, limit, _NEWEST_FIRST, position)

    def sample(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions in the order of samples; see Store.sample."""
        position = None if after is None else [*sample_position(after)]
        return self._found(query, since, until, limit, _SHUFFLED, position)

    def as_of(self) -> datetime | None:
        """Return when the newest mention that searches see was collected; they lag by a second at most."""
        self._see_own_writes()
        body = {"size": 0, "track_total_hits": False, "aggs": {"collected": {"max": {"field": "collected"}}}}
        newest = self._search(body, _Newest).aggregations.get("collected", _Value()).value
        return None if newest is None else from_ms(int(newest))

    def _found(
        self,
        query: Query,
        since: datetime | None,
        until: datetime | None,
        limit: int | None,
        order: _Order,
        after: list[Any] | None,
    ) -> Iterator[Hit]:
        self._see_own_writes()
        wanted = narrow(query)
        found = self._candidates(wanted, since, until, limit if wanted.exact else None, order, after)
        if not wanted.exact:
            found = self._matching(query, found)
        return islice(found, limit)

    def _matching(self, query: Query, hits: Iterable[Hit]) -> Iterator[Hit]:
        matches, until = compile_query(query).matches, patience.deadline()
        for hit in hits:
            patience.check(until)
            if matches(Document(hit.mention, hit.enrichment, self._taxonomy)):
                yield hit

    def _candidates(
        self,
        wanted: Narrowed,
        since: datetime | None,
        until: datetime | None,
        limit: int | None,
        order: _Order,
        after: list[Any] | None,
    ) -> Iterator[Hit]:
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            body: dict[str, Any] = {
                "query": _within(wanted.dsl, since, until),
                "sort": order,
                "size": size,
                "track_total_hits": False,
            }
            if after is not None:
                body["search_after"] = after
            answer = self._search(body, _RowAnswer)
            hits = answer.hits.hits
            yield from (found.row.hit for found in hits if found.row.hit is not None)
            if len(hits) < size:
                return
            after = hits[-1].sort
            left = None if left is None else left - size

    def terms(self, pattern: str, limit: int) -> Sequence[str] | None:
        """Return None: Elasticsearch keeps the words to itself."""
        return None

    def count(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        level: int = 0,
    ) -> int:
        """Return how many mentions match, of all that any process has written by now; see Store.count."""
        self._refresh()
        wanted = narrow(query)
        if not wanted.exact:
            hits = (
                self.search(query, since, until, limit=None)
                if level == 0
                else self.sample(query, since, until, None)
            )
            return sum(
                1 for _ in takewhile(lambda hit: place(hit.mention.id) < first_place_below(level), hits)
            )
        dsl = _within(wanted.dsl, since, until)
        if level:
            dsl["bool"]["filter"].append({"range": {"place_in_sample": {"lt": first_place_below(level)}}})
        body = {"query": dsl, "size": 0, "track_total_hits": True}
        answer: _Answer = self._search(body, _Answer)
        return answer.hits.total.value

    def histogram(
        self,
        query: Query,
        interval_seconds: int,
        since: datetime,
        until: datetime,
        by: str | None = None,
    ) -> list[Bucket]:
        """Return counts per interval, in the order of time and group."""
        check_group(by)
        check_interval(interval_seconds)
        wanted = narrow(query)
        if not wanted.exact:
            return self._counted_histogram(query, interval_seconds, since, until, by)
        self._see_own_writes()
        time = {"date_histogram": {"field": "created", "fixed_interval": f"{interval_seconds}s"}}
        sources: list[dict[str, Any]] = [{"start": time}]
        if by is not None:
            sources.append({"group": {"terms": {"field": by}}})
        sums = {
            "positive": {"filter": {"term": {WORDS: _POSITIVE}}},
            "negative": {"filter": {"term": {WORDS: _NEGATIVE}}},
        }
        return [
            Bucket(
                cell.key["start"],
                cell.key.get("group"),
                cell.doc_count,
                cell.positive["doc_count"],
                cell.negative["doc_count"],
            )
            for cell in self._cells(_within(wanted.dsl, since, until), sources, sums)
        ]

    def _counted_histogram(
        self, query: Query, interval_seconds: int, since: datetime, until: datetime, by: str | None
    ) -> list[Bucket]:
        width = interval_seconds * 1000
        sums: dict[tuple[int, str | None], list[int]] = {}
        for hit in self.search(query, since, until, limit=None):
            start = to_ms(hit.mention.created_at) // width * width
            mood = values_of("sentiment", hit.mention, hit.enrichment)
            groups = [None] if by is None else self._values(by, hit)
            for group in groups:
                cell = sums.setdefault((start, group), [0, 0, 0])
                cell[0] += 1
                cell[1] += mood == ["positive"]
                cell[2] += mood == ["negative"]
        ordered = sorted(sums.items(), key=lambda cell: (cell[0][0], cell[0][1] or ""))
        return [Bucket(start, group, *numbers) for (start, group), numbers in ordered]

    def top(
        self,
        query: Query,
        field: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[tuple[str, int]]:
        """Return the most frequent values, ties in the order of the values."""
        check_group(field)
        wanted = narrow(query)
        counted: Counter[str] = Counter()
        if not wanted.exact:
            for hit in self.search(query, since, until, limit=None):
                counted.update(self._values(field, hit))
        else:
            self._see_own_writes()
            dsl = _within(wanted.dsl, since, until)
            first = self._first(dsl, field, limit)
            if first is not None:
                return first
            for cell in self._cells(dsl, [{"group": {"terms": {"field": field}}}], {}):
                counted[cell.key["group"]] = cell.doc_count
        return sorted(counted.items(), key=lambda value: (-value[1], value[0]))[:limit]

    def _first(self, dsl: Dsl, field: str, limit: int) -> list[tuple[str, int]] | None:
        """Return the most frequent values if each month can tell all that matter in one answer, else None."""
        if not 0 < limit <= _MOST:
            return None
        terms = {"terms": {"field": field, "size": limit, "shard_size": _MOST}}
        answer = self._search(
            {"query": dsl, "size": 0, "track_total_hits": False, "aggs": {"top": terms}}, _Answer
        )
        cells = answer.aggregations.get("top", _Cells())
        exact = cells.doc_count_error_upper_bound == 0
        return [(cell.key, cell.doc_count) for cell in cells.buckets] if exact else None

    def _values(self, name: str, hit: Hit) -> list[str]:
        return values_of(name, hit.mention, hit.enrichment, self._taxonomy)

    def _cells(
        self, dsl: Dsl, sources: list[dict[str, Any]], sums: Dsl, pin: Dsl | None = None
    ) -> Iterator[_Cell]:
        """Yield the cells of a composite aggregation, which leaves none out, however many there are."""
        composite: dict[str, Any] = {"size": _MOST, "sources": sources}
        while True:
            aggregation = {"composite": composite, **({"aggs": sums} if sums else {})}
            body: dict[str, Any] = {
                "query": dsl,
                "size": 0,
                "track_total_hits": False,
                "aggs": {"cells": aggregation},
            }
            answer = self._search(body | (pin or {}), _Answer)
            cells = answer.aggregations.get("cells", _Cells())
            yield from cells.buckets
            if cells.after_key is None or len(cells.buckets) < _MOST:
                return
            composite = composite | {"after": cells.after_key}

    def get(self, id: str) -> Hit | None:
        """Return one mention as it stands now, whether refreshed or not."""
        if id_objection(id) is not None:
            return None
        found = self._indices.heads([id]).get(id)
        if found is None or found.head is None or found.head.state != "indexed":
            return None
        return next(self._indices.rows([(found.head.months[-1], id)])).row.hit

    def many(self, ids: Sequence[str]) -> dict[str, Hit]:
        """Return those of `ids` that are indexed, whether refreshed or not."""
        heads = self._indices.heads([id for id in ids if id_objection(id) is None])
        places = [
            (found.head.months[-1], id)
            for id, found in heads.items()
            if found.head is not None and found.head.state == "indexed"
        ]
        rows = self._indices.rows(places)
        return {found.id: found.row.hit for found in rows if found.row.hit is not None}

    def history(self, after: str | None = None, limit: int = 1_000) -> tuple[list[Hit], str | None]:
        """Return a page of mentions by time and id; the first page refreshes before it looks."""
        body: dict[str, Any] = {
            "query": _within(EVERYTHING, None, None),
            "sort": [{"created": "asc"}, {"id": "asc"}],
            "size": limit,
            "track_total_hits": False,
        }
        if after is None:
            self._refresh()
        else:
            body["search_after"] = _position(after)
        hits = [found.row.hit for found in self._search(body, _RowAnswer).hits.hits if found.row.hit]
        return hits, cursor_of(hits[-1]) if hits else None

    def remarks(self) -> Iterator[Labelled | Deleted]:
        """Yield all labels and all tombstones, from the heads; the times of deletions are not kept."""
        with self._moment(self._names.heads) as pin:
            body: dict[str, Any] = {"query": EVERYTHING, "size": PAGE, "track_total_hits": False}
            body |= {"sort": ["_shard_doc"], **pin}
            while found := self._search(body, _HeadAnswer).hits.hits:
                for each in found:
                    if each.head is not None and each.head.state == "deleted":
                        yield Deleted(each.id, "deleted", LEAST)
                    elif each.head is not None:
                        yield from each.head.labels
                body["search_after"] = found[-1].sort

    def account(self, ids: Iterable[str]) -> tuple[dict[str, Books], dict[str, str]]:
        """Return the books and the states of `ids`, from the heads: one shard, so one instant."""
        books: dict[str, Books] = {}
        known: dict[str, str] = {}
        with self._moment(self._names.heads) as pin:
            sources = [{name: {"terms": {"field": name}}} for name in ("source", "state")]
            for cell in self._cells(EVERYTHING, sources, {}, pin):
                book = books.setdefault(cell.key["source"], Books())
                if cell.key["state"] == "indexed":
                    book.indexed = cell.doc_count
                elif cell.key["state"] == "deleted":
                    book.deleted = cell.doc_count
            for some in cut(ids, PAGE):
                wanted = {"ids": {"values": [id for id in some if id_objection(id) is None]}}
                body = {"query": wanted, "size": PAGE, "track_total_hits": False}
                for found in self._search(body | pin, _HeadAnswer).hits.hits:
                    if found.head is not None and found.head.state in ("indexed", "deleted"):
                        known[found.id] = found.head.state
        return {source: book for source, book in books.items() if book.indexed or book.deleted}, known

    def ids(self) -> Iterator[tuple[str, bool]]:
        """Yield the ids of all rows, and of all heads that are tombstones: what is there, not what should be."""
        heads = self._names.heads
        self._search({"size": 0}, _Answer)  # mends the alias
        with self._moment(f"{self._names.rows},{heads}") as pin:
            dsl = {"bool": {"should": [{"exists": {"field": "created"}}, {"term": {"state": "deleted"}}]}}
            body: dict[str, Any] = {"query": dsl, "size": _MOST, "_source": False, "track_total_hits": False}
            body |= {"sort": ["_shard_doc"], **pin}
            while found := self._search(body, _Answer).hits.hits:
                for place in found:
                    yield place.id, place.index == heads
                body["search_after"] = found[-1].sort

    def _search(self, body: Dsl, answer: type[Any]) -> Any:
        path = "/_search" if "pit" in body else f"/{self._names.rows}/_search"
        until = patience.deadline()
        patience.check(until)
        if until is not None:
            body = body | {"timeout": f"{max(1, round(1000 * (until - monotonic())))}ms"}
        try:
            return self._client.ask("POST", path, answer, body, expected=(400, 404), **_WHOLE)
        except TransientError:
            # An answer that would be a part only is refused, as by any failure: it was the time if that has passed.
            patience.check(until)
            raise
        except ApiError as error:
            said = said_by(error)
            if error.meta.status == 404 and "pit" in body:
                raise TransientError("Elasticsearch has let go of a long search: begin it again") from error
            if error.meta.status == 404:  # no alias: nothing was ever written, or somebody has removed it
                if not self._indices.mend_alias():
                    return answer()
                self._refresh()
                return self._search(body, answer)
            if CLOSED in said:
                raise TransientError(closed(self._client.url)) from error
            raise SettingsError(f"Elasticsearch does not take this query: {said}") from error

    def _see_own_writes(self) -> None:
        if self._unseen:
            self._refresh()

    def _refresh(self) -> None:
        self._unseen = False
        try:
            self._indices.refresh()
        except BaseException:
            self._unseen = True
            raise

    @contextmanager
    def _moment(self, indices: str) -> Iterator[Dsl]:
        """Hold all that has been written by now as it is, for several searches."""
        self._refresh()
        try:
            moment = self._client.ask(
                "POST", f"/{indices}/_pit", _Moment, expected=(404,), keep_alive=_KEEP_ALIVE
            )
        except NotFoundError:  # no month yet
            moment = self._client.ask("POST", f"/{self._names.heads}/_pit", _Moment, keep_alive=_KEEP_ALIVE)
        try:
            yield {"pit": {"id": moment.id, "keep_alive": _KEEP_ALIVE}}
        finally:
            # What is not let go of here ends by itself, when it was kept long enough.
            with suppress(ApiError, TransientError):
                self._client.ask("DELETE", "/_pit", dict[str, Any], {"id": moment.id}, expected=(404,))


def _within(dsl: Dsl, since: datetime | None, until: datetime | None) -> Dsl:
    """Add the range of time; tombstones have no `created`, so they are in no range."""
    times: dict[str, Any] = {"gte": 0 if since is None else to_ms(since)}
    if until is not None:
        times["lt"] = to_ms(until)
    return {"bool": {"filter": [dsl, {"range": {"created": times}}]}}


def _position(after: str) -> list[int | str]:
    milliseconds, comma, id = after.partition(",")
    if not comma or not re.fullmatch(r"-?[0-9]{1,18}", milliseconds):
        raise SettingsError(f"{after!r} is not a cursor of a page; expected MILLISECONDS,ID")
    return [int(milliseconds), id]
