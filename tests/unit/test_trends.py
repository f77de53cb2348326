import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.core.change import Tagged
from hark.core.errors import SettingsError
from hark.core.mention import Author, Enrichment, Language, Mention, Place, Sentiment, Topic, Vader
from hark.core.protocols import Gap, Store
from hark.query import QueryError, parse
from hark.query.fields import values_of
from hark.query.match import Document, Matcher
from hark.trends import Trends, borders, net_of, period_before, trends, wilson, zone_named
from hark.trends.figures import selection_of
from hark.trends.rising import events, read, said_in, scored
from hark.trends.tables import COLUMNS, PARTS, rows_of
from sinks import open_store
from tests.support.elasticsearch import stores_on
from tests.support.queries import NOW, TAXONOMY, collections, parsed, queries

BERLIN, CHICAGO, NEPAL = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Chicago"), ZoneInfo("Asia/Kathmandu")
ZONES = (
    *("UTC", "Europe/Berlin", "America/Chicago", "Asia/Kathmandu"),
    *("Australia/Lord_Howe", "Africa/Cairo"),
)
LENGTHS = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1)}
Pairs = Sequence[tuple[Mention, Enrichment]]


def tagged(number: int, text: str, at: datetime, label: str = "neutral", **fields: Any) -> Tagged:
    topics = fields.pop("topics", ())
    brands = fields.pop("brands", ())
    tags_of = {name: fields.pop(name, None) for name in ("journey", "reach", "influence", "automation")}
    mention = Mention(f"x:{number}", "x", text, at, at, **fields)
    sentiment = Sentiment(label, 0.0, 0.5, Vader(0.0, 1.0, 0.0, 0.0))
    tags = tuple(Topic(topic, 0.7) for topic in topics)
    return Tagged(mention, Enrichment("1", Language("en", 0.9), tuple(brands), sentiment, tags, **tags_of))


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sequence[Tagged]], Store]]:
    opened: list[Store] = []

    def filled(items: Sequence[Tagged]) -> Store:
        opened.append(open_store("embedded", Path(tmp_path_factory.mktemp("store")), TAXONOMY))
        assert opened[-1].write(items) == []
        return opened[-1]

    yield filled
    for store in opened:
        store.close()


def asked(store: Store, query: str, since: datetime, until: datetime, **options: Any) -> Trends:
    options = {"zone": ZoneInfo("UTC"), "as_of": NOW, "taxonomy": TAXONOMY} | options
    return trends(store, parsed(query), since, until, **options)


def figures(shown: object) -> Iterator[dict[str, Any]]:
    """Yield every number of a JSON answer that says how to find its mentions."""
    if isinstance(shown, dict):
        if shown.keys() == {"count", "query", "since", "until"}:
            yield shown
        for inner in shown.values():
            yield from figures(inner)
    elif isinstance(shown, list):
        for inner in shown:
            yield from figures(inner)


def check_every_number_opens_its_mentions(store: Store, shown: Trends) -> int:
    seen = 0
    for figure in figures(msgspec.json.decode(msgspec.json.encode(shown))):
        since, until = datetime.fromisoformat(figure["since"]), datetime.fromisoformat(figure["until"])
        found = store.count(parse(figure["query"]), since, until) if since < until else 0
        assert found == figure["count"], figure
        seen += 1
    return seen


# Intervals


@given(
    st.sampled_from([*ZONES, "Africa/Casablanca", "America/Havana", "America/Santiago", "Pacific/Apia"]),
    st.sampled_from(["15m", "1h", "1d", "1w"]),
    st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 (the zone is put on below)
    st.integers(1, 40 * 86_400),
)
def test_intervals_cover_the_range_and_each_is_one_of_the_zones_clock(
    name: str, interval: str, begin: datetime, seconds: int
) -> None:
    zone = ZoneInfo(name)
    since = begin.replace(tzinfo=UTC)
    cuts = borders(since, since + timedelta(seconds=seconds), interval, zone)
    assert (cuts[0], cuts[-1]) == (since, since + timedelta(seconds=seconds))
    assert all(first < second for first, second in pairwise(cuts))

    def label(at: datetime) -> object:
        local = at.astimezone(zone)
        week = local.isocalendar()[:2]
        hour = (local.date(), local.hour, local.utcoffset())
        return {"15m": at.timestamp() // 900, "1h": hour, "1d": local.date(), "1w": week}[interval]

    moment = timedelta(milliseconds=1)
    assert all(label(first) == label(second - moment) for first, second in pairwise(cuts))
    assert all(label(cut - moment) != label(cut) for cut in cuts[1:-1])


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (BERLIN, "2026-03-29", 23),
        (BERLIN, "2026-10-25", 25),
        (CHICAGO, "2026-11-01", 25),
        (NEPAL, "2026-11-01", 24),
    ],
)
def test_a_day_has_the_hours_that_the_clock_gives_it(zone: ZoneInfo, day: str, hours: int) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    end = begin + timedelta(days=1)
    assert len(borders(begin, end, "1d", zone)) == 2
    assert len(borders(begin, end, "1h", zone)) - 1 == hours


def test_weeks_begin_on_monday_where_the_viewer_is() -> None:
    since = datetime(2026, 11, 5, tzinfo=UTC)
    cuts = [cut.astimezone(NEPAL) for cut in borders(since, since + timedelta(days=14), "1w", NEPAL)]
    assert [cut.strftime("%a %d %H:%M") for cut in cuts[1:-1]] == ["Mon 09 00:00", "Mon 16 00:00"]


def test_the_period_before_whole_days_is_whole_days_over_a_change_of_the_clock() -> None:
    since, until = datetime(2026, 10, 26, tzinfo=BERLIN), datetime(2026, 11, 2, tzinfo=BERLIN)
    assert period_before(since, until, "1h", BERLIN) == (datetime(2026, 10, 19, tzinfo=BERLIN), since)
    since, until = datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC)
    assert period_before(since, until, "1h", BERLIN) == (datetime(2026, 10, 25, 0, tzinfo=UTC), since)


def test_a_day_that_has_just_begun_is_compared_with_the_same_hours() -> None:
    since, until = datetime(2026, 10, 19, tzinfo=BERLIN), datetime(2026, 10, 25, 11, 5, tzinfo=BERLIN)
    before = period_before(since, until, "1d", BERLIN)
    assert before == (datetime(2026, 10, 12, tzinfo=BERLIN), datetime(2026, 10, 18, 11, 5, tzinfo=BERLIN))
    early = datetime(1970, 1, 2, tzinfo=UTC)
    assert period_before(early, until, "1w", BERLIN)[0] == datetime(1970, 1, 1, tzinfo=UTC)


def test_times_and_zones_that_cannot_be_are_refused_in_words() -> None:
    day = timedelta(days=1)
    for since, until in (
        (NOW, NOW - day),
        (datetime.min.replace(tzinfo=UTC), NOW),
        (NOW, datetime.max.replace(tzinfo=UTC)),
    ):
        with pytest.raises(SettingsError, match="1970 to 9998"):
            borders(since, until, "1d", BERLIN)
    with pytest.raises(SettingsError, match="10,000"):
        borders(NOW - 1000 * day, NOW, "15m", BERLIN)
    for name in ("Berlin", "../../etc/passwd", "America", "", "Europe/Berlin\0"):
        with pytest.raises(SettingsError, match="Europe/Berlin"):
            zone_named(name)


# Numbers


def counted(pairs: Pairs, query: str, since: datetime, until: datetime) -> list[tuple[Mention, Enrichment]]:
    matcher = Matcher(parsed(query))
    return [
        (mention, tags)
        for mention, tags in pairs
        if since <= mention.created_at < until and matcher.matches(Document(mention, tags, TAXONOMY))
    ]


def moods(pairs: Pairs) -> tuple[int, int, int]:
    labels = Counter(tags.sentiment.label for _, tags in pairs)
    return len(pairs), labels["positive"], labels["negative"]


def numbers(tally: Any) -> tuple[int, int, int]:
    return tally.mentions.count, tally.positive.count, tally.negative.count


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_number_is_that_of_a_recount_and_opens_its_mentions(
    fresh: Callable[[Sequence[Tagged]], Store], data: st.DataObject
) -> None:
    pairs = data.draw(collections(max_size=25))
    query = data.draw(st.one_of(st.sampled_from(["", "brand:delta", "sentiment:negative"]), queries(4)))
    zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
    seconds = st.one_of(st.integers(0, 4 * 86_400), st.sampled_from([0, 3600, 86_400, 3 * 86_400]))
    # Chicago's clock is changed within these days.
    until = NOW + timedelta(seconds=data.draw(st.integers(-3600, 3600)))
    since = until - timedelta(
        seconds=data.draw(seconds), milliseconds=data.draw(st.sampled_from([0, 1, 999]))
    )
    interval = data.draw(st.sampled_from(["1h", "1d", "1w"]))
    by = data.draw(st.sampled_from(["brand", "topic", "sentiment", "source", "lang"]))
    other = data.draw(st.sampled_from([None, "brand:southwest OR delay"]))
    store = fresh([Tagged(*pair) for pair in pairs])
    shown = asked(
        store, query, since, until,
        zone=zone, interval=interval, by=by, other=None if other is None else parsed(other),
    )  # fmt: skip
    check_every_number_opens_its_mentions(store, shown)
    found = counted(pairs, query, since, until)
    assert numbers(shown.tally) == moods(found)
    for each in shown.intervals:
        assert numbers(each.tally) == moods(counted(found, "", each.since, each.until))
    for group in shown.groups:
        inside = [pair for pair in found if group.value in values_of(by, *pair, TAXONOMY)]
        assert numbers(group.tally) == moods(inside)
        assert sum(tally.mentions.count for tally in group.intervals) == len(inside)
    values = Counter(value for pair in found for value in values_of(by, *pair, TAXONOMY))
    assert {group.value for group in shown.groups} == set(values)
    brands = Counter(value for pair in found for value in values_of("brand", *pair, TAXONOMY))
    assert {
        row.value: row.tally.mentions.count for row in shown.brands.rows if row.tally.mentions.count
    } == brands
    assert shown.brands.sample == brands.total()
    hours = Counter(
        (local.weekday(), local.hour) for local in (pair[0].created_at.astimezone(zone) for pair in found)
    )
    cells = {(hour.weekday, hour.hour): hour.mentions.count for hour in shown.rhythm.hours}
    assert {key: count for key, count in cells.items() if count} == hours
    for name in ("reach", "influence"):
        best: dict[str, int] = {}
        for mention, tags in found:
            for handle in values_of("author", mention, tags):
                if (value := getattr(tags, name)) is not None:
                    best[handle] = max(value, best.get(handle, value))
        ranking = getattr(shown.authors, f"by_{name}")
        ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:10]
        assert [(row.handle, getattr(row, name)) for row in ranking.rows] == ranked
        assert ranking.complete
    places = Counter(value for pair in found for value in values_of("place", *pair, TAXONOMY))
    assert {row.value: row.tally.mentions.count for row in shown.places.rows} == places
    stages = Counter(tags.journey for _, tags in found if tags.journey)
    assert {
        row.value: row.tally.mentions.count for row in shown.journey.rows if row.tally.mentions.count
    } == stages
    length = sum(hour.hours for hour in shown.rhythm.hours)
    assert length == pytest.approx((shown.until.timestamp() - shown.since.timestamp()) / 3600, abs=1e-6)


def test_no_mention_and_one_mention_are_said_as_they_are(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    store = fresh([tagged(1, "my bag", NOW - timedelta(hours=1), "negative", author=Author("@@odd one"))])
    day = timedelta(days=1)
    one = asked(store, "", NOW - day, NOW, by="brand")
    assert numbers(one.tally) == (1, 0, 1)
    assert one.tally.net is not None
    assert (one.tally.net.value, one.tally.net.sample) == (-1, 1)
    assert one.tally.net.high > 0  # one mention says nearly nothing
    assert (one.groups, one.brands.sample, one.rising.events) == ((), 0, ())
    assert [author.handle for author in one.authors.by_mentions] == ["@odd one"]
    assert check_every_number_opens_its_mentions(store, one) > 20
    none = asked(store, "nowhere", NOW - day, NOW)
    assert numbers(none.tally) == (0, 0, 0)
    assert none.tally.net is None
    assert len(none.intervals) == 24
    empty = asked(store, "", NOW, NOW)
    assert (numbers(empty.tally), empty.intervals) == ((0, 0, 0), ())
    check_every_number_opens_its_mentions(store, empty)


def test_a_query_with_now_is_pinned_and_an_or_is_kept_together(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    store = fresh([tagged(1, "bag", NOW - timedelta(hours=1)), tagged(2, "late", NOW - timedelta(hours=3))])
    shown = asked(store, "(bag OR late) created>now-2h", NOW - timedelta(days=1), NOW)
    assert shown.tally.mentions.count == 1
    assert "now" not in shown.query
    check_every_number_opens_its_mentions(store, asked(store, "bag OR late", NOW - timedelta(days=1), NOW))


def test_a_query_without_room_for_more_conditions_is_refused(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    words = " OR ".join(f"w{number}" for number in range(990))
    with pytest.raises(QueryError, match="no room"):
        asked(fresh([]), words, NOW - timedelta(days=1), NOW)


def test_topics_stand_below_their_parents_and_count_their_children(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    at = NOW - timedelta(hours=1)
    items = [
        tagged(1, "a", at, topics=["late-flight"]),
        tagged(2, "b", at, topics=["delay"]),
        tagged(3, "c", at, topics=["own"]),
    ]
    shown = asked(
        fresh([*items, tagged(4, "d", at - timedelta(days=1), topics=["cancelled"])]),
        "",
        NOW - timedelta(days=1),
        NOW,
    )

    def drawn(rows: Any) -> Any:
        return [
            (row.topic.value, row.topic.tally.mentions.count, row.topic.compared.count, drawn(row.children))
            for row in rows
        ]

    below = [("delay", 2, 0, [("late-flight", 1, 0, [])]), ("cancelled", 0, 1, [])]
    assert drawn(shown.topics) == [("operations", 2, 1, below), ("own", 1, 0, [])]
    assert [round(row.topic.share, 2) for row in shown.topics] == [0.67, 0.33]


def test_gaps_that_touch_the_range_are_told_and_mark_their_intervals(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    hour = timedelta(hours=1)
    gaps = [
        ("x", Gap(NOW - 2.5 * hour, NOW - 2.4 * hour, "away")),
        ("y", Gap(NOW - 1.5 * hour, NOW - 1.4 * hour, "read later", closed=True)),
        ("z", Gap(NOW - 6 * hour, NOW - 3 * hour, "before")),
    ]
    shown = asked(fresh([]), "", NOW - 3 * hour, NOW, gaps=gaps, interval="1h")
    assert [gap.source for gap in shown.gaps] == ["x", "y"]
    assert [gap.source for gap in shown.compared.gaps] == ["z"]
    assert [each.gap for each in shown.intervals] == [True, False, False]


def test_cut_intervals_are_marked(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    minutes = timedelta(minutes=1)
    shown = asked(fresh([]), "", NOW - 90 * minutes, NOW, interval="1h")
    assert [each.partial for each in shown.intervals] == [True, False]
    ahead = asked(fresh([]), "", NOW - 60 * minutes, NOW + 60 * minutes, interval="1h")
    assert [each.partial for each in ahead.intervals] == [False, True]


def test_both_stores_give_the_same_trends(
    fresh: Callable[[Sequence[Tagged]], Store], elasticsearch: str
) -> None:
    chance = random.Random(3)
    words = ["bag", "late", "delta", "gate", "crew", "seat", "storm"]
    items = []
    for number in range(400):
        at = NOW - timedelta(seconds=chance.randrange(8 * 86_400), milliseconds=chance.randrange(1000))
        text = " ".join(chance.choices(words, k=4)) + (" outage down" if at > NOW - timedelta(days=1) else "")
        label = chance.choice(["positive", "neutral", "negative"])
        topics, brands = chance.sample(sorted(TAXONOMY), 2), chance.sample(["delta", "southwest"], 1)
        items.append(
            tagged(
                number,
                text,
                at,
                label,
                topics=topics,
                brands=brands,
                author=Author(chance.choice("abc")),
                reach=chance.choice([None, 10, 40]),
                influence=chance.randrange(100),
                journey=chance.choice([None, "airport", "baggage"]),
                place=chance.choice([None, Place("Dallas, TX", "US")]),
            )
        )
    embedded = fresh(items)
    with stores_on(elasticsearch) as stores:
        other = stores.fresh()
        assert other.write(items) == []
        for query, zone in (("", NEPAL), ("bag OR (late NEAR/2 gate)", BERLIN)):
            options: dict[str, Any] = {"zone": zone, "by": "topic", "interval": "1d"}
            one = asked(embedded, query, NOW - timedelta(days=4), NOW, **options)
            assert one == asked(other, query, NOW - timedelta(days=4), NOW, **options)
            assert one.rising.events
            assert one.authors.by_reach.rows
            assert (len(one.places.rows), len(one.countries.rows), len(one.journey.rows)) == (3, 1, 2)


def test_a_range_within_the_hour_that_comes_twice_is_what_it_is(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    since = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    until = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    shown = asked(
        fresh([tagged(1, "now", datetime(2026, 10, 25, 1, 5, tzinfo=UTC))]), "", since, until,
        zone=BERLIN, interval="1h", by="source",
    )  # fmt: skip
    assert [each.tally.mentions.count for each in shown.intervals] == [0, 1]
    assert [(row.weekday, row.hour, round(row.hours * 60)) for row in shown.rhythm.hours] == [(6, 2, 40)]
    assert shown.compared.tally.mentions.until.timestamp() <= since.timestamp()


# Clocks


def test_hours_of_the_week_are_those_of_the_viewers_clock(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    sunday = datetime(2026, 11, 1, 18, 15, tzinfo=UTC)
    items = [tagged(1, "a", sunday), tagged(2, "b", sunday - timedelta(milliseconds=1))]
    shown = asked(fresh(items), "", sunday - timedelta(hours=4), sunday + timedelta(hours=4), zone=NEPAL)
    said = {
        (hour.weekday, hour.hour): hour.mentions.count for hour in shown.rhythm.hours if hour.mentions.count
    }
    assert said == {(0, 0): 1, (6, 23): 1}  # Monday begins there


@pytest.mark.parametrize(
    ("sunday", "hour", "length"), [("2026-11-01", 1, 2.0), ("2026-03-08", 2, None), ("2026-11-08", 1, 1.0)]
)
def test_an_hour_of_the_week_counts_as_often_as_the_clock_shows_it(
    fresh: Callable[[Sequence[Tagged]], Store], sunday: str, hour: int, length: float | None
) -> None:
    begin = datetime.fromisoformat(sunday).replace(tzinfo=CHICAGO)
    end = begin + timedelta(days=1)
    moments = [begin.astimezone(UTC) + timedelta(minutes=30 * half) for half in range(50)]
    items = [tagged(number, "a", at) for number, at in enumerate(moments) if at < end.astimezone(UTC)]
    store = fresh(items)
    shown = asked(store, "", begin, end, zone=CHICAGO)
    cells = {cell.hour: cell for cell in shown.rhythm.hours}
    assert {cell.weekday for cell in shown.rhythm.hours} == {6}
    assert (cells[hour].hours if hour in cells else None) == length
    assert all(cell.mentions.count == 2 * cell.hours for cell in cells.values())
    assert shown.rhythm.sample == len(items)
    check_every_number_opens_its_mentions(store, shown)


# Authors


def spoken(number: int, handle: str, label: str, **fields: Any) -> Tagged:
    return tagged(number, "a", NOW - timedelta(minutes=number + 1), label, author=Author(handle), **fields)


def test_advocates_and_detractors_are_those_who_nearly_always_are(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    said = {
        "five": "+++++", "four": "++++", "seven": "+++++++-", "six": "++++++--",
        "foe": "------", "torn": "+-+-+-+-", "plain": "......", "brand": "+++++++++",
    }  # fmt: skip
    labels = {"+": "positive", "-": "negative", ".": "neutral"}
    pairs = [(handle, labels[sign]) for handle, signs in said.items() for sign in signs]
    items = [spoken(number, *pair) for number, pair in enumerate(pairs)]
    store = fresh(items)
    authors = asked(store, "", NOW - timedelta(days=1), NOW, own={"brand"}).authors
    assert [stance.handle for stance in authors.advocates.rows] == ["five", "seven"]
    assert [stance.handle for stance in authors.detractors.rows] == ["foe"]
    (foe,) = authors.detractors.rows
    assert (foe.share, foe.tally.negative.count) == (1.0, 6)
    assert (authors.advocates.judged, authors.advocates.least, authors.advocates.complete) == (6, 5, True)
    assert authors.without == ("brand",)
    assert "brand" in [author.handle for author in authors.by_mentions]


def test_one_loud_voice_does_not_hide_the_others(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    items = [spoken(number, "news", "neutral", reach=80, influence=50) for number in range(1_100)]
    items += [spoken(2_000 + number, f"a{number:02}", "neutral", reach=number) for number in range(14)]
    ranking = asked(fresh(items), "", NOW - timedelta(days=3), NOW).authors.by_reach
    assert [(row.handle, row.reach) for row in ranking.rows] == [
        ("news", 80), *((f"a{number:02}", number) for number in range(13, 4, -1)),
    ]  # fmt: skip
    assert ranking.complete
    assert ranking.rows[0].tally.mentions.count == 1_100


def test_reach_without_a_name_is_nobodys(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    at = NOW - timedelta(hours=1)
    ranking = asked(fresh([tagged(1, "a", at, reach=70)]), "", NOW - timedelta(days=1), NOW).authors.by_reach
    assert (ranking.rows, ranking.complete, ranking.read) == ((), True, 1)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_newcombes_table(
    part: int, whole: int, low: float, high: float
) -> None:
    # R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998)
    assert wilson(part, whole) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


# Tables


def test_stages_stand_in_the_order_of_the_journey(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    at = NOW - timedelta(hours=1)
    stages = ["own", "after", "baggage", "plan", "airport", "airport"]
    items = [tagged(number, "a", at, journey=stage) for number, stage in enumerate(stages)]
    shown = asked(fresh(items), "", NOW - timedelta(days=1), NOW)
    assert [row.value for row in shown.journey.rows] == ["plan", "airport", "baggage", "after", "own"]
    assert shown.journey.sample == 6


def rich(fresh: Callable[[Sequence[Tagged]], Store]) -> tuple[Store, Trends]:
    items = [
        spoken(
            number, "=amy", "negative", topics=["late-flight"], brands=["delta"], journey="airport",
            reach=10, influence=20, automation=0.1, place=Place("Dallas, TX", "US"),
        )
        for number in range(6)
    ]  # fmt: skip
    items += [spoken(100 + number, "+bob", "positive") for number in range(6)]
    items += [tagged(200 + number, f"flight w{number}", NOW - timedelta(hours=30)) for number in range(60)]
    items += [
        tagged(300 + number, f"outage flight w{number}", NOW - timedelta(hours=2)) for number in range(60)
    ]
    store = fresh(items)
    gaps = [("x", Gap(NOW - timedelta(hours=2), NOW - timedelta(hours=1), "away"))]
    return store, asked(store, "", NOW - timedelta(days=1), NOW, by="brand", gaps=gaps)


def test_every_row_of_the_tables_opens_its_mentions(fresh: Callable[[Sequence[Tagged]], Store]) -> None:
    store, shown = rich(fresh)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows_of(shown)]
    parts = list(dict.fromkeys(row["part"] for row in rows))
    assert parts == list(PARTS)
    for row in rows:
        if row["part"] == "gap":
            assert (row["value"], row["mentions"]) == ("x: away", None)
            continue
        assert store.count(parse(str(row["query"])), row["since"], row["until"]) == row["mentions"]  # type: ignore[arg-type]
        for name in ("positive", "negative"):
            if row[name] is not None:
                asked_for = parse(
                    f"({row['query']}) sentiment:{name}" if row["query"] else f"sentiment:{name}"
                )
                assert store.count(asked_for, row["since"], row["until"]) == row[name]  # type: ignore[arg-type]


def test_the_answer_is_json_with_lasting_names_and_comes_back_whole(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    _, shown = rich(fresh)
    encoded = msgspec.json.encode(shown)
    assert msgspec.json.decode(encoded, type=Trends) == shown
    answer = msgspec.json.decode(encoded)

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: names(inner) for name, inner in value.items()}
        return [names(value[0])] if isinstance(value, list) and value else None

    figure = dict.fromkeys(["count", "query", "since", "until"])
    net = dict.fromkeys(["value", "low", "high", "sample"])
    tally = {"mentions": figure, "positive": figure, "negative": figure, "net": net}
    row = {"value": None, "tally": tally, "share": None, "compared": figure, "change": None}
    shares = {"sample": None, "rows": [row]}
    gap = dict.fromkeys(["source", "since", "until", "why", "closed"])
    numbers_of_author = dict.fromkeys(["followers", "reach", "influence", "automation"])
    author = {"handle": None, "tally": tally, "compared": figure, **numbers_of_author}
    ranking = {"rows": [author], "complete": None, "read": None}
    stance = {"handle": None, "tally": tally, "compared": figure, "share": None, "low": None, "high": None}
    stances = {"rows": [stance], "least": None, "judged": None, "complete": None}
    assert names(answer) == {
        **dict.fromkeys(["query", "since", "until", "zone", "interval", "as_of", "by"]),
        "gaps": [gap],
        "tally": tally,
        "compared": {
            "kind": None, "tally": tally, "intervals": [figure], "gaps": None,
        },
        "intervals": [{"since": None, "until": None, "partial": None, "gap": None, "tally": tally | {"net": None}}],
        "groups": [{"value": None, "tally": tally, "intervals": [tally]}],
        "brands": shares, "sources": shares, "languages": shares, "countries": shares, "places": shares,
        "journey": shares,
        "topics": [{"topic": row, "children": [{"topic": row, "children": [{"topic": row, "children": None}]}]}],
        "authors": {
            "by_mentions": [author], "by_reach": ranking, "by_influence": ranking,
            "advocates": stances, "detractors": stances, "without": None,
        },
        "rising": {
            "events": [
                {"terms": [None], "beside": None, "score": None, "mentions": figure, "compared": figure}
            ],
            **dict.fromkeys(["read", "sample_of", "compared_read", "compared_sample_of"]),
        },
        "rhythm": {
            **dict.fromkeys(["since", "until", "sample"]),
            "hours": [{"weekday": None, "hour": None, "hours": None, "mentions": figure}],
        },
    }  # fmt: skip


# Net sentiment


def test_net_sentiment_is_the_share_of_positive_minus_that_of_negative_with_bonett_and_prices_interval() -> (
    None
):
    # 7 and 1 of 21: 8/23 - 2/23, give or take 1.96 times the root of (10/23 - (6/23)^2) / 23
    net = net_of(21, 7, 1)
    assert net is not None
    assert net.value == pytest.approx(6 / 21)
    assert (net.low, net.high) == (pytest.approx(0.0134, abs=1e-4), pytest.approx(0.5084, abs=1e-4))
    # the example of statpsych's ci.prop.ps, by the first of the authors
    net = net_of(48, 26, 4)
    assert net is not None
    assert (net.low, net.high) == (pytest.approx(0.2548067), pytest.approx(0.6251933))
    assert net_of(0, 0, 0) is None


@pytest.mark.parametrize(("positive", "negative"), [(0.05, 0.1), (0.3, 0.3), (0.1, 0.8), (0.9, 0.05)])
@pytest.mark.parametrize("sample", [10, 60])
def test_the_interval_of_net_sentiment_holds_the_truth_in_95_of_100(
    sample: int, positive: float, negative: float
) -> None:
    covered = 0.0
    for b in range(sample + 1):
        for c in range(sample + 1 - b):
            rest = sample - b - c
            ways = math.comb(sample, b) * math.comb(sample - b, c)
            net = net_of(sample, b, c)
            assert net is not None
            assert -1 <= net.low <= net.value <= net.high <= 1
            if net.low <= positive - negative <= net.high:
                covered += ways * positive**b * negative**c * (1 - positive - negative) ** rest
    assert covered >= 0.93


# Rising terms


def talk(chance: random.Random, number: int) -> list[frozenset[str]]:
    """Return mentions of words as frequent as words are (Zipf), with nothing that rises."""
    words = [f"w{rank}" for rank in range(2000)]
    weights = [1 / (rank + 5) for rank in range(2000)]
    said = []
    for _ in range(number):
        text = chance.choices(words, weights, k=15)
        said.append(frozenset([*text, *(f"{a} {b}" for a, b in pairwise(text))]))
    return said


def about(said: frozenset[str], text: str) -> frozenset[str]:
    words = text.split()
    return said | {*words, *(f"{a} {b}" for a, b in pairwise(words))}


def test_nothing_rises_by_chance() -> None:
    chance = random.Random(5)
    lines = sum(len(events(talk(chance, 1500), talk(chance, 1500))) for _ in range(4))
    assert lines <= 1


def test_one_event_is_one_line_and_two_are_two() -> None:
    chance = random.Random(7)
    now, before = talk(chance, 2000), talk(chance, 2000)
    forms = ["ground stop at midway", "radar outage ground stop", "midway ground stop radar outage"]
    for number in range(0, 120):
        now[number] = about(now[number], forms[number % 3])
    for number in range(300, 360):
        now[number] = about(now[number], "free snacks")
    found = events(now, before)
    assert len(found) == 2
    (first, _, score), (second, _, _) = found
    assert "ground stop" in first
    assert {"midway", "radar outage"} & set(first)
    assert second == ("free snacks",)
    assert score > 5


def test_a_common_word_that_rises_with_an_event_alone_is_no_line_of_its_own() -> None:
    chance = random.Random(13)
    now, before = talk(chance, 2000), talk(chance, 2000)
    for number in range(150):
        now[number], before[number] = about(now[number], "flight"), about(before[number], "flight")
    for number in range(200, 400):
        now[number] = about(now[number], "flight ground stop")
    ((terms, beside, _),) = events(now, before)
    assert "ground stop" in terms
    assert "flight" in beside


def test_what_is_always_said_does_not_rise_when_an_event_has_ended() -> None:
    chance = random.Random(11)
    now, before = talk(chance, 1000), talk(chance, 1000)
    before += [about(frozenset(), f"error fare europe {number % 7}") for number in range(3000)]
    for number in range(60):
        now[number] = about(now[number], "free snacks")
    assert [terms for terms, _, _ in events(now, before)] == [("free snacks",)]


def test_the_score_is_that_of_monroe_colaresi_and_quinn() -> None:
    # y = 30 of 1000 and 10 of 800; the prior is a tenth of both: 4 of 180
    odds = math.log(34 / (1180 - 34)) - math.log(14 / (980 - 14))
    assert scored(30, 10, 1000, 800) == pytest.approx((odds, odds / math.sqrt(1 / 34 + 1 / 14)))
    assert scored(10, 30, 800, 1000) == pytest.approx((-odds, -odds / math.sqrt(1 / 34 + 1 / 14)))
    assert scored(5, 0, 5, 0) == (0, 0)


def test_a_sample_is_spread_over_the_range_and_sees_an_event_of_half_an_hour(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    hours, quiet, burst = 48, 4000, 400
    items = [
        tagged(number, f"quiet {number}", NOW - timedelta(seconds=number * hours * 3600 / quiet + 1))
        for number in range(quiet)
    ]
    begin = NOW - timedelta(hours=30, minutes=7)
    items += [
        tagged(quiet + number, "radar outage", begin + timedelta(seconds=number * 4))
        for number in range(burst)
    ]
    store = fresh(
        [*items, *(tagged(10_000 + n, f"quiet {n}", NOW - timedelta(days=3, seconds=n)) for n in range(600))]
    )
    shown = asked(store, "", NOW - timedelta(hours=hours), NOW, most_read=1000)
    rising = shown.rising
    assert (rising.sample_of, rising.compared_sample_of, rising.compared_read) == (quiet + burst, 600, 600)
    assert 800 <= rising.read <= 1000
    assert [event.terms[0] for event in rising.events] == ["radar outage"]
    assert rising.events[0].mentions.count == burst  # counted, not read
    check_every_number_opens_its_mentions(store, shown)


def test_a_sample_has_each_mention_once_and_no_other_range(
    fresh: Callable[[Sequence[Tagged]], Store],
) -> None:
    items = [tagged(number, "a b", NOW - timedelta(seconds=number * number / 10)) for number in range(700)]
    store = fresh(items)
    chosen = selection_of(parsed(""), NOW - timedelta(hours=10), NOW - timedelta(minutes=1), BERLIN)
    count = store.count(chosen.query, chosen.since, chosen.until)
    hits = read(store, chosen, count, 200)
    assert len({hit.mention.id for hit in hits}) == len(hits) <= 200
    assert all(chosen.since <= hit.mention.created_at < chosen.until for hit in hits)
    assert said_in(hits[0]) == {"a", "b", "a b"}
