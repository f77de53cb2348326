"""How long a turn of the alert role takes with a thousand series, on one core.

    python -m bench.alerts                                            embedded
    python -m bench.alerts --store elasticsearch+http://127.0.0.1:9200

Writes three days of made-up mentions of forty brands and 25 topics (a thousand series), learns from them, then judges
one bucket after the other as the role does: read, judge, record. With --incident one brand's mentions are tenfold, so
that incidents are opened, joined and explained too. With --new-terms the turn is that of a rule on new terms of each brand.
"""

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np

from hark.alerts.counts import BUCKET_MS
from hark.alerts.desk import list_incidents
from hark.alerts.live import Watch
from hark.alerts.rules import Rule
from hark.core.change import Tagged
from hark.core.clock import to_ms
from hark.core.mention import Author, Enrichment, Language, Mention, Sentiment, Topic, Vader
from hark.query import parse
from hark.query.fields import ancestors
from hark.state import open_state
from sinks import open_store

START = datetime(2026, 11, 2, tzinfo=UTC)
DAYS, A_DAY, BUCKETS = 3, 50_000, 6
BRANDS, TOPICS = 40, 25
_VADER = Vader(0.0, 1.0, 0.0, 0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="embedded")
    parser.add_argument("--a-day", type=int, default=A_DAY, help="mentions a day")
    parser.add_argument("--incident", action="store_true")
    parser.add_argument("--new-terms", action="store_true", help="a rule on new terms of each brand instead")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        store = open_store(asked.store, data, ancestors({}))
        state = open_state("embedded", data)
        written = mentions(asked.incident, asked.a_day)
        for at in range(0, len(written), 5_000):
            store.write(written[at : at + 5_000])
        rule = Rule("pairs", "Pairs", parse(""), "complaints", ("brand", "topic"), "spike", minimum_volume=5)
        if asked.new_terms:
            rule = Rule("pairs", "Terms", parse(""), "count", ("brand",), "new-term", minimum_volume=5)
        watch = Watch(store, state, {"pairs": rule}, ancestors({}), [], lambda connection, event: None)
        end = to_ms(START + timedelta(days=DAYS)) - BUCKETS * BUCKET_MS
        wall, cpu = time.perf_counter(), spent()
        watch.step(end)
        print(
            f"learned from {len(written):,} mentions: {time.perf_counter() - wall:.1f} s, CPU {spent() - cpu:.1f} s"
        )
        walls, cpus = [], []
        for bucket in range(1, BUCKETS + 1):
            wall, cpu = time.perf_counter(), spent()
            watch.step(end + bucket * BUCKET_MS)
            walls.append(time.perf_counter() - wall)
            cpus.append(spent() - cpu)
        of = f"the terms of {BRANDS} brands" if asked.new_terms else f"{BRANDS * TOPICS:,} series"
        print(
            f"a turn over {of}: median {median(walls):.2f} s (CPU {median(cpus):.2f} s), "
            f"longest {max(walls):.2f} s (CPU {max(cpus):.2f} s); {len(list_incidents(state))} incidents"
        )
        state.close()
        store.close()


def mentions(incident: bool, a_day: int) -> list[Tagged]:
    """Return what is said; with `incident` the first brand's mentions are tenfold in the last half hour."""
    draw = np.random.default_rng(5)
    seconds = np.sort(draw.uniform(0, DAYS * 86_400, DAYS * a_day))
    if incident:
        last = draw.uniform(DAYS * 86_400 - 1_800, DAYS * 86_400, 26 * BRANDS * 10)
        seconds = np.concatenate([seconds, np.sort(last)])
    found = []
    for number, second in enumerate(seconds):
        extra = number >= DAYS * a_day
        brand = 0 if extra else int(draw.integers(BRANDS))
        topic = int(draw.integers(5 if extra else TOPICS))
        at = START + timedelta(seconds=round(float(second), 3))
        label = "negative" if extra or draw.random() < 0.5 else "neutral"
        author = Author(handle=f"a{draw.integers(20_000)}", followers=int(draw.integers(5_000)))
        text = f"word{draw.integers(3_000)} word{draw.integers(300)} topic{topic} of brand{brand}"
        mention = Mention(f"x:{number}", "x", text, at, at, author=author)
        enrichment = Enrichment(
            "1",
            Language("en", 1.0),
            (f"brand{brand}",),
            Sentiment(label, 0.0, 0.9, _VADER),
            (Topic(f"topic{topic}", 0.9),),
        )
        found.append(Tagged(mention, enrichment))
    return found


def spent() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
