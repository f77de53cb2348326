"""The outbox: what is to be told to whom, written with the event, sent later, and what became of it.

A row is one event for one target. It is claimed by a lease: whoever takes it is the only one to send it until the
lease has run out, which it does when that process died. Times in ms UTC.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from hark.state.alerts import incidents
from hark.state.database import State
from hark.state.tables import metadata

LEASE_MS = 180_000
"""Longer than any delivery takes, with room for clocks that differ by a minute."""
KEPT_MS = 90 * 86_400_000
"""How long it can be looked up who was told of what."""
PRUNED_AT_ONCE = 500
"""Rows that one transaction takes out: others write meanwhile."""
_LOOKED_AT = 500

Condition = Literal["pending", "sent", "failed", "cancelled"]

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),  # incident.number.target: travels with the message
    Column("incident", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("target", String, nullable=False),
    Column("via", Text, nullable=False),  # how it came to this target, for people
    Column("escalation", Boolean, nullable=False),  # only if nobody acknowledges until it is due
    Column("severity", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("held_ms", BigInteger),  # for the digest of that time
    Column("lease", String, nullable=False),
    Column("lease_ms", BigInteger, nullable=False),  # until when somebody else sends it
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("sent_ms", BigInteger),
    Index("outbox_by_due", "state", "due_ms"),
    Index("outbox_by_incident", "incident", "number"),
)

beats = Table(
    "beats",
    metadata,
    Column("name", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)


class Letter(Struct, frozen=True):
    """One row to be: see the table."""

    key: str
    incident: str
    number: int
    kind: str
    target: str
    via: str
    escalation: bool
    severity: int
    event: str
    created_ms: int
    due_ms: int
    expires_ms: int
    held_ms: int | None = None


class Claim(Struct, frozen=True):
    """Rows of one target that this process alone may send now, and the token that says so; several are a digest."""

    lease: str
    letters: tuple[Letter, ...]
    attempts: int
    """This one included."""


class Delivery(Struct, frozen=True):
    """What became of one event for one target; for the console. Times in ms UTC, or None."""

    key: str
    incident: str
    number: int
    kind: str
    target: str
    via: str
    state: Condition
    attempts: int
    error: str
    """Of the last attempt, in plain words, "" when there was none."""
    created_ms: int
    due_ms: int
    """When it is tried next, or was."""
    held_ms: int | None
    sent_ms: int | None


class Outbox:
    """The rows. What takes a connection takes part in the caller's transaction; the others are one each.

    Raises TransientError while the database is away.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def due(self, now_ms: int) -> list[str]:
        """Return the targets that something could be sent to now."""
        ripe = (outbox.c.state == "pending") & (outbox.c.due_ms <= now_ms) & (outbox.c.lease_ms <= now_ms)
        with self._state.read() as connection:
            return list(connection.scalars(sa.select(outbox.c.target).where(ripe).distinct()))

    def claim(self, target: str, now_ms: int, hold: Callable[[int], int | None]) -> Claim | None:
        """Take what is to be sent to `target` next, None when there is nothing.

        `hold` returns until when an event of that severity waits, None for not at all. Events of one incident go in
        their order, one behind the other; what is held for the same time goes together.
        """
        with self._state.begin() as connection:
            rows = connection.execute(
                sa.select(outbox)
                .where((outbox.c.target == target) & (outbox.c.state == "pending"))
                .order_by(outbox.c.held_ms.is_not(None), outbox.c.id)
                .limit(_LOOKED_AT)
            ).all()
            taken: list[sa.Row[tuple[object, ...]]] = []
            behind: set[str] = set()
            for row in rows:
                ripe = row.due_ms <= now_ms and row.lease_ms <= now_ms
                if row.held_ms is None:
                    if row.incident in behind:
                        continue
                    if ripe and (until := hold(row.severity)) is not None:
                        _hold(connection, row.id, until)
                        continue
                    if not row.escalation or row.attempts:
                        behind.add(row.incident)
                if ripe and (not taken or (row.held_ms is not None and row.held_ms == taken[0].held_ms)):
                    taken.append(row)
            if not taken:
                return None
            lease = secrets.token_hex(8)
            ids = [row.id for row in taken]
            free = outbox.c.id.in_(ids) & (outbox.c.state == "pending") & (outbox.c.lease_ms <= now_ms)
            claimed = connection.execute(
                sa.update(outbox)
                .where(free)
                .values(lease=lease, lease_ms=now_ms + LEASE_MS, attempts=outbox.c.attempts + 1)
            ).rowcount
            if claimed != len(ids):  # another process was quicker; what was taken of a digest is given back
                mine = sa.update(outbox).where(outbox.c.lease == lease)
                connection.execute(mine.values(lease="", lease_ms=0, attempts=outbox.c.attempts - 1))
                return None
        letters = tuple(
            Letter(**{name: row._mapping[name] for name in Letter.__struct_fields__}) for row in taken
        )
        return Claim(lease, letters, max(row.attempts for row in taken) + 1)

    def sent(self, claim: Claim, now_ms: int) -> None:
        """Say that the letters of `claim` have arrived."""
        keys = [letter.key for letter in claim.letters]
        which = outbox.c.key.in_(keys) & (outbox.c.state == "pending")
        with self._state.begin() as connection:
            connection.execute(
                sa.update(outbox)
                .where(which)
                .values(state="sent", sent_ms=now_ms, error="", lease="", lease_ms=0)
            )

    def failed(self, claim: Claim, error: str, due_ms: int | None) -> None:
        """Say that the letters of `claim` did not arrive, why, and when it is tried again (None: never)."""
        values: dict[str, object] = {"error": error, "lease": "", "lease_ms": 0}
        values |= {"state": "failed"} if due_ms is None else {"due_ms": due_ms}
        with self._state.begin() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.lease == claim.lease).values(values))

    def deliveries(self, incident: str | None = None, limit: int = 200) -> list[Delivery]:
        """Return what became of the newest events (of one incident), newest first."""
        columns = [outbox.c[name] for name in Delivery.__struct_fields__]
        statement = sa.select(*columns).order_by(outbox.c.id.desc()).limit(limit)
        if incident is not None:
            statement = statement.where(outbox.c.incident == incident)
        with self._state.read() as connection:
            return [Delivery(**row) for row in connection.execute(statement).mappings()]

    def prune(self, now_ms: int) -> int:
        """Take out the oldest letters that were due more than KEPT_MS ago and are done with; return how many.

        At most PRUNED_AT_ONCE: call it again while it returns so many. What waits stays, however old, and all of an
        incident that is not resolved: it says who has heard of it.
        """
        open_ones = sa.select(incidents.c.id).where(incidents.c.status != "resolved")
        done = outbox.c.state.in_(["sent", "failed", "cancelled"]) & (outbox.c.due_ms < now_ms - KEPT_MS)
        old = (
            sa.select(outbox.c.id)
            .where(done & outbox.c.incident.not_in(open_ones))
            .order_by(outbox.c.id)
            .limit(PRUNED_AT_ONCE)
        )
        with self._state.begin() as connection:
            return connection.execute(sa.delete(outbox).where(outbox.c.id.in_(old))).rowcount

    def beat(self, name: str) -> int | None:
        """Return when `name` last ran, None for never."""
        with self._state.read() as connection:
            return connection.scalar(sa.select(beats.c.at_ms).where(beats.c.name == name))

    def note(self, name: str, at_ms: int) -> None:
        """Say that `name` ran."""
        with self._state.begin() as connection:
            insert = _insert(connection)(beats).values(name=name, at_ms=at_ms)
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"at_ms": at_ms}))

    def take_turn(self, name: str, at_ms: int, every_ms: int) -> bool:
        """Return whether it is this process's turn to do what is done every so often, and if so take it."""
        with self._state.begin() as connection:
            over = (beats.c.name == name) & (beats.c.at_ms <= at_ms - every_ms)
            if connection.execute(sa.update(beats).where(over).values(at_ms=at_ms)).rowcount == 1:
                return True
            first = _insert(connection)(beats).values(name=name, at_ms=at_ms).on_conflict_do_nothing()
            return connection.scalar(first.returning(beats.c.name)) is not None


def post(connection: sa.Connection, letters: Sequence[Letter]) -> None:
    """Write the rows that are not there yet."""
    if letters:
        statement = _insert(connection)(outbox).on_conflict_do_nothing(index_elements=["key"])
        rows = [
            {name: getattr(letter, name) for name in Letter.__struct_fields__}
            | {"state": "pending", "lease": "", "lease_ms": 0, "attempts": 0, "error": ""}
            for letter in letters
        ]
        connection.execute(statement, rows)


def told(connection: sa.Connection, incident: str, now_ms: int) -> set[str]:
    """Return the targets that have heard of `incident`, or are hearing of it."""
    heard = (outbox.c.state != "cancelled") & (
        sa.not_(outbox.c.escalation) | (outbox.c.state == "sent") | (outbox.c.lease_ms > now_ms)
    )
    statement = sa.select(outbox.c.target).where((outbox.c.incident == incident) & heard).distinct()
    return set(connection.scalars(statement))


def calm(connection: sa.Connection, incident: str, now_ms: int) -> None:
    """Drop the escalations of `incident` that are not being sent: somebody has taken it up, or it is over."""
    waiting = outbox.c.escalation & (outbox.c.state == "pending") & (outbox.c.lease_ms <= now_ms)
    connection.execute(
        sa.update(outbox).where((outbox.c.incident == incident) & waiting).values(state="cancelled")
    )


def _hold(connection: sa.Connection, id: int, until_ms: int) -> None:
    values = {"held_ms": until_ms, "due_ms": until_ms}
    connection.execute(sa.update(outbox).where(outbox.c.id == id).values(values))


def _insert(connection: sa.Connection) -> Callable[[Table], sqlite.Insert | postgresql.Insert]:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
