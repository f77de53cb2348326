"""One batch of the embedded store: what it changes, and the transaction that changes it.

The outcome does not depend on the order of items, within a batch or between batches: of a mention the highest
version stands, a deletion stands above all, and persons' labels are kept until their mention is there.
"""

from array import array
from collections.abc import Sequence

import apsw
import msgspec
from msgspec import Struct

from hark.core.change import DELETED_VERSION, Deleted, Item, Labelled, Tagged
from hark.core.clock import LATEST, to_ms
from hark.core.errors import RefusedError
from hark.core.mention import source_of
from hark.core.protocols import Hit, Refusal
from hark.core.tokens import tokens
from hark.query.fields import Taxonomy, numbers_of, words_of
from hark.query.sqlite import EVERY, indexed, marks_of
from sinks import labels
from sinks.embedded_schema import (
    AUTHORS,
    END_MS,
    ROLLED,
    SLOT_BITS,
    SLOTS,
    decode_hit,
    encode_hit,
    transaction,
)
from sinks.groups import GROUPS
from sinks.rollups import Changes
from sinks.terms import Terms

_MOST = (1 << 63) - 1
_NUMBERS = ("followers", "priority", *AUTHORS)
_COLUMNS = ("n", "id", "version", "created", "tone", *_NUMBERS, *GROUPS)
_TONES = {"positive": 1, "negative": -1}

_encode_label = msgspec.json.Encoder().encode
_decode_label = msgspec.json.Decoder(Labelled).decode


class Standing(Struct):
    """What the file holds of a mention, as far as a write needs to know."""

    n: int
    version: int
    created: int
    tone: int
    groups: tuple[str, ...]


class _Wanted(Struct):
    """What a batch says of one mention, whatever the order: the highest version, a deletion, labels."""

    tagged: Tagged | None = None
    index: int = -1
    created: int = 0
    data: bytes = b""
    deleted: Deleted | None = None
    labels: list[Labelled] = []


class _Row(Struct):
    row: tuple[int | str | None, ...]
    tokens: tuple[str, str]
    data: bytes


def write(
    db: apsw.Connection, items: Sequence[Item], taxonomy: Taxonomy, terms: Terms
) -> tuple[list[Refusal], bool]:
    """Write `items` in one transaction; return what is refused, and whether anything was erased."""
    wanted, refusals = _gather(items)
    if not wanted:
        return refusals, False
    try:
        with transaction(db, "IMMEDIATE"):
            terms.begin(db)
            batch = _Batch(db, taxonomy, terms)
            ids = tuple(wanted)
            standing, gone, said = batch.standing(ids), batch.gone(ids), batch.labels(ids)
            batch.open_slots({want.created // 1000 for want in wanted.values() if want.tagged is not None})
            for id, want in wanted.items():
                if id in gone:
                    continue
                if want.deleted is not None:
                    batch.delete(want.deleted, standing.get(id))
                    continue
                try:
                    batch.put(id, want, standing.get(id), said.get(id, []))
                except RefusedError as error:
                    refusals.append(Refusal(want.index, str(error)))
            batch.save()
    except BaseException:
        terms.forget()
        raise
    return sorted(refusals, key=lambda refusal: refusal.index), batch.erased


def _gather(items: Sequence[Item]) -> tuple[dict[str, _Wanted], list[Refusal]]:
    wanted: dict[str, _Wanted] = {}
    refusals = []
    for index, item in enumerate(items):
        try:
            if isinstance(item, Tagged):
                data = _accepted(item)
                want = wanted.setdefault(_key(item.mention.id), _Wanted())
                if want.tagged is None or item.version > want.tagged.version:
                    want.tagged, want.index = item, index
                    want.created, want.data = to_ms(item.mention.created_at), data
            elif isinstance(item, Deleted):
                wanted.setdefault(_key(item.id), _Wanted()).deleted = item
            else:
                reason = labels.refusal(item)
                if reason:
                    raise RefusedError(reason)
                wanted.setdefault(_key(item.id), _Wanted()).labels.append(item)
        except RefusedError as error:
            refusals.append(Refusal(index, str(error)))
    return wanted, refusals


def _key(id: str) -> str:
    if "\0" in id:
        raise RefusedError("its id holds a NUL character")
    try:
        id.encode()
    except UnicodeEncodeError:
        raise RefusedError("its id is not Unicode text") from None
    return id


def _accepted(item: Tagged) -> bytes:
    """Return the mention as it will be stored; raises RefusedError for what the file cannot hold."""
    if not 0 <= to_ms(item.mention.created_at) < END_MS:
        raise RefusedError(
            f"created_at {item.mention.created_at.isoformat()}: expected a time from 1970 to {LATEST.year - 1}"
        )
    if not 0 <= item.version < DELETED_VERSION:
        raise RefusedError(f"edit {item.mention.edit}: not a number that orders edits")
    try:
        return encode_hit(Hit(item.mention, item.enrichment))
    except (UnicodeEncodeError, OverflowError, ValueError) as error:
        raise RefusedError(f"cannot be stored: {error}") from error


class _Batch:
    """Gathers the changes of one transaction, then makes them, table by table in the order of rows."""

    def __init__(self, db: apsw.Connection, taxonomy: Taxonomy, terms: Terms) -> None:
        self._db = db
        self._taxonomy = taxonomy
        self._terms = terms
        self._said: set[str] = set()
        self._rollups = Changes()
        self._books: dict[str, list[int]] = {}
        self._slots: dict[int, int] = {}
        self._removed: list[tuple[int]] = []
        self._rows: list[_Row] = []
        self._tombstones: list[tuple[str, int]] = []
        self._labels: list[tuple[str, str, bytes]] = []
        self.erased = False

    def standing(self, ids: tuple[str, ...]) -> dict[str, Standing]:
        """Return those of `ids` that are indexed."""
        rows = self._db.execute(
            f"SELECT m.id, m.n, m.version, m.created, m.tone, {', '.join('m.' + name for name in ROLLED)}"
            " FROM carray(?) c CROSS JOIN mentions m ON m.id = c.value",
            (apsw.carray(ids),),
        )
        return {
            id: Standing(n, version, created, tone, tuple(groups))
            for id, n, version, created, tone, *groups in rows
        }

    def gone(self, ids: tuple[str, ...]) -> set[str]:
        """Return those of `ids` that are deleted."""
        rows = self._db.execute(
            "SELECT d.id FROM carray(?) c CROSS JOIN deleted d ON d.id = c.value", (apsw.carray(ids),)
        )
        return {id for (id,) in rows}

    def labels(self, ids: tuple[str, ...]) -> dict[str, list[Labelled]]:
        """Return what persons said of `ids`."""
        found: dict[str, list[Labelled]] = {}
        for id, label in self._db.execute(
            "SELECT l.id, l.label FROM carray(?) c CROSS JOIN labels l ON l.id = c.value", (apsw.carray(ids),)
        ):
            found.setdefault(id, []).append(_decode_label(label))
        return found

    def open_slots(self, seconds: set[int]) -> None:
        """Find the first free row number of each of `seconds`."""
        if seconds:
            self._slots = {
                second: second << SLOT_BITS if last is None or last >> SLOT_BITS < second else last + 1
                for second, last in self._db.execute(
                    "SELECT c.value, (SELECT max(n) FROM mentions WHERE n < (c.value + 1) << ?) FROM carray(?) c",
                    (SLOT_BITS, apsw.carray(array("q", seconds))),
                )
            }

    def delete(self, item: Deleted, old: Standing | None) -> None:
        """Leave a tombstone, and nothing else."""
        if old is not None:
            self._remove(old)
            self._book(item.id, indexed=-1)
            self.erased = True
        self._tombstones.append((item.id, to_ms(item.at)))
        self._book(item.id, deleted=1)

    def put(self, id: str, want: _Wanted, old: Standing | None, said: list[Labelled]) -> None:
        """Write the mention where its version is higher or a label is new; keep labels in any case."""
        chosen = labels.standing([*said, *want.labels]) if said or want.labels else []
        news = [label for label in chosen if label not in said]
        self._labels += [(id, label.tag, _encode_label(label)) for label in news]
        item, created, data = want.tagged, want.created, want.data
        if item is None or (old is not None and item.version <= old.version):
            if old is None or not news:
                return
            item, created = self._stored(old), old.created
        if chosen:
            item = msgspec.structs.replace(item, enrichment=labels.apply(item.enrichment, chosen))
            data = encode_hit(Hit(item.mention, item.enrichment))
        if old is not None:
            n = old.n if old.n >> SLOT_BITS == created // 1000 else self._slot(created // 1000)
            self._remove(old)
        else:
            n = self._slot(created // 1000)
        self._book(id, indexed=old is None, newest=to_ms(item.mention.collected_at))
        self._add(n, item, created, data)

    def save(self) -> None:
        """Make the changes."""
        db = self._db
        unsaid = self._unsaid()
        if self._removed:
            self._removed.sort()
            db.executemany(
                "INSERT INTO search(search, rowid, tokens, title)"
                " SELECT 'delete', n, tokens, title FROM documents WHERE n = ?",
                self._removed,
            )
            db.executemany("DELETE FROM documents WHERE n = ?", self._removed)
            db.executemany("DELETE FROM mentions WHERE n = ?", self._removed)
        # FTS5 gathers ascending rows in memory; a row out of order makes it write what it has.
        rows = sorted(self._rows, key=lambda row: row.row[0])  # type: ignore[arg-type,return-value]
        marks = ", ".join("?" * len(_COLUMNS))
        db.executemany(
            f"INSERT INTO mentions ({', '.join(_COLUMNS)}) VALUES ({marks})", [row.row for row in rows]
        )
        db.executemany(
            "INSERT INTO documents VALUES (?, ?, ?, ?)", [(row.row[0], *row.tokens, row.data) for row in rows]
        )
        db.executemany(
            "INSERT INTO search(rowid, tokens, title) VALUES (?, ?, ?)",
            [(row.row[0], *row.tokens) for row in rows],
        )
        self._terms.save(db, self._said, unsaid)
        self._rollups.save(db)
        db.executemany(
            "INSERT INTO books VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET indexed = indexed + excluded.indexed,"
            " deleted = deleted + excluded.deleted, newest = max(newest, excluded.newest)",
            [(source, *counts) for source, counts in self._books.items()],
        )
        db.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", self._labels)
        db.executemany("INSERT INTO deleted VALUES (?, ?)", self._tombstones)
        db.executemany("DELETE FROM labels WHERE id = ?", [(id,) for id, _ in self._tombstones])

    def _unsaid(self) -> set[str]:
        """Return the words of texts that are about to be removed."""
        unsaid: set[str] = set()
        for (n,) in self._removed:
            ((tokens, title),) = self._db.execute("SELECT tokens, title FROM documents WHERE n = ?", (n,))
            unsaid.update(title.split())
            unsaid.update(token for token in tokens.split() if token[0] != EVERY)
        return unsaid

    def _stored(self, old: Standing) -> Tagged:
        ((data,),) = self._db.execute("SELECT data FROM documents WHERE n = ?", (old.n,))
        hit = decode_hit(data)
        return Tagged(hit.mention, hit.enrichment)

    def _remove(self, old: Standing) -> None:
        self._removed.append((old.n,))
        self._rollups.add(-1, old.created, old.tone, old.groups)

    def _add(self, n: int, item: Tagged, created: int, data: bytes) -> None:
        mention, enrichment = item.mention, item.enrichment
        title, text = tokens(mention.title) if mention.title else [], tokens(mention.text)
        words = words_of(mention, enrichment, self._taxonomy, title + text)
        self._said.update(title, text)
        groups = dict.fromkeys(GROUPS, "")
        for word in words:
            at = word.index("=")
            name = word[:at]
            if name in groups:
                before = groups[name]
                if not before:
                    groups[name] = word[at + 1 :]
                elif name != "site":  # it comes first, then those above it, which are not listed
                    groups[name] = before + " " + word[at + 1 :]
        tone = _TONES.get(groups["sentiment"], 0)
        numbers = numbers_of(mention, enrichment)
        row = (
            n,
            mention.id,
            item.version,
            created,
            tone,
            *[_clamped(numbers.get(name)) for name in _NUMBERS],
            *groups.values(),
        )
        self._rollups.add(1, created, tone, tuple([groups[name] for name in ROLLED]))
        self._rows.append(_Row(row, indexed(title, text, words, marks_of(mention.id, numbers)), data))

    def _slot(self, second: int) -> int:
        """Return the next free row number of a second."""
        n = self._slots[second]
        if n >> SLOT_BITS != second:
            raise RefusedError(f"more than {SLOTS:,} mentions were created in its second")
        self._slots[second] = n + 1
        return n

    def _book(self, id: str, indexed: int = 0, deleted: int = 0, newest: int = 0) -> None:
        counts = self._books.setdefault(source_of(id), [0, 0, 0])
        counts[0] += indexed
        counts[1] += deleted
        counts[2] = max(counts[2], newest)


def _clamped(number: int | None) -> int | None:
    return number if number is None or -_MOST <= number <= _MOST else max(-_MOST, min(_MOST, number))
