import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hark.commands.query import command
from hark.commands.search import command as search
from hark.commands.show import mention_line
from hark.core.errors import SettingsError
from hark.core.mention import Enrichment, Mention
from hark.query import QueryError
from hark.query.fields import BY_NAME, FIELDS
from hark.query.match import Highlights
from sinks import open_store
from tests.contract.store_contract import tagged


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_explain_shows_the_tree_and_what_each_platform_is_asked() -> None:
    shown = run("explain", '@delta OR ("lost bag" delay* -united followers>=10)')
    for line in (
        "any of:",
        "  the handle @delta",
        "  all of:",
        '    the phrase "lost bag"',
        "    a word like delay*",
        "    not the word united",
        "    followers is at least 10",
        "X's filtered stream is asked:",
        "  @delta OR (lost bag)",
        "Reddit's search is asked:",
        "  delta OR (lost AND bag)",
        '    the order of "lost bag"',
        "    NOT united",
    ):
        assert line in shown.splitlines()


def test_explain_says_when_a_platform_cannot_filter() -> None:
    assert "nothing: X's search cannot filter" in run("explain", "-delta")


def test_explain_as_json_has_tree_and_canonical_text() -> None:
    shown = json.loads(run("explain", "--json", "a  b NEAR/2 (c OR d)"))
    assert shown["canonical"] == "a AND b NEAR/2 (c OR d)"
    assert shown["tree"]["type"] == "and"
    assert shown["platforms"]["X's search"]["filters"] == ["a b (c OR d)"]


def test_a_mistake_reaches_the_person_as_an_error_of_the_query() -> None:
    with pytest.raises(QueryError, match="position 3"):
        run("explain", "a (b")


def test_fields_lists_every_field() -> None:
    shown = run("fields")
    assert all(info.name in shown for info in FIELDS)
    assert [json.loads(line)["name"] for line in run("fields", "--json").splitlines()] == [
        i.name for i in FIELDS
    ]
    assert len(BY_NAME) == sum(1 + len(info.aliases) for info in FIELDS), "two fields share a name"


# With a store

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(open_store("embedded", tmp_path, {})) as store:
        store.write(
            [
                tagged("x:1", "my bag is late, late, late", NOW - timedelta(days=1)),
                tagged("x:2", "late again", NOW - timedelta(hours=3)),
                tagged("x:3", "lost bags, lost hope", NOW - timedelta(hours=2), title="Bags"),
                tagged("x:4", "a bag of old", NOW - timedelta(days=30)),
            ]
        )
    return tmp_path


def found(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(search, [*arguments, "--json", "--data", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_explain_says_what_a_store_is_asked_what_is_decided_here_and_how_much_it_finds(folder: Path) -> None:
    shown = run("explain", "bag* (my ONEAR/3 late)", "--data", str(folder)).splitlines()
    assert '  match: (("my" AND "late") AND "bag" *)' in shown
    assert "    my ONEAR/3 late" in shown
    assert "bag* stands for 2 words: bag, bags" in shown
    assert any(line.startswith("In the last seven days: 1 mentions, counted in") for line in shown)
    as_json = json.loads(run("explain", "bag*", "--json", "--data", str(folder)))
    assert as_json["stores"]["embedded"] == {"request": {"match": '"bag" *'}, "decided": []}
    assert as_json["stores"]["elasticsearch"]["request"]["query"] == {"prefix": {"tokens": {"value": "bag"}}}
    assert (as_json["volume"]["count"], as_json["volume"]["exact"]) == (2, True)


def test_explain_makes_no_files(tmp_path: Path) -> None:
    assert "there is no store in" in run("explain", "bag", "--data", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_search_is_saved_changed_compared_used_and_deleted(folder: Path) -> None:
    data = ["--data", str(folder)]
    assert run("save", "bags", "bag", "--by", "ana", "--notes", "for Monday", *data) == "bags: saved\n"
    assert run("save", "bags", "bag", "--by", "bo", *data) == "bags: nothing has changed\n"
    compared = json.loads(run("diff", "bags", "late", "--json", *data))
    assert (compared["kept"], compared["added"]["count"], compared["lost"]["count"]) == (1, 1, 0)
    shown = run("save", "bags", "bags", "--by", "bo", *data)
    assert "bags: saved, version 2\n0 found by both\n+1 added" in shown
    assert "lost bags, lost hope" in shown
    assert "−1 lost" in run("diff", "bags", *data)
    (listed,) = [json.loads(line) for line in run("list", "--json", *data).splitlines()]
    assert (listed["owner"], listed["query"], listed["notes"]) == ("ana", "bags", "for Monday")
    assert "bags" in run("list", *data)
    assert [
        line.split(", by ")[1] for line in run("show", "bags", *data).splitlines() if ", by " in line
    ] == [
        "bo",
        "ana",
    ]
    assert [hit["id"] for hit in found(folder, "--saved", "bags")] == ["x:3"]
    assert run("delete", "bags", *data) == "bags: deleted\n"
    with pytest.raises(SettingsError, match="no saved search 'bags'"):
        run("delete", "bags", *data)


def test_search_sorts_by_relevance_samples_and_says_where_it_found_what(folder: Path) -> None:
    assert [hit["id"] for hit in found(folder, "late OR lost")] == ["x:3", "x:2", "x:1"]
    assert [hit["id"] for hit in found(folder, "late OR lost", "--sort", "relevance")] == [
        "x:3",
        "x:1",
        "x:2",
    ]
    sample = [hit["id"] for hit in found(folder, "", "--sample", "3")]
    assert sample == [hit["id"] for hit in found(folder, "", "--sample", "3")]
    assert sample == sorted(sample, key=["x:3", "x:2", "x:1", "x:4"].index)
    (hit,) = found(folder, "bag*", "--highlight", "--since", "4h")
    assert hit["highlights"] == {"title": [[0, 4]], "text": [[5, 9]]}
    with pytest.raises(SettingsError, match="--sample"):
        found(folder, "", "--sample", "3", "--limit", "4")
    with pytest.raises(SettingsError, match="--saved NAME"):
        found(folder)


def test_a_terminal_shows_the_part_of_a_text_that_was_found() -> None:
    line = mention_line(*tagged_parts("word " * 60 + "bag" + " word" * 60), Highlights(text=((300, 303),)))
    assert "] …rd word" in line.plain
    (span,) = [span for span in line.spans if span.style == "bold yellow"]
    assert line.plain[span.start : span.end] == "bag"


def tagged_parts(text: str) -> tuple[Mention, Enrichment]:
    item = tagged("x:1", text, NOW)
    return item.mention, item.enrichment
