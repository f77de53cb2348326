"""A new model beside the one that serves: on texts that neither learnt from, better beyond noise or not."""

import random
from pathlib import Path

import pytest
from msgspec import structs

from enrich.chain import before_models, build_chain
from enrich.comparison import Served, compare, said_by
from enrich.examples import Examples, mark_of_text
from enrich.phrasebook import load as load_phrasebook
from enrich.training import Training, train
from hark.settings import SHIPPED, load

shipped = load(SHIPPED, Path("unused"))
book = load_phrasebook(SHIPPED)
served = Served(before_models(build_chain(SHIPPED, shipped.brands)), frozenset(), book)

WORDS = {
    "up": "lovely seat and a smile from the whole crew in the morning sun",
    "down": "broken seat and nobody of the crew cares at all in the cold rain",
    "level": "which seat does the crew have today and where is the desk then",
}


def examples(count: int, seed: int, wrong: float = 0.0) -> Examples:
    """Return texts by four authors in ten, all of this seed; a share of the labels is wrong."""
    chance = random.Random(seed)
    found = Examples([], [], [], None, 0, [])
    assert found.groups is not None
    for at in range(count):
        label = chance.choice(list(WORDS))
        other = chance.choice(list(WORDS))
        words = chance.sample(WORDS[label].split(), 4) + chance.sample(WORDS[other].split(), 3)
        found.texts.append(" ".join(words) + f" {chance.choice('bcdfgh')}{at}")
        found.labels.append(chance.choice(list(WORDS)) if chance.random() < wrong else label)
        found.groups.append(f"author {seed}-{at * 4 // 10}")
    return found


def learnt(from_: Examples) -> Training:
    return train(from_, "sentiment", served.steps, shipped.brands, book, 1, lambda: None)


@pytest.fixture(scope="module")
def poor() -> Training:
    return learnt(examples(60, 1, wrong=0.5))


@pytest.fixture(scope="module")
def good() -> Training:
    return learnt(examples(400, 2))


def test_one_that_is_better_beyond_noise_is_found_better_and_the_other_is_not(
    poor: Training, good: Training
) -> None:
    found = compare(good, poor.model, served)
    assert found.better
    assert found.difference is not None
    assert found.difference.macro_f1.low > 0.1
    assert found.new is not None
    assert found.serving is not None
    assert found.new.value - found.serving.value == pytest.approx(found.difference.macro_f1.value, abs=2e-4)
    held_out = examples(200, 3)
    assert compare(good, poor.model, served, held_out).better
    worse = compare(poor, good.model, served, held_out)
    assert not worse.better
    assert worse.difference is not None
    assert worse.difference.macro_f1.high < 0


def test_one_as_good_is_not_better_beyond_noise(good: Training) -> None:
    found = compare(learnt(examples(400, 31)), good.model, served)
    assert found.difference is not None
    assert found.difference.macro_f1.low < 0 < found.difference.macro_f1.high
    assert not found.better


def test_better_means_a_whole_interval_and_no_loss_of_accuracy(poor: Training, good: Training) -> None:
    found = compare(good, poor.model, served)
    assert found.difference is not None
    figure = found.difference.macro_f1

    def with_lows(macro_f1: float, accuracy_high: float) -> bool:
        changed = structs.replace(
            found.difference,
            macro_f1=structs.replace(figure, low=macro_f1),
            accuracy=structs.replace(figure, low=-0.5, high=accuracy_high),
        )
        return structs.replace(found, difference=changed).better

    assert with_lows(0.001, 0.0)
    assert not with_lows(0.0, 0.0)
    assert not with_lows(0.001, -0.001)


def test_nothing_is_compared_on_texts_authors_or_reposts_that_one_of_them_knows(good: Training) -> None:
    new = examples(300, 5)
    assert new.groups is not None
    known = good.examples
    assert known.groups is not None
    new.texts[:5] = [f"RT @somebody {text.upper()} https://t.co/x" for text in known.texts[:5]]
    new.groups[100:105] = known.groups[:5]
    # Copies that two authors of the new file posted: some stand in different folds.
    new.texts[200:220] = [new.texts[299]] * 20
    found = compare(learnt(new), good.model, served)
    assert found.texts + found.left_out == 300
    assert found.texts == 300 - 5 - 5 - 21

    held_out = examples(200, 6)
    held_out.texts[:4] = known.texts[:4]
    held_out.texts[10:14] = new.texts[10:14]
    assert compare(learnt(new), good.model, served, held_out).texts == 192


def test_the_new_one_is_judged_by_folds_that_had_not_seen_the_text() -> None:
    # Labels by chance: a model that had seen them would know some, one that had not knows nothing.
    first, second = (learnt(examples(300, seed, wrong=1.0)) for seed in (20, 21))
    found = compare(second, first.model, served)
    assert found.new is not None
    assert found.new.value < 0.45
    assert not found.better
    seen = said_by(second.model, second.examples.texts, served)
    assert sum(a == b for a, b in zip(seen, second.examples.labels, strict=True)) > 0.6 * 300


@pytest.mark.parametrize("change", ["labels", "few", "unknown", "same"])
def test_what_cannot_be_compared_is_told(poor: Training, good: Training, change: str) -> None:
    serving = poor.model
    if change == "labels":
        serving = structs.replace(serving, labels=("down", "level", "over"))
        says = "their labels differ: the new one alone knows 'up'; the one that serves alone knows 'over'"
    elif change == "few":
        texts = b"".join(sorted(map(mark_of_text, good.examples.texts[40:])))
        serving = structs.replace(serving, texts=texts)
        says = "40 texts of 16 groups are unknown to both models, and 100 of 50 are needed"
    elif change == "unknown":
        serving = structs.replace(serving, texts=b"")
        says = "does not say which texts it learnt from"
    else:
        serving = good.model
        says = "it is the same model"
    found = compare(good, serving, served)
    assert says in found.hindrance
    assert not found.better
    assert found.difference is None
