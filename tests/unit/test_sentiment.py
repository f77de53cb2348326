import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.core.errors import SettingsError
from tests.support.hostile import in_proportion
from tests.support.judged import chain, judged, judged_whole, reasons


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("@SouthwestAir on hold for two hours", "negative"),
        ("@SouthwestAir cancelled my flight and nobody answers the phone", "negative"),
        ("@SouthwestAir my flight has been delayed three times, still sitting on the tarmac", "negative"),
        ("@SouthwestAir thanks for nothing", "negative"),
        ("@SouthwestAir nice job losing my bag", "negative"),
        ("@SouthwestAir Great, another three hour delay. Thanks", "negative"),
        ("@SouthwestAir are you kidding me?", "negative"),
        ("@SouthwestAir why is nobody answering your phones?", "negative"),
        ("@SouthwestAir not good", "negative"),
        ("@SouthwestAir #epicfail", "negative"),
        ("@SouthwestAir never flying with you again", "negative"),
        ("@SouthwestAir thank you so much for your help!", "positive"),
        ("@SouthwestAir thanks for fixing my cancelled flight so quickly", "positive"),
        ("@SouthwestAir best crew ever, we love you", "positive"),
        ("@SouthwestAir no delays today, thank you", "positive"),
        ("@SouthwestAir 😍🙌", "positive"),
        ("@SouthwestAir do you fly to Denver on Sundays?", "neutral"),
        ("@SouthwestAir can I bring a stroller on board? Thanks", "neutral"),
        ("@SouthwestAir please follow me so I can DM you", "neutral"),
        ("@SouthwestAir announces new route to Cancun http://t.co/x", "neutral"),
        ("Southwest to add flights at Dallas, CEO says", "neutral"),
        ("", "neutral"),
    ],
)  # fmt: skip
def test_what_people_say_to_a_company_is_read_as_they_mean_it(text: str, label: str) -> None:
    assert judged(text).sentiment.label == label


def test_a_brand_name_that_sounds_good_is_no_praise() -> None:
    found = judged("@united where do I check in")
    assert found.sentiment.vader.compound > 0.3
    assert found.sentiment.label == "neutral"


def test_the_score_leans_as_the_label_says() -> None:
    assert judged("@SouthwestAir worst airline ever").sentiment.score < -0.8
    assert judged("@SouthwestAir you are amazing, thank you!").sentiment.score > 0.8


def test_a_plain_case_is_surer_than_a_mixed_one() -> None:
    plain = judged("@SouthwestAir worst airline ever, on hold for 3 hours and you lost my bag").sentiment
    mixed = judged("@SouthwestAir great crew, but the flight was late").sentiment
    assert plain.confidence > 0.9 > 0.8 > mixed.confidence


def test_the_reasons_are_the_words_that_weighed_most() -> None:
    text = "@SouthwestAir I was on hold for two hours 😡"
    found = reasons(judged(text), "sentiment")
    words = [(text[reason.start : reason.end], reason.weight < 0) for reason in found]
    assert ("on hold for", True) in words
    assert ("😡", True) in words


def test_places_of_reasons_count_characters_as_they_stand() -> None:
    text = "@SouthwestAir \u200bﬁrst the 𝐰𝐨𝐫𝐬𝐭 food…\u200d then on\u200b hold"
    found = reasons(judged(text), "sentiment")
    words = {text[reason.start : reason.end] for reason in found}
    assert "𝐰𝐨𝐫𝐬𝐭" in words
    assert "on\u200b hold" in words


def test_another_language_gets_vaders_label_and_no_confidence() -> None:
    found = judged(
        "@SouthwestAir el vuelo fue cancelado y perdieron mi maleta, un servicio muy malo, nunca más", True
    )
    assert found.language.code == "es"
    assert found.sentiment.confidence == 0.0
    assert reasons(found, "sentiment") == []


def test_towards_each_thing_that_is_named() -> None:
    text = "@SouthwestAir the flight attendants were great but you lost my bag"
    found = {reason.tag: (reason.why, text[reason.start : reason.end]) for reason in judged(text).reasons}
    assert found["aspect:flight-attendant"] == (
        "positive",
        "@SouthwestAir the flight attendants were great but",
    )
    assert found["aspect:lost-luggage"] == ("negative", " you lost my bag")


def test_towards_each_brand_that_is_named() -> None:
    found = {
        r.tag: r.why for r in judged("@Delta thank you so much! Unlike @united, which is terrible.").reasons
    }
    assert found["aspect:delta"] == "positive"
    assert found["aspect:united"] == "negative"


def test_a_text_of_one_mood_has_no_aspects() -> None:
    assert not [
        r for r in judged("@SouthwestAir you lost my bag, terrible").reasons if r.tag.startswith("aspect:")
    ]


@given(st.text(max_size=300) | st.text(alphabet="@#on hold?!\u200b😡\u0301ﬁ…'s0 ", max_size=300))
def test_no_text_is_refused_and_every_place_is_in_it(text: str) -> None:
    found = judged(text)
    assert found.sentiment.label in ("negative", "neutral", "positive")
    assert -1.0 <= found.sentiment.score <= 1.0
    assert 0.0 <= found.sentiment.confidence <= 1.0
    assert all(0 <= reason.start <= reason.end <= len(text) for reason in found.reasons)
    assert found == judged(text)


@in_proportion
@pytest.mark.parametrize(
    "text",
    [
        "on hold great ",
        "no not never bag lost ",
        "#fail",
        "#fail ",
        "😡",
        "a",
        "@united ",
        "great but lost my bag. ",
        "\u202e\u200b",
        "e\u0301\u0302\u0303",
        "http://",
    ],
)
def test_a_hostile_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    judged_whole(text * (400_000 // len(text)))


def test_the_version_names_the_rules_and_the_list(tmp_path: object) -> None:
    from pathlib import Path

    from enrich import Context, build
    from hark.settings import SHIPPED

    folder = Path(str(tmp_path))
    shipped = build("sentiment", Context(SHIPPED, (), None, {}))
    assert build("sentiment", Context(folder, (), None, {})).version == shipped.version
    lexicon = (SHIPPED / "lexicon.toml").read_text()
    (folder / "lexicon.toml").write_text(lexicon.replace('"on hold"', '"on hold", "on ice"', 1))
    assert build("sentiment", Context(folder, (), None, {})).version != shipped.version
    (folder / "lexicon.toml").write_text(lexicon.replace("positive = 3.0", 'positive = "much"', 1))
    with pytest.raises(SettingsError, match=r"lexicon\.toml: group.*positive"):
        build("sentiment", Context(folder, (), None, {}))
    assert chain().steps
