"""Generations of the index: what each was made with, how far it is, and which one is shown.

The generation that is shown is the one of the newest row of `promotions`, so that a flip is one row in one
transaction, and going back is one more. Without a row it is generation 0, which a center begins with. Numbers are
never used again. Times in ms UTC.
"""

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text

from hark.core.clock import Clock, now, to_ms
from hark.state.database import State
from hark.state.tables import metadata

Status = Literal["starting", "building", "ready", "dropping", "dropped"]

generations = Table(
    "generations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status", String, nullable=False),
    Column("phase", String, nullable=False, server_default=""),  # of building
    Column("since_ms", BigInteger),  # history from here on is tagged again; what is older keeps its tags
    Column("models", Boolean, nullable=False),  # whether it has models of its own, in its folder
    Column("taxonomy", Boolean, nullable=False),  # whether it has a topics.toml of its own, in its folder
    Column("version", String, nullable=False, server_default=""),  # of its chain, when it was begun
    Column("rate", Float, nullable=False, server_default="0"),  # mentions a second at most; 0: no limit
    Column("shadow", Boolean, nullable=False),  # whether a way of its own keeps it up to date
    Column(
        "ends", Text, nullable=False, server_default=""
    ),  # offsets that must be passed before the next phase
    Column("cursor", Text),
    Column("sent", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("begun_ms", BigInteger),
    Column("ready_ms", BigInteger),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)


class Generation(Struct, frozen=True):
    """One generation. `sent` of `total` mentions of history have gone into its log."""

    number: int
    status: Status
    phase: str
    since_ms: int | None
    models: bool
    taxonomy: bool
    version: str
    rate: float
    shadow: bool
    ends: str
    cursor: str | None
    sent: int
    total: int
    begun_ms: int | None
    ready_ms: int | None

    @property
    def kept(self) -> bool:
        """Whether there is an index of it that takes what is new."""
        return self.status in ("building", "ready")


class Generations:
    """The tables of this module in the state database; each method is one transaction."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def all(self) -> list[Generation]:
        """Return every generation that ever was, by number; none where nothing was ever reprocessed."""
        with self._state.read() as connection:
            rows = connection.execute(sa.select(generations).order_by(generations.c.number))
            return [Generation(**row) for row in rows.mappings()]

    def serving(self) -> int:
        """Return the number of the generation that is shown."""
        with self._state.read() as connection:
            return _serving(connection)

    def before(self) -> int | None:
        """Return the generation that was shown last before the present one and is still there, or None."""
        kept = {generation.number for generation in self.all() if generation.kept}
        with self._state.read() as connection:
            newest_first = sa.select(promotions.c.generation).order_by(promotions.c.id.desc())
            shown = list(connection.scalars(newest_first))
        return next((number for number in shown if number != shown[0] and number in kept), None)

    def add(self, **fields: Any) -> int:
        """Add a generation and return its number; the one that is shown gets its row too where it has none."""
        with self._state.begin() as connection:
            if not connection.scalar(sa.select(sa.func.count()).select_from(generations)):
                base = {"number": 0, "status": "ready", "models": False, "taxonomy": False, "shadow": False}
                connection.execute(sa.insert(generations).values(base))
                connection.execute(sa.insert(promotions).values(generation=0, at_ms=to_ms(self._clock())))
            number = int(connection.scalar(sa.select(sa.func.max(generations.c.number))) or 0) + 1
            row = {"number": number, "begun_ms": to_ms(self._clock()), **fields}
            connection.execute(sa.insert(generations).values(row))
            return number

    def save(self, number: int, **fields: Any) -> None:
        """Set some columns of a generation."""
        with self._state.begin() as connection:
            connection.execute(_update(number, fields))

    def advance(self, number: int, cursor: str | None, sent: int) -> None:
        """Save how far the history has been sent: the cursor, and how many mentions more."""
        with self._state.begin() as connection:
            added = generations.c.sent + sent
            connection.execute(_update(number, {"cursor": cursor, "sent": added}))

    def promote(self, number: int) -> None:
        """Show generation `number` from now on; the one shown until now keeps a way of its own."""
        with self._state.begin() as connection:
            connection.execute(_update(_serving(connection), {"shadow": True}))
            row = {"generation": number, "at_ms": to_ms(self._clock())}
            connection.execute(sa.insert(promotions).values(row))

    def history(self) -> list[tuple[int, int]]:
        """Return (generation, when in ms) of each flip, oldest first."""
        with self._state.read() as connection:
            rows = connection.execute(sa.select(promotions).order_by(promotions.c.id))
            return [(row.generation, row.at_ms) for row in rows]


def _serving(connection: sa.Connection) -> int:
    newest = sa.select(promotions.c.generation).order_by(promotions.c.id.desc()).limit(1)
    return int(connection.scalar(newest) or 0)


def _update(number: int, fields: Mapping[str, Any]) -> sa.Update:
    return sa.update(generations).where(generations.c.number == number).values(**fields)
