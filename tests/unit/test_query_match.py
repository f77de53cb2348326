from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hark.core.mention import Author, Mention
from hark.query import parse
from hark.query.match import Document, MatcherSet, compile_query
from tests.support.queries import TAXONOMY, mentions, parsed, queries
from tests.support.reference import means

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def document(text: str, title: str | None = None, **more: object) -> Document:
    return Document(Mention("x:1", "x", text, NOON, NOON, title=title, **more))  # type: ignore[arg-type]


def matches(query: str, text: str, title: str | None = None) -> bool:
    return compile_query(parse(query)).matches(document(text, title))


@settings(max_examples=200)
@given(queries(), st.lists(mentions(), min_size=1, max_size=4))
def test_the_matcher_agrees_with_the_plain_meaning(text: str, pairs: list[tuple[object, object]]) -> None:
    query = parsed(text)
    matcher = compile_query(query)
    for mention, enrichment in pairs:
        expected = means(query.root, mention, enrichment)  # type: ignore[arg-type]
        assert matcher.matches(Document(mention, enrichment, TAXONOMY)) == expected  # type: ignore[arg-type]


@settings(max_examples=200)
@given(st.lists(queries(4), min_size=1, max_size=8), mentions())
def test_a_set_of_queries_answers_like_each_of_them(texts: list[str], pair: tuple[object, object]) -> None:
    parsed_queries = [parsed(text) for text in texts]
    asked = Document(*pair, TAXONOMY)  # type: ignore[arg-type]
    expected = [i for i, query in enumerate(parsed_queries) if compile_query(query).matches(asked)]
    assert list(MatcherSet(parsed_queries).matches(asked)) == expected


@settings(max_examples=200)
@given(queries(), mentions())
def test_highlights_lie_in_the_text_ascending_and_without_overlap(
    text: str, pair: tuple[object, object]
) -> None:
    asked = Document(*pair, TAXONOMY)  # type: ignore[arg-type]
    matcher = compile_query(parsed(text))
    found = matcher.spans(asked)
    for spans, whole in ((found.title, asked.mention.title or ""), (found.text, asked.mention.text)):
        edges = [edge for span in spans for edge in span]
        assert edges == sorted(edges)
        assert all(0 <= begin < end <= len(whole) for begin, end in spans)
    if not matcher.matches(asked):
        assert not found.title
        assert not found.text


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("delay", "A DELAY again", True),
        ("delay", "delays", False),
        ("delay*", "delay", True),
        ("colo?r", "colour", True),
        ("colo?r", "color", False),
        ("colo*r", "color", True),
        ('"love field"', "Love, Field!", True),
        ('"love field"', "field of love", False),
        ('"love fie*"', "love fields", True),
        ("bag NEAR/1 lost", "lost my bag", True),
        ("bag NEAR/0 lost", "lost my bag", False),
        ("bag ONEAR/5 lost", "lost my bag", False),
        ("bag NEAR/5 bag", "a bag", False),
        ("bag NEAR/5 bag", "bag after bag", True),
        ('"lost bag" NEAR/1 (delta OR united)', "lost bag on united", True),
        ('"lost bag" NEAR/0 (delta OR united)', "lost bag on united", False),
        ('(bag OR "bag lost") NEAR/0 again', "bag lost again", True),
        ("delta -force", "delta force", False),
        ("NOT delta", "united", True),
        ("southwest", "Southwest's", True),
        ("at&t", "AT&T", True),
        ("#swa", "swa", False),
        ("swa", "#swa", False),
        ("", "anything", True),
        ("🦊 OR 😡", "😡😡", True),
    ],
)
def test_what_matches(query: str, text: str, expected: bool) -> None:
    assert matches(query, text) is expected


def test_phrases_and_near_do_not_cross_from_title_to_text() -> None:
    assert not matches('"love field"', "field", title="love")
    assert not matches("love NEAR/100 field", "field", title="love")
    assert matches("love field", "field", title="love")


def test_a_missing_number_is_neither_above_nor_below() -> None:
    asked = document("a")
    assert not compile_query(parse("followers>=0 OR followers<5")).matches(asked)
    assert compile_query(parse("NOT followers>=0")).matches(asked)
    assert compile_query(parse("followers:7")).matches(document("a", author=Author(followers=7)))


def test_highlights_show_what_the_query_found_and_nothing_under_not() -> None:
    found = compile_query(parse('"love field" OR fl*ght OR (bag AND missing) -united')).spans(
        document("Flight from Love-Field with a bag", title="a flight")
    )
    assert found.title == ((2, 8),)
    assert found.text == ((0, 6), (12, 22))


def test_highlights_of_near_are_those_close_enough() -> None:
    found = compile_query(parse("bag NEAR/1 lost")).spans(document("bag, bag and so on and on: lost my bag"))
    assert found.text == ((27, 31), (35, 38))


def test_a_filter_value_that_ends_in_a_star_is_no_pattern() -> None:
    queries_ = [parse('author:"ab*"'), parse("abc*")]
    assert MatcherSet(queries_).matches(document("x", author=Author(handle="AB*"))) == (0,)
    assert MatcherSet(queries_).matches(document("abcd", author=Author(handle="abc"))) == (1,)


@pytest.mark.timeout(20)
def test_a_hostile_text_takes_no_more_than_its_length() -> None:
    asked = document("a a aab " * 30_000)
    for text in ("a NEAR/100 a", '"' + "a " * 50 + '"', "a*a*a*a*a*b*c OR aa?", "aab NEAR/1 zz*"):
        compile_query(parse(text)).spans(asked)
    long_word = document("a" * 100_000)
    assert not compile_query(parse("*a*a*a*a*a*a*a*a*a*a*a*b")).matches(long_word)
