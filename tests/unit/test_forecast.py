"""The forecast: better than last week's numbers, with intervals that hold what they promise, from the past alone."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.forecast import Hours, judge, merged, nab, synthetic
from hark import settings as settings_module
from hark.alerts.forecast import Forecaster, Point, band, band_of, forecast, forecast_of
from hark.commands.forecast import command
from hark.core.clock import now
from hark.core.protocols import Gap
from hark.query import parse
from hark.query.fields import Taxonomy, ancestors
from hark.wiring import store_of
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged
from tests.support.require import shared_data

TAXONOMY: Taxonomy = ancestors({"baggage": ()})
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def airline(weeks: int, seed: int, base: float = 40.0, dispersion: float = 0.1) -> list[float | None]:
    """Return hourly counts with a rhythm of day and weekend."""
    draw = np.random.default_rng(seed)
    hour = np.arange(weeks * 168)
    rate = (
        base * (1 + 0.6 * np.cos(2 * np.pi * (hour % 24 - 18) / 24)) * np.where(hour // 24 % 7 >= 5, 0.7, 1)
    )
    size = 1 / dispersion
    return [float(count) for count in draw.negative_binomial(size, size / (size + rate))]


def within(points: Sequence[Point], actual: Sequence[float | None]) -> tuple[float, float]:
    pairs = [(p, a) for p, a in zip(points, actual, strict=True) if a is not None]
    return (
        sum(p.low_80 <= a <= p.high_80 for p, a in pairs) / len(pairs),
        sum(p.low_95 <= a <= p.high_95 for p, a in pairs) / len(pairs),
    )


@pytest.mark.parametrize(("base", "seed"), [(0.5, 1), (10.0, 2), (400.0, 3)])
def test_the_intervals_cover_what_they_say_and_the_error_is_below_last_weeks(base: float, seed: int) -> None:
    parts = [judge(Hours("", "", 0, airline(9, seed + n, base), 14 * 24)) for n in range(0, 20, 10)]
    found = merged("", parts)
    hours = sum(found.hours)
    assert hours > 15_000
    assert 0.77 <= sum(found.within_80) / hours <= (0.93 if base < 1 else 0.83)  # small counts are steps
    assert 0.935 <= sum(found.within_95) / hours <= 0.985
    assert sum(found.error) < (0.95 if base < 1 else 0.85) * sum(found.naive)


def test_on_bursts_ramps_drift_and_news_it_is_better_than_last_week_and_covers_nearly_what_it_says() -> None:
    found = merged("", [judge(series) for series in synthetic(8, 77)])
    hours = sum(found.hours)
    assert 0.74 <= sum(found.within_80) / hours <= 0.86
    assert 0.92 <= sum(found.within_95) / hours <= 0.98
    assert sum(found.error) < 0.8 * sum(found.naive)


def test_real_brands_are_forecast_better_than_by_last_week() -> None:
    series = [*nab(shared_data("nab"))]
    assert len(series) == 5
    found = merged("", [judge(one) for one in series])
    hours = sum(found.hours)
    assert sum(found.error) < 0.75 * sum(found.naive)
    assert 0.77 <= sum(found.within_80) / hours <= 0.83
    assert 0.93 <= sum(found.within_95) / hours <= 0.97


@settings(max_examples=20)
@given(
    counts=st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    interval=st.sampled_from([900, 3600, 86_400]),
)
def test_each_row_is_expected_from_those_before_it_alone(
    counts: list[float | None], cut: int, interval: int
) -> None:
    cut = min(cut, len(counts))
    found = band(counts, 0, 3, interval)
    assert len(found) == len(counts) + 3
    assert (forecast(counts[:cut], 0, 1, interval) or [None])[0] == found[cut]
    for point in filter(None, found):
        assert 0 <= point.low_95 <= point.low_80 <= point.high_80 <= point.high_95


def test_a_gap_teaches_nothing_where_silence_would() -> None:
    counts = airline(6, 5)
    gap: list[float | None] = [None] * 24
    silence: list[float | None] = [0.0] * 24

    def total(last: list[float | None]) -> float:
        return sum(point.expected for point in forecast(counts + last, 0, 24))

    usual = sum(filter(None, counts[-168 + 24 : -168 + 48]))
    assert total(gap) == pytest.approx(usual, rel=0.2)
    assert total(silence) < 0.7 * usual


def test_an_incident_lifts_the_next_hours_and_is_forgotten_the_day_after() -> None:
    calm = airline(6, 5)
    loud = [*calm[:-4], *(10 * (count or 0) for count in calm[-4:])]
    quiet_points, loud_points = forecast(calm, 0, 48), forecast(loud, 0, 48)
    assert loud_points[0].expected > 1.3 * quiet_points[0].expected
    assert sum(p.expected for p in loud_points[24:]) < 1.3 * sum(p.expected for p in quiet_points[24:])


def test_without_history_there_is_no_forecast() -> None:
    assert forecast([], 0, 48) == []
    assert forecast([None, None], 0, 48) == []
    assert band([None, 3.0, 4.0], 0)[:2] == [None, None]
    assert Forecaster(0).points(1) == []


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    store = EmbeddedStore(tmp_path / "store.db", TAXONOMY)
    items = []
    for hour in range(10 * 24):
        for n in range(3 if hour % 24 < 12 else 9):
            at = MONDAY + timedelta(hours=hour, minutes=n)
            items.append(tagged(f"x:{hour}-{n}", at=at, label="negative" if n == 0 else "neutral"))
    assert not store.write(items)
    return store


def test_a_query_is_forecast_from_what_the_store_holds(store: EmbeddedStore) -> None:
    moment = MONDAY + timedelta(days=10, minutes=30)
    found = forecast_of(store, parse(""), "count", moment, [])
    assert found.learned_from == int(MONDAY.timestamp())
    assert [p.start for p in found.points[:2]] == [
        int((MONDAY + timedelta(days=10, hours=h)).timestamp()) for h in (0, 1)
    ]
    assert found.points[3].expected == pytest.approx(3, rel=0.3)
    assert found.points[18].expected == pytest.approx(9, rel=0.3)
    complaints = forecast_of(store, parse(""), "complaints", moment, [])
    assert complaints.points[18].expected == pytest.approx(1, rel=0.3)
    assert forecast_of(store, parse("nothing"), "count", moment, []).points == []
    store.close()


def test_hours_with_an_open_gap_are_left_out_of_the_learning(store: EmbeddedStore) -> None:
    moment = MONDAY + timedelta(days=13)
    away = Gap(MONDAY + timedelta(days=10), moment, "away")
    deaf = forecast_of(store, parse(""), "count", moment, [("x", away)])
    fooled = forecast_of(
        store, parse(""), "count", moment, [("x", Gap(away.begin, away.end, "filled", True))]
    )
    assert deaf.points[18].expected > 6 > 3 * fooled.points[18].expected
    store.close()


def test_the_band_of_a_chart_covers_its_range_and_goes_on_as_forecast(store: EmbeddedStore) -> None:
    since, until = MONDAY + timedelta(days=8, minutes=20), MONDAY + timedelta(days=11)
    moment = MONDAY + timedelta(days=10, minutes=10)
    found = band_of(store, parse(""), "count", since, until, moment, [])
    assert [p.start for p in found] == [
        int((MONDAY + timedelta(days=8, hours=h)).timestamp()) for h in range(72)
    ]
    ahead = forecast_of(store, parse(""), "count", moment, [], 24).points
    assert found[48:] == ahead
    past = band_of(store, parse(""), "count", since, MONDAY + timedelta(days=9), moment, [])
    assert past == found[:24]
    store.close()


def test_the_command_prints_an_hour_a_line(tmp_path: Path) -> None:
    own = settings_module.load(settings_module.SHIPPED, tmp_path)
    moment = now()
    items = [tagged(f"x:{hour}", at=moment - timedelta(hours=hour)) for hour in range(1, 200)]
    with store_of(own) as store:
        assert not store.write(items)
    printed = CliRunner().invoke(command, ["--data", str(tmp_path), "--hours", "5", "--json"])
    assert printed.exit_code == 0, printed.output
    rows = [json.loads(line) for line in printed.output.splitlines()]
    assert len(rows) == 5
    assert datetime.fromisoformat(rows[0]["begin"]) == moment.replace(minute=0, second=0, microsecond=0)
    assert rows[4]["expected"] == pytest.approx(1, abs=0.2)
    shown = CliRunner().invoke(command, ["--data", str(tmp_path), "--zone", "America/Chicago"])
    assert "expected" in shown.output
    assert shown.output.count("–") == 96
    none = CliRunner().invoke(command, ["nothing", "--data", str(tmp_path)])
    assert "nothing can be forecast" in none.output
