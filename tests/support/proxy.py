"""An HTTP proxy in front of a real server, that goes wrong when a test says so."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

HIDDEN = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


class Request(Struct):
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(Struct):
    """What it is told; `sent_bytes` cuts the connection after so many bytes of the body."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    sent_bytes: int | None = None


CUT = Answer(0, b"")
"""No answer at all: the connection is closed."""

Forward = Callable[[Request], Answer]
Fault = Callable[[Request, Forward], Answer]
"""Answers a request, with the real server's help if it likes."""


class Proxy:
    """Forwards requests to `target`, each through `fault` while there is one; `seen` is what was asked."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).netloc
        self.fault: Fault | None = None
        self.seen: list[Request] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, dict(self.headers.items()), body)
                proxy.seen.append(request)
                answer = proxy.fault(request, proxy.forward) if proxy.fault else proxy.forward(request)
                self.close_connection = answer is CUT or answer.sent_bytes is not None
                if answer is CUT:
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: answer.sent_bytes])

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def speak_tls(self, certificate: Path, key: Path) -> None:
        """Speak TLS with those who come from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def forward(self, request: Request) -> Answer:
        """Ask the real server; CUT where it is away."""
        connection = http.client.HTTPConnection(self._target, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HIDDEN}
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HIDDEN}
            return Answer(answer.status, answer.read(), kept)
        except OSError:
            return CUT
        finally:
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """Give a proxy to a server."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
