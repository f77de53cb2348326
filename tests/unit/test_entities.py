import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.entities import Entities
from tests.support.drafts import enriched
from tests.support.hostile import in_proportion

entities = Entities()


def found(text: str) -> list[tuple[str, str, str]]:
    """Return (kind, value, the words in the text)."""
    return [(e.kind, e.value, text[e.start : e.end]) for e in enriched(entities, text).entities]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flying DAL-HOU tonight", [("airport", "DAL", "DAL"), ("airport", "HOU", "HOU")]),
        ("my flight from SAN to DEN is late", [("airport", "SAN", "SAN"), ("airport", "DEN", "DEN")]),
        ("stuck in BTV overnight", [("airport", "BTV", "BTV")]),
        ("chaos at ORD", [("airport", "ORD", "ORD")]),
        ("#DFW is a zoo", [("airport", "DFW", "DFW")]),
        ("GRK airport has no staff", [("airport", "GRK", "GRK")]),
        (
            "I am at O’Hare, not Midway Airport",
            [("airport", "ORD", "O’Hare"), ("airport", "MDW", "Midway Airport")],
        ),
        (
            "landed at denver airport 😀 love field next",
            [("airport", "DEN", "denver airport"), ("airport", "DAL", "love field")],
        ),
        ("going to jfk", [("airport", "JFK", "jfk")]),
        ("THE WORST. GET ME OUT OF THIS MESS NOW, ALL OF YOU", []),
        ("The CEO of ABC told CNN: at THE end, ASK the TSA in the USA", []),
        ("NEVER BOS AGAIN", []),
        ("@LAX @JFK", []),
    ],
)
def test_airports_are_found_by_code_with_context_and_by_name(
    text: str, expected: list[tuple[str, str, str]]
) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WN1234 is late", [("flight", "WN1234", "WN1234")]),
        ("DL 123 boarded", [("flight", "DL123", "DL 123")]),
        ("on flight 1234 now", [("flight", "1234", "flight 1234")]),
        ("Flight # UA 0047!", [("flight", "UA47", "Flight # UA 0047")]),
        ("flight number 7 please", [("flight", "7", "flight number 7")]),
        ("#flt348", [("flight", "348", "flt348")]),
        ("aa123 again", [("flight", "AA123", "aa123")]),
        ("my flight 2 hours late", []),
        ("flight 30 minutes late and flight 1 of 2", []),
        ("AS 5 of US 10 said", []),
        ("see https://x.co/DL123abc", []),
    ],
)
def test_flight_numbers(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("paid $200 for it", "200 USD"),
        ("paid $1,234.50!", "1234.50 USD"),
        ("€202,88 too much", "202.88 EUR"),
        ("1.234,50 € zu viel", "1234.50 EUR"),
        ("$1k lost", "1000 USD"),
        ("£3 million", "3000000 GBP"),
        ("70 bucks a seat", "70 USD"),
        ("25 dollars", "25 USD"),
        ("C$40", "40 CAD"),
        ("$ and 7 dollar\u017f", "7 USD"),
        ("it was not cheap at all: US$ 12", "12 USD"),
        ("a seat is $\u0665 these days, and 5 the drink", "5 USD"),
    ],
)
def test_amounts_come_in_one_form(text: str, value: str) -> None:
    assert [(kind, normal) for kind, normal, _ in found(text)] == [("amount", value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("since 2026-02-23", "2026-02-23"),
        ("on 2/23 and later", "--02-23"),
        ("on 02/20/15", "2015-02-20"),
        ("am 23.12.2026", "2026-12-23"),
        ("Feb 23rd", "--02-23"),
        ("March 1, 2026", "2026-03-01"),
        ("the 1st of March", "--03-01"),
        ("17 Feb wifi", "--02-17"),
        ("until 3/4", "--03-04"),
        ("29 February", "--02-29"),
        ("at 1234-5 on \u017fept 4", "--09-04"),
        ("seat 12 in late september 9, 2026", "2026-09-09"),
    ],
)
def test_dates_come_as_iso_8601(text: str, value: str) -> None:
    assert [(kind, normal) for kind, normal, _ in found(text)] == [("date", value)]


@pytest.mark.parametrize(
    "text", ["every 10/15 mins", "3/4 full", "2/30", "February 31", "you may 4 times", "24/7", "1/2"]
)
def test_what_only_looks_like_a_date_is_none(text: str) -> None:
    assert found(text) == []


@given(st.text(st.sampled_from("ADLWN1209 #-/.,:$€feblightorm\n\u200b😀É"), max_size=60))
def test_places_lie_in_the_text_in_order_without_overlap(text: str) -> None:
    end = 0
    for entity in enriched(entities, text).entities:
        assert end <= entity.start < entity.end <= len(text)
        end = entity.end


def test_places_are_right_behind_characters_that_the_tokens_change() -> None:
    text = "ﬁ\u200b😀 I\u0307stanbul … chaos at O'Hare, 𝟙 hour"
    assert found(text) == [("airport", "ORD", "O'Hare")]


@in_proportion
@pytest.mark.parametrize(
    "text",
    [
        "1 " * 200_000,
        "flight " * 60_000,
        "$1," * 130_000,
        "DAL-" * 100_000,
        "flight" + " " * 400_000 + "1",
        "1/1/" * 100_000,
    ],
    ids=lambda text: f"{text[:6]!r}x{len(text)}",
)
def test_hostile_texts_take_time_in_proportion_to_their_length(text: str) -> None:
    enriched(entities, text)
