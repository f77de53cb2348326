"""`hark trends` as people use it: what it prints, and that each of its numbers is what `hark search` counts."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest

from hark.commands.times import point
from hark.query import parse
from hark.settings import load
from hark.trends.tables import PARTS
from hark.wiring import store_of
from tests.support.center import Center

RANGE = ("--since", "2026-03-01", "--until", "2026-03-03", "--zone", "Asia/Kathmandu", "--interval", "1d")
LINES = [
    # 23:00 of February and 00:15 of March in Kathmandu
    {"text": "@SouthwestAir lost my bag", "created_at": "2026-02-28T17:15:00Z"},
    {"text": "@SouthwestAir my flight was cancelled, nobody helps", "created_at": "2026-02-28T18:30:00Z"},
    {"text": "@Delta love the crew", "created_at": "2026-03-01T12:00:00Z", "author": "=HYPERLINK(1)"},
    {
        "text": "@SouthwestAir and @Delta both late",
        "created_at": "2026-03-02T12:00:00Z",
        "author": "\u202eevil\x1b[2J",
    },
]


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory) -> Center:
    center = Center(tmp_path_factory.mktemp("trends"), COLUMNS="80", LC_ALL="C.UTF-8")
    file = center.folder / "in.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    with center.running():
        center.run("import", str(file))
        center.settled()
    return center


def numbers(shown: Any) -> Iterator[dict[str, Any]]:
    for inner in shown.values() if isinstance(shown, dict) else shown if isinstance(shown, list) else ():
        yield from numbers(inner)
    if isinstance(shown, dict) and "count" in shown:
        yield shown


def test_every_number_is_what_search_counts(center: Center) -> None:
    shown = json.loads(center.run("trends", "", "--json", "--by", "topic", *RANGE).stdout)
    assert shown["tally"]["mentions"]["count"] == 3
    assert [each["tally"]["mentions"]["count"] for each in shown["intervals"]] == [2, 1]
    assert shown["compared"]["tally"]["mentions"]["count"] == 1
    assert {author["handle"] for author in shown["authors"]["by_mentions"]} >= {"=hyperlink(1)"}
    found = list(numbers(shown))
    assert len(found) > 100
    with store_of(load(None, center.data)) as store:
        for number in found:
            since, until = point(number["since"], "--since"), point(number["until"], "--until")
            assert store.count(parse(number["query"]), since, until) == number["count"], number
    number = next(one for one in found if one["count"] == 1 and "sentiment" in one["query"])
    times = "--since", number["since"], "--until", number["until"]
    assert center.run("search", number["query"], "--count", *times).stdout == b"1\n"


def test_what_is_printed_is_80_columns_wide_and_harmless(center: Center) -> None:
    said = center.run("trends", "", "--by", "brand", *RANGE).stdout.decode()
    assert "3 mentions; 1 in the period before (+200 %)" in said
    assert "Mon 2026-03-02" in said
    assert not {"\x1b", "\u202e"} & set(said)
    assert max(map(len, said.splitlines())) <= 80


def test_a_spreadsheet_finds_no_formula(center: Center) -> None:
    rows = list(csv.DictReader(io.StringIO(center.run("trends", "", "--csv", "-", *RANGE).stdout.decode())))
    assert {row["value"] for row in rows if row["part"] == "author"} >= {"'=hyperlink(1)"}
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@", "\t"))]
    assert [row["mentions"] for row in rows if row["part"] == "interval"] == ["2", "1"]
    assert {row["net"] for row in rows if row["value"] == "southwest" and row["part"] == "brand"} <= {
        "-1.0",
        "-0.5",
    }


def test_files_hold_what_is_printed(center: Center) -> None:
    folder = center.folder
    files = "--csv", str(folder / "out.csv"), "--parquet", str(folder / "tables")
    assert center.run("trends", "", *files, *RANGE).stdout == b""
    printed = center.run("trends", "", "--csv", "-", *RANGE).stdout
    assert (folder / "out.csv").read_bytes() == printed
    rows = list(csv.DictReader(io.StringIO(printed.decode(), newline="")))
    assert {path.stem for path in (folder / "tables").iterdir()} == set(PARTS)
    for part in PARTS:
        table = pyarrow.parquet.read_table(folder / "tables" / f"{part}.parquet")
        assert table["query"].to_pylist() == [row["query"] for row in rows if row["part"] == part]
        assert table.schema.metadata[b"hark.zone"] == b"Asia/Kathmandu"
    missing = center.run("trends", "", "--csv", str(folder / "no" / "out.csv"), *RANGE, expect=2)
    assert b"cannot be written" in missing.stderr


def test_nothing_is_said_in_words_and_what_is_wrong_too(center: Center) -> None:
    assert "No mention; 0 in the period before" in center.run("trends", "nowhere", *RANGE).stdout.decode()
    empty = center.run("trends", "", "--since", "2026-03-01", "--until", "2026-03-01").stdout.decode()
    assert "The range is empty" in empty
    for wrong, said in (
        (("--zone", "Berlin"), "Europe/Berlin"),
        (("--against", "brand:"), "expected a value"),
    ):
        assert said in center.run("trends", "", *wrong, expect=2).stderr.decode()


def test_another_query_is_compared_in_the_same_time(center: Center) -> None:
    answer = center.run("trends", "brand:southwest", "--against", "brand:delta", "--json", *RANGE).stdout
    shown = json.loads(answer)
    assert (shown["tally"]["mentions"]["count"], shown["compared"]["tally"]["mentions"]["count"]) == (2, 2)
    assert shown["compared"]["kind"] == "query"
    assert shown["compared"]["tally"]["mentions"]["query"] == "brand:delta"
