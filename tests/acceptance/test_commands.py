"""The real program, as people use it: good input, and every kind of bad one."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from hark.state import Loss, open_state
from tests.support.center import Center, wait_for
from tests.support.require import missing

GOOD = {
    "id": "1",
    "text": "@SouthwestAir my flight was cancelled, nobody helps",
    "created_at": "2026-03-01T12:00:00Z",
}


@pytest.fixture
def center(tmp_path: Path) -> Iterator[Center]:
    center = Center(tmp_path)
    yield center
    if center._up is not None:
        center.down()


@pytest.fixture
def running(center: Center) -> Center:
    center.up()
    return center


def lines(path: Path, *rows: object) -> str:
    encoded = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return str(path)


def test_what_is_imported_is_tagged_and_found(running: Center) -> None:
    file = lines(running.folder / "in.jsonl", GOOD, {"text": "Love the @Delta crew", "author": "@amy"})
    running.run("import", file)
    status = running.settled()
    assert status["balanced"]
    (books,) = status["sources"]
    assert (books["name"], books["collected"], books["indexed"]) == ("import", 2, 2)
    (hit,) = running.search("brand:southwest cancelled")
    assert hit["id"] == "import:1"
    assert hit["text"] == GOOD["text"]
    assert hit["enrichment"]["sentiment"]["label"] == "negative"
    (praise,) = running.search("author:amy")
    assert praise["enrichment"]["brands"] == ["delta"]
    assert praise["id"].startswith("import:")
    assert running.run("search", "", "--count").stdout.strip() == b"2"


def test_the_same_file_twice_counts_once(running: Center) -> None:
    file = lines(running.folder / "in.jsonl", GOOD, {"text": "no id here"}, GOOD)
    running.run("import", file)
    running.run("import", file)
    status = running.settled()
    assert status["balanced"]
    assert status["sources"][0]["collected"] == 2
    assert len(list(running.search(""))) == 2


def test_bad_lines_are_told_kept_and_stop_nothing(running: Center) -> None:
    bad = [
        b'{"text": "broken',
        b'{"text": "\xff\xfe"}',
        {"text": "late", "created_at": "+40000-01-01T00:00:00Z"},
        {"text": "late", "created_at": "yesterday"},
        {"text": "x" * 10_000_000},
        {"id": "5"},
        {"text": ["a", "list"]},
        b"[]",
    ]
    file = lines(running.folder / "in.jsonl", GOOD, *bad, {"id": "2", "text": "good again"})
    told = running.run("import", file, expect=1).stderr.decode()
    for number in range(2, 10):
        assert f"line {number}:" in told
    assert len(told) < 5_000
    status = running.settled()
    assert status["balanced"]
    (books,) = status["sources"]
    assert (books["indexed"], books["rejected"]) == (2, len(bad))
    listed = [json.loads(line) for line in running.run("rejected", "list", "--json").stdout.splitlines()]
    assert len(listed) == len(bad)
    assert any(len(row["original"]) > 10_000_000 for row in listed)
    assert running.status("--verify")["balanced"]


def test_a_refused_line_is_taken_when_it_is_sent_again_and_can_be_read(running: Center) -> None:
    file = lines(running.folder / "in.jsonl", GOOD, {"text": " "})
    running.run("import", file, expect=1)
    running.settled()
    refused = running.run("rejected", "replay", expect=1).stderr.decode()
    assert "0 sent round again, 1 still cannot be read" in refused
    assert running.settled()["balanced"]


def test_a_csv_with_quotes_line_breaks_and_a_handle_is_read(running: Center) -> None:
    file = running.folder / "in.csv"
    file.write_text('id,text,author.handle,author.followers\n7,"two\nlines, ""quoted""",amy,12\n')
    running.run("import", str(file), "--source", "survey")
    running.settled()
    (hit,) = running.search("source:survey followers>=12")
    assert (hit["id"], hit["text"], hit["author"]["handle"]) == ("survey:7", 'two\nlines, "quoted"', "amy")


def test_a_spreadsheets_file_is_explained_and_taken_whole_at_the_second_try(running: Center) -> None:
    file = running.folder / "sheet.csv"
    file.write_bytes("TEXT;created_at;Abteilung\nsp\xe4t;23.11.2025 09:15;Nord\nfine;;\n".encode("cp1252"))
    first = running.run("import", str(file), "--source", "sheet", expect=1).stderr.decode()
    assert "left out: Abteilung" in first
    assert "hark import --encoding windows-1252" in first
    wanted = ("--encoding", "windows-1252", "--zone", "Europe/Berlin")
    running.run("import", str(file), "--source", "sheet", *wanted)
    (row,) = [row for row in running.settled()["sources"] if row["name"] == "sheet"]
    assert (row["collected"], row["indexed"], row["rejected"]) == (2, 2, 0)
    (hit,) = running.search("source:sheet created:2025-11-23")
    assert (hit["text"], hit["created_at"]) == ("sp\xe4t", "2025-11-23T08:15:00Z")
    headless = running.folder / "headless.csv"
    headless.write_text("Datum;Inhalt\n1;2\n")
    assert "no column is called text" in running.run("import", str(headless), expect=2).stderr.decode()


def test_tail_shows_what_arrives(running: Center) -> None:
    tail = subprocess.Popen(
        [sys.executable, "-m", "hark", "tail", "brand:southwest", "--json"],
        env=running._environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        number = 0

        def shown() -> bytes:
            nonlocal number
            number += 1
            file = lines(running.folder / f"in-{number}.jsonl", GOOD | {"id": f"tail-{number}"})
            running.run("import", file)
            os.set_blocking(tail.stdout.fileno(), False)  # type: ignore[union-attr]
            return tail.stdout.read() or b""  # type: ignore[union-attr]

        line = wait_for(shown, "a line of tail").splitlines()[0]
        assert json.loads(line)["enrichment"]["brands"] == ["southwest"]
    finally:
        tail.send_signal(signal.SIGINT)
        tail.wait(10)
        for stream in (tail.stdout, tail.stderr):
            stream.close()  # type: ignore[union-attr]
    assert tail.returncode == 0


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("hark.toml", "bus = 'embeded'", "unknown kind 'embeded'"),
        ("hark.toml", "buss = 'embedded'", "hark.toml: unknown key `buss`; did you mean `bus`?"),
        ("hark.toml", "bus = ", "hark.toml: Invalid value"),
        (
            "hark.toml",
            "[log]\npartitions = 'four'",
            "log.partitions: expected a whole number, found a text in quotes",
        ),
        ("brands.toml", "[[brand]]\nname = 'a'\nquery = '(late'", "query of brand 'a'"),
        ("brands.toml", "[[brand]]\nquery = 'late'", "brand 1: lacks the key `name`"),
        ("sources.toml", "[sources.x]\ntype = 5", "sources.x: type is a word in quotes"),
        ("sources.toml", "[source.x]", "sources.toml: unknown key `source`; did you mean `sources`?"),
        (
            "enrichment.toml",
            "order = ['text', 'vadr']",
            "no enricher is called 'vadr'; did you mean `vader`?",
        ),
        ("lexicon.toml", "[quiet]\nwords = []\n[[grop]]", "lexicon.toml: unknown key `grop`"),
        ("alerts.toml", "[[rule]]\nname = 'a'\ndetector = 'spik'", "did you mean `spike`?"),
    ],
)
def test_wrong_settings_are_answered_with_file_key_and_what_was_expected(
    center: Center, file: str, content: str, told: str
) -> None:
    center.run("init", str(center.folder / "conf"))
    (center.folder / "conf" / file).write_text(content)
    center.config = center.folder / "conf"
    finished = center.run("up", expect=2)
    assert told in finished.stderr.decode()


def test_a_missing_configuration_folder_is_answered_with_what_to_do(center: Center) -> None:
    finished = center.run("up", "--config", "nowhere", expect=2)
    assert b"hark init nowhere" in finished.stderr


def test_an_id_that_is_not_among_the_rejected_is_named(center: Center) -> None:
    finished = center.run("rejected", "replay", "import:nobody", expect=1)
    assert b"import:nobody: is not among the rejected; `hark rejected list` shows those" in finished.stderr


def test_a_full_disk_behind_standard_output_is_told_in_a_line(center: Center) -> None:
    for arguments in (["check"], ["tag"]):
        with open("/dev/full", "wb") as full:
            command = [sys.executable, "-m", "hark", *arguments, "--data", str(center.data)]
            ended = subprocess.run(
                command, input=b'{"text": "late"}\n', stdout=full, stderr=subprocess.PIPE, cwd=center.folder
            )
        assert (ended.returncode, ended.stderr) == (1, b"hark: No space left on device\n")


@pytest.mark.parametrize("role", ["collect", "enrich", "index", "alert", "notify"])
def test_a_port_for_metrics_that_cannot_be_is_answered(center: Center, role: str) -> None:
    assert b"70000 is not in the range" in center.run(role, "--metrics-port", "70000", expect=2).stderr


def test_what_cannot_be_imported_is_answered_before_anything_is_in_the_log(center: Center) -> None:
    os.mkfifo(center.folder / "pipe")
    for file in (str(center.folder / "pipe"), "-"):
        assert b"cannot be read twice, as an import does" in center.run("import", file, expect=2).stderr
    good = lines(center.folder / "good.jsonl", GOOD)
    finished = center.run("import", good, "--source", "a survey", expect=2)
    assert b"--source: expected a short name without spaces" in finished.stderr
    assert b"No such file" in center.run("import", good, "nowhere.jsonl", expect=2).stderr
    assert json.loads(center.run("status", "--json").stdout)["sources"] == []


def test_a_data_folder_that_cannot_be_is_answered(center: Center) -> None:
    (center.folder / "file").write_text("")
    finished = center.run("up", "--data", str(center.folder / "file" / "data"), expect=2)
    assert b"Not a directory" in finished.stderr


def test_a_port_in_use_is_answered(center: Center) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finished = center.run("up", "--port", str(taken.getsockname()[1]), expect=2)
    assert b"Address already in use. Choose another with --port" in finished.stderr


def test_a_second_center_on_the_same_folder_is_answered(running: Center) -> None:
    finished = running.run("up", "--port", "0", expect=2)
    assert b"another `hark up` or `hark demo` runs on it already" in finished.stderr


@pytest.mark.parametrize(
    "arguments", [["search", "late OR"], ["search", "a", "--since", "soon"], ["tail", "topic:"]]
)
def test_a_wrong_query_or_time_is_answered_with_its_place(center: Center, arguments: list[str]) -> None:
    finished = center.run(*arguments, expect=2)
    assert b"expected" in finished.stderr


def test_a_source_without_credentials_is_reported_and_the_others_go_on(center: Center) -> None:
    center.run("init", str(center.folder / "conf"))
    feed = center.folder / "feed.jsonl"
    lines(feed, GOOD)
    (center.folder / "conf" / "sources.toml").write_text(
        f'[sources.x]\nbearer_token = "${{X_BEARER_TOKEN_OF_NOBODY}}"\n[sources.feed]\ntype = "files"\npaths = ["{feed}"]\n'
    )
    center.config = center.folder / "conf"
    checked = center.run("check", expect=1).stdout.decode()
    assert "X_BEARER_TOKEN_OF_NOBODY is not set" in checked
    center.up()
    assert wait_for(lambda: list(center.search("")), "the mention of the file")[0]["id"] == "feed:1"
    (problem,) = [source["error"] for source in center.status()["sources"] if source["name"] == "x"]
    assert "X_BEARER_TOKEN_OF_NOBODY is not set" in problem
    with feed.open("a") as file:
        file.write(json.dumps(GOOD | {"id": "2"}) + "\n")
    wait_for(lambda: len(list(center.search(""))) == 2, "the line added to the file")


def test_roles_end_when_their_supervisor_is_killed(running: Center) -> None:
    running.down(signal.SIGKILL)


def test_a_full_disk_is_told_and_nothing_is_lost(center: Center) -> None:
    if os.geteuid() != 0:
        missing("a small file system can be mounted by root alone")
    small = center.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], check=True)
    try:
        center.data = small / "data"
        center.environment["HARK_DATA"] = str(center.data)
        center.up()
        ballast = small / "ballast"
        ballast.write_bytes(b"x" * 3_000_000)
        rows = [GOOD | {"id": str(n), "text": f"late {n} " + "bag " * 100} for n in range(5_000)]
        importer = center.start("import", lines(center.folder / "in.jsonl", *rows))
        wait_for(lambda: "no space left" in center.log.read_text().lower(), "the full disk to be told")
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=200m", str(small)], check=True)
        assert importer.wait(60) == 0
        assert center.settled()["balanced"]
        assert center.run("search", "", "--count").stdout.strip() == b"5000"
    finally:
        if center._up is not None:
            center.down()
        subprocess.run(["umount", str(small)], check=True)


def test_health_and_metrics_tell_of_every_role(running: Center) -> None:
    running.run("import", lines(running.folder / "in.jsonl", GOOD))
    running.settled()
    with httpx2.Client(base_url=f"http://127.0.0.1:{running.port}") as client:
        answer = wait_for(lambda: _answer(client, "/healthz"), "the console to answer")
        assert answer.status_code == 200
        body = answer.json()
        assert {row["role"] for row in body["roles"]} == set(running.roles())
        assert body["problems"] == []
        metrics = client.get("/metrics").text
        assert "hark_indexed_total 1.0" in metrics
        assert "cancelled" not in metrics  # numbers, never texts
        assert client.get("/").headers["location"].startswith("/login")
    log = running.log.read_text()
    assert "cancelled" not in log


def test_a_role_that_is_killed_is_counted_and_started_again(running: Center) -> None:
    assert running.kill_role("index-0")
    running.run("import", lines(running.folder / "in.jsonl", GOOD))
    assert running.settled()["balanced"]
    assert '"ended": "index-0"' in running.log.read_text()


def _answer(client: httpx2.Client, path: str) -> httpx2.Response | None:
    try:
        return client.get(path)
    except httpx2.TransportError:
        return None


def test_check_tells_of_each_part_of_the_shipped_center(center: Center) -> None:
    told = center.run("check").stdout.decode()
    for part in (
        "settings",
        "log",
        "store",
        "state",
        "enrichment",
        "alert rules",
        "source x",
        "source reddit",
    ):
        assert f"\n{part}" in f"\n{told}"
    assert "wrong" not in told


def test_what_the_log_lost_is_told_until_it_is_written_off(center: Center) -> None:
    state = open_state("embedded", center.data)
    state.save_losses([Loss("hark.mentions", partition, "hark.enrich", 0, 600) for partition in (0, 1)])
    state.close()
    said = center.run("status", expect=1).stdout.decode()
    assert "The log removed 1,200 records of hark.mentions before hark.enrich had read them" in " ".join(
        said.split()
    )
    assert "do NOT balance" in said
    found = json.loads(center.run("status", "--json", expect=1).stdout)
    assert (found["balanced"], [loss["end"] for loss in found["lost"]]) == (False, [600, 600])
    center.run("status", "--write-off")
    assert json.loads(center.run("status", "--json").stdout) == {"sources": [], "balanced": True}
