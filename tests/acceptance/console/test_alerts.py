"""The operations lead's path: an incident is seen, understood, taken up and closed; a rule is tried on the past."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import pytest
from playwright.sync_api import expect

from hark import settings
from hark.alerts import desk
from hark.alerts.backtest import run
from hark.alerts.events import IncidentEvent
from hark.alerts.incidents import Incident, body
from hark.alerts.outbox import enqueuer
from hark.alerts.rules import find_rule
from hark.alerts.targets import load_targets
from hark.core.clock import from_ms
from hark.state import State, open_state
from hark.state import alerts as tables
from hark.state.alerts import EventRow
from hark.wiring import store_of, taxonomy_of
from tests.acceptance.console.conftest import put
from tests.support.browser import Screen, check_axe, shoot
from tests.support.center import Center

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]
HOSTILE = "\u202e<script>alert(1)</script> my bag is lost, awful, call 555-123-4567"


def burst(brand: str, begin: datetime, many: int) -> list[dict[str, object]]:
    """Return complaints of many people within half an hour."""
    return [
        {
            "id": f"{brand}-{number}",
            "text": f"{brand} lost my bag again, the worst airline, nobody helps at DEN ({number})"
            if number
            else f"{brand} {HOSTILE}",
            "author": {"handle": f"flyer{number % 30}", "followers": number},
            "created_at": (begin + timedelta(seconds=40 * number)).isoformat(),
        }
        for number in range(many)
    ]


@pytest.fixture(scope="package")
def incidents(center: Center) -> dict[str, Incident]:
    """Two incidents of last night by brand, as the rule finds them; people can still do something about them."""
    begin = datetime.now(UTC) - timedelta(hours=11)
    put(center, burst("@Delta", begin, 25) + burst("@SouthwestAir", begin, 45), "burst")
    own = settings.load(None, center.data)
    rule = find_rule(own.config, "complaint-spike")
    until = datetime.now(UTC) - timedelta(hours=7)
    with store_of(own) as store:
        found = run(store, rule, taxonomy_of(own), begin - timedelta(hours=2), until).incidents
    with contextlib.closing(open_state("embedded", center.data)) as state:
        for incident in found:
            record(state, own, incident)
    return {incident.series: incident for incident in found}


def record(state: State, own: settings.Settings, incident: Incident) -> None:
    """Write an incident, its first event and whom it is told, as the alert role does, unless it was quicker."""
    enqueue = enqueuer(load_targets(own.config))
    with state.begin() as connection:
        known = tables.get(connection, incident.id)
        if known is None:
            row = {"rule": incident.rule, "opened_ms": incident.opened, "ended_ms": incident.ended}
            more = {"status": "open", "severity": 7, "events": 1, "data": msgspec.msgpack.encode(incident)}
            tables.save(connection, incident.id, {**row, **more})
            note = incident.headline
            tables.add_event(
                connection, EventRow(incident.id, 1, incident.opened, "opened", "", note, note, 7)
            )
        enqueue(connection, event(incident, known.events if known else 1))
    if known is not None and known.status == "resolved":
        desk.act(state, incident.id, "test", "reopen")
        with state.begin() as connection:
            tables.change(connection, incident.id, {"severity": 7})


def event(incident: Incident, number: int) -> IncidentEvent:
    at, path = from_ms(incident.opened), f"/incidents/{incident.id}"
    said = (incident.rule, incident.title, incident.series, 7, incident.headline, body(incident), path)
    return IncidentEvent(incident.id, number, "opened", at, *said, ("file",))


def test_open_incidents_come_first_and_one_is_taken_up_and_closed_from_its_page(
    screen: Open, incidents: dict[str, Incident]
) -> None:
    one = screen("operations")
    page = one.open("/alerts")
    row = page.locator(f"li[data-id={incidents['southwest'].id}]")
    expect(row).to_contain_text("serious")
    expect(row).to_contain_text("complaints in")
    check_axe(page)
    shoot(page, "alerts")
    page.keyboard.press("j")
    expect(page.locator("li.incident.current")).to_have_count(1)
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("southwest")
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
