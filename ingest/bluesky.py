"""Bluesky: the public firehose of posts through Jetstream v2; no login.

Protocol: the lexicon network.bsky.jetstream.subscribeEvents. The cursor is the time of the last event in
microseconds, which every instance understands (its sequence numbers belong to one instance).
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from hark.core.change import Change, Deleted, Edited, Rejected, Seen
from hark.core.clock import EARLIEST, Clock, from_ms, now, to_ms
from hark.core.errors import RefusedError, SettingsError, TransientError
from hark.core.mention import Author, Media, Mention
from hark.core.protocols import Batch, Gap, Source
from hark.settings import Brand
from ingest.faults import plain

METHOD = "/xrpc/network.bsky.jetstream.subscribeEvents"
POSTS = "app.bsky.feed.post"
_LARGEST_FRAME_BYTES = 16 * 1024 * 1024
_BATCH = 500


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a source of type "bluesky"."""

    hosts: tuple[str, ...] = ("wss://jetstream.us-east.bsky.network", "wss://jetstream.us-west.bsky.network")
    """Instances of Jetstream, tried in turn."""
    first_hours: float = 1.0
    """How far back the first start reads."""


class Pace(Struct, frozen=True):
    """Time constants that no user needs to set; tests shorten them."""

    batch_seconds: float = 0.5
    idle_seconds: float = 5.0
    stall_seconds: float = 60.0
    """The firehose is never silent this long: the connection is dead."""
    backoff_seconds: float = 0.5
    longest_backoff_seconds: float = 30.0
    connect_seconds: float = 10.0
    rewind_seconds: float = 3.0
    """Instances witness an event at slightly different times: a resume goes back this far."""
    gap_seconds: float = 60.0
    """Shorter stretches that an instance no longer holds are not worth telling."""


class Cursor(Struct, frozen=True):
    """The time of the last event that was read, in microseconds since 1970."""

    time_us: int


class Commit(Struct, frozen=True):
    """A commit event; `record` is whatever its author's program wrote, so it is read with care."""

    did: str
    time: datetime
    operation: str
    collection: str
    rkey: str
    record: Any = None


class Payload(Struct, frozen=True):
    """What the `$type` of a message's payload says, before it is read as that."""

    type: str = msgspec.field(name="$type", default="")
    name: str = ""
    message: str = ""


class Frame(Struct, frozen=True):
    """One frame of the subprotocol xrpc.v1.json."""

    type: str = msgspec.field(name="$type")
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    error: str = ""
    message: str = ""


_frame = msgspec.json.Decoder(Frame).decode
_payload = msgspec.json.Decoder(Payload).decode
_commit = msgspec.json.Decoder(Commit).decode


class Bluesky:
    """The firehose, from a cursor on; the runtime keeps what matches a brand."""

    firehose = True

    def __init__(self, name: str, options: Options, clock: Clock = now, pace: Pace | None = None) -> None:
        self.name = name
        self._options = options
        self._clock = clock
        self._pace = pace or Pace()

    def look(self) -> str:
        """Open the stream at one host after the other until one takes it; see hark.core.protocols.Looking."""
        reasons = []
        for host in self._options.hosts:
            try:
                with self._connect(host, Cursor(to_ms(self._clock()) * 1000)):
                    return f"{host} answers"
            except (OSError, WebSocketException, TimeoutError) as error:
                reasons.append(f"{host}: {_plain(error)}")
        raise TransientError("; ".join(reasons))

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches until `stop`, connecting again whenever the connection ends, at the next host."""
        if cursor:
            place = msgspec.json.decode(cursor, type=Cursor)
        else:
            begin = self._clock() - timedelta(hours=self._options.first_hours)
            place = Cursor(to_ms(begin) * 1000)
        attempt = 0
        while not stop.is_set():
            host = self._options.hosts[attempt % len(self._options.hosts)]
            reason = "the connection was closed"
            before = place
            try:
                with self._connect(host, place) as connection:
                    for batch in self._listen(connection, place, stop):
                        place = msgspec.json.decode(batch.cursor, type=Cursor)
                        yield batch
            except (OSError, WebSocketException, TimeoutError) as error:
                reason = _plain(error)
            if stop.is_set():
                return
            attempt = 0 if place != before and attempt else attempt + 1
            pause = min(
                self._pace.backoff_seconds * 2 ** min(attempt, 10), self._pace.longest_backoff_seconds
            )
            yield _batch([], place, note=f"connecting again to Bluesky: {reason}")
            stop.wait(pause)

    def _connect(self, host: str, place: Cursor) -> ClientConnection:
        rewound = place.time_us - round(self._pace.rewind_seconds * 1e6)
        query = urlencode({"collections": POSTS, "kinds": "commit", "cursor": rewound})
        try:
            return connect(
                f"{host}{METHOD}?{query}",
                open_timeout=self._pace.connect_seconds,
                close_timeout=1,
                max_size=_LARGEST_FRAME_BYTES,
                user_agent_header="hark",
            )
        except InvalidURI as error:
            raise SettingsError(
                f"sources.toml: sources.{self.name}.hosts: expected wss://host, found {host!r}"
            ) from error

    def _listen(self, connection: ClientConnection, place: Cursor, stop: threading.Event) -> Iterator[Batch]:
        requested = place
        outdated = False
        changes: list[Change] = []
        rejected: list[Rejected] = []
        gaps: list[Gap] = []
        note = ""
        begun = heard = time.monotonic()
        while not stop.is_set():
            data = _receive(connection, self._pace.batch_seconds)
            if data is not None:
                heard = time.monotonic()
                try:
                    read = self._read_frame(data)
                except RefusedError as error:
                    rejected.append(self._reject(data, str(error)))
                    read = None
                if isinstance(read, Payload):
                    outdated = outdated or read.name == "OutdatedCursor"
                elif read is not None:
                    change, moment = read
                    place = Cursor(max(place.time_us, _to_us(moment)))
                    changes += [change] if change is not None else []
                    if outdated:
                        gaps, note = self._gap(requested, moment)
                        outdated = False
            waited = time.monotonic() - begun
            full = len(changes) >= _BATCH
            due = waited >= (
                self._pace.batch_seconds if changes or rejected or gaps else self._pace.idle_seconds
            )
            if full or due:
                yield Batch(changes, _encode(place), rejected, gaps, note=note)
                changes, rejected, gaps, begun = [], [], [], time.monotonic()
            if time.monotonic() - heard > self._pace.stall_seconds:
                raise TimeoutError(f"nothing came for {self._pace.stall_seconds:.0f} s")

    def _read_frame(self, data: bytes) -> "tuple[Change | None, datetime] | Payload | None":
        try:
            frame = _frame(data)
            if frame.type == "error":
                raise ConnectionError(f"{frame.error} {frame.message}".strip())
            payload = _payload(frame.payload)
            kind = payload.type.partition("#")[2]
            if kind == "info":
                return payload
            if kind != "commit":
                return None
            commit = _commit(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(f"no frame of Jetstream: {error}") from error
        if commit.collection != POSTS:
            return None, commit.time
        return self._change(commit), commit.time

    def _change(self, commit: Commit) -> Change | None:
        id = f"{self.name}:{commit.did}/{commit.rkey}"
        if commit.operation == "delete":
            return Deleted(id, "deleted by its author", commit.time)
        record = commit.record
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise RefusedError("a post without text")
        reply, embed = _table(record.get("reply")), _table(record.get("embed"))
        quoted = _quoted(embed)
        langs = record.get("langs")
        mention = Mention(
            id=id,
            source=self.name,
            text=record["text"],
            created_at=_created(record.get("createdAt"), commit.time),
            collected_at=self._clock(),
            kind="reply" if reply else "quote" if quoted else "post",
            edit=to_ms(commit.time) if commit.operation == "update" else 0,
            url=f"https://bsky.app/profile/{commit.did}/post/{commit.rkey}",
            author=Author(id=commit.did, url=f"https://bsky.app/profile/{commit.did}"),
            conversation=self._id_of(reply.get("root")),
            in_reply_to=self._id_of(reply.get("parent")),
            repost_of=self._id_of(quoted),
            lang=langs[0] if isinstance(langs, list) and langs and isinstance(langs[0], str) else None,
            media=_media(embed, record.get("facets")),
        )
        return Edited(mention) if mention.edit else Seen(mention)

    def _id_of(self, reference: object) -> str | None:
        uri = reference.get("uri") if isinstance(reference, dict) else None
        parts = uri.removeprefix("at://").split("/") if isinstance(uri, str) else []
        return f"{self.name}:{parts[0]}/{parts[2]}" if len(parts) == 3 else None

    def _gap(self, requested: Cursor, first: datetime) -> tuple[list[Gap], str]:
        begin = from_ms(requested.time_us // 1000)
        length = first - begin
        if length.total_seconds() < self._pace.gap_seconds:
            return [], ""
        why = f"Bluesky no longer holds these {length.total_seconds() / 3600:.1f} hours"
        return [Gap(begin, first, why)], f"{why}: {begin:%Y-%m-%d %H:%M} to {first:%Y-%m-%d %H:%M} UTC"

    def _reject(self, data: bytes, reason: str) -> Rejected:
        # Named by its content: read again after a crash, it is the same refusal.
        id = f"{self.name}:frame-{blake2b(data, digest_size=8).hexdigest()}"
        return Rejected(id, self.name, "ingest", reason, data, self._clock())


def build(name: str, options: Options, brands: Sequence[Brand]) -> Source:
    """Return the source that `options` describe; raises SettingsError when no host is named."""
    if not options.hosts:
        raise SettingsError(f"sources.toml: sources.{name}.hosts: expected at least one wss://host")
    return Bluesky(name, options)


def _receive(connection: ClientConnection, timeout_seconds: float) -> bytes | None:
    try:
        data = connection.recv(timeout=timeout_seconds, decode=False)
    except TimeoutError:
        return None
    return data


def _batch(changes: Sequence[Change], place: Cursor, note: str = "") -> Batch:
    return Batch(changes, _encode(place), note=note)


def _encode(place: Cursor) -> str:
    return msgspec.json.encode(place).decode()


def _to_us(moment: datetime) -> int:
    return round((moment - EARLIEST) / timedelta(microseconds=1))


def _created(text: object, witnessed: datetime) -> datetime:
    """Return the author's own date where it can be: not after the event, and not without meaning."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else witnessed
    except ValueError:
        return witnessed
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment if EARLIEST <= moment <= witnessed else witnessed


def _media(embed: dict[str, Any], facets: object) -> tuple[Media, ...]:
    media: list[Media] = []
    inner = _table(embed.get("media")) or embed
    for image in _rows(inner.get("images")):
        alt = image.get("alt")
        media.append(Media("image", alt=alt if isinstance(alt, str) and alt else None))
    if str(inner.get("$type", "")).startswith("app.bsky.embed.video"):
        media.append(Media("video"))
    media.extend(Media("link", url) for url in _links(inner, facets))
    return tuple(media)


def _quoted(embed: dict[str, Any]) -> dict[str, Any]:
    """Return the reference to a post that is quoted, beside pictures or alone; feeds and lists are embedded alike."""
    record = _table(embed.get("record"))
    found = _table(record.get("record")) or record  # app.bsky.embed.recordWithMedia, app.bsky.embed.record
    return found if f"/{POSTS}/" in str(found.get("uri", "")) else {}


def _links(embed: dict[str, Any], facets: object) -> list[str]:
    # The text shows links shortened; where they lead stands in the facets.
    uris = [_table(embed.get("external")).get("uri")]
    uris += [feature.get("uri") for facet in _rows(facets) for feature in _rows(facet.get("features"))]
    found = [uri for uri in uris if isinstance(uri, str) and uri.startswith(("http://", "https://"))]
    return list(dict.fromkeys(found))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _plain(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"")[:200].decode("utf-8", "replace")
        return f"the server answered {error.response.status_code} {body}".strip()
    if isinstance(error, InvalidHandshake):
        return f"no websocket there: {error}"
    # What Jetstream or we ourselves say is plainer than a kind of failure.
    known = isinstance(error, ConnectionRefusedError | socket.gaierror)
    return plain(error) if known or not str(error) else str(error)
