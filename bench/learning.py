"""Measures training on labelled airline tweets and prints the tables of docs/learning.md.

    python -m bench.learning [--data ../shared/data] [--model spacy] [--second-opinion NAME [--processes 1] [--keep FILE]]

Trains sentiment and reasons once each, in a temporary folder that is removed; validation keeps authors apart, and leaves
each airline out once. With --second-opinion (a package or folder) it measures that alone: see bench.second_opinion; --keep
names a file for parts that are done, from which a later run goes on. The tweets are for evaluation alone: neither they nor what is learnt from them is kept.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.texts import texts as made_up
from enrich.chain import before_models, build_chain
from enrich.examples import Columns, Examples, read
from enrich.model import Task, write
from enrich.phrasebook import load as load_phrasebook
from enrich.training import Training, Validation, train
from hark.core.clock import EARLIEST
from hark.core.mention import Mention
from hark.settings import SHIPPED, load

LABELS: dict[Task, str] = {"sentiment": "airline_sentiment", "topic": "negativereason"}
COVERAGES = (1.0, 0.8, 0.5)


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("HARK_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--model", choices=("additive", "spacy"), default="additive")
    parser.add_argument("--second-opinion")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    file = given.data / "airline" / "airline_share.csv.gz"
    if given.second_opinion:
        from bench.second_opinion import measure

        measure(file, given.second_opinion, given.processes, list(LABELS), given.keep)
        return
    settings = load(SHIPPED, Path("unused"))
    steps = before_models(build_chain(SHIPPED, settings.brands))
    rows: list[Sequence[object]] = []
    found: dict[Task, Training] = {}
    tweets: Examples | None = None
    for task, label in LABELS.items():
        examples = read(file, Columns("text", label, "author_id", "airline"))
        tweets = tweets or examples
        begin = time.process_time()
        book = load_phrasebook(SHIPPED)
        found[task] = train(examples, task, steps, settings.brands, book, 1, lambda: None, kind=given.model)
        took = time.process_time() - begin
        for name, part in (
            ("authors kept apart", found[task].folds),
            ("airline left out", found[task].left_out),
        ):
            if part is not None:
                rows.append((task, name, *_figures(part), f"{took:.0f} s"))
    print("### Trained on the airline tweets\n")
    _table(
        ("task", "validation", "accuracy", "macro-F1", "surest 80 %", "calibration error", "training"), rows
    )
    for task, training in found.items():
        left_out = training.left_out or training.folds
        print(f"### {task}: each airline left out\n")
        _table(
            ("airline", "texts", "accuracy", "macro-F1"),
            [(name, each.texts, each.accuracy, each.macro_f1) for name, each in left_out.brands.items()],
        )
        print(f"### {task}: each label, airlines left out\n")
        _table(
            ("label", "texts", "precision", "recall", "F1"),
            [
                (each.label, each.texts, each.precision, each.recall, each.f1)
                for each in left_out.scores.labels
            ],
        )
        print(f"### {task}: what confidences are worth, airlines left out\n")
        _table(
            ("mean confidence", "right", "texts"),
            [(f"{sure:.3f}", f"{right:.3f}", count) for sure, right, count in left_out.sureness.bins],
        )
    print("### Speed of the whole chain, texts a second of one core\n")
    assert tweets is not None
    _table(("models", "tweets", "bench.texts"), _speeds(found, tweets.texts))


def _figures(part: Validation) -> tuple[object, ...]:
    sure = part.sureness
    return (
        part.scores.accuracy,
        part.scores.macro_f1,
        f"{sure.surest_80:.3f}",
        f"{sure.calibration_error:.3f}",
    )


def _speeds(found: dict[Task, Training], tweets: Sequence[str]) -> list[Sequence[object]]:
    settings = load(SHIPPED, Path("unused"))
    rows: list[Sequence[object]] = []
    others = list(made_up(10_000, 1))
    for tasks in ((), ("sentiment",), ("sentiment", "topic")):
        with tempfile.TemporaryDirectory(prefix="hark-learning-") as name:
            for task in tasks:
                write(found[task].model, Path(name))  # type: ignore[index]  # a literal of tasks
            chain = build_chain(SHIPPED, settings.brands, Path(name) if tasks else None)
        speeds = []
        for each in (tweets, others):
            mentions = [
                Mention(f"bench:{i}", "bench", text, EARLIEST, EARLIEST) for i, text in enumerate(each)
            ]
            chain.tag(mentions[:1000])
            begin = time.process_time()
            for at in range(0, len(mentions), 500):
                chain.tag(mentions[at : at + 500])
            speeds.append(f"{len(mentions) / (time.process_time() - begin):,.0f}")
        rows.append((" and ".join(tasks) or "none", *speeds))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


if __name__ == "__main__":
    main()
