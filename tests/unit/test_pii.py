import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.pii import PersonalData, find, masked
from tests.support.drafts import enriched
from tests.support.hostile import in_proportion


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write to jane.doe+x@example.co.uk.", "write to [e-mail address]."),
        ("call (555) 123-4567 or 555.123.4567", "call [phone number] or [phone number]"),
        ("ring +44 20 7946 0958 😀", "ring [phone number] 😀"),
        ("call 5551234567", "call [phone number]"),
        ("card 4111 1111 1111 1111 please", "card [card number] please"),
        ("ssn 123-45-6789", "ssn [social security number]"),
        ("conf # G7HK2P", "conf # [booking reference]"),
        ("Confirmation number is ABCDEF!", "Confirmation number is [booking reference]!"),
        ("PNR: A3ZZ0F", "PNR: [booking reference]"),
        ("record locator HFJKTO", "record locator [booking reference]"),
        ("Rapid Rewards #12345678", "Rapid Rewards #[membership number]"),
    ],
)
def test_personal_data_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "thanks @amy and @bob@mastodon.social",
        "my confirmation PLEASE help, BOOKING PLEASE",
        "call 1-800-435-9792",
        "flight 1234 on 02/23/2015 at 10:30 for $1,234,567",
        "https://example.com/5551234567 www.example.com/?q=jane@example.com",
        "4111 1111 1111 1112 00",
    ],
)
def test_what_is_public_stays(text: str) -> None:
    assert masked(text) == text


def test_reasons_tell_the_place_and_never_the_value() -> None:
    text = "😀 mail jane@example.com or call 555-123-4567"
    reasons = enriched(PersonalData(), text).reasons
    assert [(reason.tag, text[reason.start : reason.end]) for reason in reasons] == [
        ("pii:email", "jane@example.com"),
        ("pii:phone", "555-123-4567"),
    ]
    assert not any("jane" in reason.why or "555" in reason.why for reason in reasons)


@given(st.text(st.sampled_from("aZ@.1234567890-+() #pnrPNR:conf\n"), max_size=80))
def test_the_step_finds_what_masking_hides(text: str) -> None:
    reasons = enriched(PersonalData(), text).reasons
    assert [(reason.tag.removeprefix("pii:"), reason.start, reason.end) for reason in reasons] == find(text)


@in_proportion
@pytest.mark.parametrize("text", ["a", "a@", "1 ", "1", "conf # ", "a.b@c.", "+1 ("])
def test_hostile_texts_take_time_in_proportion_to_their_length(text: str) -> None:
    masked(text * (2_000_000 // len(text)))
