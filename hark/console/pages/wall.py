"""The wall: for a big screen, readable across a room, without anything personal."""

from fastapi import APIRouter, Request, Response

from hark.console.access import allow
from hark.console.page import page

router = APIRouter(include_in_schema=False)


@router.get("/wall", dependencies=[allow("wall")])
def show_wall(request: Request) -> Response:
    """Show the frame; what is counted, and the waterfall, are fetched by the page."""
    return page(request, "wall.html")
