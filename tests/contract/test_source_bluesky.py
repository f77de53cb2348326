"""Bluesky through the real websockets library, against a local server that speaks Jetstream v2."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus

import pytest

from hark.core.change import Change, Deleted, Edited, Seen
from hark.core.errors import SettingsError
from hark.core.mention import Media
from hark.core.protocols import Batch, Source
from ingest.bluesky import Bluesky, Options, Pace, build
from tests.contract.source_contract import Platform, SourceContract
from tests.support.jetstream_server import BEGIN, Jetstream
from tests.support.require import shared_data

QUICK = Pace(
    batch_seconds=0.02,
    idle_seconds=0.05,
    stall_seconds=20,
    backoff_seconds=0.01,
    longest_backoff_seconds=0.05,
    connect_seconds=5,
    rewind_seconds=3,
)


def source(server: Jetstream, pace: Pace = QUICK) -> Bluesky:
    options = Options(hosts=(server.url,), first_hours=1)
    return Bluesky("bluesky", options, clock=lambda: BEGIN + timedelta(minutes=5), pace=pace)


class Skies:
    """The platform of the contract."""

    def __init__(self, server: Jetstream) -> None:
        self._server = server
        self._said = 0

    def say(self, number: int) -> set[str]:
        ids = set()
        for _ in range(number):
            self._said += 1
            ids.add(f"bluesky:{self._server.post(f'post {self._said}', f'k{self._said}')}")
        return ids

    def fault(self) -> None:
        self._server.cut_after += [2, 5]
        self._server.refuse.append(HTTPStatus.SERVICE_UNAVAILABLE)
        self._server.errors.append("ConsumerTooSlow")

    def source(self) -> Source:
        return source(self._server)


class TestBluesky(SourceContract):
    overlap = 4  # a resume goes back three seconds, and events are a second apart

    @contextmanager
    def platform(self) -> Iterator[Platform]:
        with Jetstream().running() as server:
            yield Skies(server)


@pytest.fixture
def server() -> Iterator[Jetstream]:
    with Jetstream().running() as running:
        yield running


def read(server: Jetstream, number: int, cursor: str | None = None, pace: Pace = QUICK) -> list[Batch]:
    """Read until there are `number` changes or refusals."""
    stop = threading.Event()
    late = threading.Timer(20, stop.set)
    late.start()
    batches: list[Batch] = []
    for batch in source(server, pace).read(cursor, stop):
        batches.append(batch)
        if sum(len(b.changes) + len(b.rejected) for b in batches) >= number:
            stop.set()
    late.cancel()
    return batches


def changes(batches: list[Batch]) -> list[Change]:
    return [change for batch in batches for change in batch.changes]


def test_only_posts_are_asked_for_from_an_hour_back(server: Jetstream) -> None:
    server.post("hello", "a")
    read(server, 1)
    (asked,) = server.requests
    assert asked["collections"] == ["app.bsky.feed.post"]
    assert asked["kinds"] == ["commit"]
    begin = BEGIN + timedelta(minutes=5) - timedelta(hours=1, seconds=3)
    assert int(asked["cursor"][0]) == round(begin.timestamp() * 1e6)


def test_a_post_becomes_a_mention(server: Jetstream) -> None:
    server.post(
        "my bag is lost, see www.example.com/very…",
        "b",
        langs=["en"],
        reply={
            "root": {"uri": "at://did:plc:root/app.bsky.feed.post/r1"},
            "parent": {"uri": "at://did:plc:par/app.bsky.feed.post/p1"},
        },
        embed={"$type": "app.bsky.embed.images", "images": [{"alt": "a broken suitcase"}]},
        facets=[
            {
                "features": [
                    {"$type": "app.bsky.richtext.facet#link", "uri": "https://www.example.com/very/long"}
                ]
            }
        ],
    )
    (change,) = changes(read(server, 1))
    assert isinstance(change, Seen)
    mention = change.mention
    assert (mention.id, mention.source, mention.kind, mention.lang) == (
        "bluesky:did:plc:abc/b",
        "bluesky",
        "reply",
        "en",
    )
    assert mention.created_at == BEGIN
    assert mention.conversation == "bluesky:did:plc:root/r1"
    assert mention.in_reply_to == "bluesky:did:plc:par/p1"
    assert mention.media == (
        Media("image", alt="a broken suitcase"),
        Media("link", "https://www.example.com/very/long"),
    )
    assert mention.url == "https://bsky.app/profile/did:plc:abc/post/b"


@pytest.mark.parametrize("beside_pictures", [False, True])
def test_a_quote_names_the_post_that_it_quotes_and_an_embedded_feed_is_none(
    server: Jetstream, beside_pictures: bool
) -> None:
    def embed(uri: str) -> dict[str, object]:
        record = {"$type": "app.bsky.embed.record", "record": {"uri": uri, "cid": "bafy"}}
        media = {"$type": "app.bsky.embed.images", "images": [{"alt": "a queue"}]}
        both = {"$type": "app.bsky.embed.recordWithMedia", "record": record, "media": media}
        return both if beside_pictures else record

    server.post("look at this", "q", embed=embed("at://did:plc:abc/app.bsky.feed.post/p1"))
    server.post("a good feed", "f", embed=embed("at://did:plc:abc/app.bsky.feed.generator/news"))
    quote, post = (change.mention for change in changes(read(server, 2)) if isinstance(change, Seen))
    assert (quote.kind, quote.repost_of) == ("quote", "bluesky:did:plc:abc/p1")
    assert (post.kind, post.repost_of) == ("post", None)
    assert (len(quote.media), len(post.media)) == (beside_pictures, beside_pictures)


def test_edits_and_deletions_travel_as_changes(server: Jetstream) -> None:
    server.post("teh bag", "c")
    server.post("the bag", "c", operation="update")
    server.post("", "c", operation="delete")
    seen, edited, deleted = changes(read(server, 3))
    assert isinstance(seen, Seen)
    assert isinstance(edited, Edited)
    assert edited.mention.id == seen.mention.id
    assert edited.mention.edit > seen.mention.edit == 0
    assert deleted == Deleted(seen.mention.id, "deleted by its author", BEGIN + timedelta(seconds=2))


def test_a_cursor_that_is_too_old_says_how_long_the_gap_is(server: Jetstream) -> None:
    for n in range(4):
        server.post(f"post {n}", f"d{n}")
    old = BEGIN - timedelta(hours=30)
    server.floor_us = round((BEGIN + timedelta(seconds=2)).timestamp() * 1e6)
    batches = read(server, 2, cursor=json.dumps({"time_us": round(old.timestamp() * 1e6)}))
    (gap,) = [gap for batch in batches for gap in batch.gaps]
    assert (gap.begin, gap.end, gap.closed) == (old, BEGIN + timedelta(seconds=2), False)
    assert "30.0 hours" in gap.why
    assert any("30.0 hours" in batch.note for batch in batches)


def test_a_broken_frame_is_kept_and_the_stream_goes_on(server: Jetstream) -> None:
    server.raw("{not json")
    server.raw(b"\xff\xfe")
    deep = '{"payload": {"x": ' + "[" * 5_000 + "]" * 5_000 + "}}"
    server.raw(deep)
    server.send({"$type": "network.bsky.jetstream.subscribeEvents#commit", "did": "did:plc:x"})
    server.post("fine", "e")
    batches = read(server, 5)
    assert [change.mention.text for change in changes(batches) if isinstance(change, Seen)] == ["fine"]
    rejected = [item for batch in batches for item in batch.rejected]
    assert [item.original for item in rejected][:3] == [b"{not json", b"\xff\xfe", deep.encode()]
    assert all(item.id.startswith("bluesky:frame-") and item.reason for item in rejected)


def test_kinds_that_are_new_or_not_asked_for_are_passed_over(server: Jetstream) -> None:
    server.send({"$type": "network.bsky.jetstream.subscribeEvents#identity", "did": "did:plc:x"})
    server.send({"$type": "network.bsky.jetstream.subscribeEvents#something-new", "answer": 42})
    server.post("fine", "f")
    batches = read(server, 1)
    assert len(changes(batches)) == 1
    assert not any(batch.rejected for batch in batches)


@pytest.mark.parametrize("written", ["2031-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday", 5, None])
def test_a_date_that_cannot_be_gives_way_to_the_time_of_the_event(server: Jetstream, written: object) -> None:
    server.post("odd date", "g", createdAt=written)
    (change,) = changes(read(server, 1))
    assert isinstance(change, Seen)
    assert change.mention.created_at == BEGIN


def test_a_silent_connection_is_left(server: Jetstream) -> None:
    impatient = Pace(
        batch_seconds=0.01,
        idle_seconds=0.02,
        stall_seconds=0.1,
        backoff_seconds=0.01,
        longest_backoff_seconds=0.02,
    )
    stop = threading.Event()
    late = threading.Timer(20, stop.set)
    late.start()
    notes = []
    for batch in source(server, impatient).read(None, stop):
        notes.append(batch.note)
        if len(server.requests) >= 3:
            stop.set()
    late.cancel()
    assert len(server.requests) >= 3
    assert any("nothing came for" in note for note in notes)


def test_a_host_that_is_no_address_is_answered() -> None:
    bad = build("bluesky", Options(hosts=("not an address",)), [])
    with pytest.raises(SettingsError, match=r"hosts: expected wss://host"):
        next(bad.read(None, threading.Event()))
    with pytest.raises(SettingsError, match="at least one"):
        build("bluesky", Options(hosts=()), [])


def test_recorded_events_become_mentions() -> None:
    recorded = shared_data("api/bluesky/jetstream_events.jsonl.gz")
    reader = Bluesky("bluesky", Options())
    posts = 0
    for line in gzip.decompress(recorded.read_bytes()).splitlines():
        event = json.loads(line)
        if event["kind"] != "commit":
            continue
        # The recordings are in the older form: the same commit, wrapped otherwise.
        time = (BEGIN.replace(microsecond=event["time_us"] % 1_000_000)).isoformat()
        payload = {
            "$type": "network.bsky.jetstream.subscribeEvents#commit",
            "seq": 1,
            "did": event["did"],
            "time": time,
            **event["commit"],
        }
        found = reader._read_frame(json.dumps({"$type": "message", "payload": payload}).encode())
        assert isinstance(found, tuple)
        if event["commit"]["collection"] == "app.bsky.feed.post":
            posts += 1
            assert isinstance(found[0], Seen)
            assert found[0].mention.text == event["commit"]["record"]["text"]
        else:
            assert found[0] is None
    assert posts == 8
