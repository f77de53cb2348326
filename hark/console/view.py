"""What a screen shows: one query and one range of time, kept in the address bar on every screen."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from msgspec import Struct

from hark.console.center import Parts
from hark.core.clock import Clock
from hark.core.errors import SettingsError
from hark.core.tree import Query
from hark.query import parse
from hark.query.errors import QueryError
from hark.trends import zone_named

RANGES = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
RANGE = "24h"
ZONE_COOKIE = "hark_zone"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class View(Struct, frozen=True):
    """What the address bar says. A query or a time that cannot be understood is told, and the rest still shown."""

    text: str
    """The query as typed."""
    query: Query
    """The query, of everything where the text is wrong."""
    error: QueryError | None
    """What is wrong with the query, and where."""
    last: str
    """One of RANGES or such as "45m"; empty where `since` was given."""
    since: datetime
    until: datetime
    problem: str
    """What is wrong with the range; empty when nothing is."""
    zone: ZoneInfo
    """The viewer's time zone, as their browser told."""

    def parameters(self) -> dict[str, str]:
        """Return the view as parameters of an address; what is the default is left out."""
        found = {"q": self.text} if self.text else {}
        if self.last:
            return {**found, "last": self.last} if self.last != RANGE else found
        return {**found, "since": _short(self.since), "until": _short(self.until)}

    def link(self, path: str, **changes: object) -> str:
        """Return the address of `path` in this view; a change to "" leaves that parameter out."""
        values = {**self.parameters(), **{name: str(value) for name, value in changes.items()}}
        if "since" in changes:
            values.pop("last", None)
        text = urlencode({name: value for name, value in values.items() if value})
        return f"{path}?{text}" if text else path

    def link_and(self, path: str, more: str, **changes: object) -> str:
        """Return the address of `path` for what matches this view's query and `more` too."""
        both = f"({self.text}) {more}" if " " in self.text else f"{self.text} {more}".strip()
        return self.link(path, q=both, **changes)


def view(request: Request, center: Parts) -> View:
    """Return what the address bar says."""
    values = request.query_params
    return read_view(
        values.get("q", ""),
        values.get("last", ""),
        values.get("since", ""),
        values.get("until", ""),
        request.cookies.get(ZONE_COOKIE, "UTC"),
        center.clock,
    )


Shown = Annotated[View, Depends(view)]
"""As a parameter of a route, `view: Shown`: what the address bar says."""


def read_view(text: str, last: str, since: str, until: str, zone: str, clock: Clock) -> View:
    """Return the view of parameters as typed; never raises."""
    error = None
    try:
        query = parse(text)
    except QueryError as wrong:
        query, error = parse(""), wrong
    try:
        place = zone_named(zone)
    except SettingsError:
        place = zone_named("UTC")
    problem, moment = "", clock()
    last = last or ("" if since else RANGE)
    begin, end = moment - RANGES[RANGE], moment
    try:
        end = point(until, place, moment) if until else moment
        begin = point(since, place, moment) if since else moment - duration(last)
        if begin > end:
            raise SettingsError("the range ends before it begins")
    except SettingsError as wrong:
        problem, last, begin, end = str(wrong), RANGE, moment - RANGES[RANGE], moment
    return View(text, query, error, "" if since and not problem else last, begin, end, problem, place)


def duration(text: str) -> timedelta:
    """Return how long "45m", "24h", "7d" or "2w" is; raises SettingsError."""
    if text in RANGES:
        return RANGES[text]
    if text[-1:] in _UNITS and text[:-1].isascii() and text[:-1].isdigit() and len(text) <= 5:
        return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    raise SettingsError(f"last: expected a length of time like 45m, 24h, 7d or 2w, found {text[:40]!r}")


def point(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the instant of a date or a time (in `zone` unless it says otherwise), or of "2h" ago."""
    if text[-1:] in _UNITS:
        return now - duration(text)
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"expected a date (2026-11-01), a time (2026-11-01T12:00:00Z) or how long ago (2h), found {text[:40]!r}"
        ) from None


def _short(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
