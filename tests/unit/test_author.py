from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.author import AuthorSigns
from hark.core.draft import Draft
from hark.core.mention import Author, Metrics
from tests.support.drafts import mention_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def judged(author: Author | None = None, **fields: Any) -> Draft:
    draft = Draft(mention_of("late again", author=author, **fields), "late again", reasons=[])
    AuthorSigns().enrich([draft])
    return draft


def parts(draft: Draft, tag: str) -> dict[str, float]:
    return {reason.why: reason.weight for reason in draft.reasons if reason.tag == tag}


@pytest.mark.parametrize(
    ("people", "reach"), [(0, 0), (9, 10), (999, 30), (999_999, 60), (10**12, 100), (-5, 0)]
)
def test_ten_more_of_reach_is_ten_times_as_many_people(people: int, reach: int) -> None:
    assert judged(Author("amy", followers=people)).reach == reach


@pytest.mark.parametrize(
    ("followers", "counts", "why"),
    [
        (25_000, Metrics(likes=3), "25,000 followers"),
        (10, Metrics(views=40_000, likes=300), "40,000 views"),
        (10, Metrics(likes=300, reposts=30, replies=10, quotes=2), "342 reactions"),
        (None, Metrics(likes=-4), "0 reactions"),
    ],
)
def test_reach_is_the_largest_number_that_the_platform_gave(
    followers: int | None, counts: Metrics, why: str
) -> None:
    assert list(parts(judged(Author("amy", followers=followers), metrics=counts), "reach")) == [why]


def test_influence_is_the_sum_of_its_parts() -> None:
    author = Author("amy", followers=9_999, following=0, verified=True)
    draft = judged(author, metrics=Metrics(reposts=90, quotes=9, replies=9))
    assert parts(draft, "influence") == {
        "audience: 9,999 followers": 20,
        "passed on: 99 times": 20,
        "answered: 9 replies": 5,
        "followed more than following: 0": 10,
        "verified": 5,
    }
    assert draft.influence == 60


def test_followers_alone_are_less_than_half_of_influence() -> None:
    assert judged(Author("amy", followers=10**11)).influence == 40
    crowd = Metrics(reposts=10**9, replies=10**9)
    assert judged(Author("amy", followers=10**11, following=1, verified=True), metrics=crowd).influence == 100


@pytest.mark.parametrize(
    "draft",
    [
        judged(),
        judged(Author()),
        judged(Author("amy")),
        judged(Author("amy19283746")),
        judged(Author(id="did:plc:x", url="https://bsky.app/profile/x")),
        judged(Author("amy", name="Amy"), metrics=Metrics()),
    ],
)
def test_what_the_platform_does_not_say_is_unknown(draft: Draft) -> None:
    assert (draft.reach, draft.influence, draft.automation, draft.reasons) == (None, None, None, [])


@pytest.mark.parametrize(
    "case",
    [
        {"author": Author("weather_bot")},
        {"author": Author("FlightDealsBot")},
        {"author": Author("AutoModerator")},
        {"author": Author("gate-bot.bsky.social")},
        {"author": Author("amy", description="I'm a friendly bot. Beep.")},
        {"author": Author("deals", description="Automated feed of fares")},
        {"author": Author("deals", name="Fares 🤖")},
        {"author": None, "client": "IFTTT"},
        {"author": Author("amy", posts=60 * 3_000, created_at=NOW - timedelta(days=1_500))},
    ],
)
def test_a_program_that_shows_itself_is_likely_one(case: dict[str, Any]) -> None:
    draft = judged(**case)
    assert draft.automation is not None
    assert 0.5 < draft.automation <= 0.95
    assert parts(draft, "automation")


def test_what_the_platform_marks_as_a_bot_is_one() -> None:
    assert judged(Author("amy", bot=True, verified=True, created_at=NOW - 9 * YEAR)).automation == 0.99


@pytest.mark.parametrize(
    "author",
    [
        Author("amy", created_at=NOW - 9 * YEAR, description="hi"),
        Author("robot", verified=False),
        Author("talbot", verified=True),
        Author("abbot12", bot=False, description="I love my robot vacuum; both of us bottle wine"),
        Author("amy19283746", followers=3, following=200, created_at=NOW - YEAR, posts=900),
    ],
)
def test_an_ordinary_account_is_not_called_a_program(author: Author) -> None:
    automation = judged(author).automation
    assert automation is not None
    assert automation < 0.25


def test_an_account_that_is_younger_than_its_mention_says_nothing_of_its_age() -> None:
    assert parts(judged(Author("amy", created_at=NOW + YEAR, description="hi")), "automation") == {}


def test_weak_signs_together_leave_it_open() -> None:
    author = Author("Amy19283746", followers=20, following=3_000, created_at=NOW - timedelta(days=3))
    draft = judged(author)
    assert draft.automation == 0.57
    assert parts(draft, "automation") == {
        "an account younger than 30 days": 0.7,
        "no description": 0.3,
        "follows more than ten times as many as follow it": 1.0,
        "a handle as platforms propose it": 0.5,
    }


_numbers = st.one_of(st.none(), st.integers())


@given(
    st.builds(
        Author,
        handle=st.one_of(st.none(), st.text()),
        name=st.one_of(st.none(), st.text()),
        description=st.one_of(st.none(), st.text()),
        followers=_numbers, following=_numbers, posts=_numbers,
        verified=st.one_of(st.none(), st.booleans()),
        created_at=st.one_of(st.none(), st.datetimes(timezones=st.sampled_from([UTC, None]))),
    ),
    st.builds(Metrics, likes=_numbers, reposts=_numbers, replies=_numbers, quotes=_numbers, views=_numbers),
    st.one_of(st.none(), st.text()),
)  # fmt: skip
def test_whatever_a_platform_says_the_values_are_in_their_ranges(
    author: Author, metrics: Metrics, client: str | None
) -> None:
    draft = judged(author, metrics=metrics, client=client)
    assert draft.reach is None or 0 <= draft.reach <= 100
    assert draft.influence is None or 0 <= draft.influence <= 100
    assert draft.influence == (
        sum(parts(draft, "influence").values()) if draft.influence is not None else None
    )
    assert draft.automation is None or 0 <= draft.automation <= 0.95
