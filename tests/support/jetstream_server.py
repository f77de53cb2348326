"""A local Jetstream v2: the lexicon network.bsky.jetstream.subscribeEvents over websockets, faults included."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

METHOD = "/xrpc/network.bsky.jetstream.subscribeEvents"
BEGIN = datetime(2026, 7, 4, 14, tzinfo=UTC)


class Jetstream:
    """Events with times a second apart from BEGIN; every subscriber gets them from its cursor on."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, str | bytes]] = []
        """(time in microseconds, frame)."""
        self.floor_us = 0
        self.cut_after: list[int] = []
        """Each entry: the next connection is cut without a word after that many frames."""
        self.refuse: list[HTTPStatus] = []
        """Each entry: the next handshake is answered so."""
        self.errors: list[str] = []
        """Each entry: the next connection gets this error frame first."""
        self.requests: list[dict[str, list[str]]] = []
        self._changed = threading.Condition()
        self._stopped = False
        self.url = ""

    def post(
        self, text: str, rkey: str, did: str = "did:plc:abc", operation: str = "create", **record: object
    ) -> str:
        """Let a post be created, updated or deleted; returns its native id."""
        at = BEGIN + timedelta(seconds=len(self.frames))
        payload: dict[str, object] = {
            "$type": "network.bsky.jetstream.subscribeEvents#commit",
            "seq": len(self.frames) + 1,
            "did": did,
            "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "rev": "3mptbypluud2a",
            "operation": operation,
            "collection": "app.bsky.feed.post",
            "rkey": rkey,
        }
        if operation != "delete":
            created = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            payload["record"] = {"$type": "app.bsky.feed.post", "createdAt": created, "text": text, **record}
        self.send(payload)
        return f"{did}/{rkey}"

    def send(self, payload: dict[str, object]) -> None:
        """Let every subscriber have a message with this payload."""
        self.raw(json.dumps({"$type": "message", "payload": payload}))

    def raw(self, frame: str | bytes) -> None:
        """Let every subscriber have this frame as it is."""
        moment = BEGIN + timedelta(seconds=len(self.frames))
        with self._changed:
            self.frames.append((round(moment.timestamp() * 1e6), frame))
            self._changed.notify_all()

    @contextmanager
    def running(self) -> Iterator["Jetstream"]:
        """Serve on a free port of loopback."""
        with serve(self._subscriber, "127.0.0.1", 0, process_request=self._handshake) as server:
            self.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                with self._changed:
                    self._stopped = True
                    self._changed.notify_all()
                server.shutdown()
                thread.join()

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        target = urlsplit(request.path)
        if target.path != METHOD:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such method\n")
        if self.refuse:
            return connection.respond(self.refuse.pop(0), '{"error":"Busy","message":"try later"}\n')
        asked = parse_qs(target.query)
        cursor = int(asked.get("cursor", ["0"])[0])
        if 0 < cursor < 10**15:
            return connection.respond(
                HTTPStatus.BAD_REQUEST, '{"error":"CursorTooOld","message":"floor 9"}\n'
            )
        self.requests.append(asked)
        return None

    def _subscriber(self, connection: ServerConnection) -> None:
        cursor = int(parse_qs(urlsplit(connection.request.path).query).get("cursor", ["0"])[0])  # type: ignore[union-attr]
        left = self.cut_after.pop(0) if self.cut_after else None
        try:
            if self.errors:
                connection.send(json.dumps({"$type": "error", "error": self.errors.pop(0), "message": ""}))
                return
            if cursor < self.floor_us:
                name = {"$type": "network.bsky.jetstream.subscribeEvents#info", "name": "OutdatedCursor"}
                connection.send(json.dumps({"$type": "message", "payload": name}))
            sent = 0
            while not self._stopped:
                with self._changed:
                    if sent == len(self.frames):
                        self._changed.wait(0.1)
                    fresh = self.frames[sent:]
                for at, frame in fresh:
                    sent += 1
                    if at < max(cursor, self.floor_us):
                        continue
                    if left == 0:
                        connection.socket.close()
                        return
                    connection.send(frame)
                    left = left - 1 if left is not None else None
        except (ConnectionClosed, OSError):
            return
