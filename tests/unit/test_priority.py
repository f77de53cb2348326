import pytest

from enrich.priority import Priority
from hark.core.mention import Author, Sentiment, Vader
from hark.query import parse
from hark.settings import Brand
from tests.support.drafts import draft_of

NO_VADER = Vader(0.0, 1.0, 0.0, 0.0)
step = Priority([Brand("southwest", "Southwest", parse("southwest"), frozenset({"southwestair"}))])


def judged(text: str, score: float = 0.0, **fields: object) -> tuple[int | None, dict[str, float]]:
    """Return the priority, and the points of each part."""
    author = fields.pop("author", None)
    draft = draft_of(text, author=author)
    label = "negative" if score < 0 else "positive" if score > 0 else "neutral"
    draft.sentiment = Sentiment(label, score, 0.9, NO_VADER)
    for name, value in fields.items():
        setattr(draft, name, value)
    step.enrich([draft])
    assert all(reason.tag == "priority" for reason in draft.reasons)
    return draft.priority, {reason.why: reason.weight for reason in draft.reasons}


def test_parts_add_up() -> None:
    total, parts = judged(
        "@SouthwestAir my son is stranded alone",
        -0.8,
        urgency="stranded",
        intent="complaint",
        author=Author("amy", followers=25_000),
    )
    assert parts == {
        "tone: negative": 20,
        "urgency: stranded": 30,
        "intent: complaint": 12,
        "reach: 25,000 followers": 8,
        "spoken to us": 10,
    }
    assert total == sum(parts.values()) == 80


def test_the_worst_is_a_hundred_at_most() -> None:
    total, _ = judged(
        "@southwestair help",
        -1.0,
        urgency="safety",
        intent="threat-to-leave",
        author=Author("big", followers=5_000_000),
        brands=("southwest",),
    )
    assert total == 100


def test_praise_comes_after_complaints() -> None:
    praise, _ = judged("@southwestair thanks", 0.9, intent="praise")
    complaint, _ = judged("@southwestair bag lost", -0.5, intent="complaint")
    assert praise is not None
    assert complaint is not None
    assert praise < complaint


@pytest.mark.parametrize("case", [{"intent": "spam"}, {"author": Author("SouthwestAir")}])
def test_spam_and_the_brands_own_posts_wait_for_nobody(case: dict[str, object]) -> None:
    assert judged("@southwestair urgent", -1.0, urgency="safety", **case) == (0, {})


def test_talk_about_others_weighs_less_than_talk_about_us() -> None:
    about_us, _ = judged("southwest is late", -0.5, brands=("southwest",))
    about_others, _ = judged("delta is late", -0.5, brands=("delta",))
    assert about_us == (about_others or 0) + 5
