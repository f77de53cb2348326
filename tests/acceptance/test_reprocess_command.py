"""`hark reprocess` and `hark diff`, the real program: killed, taken up again, promoted, rolled back, dropped."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from hark.commands.diff import command as diff_command
from hark.commands.reprocess import command as reprocess_command
from hark.core.change import MENTIONS, Change, Labelled, Seen, encode, key_of
from hark.core.clock import now
from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.generations import Progress
from hark.query import parse
from hark.settings import SHIPPED, load
from hark.wiring import bus_of, reprocessing_of, store_of
from tests.support.center import Center, wait_for

MENTIONED = 400
OLD, NEW = "late-flight", "tardy-flight"


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """A center with some mentions, one of them labelled, and a taxonomy that names one topic anew."""
    center = Center(tmp_path_factory.mktemp("reprocess"))
    rows = [
        {
            "id": str(n),
            "text": f"@SouthwestAir my flight {n} was two hours late"
            if n % 2
            else f"@Delta lovely crew on flight {n}",
            "created_at": f"2026-01-{1 + n % 28:02}T12:00:00Z",
        }
        for n in range(MENTIONED)
    ]
    file = center.folder / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    taxonomy = (SHIPPED / "topics.toml").read_text().replace(f'"{OLD}"', f'"{NEW}"')
    (center.folder / "topics.toml").write_text(taxonomy)
    with center.running():
        center.run("import", str(file))
        publish(center, Labelled("import:15", "sentiment", "positive", "ana", now()))
        center.settled()
        yield center


def publish(center: Center, change: Change) -> None:
    with bus_of(load(None, center.data)) as bus:
        bus.publish(MENTIONS, [(key_of(change), encode(change))])


def run(center: Center, name: str, *arguments: str) -> str:
    """Run a command in this process, which is quicker by the start of Python; returns its standard output."""
    places = ["--config", str(SHIPPED), "--data", str(center.data)]
    command = {"diff": diff_command, "reprocess": reprocess_command}[name]
    first, rest = (
        (arguments[:1], arguments[1:])
        if arguments[:1] and not arguments[0].startswith("-")
        else ((), arguments)
    )
    done = CliRunner().invoke(command, [*first, *places, *rest], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def _signals_stay_with_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hark.commands.reprocess.stop_on_signals", threading.Event)


@pytest.fixture(scope="module")
def store(center: Center) -> Iterator[Store]:
    """The store as a long-lived process has it open."""
    with store_of(load(None, center.data)) as store:
        yield store


def generations(center: Center) -> list[Progress]:
    with reprocessing_of(load(None, center.data)) as reprocessing:
        return reprocessing.overview()


def test_history_is_tagged_again_promoted_rolled_back_and_dropped(center: Center, store: Store) -> None:
    def count(query: str) -> int:
        return store.count(parse(query))

    late = count(f"topic:{OLD}")
    assert late > MENTIONED / 3
    work = center.start(
        *(
            "reprocess",
            "--since",
            "2026-01-08",
            "--taxonomy",
            str(center.folder / "topics.toml"),
            "--rate",
            "200",
        )
    )
    # The workers belong to `hark up`; the feeder is killed while it works, and so is the command that shows it.
    feeder = wait_for(lambda: worker(center, "feed-g1"), "the feeder to run")
    wait_for(lambda: generations(center)[-1].sent, "history to be sent")
    os.kill(feeder, signal.SIGKILL)
    work.kill()
    work.wait()
    center.run("reprocess", "follow")
    assert count(f"topic:{OLD}") == late

    found = json.loads(run(center, "diff", "--json", "--until", "2026-02-01"))
    moves = {(move["before"], move["after"]): move["count"] for move in found["moves"]["topic"]}
    again = moves[OLD, "none"]
    assert moves == {(OLD, "none"): again, ("none", NEW): again}
    assert 0 < again < late  # what is older than --since keeps its topic
    assert found["moves"]["sentiment"] == []
    assert found["changed"] == again
    assert found["missing"] == 0
    courses = {course["value"]: (course["before"], course["after"]) for course in found["trends"]["topic"]}
    assert courses[OLD] == (late, late - again)
    assert courses[NEW] == (0, again)
    assert f"{OLD} → none" in run(center, "diff")

    run(center, "reprocess", "promote")
    wait_for(lambda: count(f"topic:{NEW}") == again, "an open store to notice the flip")
    assert count(f"topic:{OLD}") == late - again
    status = center.status("--verify")
    assert status["balanced"]
    assert [(each["number"], each["serving"]) for each in status["generations"]] == [(0, False), (1, True)]
    assert next(store.search(parse(""), limit=1)).enrichment.generation == 1
    labelled = store.get("import:15")
    assert labelled is not None
    assert labelled.enrichment.sentiment.label == "positive"

    publish(center, Seen(msgspec.structs.replace(labelled.mention, id="import:live", created_at=now())))
    wait_for(lambda: count(f"topic:{NEW}") == again + 1, "a new mention to get the new topic")

    run(center, "reprocess", "rollback")
    wait_for(lambda: count(f"topic:{OLD}") == late + 1, "the same mention to have its old topic")
    assert count(f"topic:{NEW}") == 0
    run(center, "reprocess", "drop")
    wait_for(lambda: len(generations(center)) == 1, "the other generation to be gone")
    # The way of the generation that stays ends after the other one is gone.
    wait_for(
        lambda: not [*center.data.glob("store-g*"), *center.data.glob("log/*-g*.db")],
        "what both left behind to be removed",
    )
    assert center.status("--verify")["balanced"]


def worker(center: Center, name: str) -> int | None:
    try:
        rows = json.loads((center.data / "reprocess.json").read_text())
    except FileNotFoundError:
        return None
    return next((row["pid"] for row in rows if row["role"] == name), None)


def test_what_cannot_be_is_told_in_a_line(tmp_path: Path) -> None:
    center = Center(tmp_path)
    (tmp_path / "topics.toml").write_text("[[topic]]\nid = 3\n")
    wrong = {
        ("diff",): "there is one generation only",
        ("reprocess", "--since", "soon"): "expected a date",
        ("reprocess", "promote"): "no other generation",
        ("reprocess", "rollback"): "nothing to go back to",
        ("reprocess", "drop", "7"): "no generation 7",
        ("reprocess", "--since", "7d", "--taxonomy", str(tmp_path / "topics.toml")): "topics.toml",
    }
    for arguments, told in wrong.items():
        with pytest.raises(SettingsError, match=told):
            run(center, *arguments)
    assert "--since is missing" in CliRunner().invoke(reprocess_command, []).output
    assert "Nothing was ever" not in run(center, "reprocess", "status")
