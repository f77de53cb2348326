"""One message to one target: a file, a signed webhook, or any service that Apprise knows.

`deliver` returns when the target has taken the message and raises TransientError, in plain words and without
secrets, when it has not. Every message carries its key, the same however often it is sent.
"""

import hmac
import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx2
import msgspec
from msgspec import Struct

from hark import __version__
from hark.alerts.targets import Target
from hark.core.clock import Clock, now
from hark.core.errors import SettingsError, TransientError
from hark.settings import resolve

SEND_SECONDS = 9.0
"""How long one attempt may take at most: less than a role has to end in (supervisor.py), and than a lease lasts."""
_PART = 0.9
"""Of that, how long a single wait for the target may take."""
SIGNATURE = "Hark-Signature"
KEY = "Hark-Key"
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0
_LONGEST_ERROR = 300
_REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CALLS_EVERYONE = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[!@])", re.IGNORECASE)


class Message(Struct, frozen=True):
    """What is sent. `thread` is the incident's id, "" for a digest; `first` where it begins the thread."""

    key: str
    thread: str
    first: bool
    subject: str
    """The same for all messages of a thread: what mail programs join them by."""
    title: str
    body: str
    severity: int
    payload: dict[str, Any]
    """For programs: what webhooks and files are given."""


def deliver(
    target: Target, message: Message, data: Path, clock: Clock = now, seconds: float = SEND_SECONDS
) -> None:
    """Send `message` to `target`; `data` is where relative files lie. Blocks for `seconds` at most.

    Raises TransientError, with the wait that the target asked for if it did.
    """
    try:
        address = resolve(target.address, f"target {target.name}")
        secret = resolve(target.secret, f"target {target.name}")
        # Loading the services of Apprise takes seconds the first time: that is not the target's time.
        service = None if target.scheme == "file" or secret else _service(target, address)
    except SettingsError as error:
        raise TransientError(str(error)) from error

    def send() -> None:
        if service is not None:
            _apprise(target, service, message)
        elif secret:
            _post(address.removeprefix("webhook+"), secret, message, clock, seconds * _PART)
        else:
            _append(data / address.removeprefix("file:"), message.payload)

    _attempt(target, send, seconds)


def ping(target: Target, data: Path, clock: Clock = now, seconds: float = SEND_SECONDS) -> None:
    """Tell the heartbeat's target that all is well: fetch its address, or write a line to its file.

    Raises TransientError.
    """

    def send() -> None:
        address = resolve(target.address, "heartbeat")
        if target.scheme == "file":
            _append(data / address.removeprefix("file:"), {"type": "heartbeat", "at": clock()})
        else:
            with httpx2.Client(timeout=seconds * _PART) as client:
                _check(client.get(address, headers={"User-Agent": _agent()}), clock)

    _attempt(target, send, seconds)


def check_target(target: Target) -> str:
    """Return the kind of service in words, having sent nothing; SettingsError when it cannot be sent to."""
    address = resolve(target.address, f"target {target.name}")
    resolve(target.secret, f"target {target.name}")
    if target.scheme == "file":
        return "file"
    if target.scheme.startswith("webhook+"):
        if not urlsplit(address).hostname:
            raise SettingsError(f"target {target.name}: expected a host in its address")
        return "signed webhook"
    return str(_service(target, address).service_name)


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the header that a webhook is signed with: "t=SECONDS,v1=HEX", HMAC-SHA256 over "SECONDS.BODY".

    The form is Stripe's (docs.stripe.com/webhooks, "Verify webhook signatures manually").
    """
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _attempt(target: Target, send: Callable[[], None], seconds: float) -> None:
    """Do `send` within `seconds`, in a thread of its own: a target that drips its answer must not hold us."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            send()
            outcome.append(None)
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread below
            outcome.append(error)

    thread = threading.Thread(target=run, name=f"send-{target.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TransientError(f"no answer within {seconds:g} seconds")
    error = outcome[0]
    if error is None:
        return
    wait = error.wait_seconds if isinstance(error, TransientError) else None
    if isinstance(error, httpx2.TimeoutException):
        text = f"no answer within {seconds * _PART:g} seconds"
    elif isinstance(error, httpx2.HTTPError | httpx2.InvalidURL):
        text = f"cannot be reached: {error}"
    elif isinstance(error, OSError):
        text = f"cannot be written: {error.strerror or error}"
    elif isinstance(error, TransientError | SettingsError):
        text = str(error)
    else:  # a plugin of one of a hundred services: whatever it raised, the target was not told
        text = f"{type(error).__name__}: {error}"
    # Not `from error`: the original's text may hold what `_masked` takes out.
    raise TransientError(_masked(target, text), wait) from None


def _append(path: Path, payload: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(descriptor, msgspec.json.encode(payload) + b"\n")  # one write: lines never mix
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _post(url: str, secret: str, message: Message, clock: Clock, seconds: float) -> None:
    body = msgspec.json.encode(message.payload)
    timestamp = int(clock().timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": _agent(),
        KEY: message.key,
        SIGNATURE: signature(secret, timestamp, body),
    }
    # The answer's body is never read; a redirect would carry the message to where nobody meant it to go.
    with (
        httpx2.Client(timeout=seconds, follow_redirects=False) as client,
        client.stream("POST", url, content=body, headers=headers) as answer,
    ):
        _check(answer, clock)


def _check(answer: httpx2.Response, clock: Clock) -> None:
    if answer.is_success:
        return
    if answer.is_redirect:
        raise TransientError(f"answers {answer.status_code}: redirects are not followed")
    raise TransientError(
        f"answers {answer.status_code} {answer.reason_phrase}".strip(),
        _retry_after(answer.headers.get("Retry-After", ""), clock()),
    )


def _retry_after(text: str, moment: datetime) -> float | None:
    """Return how long to wait, of seconds or of a date (RFC 9110, 10.2.3); None when it does not say."""
    if text.strip().isdecimal():
        wait = float(text)
    else:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait = (when.replace(tzinfo=when.tzinfo or UTC) - moment).total_seconds()
    return min(max(wait, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _apprise(target: Target, service: Any, message: Message) -> None:
    import apprise

    title, kind = message.title, "warning" if message.severity else "success"
    headers = getattr(service, "headers", None)
    if isinstance(headers, dict):  # mail, and Apprise's own web requests
        headers[KEY] = message.key
        if target.scheme.startswith("mailto") and message.thread:
            # Its own Message-ID cannot be chosen, so all refer to a first message that was never sent.
            root = f"<{message.thread}@incident.hark.invalid>"
            headers |= {"References": root, "In-Reply-To": root}
            title = message.subject if message.first else f"Re: {message.subject}"
    heard = _Heard(threading.get_ident())
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        taken = service.notify(
            title=_calls_nobody(title),
            body=_calls_nobody(message.body),
            notify_type=apprise.NotifyType(kind),
            body_format=apprise.NotifyFormat.TEXT,
        )
    finally:
        logger.removeHandler(heard)
    if not taken:
        raise TransientError(" ".join(heard.lines) or "the service did not take it")


def _service(target: Target, address: str) -> Any:
    """Return Apprise's service for `address`; SettingsError when it is none, or several recipients."""
    import apprise

    logger = logging.getLogger("apprise")
    logger.propagate = False  # what it logs may hold tokens: it is heard by `_Heard` alone, and masked
    logger.setLevel(logging.WARNING)
    service = apprise.Apprise.instantiate(address, asset=apprise.AppriseAsset(app_id="Hark"))
    if service is None:
        raise SettingsError(
            f"target {target.name}: Apprise can make nothing of its {target.scheme}:// address "
            "(github.com/caronc/apprise/wiki shows each service's; what is special in URLs stands percent-encoded)"
        )
    if len(service) > 1:
        raise SettingsError(
            f"target {target.name}: expected one recipient, found {len(service)}: give each a target of its own, so "
            "that none is told twice because another could not be"
        )
    service.redirects = False
    service.overflow_mode = apprise.OverflowMode.TRUNCATE  # in one piece, or a retry would repeat some
    return service


class _Heard(logging.Handler):
    """What Apprise said in one thread: the only place where it gives its reasons."""

    def __init__(self, thread: int) -> None:
        super().__init__(logging.WARNING)
        self._thread = thread
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


def _calls_nobody(text: str) -> str:
    """Return text of strangers such that no chat takes "@everyone" or "<!channel>" in it for a call."""
    return _CALLS_EVERYONE.sub(lambda match: match[0] + "\u200b", text)


def _masked(target: Target, text: str) -> str:
    """Return `text` on one line, without any secret of the target's address."""
    plain = " ".join(text.split())
    for found in sorted(_secrets(target), key=len, reverse=True):
        plain = plain.replace(found, "***")
    return plain if len(plain) <= _LONGEST_ERROR else plain[: _LONGEST_ERROR - 1] + "…"


def _secrets(target: Target) -> set[str]:
    """Return what must not be shown: what came from the environment, and the parts of the address but its host."""
    values = [os.environ.get(name, "") for name in _REFERENCE.findall(target.address + target.secret)]
    address = _REFERENCE.sub(lambda match: os.environ.get(match[1], ""), target.address)
    rest = address.partition("://")[2]
    host = rest.partition("/")[0].rpartition("@")[2].partition(":")[0]
    values += [part for part in re.split(r"[/:@?&=,]+", rest) if len(part) >= 8 and part != host]
    values += _parts(values)
    return {value for value in values if value}


def _parts(values: Sequence[str]) -> list[str]:
    # A secret that is a whole address is written back by libraries in other ways.
    inner = [part for value in values for part in re.split(r"[/:@?&=,]+", value) if len(part) >= 8]
    return [
        form for value in [*values, *inner] for form in (quote(value, safe=""), quote(value), unquote(value))
    ]


def _agent() -> str:
    return f"Hark/{__version__}"
