"""Pages: the templates, what every one of them is given, and how numbers and times look in them."""

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from hark.console.access import Who
from hark.console.center import Center, center
from hark.console.coverage import SILENT_SECONDS
from hark.console.incidents import listed
from hark.console.said import marked, titled, told
from hark.console.view import RANGES, read_view, view
from hark.core.clock import from_ms, to_ms
from hark.core.errors import SettingsError, TransientError

STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"
THEME_COOKIE = "hark_theme"


class Item(Struct, frozen=True):
    """One entry of the rail: where it leads, who may see it, and the letter that follows g."""

    title: str
    path: str
    permission: str
    letter: str
    sign: str


RAIL = (
    Item("Feed", "/feed", "feed", "f", "feed"),
    Item("Search", "/search", "search", "s", "search"),
    Item("Trends", "/trends", "trends", "t", "trends"),
    Item("Alerts", "/alerts", "alerts", "a", "alerts"),
    Item("Wall", "/wall", "wall", "w", "wall"),
    Item("Sources", "/sources", "sources", "o", "sources"),
    Item("Quality", "/quality", "quality", "y", "quality"),
    Item("Admin", "/admin", "admin", "d", "admin"),
)
"""A screen is listed when its page is registered and the person may see it."""


class Pulse(Struct, frozen=True):
    """What every page tells: how many sources answered within a minute, the newest mention, the open incidents."""

    live: int
    sources: int
    newest_ms: int | None
    silent: tuple[str, ...]
    """Names of the sources that are silent or in trouble."""
    open: int
    """Incidents that nobody has acknowledged, of those that the person may see."""


def pulse(center: Center, who: Who) -> Pulse:
    """Return how the sources are right now, and how many incidents wait for somebody."""
    moment = to_ms(center.clock())
    states = {source.name: source for source in center.state.source_states()}
    names = [entry.name for entry in center.settings.sources if entry.enabled]
    live = [
        name
        for name in names
        if (state := states.get(name))
        and not state.error
        and moment - (state.alive_ms or 0) < SILENT_SECONDS * 1000
    ]
    newest = [state.newest_ms for state in states.values() if state.newest_ms is not None]
    if not newest:  # files are imported without a source
        with contextlib.suppress(TransientError):  # the footer says what is known; the screen tells the rest
            newest = [to_ms(moment) for moment in [center.whole_store.as_of()] if moment is not None]
    silent = tuple(name for name in names if name not in live)
    return Pulse(len(live), len(names), max(newest, default=None), silent, _open(center, who))


def _open(center: Center, who: Who) -> int:
    if not who.may("alerts"):
        return 0
    with contextlib.suppress(TransientError, SettingsError):  # the screen of alerts tells what is wrong
        return len(listed(center, who, ["open"]).incidents)
    return 0


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page: `template` with `values`, the frame and the view around it."""
    who: Who | None = getattr(request.state, "who", None)
    parts = center(request)
    paths = {getattr(route, "path", "") for route in request.app.routes}
    frame: dict[str, Any] = {
        "path": request.url.path,
        "who": who,
        "rail": [item for item in RAIL if who and who.may(item.permission) and item.path in paths],
        "theme": request.cookies.get(THEME_COOKIE, ""),
        "ranges": list(RANGES),
        "view": view(request, parts) if who else read_view("", "", "", "", "UTC", parts.clock),
        "pulse": pulse(parts, who) if who else None,
        "topics": parts.topics,
    }
    text = environment().get_template(template).render({**frame, **values})
    return HTMLResponse(text, status_code=status)


def fragment(template: str, **values: Any) -> str:
    """Return a piece of a page, as for what a stream sends; without the frame."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, and a name that is missing is an error."""
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=number,
        percent=percent,
        signed=signed,
        iso=iso,
        web=web,
        when=when,
        compact=compact,
        told=told,
        titled=titled,
        marked=marked,
        nonempty=nonempty,
    )
    return found


def number(value: float | None) -> str:
    """Return 12,345; a dash for nothing."""
    return "–" if value is None else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """Return 12k, 3.4M: for followers and the like."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return (
                f"{value / size:.1f}".removesuffix(".0") + unit
                if abs(value) < 10 * size
                else f"{value / size:.0f}{unit}"
            )
    return f"{value:.0f}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share 0..1 as 12 %."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def signed(value: float | None, digits: int = 0) -> str:
    """Return +12 or −3, with a true minus."""
    return "–" if value is None else f"{value:+,.{digits}f}".replace("-", "−")


def nonempty(values: Mapping[str, object]) -> str:
    """Return the parameters of an address; those without a value are left out."""
    return urlencode({name: value for name, value in values.items() if value not in ("", None)})


def iso(value: datetime | int) -> str:
    """Return an instant (or ms UTC) as RFC 3339 in UTC, for machines."""
    instant = from_ms(value) if isinstance(value, int) else value.astimezone(UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(value: datetime | int | None) -> Markup:
    """Return a <time> that the browser shows in the viewer's zone, as "3 m ago" with the whole on hover."""
    if value is None:
        return Markup('<span class="muted">never</span>')
    text = iso(value)
    return Markup('<time datetime="{}">{} UTC</time>').format(text, text[:16].replace("T", " "))


def web(url: str | None) -> str | None:
    """Return `url` if it may be a link: http or https, nothing else; None otherwise."""
    if url is None or not re.match(r"https?://[^\s/]", url, re.IGNORECASE) or len(url) > 2_000:
        return None
    return url
