import json

import pytest
from click.testing import CliRunner

from hark.commands.query import command
from hark.query import QueryError
from hark.query.fields import BY_NAME, FIELDS


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
