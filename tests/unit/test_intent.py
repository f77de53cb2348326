import pytest

from enrich.phrasebook import load
from hark.settings import SHIPPED
from tests.support.judged import judged, reasons


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("@SouthwestAir worst flight ever, two hours late", "complaint"),
        ("@SouthwestAir why is nobody answering? On hold for 2 hours, ridiculous", "complaint"),
        ("@SouthwestAir do you fly to Denver?", "question"),
        ("@SouthwestAir is flight 12 on time?", "question"),
        ("@SouthwestAir please send me a DM", "request"),
        ("@SouthwestAir need to change my seat", "request"),
        ("@SouthwestAir thank you, you are the best!", "praise"),
        ("@SouthwestAir terrible. I will never fly with you again", "threat-to-leave"),
        ("@SouthwestAir switching to Delta, cancelled again", "threat-to-leave"),
        ("@amy sorry to hear that, please DM us your confirmation number", "offer-of-help"),
        ("Southwest announces new nonstop service to Cancun http://t.co/x", "news"),
        ("@SouthwestAir gain followers, click here http://t.co/x", "spam"),
        ("@SouthwestAir gate 12", None),
        ("", None),
    ],
)
def test_what_the_writer_wants(text: str, intent: str | None) -> None:
    assert judged(text).intent == intent


@pytest.mark.parametrize(
    ("text", "urgency"),
    [
        ("@SouthwestAir there is smoke in the cabin of flight 12", "safety"),
        ("@SouthwestAir my insulin is in the bag you lost", "medical"),
        ("@SouthwestAir my daughter is stranded in Charlotte", "minor-alone"),
        ("@SouthwestAir you put an unaccompanied minor on the wrong plane", "minor-alone"),
        ("@SouthwestAir we are stranded in Denver, no hotel", "stranded"),
        ("@SouthwestAir you will hear from my lawyer", "legal"),
        ("@SouthwestAir I'm a reporter, do you have a comment on this?", "press"),
        ("@SouthwestAir need an answer ASAP, flight leaves in 40 minutes", "time-critical"),
        ("@SouthwestAir smoke in the cabin and we need help now", "safety"),
        ("@SouthwestAir adding insult to injury", None),
        ("@SouthwestAir not stuck anymore", None),
        ("@SouthwestAir thank you for getting my stranded family home, you are the best!", None),
        ("@SouthwestAir seat 12A", None),
    ],
)
def test_why_it_cannot_wait(text: str, urgency: str | None) -> None:
    assert judged(text).urgency == urgency


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("@SouthwestAir do you fly to Cancun? Planning a vacation", "plan"),
        ("@SouthwestAir trying to book on your website", "book"),
        ("@SouthwestAir the kiosk won't print my boarding pass", "check-in"),
        ("@SouthwestAir at the airport, gate change again", "airport"),
        ("@SouthwestAir boarding group 3 and the jet bridge is closed", "boarding"),
        ("@SouthwestAir no wifi on this flight and the flight attendant ran out of drinks", "in-flight"),
        ("@SouthwestAir just landed", "arrival"),
        ("@SouthwestAir where is my suitcase", "baggage"),
        ("@SouthwestAir still no refund for last month", "after"),
        ("@SouthwestAir hello", None),
    ],
)
def test_where_the_writer_stands(text: str, stage: str | None) -> None:
    assert judged(text).journey == stage


@pytest.mark.parametrize("tag", ["intent", "urgency", "journey"])
def test_the_phrase_that_spoke_is_the_reason(tag: str) -> None:
    text = "@SouthwestAir 😡 I'm stranded at the airport and will never fly with you again"
    (reason,) = reasons(judged(text), tag)
    expected = {"intent": "will never fly", "urgency": "stranded", "journey": "stranded"}
    assert expected[tag] in text[reason.start : reason.end]


def test_the_lists_name_what_the_documents_name() -> None:
    signals = load(SHIPPED).signals
    assert {each.name for each in signals.intent} == {
        "question", "request", "threat-to-leave", "offer-of-help", "news", "spam",
    }  # fmt: skip
    assert [each.name for each in signals.urgency] == [
        "safety", "medical", "minor-alone", "stranded", "legal", "press", "time-critical",
    ]  # fmt: skip
    assert [each.name for each in signals.journey] == [
        "plan", "book", "check-in", "airport", "boarding", "in-flight", "arrival", "baggage", "after",
    ]  # fmt: skip
