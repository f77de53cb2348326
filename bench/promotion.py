"""Measures when a new model is promoted, and prints the table of docs/learning.md.

    python -m bench.promotion [--data ../shared/data]

On the airline tweets' sentiment: a model that learnt from some authors serves, one that learnt from all is trained; and, by
turns, two of as many texts each of different authors, of which neither is better by more than chance. The tweets are for
evaluation alone: neither they nor what is learnt from them is kept.
"""

import argparse
import os
import random
from pathlib import Path

from enrich.chain import before_models, build_chain
from enrich.comparison import Comparison, Served, compare
from enrich.examples import Columns, Examples, read
from enrich.features import names_of_brands
from enrich.phrasebook import load as load_phrasebook
from enrich.training import Training, train
from hark.settings import SHIPPED, load

FIRST = (300, 1000, 3000, 6000, 8000)
TURNS, TEXTS_EACH = 20, 1500


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("HARK_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    file = parser.parse_args().data / "airline" / "airline_share.csv.gz"
    settings = load(SHIPPED, Path("unused"))
    steps = before_models(build_chain(SHIPPED, settings.brands))
    book, names = load_phrasebook(SHIPPED), frozenset(names_of_brands(settings.brands))
    served = Served(steps, names, book)
    every = read(file, Columns("text", "airline_sentiment", "author_id"))

    def learnt(places: list[int]) -> Training:
        return train(every.chosen(places), "sentiment", steps, settings.brands, book, 1, lambda: None)

    order = _shuffled(every, 1)
    whole = learnt(order)
    print("### A model of some texts serves, one of all is new\n")
    print("| texts of the one that serves | compared on | it | the new one | difference | promoted |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count in FIRST:
        found = compare(whole, learnt(order[:count]).model, served)
        print(f"| {count:,} | {found.texts:,} | {found.serving} | {found.new} | {_told(found)} |", flush=True)
    promoted = 0
    for turn in range(TURNS):
        order = _shuffled(every, turn)
        first, second = order[:TEXTS_EACH], order[TEXTS_EACH : 2 * TEXTS_EACH]
        promoted += compare(learnt(second), learnt(first).model, served).better
    print(
        f"\nOf {TURNS} models of {TEXTS_EACH:,} texts beside one of as many others, {promoted} were promoted."
    )


def _shuffled(every: Examples, seed: int) -> list[int]:
    """Return the places of all texts, authors shuffled, each author's texts together."""
    authors: dict[str, list[int]] = {}
    for place, author in enumerate(every.separate_groups()):
        authors.setdefault(author, []).append(place)
    names = sorted(authors)
    random.Random(seed).shuffle(names)
    return [place for name in names for place in authors[name]]


def _told(found: Comparison) -> str:
    if found.difference is None:
        return f"{found.hindrance} | no"
    figure = found.difference.macro_f1
    return (
        f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f}) | {'yes' if found.better else 'no'}"
    )


if __name__ == "__main__":
    main()
