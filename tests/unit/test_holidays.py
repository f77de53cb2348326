"""Holidays: which days they are, and what they are expected to bring, in the detectors and in the forecast."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hark.alerts.baseline import Baseline
from hark.alerts.detector import Detector, Options
from hark.alerts.evaluate import Stretch, evaluate
from hark.alerts.forecast import Forecaster
from hark.alerts.holidays import NONE, DayEntry, Holidays, HolidaysEntry, holidays_of
from hark.alerts.rules import Rule, find_rule, load_holidays
from hark.core.clock import to_ms
from hark.core.errors import SettingsError
from hark.query import parse

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAY = 86_400
FEAST = date(2026, 2, 12)  # a Thursday in the sixth week
FEASTS = Holidays((), "UTC", (DayEntry("Feast", (FEAST, date(2026, 2, 26))),))


def seconds(day: date, hour: float = 12.0) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + hour * 3600


def counts(days: int, feasts: float, seed: int = 3, mean: float = 10.0, interval: int = 300) -> list[float]:
    """Return counts from START on with a rhythm of day and week, and a feast at `feasts` times its weekday's."""
    draw = np.random.default_rng(seed)
    values = []
    for row in range(days * DAY // interval):
        moment = START + timedelta(seconds=interval * row)
        shape = 1 + 0.6 * np.sin((moment.hour - 9) / 24 * 2 * np.pi)
        shape *= 0.5 if moment.weekday() >= 5 else 1.0
        shape *= feasts if FEASTS.at(moment.timestamp()) is not None else 1.0
        values.append(float(draw.poisson(mean * shape)))
    return values


def alerts(values: list[float], holidays: Holidays) -> list[date]:
    detector = Detector(options=Options(interval_seconds=300.0))
    found = []
    for row, value in enumerate(values):
        at = START.timestamp() + 300 * row
        if detector.update(at, value, holiday=holidays.at(at + 150)).is_alert:
            found.append(datetime.fromtimestamp(at, UTC).date())
    return found


def test_public_holidays_are_those_of_the_country_from_its_own_midnight_on() -> None:
    american = Holidays(("US",), "America/Chicago")
    thanksgiving = seconds(date(2026, 11, 26), 0)
    assert american.at(thanksgiving + 6 * 3600 - 1) is None
    found = american.at(thanksgiving + 6 * 3600)
    assert found is not None
    assert (found.name, found.times) == ("Thanksgiving Day", 1.0)
    assert found.shift_seconds == 3 * DAY  # from Thursday to Sunday
    assert american.at(thanksgiving + 30 * 3600) is None


def test_a_holiday_and_the_day_that_it_is_kept_on_are_the_same_one_to_people() -> None:
    american = Holidays(("US",))
    names = {found.name for day in (3, 4) if (found := american.at(seconds(date(2026, 7, day))))}
    assert names == {"Independence Day"}


def test_a_part_of_a_country_has_holidays_of_its_own() -> None:
    day = seconds(date(2026, 3, 2))
    assert Holidays(("US",)).at(day) is None
    found = Holidays(("US-TX",)).at(day)
    assert found is not None
    assert found.name == "Texas Independence Day"


def test_what_the_settings_name_wins_over_the_country() -> None:
    entry = DayEntry("Sale", (date(2026, 11, 26),), "friday", 3.0)
    found = Holidays(("US",), "UTC", (entry,)).at(seconds(date(2026, 11, 26)))
    assert found is not None
    assert (found.name, found.times, found.shift_seconds) == ("Sale", 3.0, DAY)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (HolidaysEntry(("ZZ",)), "holidays.countries: expected codes"),
        (HolidaysEntry(("US-QQ",)), "holidays.countries: expected codes"),
        (HolidaysEntry((), "Mars/Olympus"), "holidays.zone: expected a name"),
        (HolidaysEntry((), "UTC", (DayEntry("x", ()),)), "dates: expected one or more"),
        (HolidaysEntry((), "UTC", (DayEntry("x", (FEAST,), "sunday", 0.0),)), "times: expected 0.01 to 100"),
    ],
)
def test_a_mistake_is_told_with_its_key(entry: HolidaysEntry, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        holidays_of(entry, "alerts.toml")


def test_alerts_toml_names_them_and_rules_with_a_season_change_by_them(tmp_path: Path) -> None:
    text = """
[[rule]]
name = "up"
detector = "spike"
[[rule]]
name = "line"
detector = "threshold"
"""
    (tmp_path / "alerts.toml").write_text(text)
    before = {name: find_rule(tmp_path, name).identity for name in ("up", "line")}
    text += """
[holidays]
countries = ["US"]
zone = "America/Chicago"
[[holidays.day]]
name = "Day before Thanksgiving"
dates = [2025-11-26, 2026-11-25]
like = "friday"
times = 1.8
"""
    (tmp_path / "alerts.toml").write_text(text)
    found = load_holidays(tmp_path).at(seconds(date(2026, 11, 25)))
    assert found is not None
    assert found.name == "Day before Thanksgiving"
    assert find_rule(tmp_path, "up").identity != before["up"]
    assert find_rule(tmp_path, "line").identity == before["line"]


def test_a_holiday_is_expected_to_be_as_the_weekday_that_it_resembles() -> None:
    baseline = Baseline()
    values = counts(28, 1.0)
    baseline.begin(values[0])
    for row, value in enumerate(values):
        found = baseline.expect(START.timestamp() + 300 * row + 150, 1.0)
        baseline.learn(found, value, 1.0)
    sunday, thursday = seconds(date(2026, 2, 8)), seconds(FEAST)
    holiday = FEASTS.at(thursday)
    assert baseline.expect(thursday, 1.0, holiday).mean == baseline.expect(sunday, 1.0).mean
    assert baseline.expect(thursday, 1.0).mean > 1.6 * baseline.expect(thursday, 1.0, holiday).mean


def test_a_holiday_teaches_nothing_about_ordinary_days_and_much_about_the_next_one() -> None:
    baseline = Baseline()
    values = counts(39, 3.0)
    baseline.begin(values[0])
    for row, value in enumerate(values):
        middle = START.timestamp() + 300 * row + 150
        if FEASTS.at(middle) is not None and not baseline.holidays:
            before = msgspec.msgpack.encode((baseline.level, baseline.day_seen, baseline.hour_seen))
        if middle < seconds(FEAST, 24):
            baseline.learn(baseline.expect(middle, 1.0, FEASTS.at(middle)), value, 1.0)
    assert msgspec.msgpack.encode((baseline.level, baseline.day_seen, baseline.hour_seen)) == before
    again = seconds(date(2026, 2, 26))
    found = baseline.expect(again, 1.0, FEASTS.at(again))
    sunday = baseline.expect(seconds(date(2026, 3, 1)), 1.0).mean
    # Three times a Thursday is six times a Sunday.
    assert found.mean == pytest.approx(6 * sunday, rel=0.25)
    assert found.doubt < 0.1 < Baseline(level=1.0).expect(again, 1.0, FEASTS.at(again)).doubt


def test_a_busy_holiday_is_no_spike_where_it_is_known_and_an_incident_on_it_is() -> None:
    busy = Holidays((), "UTC", (DayEntry("Feast", (FEAST,), "thursday", 2.0),))
    values = counts(40, 2.3)
    assert FEAST in alerts(values, NONE)
    assert FEAST not in alerts(values, busy)
    noon = int((seconds(FEAST) - START.timestamp()) / 300)
    values[noon : noon + 12] = [value * 6 for value in values[noon : noon + 12]]
    assert FEAST in alerts(values, busy)


def test_without_holidays_nothing_changes_to_the_last_digit() -> None:
    values = counts(30, 1.0)
    plain, other = Detector(), Detector()
    far = Holidays((), "UTC", (DayEntry("Far away", (date(2030, 1, 1),)),))
    for row, value in enumerate(values):
        at = START.timestamp() + 300 * row
        assert plain.update(at, value) == other.update(at, value, holiday=far.at(at))
    assert plain.state() == other.state()


def test_a_quiet_holiday_is_no_silence_where_it_is_known() -> None:
    values = counts(40, 0.05, mean=30.0)
    rule = Rule("r", "R", parse(""), "count", (), "flatline", window_seconds=3600, minimum_volume=20)
    begin = to_ms(START)
    cells = {begin + row * 300_000: {None: {"x": (int(v), int(v))}} for row, v in enumerate(values) if v}
    stretch = Stretch(begin, begin + len(values) * 300_000, cells, {})
    told = {}
    for name, holidays in (("unknown", NONE), ("known", FEASTS)):
        verdicts, _ = evaluate(msgspec.structs.replace(rule, holidays=holidays), stretch)
        told[name] = sum(verdict.event == "begin" for verdict in verdicts)
    assert told["unknown"] >= 1
    assert told["known"] == 0


def test_cut_within_a_holiday_a_rule_says_the_same_as_in_one_go() -> None:
    values = counts(40, 2.3)
    rule = Rule("r", "R", parse(""), "count", (), "spike", minimum_volume=5, holidays=FEASTS)
    begin = to_ms(START)
    cells = {begin + row * 300_000: {None: {"x": (int(v), int(v))}} for row, v in enumerate(values) if v}
    whole = Stretch(begin, begin + len(values) * 300_000, cells, {})
    cut = int(seconds(FEAST)) * 1000
    expected, last = evaluate(rule, whole)
    first, checkpoint = evaluate(rule, whole.part(begin, cut))
    second, end = evaluate(rule, whole.part(cut, whole.end), checkpoint)
    assert first + second == expected
    assert end == last


def test_the_forecast_of_a_holiday_is_that_of_its_like_and_its_interval_is_wider() -> None:
    values = counts(39, 0.5, interval=3600, mean=120.0)
    # From the evening before the feast.
    upto = int((seconds(FEAST, 0) - START.timestamp()) / 3600)
    forecasters = {name: Forecaster(int(START.timestamp()), holidays=days) for name, days in DAYS.items()}
    errors = {}
    for name, forecaster in forecasters.items():
        for value in values[:upto]:
            forecaster.observe(value)
        points = forecaster.points(24)
        errors[name] = sum(
            abs(point.expected - came) for point, came in zip(points, values[upto : upto + 24], strict=True)
        )
        if name == "known":
            width = sum(point.high_80 - point.low_80 for point in points) / sum(p.expected for p in points)
        else:
            plain = sum(point.high_80 - point.low_80 for point in points) / sum(p.expected for p in points)
    assert errors["known"] < 0.4 * errors["unknown"]
    assert width > 1.5 * plain


DAYS = {"unknown": NONE, "known": FEASTS}
