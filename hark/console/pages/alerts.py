"""The alerts screens: what is going on, one incident with its reasons, the rules and their trial on history."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from msgspec import Struct

from hark.alerts.desk import Shown as Incident
from hark.alerts.desk import Status
from hark.alerts.explain import OTHER, Contribution
from hark.alerts.incidents import Bar, Member
from hark.alerts.outbox import ALERTS_BEAT, ALERTS_LATELY
from hark.alerts.rules import BUCKET_SECONDS, GROUPS, METRICS, Rule, RuleEntry, load_file, load_rules
from hark.alerts.targets import load_targets
from hark.console.access import ROLES, Asker, Who, allow
from hark.console.api.alerts import watches
from hark.console.center import Center, Parts, Visible
from hark.console.incidents import (
    began,
    concentration_in_words,
    deliveries,
    listed,
    mentions,
    seen,
    sentence,
    severity_word,
    spark,
)
from hark.console.page import fragment, iso, page
from hark.console.trial import RuleIn
from hark.console.view import Shown, View
from hark.core.clock import from_ms, to_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.query import parse
from hark.state.outbox import Outbox

router = APIRouter(include_in_schema=False)
OPEN: tuple[Status, ...] = ("open", "acknowledged")
PAST: tuple[Status, ...] = ("resolved",)
_MOST_OPEN, _A_PAGE = 200, 25
_MOST_BARS = 288
_MOST_SERIES = 6
_DIVISIONS = ("topics", "sources", "authors", "places", "terms")
_BEFORE = timedelta(hours=6)
SILENCES = {30: "30 minutes", 60: "an hour", 120: "2 hours", 240: "4 hours", 480: "8 hours", 1440: "a day"}
DETECTORS = {
    "spike": "spike: above a seasonal baseline",
    "threshold": "threshold: a line that you draw",
    "flatline": "flatline: far fewer than usual",
    "change": "change: of a share",
    "ratio": "ratio: against the others of the group",
    "new-term": "new term: said by several, hardly ever before",
    "source": "source: one that does not answer",
}
_Text = Annotated[str, Query(max_length=100)]


class Division(Struct, frozen=True):
    """One way in which an excess is divided. Its bars are drawn 120 wide: zero at `zero`, `unit` for each of excess."""

    name: str
    parts: tuple[Contribution, ...]
    zero: float
    unit: float


class Listed(Struct, frozen=True):
    """What the list shows: open incidents, the gravest first; past ones, the newest first."""

    open: list[Incident]
    past: list[Incident]
    older: str | None
    rules: Sequence[RuleEntry]
    looked: datetime | None
    """When the alert role last looked at all rules."""
    late: bool
    problem: str


@router.get("/alerts", dependencies=[allow("alerts")])
def show_alerts(
    request: Request, center: Parts, who: Asker, status: _Text = "", rule: _Text = "", cursor: _Text = ""
) -> Response:
    """Show open incidents, and past ones below."""
    values = _list_values(center, who, status, rule, cursor)
    return page(request, "alerts.html", body_query=request.url.query, **values)


@router.get("/alerts/list", dependencies=[allow("alerts")])
def show_list(
    view: Shown, center: Parts, who: Asker, status: _Text = "", rule: _Text = "", cursor: _Text = ""
) -> Response:
    """Return the list alone, for a screen that stays open."""
    values = _list_values(center, who, status, rule, cursor)
    html = fragment("alerts_list.html", view=view, who=who, topics=center.topics, path="/alerts", **values)
    return Response(html, media_type="text/html")


@router.get("/incidents/{id}", dependencies=[allow("alerts")])
def lead_to_incident(id: str) -> Response:
    """Lead to an incident's page from the address that notifications carry."""
    return RedirectResponse(f"/alerts/incidents/{id}" if id.isalnum() else "/alerts", 303)


@router.get("/alerts/incidents/{id}", dependencies=[allow("alerts")])
def show_incident(
    request: Request, id: str, view: Shown, center: Parts, store: Visible, who: Asker
) -> Response:
    """Show one incident: figures, chart, where the excess comes from, who speaks, what was done."""
    values = _incident_values(id, view, center, store, who)
    people = [
        person.name
        for person in (center.people.everyone() if who.may("respond") else [])
        if not person.disabled and "respond" in ROLES.get(person.role, ())
    ]
    order = [one.id for one in _ordered(listed(center, who, OPEN, limit=_MOST_OPEN).incidents)]
    at = order.index(id) if id in order else None
    return page(
        request,
        "incident.html",
        people=people,
        silences=SILENCES,
        before=order[at - 1] if at else None,
        after=order[at + 1] if at is not None and at + 1 < len(order) else None,
        **values,
    )


@router.get("/alerts/incidents/{id}/body", dependencies=[allow("alerts")])
def show_incident_body(id: str, view: Shown, center: Parts, store: Visible, who: Asker) -> Response:
    """Return what of the page changes while it stays open."""
    values = _incident_values(id, view, center, store, who)
    html = fragment("incident_body.html", view=view, who=who, topics=center.topics, path="/alerts", **values)
    return Response(html, media_type="text/html")


@router.get("/alerts/rules", dependencies=[allow("alerts")])
def show_rules(request: Request, center: Parts, who: Asker) -> Response:
    """Show each rule with what it watches and what came of it."""
    rules = load_rules(center.settings.config)
    mine = [rule for rule in rules.values() if who.brands is None or "brand" in rule.group_by]
    found = listed(center, who, limit=_MOST_OPEN).incidents
    newest = {rule.name: [one for one in found if _is_of(one, rule)] for rule in mine}
    return page(
        request,
        "rules.html",
        rules=mine,
        watches={rule.name: watches(rule) for rule in mine},
        newest=newest,
        opened=OPEN,
        tells=who.brands is None,
    )


@router.get("/alerts/rules/{name}", dependencies=[allow("alerts")])
def show_rule(request: Request, name: str, center: Parts, who: Asker) -> Response:
    """Show a rule as a form, with its trial on history beside it."""
    file = load_file(center.settings.config)
    rules = load_rules(center.settings.config)
    entry = next((one for one in file.rule if one.name == name), None)
    if entry is None or (who.brands is not None and "brand" not in rules[name].group_by):
        raise HTTPException(404, f"No rule of alerts.toml is named {name[:60]!r}.")
    return _form(request, center, who, RuleIn.of(entry), watches(rules[name]))


@router.get("/alerts/try", dependencies=[allow("rules")])
def show_new_rule(
    request: Request, center: Parts, who: Asker, q: Annotated[str, Query(max_length=10_000)] = ""
) -> Response:
    """Show an empty rule to try, of the query in the address."""
    given = RuleIn(name="my-rule", query=q, group_by=["brand"], minimum_volume=5, minimum_severity=3)
    return _form(request, center, who, given, "")


def _form(request: Request, center: Center, who: Who, given: RuleIn, watched: str) -> Response:
    targets = load_targets(center.settings.config).names() if who.brands is None else []
    return page(
        request,
        "rule.html",
        rule=given,
        watched=watched,
        groups=GROUPS,
        metrics={kind: list(fitting) for kind, fitting in METRICS.items()},
        detectors=DETECTORS,
        targets=targets,
        file=str(center.settings.config / "alerts.toml") if who.may("rules") else "alerts.toml",
        tells=who.brands is None,
    )


def _list_values(center: Center, who: Who, status: str, rule: str, cursor: str) -> dict[str, Any]:
    problem = ""
    entries: tuple[RuleEntry, ...] = ()
    try:
        known = load_rules(center.settings.config)
        entries = tuple(
            entry
            for entry in load_file(center.settings.config).rule
            if who.brands is None or "brand" in known[entry.name].group_by
        )
    except SettingsError as error:
        problem = str(error)
    beat = Outbox(center.state).beat(ALERTS_BEAT)
    looked = None if beat is None else from_ms(beat)
    opened, past, older = [], [], None
    if not (problem and who.brands is not None):
        if status != "resolved" and not cursor:
            opened = _ordered(listed(center, who, OPEN, limit=_MOST_OPEN, rule=rule).incidents)
        if status != "open":
            found = listed(center, who, PAST, limit=_A_PAGE, cursor=cursor, rule=rule)
            past, older = found.incidents, found.next
    late = looked is None or center.clock() - looked > ALERTS_LATELY
    return {
        "found": Listed(opened, past, older, entries, looked, late, problem),
        "which": status if status in ("open", "resolved") else "",
        "rule": rule,
        "cursor": cursor,
        "sentence": sentence,
        "severity_word": severity_word,
        "spark": lambda shown: spark(shown.incident.leading.chart),
    }


def _ordered(found: Sequence[Incident]) -> list[Incident]:
    """Return incidents, the gravest first; of equals the newest."""
    return sorted(found, key=lambda one: (-one.severity, -to_ms(one.opened_at), one.id))


def _is_of(shown: Incident, rule: Rule) -> bool:
    return any(member.rule == rule.name for member in shown.incident.members)


def _incident_values(id: str, view: View, center: Center, store: Store, who: Who) -> dict[str, Any]:
    shown = seen(center, who, id)
    incident = shown.incident
    explanation, window = incident.explanation, incident.explained
    divisions = []
    if explanation is not None:
        for name in _DIVISIONS:
            parts: tuple[Contribution, ...] = getattr(explanation, name)
            if parts and (parts[0].value != OTHER or name == "topics"):
                divisions.append(_division(name, parts))

    def link(query: str) -> str:
        assert window is not None
        return view.link("/search", q=query, since=iso(from_ms(window.begin)), until=iso(from_ms(window.end)))

    related = [other for name in incident.related if (other := _found(center, who, name)) is not None]
    return {
        "shown": shown,
        "said": sentence(shown),
        "began": began(shown),
        "severity_word": severity_word,
        "charts": _charts(shown, view, center, store),
        "divisions": divisions,
        "link": link,
        "hits": mentions(center, who, incident),
        "concentration": concentration_in_words(incident.concentration),
        "deliveries": deliveries(center, who, id),
        "related": related,
        "sentence": sentence,
    }


def _division(name: str, parts: tuple[Contribution, ...]) -> Division:
    more = max(0.01, *(part.excess for part in parts))
    fewer = -min(0.0, *(part.excess for part in parts))
    unit = 118 / (more + fewer)
    return Division(name, parts, 1 + fewer * unit, unit)


def _found(center: Center, who: Who, id: str) -> Incident | None:
    try:
        return seen(center, who, id)
    except HTTPException:
        return None


def _charts(shown: Incident, view: View, center: Center, store: Store) -> list[dict[str, Any]]:
    """Return the charts of an incident's series, the leading one first."""
    incident = shown.incident
    if incident.detector == "source":
        return []
    leading = incident.leading
    others = [member for member in incident.members if member is not leading]
    gaps = center.state.gaps()
    charts = []
    for member in [leading, *others][:_MOST_SERIES]:
        bars = member.chart[-_MOST_BARS:]
        if bars:
            query = incident.explanation.query if incident.explanation and member is leading else ""
            charts.append(_chart(member, bars, query, view, gaps))
        elif member is leading and incident.explanation is not None:
            charts.append(_counted(member, incident.explanation.query, view, store))
    return charts


def _chart(
    member: Member, bars: Sequence[Bar], query: str, view: View, gaps: Sequence[tuple[str, Any]]
) -> dict[str, Any]:
    begin, end = bars[0].start, bars[-1].start + BUCKET_SECONDS * 1000
    hatched = [
        {"since": to_ms(gap.begin), "until": to_ms(gap.end), "label": f"{source}: {gap.why}"}
        for source, gap in gaps
        if not gap.closed and to_ms(gap.end) > begin and to_ms(gap.begin) < end
    ]
    hatched += [
        {"since": bar.start, "until": bar.start + BUCKET_SECONDS * 1000, "label": "not judged"}
        for bar in bars
        if bar.value is None
    ]
    series: dict[str, Any] = {
        "label": "counted",
        "values": [bar.value for bar in bars],
        "colour": "negative",
    }
    if query:
        series["links"] = [_five(view, query, bar.start) for bar in bars]
    return {
        "title": f"{member.group or 'all'}, every five minutes",
        "times": [bar.start for bar in bars],
        "kind": "bar",
        "series": [series],
        "band": {
            "label": "expected (95 %)",
            "low": [bar.low for bar in bars],
            "high": [bar.high for bar in bars],
        },
        "gaps": hatched,
        "notes": [{"at": member.since, "label": "began"}],
    }


def _counted(member: Member, query: str, view: View, store: Store) -> dict[str, Any]:
    """Return a chart of what a detector without a baseline counts, from the store as it is now."""
    begin = from_ms(member.since) - _BEFORE
    end = from_ms(max(member.until, member.since + BUCKET_SECONDS * 1000))
    step = BUCKET_SECONDS * 1000
    first = to_ms(begin) // step * step
    found = {
        bucket.start: bucket.count for bucket in store.histogram(parse(query), BUCKET_SECONDS, begin, end)
    }
    times = list(range(first, to_ms(end), step))[-_MOST_BARS:]
    return {
        "title": f"{member.group or 'all'}: mentions that it counts, every five minutes",
        "times": times,
        "kind": "bar",
        "series": [
            {
                "label": "counted",
                "values": [found.get(at, 0) for at in times],
                "colour": "negative",
                "links": [_five(view, query, at) for at in times],
            }
        ],
        "notes": [{"at": member.since, "label": "began"}],
    }


def _five(view: View, query: str, start: int) -> str:
    end = start + BUCKET_SECONDS * 1000
    return view.link("/search", q=query, since=iso(from_ms(start)), until=iso(from_ms(end)))
