"""The operations lead's path: an incident is seen, understood, taken up and closed; a rule is tried on the past."""

import json
from collections.abc import Callable

import httpx2
from playwright.sync_api import expect

from hark.alerts.incidents import Bar, Incident
from hark.alerts.rules import RuleEntry
from hark.console.incidents import spark
from hark.console.trial import RuleIn
from hark.core.clock import from_ms
from tests.support.browser import Screen, check_axe, shoot

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


def test_open_incidents_come_first_and_one_is_taken_up_and_closed_from_its_page(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    one = screen("operations")
    page = one.open("/alerts")
    row = page.locator(f"li[data-id='{incidents['southwest'].id}']")
    expect(row).to_contain_text("complaints in")
    check_axe(page)
    shoot(page, "alerts")
    page.keyboard.press("j")
    expect(page.locator("li.incident.current")).to_have_count(1)
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("southwest", ignore_case=True)
    expect(page.locator("#course-1 canvas")).to_be_visible()
    expect(page.get_by_text("No few stand out")).to_be_visible()
    check_axe(page)
    shoot(page, "incident")

    timeline = page.locator("section", has=page.get_by_role("heading", name="Timeline"))
    page.keyboard.press("a")
    expect(timeline).to_contain_text("acknowledged by operations")
    page.keyboard.press("n")
    page.get_by_label("Note", exact=True).fill("<b>crews</b> are on it")
    page.get_by_role("button", name="Note it").click()
    expect(timeline).to_contain_text("<b>crews</b> are on it")
    page.get_by_role("button", name="Hand over …").click()
    page.get_by_label("Whose it is").fill("nobody I know")
    page.get_by_role("button", name="Hand over", exact=True).click()
    expect(page.locator("#acting-wrong")).to_contain_text("nobody here is named")
    one.forget()
    page.get_by_label("Whose it is").fill("lead")
    page.get_by_role("button", name="Hand over", exact=True).click()
    expect(page.locator("dl.facts")).to_contain_text("lead")
    page.get_by_role("button", name="Silence …").click()
    page.get_by_label("For how long").select_option("240")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_text("silent until").first).to_be_visible()
    page.get_by_role("button", name="Resolve …").click()
    page.get_by_role("button", name="Resolve", exact=True).click()
    expect(page.locator("article")).to_have_attribute("data-status", "resolved")
    page.get_by_role("button", name="Reopen …").click()
    page.get_by_role("button", name="Reopen", exact=True).click()
    expect(page.locator("article")).to_have_attribute("data-status", "open")


def test_what_adds_up_to_the_difference_opens_its_mentions_and_hostile_text_stays_text(
    screen: Open, client: Client, incidents: dict[str, Incident]
) -> None:
    id = incidents["southwest"].id
    found = client("operations").get(f"/api/v1/incidents/{id}").json()
    excess = found["excess"]
    for name in ("topics", "sources", "authors", "places", "terms"):
        assert round(sum(part["excess"] for part in excess[name]), 2) == excess["excess"]
    (topic, *_) = excess["topics"]
    asked = {"q": topic["query"], "since": excess["since"], "until": excess["until"]}
    assert client("operations").get("/api/v1/count", params=asked).json()["count"] == topic["observed"]
    assert "555-123-4567" not in json.dumps(found["mentions"])
    page = screen("operations").open(f"/incidents/{id}")
    part = page.locator(".division").first.get_by_role("link").first
    assert httpx2.URL(part.get_attribute("href") or "").params["q"] == topic["query"]
    assert "555-123-4567" not in page.content()
    for kind in ("md", "html"):
        answer = client("operations").get(f"/api/v1/incidents/{id}/post-mortem", params={"format": kind})
        assert answer.headers["Content-Disposition"] == f'attachment; filename="incident-{id}.{kind}"'
        assert "southwest" in answer.text
        assert "<script>" not in answer.text.replace("\\<script\\>", "")
        assert "555-123-4567" not in answer.text


def test_a_screen_that_stays_open_hears_of_a_change_and_tells_how_many(
    screen: Open, client: Client, incidents: dict[str, Incident]
) -> None:
    id = incidents["delta"].id
    page = screen("lead").open("/alerts")
    expect(page.locator(f"li[data-id='{id}']")).to_be_visible()
    with page.expect_response("**/alerts/list**") as answered:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    answered.value.finished()
    assert client("lead").post(f"/api/v1/incidents/{id}/resolve", json={"text": "over"}).status_code == 200
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(f"li[data-id='{id}']")).to_have_class("incident past")
    expect(page.locator("#news")).to_contain_text("open")
    assert client("lead").post(f"/api/v1/incidents/{id}/reopen").json()["status"] == "open"


def test_a_rule_is_tried_on_the_past_beside_its_form_and_mistakes_are_told_at_their_place(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    one = screen("operations")
    page = one.open("/alerts/rules")
    page.get_by_role("link", name="Complaints spike").click()
    expect(page.locator("#toml")).to_contain_text('group_by = "brand"')
    page.get_by_label("Among the mentions that match").fill("bag (lost")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#wrong-query")).to_contain_text("position 5")
    one.forget()
    check_axe(page)
    page.get_by_label("Among the mentions that match").fill("")
    # Another rule than the one that watches, for which what came in today would have come too late.
    page.get_by_label("Minimum volume").fill("6")
    page.get_by_text("Incidents that you know of").click()
    begin = from_ms(incidents["southwest"].since).isoformat()
    end = from_ms(incidents["southwest"].since + 7_200_000).isoformat()
    page.get_by_label("Known incidents as CSV").fill(f"begin,end,name,series\n{begin},{end},bags,southwest")
    page.get_by_label("the last").select_option("7")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("It would have told of")).to_be_visible()
    expect(page.locator("#result li", has_text="southwest").first).to_contain_text("expected in")
    expect(page.locator("#result li", has_text="saw bags")).to_have_count(1)
    expect(page.locator("table.curve tr.own")).to_contain_text("(this)")
    check_axe(page)
    shoot(page, "rule")


def test_what_cannot_be_tried_is_told(client: Client) -> None:
    def answer(asked: dict[str, object]) -> httpx2.Response:
        return client("analyst").post("/api/v1/rules/backtest", json=asked)

    assert "no rule is named 'none'" in answer({"name": "none"}).json()["detail"]
    assert answer({}).status_code == 400
    wrong = answer({"rule": {"name": "a", "detector": "change", "metric": "count"}}).json()
    assert wrong["rule"]["key"] == "detector"
    wrong = answer({"name": "complaint-spike", "incidents": "begin\n2026-01-01"}).json()
    assert wrong["detail"].startswith("incidents.csv: expected the columns begin and end")


def test_who_may_look_may_not_act_and_a_partner_sees_its_brands_incidents_alone(
    screen: Open, client: Client, incidents: dict[str, Incident]
) -> None:
    other, own = incidents["southwest"].id, incidents["delta"].id
    assert client("analyst").post(f"/api/v1/incidents/{other}/acknowledge").status_code == 403
    assert client("lead").post("/api/v1/rules/backtest", json={"name": "complaint-spike"}).status_code == 403
    client("lead").post(f"/api/v1/incidents/{own}/note", json={"text": "ours alone"})
    partner = client("partner")
    listed = partner.get("/api/v1/incidents").json()["incidents"]
    assert other not in [row["id"] for row in listed]
    assert all(series.startswith("delta") for row in listed for series in row["series"])
    for path in ("", "/post-mortem"):
        assert partner.get(f"/api/v1/incidents/{other}{path}").status_code == 404
        assert partner.get(f"/api/v1/incidents/{own}{path}").status_code == 200
    assert "ours alone" not in partner.get(f"/api/v1/incidents/{own}").text
    assert partner.get(f"/api/v1/incidents/{own}").json()["related"] == []
    assert {rule["name"] for rule in partner.get("/api/v1/rules").json()} >= {"complaint-spike"}
    assert "file" not in partner.get("/api/v1/rules").text
    assert partner.get(f"/alerts/incidents/{other}").status_code == 404
    page = screen("partner").open(f"/alerts/incidents/{own}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("delta", ignore_case=True)
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    assert "ours alone" not in page.content()
    page.goto(page.url.replace(f"/incidents/{own}", "/rules/complaint-spike"))
    expect(page.get_by_role("button", name="Try it")).to_have_count(0)


def test_incidents_are_paged_and_every_act_is_on_record(
    client: Client, incidents: dict[str, Incident]
) -> None:
    lead = client("lead")
    first = lead.get("/api/v1/incidents", params={"limit": 1}).json()
    second = lead.get("/api/v1/incidents", params={"limit": 1, "cursor": first["next"]}).json()
    assert first["incidents"][0]["id"] != second["incidents"][0]["id"]
    assert lead.get("/api/v1/incidents", params={"cursor": "x"}).status_code == 400
    id = incidents["southwest"].id
    assert lead.post(f"/api/v1/incidents/{id}/silence").status_code == 400
    assert lead.post(f"/api/v1/incidents/{id}/link", json={"text": "C-7"}).json()["cases"] == ["C-7"]
    (line, *_) = client("admin").get("/api/v1/audit", params={"action": "incident"}).json()
    assert (line["person"], line["detail"]) == ("lead", f"linked a case to {id}: case C-7")


def test_the_form_knows_every_key_of_a_rule() -> None:
    assert set(RuleIn.model_fields) == set(RuleEntry.__struct_fields__)
    entry = RuleEntry("a", "spike", group_by=("brand", "topic"), notify=("file",))
    assert RuleIn.of(entry).entry() == entry


def test_a_small_line_shows_the_whole_course_without_its_gaps() -> None:
    def bars(*values: float | None) -> list[Bar]:
        return [Bar(at * 300_000, value, 1.0, 0, 3) for at, value in enumerate(values)]

    assert spark(bars(0, None, 4, 2)) == "0.0,19.0 48.0,1.0 72.0,10.0"
    assert len(spark(bars(*range(600))).split()) == 47
    assert spark(bars(3, None)) == ""
