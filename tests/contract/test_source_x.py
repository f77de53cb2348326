"""X through the real tweepy, against a local server that speaks its protocol."""

import contextlib
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from hark.core.change import Deleted, Edited, Seen
from hark.core.clock import now
from hark.core.errors import SettingsError
from hark.core.tree import Query, Term
from hark.settings import Brand
from ingest.x import Options, XSource, build
from ingest.x_client import Pace
from ingest.x_payload import id_at, instant_of
from tests.contract.source_contract import Runtime, SourceContract
from tests.support.platform_server import Fault
from tests.support.x_server import TOKEN, USER, XServer, x_server


def brand(word: str) -> Brand:
    return Brand(word, word.title(), Query(word, Term(word)), frozenset())


PACE = Pace(
    idle_seconds=0.05,
    lag_seconds=0.05,
    rules_seconds=0.0,
    stall_seconds=0.4,
    timeout_seconds=2.0,
    backoff_seconds=0.01,
    longest_backoff_seconds=0.1,
    limited_seconds=0.05,
    gap_seconds=0.2,
    search_spacing_seconds=0.0,
)


def source_on(
    server: XServer,
    brands: tuple[Brand, ...] = (brand("southwestair"),),
    clock: Callable[[], datetime] = now,
    poll_seconds: float = 0.05,
    pace: Pace = PACE,
    **options: object,
) -> XSource:
    made = build("x", Options(bearer_token=TOKEN, base_url=server.url, **options), brands, clock, pace)
    # A user may not poll that often.
    made.options = msgspec.structs.replace(made.options, poll_seconds=poll_seconds)
    return made


class XPlatform:
    """The server as the contract sees it."""

    def __init__(self, server: XServer, **options: object) -> None:
        self.server = server
        self.options = options

    def say(self, number: int) -> set[str]:
        return {f"x:{self.server.post()}" for _ in range(number)}

    def fault(self) -> None:
        for route in ("search", "rules", "stream"):
            self.server.faults[route] += [Fault(503, b"<html>"), Fault(429), Fault(0, cut=True)]
        self.server.send(b'{"data": {"id"')
        self.server.end_streams()

    def source(self) -> XSource:
        return source_on(self.server, **self.options)


class TestXWithStream(SourceContract):
    overlap = 30
    stream = True

    @contextlib.contextmanager
    def platform(self) -> Iterator[XPlatform]:
        with x_server() as server:
            yield XPlatform(server, stream=self.stream)


class TestXWithSearchAlone(TestXWithStream):
    overlap = 0
    stream = False


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server() as running:
        yield running


def running(server: XServer, **options: object) -> Runtime:
    return Runtime(XPlatform(server, **options))


def until_streaming(runtime: Runtime, server: XServer, connects: int = 1) -> None:
    """Run until the stream stands and the cursor has caught up with it."""
    settled: list[int] = []

    def enough() -> bool:
        if len(server.connections) == 1 and server.connects >= connects:
            settled.append(runtime.batches)
        return len(settled) >= 5

    runtime.run(enough)


def hear(runtime: Runtime, server: XServer, action: Callable[[], object], enough: Callable[[], bool]) -> None:
    """Run; once the stream stands do `action`, and go on until `enough`."""
    done: list[object] = []

    def finished() -> bool:
        if not done and server.connections and not runtime.notes[-1]:
            done.append(action() or True)
        return bool(done) and enough()

    runtime.run(finished, deadline=10)


# Rules


def test_rules_change_only_where_the_brands_did_and_others_stay(server: XServer) -> None:
    server.rules = {"77": {"value": "cats", "tag": "someone else's"}, "78": {"value": "dogs"}}
    until_streaming(running(server, brands=(brand("southwestair"), brand("delta"))), server)
    mine = {id: rule for id, rule in server.rules.items() if rule.get("tag", "").startswith("hark:x:")}
    assert set(server.rules) - set(mine) == {"77", "78"}
    server.wait(lambda: not server.connections)
    before = len(server.asked("rules", "POST"))
    until_streaming(running(server, brands=(brand("southwestair"), brand("delta"))), server, 2)
    assert len(server.asked("rules", "POST")) == before
    server.wait(lambda: not server.connections)
    until_streaming(running(server, brands=(brand("southwestair"), brand("united"))), server, 3)
    values = {rule["value"] for rule in server.rules.values()}
    assert {"cats", "dogs"} < values
    assert any("united" in value for value in values)
    assert not any("delta" in value for value in values)


def test_a_rule_that_x_refuses_is_told_with_its_text(server: XServer) -> None:
    refusal = {
        "errors": [{"title": "Invalid Rule", "value": "southwestair", "detail": "no viable alternative"}]
    }
    server.faults["rules"] += [Fault(200, {"meta": {}}), Fault(201, refusal)]
    with pytest.raises(SettingsError, match=r"refuses the rule 'southwestair'.*no viable alternative"):
        until_streaming(running(server), server)


def test_posts_that_only_others_rules_matched_are_left_out_and_counted(server: XServer) -> None:
    server.rules = {"77": {"value": "cats"}}
    runtime = running(server, monthly_read_budget=100)
    theirs = {"id": str(server.next_id()), "text": "cats"}

    def speak() -> None:
        server.send({"data": theirs, "matching_rules": [{"id": 77}]})
        server.post()

    hear(runtime, server, speak, lambda: len(runtime.ids()) == 1)
    assert f"x:{theirs['id']}" not in runtime.ids()
    assert msgspec.json.decode(runtime.cursor)["reads"] == 2


def test_a_matching_rule_without_a_tag_is_no_trouble(server: XServer) -> None:
    server.rules = {"77": {"value": "southwestair"}}
    runtime = running(server)
    hear(runtime, server, server.post, lambda: len(runtime.ids()) == 1)
    assert server.connects == 1
    assert server.rules == {"77": {"value": "southwestair"}}


# The stream and its faults


def test_a_clean_close_is_followed_by_growing_pauses_and_no_loss(server: XServer) -> None:
    server.hangs_up = True
    pace = msgspec.structs.replace(PACE, backoff_seconds=0.05, longest_backoff_seconds=0.4)
    runtime = running(server, pace=pace)
    runtime.run(lambda: server.connects >= 5)
    times = [
        t for t, (_, route, _, _) in zip(server.times, server.requests, strict=False) if route == "stream"
    ]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4), strict=False)), pauses
    assert any("stream interrupted (X closed the connection)" in note for note in runtime.notes)
    server.hangs_up = False
    runtime.collect({f"x:{server.post()}"})


def test_a_stall_is_noticed_and_what_was_said_meanwhile_is_found(server: XServer) -> None:
    runtime = running(server)
    said: set[str] = set()

    def stall() -> None:
        server.stalled = True
        said.add(f"x:{server.post()}")
        runtime.platform.said = said  # type: ignore[attr-defined]

    def resumed() -> bool:
        if any("fell silent" in note for note in runtime.notes):
            with server.changed:
                server.stalled = False
                server.changed.notify_all()
        return runtime.ids() >= said and server.connects >= 2

    hear(runtime, server, stall, resumed)


def test_keep_alives_hold_a_silent_stream_open(server: XServer) -> None:
    runtime = running(server)
    end = threading.Event()
    hear(runtime, server, lambda: threading.Timer(3 * PACE.stall_seconds, end.set).start(), end.is_set)
    assert server.connects == 1
    assert runtime.notes[-1] == ""


@pytest.mark.parametrize("route", ["search", "rules", "stream"])
def test_a_wrong_token_is_a_settings_error(server: XServer, route: str) -> None:
    server.faults[route].append(Fault(401, {"title": "Unauthorized"}))
    with pytest.raises(SettingsError, match="bearer token"):
        until_streaming(running(server), server)


@pytest.mark.parametrize("route", ["rules", "stream"])
def test_without_access_to_the_stream_recent_search_serves_alone(server: XServer, route: str) -> None:
    refusal = {
        "title": "Client Forbidden",
        "detail": "not at your access level",
        "reason": "client-not-enrolled",
    }
    server.faults[route] += [Fault(403, refusal)] * 9
    runtime = running(server)
    runtime.collect({f"x:{server.post()}"})
    runtime.run(lambda: "recent search alone" in runtime.notes[-1])
    runtime.collect({f"x:{server.post()}"})
    assert "not at your access level" in runtime.notes[-1]
    assert server.connects == 0


def test_without_access_to_recent_search_there_is_a_settings_error(server: XServer) -> None:
    server.faults["search"].append(Fault(403, {"title": "Client Forbidden"}))
    with pytest.raises(SettingsError, match="no access to recent search"):
        until_streaming(running(server), server)


@pytest.mark.parametrize("route", ["search", "stream"])
def test_a_rate_limit_is_waited_out_to_its_reset(server: XServer, route: str) -> None:
    reset = int(server.now()) + 1
    server.faults[route].append(Fault(429, headers={"x-rate-limit-reset": str(reset)}))
    runtime = running(server, stream=route == "stream")
    runtime.run(lambda: len(server.asked(route)) >= 2)
    times = [t for t, (_, r, _, _) in zip(server.times, server.requests, strict=False) if r == route]
    assert times[1] >= reset
    assert any("rate limited by X until" in note for note in runtime.notes)


def test_used_up_credits_are_told_and_waited_out(server: XServer) -> None:
    server.faults["search"].append(Fault(402, {"title": "CreditsDepleted", "detail": "no credits"}))
    runtime = running(server, stream=False)
    runtime.collect({f"x:{server.post()}"})
    assert any("credits of the X account are used up" in note for note in runtime.notes)


def test_a_broken_line_is_kept_as_it_came_and_the_stream_goes_on(server: XServer) -> None:
    runtime = running(server)
    broken = [
        b'{"data": {"id": "12", "te',
        b"\xff\xfe not even text",
        b'{"data": {"id": "1", "text": "x", "created_at": "40000-01-01T00:00:00.000Z"}}',
        b'{"data": {"id": "99999999999999999999999", "text": "from the future"}}',
        b'{"data": {"id": "13", "text": 7}}',
        b"[" * 100_000,
        b'{"data": {"id": "14", "padding": "' + b"x" * 10_000_000 + b'"}}',
    ]

    def speak() -> None:
        for line in broken:
            server.send(line)
        server.post()

    hear(runtime, server, speak, lambda: len(runtime.ids()) == 1)
    assert [refused.original for refused in runtime.rejected] == broken
    assert all(refused.reason.startswith("not readable") for refused in runtime.rejected)
    assert runtime.rejected[4].id == "x:13"
    assert server.connects == 1


def test_a_disconnect_that_x_announces_is_told_in_its_words(server: XServer) -> None:
    runtime = running(server)
    notice = {"errors": [{"title": "operational-disconnect", "detail": "for operational reasons"}]}

    def disconnect() -> None:
        server.send(notice)
        server.end_streams()

    hear(runtime, server, disconnect, lambda: server.connects >= 2)
    assert any("operational-disconnect: for operational reasons" in note for note in runtime.notes)
    assert not runtime.rejected


def test_edits_and_deletions_travel_under_the_first_id(server: XServer) -> None:
    runtime = running(server)

    def speak() -> None:
        first = server.post("delayed agian")
        second = server.next_id()
        server.post("delayed again", id=second, edit_history_tweet_ids=[str(first), str(second)])
        gone = {"tweet": {"id": str(first), "author_id": "1"}, "event_at": "2026-11-01T00:00:00.000Z"}
        server.send({"data": {"delete": gone}})
        server.send({"delete": gone})

    hear(runtime, server, speak, lambda: len(runtime.log) >= 4)
    seen, edited, deleted, again = runtime.log[-4:]
    assert isinstance(seen, Seen)
    assert isinstance(edited, Edited)
    assert (edited.mention.id, edited.mention.edit, seen.mention.edit) == (seen.mention.id, 1, 0)
    assert edited.mention.created_at == seen.mention.created_at
    assert deleted == again == Deleted(seen.mention.id, "deleted on X", datetime(2026, 11, 1, tzinfo=UTC))


# Recent search, gaps and the cursor


def test_a_gap_is_filled_from_the_last_id_and_told_as_open_then_closed(server: XServer) -> None:
    runtime = running(server)
    until_streaming(runtime, server)
    server.wait(lambda: not server.connections)
    since = msgspec.json.decode(runtime.cursor)["since"]
    said = {f"x:{server.post()}" for _ in range(3)}
    server.ahead_seconds = 3600.0
    later = running(server, clock=lambda: now() + timedelta(hours=1))
    later.cursors.append(runtime.cursor or "")
    later.run(lambda: later.ids() >= said and bool(later.gaps) and later.gaps[-1].closed)
    assert later.ids() == said
    assert [gap.closed for gap in later.gaps] == [False, True]
    assert {gap.begin for gap in later.gaps} == {instant_of(since)}
    assert int(server.asked("search")[-1][0]["since_id"]) >= since


def test_the_cursor_does_not_pass_a_gap_that_is_not_filled_yet(server: XServer) -> None:
    missed = {f"x:{server.post(ago_seconds=60)}"}
    server.faults["search"] += [Fault(503)] * 10_000
    runtime = running(server)
    fresh: set[str] = set()

    def enough() -> bool:
        if not fresh and server.connections and "no stream" not in runtime.notes[-1]:
            fresh.add(f"x:{server.post()}")
        return bool(fresh) and runtime.ids() >= fresh

    runtime.run(enough, deadline=10)
    assert not runtime.ids() & missed
    server.faults["search"].clear()
    again = running(server)
    again.cursors.append(runtime.cursor or "")
    again.run(lambda: again.ids() >= missed, deadline=10)


def test_what_is_said_while_the_stream_connects_is_found_once_it_stands(server: XServer) -> None:
    server.faults["stream"] += [Fault(503)] * 10_000
    runtime = running(server, poll_seconds=3600.0)
    said: set[str] = set()

    def enough() -> bool:
        if not said and len(server.asked("stream")) >= 2 and server.asked("search"):
            said.add(f"x:{server.post()}")
            server.faults["stream"].clear()
        return bool(said) and runtime.ids() >= said

    runtime.run(enough, deadline=10)
    assert server.connects == 1


def test_a_long_fill_resumes_at_the_page_where_it_was_left(server: XServer) -> None:
    said = {f"x:{server.post(ago_seconds=60 * n)}" for n in range(5, 355)}
    runtime = running(server, stream=False, first_hours=24.0)
    runtime.run(lambda: len(runtime.ids()) >= 200)
    assert len(runtime.ids()) == 200
    rest = running(server, stream=False, first_hours=24.0)
    rest.cursors.append(runtime.cursor or "")
    rest.run(lambda: rest.ids() | runtime.ids() == said)
    assert 150 <= len(rest.ids()) <= 152  # the second around the place where it was left is read again


def test_a_fill_goes_on_when_the_brands_have_changed_meanwhile(server: XServer) -> None:
    said = {f"x:{server.post(ago_seconds=60)}"}
    begin, end = server.id_at(server.now() - 3600), server.id_at(server.now() - 30)
    for query, expected in (("southwestair", set()), ("some other query", said)):
        digest = hashlib.blake2b(query.encode(), digest_size=6).hexdigest()
        fill = {"since": begin, "until": end, "done": {digest: 0}}
        runtime = running(server, stream=False)
        runtime.cursors.append(json.dumps({"since": begin, "month": f"{now():%Y-%m}", "fill": fill}))
        fresh = {f"x:{server.post()}"}
        runtime.collect(fresh | expected)
        assert said & runtime.ids() == expected


def test_what_is_older_than_seven_days_stays_an_open_gap(server: XServer) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=9)
    runtime = running(server, stream=False)
    runtime.cursors.append(f'{{"since":{id_at(long_ago)},"month":"{now():%Y-%m}"}}')
    said = {f"x:{server.post(ago_seconds=6 * 86_400)}"}
    runtime.run(lambda: runtime.ids() >= said and len(runtime.gaps) >= 2)
    last = runtime.gaps[-1]
    assert not last.closed
    assert "seven days" in last.why
    assert timedelta(days=1.9) < last.end - last.begin < timedelta(days=2.1)


def test_an_outage_of_search_is_waited_out_and_told(server: XServer) -> None:
    server.faults["search"] += [Fault(500), Fault(0, cut=True), Fault(200, b'{"data": [{"id"')]
    runtime = running(server, stream=False)
    runtime.collect({f"x:{server.post()}"})
    told = "; ".join(runtime.notes)
    assert "X has a problem (500" in told
    assert "X cannot be reached" in told


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_wrong_clock_of_this_machine_skips_nothing(server: XServer, ahead: float) -> None:
    clock = lambda: now() + timedelta(seconds=ahead)  # noqa: E731
    runtime = running(server, stream=False, clock=clock, first_hours=2.0)
    runtime.collect({f"x:{server.post()}"})
    runtime.collect({f"x:{server.post()}"})
    assert msgspec.json.decode(runtime.cursor)["since"] <= id_at(now())


def test_a_query_that_x_refuses_is_told_with_its_text(server: XServer) -> None:
    good = running(server, stream=False)
    good.collect({f"x:{server.post()}"})
    server.faults["search"] += [Fault(400, {"errors": [{"message": "no viable alternative"}]})] * 2
    with pytest.raises(SettingsError, match=r"no viable alternative.*southwestair"):
        good.collect({"x:none"})


# The budget


def test_the_monthly_budget_is_warned_of_held_to_and_renewed(server: XServer) -> None:
    ahead = [timedelta()]
    clock = lambda: now() + ahead[0]  # noqa: E731
    said = {f"x:{server.post()}" for _ in range(10)}
    runtime = running(server, stream=False, monthly_read_budget=12, clock=clock)
    runtime.run(lambda: runtime.notes[-1].startswith("10 of 12 posts"))
    said |= {f"x:{server.post()}" for _ in range(20)}
    runtime.run(lambda: runtime.notes[-1].startswith("held"))
    assert len(runtime.ids()) == 20  # a page has ten posts at least
    asked = len(server.asked("search"))
    held = runtime.batches
    runtime.run(lambda: runtime.batches >= held + 5)
    assert len(server.asked("search")) == asked
    assert runtime.gaps[-1].why == "the month's read budget is used up"
    assert runtime.gaps[-1].end.day == 1
    # In the next month reading goes on; what has grown too old meanwhile stays a gap.
    month = timedelta(days=32)
    ahead[0] = month
    server.ahead_seconds = month.total_seconds()
    fresh = {f"x:{server.post(ago_seconds=3600)}"}
    runtime.run(lambda: runtime.ids() >= fresh and "seven days" in runtime.gaps[-1].why)
    assert not runtime.ids() - fresh - said
    assert msgspec.json.decode(runtime.cursor)["reads"] == 1


def test_a_stream_over_budget_is_left(server: XServer) -> None:
    runtime = running(server, monthly_read_budget=5)

    def speak() -> None:
        for _ in range(9):
            server.post()

    hear(runtime, server, speak, lambda: runtime.notes[-1].startswith("held") and not server.connections)
    assert len(runtime.ids()) == 5


# Settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bearer_token": " "}, "bearer_token"),
        ({"bearer_token": "t", "base_url": "http://api.x.com"}, "base_url"),
        ({"bearer_token": "t", "poll_seconds": 0.0}, "poll_seconds"),
        ({"bearer_token": "t", "first_hours": 1000.0}, "first_hours"),
        ({"bearer_token": "t", "monthly_read_budget": 0}, "monthly_read_budget"),
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=rf"sources\.x\.{message}"):
        build("x", Options(**options), [brand("southwestair")])


def test_without_brands_there_is_nothing_to_listen_for() -> None:
    with pytest.raises(SettingsError, match=r"brands\.toml"):
        build("x", Options(bearer_token="t"), [])


def test_a_cursor_of_another_source_is_refused(server: XServer) -> None:
    with pytest.raises(SettingsError, match="cursor"):
        next(iter(source_on(server).read("not json", threading.Event())))


def test_authors_come_with_their_posts(server: XServer) -> None:
    runtime = running(server)
    runtime.collect({f"x:{server.post()}"})
    change = runtime.log[0]
    assert isinstance(change, Seen)
    assert change.mention.author is not None
    assert change.mention.author.handle == USER["username"]
    for route in ("search", "stream"):
        for params, _ in server.asked(route):
            assert "author_id" in params["expansions"]
            assert "note_tweet" in params["tweet.fields"]
            assert "edit_history_tweet_ids" in params["tweet.fields"]
            assert "public_metrics" in params["user.fields"]


def test_a_stop_is_seen_while_x_does_not_answer(server: XServer) -> None:
    server.silent = True
    stop = threading.Event()
    pace = msgspec.structs.replace(PACE, timeout_seconds=0.5)

    def read() -> None:
        for _ in source_on(server, pace=pace).read(None, stop):
            pass

    thread = threading.Thread(target=read)
    thread.start()
    server.wait(lambda: bool(server.requests))
    stop.set()
    thread.join(5.0)
    server.silent = False
    assert not thread.is_alive()
