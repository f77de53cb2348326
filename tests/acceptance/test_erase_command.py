"""`hark erase`, the real program: an author goes from everything, stays gone, and the books balance."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from hark.alerts import desk
from hark.alerts.incidents import Incident, Member
from hark.alerts.voices import Concentration
from hark.core.change import Labelled
from hark.core.clock import now, to_ms
from hark.labelling import give
from hark.query import parse
from hark.settings import load
from hark.state import open_state
from hark.state.labels import Labels
from hark.wiring import bus_of, store_of
from tests.support.center import Center, wait_for
from tests.support.incidents import record

SECRET = "velociraptor"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Center:
    """A center whose roles do not run yet."""
    return Center(tmp_path_factory.mktemp("erase"))


@pytest.fixture(scope="module")
def asked_for_dan(idle: Center) -> subprocess.CompletedProcess[bytes]:
    """Return what was said when an author was to be erased while no role ran."""
    idle.run("import", lines(idle, "dan", [*said("dan", 3, SECRET), *said("fay", 1, "again")]))
    return idle.run("erase", "--author", "dan", "--yes", "--wait", "0", expect=1)


@pytest.fixture(scope="module")
def center(idle: Center, asked_for_dan: object) -> Iterator[Center]:
    """The same center when they run."""
    with idle.running():
        idle.settled()
        yield idle


def lines(center: Center, name: str, rows: list[dict[str, Any]]) -> str:
    file = center.folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def put(center: Center, name: str, rows: list[dict[str, Any]], expect: int = 0) -> None:
    center.run("import", lines(center, name, rows), expect=expect)
    center.settled()


def said(author: str, many: int, text: str, source: str = "survey") -> list[dict[str, Any]]:
    return [
        {
            "id": f"{author}-{source}-{n}",
            "source": source,
            "text": f"@SouthwestAir flight {n} was late, {text}",
            "author": author,
            "created_at": f"2026-03-0{1 + n % 9}T12:00:00Z",
        }
        for n in range(many)
    ]


def held(center: Center, query: str) -> int:
    """Return how many mentions the store finds."""
    with store_of(load(None, center.data)) as store:
        return store.count(parse(query))


def deleted(center: Center) -> int:
    with store_of(load(None, center.data)) as store:
        return sum(books.deleted for books in store.account([])[0].values())


def incident(center: Center, author: str) -> None:
    """Record an incident that an author wrote most of."""
    at, rule = to_ms(now()) // 300_000 * 300_000, "complaint-spike"
    member = Member(rule, "southwest", at, at, at + 300_000, 30, 1.0, 0.1, 5)
    wrote = Concentration(30, 1, author, 1.0, 1.0, 0.0, None, "one author wrote 100% of it")
    found = Incident(
        f"of-{author}",
        rule,
        "Complaints",
        "count",
        "spike",
        at,
        at,
        [member],
        headline="many",
        concentration=wrote,
    )
    with closing(open_state("embedded", center.data)) as state:
        record(state, load(None, center.data), found)


def most_wrote(center: Center) -> list[str]:
    """Return who wrote most of each incident."""
    with closing(open_state("embedded", center.data)) as state:
        found = [shown.incident.concentration for shown in desk.list_incidents(state)]
    return [one.top_author for one in found if one is not None]


def test_without_roles_it_says_what_waits_and_nothing_is_lost(
    asked_for_dan: subprocess.CompletedProcess[bytes], center: Center
) -> None:
    assert b"3 mentions are not deleted yet: is `hark up` running?" in asked_for_dan.stderr
    assert (held(center, "author:dan"), held(center, "author:fay")) == (0, 1)
    assert deleted(center) == 3
    assert (
        b"survey:dan-survey-0: is deleted already"
        in center.run("erase", "survey:dan-survey-0", expect=1).stderr
    )


def test_an_author_goes_from_everything_whoever_is_killed_and_stays_gone(center: Center) -> None:
    before = deleted(center)
    rows = said("Bob", 30, SECRET) + said("Bob", 12, SECRET, "mail") + said("amy", 5, "and rude")
    rows.append({"text": "", "author": "bob", "created_at": "2026-03-01T12:00:00Z"})
    put(center, "first", rows, expect=1)
    incident(center, "bob")
    assert held(center, "author:bob") == 42
    seen = json.loads(center.run("erase", "--author", "@BOB", "--dry-run", "--json").stdout)
    assert (seen["mentions"], seen["sources"]) == (43, {"import": 1, "mail": 12, "survey": 30})
    assert b"add --yes" in center.run("erase", "--author", "bob", input=b"y\n", expect=2).stderr
    assert held(center, "author:bob") == 42

    killed = center.start("erase", "--author", "bob", "--yes")
    wait_for(lambda: deleted(center) > before or killed.poll() is not None, "the first deletions")
    killed.kill()
    killed.wait()
    for role in ("index-0", "enrich-0"):
        center.kill_role(role)
    center.run("erase", "--author", "bob", "--yes", expect=None)
    center.settled()
    assert held(center, "author:bob") == held(center, SECRET) == 0
    assert held(center, "author:amy") == 5
    assert deleted(center) == before + 43
    assert most_wrote(center) == [desk.ERASED]
    assert center.status("--verify")["balanced"]
    trends = json.loads(center.run("trends", SECRET, "--since", "2026-03-01", "--json").stdout)
    assert trends["tally"]["mentions"]["count"] == 0
    assert center.run("export", "author:bob").stdout == b""

    # Neither what was refused nor the file itself, nor tagging all of it again, brings anything back.
    center.run("rejected", "replay")
    put(center, "first", rows, expect=1)
    assert b"bob" not in center.run("rejected", "list", "--json").stdout
    center.run("reprocess", "--since", "2020-01-01")
    center.run("reprocess", "promote")
    assert held(center, "author:bob") == 0
    assert center.status("--verify")["balanced"]

    # Of two generations it goes from both.
    receipt = json.loads(center.run("erase", "--author", "amy", "--yes", "--json").stdout)
    assert (receipt["erased"], receipt["waiting"], receipt["generations"]) == (5, 0, [0, 1])
    assert held(center, "author:amy") == 0
    center.run("reprocess", "rollback")
    assert held(center, "author:amy") == held(center, "author:bob") == 0
    assert center.status("--verify")["balanced"]
    for file in center.data.glob("store*.db"):
        assert SECRET.encode() not in file.read_bytes()


def test_ids_are_erased_one_by_one_and_what_cannot_be_is_told(center: Center) -> None:
    put(center, "ids", said("cat", 3, "again"))
    with bus_of(load(None, center.data)) as bus, closing(open_state("embedded", center.data)) as state:
        give([Labelled("survey:cat-survey-0", "sentiment", "positive", "ann", now())], Labels(state), bus)
    finished = center.run("erase", "survey:cat-survey-0", "--yes")
    said_then = finished.stdout.decode()
    assert "1 mention (survey 1)" in said_then
    assert "1 label that" in said_then
    assert "hark.mentions, hark.enriched, hark.rejected" in said_then
    assert "Not covered: backups" in said_then
    assert "flight" not in said_then
    assert "cat-survey" not in said_then
    finished = center.run(
        "erase", "survey:cat-survey-0", "x:nobody", "survey:cat-survey-1", "--yes", expect=1
    )
    assert b"survey:cat-survey-0: is deleted already" in finished.stderr
    assert b"x:nobody: was never collected here" in finished.stderr
    assert b"1 mention (survey 1)" in finished.stdout
    assert [hit["id"] for hit in center.search("author:cat")] == ["survey:cat-survey-2"]
    assert b"was never collected" in center.run("erase", "x:nobody", "--yes", expect=1).stderr
    assert b"No mention of dog is here" in center.run("erase", "--author", "dog", "--yes", expect=1).stderr
    for wrong in ((), ("x:1", "--author", "bob"), ("x:1", "--source", "x")):
        assert b"expected either IDs, or --author" in center.run("erase", *wrong, expect=2).stderr


def test_on_a_terminal_it_asks(center: Center) -> None:
    put(center, "ask", said("eve", 2, "again"))
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "hark", "erase", "--author", "eve"],
        env=center._environment(),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    os.write(ours, b"n\n")
    _, told = asked.communicate(timeout=120)
    os.close(ours)
    assert b"To be erased: 2 mentions (survey 2)" in told
    assert b"cannot be taken back" in told
    assert asked.returncode == 130
    assert held(center, "author:eve") == 2
