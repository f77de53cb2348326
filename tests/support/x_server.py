"""A local server that speaks X API v2 as far as Hark does: filtered stream, its rules, recent search, and faults.

Checked against recordings of X itself where those are present (tests/contract/test_source_x.py).
"""

import json
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.platform_server import Handler, PlatformServer

TOKEN = "a-bearer-token"
EPOCH_MS = 1_288_834_974_657
USER = {
    "id": "2244994945",
    "username": "traveller",
    "name": "A Traveller",
    "verified": False,
    "created_at": "2013-12-14T04:35:55.000Z",
    "public_metrics": {"followers_count": 7, "following_count": 1, "tweet_count": 2, "listed_count": 0},
}
_SEARCH, _RULES, _STREAM, _USAGE = (
    "/2/tweets/search/recent",
    "/2/tweets/search/stream/rules",
    "/2/tweets/search/stream",
    "/2/usage/tweets",
)
ROUTES = {_SEARCH: "search", _RULES: "rules", _STREAM: "stream", _USAGE: "usage"}
TOO_MANY = {
    "title": "ConnectionException",
    "detail": "This stream is currently at the maximum allowed connection limit.",
    "connection_issue": "TooManyConnections",
    "type": "https://api.twitter.com/2/problems/streaming-connection",
}


class XServer(PlatformServer):
    """The platform. All methods may be called from any thread; ids grow with the time, as X's do."""

    def __init__(self) -> None:
        self.posts: dict[int, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.times: list[float] = []
        """When each request came, in seconds since 1970 by the server's clock."""
        self.connections: list[queue.Queue[bytes | None]] = []
        self.connects = 0
        self.search_lag_seconds = 0.0
        self.keep_alive_seconds = 0.05
        self.history_seconds = 7 * 86_400.0
        self.stalled = False
        self.hangs_up = False
        """Every stream is closed cleanly as soon as it is open."""
        self._last_id = 0
        super().__init__(_Handler)

    def close(self) -> None:
        with self.changed:
            self.closing = True
        self.end_streams()
        super().close()

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until `condition`, looked at after each request and each change."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), "the server never came to that"

    def id_at(self, seconds: float) -> int:
        return (int(seconds * 1000) - EPOCH_MS) << 22

    def next_id(self, ago_seconds: float = 0.0) -> int:
        with self.changed:
            id = max(self.id_at(self.now() - ago_seconds), 1)
            while id in self.posts or (not ago_seconds and id <= self._last_id):
                id = max(id, 0 if ago_seconds else self._last_id) + 1
            self._last_id = max(self._last_id, id)
            return id

    def post(self, text: str = "hello @southwestair", ago_seconds: float = 0.0, **fields: Any) -> int:
        """Publish a post: into the archive, and to whoever listens when it is of now. Returns its id."""
        id = int(fields.pop("id", 0)) or self.next_id(ago_seconds)
        created = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(((id >> 22) + EPOCH_MS) / 1000))
        post = {
            "id": str(id),
            "text": text,
            "author_id": USER["id"],
            "created_at": created,
            "conversation_id": str(id),
            "edit_history_tweet_ids": [str(id)],
            "lang": "en",
            "public_metrics": {"retweet_count": 0, "reply_count": 0, "like_count": 3, "quote_count": 0},
            **fields,
        }
        with self.changed:
            self.posts[id] = post
            self.changed.notify_all()
        if not ago_seconds:
            self.send({"data": post, "includes": {"users": [USER]}, "matching_rules": self.matching()})
        return id

    def matching(self) -> list[dict[str, str]]:
        with self.changed:
            return [
                {"id": id} | ({"tag": rule["tag"]} if "tag" in rule else {})
                for id, rule in self.rules.items()
            ]

    def send(self, line: object) -> None:
        """Send a line, JSON or bytes, to every stream that is connected."""
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        with self.changed:
            for connection in self.connections:
                connection.put(data + b"\r\n")

    def end_streams(self) -> None:
        """Close every stream cleanly, as X does when it restarts a server."""
        with self.changed:
            for connection in self.connections:
                connection.put(None)

    def asked(self, route: str, method: str = "GET") -> list[tuple[dict[str, str], Any]]:
        """Return (parameters, body) of each request to a route so far."""
        with self.changed:
            return [(params, body) for m, r, params, body in self.requests if (m, r) == (method, route)]

    def search(self, params: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer recent search: newest first, ids strictly between since_id and until_id."""
        oldest = self.id_at(self.now() - self.history_seconds)
        since, until = int(params.get("since_id", oldest)), int(params.get("until_id", 1 << 62))
        if wrong := _wrong(params, since, until, oldest, self.id_at(self.now() - 0.001)):
            return 400, {"errors": [{"message": wrong}], "title": "Invalid Request", "detail": "One or more"}
        with self.changed:
            newest = self.id_at(self.now() - self.search_lag_seconds)
            ids = sorted((i for i in self.posts if since < i < until and i <= newest), reverse=True)
        begin, size = int(params.get("next_token", "t0")[1:]), int(params.get("max_results", 10))
        found = ids[begin : begin + size]
        meta: dict[str, Any] = {"result_count": len(found)}
        if not found:
            return 200, {"meta": meta}
        meta |= {"newest_id": str(found[0]), "oldest_id": str(found[-1])}
        if begin + size < len(ids):
            meta["next_token"] = f"t{begin + size}"
        data = [self.posts[id] for id in found]
        return 200, {"data": data, "includes": {"users": [USER]}, "meta": meta}

    def change_rules(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a change of rules: no value twice, none longer than 1,024 characters."""
        errors: list[dict[str, str]] = []
        with self.changed:
            for rule in body.get("add", ()):
                if any(rule["value"] == known["value"] for known in self.rules.values()):
                    errors.append({"title": "DuplicateRule", "value": rule["value"]})
                elif len(rule["value"]) > 1024:
                    errors.append({"title": "Invalid Rule", "value": rule["value"], "detail": "too long"})
                else:
                    self.rules[str(self.next_id())] = rule
            for id in body.get("delete", {}).get("ids", ()):
                del self.rules[id]
            self.changed.notify_all()
        answer = {"meta": {"sent": "2026-01-01T00:00:00.000Z"}} | ({"errors": errors} if errors else {})
        return 201, answer


def _wrong(params: dict[str, str], since: int, until: int, oldest: int, newest: int) -> str:
    if "start_time" in params or "end_time" in params:
        return "Invalid use of 'since_id' or 'until_id' in conjunction with 'start_time' or 'end_time'."
    if since < oldest:
        return "'since_id' must be a tweet id created after [seven days ago]"
    if not 10 <= int(params.get("max_results", 10)) <= 100:
        return "The `max_results` query parameter value is not between 10 and 100"
    if not 1 <= len(params.get("query", "")) <= 512:
        return "query: length must be between 1 and 512"
    if "until_id" in params and until > newest:
        return "'until_id' must be a tweet id created before [ten seconds ago]"
    return ""


class _Handler(Handler):
    platform: XServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        split = urlsplit(self.path)
        params = {name: values[0] for name, values in parse_qs(split.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        route = ROUTES.get(split.path, "")
        with self.platform.changed:
            self.platform.requests.append((method, route, params, body))
            self.platform.times.append(self.platform.now())
            self.platform.changed.notify_all()
            fault = self.platform.faults[route].popleft() if self.platform.faults[route] else None
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"title": "Unauthorized", "detail": "Unauthorized", "status": 401})
        if self.platform.silent:
            with self.platform.changed:
                self.platform.changed.wait_for(lambda: self.platform.closing)
            self.close_connection = True
            return None
        if fault is not None and fault.cut:
            self.close_connection = True
            return self.connection.close()
        if fault is not None:
            return self._send(fault.status, fault.body, fault.headers)
        if route == "search":
            return self._send(*self.platform.search(params))
        if route == "usage":
            return self._send(200, {"data": {"project_usage": "12", "project_cap": "2000000"}})
        if route == "rules" and method == "GET":
            with self.platform.changed:
                rules = [{"id": id, **rule} for id, rule in self.platform.rules.items()]
            return self._send(200, {"data": rules, "meta": {}} if rules else {"meta": {}})
        if route == "rules":
            return self._send(*self.platform.change_rules(body))
        if route == "stream":
            return self._stream()
        return self._send(404, {"title": "Not Found", "detail": self.path})

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        platform, lines = self.platform, queue.Queue[bytes | None]()
        with platform.changed:
            taken = bool(platform.connections)
            if not taken:
                platform.connections.append(lines)
                platform.connects += 1
                platform.changed.notify_all()
        if taken:
            return self._send(429, TOO_MANY)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in self._lines(lines):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            with platform.changed:
                platform.connections.remove(lines)
                platform.changed.notify_all()
        return None

    def _lines(self, lines: "queue.Queue[bytes | None]") -> Iterator[bytes]:
        platform = self.platform
        while not platform.hangs_up:
            try:
                line = lines.get(timeout=platform.keep_alive_seconds)
            except queue.Empty:
                line = b"\r\n"
            if platform.stalled:
                with platform.changed:
                    platform.changed.wait_for(lambda: platform.closing or not platform.stalled)
            if line is None or platform.closing:
                return
            yield line


@contextmanager
def x_server() -> Iterator[XServer]:
    """Run a server for one test."""
    server = XServer()
    try:
        yield server
    finally:
        server.close()
