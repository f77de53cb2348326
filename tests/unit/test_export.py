import csv
import io
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from enrich.chain import Chain, build_chain
from hark.commands.export import command
from hark.core.change import Deleted, Tagged
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.mention import Author, Mention, Metrics, Place
from hark.core.protocols import Hit, Store
from hark.export import COLUMNS, FORMATS, PAGE, export, hits_of, mask, parts
from hark.query import parse
from hark.settings import SHIPPED, load
from ingest.files import read_file
from sinks import open_store
from tests.support.queries import TAXONOMY, collections

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVERY = parse("")
SECRET = "mail amy@example.com or 555-123-4567, flight WN1234 to DEN was late and awful"


@pytest.fixture(scope="module")
def chain() -> Chain:
    shipped = load(SHIPPED, Path("unused"))
    return build_chain(shipped.config, shipped.brands)


def hits(chain: Chain, *texts: str, **fields: Any) -> list[Hit]:
    mentions = [Mention(f"x:{at}", "x", text, AT, AT, **fields) for at, text in enumerate(texts)]
    return [Hit(*pair) for pair in zip(mentions, chain.tag(mentions), strict=True)]


def written(some: Any, format: str) -> bytes:
    file = io.BytesIO()
    export(some, file, format, lambda number: None)
    return file.getvalue()


def test_personal_data_is_covered_and_every_place_lies_where_it_lay(chain: Chain) -> None:
    (hit,) = hits(
        chain, SECRET, title="call 555-123-4567", author=Author("amy", description="me@example.com")
    )
    covered = mask(hit)
    assert covered.mention.text == (
        "mail [e-mail address] or [phone number], flight WN1234 to DEN was late and awful"
    )
    assert covered.mention.title == "call [phone number]"
    assert covered.mention.author is not None
    assert (covered.mention.author.handle, covered.mention.author.description) == ("amy", "[e-mail address]")
    told = {
        reason.tag: covered.mention.text[reason.start : reason.end] for reason in covered.enrichment.reasons
    }
    assert (told["pii:email"], told["pii:phone"]) == ("[e-mail address]", "[phone number]")
    before = [
        (each.kind, each.value, hit.mention.text[each.start : each.end]) for each in hit.enrichment.entities
    ]
    after = [
        (each.kind, each.value, covered.mention.text[each.start : each.end])
        for each in covered.enrichment.entities
    ]
    assert before == after
    assert {kind for kind, _, _ in after} >= {"flight", "airport"}
    for format in ("jsonl", "csv", "parquet"):
        whole = written([covered], format)
        assert b"amy@example.com" not in whole
        assert b"123-4567" not in whole


def test_what_holds_nothing_personal_stays_as_it_is(chain: Chain) -> None:
    (hit,) = hits(chain, "@SouthwestAir 2 hours late, call 1-800-435-9792?")
    assert mask(hit) == hit


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["a@b.co ", "555-123-4567 ", "😡 ", "WN1234 ", "PNR ABC123 ", "4111 1111 1111 1111", "x"]
        )
    )
)
def test_places_in_masked_texts_hold_what_they_held(chain: Chain, parts: list[str]) -> None:
    (hit,) = hits(chain, "".join(parts))
    covered = mask(hit)
    text = covered.mention.text
    for reason in covered.enrichment.reasons:
        assert 0 <= reason.start <= reason.end <= len(text)
        if reason.tag.startswith("pii:"):
            assert text[reason.start : reason.end] == f"[{reason.why}]"
    for entity in covered.enrichment.entities:
        assert text[entity.start : entity.end].strip()
        assert "[" not in text[entity.start : entity.end]


def test_jsonl_is_what_search_prints(chain: Chain) -> None:
    (hit,) = hits(chain, "late", metrics=Metrics(likes=2))
    (line,) = written([hit], "jsonl").splitlines()
    shown = json.loads(line)
    assert (shown["id"], shown["metrics"], shown["enrichment"]["language"]["code"]) == (
        "x:0",
        {"likes": 2},
        "unknown",
    )


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@delta", "\t=1", "  =cmd|' /C calc'!A0", "＝1", "\r=1"]
)
def test_csv_holds_no_formula(chain: Chain, text: str) -> None:
    (hit,) = hits(chain, text, title=text, author=Author(text, name=text), place=Place(name=text))
    (row,) = csv.DictReader(io.StringIO(written([hit], "csv").decode(), newline=""))
    for name in ("text", "title", "author.handle", "author.name", "place.name"):
        assert row[name] == "'" + text


def test_csv_and_jsonl_are_read_again_by_import(chain: Chain, tmp_path: Path) -> None:
    (hit,) = hits(
        chain,
        '@delta late, again\n"really"',
        author=Author("amy", id="7", followers=12, verified=True),
        metrics=Metrics(likes=2, views=30),
        place=Place(name="Dallas, TX", country="US"),
        in_reply_to="x:9",
        edit=3,
    )
    for format in ("csv", "jsonl"):
        file = tmp_path / f"out.{format}"
        file.write_bytes(written([hit], format))
        (piece,) = read_file(file, "x", "marker")
        assert msgspec.structs.asdict(piece.outcome)["mention"] == hit.mention


def test_parquet_has_typed_columns_and_all_rows(chain: Chain, tmp_path: Path) -> None:
    some = hits(chain, *["late"] * 3, author=Author("amy", followers=1 << 70))
    table = pyarrow.parquet.read_table(io.BytesIO(written(some, "parquet")))
    assert table.column_names == list(COLUMNS)
    assert table["created_at"].to_pylist() == [AT] * 3
    assert table["author.followers"].to_pylist() == [(1 << 63) - 1] * 3
    assert table["text"].to_pylist() == ["late"] * 3
    none = pyarrow.parquet.read_table(io.BytesIO(written([], "parquet")))
    assert (none.num_rows, none.schema) == (0, table.schema)


@settings(max_examples=15, deadline=None)
@given(collections(max_size=8))
def test_whatever_is_stored_can_be_exported(pairs: list[tuple[Mention, Any]]) -> None:
    some = [mask(Hit(*pair)) for pair in pairs]
    assert written(some, "jsonl").count(b"\n") == len(some)
    assert len(list(csv.reader(io.StringIO(written(some, "csv").decode(), newline="")))) == len(some) + 1
    assert pyarrow.parquet.read_table(io.BytesIO(written(some, "parquet"))).num_rows == len(some)


def filled(folder: Path, chain: Chain, count: int) -> Store:
    store = open_store("embedded", folder, TAXONOMY)
    (hit,) = hits(chain, "call 555-123-4567")
    later = timedelta(milliseconds=7)
    items = [
        Tagged(replace(hit.mention, id=f"x:{at:05}", created_at=AT + at // 3 * later), hit.enrichment)
        for at in range(count)
    ]
    assert store.write(items) == []
    return store


def test_every_copy_comes_once_and_what_is_deleted_meanwhile_comes_no_more(
    tmp_path: Path, chain: Chain
) -> None:
    count = 2 * PAGE + 500
    with closing(filled(tmp_path, chain, count)) as store:
        expected = [f"x:{at:05}" for at in reversed(range(count))]
        assert [hit.mention.id for hit in hits_of(store, EVERY, None, None)] == expected
        drawn = hits_of(store, EVERY, None, None)
        first = [hit.mention.id for hit in islice(drawn, 10)]
        (new,) = hits(chain, "new")
        news = Tagged(replace(new.mention, id="x:new", created_at=AT + timedelta(days=1)), new.enrichment)
        store.write([Deleted("x:00000", "author", AT), news])
        assert first + [hit.mention.id for hit in drawn] == expected[:-1]


def test_memory_does_not_grow_with_the_number_of_mentions(chain: Chain) -> None:
    (hit,) = hits(chain, "late")

    def peak(format: str, number: int) -> int:
        with open(os.devnull, "wb") as nowhere:
            tracemalloc.start()
            export(repeat(hit, number), nowhere, format, lambda count: None)
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return highest

    for format in ("jsonl", "csv"):
        assert peak(format, 5 * PAGE) < 1.2 * peak(format, 2 * PAGE) + 100_000


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--data", str(folder), *arguments])


def test_the_command_masks_unless_told_otherwise(tmp_path: Path, chain: Chain) -> None:
    filled(tmp_path, chain, 3).close()
    masked = run(tmp_path, "")
    assert (masked.exit_code, masked.stdout.count("\n"), masked.stderr) == (0, 3, "3 mentions\n")
    assert "555-123-4567" not in masked.stdout
    assert run(tmp_path, "", "--unmasked").stdout.count("555-123-4567") == 3
    none = run(tmp_path, "nowhere", "--format", "csv")
    assert (none.exit_code, none.stdout, none.stderr) == (0, ",".join(COLUMNS) + "\n", "0 mentions\n")
    out = tmp_path / "out.parquet"
    assert run(tmp_path, "id:x:00001", "--out", str(out)).exit_code == 0
    assert pyarrow.parquet.read_table(out)["id"].to_pylist() == ["x:00001"]


def test_what_stops_half_way_leaves_no_file_and_says_so(
    tmp_path: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hit,) = hits(chain, "late")

    def broken(*arguments: object) -> Iterator[Hit]:
        yield from repeat(hit, PAGE + 1)
        raise TransientError("the store is away")

    monkeypatch.setattr("hark.commands.export.hits_of", broken)
    out = tmp_path / "out.csv"
    result = run(tmp_path, "", "--out", str(out))
    assert isinstance(result.exception, TransientError)
    assert "stopped after 1,000 mentions" in result.stderr
    assert [path for path in tmp_path.iterdir() if "out.csv" in path.name] == []


def test_what_cannot_be_written_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path, "", "--out", str(tmp_path / "no" / "out.csv"))
    assert isinstance(result.exception, SettingsError)
    assert "out.csv: cannot be written" in str(result.exception)
    full = run(tmp_path, "", "--format", "csv", "--out", "/dev/full")
    assert isinstance(full.exception, FatalError)
    assert Path("/dev/full").is_char_device()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    missing = run(tmp_path, "", "--format", "parquet")
    assert isinstance(missing.exception, SettingsError)
    assert "pip install 'hark[parquet]'" in str(missing.exception)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_comes_part_by_part_and_its_parts_are_the_file(format: str, chain: Chain) -> None:
    (hit,) = hits(chain, "=late again")
    endless = parts(repeat(hit), format)
    assert all(number >= PAGE for _, number in islice(endless, 3))
    some = [hit] * (PAGE + 1)
    assert b"".join(data for data, _ in parts(some, format)) == written(some, format)
