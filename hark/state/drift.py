"""How often each tag was given: by version of the chain, and by day (UTC) of tagging. All workers add to one table.

Beside the counts of each version stands what it is to be compared with, as its worker read it from the models: so
neither the console nor another machine needs the models' files. A worker that is killed loses the counts of its
last seconds, and one that tags a batch again counts it twice: these are statistics, not books.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Column, Float, Integer, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from hark.core.clock import Clock, from_ms, now, to_ms
from hark.state.database import State
from hark.state.tables import metadata

KEPT_DAYS = 90
FIRST_DAYS = 7
"""Of the version that serves these first days are kept for as long as it does."""
_DAY_MS = 86_400_000

tag_versions = Table(
    "tag_versions",
    metadata,
    Column("version", String, primary_key=True),
    Column("begun_ms", BigInteger, nullable=False),
    Column("latest_ms", BigInteger, nullable=False),  # when a worker last told of it
    Column("reference", Text, nullable=False),  # JSON: the figures at training time; "{}" without a model
)

tag_counts = Table(
    "tag_counts",
    metadata,
    Column("version", String, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # since 1970
    Column("tag", String, primary_key=True),
    Column("value", String, primary_key=True),  # a label, or a range of numbers
    Column("count", BigInteger, nullable=False),
    Column("total", Float, nullable=False),  # sum of the numbers; 0 for labels
)

Counts = Mapping[tuple[str, str], tuple[int, float]]
"""By (tag, value): how often, and the sum of the numbers."""


class Served(Struct, frozen=True):
    """A version of the chain: since when it serves, and the figures it is to be compared with, as JSON."""

    version: str
    begun: datetime
    reference: str


def day_of(moment: datetime) -> int:
    """Return the number of a moment's day, UTC, since 1970."""
    return to_ms(moment) // _DAY_MS


class TagCounts:
    """The counts of a center. Raises TransientError while the database is away."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def add(self, version: str, reference: str, counts: Counts) -> None:
        """Add what a worker counted since it last did, to this day's."""
        moment = self._clock()
        at_ms, day = to_ms(moment), day_of(moment)
        with self._state.begin() as connection:
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            known = insert(tag_versions).values(
                version=version, begun_ms=at_ms, latest_ms=at_ms, reference=reference
            )
            connection.execute(
                known.on_conflict_do_update(
                    index_elements=["version"], set_={"latest_ms": at_ms, "reference": reference}
                )
            )
            if not counts:
                return
            # In one order, so that two workers never wait for each other's rows crosswise.
            rows = [
                {"version": version, "day": day, "tag": tag, "value": value, "count": count, "total": total}
                for (tag, value), (count, total) in sorted(counts.items())
            ]
            added = insert(tag_counts)
            connection.execute(
                added.on_conflict_do_update(
                    index_elements=["version", "day", "tag", "value"],
                    set_={
                        "count": tag_counts.c.count + added.excluded.count,
                        "total": tag_counts.c.total + added.excluded.total,
                    },
                ),
                rows,
            )

    def serving(self) -> Served | None:
        """Return the version that a worker told of last; None where nothing was ever tagged."""
        newest = sa.select(tag_versions).order_by(tag_versions.c.latest_ms.desc(), tag_versions.c.version)
        with self._state.read() as connection:
            row = connection.execute(newest.limit(1)).mappings().first()
        return Served(row["version"], from_ms(row["begun_ms"]), row["reference"]) if row else None

    def versions(self) -> list[Served]:
        """Return all versions that are remembered."""
        with self._state.read() as connection:
            rows = connection.execute(sa.select(tag_versions)).mappings().all()
        return [Served(row["version"], from_ms(row["begun_ms"]), row["reference"]) for row in rows]

    def between(
        self, versions: Collection[str], first: int, last: int
    ) -> dict[tuple[str, str], tuple[int, float]]:
        """Return the sums of some versions over the days `first` to `last`, both included."""
        columns = tag_counts.c
        statement = (
            sa.select(columns.tag, columns.value, sa.func.sum(columns.count), sa.func.sum(columns.total))
            .where(columns.version.in_(versions), columns.day.between(first, last))
            .group_by(columns.tag, columns.value)
        )
        with self._state.read() as connection:
            return {
                (tag, value): (int(count), float(total))
                for tag, value, count, total in connection.execute(statement)
            }

    def forget(self) -> None:
        """Forget days that are past KEPT_DAYS, but for the first ones of a version that still serves."""
        oldest = self._clock() - timedelta(days=KEPT_DAYS)
        serves = sa.select(tag_versions.c.version).where(tag_versions.c.latest_ms >= to_ms(oldest))
        begun = (
            sa.select(tag_versions.c.begun_ms // _DAY_MS)
            .where(tag_versions.c.version == tag_counts.c.version)
            .scalar_subquery()
        )
        first = tag_counts.c.version.in_(serves) & (tag_counts.c.day < begun + FIRST_DAYS)
        with self._state.begin() as connection:
            connection.execute(sa.delete(tag_counts).where(tag_counts.c.day < day_of(oldest), sa.not_(first)))
            connection.execute(sa.delete(tag_versions).where(tag_versions.c.latest_ms < to_ms(oldest)))
