"""What Hark makes of X's posts; and of recordings of X itself, where those are present."""

import gzip
import json
import re
import tarfile
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from hark.core.change import Change, Deleted, Edited, Seen
from hark.core.mention import Media, Mention, Place
from ingest.x_payload import decode_page, id_at, instant_of
from ingest.x_posts import Read, read_line, read_page
from tests.support.require import shared_data
from tests.support.x_server import USER, XServer, x_server

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ID = "1346889436626259968"


def line(post: dict[str, Any], **includes: Any) -> Read:
    data = {"id": ID, "text": "hello", **post}
    return read_line(json.dumps({"data": data, "includes": includes}).encode(), "x", frozenset(), NOW)


def mention(post: dict[str, Any], **includes: Any) -> Mention:
    read = line(post, **includes)
    assert not read.rejected, read.rejected[0].reason
    change = read.changes[0]
    assert isinstance(change, Seen | Edited)
    return change.mention


def recorded(name: str) -> list[bytes]:
    path = shared_data(f"api/x_v2/{name}.jsonl.gz")
    return [one for one in gzip.decompress(path.read_bytes()).splitlines() if one.strip()]


def test_an_id_tells_its_instant_and_back() -> None:
    written = instant_of(int(ID))
    assert written == datetime(2021, 1, 6, 18, 40, 40, 344000, tzinfo=UTC)
    assert id_at(written) <= int(ID) < id_at(written) + (1 << 22)


def test_the_least_that_x_may_send_is_enough() -> None:
    plain = mention({})
    assert (plain.id, plain.kind, plain.edit, plain.author, plain.metrics) == (
        f"x:{ID}",
        "post",
        0,
        None,
        None,
    )
    assert plain.created_at == datetime(2021, 1, 6, 18, 40, 40, tzinfo=UTC)
    assert plain.url == f"https://x.com/i/status/{ID}"


def test_text_is_what_a_reader_sees() -> None:
    urls = [
        {"url": "https://t.co/a", "expanded_url": "https://example.org/news?a=1&b=2"},
        {"url": "https://t.co/b", "expanded_url": "https://x.com/someone/status/1/photo/1"},
        {"url": "https://t.co/c", "expanded_url": f"https://twitter.com/i/web/status/{ID}"},
    ]
    text = "A &amp; B &lt;3 &amp;copy; https://t.co/a https://t.co/c https://t.co/b"
    assert (
        mention({"text": text, "entities": {"urls": urls}}).text
        == "A & B <3 &copy; https://example.org/news?a=1&b=2"
    )


def test_a_long_post_is_read_whole() -> None:
    assert mention({"text": "cut off…", "note_tweet": {"text": "the whole of it"}}).text == "the whole of it"


def test_a_repost_carries_the_whole_text_of_its_original() -> None:
    original = {"id": "7", "text": "all the words &amp; more", "author_id": USER["id"]}
    post = {"text": "RT @traveller: all the wo…", "referenced_tweets": [{"type": "retweeted", "id": "7"}]}
    found = mention(post, tweets=[original], users=[USER])
    assert (found.kind, found.repost_of) == ("repost", "x:7")
    assert found.text == "RT @traveller: all the words & more"
    assert mention(post).text == "RT @traveller: all the wo…"


def test_replies_and_quotes_point_at_the_first_id_of_what_they_answer() -> None:
    edited = {"id": "8", "text": "t", "edit_history_tweet_ids": ["7", "8"]}
    both = [{"type": "replied_to", "id": "8"}, {"type": "quoted", "id": "9"}]
    found = mention({"referenced_tweets": both, "conversation_id": "5"}, tweets=[edited])
    assert (found.kind, found.in_reply_to, found.repost_of, found.conversation) == (
        "reply",
        "x:7",
        "x:9",
        "x:5",
    )
    assert mention({"referenced_tweets": both[1:]}).kind == "quote"


def test_an_edit_is_the_same_mention_with_its_first_date() -> None:
    first = str(int(ID) - (60_000 << 22))
    post = {
        "edit_history_tweet_ids": [first, ID],
        "conversation_id": ID,
        "created_at": "2021-01-06T18:40:40.000Z",
    }
    change = line(post).changes[0]
    assert isinstance(change, Edited)
    assert (change.mention.id, change.mention.edit, change.mention.conversation) == (
        f"x:{first}",
        1,
        f"x:{first}",
    )
    assert change.mention.created_at == datetime(2021, 1, 6, 18, 39, 40, tzinfo=UTC)


def test_media_places_metrics_and_languages() -> None:
    found = mention(
        {
            "attachments": {"media_keys": ["3_1", "7_2", "3_unknown"]},
            "geo": {"place_id": "p", "coordinates": {"type": "Point", "coordinates": [-97.0, 32.9]}},
            "lang": "in",
            "public_metrics": {"like_count": 1, "retweet_count": 2, "reply_count": 3, "quote_count": 4},
        },
        media=[
            {"media_key": "3_1", "type": "photo", "url": "https://pbs.twimg.com/1.jpg", "alt_text": "a gate"},
            {"media_key": "7_2", "type": "video", "preview_image_url": "https://pbs.twimg.com/2.jpg"},
        ],
        places=[{"id": "p", "full_name": "Dallas, TX", "country_code": "us"}],
    )
    photo = Media("image", "https://pbs.twimg.com/1.jpg", "a gate")
    assert found.media == (photo, Media("video", "https://pbs.twimg.com/2.jpg"))
    assert found.place == Place("Dallas, TX", "US", 32.9, -97.0)
    assert found.metrics is not None
    assert (found.metrics.likes, found.metrics.views, found.lang) == (1, None, "id")
    assert mention({"lang": "qme"}).lang is None
    assert mention({"geo": {"coordinates": {"coordinates": [400.0, 32.9]}}}).place is None


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"delete": {"tweet": {"id": "7"}}}, "deleted on X"),
        ({"drop": {"tweet": {"id": "7"}}}, "removed from public view by X"),
        ({"withheld": {"tweet": {"id": "7"}, "withheld_in_countries": ["xx"]}}, "withheld by X everywhere"),
        ({"withheld": {"tweet": {"id": "7"}, "withheld_in_countries": ["de"]}}, None),
        ({"undrop": {"tweet": {"id": "7"}}}, None),
    ],
)
def test_what_is_gone_for_everybody_is_deleted(event: dict[str, Any], why: str | None) -> None:
    expected = [Deleted("x:7", why, NOW)] if why else []
    for shape in (event, {"data": event}):
        assert list(read_line(json.dumps(shape).encode(), "x", frozenset(), NOW).changes) == expected


def test_a_post_withheld_everywhere_is_not_kept_and_one_withheld_somewhere_is() -> None:
    assert isinstance(line({"withheld": {"country_codes": ["XX"], "copyright": False}}).changes[0], Deleted)
    assert isinstance(line({"withheld": {"country_codes": ["IN"], "copyright": False}}).changes[0], Seen)


def test_one_broken_post_of_a_page_is_refused_alone() -> None:
    page = decode_page(
        b'{"data": [{"id": "1", "text": "a"}, {"id": "2"}, {"id": "3", "text": "c"}], "meta": {}}'
    )
    read = read_page(page, "x", NOW)
    assert [change.mention.id for change in read.changes if isinstance(change, Seen)] == ["x:1", "x:3"]
    assert [(refused.id, refused.original) for refused in read.rejected] == [("x:2", b'{"id": "2"}')]
    assert (read.posts, read.newest, read.oldest) == (3, 3, 1)


# Recordings of X


def changes_of(recording: bytes) -> list[Change]:
    if isinstance(msgspec.json.decode(recording)["data"], list):
        read = read_page(decode_page(recording), "x", NOW)
    else:
        read = read_line(recording, "x", frozenset({"no rule"}), NOW)
    assert not read.rejected, read.rejected[0].reason
    return list(read.changes)


@pytest.mark.parametrize(
    "name",
    [
        "2sets",
        "brexit",
        "cotweet",
        "entities_test",
        "geo_tweets",
        "media_policy_violation_off",
        "media_tweet",
        "mentions_tweet",
        "streaming_output_head",
        "two_tweets",
        "withheld_head",
    ],
)
def test_every_recorded_post_is_read(name: str) -> None:
    for recording in recorded(name):
        data = msgspec.json.decode(recording)["data"]
        changes = changes_of(recording)
        assert len(changes) == (len(data) if isinstance(data, list) else 1)
        for change in changes:
            assert isinstance(change, Seen)
            assert change.mention.author is not None
            assert "&amp;" not in change.mention.text
            assert msgspec.json.decode(msgspec.json.encode(change.mention), type=Mention) == change.mention


def test_a_recorded_edit_and_its_first_text_are_one_mention() -> None:
    (before,), (after,) = (changes_of(recorded(name)[0]) for name in ("edited_before", "edited"))
    assert isinstance(before, Seen)
    assert isinstance(after, Edited)
    assert before.mention.id == after.mention.id == "x:1576994746135764992"
    assert before.mention.created_at == after.mention.created_at
    assert before.mention.conversation == after.mention.conversation
    assert (before.mention.edit, after.mention.edit) == (0, 1)
    assert before.mention.text.startswith("i miss y")
    assert after.mention.text == "hey :)"


def shape(value: object) -> object:
    """Return names and types, with one example for each list."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_the_local_server_answers_in_the_recorded_shape() -> None:
    theirs: Any = shape(msgspec.json.decode(recorded("streaming_output_head")[1]))
    with x_server() as server:
        server.post()
        found: Any = shape(page_of(server))
    for name, type in found["data"][0].items():
        assert name == "edit_history_tweet_ids" or theirs["data"][name] == type
    for name, type in found["includes"]["users"][0].items():
        assert theirs["includes"]["users"][0][name] == type


def page_of(server: XServer) -> object:
    status, page = server.search({"query": "southwest"})
    assert status == 200
    return page


def test_a_recorded_answer_of_recent_search_has_the_shape_that_is_read() -> None:
    archive = shared_data("api/tweepy_cassettes.tar.gz")
    with tarfile.open(archive) as tar:
        name = next(n for n in tar.getnames() if n.endswith("test_asyncclient_search_recent_tweets.yaml"))
        cassette = tar.extractfile(name)
        assert cassette is not None
        text = cassette.read().decode()
    # The body is a YAML string in double quotes, which JSON can read once its line folds are gone.
    found = re.search(r'string: ("(?:[^"\\]|\\.)*")', text, re.DOTALL)
    assert found
    body = json.loads(re.sub(r"\\\n\s*(\\ )?", lambda m: " " if m[1] else "", found[1]))
    page = decode_page(body.encode())
    read = read_page(page, "x", NOW)
    assert not read.rejected
    assert len(read.changes) == page.meta["result_count"] == 10
    assert (str(read.newest), str(read.oldest)) == (page.meta["newest_id"], page.meta["oldest_id"])
    assert "next_token" in page.meta
