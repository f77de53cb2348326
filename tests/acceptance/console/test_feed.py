"""The live feed in a real browser, and its streams over HTTP."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Page, expect

from hark import settings
from hark.core.change import MENTIONS, Change, Deleted, Edited, Seen, encode, key_of
from hark.core.mention import Author, Mention
from hark.core.protocols import Bus
from hark.query import parse
from hark.state import open_state
from hark.state.people import People
from hark.wiring import bus_of, store_of
from tests.acceptance.console.conftest import PARTNER
from tests.support.browser import Screen, check_axe, shoot
from tests.support.center import Center, wait_for

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


@pytest.fixture(scope="module")
def bus(center: Center) -> Iterator[Bus]:
    with bus_of(settings.load(None, center.data)) as bus:
        yield bus


def said(name: str, text: str, **more: Any) -> Mention:
    moment = datetime.now(UTC)
    author = Author(handle="gwen", followers=321)
    return Mention(
        **{
            "id": f"live:{name}",
            "source": "live",
            "text": text,
            "created_at": moment,
            "collected_at": moment,
            "author": author,
            **more,
        }
    )


def publish(bus: Bus, *changes: Change) -> None:
    bus.publish(MENTIONS, [(key_of(change), encode(change)) for change in changes])


def live(page: Page) -> Page:
    expect(page.locator("#feed-state")).to_have_text("live")
    return page


def row(page: Page, name: str) -> Any:
    return page.locator(f'#list > [data-id="live:{name}"]')


class Stream:
    """One open stream over HTTP, read by a thread of its own into `events`: (name, data, id)."""

    def __init__(self, address: str, cookie: str, path: str, **headers: str) -> None:
        self.events: list[tuple[str, Any, str]] = []
        self.over = threading.Event()
        self._begun = threading.Event()
        self._connection = HTTPConnection(urlsplit(address).netloc, timeout=30)
        self._connection.request("GET", path, headers={"Cookie": f"hark={cookie}", **headers})
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._begun.wait(20), "the stream to begin"

    def named(self, name: str) -> list[Any]:
        return [data for event, data, _ in self.events if event == name]

    def close(self) -> None:
        if self._connection.sock is not None and not self.over.is_set():
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _read(self) -> None:
        with self._connection.getresponse() as answer:
            assert answer.status == 200, answer.status
            name = data = place = ""
            while line := answer.readline():
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    data = value
                elif key == "id":
                    place = value
                elif not key and name:
                    self.events.append((name, json.loads(data), place))
                    self._begun.set()
                    name = ""
        self.over.set()


@pytest.fixture
def stream(client: Client) -> Iterator[Callable[..., Stream]]:
    opened: list[Stream] = []

    def open_stream(role: str, path: str = "/api/v1/stream", **headers: str) -> Stream:
        browser = client(role)
        opened.append(Stream(str(browser.base_url), browser.cookies["hark"], path, **headers))
        return opened[-1]

    yield open_stream
    for one in opened:
        one.close()


def test_the_feed_looks_as_it_should(screen: Open) -> None:
    page = live(screen("agent").open("/feed?q=flight"))
    page.keyboard.press("j")
    expect(page.get_by_role("article")).to_contain_text("cancelled")
    expect(page.get_by_role("complementary")).to_contain_text("sure")
    check_axe(page)
    shoot(page, "feed")


def test_a_mention_appears_without_a_reload_and_what_becomes_of_it_is_shown(screen: Open, bus: Bus) -> None:
    page = live(screen("agent").open("/feed?q=zebra"))
    expect(page.get_by_text("No mention matches yet")).to_be_visible()
    first = said("fate", "a zebra at the gate of @SouthwestAir")
    publish(bus, Seen(first))
    expect(row(page, "fate")).to_contain_text("a zebra at the gate")
    publish(bus, Edited(said("fate", "two zebra at the gate of @SouthwestAir", edit=1)))
    expect(row(page, "fate")).to_contain_text("two zebra")
    expect(row(page, "fate")).to_contain_text("edited")
    publish(bus, Deleted("live:fate", "by its author", datetime.now(UTC)))
    expect(row(page, "fate")).to_contain_text("deleted")
    expect(row(page, "fate")).not_to_contain_text("zebra")


def test_the_list_holds_still_while_it_is_read_and_says_how_many_wait(screen: Open, bus: Bus) -> None:
    page = live(screen("agent").open("/feed?q=quokka+OR+awful"))
    page.keyboard.press("j")
    before = page.locator("#list > li").first.get_attribute("data-id")
    publish(bus, Seen(said("still-1", "quokka one")), Seen(said("still-2", "quokka two")))
    expect(page.get_by_role("button", name="2 new, press n")).to_be_visible()
    assert page.locator("#list > li").first.get_attribute("data-id") == before
    page.keyboard.press("n")
    expect(row(page, "still-1")).to_be_visible()
    expect(page.locator("#new")).to_be_hidden()
    expect(page.locator("#list > .current")).to_have_attribute("data-id", before or "")


def test_one_key_labels_and_the_label_is_a_persons_for_ever(screen: Open, bus: Bus, center: Center) -> None:
    one = screen("agent")
    page = live(one.open("/feed?q=okapi"))
    publish(bus, Seen(said("label", "okapi seat 12, thanks @Delta I guess")))
    expect(row(page, "label")).to_be_visible()
    with store_of(settings.load(None, center.data)) as store:
        wait_for(lambda: store.get("live:label"), "the mention in the store")
        page.keyboard.press("j")
        expect(page.get_by_role("article")).to_contain_text("okapi")
        page.keyboard.press("1")
        expect(row(page, "label")).to_contain_text("sentiment: negative · agent")
        wait_for(lambda: store.count(parse("id:live:label sentiment:negative")), "the label in the store")
        page.keyboard.press("l")
        page.get_by_label("Value").fill("no-such-topic")
        page.get_by_role("button", name="Save the label").click()
        expect(page.get_by_role("dialog")).to_contain_text("expected one of")
        one.forget()
        ids = page.locator("#label-topic option").evaluate_all("all => all.map(one => one.value)")
        page.get_by_label("Value").fill(ids[0])
        page.get_by_role("button", name="Save the label").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        wait_for(lambda: store.count(parse(f"id:live:label topic:{ids[0]}")), "the topic in the store")
        hit = store.get("live:label")
        assert hit is not None
        assert {reason.why for reason in hit.enrichment.reasons if reason.why.startswith("labelled")} == {
            "labelled by agent"
        }


HOSTILE = {
    "script": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> narwhal",
    "bidi": "\u202e\u2066 narwhal reversed \u202d" * 20,
    "invisible": "nar\u200bwhal \u200d\ufeff narwhal " + "\u0301" * 3_000,
    "emoji": "narwhal " + "😡" * 10_000,
    "long": "narwhal " + "x" * 1_000_000,
    "template": "narwhal {{ 7*7 }} {% raw %} ${7*7}",
    "null": "narwhal \x01\x1b[31m\r\n\r\ndata: forged\n\nevent: gone",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_shown_harmlessly(name: str, screen: Open, bus: Bus, center: Center) -> None:
    page = live(screen("agent").open("/feed?q=narwhal"))
    url = "javascript:document.title='owned'"
    hostile = said(name, HOSTILE[name], url=url, author=Author(handle="\u202e<b>eve</b>", url=url))
    publish(bus, Seen(hostile))
    expect(row(page, name)).to_be_visible()
    with store_of(settings.load(None, center.data)) as store:
        wait_for(lambda: store.get(hostile.id), "the mention in the store")
    row(page, name).click()
    expect(page.get_by_role("article")).to_contain_text("nar")
    assert page.title() == "Feed · Hark"
    assert page.locator('a[href^="javascript"]').count() == 0
    box = page.get_by_role("article").bounding_box()
    assert box is not None
    assert box["width"] < 1280
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if name == "long":
        page.get_by_role("button", name="Show all").click()
        expect(page.get_by_role("button", name="Show all")).to_have_count(0)
    if name == "template":
        expect(page.get_by_role("article")).to_contain_text("{{ 7*7 }}")


def test_personal_data_is_masked_until_somebody_who_may_asks_and_that_is_kept(
    screen: Open, bus: Bus, center: Center
) -> None:
    page = live(screen("agent").open("/feed?q=axolotl"))
    publish(bus, Seen(said("pii", "axolotl, call me at 214-555-0199 @Delta")))
    expect(row(page, "pii")).to_contain_text("[phone number]")
    expect(row(page, "pii")).not_to_contain_text("0199")
    with store_of(settings.load(None, center.data)) as store:
        wait_for(lambda: store.get("live:pii"), "the mention in the store")
    row(page, "pii").click()
    article = page.get_by_role("article")
    expect(article).to_contain_text("[phone number]")
    assert "0199" not in page.content()
    page.get_by_role("button", name="Show it").click()
    expect(article).to_contain_text("214-555-0199")
    with contextlib.closing(open_state("embedded", center.data)) as state:
        (entry,) = People(state).audit(person="agent", action="personal data shown")
        assert entry.detail == "live:pii"
    analyst = screen("analyst").open("/feed?id=live%3Apii")
    expect(analyst.get_by_role("article")).to_contain_text("[phone number]")
    expect(analyst.get_by_role("button", name="Show it")).to_have_count(0)


def test_a_partner_is_sent_its_brands_alone(stream: Callable[..., Stream], bus: Bus, client: Client) -> None:
    partner, agent = stream("partner"), stream("agent")
    publish(
        bus,
        Seen(said("p1", "@united ibex on board")),
        Seen(said("p2", "@Delta ibex on board")),
        Seen(said("p3", "@united and @Delta, an ibex")),
        Deleted("live:p1", "by its author", datetime.now(UTC)),
    )
    publish(bus, Deleted("live:p2", "by its author", datetime.now(UTC)))
    wait_for(lambda: len(agent.named("gone")) >= 2, "the deletions")
    wait_for(lambda: partner.named("gone"), "the partner's deletion")
    assert {mention["id"] for mention in agent.named("mention")} >= {"live:p1", "live:p2", "live:p3"}
    assert {mention["id"] for mention in partner.named("mention")} == {"live:p2", "live:p3"}
    assert all(PARTNER in mention["enrichment"]["brands"] for mention in partner.named("mention"))
    assert partner.named("gone") == [{"id": "live:p2"}]
    foreign = (
        client("agent")
        .get("/feed", params={"q": "brand:united NOT brand:delta"})
        .text.split('data-id="')[1]
        .split('"')[0]
    )
    assert client("agent").get("/feed/mention", params={"id": foreign}).status_code == 200
    for path in ("/feed/mention", "/feed/row"):
        assert client("partner").get(path, params={"id": foreign}).status_code == 404
    assert f'data-id="{foreign}"' not in client("partner").get("/feed").text


def test_who_comes_back_continues_where_they_were(stream: Callable[..., Stream], bus: Bus) -> None:
    first = stream("agent", "/api/v1/stream?q=lemur")
    publish(bus, Seen(said("back-1", "lemur one")))
    wait_for(lambda: first.named("mention"), "the first")
    place = first.events[-1][2]
    first.close()
    whole = stream("lead", "/api/v1/stream?q=lemur")
    publish(bus, Seen(said("back-2", "lemur two")), Seen(said("back-3", "lemur three")))
    wait_for(lambda: len(whole.named("mention")) == 2, "both, by another stream")
    again = stream("agent", "/api/v1/stream?q=lemur", **{"Last-Event-ID": place})
    publish(bus, Seen(said("back-4", "lemur four")))
    wait_for(lambda: len(again.named("mention")) >= 3, "all three")
    # Workers tag side by side: which of two published at once comes first is nobody's promise.
    assert sorted(m["id"] for m in again.named("mention")) == ["live:back-2", "live:back-3", "live:back-4"]
    assert again.events[0][:2] == ("begin", {"reset": False})


def test_a_place_that_is_no_place_is_refused_and_one_too_long_ago_begins_anew(
    client: Client, stream: Callable[..., Stream], bus: Bus
) -> None:
    assert client("agent").get("/api/v1/stream", headers={"Last-Event-ID": "x"}).status_code == 400
    before = stream("agent", "/api/v1/stream?q=serval").events[0][2]
    # Workers tag side by side: only who counts them all knows that none is still to come.
    whole = stream("lead", "/api/v1/stream?q=serval")
    publish(bus, *[Seen(said(f"many-{n}", "serval")) for n in range(600)])
    wait_for(lambda: told_of(whole) == 600, "all of them")
    late = stream("agent", "/api/v1/stream?q=serval", **{"Last-Event-ID": before})
    assert late.events[0][1] == {"reset": True}


def test_a_stream_ends_with_its_session(address: str, center: Center) -> None:
    with contextlib.closing(open_state("embedded", center.data)) as state:
        people = People(state)
        token = people.begin_session("operations", 1.0)
        one = Stream(address, token, "/api/v1/stream")
        held = people.session(token)
        assert held is not None
        people.end_session(held[0].hash, "test")
        assert one.over.wait(60)
        assert one.named("over") == [{}]
        one.close()


def told_of(one: Stream) -> int:
    """Return how many mentions were sent or told as left out."""
    return len(one.named("mention")) + sum(data["skipped"] for data in one.named("sampled"))


def test_a_feed_that_cannot_keep_up_gets_a_sample_and_is_told(
    stream: Callable[..., Stream], bus: Bus
) -> None:
    one = stream("agent", "/api/v1/stream?q=capybara")
    publish(bus, *[Seen(said(f"flood-{n}", "capybara")) for n in range(3_000)])
    wait_for(
        lambda: told_of(one) == 3_000,
        "each mention sent or told as left out",
    )
    assert one.named("sampled")
    assert len(one.named("mention")) >= 200
