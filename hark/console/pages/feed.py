"""The live feed: what is said right now, newest first."""

from fastapi import APIRouter, Request, Response

from hark.console.access import allow
from hark.console.center import Visible
from hark.console.page import page
from hark.console.view import Shown

router = APIRouter(include_in_schema=False)
FIRST = 50


@router.get("/feed", dependencies=[allow("feed")])
def show_feed(request: Request, view: Shown, store: Visible) -> Response:
    """Show the newest mentions that match."""
    hits = list(store.search(view.query, None, None, limit=FIRST))
    return page(request, "feed.html", hits=hits)
