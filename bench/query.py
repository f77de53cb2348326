"""Queries of the embedded store while another process writes to it, beside plain SQLite FTS5 as ratios.

    python -m bench.query [N] [--data DIR] [--rate 1000] [--json]

The store is made first, by two processes (ours, and the plain one of bench/store.py), and kept with --data. Then a
process writes mentions at the rate while each question is asked some dozens of times, with other words each time;
after that the same of the plain store. `hark bench query` prints the same table.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.store import END, PARENTS, Plain, mentions
from hark.core.change import Tagged
from hark.core.clock import to_ms
from hark.core.protocols import Store
from hark.query import parse
from hark.query.fields import ancestors
from hark.query.pages import page
from hark.trends.figures import selection_of
from hark.trends.rising import rising
from sinks import open_store

AT_ONCE = 20_000
TIMES = 60
WEEK, DAY, HOUR = timedelta(days=7), timedelta(days=1), 3600
TAXONOMY = ancestors({**PARENTS, "flight": ()})
_spawn = multiprocessing.get_context("spawn")


class Case(Struct):
    """One question: asked of our store, and of the plain one where that can answer it."""

    name: str
    ours: Callable[[Store, random.Random], object]
    plain: Callable[[Plain, random.Random], object] | None
    aim_ms: float | None


class Taken(Struct):
    """What a question took, in milliseconds: by the clock, and of the processor, which other work slows less."""

    median: float
    p95: float
    processor_median: float
    processor_p95: float


class Row(Struct):
    """One question; `ratio` is the plain store's median of the processor's time by ours."""

    name: str
    ours: Taken
    aim: float | None
    plain: Taken | None
    ratio: float | None


class Report(Struct):
    """All rows; `written` is mentions a second that the other process wrote meanwhile, ours and plain."""

    mentions: int
    written: tuple[float, float]
    load: float
    rows: list[Row]


def measure(
    number: int, folder: Path, rate: int = 1000, seed: int = 1, say: Callable[[str], None] = lambda text: None
) -> Report:
    """Make the stores where `folder` has none, and ask all questions."""
    build(number, folder, seed, say)
    words = Words(seed)
    cases = list(questions(words))
    say("asking our store")
    with closing(open_store("embedded", folder, TAXONOMY)) as store, writing("ours", folder, rate) as written:
        ours = [timed(lambda draw, case=case: case.ours(store, draw)) for case in cases]  # type: ignore[misc]
    say("asking the plain store")
    plain = Plain(folder / "plain.db")
    with writing("plain", folder, rate) as plain_written:
        theirs = [
            None if case.plain is None else timed(lambda draw, ask=case.plain: ask(plain, draw))  # type: ignore[misc]
            for case in cases
        ]
    rows = []
    for case, mine, other in zip(cases, ours, theirs, strict=True):
        ratio = None if other is None else other.processor_median / mine.processor_median
        rows.append(Row(case.name, mine, case.aim_ms, other, ratio))
    return Report(number, (written[0], plain_written[0]), os.getloadavg()[0], rows)


def table(report: Report) -> str:
    """Return the report as lines of text."""
    lines = [
        f"{report.mentions:,} mentions, while {report.written[0]:,.0f}/s are written "
        f"(plain: {report.written[1]:,.0f}/s); the machine's load is {report.load:.1f}",
        f"{'milliseconds':53}{'median':>8}{'p95':>8}{'aim':>7}{'processor':>11}{'its p95':>8}"
        f"{'plain':>9}{'p95':>8}{'processor':>11}{'ratio':>7}",
    ]
    for row in report.rows:
        aim = "" if row.aim is None else f"{row.aim:,.0f}"
        mine = row.ours
        line = f"{row.name:53}{mine.median:8.1f}{mine.p95:8.1f}{aim:>7}{mine.processor_median:11.1f}{mine.processor_p95:8.1f}"
        if row.plain is not None:
            its = row.plain
            line += f"{its.median:9.1f}{its.p95:8.1f}{its.processor_median:11.1f}{row.ratio:7.1f}"
        lines.append(line)
    return "\n".join(lines)


class Words:
    """The words of bench.store's mentions, frequent and rare, as they are drawn for questions."""

    def __init__(self, seed: int) -> None:
        said: dict[str, int] = {}
        for item in mentions(3_000, seed):
            for word in item.mention.text.split()[1:]:
                said[word] = said.get(word, 0) + 1
        self._known = sorted(said, key=lambda word: (-said[word], word))[:1_500]

    def one(self, draw: random.Random) -> str:
        """Return a word, the frequent ones as often as the rare ones by the order of their size."""
        return self._known[int(len(self._known) ** draw.random()) - 1]


def questions(words: Words) -> Iterator[Case]:
    """Yield the questions."""
    one = words.one
    newest = "SELECT m.data FROM search s JOIN mentions m ON m.n = s.rowid WHERE search MATCH ?"
    first = " ORDER BY s.rowid DESC LIMIT 50"

    def search(make: Callable[[random.Random], str]) -> Callable[[Store, random.Random], object]:
        return lambda store, draw: list(store.search(parse(make(draw))))

    def plain(
        more: str, make: Callable[[random.Random], str], *values: Any
    ) -> Callable[[Plain, random.Random], object]:
        return lambda store, draw: store.ask(newest + more + first, make(draw), *values)

    yield Case("newest 50: WORD", search(one), plain("", lambda d: f'"{one(d)}"'), 50)
    yield Case(
        "newest 50: WORD brand:southwest sentiment:negative",
        search(lambda d: f'"{one(d)}" brand:southwest sentiment:negative'),
        plain(" AND m.brand = 'southwest' AND m.sentiment = 'negative'", lambda d: f'"{one(d)}"'),
        50,
    )
    yield Case(
        "newest 50: WORD WORD source:reddit -WORD",
        search(lambda d: f'"{one(d)}" "{one(d)}" source:reddit -"{one(d)}"'),
        plain(" AND m.source = 'reddit'", lambda d: f'"{one(d)}" AND "{one(d)}" NOT "{one(d)}"'),
        50,
    )
    yield Case(
        "newest 50: WORD OR WORD topic:late-flight lang:en",
        search(lambda d: f'("{one(d)}" OR "{one(d)}") topic:late-flight lang:en'),
        None,
        50,
    )
    yield Case(
        "newest 50: WORD NEAR/5 WORD",
        search(lambda d: f'"{one(d)}" NEAR/5 "{one(d)}"'),
        plain("", lambda d: f'NEAR("{one(d)}" "{one(d)}", 5)'),
        50,
    )
    yield Case(
        "newest 50: WORD followers>=N",
        search(lambda d: f'"{one(d)}" followers>={10 ** d.randint(3, 7)}'),
        lambda store, d: store.ask(
            newest + " AND m.followers >= ?" + first, f'"{one(d)}"', 10 ** d.randint(3, 7)
        ),
        50,
    )
    yield Case(
        "newest 50: wor*", search(lambda d: one(d)[:3] + "*"), plain("", lambda d: one(d)[:3] + "*"), 50
    )
    yield Case("newest 50: NOT WORD brand:delta", search(lambda d: f'NOT "{one(d)}" brand:delta'), None, 50)
    yield Case(
        "newest 50: brand:delta followers>=1000000", search(lambda d: "brand:delta followers>=1m"), None, 50
    )
    week, until = END - WEEK, END
    yield Case(
        "week by hour: brand",
        lambda store, d: store.histogram(parse(f"brand:{d.choice(BRANDS)}"), HOUR, week, until),
        lambda store, d: store.ask(
            "SELECT created / 3600000, count(*) FROM mentions WHERE brand = ? AND created >= ? AND created < ?"
            " GROUP BY 1",
            d.choice(BRANDS),
            to_ms(week),
            to_ms(until),
        ),
        50,
    )
    yield Case(
        "week by hour: brand, from minute to minute",
        lambda store, d: store.histogram(
            parse(f"brand:{d.choice(BRANDS)}"),
            HOUR,
            week + timedelta(minutes=7),
            until - timedelta(minutes=4),
        ),
        None,
        50,
    )
    yield Case(
        "week by hour: everything, by topic",
        lambda store, d: store.histogram(parse(""), HOUR, week, until, by="topic"),
        None,
        None,
    )
    yield Case(
        "rising terms of a day: brand",
        lambda store, d: rising_of(store, f"brand:{d.choice(BRANDS)}"),
        None,
        1000,
    )
    yield Case("count: WORD", lambda store, d: store.count(parse(f'"{one(d)}"')), None, None)
    yield Case(
        "first page by relevance: WORD OR WORD",
        lambda store, d: page(store, parse(f'"{one(d)}" OR "{one(d)}"'), order="relevance"),
        lambda store, d: store.ask(newest + " ORDER BY bm25(search) LIMIT 50", f'"{one(d)}" OR "{one(d)}"'),
        None,
    )
    yield Case(
        "sample of 100: WORD",
        lambda store, d: list(store.sample(parse(f'"{one(d)}"'))),
        lambda store, d: store.ask(newest + " ORDER BY random() LIMIT 100", f'"{one(d)}"'),
        None,
    )
    yield Case(
        "newest 50: WORD ONEAR/5 WORD (decided by the match)",
        search(lambda d: f'"{one(d)}" ONEAR/5 "{one(d)}"'),
        None,
        None,
    )


BRANDS = ("southwest", "united", "delta")


def rising_of(store: Store, text: str) -> object:
    zone = ZoneInfo("UTC")
    now = selection_of(parse(text), END - DAY, END, zone)
    before = now.between(END - 2 * DAY, END - DAY)
    count = store.count(now.query, now.since, now.until)
    return rising(store, now, before, count, store.count(before.query, before.since, before.until))


def timed(ask: Callable[[random.Random], object]) -> Taken:
    """Ask a question some dozens of times, with other words each time."""
    draw = random.Random(11)
    ask(draw)
    taken, used = [], []
    begun = time.perf_counter()
    for _ in range(TIMES):
        begin, processor = time.perf_counter(), time.thread_time()
        ask(draw)
        taken.append((time.perf_counter() - begin) * 1000)
        used.append((time.thread_time() - processor) * 1000)
        if len(taken) >= 20 and time.perf_counter() - begun > 20:
            break
    middle, high = statistics.median, lambda some: statistics.quantiles(some, n=20)[-1]
    return Taken(middle(taken), high(taken), middle(used), high(used))


def build(number: int, folder: Path, seed: int, say: Callable[[str], None]) -> None:
    """Write `number` mentions to both stores of a folder, unless they are there."""
    marker = folder / f"complete-{number}-{seed}"
    if marker.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    say(f"writing {number:,} mentions to both stores")
    processes = [_spawn.Process(target=fill, args=(kind, folder, number, seed)) for kind in ("ours", "plain")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"writing failed, exit code {process.exitcode}")
    marker.touch()


def fill(kind: str, folder: Path, number: int, seed: int) -> None:
    write, close = writer_of(kind, folder)
    source = mentions(number, seed)
    while batch := list(islice(source, AT_ONCE)):
        write(batch)
    close()


def writer_of(kind: str, folder: Path) -> tuple[Callable[[list[Tagged]], object], Callable[[], None]]:
    if kind == "ours":
        store = open_store("embedded", folder, TAXONOMY)
        return store.write, store.close
    plain = Plain(folder / "plain.db")
    return plain.write, plain.db.close


@contextmanager
def writing(kind: str, folder: Path, rate: int) -> Iterator[list[float]]:
    """Let another process write at a rate meanwhile; the list holds what it reached, a second, at the end."""
    stop, ready = _spawn.Event(), _spawn.Event()
    result = _spawn.Queue()
    process = _spawn.Process(target=keep_writing, args=(kind, folder, rate, stop, ready, result))
    process.start()
    reached = [0.0]
    try:
        ready.wait(120)
        yield reached
    finally:
        stop.set()
        reached[0] = result.get(timeout=60)
        process.join()


def keep_writing(kind: str, folder: Path, rate: int, stop: Event, ready: Event, result: Any) -> None:
    write, close = writer_of(kind, folder)
    batch = max(1, rate // 4)
    salt = f"{time.time():.0f}"
    source = mentions(10_000_000, int(salt))
    begun, done = time.perf_counter(), 0
    while not stop.is_set():
        some = []
        for item in islice(source, batch):
            at = END + timedelta(seconds=(done + len(some)) / rate)
            mention = replace(item.mention, id=f"{item.mention.id}-{salt}", created_at=at, collected_at=at)
            some.append(Tagged(mention, item.enrichment))
        write(some)
        done += batch
        ready.set()
        stop.wait(max(0.0, begun + done / rate - time.perf_counter()))
    result.put(done / (time.perf_counter() - begun))
    close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("number", nargs="?", type=int, default=1_000_000)
    options.add_argument(
        "--data", type=Path, help="keep the stores in this folder, and use those that are there"
    )
    options.add_argument("--rate", type=int, default=1000, help="mentions written a second meanwhile")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true", dest="as_json")
    chosen = options.parse_args()
    folder = chosen.data or Path(tempfile.mkdtemp(prefix="hark-bench-"))
    try:
        report = measure(
            chosen.number, folder, chosen.rate, chosen.seed, lambda text: print(text, file=sys.stderr)
        )
    finally:
        if chosen.data is None:
            shutil.rmtree(folder)
    print(msgspec.json.encode(report).decode() if chosen.as_json else table(report))


if __name__ == "__main__":
    main()
