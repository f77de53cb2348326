"""The boundary to tweepy: its fixed host, its missing timeouts, and the answers with which X refuses.

tweepy writes https://api.twitter.com into its source, gives its REST calls no timeout and turns refusals into
errors that lose headers. An adapter mounted on its session sees each request and answer, and mends all three.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec
import requests
import tweepy
from msgspec import Struct
from requests.adapters import HTTPAdapter
from requests.utils import resolve_proxies

from hark.core.clock import Clock
from hark.core.errors import HarkError, SettingsError, TransientError
from ingest.faults import plain

_TWEEPYS_HOST = "https://api.twitter.com"
_DAY_SECONDS = 86_400.0

# At its debug level tweepy logs the Authorization header and whole answers.
logging.getLogger("tweepy").setLevel(logging.WARNING)


class Pace(Struct, frozen=True, forbid_unknown_fields=True):
    """Time constants that no user needs to set; tests shorten them."""

    idle_seconds: float = 5.0
    """An idle source yields an empty batch this often."""
    lag_seconds: float = 30.0
    """Posts this young may not be found by recent search yet, nor have come through the stream in order."""
    rules_seconds: float = 60.0
    """A rule that was just added may not match before this has passed."""
    stall_seconds: float = 21.0
    """X sends something, a keep-alive at least, every 20 s; after this silence the connection is dead."""
    timeout_seconds: float = 5.0
    """Of REST calls, between two packets."""
    backoff_seconds: float = 1.0
    """First wait after a failure; doubles up to `longest_backoff_seconds`."""
    longest_backoff_seconds: float = 320.0
    limited_seconds: float = 60.0
    """First wait after 429 without a time of reset, and after 402; doubles up to 15 minutes."""
    healthy_seconds: float = 60.0
    """A connection that lived this long makes earlier failures forgotten."""
    quiet_seconds: float = 600.0
    """How far behind the present the cursor follows a stream on which no post came."""
    gap_seconds: float = 120.0
    """Interruptions longer than this are told as gaps; shorter ones are filled before anybody looks."""
    search_spacing_seconds: float = 2.0
    """Between two requests of recent search: 450 in 15 minutes."""


class HttpError(Exception):
    """X refused a request: status, headers, and the plain words of its body."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.body = response.content
        super().__init__(f"{self.status} {_words(self.body) or response.reason}")

    @property
    def too_many_connections(self) -> bool:
        """Say that another connection, perhaps the one we just lost, holds the stream."""
        return b"TooManyConnections" in self.body


class PlatformTime:
    """The present by X's own clock, known from the Date header of its answers.

    Ids carry X's time: with this machine's clock ahead, a cursor made from it would skip posts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()
        self.known = False
        """True once X has told the time."""

    def observe(self, date: str | None) -> None:
        """Take in a Date header; whole seconds, so that small differences mean nothing."""
        try:
            difference = parsedate_to_datetime(date or "") - self._clock()
        except (TypeError, ValueError):  # absent, unreadable or without a time zone: no news about the clock
            return
        self.known = True
        self._ahead = difference if abs(difference) > timedelta(seconds=2) else timedelta()

    def now(self) -> datetime:
        """Return the present instant, as X has it."""
        return self._clock() + self._ahead


class Adapter(HTTPAdapter):
    """Sends what tweepy meant for its fixed host to `base_url`; raises HttpError for every refusal."""

    def __init__(self, base_url: str, time: PlatformTime, timeout: tuple[float, float]) -> None:
        super().__init__()
        self._base_url = base_url.rstrip("/")
        self._time = time
        self._timeout = timeout
        self.response: requests.Response | None = None
        """The answer that came last: what a stream must shut to end a read that is under way."""

    def send(  # type: ignore[no-untyped-def]  # requests' own signature, passed on as it is
        self, request, stream=False, timeout=None, verify=True, cert=None, proxies=None
    ) -> requests.Response:
        """Send one request; the timeout given here stands in place of tweepy's."""
        request.url = self._base_url + request.url.removeprefix(_TWEEPYS_HOST)
        # tweepy's host decided about proxies so far; the real one may need none.
        proxies = resolve_proxies(request, {}, trust_env=True)
        response = super().send(request, stream, self._timeout, verify, cert, proxies)
        self._time.observe(response.headers.get("Date"))
        if response.status_code >= 400:
            raise HttpError(response)
        self.response = response
        return response


def rest_client(client: type[tweepy.Client], token: str, adapter: Adapter) -> tweepy.Client:
    """Return a tweepy client that gives back answers as they came, through `adapter`."""
    made = client(token, return_type=requests.Response)
    made.session.mount("https://", adapter)
    return made


def backoff_seconds(attempt: int, pace: Pace) -> float:
    """Return the wait after the `attempt`-th failure in a row (from 1)."""
    return float(min(pace.backoff_seconds * 2.0 ** min(attempt - 1, 30), pace.longest_backoff_seconds))


def translate(error: Exception, attempt: int, pace: Pace, time: PlatformTime) -> HarkError:
    """Return what a failed request means: SettingsError for the user, or TransientError with how long to wait.

    `attempt` counts failures in a row, from 1. Other errors than X's and the network's are raised again.
    """
    if isinstance(error, requests.RequestException):
        return TransientError(f"X cannot be reached: {plain(error)}", backoff_seconds(attempt, pace))
    if not isinstance(error, HttpError):
        raise error
    match error.status:
        case 401:
            return SettingsError(
                f"X does not accept the bearer token ({error}): copy it anew from developer.x.com"
            )
        case 403:
            return SettingsError(f"the X app of this bearer token has no access to recent search ({error})")
        case 429 if not error.too_many_connections:
            return _limited(error, attempt, pace, time)
        case 402:
            wait = min(pace.limited_seconds * 2.0 ** min(attempt - 1, 30), 900.0)
            return TransientError(f"the credits of the X account are used up ({error})", wait)
        case 408 | 429:
            return TransientError(f"X refuses for now ({error})", backoff_seconds(attempt, pace))
        case status if status >= 500:
            return TransientError(f"X has a problem ({error})", backoff_seconds(attempt, pace))
        case _:
            return SettingsError(f"X refuses the request ({error})")


def _limited(error: HttpError, attempt: int, pace: Pace, time: PlatformTime) -> TransientError:
    reset = error.headers.get("x-rate-limit-reset", "")
    if reset.isascii() and reset.isdecimal():
        wait = min(max(int(reset) - time.now().timestamp(), 0.0) + 1.0, _DAY_SECONDS)
    else:
        wait = min(pace.limited_seconds * 2.0 ** min(attempt - 1, 30), 900.0)
    until = time.now() + timedelta(seconds=wait)
    return TransientError(f"rate limited by X until {until:%H:%M:%S} UTC", wait)


def _words(body: bytes) -> str:
    """Return the sentence in a problem of X's, whatever its shape."""
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if not isinstance(problem, dict):
        return ""
    errors = problem.get("errors")
    inner = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    details = inner.get("details")
    parts = [
        problem.get("title"),
        problem.get("detail"),
        inner.get("message"),
        inner.get("detail"),
        details[0] if isinstance(details, list) and details else None,
    ]
    return ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str)))[:500]
