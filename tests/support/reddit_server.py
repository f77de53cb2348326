"""A local server that speaks Reddit's API as far as Hark does: login, lists, search, info, limits, and faults.

Checked against recordings of Reddit itself where those are present (tests/contract/test_source_reddit.py).
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.platform_server import Handler, PlatformServer

CLIENT_ID, CLIENT_SECRET = "an-app", "its-secret"
USERNAME, PASSWORD = "a_developer", "a-password"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_COMMON = {"subreddit_id": "t5_2qh1i", "likes": None, "edited": False, "stickied": False, "gilded": 0}


class RedditServer(PlatformServer):
    """The platform. All methods may be called from any thread; ids grow by one, as Reddit's do."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        """Everything ever said, by fullname, in the order of its date."""
        self.unlisted: set[str] = set()
        """Names that no list shows any more; info still does."""
        self.private: set[str] = set()
        self.missing: set[str] = set()
        self.requests: list[tuple[str, dict[str, str]]] = []
        """(route, parameters); routes are login, new, comments, search, info."""
        self.paths: set[str] = set()
        self.agents: set[str] = set()
        self.limits: dict[str, str] = {}
        """Rate limit headers of every answer."""
        self.most = 1_000
        self.tokens: set[str] = set()
        self._last = 36**6
        super().__init__(_Handler)

    def post(
        self,
        text: str = "hello southwestair",
        ago_seconds: float = 0.0,
        subreddit: str = "travel",
        **fields: Any,
    ) -> str:
        """Publish a post; return its fullname."""
        own = {"title": "A question", "selftext": text, "is_self": True, "num_comments": 0, "score": 1}
        return self._add("t3", subreddit, ago_seconds, own | {"removed_by_category": None} | fields)

    def comment(
        self,
        text: str = "hello southwestair",
        ago_seconds: float = 0.0,
        subreddit: str = "travel",
        post: str = "t3_zzzzz",
        **fields: Any,
    ) -> str:
        """Publish a comment; return its fullname."""
        own = {"body": text, "link_id": post, "parent_id": post, "replies": "", "score": 1}
        return self._add("t1", subreddit, ago_seconds, own | fields)

    def edit(self, name: str, **fields: Any) -> None:
        with self.changed:
            self.things[name].update(fields)

    def remove(self, name: str, text: str = "[removed]") -> None:
        """Take a post or comment out of the lists, and its text away, as moderators do."""
        by = {"removed_by_category": "moderator", "selftext": text} if name[:2] == "t3" else {}
        author = {} if name[:2] == "t3" else {"body": text, "author": "[deleted]"}
        self.edit(name, **by, **author)
        self.unlisted.add(name)

    def asked(self, route: str) -> list[dict[str, str]]:
        with self.changed:
            return [params for asked, params in self.requests if asked == route]

    def _add(self, kind: str, subreddit: str, ago_seconds: float, own: dict[str, Any]) -> str:
        with self.changed:
            self._last += 1
            id = own.pop("id", None) or _base36(self._last)
            name = f"{kind}_{id}"
            base = {
                "id": id,
                "name": name,
                "subreddit": subreddit,
                "created_utc": float(int(self.now() - ago_seconds)),
            }
            who = {"author": "a_traveller", "author_fullname": "t2_1abc"}
            page = f"/r/{subreddit}/comments/{id}/a_question/"
            place = {"permalink": page} | ({"url": f"https://www.reddit.com{page}"} if kind == "t3" else {})
            self.things[name] = _COMMON | base | who | place | own
            self.changed.notify_all()
            return name

    def login(self, authorization: str, form: dict[str, str]) -> tuple[int, Any]:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"message": "Unauthorized", "error": 401}
        if form["grant_type"] == "password" and (form["username"], form["password"]) != (USERNAME, PASSWORD):
            return 200, {"error": "invalid_grant"}
        with self.changed:
            token = f"token-{len(self.requests)}"
            self.tokens.add(token)
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 3600, "scope": "*"}

    def listing(self, route: str, names: list[str], params: dict[str, str]) -> tuple[int, Any]:
        """Answer one list: newest first, `limit` of them below `after`; nothing below an item that is not listed."""
        shown = [name for name in names if name not in self.private | self.missing]
        if route in ("new", "comments") and not shown:
            if set(names) & self.private:
                return 403, {"reason": "private", "message": "Forbidden", "error": 403}
            return 404, {"message": "Not Found", "error": 404}
        with self.changed:
            found = [thing for thing in self.things.values() if self._is_in(thing, route, shown, params)]
        found.sort(key=lambda thing: (thing["created_utc"], thing["id"]), reverse=True)
        found = found[: self.most]
        begin = 0
        if "after" in params:
            places = [place for place, thing in enumerate(found) if thing["name"] == params["after"]]
            begin = places[0] + 1 if places else len(found)
        end = begin + min(int(params.get("limit", 25)), 100)
        return 200, _listing(found[begin:end], more=end < len(found))

    def info(self, params: dict[str, str]) -> tuple[int, Any]:
        with self.changed:
            return 200, _listing(
                [self.things[name] for name in params["id"].split(",") if name in self.things]
            )

    def _is_in(self, thing: dict[str, Any], route: str, names: list[str], params: dict[str, str]) -> bool:
        if thing["name"] in self.unlisted or (thing["name"][:2] == "t1") != (route == "comments"):
            return False
        if route == "search":
            words = re.findall(r"\w+", params["q"].replace(" OR ", " ").lower())
            return any(word in f"{thing['title']} {thing['selftext']}".lower() for word in words)
        return thing["subreddit"].lower() in names


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits


def _listing(things: list[dict[str, Any]], more: bool = False) -> dict[str, Any]:
    children = [{"kind": thing["name"][:2], "data": thing} for thing in things]
    after = things[-1]["name"] if more and things else None
    return {"kind": "Listing", "data": {"modhash": "", "children": children, "after": after, "before": None}}


class _Handler(Handler):
    platform: RedditServer

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def _answer(self, form: str) -> None:
        split = urlsplit(self.path)
        params = {name: values[0] for name, values in parse_qs(split.query or form).items()}
        parts = split.path.strip("/").split("/")
        route = {"access_token": "login"}.get(parts[-1], parts[-1])
        platform = self.platform
        with platform.changed:
            platform.requests.append((route, params))
            platform.paths.add(split.path)
            platform.agents.add(self.headers.get("User-Agent", ""))
            platform.changed.notify_all()
            fault = platform.faults[route].popleft() if platform.faults[route] else None
            if platform.silent:
                platform.changed.wait_for(lambda: platform.closing)
                self.close_connection = True
                return
        if fault is not None and not fault.cut:
            return self._send(fault.status, fault.body, fault.headers)
        authorization = self.headers.get("Authorization", "")
        if route == "login":
            answer = platform.login(authorization, params)
        elif authorization.removeprefix("bearer ") not in platform.tokens:
            answer = 401, {"message": "Unauthorized", "error": 401}
        elif route == "info":
            answer = platform.info(params)
        else:
            answer = platform.listing(route, parts[1].lower().split("+"), params)
        self._send(answer[0], json.dumps(answer[1]).encode(), {}, cut=fault is not None)

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in (self.platform.limits | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


@contextmanager
def reddit_server() -> Iterator[RedditServer]:
    """Run a server for one test."""
    server = RedditServer()
    try:
        yield server
    finally:
        server.close()
