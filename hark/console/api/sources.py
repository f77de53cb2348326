"""Sources, coverage, the books, and what was refused."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query

from hark.console.access import Asker, allow
from hark.console.center import Parts
from hark.console.coverage import source_rows
from hark.rejected import replay, still_rejected

router = APIRouter(prefix="/api/v1", tags=["sources"])
LARGEST_REPLAY = 10_000
_SHOWN_BYTES = 2_000


@router.get("/sources", dependencies=[allow("sources")])
def list_sources(center: Parts) -> list[dict[str, Any]]:
    """Return each source: condition, rate, lag, spend and gaps."""
    rows = source_rows(center.settings.sources, center.state, center.whole_store, center.clock)
    found: list[dict[str, Any]] = msgspec.to_builtins(rows)
    return found


@router.get("/gaps", dependencies=[allow("trends")])
def list_gaps(center: Parts) -> list[dict[str, Any]]:
    """Return the stretches of time in which a source may have missed mentions, newest first."""
    return [{"source": name, **msgspec.to_builtins(gap)} for name, gap in reversed(center.state.gaps())]


@router.get("/books", dependencies=[allow("sources")])
def show_books(
    center: Parts,
    verify: Annotated[
        bool, Query(description="Compare the ids themselves: takes a second per 100,000")
    ] = False,
) -> dict[str, Any]:
    """Return the books: collected = indexed + rejected + deleted + pending, for each source and in all."""
    verification = None
    if verify:
        books, verification = center.bookkeeper.verify()
    else:
        books = center.bookkeeper.books()
    balanced = books.balanced
    if verification is not None:
        balanced = balanced and not verification.missing and not verification.unknown
    return {
        "at": msgspec.to_builtins(books.at),
        "balanced": balanced,
        "total": msgspec.to_builtins(books.total),
        "sources": msgspec.to_builtins(books.sources),
        "verification": msgspec.to_builtins(verification),
    }


@router.get("/rejected", dependencies=[allow("sources")])
def list_rejected(center: Parts, limit: Annotated[int, Query(ge=1, le=1_000)] = 200) -> dict[str, Any]:
    """Return what is refused now, the newest first: reason, stage, and the beginning of the original bytes."""
    items = still_rejected(center.bus, center.whole_store)
    rows = [
        {
            "id": item.id,
            "source": item.source,
            "stage": item.stage,
            "reason": item.reason,
            "at": msgspec.to_builtins(item.at),
            "bytes": len(item.original),
            "original": item.original[:_SHOWN_BYTES].decode("utf-8", "replace"),
        }
        for item in items[::-1][:limit]
    ]
    return {"total": len(items), "rejected": rows}


@router.post("/rejected/replay", dependencies=[allow("replay")])
def replay_rejected(
    center: Parts,
    who: Asker,
    ids: Annotated[
        list[str] | None,
        Body(embed=True, max_length=LARGEST_REPLAY, description="Which; all that is refused when left out"),
    ] = None,
) -> dict[str, Any]:
    """Send refused mentions round again, once the cause is mended; twice does no harm."""
    wanted = None if ids is None else set(ids)
    items = [
        item for item in still_rejected(center.bus, center.whole_store) if wanted is None or item.id in wanted
    ]
    refused = replay(center.bus, items, center.clock)
    center.people.note(who.name, "replay", f"{len(items) - len(refused)} rejected mentions", who.address)
    return {
        "sent": len(items) - len(refused),
        "refused": [{"id": id, "reason": why} for id, why in refused],
    }
