"""Reddit through the real praw, against a local server that speaks its protocol."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import msgspec
import pytest

from hark.core.change import Deleted, Edited, Seen
from hark.core.clock import now
from hark.core.errors import SettingsError
from hark.core.tree import Query, Term
from hark.settings import Brand
from ingest import reddit_cursor
from ingest.reddit import Options, RedditSource, build
from ingest.reddit_client import Pace
from tests.contract.source_contract import Runtime, SourceContract
from tests.support.platform_server import Fault
from tests.support.reddit_recordings import exchanges, things
from tests.support.reddit_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    PASSWORD,
    USERNAME,
    RedditServer,
    reddit_server,
)

PACE = Pace(
    idle_seconds=0.05,
    timeout_seconds=2.0,
    backoff_seconds=0.01,
    longest_backoff_seconds=0.1,
    limited_seconds=0.05,
    recheck_seconds=0.0,
)
DAY = 86_400


def brand(word: str) -> Brand:
    return Brand(word, word.title(), Query(word, Term(word)), frozenset())


def source_on(
    server: RedditServer,
    poll_seconds: float = 0.02,
    clock: Callable[[], datetime] = now,
    pace: Pace = PACE,
    **changed: object,
) -> RedditSource:
    options: dict[str, object] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "oauth_url": server.url,
        "reddit_url": server.url,
        "subreddits": ("travel", "SouthwestAirlines"),
    }
    made = build("reddit", Options(**options | changed), (brand("southwestair"),), clock, pace)
    # A user may not poll that often.
    made.options = msgspec.structs.replace(made.options, poll_seconds=poll_seconds)
    return made


class RedditPlatform:
    """The server as the contract sees it."""

    def __init__(self, server: RedditServer, **options: object) -> None:
        self.server = server
        self.options = options

    def say(self, number: int) -> set[str]:
        said = [self.server.comment if place % 2 else self.server.post for place in range(number)]
        return {f"reddit:{say()}" for say in said}

    def fault(self) -> None:
        for route in ("new", "comments", "search", "login"):
            self.server.faults[route] += [
                Fault(503, b"<html>"),
                Fault(429),
                Fault(cut=True),
                Fault(200, b"{"),
            ]

    def source(self) -> RedditSource:
        return source_on(self.server, **self.options)


class SearchPlatform(RedditPlatform):
    def say(self, number: int) -> set[str]:
        return {f"reddit:{self.server.post()}" for _ in range(number)}


class TestRedditSubredditsAndSearches(SourceContract):
    @contextlib.contextmanager
    def platform(self) -> Iterator[RedditPlatform]:
        with reddit_server() as server:
            yield RedditPlatform(server)


class TestRedditSearchesAlone(SourceContract):
    @contextlib.contextmanager
    def platform(self) -> Iterator[RedditPlatform]:
        with reddit_server() as server:
            yield SearchPlatform(server, subreddits=())


@pytest.fixture
def server() -> Iterator[RedditServer]:
    with reddit_server() as running:
        yield running


def running(server: RedditServer, **options: object) -> Runtime:
    return Runtime(RedditPlatform(server, **{"searches": False} | options))


def rounds(runtime: Runtime, number: int = 2) -> None:
    """Run through all lists that often, to the end of each round."""
    server = runtime.platform.server
    begin = len(server.asked("comments"))
    runtime.run(lambda: len(server.asked("comments")) > begin + number)


# Reading back


def test_a_burst_larger_than_a_page_is_paged_back_to_what_is_known(server: RedditServer) -> None:
    runtime = running(server)
    said = {f"reddit:{server.post(ago_seconds=3000)}"}
    runtime.collect(said)
    said |= {f"reddit:{server.post(ago_seconds=2000 - place)}" for place in range(450)}
    said |= {f"reddit:{server.comment(ago_seconds=2000 - place)}" for place in range(350)}
    begin = len(server.asked("new"))
    runtime.collect(said)
    assert len(runtime.log) == len(said)
    assert [len(params) for params in server.asked("new")[begin:]].count(3) >= 4  # with `after`
    assert not runtime.gaps
    times = [change.mention.created_at for change in runtime.log[1:451]]
    assert times == sorted(times)


def test_only_what_is_new_is_told_and_a_page_is_all_that_is_asked_for(server: RedditServer) -> None:
    runtime = running(server)
    runtime.collect({f"reddit:{server.post(ago_seconds=7200 - 20 * place)}" for place in range(150)})
    begin = len(server.asked("new"))
    rounds(runtime, 3)
    assert len(runtime.log) == 150
    assert not any("after" in params for params in server.asked("new")[begin:])


def test_the_newest_known_item_may_be_deleted(server: RedditServer) -> None:
    runtime = running(server)
    first = [server.post(ago_seconds=5000 - place) for place in range(3)]
    runtime.collect({f"reddit:{name}" for name in first})
    server.remove(first[-1])
    more = {f"reddit:{server.post(ago_seconds=1000 - place)}" for place in range(230)}
    runtime.collect(more)
    assert len([change for change in runtime.log if isinstance(change, Seen)]) == 233


def test_an_item_that_is_deleted_while_its_page_is_read_ends_no_paging(server: RedditServer) -> None:
    runtime = running(server)
    runtime.collect({f"reddit:{server.post(ago_seconds=9000)}"})
    said = [server.post(ago_seconds=5000 - place) for place in range(250)]
    gone = said[150:152]  # the two that the first page ends with
    plain = server.listing

    def listing(route: str, names: list[str], params: dict[str, str]) -> tuple[int, object]:
        answer = plain(route, names, params)
        if route == "new" and "after" not in params:
            server.unlisted.update(gone)
        return answer

    server.listing = listing  # type: ignore[method-assign]
    runtime.collect({f"reddit:{name}" for name in said})
    assert len(runtime.log) == 251
    assert not runtime.gaps


def test_what_moderators_let_through_late_is_found(server: RedditServer) -> None:
    runtime = running(server)
    held = [server.post(ago_seconds=4000), server.comment(ago_seconds=4000)]
    server.unlisted.update(held)
    said = {f"reddit:{server.post(ago_seconds=3000 - place)}" for place in range(20)}
    runtime.collect(said)
    rounds(runtime)
    server.unlisted.clear()
    runtime.collect(said | {f"reddit:{name}" for name in held})


def test_more_than_reddit_lists_is_a_gap_with_its_length(server: RedditServer) -> None:
    runtime = running(server)
    old = server.post(ago_seconds=30_000)
    runtime.collect({f"reddit:{old}"})
    said = [server.post(ago_seconds=20_000 - place) for place in range(1_100)]
    runtime.collect({f"reddit:{name}" for name in said[100:]})
    rounds(runtime)
    (gap,) = runtime.gaps
    assert gap.begin.timestamp() == server.things[old]["created_utc"]
    assert gap.end.timestamp() == server.things[said[100]]["created_utc"]
    assert "of r/southwestairlines+travel are missing: Reddit lists the newest 1,000 alone" in gap.why
    assert not gap.closed
    assert not runtime.ids() & {f"reddit:{name}" for name in said[:100]}


def test_the_first_start_reads_as_far_back_as_it_was_told_and_no_gap(server: RedditServer) -> None:
    said = [server.post(ago_seconds=seconds) for seconds in (60, 3000, 4000, 90_000)]
    runtime = running(server, first_hours=1.0)
    rounds(runtime)
    assert runtime.ids() == {f"reddit:{name}" for name in said[:2]}
    assert not runtime.gaps


def test_reddits_clock_counts_and_not_this_machines(server: RedditServer) -> None:
    server.ahead_seconds = -5 * 3600  # this machine is five hours ahead
    runtime = running(server, first_hours=1.0)
    runtime.collect({f"reddit:{server.post(ago_seconds=600)}"})


def test_a_list_that_is_new_in_the_settings_begins_where_the_others_stand(server: RedditServer) -> None:
    runtime = running(server, subreddits=("travel",))
    runtime.collect({f"reddit:{server.post(ago_seconds=500)}"})
    elsewhere = f"reddit:{server.post(ago_seconds=400, subreddit='delta')}"
    runtime.platform.options["subreddits"] = ("travel", "delta")
    runtime.collect({elsewhere})
    assert len(runtime.log) == 2


def test_what_is_remembered_stays_bounded(server: RedditServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reddit_cursor, "REMEMBERED", 40)
    runtime = running(server)
    said = {f"reddit:{server.post(ago_seconds=9000 - place)}" for place in range(300)}
    runtime.collect(said)
    rounds(runtime)
    assert len(runtime.log) == 300
    assert len(msgspec.json.decode(runtime.cursor or "")["known"]) == 40


# Edits, removals


def kinds(runtime: Runtime, kind: type) -> list[object]:
    return [change for change in runtime.log if isinstance(change, kind)]


def test_an_edit_is_told_once_with_its_time(server: RedditServer) -> None:
    runtime = running(server)
    name = server.comment("late again")
    runtime.collect({f"reddit:{name}"})
    moment = float(int(time.time()) + 60)
    server.edit(name, body="on time after all", edited=moment)
    runtime.run(lambda: bool(kinds(runtime, Edited)))
    rounds(runtime)
    (edited,) = kinds(runtime, Edited)
    assert edited.mention.text == "on time after all"
    assert edited.mention.edit == int(moment * 1000)


def test_an_edit_that_reddit_does_not_mark_is_told_too(server: RedditServer) -> None:
    runtime = running(server)
    name = server.comment("late agian")
    runtime.collect({f"reddit:{name}"})
    server.edit(name, body="late again")
    runtime.run(lambda: bool(kinds(runtime, Edited)))
    server.edit(name, body="late again, at DAL", edited=float(int(time.time()) + 60))
    runtime.run(lambda: len(kinds(runtime, Edited)) == 2)
    edits = [change.mention.edit for change in runtime.log]
    assert edits == sorted(set(edits))


@pytest.mark.parametrize("text", ["[removed]", "[deleted]"])
def test_what_left_the_lists_is_looked_at_again_and_deleted(server: RedditServer, text: str) -> None:
    runtime = running(server)
    names = [server.comment(ago_seconds=900), server.post(ago_seconds=900)]
    kept = server.comment("[removed]", ago_seconds=900)
    runtime.collect({f"reddit:{name}" for name in [*names, kept]})
    for name in names:
        server.remove(name, text)
    runtime.run(lambda: len(kinds(runtime, Deleted)) == 2)
    rounds(runtime)
    assert {change.id for change in kinds(runtime, Deleted)} == {f"reddit:{name}" for name in names}
    assert len(runtime.log) == 5


def test_every_remembered_mention_gets_its_turn(server: RedditServer) -> None:
    runtime = running(server)
    names = [server.post(ago_seconds=9000 - place) for place in range(350)]
    runtime.collect({f"reddit:{name}" for name in names})
    server.remove(names[0])
    server.remove(names[-1])
    # A restart now and then: the turn is kept in the cursor.
    for number in (1, 2):
        runtime.run(lambda number=number: len(kinds(runtime, Deleted)) == number)
    assert all(len(params["id"].split(",")) <= 100 for params in server.asked("info"))


# Trouble


def test_wrong_credentials_are_told_in_plain_words(server: RedditServer) -> None:
    with pytest.raises(SettingsError, match=r"does not accept client_id and client_secret.*prefs/apps"):
        rounds(running(server, client_secret="another"))
    with pytest.raises(SettingsError, match=r"refuses the login.*username and password"):
        rounds(running(server, username=USERNAME, password="another"))


def test_a_username_logs_in_with_its_password(server: RedditServer) -> None:
    rounds(running(server, username=USERNAME, password=PASSWORD), 1)
    assert server.asked("login")[0]["grant_type"] == "password"


def test_an_app_without_approval_is_told_so(server: RedditServer) -> None:
    server.faults["new"].append(Fault(403, b"<html>Blocked</html>"))
    with pytest.raises(SettingsError, match="needs Reddit's approval"):
        rounds(running(server))


def test_a_token_that_ended_early_is_renewed(server: RedditServer) -> None:
    runtime = running(server)
    runtime.collect({f"reddit:{server.post()}"})
    ended: list[int] = []

    def enough() -> bool:
        if not ended:
            server.tokens.clear()
            ended.append(len(server.asked("comments")))
            server.post()
        return len(runtime.ids()) == 2

    runtime.run(enough)
    assert runtime.notes[-1] == ""


def test_a_subreddit_that_is_not_shown_is_noted_and_the_others_go_on(server: RedditServer) -> None:
    server.private.add("travel")
    runtime = running(server, subreddits=("travel",), searches=True)
    runtime.collect({f"reddit:{server.post(subreddit='flying')}"})
    runtime.run(lambda: "does not show r/travel (403 Forbidden: private)" in runtime.notes[-1])
    server.private.clear()
    runtime.collect({f"reddit:{server.comment()}"})
    runtime.run(lambda: not runtime.notes[-1])


@pytest.mark.parametrize("date", [False, True])
def test_429_is_waited_out_for_as_long_as_it_says(server: RedditServer, date: bool) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1000)
    header = format_datetime(until, usegmt=True) if date else "1000"
    server.faults["new"].append(Fault(429, headers={"Retry-After": header}))
    runtime = running(server)
    asked: list[int] = []

    def enough() -> bool:
        if runtime.notes[-1]:
            asked.append(len(server.requests))
        return len(asked) == 5

    runtime.run(enough)
    assert set(asked) == {2}  # the login, and the page that was refused
    times = {f"{until + timedelta(seconds=second):%H:%M:%S}" for second in (-1, 0, 1, 2)}
    assert runtime.notes[-1].removeprefix("rate limited by Reddit until ").removesuffix(" UTC") in times


def test_an_exhausted_limit_is_kept_without_a_429(server: RedditServer) -> None:
    server.limits = {"x-ratelimit-remaining": "0.0", "x-ratelimit-used": "600", "x-ratelimit-reset": "500"}
    runtime = running(server)
    runtime.run(lambda: runtime.batches >= 5)
    assert len(server.requests) == 2  # the login and a page; prawcore itself would sleep 500 s now
    assert runtime.notes[-1].startswith("rate limited by Reddit until ")


def test_praw_does_not_sleep_by_itself(server: RedditServer, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, monotonic_ns=time.monotonic_ns, sleep=slept.append)
    for module in ("praw.reddit", "prawcore.rate_limit", "prawcore.sessions"):  # all that praw sleeps in here
        monkeypatch.setattr(f"{module}.time", clock)
    # Of these numbers prawcore makes a sleep of ten seconds before each request.
    server.limits = {"x-ratelimit-remaining": "100.0", "x-ratelimit-used": "500", "x-ratelimit-reset": "550"}
    rounds(running(server))
    assert slept == []


def test_faults_are_told_while_they_last(server: RedditServer) -> None:
    runtime = running(server)
    server.faults["new"] += [Fault(502), Fault(200, [1, 2]), Fault(200, {"kind": "Listing", "data": {}})]
    said = {f"reddit:{server.post()}"}
    runtime.collect(said)
    assert any("Reddit has a problem (502" in note for note in runtime.notes)
    assert any("an answer that is not Reddit's" in note for note in runtime.notes)
    runtime.run(lambda: not runtime.notes[-1])


def test_an_item_that_praw_cannot_take_holds_up_its_own_list_alone(server: RedditServer) -> None:
    runtime = running(server)
    name = server.post(author=None)
    runtime.collect({f"reddit:{server.comment()}"})
    runtime.run(lambda: "r/southwestairlines+travel waits: an answer that is not" in runtime.notes[-1])
    server.edit(name, author="a_traveller")
    runtime.collect({f"reddit:{name}"})


def test_it_stops_while_reddit_is_silent(server: RedditServer) -> None:
    runtime = running(server, pace=msgspec.structs.replace(PACE, timeout_seconds=0.3))
    runtime.collect({f"reddit:{server.post()}"})
    server.silent = True
    stop = threading.Event()
    waiting = threading.Event()

    def read() -> None:
        for batch in runtime.platform.source().read(runtime.cursor, stop):
            if "cannot be reached" in batch.note:
                waiting.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert waiting.wait(10)
    stop.set()
    thread.join(3)
    assert not thread.is_alive()


def test_an_item_that_cannot_be_read_is_rejected_once_and_the_others_go_on(server: RedditServer) -> None:
    runtime = running(server)
    bad = server.post(title=["a", "list"])
    future = server.post(created_utc=time.time() + 9 * DAY)
    half = "half a character \ud83d"
    good = f"reddit:{server.post(half)}"
    runtime.collect({good})
    rounds(runtime)
    assert sorted(one.id for one in runtime.rejected) == sorted([f"reddit:{bad}", f"reddit:{future}"])
    assert b'"title":["a","list"]' in b"".join(one.original for one in runtime.rejected)
    assert runtime.ids() == {good}


def test_a_cursor_of_another_source_is_refused(server: RedditServer) -> None:
    runtime = running(server)
    runtime.cursors.append("12345")
    with pytest.raises(SettingsError, match="not one of Reddit's"):
        rounds(runtime)


def test_reddit_learns_who_asks(server: RedditServer) -> None:
    rounds(running(server), 1)
    (agent,) = server.agents
    assert agent.startswith("python:hark.listening-center:1 PRAW/8")


# Options


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"client_id": " "}, "client_id: expected what reddit.com"),
        ({"client_secret": "a\nb"}, "client_secret: expected"),
        ({"username": "me"}, "username and password belong together"),
        ({"user_agent": "me"}, "user_agent: expected a line"),
        ({"oauth_url": "http://example.com"}, "oauth_url: expected https"),
        ({"poll_seconds": 0.5}, "poll_seconds: expected 1 to 3600"),
        ({"first_hours": 169.0}, "first_hours: expected 0 to 168"),
        ({"recheck_hours": 0.0}, "recheck_hours: expected 1 to 720"),
        ({"subreddits": ("r/travel",)}, "'r/travel' is no subreddit's name; write them without r/"),
        ({"searches": False}, "nothing to read"),
    ],
)
def test_options_that_cannot_work_are_named(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=f"sources.reddit.*{told}"):
        build("reddit", Options(**{"client_id": "id", "client_secret": "secret"} | wrong), (brand("delta"),))


def test_a_subreddit_is_a_firehose_and_a_search_is_none() -> None:
    options = Options("id", "secret")
    assert not build("reddit", options, (brand("delta"),)).firehose
    whole = msgspec.structs.replace(options, subreddits=("travel",))
    assert build("reddit", whole, (brand("delta"),)).firehose


# Recordings of Reddit itself


def test_a_recorded_list_is_read_as_it_was_shown(server: RedditServer) -> None:
    ((_, answer),) = list(exchanges("TestSubredditListings.test_comments"))[1:]
    shown = [data for _, data in things(answer)]
    server.ahead_seconds = shown[0]["created_utc"] + 60 - time.time()
    server.faults["comments"].append(Fault(200, answer))
    runtime = running(server, subreddits=("askreddit",))
    runtime.collect({f"reddit:{data['name']}" for data in shown if data["author"] != "[deleted]"})
    texts = {change.mention.id: change.mention.text for change in runtime.log if isinstance(change, Seen)}
    assert len(texts) > 90
    assert all(texts.get(f"reddit:{data['name']}", data["body"]) == data["body"] for data in shown)
    assert any("after" in params for params in server.asked("comments"))


def test_the_server_speaks_as_reddit_was_recorded(server: RedditServer) -> None:
    recorded: dict[str, dict[str, set[type]]] = {"t1": {}, "t3": {}}
    lists: list[dict[str, object]] = []
    paths: set[str] = set()
    for address, answer in exchanges():
        paths.add(urlsplit(address).path)
        if isinstance(answer, dict) and answer.get("kind") == "Listing" and "/r/" in address:
            lists.append(answer["data"])
        for kind, data in things(answer):
            for key, value in data.items():
                recorded[kind].setdefault(key, set()).add(type(value))
    for name in (server.post(), server.comment()):
        for key, value in server.things[name].items():
            assert type(value) in recorded[name[:2]][key], key
    _, mine = server.listing("new", ["travel"], {})
    assert lists
    assert all(set(data) >= set(mine["data"]) for data in lists)
    rounds(running(server), 1)
    assert {"/api/v1/access_token", "/api/info/", "/r/askreddit/comments/"} <= paths
    assert {"/api/v1/access_token", "/api/info/", "/r/southwestairlines+travel/comments/"} <= server.paths
