"""The sources screen: how complete the listening is, and the books."""

from fastapi import APIRouter, Request, Response

from hark.console.access import allow
from hark.console.center import Parts
from hark.console.coverage import source_rows
from hark.console.page import page

router = APIRouter(include_in_schema=False)
_NEWEST_GAPS = 50


@router.get("/sources", dependencies=[allow("sources")])
def show_sources(request: Request, center: Parts) -> Response:
    """Show each source; the books and what was refused are fetched by the page, since they take a moment."""
    rows = source_rows(center.settings.sources, center.state, center.whole_store, center.clock)
    gaps = center.state.gaps()
    return page(
        request,
        "sources.html",
        rows=rows,
        gaps=gaps[::-1][:_NEWEST_GAPS],
        more_gaps=max(0, len(gaps) - _NEWEST_GAPS),
    )
