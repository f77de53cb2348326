import csv
import gzip

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import BOOSTER_DICT, NEGATE, SPECIAL_CASES, SentimentIntensityAnalyzer

from enrich.vader import Scorer
from tests.support.hostile import in_proportion
from tests.support.require import shared_data

package = SentimentIntensityAnalyzer()
scorer = Scorer()

single_emoji = sorted(emoji for emoji in package.emojis if len(emoji) == 1)
rule_words = [
    "never",
    "so",
    "this",
    "without",
    "doubt",
    "least",
    "at",
    "very",
    "but",
    "no",
    "or",
    "nor",
    "kind",
    "of",
    "the",
    "shit",
    "bomb",
    "bad",
    "ass",
    "bus",
    "stop",
]
rule_words += [
    "yeah",
    "right",
    "kiss",
    "death",
    "to",
    "die",
    "for",
    "beating",
    "heart",
    "just",
    "enough",
    "sort",
    "aren't",
    "AREN'T",
    "n't",
    "x'n't",
]
word = st.one_of(
    st.sampled_from(rule_words),
    st.sampled_from(sorted(package.lexicon)),
    st.sampled_from(sorted(BOOSTER_DICT)),
    st.sampled_from(sorted(NEGATE)),
    st.sampled_from(sorted(SPECIAL_CASES)),
    st.sampled_from(single_emoji),
    st.sampled_from(
        ["plane", "gate", "crew", "the", "WN1234", "İstanbul", "ΑΣ", "ß", "o\u0301", "1", "#FAIL", "@Delta"]
    ),
    st.text(max_size=6),
)
dressed = st.builds(
    lambda word, case, before, after: before + case(word) + after,
    word,
    st.sampled_from([str, str, str.upper, str.title]),
    st.sampled_from(["", "", "", '"', "(", "#", "¡", "'"]),
    st.sampled_from(["", "", "", "", "!", "?", "??", "!!!", "...", ",", ")", "'s"]),
)
sentence = st.lists(
    st.tuples(dressed, st.sampled_from([" ", " ", " ", "  ", "\n", "\u00a0", "\x1f", "", "\u200b"]))
).map(lambda pairs: "".join(word + gap for word, gap in pairs))


def by_package(text: str) -> tuple[float, float, float, float]:
    scores = package.polarity_scores(text)
    return scores["neg"], scores["neu"], scores["pos"], scores["compound"]


def by_hark(text: str) -> tuple[float, float, float, float]:
    vader = scorer.score(text)
    return vader.neg, vader.neu, vader.pos, vader.compound


@settings(max_examples=1500, deadline=None)
@given(sentence)
@example("")
@example(" \n ")
@example("but")
@example("good good good but good bad good but bad")
@example("good and great, but not the least bad, kind of")
@example("It was never so bad, without a doubt the bomb")
@example("no no no good or NO nor good no")
@example("At least it is good, the VERY least great")
@example("on the bus stop bad ass to die for")
@example("😁😁abc😁 :) 😢!!!")
@example("GREAT GREAT")
@example("GREAT great?")
def test_four_numbers_are_those_of_the_package(text: str) -> None:
    assert by_hark(text) == by_package(text)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=300))
def test_any_unicode_gives_the_numbers_of_the_package(text: str) -> None:
    assert by_hark(text) == by_package(text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "but",
                "good",
                "GOOD",
                "bad",
                "not",
                "no",
                "so",
                "very",
                "plane",
                "great!",
                "least",
                "kind",
                "of",
            ]
        ),
        min_size=20,
        max_size=120,
    )
)
def test_long_texts_of_few_words_give_the_numbers_of_the_package(words: list[str]) -> None:
    text = " ".join(words)
    assert by_hark(text) == by_package(text)


def test_labelled_tweets_give_the_numbers_of_the_package() -> None:
    with gzip.open(shared_data("airline/airline_share.csv.gz"), "rt", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert [text for text in texts if by_hark(text) != by_package(text)] == []


def test_words_are_forgotten_before_memory_grows() -> None:
    fresh = Scorer()
    for start in range(0, 130_000, 1000):
        fresh.score(" ".join(f"word{n}" for n in range(start, start + 1000)))
    assert len(fresh._words) <= 50_000
    assert fresh.score("a good plane") == scorer.score("a good plane")


@in_proportion
@pytest.mark.parametrize(
    "text",
    [
        "🙄" * 200_000,
        "x" * 6_000_000,
        "x " * 3_000_000,
        "good " * 120_000 + "but " + "bad " * 120_000,
        "never so good but no " * 120_000,
        "!?" * 3_000_000,
        " " * 6_000_000,
        "a\u0301\u200b\u202e" * 600_000,
    ],
    ids=lambda text: f"{text[:6]!r}x{len(text)}",
)
def test_hostile_texts_take_time_in_proportion_to_their_length(text: str) -> None:
    scorer.score(text)
