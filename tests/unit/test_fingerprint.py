import csv
import gzip
import random

import pytest

from enrich.fingerprint import fingerprint
from hark.core.tokens import tokens
from tests.support.require import shared_data


def of(text: str) -> str | None:
    return fingerprint(tokens(text))


ORIGINAL = "Southwest cancelled my flight to Denver after 3 hours on the tarmac, and nobody at the gate could help us"


@pytest.mark.parametrize(
    "copy",
    [
        "RT @amy: " + ORIGINAL,
        ORIGINAL + " https://t.co/abc123",
        ORIGINAL.upper() + "!!! 😡😡",
        "@SouthwestAir @amy " + ORIGINAL.replace(",", " -"),
        ORIGINAL.replace("cancelled", "#cancelled")
        .replace("nobody", "noboooody")
        .replace("noboooody", "nobody"),
        ORIGINAL.replace(", and", ". And so"),
        "\u200b" + ORIGINAL.replace("e", "ｅ", 1),
    ],
)
def test_copies_share_a_value(copy: str) -> None:
    assert of(copy) == of(ORIGINAL)


@pytest.mark.parametrize(
    "other",
    [
        ORIGINAL.replace("Denver", "Austin"),
        ORIGINAL.replace("3 hours", "5 hours"),
        "Southwest lost my bag in Denver",
        "thanks",
    ],
)
def test_other_stories_have_other_values(other: str) -> None:
    assert of(other) != of(ORIGINAL)


def test_short_texts_are_copies_only_when_their_words_are_the_same() -> None:
    assert of("@Delta thanks!!") == of("Thanks @United 😀")
    assert of("thank you") != of("you thank")
    assert of("😀😀") is None
    assert of("") is None


def test_value_is_the_same_on_every_machine() -> None:
    assert of("Flight delayed again") == "08bd702bd850bd49"


def test_long_texts_keep_their_value_when_a_few_words_change() -> None:
    chance = random.Random(5)
    words = [f"word{n}" for n in range(4_000)]
    kept = 0
    for _ in range(200):
        text = chance.sample(words, 100)
        changed = list(text)
        for at in chance.sample(range(100), 2):
            changed[at] = "changed"
        kept += fingerprint(text) == fingerprint(changed)
    assert kept / 200 > 0.75


def test_labelled_tweets_that_share_a_value_share_their_words() -> None:
    with gzip.open(shared_data("airline/airline_share.csv.gz"), "rt", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    groups: dict[str | None, list[frozenset[str]]] = {}
    for text in texts:
        words = frozenset(token.strip("#") for token in tokens(text) if token[0] == "#" or token[0].isalnum())
        groups.setdefault(of(text), []).append(words)
    pairs = [(group[0], other) for group in groups.values() for other in group[1:]]
    alike = [len(a & b) / max(len(a | b), 1) for a, b in pairs]
    assert len(pairs) > 50
    assert sum(share >= 0.6 for share in alike) / len(alike) > 0.9
