"""Incidents in a center that runs, found by the real rule in a history with bursts and recorded as the role does."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

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
from tests.support.center import Center

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


def night(center: Center, put: Callable[[list[dict[str, object]]], None]) -> dict[str, Incident]:
    """Two incidents of last night by brand, as the rule finds them; people can still do something about them."""
    begin = datetime.now(UTC) - timedelta(hours=11)
    put(burst("@Delta", begin, 25) + burst("@SouthwestAir", begin, 45))
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
