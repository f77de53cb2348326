"""Trends as one table of rows, a row a number with its query, for CSV and Parquet."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from hark.tables import Columns, Row
from hark.trends.authors import Author, Ranking, Stances
from hark.trends.figures import Figure, Tally
from hark.trends.report import Shares, TopicRow, Trends

COLUMNS: Columns = {
    "part": "text",
    "value": "text",
    "since": "time",
    "until": "time",
    "mentions": "int",
    "positive": "int",
    "negative": "int",
    "net": "float",
    "net_low": "float",
    "net_high": "float",
    "compared": "int",
    "query": "text",
    "compared_query": "text",
    "compared_since": "time",
    "compared_until": "time",
    "above": "text",
    "share": "float",
    "share_low": "float",
    "share_high": "float",
    "score": "float",
}
"""`above` is a topic's parent; `score` is a rising term's, an author's reach or influence, an hour's number of hours."""
PARTS = (
    *("all", "interval", "group", "brand", "topic", "source", "lang", "country", "place", "journey"),
    *("author", "author-by-reach", "author-by-influence", "advocate", "detractor", "rising", "hour", "gap"),
)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class _Cells(Struct):
    above: str | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    score: float | None = None


def rows_of(shown: Trends) -> Iterator[Row]:
    """Yield all numbers of `shown` as rows of COLUMNS; `part` is one of PARTS, in that order."""
    yield _row("all", "", shown.tally, shown.compared.tally.mentions)
    others = shown.compared.intervals
    for at, each in enumerate(shown.intervals):
        yield _row("interval", "", each.tally, others[at] if at < len(others) else None)
    for group in shown.groups:
        for tally in group.intervals:
            yield _row("group", group.value, tally)
    yield from _shares("brand", shown.brands)
    yield from _topics(shown.topics, None)
    for name, shares in (
        *(("source", shown.sources), ("lang", shown.languages), ("country", shown.countries)),
        *(("place", shown.places), ("journey", shown.journey)),
    ):
        yield from _shares(name, shares)
    authors = shown.authors
    for author in authors.by_mentions:
        yield _author("author", author, None)
    yield from _ranking("reach", authors.by_reach)
    yield from _ranking("influence", authors.by_influence)
    yield from _stances("advocate", authors.advocates)
    yield from _stances("detractor", authors.detractors)
    for event in shown.rising.events:
        terms = ", ".join(event.terms)
        yield _row("rising", terms, event.mentions, event.compared, _Cells(score=event.score))
    for hour in shown.rhythm.hours:
        cells = _Cells(score=hour.hours)
        yield _row("hour", f"{DAYS[hour.weekday]} {hour.hour:02}", hour.mentions, None, cells)
    for gap in (*shown.gaps, *(shown.compared.gaps if shown.compared.kind == "previous" else ())):
        text = f"{gap.source}: {gap.why}" + (" (filled again)" if gap.closed else "")
        row: list[object] = ["gap", text, gap.since, gap.until]
        yield row + [None] * (len(COLUMNS) - len(row))


def about(shown: Trends) -> dict[str, str]:
    """Return what a file of rows says of itself: the query, the range, the zone, and when it was counted."""
    named = ("query", "since", "until", "zone", "interval", "as_of")
    return {name: str(msgspec.to_builtins(getattr(shown, name))) for name in named}


def _shares(part: str, shares: Shares) -> Iterator[Row]:
    for row in shares.rows:
        yield _row(part, row.value, row.tally, row.compared, _Cells(share=row.share))


def _topics(topics: Sequence[TopicRow], above: str | None) -> Iterator[Row]:
    for each in topics:
        row = each.topic
        yield _row("topic", row.value, row.tally, row.compared, _Cells(above=above, share=row.share))
        yield from _topics(each.children, row.value)


def _ranking(name: str, ranking: Ranking) -> Iterator[Row]:
    for author in ranking.rows:
        value = author.reach if name == "reach" else author.influence
        yield _author(f"author-by-{name}", author, value)


def _author(part: str, author: Author, score: float | None) -> Row:
    return _row(part, author.handle, author.tally, author.compared, _Cells(score=score))


def _stances(part: str, stances: Stances) -> Iterator[Row]:
    for stance in stances.rows:
        cells = _Cells(share=stance.share, share_low=stance.low, share_high=stance.high)
        yield _row(part, stance.handle, stance.tally, stance.compared, cells)


def _row(
    part: str, value: str, of: Tally | Figure, compared: Figure | None = None, cells: _Cells | None = None
) -> Row:
    figure = of.mentions if isinstance(of, Tally) else of
    sums: list[object] = [None] * 5
    if isinstance(of, Tally):
        net = of.net
        shares = [None] * 3 if net is None else [round(n, 4) for n in (net.value, net.low, net.high)]
        sums = [of.positive.count, of.negative.count, *shares]
    against: list[object] = [None] * 3
    if compared is not None:
        against = [compared.query, compared.since, compared.until]
    return [
        *(part, value, figure.since, figure.until, figure.count, *sums),
        *(compared.count if compared is not None else None, figure.query, *against),
        *(_rounded(cell) for cell in msgspec.structs.astuple(cells or _Cells())),
    ]


def _rounded(cell: object) -> object:
    return round(cell, 4) if isinstance(cell, float) else cell
