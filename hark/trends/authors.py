"""Who speaks: authors by mentions, by reach and by influence, advocates and detractors."""

from collections.abc import Collection
from math import sqrt

from msgspec import Struct

from hark.core.protocols import Hit, Store
from hark.core.tree import Field, Node, Not, Or
from hark.query.fields import values_of
from hark.trends.figures import Figure, Selection, Tally, Z, equal

MOST_AUTHORS = 10
LEAST_MENTIONS = 5
"""Mentions of one author that say anything of how they always speak: five of five are just enough."""
MOST_JUDGED = 10_000
"""Authors, those with the most mentions, of whom is asked whether they are advocates or detractors."""
_PAGE = 1_000
_HIGHEST = 100


class Author(Struct, frozen=True):
    """One author; the numbers about them are those of their best mention among those read, None where unknown."""

    handle: str
    tally: Tally
    compared: Figure
    followers: int | None
    reach: int | None
    influence: int | None
    automation: float | None


class Ranking(Struct, frozen=True):
    """Authors, the highest first. `complete`: nobody who stands higher is missing. `read`: mentions looked at."""

    rows: tuple[Author, ...]
    complete: bool
    read: int


class Stance(Struct, frozen=True):
    """An author most of whose mentions are of one mood: their share, with its 95 % interval (Wilson 1927)."""

    handle: str
    tally: Tally
    compared: Figure
    share: float
    low: float
    high: float


class Stances(Struct, frozen=True):
    """Those authors of whom more than half is of the mood even at the interval's lower end, the surest first.

    `judged`: how many authors have `least` mentions and more; `complete`: these are all of them.
    """

    rows: tuple[Stance, ...]
    least: int
    judged: int
    complete: bool


class Authors(Struct, frozen=True):
    """Authors by their handles. The brands' own accounts, `without`, stand in `by_mentions` alone."""

    by_mentions: tuple[Author, ...]
    by_reach: Ranking
    by_influence: Ranking
    advocates: Stances
    detractors: Stances
    without: tuple[str, ...]


def authors_of(store: Store, now: Selection, compared: Selection, own: Collection[str] = ()) -> Authors:
    """Return who speaks in `now`; `own` are the handles of the brands themselves, in lower case without @."""
    looker = _Looker(store, now, compared, tuple(sorted(own)))
    totals, advocates, detractors = looker.stances()
    return Authors(
        by_mentions=tuple(looker.author(handle) for handle in totals[:MOST_AUTHORS]),
        by_reach=looker.ranked("reach"),
        by_influence=looker.ranked("influence"),
        advocates=advocates,
        detractors=detractors,
        without=looker.own,
    )


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212.
    It takes the mentions for independent of each other.
    """
    share, square = part / whole, Z * Z
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    reach = Z / (1 + square / whole) * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max(0.0, middle - reach), min(1.0, middle + reach)


class _Looker:
    def __init__(self, store: Store, now: Selection, compared: Selection, own: tuple[str, ...]) -> None:
        self.store = store
        self.now = now
        self.compared = compared
        self.own = own

    def author(self, handle: str, hit: Hit | None = None) -> Author:
        """Return one author; `hit` is the mention that says most of them, else the newest is asked."""
        theirs = self.now.where(equal("author", handle))
        hit = hit or next(iter(self.store.search(theirs.query, theirs.since, theirs.until, limit=1)), None)
        author = hit.mention.author if hit else None
        tags = hit.enrichment if hit else None
        return Author(
            handle,
            theirs.tallied(self.store),
            self._before(handle),
            author.followers if author else None,
            tags.reach if tags else None,
            tags.influence if tags else None,
            tags.automation if tags else None,
        )

    def ranked(self, name: str) -> Ranking:
        """Return the authors with the highest `name` (reach or influence) of any mention of theirs."""
        best: dict[str, Hit] = {}
        read, complete = 0, False
        if self.now.since >= self.now.until:
            return Ranking((), True, 0)
        while len(best) < MOST_AUTHORS and not complete:
            others = self._without([*self.own, *best])
            least = self._least(others, name)
            hits = list(self._search(others.where(Field(name, ">=", str(least)))))
            news = [hit for hit in hits if _handle(hit) is not None]
            read += len(hits)
            if not news:
                # Without a handle nobody can be named: what is above all others may hide what is below.
                complete = least == 0 and len(hits) < _PAGE
                break
            for hit in news:
                handle = _handle(hit) or ""
                if handle not in best or _value(hit, name) > _value(best[handle], name):
                    best[handle] = hit
            complete = least == 0 and len(hits) < _PAGE
        ranked = sorted(best.items(), key=lambda item: (-_value(item[1], name), item[0]))[:MOST_AUTHORS]
        rows = tuple(self.author(handle, hit) for handle, hit in ranked)
        return Ranking(rows, complete or len(best) >= MOST_AUTHORS, read)

    def stances(self) -> tuple[list[str], Stances, Stances]:
        """Return the authors by their number of mentions, the advocates and the detractors."""
        if self.now.since >= self.now.until:
            none = Stances((), LEAST_MENTIONS, 0, True)
            return [], none, none
        totals = self._counts(None)
        enough = {handle: count for handle, count in totals.items() if count >= LEAST_MENTIONS}
        complete = len(totals) < MOST_JUDGED or len(enough) < len(totals)
        for handle in self.own:
            enough.pop(handle, None)
        found = []
        for mood in ("positive", "negative"):
            moods = self._counts(equal("sentiment", mood)) if enough else {}
            sure = {
                handle: wilson(min(moods[handle], count), count)
                for handle, count in enough.items()
                if handle in moods
            }
            ranked = sorted(
                (handle for handle in sure if sure[handle][0] > 0.5),
                key=lambda handle: (-sure[handle][0], handle),
            )
            rows = tuple(self._stance(handle, mood) for handle in ranked[:MOST_AUTHORS])
            found.append(Stances(rows, LEAST_MENTIONS, len(enough), complete))
        return list(totals), found[0], found[1]

    def _stance(self, handle: str, mood: str) -> Stance:
        tally = self.now.where(equal("author", handle)).tallied(self.store)
        part = tally.positive.count if mood == "positive" else tally.negative.count
        whole = max(1, tally.mentions.count)
        return Stance(handle, tally, self._before(handle), part / whole, *wilson(min(part, whole), whole))

    def _before(self, handle: str) -> Figure:
        return self.compared.where(equal("author", handle)).counted(self.store)

    def _counts(self, node: Node | None) -> dict[str, int]:
        chosen = self.now if node is None else self.now.where(node)
        return dict(self.store.top(chosen.query, "author", chosen.since, chosen.until, MOST_JUDGED))

    def _without(self, handles: Collection[str]) -> Selection:
        nodes = tuple(equal("author", handle) for handle in handles)
        if not nodes:
            return self.now
        return self.now.where(Not(nodes[0] if len(nodes) == 1 else Or(nodes)))

    def _least(self, chosen: Selection, name: str) -> int:
        """Return the lowest value that at most _PAGE mentions reach, or the highest that any reaches."""

        def reached(value: int) -> int:
            return chosen.where(Field(name, ">=", str(value))).counted(self.store).count

        low, high = -1, _HIGHEST + 1  # too many reach `low`, not too many `high`
        if reached(0) <= _PAGE:
            return 0
        low = 0
        while high - low > 1:
            middle = (low + high) // 2
            if reached(middle) <= _PAGE:
                high = middle
            else:
                low = middle
        return high if reached(high) else low

    def _search(self, chosen: Selection) -> list[Hit]:
        return list(self.store.search(chosen.query, chosen.since, chosen.until, limit=_PAGE))


def _handle(hit: Hit) -> str | None:
    values = values_of("author", hit.mention, None)
    return values[0] if values else None


def _value(hit: Hit, name: str) -> int:
    value = hit.enrichment.reach if name == "reach" else hit.enrichment.influence
    return -1 if value is None else value
