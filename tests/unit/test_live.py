"""The live feed's fan-out, over the embedded log: places, bounds, and who hears of what."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hark.bus import open_bus
from hark.console import live as live_module
from hark.console.live import Feed, Live, read_place, write_place
from hark.core.change import ENRICHED, Deleted, Item, Tagged, encode, key_of
from hark.core.errors import SettingsError
from hark.core.mention import Enrichment, Language, Mention, Sentiment, Vader
from hark.core.protocols import Bus
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.settings import LogSettings

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = open_bus("embedded", tmp_path, LogSettings())
    yield bus
    bus.close()


@pytest.fixture
def live(bus: Bus) -> Iterator[Live]:
    live = Live(bus, NO_TAXONOMY)
    yield live
    live.close()


def tagged(name: str, text: str, brands: tuple[str, ...] = (), edit: int = 0) -> Tagged:
    mention = Mention(f"x:{name}", "x", text, MOMENT, MOMENT, edit=edit)
    sentiment = Sentiment("neutral", 0.0, 1.0, Vader(0, 1, 0, 0))
    return Tagged(mention, Enrichment("1", Language("en", 1.0), brands, sentiment))


def publish(bus: Bus, *items: Item) -> None:
    bus.publish(ENRICHED, [(key_of(item), encode(item)) for item in items])


def show(item: Tagged) -> dict[str, object]:
    return {"id": item.mention.id}


def events(text: bytes) -> list[tuple[str, Any, str]]:
    """Return (name, data, id) of each event of a stretch of a stream."""
    found = []
    for part in text.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return found


async def until(feed: Feed, ready: int) -> list[tuple[str, Any, str]]:
    """Return what the feed sends, once it is `ready` events or more."""
    found: list[tuple[str, Any, str]] = []
    async for chunk in feed.chunks(lambda: True):
        found += events(chunk)
        if len(found) >= ready:
            return found
    return found


async def joined(live: Live, query: str, brands: tuple[str, ...] | None = None) -> Feed:
    feed = Feed(parse(query), brands, show)
    await asyncio.to_thread(live.join, feed)
    return feed


async def quiet(live: Live, bus: Bus) -> None:
    """Wait until a feed of everything has seen what was published up to now."""
    mark = await joined(live, "marker")
    publish(bus, *[tagged(f"marker-{n}", "marker") for n in range(40)])  # some in every partition
    await until(mark, 40)
    live.leave(mark)


def test_a_feed_is_sent_what_matches_and_what_became_of_it(live: Live, bus: Bus) -> None:
    async def run() -> None:
        feed = await joined(live, "delay")
        publish(bus, tagged("1", "a delay"), tagged("2", "nothing"))
        publish(bus, tagged("1", "all well", edit=1))
        publish(bus, Deleted("x:1", "gone", MOMENT))
        found = [(name, data["id"]) for name, data, _ in await until(feed, 3)]
        assert found == [("mention", "x:1"), ("changed", "x:1"), ("gone", "x:1")]

    asyncio.run(run())


def test_a_feed_of_limited_sight_hears_nothing_of_what_it_may_not_see(live: Live, bus: Bus) -> None:
    async def run() -> None:
        feed = await joined(live, "", ("delta",))
        publish(bus, tagged("1", "a", ("united",)), tagged("2", "b", ("delta", "united")))
        publish(bus, Deleted("x:1", "gone", MOMENT))
        publish(bus, tagged("2", "now of another", ("united",), edit=1))
        publish(bus, tagged("1", "changed", ("united",), edit=1))
        await quiet(live, bus)
        found = [(name, data["id"]) for name, data, _ in await until(feed, 2)]
        assert found == [("mention", "x:2"), ("changed", "x:2")]

    asyncio.run(run())


def test_a_reader_that_is_too_slow_gets_the_newest_and_the_number_left_out(
    live: Live, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "MOST_WAITING", 50)

    async def run() -> None:
        feed = await joined(live, "delay")
        for batch in range(4):
            publish(bus, *[tagged(f"{batch}-{n}", "a delay") for n in range(40)])
            await quiet(live, bus)
        found = await until(feed, 51)
        assert [name for name, _, _ in found] == ["mention"] * 50 + ["sampled"]
        assert found[-1][1] == {"skipped": 110}
        assert {data["id"][:4] for name, data, _ in found[10:-1]} == {"x:3-"}

    asyncio.run(run())


def test_what_was_missed_is_what_came_between_two_places_once_each(live: Live, bus: Bus) -> None:
    async def run() -> None:
        first = await joined(live, "delay")
        publish(bus, *[tagged(str(n), "a delay") for n in range(20)])
        seen = await until(first, 20)
        for stop in (0, 7, 19):
            place = seen[stop][2]
            again = await joined(live, "delay")
            missed = await asyncio.to_thread(live.missed, again, place)
            assert missed is not None
            # Within a place nothing is lost and nothing comes twice, whatever the order of partitions.
            assert (
                sorted(data["id"] for _, data, _ in events(b"".join(missed)))
                == sorted(data["id"] for _, data, _ in seen[stop + 1 :])
                if missed
                else stop == 19
            )
            live.leave(again)

    asyncio.run(run())


def test_too_much_missed_begins_anew(live: Live, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_MISSED", 10)

    async def run() -> None:
        feed = await joined(live, "delay")
        place = write_place(feed.begin)
        publish(bus, *[tagged(str(n), "a delay") for n in range(11)])
        await until(feed, 11)
        again = await joined(live, "delay")
        assert await asyncio.to_thread(live.missed, again, place) is None

    asyncio.run(run())


def test_a_stream_ends_when_it_is_not_allowed_any_more(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "LOOK_SECONDS", 0.01)

    async def run() -> None:
        feed = await joined(live, "")
        chunks = [chunk async for chunk in feed.chunks(lambda: False)]
        assert events(b"".join(chunks)) == [("over", {}, "")]

    asyncio.run(run())


def test_a_place_is_read_as_it_was_written() -> None:
    places = {0: 0, 3: 17, 12: 1 << 40}
    assert read_place(write_place(places)) == places
    for wrong in ("", "x", "1", "1-x", "1-2.", "1-2-3"):
        with pytest.raises(SettingsError, match="no place"):
            read_place(wrong)
