"""The store in Elasticsearch: rows in monthly indices behind one alias, and one head for each id.

How writes stay exact is told in docs/adr/0004-elasticsearch-writes.md.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from elasticsearch import ApiError
from msgspec import Struct, field

from hark.core.change import Item, Labelled, Tagged, key_of
from hark.core.clock import to_ms
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.protocols import Books, Bucket, Hit, Refusal, cursor_of
from hark.core.tree import Query
from hark.query.elastic import EVERYTHING, WORDS, Dsl, Narrowed, narrow
from hark.query.fields import Taxonomy, values_of, word
from hark.query.match import Document, compile_query
from sinks import labels
from sinks.elasticsearch_client import Address, Client, Outcome, parse_address, quoted
from sinks.elasticsearch_heads import Head, Write, first_of_version, settle, undone
from sinks.elasticsearch_mapping import (
    GROUPS,
    LAYOUT,
    Names,
    heads_index,
    id_objection,
    month_of,
    objection,
    row_of,
    template,
)

_PAGE = 1_000
_MOST = 10_000
"""Hits, or cells of a histogram, in one answer; more than this Elasticsearch refuses."""
_MOST_RACES = 10
_KEEP_ALIVE = "10m"
_OPTIONS: Mapping[str, object] = {"allow_partial_search_results": "false", "ignore_unavailable": "true"}
# A point in time already names its indices.
_PINNED: Mapping[str, object] = {"allow_partial_search_results": "false"}
_NEWEST_FIRST = [{"created": "desc"}, {"id": "desc"}]
_POSITIVE, _NEGATIVE = word("sentiment", "positive"), word("sentiment", "negative")

Items = list[tuple[int, Item, str]]


class _Row(Struct):
    hit: Hit | None = None


class _FoundRow(Struct, rename={"id": "_id", "index": "_index", "version": "_version", "row": "_source"}):
    id: str
    index: str = ""
    version: int = 0
    row: _Row = field(default_factory=_Row)
    error: dict[str, Any] | None = None


class _FoundHead(
    Struct, rename={"id": "_id", "number": "_seq_no", "term": "_primary_term", "head": "_source"}
):
    id: str
    number: int = 0
    term: int = 0
    head: Head | None = None
    error: dict[str, Any] | None = None


class _Rows(Struct):
    docs: list[_FoundRow]


class _Heads(Struct):
    docs: list[_FoundHead]


class _RowHits(Struct):
    hits: list[_FoundRow]


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
    hits: list[_FoundHead] = []


class _RowAnswer(Struct):
    hits: _RowHits


class _HeadAnswer(Struct):
    hits: _HeadHits


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


class _Shards(Struct):
    failed: int = 0


class _Refreshed(Struct):
    shards: _Shards = field(default_factory=_Shards, name="_shards")


class _Created(Struct):
    shards_acknowledged: bool = True


class _Moment(Struct):
    id: str


class _Mapping(Struct):
    meta: dict[str, Any] = field(default_factory=dict, name="_meta")


class _Index(Struct):
    mappings: _Mapping


def open_store(address: str, data_dir: Path, taxonomy: Taxonomy) -> "ElasticsearchStore":
    """Connect, and make the template and the index of the heads where they are missing.

    Raises SettingsError for a wrong address, login or product, TransientError while the server is away.
    """
    del data_dir  # everything is in the server
    return ElasticsearchStore(parse_address(address), taxonomy)


class ElasticsearchStore:
    """See hark.core.protocols.Store. Another process sees a write within a second (refresh_interval).

    `search`, `histogram` and `top` refresh before they look when they are the first, and after a write of this
    object; `count`, `account` and `ids` always do.
    """

    def __init__(self, address: Address, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._names = Names(address.prefix)
        self._client = Client(address)
        self._months: set[str] = set()
        self._unseen = True
        try:
            self._prepare()
        except BaseException:
            self._client.close()
            raise

    def _prepare(self) -> None:
        self._client.ask("GET", "/", dict[str, Any])
        names = self._names
        self._client.ask("PUT", f"/_index_template/{names.rows}", dict[str, Any], template(names))
        self._create(names.heads, heads_index())
        found = self._client.ask("GET", f"/{names.heads}/_mapping", dict[str, _Index])
        if any(index.mappings.meta.get("layout") != LAYOUT for index in found.values()):
            problem = (
                "was made by another version of Hark: name another prefix at the end of the store's address"
            )
            raise SettingsError(f"store: the index {names.heads} {problem}")

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._client.close()

    # ------------------------------------------------------------------ writing

    def write(self, items: Sequence[Item]) -> list[Refusal]:
        """Write items: heads first, which decide what stands, then rows, then tombstones where rows have left.

        A failure between the steps is mended when the items are written again.
        """
        refusals: dict[int, str] = {}
        waiting: dict[str, Items] = {}
        for index, item in enumerate(items):
            reason = _objection(item)
            if reason is None:
                month = month_of(item.mention) if isinstance(item, Tagged) else ""
                waiting.setdefault(key_of(item), []).append((index, item, month))
            else:
                refusals[index] = reason
        if not waiting:
            return _listed(refusals)
        self._unseen = True
        writes, before = self._settle(waiting)
        rows = self._fresh_rows(items, writes) | self._stale_rows(items, waiting, writes)
        self._write_rows(rows, writes, before, refusals)
        self._write_tombstones(writes)
        return _listed(refusals)

    def _settle(self, waiting: dict[str, Items]) -> tuple[dict[str, Write], dict[str, Head]]:
        """Bring the heads to their new states; return these, and the heads that stood before."""
        settled: dict[str, Write] = {}
        heads: dict[str, _FoundHead] = {}
        pending = waiting
        # Most ids are new: the first try says so, and the server contradicts for those that are not.
        for _ in range(_MOST_RACES):
            writes = {
                id: settle(heads[id].head if id in heads else None, items) for id, items in pending.items()
            }
            settled |= writes
            changed = [id for id, write in writes.items() if write.changed]
            operations = [_head_line(self._names.heads, id, writes[id].head, heads.get(id)) for id in changed]
            outcomes = self._client.bulk(operations)
            for id, outcome in zip(changed, outcomes, strict=True):
                if outcome.status in (400, 413):
                    raise FatalError(f"Elasticsearch refuses the head of {id!r}: {outcome.error}")
            lost = [id for id, outcome in zip(changed, outcomes, strict=True) if outcome.status == 409]
            if not lost:
                return settled, {id: found.head for id, found in heads.items() if found.head is not None}
            heads |= self._read_heads(lost)
            pending = {id: waiting[id] for id in lost}
        raise TransientError(f"another process keeps changing {lost[0]!r} and {len(lost) - 1} others")

    def _read_heads(self, ids: Sequence[str]) -> dict[str, _FoundHead]:
        found: dict[str, _FoundHead] = {}
        for some in _cut(ids, _PAGE):
            answer = self._client.ask("POST", f"/{self._names.heads}/_mget", _Heads, {"ids": some})
            for document in answer.docs:
                if document.error is not None:
                    raise TransientError(
                        f"Elasticsearch cannot read a head now: {document.error.get('reason')}"
                    )
                if document.head is not None:
                    found[document.id] = document
        return found

    def _fresh_rows(self, items: Sequence[Item], writes: Mapping[str, Write]) -> dict[str, Hit]:
        return {id: _hit(items[write.row]) for id, write in writes.items() if write.row is not None}

    def _stale_rows(
        self, items: Sequence[Item], waiting: Mapping[str, Items], writes: Mapping[str, Write]
    ) -> dict[str, Hit]:
        """Return the rows of ids whose head had the mention already: for new labels, or after a crash."""
        known = [id for id, write in writes.items() if write.row is None and write.head.state == "indexed"]
        rows: dict[str, Hit] = {}
        for found in self._read_rows([(writes[id].head.months[-1], id) for id in known]):
            head, hit = writes[found.id].head, found.row.hit
            if hit is not None and Tagged(hit.mention, hit.enrichment).version == head.version:
                if found.version < head.revision:
                    rows[found.id] = hit
            elif (index := first_of_version(head.version, waiting[found.id])) is not None:
                rows[found.id] = _hit(items[index])
        return rows

    def _read_rows(self, places: Sequence[tuple[str, str]]) -> Iterator[_FoundRow]:
        for some in _cut(places, _PAGE):
            wanted = [{"_index": self._names.month(month), "_id": id} for month, id in some]
            for document in self._client.ask("POST", "/_mget", _Rows, {"docs": wanted}).docs:
                if document.error is not None and document.error.get("type") != "index_not_found_exception":
                    raise TransientError(
                        f"Elasticsearch cannot read a row now: {document.error.get('reason')}"
                    )
                yield document

    def _row_lines(self, hit: Hit, head: Head) -> bytes:
        row = row_of(hit.mention, labels.apply(hit.enrichment, head.labels), self._taxonomy)
        return self._action(hit.mention.id, head.months[-1], head.revision) + quoted(row)

    def _action(self, id: str, month: str, revision: int) -> bytes:
        where = {
            "_index": self._names.month(month),
            "_id": id,
            "version": revision,
            "version_type": "external",
        }
        return quoted({"index": where})

    def _write_rows(
        self,
        rows: Mapping[str, Hit],
        writes: dict[str, Write],
        before: Mapping[str, Head],
        refusals: dict[int, str],
    ) -> None:
        self._make_months({writes[id].head.months[-1] for id in rows})
        lines = (self._row_lines(hit, writes[id].head) for id, hit in rows.items())
        try:
            outcomes = dict(zip(rows, self._client.bulk(lines), strict=True))
        except TransientError:
            self._months.clear()  # one may have been removed meanwhile
            raise
        # 409: a newer row stands there already.
        refused = {id: outcome for id, outcome in outcomes.items() if outcome.status in (400, 413)}
        if refused:
            self._undo(refused, writes, before, refusals)

    def _undo(
        self,
        refused: Mapping[str, Outcome],
        writes: dict[str, Write],
        before: Mapping[str, Head],
        refusals: dict[int, str],
    ) -> None:
        heads = self._read_heads(list(refused))
        operations = []
        for id, outcome in refused.items():
            write = writes.pop(id)
            index = write.row
            assert index is not None, f"a row that was taken before is refused: {outcome.error}"
            refusals[index] = f"Elasticsearch refuses it: {outcome.error}"
            if id in heads and heads[id].head == write.head:
                operations.append(_head_line(self._names.heads, id, undone(before.get(id), write), heads[id]))
        # 409: another process has gone on from there.
        self._client.bulk(operations)

    def _write_tombstones(self, writes: Mapping[str, Write]) -> None:
        """Put an empty document over each row that no longer stands, so that none written late comes back."""
        left = [
            (id, month, write.head.revision)
            for id, write in writes.items()
            for month in (write.head.months if write.head.state == "deleted" else write.head.months[:-1])
        ]
        self._client.bulk([self._action(*place) + b"{}\n" for place in left])

    def _make_months(self, months: set[str]) -> None:
        """Make indices that this object has not seen, and let them be searched once they can be."""
        for month in months - self._months:
            index = self._names.month(month)
            self._create(index, {})
            aliased = {"actions": [{"add": {"index": index, "alias": self._names.rows}}]}
            self._client.ask("POST", "/_aliases", dict[str, Any], aliased)
            self._months.add(month)

    def _create(self, index: str, body: Mapping[str, Any]) -> None:
        try:
            ready = self._client.ask("PUT", f"/{index}", _Created, body).shards_acknowledged
        except ApiError as error:
            if "resource_already_exists_exception" not in str(error.body):
                raise TransientError(
                    f"Elasticsearch does not make the index {index}: {error.body}"
                ) from error
            health = f"/_cluster/health/{index}"
            # 408 when it takes longer
            self._client.ask("GET", health, dict[str, Any], wait_for_status="yellow", timeout="30s")
            ready = True
        if not ready:
            raise TransientError(f"the index {index} has no running shard: see Elasticsearch's own log")

    # ------------------------------------------------------------------ reading

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 50,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions, newest first; pages of Elasticsearch's are fetched as they are drawn."""
        self._see_own_writes()
        wanted = narrow(query)
        found = self._candidates(wanted, since, until, limit if wanted.exact else None, after)
        if not wanted.exact:
            matches = compile_query(query).matches
            found = (hit for hit in found if matches(Document(hit.mention, hit.enrichment, self._taxonomy)))
        return islice(found, limit)

    def _candidates(
        self,
        wanted: Narrowed,
        since: datetime | None,
        until: datetime | None,
        limit: int | None,
        after: str | None,
    ) -> Iterator[Hit]:
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            body: dict[str, Any] = {
                "query": _within(wanted.dsl, since, until),
                "sort": _NEWEST_FIRST,
                "size": size,
                "track_total_hits": False,
            }
            if after is not None:
                body["search_after"] = _position(after)
            answer = self._search(body, _RowAnswer)
            hits = [found.row.hit for found in answer.hits.hits if found.row.hit is not None]
            yield from hits
            if len(hits) < size:
                return
            after = cursor_of(hits[-1])
            left = None if left is None else left - size

    def count(self, query: Query, since: datetime | None = None, until: datetime | None = None) -> int:
        """Return how many mentions match, of all that any process has written by now."""
        self._refresh()
        wanted = narrow(query)
        if not wanted.exact:
            return sum(1 for _ in self.search(query, since, until, limit=None))
        body = {"query": _within(wanted.dsl, since, until), "size": 0, "track_total_hits": True}
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
        wanted = narrow(query)
        if not wanted.exact:
            return self._counted_histogram(query, interval_seconds, since, until, by)
        self._see_own_writes()
        time = {"date_histogram": {"field": "created", "fixed_interval": f"{interval_seconds}s"}}
        sources: list[dict[str, Any]] = [{"start": time}]
        if by is not None:
            sources.append({"group": {"terms": {"field": _group(by)}}})
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
        wanted = narrow(query)
        _group(field)
        counted: Counter[str] = Counter()
        if not wanted.exact:
            for hit in self.search(query, since, until, limit=None):
                counted.update(self._values(field, hit))
        else:
            self._see_own_writes()
            dsl = _within(wanted.dsl, since, until)
            terms = {"terms": {"field": field, "size": limit, "shard_size": max(limit, _MOST)}}
            answer = self._search(
                {"query": dsl, "size": 0, "track_total_hits": False, "aggs": {"top": terms}}, _Answer
            )
            cells = answer.aggregations.get("top", _Cells())
            if cells.doc_count_error_upper_bound == 0:
                return [(cell.key, cell.doc_count) for cell in cells.buckets]
            # Some month has more values than it tells: count them all.
            for cell in self._cells(dsl, [{"group": {"terms": {"field": field}}}], {}):
                counted[cell.key["group"]] = cell.doc_count
        return sorted(counted.items(), key=lambda value: (-value[1], value[0]))[:limit]

    def _values(self, name: str, hit: Hit) -> list[str]:
        return values_of(_group(name), hit.mention, hit.enrichment, self._taxonomy)

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
        found = self._read_heads([id]).get(id)
        if found is None or found.head is None or found.head.state != "indexed":
            return None
        return next(self._read_rows([(found.head.months[-1], id)])).row.hit

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
            for some in _cut(ids, _PAGE):
                wanted = {"ids": {"values": [id for id in some if id_objection(id) is None]}}
                body = {"query": wanted, "size": _PAGE, "track_total_hits": False}
                for found in self._search(body | pin, _HeadAnswer).hits.hits:
                    if found.head is not None and found.head.state in ("indexed", "deleted"):
                        known[found.id] = found.head.state
        return {source: book for source, book in books.items() if book.indexed or book.deleted}, known

    def ids(self) -> Iterator[tuple[str, bool]]:
        """Yield the ids of all rows, and of all heads that are tombstones: what is there, not what should be."""
        heads = self._names.heads
        with self._moment(f"{self._names.rows},{heads}") as pin:
            dsl = {"bool": {"should": [{"exists": {"field": "created"}}, {"term": {"state": "deleted"}}]}}
            body: dict[str, Any] = {"query": dsl, "size": _MOST, "_source": False, "track_total_hits": False}
            body |= {"sort": ["_shard_doc"], **pin}
            while found := self._search(body, _Answer).hits.hits:
                for place in found:
                    yield place.id, place.index == heads
                body["search_after"] = found[-1].sort

    # ------------------------------------------------------------------ requests

    def _search(self, body: Dsl, answer: type[Any]) -> Any:
        path, options = ("/_search", _PINNED) if "pit" in body else (f"/{self._names.rows}/_search", _OPTIONS)
        try:
            return self._client.ask("POST", path, answer, body, **options)
        except ApiError as error:
            if error.meta.status == 404:
                raise TransientError("Elasticsearch has let go of a long search: begin it again") from error
            raise SettingsError(f"Elasticsearch does not take this query: {error.body}") from error

    def _see_own_writes(self) -> None:
        if self._unseen:
            self._refresh()

    def _refresh(self) -> None:
        self._unseen = False
        try:
            path = f"/{self._names.rows},{self._names.heads}/_refresh"
            answer = self._client.ask("POST", path, _Refreshed, ignore_unavailable="true")
            if answer.shards.failed:
                raise TransientError("Elasticsearch cannot refresh all indices now")
        except BaseException:
            self._unseen = True
            raise

    @contextmanager
    def _moment(self, indices: str) -> Iterator[Dsl]:
        """Hold all that has been written by now as it is, for several searches."""
        self._refresh()
        path = f"/{indices}/_pit"
        moment = self._client.ask("POST", path, _Moment, keep_alive=_KEEP_ALIVE, ignore_unavailable="true")
        try:
            yield {"pit": {"id": moment.id, "keep_alive": _KEEP_ALIVE}}
        finally:
            self._client.ask("DELETE", "/_pit", dict[str, Any], {"id": moment.id})


def _objection(item: Item) -> str | None:
    reason = id_objection(key_of(item))
    if reason is None and isinstance(item, Tagged):
        reason = objection(item)
    if reason is None and isinstance(item, Labelled):
        reason = labels.refusal(item)
    return reason


def _hit(item: Item) -> Hit:
    assert isinstance(item, Tagged)
    return Hit(item.mention, item.enrichment)


def _listed(refusals: Mapping[int, str]) -> list[Refusal]:
    return [Refusal(index, refusals[index]) for index in sorted(refusals)]


def _head_line(index: str, id: str, head: Head, found: _FoundHead | None) -> bytes:
    if found is None:
        return quoted({"create": {"_index": index, "_id": id}}) + quoted(head)
    where = {"_index": index, "_id": id, "if_seq_no": found.number, "if_primary_term": found.term}
    return quoted({"index": where}) + quoted(head)


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


def _group(name: str) -> str:
    if name not in GROUPS:
        raise SettingsError(f"nothing is counted by {name!r}; expected one of: {', '.join(GROUPS)}")
    return name


def _cut(things: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(things)
    while some := list(islice(rest, size)):
        yield some
