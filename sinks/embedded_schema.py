r"""The embedded store's file: its tables, its connections, its errors.

mentions    what is counted and compared, one narrow row a mention; groups as filter words' values, spaced
documents   what is shown (the mention and its enrichment, msgpack) and the indexed tokens, as indexed
search      FTS5 over the tokens of documents; split at white space alone, nothing folded: Hark's tokens are final
terms       the words of the texts, once each
rollups     counts a quarter of an hour, by each group
books       counts a source, and when its newest mention was collected
labels      what persons said, kept for mentions that are not here yet too
deleted     tombstones: ids and nothing else

The row number is the second of creation and a number within it, so that the index yields the newest first,
a range of time is a range of rows, and a histogram needs no look at the rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import apsw
import msgspec

from hark.core.clock import LATEST, to_ms
from hark.core.errors import FatalError, HarkError, SettingsError, TransientError
from hark.core.mention import source_of
from hark.core.protocols import Hit
from hark.query.fields import numbers_of
from hark.query.sqlite import marks_of
from sinks.groups import GROUPS

SLOT_BITS = 24
"""Mentions of one second that the file can hold, as a power of two."""
SLOTS = 1 << SLOT_BITS
END_MS = to_ms(LATEST)
"""Times of mentions are below this."""
QUARTER_MS = 900_000
ROLLED = GROUPS[:5]
"""Those groups that are counted in `rollups`; all of them are columns of `mentions`."""

AUTHORS = ("reach", "influence", "automation")
"""Numbers that enrichment finds of authors: columns of `mentions`, NULL where unknown."""

BUSY_MS = 20_000
"""How long a connection waits for another process's write."""

encode_hit = msgspec.msgpack.Encoder().encode
decode_hit = msgspec.msgpack.Decoder(Hit).decode

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".replace("'", "''").replace('"', '""')


def _first(db: apsw.Connection) -> None:
    db.execute(f"""
    CREATE TABLE mentions (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        followers INTEGER,
        priority INTEGER,
        tone INTEGER NOT NULL,
        {", ".join(f"{name} TEXT NOT NULL" for name in GROUPS[:9])}
    );
    CREATE TABLE documents (
        n INTEGER PRIMARY KEY, tokens TEXT NOT NULL, title TEXT NOT NULL, data BLOB NOT NULL
    );
    CREATE VIRTUAL TABLE search USING fts5(
        tokens, title, content='documents', content_rowid='n', columnsize=0,
        tokenize="ascii tokenchars '{_PUNCTUATION}'"
    );
    INSERT INTO search(search, rank) VALUES ('secure-delete', 1);
    CREATE TABLE terms (term TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE rollups (
        field TEXT NOT NULL, value TEXT NOT NULL, start INTEGER NOT NULL,
        count INTEGER NOT NULL, positive INTEGER NOT NULL, negative INTEGER NOT NULL,
        PRIMARY KEY (field, value, start)
    ) WITHOUT ROWID;
    CREATE TABLE books (
        source TEXT PRIMARY KEY, indexed INTEGER NOT NULL, deleted INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE labels (
        id TEXT NOT NULL, tag TEXT NOT NULL, label BLOB NOT NULL, PRIMARY KEY (id, tag)
    ) WITHOUT ROWID;
    CREATE TABLE deleted (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    """)


def _more_groups(db: apsw.Connection) -> None:
    """Let mentions be counted by the groups after the first nine; their values stand among the filter words."""
    added = GROUPS[9:14]
    for name in added:
        db.execute(f"ALTER TABLE mentions ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")

    def values(*arguments: "apsw.SQLiteValue") -> str:
        tokens, name = map(str, arguments)
        begin = f"={name}="
        return " ".join(word[len(begin) :] for word in tokens.split() if word.startswith(begin))

    db.create_scalar_function("spoken", values, 2)
    columns = ", ".join(f"{name} = spoken(d.tokens, '{name}')" for name in added)
    db.execute(f"UPDATE mentions SET {columns} FROM documents d WHERE d.n = mentions.n")
    db.create_scalar_function("spoken", None, 2)


def _authors(db: apsw.Connection) -> None:
    """Let mentions be found by what enrichment says of their authors; those that are there have none of it."""
    for name in AUTHORS:
        db.execute(f"ALTER TABLE mentions ADD COLUMN {name} INTEGER")


def _marks(db: apsw.Connection) -> None:
    """Add the marks of samples and great numbers to the index, and to the books what was collected last."""
    db.execute("ALTER TABLE books ADD COLUMN newest INTEGER NOT NULL DEFAULT 0")
    newest: dict[str, int] = {}

    def marked(*arguments: "apsw.SQLiteValue") -> str:
        hit = decode_hit(cast(bytes, arguments[0]))
        source = source_of(hit.mention.id)
        newest[source] = max(newest.get(source, 0), to_ms(hit.mention.collected_at))
        return " ".join(["", *marks_of(hit.mention.id, numbers_of(hit.mention, hit.enrichment))])

    db.create_scalar_function("marked", marked, 1)
    db.execute("UPDATE documents SET tokens = tokens || marked(data)")
    db.create_scalar_function("marked", None, 1)
    db.execute("INSERT INTO search(search) VALUES ('rebuild')")
    db.executemany("UPDATE books SET newest = ?2 WHERE source = ?1", list(newest.items()))


_MIGRATIONS: tuple[Callable[[apsw.Connection], None], ...] = (_first, _more_groups, _authors, _marks)
"""Each brings the file from the version before it (its place here) to the next."""


def connect(path: Path) -> apsw.Connection:
    """Open the file, made and brought up to date where needed.

    Raises SettingsError for a file that is not a store or is of a newer Hark, TransientError while it is busy.
    """
    with translated(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = apsw.Connection(str(path))
            _prepare(db, path)
        except OSError as error:
            raise SettingsError(f"{path.parent}: cannot make the data folder: {error.strerror}") from error
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as error:
            raise SettingsError(f"{path}: cannot open the store for writing: {error}") from error
        except apsw.NotADBError:
            raise SettingsError(
                f"{path}: not a store of Hark; move it away, or name another --data"
            ) from None
    return db


@contextmanager
def transaction(db: apsw.Connection, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
    """Do all of the block or nothing of it; what is read in it is of one instant."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let SQLite's errors leave as Hark's."""
    try:
        yield
    except HarkError:
        raise
    except apsw.FullError as error:
        raise TransientError(f"{path}: the disk is full, nothing of this was written: {error}", 10) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise TransientError(f"{path}: another process holds the store: {error}", 1) from error
    except (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError) as error:
        raise FatalError(f"{path}: the store cannot be read or written: {error}") from error


def _prepare(db: apsw.Connection, path: Path) -> None:
    db.set_busy_timeout(BUSY_MS)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "cache_size=-65536",
        "temp_store=MEMORY",
        "wal_autocheckpoint=8000",  # 32 MB: checkpoints wait for the disk, so let them be few
        "journal_size_limit=67108864",
    ):
        db.pragma(*pragma.split("="))
    if _version(db, path) == len(_MIGRATIONS):
        return
    with transaction(db, "IMMEDIATE"):  # another process may have done it meanwhile
        for migrate in _MIGRATIONS[_version(db, path) :]:
            migrate(db)
        db.pragma("user_version", len(_MIGRATIONS))


def _version(db: apsw.Connection, path: Path) -> int:
    version = int(db.pragma("user_version"))
    if version > len(_MIGRATIONS):
        raise SettingsError(
            f"{path}: written by a newer Hark (schema {version}, this one knows {len(_MIGRATIONS)}): update Hark"
        )
    return version
