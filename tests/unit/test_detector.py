from datetime import UTC, datetime
from functools import cache
from math import inf, nan

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.alerts.baseline import Baseline
from hark.alerts.detector import Detector, Options, highest, severity_of, surprise
from hark.alerts.record import BLOCK_SECONDS, Record
from hark.core.errors import FatalError, RefusedError

START = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
DAY = 86400


def counts(
    days: int, rate: float = 20.0, interval: int = 300, seed: int = 1, dispersion: float = 0.05
) -> np.ndarray:
    """Return counts with a daily rhythm, half of them at weekends."""
    draw = np.random.default_rng(seed)
    time = START + interval * np.arange(days * DAY // interval)
    rhythm = 1 + 0.6 * np.sin(2 * np.pi * time / DAY)
    # The first of January 1970 was a Thursday.
    weekend = np.where((time // DAY + 3) % 7 >= 5, 0.5, 1.0)
    mean = rate * rhythm * weekend
    return draw.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean)).astype(float)


def run(values, interval=300, options=None):
    detector = Detector(options=options or Options())
    return [detector.update(START + interval * at, value) for at, value in enumerate(values)]


def alerts(verdicts):
    return [at for at, verdict in enumerate(verdicts) if verdict.is_alert]


def test_counts_that_keep_to_their_rhythm_raise_no_alert():
    rates = (0.3, 3.0, 30.0, 3000.0)
    months = [
        run(counts(28, rate, seed=at), options=Options(series_watched=100)) for at, rate in enumerate(rates)
    ]
    # The first fortnight is for learning what a weekend is.
    assert [at for verdicts in months for at in alerts(verdicts) if at >= 14 * 288] == []


def test_a_burst_of_minutes_is_found_while_it_lasts():
    values = counts(21)
    at = 17 * 288 + 120
    values[at : at + 4] *= 8
    assert at <= alerts(run(values))[0] < at + 4


def test_a_slow_swell_of_hours_is_found():
    values = counts(21, rate=5.0)
    at = 17 * 288 + 100
    values[at : at + 72] *= 2.5
    assert at <= alerts(run(values))[0] < at + 36


def test_one_incident_is_told_of_once_and_ends_when_it_has_been_quiet():
    values = counts(21)
    at = 15 * 288
    values[at : at + 48] *= 4
    verdicts = run(values)
    assert len(alerts(verdicts)) == 1
    during = verdicts[at + 10]
    assert during.since == START + 300 * alerts(verdicts)[0]
    assert during.severity > 0
    assert verdicts[at + 48 + 288].since is None
    assert verdicts[at + 48 + 288].severity == 0


def test_an_incident_that_grows_much_is_told_of_again():
    values = counts(21)
    at = 15 * 288
    values[at : at + 12] *= 3
    values[at + 12 : at + 36] *= 30
    found = alerts(run(values))
    assert found[0] < at + 12 <= found[1]


def test_severity_rises_with_the_evidence_and_falls_off_as_it_fades():
    values = counts(21)
    at = 15 * 288
    values[at : at + 24] *= 10
    severities = [verdict.severity for verdict in run(values)[at : at + 24 + 80]]
    assert max(severities) == 10
    assert 0 < severities[-20] < 10
    assert [severity_of(score) for score in (0.0, 0.5, 1, 2, 4, 1000)] == [1, 1, 3, 5, 7, 10]


def test_a_new_level_is_one_alert_and_becomes_what_is_expected():
    values = counts(35, rate=10.0)
    at = 15 * 288
    values[at:] *= 4
    verdicts = run(values)
    assert len(alerts(verdicts)) <= 2
    assert verdicts[-1].since is None
    assert np.mean([v.expected for v in verdicts[-288:]]) == pytest.approx(np.mean(values[-288:]), rel=0.2)


def test_a_brand_that_always_has_bursts_needs_a_larger_one():
    draw = np.random.default_rng(3)
    bursts = draw.uniform(size=28 * 288) < 0.01
    steady, bursty = counts(28, rate=30.0), counts(28, rate=30.0)
    bursty[bursts] *= draw.uniform(2, 8, size=bursts.sum())
    at = 24 * 288 + 140
    for values in (steady, bursty):
        values[at : at + 4] *= 2.5
    assert any(at <= found < at + 6 for found in alerts(run(steady)))
    assert not any(at <= found < at + 6 for found in alerts(run(bursty)))


def test_the_sharp_evidence_is_the_mean_of_twenty_minutes_and_a_missing_row_is_nothing():
    detector = Detector(options=Options(interval_seconds=300.0))
    detector.update(START, 20.0)
    assert [detector._lasting(2.0) for _ in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    detector.update(START + 300, None)
    assert detector._lasting(2.0) == 1.5


def test_the_bar_is_higher_in_the_first_days():
    young = Detector()
    young.update(START, 20.0)
    old = Detector.from_state(young.state())
    old.first -= 60 * DAY
    assert old.update(START + 300, 20.0).upper < young.update(START + 300, 20.0).upper


def test_the_state_of_a_detector_from_before_the_sharp_evidence_lasted_is_read():
    detector = Detector()
    for at, value in enumerate(counts(2)):
        detector.update(START + 300 * at, value)
    fields = msgspec.msgpack.decode(detector.state())
    del fields["sharp_shares"]
    old = Detector.from_state(msgspec.msgpack.encode(fields))
    assert (
        old.update(START + 300 * 2 * 288, 12.0).expected
        == detector.update(START + 300 * 2 * 288, 12.0).expected
    )


def test_the_weekend_is_known_after_three_weeks():
    verdicts = run(counts(28, rate=30.0))
    weekday = np.mean([v.expected for v in verdicts[21 * 288 : 22 * 288]])
    # 1 October 2026 is a Thursday.
    saturday = np.mean([v.expected for v in verdicts[23 * 288 : 24 * 288]])
    assert saturday == pytest.approx(weekday / 2, rel=0.2)


def test_a_gap_is_neither_evidence_nor_learned():
    values = counts(21)
    with_gap = [None if 10 * 288 <= at < 11 * 288 else value for at, value in enumerate(values)]
    left_out = Detector()
    held, dropped = run(with_gap), []
    for at, value in enumerate(with_gap):
        if value is not None:
            dropped.append(left_out.update(START + 300 * at, value))
    assert alerts(held) == []
    assert [v for v, value in zip(held, with_gap, strict=True) if value is not None] == dropped
    assert held[10 * 288 + 5].expected > 0


@pytest.mark.parametrize("interval", [60, 300, 900, 3600, 86400])
def test_any_spacing_of_rows_is_found_and_judged(interval):
    days = 21 if interval < 86400 else 200
    values = counts(days, rate=40.0 * interval / 300, interval=interval, seed=5)
    at = len(values) * 5 // 6
    values[at : at + max(1, 7200 // interval)] *= 8
    detector = Detector()
    verdicts = [detector.update(START + interval * row, value) for row, value in enumerate(values)]
    assert detector.interval == interval
    found = alerts(verdicts)
    assert any(at <= row <= at + 7200 // interval for row in found)
    assert len(found) <= 3


def test_the_spacing_survives_a_gap_among_the_first_rows():
    detector = Detector()
    for time in (0, 7200, 7500, 7800, 8100, 8400):
        detector.update(START + time, 3.0)
    assert detector.interval == 300


def test_expected_and_upper_are_in_units_of_the_value():
    values = counts(21)
    verdicts = run(values)
    last = verdicts[-2000:]
    inside = np.mean([value <= v.upper for v, value in zip(last, values[-2000:], strict=True)])
    assert inside > 0.99
    assert np.mean([v.expected for v in last]) == pytest.approx(values[-2000:].mean(), rel=0.1)


def test_nothing_is_said_on_the_first_day():
    values = counts(2)
    values[100:110] *= 50
    assert alerts(run(values))[:1] == [] or alerts(run(values))[0] >= 288


def test_watching_many_series_raises_the_bar():
    values = counts(21)
    at = 17 * 288 + 120
    values[at : at + 3] *= 3
    alone = max(v.score for v in run(values)[at : at + 10])
    among = max(v.score for v in run(values, options=Options(series_watched=1000))[at : at + 10])
    assert among < alone


@pytest.mark.parametrize("value", [-1.0, nan, inf])
def test_what_is_not_a_count_is_refused_and_changes_nothing(value):
    detector = Detector()
    detector.update(START, 3.0)
    before = detector.state()
    with pytest.raises(RefusedError):
        detector.update(START + 300, value)
    assert detector.state() == before


def test_time_does_not_go_backwards():
    detector = Detector()
    detector.update(START, 3.0)
    for time in (START, START - 300):
        with pytest.raises(RefusedError, match="not after"):
            detector.update(time, 3.0)


def test_a_state_that_no_detector_wrote_is_fatal():
    with pytest.raises(FatalError):
        Detector.from_state(b"\xc1 nonsense")


@cache
def _after(days: int) -> bytes:
    detector = Detector()
    for at, value in enumerate(counts(days)):
        detector.update(START + 300 * at, value)
    return detector.state()


_rows = st.lists(
    st.tuples(
        st.sampled_from([300, 300, 300, 300, 301, 600, 50_000]),
        st.one_of(st.none(), st.integers(0, 4), st.floats(0, 1e6, allow_nan=False)),
    ),
    min_size=2,
    max_size=200,
)


@settings(max_examples=60, deadline=None)
@given(rows=_rows, cut=st.integers(0, 200), start=st.integers(0, 4))
def test_a_detector_resumed_from_its_state_goes_on_as_if_never_stopped(rows, cut, start):
    # Days of history first, so that alerts, records and seasons are part of what must survive.
    whole, resumed = Detector.from_state(_after(start)), Detector.from_state(_after(start))
    time = START + DAY * start
    for at, (step, value) in enumerate(rows):
        time += step
        if at == cut:
            resumed = Detector.from_state(resumed.state())
        assert whole.update(time, value) == resumed.update(time, value)
    assert whole.state() == resumed.state()


def test_the_verdicts_of_a_month_survive_a_restart_at_every_row():
    values = counts(9, rate=4.0)
    values[8 * 288 : 8 * 288 + 20] *= 6
    expected = run(values)
    detector = Detector()
    found = []
    for at, value in enumerate(values):
        detector = Detector.from_state(detector.state())
        found.append(detector.update(START + 300 * at, value))
    assert found == expected
    assert alerts(found)


def test_a_state_does_not_grow():
    detector = Detector()
    sizes = []
    for at, value in enumerate(counts(60, rate=9.0)):
        detector.update(START + 300 * at, value)
        if at % 1000 == 999:
            sizes.append(len(detector.state()))
    assert max(sizes) < 10_000
    assert sizes[-1] < 1.05 * sizes[len(sizes) // 2 + 2]


@given(expected=st.floats(0.02, 1e5), times=st.floats(1.01, 50), dispersion=st.floats(0.003, 4))
def test_upper_is_the_count_whose_surprise_is_the_bound(expected, times, dispersion):
    bound = surprise(expected * times, expected, dispersion)
    if bound > 1e-3:
        assert highest(bound, expected, dispersion) == pytest.approx(expected * times, rel=1e-3)


def test_the_surprise_bounds_the_tail_of_a_negative_binomial():
    draw = np.random.default_rng(1)
    mean, dispersion = 7.0, 0.3
    sample = draw.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean), size=400_000)
    for seen in (10, 20, 30):
        assert np.mean(sample >= seen) <= np.exp(-surprise(seen, mean, dispersion))
    assert surprise(5, mean, dispersion) == 0


def test_the_record_is_of_the_half_days_and_leaves_the_top_tenth_out():
    record = Record.start(2.0, 0.7)
    before = record.usual
    for block in range(62):
        largest = 1000.0 if block % 20 == 0 else 3.0
        for row in range(144):
            record.note(block * BLOCK_SECONDS + 300 * row, largest if row == 7 else 0.1, 300)
    assert len(record.peaks) == 60
    assert record.usual == pytest.approx(3.0, rel=0.1)
    assert record.usual != before


def test_half_days_that_are_mostly_gaps_are_no_record():
    record = Record.start(2.0, 0.7)
    for block in range(4):
        for row in range(10):
            record.note(block * BLOCK_SECONDS + 300 * row, 1.0, 300)
    assert record.peaks == []


def test_the_baseline_finds_the_level_in_hours():
    baseline = Baseline()
    baseline.begin(0.0)
    for row in range(144):
        middle = START + 300 * row
        baseline.learn(baseline.expect(middle, 1.0), 12.0, 1.0)
    assert baseline.expect(START + 300 * 144, 1.0).mean == pytest.approx(12, rel=0.25)
