from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.core.errors import SettingsError
from hark.core.mention import Author, Enrichment, Language, Media, Mention, Place, Sentiment, Topic, Vader
from hark.core.tree import And, Field
from hark.query import parse
from hark.query.fields import (
    FIELDS,
    ancestors,
    encode,
    normal,
    number,
    numbers_of,
    value_of,
    values_of,
    word,
    words_of,
)
from hark.query.match import Document, compile_query

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TREE = ancestors({"late": ["delay"], "delay": ["operations"], "bag": [], "cabin": ["service"]})
MENTION = Mention(
    id="x:AbC",
    source="x",
    text="@Delta my bag… #SWA #swa https://www.Example.org/Lost/Bags, and www.foo.net/a?b=c#d",
    title="To @United",
    created_at=NOON,
    collected_at=NOON,
    kind="reply",
    url="https://www.news.example.co.uk/2026/A-story/?utm=1#top",
    author=Author(handle="@SomeBody", name="Some Body", followers=12),
    conversation="x:1",
    in_reply_to="x:1",
    media=(Media(kind="Image"),),
    place=Place(name="Dallas, TX", country="US"),
    lang="en-US",
)
ENRICHMENT = Enrichment(
    version="1",
    language=Language("de", 0.9),
    brands=("Southwest", "love field"),
    sentiment=Sentiment("negative", -0.5, 0.9, Vader(0.5, 0.5, 0.0, -0.5)),
    topics=(Topic("bag", 0.9), Topic("late", 0.8), Topic("cabin", 0.3)),
    intent="complaint",
    priority=80,
    reach=30,
    influence=12,
    automation=0.29,
)


def test_the_words_of_a_mention() -> None:
    assert set(words_of(MENTION, ENRICHMENT, TREE)) == {
        "source=x",
        "kind=reply",
        "id=x:abc",
        "conversation=x:1",
        "author=somebody",
        "hashtag=swa",
        "mentions=delta",
        "mentions=united",
        "url=news.example.co.uk/2026/a-story/?utm=1",
        "url=news.example.co.uk/2026/a-story",
        "url=news.example.co.uk/2026",
        "url=news.example.co.uk",
        "url=example.org/lost/bags",
        "url=example.org/lost",
        "url=example.org",
        "url=foo.net/a?b=c",
        "url=foo.net/a",
        "url=foo.net",
        "site=news.example.co.uk",
        "site=example.co.uk",
        "site=co.uk",
        "country=us",
        "place=dallas,%20tx",
        "place=dallas",
        "place=tx",
        "lang=de",
        "brand=southwest",
        "brand=love%20field",
        "topic=bag",
        "topic=late",
        "topic=delay",
        "topic=operations",
        "topic=cabin",
        "topic=service",
        "sentiment=negative",
        "intent=complaint",
        *(
            f"has={name}"
            for name in [
                "media",
                "image",
                "link",
                "place",
                "reply",
                "title",
                "hashtag",
                "mentions",
                "brand",
                "topic",
                "intent",
            ]
        ),
    }
    assert numbers_of(MENTION, ENRICHMENT) == {
        "created": 1793534400000, "followers": 12, "priority": 80, "reach": 30, "influence": 12, "automation": 29,
    }  # fmt: skip


def test_lists_show_a_site_without_the_sites_above_it() -> None:
    assert values_of("site", MENTION, ENRICHMENT) == ["news.example.co.uk"]
    assert values_of("topic", MENTION, ENRICHMENT, TREE)[:3] == ["bag", "late", "cabin"]


def test_before_enrichment_the_platforms_language_counts() -> None:
    assert values_of("lang", MENTION, None) == ["en"]


@pytest.mark.parametrize(
    "query",
    [
        "url:https://www.example.org/lost/bags",
        "url:example.org/LOST/",
        "url:www.foo.net/a",
        'url:"https://news.example.co.uk/2026/A-story/?utm=1#top"',
        "site:example.co.uk site:https://news.example.co.uk/anything",
        "author:@somebody",
        "hashtag:#SWA",
        'brand:"Love Field"',
        "topic:operations",
        "lang:de-AT",
        "id:x:ABC",
        "has:image has:media has:link -has:video",
        "followers>11 followers<13 followers:12 priority>=80",
        "reach:30 influence<13 automation:29 bot<30",
        "created:2026-11-01 created>=2026-11-01T12:00 created<2026-11-01T12:00:00.001Z",
    ],
)
def test_a_query_finds_the_field(query: str) -> None:
    assert compile_query(parse(query)).matches(Document(MENTION, ENRICHMENT, TREE))


@given(st.text(max_size=400))
def test_a_filter_token_has_no_white_space_and_gives_its_value_back(value: str) -> None:
    token = word("place", normal(value))
    assert token.split() == [token]
    assert token.isprintable() or not any(character.isspace() for character in token)
    assert value_of(token) == normal(value)
    assert normal(normal(value)) == normal(value)


def test_encoding_is_one_to_one() -> None:
    assert encode("a b%20c\u3000") == "a%20b%2520c%e3%80%80"


def test_a_taxonomy_that_goes_round_is_refused() -> None:
    with pytest.raises(SettingsError, match="its own ancestor"):
        ancestors({"a": ["b"], "b": ["a"]})


def test_every_example_of_the_table_is_a_query_of_its_field() -> None:
    for info in FIELDS:
        root = parse(info.example).root
        fields = root.children if isinstance(root, And) else (root,)
        assert {field.name for field in fields if isinstance(field, Field)} == {info.name}


def test_every_field_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "query-language.md").read_text(encoding="utf-8")
    for info in FIELDS:
        assert f"`{info.name}`" in page
        assert all(f"`{alias}`" in page for alias in info.aliases)


def test_times_are_compared_in_milliseconds() -> None:
    assert number(Field("created", ">", "2026-11-01T12:00:00Z")) == numbers_of(MENTION, None)["created"]
