"""What the wall shows: counts, tones and topics; no name, no handle and no word of anybody."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2s
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hark.alerts.desk import Shown
from hark.alerts.detector import surprise
from hark.alerts.forecast import HOUR_SECONDS, Point, band_of
from hark.alerts.rules import BETWEEN, load_holidays
from hark.console.access import Asker, allow
from hark.console.center import Center, Parts, Visible
from hark.console.coverage import SILENT_SECONDS
from hark.console.incidents import began, listed, severity_word
from hark.core.clock import from_ms, to_ms
from hark.core.errors import HarkError
from hark.core.protocols import Store
from hark.core.tree import Query as Tree
from hark.query import parse
from hark.trends.figures import WIDE_SECONDS, net_of

router = APIRouter(prefix="/api/v1", tags=["wall"])
HOURS = 24
FALL = 60
MOST_RISING, MOST_INCIDENTS, MOST_BRANDS = 6, 6, 6
RISING = timedelta(hours=1)
"""What rises: the last hour, against the same hour of the seven days before."""
_DAYS = 7
_LEAST_SURPRISE, _DISPERSION, _SMALLEST = 2.0, 0.1, 0.1
_SALT = secrets.token_bytes(16)
"""So that what tells two mentions of the waterfall apart says nothing of them."""
_Q = Annotated[str, Query(max_length=10_000, description="A query; empty: everything")]


class Drop(BaseModel):
    """One mention of the waterfall; `key` tells it from the others and says nothing of it."""

    key: str
    tone: str
    topics: list[str]
    brands: list[str]
    at: datetime


class Ongoing(BaseModel):
    """An open incident in figures."""

    id: str
    what: str
    severity: int
    word: str
    observed: int
    expected: float
    low: int
    high: int
    minutes: int
    since: datetime
    over: bool
    trend: str
    status: str
    title: str


class Running(BaseModel):
    """The hour that runs: what was counted so far, and between what at least four in five would lie by now."""

    since: datetime
    counted: int
    low: float | None
    high: float | None


class Course(BaseModel):
    """Whole hours: what was counted, and the interval that holds four hours in five; null where nothing is known."""

    times: list[int] = Field(description="The begin of each hour, ms UTC")
    counted: list[int]
    low: list[float | None]
    high: list[float | None]
    gaps: list[dict[str, int]] = Field(description="Stretches that were not covered, ms UTC")
    running: Running


class Rising(BaseModel):
    """A topic that is spoken of more than in the same hour of the days before."""

    topic: str
    title: str
    observed: int
    expected: float


class Mood(BaseModel):
    """Mentions of a brand, or of all ("industry"), and their net sentiment in per cent with its 95 % interval."""

    brand: str
    mentions: int
    positive: int
    negative: int
    net: float
    low: float
    high: float


class SourceNow(BaseModel):
    """A source, and since when it is silent if it is."""

    name: str
    silent_since: datetime | None
    silent: bool


class Wall(BaseModel):
    """All of the wall but the waterfall."""

    at: datetime
    newest: datetime | None = Field(description="When the newest mention was collected")
    incidents: list[Ongoing]
    hour: dict[str, int] = Field(description="Mentions of the last 60 minutes by tone")
    volume: Course
    rising: list[Rising]
    rising_since: datetime
    compared_days: int = Field(description="How many days there are to compare with")
    moods: list[Mood]
    sources: list[SourceNow]


@router.get("/wall/mentions", dependencies=[allow("wall")])
def list_drops(center: Parts, store: Visible, q: _Q = "") -> list[Drop]:
    """Return the newest mentions: their tone, topics, brands and time, and nothing else."""
    titles = _brand_titles(center)
    return [
        Drop(
            key=blake2s(hit.mention.id.encode(), key=_SALT, digest_size=8).hexdigest(),
            tone=hit.enrichment.sentiment.label,
            topics=[center.topics.get(topic.id, topic.id) for topic in hit.enrichment.topics[:2]],
            brands=[titles.get(brand.lower(), brand) for brand in hit.enrichment.brands],
            at=hit.mention.created_at,
        )
        for hit in store.search(parse(q), limit=FALL)
    ]


@router.get("/wall", dependencies=[allow("wall")])
def show_wall(center: Parts, store: Visible, who: Asker, q: _Q = "") -> Wall:
    """Return what is counted for the wall: the last 24 hours, the open incidents, and how the sources are."""
    moment, query = center.clock(), parse(q)
    opened = listed(center, who, ("open", "acknowledged"), limit=100).incidents
    gravest = sorted(opened, key=lambda one: (-one.severity, -to_ms(one.opened_at)))[:MOST_INCIDENTS]
    rising, compared = _rising(center, store, query, moment)
    return Wall(
        at=moment,
        newest=store.as_of(),
        incidents=[_ongoing(center, shown) for shown in gravest],
        hour=_hour(store, query, moment),
        volume=_course(center, store, query, moment),
        rising=rising,
        rising_since=moment - RISING,
        compared_days=compared,
        moods=_moods(center, store, query, moment),
        sources=_sources(center, moment),
    )


def _ongoing(center: Center, shown: Shown) -> Ongoing:
    incident = shown.incident
    member = incident.leading
    return Ongoing(
        id=shown.id,
        what=_named(center, member.group or "all"),
        severity=shown.severity,
        word=severity_word(shown.severity),
        observed=shown.observed,
        expected=shown.expected,
        low=shown.low,
        high=shown.high,
        minutes=(member.until - member.begin) // 60_000,
        since=began(shown),
        over=incident.ended is not None,
        trend=incident.trend,
        status=shown.status,
        title=incident.title,
    )


def _named(center: Center, group: str) -> str:
    """Return the values of a series by their titles."""
    brands = _brand_titles(center)
    return BETWEEN.join(
        brands.get(value) or center.topics.get(value) or value for value in group.split(BETWEEN)
    )


def _brand_titles(center: Center) -> dict[str, str]:
    return {brand.name.lower(): brand.title for brand in center.settings.brands}


def _hour(store: Store, query: Tree, moment: datetime) -> dict[str, int]:
    buckets = store.histogram(query, HOUR_SECONDS, moment - timedelta(hours=1), moment)
    whole = sum(bucket.count for bucket in buckets)
    positive, negative = (
        sum(bucket.positive for bucket in buckets),
        sum(bucket.negative for bucket in buckets),
    )
    return {"negative": negative, "neutral": whole - positive - negative, "positive": positive}


def _course(center: Center, store: Store, query: Tree, moment: datetime) -> Course:
    """Return the last whole hours, each with what was expected of it from those before."""
    end = int(moment.timestamp()) // HOUR_SECONDS * HOUR_SECONDS * 1000
    begin = end - HOURS * HOUR_SECONDS * 1000
    since, until = from_ms(begin), from_ms(end)
    counted = {bucket.start: bucket.count for bucket in store.histogram(query, HOUR_SECONDS, since, until)}
    times = list(range(begin, end, HOUR_SECONDS * 1000))
    gaps = center.state.gaps()
    band: dict[int, Point] = {}
    try:
        days = load_holidays(center.settings.config)
        last = until + timedelta(hours=1)
        points = band_of(store, query, "count", since, last, moment, gaps, HOUR_SECONDS, days)
        band = {point.start * 1000: point for point in points}
    except HarkError:  # the counts are worth showing without it
        band = {}
    found: list[Point | None] = [band.get(at) for at in times]
    return Course(
        times=times,
        counted=[counted.get(at, 0) for at in times],
        low=[None if point is None else round(point.low_80, 1) for point in found],
        high=[None if point is None else round(point.high_80, 1) for point in found],
        gaps=[
            {"since": to_ms(gap.begin), "until": to_ms(gap.end)}
            for _, gap in gaps
            if not gap.closed and to_ms(gap.end) > begin and to_ms(gap.begin) < end
        ],
        running=_running(store.count(query, until, moment), band.get(end), until, moment),
    )


def _running(counted: int, point: Point | None, since: datetime, moment: datetime) -> Running:
    """Return how the hour stands: the expectation shrinks with the time that is over, its spread with the root of it.

    That is what counts that come independently do; of counts that swing together it is too wide, never too narrow.
    """
    share = (moment - since).total_seconds() / HOUR_SECONDS
    if point is None:
        return Running(since=since, counted=counted, low=None, high=None)
    low = share * point.expected - share**0.5 * (point.expected - point.low_80)
    high = share * point.expected + share**0.5 * (point.high_80 - point.expected)
    return Running(since=since, counted=counted, low=round(max(0.0, low), 1), high=round(high, 1))


def _rising(center: Center, store: Store, query: Tree, moment: datetime) -> tuple[list[Rising], int]:
    """Return the topics that are surprisingly many, one of each branch of the tree, and how many days are compared."""
    counts: dict[str, list[int]] = {}
    covered: set[int] = set()
    for days in range(_DAYS + 1):
        until = moment - timedelta(days=days)
        for bucket in store.histogram(query, WIDE_SECONDS, until - RISING, until, by="topic"):
            counts.setdefault(bucket.group or "", [0] * (_DAYS + 1))[days] += bucket.count
            covered.add(days)
    compared = len(covered - {0})
    if not compared:
        return [], 0
    found = [
        (surprise(by_day[0], max(expected, _SMALLEST), _DISPERSION), topic, by_day[0], expected)
        for topic, by_day in counts.items()
        for expected in [sum(by_day[1:]) / compared]
    ]
    rising: list[Rising] = []
    for score, topic, observed, expected in sorted(found, reverse=True):
        if score < _LEAST_SURPRISE or len(rising) == MOST_RISING:
            break
        if not any(_kin(center, topic, other.topic) for other in rising):
            title = center.topics.get(topic, topic)
            rising.append(Rising(topic=topic, title=title, observed=observed, expected=round(expected, 1)))
    return rising, compared


def _kin(center: Center, one: str, other: str) -> bool:
    return one in center.taxonomy.get(other, ()) or other in center.taxonomy.get(one, ())


def _moods(center: Center, store: Store, query: Tree, moment: datetime) -> list[Mood]:
    """Return each brand's net sentiment, those most spoken of first, and that of all of them at the end."""
    since = moment - timedelta(hours=HOURS)
    sums: dict[str, list[int]] = {}
    for bucket in store.histogram(query, HOUR_SECONDS, since, moment, by="brand"):
        found = sums.setdefault(bucket.group or "", [0, 0, 0])
        for at, count in enumerate((bucket.count, bucket.positive, bucket.negative)):
            found[at] += count
    titles = _brand_titles(center)
    ranked = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))[:MOST_BRANDS]
    moods = [_mood(titles.get(name.lower(), name), counts) for name, counts in ranked if name]
    if len(moods) < 2:
        return moods
    return [*moods, _mood("industry", [sum(counts[at] for counts in sums.values()) for at in range(3)])]


def _mood(name: str, counts: Sequence[int]) -> Mood:
    mentions, positive, negative = counts
    net = net_of(mentions, positive, negative)
    value, low, high = (0.0, -1.0, 1.0) if net is None else (net.value, net.low, net.high)
    return Mood(
        brand=name,
        mentions=mentions,
        positive=positive,
        negative=negative,
        net=round(value * 100, 1),
        low=round(low * 100, 1),
        high=round(high * 100, 1),
    )


def _sources(center: Center, moment: datetime) -> list[SourceNow]:
    """Return the sources that should answer, and since when one does not."""
    states = {state.name: state for state in center.state.source_states()}
    found = []
    for entry in center.settings.sources:
        if entry.enabled:
            state = states.get(entry.name)
            alive = None if state is None or state.alive_ms is None else from_ms(state.alive_ms)
            late = alive is None or (moment - alive).total_seconds() > SILENT_SECONDS
            silent = late or bool(state and state.error)
            found.append(SourceNow(name=entry.name, silent=silent, silent_since=alive if silent else None))
    return found
