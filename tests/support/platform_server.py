"""What the local servers that speak a platform's HTTP share: their life, their clock, and faults to be given once."""

import json
import threading
import time
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fault:
    """An answer given once in place of the real one: a status, its headers and body, or a broken one (`cut`)."""

    def __init__(
        self, status: int = 200, body: object = None, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        self.status, self.headers, self.cut = status, headers or {}, cut
        words = {"title": "A fault", "message": "A fault"}
        self.body = body if isinstance(body, bytes) else json.dumps(body or words).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers with the platform's own date, and is silent about it."""

    protocol_version = "HTTP/1.1"
    platform: Any

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.platform.now())


class PlatformServer:
    """A platform on a free port of loopback. All methods may be called from any thread."""

    def __init__(self, handler: type[Handler]) -> None:
        self.changed = threading.Condition()
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        """By route: what the next requests get."""
        self.ahead_seconds = 0.0
        self.silent = False
        """Requests are taken and not answered."""
        self.closing = False
        made = type("Handler", (handler,), {"platform": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), made)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))
        self._thread.start()

    def close(self) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def now(self) -> float:
        return time.time() + self.ahead_seconds
