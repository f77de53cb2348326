"""The one way of judging: the same in one go as bucket by bucket, blind in gaps, deaf to what comes too late."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.alerts import evaluate as evaluation
from hark.alerts.backtest import Label, read_labels, run
from hark.alerts.detector import Detector, Options
from hark.alerts.evaluate import BUCKET_MS, Cells, Stretch, Verdict, closed_until, evaluate, not_watched, read
from hark.alerts.explain import divided, explain
from hark.alerts.rules import Rule
from hark.core.clock import from_ms, to_ms
from hark.core.errors import FatalError, SettingsError
from hark.core.protocols import Gap
from hark.query import parse
from hark.query.fields import Taxonomy, ancestors
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged

START = datetime(2026, 11, 2, tzinfo=UTC)
BEGIN = to_ms(START)
QUARTER = timedelta(minutes=15)
TAXONOMY: Taxonomy = ancestors({"baggage": (), "lost": ("baggage",), "delay": ()})


def rule(**changed: object) -> Rule:
    usual = Rule("r", "R", parse(""), "complaints", "brand", "spike", 1.0, 3600, 1, 1, 300)
    return msgspec.structs.replace(usual, **changed)


def stretch(cells: list[Cells], blind: dict[str, set[int]] | None = None) -> Stretch:
    """Return quarters of an hour from BEGIN on, those of `blind` by their place."""
    starts = {BEGIN + at * BUCKET_MS: cell for at, cell in enumerate(cells) if cell}
    gone = {
        name: frozenset(BEGIN + at * BUCKET_MS for at in places) for name, places in (blind or {}).items()
    }
    return Stretch(BEGIN, BEGIN + len(cells) * BUCKET_MS, starts, gone)


def counted(days: int, bursts: dict[str, int], seed: int = 1) -> list[Cells]:
    """Return counts of two brands; `bursts` names a brand and the place where an hour of ten times as many begins."""
    draw = np.random.default_rng(seed)
    cells: list[Cells] = []
    for at in range(days * 96):
        here: Cells = {}
        for brand in ("delta", "united"):
            mean = 4.0 * (10 if 0 <= at - bursts.get(brand, 10**9) < 4 else 1)
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
        rule(detector="threshold", threshold=20.0, group_by="source"),
        rule(detector="threshold", threshold=0.6, metric="share-negative", minimum_severity=2),
    ]
)


@settings(max_examples=60)
@given(
    kinds,
    st.lists(cell, min_size=1, max_size=12).map(lambda few: few * 14),
    st.dictionaries(st.sampled_from(["a", "x"]), st.sets(st.integers(0, 167), max_size=9)),
    st.sets(st.integers(1, 167), max_size=8),
)
def test_cut_anywhere_with_its_checkpoint_it_says_the_same_as_in_one_go(
    watched: Rule, cells: list[Cells], blind: dict[str, set[int]], cuts: set[int]
) -> None:
    if len(cells) > 110:
        # Something to begin, after the first day on which detectors only learn.
        cells[108] = {"a": (400, 400), "b": (90, 90)}
    whole = stretch(cells, blind)
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
    whole = stretch(counted(6, {"delta": 400}))
    verdicts, _ = evaluate(rule(), whole)
    assert events(verdicts) == [("delta", 400)]
    said: list[Verdict] = []
    checkpoint = b""
    for part in evaluation.parts(whole, 1):
        more, checkpoint = evaluate(rule(), part, checkpoint)
        said += more
    assert said == verdicts


def test_the_verdicts_are_the_detectors() -> None:
    cells = counted(5, {"united": 300})
    verdicts, _ = evaluate(rule(threshold=1.2), stretch(cells))
    detector = Detector(options=Options(interval_seconds=900, threshold=1.2, series_watched=2))
    mine = [verdict for verdict in verdicts if verdict.group == "united"]
    for at, verdict in enumerate(mine):
        found = detector.update(BEGIN / 1000 + at * 900, cells[at]["united"][1])
        assert (verdict.expected, verdict.upper, verdict.score) == (found.expected, found.upper, found.score)
        assert (verdict.event == "begin") == (found.is_alert and verdict.start == mine[300].start)
        assert (verdict.window is None) == (found.since is None)
        if verdict.window is not None:
            assert verdict.window.end - verdict.window.begin == found.scale_seconds * 1000


def test_the_window_adds_up_what_its_buckets_said() -> None:
    verdicts, _ = evaluate(rule(), stretch(counted(6, {"delta": 400})))
    lasting = [verdict for verdict in verdicts if verdict.window is not None]
    assert len({v.window.end - v.window.begin for v in lasting if v.window}) > 1
    for verdict in lasting:
        window = verdict.window
        assert window is not None
        rows = [v for v in verdicts if v.group == verdict.group and window.begin <= v.start < window.end]
        assert window.end == verdict.start + BUCKET_MS
        assert window.observed == sum(v.value or 0 for v in rows)
        assert window.expected == pytest.approx(sum(v.expected for v in rows))


def test_a_gap_is_not_silence() -> None:
    cells = counted(6, {})
    silent = [{} if 300 <= at < 330 else here for at, here in enumerate(cells)]
    blind, _ = evaluate(rule(), stretch(silent, {"x": set(range(300, 330))}))
    dead, _ = evaluate(rule(), stretch(silent))
    assert {v.value for v in blind if 300 <= (v.start - BEGIN) // BUCKET_MS < 330} == {None}
    after = BEGIN + 330 * BUCKET_MS
    known = next(v.expected for v in blind if v.start == after and v.group == "delta")
    forgot = next(v.expected for v in dead if v.start == after and v.group == "delta")
    usual, _ = evaluate(rule(), stretch(cells))
    assert known == pytest.approx(
        next(v.expected for v in usual if v.start == after and v.group == "delta"), rel=0.15
    )
    assert forgot < 0.9 * known


def test_a_window_never_reaches_over_a_gap() -> None:
    verdicts, _ = evaluate(rule(), stretch(counted(6, {"delta": 400}), {"x": {402}}))
    for verdict in verdicts:
        if verdict.window is not None:
            gap = BEGIN + 402 * BUCKET_MS
            assert not verdict.window.begin <= gap < verdict.window.end


def test_by_source_a_gap_blinds_that_source_alone() -> None:
    cells: list[Cells] = [{"x": (3, 1), "reddit": (3, 1)}] * 20
    verdicts, _ = evaluate(rule(group_by="source"), stretch(cells, {"x": {10}}))
    assert [(v.group, (v.start - BEGIN) // BUCKET_MS) for v in verdicts if v.value is None] == [("x", 10)]


def test_a_group_seen_later_begins_its_own_series_and_raises_the_bar() -> None:
    cells: list[Cells] = [{"a": (4, 4)}] * 10 + [{"a": (4, 4), "late": (2, 2)}] * 10
    verdicts, _ = evaluate(rule(), stretch(cells))
    assert min(v.start for v in verdicts if v.group == "late") == BEGIN + 10 * BUCKET_MS
    alone, _ = evaluate(rule(), stretch([{"a": (4, 4)}] * 20))
    upper = [v.upper for v in verdicts if v.group == "a"]
    assert upper[:10] == [v.upper for v in alone][:10]
    assert upper[12] > alone[12].upper


def test_the_number_of_series_is_bounded_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_SERIES", 2)
    cells: list[Cells] = [{"small": (1, 1), "large": (9, 1), "middle": (5, 1)}] * 3
    verdicts, checkpoint = evaluate(rule(), stretch(cells))
    assert {verdict.group for verdict in verdicts} == {"large", "middle"}
    assert not_watched(checkpoint) == 3


def test_too_small_an_alert_waits_until_it_is_large_enough() -> None:
    whole = stretch(counted(6, {"delta": 400}))
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
    counts = [1, 1, 9, 9, 1, 9, 1, 1, 1, 1, 1, 1, 1, 9]
    cells: list[Cells] = [{"a": (count, count)} for count in counts]
    watched = rule(detector="threshold", threshold=8.0, window_seconds=900)
    verdicts, _ = evaluate(watched, stretch(cells))
    assert [place for _, place in events(verdicts)] == [2, 13]
    assert [place for _, place in events(verdicts, "end")] == [9]


def test_a_share_is_of_the_window_and_needs_its_volume() -> None:
    cells: list[Cells] = [{"a": (2, 2)}, {"a": (10, 2)}, {"a": (10, 8)}, {"a": (10, 9)}]
    watched = rule(
        detector="threshold", metric="share-negative", threshold=0.7, window_seconds=1800, minimum_volume=5
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
    assert closed_until(START + timedelta(minutes=19, seconds=59), 300) == BEGIN
    assert closed_until(START + timedelta(minutes=20), 300) == BEGIN + BUCKET_MS


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "store.db", TAXONOMY)


def test_late_mentions_within_the_allowance_count_and_later_ones_change_no_verdict(
    store: EmbeddedStore,
) -> None:
    def batch(name: str, at: int, number: int) -> None:
        """Write complaints that were made in the quarter `at`."""
        moment = START + at * QUARTER + timedelta(minutes=14)
        store.write([tagged(f"x:{name}-{at}-{n}", at=moment, label="negative") for n in range(number)])

    watched = rule(detector="threshold", threshold=8.0, window_seconds=900)
    said: list[Verdict] = []
    checkpoint, through = b"", BEGIN
    for at in range(12):
        batch("prompt", at, 2)
        if at > 0:
            batch("late", at - 1, 7 if at - 1 == 5 else 1)  # four minutes after the end
        if at > 1:
            batch("too-late", at - 2, 30)  # long after it
        now = START + at * QUARTER + timedelta(minutes=5)
        closed = closed_until(now, watched.allowance_seconds)
        more, checkpoint = evaluate(watched, read(store, watched, through, closed, []), checkpoint)
        said += more
        through = closed
    assert [verdict.value for verdict in said] == [3, 3, 3, 3, 3, 9, 3, 3, 3, 3, 3]
    assert events(said) == [("delta", 5)]
    assert all(
        v.value == 33 for v in evaluate(watched, read(store, watched, BEGIN, BEGIN + BUCKET_MS, []))[0]
    )


def test_open_gaps_of_the_ledger_are_read_as_missing_and_filled_ones_are_not(store: EmbeddedStore) -> None:
    store.write([tagged(f"x:{at}", at=START + at * QUARTER, label="negative") for at in range(8)])
    gaps = [
        ("x", Gap(START + 2.5 * QUARTER, START + 4 * QUARTER, "away")),
        ("x", Gap(START + 6 * QUARTER, START + 7 * QUARTER, "away", closed=True)),
        ("y", Gap(START - 9 * QUARTER, START + timedelta(seconds=1), "away")),
    ]
    verdicts, _ = evaluate(rule(), read(store, rule(), BEGIN, BEGIN + 8 * BUCKET_MS, gaps))
    assert [verdict.value for verdict in verdicts] == [None, 1, None, None, 1, 1, 1, 1]


def test_contributions_are_counts_of_the_store_and_add_up_exactly(store: EmbeddedStore) -> None:
    draw = np.random.default_rng(5)
    items = []
    for n in range(3000):
        quarter = 9 * 96 if n < 120 else int(draw.integers(0, 9 * 96))
        topics = [t for t in ("lost", "baggage", "delay") if draw.random() < (0.6 if n < 120 else 0.2)]
        source = "x" if draw.random() < 0.7 else "reddit"
        at = START + quarter * QUARTER + timedelta(seconds=int(draw.integers(0, 900)))
        tone = "negative" if draw.random() < 0.7 else "neutral"
        items.append(tagged(f"{source}:{n}", at=at, label=tone, topics=tuple(topics), brands=("delta",)))
    store.write(items)
    begin = BEGIN + 9 * 96 * BUCKET_MS
    observed = store.count(
        parse("brand:delta sentiment:negative"), from_ms(begin), from_ms(begin + BUCKET_MS)
    )
    window = evaluation.Window(begin, begin + BUCKET_MS, observed, 7.123456, observed)
    found = explain(store, rule(), "delta", window)
    assert round(found.excess * 100) == observed * 100 - 712
    assert {part.value for part in found.sources} == {"x", "reddit"}
    assert {"baggage", "other"} <= {part.value for part in found.topics}
    for parts in (found.topics, found.sources):
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


def test_labels_are_hits_misses_and_what_is_neither_is_a_false_alarm(store: EmbeddedStore) -> None:
    items = []
    for at, here in enumerate(counted(8, {"delta": 400, "united": 600})):
        for brand, (_, negative) in here.items():
            items += [
                tagged(f"x:{brand}-{at}-{n}", at=START + at * QUARTER, label="negative", brands=(brand,))
                for n in range(negative)
            ]
    store.write(items)
    known = Label("known", START + 400 * QUARTER, START + 410 * QUARTER, "delta", START + 403 * QUARTER)
    quiet = Label("quiet", START + 500 * QUARTER, START + 510 * QUARTER)
    other = Label("other", START + 400 * QUARTER, START + 410 * QUARTER, "united")
    within = Label("within", START + 408 * QUARTER, START + 409 * QUARTER, "delta")
    labels = [known, quiet, other, within]
    result = run(store, rule(), START, START + timedelta(days=8), labels=labels)
    assert [alert.series for alert in result.alerts] == ["delta", "united"]
    assert [alert.incidents for alert in result.alerts] == [("known",), ()]
    hit, missed, elsewhere, lasting = result.outcomes
    assert (hit.before_begin_seconds, hit.before_peak_seconds) == (-1200.0, 2700.0 - 1200.0)
    assert (missed.told_at, elsewhere.told_at, lasting.told_at) == (None, None, None)
    assert (missed.lasting_since, elsewhere.lasting_since) == (None, None)
    assert lasting.lasting_since == result.alerts[0].told_at
    shipped = result.shipped
    assert (shipped.hits, shipped.misses, shipped.false_alarms) == (1, 3, 1)
    assert shipped.false_alarms_a_week == pytest.approx(7 / 8)
    assert [point.alerts for point in result.curve] == sorted(
        (point.alerts for point in result.curve), reverse=True
    )


def test_time_before_the_first_mention_does_not_flatter_the_rates(store: EmbeddedStore) -> None:
    empty = run(store, rule(), START - timedelta(days=9), START)
    assert (empty.counted_from, empty.series, empty.alerts) == (None, 0, ())
    store.write([tagged("x:1", at=START, label="negative")])
    result = run(store, rule(), datetime(1, 1, 1, tzinfo=UTC), START + timedelta(days=7))
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
