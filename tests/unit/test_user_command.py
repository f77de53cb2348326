"""`hark user`: who may sign in, without a password on any command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hark.commands.user import command
from hark.core.errors import SettingsError
from hark.settings import load
from hark.state.people import People
from hark.wiring import state_of

PASSWORD = "a few words make one"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def invoke(*arguments: str, input: str = "", wrong: bool = False) -> Result:
        result = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path)], input=input)
        assert isinstance(result.exception, SettingsError) if wrong else result.exception is None, result
        return result

    return invoke


def test_a_person_is_added_with_the_password_of_standard_input(run: Run, tmp_path: Path) -> None:
    run("add", "Ann", "--role", "lead", input=PASSWORD + "\n")
    run("add", "acme", "--role", "partner", "--brand", "delta", input=PASSWORD + "\n")
    with state_of(load(None, tmp_path)) as state:
        assert People(state).check("ann", PASSWORD)
        newest = People(state).audit()[0]
        assert (newest.person, newest.action) == ("hark user", "person added")
    rows = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [(row["name"], row["role"], row["brands"]) for row in rows] == [
        ("acme", "partner", ["delta"]),
        ("ann", "lead", []),
    ]
    assert PASSWORD not in run("list").output


def test_a_person_is_shut_out_let_in_and_given_another_password(run: Run, tmp_path: Path) -> None:
    run("add", "ann", "--role", "agent", input=PASSWORD + "\n")
    run("disable", "ann")
    assert "disabled" in run("list").stdout
    run("disable", "ann", "--undo")
    run("passwd", "ann", input="another one, longer\n")
    with state_of(load(None, tmp_path)) as state:
        assert People(state).check("ann", PASSWORD) is None
        assert People(state).check("ann", "another one, longer")


def test_a_key_is_printed_once_and_alone(run: Run, tmp_path: Path) -> None:
    run("add", "ann", "--role", "agent", input=PASSWORD + "\n")
    secret = run("key", "ann", "--title", "report", "--scope", "read:trends").stdout.strip()
    with state_of(load(None, tmp_path)) as state:
        found = People(state).key(secret)
        assert found is not None
        assert found[0].scopes == ("read:trends",)


def test_mistakes_are_told(run: Run) -> None:
    for arguments, input in (
        (("add", "ann", "--role", "agent"), "short\n"),
        (("add", "ann", "--role", "agent"), ""),
        (("add", "acme", "--role", "partner"), PASSWORD),
        (("add", "acme", "--role", "partner", "--brand", "nosuch"), PASSWORD),
        (("disable", "bob"), ""),
        (("passwd", "bob"), PASSWORD),
        (("key", "bob", "--title", "x", "--scope", "admin"), ""),
    ):
        run(*arguments, input=input, wrong=True)
