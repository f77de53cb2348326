"""CSV as spreadsheets write it: what separates its columns, what they are called, and what their cells say."""

import codecs
import csv
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from hark.core.errors import RefusedError
from hark.tables import restored

_SEPARATORS = ",;\t"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ON_THE_CLOCK = r"(?:,?[ T]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?)?"
_WITHOUT_ZONE = (
    re.compile(rf"(?P<year>\d{{4}})-(?P<month>\d{{1,2}})-(?P<day>\d{{1,2}}){_ON_THE_CLOCK}"),
    re.compile(rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>\d{{4}}){_ON_THE_CLOCK}"),
)
"""11/12/2026 is not among them: it is two days."""


class Form(Struct, frozen=True):
    """What a file does not say of itself: its encoding, and the zone of times that name none (None: they are refused)."""

    encoding: str = "utf-8"
    zone: ZoneInfo | None = None


class Header(Struct, frozen=True):
    """The names of the columns, as they are written, and what stands between them."""

    names: tuple[str, ...]
    separator: str


def header_of(line: bytes, form: Form) -> Header:
    """Return what the first line says; raises RefusedError where no column is called text, and says what to do."""
    if line.startswith(_UTF_16) or b"\0" in line:
        raise RefusedError('this is UTF-16 or no text at all; save it as "CSV UTF-8"')
    text = line.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding, "replace").rstrip("\r\n")
    if "\r" in text:
        raise RefusedError('its lines end in a way of old (CR alone); save it as "CSV UTF-8"')
    found = [Header(tuple(next(csv.reader([text], delimiter=each), [])), each) for each in _SEPARATORS]
    for header in found:
        if "text" in map(field_of, header.names):
            return header
    most = max(found, key=lambda header: len(header.names))
    names = ", ".join(name[:40] for name in most.names[:20] if name)
    raise RefusedError(
        f"no column is called text, which has to be there; the first line names: {names or 'nothing'}. "
        "Rename what was said to text, and what else you have to created_at, author, url, id, … "
        "(docs/sources/files.md)"
    )


def field_of(name: str) -> str:
    """Return the field that a column's name means: names ignore case and blanks around them."""
    return name.strip().lower()


def cell_of(name: str, cell: str, form: Form) -> str | datetime:
    """Return what a cell says: the ' before what looks like a formula is taken off, and times get the form's zone.

    Raises RefusedError for what is not in the encoding, and for a time without a zone where the form has none.
    """
    try:
        cell.encode()
    except UnicodeEncodeError:
        hint = "; if a spreadsheet wrote it, `hark import --encoding windows-1252` may read it"
        raise RefusedError(f"{name}: no valid UTF-8{hint if form.encoding == 'utf-8' else ''}") from None
    if name.endswith("_at"):
        return _time_of(name, cell.strip(), form.zone)
    return restored(cell)


def _time_of(name: str, cell: str, zone: ZoneInfo | None) -> str | datetime:
    for pattern in _WITHOUT_ZONE:
        if match := pattern.fullmatch(cell):
            if zone is None:
                raise RefusedError(
                    f"{name}: {cell!r} names no time zone; `hark import --zone Area/City` says which, "
                    "or write it as 2026-11-23T09:15:00+01:00"
                )
            try:
                return datetime(
                    **{part: int(number or 0) for part, number in match.groupdict().items()}, tzinfo=zone
                )
            except ValueError as error:
                raise RefusedError(f"{name}: {cell!r}: {error}") from error
    if not re.match(r"\d{4}-\d{2}-\d{2}[Tt ]", cell):
        raise RefusedError(f"{name}: expected a time like 2026-11-23T09:15:00+01:00, found {cell[:40]!r}")
    return cell
