"""From import to searchable, measured on the real program; figures as ratios beside what people would write.

    python -m bench.end_to_end embedded [--mentions 50000]
    python -m bench.end_to_end cluster  [--mentions 50000]   # Kafka to Elasticsearch, beside the plain script
    python -m bench.end_to_end tail     [--rate 500 --seconds 30]
    python -m bench.end_to_end memory   [--mentions 1000000]

Start-up is left out everywhere: the clock runs from the first tenth searchable to all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from elasticsearch import Elasticsearch

from bench.texts import texts
from hark.bus import open_bus
from hark.core.change import MENTIONS, Seen, encode
from hark.core.mention import Mention
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.settings import LogSettings
from sinks import open_store
from tests.support.center import Center
from tests.support.servers import ElasticsearchServer, KafkaServer

WORKERS = 2  # of each kind: enrich and index


def main() -> None:
    """Run the measurement named on the command line and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["embedded", "cluster", "tail", "memory"])
    parser.add_argument("--mentions", type=int)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.what == "embedded":
            result = embedded(Path(folder), chosen.mentions or 50_000)
        elif chosen.what == "cluster":
            result = cluster(Path(folder), chosen.mentions or 50_000)
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
        used = cpu_seconds(center)
        begin = time.monotonic()
        importer = center.start("import", str(file))
        store = open_store("embedded", center.data, NO_TAXONOMY)
        wait_until(lambda: store.count(parse("source:import")) >= mentions)
        seconds = time.monotonic() - begin
        store.close()
        assert importer.wait() == 0
        cost = {
            role: round((after - used[role]) / mentions * 1e6) for role, after in cpu_seconds(center).items()
        }
    finally:
        center.down()
    return {
        "mentions": mentions,
        "seconds": round(seconds, 1),
        "per_second": round(mentions / seconds),
        "cpu_microseconds_a_mention": cost,
    }


def cpu_seconds(center: Center) -> dict[str, float]:
    """Return the processor time that each role has used: it does not depend on what else the machine does."""
    times = {role: psutil.Process(pid).cpu_times() for role, pid in center.roles().items() if pid}
    return {role: used.user + used.system for role, used in times.items()}


def cluster(folder: Path, mentions: int) -> dict[str, object]:
    """Return mentions a second from Kafka to Elasticsearch: the plain script, and Hark with either client."""
    kafka, elasticsearch = KafkaServer(), ElasticsearchServer()
    kafka.start()
    elasticsearch.start()
    try:
        rates = {"plain": plain(kafka, elasticsearch, mentions)}
        for client in ("kafka+confluent", "kafka"):
            rates[client] = through_hark(folder / client, client, kafka, elasticsearch, mentions)
    finally:
        kafka.remove()
        elasticsearch.remove()
    ratios = {f"{name} / plain": round(rate / rates["plain"], 2) for name, rate in rates.items()}
    return {"processes": 2 * WORKERS, "per_second": {n: round(r) for n, r in rates.items()}, "ratios": ratios}


def plain(kafka: KafkaServer, elasticsearch: ElasticsearchServer, mentions: int) -> float:
    """Return the rate of the plain script, in as many processes as Hark has workers."""
    fill(f"kafka+confluent://{kafka.url}", "plain", mentions)
    command = [sys.executable, "-m", "bench.plain_script", kafka.url, elasticsearch.url, "plain"]
    processes = [subprocess.Popen(command) for _ in range(2 * WORKERS)]
    try:
        return rate_of(Elasticsearch(elasticsearch.url), "plain", mentions)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def through_hark(
    folder: Path, client: str, kafka: KafkaServer, elasticsearch: ElasticsearchServer, mentions: int
) -> float:
    """Return the rate of Hark's own roles, on topics and indices of their own."""
    server = Elasticsearch(elasticsearch.url)
    for index in server.indices.get(index="hark-*", expand_wildcards="all"):
        server.indices.delete(index=index)
    for topic in ("mentions", "enriched", "rejected"):
        delete_topic(kafka, f"hark.{topic}")
    address = f"{client}://{kafka.url}"
    fill(f"kafka+confluent://{kafka.url}", MENTIONS, mentions)
    center = Center(folder, HARK_BUS=address, HARK_STORE=f"elasticsearch+{elasticsearch.url}")
    center.up()
    try:
        return rate_of(server, "hark-mentions*", mentions)
    finally:
        center.down()


def rate_of(server: Elasticsearch, index: str, mentions: int) -> float:
    """Return mentions a second from the first tenth to all."""

    def count() -> int:
        server.indices.refresh(index=index, ignore_unavailable=True)
        return int(server.count(index=index, ignore_unavailable=True)["count"])

    wait_until(lambda: count() >= mentions / 10)
    first, begin = count(), time.monotonic()
    wait_until(lambda: count() >= mentions)
    return (mentions - first) / (time.monotonic() - begin)


def fill(address: str, topic: str, mentions: int) -> None:
    """Publish mentions to a topic."""
    bus = open_bus(address, Path(), LogSettings())
    batch = []
    for change in changes(mentions):
        batch.append((change.mention.id, encode(change)))
        if len(batch) == 1_000:
            bus.publish(topic, batch)
            batch = []
    bus.publish(topic, batch)
    bus.close()


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


def changes(number: int, seed: int = 1) -> Iterator[Seen]:
    """Yield mentions spread over January 2026."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for n, text in enumerate(texts(number, seed)):
        moment = begin + timedelta(seconds=n * 2_678_400 / number)
        yield Seen(Mention(f"import:{n}", "import", text, moment, moment))


def write(path: Path, number: int, seed: int = 1) -> Path:
    """Write mentions as the lines that `hark import` reads."""
    with path.open("w") as file:
        for change in changes(number, seed):
            mention = change.mention
            row = {"id": mention.id.removeprefix("import:"), "text": mention.text}
            file.write(json.dumps(row | {"created_at": mention.created_at.isoformat()}) + "\n")
    return path


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Return when `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("gave up waiting")
        time.sleep(0.05)


if __name__ == "__main__":
    os.environ.pop("HARK_BUS", None)
    main()
