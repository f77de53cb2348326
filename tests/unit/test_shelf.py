"""Promotion in a folder of models: killed anywhere, one whole model serves, and the next process finishes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enrich.shelf import Shelf, opened
from hark.core.errors import SettingsError


class KilledError(BaseException):
    """What stands for SIGKILL: nothing catches it."""


def put(folder: Path, name: str) -> None:
    """Write a model called `name`, with its card and a file that it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"topic-{name}.second").write_text(name)
    for suffix in ("model", "json", "md"):
        (folder / f"topic.{suffix}").write_text(name)


def whole(folder: Path) -> str:
    """Return the name of the model in a folder; fails where it is not whole."""
    name = (folder / "topic.model").read_text()
    assert (folder / f"topic-{name}.second").read_text() == name
    return name


def settled(folder: Path) -> str:
    """Return the name of the model in a folder of which all is one model's."""
    name = whole(folder)
    files = {path.name for path in folder.iterdir() if path.is_file() and path.name.startswith("topic")}
    assert files == {"topic.model", "topic.json", "topic.md", f"topic-{name}.second"}
    assert {(folder / file).read_text() for file in files} == {name}
    return name


def trained(shelf: Shelf, name: str) -> None:
    put(shelf.part(), name)
    shelf.keep()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder where "two" serves, "one" did before, and "three" waits."""
    models = tmp_path / "models"
    with opened(models, "topic") as shelf:
        for name in ("one", "two"):
            trained(shelf, name)
            shelf.promote(shelf.candidate)
        trained(shelf, "three")
    return models


def test_what_is_promoted_serves_and_what_served_can_be_brought_back(folder: Path) -> None:
    with opened(folder, "topic") as shelf:
        assert (settled(folder), settled(shelf.previous), settled(shelf.candidate)) == ("two", "one", "three")
        shelf.promote(shelf.candidate)
        assert (settled(folder), settled(shelf.previous)) == ("three", "two")
        assert not shelf.candidate.exists()
        shelf.promote(shelf.previous)
        assert (settled(folder), settled(shelf.previous)) == ("two", "three")
        shelf.promote(shelf.previous)
        assert (settled(folder), settled(shelf.previous)) == ("three", "two")


def test_a_new_candidate_takes_the_place_of_the_last_one(folder: Path) -> None:
    with opened(folder, "topic") as shelf:
        trained(shelf, "four")
        assert settled(shelf.candidate) == "four"
        assert settled(folder) == "two"


def test_the_other_task_and_files_of_the_user_are_left_alone(folder: Path) -> None:
    others = ["sentiment.model", "sentiment.json", "sentiment-x.second", "topic-labels.csv", "topic.csv"]
    for name in others:
        (folder / name).write_text("mine")
    with opened(folder, "topic") as shelf:
        shelf.promote(shelf.candidate)
    assert {(folder / name).read_text() for name in others} == {"mine"}


def test_nothing_is_promoted_where_there_is_nothing(folder: Path) -> None:
    with opened(folder, "topic") as shelf:
        shelf.promote(shelf.candidate)
        with pytest.raises(SettingsError, match="topic-candidate: no model for topic"):
            shelf.promote(shelf.candidate)
    assert settled(folder) == "three"


def _dying(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], int]:
    """Let the process die before its change number `after` of the disk; return how many it made."""
    made = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            if made == after:
                raise KilledError
            made += 1
            return real(*arguments, **named)

        return change

    def one_by_one(path: Path, **_: object) -> None:
        """Remove a folder as rmtree does: file by file, then itself."""
        if path.exists():
            for each in sorted(path.iterdir()):
                each.unlink()
            path.rmdir()

    def half_first(source: Path, target: Path) -> None:
        """Copy as a process does that may be killed within a file: a part of it, then all."""
        target = target / source.name if target.is_dir() else target
        open_and_write(target, source.read_text()[:1])
        open_and_write(target, source.read_text())

    open_and_write = counted(Path.write_text)
    monkeypatch.setattr(shutil, "rmtree", one_by_one)
    monkeypatch.setattr(shutil, "copy2", half_first)
    for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    return lambda: made


@pytest.mark.parametrize(
    ("place", "new", "last"), [("candidate", "three", "two"), ("previous", "one", "two")]
)
def test_killed_anywhere_one_whole_model_serves_and_the_next_process_finishes(
    folder: Path, tmp_path: Path, place: str, new: str, last: str
) -> None:
    outcomes = []
    for after in range(200):
        models = tmp_path / f"killed-{after}"
        shutil.copytree(folder, models)
        with pytest.MonkeyPatch.context() as patch:
            changes = _dying(patch, after)
            try:
                with opened(models, "topic") as shelf:
                    shelf.promote(getattr(shelf, place))
                done = True
            except KilledError:
                done = False
            assert changes() == after or done
        serving = whole(models)
        assert serving in (last, new)
        with opened(models, "topic") as shelf:
            assert settled(models) == serving
            if serving == new:
                assert settled(shelf.previous) == last
            else:
                assert settled(shelf.previous) == "one"
            assert {path.name for path in models.iterdir() if path.is_dir()} <= {
                "topic-candidate",
                "topic-previous",
            }
            # Killed while the candidate is removed that serves already: nothing half waits to be promoted.
            if shelf.candidate.exists():
                assert settled(shelf.candidate) == "three"
        outcomes.append(serving)
        if done:
            break
    assert done
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes, key=(last, new).index)
