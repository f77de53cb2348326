"""Rows as files that other programs open: CSV that holds no formulas, and Parquet."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import IO, Any, Literal, TextIO

from hark.core.errors import SettingsError

Kind = Literal["text", "int", "float", "bool", "time"]
Columns = Mapping[str, Kind]
Row = Sequence[object]
"""A cell a column, of the column's kind; None where there is nothing."""

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MOST = (1 << 63) - 1


def defused(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: a text that looks like one gets a ' before it.

    https://owasp.org/www-community/attacks/CSV_Injection; fullwidth signs included.
    """
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_STARTS_FORMULA):
        return "'" + cell
    return cell.isoformat() if isinstance(cell, datetime) else cell


def restored(cell: str) -> str:
    """Return a text as it was before `defused`."""
    return cell[1:] if cell.startswith("'") and defused(cell[1:]) == cell else cell


class CsvFile:
    """A CSV file in the making; the header is written at once."""

    def __init__(self, file: TextIO, columns: Columns) -> None:
        self._writer = csv.writer(file, lineterminator="\r\n")  # with another one a lone \r is not quoted
        self._writer.writerow(columns)

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        self._writer.writerows([defused(cell) for cell in row] for row in rows)

    def close(self) -> None:
        """Do nothing: the file is the caller's."""


class ParquetFile:
    """A Parquet file in the making; each `write` is a row group. Times are kept in UTC, to the millisecond.

    `about` is kept in the file, by name. Raises SettingsError where pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes], columns: Columns, about: Mapping[str, str] | None = None) -> None:
        self._arrow = arrow()
        types = {
            "text": self._arrow.string(),
            "int": self._arrow.int64(),
            "float": self._arrow.float64(),
            "bool": self._arrow.bool_(),
            "time": self._arrow.timestamp("ms", tz="UTC"),
        }
        schema = self._arrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._schema = schema.with_metadata({f"hark.{name}": text for name, text in (about or {}).items()})
        parquet = import_module("pyarrow.parquet")
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows as a row group; none where there are none."""
        columns = list(zip(*rows, strict=True))
        if columns:
            arrays = [
                self._arrow.array([_clamped(cell) for cell in column], type=field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write_table(self._arrow.table(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file, without which nobody can read it."""
        self._writer.close()


def arrow() -> Any:
    """Return the module pyarrow; raises SettingsError that says how to get it."""
    try:
        return import_module("pyarrow")
    except ImportError:
        raise SettingsError(
            "Parquet needs the package pyarrow, which is not installed: pip install 'hark[parquet]'"
        ) from None


def _clamped(cell: object) -> object:
    if isinstance(cell, int) and not -_MOST <= cell <= _MOST:
        return max(-_MOST, min(_MOST, cell))
    return cell
