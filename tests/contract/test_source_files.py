"""Files as a source: followed as they grow, from offset and line number."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hark.core.change import Rejected, Seen
from hark.core.errors import SettingsError
from hark.core.protocols import Source
from ingest import files
from ingest.files import FilesSource, Options, file_hash, read_file
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
        ('{"text": "\\ud800"}', "no JSON object"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    (piece,) = read_file(path, "feed", file_hash(path))
    assert isinstance(piece.outcome, Rejected)
    assert f"bad.jsonl line 1: {reason}" in piece.outcome.reason
    assert piece.outcome.original == line.encode()


def test_a_pattern_that_names_no_file_is_answered(tmp_path: Path) -> None:
    nothing = files.build("feed", Options(paths=(str(tmp_path / "*.jsonl"),)), [])
    with pytest.raises(SettingsError, match="no file is called"):
        next(nothing.read(None, threading.Event()))
