"""`hark check` asks each source whether it answers: through the real libraries, against local servers, all at once."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from urllib3.exceptions import MaxRetryError, NameResolutionError

from hark.commands.check import Finding, source_findings
from hark.commands.init import command as init
from hark.settings import Settings, load
from ingest.faults import plain
from ingest.x_client import Pace
from tests.support.jetstream_server import Jetstream
from tests.support.platform_server import Fault
from tests.support.reddit_server import CLIENT_ID, CLIENT_SECRET, RedditServer, reddit_server
from tests.support.servers import free_ports
from tests.support.x_server import TOKEN, XServer, x_server


@pytest.fixture
def x() -> Iterator[XServer]:
    with x_server() as server:
        yield server


@pytest.fixture
def reddit() -> Iterator[RedditServer]:
    with reddit_server() as server:
        yield server


def settings(folder: Path, sources: str) -> Settings:
    config = folder / "conf"
    if not config.exists():
        assert CliRunner().invoke(init, [str(config)]).exit_code == 0
    (config / "sources.toml").write_text(sources)
    return load(config, folder / "data")


def x_source(url: str, token: str = TOKEN, name: str = "x", stream: bool = True) -> str:
    return f'[sources.{name}]\ntype = "x"\nbearer_token = "{token}"\nbase_url = "{url}"\nstream = {str(stream).lower()}\n'


def reddit_source(url: str, secret: str = CLIENT_SECRET) -> str:
    return (
        f'[sources.reddit]\nclient_id = "{CLIENT_ID}"\nclient_secret = "{secret}"\n'
        f'oauth_url = "{url}"\nreddit_url = "{url}"\nsubreddits = ["travel"]\n'
    )


def bluesky_source(url: str) -> str:
    return f'[sources.bluesky]\nhosts = ["{url}"]\n'


def one(folder: Path, source: str) -> Finding:
    (found,) = source_findings(settings(folder, source))
    return found


def test_each_source_is_asked_and_says_that_it_answers(
    x: XServer, reddit: RedditServer, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n')
    with Jetstream().running() as jetstream:
        found = source_findings(
            settings(
                tmp_path,
                x_source(x.url)
                + x_source(x.url, name="searched", stream=False)
                + reddit_source(reddit.url)
                + bluesky_source(jetstream.url)
                + f'[sources.files]\npaths = ["{tmp_path}/*.jsonl"]\n[sources.simulator]\n[sources.off]\ntype = "x"\nenabled = false\n',
            )
        )
    told = {part: (condition, text) for part, condition, text in found}
    assert [part.removeprefix("source ") for part in told] == [
        "x",
        "searched",
        "reddit",
        "bluesky",
        "files",
        "simulator",
        "off",
    ]
    assert [condition for condition, _ in told.values()] == ["ok"] * 6 + ["off"]
    assert told["source x"][1] == "x: X answers; the app may use the filtered stream"
    assert told["source bluesky"][1].endswith("answers")
    assert told["source files"][1] == "files: 1 file can be read"
    # Nothing that is charged for was read.
    assert {route for _, route, _, _ in x.requests} == {"rules", "usage"}
    assert {route for route, _ in reddit.requests} == {"login", "new"}
    assert [params["limit"] for params in reddit.asked("new")] == ["1"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(401), "does not accept the bearer token"),
        (Fault(403), "no access to the filtered stream"),
        (Fault(429, headers={"x-rate-limit-reset": "99999999999"}), "rate limited by X until"),
        (Fault(503, b"<html>"), "X has a problem (503"),
        (Fault(0, cut=True), "X cannot be reached: the connection broke off"),
    ],
)
def test_what_x_refuses_is_told_in_words(x: XServer, tmp_path: Path, fault: Fault, says: str) -> None:
    x.faults["rules"].append(fault)
    part, condition, text = one(tmp_path, x_source(x.url))
    assert (part, condition) == ("source x", "wrong")
    assert says in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("route", "fault", "says"),
    [
        ("login", Fault(401), "does not accept client_id and client_secret"),
        ("new", Fault(403), "access to its API needs Reddit's approval"),
        ("new", Fault(403, {"reason": "private", "message": "Forbidden"}), "does not show r/travel"),
        ("new", Fault(429, headers={"Retry-After": "60"}), "rate limited by Reddit until"),
        ("login", Fault(502), "Reddit has a problem (502"),
        ("new", Fault(cut=True), "Reddit cannot be reached: the connection broke off"),
    ],
)
def test_what_reddit_refuses_is_told_in_words(
    reddit: RedditServer, tmp_path: Path, route: str, fault: Fault, says: str
) -> None:
    reddit.faults[route].append(fault)
    _, condition, text = one(tmp_path, reddit_source(reddit.url))
    assert condition == "wrong"
    assert says in text
    assert CLIENT_SECRET not in text


def test_what_bluesky_refuses_is_told_in_words(tmp_path: Path) -> None:
    with Jetstream().running() as jetstream:
        jetstream.refuse.append(HTTPStatus.TOO_MANY_REQUESTS)
        _, condition, text = one(tmp_path, bluesky_source(jetstream.url))
        assert condition == "wrong"
        assert "the server answered 429" in text
        # Another host is tried.
        (port,) = free_ports(1)
        _, condition, text = one(
            tmp_path, f'[sources.bluesky]\nhosts = ["ws://127.0.0.1:{port}", "{jetstream.url}"]\n'
        )
        assert condition == "ok"


@pytest.mark.parametrize(
    "source", [x_source, reddit_source, lambda url: bluesky_source(url.replace("http", "ws"))]
)
def test_where_nobody_listens_the_connection_is_refused(tmp_path: Path, source: object) -> None:
    (port,) = free_ports(1)
    assert callable(source)
    _, condition, text = one(tmp_path, source(f"http://127.0.0.1:{port}"))
    assert condition == "wrong"
    assert "the connection was refused" in text


def test_a_name_that_is_not_known_and_a_silent_server_are_told_apart() -> None:
    unknown = NameResolutionError("api.x.invalid", None, socket.gaierror(-2, "Name or service not known"))  # type: ignore[arg-type]
    assert (
        plain(requests.ConnectionError(MaxRetryError(None, "/", unknown)))
        == "its name is not known here (DNS)"
    )  # type: ignore[arg-type]
    assert plain(requests.ReadTimeout("x")) == "no answer in time"
    assert plain(ValueError("secret")) == "ValueError"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    _, condition, text = one(tmp_path, f'[sources.files]\npaths = ["{tmp_path}/none.jsonl"]\n')
    assert condition == "wrong"
    assert "none.jsonl" in text


@pytest.fixture
def patient_x(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let X's own client wait for longer than any test, so that nothing here ends by its doing."""
    monkeypatch.setattr("ingest.x.Pace", lambda: Pace(timeout_seconds=600.0))


@pytest.mark.usefixtures("patient_x")
def test_sources_are_asked_at_the_same_time(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)  # then all that have come are hung up on, and all that come are refused

    def answer_when_all_have_come() -> None:
        with contextlib.suppress(TimeoutError), contextlib.ExitStack() as comers, server:
            for comer in [comers.enter_context(server.accept()[0]) for _ in range(4)]:
                comer.settimeout(30)
                comer.recv(65_536)
                comer.sendall(
                    b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"meta":{}}'
                )

    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    made = settings(tmp_path, "".join(x_source(url, name=f"x{at}") for at in range(4)))
    answering = threading.Thread(target=answer_when_all_have_come)
    answering.start()
    found = source_findings(made, 600.0)
    answering.join()
    assert [condition for _, condition, _ in found] == ["ok"] * 4


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("patient_x")
def test_sources_that_hang_are_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        made = settings(
            tmp_path, "[sources.simulator]\n" + "".join(x_source(url, name=f"x{at}") for at in range(4))
        )
        found = source_findings(made, 5.0)  # long enough for the simulator on a busy machine
    assert [condition for _, condition, _ in found] == ["ok"] + ["wrong"] * 4
    assert {text for _, _, text in found[1:]} == {"x: no answer within 5 s"}


def test_check_prints_it_as_json_and_ends_with_1(tmp_path: Path) -> None:
    from hark.commands.check import command

    (port,) = free_ports(1)
    made = settings(tmp_path, x_source(f"http://127.0.0.1:{port}"))
    ended = CliRunner().invoke(command, ["--config", str(made.config), "--data", str(made.data), "--json"])
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.exit_code == 1
    assert [row["part"] for row in rows if row["condition"] == "wrong"] == ["source x"]
    assert TOKEN not in ended.stdout
