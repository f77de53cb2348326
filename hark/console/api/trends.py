"""Trends, the forecast, and notes on charts."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from hark.alerts.forecast import Forecast, Metric, forecast_of
from hark.alerts.rules import load_holidays
from hark.console.access import Asker, allow
from hark.console.center import Parts, Visible
from hark.console.counted import CSV, JSON, counted, file_of
from hark.console.described import answers
from hark.console.instant import Instant
from hark.query import parse
from hark.state.annotations import LONGEST, Annotations
from hark.trends import Trends, zone_named

router = APIRouter(prefix="/api/v1", tags=["trends"])
_RANGE = timedelta(days=7)
_Q = Annotated[str, Query(max_length=10_000, description="A query; empty: everything")]
_Since = Annotated[Instant | None, Query(description="From here on; a week before `until` when left out")]
_Until = Annotated[Instant | None, Query(description="Before this; now when left out")]
_Zone = Annotated[str, Query(max_length=64, description="A time zone such as America/Chicago")]
_WRONG: dict[int | str, dict[str, Any]] = {
    400: {"description": "Something cannot be asked; `detail` says what"}
}


class Note(BaseModel):
    """What to write at a moment of the charts."""

    at: Instant
    text: str = Field(min_length=1, max_length=LONGEST, examples=["Storm over Denver"])


class Annotation(BaseModel):
    """A note at a moment of the charts."""

    id: int
    at: datetime
    text: str
    person: str


@router.get(
    "/trends",
    dependencies=[allow("trends")],
    response_model=None,
    responses={**answers(Trends), **_WRONG},
)
def show_trends(
    center: Parts,
    store: Visible,
    q: _Q = "",
    since: _Since = None,
    until: _Until = None,
    zone: _Zone = "UTC",
    interval: Annotated[
        str | None, Query(max_length=8, description="15m, 1h, 1d or 1w; by the range when left out")
    ] = None,
    by: Annotated[str | None, Query(max_length=16, description="brand, topic, sentiment, source, …")] = None,
    against: Annotated[
        str | None, Query(max_length=10_000, description="Another query; the period before when left out")
    ] = None,
) -> dict[str, Any]:
    """Return what a query's mentions did over time; each number with the query and range that counts to it."""
    begin, end = _range(center.clock(), since, until)
    shown = counted(center, store, parse(q), begin, end, zone_named(zone), interval, by, against)
    found: dict[str, Any] = msgspec.to_builtins(shown)
    return found


@router.get("/trends/table", dependencies=[allow("export")], responses=_WRONG, response_class=Response)
def export_trends(
    center: Parts,
    store: Visible,
    who: Asker,
    q: _Q = "",
    since: _Since = None,
    until: _Until = None,
    zone: _Zone = "UTC",
    interval: Annotated[str | None, Query(max_length=8)] = None,
    by: Annotated[str | None, Query(max_length=16)] = None,
    against: Annotated[str | None, Query(max_length=10_000)] = None,
    format: Annotated[str, Query(pattern="^(csv|json)$", description="csv, or json")] = "csv",
) -> Response:
    """Return all numbers of the trends as one file: a row a number, with the query that counts to it."""
    begin, end = _range(center.clock(), since, until)
    shown = counted(center, store, parse(q), begin, end, zone_named(zone), interval, by, against)
    center.people.note(who.name, "exported", f"trends of {q}", who.address)
    media = CSV if format == "csv" else JSON
    named = {"Content-Disposition": f'attachment; filename="trends.{format}"'}
    return Response(file_of(shown, format), media_type=media, headers=named)


@router.get(
    "/forecast",
    dependencies=[allow("trends")],
    response_model=None,
    responses={**answers(Forecast), **_WRONG},
)
def show_forecast(
    center: Parts,
    store: Visible,
    q: _Q = "",
    metric: Annotated[Metric, Query(description="count, or complaints")] = "count",
    hours: Annotated[int, Query(ge=1, le=168)] = 48,
) -> dict[str, Any]:
    """Return what the next hours will bring, with the intervals that hold 80 and 95 % of such hours."""
    days = load_holidays(center.settings.config)
    found: dict[str, Any] = msgspec.to_builtins(
        forecast_of(store, parse(q), metric, center.clock(), center.state.gaps(), hours, holidays=days)
    )
    return found


@router.get("/annotations", dependencies=[allow("trends")])
def list_annotations(center: Parts, since: _Since = None, until: _Until = None) -> list[Annotation]:
    """Return what people noted in a range of time, the oldest first."""
    begin, end = _range(center.clock(), since, until)
    return [_shown(note) for note in Annotations(center.state).between(begin, end)]


@router.post("/annotations", dependencies=[allow("annotate")], status_code=201, responses=_WRONG)
def annotate(center: Parts, who: Asker, note: Note) -> Annotation:
    """Note something at a moment, for every chart that shows it."""
    made = Annotations(center.state, center.clock).add(note.at, note.text, who.name)
    center.people.note(who.name, "annotated", made.text, who.address)
    return _shown(made)


@router.delete("/annotations/{id}", dependencies=[allow("annotate")], status_code=204, responses={404: {}})
def remove_annotation(center: Parts, who: Asker, id: int) -> None:
    """Take a note away."""
    if not 0 <= id < 2**31 or not Annotations(center.state).remove(id):
        raise HTTPException(404, f"There is no note {id}")
    center.people.note(who.name, "took a note away", str(id), who.address)


def _shown(note: Any) -> Annotation:
    return Annotation(id=note.id, at=note.at, text=note.text, person=note.person)


def _range(moment: datetime, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = until if until is not None else moment
    return (since if since is not None else end - _RANGE), end
