"""The trends screen: what a query's mentions did over time, every number a link to its mentions."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from hark.alerts.forecast import HOUR_SECONDS, band_of
from hark.alerts.rules import load_holidays
from hark.console.access import Asker, allow
from hark.console.center import Center, Parts, Visible
from hark.console.counted import counted
from hark.console.page import fragment, iso, page
from hark.console.view import Shown, View
from hark.core.clock import to_ms
from hark.core.errors import HarkError
from hark.core.protocols import Store
from hark.query import parse
from hark.query.errors import QueryError
from hark.state.annotations import Annotation, Annotations
from hark.trends import BY, INTERVALS, Trends
from hark.trends.figures import Figure
from hark.trends.tables import DAYS

router = APIRouter(include_in_schema=False)
TITLES = {"15m": "quarter hours", "1h": "hours", "1d": "days", "1w": "weeks"}
_MOST_LINES = 6
_MOST_BAND = timedelta(days=21)
_Word = Annotated[str, Query(max_length=16)]
_Other = Annotated[str, Query(max_length=10_000)]


class Asked(Struct, frozen=True):
    """What the screen's own controls say."""

    interval: str
    by: str
    against: str
    problem: str = ""


@router.get("/trends", dependencies=[allow("trends")])
def show_trends(
    request: Request, interval: _Word = "", by: _Word = "brand", against: _Other = ""
) -> Response:
    """Show the frame at once; the page fetches what takes counting."""
    return page(
        request,
        "trends.html",
        asked=_asked(interval, by, against),
        intervals={name: TITLES[name] for name in INTERVALS},
        ways=BY,
        body_query=request.url.query,
    )


@router.get("/trends/body", dependencies=[allow("trends")])
def show_body(
    request: Request,
    view: Shown,
    center: Parts,
    store: Visible,
    who: Asker,
    interval: _Word = "",
    by: _Word = "brand",
    against: _Other = "",
) -> Response:
    """Return all that is counted, as a piece of the page."""
    asked = _asked(interval, by, against)
    shown = counted(
        center,
        store,
        view.query,
        view.since,
        view.until,
        view.zone,
        asked.interval or None,
        asked.by,
        asked.against if not asked.problem else None,
    )
    notes = Annotations(center.state).between(view.since, view.until)
    charts = _charts(shown, view, center, store, notes)
    html = fragment(
        "trends_body.html",
        shown=shown,
        view=view,
        who=who,
        topics=center.topics,
        path="/trends",
        charts=charts,
        notes=notes,
        days=DAYS,
        heat=_heat(shown),
        ways=BY,
        asked=asked,
        titles=TITLES,
        link=lambda figure: link(view, figure),
    )
    return Response(html, media_type="text/html")


def link(view: View, figure: Figure) -> str:
    """Return where the mentions that a number counts are shown."""
    return view.link("/search", q=figure.query, since=iso(figure.since), until=iso(figure.until))


def _asked(interval: str, by: str, against: str) -> Asked:
    problem = ""
    if against:
        try:
            parse(against)
        except QueryError as error:
            problem = f"The query to compare with: {error}"
    return Asked(interval if interval in INTERVALS else "", by if by in BY else "brand", against, problem)


def _charts(
    shown: Trends, view: View, center: Center, store: Store, notes: list[Annotation]
) -> dict[str, dict[str, object]]:
    times = [to_ms(each.since) for each in shown.intervals]
    links = [link(view, each.tally.mentions) for each in shown.intervals]
    shared: dict[str, object] = {
        "times": times,
        "partial": [at for at, each in enumerate(shown.intervals) if each.partial],
        "gaps": [
            {"since": to_ms(gap.since), "until": to_ms(gap.until), "label": f"{gap.source}: {gap.why}"}
            for gap in shown.gaps
            if not gap.closed
        ],
        "notes": [{"at": to_ms(note.at), "label": note.text} for note in notes],
    }
    before = [figure.count for figure in shown.compared.intervals][: len(times)]
    volume: dict[str, object] = {
        **shared,
        "title": "Mentions",
        "kind": "line",
        "series": [
            {
                "label": "now",
                "values": [each.tally.mentions.count for each in shown.intervals],
                "links": links,
            },
            {
                "label": "before" if shown.compared.kind == "previous" else "compared",
                "values": before + [None] * (len(times) - len(before)),
                "colour": "neutral",
            },
        ],
    }
    band = _band(shown, view, center, store)
    if band:
        volume["band"] = band
    nets = [each.tally.net for each in shown.intervals]
    net: dict[str, object] = {
        **shared,
        "title": "Net sentiment: % positive − % negative",
        "kind": "line",
        "unit": " %",
        "zero": True,
        "series": [
            {
                "label": "net",
                "values": [_hundredth(net.value if net else None) for net in nets],
                "links": links,
            }
        ],
        "band": {
            "label": "95 %",
            "low": [_hundredth(net.low if net else None) for net in nets],
            "high": [_hundredth(net.high if net else None) for net in nets],
        },
    }
    lines = []
    for group in shown.groups[:_MOST_LINES]:
        by_time = {to_ms(tally.mentions.since): tally.mentions for tally in group.intervals}
        found = [by_time.get(at) for at in times]
        lines.append(
            {
                "label": group.value,
                "values": [figure.count if figure else 0 for figure in found],
                "links": [link(view, figure) if figure else None for figure in found],
            }
        )
    groups = {**shared, "title": f"By {shown.by}", "kind": "line", "series": lines}
    return {"volume": volume, "net": net, "groups": groups}


def _band(shown: Trends, view: View, center: Center, store: Store) -> dict[str, object] | None:
    """Return what was expected of each hour from the hours before it; only where the chart's points are hours."""
    if shown.interval != "1h" or view.until - view.since > _MOST_BAND or not shown.intervals:
        return None
    try:
        points = band_of(
            store,
            view.query,
            "count",
            view.since,
            view.until,
            center.clock(),
            center.state.gaps(),
            HOUR_SECONDS,
            load_holidays(center.settings.config),
        )
    except HarkError:  # the chart is worth showing without it
        return None
    by_hour = {point.start * 1000: point for point in points}
    hours = [by_hour.get(_hour(each.since)) for each in shown.intervals]
    whole = [None if each.partial else point for each, point in zip(shown.intervals, hours, strict=True)]
    if not any(whole):
        return None
    return {
        "label": "expected (80 %)",
        "low": [round(point.low_80, 1) if point else None for point in whole],
        "high": [round(point.high_80, 1) if point else None for point in whole],
    }


def _hour(instant: datetime) -> int:
    return to_ms(instant) // (HOUR_SECONDS * 1000) * HOUR_SECONDS * 1000


def _hundredth(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 1)


def _heat(shown: Trends) -> dict[tuple[int, int], tuple[float, Figure]]:
    """Return for each hour of the week its mentions an hour as a part of the greatest, and its number."""
    rates = {
        (hour.weekday, hour.hour): (hour.mentions.count / hour.hours if hour.hours else 0.0, hour.mentions)
        for hour in shown.rhythm.hours
    }
    peak = max((rate for rate, _ in rates.values()), default=0.0) or 1.0
    return {place: (rate / peak, figure) for place, (rate, figure) in rates.items()}
