"""The marketer's path: a query with a mistake, mended, looked at, sampled, saved, changed, exported."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.console.conftest import put
from tests.support.browser import Screen, check_axe, shoot
from tests.support.center import Center

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]
QUERY = "(flight OR awful) source:import"
WIDER = "(flight OR awful OR bag) source:import"
HOSTILE = (
    "<script>document.title='taken'</script> Write to amy@example.com, my confirmation is WN3X7Q, "
    "the quokka of @Delta \u202eevil\u202c <img src=x onerror=alert(1)>"
)


@pytest.fixture(scope="module")
def hostile(center: Center) -> None:
    """Two mentions that a page and a file must not take at their word."""
    moment = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    rows: list[dict[str, object]] = [
        {"id": "1", "text": HOSTILE, "author": {"handle": "mal"}, "created_at": moment},
        {
            "id": "2",
            "text": "=HYPERLINK(1) quokka of @Delta " + "long " * 300 + "quokka",
            "created_at": moment,
        },
    ]
    put(center, rows, "hostile")


@pytest.fixture
def searches(client: Client) -> Iterator[httpx2.Client]:
    """The analyst's client; what the test saves is gone afterwards."""
    analyst = client("analyst")
    yield analyst
    for saved in analyst.get("/api/v1/searches").json():
        client("admin").delete(f"/api/v1/searches/{saved['name']}")


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator("#list > li").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return found


def test_the_marketers_path(screen: Open, searches: httpx2.Client, tmp_path: Path) -> None:
    page = screen("analyst").open("/search?last=7d")
    query = page.get_by_label("Query", exact=True)
    query.fill("flight sentimant:negative")
    query.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("did you mean sentiment?")
    expect(page.locator("pre.where mark")).to_have_text("s")
    expect(query).to_be_focused()
    assert query.evaluate("box => box.selectionStart") == len("flight ")
    shoot(page, "search-mistake")

    query.fill(QUERY)
    query.press("Enter")
    expect(page.locator("#count b")).to_have_text("80")
    assert set(page.locator("#list mark.word").all_text_contents()) == {"flight", "awful"}
    check_axe(page)
    shoot(page, "search")
    first = ids(page)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    assert len(first) + len(ids(page)) == 80
    assert not set(first) & set(ids(page))

    page.get_by_role("link", name="Sample").click()
    expect(page.get_by_text("By chance, and always the same ones")).to_be_visible()
    expect(page.locator("#count b")).to_have_text("80")
    assert ids(page) != first
    page.get_by_role("link", name="Relevance").click()
    expect(page.get_by_role("link", name="Relevance")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_role("link", name="Newest")).to_have_attribute("aria-current", "true")

    expect(page.locator("#count b")).to_have_text("80")  # its script listens from here on
    page.keyboard.press("s")
    page.get_by_label("Name").fill("Awful flights")
    page.get_by_label("Notes").fill("For the Monday report")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved as Awful flights: For the Monday report")).to_be_visible()

    query.fill(WIDER)
    query.press("Enter")
    see = page.get_by_role("button", name="See what it changes, and save")
    expect(see).to_be_visible()
    page.wait_for_load_state()  # the page has come anew: its script listens from then on
    see.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("+ 40 mentions more would be found")).to_be_visible()
    expect(dialog.get_by_text("− 0 mentions would not be found any more")).to_be_visible()
    expect(dialog.locator(".added li").first).to_contain_text("where is my bag?")
    check_axe(page)
    shoot(page, "search-change")
    assert searches.get("/api/v1/searches/Awful flights").json()["query"] == QUERY, (
        "saved before it was asked"
    )
    dialog.get_by_role("button", name="Save the change").click()
    expect(page.get_by_text("Saved as Awful flights")).to_be_visible()
    versions = searches.get("/api/v1/searches/Awful flights").json()["versions"]
    assert [version["query"] for version in versions] == [WIDER, QUERY]

    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    file = tmp_path / "found.csv"
    waiting.value.save_as(file)
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    assert len(rows) == 120
    assert {row["source"] for row in rows} == {"import"}


def test_a_query_is_explained_on_demand(screen: Open) -> None:
    page = screen("analyst").open("/search?q=flight*+NEAR%2F3+(tarmac+OR+hours)&last=7d")
    expect(page.locator("#count b")).to_be_visible()
    page.keyboard.press("e")
    panel = page.locator("#explain")
    expect(panel).to_contain_text("near each other, at most 3 words between, in any order:")
    expect(panel).to_contain_text("in the last seven days")
    expect(panel).to_contain_text("flight* stands for")
    panel.get_by_text("What the platforms would be asked").click()
    page.keyboard.press("h")
    check_axe(page)
    shoot(page, "search-explained")


def test_the_help_puts_its_examples_into_the_query(screen: Open) -> None:
    page = screen("agent").open("/search?q=bag")
    page.keyboard.press("h")
    query = page.get_by_label("Query", exact=True)
    page.get_by_role("button", name="sentiment:negative", exact=True).click()
    expect(query).to_have_value("bag sentiment:negative")
    expect(query).to_be_focused()
    page.get_by_role("button", name="delay*", exact=True).click()
    expect(query).to_have_value("bag sentiment:negative delay*")
    shoot(page, "search-help")


def test_an_empty_search_says_what_to_do_and_a_mention_opens_with_its_thread(screen: Open) -> None:
    page = screen("agent").open("/search?q=zebracorn")
    expect(page.get_by_text("Nothing in the last 24h says this.")).to_be_visible()
    expect(page.locator("#count b")).to_have_text("0")
    check_axe(page)
    shoot(page, "search-empty")
    page.get_by_role("link", name="Look at the last 90 days").click()
    expect(page).to_have_url(page.url.partition("?")[0] + "?q=zebracorn&last=90d")
    page.goto(page.url.replace("zebracorn", "tarmac"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="The chosen mention")).to_contain_text("tarmac")
    expect(page.locator("#words mark.word").first).to_have_text("tarmac")


def test_hostile_mentions_are_shown_harmlessly_and_personal_data_stays_covered(
    screen: Open, client: Client, hostile: None
) -> None:
    page = screen("analyst").open("/search?q=quokka+source:hostile")
    expect(page.locator("#count b")).to_have_text("2")
    assert page.title() == "Search · Hark"
    row = page.locator("#list > li", has_text="<script>")
    expect(row).to_contain_text("[e-mail address]")
    expect(row).not_to_contain_text("amy@example.com")
    expect(row.locator("mark.word")).to_have_text("quokka")
    answer = client("analyst").get("/api/v1/search?q=quokka source:hostile").json()
    for mention in answer["mentions"]:
        assert "amy@" not in json.dumps(mention)
        assert "WN3X7Q" not in json.dumps(mention)
        for begin, end in mention["highlights"]["text"]:
            assert mention["text"][begin:end] == "quokka"
    assert [len(mention["highlights"]["text"]) for mention in answer["mentions"]] == [2, 1]


def test_an_export_is_masked_holds_no_formulas_and_is_on_record(client: Client, hostile: None) -> None:
    analyst = client("analyst")
    query = {"q": "quokka source:hostile", "last": "1d"}
    answer = analyst.get("/api/v1/export", params={**query, "format": "csv"})
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="mentions-')
    texts = {row["id"]: row["text"] for row in csv.DictReader(io.StringIO(answer.text, newline=""))}
    assert texts["hostile:2"].startswith("'=HYPERLINK")
    assert "[e-mail address]" in texts["hostile:1"]
    lines = analyst.get("/api/v1/export", params=query).text.splitlines()
    assert {json.loads(line)["id"] for line in lines} == {"hostile:1", "hostile:2"}
    assert "amy@example.com" not in "".join([*lines, *texts.values()])
    newest = client("admin").get("/api/v1/audit?action=exported&limit=1").json()[0]
    assert (newest["person"], newest["detail"]) == (
        "analyst",
        "jsonl: quokka source:hostile · last 1d · newest",
    )
    assert client("agent").get("/api/v1/export").status_code == 403
    assert analyst.get("/api/v1/export?q=(").status_code == 400


@pytest.mark.parametrize("order", ["newest", "relevance", "sample"])
def test_pages_neither_repeat_nor_skip(order: str, client: Client) -> None:
    found: list[str] = []
    more: dict[str, Any] = {}
    while True:
        asked = {"q": QUERY, "order": order, "limit": 30, **more}
        answer = client("agent").get("/api/v1/search", params=asked).json()
        found += [mention["id"] for mention in answer["mentions"]]
        if answer["next"] is None:
            break
        more = {"cursor": answer["next"]}
    assert len(found) == len(set(found)) == 80
    assert client("agent").get("/api/v1/count", params={"q": QUERY}).json()["count"] == 80


def test_a_mistake_over_http_names_its_place(client: Client) -> None:
    answer = client("agent").get("/api/v1/search?q=flight sentimant:negative")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["query"]["position"] == len("flight ")


def test_saved_searches_are_seen_by_all_inside_changed_by_their_owner_and_a_partner_has_its_own(
    client: Client, searches: httpx2.Client
) -> None:
    made = searches.post("/api/v1/searches", json={"name": "bags", "query": "bag", "notes": "n"})
    assert made.status_code == 201
    assert searches.post("/api/v1/searches", json={"name": "bags", "query": "x y"}).status_code == 409
    lead, partner = client("lead"), client("partner")
    assert lead.get("/api/v1/searches/bags").json()["yours"] is False
    assert lead.put("/api/v1/searches/bags", json={"query": "mine"}).status_code == 403
    assert lead.delete("/api/v1/searches/bags").status_code == 403
    assert partner.get("/api/v1/searches").json() == []
    for path in ("bags", "bags/difference?q=x"):
        assert partner.get(f"/api/v1/searches/{path}").status_code == 404
    assert partner.put("/api/v1/searches/bags", json={"query": "mine"}).status_code == 404
    assert partner.post("/api/v1/searches", json={"name": "ours", "query": "crew"}).status_code == 201
    assert [saved["name"] for saved in partner.get("/api/v1/searches").json()] == ["ours"]
    assert searches.put("/api/v1/searches/bags", json={"query": "bag late"}).json()["notes"] == "n"
    assert searches.post("/api/v1/searches", json={"name": "a/b", "query": "x y"}).status_code == 400


def test_who_searched_for_what_is_on_record(screen: Open, client: Client) -> None:
    screen("lead").open("/search?q=tarmac&order=sample")
    newest = client("admin").get("/api/v1/audit?person=lead&action=searched&limit=1").json()[0]
    assert newest["detail"] == "tarmac · last 24h · sample"


def test_the_page_is_light(screen: Open) -> None:
    one = screen("analyst")
    page = one.open("/search?last=7d")
    expect(page.locator("#count b")).to_be_visible()
    assert len(ids(page)) == 50
    sizes = one.weights()
    assert sum(sizes) < 300_000, sizes
