"""Numbers that know which mentions they count."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import sqrt
from zoneinfo import ZoneInfo

from msgspec import Struct

from hark.core.protocols import Store
from hark.core.tree import All, And, Field, Node, Query
from hark.query import QueryError, parse
from hark.query.explain import text_of

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
WIDE_SECONDS = 86_400 * 365
"""The width of a histogram whose cells are added up."""
_OWN_CONDITIONS = 60
"""How many conditions a figure may add to the query that it belongs to."""


class Figure(Struct, frozen=True):
    """A number, and what to search for to see the mentions that it counts.

    `hark search QUERY --since SINCE --until UNTIL --count` gives `count`, as long as nothing is written or deleted.
    """

    count: int
    query: str
    since: datetime
    until: datetime


class Net(Struct, frozen=True):
    """Net sentiment: share of positive minus share of negative mentions, -1 to 1, with a 95 % interval."""

    value: float
    low: float
    high: float
    sample: int


class Tally(Struct, frozen=True):
    """Mentions and their sentiment; what is neither positive nor negative makes up the rest. `net` is None of none."""

    mentions: Figure
    positive: Figure
    negative: Figure
    net: Net | None


class Selection(Struct, frozen=True):
    """The mentions that match a query within a range of time (`since` inclusive, `until` exclusive).

    Times are in UTC, since those of one zone are compared by what its clock shows, which comes twice in autumn;
    figures show them in `zone`.
    """

    query: Query
    since: datetime
    until: datetime
    zone: ZoneInfo

    def where(self, node: Node) -> "Selection":
        """Return those of them that match `node` too."""
        return Selection(_narrowed(self.query, node), self.since, self.until, self.zone)

    def between(self, since: datetime, until: datetime) -> "Selection":
        """Return the same query over another range."""
        return Selection(self.query, since, until, self.zone)

    def figure(self, count: int) -> Figure:
        """Return `count` as the number of these mentions."""
        return Figure(count, self.query.text, *self.span())

    def span(self) -> tuple[datetime, datetime]:
        """Return the range in the zone."""
        return self.since.astimezone(self.zone), self.until.astimezone(self.zone)

    def counted(self, store: Store) -> Figure:
        """Return how many these are now."""
        count = store.count(self.query, self.since, self.until) if self.since < self.until else 0
        return self.figure(count)

    def tallied(self, store: Store) -> Tally:
        """Return how many these are now, and of which mood."""
        sums = [0, 0, 0]
        if self.since < self.until:
            for cell in store.histogram(self.query, WIDE_SECONDS, self.since, self.until):
                for at, number in enumerate((cell.count, cell.positive, cell.negative)):
                    sums[at] += number
        return self.tally(sums)

    def tally(self, counts: Sequence[int]) -> Tally:
        """Return (mentions, positive, negative) as numbers of these mentions."""
        mentions, positive, negative = counts
        return Tally(
            self.figure(mentions),
            self.where(equal("sentiment", "positive")).figure(positive),
            self.where(equal("sentiment", "negative")).figure(negative),
            net_of(mentions, positive, negative),
        )


def equal(name: str, value: str) -> Field:
    """Return the condition that a word field has a value as the store gives it (`Bucket.group`, `Store.top`)."""
    return Field(name, "=", value)


def selection_of(query: Query, since: datetime, until: datetime, zone: ZoneInfo) -> Selection:
    """Return the mentions of `query` in a range, times cut to milliseconds, as the stores keep them.

    Its text says the time of a "now" in the query. Raises QueryError where the query is so long or so deep that
    nothing can be added to it.
    """
    text = text_of(query.root)
    probe = _narrowed(query, Field("created", ">=", "2026-11-01T00:00:00.000Z")).text
    try:
        parse(" ".join([probe, *["created>=2026-11-01T00:00:00.000Z"] * (_OWN_CONDITIONS - 1)]))
    except QueryError:
        problem = (
            f"trends add up to {_OWN_CONDITIONS} conditions to a query, and this one has no room for them"
        )
        raise QueryError(query.text, 0, problem, "make it shorter") from None
    return Selection(Query(text, query.root), _cut(since), _cut(until), zone)


def net_of(mentions: int, positive: int, negative: int) -> Net | None:
    """Return net sentiment with its 95 % interval, None where there is no mention.

    Positive and negative are two cells of one multinomial sample, so that their difference is that of two matched
    proportions, (b - c) / n. The interval is Wald's after one mention is added to each of both cells: Bonett and
    Price, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data, Journal
    of Educational and Behavioral Statistics 37 (2012), 479-488. It is cut at -1 and 1. It takes the mentions for
    independent of each other, which copies and quarrels are not: for those it is too narrow.
    """
    if not mentions:
        return None
    value = (positive - negative) / mentions
    b, c = (positive + 1) / (mentions + 2), (negative + 1) / (mentions + 2)
    reach = Z * sqrt((b + c - (b - c) ** 2) / (mentions + 2))
    return Net(value, max(-1.0, b - c - reach), min(1.0, b - c + reach), mentions)


def instant(at: datetime) -> str:
    """Return a time as the query language writes it."""
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _narrowed(query: Query, node: Node) -> Query:
    match query.root:
        case All():
            root = node
        case And(children):
            root = And((*children, node))
        case other:
            root = And((other, node))
    return Query(text_of(root), root)


def _cut(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)
