"""The live feed: what is said right now, the mention one looks at with its thread, and why it is tagged as it is."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.sse import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from hark.console.access import Asker, Who, allow
from hark.console.center import Center, Parts, Visible
from hark.console.live import Feed, Live, Show, event, write_place
from hark.console.mention import Detail, detail
from hark.console.page import fragment, page
from hark.console.view import Shown
from hark.core.change import ENRICHED, Tagged
from hark.core.clock import to_ms
from hark.core.errors import TransientError
from hark.core.protocols import Hit, Store
from hark.core.tree import Query as Tree

router = APIRouter(include_in_schema=False)
FIRST = 50


@router.get("/feed", dependencies=[allow("feed")])
def show_feed(
    request: Request,
    view: Shown,
    store: Visible,
    center: Parts,
    id: Annotated[str, Query(max_length=2_000)] = "",
) -> Response:
    """Show the newest mentions that match, and the one that the address names."""
    # The place in the log is taken before the store is asked: what comes in between is sent twice, not never.
    try:
        place = write_place(center.bus.ends(ENRICHED))
    except TransientError:
        place = ""
    hits = list(store.search(view.query, limit=FIRST))
    chosen = store.get(id) if id else None
    return page(
        request,
        "feed.html",
        hits=hits,
        place=place,
        detail=detail(chosen, view.query, store, center.taxonomy, center.settings.brands) if chosen else None,
        missing=bool(id) and chosen is None,
        brands=[brand.name for brand in center.settings.brands],
    )


@router.get("/feed/mention", dependencies=[allow("feed")])
def show_mention(
    request: Request,
    view: Shown,
    store: Visible,
    center: Parts,
    who: Asker,
    id: Annotated[str, Query(max_length=2_000)],
    whole: bool = False,
) -> Response:
    """Return the two right columns for one mention."""
    hit = _found(store, id)
    found: Detail = detail(hit, view.query, store, center.taxonomy, center.settings.brands, whole)
    html = fragment("detail.html", detail=found, who=who, topics=center.topics, view=view, path="/feed")
    return Response(html, media_type="text/html")


@router.get("/feed/row", dependencies=[allow("feed")])
def show_row(store: Visible, center: Parts, id: Annotated[str, Query(max_length=2_000)]) -> dict[str, object]:
    """Return one row of the list as it stands now."""
    return row_of(center, _found(store, id))


@router.get("/feed/stream", dependencies=[allow("feed")])
async def stream_rows(
    request: Request,
    view: Shown,
    center: Parts,
    who: Asker,
    place: Annotated[str, Query(max_length=20_000)] = "",
    last_event_id: Annotated[str, Header(max_length=20_000)] = "",
) -> Response:
    """Send rows of the list as they come, from where the browser was."""
    show = request.app.state.rows
    return await stream(request, center, who, view.query, show, last_event_id or place)


async def stream(request: Request, center: Center, who: Who, query: Tree, show: Show, place: str) -> Response:
    """Return the stream of what matches `query` and may be seen by `who`: first what was missed since `place`."""
    live: Live = request.app.state.live
    feed = Feed(query, who.brands, show)
    await run_in_threadpool(live.join, feed)
    try:
        missed = await run_in_threadpool(live.missed, feed, place) if place else []
    except BaseException:
        live.leave(feed)
        raise

    async def send() -> AsyncIterator[bytes]:
        try:
            # The browser waits a second before it comes back, and knows where it stands even if nothing comes.
            yield b"retry: 1000\n\n" + event("begin", {"reset": missed is None}, write_place(feed.begin))
            if missed:
                yield b"".join(missed)
            async for chunk in feed.chunks(lambda: still(center, who)):
                yield chunk
        finally:
            live.leave(feed)

    return EventSourceResponse(send(), headers={"X-Accel-Buffering": "no"})


def still(center: Center, who: Who) -> bool:
    """Say whether the session or the key that opened a stream still stands, and sees what it saw."""
    if who.session is not None:
        held = center.people.session_of_hash(who.session)
        person = held[1] if held else None
    else:
        key = next((key for key in center.people.keys(who.name) if key.id == who.key), None)
        person = center.people.find(who.name) if key is not None and not key.revoked else None
    if person is None or person.disabled or person.role != who.role:
        return False
    return person.role != "partner" or who.brands is None or set(who.brands) <= set(person.brands)


def row_of(center: Center, hit: Hit) -> dict[str, object]:
    """Return what the list needs of a mention: its row, and when it was written."""
    html = fragment("row.html", hit=hit, topics=center.topics)
    return {"id": hit.mention.id, "created": to_ms(hit.mention.created_at), "html": html}


def rows(center: Center) -> Show:
    """Return what makes a row of what the log brings."""

    def show(item: Tagged) -> dict[str, object]:
        return row_of(center, Hit(item.mention, item.enrichment))

    return show


def _found(store: Store, id: str) -> Hit:
    hit = store.get(id)
    if hit is None:
        raise HTTPException(404, "This mention is not here: it was deleted, or never collected.")
    return hit
