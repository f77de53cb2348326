from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hark.console.found import LONGEST_SEARCHED, FlatMention, row_pieces, told_whole
from hark.console.pages.search import OPERATORS
from hark.core.mention import Enrichment, Language, Mention, Reason, Sentiment, Vader
from hark.core.protocols import Hit
from hark.query import parse
from hark.query.fields import FIELDS, NO_TAXONOMY

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
TAGS = Enrichment("v", Language("en", 1.0), (), Sentiment("neutral", 0.0, 0.5, Vader(0, 1, 0, 0)))


def hit(text: str, title: str | None = None, *hidden: str) -> Hit:
    reasons = tuple(
        Reason("pii:email", "e-mail address", 0.0, text.index(part), text.index(part) + len(part))
        for part in hidden
    )
    tags = msgspec.structs.replace(TAGS, reasons=reasons)
    return Hit(Mention("x:1", "x", text, AT, AT, title=title), tags)


def row(query: str, one: Hit, longest: int = 400) -> list[tuple[str, str]]:
    return [(piece.text, piece.kind) for piece in row_pieces(one, parse(query), NO_TAXONOMY, longest)]


def whole(query: str, one: Hit) -> dict[str, Any]:
    return told_whole(one, parse(query), NO_TAXONOMY)


def test_a_row_marks_what_was_found_in_title_and_text() -> None:
    assert row("bag", hit("my bag is\n\n gone", "Bag lost")) == [
        ("Bag", "word"),
        (" lost — ", ""),
        ("my ", ""),
        ("bag", "word"),
        (" is gone", ""),
    ]
    assert row("", hit("my bag")) == [("my bag", "")]


def test_a_row_of_a_long_text_begins_before_what_was_found() -> None:
    pieces = row("bag", hit("word " * 1_000 + "bag" + " word" * 1_000))
    assert pieces[0] == ("…", "")
    assert ("bag", "word") in pieces
    assert pieces[-1] == ("…", "")
    assert 300 < sum(len(text) for text, _ in pieces) < 410


def test_personal_data_is_covered_in_a_row_and_its_title_even_where_it_was_found() -> None:
    one = hit("write to amy@example.com", "call 555-123-4567", "amy@example.com")
    assert row("amy", one) == [("call [phone number] — ", ""), ("write to ", ""), ("[e-mail address]", "pii")]


def test_highlights_lie_where_the_words_stand_in_the_masked_text() -> None:
    found = whole("bag OR amy", hit("bag amy@example.com bag", "my bag"))
    assert found["text"] == "bag [e-mail address] bag"
    assert [found["text"][slice(*span)] for span in found["highlights"]["text"]] == ["bag", "bag"]
    assert [found["title"][slice(*span)] for span in found["highlights"]["title"]] == ["bag"]


def test_a_text_that_is_too_long_to_be_searched_again_has_no_marks() -> None:
    one = hit("bag " * LONGEST_SEARCHED)
    assert whole("bag", one)["highlights"] == {"title": [], "text": []}
    assert row("bag", one)[0][1] == ""


@given(st.text(max_size=60), st.sampled_from(["bag", "bag OR lost", '"lost bag"', "NOT bag", ""]))
def test_a_row_holds_the_words_of_the_text_whatever_they_are(text: str, query: str) -> None:
    pieces = row(query, hit(text + " lost bag"))
    assert "".join("".join(piece for piece, _ in pieces).split()).endswith("lostbag")


def test_a_mention_for_programs_is_as_described() -> None:
    schema = FlatMention.model_json_schema()
    found = whole("bag", hit("a bag", "b"))
    assert set(found) <= set(schema["properties"])
    assert set(found["enrichment"]) == set(schema["properties"]["enrichment"]["required"])
    assert {"id", "text", "created_at", "enrichment", "highlights"} <= set(schema["required"])
    assert schema["properties"]["enrichment"]["properties"]["sentiment"]["required"]


def test_every_example_of_the_help_is_a_query_and_shows_what_the_language_has() -> None:
    examples = [example for example, _ in OPERATORS]
    for example in [*examples, *(field.example for field in FIELDS)]:
        parse(example)
    text = " ".join(examples)
    for operator in (" OR ", " -", " NEAR/", " ONEAR/", "(", '"', "*", "@"):
        assert operator in text
