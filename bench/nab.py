"""The spike detector on the Numenta Anomaly Benchmark's tweet counts: NAB's score and the precision of events.

    python -m bench.nab DIR [--json]

DIR holds realTweets/*.csv or *.csv.gz (timestamp,value) and realTweets_windows.json (label windows by file), as the
benchmark publishes them. Printed are the detector as it is shipped, and the leave-one-file-out protocol: the one
threshold is chosen for each file on the other files alone, and the file is scored with that.

NAB's score, after Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", 2015, and the code of the
benchmark: the first alert in a window earns a sigmoid of how early it stands, each alert outside costs 0.11 of a
sigmoid of its distance behind the window before, a missed window costs 1; 0 is the silent detector, 100 the perfect
one. Alerts of the first 15 % of the rows (750 at most) do not count.
"""

import argparse
import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import exp
from pathlib import Path

from msgspec import Struct

from hark.alerts.detector import Detector, Options

FALSE_WEIGHT = 0.11
PROBATION_SHARE, PROBATION_ROWS_AT_MOST = 0.15, 750
MERGE_SECONDS = 3 * 3600
THRESHOLDS = tuple(round(0.7 + 0.05 * step, 2) for step in range(13))
SMOOTHED_OVER = 2
"""A threshold is judged with its two neighbours on each side: the middle of a plateau, not the edge of a cliff."""


class Series(Struct):
    """One file: times in seconds, values, and its label windows as first and last row."""

    name: str
    times: list[float]
    values: list[float]
    windows: list[tuple[int, int]]


class Score(Struct):
    """What one or several files come to; scores add up."""

    raw: float = 0.0
    windows: int = 0
    hit: int = 0
    false_alerts: int = 0
    events: int = 0
    true_events: int = 0

    @property
    def nab(self) -> float:
        """NAB's normalised score: 0 for silence, 100 for perfection."""
        return 100 * (self.raw + self.windows) / (2 * self.windows)

    @property
    def precision(self) -> float:
        """The share of events, alerts merged up to three hours apart, with an alert in a window."""
        return self.true_events / self.events if self.events else 0.0

    def __add__(self, other: "Score") -> "Score":
        """Return the sum, as of files that are scored together."""
        return Score(
            self.raw + other.raw,
            self.windows + other.windows,
            self.hit + other.hit,
            self.false_alerts + other.false_alerts,
            self.events + other.events,
            self.true_events + other.true_events,
        )


def load(folder: Path) -> list[Series]:
    """Return the series of `folder`, in the order of their names."""
    windows = json.loads((folder / "realTweets_windows.json").read_text())
    found = []
    for path in sorted((folder / "realTweets").glob("*.csv*")):
        name = path.name.removesuffix(".gz")
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        times = [_seconds(row["timestamp"]) for row in rows]
        spans = [(_seconds(begin), _seconds(end)) for begin, end in windows[f"realTweets/{name}"]]
        inside = [[at for at, time in enumerate(times) if begin <= time <= end] for begin, end in spans]
        values = [float(row["value"]) for row in rows]
        found.append(
            Series(name.removesuffix(".csv"), times, values, [(rows_[0], rows_[-1]) for rows_ in inside])
        )
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def alerts_of(series: Series, options: Options) -> list[int]:
    """Return the rows at which the detector alerts."""
    detector = Detector(options=options)
    rows = enumerate(zip(series.times, series.values, strict=True))
    return [at for at, (time, value) in rows if detector.update(time, value).is_alert]


def score(series: Series, alerts: Iterable[int]) -> Score:
    """Return NAB's score of the alerts (rows), standard profile, and the counts of events."""
    probation = min(int(PROBATION_SHARE * len(series.times)), PROBATION_ROWS_AT_MOST)
    counted = [at for at in alerts if at >= probation]
    found = Score(windows=len(series.windows))
    for begin, end in series.windows:
        first = next((at for at in counted if begin <= at <= end), None)
        if first is None:
            found.raw -= 1
        else:
            found.hit += 1
            found.raw += _sigmoid(-(end - first + 1) / (end - begin + 1)) / _sigmoid(-1)
    inside = {at for at in counted if any(begin <= at <= end for begin, end in series.windows)}
    for at in counted:
        if at not in inside:
            found.false_alerts += 1
            found.raw += FALSE_WEIGHT * _false(at, series.windows)
    for event in _events(counted, series.times):
        found.events += 1
        found.true_events += any(at in inside for at in event)
    return found


def _sigmoid(position: float) -> float:
    return 2 / (1 + exp(5 * position)) - 1


def _false(at: int, windows: Sequence[tuple[int, int]]) -> float:
    before = [(begin, end) for begin, end in windows if end < at]
    if not before:
        return -1.0
    begin, end = before[-1]
    position = (at - end) / (end - begin)
    return -1.0 if position > 3 else _sigmoid(position)


def _events(alerts: Iterable[int], times: Sequence[float]) -> list[list[int]]:
    events: list[list[int]] = []
    for at in alerts:
        if events and times[at] - times[events[-1][-1]] <= MERGE_SECONDS:
            events[-1].append(at)
        else:
            events.append([at])
    return events


def leave_one_out(scores: Mapping[float, Sequence[Score]]) -> tuple[Score, list[float]]:
    """Score each file with the threshold that does best on the others; return the sum and the choices.

    `scores` has for each threshold, in order, the scores of the files. The best is the highest sum of NAB's score
    and the event precision in per cent, as the mean over the threshold and its neighbours.
    """
    thresholds = list(scores)
    total, chosen = Score(), []
    for left_out in range(len(scores[thresholds[0]])):
        worth = []
        for threshold in thresholds:
            others = [one for at, one in enumerate(scores[threshold]) if at != left_out]
            together = sum(others, Score())
            worth.append(together.nab + 100 * together.precision)
        best = max(range(SMOOTHED_OVER, len(worth) - SMOOTHED_OVER), key=lambda at: sum(_around(worth, at)))
        chosen.append(thresholds[best])
        total += scores[thresholds[best]][left_out]
    return total, chosen


def _around(worth: Sequence[float], at: int) -> Sequence[float]:
    return worth[at - SMOOTHED_OVER : at + SMOOTHED_OVER + 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    files = load(arguments.folder)
    scores = {
        threshold: [score(one, alerts_of(one, Options(threshold=threshold))) for one in files]
        for threshold in THRESHOLDS
    }
    shipped = sum(scores[1.0], Score())
    left_out, chosen = leave_one_out(scores)
    rows = [(one.name, found) for one, found in zip(files, scores[1.0], strict=True)]
    rows += [("as shipped", shipped), ("leave one file out", left_out)]
    rows += [(f"threshold {threshold}", sum(found, Score())) for threshold, found in scores.items()]
    if arguments.json:
        print(json.dumps({"rows": {name: _readable(found) for name, found in rows}, "thresholds": chosen}))
        return
    print(f"{'':26}{'NAB':>7}{'windows':>10}{'precision':>11}{'events':>8}{'false alerts':>14}")
    for name, found in rows:
        print(
            f"{name:26}{found.nab:7.1f}{f'{found.hit}/{found.windows}':>10}{found.precision:11.2f}"
            f"{found.events:8}{found.false_alerts:14}"
        )
    print("thresholds chosen by leaving one file out:", *chosen)


def _readable(found: Score) -> dict[str, float]:
    return {
        "nab": round(found.nab, 2),
        "windows": found.windows,
        "hit": found.hit,
        "event_precision": round(found.precision, 3),
        "events": found.events,
        "false_alerts": found.false_alerts,
    }


if __name__ == "__main__":
    main()
