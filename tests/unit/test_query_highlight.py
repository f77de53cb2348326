from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.core.mention import Mention
from hark.query import parse
from hark.query.highlight import cut_out, highlights, spans

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def found(query: str, text: str, title: str | None = None) -> list[str]:
    mention = Mention("x:1", "x", text, NOON, NOON, title=title)
    return [text[start:end] for start, end in spans(parse(query), mention)]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("delay*", "Delayed! And no DELAYS.", ["Delayed", "DELAYS"]),
        ('"lost bag"', "a lost, bag; lost my bag", ["lost, bag"]),
        ("lost NEAR/1 bag", "lost my bag, and a bag", ["lost", "bag"]),
        ("bag -hiring", "a bag", ["bag"]),
        ("bag -hiring", "a bag, hiring", []),
        ("southwest", "Southwest’s ＳＯＵＴＨＷＥＳＴ", ["Southwest’s", "ＳＯＵＴＨＷＥＳＴ"]),
        ("bag source:reddit", "a bag", []),
        ("", "a bag", []),
    ],
)
def test_what_the_words_found_is_marked(query: str, text: str, expected: list[str]) -> None:
    assert found(query, text) == expected


def test_the_title_has_spans_of_its_own() -> None:
    mention = Mention("x:1", "x", "my bag", NOON, NOON, title="Bag lost")
    marked = highlights(parse("bag"), mention)
    assert (marked.title, marked.text) == (((0, 3),), ((3, 6),))
    assert spans(parse("bag"), mention) == [(3, 6)]


def test_a_long_text_is_cut_around_what_was_found() -> None:
    text = "word " * 100 + "bag" + " word" * 100
    pieces = cut_out(text, [(500, 503)], 60)
    assert ("bag", True) in pieces
    assert (pieces[0][0][0], pieces[-1][0][-1]) == ("…", "…")
    assert cut_out("a bag", [(2, 5)], 60) == [("a ", False), ("bag", True)]
    assert cut_out("", [], 60) == []


@given(
    st.text(max_size=80),
    st.lists(st.integers(0, 80), max_size=6, unique=True),
    st.integers(4, 60),
)
def test_a_cut_is_never_longer_than_asked_and_holds_the_text_in_order(
    text: str, borders: list[int], longest: int
) -> None:
    inside = sorted(border for border in borders if border <= len(text))
    pairs = list(zip(inside[::2], inside[1::2], strict=False))
    pieces = cut_out(text, pairs, longest)
    whole = "".join(piece for piece, _ in pieces)
    assert len(whole) <= longest
    assert whole == text or len(text) > longest
    assert whole.removeprefix("…").removesuffix("…") in text
    assert all(piece for piece, _ in pieces)
    for piece, is_found in pieces:
        assert not is_found or any(piece in text[start:end] for start, end in pairs)
