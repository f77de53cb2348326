"""X's recent search: what was posted between two ids, page by page, resumable at any page."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import requests
import tweepy
from msgspec import Struct

from hark.core.errors import SettingsError, TransientError
from ingest.x_client import HttpError, Pace, PlatformTime, translate
from ingest.x_payload import FIELDS, Page, decode_page, id_at
from ingest.x_posts import Read, read_page

# X keeps seven days and refuses older ids; a minute is left for the clocks.
HORIZON = timedelta(days=7) - timedelta(minutes=1)
_PAGE = 100
_SMALLEST_PAGE = 10
# A resumed page begins this much above where the last one ended: posts of one second need not be in order.
_OVERLAP = 1_000 << 22


class Fill(Struct, omit_defaults=True):
    """One stretch of ids being read, as the cursor keeps it: above `since`, below `until`."""

    since: int
    until: int
    done: dict[str, int] = {}
    """For each query, named by its digest: the oldest id read so far, 0 when all of it has been read."""
    floor: int = 0
    """The highest of the lower bounds used: above `since` where X does not go back as far."""


class Recent:
    """Recent search for all queries, one page at a time."""

    def __init__(
        self, client: tweepy.Client, queries: Sequence[str], source: str, pace: Pace, time: PlatformTime
    ) -> None:
        self._client = client
        self._queries = {hashlib.blake2b(q.encode(), digest_size=6).hexdigest(): q for q in queries}
        self._source = source
        self._pace = pace
        self._time = time
        self._runs: dict[str, dict[str, Any]] = {}
        self._runs_of = (0, 0)
        self._failures = 0

    def page(self, fill: Fill, most_posts: int) -> Read:
        """Read the next page and note in `fill` how far it went; `finished(fill)` says whether it was the last.

        Raises TransientError with how long to wait, SettingsError for a token or a query that X refuses.
        """
        if self._runs_of != (fill.since, fill.until):
            self._runs, self._runs_of = {}, (fill.since, fill.until)
        key = next(key for key in self._queries if fill.done.get(key) != 0)
        oldest = self._id_at_horizon()
        begin = min(fill.until, fill.done[key] + _OVERLAP) if key in fill.done else fill.until
        if key not in self._runs and begin <= max(fill.since, oldest) + 1:
            fill.done[key] = 0
            fill.floor = max(fill.floor, min(fill.until, oldest))
            return Read()
        # The parameters of a run of pages stay the same, as X asks; only the token moves on.
        run = self._runs.setdefault(key, {"since_id": max(fill.since, oldest), "until_id": begin})
        page = self._request(key, run, max(_SMALLEST_PAGE, min(_PAGE, most_posts)))
        read = read_page(page, self._source, self._time.now())
        token = page.meta.get("next_token")
        if token:
            run["next_token"] = token
            if read.oldest:
                fill.done[key] = read.oldest
        else:
            fill.floor = max(fill.floor, run["since_id"])
            fill.done[key] = 0
            del self._runs[key]
        return read

    def finished(self, fill: Fill) -> bool:
        """Say whether all queries have been read down to the lower bound."""
        return all(fill.done.get(key) == 0 for key in self._queries)

    def _request(self, key: str, run: dict[str, Any], posts: int) -> Page:
        clock_was_known = self._time.known
        try:
            answer = self._client.search_recent_tweets(self._queries[key], max_results=posts, **FIELDS, **run)
            page = _decode(answer)
        except (HttpError, requests.RequestException) as error:
            self._failures += 1
            told = translate(error, self._failures, self._pace, self._time)
            if isinstance(error, HttpError) and error.status == 400:
                del self._runs[key]
                if "next_token" in run or not clock_was_known:
                    # Its ids have grown too old meanwhile, or came from a clock that is wrong: once more.
                    raise TransientError(f"recent search begins anew ({error})", 0.0) from error
                query = self._queries[key]
                raise SettingsError(f"{told}; the query, made of the brands' own, is {query!r}") from error
            raise told from error
        self._failures = 0
        return page

    def _id_at_horizon(self) -> int:
        return id_at(self._time.now() - HORIZON)


def _decode(answer: requests.Response) -> Page:
    try:
        return decode_page(answer.content)
    except msgspec.MsgspecError as error:
        # Half an answer, or not X's at all: nothing of it was read, so ask again.
        raise requests.RequestException(f"an answer that is not X's: {error}") from error
