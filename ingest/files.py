"""Files of mentions, JSONL or CSV: what `hark import` reads, and a source that follows files as they grow."""

import csv
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from glob import glob
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from hark.core.change import Change, Edited, Rejected, Seen
from hark.core.clock import EARLIEST, LATEST, Clock, now
from hark.core.errors import RefusedError, SettingsError
from hark.core.mention import Author, Media, Mention, Metrics, Place
from hark.core.protocols import Batch, Source
from hark.settings import Brand
from ingest.spreadsheet import Form, cell_of, field_of, header_of

LONGEST_LINE_BYTES = 2 * 1024 * 1024
_LONGEST_READ_BYTES = 64 * 1024 * 1024  # beyond it a "line" is cut into several, so that memory stays bounded
_LONGEST_ID_BYTES = 512  # what Elasticsearch takes
_LARGEST_EDIT = 1 << 45
_BATCH = 1_000

_AS_USUAL = Form()

Time = Annotated[datetime, Meta(tz=True)]


class Line(Struct, frozen=True):
    """One line as a user may write it: fields named after Mention's, only `text` is required."""

    text: str
    id: str | int | None = None
    source: str | None = None
    created_at: Time | None = None
    collected_at: Time | None = None
    kind: str = "post"
    edit: Annotated[int, Meta(ge=0, lt=_LARGEST_EDIT)] = 0
    title: str | None = None
    url: str | None = None
    author: Author | str | None = None
    conversation: str | int | None = None
    in_reply_to: str | int | None = None
    repost_of: str | int | None = None
    lang: str | None = None
    media: tuple[Media, ...] = ()
    metrics: Metrics | None = None
    place: Place | None = None
    client: str | None = None


class Claims(Struct, frozen=True):
    """What a line says of who it is, whatever else is wrong with it."""

    id: Any = None
    source: Any = None
    edit: Any = None


class Piece(Struct, frozen=True):
    """What one line became, and how far the file is read after it."""

    outcome: Change | Rejected
    offset: int
    number: int


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a source of type "files"."""

    paths: tuple[str, ...]
    """File names or patterns with * and ?; a name that ends in .csv is CSV, every other is JSONL."""


_decode = msgspec.json.Decoder(Line).decode
_claims = msgspec.json.Decoder(Claims).decode
FIELDS = frozenset(field.name for field in msgspec.structs.fields(Line))
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # .gz, .bz2, .xz, .zst
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls


def read_file(
    path: Path,
    source: str,
    marker: str,
    clock: Clock = now,
    offset: int = 0,
    number: int = 0,
    whole: bool = True,
    form: Form = _AS_USUAL,
) -> Iterator[Piece]:
    """Yield what each line of `path` becomes, from byte `offset` on, where `number` lines have been read.

    `marker` and the line's number name a line that has no id. With `whole` a last line that lacks its line
    break counts; else it is left for later, when it has grown. Raises OSError as the file system does.
    """
    with path.open("rb") as file:
        header = file.readline(_LONGEST_READ_BYTES) if is_csv(path) else b""
        file.seek(max(offset, len(header)))
        lines = _Lines(iter(lambda: file.readline(_LONGEST_READ_BYTES), b""), file.tell(), number, whole)
        for raw, line, claim in _parse_csv(lines, header, form) if is_csv(path) else _parse_jsonl(lines):
            lines.number += 1
            default_id = f"{source}:{marker}-{lines.number}"
            try:
                if len(raw) > LONGEST_LINE_BYTES:
                    raise RefusedError(
                        f"a line of {len(raw):,} bytes; the longest accepted has {LONGEST_LINE_BYTES:,}"
                    )
                outcome: Change | Rejected = change_of(line(), source, default_id, clock())
            except RefusedError as error:
                reason = f"{_name_of(path.name)} line {lines.number}: {error}"
                id, name = _claimed(claim, source, default_id)
                outcome = Rejected(id, name, "ingest", reason, raw, clock())
            yield Piece(outcome, lines.offset, lines.number)


def is_csv(path: Path) -> bool:
    """Return whether a file is CSV, by the ending of its name; every other is JSONL."""
    return path.suffix.lower() == ".csv"


def columns_of(path: Path, form: Form) -> tuple[str, ...]:
    """Return the names of a CSV's columns; of JSONL, and of an empty file, none.

    Raises RefusedError, with what to do, where no line of the file can be a mention, and OSError.
    """
    with path.open("rb") as file:
        first = file.readline(_LONGEST_READ_BYTES)
    if first.startswith(_WORKBOOKS):
        raise RefusedError('this is a workbook; save its sheet as "CSV UTF-8"')
    if first.startswith(_PACKED):
        raise RefusedError("this is compressed; unpack it first")
    return header_of(first, form).names if first and is_csv(path) else ()


def change_of(line: Line, source: str, default_id: str, moment: datetime) -> Change:
    """Return the change that one line says; raises RefusedError with the reason."""
    name = line.source or source
    if not is_name(name):
        raise RefusedError(f"source: expected a short name without spaces and colons, found {name[:80]!r}")
    if not line.text.strip():
        raise RefusedError("text: it is empty")
    for field in ("created_at", "collected_at"):
        value = getattr(line, field)
        if value is not None and not EARLIEST <= value <= LATEST:
            raise RefusedError(f"{field}: expected a time from 1970 to 9999, found {value.isoformat()}")
    id = _id_in(line.id, name, default_id)
    author = Author(handle=line.author) if isinstance(line.author, str) else line.author
    if author is not None and author.handle:
        author = msgspec.structs.replace(author, handle=author.handle.removeprefix("@"))
    mention = Mention(
        id=id,
        source=name,
        text=line.text,
        created_at=line.created_at or line.collected_at or moment,
        collected_at=line.collected_at or moment,
        kind=line.kind,
        edit=line.edit,
        title=line.title,
        url=line.url,
        author=author,
        conversation=_full_id(line.conversation, name),
        in_reply_to=_full_id(line.in_reply_to, name),
        repost_of=_full_id(line.repost_of, name),
        lang=line.lang,
        media=line.media,
        metrics=line.metrics,
        place=line.place,
        client=line.client,
    )
    return Edited(mention) if mention.edit else Seen(mention)


def file_hash(path: Path) -> str:
    """Return 16 hexadecimal digits that name the content of the file; raises OSError."""
    digest = blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class FilesSource:
    """Follows files as they grow and as new ones appear; cursor: offset and line number of each file."""

    firehose = False

    def __init__(self, name: str, options: Options, clock: Clock = now, idle_seconds: float = 1.0) -> None:
        self.name = name
        self._options = options
        self._clock = clock
        self._idle_seconds = idle_seconds

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches from where `cursor` stands; raises SettingsError when no file can be read."""
        places: dict[str, tuple[int, int]] = msgspec.json.decode(
            cursor or "{}", type=dict[str, tuple[int, int]]
        )
        while not stop.is_set():
            idle = True
            for path in self._files():
                for batch in self._read_one(path, places, stop):
                    idle = False
                    yield batch
            if idle:
                yield Batch([], msgspec.json.encode(places).decode())
                stop.wait(self._idle_seconds)

    def look(self) -> str:
        """Open every file; see hark.core.protocols.Looking."""
        found = self._files()
        for path in found:
            try:
                path.open("rb").close()
            except OSError as error:
                raise SettingsError(f"{path}: {error.strerror}") from error
        return f"{len(found)} {'file' if len(found) == 1 else 'files'} can be read"

    def _files(self) -> list[Path]:
        found = sorted({name for pattern in self._options.paths for name in glob(pattern)})
        if not found:
            raise SettingsError(f"sources.toml: sources.{self.name}: no file is called {self._options.paths}")
        return [Path(name) for name in found]

    def _read_one(
        self, path: Path, places: dict[str, tuple[int, int]], stop: threading.Event
    ) -> Iterator[Batch]:
        name = _name_of(path)
        offset, number = places.get(name, (0, 0))
        # The content of a growing file has no lasting hash: its name stands for it.
        marker = blake2b(name.encode(), digest_size=8).hexdigest()
        pieces: list[Piece] = []
        try:
            if path.stat().st_size == offset:
                return
            for piece in read_file(path, self.name, marker, self._clock, offset, number, whole=False):
                pieces.append(piece)
                if len(pieces) == _BATCH:
                    places[name] = (piece.offset, piece.number)
                    yield _batch(pieces, places)
                    pieces = []
                    if stop.is_set():
                        return
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        if pieces:
            places[name] = (pieces[-1].offset, pieces[-1].number)
            yield _batch(pieces, places)


def build(name: str, options: Options, brands: Sequence[Brand]) -> Source:
    """Return the source that `options` describe."""
    return FilesSource(name, options)


def _claimed(claim: "_Claim", source: str, default_id: str) -> tuple[str, str]:
    """Return id and source of a refused line: those of the mention that it would have been, where it says them.

    So it no longer counts as refused once it was taken with other options. An edit keeps its place in the file for
    an id: its mention is there, and would hide that the edit was refused.
    """
    try:
        said = claim()
        name = said.source or source
        first = said.edit in (None, 0, "0")
        if first and isinstance(said.id, str | int | None) and isinstance(name, str) and is_name(name):
            return _id_in(said.id, name, default_id), name
    except (RefusedError, msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # what is said of the line is why it was refused
    return default_id, source


def is_name(name: str) -> bool:
    """Return whether a source may be called so."""
    return 0 < len(name) <= 64 and all(c not in ": /\\" and c.isprintable() for c in name)


def _id_in(id: str | int | None, source: str, default_id: str) -> str:
    """Return the whole id of a mention; raises RefusedError for one that no store takes."""
    full = _full_id(id, source) or f"{source}:{default_id.partition(':')[2]}"
    if len(full.encode("utf-8", "replace")) > _LONGEST_ID_BYTES:
        raise RefusedError(f"id: longer than {_LONGEST_ID_BYTES} bytes: {full[:60]!r}…")
    if "\0" in full:
        raise RefusedError(f"id: holds a NUL character: {full[:60]!r}")
    return full


class _Lines:
    """Physical lines with the place after them; `number` counts logical ones (a quoted field may hold breaks)."""

    def __init__(self, lines: Iterator[bytes], offset: int, number: int, whole: bool) -> None:
        self._lines = lines
        self.whole = whole
        self.offset = offset
        self.number = number
        self.raw = b""
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            if not self.whole and not line.endswith(b"\n") and len(line) < _LONGEST_READ_BYTES:
                break
            self.offset += len(line)
            self.raw += line
            yield line
        self.ended = True


def _parse_jsonl(lines: _Lines) -> "Iterator[tuple[bytes, _Parse, _Claim]]":
    for line in lines:
        lines.raw = b""
        if line.strip():
            yield line, partial(from_json, line), partial(_claims, line)
        else:
            lines.number += 1


def _parse_csv(lines: _Lines, first: bytes, form: Form) -> "Iterator[tuple[bytes, _Parse, _Claim]]":
    try:
        header = header_of(first, form)
    except RefusedError as error:
        for line in lines:
            lines.raw = b""
            yield line, _refusing(str(error)), Claims
        return
    csv.field_size_limit(_LONGEST_READ_BYTES)
    # Bytes that are not in the encoding travel as surrogates through the reader, and are refused with their row.
    rows = csv.reader(
        (line.decode(form.encoding, "surrogateescape") for line in lines), delimiter=header.separator
    )
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:  # the reader goes on with the next line
            raw, lines.raw = lines.raw, b""
            yield raw, _refusing("a carriage return stands in a cell without quotes"), Claims
            continue
        raw = lines.raw
        if lines.ended:  # the file ended within quotes
            if lines.whole or len(raw) > LONGEST_LINE_BYTES:
                reason = "a quote is opened and never closed; all that follows it is refused"
                yield raw, _refusing(reason), Claims
            return
        lines.raw = b""
        if row:
            yield (
                raw,
                partial(_from_row, header.names, row, form),
                partial(_row_claims, header.names, row, form),
            )


def _refusing(reason: str) -> "_Parse":
    def refuse() -> Line:
        raise RefusedError(reason)

    return refuse


_Parse = Callable[[], Line]
_Claim = Callable[[], Claims]


def from_json(line: bytes) -> Line:
    """Return one line of JSON read; raises RefusedError with the reason."""
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        raise RefusedError(_plain(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"no JSON object: {error}") from error


def _from_row(names: Sequence[str], row: list[str], form: Form) -> Line:
    while len(row) > len(names) and not row[-1]:
        row.pop()
    if len(row) > len(names):
        raise RefusedError(f"{len(row)} cells, and the header has {len(names)}")
    table: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, cell in zip(map(field_of, names), row, strict=False):
        if not cell:
            continue
        said = cell_of(name, cell, form)
        outer, _, inner = name.partition(".")
        if inner:
            parts.setdefault(outer, {})[inner] = said
        else:
            table[outer] = said
    for outer, inside in parts.items():
        if outer == "author" and outer in table:  # the handle, and more of whom it names
            inside = {"handle": table[outer]} | inside
        elif outer in table:
            raise RefusedError(f"{outer}: stands beside {outer}.{next(iter(inside))}; leave one of them out")
        table[outer] = inside
    try:
        return msgspec.convert(table, Line, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(_plain(error)) from error


def _row_claims(names: Sequence[str], row: list[str], form: Form) -> Claims:
    said = {
        name: cell_of(name, cell, form)
        for name, cell in zip(map(field_of, names), row, strict=False)
        if cell and name in Claims.__struct_fields__
    }
    return Claims(**said)


def _plain(error: msgspec.ValidationError) -> str:
    """Return a validation error as "key: what is wrong"."""
    what, _, where = str(error).partition(" - at `")
    what = what.replace("`null`", "nothing")
    return f"{where.removeprefix('$.').rstrip('`')}: {what}" if where else what


def _batch(pieces: Iterable[Piece], places: Mapping[str, tuple[int, int]]) -> Batch:
    outcomes = [piece.outcome for piece in pieces]
    return Batch(
        [outcome for outcome in outcomes if not isinstance(outcome, Rejected)],
        msgspec.json.encode(places).decode(),
        [outcome for outcome in outcomes if isinstance(outcome, Rejected)],
    )


def _name_of(path: str | Path) -> str:
    """Return a file's name as text; bytes that are no UTF-8, as archives from elsewhere bring them, in hexadecimal."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _full_id(id: str | int | None, source: str) -> str | None:
    if id is None or id == "":
        return None
    id = str(id)
    return id if id.startswith(f"{source}:") else f"{source}:{id}"
