"""The state database, through SQLAlchemy: small, transactional, shared by all roles."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from hark.core.clock import Clock, from_ms, now, to_ms
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.mention import source_of
from hark.core.protocols import Batch, Gap
from hark.state.tables import (
    gaps,
    ledger_days,
    ledger_ids,
    ledger_offsets,
    ledger_rejected,
    log_losses,
    sources,
)

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
NEWEST_REVISION = max(path.name[:4] for path in _VERSIONS.glob("[0-9]*.py"))
_CHUNK = 500  # ids in one IN (…): below the number of variables that any SQLite accepts


class SourceState(Struct):
    """The condition of one source, as its collector last saved it. Times in ms UTC, or None."""

    name: str
    cursor: str | None
    alive_ms: int | None
    newest_ms: int | None
    published: int
    unmatched: int
    month: str
    reads: int
    note: str
    error: str


class Loss(Struct, frozen=True):
    """Records from offset `begin` to before `end` that the log removed before `reader` had come to them."""

    topic: str
    partition: int
    reader: str
    begin: int
    end: int

    @property
    def records(self) -> int:
        """How many there were."""
        return self.end - self.begin


class NoticedLoss(Loss, frozen=True, kw_only=True):
    """A loss, when it was noticed, and whether somebody has taken note of it."""

    noticed: datetime
    written_off: bool


def open_state(address: str, data: Path) -> "State":
    """Open "embedded" (SQLite in `data`) or "postgresql://…", and bring its tables up to date.

    Raises SettingsError for an address that cannot be, TransientError while the server is away.
    """
    if address == "embedded":
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"data folder {data}: {error.strerror}") from error
        url = sa.URL.create("sqlite", database=str(data / "state.db"))
    elif address.startswith("postgresql://"):
        if not find_spec("psycopg"):
            raise SettingsError(
                "state is in PostgreSQL: install its client with `pip install 'hark[postgres]'`"
            )
        try:
            url = sa.make_url(address).set(drivername="postgresql+psycopg")
        except sa.exc.ArgumentError as error:
            raise SettingsError("state: expected postgresql://user:password@host/database") from error
    else:
        scheme = address.partition(":")[0]
        raise SettingsError(f'state: expected "embedded" or "postgresql://…", found {scheme!r}')
    engine = sa.create_engine(url, pool_pre_ping=True)
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_transaction)
    with _translated(url):
        _migrate(engine)
    return State(engine, url)


class State:
    """Cursors, the sources' condition, gaps, and the ledger's register. Safe to share between threads.

    Every method is one transaction; it raises TransientError while the database is away.
    """

    def __init__(self, engine: sa.Engine, url: sa.URL, clock: Clock = now) -> None:
        self._engine = engine
        self._url = url
        self._clock = clock
        self._insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert

    def cursor(self, source: str) -> str | None:
        """Return the cursor saved last, None for a source that never saved one."""
        with self.read() as connection:
            return connection.scalar(sa.select(sources.c.cursor).where(sources.c.name == source))

    def save_batch(
        self, source: str, batch: Batch, published: int, unmatched: int, newest_ms: int | None
    ) -> None:
        """Save the cursor after `batch`, whose changes are durable in the log, and what is to be told of it."""
        moment = self._clock()
        month = moment.strftime("%Y-%m")
        statement = self._insert(sources).values(
            name=source,
            cursor=batch.cursor,
            alive_ms=to_ms(moment),
            newest_ms=newest_ms,
            published=published,
            unmatched=unmatched,
            month=month,
            reads=batch.reads,
            note=batch.note,
            error="",
        )
        new = statement.excluded
        same_month = sources.c.month == month
        statement = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "cursor": new.cursor,
                "alive_ms": new.alive_ms,
                "newest_ms": sa.func.coalesce(new.newest_ms, sources.c.newest_ms),
                "published": sources.c.published + new.published,
                "unmatched": sources.c.unmatched + new.unmatched,
                "month": month,
                "reads": sa.case((same_month, sources.c.reads + new.reads), else_=new.reads),
                "note": new.note,
                "error": "",
            },
        )
        with self.begin() as connection:
            connection.execute(statement)
            for gap in batch.gaps:
                _save_gap(connection, source, gap)

    def save_error(self, source: str, error: str) -> None:
        """Say that `source` is not working and why; the next saved batch clears it."""
        statement = self._insert(sources).values(name=source, error=error)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_={"error": error})
        with self.begin() as connection:
            connection.execute(statement)

    def source_states(self) -> list[SourceState]:
        """Return the condition of every source that ever ran here, by name."""
        with self.read() as connection:
            rows = connection.execute(sa.select(sources).order_by(sources.c.name))
            return [SourceState(**row) for row in rows.mappings()]

    def gaps(self, source: str | None = None) -> list[tuple[str, Gap]]:
        """Return (source, gap) of one or all sources, oldest first."""
        statement = sa.select(gaps).order_by(gaps.c.begin_ms)
        if source is not None:
            statement = statement.where(gaps.c.source == source)
        with self.read() as connection:
            return [
                (row.source, Gap(from_ms(row.begin_ms), from_ms(row.end_ms), row.why, row.closed))
                for row in connection.execute(statement)
            ]

    def ledger_offsets(self, topic: str) -> dict[int, int]:
        """Return, for each partition, the offset up to which the register has counted."""
        with self.read() as connection:
            return _offsets(connection, topic)

    def register(
        self,
        topic: str,
        before: Mapping[int, int],
        after: Mapping[int, int],
        ids: Sequence[str],
        rejected: bool,
        lost: Sequence[Loss] = (),
    ) -> bool:
        """Add `ids`, read from offsets `before` to `after`, to the register; each id counts once, for ever.

        `lost` are the offsets among these whose records were gone. Returns False, having changed nothing, when another process has moved the offsets meanwhile.
        """
        day = self._clock().strftime("%Y-%m-%d")
        with self.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE ledger_offsets IN EXCLUSIVE MODE"))
            standing = _offsets(connection, topic)
            if any(standing.get(partition, 0) != before.get(partition, 0) for partition in after):
                return False
            distinct = list(dict.fromkeys(map(storable, ids)))
            fresh = self._missing(connection, ledger_ids, distinct)
            if fresh:
                connection.execute(sa.insert(ledger_ids), [{"id": id} for id in fresh])
            if rejected and (fresh_rejected := self._missing(connection, ledger_rejected, distinct)):
                connection.execute(sa.insert(ledger_rejected), [{"id": id} for id in fresh_rejected])
            for source, number in Counter(map(source_of, fresh)).items():
                total = self._insert(ledger_days).values(source=source, day=day, collected=number)
                connection.execute(
                    total.on_conflict_do_update(
                        index_elements=["source", "day"],
                        set_={"collected": ledger_days.c.collected + number},
                    )
                )
            moved = self._insert(ledger_offsets)
            moved = moved.on_conflict_do_update(
                index_elements=["topic", "partition"], set_={"next": moved.excluded.next}
            )
            rows = [{"topic": topic, "partition": p, "next": offset} for p, offset in after.items()]
            connection.execute(moved, rows)
            self._save_losses(connection, lost)
            return True

    def save_losses(self, lost: Sequence[Loss]) -> list[Loss]:
        """Remember what the log has lost; returns what of it was not known yet, or has grown."""
        with self.begin() as connection:
            return self._save_losses(connection, lost)

    def _save_losses(self, connection: sa.Connection, lost: Sequence[Loss]) -> list[Loss]:
        if not lost:
            return []  # nearly always
        key = ("topic", "partition", "reader", "begin")
        rows = connection.execute(sa.select(log_losses)).mappings()
        known = {tuple(row[name] for name in key): row["end"] for row in rows}
        fresh = [loss for loss in lost if known.get(tuple(getattr(loss, name) for name in key), 0) < loss.end]
        if fresh:
            statement = self._insert(log_losses)
            statement = statement.on_conflict_do_update(
                index_elements=key, set_={"end": statement.excluded.end, "written_off": False}
            )
            noticed = {"noticed_ms": to_ms(self._clock()), "written_off": False}
            connection.execute(statement, [msgspec.structs.asdict(loss) | noticed for loss in fresh])
        return fresh

    def losses(self) -> list[NoticedLoss]:
        """Return what the log has lost, by topic and reader, the oldest first."""
        with self.read() as connection:
            rows = connection.execute(
                sa.select(log_losses).order_by(
                    log_losses.c.topic, log_losses.c.reader, log_losses.c.noticed_ms
                )
            )
            return [
                NoticedLoss(
                    row.topic,
                    row.partition,
                    row.reader,
                    row.begin,
                    row.end,
                    noticed=from_ms(row.noticed_ms),
                    written_off=row.written_off,
                )
                for row in rows
            ]

    def write_off(self) -> None:
        """Say that somebody knows of all losses so far."""
        with self.begin() as connection:
            connection.execute(sa.update(log_losses).values(written_off=True))

    def totals(self, topics: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[int, int]]]:
        """Return the distinct ids collected per source and, of the same instant, the offsets counted to."""
        with self.read() as connection:
            collected = sa.func.sum(ledger_days.c.collected)
            rows = connection.execute(
                sa.select(ledger_days.c.source, collected).group_by(ledger_days.c.source)
            )
            totals = {source: int(number) for source, number in rows}
            return totals, {topic: _offsets(connection, topic) for topic in topics}

    def rejected_ids(self) -> list[str]:
        """Return the ids that were ever refused by a stage, replayed ones included."""
        with self.read() as connection:
            return list(connection.scalars(sa.select(ledger_rejected.c.id)))

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are in the register."""
        with self.read() as connection:
            missing = set(self._missing(connection, ledger_ids, list(dict.fromkeys(map(storable, ids)))))
            return {id for id in ids if storable(id) not in missing}

    def registered_ids(self) -> Iterator[str]:
        """Yield every id of the register."""
        with self.read() as connection:
            yield from connection.execution_options(yield_per=10_000).scalars(sa.select(ledger_ids.c.id))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; for the modules beside this one that keep tables of their own."""
        with _translated(self._url), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads."""
        with _translated(self._url), self._engine.connect() as connection:
            connection = connection.execution_options(reading=True)
            with connection.begin():
                yield connection

    def _missing(self, connection: sa.Connection, table: sa.Table, ids: list[str]) -> list[str]:
        found: set[str] = set()
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            found.update(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(chunk))))
        return [id for id in ids if id not in found]


def storable(id: str) -> str:
    """Return an id as the register keeps it: PostgreSQL takes no NUL, and no store a mention whose id holds one."""
    return id.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _offsets(connection: sa.Connection, topic: str) -> dict[int, int]:
    rows = connection.execute(sa.select(ledger_offsets).where(ledger_offsets.c.topic == topic))
    return {row.partition: row.next for row in rows}


def _save_gap(connection: sa.Connection, source: str, gap: Gap) -> None:
    begin, end = to_ms(gap.begin), to_ms(gap.end)
    same = (gaps.c.source == source) & (gaps.c.begin_ms == begin)
    found = connection.execute(
        sa.update(gaps).where(same).values(end_ms=end, why=gap.why, closed=gap.closed)
    ).rowcount
    if not found:
        row = {"source": source, "begin_ms": begin, "end_ms": end, "why": gap.why, "closed": gap.closed}
        connection.execute(sa.insert(gaps).values(row))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is switched off; `_begin_transaction` takes its place.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_transaction(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later could not wait for another writer: take the lock at once.
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _migrate(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        if sa.inspect(connection).has_table("alembic_version"):
            revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            if revision == NEWEST_REVISION:
                return
            if revision is not None and revision > NEWEST_REVISION:
                raise SettingsError(
                    f"the state database was written by a newer Hark (its revision is {revision}, this program "
                    f"knows {NEWEST_REVISION}): upgrade this Hark"
                )
        if engine.dialect.name == "postgresql":  # two processes may start at once; SQLite is locked already
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(1212240459)"))
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def _translated(url: sa.URL) -> Iterator[None]:
    server = f"{url.host}:{url.port or 5432}" if url.host else "the local socket"
    where = url.database if url.get_backend_name() == "sqlite" else server
    try:
        yield
    except OperationalError as error:
        text = str(error.orig).strip()
        if "password" in text or "authentication" in text or "does not exist" in text:
            raise SettingsError(f"state database at {where}: {text}") from error
        if "disk is full" in text or "No space left" in text:
            raise TransientError(
                f"no space left for the state database {where}: free some; nothing was lost"
            ) from error
        raise TransientError(f"state database at {where} is away: {text}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise TransientError(f"state database at {where} is away: {error.orig}") from error
        raise FatalError(f"state database at {where}: {error.orig}") from error
