"""The one way of judging: the same in one go as bucket by bucket, blind in gaps, deaf to what comes too late."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.alerts import counts
from hark.alerts import evaluate as evaluation
from hark.alerts.backtest import Label, read_labels, run
from hark.alerts.counts import BUCKET_MS
from hark.alerts.detector import Detector, Options
from hark.alerts.evaluate import Stretch, Verdict, blind_of, closed_until, evaluate, not_watched
from hark.alerts.explain import Evidence, divided, explain
from hark.alerts.rules import Rule
from hark.core.change import Tagged
from hark.core.clock import from_ms, to_ms
from hark.core.errors import FatalError, SettingsError
from hark.core.mention import Author
from hark.core.protocols import Gap
from hark.query import parse
from hark.query.fields import Taxonomy, ancestors
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged

START = datetime(2026, 11, 2, tzinfo=UTC)
BEGIN = to_ms(START)
FIVE = timedelta(minutes=5)
DAY = 288
TAXONOMY: Taxonomy = ancestors({"baggage": (), "lost": ("baggage",), "delay": ()})

Counted = dict[str, tuple[int, int]]
"""What a bucket counts of each group: all mentions, negative ones."""


def rule(**changed: object) -> Rule:
    usual = Rule(
        "r", "R", parse(""), "complaints", ("brand",), "spike", minimum_volume=1, allowance_seconds=300
    )
    return msgspec.structs.replace(usual, **changed)


def stretch(
    cells: list[Counted], blind: dict[str, set[int]] | None = None, of: Rule | None = None
) -> Stretch:
    """Return buckets from BEGIN on, all of the source x (grouped by source: of the group), `blind` by their place."""
    watched = of or rule()
    found: counts.Counts = {}
    for at, here in enumerate(cells):
        if here:
            found[BEGIN + at * BUCKET_MS] = {
                group: {
                    group if watched.group_by == ("source",) else "x": (
                        every if watched.metric == "count" else negative,
                        every,
                    )
                }
                for group, (every, negative) in here.items()
            }
    gone: dict[int, frozenset[str]] = {}
    for name, places in (blind or {}).items():
        for at in places:
            start = BEGIN + at * BUCKET_MS
            gone[start] = gone.get(start, frozenset()) | {name}
    return Stretch(BEGIN, BEGIN + len(cells) * BUCKET_MS, found, gone)


def counted(days: int, bursts: dict[str, int], seed: int = 1) -> list[Counted]:
    """Return counts of two brands; `bursts` names a brand and the place where an hour of ten times as many begins."""
    draw = np.random.default_rng(seed)
    cells: list[Counted] = []
    for at in range(days * DAY):
        here: Counted = {}
        for brand in ("delta", "united"):
            mean = 2.0 * (10 if 0 <= at - bursts.get(brand, 10**9) < 12 else 1)
            negative = int(draw.poisson(mean))
            here[brand] = (negative + int(draw.poisson(3)), negative)
        cells.append(here)
    return cells


def events(verdicts: list[Verdict], event: str = "begin") -> list[tuple[str | None, int]]:
    return [(v.group, (v.start - BEGIN) // BUCKET_MS) for v in verdicts if v.event == event]


cell = st.dictionaries(
    st.sampled_from(["a", "b", "c", "new"]),
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda two: (max(two), min(two))),
)
kinds = st.sampled_from(
    [
        rule(),
        rule(metric="count", minimum_volume=5, threshold=0.7),
        rule(detector="threshold", threshold=20.0, group_by=("source",)),
        rule(detector="threshold", threshold=0.6, metric="share-negative", minimum_severity=2),
        rule(detector="change", metric="share-negative", threshold=0.5),
        rule(detector="ratio", threshold=0.5),
        rule(detector="flatline", metric="count", threshold=0.2),
    ]
)


@settings(max_examples=15, deadline=None)
@given(
    kinds,
    st.lists(cell, min_size=1, max_size=9).map(lambda few: few * 45),
    st.dictionaries(st.sampled_from(["a", "x"]), st.sets(st.integers(0, 400), max_size=9)),
    st.sets(st.integers(1, 400), max_size=8),
)
def test_cut_anywhere_with_its_checkpoint_it_says_the_same_as_in_one_go(
    watched: Rule, cells: list[Counted], blind: dict[str, set[int]], cuts: set[int]
) -> None:
    if len(cells) > 330:
        # Something to begin, after the first day on which detectors only learn.
        cells[320] = {"a": (400, 400), "b": (90, 90)}
    whole = stretch(cells, blind, watched)
    expected, last = evaluate(watched, whole)
    edges = sorted({0, len(cells), *(cut for cut in cuts if cut < len(cells))})
    said: list[Verdict] = []
    checkpoint = b""
    for begin, end in pairwise(edges):
        part = whole.part(BEGIN + begin * BUCKET_MS, BEGIN + end * BUCKET_MS)
        verdicts, checkpoint = evaluate(watched, part, checkpoint)
        said += verdicts
    assert said == expected
    assert checkpoint == last


def test_bucket_by_bucket_it_tells_of_the_burst_once_as_in_one_go() -> None:
    whole = stretch(counted(4, {"delta": 900}))
    verdicts, _ = evaluate(rule(), whole)
    assert events(verdicts) == [("delta", 901)]
    said: list[Verdict] = []
    checkpoint = b""
    for part in evaluation.parts(whole, 3):
        more, checkpoint = evaluate(rule(), part, checkpoint)
        said += more
    assert said == verdicts


def test_the_verdicts_are_the_detectors() -> None:
    cells = counted(4, {"united": 900})
    verdicts, _ = evaluate(rule(threshold=1.2), stretch(cells))
    detector = Detector(options=Options(interval_seconds=300, threshold=1.2, series_watched=2))
    mine = [verdict for verdict in verdicts if verdict.group == "united"]
    for at, verdict in enumerate(mine):
        found = detector.update(BEGIN / 1000 + at * 300, cells[at]["united"][1])
        assert (verdict.expected, verdict.upper, verdict.score) == (found.expected, found.upper, found.score)
        assert (verdict.event == "begin") == (found.is_alert and (verdict.start - BEGIN) // BUCKET_MS < 905)
        assert (verdict.window is None) == (found.since is None)
        if verdict.window is not None:
            assert verdict.window.end - verdict.window.begin == found.scale_seconds * 1000


def test_the_window_adds_up_what_its_buckets_said() -> None:
    verdicts, _ = evaluate(rule(), stretch(counted(4, {"delta": 900})))
    lasting = [verdict for verdict in verdicts if verdict.window is not None]
    assert len({v.window.end - v.window.begin for v in lasting if v.window}) > 1
    for verdict in lasting:
        window = verdict.window
        assert window is not None
        rows = [v for v in verdicts if v.group == verdict.group and window.begin <= v.start < window.end]
        assert window.end == verdict.start + BUCKET_MS
        assert window.observed == sum(v.value or 0 for v in rows)
        assert window.expected == pytest.approx(sum(v.expected for v in rows))


def test_a_gap_of_the_only_source_is_not_silence() -> None:
    cells = counted(4, {})
    silent = [{} if 900 <= at < 1000 else here for at, here in enumerate(cells)]
    blind, _ = evaluate(rule(), stretch(silent, {"x": set(range(900, 1000))}))
    dead, _ = evaluate(rule(), stretch(silent))
    assert {v.value for v in blind if 900 <= (v.start - BEGIN) // BUCKET_MS < 1000} == {None}
    after = BEGIN + 1000 * BUCKET_MS

    def expected(verdicts: list[Verdict]) -> float:
        return next(v.expected for v in verdicts if v.start == after and v.group == "delta")

    assert expected(blind) == pytest.approx(expected(evaluate(rule(), stretch(cells))[0]), rel=0.15)
    assert expected(dead) < 0.9 * expected(blind)


def of_sources(cells: list[Counted], shares: dict[str, float]) -> Stretch:
    """Return the counts divided among sources."""
    draw = np.random.default_rng(3)
    found: counts.Counts = {}
    for at, here in enumerate(cells):
        start = BEGIN + at * BUCKET_MS
        for group, (every, negative) in here.items():
            parts = draw.multinomial(negative, list(shares.values()))
            others = draw.multinomial(every - negative, list(shares.values()))
            found.setdefault(start, {})[group] = {
                source: (int(part), int(part + other))
                for source, part, other in zip(shares, parts, others, strict=True)
            }
    return Stretch(BEGIN, BEGIN + len(cells) * BUCKET_MS, found, {})


def test_while_one_source_is_away_the_others_are_judged_against_their_own_part() -> None:
    whole = of_sources(counted(5, {"delta": 1300}), {"x": 0.6, "reddit": 0.4})
    away = {BEGIN + at * BUCKET_MS: frozenset({"reddit"}) for at in range(1200, 1440)}
    without = {
        start: {
            group: {name: pair for name, pair in cell.items() if name not in away.get(start, ())}
            for group, cell in here.items()
        }
        for start, here in whole.cells.items()
    }
    verdicts, _ = evaluate(rule(), msgspec.structs.replace(whole, cells=without, blind=away))
    assert events(verdicts)[0][0] == "delta"
    assert 1300 <= events(verdicts)[0][1] <= 1303
    usual, _ = evaluate(rule(), whole)
    at = BEGIN + 1290 * BUCKET_MS
    (here,) = [v for v in verdicts if v.start == at and v.group == "united"]
    (then,) = [v for v in usual if v.start == at and v.group == "united"]
    assert here.expected == pytest.approx(0.6 * then.expected, rel=0.15)
    # Once it answers again, what is expected is what it was: nothing was unlearned.
    last = BEGIN + 1439 * BUCKET_MS
    (first,) = [v for v in verdicts if v.start == last and v.group == "united"]
    (second,) = [v for v in usual if v.start == last and v.group == "united"]
    assert first.expected / 0.6 == pytest.approx(second.expected, rel=0.15)


def test_a_series_that_is_mostly_the_missing_source_is_not_judged() -> None:
    whole = of_sources(counted(2, {}), {"x": 0.1, "reddit": 0.9})
    away = {BEGIN + at * BUCKET_MS: frozenset({"reddit"}) for at in (400, 401)}
    verdicts, _ = evaluate(rule(), msgspec.structs.replace(whole, blind=away))
    assert {(v.start - BEGIN) // BUCKET_MS for v in verdicts if v.value is None} == {400, 401}


def test_a_window_never_reaches_over_a_gap() -> None:
    verdicts, _ = evaluate(rule(), stretch(counted(4, {"delta": 900}), {"x": {906}}))
    for verdict in verdicts:
        if verdict.window is not None:
            gap = BEGIN + 906 * BUCKET_MS
            assert not verdict.window.begin <= gap < verdict.window.end


def test_by_source_a_gap_blinds_that_source_alone() -> None:
    cells: list[Counted] = [{"x": (3, 1), "reddit": (3, 1)}] * 20
    watched = rule(group_by=("source",))
    verdicts, _ = evaluate(watched, stretch(cells, {"x": {10}}, watched))
    assert [(v.group, (v.start - BEGIN) // BUCKET_MS) for v in verdicts if v.value is None] == [("x", 10)]


def test_a_spike_is_over_soon_after_it_is_over_and_a_second_one_is_told_anew() -> None:
    cells = counted(4, {"delta": 900})
    for at in range(936, 942):
        cells[at]["delta"] = (40, 40)
    verdicts, _ = evaluate(rule(), stretch(cells))
    assert [place for _, place in events(verdicts)] == [901, 936]
    # Three quarters of an hour after half hours are usual again, which is within half an hour of the end.
    ends = [place for _, place in events(verdicts, "end")]
    assert 912 + 9 <= ends[0] <= 912 + 6 + 12
    # From the end of the spike on: within it the severity may still rise, as the bar of a young series sinks.
    fading = [
        v.severity for v in verdicts if v.group == "delta" and 912 <= (v.start - BEGIN) // BUCKET_MS < ends[0]
    ]
    assert fading[0] >= 6
    assert fading[-1] == 1
    assert all(later <= earlier for earlier, later in pairwise(fading))


def test_a_spike_is_over_when_little_of_its_worst_is_left_and_what_is_left_is_told_no_more() -> None:
    cells = counted(4, {})
    for place, count in (
        (900, 150),
        (912, 7),
        (948, 30),
    ):  # an hour, three hours of what is left of it, a new rise
        for at in range(place, 960):
            cells[at]["delta"] = (count, count)
    verdicts, _ = evaluate(rule(), stretch(cells))
    first, second = (place for _, place in events(verdicts))
    assert first == 900
    assert 948 <= second < 954
    (end,) = (place for _, place in events(verdicts, "end") if place < 960)
    assert 912 + 9 <= end <= 912 + 6 + 9


def test_a_silence_is_found_where_much_is_expected_and_not_where_little_is() -> None:
    draw = np.random.default_rng(2)
    cells: list[Counted] = []
    for at in range(9 * DAY):
        silent = at >= 8 * DAY + 100
        large = 0 if silent else int(draw.poisson(8))
        small = 0 if silent else int(draw.poisson(0.02))
        cells.append({"large": (large, 0), "small": (small, 0)})
    watched = rule(detector="flatline", metric="count", minimum_volume=20)
    verdicts, _ = evaluate(watched, stretch(cells, of=watched))
    ((group, place),) = events(verdicts)
    assert group == "large"
    assert 8 * DAY + 102 <= place <= 8 * DAY + 112
    (found,) = [v for v in verdicts if v.event == "begin"]
    assert found.window is not None
    assert found.window.observed < 0.5 * found.window.expected


def test_a_change_of_sentiment_is_told_and_more_of_the_same_is_not() -> None:
    draw = np.random.default_rng(4)
    cells: list[Counted] = []
    for at in range(4 * DAY):
        many = 40 if 900 <= at < 924 else 10
        share = 0.6 if at >= 1000 else 0.3
        every = int(draw.poisson(many))
        cells.append({"a": (every, int(draw.binomial(every, share)))})
    watched = rule(detector="change", metric="share-negative")
    verdicts, _ = evaluate(watched, stretch(cells))
    ((_, place),) = events(verdicts)
    assert 1001 <= place <= 1010
    (found,) = [v for v in verdicts if v.event == "begin"]
    assert found.expected == pytest.approx(0.3, abs=0.03)
    assert found.upper < (found.value or 0)


def test_bad_weather_for_all_is_no_outage_of_one() -> None:
    draw = np.random.default_rng(5)
    cells: list[Counted] = []
    for at in range(4 * DAY):
        here: Counted = {}
        for brand in ("a", "b", "c"):
            mean = 3.0 * (6 if 900 <= at < 930 else 1) * (5 if brand == "b" and 1050 <= at < 1070 else 1)
            negative = int(draw.poisson(mean))
            here[brand] = (negative, negative)
        cells.append(here)
    watched = rule(detector="ratio", minimum_volume=10)
    verdicts, _ = evaluate(watched, stretch(cells))
    assert [group for group, _ in events(verdicts)] == ["b"]
    assert 1050 <= events(verdicts)[0][1] <= 1062


def test_a_group_seen_later_begins_its_own_series_and_raises_the_bar() -> None:
    cells: list[Counted] = [{"a": (4, 4)}] * 10 + [{"a": (4, 4), "late": (2, 2)}] * 10
    verdicts, _ = evaluate(rule(), stretch(cells))
    assert min(v.start for v in verdicts if v.group == "late") == BEGIN + 10 * BUCKET_MS
    alone, _ = evaluate(rule(), stretch([{"a": (4, 4)}] * 20))
    upper = [v.upper for v in verdicts if v.group == "a"]
    assert upper[:10] == [v.upper for v in alone][:10]
    assert upper[12] > alone[12].upper


def test_the_number_of_series_is_bounded_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_SERIES", 2)
    cells: list[Counted] = [{"small": (1, 1), "large": (9, 1), "middle": (5, 1)}] * 3
    verdicts, checkpoint = evaluate(rule(), stretch(cells))
    assert {verdict.group for verdict in verdicts} == {"large", "middle"}
    assert not_watched(checkpoint) == 3


def test_too_small_an_alert_waits_until_it_is_large_enough() -> None:
    whole = stretch(counted(4, {"delta": 900}))
    ((_, first),) = events(evaluate(rule(), whole)[0])
    first_window = next(v.window for v in evaluate(rule(), whole)[0] if v.event == "begin")
    assert first_window is not None
    later, _ = evaluate(rule(minimum_volume=first_window.volume + 1), whole)
    ((_, second),) = events(later)
    assert second > first
    (found,) = [verdict for verdict in later if verdict.event == "begin"]
    assert found.window is not None
    assert found.window.volume > first_window.volume
    assert not events(evaluate(rule(minimum_volume=10_000), whole)[0])
    (severe,) = [v for v in evaluate(rule(minimum_severity=6), whole)[0] if v.event == "begin"]
    assert severe.severity >= 6


def test_a_threshold_tells_once_and_ends_after_a_quiet_hour() -> None:
    values = [1, 1, 9, 9, 1, 9, *(1 for _ in range(15)), 9]
    cells: list[Counted] = [{"a": (value, value)} for value in values]
    watched = rule(detector="threshold", threshold=8.0, window_seconds=300)
    verdicts, _ = evaluate(watched, stretch(cells))
    assert [place for _, place in events(verdicts)] == [2, 21]
    assert [place for _, place in events(verdicts, "end")] == [5 + 12]


def test_a_share_is_of_the_window_and_needs_its_volume() -> None:
    cells: list[Counted] = [{"a": (2, 2)}, {"a": (10, 2)}, {"a": (10, 8)}, {"a": (10, 9)}]
    watched = rule(
        detector="threshold", metric="share-negative", threshold=0.7, window_seconds=600, minimum_volume=5
    )
    verdicts, _ = evaluate(watched, stretch(cells))
    assert [verdict.value for verdict in verdicts] == [1.0, 4 / 12, 10 / 20, 17 / 20]
    (begin,) = [verdict for verdict in verdicts if verdict.event]
    assert begin.window is not None
    assert (begin.start, begin.window.observed, begin.window.volume) == (BEGIN + 3 * BUCKET_MS, 17, 20)
    assert begin.window.expected == pytest.approx(14)


def test_a_checkpoint_of_another_time_or_of_something_else_is_refused() -> None:
    whole = stretch([{"a": (1, 1)}] * 4)
    _, checkpoint = evaluate(rule(), whole)
    with pytest.raises(FatalError, match="each bucket is judged once"):
        evaluate(rule(), whole, checkpoint)
    with pytest.raises(FatalError, match="cannot be read"):
        evaluate(rule(), whole, b"\x00nonsense")


def test_a_bucket_is_closed_when_its_end_and_the_allowance_have_passed() -> None:
    assert closed_until(START + timedelta(minutes=9, seconds=59), 300) == BEGIN
    assert closed_until(START + timedelta(minutes=10), 300) == BEGIN + BUCKET_MS


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store.db", TAXONOMY)


def collected(id: str, at: datetime, late: timedelta, **more: Any) -> Tagged:
    item = tagged(id, at=at, label="negative", **more)
    return msgspec.structs.replace(
        item, mention=msgspec.structs.replace(item.mention, collected_at=at + late)
    )


def test_what_is_collected_within_the_allowance_counts_and_later_mentions_do_not(
    store: EmbeddedStore,
) -> None:
    soon, late = timedelta(minutes=4, seconds=59), timedelta(minutes=5)
    end = START + FIVE - timedelta(seconds=1)
    store.write([collected("x:1", end, soon), collected("x:2", end, late + timedelta(seconds=1))])
    watched = rule()
    before = counts.read(store, [watched], TAXONOMY, BEGIN, BEGIN + BUCKET_MS, None)
    live = counts.read(store, [watched], TAXONOMY, BEGIN, BEGIN + BUCKET_MS, BEGIN)
    assert before["r"] == {BEGIN: {"delta": {"x": (2, 2)}}}
    assert live["r"] == {BEGIN: {"delta": {"x": (1, 1)}}}


def test_every_metric_counts_what_it_says(store: EmbeddedStore) -> None:
    def written(id: str, handle: str, followers: int, label: str, *topics: str) -> Tagged:
        item = tagged(id, at=START, label=label, topics=topics, brands=("delta", "united"))
        author = Author(handle=handle, followers=followers)
        return msgspec.structs.replace(item, mention=msgspec.structs.replace(item.mention, author=author))

    store.write(
        [
            written("x:1", "Ann", 0, "negative", "lost"),
            written("x:2", "ann", 5_000, "neutral"),
            written("reddit:3", "ann", 99, "negative", "delay"),
        ]
    )
    rules = [
        rule(name="count", metric="count"),
        rule(name="complaints"),
        rule(name="authors", metric="authors"),
        rule(name="reach", metric="reach"),
        rule(name="share", metric="share", part=parse("topic:baggage"), group_by=()),
        rule(name="pairs", group_by=("brand", "topic")),
    ]
    found = counts.read(store, rules, TAXONOMY, BEGIN, BEGIN + BUCKET_MS, None)
    (cells,) = (found["count"][BEGIN],)
    assert cells == {name: {"x": (2, 2), "reddit": (1, 1)} for name in ("delta", "united")}
    assert found["complaints"][BEGIN]["delta"] == {"x": (1, 2), "reddit": (1, 1)}
    assert found["authors"][BEGIN]["delta"] == {"x": (1, 2), "reddit": (1, 1)}
    assert found["reach"][BEGIN]["delta"] == {"x": (1 + 4, 2), "reddit": (3, 1)}
    assert found["share"][BEGIN] == {None: {"x": (1, 2), "reddit": (0, 1)}}
    assert set(found["pairs"][BEGIN]) == {
        f"{brand} × {topic}" for brand in ("delta", "united") for topic in ("lost", "baggage", "delay")
    }


def test_open_gaps_of_the_ledger_are_read_as_missing_and_filled_ones_are_not() -> None:
    gaps = [
        ("x", Gap(START + 2.5 * FIVE, START + 4 * FIVE, "away")),
        ("x", Gap(START + 6 * FIVE, START + 7 * FIVE, "away", closed=True)),
        ("y", Gap(START - 9 * FIVE, START + timedelta(seconds=1), "away")),
    ]
    found = blind_of(gaps, BEGIN, BEGIN + 8 * BUCKET_MS)
    assert {(start - BEGIN) // BUCKET_MS: names for start, names in found.items()} == {
        0: {"y"},
        2: {"x"},
        3: {"x"},
    }


def test_contributions_are_counts_of_the_store_and_add_up_exactly(store: EmbeddedStore) -> None:
    draw = np.random.default_rng(5)
    items = []
    for n in range(3000):
        bucket = 9 * DAY if n < 120 else int(draw.integers(0, 9 * DAY))
        topics = [t for t in ("lost", "baggage", "delay") if draw.random() < (0.6 if n < 120 else 0.2)]
        source = "x" if draw.random() < 0.7 else "reddit"
        at = START + bucket * FIVE + timedelta(seconds=int(draw.integers(0, 300)))
        tone = "negative" if draw.random() < 0.7 else "neutral"
        items.append(tagged(f"{source}:{n}", at=at, label=tone, topics=tuple(topics), brands=("delta",)))
    store.write(items)
    begin = BEGIN + 9 * DAY * BUCKET_MS
    observed = store.count(
        parse("brand:delta sentiment:negative"), from_ms(begin), from_ms(begin + BUCKET_MS)
    )
    window = evaluation.Window(begin, begin + BUCKET_MS, observed, 7.123456, observed)
    found = explain(Evidence(store, TAXONOMY, {}, None), rule(), "delta", window)
    assert round(found.excess * 100) == observed * 100 - 712
    assert {part.value for part in found.sources} == {"x", "reddit"}
    assert {"baggage", "other"} <= {part.value for part in found.topics}
    for parts in (found.topics, found.sources, found.authors, found.places, found.terms):
        assert sum(round(part.excess * 100) for part in parts) == round(found.excess * 100)
        assert sum(round(part.expected * 100) for part in parts) == 712
        assert sum(part.observed for part in parts) == observed
        for part in parts:
            query = parse(part.query)
            hits = list(store.search(query, from_ms(begin), from_ms(begin + BUCKET_MS), limit=None))
            assert part.observed == len(hits)
            before = store.count(query, from_ms(begin) - timedelta(days=7), from_ms(begin))
            of = store.count(parse(found.query), from_ms(begin) - timedelta(days=7), from_ms(begin))
            assert part.expected == pytest.approx(7.12 * before / of, abs=0.011)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_what_is_divided_adds_up_and_is_nearest_to_its_share(total: int, weights: list[int]) -> None:
    parts = divided(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        if sum(weights):
            assert abs(part * sum(weights) - total * weight) < sum(weights)


def test_labels_are_hits_misses_and_what_is_neither_is_a_false_alarm(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hark.alerts.backtest.EARLY", timedelta())
    items = []
    for at, here in enumerate(counted(4, {"delta": 700, "united": 900})):
        for brand, (_, negative) in here.items():
            items += [
                tagged(f"x:{brand}-{at}-{n}", at=START + at * FIVE, label="negative", brands=(brand,))
                for n in range(negative)
            ]
    store.write(items)
    known = Label("known", START + 700 * FIVE, START + 710 * FIVE, "delta", START + 703 * FIVE)
    quiet = Label("quiet", START + 800 * FIVE, START + 810 * FIVE)
    other = Label("other", START + 700 * FIVE, START + 710 * FIVE, "united")
    within = Label("within", START + 704 * FIVE, START + 705 * FIVE, "delta")
    labels = [known, quiet, other, within]
    result = run(store, rule(), TAXONOMY, START, START + timedelta(days=4), labels=labels)
    assert [alert.series for alert in result.alerts] == ["delta", "united"]
    assert [alert.incidents for alert in result.alerts] == [("known",), ()]
    hit, missed, elsewhere, lasting = result.outcomes
    assert (hit.before_begin_seconds, hit.before_peak_seconds) == (-900.0, 0.0)
    assert (missed.told_at, elsewhere.told_at, lasting.told_at) == (None, None, None)
    assert (missed.lasting_since, elsewhere.lasting_since) == (None, None)
    assert lasting.lasting_since == result.alerts[0].told_at
    shipped = result.shipped
    assert (shipped.hits, shipped.misses, shipped.false_alarms) == (1, 3, 1)
    assert shipped.false_alarms_a_week == pytest.approx(7 / 4)
    assert [point.alerts for point in result.curve] == sorted(
        (point.alerts for point in result.curve), reverse=True
    )


def test_time_before_the_first_mention_does_not_flatter_the_rates(store: EmbeddedStore) -> None:
    empty = run(store, rule(), TAXONOMY, START - timedelta(days=9), START)
    assert (empty.counted_from, empty.series, empty.alerts) == (None, 0, ())
    store.write([tagged("x:1", at=START, label="negative")])
    result = run(store, rule(), TAXONOMY, datetime(1, 1, 1, tzinfo=UTC), START + timedelta(days=7))
    assert (result.since, result.counted_from, result.series) == (START, START, 1)


def test_a_mistake_in_labels_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "known.csv"
    file.write_text("begin,end,series\n2026-11-01,2026-11-02T01:00:00Z,Delta\n")
    (label,) = read_labels(file)
    assert (label.name, label.begin, label.series) == ("line 2", datetime(2026, 11, 1, tzinfo=UTC), "delta")
    file.write_text("begin,end\n2026-11-01,yesterday\n")
    with pytest.raises(SettingsError, match=r"known\.csv: line 2: end: expected a time .* found 'yesterday'"):
        read_labels(file)
    file.write_text("begin,end\n2026-11-02,2026-11-01\n")
    with pytest.raises(SettingsError, match="line 2: end: expected a time after begin"):
        read_labels(file)
    file.write_text("start,end\n2026-11-02,2026-11-01\n")
    with pytest.raises(SettingsError, match="there is no begin"):
        read_labels(file)
