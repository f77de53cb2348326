"""The marketer's path through trends: figures that open to their rows, comparisons, notes, exports."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
from playwright.sync_api import Route, expect

from tests.support.browser import Screen, check_axe, shoot

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


def test_trends_are_counted_drawn_and_every_number_opens_its_mentions(screen: Open, client: Client) -> None:
    one = screen("analyst")
    page = one.open("/trends?q=brand%3Asouthwest&last=7d")
    expect(page.locator("#volume canvas")).to_be_visible()
    expect(page.locator("#trends")).to_have_attribute("aria-busy", "false")
    check_axe(page)
    shoot(page, "trends")
    total = page.locator(".figures a").first
    shown = int(total.inner_text().replace(",", ""))
    assert shown > 0
    asked = httpx2.URL(total.get_attribute("href") or "").params
    found = client("analyst").get("/api/v1/trends", params={**asked, "zone": "UTC"}).json()
    assert found["tally"]["mentions"]["count"] == shown
    row = page.locator("section", has=page.get_by_role("heading", name="Topics")).locator("tbody tr").first
    assert "topic%3A" in (row.locator("a").first.get_attribute("href") or "")


def test_one_compares_with_another_query_and_a_wrong_one_is_told(screen: Open) -> None:
    one = screen("analyst")
    page = one.open("/trends?last=7d")
    page.get_by_label("against").fill("brand:delta")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("compared", exact=False).first).to_be_visible()
    page.get_by_label("against").fill("brand:(")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("The query to compare with")


def test_an_empty_range_says_so(screen: Open) -> None:
    page = screen("partner").open("/trends?q=nobodysaysthisword&last=1h")
    expect(page.get_by_text("No mentions in this range")).to_be_visible()
    check_axe(page)


def test_a_note_stands_on_everybodys_charts_until_it_is_taken_away(screen: Open) -> None:
    page = screen("lead").open("/trends?last=24h")
    expect(page.locator("#volume canvas")).to_be_visible()
    page.keyboard.press("a")
    page.get_by_label("When").fill((datetime.now(UTC) - timedelta(hours=14)).strftime("%Y-%m-%dT%H:%M"))
    page.get_by_label("What happened").fill("storm over Denver")
    page.get_by_role("button", name="Note it").click()
    expect(page.locator("#trends").get_by_text("storm over Denver")).to_be_visible()
    page.get_by_role("button", name="Take the note away: storm over Denver").click()
    expect(page.locator("#trends").get_by_text("storm over Denver")).to_have_count(0)


def test_a_partner_counts_its_brand_alone_and_may_not_annotate(client: Client) -> None:
    week = (datetime.now(UTC) - timedelta(days=6)).isoformat()
    found = client("partner").get("/api/v1/trends", params={"since": week}).json()
    assert [row["value"] for row in found["brands"]["rows"]] == ["delta"]
    whole = client("admin").get("/api/v1/trends", params={"since": week}).json()
    assert 0 < found["tally"]["mentions"]["count"] < whole["tally"]["mentions"]["count"]
    note = {"at": datetime.now(UTC).isoformat(), "text": "mine"}
    assert client("partner").post("/api/v1/annotations", json=note).status_code == 403


def test_the_table_is_csv_without_formulas_and_its_taking_is_on_record(client: Client) -> None:
    answer = client("analyst").get("/api/v1/trends/table", params={"q": "brand:delta"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {"all", "interval", "topic"} <= {row["part"] for row in rows}
    assert not any(
        cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values() if not _is_number(cell)
    )
    (line, *_) = client("admin").get("/api/v1/audit", params={"action": "exported"}).json()
    assert (line["person"], line["detail"]) == ("analyst", "trends of brand:delta")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_the_forecast_and_the_gaps_are_had_by_programs(client: Client) -> None:
    found = client("analyst").get("/api/v1/forecast", params={"hours": 6}).json()
    assert found["metric"] == "count"
    assert client("analyst").get("/api/v1/gaps").json() == []


def test_a_table_that_was_opened_before_the_chart_was_drawn_is_filled(screen: Open) -> None:
    one = screen("analyst")
    library, held = "**/uPlot.iife.min.js", list[Route]()
    one.page.route(library, lambda route: held.append(route))
    with one.page.expect_request(library):
        page = one.open("/trends?last=7d&interval=1d")
    page.locator("#volume summary").click()
    held[0].continue_()
    expect(page.locator("#volume tbody tr")).to_have_count(8)
