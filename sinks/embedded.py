"""The embedded store: one SQLite file, written by one process and read by many at the same time.

Rows, full-text index and rollups change in one transaction a batch; every read is of one instant. A write has
returned when it is on the disk. What SQLite cannot say of a query, the match in memory decides row by row.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import cast

import apsw
import msgspec
from msgspec import Struct

from hark.core.change import Deleted, Item, Labelled
from hark.core.clock import from_ms, monotonic, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Books, Bucket, Hit, Refusal
from hark.core.tree import Query
from hark.query import patience, sqlite
from hark.query.fields import Taxonomy, value_of
from hark.query.match import Document, Matcher
from hark.query.sampling import LEAST_LEVEL, level, place, sample_position
from sinks import embedded_write, rollups
from sinks.embedded_schema import (
    BUSY_MS,
    END_MS,
    QUARTER_MS,
    ROLLED,
    SLOT_BITS,
    connect,
    decode_hit,
    transaction,
    translated,
)
from sinks.groups import check_group, check_interval
from sinks.terms import Terms, expand

_MOST_IDLE = 4
_decode_label = msgspec.json.Decoder(Labelled).decode
_IDS_AT_ONCE = 10_000
_STEPS_BETWEEN_LOOKS = 2_000
"""Of SQLite's machine, between two looks at the clock: where the match decides, some hundred rows."""


def open_store(address: str, data_dir: Path, taxonomy: Taxonomy, generation: int = 0) -> "EmbeddedStore":
    """Open the store of `data_dir`; the address is "embedded" alone."""
    if address != "embedded":
        raise SettingsError(f'store: {address!r} is not an address; expected "embedded" alone')
    return EmbeddedStore(_file(data_dir, generation), taxonomy)


def drop_store(address: str, data_dir: Path, generation: int) -> None:
    """Remove the file of one generation; whoever still has it open keeps it until closing."""
    del address
    file = _file(data_dir, generation)
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)


def _file(data_dir: Path, generation: int) -> Path:
    return data_dir / (f"store-g{generation}.db" if generation else "store.db")


class _Selection(Struct, frozen=True):
    """FROM and WHERE for what a query finds in a range of time: rows are `m`, documents `d` where asked for."""

    sql: str
    parameters: tuple[str | int, ...]
    row: str
    """The row's number; where it leads the way to the rows, so that it can order them."""


class EmbeddedStore:
    """A Store (see hark.core.protocols) in the file `path`; may be used by several threads."""

    def __init__(self, path: Path, taxonomy: Taxonomy) -> None:
        self._path = path
        self._taxonomy = taxonomy
        self._terms = Terms()
        self._writing = threading.Lock()
        self._writer: apsw.Connection | None = connect(path)
        self._idle: list[apsw.Connection] = []
        self._closed = False
        self._unforgotten = False
        """Whether the write-ahead log may still hold what was deleted."""

    def write(self, items: Sequence[Item], records: Sequence[bytes] = ()) -> list[Refusal]:
        """Write all items in one transaction; see Store.write. Rows have a shorter form than `records`."""
        with self._writing, translated(self._path):
            if self._writer is None:
                raise ValueError("the store is closed")
            refusals, erased = embedded_write.write(self._writer, items, self._taxonomy, self._terms)
            if erased or self._unforgotten:
                self._unforgotten = not _forget(self._writer)
        return refusals

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 50,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions, newest first; the whole iteration sees one instant."""
        return islice(self._newest(query, _range(since, until), after), limit)

    def sample(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions in the order of samples; see Store.sample."""
        last = (-1, "") if after is None else sample_position(after)
        return islice(self._shuffled(query, _range(since, until), last), limit)

    def as_of(self) -> datetime | None:
        """Return when the newest mention was collected; what was written can be found at once."""
        with self._reading() as db:
            ((newest,),) = db.execute("SELECT max(newest) FROM books")
            return from_ms(newest) if newest else None

    def terms(self, pattern: str, limit: int) -> Sequence[str] | None:
        """Return the words of the texts that fit a pattern, None where they are more than `limit`."""
        with self._reading() as db:
            return expand(db, pattern, limit)

    def count(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        level: int = 0,
    ) -> int:
        """Return how many mentions match, exactly; see Store.count."""
        band = sqlite.ahead_of(level)
        with self._reading() as db:
            total = 0
            whole = rollups.single(query) if band is None else None
            for part, cell in _parts(whole, _range(since, until)):
                if cell is not None:
                    total += rollups.total(db, cell, *part)
                else:
                    found = self._selection(db, query, part, band=band)
                    ((count,),) = db.execute(f"SELECT count(*) {found.sql}", found.parameters)
                    total += count
            return total

    def histogram(
        self,
        query: Query,
        interval_seconds: int,
        since: datetime,
        until: datetime,
        by: str | None = None,
    ) -> list[Bucket]:
        """Return counts per interval; see Store.histogram."""
        check_group(by)
        check_interval(interval_seconds)
        interval = interval_seconds * 1000
        cell = _cell(query, by) if interval % QUARTER_MS == 0 else None
        sums: dict[tuple[int, str | None], list[int]] = {}
        with self._reading() as db:
            for part, found in _parts(cell, _range(since, until)):
                if found is not None:
                    rows = rollups.series(db, found, interval, *part)
                else:
                    rows = self._series(db, query, interval, part, by)
                for start, values, *counts in rows:
                    for group in [None] if by is None else values.split():
                        before = sums.setdefault((start, group), [0, 0, 0])
                        sums[start, group] = [a + b for a, b in zip(before, counts, strict=True)]
        buckets = [Bucket(start, _plain(group), *counts) for (start, group), counts in sums.items()]
        return sorted(buckets, key=lambda bucket: (bucket.start, bucket.group or ""))

    def top(
        self,
        query: Query,
        field: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[tuple[str, int]]:
        """Return the most frequent values of `field`, ties by value; see Store.top."""
        check_group(field)
        counts: Counter[str] = Counter()
        with self._reading() as db:
            for part, cell in _parts(_cell(query, field), _range(since, until)):
                if cell is not None:
                    rows: Iterable[tuple[str, int]] = rollups.values(db, field, *part)
                else:
                    found = self._selection(db, query, part, rows=True)
                    rows = db.execute(f"SELECT m.{field}, count(*) {found.sql} GROUP BY 1", found.parameters)
                for values, count in rows:
                    for value in values.split():
                        counts[value] += count
        ranked = sorted(
            ((_plain(v) or "", n) for v, n in counts.items()), key=lambda item: (-item[1], item[0])
        )
        return ranked[:limit]

    def get(self, id: str) -> Hit | None:
        """Return one mention, or None when it is unknown or deleted."""
        if not _possible(id):
            return None
        with self._reading() as db:
            rows = db.execute(
                "SELECT d.data FROM mentions m JOIN documents d ON d.n = m.n WHERE m.id = ?", (id,)
            )
            return next((decode_hit(cast(bytes, data)) for (data,) in rows.fetchall()), None)

    def many(self, ids: Sequence[str]) -> dict[str, Hit]:
        """Return those of `ids` that are indexed."""
        wanted = tuple(filter(_possible, ids))
        if not wanted:
            return {}
        with self._reading() as db:
            rows = db.execute(
                "SELECT m.id, d.data FROM carray(?) c CROSS JOIN mentions m ON m.id = c.value"
                " JOIN documents d ON d.n = m.n",
                (apsw.carray(wanted),),
            )
            return {id: decode_hit(cast(bytes, data)) for id, data in rows}

    def history(self, after: str | None = None, limit: int = 1_000) -> tuple[list[Hit], str | None]:
        """Return a page of mentions in the order of rows, which is that of their seconds; see Store.history."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT n, data FROM documents WHERE n > ? ORDER BY n LIMIT ?", (int(after or -1), limit)
            ).fetchall()
        hits = [decode_hit(cast(bytes, data)) for _, data in rows]
        return hits, str(rows[-1][0]) if rows else None

    def remarks(self) -> Iterator[Labelled | Deleted]:
        """Yield all labels, and all tombstones."""
        with self._reading() as db:
            for (label,) in db.execute("SELECT label FROM labels"):
                yield _decode_label(cast(bytes, label))
            for id, at in db.execute("SELECT id, at FROM deleted"):
                yield Deleted(id, "deleted", from_ms(at))

    def account(self, ids: Iterable[str]) -> tuple[dict[str, Books], dict[str, str]]:
        """Return the books and what is known of `ids`, both of the instant before the first id is drawn."""
        known: dict[str, str] = {}
        with self._reading() as db:
            books = {
                source: Books(*counts)
                for source, *counts in db.execute("SELECT source, indexed, deleted FROM books")
            }
            drawn = filter(_possible, ids)
            while some := tuple(islice(drawn, _IDS_AT_ONCE)):
                for table, word in (("mentions", "indexed"), ("deleted", "deleted")):
                    sql = f"SELECT t.id FROM carray(?) c CROSS JOIN {table} t ON t.id = c.value"
                    known.update((id, word) for (id,) in db.execute(sql, (apsw.carray(some),)))
        return books, known

    def ids(self) -> Iterator[tuple[str, bool]]:
        """Yield every id held, with True where it is a deletion's tombstone; all of one instant."""
        with self._reading() as db:
            for table, gone in (("mentions", False), ("deleted", True)):
                for (id,) in db.execute(f"SELECT id FROM {table}"):
                    yield id, gone

    def close(self) -> None:
        """Close the file; what was erased is gone from its write-ahead log too."""
        with self._writing, translated(self._path):
            self._closed = True
            if self._writer is not None:
                if self._unforgotten:
                    _forget(self._writer)
                self._writer.close()
                self._writer = None
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """Lend a connection on which all reads are of one instant."""
        with translated(self._path):
            if self._closed:
                raise ValueError("the store is closed")
            until = patience.deadline()
            patience.check(until)
            try:
                db = self._idle.pop()
            except IndexError:
                db = connect(self._path)
            if until is not None:
                db.set_progress_handler(lambda: monotonic() > until, _STEPS_BETWEEN_LOOKS)
            try:
                with transaction(db, "DEFERRED"):
                    yield db
            except apsw.InterruptError:
                raise patience.TooSlowError from None
            finally:
                db.set_progress_handler(None)
                # A statement left half-way, as by a reader that had enough, holds its instant.
                fresh = db.txn_state() == apsw.SQLITE_TXN_NONE
                if fresh and not self._closed and len(self._idle) < _MOST_IDLE:
                    self._idle.append(db)
                else:
                    db.close()

    def _selection(
        self,
        db: apsw.Connection,
        query: Query,
        part: tuple[int, int],
        rows: bool = False,
        band: str | None = None,
    ) -> _Selection:
        """Say in SQL what `query` finds within `part`; with the mentions' rows `m` where `rows` asks for them.

        `band` is an expression for the index: only what it finds too.
        Where the plan is not exact, the connection's function `decided` is the match in memory.
        """
        plan = sqlite.plan(query, partial(expand, db, limit=sqlite.MOST_TERMS))
        since, until = max(plan.since, part[0]), min(plan.until, part[1])
        match = sqlite.both(band, plan.match)
        row = "m.n" if match is None else "search.rowid"
        where = [f"{row} BETWEEN ? AND ?"]
        parameters: list[str | int] = [since // 1000 << SLOT_BITS, ((until - 1) // 1000 + 1 << SLOT_BITS) - 1]
        if match is not None:
            where.insert(0, "search MATCH ?")
            parameters.insert(0, match)
        if since % 1000 or until % 1000:
            # Only rows of the first and the last second need a look at their milliseconds.
            where.append(
                f"({row} BETWEEN ? AND ?"
                f" OR (SELECT e.created >= ? AND e.created < ? FROM mentions e WHERE e.n = {row}))"
            )
            inner = (since - 1) // 1000 + 1 << SLOT_BITS, (until // 1000 << SLOT_BITS) - 1
            parameters += [*inner, since, until]
        where += plan.where
        parameters += plan.parameters
        if not plan.exact:
            where.append(f"decided((SELECT d.data FROM documents d WHERE d.n = {row}))")
            db.create_scalar_function("decided", partial(_decided, Matcher(query), self._taxonomy), 1)
        if match is None:
            table = "mentions m"
        else:
            table = "search" + (" CROSS JOIN mentions m ON m.n = search.rowid" if rows or plan.where else "")
        return _Selection(f"FROM {table} WHERE {' AND '.join(where)}", tuple(parameters), row)

    def _newest(self, query: Query, part: tuple[int, int], after: str | None) -> Iterator[Hit]:
        last: tuple[int, str] | None = None
        if after is not None:
            created, id = _cursor(after)
            last, part = (created, id), (part[0], min(part[1], max(0, created + 1)))
        with self._reading() as db:
            found = self._selection(db, query, part, rows=True)
            sql = f"SELECT m.n, m.created, m.id {found.sql} ORDER BY {found.row} DESC"
            with closing(db.execute(sql, found.parameters)) as rows:
                # Rows of one second are numbered as they came: these few are put in order here.
                for _, group in groupby(rows, key=lambda row: row[0] >> SLOT_BITS):
                    for place, n in sorted((((created, id), n) for n, created, id in group), reverse=True):
                        if last is None or place < last:
                            ((data,),) = db.execute("SELECT data FROM documents WHERE n = ?", (n,))
                            yield decode_hit(data)

    def _shuffled(self, query: Query, part: tuple[int, int], last: tuple[int, str]) -> Iterator[Hit]:
        with self._reading() as db:
            for band in sqlite.sample_bands():
                found = self._selection(db, query, part, rows=True, band=band)
                places = [
                    ((place(id), id), n)
                    for id, n in db.execute(f"SELECT m.id, m.n {found.sql}", found.parameters)
                ]
                places.sort()
                for at, n in places:
                    if at > last and (band is not None or level(at[0]) < LEAST_LEVEL):
                        ((data,),) = db.execute("SELECT data FROM documents WHERE n = ?", (n,))
                        yield decode_hit(cast(bytes, data))

    def _series(
        self, db: apsw.Connection, query: Query, interval: int, part: tuple[int, int], by: str | None
    ) -> Iterator[tuple[int, str, int, int, int]]:
        found = self._selection(db, query, part, rows=True)
        return db.execute(
            f"SELECT (m.n >> {SLOT_BITS}) * 1000 / {interval} * {interval}, {f'm.{by}' if by else 'NULL'},"
            f" count(*), sum(m.tone > 0), sum(m.tone < 0) {found.sql} GROUP BY 1, 2",
            found.parameters,
        )


def _range(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return the range in milliseconds, within what the file can hold."""
    begin = 0 if since is None else max(0, to_ms(since))
    return begin, END_MS if until is None else max(begin, min(END_MS, to_ms(until)))


def _parts(
    cell: tuple[str, str] | None, part: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], tuple[str, str] | None]]:
    """Divide a range into what rollup cells answer (with the cell) and what the rows must (with None)."""
    since, until = part
    whole = rollups.aligned(since, until) if cell is not None else None
    if whole is None:
        whole = (since, since)
    pieces = (((since, whole[0]), None), (whole, cell), ((whole[1], until), None))
    return ((piece, source) for piece, source in pieces if piece[0] < piece[1])


def _cell(query: Query, by: str | None) -> tuple[str, str] | None:
    """Return the rollup cells that count `query` by a field, or None where only the rows can."""
    single = rollups.single(query)
    if by is None:
        return single
    # Cells count one field at a time: grouping what one finds by another needs the rows.
    return (by, "") if single == rollups.EVERYTHING and by in ROLLED else None


def _decided(matcher: Matcher, taxonomy: Taxonomy, data: "apsw.SQLiteValue") -> bool:
    hit = decode_hit(cast(bytes, data))
    return matcher.matches(Document(hit.mention, hit.enrichment, taxonomy))


def _forget(db: apsw.Connection) -> bool:
    """Take the deletion from the write-ahead log into the file, and empty the log; False while readers hinder it."""
    db.set_busy_timeout(0)
    try:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    finally:
        db.set_busy_timeout(BUSY_MS)
    return True


def _possible(id: str) -> bool:
    """Say whether an id can be held at all: NUL ends a string in C, and half a surrogate pair is no text."""
    return "\0" not in id and id == id.encode("utf-8", "ignore").decode()


def _cursor(after: str) -> tuple[int, str]:
    created, comma, id = after.partition(",")
    if not comma or not created.removeprefix("-").isascii() or not created.removeprefix("-").isdigit():
        raise SettingsError(f"{after!r} is not a cursor of a page; expected MILLISECONDS,ID")
    return int(created), id


def _plain(value: str | None) -> str | None:
    return value if value is None or "%" not in value else value_of("=" + value)
