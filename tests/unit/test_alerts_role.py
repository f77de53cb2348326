"""The alert role's turns, and what people see of it: nothing is judged before it is in the store."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from hark.alerts.counts import BUCKET_MS
from hark.alerts.live import Fence, Rounds, Watch
from hark.bus import open_bus
from hark.commands.incidents import command
from hark.core.change import ENRICHED, MENTIONS
from hark.core.clock import to_ms
from hark.core.errors import RefusedError
from hark.core.protocols import Bus
from hark.ledger import ENRICH_GROUP, INDEX_GROUP
from hark.settings import LogSettings
from hark.state import open_state
from sinks.embedded import EmbeddedStore
from tests.unit.test_alerts_live import LIVE, RULES, TAXONOMY, Told, catch_up, mentions

HOUR = 3_600_000


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


def test_a_turn_waits_for_the_past_and_for_the_workers(tmp_path: Path, bus: Bus) -> None:
    store, state = EmbeddedStore(tmp_path / "store.db", TAXONOMY), open_state("embedded", tmp_path)
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
    store.close()
    state.close()


def test_a_store_that_shows_writes_late_is_given_its_time_behind_the_fence(tmp_path: Path, bus: Bus) -> None:
    store, state = EmbeddedStore(tmp_path / "store.db", TAXONOMY), open_state("embedded", tmp_path)
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
    store.close()
    state.close()


def test_much_more_history_is_learned_from(tmp_path: Path, bus: Bus) -> None:
    store, state = EmbeddedStore(tmp_path / "store.db", TAXONOMY), open_state("embedded", tmp_path)
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    catch_up(watch, to_ms(LIVE))
    assert not watch.outgrown()
    store.write([item for item in mentions(False) if item.mention.created_at < LIVE])
    assert watch.outgrown()
    watch.relearn()
    assert not watch.outgrown()
    catch_up(watch, to_ms(LIVE) + BUCKET_MS)
    assert watch.through() == to_ms(LIVE) + BUCKET_MS
    store.close()
    state.close()


def test_incidents_are_listed_shown_and_acted_upon_by_the_command(tmp_path: Path) -> None:
    store, state = EmbeddedStore(tmp_path / "store.db", TAXONOMY), open_state("embedded", tmp_path)
    store.write(mentions(False))
    watch = Watch(store, state, RULES, TAXONOMY, [], Told(state))
    for at in (0, HOUR + 2_400_000):
        catch_up(watch, to_ms(LIVE) + at)
    store.close()
    state.close()

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
    assert said("list") == "No incident is open; --all lists the others.\n"
    wrong = CliRunner().invoke(command, ["show", "nowhere", "--data", str(tmp_path)])
    assert isinstance(wrong.exception, RefusedError)
