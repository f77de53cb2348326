"""The alert role's turns, and what people see of it: nothing is judged before it is in the store."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from hark.alerts.counts import BUCKET_MS
from hark.alerts.live import EMPTY_LOOKS, Fence, Rounds, Watch
from hark.bus import open_bus
from hark.commands.backtest import command as backtest
from hark.commands.incidents import command
from hark.core.change import ENRICHED, MENTIONS
from hark.core.clock import now, to_ms
from hark.core.errors import RefusedError, TransientError
from hark.core.protocols import Bus
from hark.ledger import ENRICH_GROUP, INDEX_GROUP
from hark.settings import LogSettings
from hark.state import State
from hark.state import alerts as tables
from sinks.embedded import EmbeddedStore
from tests.unit.test_alerts_live import (
    ALLOWANCE,
    END,
    LIVE,
    RULES,
    START,
    TAXONOMY,
    Told,
    catch_up,
    collected,
    mentions,
)

HOUR = 3_600_000
PAST = [item for item in mentions(False) if item.mention.created_at < LIVE - timedelta(hours=1)]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = open_bus("embedded", tmp_path, LogSettings(partitions=2))
    yield bus
    bus.close()


def take(bus: Bus, topic: str, group: str) -> None:
    """Process everything of a topic."""
    subscription = bus.subscribe(topic, group)
    while subscription.poll(100, 0.0):
        subscription.commit()
    subscription.close()


def test_the_fence_opens_when_all_that_was_in_the_log_is_in_the_store(bus: Bus) -> None:
    fence = Fence(bus)
    assert fence.passed(1)
    bus.publish(MENTIONS, [(f"x:{n}", b"a") for n in range(9)])
    assert not fence.passed(2)
    take(bus, MENTIONS, ENRICH_GROUP)
    bus.publish(ENRICHED, [(f"x:{n}", b"a") for n in range(9)])
    assert not fence.passed(2)
    bus.publish(MENTIONS, [("x:later", b"a")])
    take(bus, ENRICHED, INDEX_GROUP)
    assert fence.passed(2)
    assert fence.passed(2)
    assert not fence.passed(3)


def test_a_log_that_is_away_when_the_fence_is_asked_opens_nothing(bus: Bus) -> None:
    bus.publish(MENTIONS, [("x:1", b"a")])
    away = Away(bus)
    fence = Fence(away)
    with pytest.raises(TransientError):
        fence.passed(1)
    assert not fence.passed(1)


class Away:
    """A log that is away once."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._away = bus, True

    def __getattr__(self, name: str) -> Any:
        if self._away:
            self._away = False
            raise TransientError("the log is away")
        return getattr(self._bus, name)


def test_a_turn_waits_for_the_past_and_for_the_workers(store: EmbeddedStore, state: State, bus: Bus) -> None:
    past = [item for item in mentions(False) if item.mention.created_at < LIVE]
    moments = [LIVE]
    beats: list[datetime] = []
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    rounds = Rounds(watch, Fence(bus), lambda: moments[-1], lambda: beats.append(moments[-1]))
    half = len(past) // 2
    store.write(past[:half])
    rounds.turn(300)
    store.write(past[half:])
    rounds.turn(300)
    assert watch.through() is None  # the past has grown between two looks
    bus.publish(MENTIONS, [("x:1", b"a")])
    rounds.turn(300)
    assert watch.through() is None  # something is in the log, and not in the store
    assert not beats
    take(bus, MENTIONS, ENRICH_GROUP)
    rounds.turn(300)
    assert watch.through() == to_ms(LIVE - timedelta(minutes=10))
    assert beats == [LIVE]
    moments.append(LIVE + timedelta(minutes=5, seconds=4))
    rounds.turn(300)
    assert watch.through() == to_ms(LIVE - timedelta(minutes=5))
    moments.append(LIVE + timedelta(minutes=5, seconds=5))
    rounds.turn(300)
    assert watch.through() == to_ms(LIVE)


def test_a_store_that_shows_writes_late_is_given_its_time_behind_the_fence(
    store: EmbeddedStore, state: State, bus: Bus
) -> None:
    moments = [LIVE]
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    rounds = Rounds(watch, Fence(bus), lambda: moments[-1], lambda: None, lag_seconds=2.0)
    store.write([item for item in mentions(False) if item.mention.created_at < LIVE])
    bus.publish(MENTIONS, [("x:1", b"a")])
    for _ in range(3):
        rounds.turn(300)
        moments.append(moments[-1] + timedelta(seconds=5))
    take(bus, MENTIONS, ENRICH_GROUP)
    rounds.turn(300)
    assert watch.through() is None  # all is written, and may not be found yet
    moments.append(moments[-1] + timedelta(seconds=2))
    rounds.turn(300)
    assert watch.through() == to_ms(LIVE - timedelta(minutes=5))


def test_much_more_history_is_learned_from(store: EmbeddedStore, state: State, bus: Bus) -> None:
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    catch_up(watch, to_ms(LIVE))
    store.write(PAST[:300])
    assert not watch.outgrown()
    store.write(PAST[:301])
    assert watch.outgrown()
    watch.relearn()
    assert not watch.outgrown()
    catch_up(watch, to_ms(LIVE) + BUCKET_MS)
    assert watch.through() == to_ms(LIVE) + BUCKET_MS


def learned(state: State) -> tuple[set[str], int]:
    """Return the series that the rule knows, and up to when (ms) what was collected counted."""
    with state.read() as connection:
        _, checkpoint = tables.checkpoints(connection)["brands"]
        lesson = tables.lessons(connection)["brands"]
    return {series["group"] for series in msgspec.msgpack.decode(checkpoint)["series"]}, lesson.learned_ms


def test_history_that_was_imported_a_moment_ago_is_learned_from(
    store: EmbeddedStore, state: State, bus: Bus
) -> None:
    """`hark import`, then `hark up`: the bucket that learning ends with had closed before the import."""
    moment = LIVE + timedelta(minutes=4)
    store.write(collected(PAST, moment - timedelta(seconds=20)))
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    rounds = Rounds(watch, Fence(bus), lambda: moment, lambda: None)
    for _ in range(2):
        rounds.turn(ALLOWANCE)
    assert watch.through() == to_ms(LIVE - timedelta(minutes=5))
    assert learned(state)[0] == {"delta", "united"}


def test_history_that_comes_in_across_the_end_of_a_bucket_is_learned_from_as_a_whole(
    store: EmbeddedStore, state: State, bus: Bus
) -> None:
    moments = [LIVE + timedelta(minutes=1)]
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    rounds = Rounds(watch, Fence(bus), lambda: moments[-1], lambda: None)
    for _ in range(EMPTY_LOOKS):
        rounds.turn(ALLOWANCE)
    assert learned(state)[0] == set()
    history = collected(PAST, LIVE + timedelta(minutes=7))
    store.write(history[::2])
    moments.append(LIVE + timedelta(minutes=7))
    rounds.turn(ALLOWANCE)
    store.write(history)
    for minutes in (8, 9, 10, 11, 12):
        moments.append(LIVE + timedelta(minutes=minutes))
        rounds.turn(ALLOWANCE)
    series, until = learned(state)
    assert series == {"delta", "united"}
    assert until > to_ms(LIVE + timedelta(minutes=7))


def test_the_command_says_that_a_history_was_imported_and_tries_it_all_the_same(
    store: EmbeddedStore, state: State, tmp_path: Path
) -> None:
    catch_up(Watch(store, state, RULES, TAXONOMY, [], Told(state)), to_ms(START))
    store.write(collected(mentions(False), now()))

    def said(*more: str) -> str:
        times = "--since", START.isoformat(), "--until", END.isoformat()
        result = CliRunner().invoke(backtest, ["complaint-spike", *times, "--data", str(tmp_path), *more])
        assert result.exit_code == 0, result.output
        return result.output

    assert "Judged by when mentions were written, since 100% of them were imported later." in said()
    assert "No alert." not in said()
    assert "No alert." in said("--by", "collected")


def test_incidents_are_listed_shown_and_acted_upon_by_the_command(
    store: EmbeddedStore, state: State, tmp_path: Path
) -> None:
    store.write(mentions(False))
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    for at in (0, HOUR + 2_400_000):
        catch_up(watch, to_ms(LIVE) + at)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.output

    (line,) = said("list", "--json").splitlines()
    incident = json.loads(line)
    assert incident["status"] == "open"
    assert incident["headline"].startswith("delta · lost")
    assert incident["low"] < incident["expected"] < incident["high"] < incident["observed"]
    shown = said("show", incident["id"])
    assert incident["headline"] in shown
    assert "topics: lost" in shown
    assert "lost my bag" in shown
    assert "acknowledged on it" in said("ack", incident["id"], "on it", "--who", "kim")
    said("silence", incident["id"], "2h", "--who", "kim")
    for wrong in ("3x", "h", "99999999999d"):
        result = CliRunner().invoke(command, ["silence", incident["id"], wrong, "--data", str(tmp_path)])
        assert str(result.exception) == f"TIME: expected 30m, 2h or 1d, found {wrong!r}"
    markdown = said("post-mortem", incident["id"])
    assert "acknowledged | kim | on it" in markdown
    assert f"| {incident['observed']} |" not in markdown.splitlines()[0]
    page = tmp_path / "report.html"
    said("post-mortem", incident["id"], "--html", str(page))
    text = page.read_text()
    assert text.count("<rect") > 70
    for outside in ("<script", "http:", "https:", "src=", "url(", "@import"):
        assert outside not in text
    assert '"status":"resolved"' in said("resolve", incident["id"], "--json")
    assert said("list") == "No incident is open; `hark incidents list --all` lists the others.\n"
    wrong = CliRunner().invoke(command, ["show", "nowhere", "--data", str(tmp_path)])
    assert isinstance(wrong.exception, RefusedError)
