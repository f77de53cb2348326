from datetime import UTC, datetime
from math import log

import pytest

from hark.core.mention import Mention
from hark.query import parse
from hark.query.match import Document
from hark.query.ranking import MOST_UNITS, Ranker, Statistics

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def document(text: str, title: str | None = None) -> Document:
    return Document(Mention("x:1", "x", text, NOON, NOON, title=title))


def score(query: str, text: str, statistics: Statistics, title: str | None = None) -> float:
    ranker = Ranker(parse(query))
    return ranker.score(ranker.said(document(text, title)), statistics)


def test_a_score_is_that_of_the_formula() -> None:
    statistics = Statistics(mentions=10, length=4.0, holders=(2, 7))
    rare, usual = log(1 + 8.5 / 2.5), log(1 + 3.5 / 7.5)
    spread = 1.2 * (0.25 + 0.75 * 5 / 4)
    expected = rare * 2 * 2.2 / (2 + spread) + usual * 1 * 2.2 / (1 + spread)
    assert score("bag OR late", "bag is late, bag bagged", statistics) == pytest.approx(expected)


def test_words_under_not_and_fields_count_nothing() -> None:
    assert Ranker(parse("brand:delta -bag followers>=10")).units == 0
    assert Ranker(parse("late NOT (bag OR gate) lang:en")).units == 1


@pytest.mark.parametrize("query", ["bag", '"lost bag"', "ba?", "lost NEAR/1 bag"])
def test_a_title_counts_double_and_a_longer_text_counts_less(query: str) -> None:
    statistics = Statistics(5, 6.0, (3,))
    plain = score(query, "my lost bag", statistics)
    assert plain > 0
    assert score(query, "my oh my", statistics, title="lost bag") > plain
    assert score(query, "my lost bag and all that was in it", statistics) < plain
    assert score(query, "nothing", statistics) == 0


def test_what_few_mentions_say_weighs_more() -> None:
    statistics = Statistics(100, 3.0, (90, 4))
    assert score("late OR tarmac", "tarmac now again", statistics) > score(
        "late OR tarmac", "late now again", statistics
    )


def test_more_words_than_are_weighed_are_one() -> None:
    query = parse(" OR ".join(f"w{i}" for i in range(MOST_UNITS + 1)))
    ranker = Ranker(query)
    assert ranker.units == 1
    assert ranker.said(document("w1 w2 w1 x")).counts == (3,)


def test_statistics_count_mentions_and_not_occurrences() -> None:
    ranker = Ranker(parse("bag OR late"))
    said = [ranker.said(document(text)) for text in ("bag bag", "late bag my", "nothing")]
    assert ranker.statistics(said) == Statistics(3, 2.0, (2, 1))
    assert ranker.statistics([]) == Statistics(0, 0.0, (0, 0))
