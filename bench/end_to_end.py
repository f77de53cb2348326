"""From import to searchable, measured on the real program; figures as ratios beside what people would write.

    python -m bench.end_to_end embedded [--mentions 50000]
    python -m bench.end_to_end cluster  [--mentions 50000 --rounds 3]   # Kafka to Elasticsearch, beside the plain script
    python -m bench.end_to_end tail     [--rate 500 --seconds 30]
    python -m bench.end_to_end memory   [--mentions 1000000]

Start-up is left out everywhere: all workers have done some mentions before the clock runs.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psutil
from elasticsearch import ApiError, Elasticsearch

from bench.texts import texts
from hark.bus import open_bus
from hark.core.change import MENTIONS, TOPICS, Seen, encode
from hark.core.mention import Author, Mention, Metrics
from hark.core.protocols import Bus
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.settings import LogSettings
from sinks import open_store
from tests.support.center import Center
from tests.support.servers import ElasticsearchServer, KafkaServer

WORKERS = 2  # of each kind: enrich and index
WARM_UP = 20_000


def main() -> None:
    """Run the measurement named on the command line and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["embedded", "cluster", "tail", "memory"])
    parser.add_argument("--mentions", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.what == "embedded":
            result = embedded(Path(folder), chosen.mentions or 50_000)
        elif chosen.what == "cluster":
            result = cluster(Path(folder), chosen.mentions or 50_000, chosen.rounds)
        elif chosen.what == "tail":
            result = tail(Path(folder), chosen.rate, chosen.seconds)
        else:
            result = memory(Path(folder), chosen.mentions or 1_000_000)
    print(json.dumps(result, indent=1))


def embedded(folder: Path, mentions: int) -> dict[str, object]:
    """Return mentions a second from the import's start to searchable, all roles and the import on this machine."""
    center = Center(folder)
    file = write(folder / "in.jsonl", mentions)
    warm_up = write(folder / "warm-up.jsonl", 2_000, seed=9)
    center.up()
    try:
        center.run("import", str(warm_up), "--source", "warm", timeout=600)
        center.settled()
        used = cpu_seconds(roles(center))
        begin = time.monotonic()
        importer = center.start("import", str(file))
        store = open_store("embedded", center.data, NO_TAXONOMY)
        wait_until(lambda: store.count(parse("source:import")) >= mentions)
        seconds = time.monotonic() - begin
        store.close()
        assert importer.wait() == 0
        cost = {
            role: round((after - used[role]) / mentions * 1e6)
            for role, after in cpu_seconds(roles(center)).items()
        }
    finally:
        center.down()
    return {
        "mentions": mentions,
        "seconds": round(seconds, 1),
        "per_second": round(mentions / seconds),
        "cpu_microseconds_a_mention": cost,
    }


def roles(center: Center) -> dict[str, int]:
    """Return the processes of the roles that are up."""
    return {role: pid for role, pid in center.roles().items() if pid}


def cluster(folder: Path, mentions: int, rounds: int) -> dict[str, object]:
    """Return mentions a second from Kafka to Elasticsearch: the plain script, and Hark with either client.

    They take turns on the same servers, so that neither has warmer ones than the other; the first round, in which
    the servers' JVMs still compile, is left out when there are more.
    """
    kafka, elasticsearch = KafkaServer(), ElasticsearchServer()
    kafka.start()
    elasticsearch.start()
    ways: dict[str, Callable[[int], Run]] = {
        "plain": lambda _: plain(kafka, elasticsearch, mentions),
        "plain+crc32c": lambda _: plain(kafka, elasticsearch, mentions, "--crc32c"),
        **{
            client: lambda n, client=client: through_hark(  # type: ignore[misc]
                folder / f"{client}-{n}", client, kafka, elasticsearch, mentions
            )
            for client in ("kafka+confluent", "kafka")
        },
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    try:
        for number in range(rounds):
            for name, way in ways.items():
                run = way(number)
                print(name, round(run.rate), run.cost, os.getloadavg()[0], file=sys.stderr)
                runs[name].append(run)
    finally:
        kafka.remove()
        elasticsearch.remove()
    counted = {name: of[1:] or of for name, of in runs.items()}
    ratios = {
        f"{name} / {script}": [
            round(run.rate / base.rate, 2) for run, base in zip(counted[name], counted[script], strict=True)
        ]
        for name in ("kafka+confluent", "kafka")
        for script in ("plain", "plain+crc32c")
    }
    return {
        "processes": 2 * WORKERS,
        "per_second": {name: [round(run.rate) for run in of] for name, of in counted.items()},
        "ratios": ratios,
        "cpu_microseconds_a_mention": {name: of[-1].cost for name, of in counted.items()},
    }


class Run(NamedTuple):
    """One way's mentions a second, and what each process spent on a mention: microseconds of one core."""

    rate: float
    cost: dict[str, int]


def plain(kafka: KafkaServer, elasticsearch: ElasticsearchServer, mentions: int, *options: str) -> Run:
    """Measure the plain script, in as many processes as Hark has workers."""
    server = Elasticsearch(elasticsearch.url)
    server.indices.delete(index="plain", ignore_unavailable=True)
    delete_topic(kafka, "plain")
    with closing(open_bus(f"kafka+confluent://{kafka.url}", Path())) as bus:
        bus.ends("plain")  # makes it
        command = [
            sys.executable,
            "-m",
            "bench.plain_script",
            kafka.url,
            elasticsearch.url,
            "plain",
            *options,
        ]
        processes = [subprocess.Popen(command) for _ in range(2 * WORKERS)]
        try:
            pids = {f"script-{n}": process.pid for n, process in enumerate(processes)}
            return measured(server, "plain", bus, "plain", mentions, pids | servers(kafka, elasticsearch))
        finally:
            for process in processes:
                process.kill()
                process.wait()


def through_hark(
    folder: Path, client: str, kafka: KafkaServer, elasticsearch: ElasticsearchServer, mentions: int
) -> Run:
    """Measure Hark's own roles, on topics and indices of their own."""
    server = Elasticsearch(elasticsearch.url)
    for index in server.indices.get(index="hark-*", expand_wildcards="all"):
        server.indices.delete(index=index)
    for topic in TOPICS:
        delete_topic(kafka, topic)
    store = f"elasticsearch+{elasticsearch.url}"
    center = Center(folder, HARK_BUS=f"{client}://{kafka.url}", HARK_STORE=store)
    center.up()
    try:
        with closing(open_bus(f"kafka+confluent://{kafka.url}", Path())) as bus:
            pids = roles(center) | servers(kafka, elasticsearch)
            return measured(server, "hark-mentions", bus, MENTIONS, mentions, pids)
    finally:
        center.down()


def measured(
    server: Elasticsearch, index: str, bus: Bus, topic: str, mentions: int, pids: dict[str, int]
) -> Run:
    """Measure from the first message of many to all searchable, by workers that have all done some already."""

    def searchable() -> int:
        try:
            return int(server.count(index=index, ignore_unavailable=True)["count"])
        except ApiError:  # the shard of a new index is starting
            return 0

    fill(bus, topic, messages(WARM_UP, "warm"))
    wait_until(lambda: searchable() >= WARM_UP)
    many = messages(mentions)
    before, begin = cpu_seconds(pids), time.monotonic()
    fill(bus, topic, many)
    wait_until(lambda: searchable() >= WARM_UP + mentions, pause=0.2)
    seconds = time.monotonic() - begin
    cost = {name: round((after - before[name]) / mentions * 1e6) for name, after in cpu_seconds(pids).items()}
    return Run(mentions / seconds, cost | {"all": sum(cost.values())})


def servers(kafka: KafkaServer, elasticsearch: ElasticsearchServer) -> dict[str, int]:
    """Return the processes of both servers."""
    assert kafka.process is not None
    assert elasticsearch.process is not None
    return {"kafka": kafka.process.pid, "elasticsearch": elasticsearch.process.pid}


def cpu_seconds(pids: dict[str, int]) -> dict[str, float]:
    """Return the processor time that each has used with its children: it does not depend on what else runs."""
    return {name: sum(map(_cpu, family(pid))) for name, pid in pids.items()}


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def messages(mentions: int, source: str = "import") -> list[tuple[str, bytes]]:
    """Return mentions as they are published."""
    return [(change.mention.id, encode(change)) for change in changes(mentions, source=source)]


def fill(bus: Bus, topic: str, messages: list[tuple[str, bytes]]) -> None:
    """Publish messages to a topic."""
    for begin in range(0, len(messages), 1_000):
        bus.publish(topic, messages[begin : begin + 1_000])


def delete_topic(kafka: KafkaServer, topic: str) -> None:
    """Delete a topic and wait until it is gone."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka.url})
    if topic in admin.list_topics(timeout=10).topics:
        for future in admin.delete_topics([topic]).values():
            future.result()
        wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)


def tail(folder: Path, rate: int, seconds: int) -> dict[str, object]:
    """Return the percentiles of the time from collected to printed by `hark tail`, in seconds."""
    center = Center(folder)
    center.up()
    process = subprocess.Popen(
        [sys.executable, "-m", "hark", "tail", "--json"], env=center._environment(), stdout=subprocess.PIPE
    )
    delays: list[float] = []

    def read() -> None:
        for line in process.stdout or ():
            seen = json.loads(line)
            collected = datetime.fromisoformat(seen["collected_at"])
            delays.append((datetime.now(UTC) - collected).total_seconds())

    threading.Thread(target=read, daemon=True).start()
    bus = open_bus("embedded", center.data, LogSettings())
    try:
        warm = iter(texts(100_000, seed=3))
        while len(delays) < 10:  # the roles load their models first
            publish(bus, [next(warm)], len(delays))
            time.sleep(0.2)
        delays.clear()
        begin = time.monotonic()
        for number, text in enumerate(texts(rate * seconds), start=1_000_000):
            publish(bus, [text], number)
            due = begin + (number - 1_000_000) / rate
            time.sleep(max(0.0, due - time.monotonic()))
        wait_until(lambda: len(delays) >= rate * seconds)
    finally:
        bus.close()
        process.terminate()
        center.down()
    delays.sort()
    at = {f"p{p}": round(delays[min(len(delays) - 1, len(delays) * p // 100)], 3) for p in (50, 90, 99, 100)}
    return {"rate": rate, "mentions": len(delays), "seconds_to_visible": at}


def publish(bus: object, batch: list[str], number: int) -> None:
    """Put texts into the log as if they had just been collected."""
    present = datetime.now(UTC)
    messages = []
    for n, text in enumerate(batch):
        mention = Mention(f"bench:{number + n}", "bench", text, present, present)
        messages.append((mention.id, encode(Seen(mention))))
    bus.publish(MENTIONS, messages)  # type: ignore[attr-defined]


def memory(folder: Path, mentions: int) -> dict[str, object]:
    """Return each role's resident memory (MB) at every tenth of a long import."""
    center = Center(folder)
    file = write(folder / "in.jsonl", mentions)
    center.up()
    rows: list[dict[str, object]] = []
    try:
        importer = center.start("import", str(file))
        store = open_store("embedded", center.data, NO_TAXONOMY)
        for tenth in range(1, 11):
            wait_until(lambda tenth=tenth: store.count(parse("")) >= mentions * tenth / 10, 3_600)  # type: ignore[misc]
            sizes = {
                role: round(psutil.Process(pid).memory_info().rss / 1e6)
                for role, pid in center.roles().items()
                if pid
            }
            rows.append({"mentions": mentions * tenth // 10, **sizes})
            print(rows[-1], file=sys.stderr)
        assert importer.wait() == 0
        store.close()
    finally:
        center.down()
    return {"resident_megabytes": rows}


def changes(number: int, seed: int = 1, source: str = "import") -> Iterator[Seen]:
    """Yield mentions spread over January 2026, as whole as X gives a post: with author, address and counts."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    chance = random.Random(seed)

    def count(middle: float) -> int:
        return int(chance.lognormvariate(middle, 1.5))

    for n, text in enumerate(texts(number, seed)):
        moment = begin + timedelta(seconds=n * 2_678_400 / number)
        native, person = 2_006_600_000_000_000_000 + n * 4_194_304_123, chance.randrange(number)
        handle = f"traveler{person}"
        author = Author(
            handle,
            str(90_000_000_000 + person * 7_919),
            f"Traveler {person}",
            count(5.3),
            count(5.3),
            count(7.0),
            verified=chance.random() < 0.1,
            url=f"https://x.com/{handle}",
            created_at=begin - timedelta(days=chance.randrange(5_000)),
        )
        id = f"{source}:{native}"
        yield Seen(
            Mention(
                id,
                source,
                text,
                moment,
                moment,
                url=f"https://x.com/{handle}/status/{native}",
                author=author,
                conversation=id,
                lang="en",
                metrics=Metrics(count(0.0), count(-1.0), count(-1.0), count(-2.0), count(5.0)),
                client="X for iPhone",
            )
        )


def write(path: Path, number: int, seed: int = 1) -> Path:
    """Write mentions as the lines that `hark import` reads."""
    with path.open("w") as file:
        for change in changes(number, seed):
            mention = change.mention
            row = {"id": mention.id.removeprefix("import:"), "text": mention.text}
            file.write(json.dumps(row | {"created_at": mention.created_at.isoformat()}) + "\n")
    return path


def wait_until(condition: Callable[[], bool], seconds: float = 300, pause: float = 0.05) -> None:
    """Return when `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("gave up waiting")
        time.sleep(pause)


if __name__ == "__main__":
    os.environ.pop("HARK_BUS", None)
    main()
