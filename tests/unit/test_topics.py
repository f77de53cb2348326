from pathlib import Path

import pytest

from enrich import Context, build
from enrich.phrasebook import load, parents
from enrich.topics import Negation
from hark.core.errors import SettingsError
from hark.settings import SHIPPED
from tests.support.hostile import in_proportion
from tests.support.judged import judged, judged_whole, reasons


def topics(text: str, language: bool = False) -> list[str]:
    return [topic.id for topic in judged(text, language).topics]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("@SouthwestAir on hold for two hours, nobody answers", "customer-service"),
        ("@SouthwestAir delayed again, sitting on the tarmac for 3 hours", "late-flight"),
        ("@SouthwestAir you cancelled my flight", "cancelled-flight"),
        ("@SouthwestAir where is my luggage? Still at the carousel", "lost-luggage"),
        ("@SouthwestAir you broke the wheel of my suitcase", "damaged-luggage"),
        ("@SouthwestAir wifi is down and the seat is broken", "bad-flight"),
        ("@SouthwestAir your website won't let me book a flight", "flight-booking"),
        ("@SouthwestAir your flight attendant was so rude to us", "flight-attendant"),
        ("@SouthwestAir two hours in line at check in, one agent working", "long-lines"),
        ("@SouthwestAir I want a refund", "refunds"),
        ("@SouthwestAir you left my wheelchair behind", "disability"),
        ("@SouthwestAir you oversold the flight and bumped us", "oversales"),
    ],
)
def test_the_first_topic_is_the_reason_of_the_complaint(text: str, first: str) -> None:
    assert topics(text)[0] == first


def test_a_mention_has_all_its_topics_the_surest_first() -> None:
    found = judged(
        "@SouthwestAir flight delayed 3 hours then cancelled, lost my bag, on hold for an hour"
    ).topics
    assert {topic.id for topic in found} >= {
        "late-flight",
        "cancelled-flight",
        "lost-luggage",
        "customer-service",
    }
    confidences = [topic.confidence for topic in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0.2 < confidence < 1.0 for confidence in confidences)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("@SouthwestAir no delays today", False),
        ("@SouthwestAir the flight wasn't delayed", False),
        ("@SouthwestAir my flight has not been cancelled", False),
        ("@SouthwestAir never lost my luggage", False),
        ("@SouthwestAir No, it was delayed", True),
        ("@SouthwestAir no. Delayed", True),
        ("@SouthwestAir I can't believe it was delayed", True),
        ("@SouthwestAir not only cancelled", True),
    ],
)
def test_what_did_not_happen_is_no_topic(text: str, event: bool) -> None:
    events = {"late-flight", "cancelled-flight", "lost-luggage"}
    assert bool(events & set(topics(text))) == event


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("was not ", True),
        ("wasn't  ", True),
        ("no more ", True),
        ("no, ", False),
        ("not sure why ", False),
        ("", False),
    ],
)
def test_a_negation_reaches_over_fillers_alone(before: str, expected: bool) -> None:
    assert Negation().takes_back(before) is expected


def test_each_topic_has_the_phrases_that_spoke_for_it_as_reasons() -> None:
    text = "@SouthwestAir — you cancelled my flight and lost my bag"
    found = judged(text)
    spoke = {text[reason.start : reason.end] for reason in reasons(found, "topic:lost-luggage")}
    assert "lost my bag" in spoke
    assert {topic.id for topic in found.topics} == {
        r.tag[6:] for r in found.reasons if r.tag.startswith("topic:")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "@SouthwestAir mi vuelo fue cancelado y no encuentro mi maleta, pésimo servicio al cliente",
            "cancelled-flight",
        ),
        ("@SouthwestAir mon vol est encore en retard et personne ne répond au téléphone", "late-flight"),
        (
            "@SouthwestAir unser Flug hat schon wieder Verspätung und der Koffer ist auch nicht da",
            "late-flight",
        ),
    ],
)
def test_other_languages_have_their_own_phrases(text: str, expected: str) -> None:
    assert expected in topics(text, language=True)


def test_words_of_another_language_are_not_read_as_english() -> None:
    assert "bad-flight" not in topics(
        "Wir haben gestern im Hotel gesessen und auf die Antwort gewartet, so ein Land", True
    )


def test_the_shipped_tree_holds_the_reasons_and_the_departments_categories() -> None:
    above = parents(load(SHIPPED).taxonomy)
    assert above.keys() >= {
        "customer-service", "late-flight", "cancelled-flight", "lost-luggage", "bad-flight", "flight-booking",
        "flight-attendant", "long-lines", "damaged-luggage",
        "flight-problems", "oversales", "reservations", "fares", "refunds", "baggage", "disability", "discrimination",
        "advertising",
    }  # fmt: skip
    assert above["late-flight"] == "flight-problems"
    assert above["lost-luggage"] == "baggage"
    assert above["baggage"] == ""


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[[topic]]\nid = "a"\nparent = "b"', "parent"),
        ('[[topic]]\nid = "a"\nparent = "b"\n[[topic]]\nid = "b"\nparent = "a"', "parent"),
        ('[[topic]]\nid = "a"\n[[topic]]\nid = "a"', "topic 'a' stands twice"),
        ('[[topic]]\nid = "a"\nphrases = ["<bag>"]', "<bag>"),
        ('[[topic]]\nid = "a"\nphrasen = []', "phrasen"),
    ],
)
def test_a_mistake_in_the_taxonomy_is_told(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "topics.toml").write_text(toml)
    with pytest.raises(SettingsError, match=said) as caught:
        build("topics", Context(tmp_path, (), None, {}))
    assert "topics.toml" in str(caught.value)


def test_ones_own_taxonomy_is_used() -> None:
    assert build("topics", Context(SHIPPED, (), None, {})).name == "topics"


@in_proportion
def test_many_candidates_behind_negations_take_time_in_proportion_to_the_length() -> None:
    assert judged_whole("not delayed " * 25_000).topics == ()
    judged_whole("lost waiting rude " * 8_000 + "bag plane crew " * 8_000)
