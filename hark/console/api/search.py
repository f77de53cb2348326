"""Search for programs: mentions page by page, counts, what a query means, files, and saved searches."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from msgspec import Struct
from pydantic import BaseModel, Field

from hark.console.access import Asker, Who, allow
from hark.console.center import Parts, Visible
from hark.console.found import FlatMention, told_whole
from hark.console.instant import Instant
from hark.console.view import duration
from hark.core.clock import EARLIEST, from_ms
from hark.core.errors import SettingsError
from hark.core.protocols import Store
from hark.core.tree import Query as Tree
from hark.export import hits_of, mask, parts
from hark.query import parse
from hark.query.asked import asked_elasticsearch, asked_sqlite, patterns
from hark.query.difference import Part, difference
from hark.query.explain import describe, text_of
from hark.query.fields import Taxonomy
from hark.query.pages import MOST_RANKED, Order, page
from hark.query.patience import INTERACTIVE_SECONDS, TooSlowError, within
from hark.query.platforms import PLATFORMS, translate
from hark.query.sqlite import MOST_TERMS
from hark.query.volume import Volume, volume
from hark.state.searches import LONGEST_NAME, LONGEST_NOTES, SavedSearch, SavedSearches

router = APIRouter(prefix="/api/v1", tags=["search"])
WEEK = timedelta(days=7)
MOST_A_PAGE = 1_000
MEDIA = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_NOT_HERE = "This mention is not here: it was deleted, or never collected."
_TAKEN = "There is a search of this name already."


class Range(Struct, frozen=True):
    """A range of time; None: open at that end. `told` is the range in words."""

    since: datetime | None
    until: datetime | None
    told: str


def _range(
    center: Parts,
    since: Annotated[Instant | None, Query(description="From this time on")] = None,
    until: Annotated[Instant | None, Query(description="Before this time")] = None,
    last: Annotated[
        str | None,
        Query(
            pattern="^[0-9]{1,4}[mhdw]$",
            description="In place of `since`: how long ago, as 45m, 24h, 7d or 2w",
            examples=["7d"],
        ),
    ] = None,
) -> Range:
    if since is not None and last is not None:
        raise SettingsError("since and last: expected one of them")
    if last is not None:
        return Range(center.clock() - duration(last), until, f"last {last}")
    told = f"{since or 'the beginning'} to {until or 'now'}" if since or until else "all time"
    return Range(since, until, told)


_Range = Annotated[Range, Depends(_range)]
_Q = Annotated[
    str,
    Query(max_length=20_000, description="A query; empty: everything", examples=["flight -hiring"]),
]
_Name = Annotated[str, InPath(max_length=LONGEST_NAME, description="The name of a saved search")]


class Found(BaseModel):
    """A page of mentions. Ask for `next` as `cursor` to get those that follow; null: there are none."""

    mentions: list[FlatMention]
    next: str | None
    as_of: datetime | None = Field(
        description="When the newest mention that can be found was collected; null in an empty store"
    )
    ranked: int | None = Field(description="By relevance: how many mentions were compared")
    cut: bool = Field(description=f"By relevance: whether there are more than the newest {MOST_RANKED:,}")


class Count(BaseModel):
    """How many mentions a query finds: counted, or (where that takes too long) estimated from a sample."""

    count: int
    low: int
    high: int = Field(description="With `low` a 95 % interval; both are the count where it is exact")
    exact: bool
    one_in: int = Field(description="One mention in so many was looked at")
    seconds: float
    as_of: datetime | None


class AskedOf(BaseModel):
    """What a kind of store is asked for a query, and the parts that are decided mention by mention, more slowly."""

    request: dict[str, Any]
    decided: list[str]


class Stands(BaseModel):
    """What a pattern stands for: the first of its words, and how many; null where that is not known."""

    pattern: str
    terms: list[str]
    number: int | None


class Translated(BaseModel):
    """What a platform is asked for a query, and what has to be decided here since it cannot be asked for."""

    filters: list[str]
    dropped: list[str]
    problem: str


class Estimate(BaseModel):
    """As `Count`, of the last seven days."""

    count: int
    low: int
    high: int
    exact: bool
    one_in: int
    seconds: float


class Explained(BaseModel):
    """How a query is understood and what it takes to answer it."""

    query: str
    canonical: str
    words: str = Field(
        description="The tree in plain words, a line a condition, indented by two spaces a level"
    )
    tree: dict[str, Any]
    slower: list[str] = Field(description="Parts that the store of this center cannot answer by itself")
    stores: dict[str, AskedOf]
    patterns: list[Stands]
    volume: Estimate | None = Field(description="Null where even a sample takes longer than two seconds")
    platforms: dict[str, Translated]


class Saved(BaseModel):
    """A saved search as it stands: `query` as typed, so that a `now` in it is the moment of each use."""

    name: str
    owner: str
    query: str
    notes: str
    version: int
    saved_by: str
    saved_at: datetime
    yours: bool = Field(description="Whether you may change and delete it")


class SavedWhole(Saved):
    """A saved search with all its versions, the newest first."""

    versions: list[Saved]


class Change(BaseModel):
    """What a saved search should be."""

    query: str = Field(max_length=20_000, examples=["bag (lost OR late)"])
    notes: str | None = Field(None, max_length=LONGEST_NOTES, description="Left out: they stay as they are")


class New(Change):
    """A new saved search."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME, examples=["Late bags"])


class Side(BaseModel):
    """Mentions that one of two queries finds and the other does not; `query` finds them ("": there can be none)."""

    count: int
    examples: list[FlatMention]
    query: str


class Compared(BaseModel):
    """What a new query adds to a saved one and loses of it; `kept` is found by both."""

    added: Side
    lost: Side
    kept: int
    since: datetime
    until: datetime


@router.get("/search", dependencies=[allow("search")])
def search(
    center: Parts,
    store: Visible,
    who: Asker,
    range: _Range,
    q: _Q = "",
    order: Annotated[Order, Query(description="sample: by chance, always the same ones")] = "newest",
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=10_000, description="`next` of the page before")] = None,
) -> Found:
    """Return mentions that match, personal data masked. No page repeats or skips while new ones arrive."""
    query = parse(q)
    with within(INTERACTIVE_SECONDS):
        found = page(
            store,
            query,
            range.since,
            range.until,
            order=order,
            limit=limit,
            after=cursor,
            taxonomy=center.taxonomy,
        )
    center.people.note(who.name, "searched", told_search(q, range.told, order, cursor), who.address)
    return Found(
        mentions=[FlatMention(told_whole(hit, query, center.taxonomy)) for hit in found.hits],
        next=found.after,
        as_of=store.as_of(),
        ranked=found.ranked,
        cut=found.cut,
    )


@router.get("/count", dependencies=[allow("search")])
def count(center: Parts, store: Visible, range: _Range, q: _Q = "") -> Count:
    """Return how many mentions match, within two seconds: from a sample where counting all takes longer."""
    until = range.until or center.clock() + timedelta(days=1)  # clocks of platforms run ahead at times
    found = volume(store, parse(q), range.since or EARLIEST, until)
    return Count(**msgspec.structs.asdict(found), as_of=store.as_of())


@router.get("/mentions/{id:path}", dependencies=[allow("feed")], responses={404: {}})
def show_mention(
    center: Parts,
    store: Visible,
    id: Annotated[str, InPath(max_length=2_000, description="As in `id`", examples=["import:0"])],
    q: Annotated[str, Query(max_length=20_000, description="A query whose words are marked")] = "",
) -> FlatMention:
    """Return one mention as it stands now, personal data masked."""
    hit = store.get(id)
    if hit is None:
        raise HTTPException(404, _NOT_HERE)
    return FlatMention(told_whole(hit, parse(q), center.taxonomy))


@router.get("/query/explain", dependencies=[allow("search")])
def explain(center: Parts, store: Visible, who: Asker, q: _Q = "") -> Explained:
    """Return how a query is understood, what stores and platforms are asked, and how much it finds in a week."""
    query = parse(q)

    def expand(pattern: str) -> Any:
        # The words of a store are those of every brand's mentions.
        return center.whole_store.terms(pattern, MOST_TERMS) if who.brands is None else None

    asked = {"embedded": asked_sqlite(query, expand), "elasticsearch": asked_elasticsearch(query)}
    here = asked["embedded" if center.settings.center.store == "embedded" else "elasticsearch"]
    counted = _volume(store, query, center.clock())
    return Explained(
        query=q,
        canonical=text_of(query.root),
        words=describe(query),
        tree=msgspec.to_builtins(query.root),
        slower=list(here.decided),
        stores={name: AskedOf(**msgspec.to_builtins(one)) for name, one in asked.items()},
        patterns=[Stands(**msgspec.to_builtins(one)) for one in patterns(query, expand)],
        volume=Estimate(**msgspec.structs.asdict(counted)) if counted else None,
        platforms={name: Translated(**msgspec.to_builtins(translate(query, name))) for name in PLATFORMS},
    )


def _volume(store: Store, query: Tree, moment: datetime) -> Volume | None:
    try:
        return volume(store, query, moment - WEEK, moment)
    except TooSlowError:
        return None


@router.get(
    "/export",
    dependencies=[allow("export")],
    response_class=Response,
    responses={200: {"content": {name.partition(";")[0]: {} for name in MEDIA.values()}}},
)
def export(
    center: Parts,
    store: Visible,
    who: Asker,
    range: _Range,
    q: _Q = "",
    format: Annotated[
        Literal["jsonl", "csv", "parquet"], Query(description="parquet needs the package pyarrow")
    ] = "jsonl",
) -> Response:
    """Return all mentions that match as one file, newest first, every copy, personal data masked.

    CSV holds no cell that a spreadsheet takes for a formula. A file that ends early was broken off: the
    connection is cut, not closed.
    """
    query = parse(q)
    pieces = (data for data, _ in parts(map(mask, hits_of(store, query, range.since, range.until)), format))
    first = next(pieces, b"")  # what is wrong with the request shows here, while it can be said
    center.people.note(who.name, "exported", f"{format}: {told_search(q, range.told)}", who.address)
    name = f"mentions-{center.clock():%Y%m%d-%H%M}.{format}"
    body: Iterator[bytes] = chain([first], pieces)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(body, media_type=MEDIA[format], headers=headers)


@router.get("/searches", dependencies=[allow("search")])
def list_searches(center: Parts, who: Asker) -> list[Saved]:
    """Return the saved searches by name: everybody's, or one's own where one sees some brands alone."""
    return [told_saved(saved, who) for saved in seen(SavedSearches(center.state), who)]


@router.post("/searches", dependencies=[allow("save")], status_code=201, responses={409: {}})
def save_search(given: New, center: Parts, who: Asker) -> Saved:
    """Save a query under a new name."""
    searches = SavedSearches(center.state, center.clock)
    if searches.versions(given.name):
        raise HTTPException(409, _TAKEN)
    saved = searches.save(given.name, given.query, who.name, given.notes)
    center.people.note(who.name, "search saved", f"{saved.name}: {saved.query}", who.address)
    return told_saved(saved, who)


@router.get("/searches/{name}", dependencies=[allow("search")], responses={404: {}})
def show_search(name: _Name, center: Parts, who: Asker) -> SavedWhole:
    """Return a saved search with all its versions: who changed it, and when."""
    searches = SavedSearches(center.state)
    newest = told_saved(_found(searches, name, who), who)
    versions = [told_saved(version, who) for version in searches.versions(name)]
    return SavedWhole(**newest.model_dump(), versions=versions)


@router.put("/searches/{name}", dependencies=[allow("save")], responses={404: {}})
def change_search(name: _Name, given: Change, center: Parts, who: Asker) -> Saved:
    """Change a saved search; only its owner and administrators do. What it was is kept as a version."""
    searches = SavedSearches(center.state, center.clock)
    before = _own(searches, name, who)
    saved = searches.save(name, given.query, who.name, given.notes)
    if saved.version != before.version:
        center.people.note(who.name, "search changed", f"{name}: {saved.query}", who.address)
    return told_saved(saved, who)


@router.delete("/searches/{name}", dependencies=[allow("save")], status_code=204, responses={404: {}})
def delete_search(name: _Name, center: Parts, who: Asker) -> None:
    """Remove a saved search with all its versions; only its owner and administrators do."""
    searches = SavedSearches(center.state)
    _own(searches, name, who)
    searches.delete(name)
    center.people.note(who.name, "search deleted", name, who.address)


@router.get("/searches/{name}/difference", dependencies=[allow("search")], responses={404: {}})
def compare(
    name: _Name,
    center: Parts,
    store: Visible,
    who: Asker,
    q: Annotated[
        str | None,
        Query(max_length=20_000, description="The new query; left out: what its last change did"),
    ] = None,
) -> Compared:
    """Return what a changed query would add to a saved search and lose of it in the last seven days."""
    searches = SavedSearches(center.state)
    old, new = _found(searches, name, who).query, q
    if new is None:
        versions = searches.versions(name)
        new, old = versions[0].query, versions[min(1, len(versions) - 1)].query
    until = center.clock()
    query, before = parse(new), parse(old)
    with within(INTERACTIVE_SECONDS):
        found = difference(store, before, query, until - WEEK, until)
    center.people.note(who.name, "searched", f"{name} compared with {new or 'everything'}", who.address)
    return Compared(
        added=_side(found.added, query, center.taxonomy),
        lost=_side(found.lost, before, center.taxonomy),
        kept=found.kept,
        since=until - WEEK,
        until=until,
    )


def _side(part: Part, query: Tree, taxonomy: Taxonomy) -> Side:
    examples = [FlatMention(told_whole(hit, query, taxonomy)) for hit in part.examples]
    return Side(count=part.count, examples=examples, query=part.query)


def seen(searches: SavedSearches, who: Who) -> list[SavedSearch]:
    """Return the saved searches that `who` sees: all, or their own where they see some brands alone."""
    return searches.all(None if who.brands is None else who.name)


def told_saved(saved: SavedSearch, who: Who) -> Saved:
    """Return a saved search as `who` is told of it."""
    return Saved(
        name=saved.name,
        owner=saved.owner,
        query=saved.query,
        notes=saved.notes,
        version=saved.version,
        saved_by=saved.saved_by,
        saved_at=from_ms(saved.saved_ms),
        yours=_may_change(saved, who),
    )


def told_search(q: str, range: str, order: str = "newest", cursor: str | None = None) -> str:
    """Return a search as the audit log has it."""
    more = ", older ones" if cursor else ""
    return f"{q[:1_000] or 'everything'} · {range} · {order}{more}"


def _may_change(saved: SavedSearch, who: Who) -> bool:
    return who.may("save") and (saved.owner == who.name or (who.role == "admin" and who.brands is None))


def _found(searches: SavedSearches, name: str, who: Who) -> SavedSearch:
    found = next(iter(searches.versions(name)), None)
    if found is None or (who.brands is not None and found.owner != who.name):
        raise HTTPException(404, "There is no saved search of this name.")
    return found


def _own(searches: SavedSearches, name: str, who: Who) -> SavedSearch:
    found = _found(searches, name, who)
    if not _may_change(found, who):
        raise HTTPException(403, f"This search is {found.owner}'s: save yours under another name.")
    return found
