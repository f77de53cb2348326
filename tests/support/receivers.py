"""Local servers that are told things: one for the web, one for mail. What they answer is set by the test."""

import itertools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebReceiver:
    """Keeps what is posted to it. `status` is answered with `headers`; 0 never answers, -1 drips an answer without end."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.changed = threading.Condition()
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers and body of each request."""
        self.taken: list[bytes] = []
        """The bodies that were answered with 2xx."""
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, number: int, seconds: float = 10.0) -> bool:
        """Wait until so many requests have come."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.posts) >= number, seconds)


class _Handler(BaseHTTPRequestHandler):
    receiver: WebReceiver

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        receiver = self.receiver
        with receiver.changed:
            status = receiver.status
            receiver.posts.append((self.path, dict(self.headers), body))
            if 200 <= status < 300:
                receiver.taken.append(body)
            receiver.changed.notify_all()
        if status == 0:
            receiver.closing.wait()
            self.close_connection = True
        elif status < 0:
            self.close_connection = True
            for letter in itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", itertools.repeat(ord("a"))):
                if receiver.closing.wait(0.05):
                    return
                self.wfile.write(bytes([letter]))
        else:
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()


@contextmanager
def web_receiver() -> Iterator[WebReceiver]:
    """Run one for a test."""
    receiver = WebReceiver()
    try:
        yield receiver
    finally:
        receiver.close()


class MailReceiver:
    """Keeps the mails that are sent to it, as text."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        handler = type("Handler", (_Mail,), {"receiver": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Mail(socketserver.StreamRequestHandler):
    receiver: MailReceiver

    def handle(self) -> None:
        def say(line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        say("220 ready")
        for line in self.rfile:
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                say("354 go on")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.receiver.mails.append(text.decode())
                say("250 taken")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


@contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """Run one for a test."""
    receiver = MailReceiver()
    try:
        yield receiver
    finally:
        receiver.close()
