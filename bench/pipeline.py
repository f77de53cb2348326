"""What enrichment costs, stage by stage, beside what most people would write; in one run, over texts that do not repeat.

    python -m bench.pipeline [TEXTS]          (or: hark bench)

All run by turns over blocks of the same texts; a figure is the median of its blocks, in processor time of one core.
The whole decodes lines, runs the chain, encodes the result and inserts it into a table of SQLite, as the baseline
does with its own.
"""

import contextlib
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from bench.baseline import Baseline
from bench.texts import texts
from enrich.chain import Chain, build_chain
from enrich.vader import Scorer
from hark import TAGGING
from hark.core.clock import EARLIEST
from hark.core.draft import Draft
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Enricher
from hark.settings import load

BLOCK = 500
_WARM_UP_BLOCKS = 2


class Report(Struct, frozen=True):
    """Microseconds of one core a text; ratios say how many times as fast."""

    texts: int
    tagging: str
    """"compiled", or "plain Python" and why."""
    stages: dict[str, float]
    """decode, each enricher, assemble, encode, insert: together the whole."""
    whole: float
    tag: float
    """What `hark tag` does: the whole without the insert."""
    baseline: float
    """json, vaderSentiment, PhraseMatcher over 300 phrases, insert."""
    vader: float
    vader_package: float
    whole_per_second: int
    tag_per_second: int
    baseline_per_second: int
    whole_to_baseline: float
    vader_to_package: float


class Line(Struct):
    """A line of the input."""

    id: str
    text: str


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


class Timed:
    """A step of the chain with a clock around it."""

    def __init__(self, step: Enricher, clock: dict[str, float]) -> None:
        self._enrich = step.enrich
        self._clock = clock
        self.name = step.name
        self.version = step.version

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Run the step; its time is added to the clock."""
        begin = time.process_time()
        self._enrich(drafts)
        self._clock[self.name] = self._clock.get(self.name, 0.0) + time.process_time() - begin


def measure(chain: Chain, count: int, seed: int = 1, progress: Callable[[int], None] | None = None) -> Report:
    """Measure over `count` texts; `progress` is told how many are done."""
    source = texts(count + _WARM_UP_BLOCKS * BLOCK, seed)
    blocks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        bench = _Bench(chain, Path(folder))
        while block := list(islice(source, BLOCK)):
            blocks.append(bench.block(block))
            if progress is not None:
                progress(min(len(blocks) * BLOCK, count))
        bench.close()
    return _report(count, blocks[_WARM_UP_BLOCKS:])


class _Bench:
    """The competitors, warmed up by what they have seen already."""

    def __init__(self, chain: Chain, folder: Path) -> None:
        self._clock: dict[str, float] = {}
        self._chain = Chain([Timed(step, self._clock) for step in chain.steps])
        self._package, self._ours = SentimentIntensityAnalyzer(), Scorer()
        self._baseline = Baseline(str(folder / "baseline.db"))
        self._database = sqlite3.connect(folder / "hark.db")
        self._database.execute(
            "CREATE TABLE mentions (id TEXT PRIMARY KEY, text TEXT, compound REAL, label TEXT, topics TEXT)"
        )
        self._number = 0

    def block(self, block: Sequence[str]) -> dict[str, float]:
        """Return what each stage took for the texts of a block, in microseconds a text."""
        lines = [_encode({"id": f"bench:{self._number + at}", "text": text}) for at, text in enumerate(block)]
        self._number += len(block)
        self._clock.clear()
        took: dict[str, float] = {}
        with _timing(took, "baseline"):
            self._baseline.run(lines)
        with _timing(took, "vader_package"):
            for text in block:
                self._package.polarity_scores(text)
        with _timing(took, "vader_ours"):
            for text in block:
                self._ours.score(text)
        with _timing(took, "decode"):
            mentions = [_mention(_decode(line)) for line in lines]
        with _timing(took, "assemble"):
            tags = self._chain.tag(mentions)
        took["assemble"] -= sum(self._clock.values())
        took |= self._clock
        with _timing(took, "encode"):
            for tag in tags:
                _encode(tag)
        with _timing(took, "insert"), self._database:
            self._database.executemany(
                "INSERT INTO mentions VALUES (?, ?, ?, ?, ?)", map(_row, mentions, tags)
            )
        return {name: seconds / len(block) * 1e6 for name, seconds in took.items()}

    def close(self) -> None:
        """Close the databases."""
        self._baseline.close()
        self._database.close()


@contextlib.contextmanager
def _timing(took: dict[str, float], name: str) -> Iterator[None]:
    begin = time.process_time()
    yield
    took[name] = time.process_time() - begin


def _report(count: int, blocks: list[dict[str, float]]) -> Report:
    medians = {name: round(statistics.median(block[name] for block in blocks), 1) for name in blocks[0]}
    beside = {"baseline", "vader_package", "vader_ours"}
    stages = {name: value for name, value in medians.items() if name not in beside}

    def of_whole(*without: str) -> float:
        return statistics.median(
            sum(value for name, value in block.items() if name not in beside and name not in without)
            for block in blocks
        )

    def ratio(slow: Callable[[dict[str, float]], float], fast: Callable[[dict[str, float]], float]) -> float:
        return round(statistics.median(slow(block) / fast(block) for block in blocks), 2)

    whole, tag = of_whole(), of_whole("insert")
    return Report(
        texts=count,
        tagging=TAGGING,
        stages=stages,
        whole=round(whole, 1),
        tag=round(tag, 1),
        baseline=medians["baseline"],
        vader=medians["vader_ours"],
        vader_package=medians["vader_package"],
        whole_per_second=round(1e6 / whole),
        tag_per_second=round(1e6 / tag),
        baseline_per_second=round(1e6 / medians["baseline"]),
        whole_to_baseline=ratio(
            lambda block: block["baseline"],
            lambda block: sum(value for name, value in block.items() if name not in beside),
        ),
        vader_to_package=ratio(lambda block: block["vader_package"], lambda block: block["vader_ours"]),
    )


def _row(mention: Mention, tags: Enrichment) -> tuple[str, str, float, str, str]:
    topics = _encode([topic.id for topic in tags.topics]).decode()
    return mention.id, mention.text, tags.sentiment.vader.compound, tags.sentiment.label, topics


def _mention(line: Line) -> Mention:
    return Mention(line.id, "bench", line.text, EARLIEST, EARLIEST)


def table(report: Report) -> str:
    """Return the report for people."""
    rows = [f"{'stage':24}{'µs a text':>10}"]
    rows += [f"  {name:22}{value:10.1f}" for name, value in report.stages.items()]
    rows += [
        f"{'whole':24}{report.whole:10.1f}{report.whole_per_second:10,} texts/s",
        f"{'hark tag (no insert)':24}{report.tag:10.1f}{report.tag_per_second:10,} texts/s",
        f"{'usual pipeline':24}{report.baseline:10.1f}{report.baseline_per_second:10,} texts/s",
        f"{'vaderSentiment':24}{report.vader_package:10.1f}",
        f"{'the same numbers, ours':24}{report.vader:10.1f}",
        "",
        f"the whole is {report.whole_to_baseline:.2f} times as fast as the usual pipeline,",
        f"the sentiment numbers {report.vader_to_package:.2f} times as fast as vaderSentiment's own",
        f"({report.texts:,} texts, none like another; processor time of one core; tagging: {report.tagging})",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    settings = load()
    chain = build_chain(settings.config, settings.brands)
    print(table(measure(chain, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)))
