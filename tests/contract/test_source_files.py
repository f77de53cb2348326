"""Files as a source: followed as they grow, from offset and line number."""

import gzip
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest

from hark.core.change import Rejected, Seen, encode
from hark.core.errors import RefusedError, SettingsError
from hark.core.mention import Author
from hark.core.protocols import Source
from ingest import files
from ingest.files import FilesSource, Options, columns_of, file_hash, read_file
from ingest.spreadsheet import Form
from tests.contract.source_contract import Platform, SourceContract


class Folder:
    """The platform of the contract: a file that grows, in pieces that end in the middle of a line."""

    def __init__(self, path: Path, csv: bool) -> None:
        self._path = path / ("feed.csv" if csv else "feed.jsonl")
        self._csv = csv
        self._said = 0
        self._path.write_text("id,text\n" if csv else "")

    def say(self, number: int) -> set[str]:
        ids = set()
        with self._path.open("a") as file:
            for _ in range(number):
                self._said += 1
                ids.add(f"feed:{self._said}")
                if self._csv:
                    file.write(f'{self._said},"late, {self._said}"\n')
                else:
                    file.write(json.dumps({"id": self._said, "text": f"late {self._said}"}) + "\n")
        return ids

    def fault(self) -> None:
        if not self._csv:
            with self._path.open("a") as file:
                file.write("\n")

    def source(self) -> Source:
        return FilesSource("feed", Options(paths=(str(self._path),)), idle_seconds=0.01)


class TestJsonLines(SourceContract):
    @contextmanager
    def platform(self) -> Iterator[Platform]:
        with TemporaryDirectory() as folder:
            yield Folder(Path(folder), csv=False)


class TestCsv(SourceContract):
    @contextmanager
    def platform(self) -> Iterator[Platform]:
        with TemporaryDirectory() as folder:
            yield Folder(Path(folder), csv=True)


def test_a_line_that_is_not_ended_yet_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "grows.jsonl"
    path.write_text('{"text": "one"}\n{"text": "tw')
    assert len(list(read_file(path, "feed", "m", whole=False))) == 1
    whole = [piece.outcome for piece in read_file(path, "feed", "m")]
    assert [type(outcome) for outcome in whole] == [Seen, Rejected]


def test_an_id_that_begins_with_its_source_stays_and_others_get_it(tmp_path: Path) -> None:
    path = tmp_path / "ids.jsonl"
    path.write_text('{"id": "x:1", "source": "x", "text": "a"}\n{"id": 2, "text": "b"}\n\n{"text": "c"}\n')
    ids = [
        piece.outcome.mention.id
        for piece in read_file(path, "feed", "hash")
        if isinstance(piece.outcome, Seen)
    ]
    assert ids == ["x:1", "feed:2", "feed:hash-4"]


def test_reading_on_from_any_line_gives_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rest.csv"
    path.write_text('text,author.handle\n"two\nlines",amy\nplain,bob\n"a ""quote""",cy\n')
    pieces = list(read_file(path, "feed", "m"))
    assert [piece.outcome.mention.text for piece in pieces if isinstance(piece.outcome, Seen)] == [
        "two\nlines",
        "plain",
        'a "quote"',
    ]
    for n, piece in enumerate(pieces, start=1):
        rest = read_file(path, "feed", "m", offset=piece.offset, number=piece.number)
        assert [other.number for other in rest] == [other.number for other in pieces[n:]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": ""}', "text: it is empty"),
        (
            '{"text": "a", "created_at": "2026-01-01T00:00:00"}',
            "created_at: Expected `datetime` with a timezone",
        ),
        ('{"text": "a", "edit": -1}', "edit: Expected `int` >= 0"),
        ('{"text": "a", "edit": 99999999999999999}', "edit: Expected `int` <"),
        ('{"text": "a", "source": "a b"}', "source: expected a short name"),
        ('{"text": "a", "created_at": "1905-01-01T00:00:00Z"}', "created_at: expected a time from 1970"),
        (json.dumps({"text": "a", "id": "i" * 600}), "id: longer than 512 bytes"),
        ('{"text": "a", "id": "a\\u0000b"}', "id: holds a NUL character"),
        ('{"text": "\\ud800"}', "no JSON object"),
        ('{"text": "a", "x": ' + "[" * 5_000 + "]" * 5_000 + "}", "no JSON object: maximum recursion depth"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    (piece,) = read_file(path, "feed", file_hash(path))
    assert isinstance(piece.outcome, Rejected)
    assert f"bad.jsonl line 1: {reason}" in piece.outcome.reason
    assert piece.outcome.original == line.encode()


def test_a_refused_line_has_the_id_that_it_gets_when_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_bytes("id;source;text\n7;;sp\xe4t\n;desk;sp\xe4t\n".encode("windows-1252"))
    outcomes = [piece.outcome for piece in read_file(path, "survey", "m")]
    refused = [(one.id, one.source) for one in outcomes if isinstance(one, Rejected)]
    assert refused == [("survey:7", "survey"), ("desk:m-2", "desk")]
    outcomes = [piece.outcome for piece in read_file(path, "survey", "m", form=Form("windows-1252"))]
    taken = [(one.mention.id, one.mention.source) for one in outcomes if isinstance(one, Seen)]
    assert taken == refused


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ('{"id": 7, "text": ""}', "survey:7"),
        ('{"id": 7, "text": "", "edit": 2}', "survey:m-1"),
        ('{"id": [7], "text": "a"}', "survey:m-1"),
        ('{"id": "a\\u0000b", "text": "a"}', "survey:m-1"),
        ('{"id": 7, "source": "a b", "text": "a"}', "survey:m-1"),
        ('{"id": 7, "text": "a"', "survey:m-1"),
    ],
)
def test_a_refused_line_is_named_by_its_place_where_its_mention_has_no_id_to_say(
    tmp_path: Path, line: str, id: str
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(line)
    (piece,) = read_file(path, "survey", "m")
    assert isinstance(piece.outcome, Rejected)
    assert piece.outcome.id == id


def test_a_file_whose_name_is_no_utf_8_is_followed_as_any_other(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe4rz.jsonl"))
    path.write_text('{"text": "late"}\n{"no": "text"}\n')
    feed = files.build("feed", Options(paths=(str(tmp_path / "*.jsonl"),)), [])
    batch = next(feed.read(None, threading.Event()))
    (change,), (refused,) = batch.changes, batch.rejected
    assert "m\\xe4rz.jsonl line 2" in refused.reason
    assert encode(change)
    assert encode(refused)
    rest = feed.read(batch.cursor, threading.Event())
    assert next(rest).changes == []


def test_a_pattern_that_names_no_file_is_answered(tmp_path: Path) -> None:
    nothing = files.build("feed", Options(paths=(str(tmp_path / "*.jsonl"),)), [])
    with pytest.raises(SettingsError, match="no file is called"):
        next(nothing.read(None, threading.Event()))


BERLIN = Form("cp1252", ZoneInfo("Europe/Berlin"))


def said(path: Path, form: Form = BERLIN) -> list[str]:
    """Return each line's text, or why it was refused."""
    outcomes = [piece.outcome for piece in read_file(path, "feed", "m", form=form)]
    return [each.mention.text if isinstance(each, Seen) else each.reason for each in outcomes]  # type: ignore[union-attr]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig"])
def test_what_a_spreadsheet_wrote_is_read(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "export.csv"
    rows = [
        ["Created_at", "Author", "TEXT", ""],
        ["23.11.2026 09:15", "Jörg", '"Koffer weg!\nSeit gestern – niemand hilft"', ""],
        ["2026-07-01", "", "'@delta Flug gestrichen", ""],
    ]
    path.write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    form = BERLIN if encoding == "cp1252" else Form(zone=BERLIN.zone)
    one, other = [piece.outcome for piece in read_file(path, "feed", "m", form=form)]
    assert isinstance(one, Seen)
    assert isinstance(other, Seen)
    assert (one.mention.text, one.mention.author) == (
        "Koffer weg!\nSeit gestern – niemand hilft",
        Author("Jörg"),
    )
    assert one.mention.created_at.isoformat() == "2026-11-23T09:15:00+01:00"
    assert other.mention.created_at.isoformat() == "2026-07-01T00:00:00+02:00"
    assert other.mention.text == "@delta Flug gestrichen"


@pytest.mark.parametrize("header", ["text,author,author.followers", "text,author.handle,Author.Followers"])
def test_an_author_stands_in_several_columns_beside_the_handle_or_without_it(
    tmp_path: Path, header: str
) -> None:
    path = tmp_path / "authors.csv"
    path.write_text(f"{header}\nlate,@amy,12\nlater,@bob,\nlost,,3\n")
    read = [piece.outcome for piece in read_file(path, "feed", "m")]
    assert [each.mention.author for each in read if isinstance(each, Seen)] == [
        Author("amy", followers=12),
        Author("bob"),
        Author(followers=3),
    ]


def test_a_column_beside_columns_of_its_parts_refuses_the_rows_that_fill_both(tmp_path: Path) -> None:
    path = tmp_path / "both.csv"
    path.write_text("text,metrics.likes,metrics\nlate,1,2\nfine,1,\n")
    refused, fine = said(path)
    assert refused == "both.csv line 1: metrics: stands beside metrics.likes; leave one of them out"
    assert fine == "fine"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"23.11.2026 09:15,late", "names no time zone; `hark import --zone Area/City`"),
        (
            b"11/23/2026,late",
            "created_at: expected a time like 2026-11-23T09:15:00+01:00, found '11/23/2026'",
        ),
        (b"31.02.2026,late", "names no time zone"),
        (
            b",sp\xe4t",
            "text: no valid UTF-8; if a spreadsheet wrote it, `hark import --encoding windows-1252`",
        ),
        (b",la\rte", "a carriage return stands in a cell without quotes"),
    ],
)
def test_a_row_that_cannot_be_read_says_what_would_help_and_the_next_is_read(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"created_at,text\n" + row + b"\n,fine\n")
    refused, fine = said(path, Form())
    assert refused.startswith("rows.csv line 1: ")
    assert reason in refused
    assert fine == "fine"


def test_a_quote_that_is_never_closed_is_told_and_waited_for_while_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    path.write_text('text\none\n"two\nthree\n')
    one, open_quote = said(path)
    assert one == "one"
    assert "a quote is opened and never closed" in open_quote
    assert len(list(read_file(path, "feed", "m", whole=False))) == 1
    with path.open("a") as file:
        file.write('four"\nfive\n')
    assert said(path) == ["one", "two\nthree\nfour", "five"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"Datum;Inhalt\n1;2\n", "no column is called text, .* names: Datum, Inhalt"),
        ("a.csv", "text;author\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"text,author\rlate,amy\r", "CR alone"),
        ("a.xlsx", b"PK\x03\x04", "a workbook"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "late"}\n', mtime=0), "compressed; unpack it first"),
    ],
)
def test_a_file_without_a_line_that_can_be_read_says_what_to_do(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=reason):
        columns_of(path, Form())
