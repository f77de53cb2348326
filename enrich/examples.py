"""Labelled texts to learn from and to be measured by: rows of a CSV file, plain or gzipped."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.tokens import tokens

_LONGEST_FIELD = 1_000_000
MARK_BYTES = 8


class Columns(Struct, frozen=True):
    """Which columns of the file are what."""

    text: str
    label: str
    group: str | None = None
    brand: str | None = None
    source: str | None = None


class Examples(Struct):
    """Labelled texts, with what else the file says of each; lists of one length."""

    texts: list[str]
    labels: list[str]
    groups: list[str] | None
    brands: list[str] | None
    unlabelled: int
    """Rows with an empty label, left out."""
    broken: list[str]
    """Rows that cannot be read, left out: the line, and what is wrong."""
    sources: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def digest(self) -> str:
        """Return a hash of what is learnt from: texts, labels, groups and brands, in their order."""
        made = blake2b(digest_size=16)
        for column in (self.texts, self.labels, self.groups or (), self.brands or ()):
            made.update(len(column).to_bytes(8, "big"))
            for value in column:
                content = value.encode("utf-8", "surrogatepass")
                made.update(len(content).to_bytes(8, "big") + content)
        return made.hexdigest()

    def chosen(self, places: Sequence[int]) -> "Examples":
        """Return the examples at these places."""
        return Examples(
            [self.texts[i] for i in places],
            [self.labels[i] for i in places],
            [self.groups[i] for i in places] if self.groups is not None else None,
            [self.brands[i] for i in places] if self.brands is not None else None,
            self.unlabelled,
            self.broken,
            [self.sources[i] for i in places] if self.sources is not None else None,
        )

    def separate_groups(self) -> list[str]:
        """Return each text's group; a text with none, or with an empty one, is its own."""
        groups = self.groups or [""] * len(self)
        return [group if group.strip() else f"\0{place}" for place, group in enumerate(groups)]


def mark_of_text(text: str) -> bytes:
    """Return eight bytes by which a text is known again, whatever its links and handles: so a repost is, too."""
    words = " ".join(token for token in tokens(text) if token[0] != "@").removeprefix("rt ")
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=MARK_BYTES).digest()


def mark_of_group(group: str) -> bytes:
    """Return eight bytes by which a group, such as an author, is known again."""
    return blake2b(group.encode("utf-8", "surrogatepass"), digest_size=MARK_BYTES, person=b"group").digest()


def read(path: Path, columns: Columns) -> Examples:
    """Return the labelled rows of a CSV file (UTF-8, a head line; `.gz` is unpacked).

    Raises SettingsError when the file cannot be read or lacks a column.
    """
    try:
        with _opened(path) as file:
            return _examples(_rows(file), path, columns)
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _opened(path: Path) -> TextIO:
    # What is not UTF-8 becomes surrogates, by which its row is known.
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", "surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _rows(file: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each row with the number of its last line, or what is wrong with it."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        rows = csv.reader(file)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield rows.line_num, str(error)
                continue
            if row:
                yield rows.line_num, row
    finally:
        csv.field_size_limit(before)


def _examples(rows: Iterator[tuple[int, list[str] | str]], path: Path, columns: Columns) -> Examples:
    head = next((row for _, row in rows), "no head line")
    if isinstance(head, str):
        raise SettingsError(f"{path}: {head}: expected a line with the names of the columns first")
    wanted = [columns.text, columns.label, columns.group, columns.brand, columns.source]
    for name in wanted:
        if name is not None and name not in head:
            raise SettingsError(f"{path}: no column {name!r}; there are: {', '.join(head)}")
    text, label, group, brand, source = (head.index(name) if name is not None else -1 for name in wanted)
    found = Examples([], [], _column(group), _column(brand), 0, [], _column(source))
    for line, row in rows:
        wrong = _wrong(row, len(head))
        if wrong:
            found.broken.append(f"line {line}: {wrong}")
        elif not row[label].strip():
            found.unlabelled += 1
        else:
            found.texts.append(row[text])
            found.labels.append(row[label])
            if found.groups is not None:
                found.groups.append(row[group])
            if found.brands is not None:
                found.brands.append(row[brand])
            if found.sources is not None:
                found.sources.append(row[source])
    return found


def _column(at: int) -> list[str] | None:
    return [] if at >= 0 else None


def _wrong(row: list[str] | str, fields: int) -> str:
    if isinstance(row, str):
        return row
    if len(row) != fields:
        return f"{len(row)} fields, not {fields} as in the head line"
    if not "".join(row).isascii() and any("\udc80" <= character <= "\udcff" for character in "".join(row)):
        return "not UTF-8"
    return ""
