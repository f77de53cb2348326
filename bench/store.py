"""Writes and queries of the embedded store, beside plain SQLite FTS5 without Hark's layer, as ratios.

    python -m bench.store [N] [--data DIR]

Plain is what most people would write: a table of JSON, an FTS5 table of the text with its default tokenizer,
indices on time and brand, one transaction a batch, the same batches, the same settings of SQLite.
"""

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import apsw
import msgspec

from hark.core.change import Tagged
from hark.core.clock import to_ms
from hark.core.mention import Author, Enrichment, Language, Mention, Reason, Sentiment, Topic, Vader
from hark.query import parse
from sinks import open_store

BATCH = 1000
DAYS = 28
END = datetime(2026, 11, 22, tzinfo=UTC)
BRANDS = ("southwest", "united", "delta")
TOPICS = (
    "late-flight",
    "cancelled",
    "lost-bag",
    "rude-staff",
    "refund",
    "booking",
    "food",
    "seat",
    "wifi",
    "app",
)
PARENTS = {"late-flight": frozenset({"flight"}), "cancelled": frozenset({"flight"})}


def mentions(number: int, seed: int = 1) -> Iterator[Tagged]:
    """Yield mentions in the order of their creation, over DAYS days, of about twenty words of a Zipf's law."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(40_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    words[20:24] = ["delay", "refund", "gate", "luggage"]
    pool = draw.choices(words, weights, k=400_000)
    handles = [f"user{i}" for i in range(60_000)]
    for i in range(number):
        at = END - timedelta(days=DAYS) + timedelta(days=DAYS) * (i / number)
        first = draw.randrange(len(pool) - 40)
        brand = draw.choices(BRANDS, (3, 2, 2))[0]
        text = f"@{brand} {' '.join(pool[first : first + draw.randint(8, 30)])}"
        label = draw.choices(("positive", "neutral", "negative"), (2, 3, 5))[0]
        source = draw.choices(("x", "reddit", "bluesky"), (6, 3, 2))[0]
        topics = draw.sample(TOPICS, draw.choices((0, 1, 2), (3, 5, 2))[0])
        id = f"{source}:{1_900_000_000_000_000_000 + i * 37}"
        mention = Mention(
            id,
            source,
            text,
            at,
            at + timedelta(seconds=1),
            url=f"https://{source}.com/{handles[i % 60_000]}/status/{i}",
            author=Author(draw.choice(handles), str(i % 60_000), "A Name", int(draw.paretovariate(0.8) * 10)),
            lang="en",
        )
        enrichment = Enrichment(
            "1",
            Language("en", 0.97),
            (brand,),
            Sentiment(label, 0.3, 0.8, Vader(0.1, 0.8, 0.1, 0.3)),
            tuple(Topic(topic, 0.8) for topic in topics),
            draw.choice((None, "complaint", "question", "praise")),
            draw.choice((None, "low", "high")),
            priority=draw.randrange(100),
            fingerprint=f"{draw.getrandbits(64):x}",
            reasons=(Reason("sentiment", "delay", -1.3, 10, 15), Reason(f"brand:{brand}", brand, 1.0, 0, 10)),
        )
        yield Tagged(mention, enrichment)


class Plain:
    """SQLite FTS5 without a layer: no filter tokens, no rollups, no versions, no books, no erasing."""

    def __init__(self, path: Path) -> None:
        self.db = apsw.Connection(str(path))
        self.db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS mentions (n INTEGER PRIMARY KEY, id TEXT UNIQUE, created INTEGER, brand TEXT,"
            " sentiment TEXT, source TEXT, followers INTEGER, text TEXT, data TEXT);"
            "CREATE INDEX IF NOT EXISTS by_time ON mentions(created); CREATE INDEX IF NOT EXISTS by_brand ON mentions(brand, created);"
            "CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(text, content='mentions', content_rowid='n')"
        )
        self.db.set_busy_timeout(20_000)
        ((self.n,),) = self.db.execute("SELECT coalesce(max(n), 0) FROM mentions")

    def write(self, items: list[Tagged]) -> None:
        """Write one batch in one transaction."""
        rows = []
        for item in items:
            self.n += 1
            m, e = item.mention, item.enrichment
            data = json.dumps(msgspec.to_builtins(item))
            rows.append(
                (
                    self.n,
                    m.id,
                    to_ms(m.created_at),
                    e.brands[0],
                    e.sentiment.label,
                    m.source,
                    m.author.followers if m.author else None,
                    m.text,
                    data,
                )
            )
        with self.db:
            self.db.executemany("INSERT INTO mentions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self.db.executemany("INSERT INTO search(rowid, text) VALUES (?, ?)", [(r[0], r[7]) for r in rows])

    def ask(self, sql: str, *parameters: object) -> list[object]:
        """Return the rows, decoded where they are documents."""
        return [
            json.loads(row[0]) if str(row[0])[:1] == "{" else row for row in self.db.execute(sql, parameters)
        ]


def seconds(work: Callable[[], object], times: int = 20) -> tuple[float, float]:
    """Return median and 95th percentile of `work`."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("number", nargs="?", type=int, default=100_000)
    options.add_argument("--data", type=Path, help="keep the files in this folder")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    folder = chosen.data or Path(tempfile.mkdtemp(prefix="hark-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run(chosen.number, folder, chosen.seed)
    finally:
        if chosen.data is None:
            shutil.rmtree(folder)


def run(number: int, folder: Path, seed: int) -> None:
    store = open_store("embedded", folder, PARENTS)
    plain = Plain(folder / "plain.db")
    ours = theirs = 0.0
    cpu = 0.0
    source = mentions(number, seed)
    while batch := list(islice(source, BATCH)):
        begin, used = time.perf_counter(), time.process_time()
        assert store.write(batch) == []
        ours += time.perf_counter() - begin
        cpu += time.process_time() - used
        begin = time.perf_counter()
        plain.write(batch)
        theirs += time.perf_counter() - begin
    sizes = [(folder / name).stat().st_size / number for name in ("store.db", "plain.db")]
    print(f"{number:,} mentions in batches of {BATCH:,}")
    print(
        f"write: {number / ours:,.0f}/s ({number / cpu:,.0f}/s of processor time), {sizes[0]:,.0f} bytes each;"
        f" plain {number / theirs:,.0f}/s, {sizes[1]:,.0f} bytes; ratio {theirs / ours:.2f}"
    )
    week, hour = END - timedelta(days=7), 3600
    since, until = to_ms(week), to_ms(END)
    late = END - timedelta(minutes=7)
    fts = "SELECT m.data FROM search s JOIN mentions m ON m.n = s.rowid WHERE s.text MATCH ? "
    newest = " ORDER BY m.created DESC LIMIT 50"
    count = "SELECT count(*) FROM search s JOIN mentions m ON m.n = s.rowid WHERE s.text MATCH ? "
    hist = "SELECT created / 3600000, count(*) FROM mentions WHERE "

    def search(text: str) -> Callable[[], object]:
        return lambda: list(store.search(parse(text)))

    cases: list[tuple[str, Callable[[], object], Callable[[], object] | None]] = [
        (
            "newest 50: delay brand:southwest sentiment:negative",
            search("delay brand:southwest sentiment:negative"),
            lambda: plain.ask(
                fts + "AND m.brand = 'southwest' AND m.sentiment = 'negative'" + newest, "delay"
            ),
        ),
        ("newest 50: delay", search("delay"), lambda: plain.ask(fts + newest, "delay")),
        (
            'newest 50: "delay refund" OR luggage source:reddit',
            search('"delay refund" OR luggage source:reddit'),
            lambda: plain.ask(
                fts.replace("MATCH ?", "MATCH '\"delay refund\"'")
                + "UNION ALL "
                + fts
                + "AND m.source = 'reddit' LIMIT 50",
                "luggage",
            ),
        ),
        ("newest 50: NOT delay brand:delta", search("NOT delay brand:delta"), None),
        ("newest 50: delay followers>=10000", search("delay followers>=10000"), None),
        ("newest 50: delay ONEAR/3 refund", search("delay ONEAR/3 refund"), None),
        ("newest 50: everything", search(""), None),
        (
            "count: delay refund",
            lambda: store.count(parse("delay refund")),
            lambda: plain.ask("SELECT count(*) FROM search WHERE text MATCH ?", "delay refund"),
        ),
        (
            "count: delay brand:united",
            lambda: store.count(parse("delay brand:united")),
            lambda: plain.ask(count + "AND m.brand = 'united'", "delay"),
        ),
        ("count: delay ONEAR/3 refund", lambda: store.count(parse("delay ONEAR/3 refund")), None),
        ("count: *uggage", lambda: store.count(parse("*uggage")), None),
        ("count: followers>=10000", lambda: store.count(parse("followers>=10000")), None),
        (
            "week by hour: brand:southwest",
            lambda: store.histogram(parse("brand:southwest"), hour, week, late),
            lambda: plain.ask(
                hist + "brand = 'southwest' AND created >= ? AND created < ? GROUP BY 1", since, until
            ),
        ),
        (
            "week by hour: everything, by topic",
            lambda: store.histogram(parse(""), hour, week, late, by="topic"),
            None,
        ),
        (
            "week by hour: brand:southwest delay",
            lambda: store.histogram(parse("brand:southwest delay"), hour, week, late),
            None,
        ),
        (
            "week by hour: brand:southwest, by sentiment (rows)",
            lambda: store.histogram(parse("brand:southwest"), hour, week, late, by="sentiment"),
            None,
        ),
        (
            "top authors of brand:delta in the week",
            lambda: store.top(parse("brand:delta"), "author", week),
            None,
        ),
        ("top topics of everything", lambda: store.top(parse(""), "topic"), None),
    ]
    for name, work, other in cases:
        median, high = seconds(work, 20 if number <= 200_000 else 10)
        line = f"{name}: median {median * 1000:.1f} ms, p95 {high * 1000:.1f} ms"
        if other is not None:
            beside, _ = seconds(other, 5)
            line += f"; plain {beside * 1000:.1f} ms, ratio {beside / median:.1f}"
        print(line, flush=True)
    store.close()


if __name__ == "__main__":
    main()
