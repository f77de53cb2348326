"""Counts a quarter of an hour, kept by the difference of each write, and read in place of the rows."""

from collections.abc import Iterator

import apsw

from hark.core.tree import All, Field, Query
from hark.query.fields import encode
from sinks.embedded_schema import QUARTER_MS, ROLLED

EVERYTHING = ("", "")
"""Field and value of the cells that count every mention."""


class Changes:
    """What one batch changes in the rollups."""

    def __init__(self) -> None:
        self._alike: dict[tuple[int, int, tuple[str, ...]], int] = {}

    def add(self, sign: int, created: int, tone: int, groups: tuple[str, ...]) -> None:
        """Count one mention in (`sign` 1) or out (-1); `groups` are its values of ROLLED, spaced, in that order."""
        key = created - created % QUARTER_MS, tone, groups
        self._alike[key] = self._alike.get(key, 0) + sign

    def save(self, db: apsw.Connection) -> None:
        """Add the differences to the table; cells that fall to zero vanish."""
        changed = sorted((*key, *cell) for key, cell in self._cells().items() if any(cell))
        db.executemany(
            "INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count,"
            " positive = positive + excluded.positive, negative = negative + excluded.negative",
            changed,
        )
        db.executemany(
            "DELETE FROM rollups WHERE field = ? AND value = ? AND start = ? AND count = 0",
            [cell[:3] for cell in changed if cell[3] < 0],
        )

    def _cells(self) -> dict[tuple[str, str, int], tuple[int, int, int]]:
        cells: dict[tuple[str, str, int], tuple[int, int, int]] = {}
        for (start, tone, groups), number in self._alike.items():
            positive, negative = number if tone > 0 else 0, number if tone < 0 else 0
            keys = [("", "", start)]
            for field, values in zip(ROLLED, groups, strict=True):
                keys += [(field, value, start) for value in values.split()]
            for key in keys:
                cell = cells.get(key, (0, 0, 0))
                cells[key] = cell[0] + number, cell[1] + positive, cell[2] + negative
        return cells


def single(query: Query) -> tuple[str, str] | None:
    """Return field and value of the cells that count exactly `query`, or None where there are none."""
    match query.root:
        case All():
            return EVERYTHING
        case Field(name, "=", value) if name in ROLLED:
            return name, encode(value)
    return None


def aligned(since: int, until: int) -> tuple[int, int] | None:
    """Return the whole quarters of an hour within a range of milliseconds, or None where there are none."""
    begin, end = -(-since // QUARTER_MS) * QUARTER_MS, until // QUARTER_MS * QUARTER_MS
    return (begin, end) if begin < end else None


def total(db: apsw.Connection, cell: tuple[str, str], since: int, until: int) -> int:
    """Return the sum of counts; the range is of whole quarters."""
    rows = db.execute(
        "SELECT coalesce(sum(count), 0) FROM rollups WHERE field = ? AND value = ? AND start >= ? AND start < ?",
        (*cell, since, until),
    )
    return int(next(iter(rows))[0])


def series(
    db: apsw.Connection, cell: tuple[str, str], interval: int, since: int, until: int
) -> Iterator[tuple[int, str, int, int, int]]:
    """Yield (start, value, count, positive, negative) by interval; all values of a field where `cell` is (field, "")."""
    field, value = cell
    one = field == "" or value != ""
    return db.execute(
        f"SELECT start / ?1 * ?1, value, sum(count), sum(positive), sum(negative) FROM rollups"
        f" WHERE field = ?2 {'AND value = ?3' if one else 'AND ?3 IS NOT NULL'} AND start >= ?4 AND start < ?5"
        f" GROUP BY 1, 2",
        (interval, field, value, since, until),
    )


def values(db: apsw.Connection, field: str, since: int, until: int) -> Iterator[tuple[str, int]]:
    """Yield (value, count) of a field; the range is of whole quarters."""
    return db.execute(
        "SELECT value, sum(count) FROM rollups WHERE field = ? AND start >= ? AND start < ? GROUP BY 1",
        (field, since, until),
    )
