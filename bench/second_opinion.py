"""How a second opinion does on texts that no part of it had seen: `python -m bench.learning --second-opinion NAME`.

Sentiment with each airline left out, reasons by five folds with authors kept apart. Each time all that `hark train
--second-opinion` does is done anew without the texts that are judged then: folds, fine-tuning twice, blend. Takes
five minutes of one core for each.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec import structs

from enrich.chain import Chain, before_models, build_chain
from enrich.examples import Columns, Examples, read
from enrich.features import names_of_brands
from enrich.finetune import fit
from enrich.measures import difference, scores, sureness
from enrich.model import Models, Task, seconds_of, write
from enrich.phrasebook import load as load_phrasebook
from enrich.second_opinion import write as write_second
from enrich.training import FOLDS, drafts_of, folds_of, train
from hark.core.clock import EARLIEST
from hark.core.draft import Draft
from hark.core.mention import Mention
from hark.settings import SHIPPED, load

LABELS: dict[Task, str] = {"sentiment": "airline_sentiment", "topic": "negativereason"}
SEED = 1
Said = list[tuple[str, float]]


class Part(NamedTuple):
    """What was said of the texts that were left out, and how surely."""

    task: Task
    name: str
    places: list[int]
    without: Said
    together: Said
    asked: float
    minutes: float
    """Of one core, for all training."""
    speed: float
    """Of the whole chain with the second opinion: texts a second of one core."""


def examples_of(file: Path, task: Task) -> Examples:
    """Return the airline tweets with their labels for a task."""
    return read(file, Columns("text", LABELS[task], "author_id", "airline"))


def parts_of(examples: Examples, task: Task) -> list[tuple[str, list[int]]]:
    """Return the name and the places of each part that is left out once."""
    if task == "topic":
        fold_of = folds_of(examples, SEED)
        return [(f"fold {fold + 1}", np.flatnonzero(fold_of == fold).tolist()) for fold in range(FOLDS)]
    brands = examples.brands or []
    return [(name, [i for i, each in enumerate(brands) if each == name]) for name in sorted(set(brands))]


def left_out(file: Path, task: Task, name: str, base: str) -> Part:
    """Train without one part, and judge it without and with the second opinion."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    settings = load(SHIPPED, Path("unused"))
    book, names = load_phrasebook(SHIPPED), frozenset(names_of_brands(settings.brands))
    steps = before_models(build_chain(SHIPPED, settings.brands))
    examples = examples_of(file, task)
    places = dict(parts_of(examples, task))[name]
    others = examples.chosen(sorted(set(range(len(examples))) - set(places)))
    begin = time.process_time()
    training = train(others, task, steps, settings.brands, book, SEED, lambda: None)
    second = fit(training, base, SEED, lambda: None)
    took = time.process_time() - begin
    texts = examples.chosen(places).texts
    with tempfile.TemporaryDirectory(prefix="hark-second-opinion-") as folder:
        model = structs.replace(training.model, second=write_second(second.opinion, Path(folder), task))
        write(model, Path(folder))
        seconds = seconds_of(Path(folder), [model])
        chain = build_chain(SHIPPED, settings.brands, Path(folder))
    speed = _speed(chain, texts)
    # All are judged, whatever their language and the mood that the chain finds in them.
    drafts = drafts_of(texts, steps)
    of_all = structs.replace(model, languages=tuple({draft.language.code for draft in drafts}), mood="")
    without = _said(Models([of_all], names, book), task, drafts)
    drafts = drafts_of(texts, steps)
    together = _said(Models([of_all], names, book, seconds), task, drafts)
    asked = sum(any(r.why.startswith("second opinion") for r in draft.reasons) for draft in drafts) / len(
        drafts
    )
    return Part(task, name, places, without, together, asked, took / 60, speed)


def _said(step: Models, task: Task, drafts: Sequence[Draft]) -> Said:
    step.enrich(drafts)
    if task == "sentiment":
        return [(draft.sentiment.label, draft.sentiment.confidence) for draft in drafts]
    return [(draft.topics[0].id, draft.topics[0].confidence) for draft in drafts]


def _speed(chain: Chain, texts: Sequence[str]) -> float:
    mentions = [Mention(f"bench:{i}", "bench", text, EARLIEST, EARLIEST) for i, text in enumerate(texts)]
    chain.tag(mentions[:100])
    begin = time.process_time()
    for at in range(0, len(mentions), 500):
        chain.tag(mentions[at : at + 500])
    return len(mentions) / (time.process_time() - begin)


def measure(file: Path, base: str, processes: int, tasks: Sequence[Task], keep: Path | None) -> None:
    """Print the tables for these tasks; each part is told when it is there, and kept in a file where one is named."""
    wanted = [(task, name) for task in tasks for name, _ in parts_of(examples_of(file, task), task)]
    found: dict[tuple[Task, str], Part] = {}
    for line in keep.read_text().splitlines() if keep is not None and keep.exists() else ():
        part = Part(*json.loads(line))
        found[part.task, part.name] = part
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        running = [pool.submit(left_out, file, *each, base) for each in wanted if each not in found]
        for done in as_completed(running):
            part = done.result()
            found[part.task, part.name] = part
            print(f"{part.task}: {part.name}: {part.minutes:.1f} minutes", file=sys.stderr, flush=True)
            if keep is not None:
                with keep.open("a") as target:
                    target.write(json.dumps(part) + "\n")
    for task in tasks:
        _tell(examples_of(file, task), [found[each] for each in wanted if each[0] == task])


def _tell(examples: Examples, parts: Sequence[Part]) -> None:
    what = "each airline left out" if parts[0].task == "sentiment" else "five folds, authors kept apart"
    print(f"### {parts[0].task}: {what}, without and with the second opinion\n")
    print(
        "| left out | texts | asked | accuracy | with it | macro-F1 | with it | texts/s | minutes of training |"
    )
    print("|" + " --- |" * 9)
    for part in parts:
        chosen = examples.chosen(part.places)
        a, b = (
            scores(chosen.labels, [label for label, _ in said], chosen.groups)
            for said in (part.without, part.together)
        )
        print(
            f"| {part.name} | {len(chosen):,} | {part.asked:.1%} | {a.accuracy.value:.3f} | {b.accuracy.value:.3f} | "
            f"{a.macro_f1.value:.3f} | {b.macro_f1.value:.3f} | {part.speed:,.0f} | {part.minutes:.1f} |"
        )
    every = examples.chosen([place for part in parts for place in part.places])
    sides = [
        [each for part in parts for each in part.without],
        [each for part in parts for each in part.together],
    ]
    print("\n| all | accuracy | macro-F1 | surest 80 % | calibration error |\n|" + " --- |" * 5)
    for name, side in zip(("without", "with it"), sides, strict=True):
        labels = [label for label, _ in side]
        found = scores(every.labels, labels, every.groups)
        sure = sureness(
            [each for _, each in side], [a == b for a, b in zip(labels, every.labels, strict=True)]
        )
        print(
            f"| {name} | {found.accuracy} | {found.macro_f1} | {sure.surest_80:.3f} | {sure.calibration_error:.3f} |"
        )
    better = difference(every.labels, *([label for label, _ in side] for side in sides), every.groups)
    print(f"\nDifference: accuracy {better.accuracy}, macro-F1 {better.macro_f1}.\n")
