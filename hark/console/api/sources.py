"""Sources, coverage, the books, and what was refused."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query
from msgspec import Struct

from hark.console.access import Asker, allow
from hark.console.center import Parts
from hark.console.coverage import SourceRow, source_rows
from hark.console.described import answers
from hark.core.protocols import Gap
from hark.ledger import SourceBooks, Verification
from hark.rejected import replay, still_rejected
from hark.state import NoticedLoss

router = APIRouter(prefix="/api/v1", tags=["sources"])
LARGEST_REPLAY = 10_000
_SHOWN_BYTES = 2_000


class GapOf(Gap, frozen=True, kw_only=True):
    """A gap, and whose it is."""

    source: str


class BooksNow(Struct, frozen=True):
    """The books of each source and in all; `verification` where the ids themselves were compared.

    `lost` is what the log removed before it was read: `begin` and `end` are offsets of a partition.
    """

    at: datetime
    balanced: bool
    total: SourceBooks
    sources: list[SourceBooks]
    lost: list[NoticedLoss]
    verification: Verification | None


class Refused(Struct, frozen=True):
    """A refused mention: why, at which stage, and the beginning of its bytes as they came."""

    id: str
    source: str
    stage: str
    reason: str
    at: datetime
    bytes: int
    original: str


class AllRefused(Struct, frozen=True):
    """How many are refused, and the newest of them."""

    total: int
    rejected: list[Refused]


class Why(Struct, frozen=True):
    """A mention that cannot go round again, and why."""

    id: str
    reason: str


class Replayed(Struct, frozen=True):
    """How many went round again, and which could not."""

    sent: int
    refused: list[Why]


@router.get(
    "/sources",
    dependencies=[allow("sources")],
    response_model=None,
    responses=answers(list[SourceRow]),
)
def list_sources(center: Parts) -> list[dict[str, Any]]:
    """Return each source: condition, rate, lag, spend and gaps."""
    rows = source_rows(center.settings.sources, center.state, center.whole_store, center.clock)
    found: list[dict[str, Any]] = msgspec.to_builtins(rows)
    return found


@router.get("/gaps", dependencies=[allow("trends")], response_model=None, responses=answers(list[GapOf]))
def list_gaps(center: Parts) -> list[dict[str, Any]]:
    """Return the stretches of time in which a source may have missed mentions, newest first."""
    gaps = [
        GapOf(gap.begin, gap.end, gap.why, gap.closed, source=name)
        for name, gap in reversed(center.state.gaps())
    ]
    found: list[dict[str, Any]] = msgspec.to_builtins(gaps)
    return found


@router.get("/books", dependencies=[allow("sources")], response_model=None, responses=answers(BooksNow))
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
    found: dict[str, Any] = msgspec.to_builtins(
        BooksNow(books.at, balanced, books.total, books.sources, books.lost, verification)
    )
    return found


@router.get("/rejected", dependencies=[allow("sources")], response_model=None, responses=answers(AllRefused))
def list_rejected(center: Parts, limit: Annotated[int, Query(ge=1, le=1_000)] = 200) -> dict[str, Any]:
    """Return what is refused now, the newest first: reason, stage, and the beginning of the original bytes."""
    items = still_rejected(center.bus, center.whole_store)
    rows = [
        Refused(
            item.id,
            item.source,
            item.stage,
            item.reason,
            item.at,
            len(item.original),
            item.original[:_SHOWN_BYTES].decode("utf-8", "replace"),
        )
        for item in items[::-1][:limit]
    ]
    found: dict[str, Any] = msgspec.to_builtins(AllRefused(len(items), rows))
    return found


@router.post(
    "/rejected/replay",
    dependencies=[allow("replay")],
    response_model=None,
    responses=answers(Replayed),
)
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
    found: dict[str, Any] = msgspec.to_builtins(
        Replayed(len(items) - len(refused), [Why(id, why) for id, why in refused])
    )
    return found
