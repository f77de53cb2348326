"""What the pages need of the center, in one place; built by the wiring."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request
from msgspec import Struct

from hark.console.access import Asker, Who
from hark.console.coverage import Bookkeeper
from hark.core.clock import Clock
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Bucket, Bus, Hit, Store
from hark.core.tree import All, And, Field, Node, Not, Or, Query
from hark.generations import Reprocessing
from hark.query.fields import Taxonomy
from hark.settings import Settings
from hark.state import State
from hark.state.people import People


class Tagger(Protocol):
    """What tags mentions as the workers do."""

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return one enrichment a mention, in order."""
        ...


class Center(Struct, frozen=True):
    """The parts. All may be used from several threads.

    `whole_store` sees every brand: pages take `store: Visible` in its place, which sees what the person may see.
    """

    settings: Settings
    state: State
    whole_store: Store
    bus: Bus
    people: People
    taxonomy: Taxonomy
    topics: Mapping[str, str]
    """Titles of topics by id, in the order of topics.toml."""
    health: Callable[[], tuple[bool, dict[str, object]]]
    """Whether every role's process is up, and what is to be told of each part; see hark.console.health."""
    clock: Clock
    bookkeeper: Bookkeeper
    """Takes the books, once for all who look."""
    reprocessing: Reprocessing
    tagger: Callable[[], Tagger]
    """The tags of the generation that is shown; the first call takes a second, as it loads the language models."""


def within(query: Query, brands: tuple[str, ...] | None) -> Query:
    """Return `query` limited to mentions of `brands`; None: as it is. The one place where sight is narrowed."""
    if brands is None:
        return query
    fields = tuple(Field("brand", "=", brand.lower()) for brand in brands)
    # One who may see no brand sees no mention.
    limit: Node = Or(fields) if len(fields) > 1 else fields[0] if fields else Not(All())
    return Query(query.text, And((limit, query.root)))


class Sight:
    """A store as one person sees it: the reading methods of Store, narrowed to their brands."""

    def __init__(self, store: Store, brands: tuple[str, ...]) -> None:
        self._store = store
        self._brands = brands

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 50,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """See Store.search."""
        return self._store.search(within(query, self._brands), since, until, limit, after)

    def sample(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """See Store.sample."""
        return self._store.sample(within(query, self._brands), since, until, limit, after)

    def as_of(self) -> datetime | None:
        """See Store.as_of."""
        return self._store.as_of()

    def count(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        level: int = 0,
    ) -> int:
        """See Store.count."""
        return self._store.count(within(query, self._brands), since, until, level)

    def histogram(
        self,
        query: Query,
        interval_seconds: int,
        since: datetime,
        until: datetime,
        by: str | None = None,
    ) -> list[Bucket]:
        """See Store.histogram; of brands, only the person's own are groups."""
        found = self._store.histogram(within(query, self._brands), interval_seconds, since, until, by)
        return [bucket for bucket in found if by != "brand" or bucket.group in self._brands]

    def top(
        self,
        query: Query,
        field: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[tuple[str, int]]:
        """See Store.top; of brands, only the person's own are values."""
        found = self._store.top(within(query, self._brands), field, since, until, limit)
        return [row for row in found if field != "brand" or row[0] in self._brands]

    def get(self, id: str) -> Hit | None:
        """See Store.get; None, too, for a mention that is not the person's to see."""
        hit = self._store.get(id)
        return hit if hit is not None and self._sees(hit) else None

    def many(self, ids: Sequence[str]) -> dict[str, Hit]:
        """See Store.many; without the mentions that are not the person's to see."""
        return {id: hit for id, hit in self._store.many(ids).items() if self._sees(hit)}

    def _sees(self, hit: Hit) -> bool:
        return not set(hit.enrichment.brands).isdisjoint(self._brands)


def center(request: Request) -> Center:
    """Return the parts."""
    found: Center = request.app.state.center
    return found


Parts = Annotated[Center, Depends(center)]
"""As a parameter of a route, `center: Parts`: the parts of the center."""


def sight(center: Center, who: Who) -> Store:
    """Return the store as `who` sees it."""
    if who.brands is None:
        return center.whole_store
    return cast(Store, Sight(center.whole_store, who.brands))


def visible(center: Parts, who: Asker) -> Store:
    """Return the store as the person who asks sees it."""
    return sight(center, who)


Visible = Annotated[Store, Depends(visible)]
"""As a parameter of a route, `store: Visible`: the store, narrowed to what the person may see."""
