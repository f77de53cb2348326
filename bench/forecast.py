"""The forecast of the next 48 hours against the seasonal naive, from rolling origins.

    python -m bench.forecast [--nab DIR] [--series N] [--seed S] [--simulator] [--json]

Every six hours, from the third week on (the tenth day of the short series of the benchmark), the next 48 hours are
forecast from what came before. The seasonal naive takes the count of the same hour a week before (of the last hour of
that kind that is known); where that was a gap, a week before that. Printed are the mean absolute error as a share of
the naive's, over all hours and by distance; how many of the counts lay within the 80 % and 95 % intervals, which
should be just that; the mean width of the latter in units of what was expected; and the sum of what was expected as a
share of what came.

Series: the Numenta Anomaly Benchmark's tweet counts (--nab DIR with realTweets/*.csv or *.csv.gz: hourly sums); the
simulator's mentions and complaints of each brand (--simulator: six weeks of 2,000 a day, tagged as shipped, which
takes half a minute); and synthetic counts of bench/spikes.py with their incidents, ramps,
drift, gaps and news, at bases of 0.2 to 200 per five minutes.
"""

import argparse
import csv
import gzip
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from msgspec import Struct, to_builtins

from bench import spikes
from hark.alerts.forecast import Forecaster
from hark.core.change import Seen
from hark.settings import load
from hark.wiring import chain_of
from ingest.simulator import PLATFORMS, Options, Simulator

AHEAD = 48
EVERY = 6
WEEK = 168
SIMULATED_DAYS = 42
END = datetime(2026, 3, 2, tzinfo=UTC)
BY_LEAD = ((1, 6), (7, 24), (25, 48))


class Hours(Struct):
    """One series: the first hour (seconds since 1970), and the counts; None is a gap."""

    group: str
    name: str
    start: int
    counts: list[float | None]
    first_origin: int


class Outcome(Struct):
    """What one series, or several of a kind, came to: sums over forecast hours, by distance."""

    name: str
    hours: list[int]
    error: list[float]
    naive: list[float]
    within_80: list[int]
    within_95: list[int]
    width_95: float = 0.0
    expected: float = 0.0
    actual: float = 0.0


def judge(series: Hours) -> Outcome:
    """Forecast from every origin of `series` and hold what came against it."""
    found = Outcome(series.name, [0] * 3, [0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3)
    forecaster = Forecaster(series.start)
    counts = series.counts
    for origin, value in enumerate(counts):
        if origin >= series.first_origin and origin % EVERY == 0:
            for ahead, point in enumerate(forecaster.points(min(AHEAD, len(counts) - origin))):
                actual = counts[origin + ahead]
                before = naive(counts, origin, ahead)
                if actual is None or before is None:
                    continue
                part = next(n for n, (low, high) in enumerate(BY_LEAD) if low <= ahead + 1 <= high)
                found.hours[part] += 1
                found.error[part] += abs(actual - point.expected)
                found.naive[part] += abs(actual - before)
                found.within_80[part] += point.low_80 <= actual <= point.high_80
                found.within_95[part] += point.low_95 <= actual <= point.high_95
                found.width_95 += point.high_95 - point.low_95
                found.expected += point.expected
                found.actual += actual
        forecaster.observe(value)
    return found


def naive(counts: Sequence[float | None], origin: int, ahead: int) -> float | None:
    """Return the count of the same hour a week before, or of the last week that has it."""
    at = origin + ahead - WEEK
    while at >= 0:
        if at < origin and counts[at] is not None:
            return counts[at]
        at -= WEEK
    return None


def nab(folder: Path) -> Iterator[Hours]:
    """Yield the benchmark's series as hourly sums; an hour that is not whole is left out at both ends."""
    for path in sorted((folder / "realTweets").glob("*.csv*")):
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            rows = [
                (datetime.fromisoformat(r["timestamp"]).replace(tzinfo=UTC).timestamp(), float(r["value"]))
                for r in csv.DictReader(file)
            ]
        first = int(rows[0][0] // 3600) + 1
        hours = [0.0] * (int(rows[-1][0] // 3600) - first)
        for moment, value in rows:
            if 0 <= (at := int(moment // 3600) - first) < len(hours):
                hours[at] += value
        yield Hours("nab", path.name.partition(".")[0], first * 3600, list(hours), 10 * 24)


def synthetic(number: int, first_seed: int) -> Iterator[Hours]:
    """Yield hourly sums of the generator's series; an hour with a gap in it is a gap."""
    for at in range(number):
        base = spikes.BASES[at % len(spikes.BASES)]
        made = spikes.generate(first_seed + at, base)
        sums = made.counts.reshape(-1, 12).sum(axis=1)
        counts = [None if np.isnan(value) else float(value) for value in sums]
        yield Hours("synthetic", f"base {base:g}", 0, counts, 14 * 24)


def simulated() -> Iterator[Hours]:
    """Yield the mentions and the complaints of each brand that the simulator writes in six weeks."""
    settings = load()
    chain = chain_of(settings)
    begin = END - timedelta(days=SIMULATED_DAYS)
    sums: dict[tuple[str, str], list[float | None]] = {
        (brand.name, metric): [0.0] * (SIMULATED_DAYS * 24)
        for brand in settings.brands
        for metric in ("count", "complaints")
    }
    for platform in PLATFORMS:
        options = Options(platform, mentions_per_day=2_000, history_days=SIMULATED_DAYS, start=END)
        for batch in Simulator(platform, options, lambda: END).read(None, stop := threading.Event()):
            mentions = [change.mention for change in batch.changes if isinstance(change, Seen)]
            for mention, tags in zip(mentions, chain.tag(mentions), strict=True):
                hour = int((mention.created_at - begin).total_seconds() // 3600)
                if not 0 <= hour < SIMULATED_DAYS * 24:
                    continue
                for brand in tags.brands:
                    sums[brand, "count"][hour] += 1  # type: ignore[operator]
                    if tags.sentiment.label == "negative":
                        sums[brand, "complaints"][hour] += 1  # type: ignore[operator]
            if not mentions:
                stop.set()
    for (brand, metric), counts in sums.items():
        yield Hours("simulator", f"{brand} {metric}", int(begin.timestamp()), counts, 14 * 24)


def merged(name: str, parts: Sequence[Outcome]) -> Outcome:
    """Return the sum of several."""
    total = Outcome(name, [0] * 3, [0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3)
    for part in parts:
        for field in ("hours", "error", "naive", "within_80", "within_95"):
            mine, theirs = getattr(total, field), getattr(part, field)
            for at in range(3):
                mine[at] += theirs[at]
        total.width_95 += part.width_95
        total.expected += part.expected
        total.actual += part.actual
    return total


def row(outcome: Outcome) -> str:
    """Return one line of the table."""
    hours = sum(outcome.hours)
    ratios = [sum(outcome.error) / sum(outcome.naive)]
    ratios += [error / naive for error, naive in zip(outcome.error, outcome.naive, strict=True)]
    covers = (sum(outcome.within_80) / hours, sum(outcome.within_95) / hours)
    return (
        f"{outcome.name:28} {hours:8,}  "
        + " ".join(f"{ratio:6.2f}" for ratio in ratios)
        + "  "
        + " ".join(f"{cover:6.1%}" for cover in covers)
        + f"  {outcome.width_95 / outcome.expected:6.2f} {outcome.expected / outcome.actual:6.2f}"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nab", type=Path)
    parser.add_argument("--series", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--simulator", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    every = [*synthetic(options.series, options.seed)]
    if options.simulator:
        every = [*simulated(), *every]
    if options.nab is not None:
        every = [*nab(options.nab), *every]
    outcomes = [(series.group, judge(series)) for series in every]
    if options.json:
        print(json.dumps([to_builtins(outcome) for _, outcome in outcomes]))
        return
    print(
        f"{'':28} {'hours':>8}  {'MAE':>6} {'1-6':>6} {'7-24':>6} {'25-48':>6}  {'80 %':>6} {'95 %':>6}  width    sum"
    )
    for group in dict.fromkeys(name for name, _ in outcomes):
        parts = [outcome for name, outcome in outcomes if name == group]
        for name in dict.fromkeys(part.name for part in parts):
            print(row(merged(name, [part for part in parts if part.name == name])))
        print(row(merged(f"all of {group}", parts)) + "\n")


if __name__ == "__main__":
    main()
