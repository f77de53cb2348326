"""The detector of new terms on what the simulator writes, with new words put into it, and on real tweets.

    python -m bench.new_terms [--days N] [--tweets airline_share.csv.gz]

Simulated: weeks of 6,000 mentions a day on three platforms, tagged as shipped, in an embedded store. From the
eighth day on, every six hours a made-up word is put into the texts of one brand's next mentions by different people,
over an hour: of 4 to 32 people. Between them lie what must not be told of: a word that one author repeats 30 times, a
text that is reposted 30 times, and an hour in which `luggage` is in the texts of 60 people.
For the same weeks, what a rule on the change of net sentiment tells of is counted too.

Tweets: a CSV with `tweet_created`, `text`, `author_id` and `airline`, as they came; nothing is put in. What is told of is printed.
"""

import argparse
import csv
import gzip
import random
import resource
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec

from hark.alerts.backtest import Alert, run
from hark.alerts.rules import Rule
from hark.alerts.terms import term_in_words
from hark.core.change import Seen, Tagged
from hark.core.mention import Author, Enrichment, Mention
from hark.query import parse
from hark.settings import SHIPPED, load
from hark.wiring import chain_of, taxonomy_of
from ingest.simulator import PLATFORMS, Options, Simulator
from sinks.embedded import EmbeddedStore

END = datetime(2026, 3, 2, tzinfo=UTC)
PEOPLE = (4, 6, 8, 12, 16, 32)
DECOYS = ("one author", "one text", "swell")
FIRST_DAY, EVERY = 8, timedelta(hours=6)
_SYLLABLES = ("ba", "ko", "ri", "ta", "mu", "ze", "lo", "fi", "da", "ne", "gu", "sha", "vo", "pe")
_BATCH = 5_000
MOOD = Rule(
    "mood",
    "Mood",
    parse(""),
    "net-sentiment",
    ("brand",),
    "change",
    window_seconds=7200,
    minimum_volume=30,
    direction="down",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--tweets", type=Path)
    asked = parser.parse_args()
    rule = Rule("new", "New", parse(""), "count", ("brand",), "new-term", asked.threshold, minimum_volume=5)
    if asked.tweets is None:
        simulated(rule, asked.days)
    else:
        real(rule, asked.tweets)


def simulated(rule: Rule, days: int) -> None:
    """Judge what the simulator writes, with new words put in."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(SHIPPED)
        taxonomy = taxonomy_of(settings)
        store = EmbeddedStore(Path(folder) / "store.db", taxonomy)
        written = list(mentions(days))
        planted = plant(written, days)
        for at in range(0, len(written), _BATCH):
            store.write(written[at : at + _BATCH])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        since = END - timedelta(days=days - FIRST_DAY)
        found = run(store, rule, taxonomy, since, END)
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        moods = run(store, MOOD, taxonomy, since, END).alerts
        store.close()
    weeks = (days - FIRST_DAY) / 7
    print(f"{len(written):,} mentions, {spent:.0f} s of CPU for the trial with its thresholds")
    told: dict[str, list[Alert]] = {}
    for alert in found.alerts:
        told.setdefault(_word(rule, alert), []).append(alert)
    for kind in (*map(str, PEOPLE), *DECOYS):
        words = {word: begin for word, (of, begin) in planted.items() if of == kind}
        delays = [
            (min(alert.told_at for alert in told[word]) - begin).total_seconds() / 60
            for word, begin in words.items()
            if word in told
        ]
        after = f", median {median(delays):.0f} min after the first mention" if delays else ""
        print(f"{kind:>10}{' people' if kind.isdigit() else '':7}: {len(delays)} of {len(words)} told{after}")
    simulator = Simulator("x", _options("x", days), lambda: END)
    others = [(word, alert) for word, alerts in told.items() if word not in planted for alert in alerts]
    during = [word for word, alert in others if _in_incident(simulator, alert)]
    print(f"others: {len(others)} in {weeks:.1f} weeks, of which {len(during)} in the simulator's incidents")
    print(
        "  " + ", ".join(f"{word} ({count})" for word, count in Counter(w for w, _ in others).most_common(40))
    )
    for point in found.curve:
        print(f"threshold {point.threshold:.2f}: {point.alerts} alerts")
    known = sum(_in_incident(simulator, alert) for alert in moods)
    print(f"net sentiment falls: {len(moods)} alerts, of which {known} in the simulator's incidents")


def _in_incident(simulator: Simulator, alert: Alert) -> bool:
    at = (alert.told_at - END).total_seconds()
    return any(
        0 <= at - one.begin <= one.rise_seconds * 3 + one.fall_seconds * 4 for one in simulator.incidents
    )


def mentions(days: int) -> Iterator[Tagged]:
    """Yield what the simulator writes, tagged as shipped."""
    chain = chain_of(load(SHIPPED))
    for platform in PLATFORMS:
        source = Simulator(platform, _options(platform, days), lambda: END)
        stop = threading.Event()
        for batch in source.read(None, stop):
            found = [change.mention for change in batch.changes if isinstance(change, Seen)]
            for mention, tags in zip(found, chain.tag(found), strict=True):
                yield Tagged(mention, tags)
            if not found:
                stop.set()


def _options(platform: str, days: int) -> Options:
    return Options(platform, history_days=days, start=END)


def plant(written: list[Tagged], days: int, seed: int = 11) -> dict[str, tuple[str, datetime]]:
    """Put new words into mentions of one brand, in place; return (kind, when it was first said) by word."""
    draw = random.Random(seed)
    written.sort(key=lambda one: one.mention.created_at)
    kinds = [*map(str, PEOPLE), *DECOYS]
    planted: dict[str, tuple[str, datetime]] = {}
    moment, turn = END - timedelta(days=days - FIRST_DAY) + timedelta(hours=1), 0
    while moment < END - timedelta(hours=3):
        kind = kinds[turn % len(kinds)]
        word = "luggage" if kind == "swell" else "".join(draw.sample(_SYLLABLES, 4)) + str(turn)
        hour = [
            at
            for at, one in enumerate(written)
            if moment <= one.mention.created_at < moment + timedelta(hours=1)
            and "southwest" in one.enrichment.brands
        ]
        many = int(kind) if kind.isdigit() else 60 if kind == "swell" else 30
        chosen = sorted(draw.sample(hour, min(many, len(hour))))
        for number, at in enumerate(chosen):
            written[at] = _said(written[at], word, kind, f"planted{turn}-{number}", written[chosen[0]])
        if chosen and word not in planted:
            planted[word] = kind, written[chosen[0]].mention.created_at
        moment, turn = moment + EVERY, turn + 1
    return planted


def _said(one: Tagged, word: str, kind: str, handle: str, first: Tagged) -> Tagged:
    mention, tags = one.mention, one.enrichment
    if kind == "one author":
        handle = f"loud-{word}"
    text = f"{first.mention.text if kind == 'one text' else mention.text} {word}"
    mention = msgspec.structs.replace(mention, text=text, author=Author(handle=handle))
    if kind == "one text":
        tags = msgspec.structs.replace(tags, fingerprint=f"copies-{word}")
    return Tagged(mention, tags)


def real(rule: Rule, path: Path) -> None:
    """Judge tweets as they came, and print what is told of."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(SHIPPED)
        taxonomy, chain = taxonomy_of(settings), chain_of(settings)
        store = EmbeddedStore(Path(folder) / "store.db", taxonomy)
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        tweets = [_tweet(number, row) for number, row in enumerate(rows)]
        tags = [_of(tag, row) for tag, row in zip(chain.tag(tweets), rows, strict=True)]
        written = [Tagged(tweet, tag) for tweet, tag in zip(tweets, tags, strict=True)]
        for at in range(0, len(written), _BATCH):
            store.write(written[at : at + _BATCH])
        begin = min(tweet.created_at for tweet in tweets)
        end = max(tweet.created_at for tweet in tweets) + timedelta(minutes=10)
        found = run(store, rule, taxonomy, begin, end)
        print(f"{len(tweets):,} tweets from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}")
        for alert in found.alerts:
            texts = [
                hit.mention.text[:90]
                for hit in store.search(
                    parse(alert.explanation.query), alert.window_begin, alert.window_end, limit=2
                )
            ]
            print(f"{alert.told_at:%m-%d %H:%M} {alert.series}: {alert.observed}, severity {alert.severity}")
            print("".join(f"      {text!r}\n" for text in texts), end="")
        for point in found.curve:
            print(f"threshold {point.threshold:.2f}: {point.alerts} alerts")
        store.close()


def _tweet(number: int, row: dict[str, str]) -> Mention:
    at = datetime.strptime(row["tweet_created"], "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)
    return Mention(f"x:{number}", "x", row["text"], at, at, author=Author(handle=row["author_id"]))


def _of(tags: Enrichment, row: dict[str, str]) -> Enrichment:
    return msgspec.structs.replace(tags, brands=(row["airline"].lower(),))


def _word(rule: Rule, alert: Alert) -> str:
    return term_in_words(rule.divided(alert.series)[1])


if __name__ == "__main__":
    main()
