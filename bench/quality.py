"""Measures the tags of the chain as shipped, without any training, on labelled texts; prints the tables of docs/quality.md.

    python -m bench.quality [--data ../shared/data] [--errors N]

Intervals are 95 % by the bootstrap (400 resamples, seed 0); texts of one author are resampled together where authors
are known. The labelled data is for evaluation alone and no part of the project.
"""

import argparse
import csv
import gzip
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from enrich import Context, build
from enrich.chain import Chain
from enrich.phrasebook import load, parents
from hark.core.mention import Enrichment, Mention
from hark.settings import SHIPPED

LABELS = ("negative", "neutral", "positive")
REASONS = {
    "customer-service": "Customer Service Issue",
    "late-flight": "Late Flight",
    "cancelled-flight": "Cancelled Flight",
    "lost-luggage": "Lost Luggage",
    "bad-flight": "Bad Flight",
    "flight-booking": "Flight Booking Problems",
    "flight-attendant": "Flight Attendant Complaints",
    "long-lines": "longlines",
    "damaged-luggage": "Damaged Luggage",
}
CANNOT_TELL = "Can't Tell"
STEPS = ("text", "language", "vader", "sentiment", "topics", "intent", "urgency", "journey")
RESAMPLES = 400
BATCH = 500


def chain() -> Chain:
    """Return the steps that need neither brands nor training."""
    return Chain([build(name, Context(SHIPPED, (), None, {})) for name in STEPS])


def tag(texts: Sequence[str]) -> list[Enrichment]:
    """Return what the shipped chain says of each text."""
    steps = chain()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    mentions = [Mention(f"bench:{i}", "bench", text, now, now) for i, text in enumerate(texts)]
    return [
        found for start in range(0, len(texts), BATCH) for found in steps.tag(mentions[start : start + BATCH])
    ]


def reason_of(enrichment: Enrichment) -> str:
    """Return the reason of a complaint that the first topic stands for."""
    return REASONS.get(enrichment.topics[0].id, CANNOT_TELL) if enrichment.topics else CANNOT_TELL


def accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the share of right labels."""
    return float((truth == said).mean())


def macro_f1(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the mean of the F1 of the classes that are in `truth`."""
    scores = []
    for label in np.unique(truth):
        right = ((truth == label) & (said == label)).sum()
        scores.append(2 * right / ((truth == label).sum() + (said == label).sum()))
    return float(np.mean(scores))


def interval(
    measure: Callable[[np.ndarray, np.ndarray], float],
    truth: Sequence[str],
    said: Sequence[str],
    groups: Sequence[str] | None = None,
) -> tuple[float, float, float]:
    """Return the measure and the ends of its 95 % bootstrap interval, `groups` resampled whole."""
    y, p = np.array(truth), np.array(said)
    members: dict[str, list[int]] = defaultdict(list)
    for place in range(len(y)):
        members[groups[place] if groups else str(place)].append(place)
    parts = [np.array(places) for places in members.values()]
    random_numbers = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([parts[i] for i in random_numbers.integers(0, len(parts), len(parts))])
        found.append(measure(y[chosen], p[chosen]))
    low, high = np.percentile(found, [2.5, 97.5])
    return measure(y, p), float(low), float(high)


def calibration_error(confidence: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal width."""
    sure, hit = np.array(confidence), np.array(right, dtype=float)
    bin_of = np.minimum((sure * bins).astype(int), bins - 1)
    return float(
        sum(abs(sure[bin_of == b].sum() - hit[bin_of == b].sum()) for b in range(bins)) / max(len(sure), 1)
    )


def surest(confidence: Sequence[float], right: Sequence[bool], share: float) -> float:
    """Return the accuracy on the surest `share`."""
    order = np.argsort(-np.array(confidence), kind="stable")[: max(1, round(share * len(right)))]
    return float(np.array(right)[order].mean())


def airline_rows(data: Path) -> list[dict[str, str]]:
    """Return the rows of the airline tweets."""
    with gzip.open(data / "airline" / "airline_share.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _figure(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.3f} ({found[1]:.3f}–{found[2]:.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def _classes(truth: Sequence[str], said: Sequence[str], names: Sequence[str]) -> None:
    y, p = np.array(truth), np.array(said)
    rows = []
    for name in names:
        right = int(((y == name) & (p == name)).sum())
        precision, recall = right / max(1, int((p == name).sum())), right / max(1, int((y == name).sum()))
        f1 = interval(lambda a, b, name=name: _f1(a, b, name), truth, said)  # type: ignore[misc]
        wrong = Counter(b for a, b in zip(truth, said, strict=True) if a == name != b).most_common(1)
        rows.append(
            (
                name,
                int((y == name).sum()),
                f"{precision:.3f}",
                f"{recall:.3f}",
                _figure(f1),
                wrong[0][0] if wrong else "",
            )
        )
    _table(("class", "texts", "precision", "recall", "F1", "most often taken for"), rows)


def _f1(y: np.ndarray, p: np.ndarray, name: str) -> float:
    return float(2 * ((y == name) & (p == name)).sum() / max(1, (y == name).sum() + (p == name).sum()))


def _sentiment(
    title: str, truth: Sequence[str], found: Sequence[Enrichment], groups: Sequence[str] | None = None
) -> list[str]:
    said = [each.sentiment.label for each in found]
    vader = [_vader_label(each) for each in found]
    right = [a == b for a, b in zip(truth, said, strict=True)]
    sure = [each.sentiment.confidence for each in found]
    print(f"### {title}: {len(truth):,} texts\n")
    _table(
        ("", "accuracy", "macro-F1"),
        [
            (
                "the judgement",
                _figure(interval(accuracy, truth, said, groups)),
                _figure(interval(macro_f1, truth, said, groups)),
            ),
            (
                "vaderSentiment alone",
                _figure(interval(accuracy, truth, vader, groups)),
                _figure(interval(macro_f1, truth, vader, groups)),
            ),
        ],
    )
    _classes(truth, said, [label for label in LABELS if label in set(truth)])
    print(
        f"Accuracy on the surest 80 %: {surest(sure, right, 0.8):.3f}, on the surest half: {surest(sure, right, 0.5):.3f}. "
        f"Expected calibration error: {calibration_error(sure, right):.3f}.\n"
    )
    return said


def _vader_label(enrichment: Enrichment) -> str:
    compound = enrichment.sentiment.vader.compound
    return "positive" if compound >= 0.05 else "negative" if compound <= -0.05 else "neutral"


def _airline(data: Path, errors: int) -> None:
    rows = airline_rows(data)
    begin = time.perf_counter()
    found = tag([row["text"] for row in rows])
    print(f"({len(rows) / (time.perf_counter() - begin):,.0f} texts a second, chain built anew)\n")
    truth = [row["airline_sentiment"] for row in rows]
    authors = [row["author_id"] for row in rows]
    said = _sentiment("Sentiment of airline tweets", truth, found, authors)
    _confidences([e.sentiment.confidence for e in found], [a == b for a, b in zip(truth, said, strict=True)])
    _by_airline(rows, truth, said)
    complaints = [i for i, row in enumerate(rows) if row["negativereason"]]
    reasons = [rows[i]["negativereason"] for i in complaints]
    guessed = [reason_of(found[i]) for i in complaints]
    by = [authors[i] for i in complaints]
    print(f"### Reasons of complaints by the taxonomy alone: {len(reasons):,} texts\n")
    told = [i for i, reason in enumerate(reasons) if reason != CANNOT_TELL]
    nine = ([reasons[i] for i in told], [guessed[i] for i in told], [by[i] for i in told])
    _table(
        ("", "accuracy", "macro-F1"),
        [
            (
                "ten classes",
                _figure(interval(accuracy, reasons, guessed, by)),
                _figure(interval(macro_f1, reasons, guessed, by)),
            ),
            ("the nine that tell", _figure(interval(accuracy, *nine)), _figure(interval(macro_f1, *nine))),
        ],
    )
    _classes(reasons, guessed, [*REASONS.values(), CANNOT_TELL])
    sure = [found[i].topics[0].confidence if found[i].topics else 0.0 for i in complaints]
    print("Confidence of the first topic, and the share of first topics that are the labelled reason:\n")
    with_topic = [i for i in range(len(reasons)) if sure[i]]
    _confidences([sure[i] for i in with_topic], [reasons[i] == guessed[i] for i in with_topic])
    _by_airline([rows[i] for i in complaints], reasons, guessed)
    for i in random.Random(0).sample(range(len(rows)), len(rows)):
        if errors and truth[i] != said[i]:
            errors -= 1
            print(
                f"{truth[i]} taken for {said[i]} ({found[i].sentiment.confidence:.2f}): {rows[i]['text']!r}"
            )


def _confidences(sure: Sequence[float], right: Sequence[bool]) -> None:
    bins: dict[int, list[int]] = defaultdict(list)
    for place, confidence in enumerate(sure):
        bins[min(int(confidence * 10), 9)].append(place)
    _table(
        ("confidence", "texts", "mean confidence", "right"),
        [
            (
                f"{b / 10:.1f}–{b / 10 + 0.1:.1f}",
                len(places),
                f"{np.mean([sure[i] for i in places]):.3f}",
                f"{np.mean([right[i] for i in places]):.3f}",
            )
            for b, places in sorted(bins.items())
        ],
    )


def _by_airline(rows: Sequence[dict[str, str]], truth: Sequence[str], said: Sequence[str]) -> None:
    lines = []
    for airline in sorted({row["airline"] for row in rows}):
        chosen = [i for i, row in enumerate(rows) if row["airline"] == airline]
        y, p = [truth[i] for i in chosen], [said[i] for i in chosen]
        lines.append(
            (airline, len(chosen), _figure(interval(accuracy, y, p)), _figure(interval(macro_f1, y, p)))
        )
    _table(("airline", "texts", "accuracy", "macro-F1"), lines)


def _elsewhere(data: Path) -> None:
    with gzip.open(data / "tweeteval" / "sentiment_val.jsonl.gz", "rt", encoding="utf-8") as file:
        tweets = [json.loads(line) for line in file]
    _sentiment(
        "Tweets about anything (TweetEval)",
        [t["label_name"] for t in tweets],
        tag([t["text"] for t in tweets]),
    )
    with gzip.open(data / "vader_gt" / "tweets_GroundTruth.tsv.gz", "rt", encoding="utf-8") as file:
        rated = [line.rstrip("\n").split("\t") for line in file]
    means = [float(row[1]) for row in rated]
    labels = ["positive" if mean >= 0.5 else "negative" if mean <= -0.5 else "neutral" for mean in means]
    _sentiment(
        "VADER's own tweets, rated by twenty people (±0.5 of 4)", labels, tag([row[2] for row in rated])
    )
    with gzip.open(data / "sts_gold" / "sts_gold_tweet.csv.gz", "rt", encoding="utf-8", newline="") as file:
        gold = [row for row in csv.reader(file, delimiter=";") if len(row) >= 3 and row[1] in ("0", "4")]
    truth = ["negative" if row[1] == "0" else "positive" for row in gold]
    _sentiment("STS-Gold, which has no neutral", truth, tag([row[2] for row in gold]))


def _languages(data: Path) -> None:
    with gzip.open(data / "langid" / "sentences.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    by_language: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        by_language[line[0]].append(line[-1])
    rows = []
    for language, texts in sorted(by_language.items()):
        found = tag(texts[:300])
        quiet = sum(each.sentiment.confidence == 0.0 for each in found)
        rows.append(
            (
                language,
                len(found),
                f"{quiet / len(found):.3f}",
                Counter(e.sentiment.label for e in found).most_common(1)[0][0],
            )
        )
    print(
        "### Other languages: share of sentences whose sentiment says that it is not sure at all (confidence 0)\n"
    )
    _table(("language", "sentences", "confidence 0", "commonest label"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("HARK_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--errors", type=int, default=0, help="print so many wrong labels of airline tweets")
    options = parser.parse_args()
    book = load(SHIPPED)
    roots = sum(not parent for parent in parents(book.taxonomy).values())
    print(
        f"{len(book.lexicon.group)} groups of phrases, {len(book.taxonomy.topic)} topics under {roots} roots\n"
    )
    _airline(options.data, options.errors)
    _elsewhere(options.data)
    _languages(options.data)


if __name__ == "__main__":
    main()
