"""All that `hark trends` says of a query and a range of time."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.protocols import Gap, Store
from hark.core.tree import And, Field, Node, Or, Query
from hark.query.fields import Taxonomy
from hark.trends.authors import Authors, authors_of
from hark.trends.figures import WIDE_SECONDS, Figure, Selection, Tally, equal, instant, selection_of
from hark.trends.intervals import (
    INTERVALS,
    borders,
    check_range,
    period_before,
    place,
    step_seconds,
    suited,
    whole,
)
from hark.trends.rising import MOST_READ, Rising, rising

BY = ("brand", "topic", "sentiment", "source", "lang", "country", "journey", "intent", "urgency", "kind")
STAGES = (*("plan", "book", "check-in", "airport", "boarding", "in-flight", "arrival", "baggage", "after"),)
"""The stages of the journey in their order; others, of a signals.toml of one's own, stand behind them."""
MOST_PLACES = 10
RHYTHM_DAYS = 91
"""The rhythm is that of the range's last 13 weeks, so that each of its numbers is a query of bearable length."""
_NOTHING = (0, 0, 0)


class Missing(Struct, frozen=True):
    """A stretch of time in which a source may have missed mentions; `closed` once filled again."""

    source: str
    since: datetime
    until: datetime
    why: str
    closed: bool


class Interval(Struct, frozen=True):
    """One interval. `partial`: the range or the present cuts it short. `gap`: some of it may not be covered."""

    since: datetime
    until: datetime
    partial: bool
    gap: bool
    tally: Tally


class Compared(Struct, frozen=True):
    """What the numbers are compared with: the period before (`kind` previous) or another query (`kind` query).

    Interval stands beside interval; where the clock is changed there can be one more or one less.
    """

    kind: str
    tally: Tally
    intervals: tuple[Figure, ...]
    gaps: tuple[Missing, ...]


class Row(Struct, frozen=True):
    """One value of a field. `share` is its part of all rows' mentions, and a topic's that of all mentions of the query.

    `change` 0.5 is half as many again as there, None where there is nothing to compare with.
    """

    value: str
    tally: Tally
    share: float
    compared: Figure
    change: float | None


class Shares(Struct, frozen=True):
    """The values of a field, most frequent first. `sample` is the sum of all rows, which counts some mentions twice.

    Of places the most frequent alone are listed, and `sample` is the number of mentions that have one.
    """

    sample: int
    rows: tuple[Row, ...]


class TopicRow(Struct, frozen=True):
    """A topic with those below it; the numbers of a topic include its children's mentions, each once."""

    topic: Row
    children: tuple["TopicRow", ...]


class Series(Struct, frozen=True):
    """One group's intervals; those without a mention are left out."""

    value: str
    tally: Tally
    intervals: tuple[Tally, ...]


class Hour(Struct, frozen=True):
    """An hour of the week (Monday is 0): all mentions of such hours, and how many hours these were."""

    weekday: int
    hour: int
    hours: float
    mentions: Figure


class Rhythm(Struct, frozen=True):
    """The hours of the week that occur in the range's last RHYTHM_DAYS days."""

    since: datetime
    until: datetime
    sample: int
    hours: tuple[Hour, ...]


class Trends(Struct, frozen=True):
    """The whole. Times are in `zone`; `as_of` is when it was counted: what came later is not in it.

    `partial` intervals aside, the counts of `intervals` add up to `tally`.
    """

    query: str
    since: datetime
    until: datetime
    zone: str
    interval: str
    as_of: datetime
    gaps: tuple[Missing, ...]
    tally: Tally
    compared: Compared
    intervals: tuple[Interval, ...]
    by: str | None
    groups: tuple[Series, ...]
    brands: Shares
    topics: tuple[TopicRow, ...]
    sources: Shares
    languages: Shares
    countries: Shares
    places: Shares
    journey: Shares
    authors: Authors
    rising: Rising
    rhythm: Rhythm


class _Asked(Struct, frozen=True):
    """The two selections and what both are cut by."""

    store: Store
    zone: ZoneInfo
    interval: str
    now: Selection
    compared: Selection
    kind: str
    gaps: Sequence[tuple[str, Gap]]


def trends(
    store: Store,
    query: Query,
    since: datetime,
    until: datetime,
    *,
    zone: ZoneInfo,
    as_of: datetime,
    interval: str | None = None,
    by: str | None = None,
    other: Query | None = None,
    gaps: Sequence[tuple[str, Gap]] = (),
    taxonomy: Taxonomy,
    own: Collection[str] = (),
    most_read: int = MOST_READ,
) -> Trends:
    """Return all trends of `query` from `since` to `until`, compared with the period before, or with `other`.

    `interval` is one of INTERVALS (None: one that suits the range), `by` one of BY, `own` the handles of the brands
    themselves, in lower case without @: these are no advocates. Reads the store many times: what
    is written meanwhile may be in one number and not in the next. Raises SettingsError (QueryError among them) for
    what cannot be asked, TransientError while the store is away.
    """
    _known(interval, INTERVALS, "interval")
    _known(by, BY, "by")
    check_range(since, until)
    now = selection_of(query, since, until, zone)
    interval = interval or suited(now.since, now.until)
    cuts = borders(now.since, now.until, interval, zone)
    if other is None:
        compared = now.between(*period_before(now.since, now.until, interval, zone))
    else:
        compared = selection_of(other, now.since, now.until, zone)
    asked = _Asked(store, zone, interval, now, compared, "previous" if other is None else "query", gaps)
    counts = _series(store, now, cuts)
    intervals = _intervals(asked, cuts, counts, as_of)
    tally = now.tally(_sum(counts))
    against = _compared(asked)
    return Trends(
        query=now.query.text,
        since=now.span()[0],
        until=now.span()[1],
        zone=zone.key,
        interval=interval,
        as_of=as_of.astimezone(zone),
        gaps=_missing(gaps, now, zone),
        tally=tally,
        compared=against,
        intervals=intervals,
        by=by,
        groups=() if by is None else _groups(asked, cuts, by),
        brands=_shares(asked, "brand"),
        topics=_tree(_shares(asked, "topic", tally.mentions.count).rows, taxonomy),
        sources=_shares(asked, "source"),
        languages=_shares(asked, "lang"),
        countries=_shares(asked, "country"),
        places=_places(asked),
        journey=_journey(asked),
        authors=authors_of(store, now, compared, own),
        rising=rising(store, now, compared, tally.mentions.count, against.tally.mentions.count, most_read),
        rhythm=_rhythm(asked),
    )


def _known(value: str | None, values: Mapping[str, object] | Sequence[str], name: str) -> None:
    if value is not None and value not in values:
        raise SettingsError(f"{name}: expected one of {', '.join(values)}; found {value!r}")


def _series(store: Store, chosen: Selection, cuts: Sequence[datetime]) -> list[list[int]]:
    """Return (mentions, positive, negative) of each interval."""
    counts = [[0, 0, 0] for _ in cuts[1:]]
    if cuts:
        for bucket in store.histogram(chosen.query, step_seconds(cuts), chosen.since, chosen.until):
            _add(counts[place(cuts, bucket)], (bucket.count, bucket.positive, bucket.negative))
    return counts


def _intervals(
    asked: _Asked, cuts: Sequence[datetime], counts: Sequence[Sequence[int]], as_of: datetime
) -> tuple[Interval, ...]:
    found = []
    missing = [gap for _, gap in asked.gaps if not gap.closed]
    for at, sums in enumerate(counts):
        part = asked.now.between(cuts[at], cuts[at + 1])
        # Inside they are whole: only the first may begin late, only the last may end early.
        cut = (at == 0 and not whole(part.since, asked.interval, asked.zone)) or (
            at == len(counts) - 1 and not whole(part.until, asked.interval, asked.zone)
        )
        gap = any(one.begin < part.until and one.end > part.since for one in missing)
        partial = cut or part.until > as_of
        found.append(Interval(*part.span(), partial, gap, part.tally(sums)))
    return tuple(found)


def _compared(asked: _Asked) -> Compared:
    chosen = asked.compared
    cuts = borders(chosen.since, chosen.until, asked.interval, asked.zone)
    counts = _series(asked.store, chosen, cuts)
    figures = []
    for at, sums in enumerate(counts):
        part = chosen.between(cuts[at], cuts[at + 1])
        figures.append(part.figure(sums[0]))
    missing = _missing(asked.gaps, chosen, asked.zone)
    return Compared(asked.kind, chosen.tally(_sum(counts)), tuple(figures), missing)


def _groups(asked: _Asked, cuts: Sequence[datetime], by: str) -> tuple[Series, ...]:
    if not cuts:
        return ()
    cells: dict[str, dict[int, list[int]]] = {}
    now = asked.now
    for bucket in asked.store.histogram(now.query, step_seconds(cuts), now.since, now.until, by):
        series = cells.setdefault(bucket.group or "", {})
        sums = series.setdefault(place(cuts, bucket), [0, 0, 0])
        _add(sums, (bucket.count, bucket.positive, bucket.negative))
    found = []
    for value, series in cells.items():
        group = now.where(equal(by, value))
        tallies = []
        for at, sums in sorted(series.items()):
            tallies.append(group.between(cuts[at], cuts[at + 1]).tally(sums))
        found.append(Series(value, group.tally(_sum(list(series.values()))), tuple(tallies)))
    return tuple(sorted(found, key=lambda one: (-one.tally.mentions.count, one.value)))


def _totals(store: Store, chosen: Selection, field: str) -> dict[str, list[int]]:
    totals: dict[str, list[int]] = {}
    if chosen.since < chosen.until:
        for bucket in store.histogram(chosen.query, WIDE_SECONDS, chosen.since, chosen.until, field):
            sums = totals.setdefault(bucket.group or "", [0, 0, 0])
            _add(sums, (bucket.count, bucket.positive, bucket.negative))
    return totals


def _shares(asked: _Asked, field: str, whole: int | None = None) -> Shares:
    now, compared = _totals(asked.store, asked.now, field), _totals(asked.store, asked.compared, field)
    sample = _sum(list(now.values()))[0] if whole is None else whole
    rows = []
    for value in now.keys() | compared.keys():
        node = equal(field, value)
        tally = asked.now.where(node).tally(now.get(value, _NOTHING))
        against = asked.compared.where(node).figure(compared.get(value, _NOTHING)[0])
        share = tally.mentions.count / sample if sample else 0.0
        rows.append(Row(value, tally, share, against, _change(tally.mentions.count, against.count)))
    rows.sort(key=lambda row: (-row.tally.mentions.count, -row.compared.count, row.value))
    return Shares(sample, tuple(rows))


def _change(now: int, compared: int) -> float | None:
    return now / compared - 1 if compared else None


def _tree(rows: Sequence[Row], taxonomy: Taxonomy) -> tuple[TopicRow, ...]:
    """Put topics below their parents: of a topic's ancestors, the parent is the one that has most itself."""
    known = {row.value for row in rows}
    below: dict[str | None, list[Row]] = {}
    for row in rows:
        above = [topic for topic in taxonomy.get(row.value, ()) if topic in known]
        parent = max(above, key=lambda topic: (len(taxonomy.get(topic, ())), topic), default=None)
        below.setdefault(parent, []).append(row)

    def branch(parent: str | None) -> tuple[TopicRow, ...]:
        return tuple(TopicRow(row, branch(row.value)) for row in below.get(parent, ()))

    return branch(None)


def _journey(asked: _Asked) -> Shares:
    """Return the stages in the order of the journey."""
    shares = _shares(asked, "journey")
    order = {stage: at for at, stage in enumerate(STAGES)}
    rows = sorted(shares.rows, key=lambda row: (order.get(row.value, len(order)), row.value))
    return Shares(shares.sample, tuple(rows))


def _places(asked: _Asked) -> Shares:
    """Return the most frequent places, and of how many mentions that have one."""
    now, store = asked.now, asked.store
    sample = now.where(equal("has", "place")).counted(store).count
    if not sample:
        return Shares(0, ())
    rows = []
    for value, _ in store.top(now.query, "place", now.since, now.until, MOST_PLACES):
        node = equal("place", value)
        tally, against = now.where(node).tallied(store), asked.compared.where(node).counted(store)
        number = tally.mentions.count
        rows.append(Row(value, tally, number / sample, against, _change(number, against.count)))
    return Shares(sample, tuple(rows))


def _rhythm(asked: _Asked) -> Rhythm:
    now = asked.now
    since = max(now.since, now.until - timedelta(days=RHYTHM_DAYS))
    chosen = now.between(since, now.until)
    cuts = borders(chosen.since, chosen.until, "1h", asked.zone)
    counts = _series(asked.store, chosen, cuts)
    sums: dict[tuple[int, int], int] = {}
    parts: dict[tuple[int, int], list[tuple[datetime, datetime]]] = {}
    for at, (mentions, _, _) in enumerate(counts):
        local = cuts[at].astimezone(asked.zone)
        key = local.weekday(), local.hour
        sums[key] = sums.get(key, 0) + mentions
        parts.setdefault(key, []).append((cuts[at], cuts[at + 1]))
    hours = []
    for key, spans in sorted(parts.items()):
        length = sum((end - begin).total_seconds() for begin, end in spans) / 3600
        figure = chosen.where(_within(spans)).figure(sums[key])
        hours.append(Hour(*key, length, figure))
    return Rhythm(*chosen.span(), sum(sums.values()), tuple(hours))


def _within(spans: Sequence[tuple[datetime, datetime]]) -> Node:
    ranges = [
        And((Field("created", ">=", instant(begin)), Field("created", "<", instant(end))))
        for begin, end in spans
    ]
    return ranges[0] if len(ranges) == 1 else Or(tuple(ranges))


def _missing(gaps: Sequence[tuple[str, Gap]], chosen: Selection, zone: ZoneInfo) -> tuple[Missing, ...]:
    return tuple(
        Missing(source, gap.begin.astimezone(zone), gap.end.astimezone(zone), gap.why, gap.closed)
        for source, gap in gaps
        if gap.begin < chosen.until and gap.end > chosen.since
    )


def _sum(counts: Sequence[Sequence[int]]) -> list[int]:
    total = [0, 0, 0]
    for sums in counts:
        _add(total, sums)
    return total


def _add(sums: list[int], more: Sequence[int]) -> None:
    for at, number in enumerate(more):
        sums[at] += number
