"""X's filtered stream: one connection through tweepy's own thread, and the reconnecting around it.

tweepy alone would retry a refusal for ever, reconnect without a pause after a clean close, and die of a broken
line (LIBRARIES.md of the project's notes; read in tweepy 4.17 streaming.py). So each connection here ends at its
first trouble and says why; whether and when there is another is decided by `Live`.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import requests
import tweepy

from hark.core.clock import monotonic
from hark.core.errors import SettingsError
from ingest.x_client import Adapter, HttpError, Pace, PlatformTime, backoff_seconds, translate
from ingest.x_payload import FIELDS
from ingest.x_rules import Standing

# Of lines that wait to be read: when the runtime is slow, tweepy's thread waits too, and X in the end.
_WAITING_LINES = 1_000
# tweepy's 512 bytes make a long line quadratic; chunks that X sends still come through at once.
_CHUNK_BYTES = 131_072


class Connection(tweepy.StreamingClient):  # type: ignore[misc]  # tweepy has no type information
    """One connection, used once. `events` holds lines as they came; None after the last one."""

    def __init__(self, token: str, adapter: Adapter) -> None:
        super().__init__(token, chunk_size=_CHUNK_BYTES, daemon=True)
        self.session.mount("https://", adapter)
        self.events: queue.Queue[bytes | None] = queue.Queue(_WAITING_LINES)
        self.connected = threading.Event()
        self.error: Exception | None = None
        self.why = "X closed the connection"
        self._adapter = adapter
        self._closing = False

    def on_connect(self) -> None:
        """Note that the stream stands; end at once when it was closed while still connecting."""
        if self._closing:
            self.running = False
        self.connected.set()

    def on_data(self, raw_data: bytes) -> None:
        """Hand the line over as it came; waits while too many wait."""
        self._put(raw_data)

    def on_keep_alive(self) -> None:
        """Do nothing: that something came has reset the read timeout."""

    def on_closed(self, response: requests.Response) -> None:
        """End instead of tweepy's immediate reconnect."""
        self.running = False

    def on_connection_error(self) -> None:
        """End instead of tweepy's own retries: nothing came for too long, or the network broke."""
        self.why = "the connection fell silent or broke"
        self.running = False

    def on_request_error(self, status_code: int) -> None:
        """End at an answer that is neither a stream nor a refusal."""
        self.why = f"X answered {status_code}"
        self.running = False

    def on_exception(self, exception: Exception) -> None:
        """Keep what ended the thread, for the reader to judge: a refusal, or a fault."""
        self.error = exception

    def on_disconnect(self) -> None:
        """Mark the end, after all lines."""
        self._put(None)

    def close(self) -> None:
        """End the thread, whatever it waits for; lines not yet taken are dropped."""
        self._closing = True
        self.running = False
        response = self._adapter.response
        if response is not None:
            # Already ended or not yet begun: then there is no read to interrupt.
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                response.raw.shutdown()
        if self.thread is not None:
            self.thread.join(timeout=2)
        self.session.close()

    def _put(self, event: bytes | None) -> None:
        while not self._closing:
            with contextlib.suppress(queue.Full):
                return self.events.put(event, timeout=0.1)


class Live:
    """The stream through all its connections. Used by one thread."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        rules: Callable[[], Standing],
        pace: Pace,
        time: PlatformTime,
        stop: threading.Event,
    ) -> None:
        self._connect = connect
        self._rules = rules
        self._pace = pace
        self._time = time
        self._stop = stop
        self._connection: Connection | None = None
        self._over = False
        self._began = self._retry_at = monotonic()
        self._failures = 0
        self.foreign: frozenset[str] = frozenset()
        """Ids of rules that are not Hark's."""
        self.available = True
        """False once X has said that this app may not stream."""
        self.complete_from: datetime | None = None
        """From this instant on nothing was missed; None while there is no connection."""
        self.note = "connecting to the stream"
        self.problem = ""
        """What X last said about the connection, told when it ends."""

    def take(self, limit: int, wait_seconds: float) -> list[bytes]:
        """Return up to `limit` lines, waiting for the first; connects when it is time to.

        Raises SettingsError for a token that X does not accept.
        """
        if self._connection is not None and self._over:
            self._ended(self._connection)
        if self._connection is None and self.available and monotonic() >= self._retry_at:
            self._open()
        if self._connection is None:
            self._stop.wait(wait_seconds)
            return []
        if self.complete_from is None and self._connection.connected.is_set():
            self.complete_from = self._time.now() + timedelta(seconds=self._settling)
            self.note = ""
        lines: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            event = self._connection.events.get(timeout=wait_seconds)
            while event is not None and len(lines) < limit - 1:
                lines.append(event)
                event = self._connection.events.get_nowait()
            if event is None:
                self._over = True  # told by the next call, when the last lines have been read
            else:
                lines.append(event)
        return lines

    @property
    def drained(self) -> bool:
        """Say that no line waits and the connection stands."""
        return (
            self.complete_from is not None
            and self._connection is not None
            and self._connection.events.empty()
        )

    def close(self) -> None:
        """Leave the stream; the next `take` connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._over = False
            self.note = ""
        self.complete_from = None

    def _open(self) -> None:
        try:
            standing = self._rules()
        except (HttpError, requests.RequestException) as error:
            self._failed(error)
            return
        self.foreign = standing.foreign
        self._settling = self._pace.rules_seconds if standing.added else 0.0
        self._connection = self._connect()
        self._began = monotonic()
        self._connection.filter(threaded=True, **FIELDS)

    def _ended(self, connection: Connection) -> None:
        if monotonic() - self._began >= self._pace.healthy_seconds:
            self._failures = 0
        self.close()
        if connection.error is not None:
            self._failed(connection.error)
        else:
            wait = self._again(backoff_seconds(self._failures + 1, self._pace))
            self.note = f"stream interrupted ({self.problem or connection.why}), again in {wait:.0f} s"
        self.problem = ""

    def _failed(self, error: Exception) -> None:
        if isinstance(error, HttpError) and error.status == 403:
            self.available = False
            self.note = f"no access to the filtered stream ({error}): recent search alone"
            return
        told = translate(error, self._failures + 1, self._pace, self._time)
        if isinstance(told, SettingsError):
            raise told
        wait = getattr(told, "wait_seconds", None) or 0.0
        self._again(wait)
        self.note = f"no stream: {told}, again in {wait:.0f} s"

    def _again(self, wait_seconds: float) -> float:
        self._failures += 1
        self._retry_at = monotonic() + wait_seconds
        return wait_seconds
