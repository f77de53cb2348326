"""Sources and the books: how complete the listening is, for everybody to see who runs it."""

from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import expect

from tests.support.browser import Screen, check_axe, shoot
from tests.support.center import Center

Open = Callable[[str], Screen]
BROKEN = '{"text": "the first half of a line'


@pytest.fixture(scope="module")
def refused(center: Center) -> None:
    """Import one line that nobody can read."""
    file = center.folder / "broken.jsonl"
    file.write_text(BROKEN + "\n")
    center.run("import", str(file), "--source", "torn", expect=None)


def test_the_books_and_every_source_are_shown(screen: Open, refused: None) -> None:
    page = screen("operations").open("/sources")
    expect(page.get_by_text("The books balance")).to_be_visible()
    page.get_by_text("By source").click()
    row = page.locator("tr[data-source=import]")
    expect(row.locator("[data-field=indexed]")).to_have_text("240")
    expect(page.locator("tr[data-source=torn] [data-field=rejected]")).to_have_text("1")
    check_axe(page)
    shoot(page, "sources")


def test_the_ids_themselves_can_be_compared_and_what_was_found_stays_told(
    screen: Open, refused: None
) -> None:
    one = screen("operations")
    one.page.clock.install()
    page = one.open("/sources")
    expect(page.get_by_text("The books balance")).to_be_visible()
    page.keyboard.press("v")
    compared = page.get_by_text("ids compared one by one: 0 missing, 0 never collected")
    expect(compared).to_be_visible()
    added_up = page.locator("#books-at time")
    before = added_up.get_attribute("datetime") or ""
    page.clock.run_for(10_000)
    expect(added_up).not_to_have_attribute("datetime", before)
    expect(compared).to_be_visible()


def test_what_was_refused_is_shown_as_it_came_and_can_be_sent_round_again(
    screen: Open, refused: None
) -> None:
    page = screen("operations").open("/sources")
    item = page.locator("#rejected-list li", has_text="torn:").first
    item.get_by_text("bytes as they came").click()
    expect(item.locator("pre")).to_have_text(BROKEN)
    item.get_by_role("button", name="Send round again").click()
    expect(page.get_by_text("1 still cannot be read")).to_be_visible()


def test_one_who_may_look_but_not_replay_has_no_button_and_gets_no_further(
    screen: Open, client: Callable[[str], httpx2.Client], refused: None
) -> None:
    page = screen("analyst").open("/sources")
    expect(page.locator("#rejected-list li", has_text="torn:").first).to_be_visible()
    expect(page.get_by_role("button", name="Send round again")).to_have_count(0)
    assert client("analyst").post("/api/v1/rejected/replay", json={"ids": []}).status_code == 403
    assert client("partner").get("/api/v1/books").status_code == 403
