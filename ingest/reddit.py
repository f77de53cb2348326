"""Reddit: posts and comments of subreddits, and searches by the brands' queries. See docs/sources/reddit.md."""

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from msgspec import Struct

from hark.core.change import Change, Rejected
from hark.core.clock import Clock, monotonic, now
from hark.core.errors import SettingsError, TransientError
from hark.core.mention import native_id
from hark.core.protocols import Batch, Gap
from hark.query.platforms import reddit_searches
from hark.settings import Brand
from ingest.reddit_client import PAGE, Client, HiddenError, Limits, Listing, Pace
from ingest.reddit_cursor import decode
from ingest.reddit_posts import Post, read_item

T = TypeVar("T")
_SUBREDDIT = re.compile(r"[A-Za-z0-9_]{2,21}")
_SUBREDDITS_A_LISTING = 50  # their names stand in the address
_MOST_LISTED = 1_000
_MOST_FOUND = 250
_BATCH = 100
_NEARLY = 0.8  # Reddit counts what it does not show among the most that it lists
_ANCHORS = (1, 2, 11, 51)
_RECHECK = "recheck"
_LONGEST_WAIT_SECONDS = 0.5  # so that a stop is seen in time


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """[sources.NAME] of type "reddit"."""

    client_id: str
    """The app's id, from reddit.com/prefs/apps; write it as "${REDDIT_CLIENT_ID}"."""
    client_secret: str
    """The app's secret; write it as "${REDDIT_CLIENT_SECRET}"."""
    username: str | None = None
    """With `password`: an account listed as the app's developer; without, the app reads as itself."""
    password: str | None = None
    user_agent: str = "python:hark.listening-center:1"
    """How the app calls itself to Reddit, "platform:app id:version (by /u/name)"."""
    subreddits: tuple[str, ...] = ()
    """Names without r/, read whole: every post and comment."""
    searches: bool = True
    """Search the posts of all of Reddit by the brands' queries."""
    poll_seconds: float = 30.0
    """Between the beginnings of two rounds through all lists."""
    first_hours: float = 24.0
    """How far back the very first start reads, as far as Reddit lists it; at most seven days."""
    recheck_hours: float = 48.0
    """How long a mention is looked at again for edits and removals; at most thirty days."""
    oauth_url: str = "https://oauth.reddit.com"
    reddit_url: str = "https://www.reddit.com"


def build(
    name: str, options: Options, brands: Sequence[Brand], clock: Clock = now, pace: Pace | None = None
) -> "RedditSource":
    """Return the source; SettingsError for options that cannot work or brands that Reddit cannot search for."""
    where = f"sources.toml: sources.{name}"
    for key in ("client_id", "client_secret"):
        value = getattr(options, key)
        if not value.strip() or not value.isprintable() or not value.isascii():
            raise SettingsError(
                f"{where}.{key}: expected what reddit.com/prefs/apps shows, found nothing of the kind"
            )
    if bool(options.username) != bool(options.password):
        raise SettingsError(f"{where}: username and password belong together: give both or neither")
    if (
        len(options.user_agent) < 7
        or not options.user_agent.isprintable()
        or not options.user_agent.isascii()
    ):
        raise SettingsError(
            f'{where}.user_agent: expected a line like "platform:app id:version (by /u/name)"'
        )
    for key in ("oauth_url", "reddit_url"):
        url = getattr(options, key)
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")):
            raise SettingsError(f"{where}.{key}: expected https://…: secrets are not sent in the clear")
    _check(where, "poll_seconds", options.poll_seconds, 1, 3_600)
    _check(where, "first_hours", options.first_hours, 0, 168)
    _check(where, "recheck_hours", options.recheck_hours, 1, 720)
    for subreddit in options.subreddits:
        if not _SUBREDDIT.fullmatch(subreddit):
            raise SettingsError(
                f"{where}.subreddits: {subreddit!r} is no subreddit's name; write them without r/"
            )
    listings = _listings(where, options, brands)
    if not listings:
        raise SettingsError(f"{where}: nothing to read: name subreddits, or set searches = true")
    return RedditSource(name, options, listings, clock, pace or Pace())


class RedditSource:
    """A Source; see `hark.core.protocols`. Faults of Reddit that pass are waited out inside, and told in the note."""

    def __init__(
        self, name: str, options: Options, listings: Sequence[Listing], clock: Clock, pace: Pace
    ) -> None:
        self.name = name
        self.options = options
        self.listings = listings
        self.clock = clock
        self.pace = pace
        # A subreddit is read whole; a search brings what the brands' queries ask for.
        self.firehose = bool(options.subreddits)

    def look(self) -> str:
        """Log in and ask for one item of one list; see hark.core.protocols.Looking."""
        limits = Limits(self.clock)
        with contextlib.closing(Client(_praw_settings(self.options), self.pace, limits)) as client:
            try:
                client.look(self.listings[0])
            except HiddenError as error:
                raise SettingsError(str(error)) from error
        return "Reddit answers and shows what is asked for"

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches until stopped; SettingsError where Reddit refuses the app or its credentials."""
        reading = _Reading(self, cursor, stop)
        try:
            yield from reading.run()
        finally:
            reading.close()


class _Reading:
    """One run of `read`: round after round, each list from its top back to what is known.

    The cursor is moved by what is yielded and by nothing else: a list is read to its end first, then told from
    the oldest on, and only its last batch moves the list's own date.
    """

    def __init__(self, source: RedditSource, cursor: str | None, stop: threading.Event) -> None:
        self._source, self._options, self._pace, self._stop = source, source.options, source.pace, stop
        self._cursor = decode(cursor, source.name)
        # What the very first start reads back is no gap.
        self._first = set() if self._cursor.begin else {listing.key for listing in source.listings}
        self._limits = Limits(source.clock)
        self._client = Client(_praw_settings(self._options), self._pace, self._limits)
        self._hidden: dict[str, str] = {}
        self._trouble = self._told = ""
        self._yielded_at = monotonic()
        self._recheck_at = monotonic()

    def run(self) -> Iterator[Batch]:
        while not self._stop.is_set():
            begin = monotonic()
            for listing in self._source.listings:
                yield from self._read_list(listing)
            if monotonic() >= self._recheck_at:
                yield from self._recheck()
            yield from self._pause(begin + self._options.poll_seconds)

    def close(self) -> None:
        self._client.close()

    def _read_list(self, listing: Listing) -> Iterator[Batch]:
        """Read one list back to what is known, then tell what is new, the oldest first."""
        found: dict[str, Post | Rejected] = {}
        names: dict[str, None] = {}
        anchors = iter(_ANCHORS)
        after: str | None = None
        cut = False
        try:
            while True:
                page = yield from self._ask(partial(self._client.page, listing, after))
                if page is None:
                    return  # stopped: half a list tells nothing
                self._begin()
                read = self._read_items(page.items)
                found = read | found
                if not names.keys() >= set(page.names):
                    anchors = iter(_ANCHORS)
                names |= dict.fromkeys(page.names)
                if self._is_known(read, listing):
                    break
                if not names or 0 < len(page.names) < PAGE:
                    cut = len(names) >= _NEARLY * listing.most
                    break
                # Below an item that was deleted meanwhile Reddit may show nothing: then from one above it.
                anchor = next(anchors, None)
                if anchor is None:
                    cut = True
                    break
                after = list(names)[-anchor]
        except HiddenError as error:
            self._hidden[listing.key] = str(error)
            return
        self._hidden.pop(listing.key, None)
        yield from self._tell(listing, found, cut)

    def _is_known(self, read: Mapping[str, Post | Rejected], listing: Listing) -> bool:
        oldest = min((one.created for one in read.values() if isinstance(one, Post)), default=None)
        return oldest is not None and oldest < self._cursor.since[listing.key] - self._pace.late_seconds

    def _tell(self, listing: Listing, found: Mapping[str, Post | Rejected], cut: bool) -> Iterator[Batch]:
        cursor, key = self._cursor, listing.key
        posts = [one for one in found.values() if isinstance(one, Post)]
        posts.sort(key=lambda post: (post.created, post.name))
        gaps = self._gaps(listing, posts) if cut else []
        begin = 0
        while len(posts) - begin > _BATCH:
            if changes := self._changes(posts[begin : begin + _BATCH], key):
                yield self._batch(changes)
            begin += _BATCH
        changes = self._changes(posts[begin:], key)
        moment = self._limits.now()
        refused = [
            one for name, one in found.items() if isinstance(one, Rejected) and cursor.refuse(name, moment)
        ]
        cursor.since[key] = max([cursor.since[key], *(post.created for post in posts[-1:])])
        self._first.discard(key)
        if changes or refused or gaps:
            yield self._batch(changes, refused, gaps)

    def _changes(self, posts: Sequence[Post], key: str | None) -> list[Change]:
        moment = self._limits.now()
        return [change for post in posts if (change := self._cursor.change(post, key, moment))]

    def _gaps(self, listing: Listing, posts: Sequence[Post]) -> list[Gap]:
        since = self._cursor.since[listing.key]
        if listing.key in self._first or not posts or posts[0].created <= since:
            return []
        begin, end = (datetime.fromtimestamp(second, UTC) for second in (since, posts[0].created))
        why = f"{end - begin} of {listing.what} are missing: Reddit lists the newest {listing.most:,} alone"
        return [Gap(begin, end, why)]

    def _recheck(self) -> Iterator[Batch]:
        """Look at a page of what was collected: what was edited, and what is gone."""
        names = self._cursor.due()
        if not names:
            return
        try:
            items = yield from self._ask(partial(self._client.info, names))
        except HiddenError as error:
            self._hidden[_RECHECK] = str(error)
            return
        if items is None:
            return
        self._hidden.pop(_RECHECK, None)
        self._recheck_at = monotonic() + self._pace.recheck_seconds
        posts = [one for one in self._read_items(items).values() if isinstance(one, Post)]
        if changes := self._changes(posts, None):
            yield self._batch(changes)

    def _read_items(self, items: Sequence[object]) -> dict[str, Post | Rejected]:
        moment = self._limits.now()
        read = (read_item(item, self._source.name, moment) for item in items)
        return {native_id(one.mention.id if isinstance(one, Post) else one.id): one for one in read if one}

    def _begin(self) -> None:
        begin = self._limits.now() - timedelta(hours=self._options.first_hours)
        self._cursor.start(begin, [listing.key for listing in self._source.listings])

    def _ask(self, request: Callable[[], T]) -> Generator[Batch, None, T | None]:
        """Return what `request` does, waiting out what passes; None when stopped meanwhile."""
        while not self._stop.is_set():
            yield from self._pause(self._limits.ready_at, limited=True)
            if self._stop.is_set():
                break
            try:
                answer = request()
            except TransientError as error:
                self._trouble = str(error)
                yield from self._pause(monotonic() + (error.wait_seconds or 0.0))
            else:
                self._trouble = ""
                return answer
        return None

    def _pause(self, until: float, limited: bool = False) -> Iterator[Batch]:
        """Wait, with a sign of life now and then."""
        if limited and (left := until - monotonic()) > 0:
            ready = self._limits.now() + timedelta(seconds=left)
            self._trouble = f"rate limited by Reddit until {ready:%H:%M:%S} UTC"
        while not self._stop.is_set():
            left = until - monotonic()
            idle = monotonic() - self._yielded_at >= self._pace.idle_seconds
            if idle or self._note() != self._told:
                yield self._batch([])
            if left <= 0:
                return
            self._stop.wait(min(left, _LONGEST_WAIT_SECONDS, self._pace.idle_seconds))

    def _batch(
        self, changes: Sequence[Change], rejected: Sequence[Rejected] = (), gaps: Sequence[Gap] = ()
    ) -> Batch:
        self._cursor.forget(timedelta(hours=self._options.recheck_hours))
        self._yielded_at, self._told = monotonic(), self._note()
        return Batch(changes, self._cursor.encode(), rejected, gaps, note=self._told)

    def _note(self) -> str:
        return "; ".join(note for note in (self._trouble, *self._hidden.values()) if note)


def _listings(where: str, options: Options, brands: Sequence[Brand]) -> list[Listing]:
    names = sorted({subreddit.lower() for subreddit in options.subreddits})
    listings: list[Listing] = []
    for begin in range(0, len(names), _SUBREDDITS_A_LISTING):
        together = "+".join(names[begin : begin + _SUBREDDITS_A_LISTING])
        listings += [
            Listing(f"{kind}:{_digest(together)}", kind, together, _MOST_LISTED)
            for kind in ("new", "comments")
        ]
    if options.searches:
        try:
            queries = reddit_searches([brand.query for brand in brands])
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}; or set searches = false") from error
        listings += [Listing(f"search:{_digest(query)}", "search", query, _MOST_FOUND) for query in queries]
    return listings


def _praw_settings(options: Options) -> dict[str, str | None]:
    keys = ("client_id", "client_secret", "username", "password", "user_agent", "oauth_url", "reddit_url")
    settings = {key: getattr(options, key) or None for key in keys}
    return settings | {key: options_url.rstrip("/") for key in keys[-2:] if (options_url := settings[key])}


def _check(where: str, key: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SettingsError(f"{where}.{key}: expected {least} to {most}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
