"""Posts and comments of Reddit, as praw's objects hold them, into mentions."""

from datetime import UTC, datetime
from typing import Any

import praw
import pytest
from praw.models import Comment, Submission

from hark.core.change import Rejected, Seen, decode_change, encode
from hark.core.mention import Author, Media, Metrics
from ingest.reddit_posts import Post, read_item
from tests.support.reddit_recordings import exchanges, things

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POST = {
    "id": "1abcd",
    "name": "t3_1abcd",
    "author": "a_traveller",
    "author_fullname": "t2_77",
    "author_flair_text": "A-List",
    "subreddit": "travel",
    "title": "Stuck in Dallas",
    "selftext": "Four hours & counting",
    "is_self": True,
    "permalink": "/r/travel/comments/1abcd/stuck_in_dallas/",
    "url": "https://www.reddit.com/r/travel/comments/1abcd/stuck_in_dallas/",
    "created_utc": 1_790_000_000.0,
    "edited": False,
    "score": 12,
    "num_comments": 3,
    "num_crossposts": 1,
    "removed_by_category": None,
}
COMMENT = {
    "id": "kz9",
    "name": "t1_kz9",
    "author": "another",
    "subreddit": "travel",
    "body": "Same here",
    "link_id": "t3_1abcd",
    "parent_id": "t1_kz1",
    "permalink": "/r/travel/comments/1abcd/stuck_in_dallas/kz9/",
    "replies": "",
    "created_utc": 1_790_000_100.0,
    "edited": 1_790_000_500.0,
    "score": -2,
}


@pytest.fixture(scope="module")
def reddit() -> praw.Reddit:
    # An address that nothing answers at: what praw fetched by itself would fail.
    return praw.Reddit(
        client_id="id",
        client_secret=None,
        user_agent="a test of Hark",
        oauth_url="http://127.0.0.1:9",
        reddit_url="http://127.0.0.1:9",
        check_for_updates=False,
    )


def read(reddit: praw.Reddit, base: dict[str, Any], **fields: Any) -> Post:
    model = Comment if base["name"].startswith("t1") else Submission
    read = read_item(model(reddit, _data=base | fields), "reddit", NOW)
    assert isinstance(read, Post), read
    return read


def test_a_post_keeps_what_is_needed_and_no_more(reddit: praw.Reddit) -> None:
    post = read(reddit, POST)
    mention = post.mention
    assert (post.name, post.created, post.gone) == ("t3_1abcd", 1_790_000_000, "")
    assert (mention.id, mention.source, mention.kind, mention.edit) == (
        "reddit:t3_1abcd",
        "reddit",
        "post",
        0,
    )
    assert (mention.title, mention.text) == ("Stuck in Dallas", "Four hours & counting")
    assert mention.url == "https://www.reddit.com/r/travel/comments/1abcd/stuck_in_dallas/"
    assert mention.author == Author(handle="a_traveller", id="t2_77")
    assert mention.created_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert (mention.conversation, mention.in_reply_to) == ("reddit:t3_1abcd", None)
    assert mention.metrics == Metrics(likes=12, replies=3, reposts=1)
    assert mention.media == ()


def test_a_comment_knows_its_conversation_and_what_it_answers(reddit: praw.Reddit) -> None:
    mention = read(reddit, COMMENT).mention
    assert (mention.kind, mention.text, mention.title) == ("comment", "Same here", None)
    assert (mention.conversation, mention.in_reply_to) == ("reddit:t3_1abcd", "reddit:t1_kz1")
    assert mention.edit == 1_790_000_500_000
    assert mention.metrics == Metrics(likes=-2)
    assert mention.author == Author(handle="another")


def test_a_link_is_the_text_of_a_post_that_has_no_other(reddit: praw.Reddit) -> None:
    link = {"selftext": "", "is_self": False, "url": "https://southwest.com/help"}
    mention = read(reddit, POST, **link).mention
    assert (mention.text, mention.media) == ("https://southwest.com/help", (Media("link", link["url"]),))


def test_pictures_and_videos_are_media(reddit: praw.Reddit) -> None:
    shown = {"selftext": "", "is_self": False}
    picture = read(reddit, POST, **shown, url="https://i.redd.it/a.jpg").mention
    assert (picture.text, picture.media) == ("", (Media("image", "https://i.redd.it/a.jpg"),))
    media = {"reddit_video": {"fallback_url": "https://v.redd.it/x/DASH_720.mp4"}}
    video = read(reddit, POST, **shown, url="https://v.redd.it/x", is_video=True, media=media).mention
    assert (video.text, video.media) == ("", (Media("video", "https://v.redd.it/x/DASH_720.mp4"),))
    parts = {"a": {"e": "Image", "s": {"u": "https://preview.redd.it/a.jpg"}}, "b": {"status": "failed"}}
    url = "https://www.reddit.com/gallery/1abcd"
    gallery = read(reddit, POST, **shown, url=url, media_metadata=parts).mention
    assert (gallery.text, gallery.media) == ("", (Media("image", "https://preview.redd.it/a.jpg"),))


def test_a_crosspost_shows_its_original(reddit: praw.Reddit) -> None:
    original = {"selftext": "Told elsewhere", "media": None}
    fields = {"crosspost_parent": "t3_1aaaa", "crosspost_parent_list": [original]}
    mention = read(
        reddit, POST, selftext="", is_self=False, url="/r/other/comments/1aaaa/x/", **fields
    ).mention
    assert (mention.text, mention.repost_of) == ("Told elsewhere", "reddit:t3_1aaaa")


@pytest.mark.parametrize(
    ("base", "fields", "gone"),
    [
        (POST, {"removed_by_category": "moderator"}, "removed by Reddit or its moderators"),
        (POST, {"removed_by_category": "deleted"}, "deleted by its author"),
        (POST, {"selftext": "[removed]"}, "removed by Reddit or its moderators"),
        (POST, {"author": "[deleted]", "selftext": "[deleted]"}, "deleted by its author"),
        (POST, {"author": "[deleted]"}, "its author's account is deleted"),
        (COMMENT, {"author": "[deleted]", "body": "[deleted]"}, "deleted by its author"),
        (COMMENT, {"author": "[deleted]", "body": "[removed]"}, "removed by Reddit or its moderators"),
        (COMMENT, {"author": "[deleted]"}, "its author's account is deleted"),
        (COMMENT, {"body": "[removed]"}, ""),
    ],
)
def test_what_is_gone_says_why(reddit: praw.Reddit, base: dict[str, Any], fields: Any, gone: str) -> None:
    assert read(reddit, base, **fields).gone == gone


@pytest.mark.parametrize(
    "fields",
    [
        {"title": 7},
        {"created_utc": "yesterday"},
        {"created_utc": 1e12},
        {"created_utc": 5.0},
        {"edited": "often"},
        {"name": "t3_../x"},
    ],
)
def test_what_cannot_be_read_is_rejected_with_what_came(reddit: praw.Reddit, fields: dict[str, Any]) -> None:
    rejected = read_item(Submission(reddit, _data=POST | fields), "reddit", NOW)
    assert isinstance(rejected, Rejected)
    assert rejected.id == f"reddit:{fields.get('name', 't3_1abcd')}"
    assert b"Stuck in Dallas" in rejected.original or "title" in fields


def test_other_things_are_left_out(reddit: praw.Reddit) -> None:
    assert read_item({"kind": "more"}, "reddit", NOW) is None
    assert read_item(None, "reddit", NOW) is None
    assert read_item(reddit.subreddit("travel"), "reddit", NOW) is None


def test_a_half_of_a_character_does_not_stop_the_log(reddit: praw.Reddit) -> None:
    mention = read(reddit, COMMENT, body="late \ud83d again").mention
    assert decode_change(encode(Seen(mention))) == Seen(mention)


def test_every_recorded_post_and_comment_is_read_as_recorded(reddit: praw.Reddit) -> None:
    seen = 0
    for _, answer in exchanges():
        for kind, data in things(answer):
            if data["name"] == "t1_MISMATCH":
                continue  # made so by praw's authors, for a test of theirs
            # praw makes objects of the answers below a comment; here each is read by itself.
            post = read(reddit, {**data, "replies": ""} if kind == "t1" else data)
            mention, text = post.mention, data["body"] if kind == "t1" else data["selftext"]
            assert mention.id == f"reddit:{data['name']}"
            assert text == mention.text or (kind == "t3" and not text)
            assert (mention.author is None) == (data["author"] == "[deleted]")
            assert post.gone or mention.author is not None
            assert int(mention.created_at.timestamp()) == int(data["created_utc"])
            assert (mention.edit > 0) == bool(data.get("edited"))
            assert decode_change(encode(Seen(mention))) == Seen(mention)
            seen += 1
    assert seen > 5_000
