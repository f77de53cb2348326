"""What somebody meets who has never seen the console: without the keys, on a phone, with a session that has ended."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect

from hark import settings
from hark.alerts.incidents import Incident
from hark.query import parse
from hark.state import open_state
from hark.state.people import People
from hark.wiring import store_of
from tests.acceptance.console.conftest import PASSWORD
from tests.support.browser import Contexts, Screen, check_axe, shoot
from tests.support.center import Center, wait_for

Open = Callable[[str], Screen]


def test_a_mention_is_labelled_and_linked_without_the_keyboard(screen: Open, center: Center) -> None:
    page = screen("agent").open("/feed?id=import:7")
    page.get_by_role("button", name="neutral").click()
    expect(page.locator("#toasts")).to_contain_text("Labelled sentiment: neutral")
    page.get_by_role("button", name="Correct a tag").click()
    expect(page.get_by_role("dialog", name="Correct a tag")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()
    check_axe(page)
    shoot(page, "mention-buttons")
    with store_of(settings.load(None, center.data)) as store:
        wait_for(lambda: store.count(parse("id:import:7 sentiment:neutral")), "the label in the store")


def test_who_may_not_label_sees_no_buttons_for_it(screen: Open) -> None:
    page = screen("partner").open("/feed?id=import:1")
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()
    expect(page.get_by_role("button", name="Correct a tag")).to_have_count(0)


def test_open_incidents_are_counted_on_every_screen_and_announced(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    page = screen("operations").open("/search")
    count = page.locator("#open")
    expect(count).to_be_visible()
    assert int(count.inner_text()) >= 1
    page.evaluate("document.getElementById('open').textContent = '0'")  # as if they were not there yet
    expect(page.locator("#toasts")).to_contain_text("A new incident is open", timeout=20_000)


def test_on_a_phone_an_incident_can_be_answered_without_scrolling(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    one = screen("operations")
    one.page.set_viewport_size({"width": 390, "height": 844})
    page = one.open(f"/alerts/incidents/{incidents['southwest'].id}")
    expect(page.get_by_role("heading", name="What is done")).to_be_in_viewport()
    shoot(page, "incident-phone")


@pytest.mark.parametrize(
    "path", ["/admin", "/admin/sessions", "/admin/audit", "/trends", "/sources", "/alerts/rules"]
)
def test_no_screen_is_wider_than_a_phone(screen: Open, path: str) -> None:
    one = screen("admin")
    one.page.set_viewport_size({"width": 390, "height": 844})
    page = one.open(path)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_session_that_has_ended_says_so_and_leads_back(screen: Open) -> None:
    one = screen("nobody")
    page = one.open("/login?ended=1&next=%2Fsearch%3Fq%3Ddelta")
    expect(page.get_by_role("status").first).to_contain_text("Your session has ended")
    assert page.locator("input[name=next]").input_value() == "/search?q=delta"
    one.open("/login")
    expect(page.get_by_text("Your session has ended")).to_have_count(0)


def test_a_topic_that_is_not_there_is_told_where_nothing_was_found(screen: Open) -> None:
    page = screen("analyst").open("/search?q=brand:delta+topic:lugage&last=7d")
    expect(page.get_by_role("main")).to_contain_text("topics.toml names no topic `lugage`")
    page = screen("partner").open("/search?q=brand:nobodys&last=7d")
    expect(page.get_by_role("main")).to_contain_text("No mention matches")
    expect(page.get_by_role("main")).not_to_contain_text("names no brand")


def test_a_day_that_the_range_cuts_short_is_no_slump(screen: Open) -> None:
    page = screen("analyst").open("/trends?last=7d&interval=1d")
    expect(page.get_by_text("point", exact=False).filter(has_text="not whole")).to_be_visible(timeout=20_000)
    page.locator("#volume summary").click()
    expect(page.locator("#volume tbody tr").first).to_contain_text("*")
    expect(page.locator("#volume tbody tr").nth(1)).not_to_contain_text("*")


def test_a_center_that_has_nothing_yet_says_how_to_begin(contexts: Contexts, tmp_path: Path) -> None:
    empty = Center(tmp_path)
    with closing(open_state("embedded", empty.data)) as state:
        People(state).add("amy", "admin", PASSWORD)
    console = empty.start("console", "--port", str(empty.port))
    address = (
        f"http://localhost:{empty.port}"  # another host than the shared center's, so that no cookie is lost
    )
    try:
        one = Screen(contexts.of("nobody"), address)
        wait_for(lambda: answers(one, address), "the console")
        one.page.context.request.post(f"{address}/login", form={"name": "amy", "password": PASSWORD})
        expect(one.open("/feed").get_by_text("No source is set up: enable one")).to_be_visible()
        expect(one.open("/wall").get_by_text("No mention was collected yet.")).to_be_visible(timeout=20_000)
        assert not one.wrong
        one.page.close()
    finally:
        console.terminate()
        console.wait()


def answers(one: Screen, address: str) -> bool:
    try:
        return one.page.context.request.get(f"{address}/login").ok
    except Error:
        return False
