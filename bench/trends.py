"""Trends of a week, and an export of everything, from the embedded store: CPU seconds, and memory.

    python -m bench.trends [N] [--data DIR]

The mentions are those of bench.store, with places, stages and authors' numbers beside them.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from math import log10
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from bench.store import BATCH, END, PARENTS, mentions
from hark.core.change import Tagged
from hark.core.mention import Place
from hark.core.protocols import Store
from hark.export import FORMATS, export, hits_of, mask
from hark.query import parse
from hark.trends import trends
from sinks import open_store


def main() -> None:
    """Fill a store where it is empty, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, nargs="?", default=300_000)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store("embedded", options.data or Path(folder), PARENTS)
        if not store.count(parse("")):
            items = authored(options.number)
            while some := list(islice(items, BATCH)):
                store.write(some)
        measure(store)
        store.close()


def authored(number: int) -> Iterator[Tagged]:
    """Yield mentions with what bench.store's lack: places, stages, reach, influence, automation."""
    draw = random.Random(5)
    for item in mentions(number):
        people = 1 + (item.mention.author.followers or 0 if item.mention.author else 0)
        yield replace(
            item,
            mention=replace(item.mention, place=Place("Dallas, TX", "US") if draw.random() < 0.05 else None),
            enrichment=replace(
                item.enrichment,
                journey=draw.choice([None, None, "airport", "baggage", "after"]),
                reach=round(10 * log10(people)),
                influence=min(40, round(5 * log10(people))),
                automation=0.05,
            ),
        )


def measure(store: Store) -> None:
    """Print the seconds of trends, and the speed and the memory of exports."""
    for query, days in (("", 7), ("brand:southwest", 7), ("brand:southwest", 14)):
        began = time.process_time()
        shown = trends(
            store, parse(query), END - timedelta(days=days), END,
            zone=ZoneInfo("America/Chicago"), as_of=END, taxonomy=PARENTS,
        )  # fmt: skip
        count, taken = shown.tally.mentions.count, time.process_time() - began
        print(f"trends of {query or 'all'}, {days} days, {count:,} mentions: {taken:.1f} s")
    for format in FORMATS:
        written, began, before = 0, time.process_time(), memory()

        def wrote(number: int) -> None:
            nonlocal written
            written += number

        with open(os.devnull, "wb") as nowhere:
            export(map(mask, hits_of(store, parse(""), None, None)), nowhere, format, wrote)
        rate = written / (time.process_time() - began)
        print(f"export as {format}: {rate:,.0f} a second; memory {before} MB before, {memory()} MB at most")


def memory() -> int:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
