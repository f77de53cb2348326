"""What knowing holidays is worth: false alarms of the spike detector, and errors of the forecast, with and without.

    python -m bench.holidays [--series N] [--seed S]

Series of 500 days of five-minute counts without any incident: negative binomial (dispersion 0.1), a daily and a weekly
rhythm, and the public holidays of the United States. On those there is about 45 % of an ordinary day, each between
34 and 56 %; on the day before Thanksgiving 2.2 times as much, of which the settings say 1.8 times a Friday. Every alert is
false. The forecast is of hourly sums: 48 hours from every six, judged by the hours that lie on a holiday, those of the
two days after one, and all others: the mean absolute error in units of what came, and how much the intervals held.
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
from msgspec import Struct

from hark.alerts.detector import Detector, Options
from hark.alerts.forecast import Forecaster
from hark.alerts.holidays import NONE, Day, DayEntry, Holidays

BUSY = "Day before Thanksgiving"
KNOWN = Holidays(
    ("US",),
    "America/Chicago",
    (DayEntry(BUSY, (date(2025, 11, 26), date(2026, 11, 25)), "friday", 1.8),),
)
START = datetime(2025, 9, 1, 5, tzinfo=UTC)
DAYS, ROWS = 500, 288
BASES = (1.0, 5.0, 20.0, 100.0)
WEEKDAYS = (1.05, 1.0, 1.0, 1.05, 1.1, 0.7, 0.6)
QUIET, BUSY_TIMES, DISPERSION = 0.45, 2.2, 0.1
AHEAD, EVERY, FIRST = 48, 6, 14 * 24
KINDS = ("on a holiday", "two days after", "other hours")


class Judged(Struct):
    """Sums over forecast hours, by KINDS."""

    hours: list[int]
    error: list[float]
    came: list[float]
    within_80: list[int]
    within_95: list[int]


def generate(seed: int, base: float) -> np.ndarray:
    """Return five-minute counts from START on; `base` is the mean of an ordinary Tuesday's row."""
    draw = np.random.default_rng(seed)
    means = np.array([base * _shape(START + timedelta(minutes=5 * row)) for row in range(DAYS * ROWS)])
    return draw.negative_binomial(1 / DISPERSION, 1 / (1 + DISPERSION * means)).astype(float)


def _shape(moment: datetime) -> float:
    local = moment - timedelta(hours=6)
    rhythm = 1 + 0.7 * np.sin((local.hour + local.minute / 60 - 9) / 24 * 2 * np.pi)
    return float(rhythm * _of(KNOWN.at(moment.timestamp()), local.weekday()))


def _of(day: Day | None, weekday: int) -> float:
    if day is None:
        return WEEKDAYS[weekday]
    # Each holiday has a size of its own, the same every year.
    return BUSY_TIMES if day.name == BUSY else QUIET * (1 + 0.25 * np.sin(sum(map(ord, day.name))))


def alerts(counts: np.ndarray, holidays: Holidays) -> Iterator[float]:
    """Yield when the detector alerts, in seconds since 1970."""
    detector = Detector(options=Options(interval_seconds=300.0))
    for row, value in enumerate(counts):
        at = START.timestamp() + 300 * row
        if detector.update(at, float(value), holiday=holidays.at(at + 150)).is_alert:
            yield at


def forecast(counts: np.ndarray, holidays: Holidays) -> Judged:
    """Forecast hourly sums from every origin, and hold what came against it."""
    found = Judged([0] * 3, [0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3)
    hours = counts.reshape(-1, 12).sum(axis=1)
    first = int(START.timestamp())
    forecaster = Forecaster(first, holidays=holidays)
    for origin, value in enumerate(hours):
        if origin >= FIRST and origin % EVERY == 0:
            for ahead, point in enumerate(forecaster.points(min(AHEAD, len(hours) - origin))):
                actual = float(hours[origin + ahead])
                kind = _kind(point.start)
                found.hours[kind] += 1
                found.error[kind] += abs(actual - point.expected)
                found.came[kind] += actual
                found.within_80[kind] += point.low_80 <= actual <= point.high_80
                found.within_95[kind] += point.low_95 <= actual <= point.high_95
        forecaster.observe(float(value))
    return found


def _kind(start: int) -> int:
    if KNOWN.at(start + 1800) is not None:
        return 0
    return 1 if any(KNOWN.at(start + 1800 - back * 86_400) is not None for back in (1, 2)) else 2


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=3, help="of each base")
    parser.add_argument("--seed", type=int, default=500_000)
    asked = parser.parse_args()
    totals = {
        knows: [Judged([0] * 3, [0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3) for _ in BASES]
        for knows in (False, True)
    }
    print(f"{'per row':>8} {'holidays':>9} {'false alerts':>13} {'on or the day after one':>24}")
    for place, base in enumerate(BASES):
        written = [generate(asked.seed + number, base) for number in range(asked.series)]
        for knows, holidays in ((False, NONE), (True, KNOWN)):
            told = [at for counts in written for at in alerts(counts, holidays)]
            near = [at for at in told if KNOWN.at(at) is not None or KNOWN.at(at - 86_400) is not None]
            print(f"{base:8g} {'known' if knows else 'unknown':>9} {len(told):13} {len(near):24}", flush=True)
            for counts in written:
                one = forecast(counts, holidays)
                for name in Judged.__struct_fields__:
                    mine, more = getattr(totals[knows][place], name), getattr(one, name)
                    mine[:] = [a + b for a, b in zip(mine, more, strict=True)]
    print(f"\n{'forecast':16} {'holidays':>9} {'hours':>9} {'error':>7} {'80 %':>7} {'95 %':>7}")
    for kind, name in enumerate(KINDS):
        for knows, parts in totals.items():
            hours = sum(part.hours[kind] for part in parts)
            error = sum(part.error[kind] / part.came[kind] for part in parts) / len(parts)
            within = [sum(getattr(part, at)[kind] for part in parts) for at in ("within_80", "within_95")]
            print(
                f"{name:16} {'known' if knows else 'unknown':>9} {hours:9,} {error:7.1%} "
                f"{within[0] / hours:7.1%} {within[1] / hours:7.1%}"
            )


if __name__ == "__main__":
    main()
