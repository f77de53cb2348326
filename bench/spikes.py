"""The spike detector on synthetic counts whose incidents are known, beside a spike rule as ElastAlert 2 has it.

    python -m bench.spikes [--series N] [--seed S] [--json]

Each series is six weeks of counts every five minutes: a base rate of 0.2 to 200, a rhythm of day and weekend, a slow
drift, a ramp over days and back, gaps, and a day of news that lifts the level to 1.3 to 2 times (no incident: an
alert on it is false). Counts are negative binomial. Incidents come one to six days apart, ×2, ×4 or ×8, last 20
minutes to 6 hours, and a third of them rise slowly. An incident is detectable when its expected excess is at least
five standard deviations of the ordinary count over its time.

Alerts of the first two days do not count. Recall is of detectable incidents with an alert from their beginning to an
hour after their end; events are alerts merged up to three hours apart, and false when none of theirs lies in any
incident (or the hour after); delay is from the beginning of an incident to its first alert's row being complete.
"""

import argparse
import json
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from hark.alerts.detector import Detector, Options

BASES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
ROWS_A_DAY = 288
DAYS = 42
INTERVAL_SECONDS = 300
WARM_UP_ROWS = 2 * ROWS_A_DAY
GRACE_ROWS = 12
MERGE_ROWS = 36
DETECTABLE = 5.0

Numbers = NDArray[np.float64]


class Incident(Struct):
    """Rows `begin` to `end` (exclusive), at `factor` times the rate; `deviations` is how far it stands out."""

    begin: int
    end: int
    factor: int
    deviations: float


class Series(Struct):
    """The counts (nan is a gap), and what is in them."""

    base: float
    counts: Numbers
    incidents: list[Incident]
    news: tuple[int, int]


def generate(seed: int, base: float, incidents: bool = True) -> Series:
    """Return a series; the same seed gives the same one."""
    draw = np.random.default_rng(seed)
    rows = DAYS * ROWS_A_DAY
    row = np.arange(rows)
    news_begin = int(draw.integers(8, DAYS - 2)) * ROWS_A_DAY + int(draw.integers(0, ROWS_A_DAY))
    news = (news_begin, news_begin + ROWS_A_DAY)
    rate = base * _rhythm(draw, row) * _drift(draw, row) * _lift(draw, row, news)
    dispersion = float(np.exp(draw.uniform(np.log(0.02), np.log(0.3))))
    factors = np.ones(rows)
    found = []
    if incidents:
        for begin, profile in _profiles(draw, rows, news):
            end = begin + len(profile)
            usual = rate[begin:end]
            factors[begin:end] = profile
            excess = float((usual * (profile - 1)).sum())
            deviation = float(np.sqrt((usual + dispersion * usual**2).sum()))
            found.append(Incident(begin, end, round(float(profile.max())), excess / deviation))
    size = 1 / dispersion
    counts = draw.negative_binomial(size, size / (size + rate * factors)).astype(float)
    for _ in range(4):
        begin = int(draw.integers(0, rows - 200))
        counts[begin : begin + int(np.exp(draw.uniform(np.log(3), np.log(150))))] = np.nan
    return Series(base, counts, found, news)


def _rhythm(draw: np.random.Generator, row: NDArray[np.int64]) -> Numbers:
    turn = 2 * np.pi * (row % ROWS_A_DAY) / ROWS_A_DAY
    height = draw.uniform(0.2, 0.9)
    first, second = 2 * np.pi * draw.uniform(size=2)
    shape = 1 + height * np.cos(turn - first) + 0.25 * height * np.cos(2 * turn - second)
    weekend = np.where(row // ROWS_A_DAY % 7 >= 5, draw.uniform(0.5, 1.1), 1.0)
    rhythm: Numbers = np.maximum(shape, 0.08) * weekend
    rhythm /= rhythm.mean()
    return rhythm


def _drift(draw: np.random.Generator, row: NDArray[np.int64]) -> Numbers:
    """Return a drift up to twofold over the six weeks, and a ramp up and down again over some days."""
    drift = 2.0 ** (draw.uniform(-1, 1) * row / len(row))
    begin = draw.integers(14 * ROWS_A_DAY, len(row) - 9 * ROWS_A_DAY)
    length = draw.uniform(2, 4) * ROWS_A_DAY
    hill = np.clip(1 - np.abs((row - begin) / length - 1), 0, 1)
    ramp: Numbers = drift * draw.uniform(1.3, 2.0) ** hill
    return ramp


def _lift(draw: np.random.Generator, row: NDArray[np.int64], news: tuple[int, int]) -> Numbers:
    """Return the day of news: up within three hours, and down."""
    edge = np.minimum(row - news[0] + 1, news[1] - row) / 36
    lift: Numbers = 1 + draw.uniform(0.3, 1.0) * np.clip(edge, 0, 1)
    return lift


def _profiles(draw: np.random.Generator, rows: int, news: tuple[int, int]) -> Iterator[tuple[int, Numbers]]:
    """Yield where an incident begins and its factors; none within twelve hours of the day of news."""
    at = 2 * ROWS_A_DAY + int(draw.integers(0, ROWS_A_DAY))
    while True:
        at += int(ROWS_A_DAY * draw.uniform(1, 6))
        length = round(float(np.exp(draw.uniform(np.log(4), np.log(72)))))
        factor = float(draw.choice([2, 4, 8]))
        slow = draw.uniform() < 1 / 3
        if at + length + 72 >= rows:
            return
        if news[0] - 144 <= at + length and at <= news[1] + 144:
            continue
        profile = np.full(length, factor)
        if slow:
            rise = max(1, length // 3)
            profile[:rise] = 1 + (factor - 1) * np.arange(1, rise + 1) / rise
        yield at, profile
        at += length


def detector_alerts(series: Series, options: Options) -> list[int]:
    """Return the rows at which Hark's detector alerts; a gap is a row that is not there."""
    detector = Detector(options=options)
    return [
        at
        for at, count in enumerate(series.counts)
        if not np.isnan(count) and detector.update(at * INTERVAL_SECONDS, float(count)).is_alert
    ]


def spike_rule_alerts(series: Series, height: float = 3.0, rows: int = 12) -> list[int]:
    """Return the rows at which ElastAlert 2's rule of type `spike` alerts.

    The count of the last hour is at least three times that of the hour before (spike_type up, timeframe one hour),
    asked every row; after an alert both windows begin anew, as that rule does.
    """
    counts = np.nan_to_num(series.counts)
    total = np.concatenate([[0.0], np.cumsum(counts)])
    alerts: list[int] = []
    start = 0
    for end in range(2 * rows, len(counts) + 1):
        if end - start < 2 * rows:
            continue
        now = total[end] - total[end - rows]
        before = total[end - rows] - total[end - 2 * rows]
        if before > 0 and now >= height * before:
            alerts.append(end - 1)
            start = end
    return alerts


class Tally(Struct):
    """What all series come to."""

    detectable: int = 0
    found: int = 0
    events: int = 0
    true_events: int = 0
    news_events: int = 0
    delays: list[float] = []

    def readable(self) -> dict[str, float]:
        """Return the figures."""
        false = self.events - self.true_events
        return {
            "detectable": self.detectable,
            "recall": round(self.found / max(self.detectable, 1), 3),
            "event_precision": round(self.true_events / max(self.events, 1), 3),
            "median_delay_minutes": float(np.median(self.delays)) if self.delays else float("nan"),
            "events": self.events,
            "false_events": false,
            "of_which_news_days": self.news_events,
        }


def tally(cases: Sequence[tuple[Series, list[int]]]) -> Tally:
    """Hold the alerts of each series against its incidents."""
    found = Tally()
    for series, alerts in cases:
        counted = [at for at in alerts if at >= WARM_UP_ROWS]
        spans = [(one.begin, one.end + GRACE_ROWS) for one in series.incidents]
        for one in series.incidents:
            gap = float(np.isnan(series.counts[one.begin : one.end]).mean())
            if one.deviations < DETECTABLE or one.begin < WARM_UP_ROWS or gap > 0.3:
                continue
            found.detectable += 1
            first = next((at for at in counted if one.begin <= at < one.end + GRACE_ROWS), None)
            if first is not None:
                found.found += 1
                found.delays.append((first - one.begin + 1) * INTERVAL_SECONDS / 60)
        for event in _merged(counted):
            found.events += 1
            if any(begin <= at < end for at in event for begin, end in spans):
                found.true_events += 1
            elif series.news[0] <= event[0] < series.news[1]:
                found.news_events += 1
    return found


def _merged(alerts: Sequence[int]) -> list[list[int]]:
    events: list[list[int]] = []
    for at in alerts:
        if events and at - events[-1][-1] <= MERGE_ROWS:
            events[-1].append(at)
        else:
            events.append([at])
    return events


def measure(number: int, seed: int, options: Options) -> dict[str, dict[str, float]]:
    """Return the figures of the detector and of the spike rule on the same `number` of series, and by base rate."""
    series = [generate(seed + at, BASES[at % len(BASES)]) for at in range(number)]
    ours = [(one, detector_alerts(one, options)) for one in series]
    rows = {
        "hark detect": tally(ours).readable(),
        "ElastAlert 2 spike": tally([(one, spike_rule_alerts(one)) for one in series]).readable(),
    }
    for base in BASES[:number]:
        rows[f"hark detect, {base:g} per row"] = tally(
            [case for case in ours if case[0].base == base]
        ).readable()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = measure(arguments.series, arguments.seed, Options(threshold=arguments.threshold))
    if arguments.json:
        print(json.dumps(rows))
        return
    print(
        f"{'':30}{'recall':>8}{'precision':>11}{'delay min':>11}{'detectable':>12}{'events':>8}{'false':>7}{'news':>6}"
    )
    for name, row in rows.items():
        print(
            f"{name:30}{row['recall']:8.2f}{row['event_precision']:11.2f}{row['median_delay_minutes']:11.1f}"
            f"{row['detectable']:12}{row['events']:8}{row['false_events']:7}{row['of_which_news_days']:6}"
        )


if __name__ == "__main__":
    main()
