"""The boundary to praw: one page a call, refusals told apart, and every wait left to the reader.

praw and prawcore sleep by themselves: up to ten minutes for a rate limit, some seconds between retries; nothing
ends such a sleep early (read in prawcore 4, rate_limit.py and sessions.py). So a Requestor of our own takes each
answer first: it keeps the rate limit's numbers to itself and raises refusals before prawcore can wait for them.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import praw
import prawcore
import requests
from msgspec import Struct

from hark.core.clock import Clock, monotonic
from hark.core.errors import HarkError, SettingsError, TransientError
from ingest.faults import plain

T = TypeVar("T")
PAGE = 100
_LOGIN = "/api/v1/access_token"
_LONGEST_LIMIT_SECONDS = 3_600.0
# Left for others who use the same app, and for a login beside a request.
_SPARE_REQUESTS = 5
# After so many the other lists get their turn: one item that praw cannot take spoils its page, and no other.
_UNREADABLE_IN_A_ROW = 4
# What praw raises for an answer that is JSON and yet not what it expects: it looks before it checks.
_NOT_AS_EXPECTED = (AttributeError, IndexError, KeyError, TypeError, ValueError, AssertionError)

# At their debug level they log what is asked for; at warning, addresses of every retry.
logging.getLogger("praw").setLevel(logging.ERROR)
logging.getLogger("prawcore").setLevel(logging.ERROR)


class Pace(Struct, frozen=True, forbid_unknown_fields=True):
    """Time constants that no user needs to set; tests shorten them."""

    idle_seconds: float = 5.0
    """An idle source yields an empty batch this often."""
    timeout_seconds: float = 5.0
    """Of a request, between two packets."""
    backoff_seconds: float = 1.0
    """First wait after a failure; doubles up to `longest_backoff_seconds`."""
    longest_backoff_seconds: float = 300.0
    limited_seconds: float = 60.0
    """First wait after 429 that names no time; doubles up to 15 minutes."""
    late_seconds: float = 600.0
    """Paging goes back this far behind what is known: moderators let things through late, search finds them late."""
    recheck_seconds: float = 20.0
    """Between two looks, a hundred mentions each, at what has become of those collected."""


class Listing(Struct, frozen=True):
    """One of Reddit's lists, newest first: `target` is subreddits joined by +, or a search's query."""

    key: str
    kind: Literal["new", "comments", "search"]
    target: str
    most: int
    """About how many items Reddit lists at most."""

    @property
    def what(self) -> str:
        """The list in words, for notes."""
        if self.kind == "search":
            return "the search"
        return f"{'the comments of ' if self.kind == 'comments' else ''}r/{self.target}"


class Page(NamedTuple):
    """Items as praw's objects, newest first, and their fullnames."""

    items: Sequence[Any]
    names: Sequence[str]


class HttpError(Exception):
    """Reddit refused a request: status, headers, and what its body says."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.at_login = urlsplit(response.url).path.endswith(_LOGIN)
        self.reason, words = _words(response.content)
        super().__init__(f"{self.status} {words or response.reason}")


class HiddenError(Exception):
    """One list cannot be read now (private, banned, misspelt, garbled); the others go on."""


class Limits:
    """When the next request may be sent, and what time it is, by Reddit's answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()
        self.ready_at = 0.0
        """By `monotonic()`."""

    def observe(self, headers: Any) -> None:
        """Take in an answer's headers: Date, and x-ratelimit-remaining with -reset in seconds."""
        with contextlib.suppress(TypeError, ValueError):  # absent, unreadable, no zone: no news of the clock
            self._ahead = parsedate_to_datetime(headers.get("Date") or "") - self._clock()
        remaining, reset = (_number(headers.get(f"x-ratelimit-{name}")) for name in ("remaining", "reset"))
        if remaining is not None and reset is not None and remaining <= _SPARE_REQUESTS:
            self.ready_at = monotonic() + min(reset, _LONGEST_LIMIT_SECONDS)

    def now(self) -> datetime:
        """Return the present instant, as Reddit has it; with this machine's clock ahead, posts would be skipped."""
        return self._clock() + (self._ahead if abs(self._ahead) > timedelta(seconds=2) else timedelta())


class _Requestor(prawcore.Requestor):
    """Sends prawcore's requests; raises HttpError and requests' own errors as they are."""

    def __init__(self, *, limits: Limits, **kwargs: Any) -> None:
        self._limits = limits
        super().__init__(**kwargs)

    def request(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> requests.Response:
        """Send one request; the timeout set at the beginning stands in place of the one given."""
        kwargs["timeout"] = self.timeout
        response = self._http.request(*args, **kwargs)
        self._limits.observe(response.headers)
        if response.status_code >= 300:
            raise HttpError(response)
        for name in ("x-ratelimit-remaining", "x-ratelimit-used", "x-ratelimit-reset"):
            response.headers.pop(name, None)
        return response


class Client:
    """Reddit through praw. Used by one thread; logs in with the first request.

    `settings` are praw's own: client_id, client_secret, username, password, user_agent, oauth_url, reddit_url;
    all of them, so that neither a praw.ini nor the environment adds to them.
    """

    def __init__(self, settings: Mapping[str, str | None], pace: Pace, limits: Limits) -> None:
        self._settings = settings
        self._pace = pace
        self._limits = limits
        # In a row: faults of any kind, 429 alone, and answers that praw can make nothing of.
        self._failures = self._refusals = self._unreadable = 0
        self._connect()

    def page(self, listing: Listing, after: str | None) -> Page:
        """Return the items below `after` (None: from the top); fewer than PAGE where the list ends.

        Raises HiddenError for a list that Reddit does not show, or garbles again and again, TransientError with how long to wait,
        SettingsError for credentials that Reddit does not accept.
        """
        params: dict[str, str | int] = {"after": after} if after else {}
        return self._told(lambda reddit: _page(_generator(reddit, listing, params)), listing)

    def info(self, names: Sequence[str]) -> list[Any]:
        """Return what up to PAGE items are now; unknown ones are left out. Raises as `page` does."""
        return self._told(lambda reddit: list(reddit.info(fullnames=names)), None)

    def look(self, listing: Listing) -> None:
        """Ask for one item of a list, so that login and access are tried. Raises as `page` does."""
        self._told(lambda reddit: list(_generator(reddit, listing, {}, 1)), listing)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _connect(self) -> None:
        self._session = requests.Session()
        self._reddit = praw.Reddit(
            "DEFAULT",
            requestor_class=_Requestor,
            requestor_kwargs={
                "limits": self._limits,
                "session": self._session,
                "timeout": self._pace.timeout_seconds,
            },
            refresh_token=None,
            redirect_uri=None,
            check_for_updates=False,
            check_for_async=False,
            **self._settings,
        )

    def _told(self, ask: Callable[[praw.Reddit], T], listing: Listing | None) -> T:
        try:
            answer = self._asked(ask)
        except HttpError as error:
            if listing is not None and _is_hidden(error, listing):
                self._failures = self._refusals = 0
                raise HiddenError(f"Reddit does not show {listing.what} ({error})") from error
            raise self._meaning(error) from error
        except prawcore.OAuthException as error:
            raise SettingsError(
                f"Reddit refuses the login ({error}): check username and password, or leave both out"
            ) from error
        except requests.RequestException as error:
            raise self._later(f"Reddit cannot be reached: {plain(error)}") from error
        except (prawcore.PrawcoreException, praw.exceptions.PRAWException, *_NOT_AS_EXPECTED) as error:
            told = self._later(f"an answer that is not Reddit's: {type(error).__name__}")
            self._unreadable += 1
            if self._unreadable < _UNREADABLE_IN_A_ROW:
                raise told from error
            self._unreadable = 0
            raise HiddenError(f"{listing.what if listing else 'looking again'} waits: {told}") from error
        self._failures = self._refusals = self._unreadable = 0
        return answer

    def _asked(self, ask: Callable[[praw.Reddit], T]) -> T:
        try:
            return ask(self._reddit)
        except HttpError as error:
            if error.status != 401 or error.at_login:
                raise
        self._session.close()  # the token has ended before its time: log in anew, once
        self._connect()
        return ask(self._reddit)

    def _meaning(self, error: HttpError) -> HarkError:
        match error.status:
            case 401 if error.at_login:
                return SettingsError(
                    f"Reddit does not accept client_id and client_secret ({error}):"
                    " copy them anew from reddit.com/prefs/apps"
                )
            case 401 | 403:
                return SettingsError(
                    f"Reddit refuses this app ({error}): access to its API needs Reddit's approval,"
                    " and a user_agent of its own"
                )
            case 429:
                return self._limited(error)
            case 408:
                return self._later(f"Reddit refuses for now ({error})")
            case status if status >= 500:
                return self._later(f"Reddit has a problem ({error})")
            case _:
                return SettingsError(f"Reddit refuses the request ({error})")

    def _limited(self, error: HttpError) -> TransientError:
        self._refusals += 1
        wait = _retry_after(error.headers.get("Retry-After"), self._limits.now())
        if wait is None:
            wait = _number(error.headers.get("x-ratelimit-reset"))
        if wait is None:
            wait = min(self._pace.limited_seconds * 2.0 ** min(self._refusals - 1, 30), 900.0)
        wait = min(wait, _LONGEST_LIMIT_SECONDS)
        until = self._limits.now() + timedelta(seconds=wait)
        return TransientError(f"rate limited by Reddit until {until:%H:%M:%S} UTC", wait)

    def _later(self, why: str) -> TransientError:
        self._failures, self._refusals = self._failures + 1, 0
        wait = self._pace.backoff_seconds * 2.0 ** min(self._failures - 1, 30)
        return TransientError(why, min(wait, self._pace.longest_backoff_seconds))


def _page(items: Iterable[Any]) -> Page:
    items = list(items)
    return Page(items, [item.fullname for item in items])


def _generator(reddit: praw.Reddit, listing: Listing, params: dict[str, str | int], limit: int = PAGE) -> Any:
    if listing.kind == "search":
        found = reddit.subreddit("all")
        return found.search(listing.target, sort="new", time_filter="all", limit=limit, params=params)
    subreddit = reddit.subreddit(listing.target)
    if listing.kind == "comments":
        return subreddit.comments(limit=limit, params=params)
    return subreddit.new(limit=limit, params=params)


def _is_hidden(error: HttpError, listing: Listing) -> bool:
    # A refusal of the app as a whole has no reason; a private or banned subreddit's has.
    if listing.kind == "search" or error.at_login:
        return False
    return error.status in (301, 302, 404, 451) or (error.status == 403 and bool(error.reason))


def _retry_after(value: str | None, now: datetime) -> float | None:
    seconds = _number(value)
    if seconds is None and value:
        try:
            return max((parsedate_to_datetime(value) - now).total_seconds(), 0.0)
        except (TypeError, ValueError):  # neither seconds nor a date: as if it were not there
            return None
    return seconds


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _words(body: bytes) -> tuple[str, str]:
    """Return the reason and the sentence in a refusal's body, empty where it has none."""
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""
    if not isinstance(problem, dict):
        return "", ""
    reason, message = (
        value if isinstance(value := problem.get(key), str) else "" for key in ("reason", "message")
    )
    return reason, ": ".join(part for part in (message, reason) if part)[:300]
