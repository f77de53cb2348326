"""The wall: read from across a room, and nothing on it is anybody's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from playwright.sync_api import expect

from hark.alerts.forecast import Point
from hark.alerts.incidents import Incident
from hark.console.api.wall import _running
from tests.support.browser import Screen, check_axe, shoot

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


def test_the_wall_shows_mood_volume_and_incidents_in_figures_of_48_pixels_and_nobodys_words(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    page = screen("operations").open("/wall")
    expect(page.locator("#wall")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#drops li")).to_have_count(60)
    expect(page.locator("#ongoing a").first).to_contain_text("expected")
    expect(page.locator("#mood-list")).to_contain_text("industry")
    for figure in ("#tones > span", "#hour-figure"):
        size = page.locator(figure).first.evaluate("it => parseFloat(getComputedStyle(it).fontSize)")
        assert size >= 48
    text = page.locator("#wall").inner_text()
    for word in ("amy", "@", "tarmac", "awful", "lead", "operations", "burst", "flyer"):
        assert word not in text.lower(), word
    check_axe(page)
    shoot(page, "wall")


def test_panels_take_turns_where_they_do_not_fit_and_can_be_held(screen: Open) -> None:
    page = screen("lead").open("/wall")
    panels = page.locator("#panels section:visible")
    expect(panels).to_have_count(2)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#moods")).to_be_visible()
    page.get_by_role("button", name="Hold").click()
    expect(page.get_by_role("button", name="Let them turn")).to_have_attribute("aria-pressed", "true")
    page.set_viewport_size({"width": 3840, "height": 2160})
    expect(panels).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(panels).to_have_count(4)
    page.get_by_role("button", name="Full screen").click()
    expect(page.get_by_role("button", name="Leave full screen")).to_be_visible()


def test_what_does_not_answer_is_greyed_and_told(screen: Open) -> None:
    one = screen("operations")
    page = one.open("/wall")
    expect(page.locator("#wall")).to_have_attribute("aria-busy", "false")
    page.route("**/api/v1/wall?*", lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#trouble")).to_contain_text("does not answer")
    expect(page.locator("#panels section.stale")).to_have_count(4)
    one.forget()


def test_the_waterfall_says_tone_topic_brand_and_time_and_nothing_else(client: Client) -> None:
    found = client("agent").get("/api/v1/wall/mentions").json()
    assert {name for drop in found for name in drop} == {"key", "tone", "topics", "brands", "at"}
    assert not any("import" in drop["key"] for drop in found)
    assert client("partner").get("/api/v1/wall").status_code == 403
    some = client("agent").get("/api/v1/wall/mentions", params={"q": "brand:delta"}).json()
    assert some
    assert all("Delta" in " ".join(drop["brands"]) for drop in some)
    assert client("agent").get("/api/v1/wall", params={"q": "bag ("}).status_code == 400


def test_the_first_paint_waits_for_nothing_that_is_counted(client: Client) -> None:
    text = client("operations").get("/wall").text
    assert "Counting" in text
    scripts = Path("hark/console/static")
    assert sum((scripts / name).stat().st_size for name in ("wall.js", "wall.css")) < 60_000


def test_the_hour_that_runs_is_held_against_its_part_of_what_is_expected() -> None:
    hour = datetime(2026, 11, 1, 12, tzinfo=UTC)
    point = Point(0, 100.0, 80.0, 130.0, 70.0, 150.0)
    quarter = _running(60, point, hour, hour + timedelta(minutes=15))
    assert (quarter.counted, quarter.low, quarter.high) == (60, 15.0, 40.0)
    whole = _running(60, point, hour, hour + timedelta(hours=1))
    assert (whole.low, whole.high) == (80.0, 130.0)
    assert _running(60, None, hour, hour).high is None
