"""Trends as the console shows them, and as a file."""

import io
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from hark.console.center import Center
from hark.core.protocols import Store
from hark.core.tree import Query
from hark.query import parse
from hark.tables import CsvFile
from hark.trends import Trends, trends
from hark.trends.tables import COLUMNS, rows_of

CSV, JSON = "text/csv; charset=utf-8", "application/json"


def counted(
    center: Center,
    store: Store,
    query: Query,
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    interval: str | None = None,
    by: str | None = None,
    against: str | None = None,
) -> Trends:
    """Return the trends of a query as a person (whose store this is) sees them; see hark.trends.trends."""
    return trends(
        store,
        query,
        since,
        until,
        zone=zone,
        as_of=center.clock(),
        interval=interval or None,
        by=by or None,
        other=None if not against else parse(against),
        gaps=center.state.gaps(),
        taxonomy=center.taxonomy,
        own=frozenset(handle for brand in center.settings.brands for handle in brand.handles),
    )


def file_of(shown: Trends, format: str) -> bytes:
    """Return all numbers as "csv" (no cell of which is a formula) or "json"."""
    if format == "json":
        return msgspec.json.encode(shown)
    text = io.StringIO(newline="")
    CsvFile(text, COLUMNS).write(rows_of(shown))
    return text.getvalue().encode()
