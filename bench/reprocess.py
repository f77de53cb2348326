"""History tagged again under kill -9: each mention there once, labels standing, the live feed flowing on.

    python -m bench.reprocess [--mentions 100000] [--kill-every 60] [--live-rate 20] [--seed 1]

A center runs on the embedded parts. Mentions are imported; then they are all tagged again with a taxonomy in which
one topic has another name, while new ones arrive, people label, authors edit and delete, and every so many seconds
a process drawn by lot gets SIGKILL: any role of the center, the workers of the reprocessing among them. Then the
new generation is promoted, and rolled back. Printed as JSON, with what was found wrong under "wrong".
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.end_to_end import wait_until
from bench.texts import texts
from hark.bus import open_bus
from hark.core.change import MENTIONS, Change, Deleted, Edited, Labelled, Seen, encode, key_of
from hark.core.mention import Mention
from hark.core.protocols import Bus, Store
from hark.query import parse
from hark.settings import SHIPPED, LogSettings, Settings, load
from hark.wiring import store_of, store_of_generation
from tests.support.center import Center

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 31
OLD, NEW = "late-flight", "tardy-flight"
_GROUPS = ("brand", "topic", "sentiment", "source", "lang")


def main() -> None:
    """Run it and print what was found as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mentions", type=int, default=100_000)
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--live-rate", type=float, default=20.0, help="mentions a second")
    parser.add_argument("--rate", type=float, default=0.0, help="of the reprocessing, at most; 0: no limit")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), **vars(chosen))
    print(json.dumps(report, indent=1))
    sys.exit(1 if report["wrong"] else 0)


def run(
    folder: Path, mentions: int, kill_every: float, live_rate: float, rate: float, seed: int
) -> dict[str, object]:
    """Import, reprocess under kills, promote, roll back; return the figures."""
    dice = random.Random(seed)
    center = Center(folder)
    settings = load(None, center.data)
    taxonomy = folder / "topics.toml"
    taxonomy.write_text((SHIPPED / "topics.toml").read_text().replace(f'"{OLD}"', f'"{NEW}"'))
    center.up()
    bus = open_bus("embedded", center.data, LogSettings())
    stop, wrong = threading.Event(), []
    try:
        begin = time.monotonic()
        fill(bus, "import", mentions, seed, center)
        fill(bus, "other", max(2_000, mentions // 100), seed + 1, center)
        filled = time.monotonic() - begin
        say(f"{mentions:,} mentions indexed in {filled:.0f} s")
        with store_of(settings) as store:
            before = figures(store)
        others = Others(bus, max(2_000, mentions // 100), dice)
        others.publish(300)
        live = Live(bus, settings, live_rate, stop)
        killer = Killer(center, dice, kill_every, stop)
        for thread in (live, killer):
            thread.start()
        begin = time.monotonic()
        arguments = ["--taxonomy", str(taxonomy), *(["--rate", str(rate)] if rate else [])]
        work = center.start("reprocess", "--since", "1970-01-01", *arguments)
        while work.poll() is None:
            others.publish(2)
            stop.wait(1)
        if work.returncode:
            wrong.append(f"`hark reprocess` ended with {work.returncode}")
        seconds = time.monotonic() - begin
        say(f"tagged again in {seconds:.0f} s, kills: {killer.kills}")
        promoted = timed(lambda: center.run("reprocess", "promote"))
        others.publish(100)
        settle(center)
        wrong += check(settings, mentions, others, live, 1)
        with store_of(settings) as store:
            if figures(store) == before:
                wrong.append("promotion changed no figure")
        rolled_back = timed(lambda: center.run("reprocess", "rollback"))
        others.publish(100)
        settle(center)
        wrong += check(settings, mentions, others, live, 0)
        with store_of(settings) as store:
            after = figures(store)
        wrong += [f"rollback: {name} differ" for name in before if before[name] != after[name]]
        stop.set()
        live.join()
        killer.join()
        center.settled()
        status = center.status("--verify")
        if not status["balanced"]:
            wrong.append(f"the books do not balance: {status}")
        return {
            "mentions": mentions,
            "import_per_second": round(mentions / filled),
            "reprocessed_per_second": round(mentions / seconds),
            "kills": killer.kills,
            "changes_of_people_and_authors": others.counts(),
            "live": live.report(),
            "promote_seconds": promoted,
            "rollback_seconds": rolled_back,
            "figures_compared": {name: len(values) for name, values in before.items()},
            "wrong": wrong,
        }
    finally:
        stop.set()
        bus.close()
        center.down()


def figures(store: Store) -> dict[str, dict[str, list[int]]]:
    """Return every figure of the imported mentions: by day, in all and by each group."""
    until = BEGIN + timedelta(days=DAYS + 1)
    query = parse("source:import")
    found: dict[str, dict[str, list[int]]] = {}
    for by in (None, *_GROUPS):
        buckets = store.histogram(query, 86_400, BEGIN, until, by)
        found[by or "all"] = {f"{b.start} {b.group}": [b.count, b.positive, b.negative] for b in buckets}
    for field in ("hashtag", "site", "author"):
        found[f"top {field}"] = {value: [count] for value, count in store.top(query, field, limit=1_000)}
    return found


def check(settings: Settings, mentions: int, others: "Others", live: "Live", generation: int) -> list[str]:
    """Say what is wrong with the generation that is shown: ids, versions, labels, edits, deletions, live mentions."""
    wrong: list[str] = []
    ids: Counter[str] = Counter()
    arrived = [id for id, at in list(live.published.items()) if at < time.monotonic() - 10]
    with store_of(settings) as store:
        after = None
        old_tags = 0
        while True:
            page, cursor = store.history(after, 5_000)
            if cursor is None:
                break
            after = cursor
            for hit in page:
                ids[hit.mention.id] += 1
                old_tags += hit.enrichment.generation != generation
                wrong += others.wrong(hit)
        gone = [id for id in others.deleted if store.get(id) is not None]
        late = [id for id in arrived if id not in ids and store.get(id) is None]
    imported = sum(1 for id in ids if id.startswith("import:"))
    if max(ids.values()) > 1:
        wrong.append(f"{sum(count > 1 for count in ids.values())} ids stand twice")
    if imported != mentions:
        wrong.append(f"{imported:,} of {mentions:,} imported mentions are there")
    if old_tags:
        wrong.append(f"generation {generation}: {old_tags:,} mentions have another generation's tags")
    if gone:
        wrong.append(f"{len(gone)} deleted mentions are there")
    if late:
        wrong.append(f"{len(late)} live mentions are missing")
    missing = [id for id in others.expected() if id not in ids]
    if missing:
        wrong.append(f"{len(missing)} edited or labelled mentions are missing")
    with contextlib.closing(store_of_generation(settings, 1 - generation)) as other:
        if [id for id in others.deleted if other.get(id) is not None]:
            wrong.append(f"deleted mentions are in generation {1 - generation}, which is not shown")
    return wrong


class Others:
    """What people and authors do meanwhile to mentions `other:N`: labels, edits, deletions, in the log."""

    def __init__(self, bus: Bus, number: int, dice: random.Random) -> None:
        self._bus = bus
        self._left = list(range(number))
        dice.shuffle(self._left)
        self._dice = dice
        self.labelled: dict[str, str] = {}
        self.edited: dict[str, str] = {}
        self.deleted: set[str] = set()

    def publish(self, number: int) -> None:
        """Do so many of them, each to another mention."""
        changes: list[Change] = []
        for _ in range(min(number, len(self._left))):
            n = self._left.pop()
            id, present = f"other:{n}", datetime.now(UTC)
            kind = self._dice.randrange(3)
            if kind == 0:
                self.labelled[id] = "positive"
                changes.append(Labelled(id, "sentiment", "positive", "ana", present))
            elif kind == 1:
                self.edited[id] = f"edited: @SouthwestAir my flight {n} was cancelled"
                moment = BEGIN + timedelta(hours=n % 700)
                changes.append(Edited(Mention(id, "other", self.edited[id], moment, present, edit=1)))
            else:
                self.deleted.add(id)
                changes.append(Deleted(id, "by its author", present))
        self._bus.publish(MENTIONS, [(key_of(change), encode(change)) for change in changes])

    def expected(self) -> list[str]:
        """Return the ids that must be there."""
        return [*self.labelled, *self.edited]

    def wrong(self, hit: object) -> list[str]:
        """Say what is wrong with one mention as a store holds it."""
        mention, tags = hit.mention, hit.enrichment  # type: ignore[attr-defined]
        found = []
        if mention.id in self.labelled and tags.sentiment.label != self.labelled[mention.id]:
            found.append(f"{mention.id}: a label does not stand")
        if mention.id in self.edited and mention.text != self.edited[mention.id]:
            found.append(f"{mention.id}: an edit does not stand")
        return found

    def counts(self) -> dict[str, int]:
        """Return how many there were."""
        return {"labels": len(self.labelled), "edits": len(self.edited), "deletions": len(self.deleted)}


class Live(threading.Thread):
    """Publishes new mentions at a rate, and watches how long it takes until they are found in the store."""

    def __init__(self, bus: Bus, settings: Settings, rate: float, stop: threading.Event) -> None:
        super().__init__(name="live")
        self._bus, self._settings, self._rate, self._ended = bus, settings, rate, stop
        self.published: dict[str, float] = {}
        self.delays: list[float] = []
        self._waiting: list[str] = []

    def run(self) -> None:
        """Publish and look, until told to stop."""
        source = iter(texts(1_000_000, seed=7))
        begin, number = time.monotonic(), 0
        with store_of(self._settings) as store:
            while not self._ended.wait(0.2):
                batch = []
                while number < (time.monotonic() - begin) * self._rate:
                    present = datetime.now(UTC)
                    mention = Mention(f"live:{number}", "live", next(source), present, present)
                    batch.append((mention.id, encode(Seen(mention))))
                    number += 1
                self._bus.publish(MENTIONS, batch)
                self.published |= dict.fromkeys([id for id, _ in batch], time.monotonic())
                self._waiting += [id for id, _ in batch]
                found = store.many(self._waiting)
                self.delays += [time.monotonic() - self.published[id] for id in found]
                self._waiting = [id for id in self._waiting if id not in found]

    def report(self) -> dict[str, object]:
        """Return how many there were, and how long it took until they were found, in seconds."""
        delays = sorted(self.delays)
        at = {
            f"p{p}": round(delays[min(len(delays) - 1, len(delays) * p // 100)], 2) for p in (50, 90, 99, 100)
        }
        return {"published": len(self.published), "found": len(delays), "seconds_until_found": at}


class Killer(threading.Thread):
    """Sends SIGKILL to one process of the center, drawn by lot, every so many seconds."""

    def __init__(self, center: Center, dice: random.Random, every: float, stop: threading.Event) -> None:
        super().__init__(name="killer")
        self._center, self._dice, self._every, self._ended = center, dice, every, stop
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        """Kill until told to stop."""
        while not self._ended.wait(self._every):
            role, pid = self._dice.choice(sorted(self._processes().items()))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills[role] += 1
            say(f"killed {role}")

    def _processes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in ("roles.json", "reprocess.json"):
            try:
                rows = json.loads((self._center.data / name).read_text())
            except FileNotFoundError:
                continue
            found |= {row["role"]: row["pid"] for row in rows if row["pid"]}
        return found


def fill(bus: Bus, source: str, number: int, seed: int, center: Center) -> None:
    """Publish mentions spread over January 2026, and wait until they are indexed."""
    batch: list[tuple[str, bytes]] = []
    for n, text in enumerate(texts(number, seed)):
        moment = BEGIN + timedelta(seconds=n * DAYS * 86_400 / number)
        mention = Mention(f"{source}:{n}", source, text, moment, moment)
        batch.append((mention.id, encode(Seen(mention))))
        if len(batch) == 1_000:
            bus.publish(MENTIONS, batch)
            batch = []
    bus.publish(MENTIONS, batch)
    with store_of(load(None, center.data)) as store:
        wait_until(lambda: store.count(parse(f"source:{source}")) >= number, 7_200)


def settle(center: Center) -> None:
    """Return when a mention of now has come through: all before it has, over the common way and the other ones."""
    progress = -1
    while progress:
        status = json.loads(center.run("reprocess", "status", "--json").stdout)
        pending = sum(source["pending"] for source in center.status()["sources"])
        progress = 0 if sum(each["behind"] for each in status["generations"]) + pending < 200 else 1
        time.sleep(0.5)
    time.sleep(3)


def timed(work: object) -> float:
    """Return the seconds that `work` takes."""
    begin = time.monotonic()
    work()  # type: ignore[operator]
    return round(time.monotonic() - begin, 1)


def say(what: str) -> None:
    """Tell how it goes."""
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for name in ("HARK_BUS", "HARK_STORE", "HARK_STATE"):
        os.environ.pop(name, None)
    main()
