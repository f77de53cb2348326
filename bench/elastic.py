"""Bulk throughput of the Elasticsearch store beside `helpers.bulk` of plain documents, in one run.

    python -m bench.elastic http://127.0.0.1:9200 [mentions]

Both write the same mentions to the same server, in turns, so that a noisy machine disturbs both alike. The plain
side lets Elasticsearch make the mapping and analyse the text, as a short script would; it looks nothing up,
keeps no versions and never says what was there before.
"""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elasticsearch import Elasticsearch, helpers

from hark.core.change import Tagged
from hark.core.mention import (
    Author,
    Enrichment,
    Language,
    Mention,
    Metrics,
    Reason,
    Sentiment,
    Topic,
    Vader,
    flat,
)
from sinks import open_store

BATCH = 2_000
ROUNDS = 5
_WORDS = [
    f"{a}{b}"
    for a in ("flight", "bag", "crew", "gate", "delay", "seat", "line", "app", "refund", "thanks")
    for b in range(200)
]


def mentions(number: int, seed: int) -> list[Tagged]:
    pick = random.Random(seed)
    start = datetime(2026, 10, 20, tzinfo=UTC)
    made = []
    for i in range(number):
        text = " ".join(pick.choices(_WORDS, k=25)) + " @southwestair #delayed"
        at = start + timedelta(seconds=i * 4)
        author = Author(handle=f"user{pick.randrange(50_000)}", id=str(i), followers=pick.randrange(10_000))
        mention = Mention(
            f"x:{seed}{i:07d}",
            "x",
            text,
            at,
            at,
            url=f"https://x.com/i/{i}",
            author=author,
            metrics=Metrics(1, 2, 3),
        )
        label = pick.choice(("positive", "neutral", "negative"))
        enrichment = Enrichment(
            "2026.11",
            Language("en", 0.98),
            ("southwest",),
            Sentiment(label, -0.4, 0.8, Vader(0.1, 0.7, 0.2, -0.4)),
            (Topic("late-flight", 0.9), Topic("baggage", 0.4)),
            "complaint",
            "high",
            fingerprint=f"{i:016x}",
            priority=pick.randrange(100),
            reasons=(Reason("topic:late-flight", "delay", 1.0, 3, 8),),
        )
        made.append(Tagged(mention, enrichment))
    return made


def main() -> None:
    url = sys.argv[1]
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    name = f"bench_{int(time.time())}"
    store = open_store(f"elasticsearch+{url}/{name}", Path(), {"late-flight": frozenset({"delay"})})
    plain = Elasticsearch(url, request_timeout=60)
    spent = {"store": [0.0, 0.0, 0.0], "plain": [0.0, 0.0, 0.0]}
    for turn in range(ROUNDS):
        batch = mentions(number // ROUNDS, turn + 1)
        with _measured(plain, spent["store"]):
            for i in range(0, len(batch), BATCH):
                assert store.write(batch[i : i + BATCH]) == []
        with _measured(plain, spent["plain"]):
            helpers.bulk(plain, _actions(f"{name}-plain", batch), chunk_size=BATCH)
    for side, (seconds, client, server) in spent.items():
        cpu = f"CPU a mention: client {client / number * 1e6:.0f} µs, server {server / number * 1e6:.0f} µs"
        print(f"{side}: {number / seconds:.0f} mentions/s; {cpu}")
    print(f"ratio: {spent['plain'][0] / spent['store'][0]:.2f}")
    sizes = plain.cat.indices(index=f"{name}*", format="json", h=["index", "docs.count", "store.size"])
    for row in sizes:
        print(row)
    store.close()
    for index in plain.indices.get(index=f"{name}*"):
        plain.indices.delete(index=index)
    plain.indices.delete_index_template(name=f"{name}-mentions")
    plain.close()


@contextmanager
def _measured(server: Elasticsearch, spent: list[float]) -> Iterator[None]:
    """Add seconds passed, and seconds of the processor in this process and in the server."""
    before = time.perf_counter(), time.process_time(), _cpu(server)
    yield
    after = time.perf_counter(), time.process_time(), _cpu(server)
    for i in range(3):
        spent[i] += after[i] - before[i]


def _cpu(server: Elasticsearch) -> float:
    nodes = server.nodes.stats(metric="process")["nodes"]
    return float(sum(node["process"]["cpu"]["total_in_millis"] / 1000 for node in nodes.values()))


def _actions(index: str, batch: list[Tagged]) -> Iterator[dict[str, object]]:
    for item in batch:
        yield {"_index": index, "_id": item.mention.id, **flat(item.mention, item.enrichment)}


if __name__ == "__main__":
    main()
