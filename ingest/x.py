"""X: the filtered stream, with recent search for every gap, or recent search alone. See docs/sources/x.md."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import requests
import tweepy
from msgspec import Struct

from hark.core.change import Change, Rejected
from hark.core.clock import Clock, monotonic, now
from hark.core.errors import SettingsError, TransientError
from hark.core.protocols import Batch, Gap
from hark.query.platforms import x_rules, x_searches
from hark.settings import Brand
from ingest.x_client import Adapter, HttpError, Pace, PlatformTime, rest_client, translate
from ingest.x_payload import id_at, instant_of
from ingest.x_posts import Read, read_line
from ingest.x_rules import keep_in_step
from ingest.x_search import HORIZON, Fill, Recent
from ingest.x_stream import Connection, Live

_LINES_A_BATCH = 200
_LONGEST_WAIT_SECONDS = 0.5  # so that a stop is seen in time
_WARN_AT = 0.8


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """[sources.NAME] of type "x"."""

    bearer_token: str
    """The app's own token, from developer.x.com; write it as "${X_BEARER_TOKEN}"."""
    stream: bool = True
    """False: recent search alone, for apps without access to the filtered stream."""
    monthly_read_budget: int | None = None
    """Posts to read in a calendar month (UTC) at most; without it, no limit of Hark's own."""
    poll_seconds: float = 60.0
    """Between two rounds of recent search where it serves alone."""
    first_hours: float = 1.0
    """How far back the very first start reads, at most seven days."""
    base_url: str = "https://api.x.com"


class Cursor(Struct, omit_defaults=True):
    """Where a source stands, as JSON: all posts up to the id `since` have been read.

    `fill` is the stretch above it that recent search has in part read. `reads` counts posts of `month`.
    """

    since: int
    month: str
    reads: int = 0
    fill: Fill | None = None


def build(
    name: str, options: Options, brands: Sequence[Brand], clock: Clock = now, pace: Pace | None = None
) -> "XSource":
    """Return the source; SettingsError for options that cannot work or brands that X cannot search for."""
    where = f"sources.toml: sources.{name}"
    if not options.bearer_token.strip() or not options.bearer_token.isprintable():
        raise SettingsError(
            f"{where}.bearer_token: expected the app's bearer token, found nothing of the kind"
        )
    local = options.base_url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
    if not (options.base_url.startswith("https://") or local):
        raise SettingsError(f"{where}.base_url: expected https://…: the token is not sent in the clear")
    if not 0 <= options.first_hours <= HORIZON.total_seconds() / 3600 + 1:
        raise SettingsError(f"{where}.first_hours: expected 0 to 168, X searches seven days back")
    if not 1 <= options.poll_seconds <= 86_400:
        raise SettingsError(f"{where}.poll_seconds: expected 1 to 86400")
    if options.monthly_read_budget is not None and options.monthly_read_budget < 1:
        raise SettingsError(f"{where}.monthly_read_budget: expected a number of posts, 1 or more")
    if not brands:
        raise SettingsError(f"{where}: brands.toml names no brand to listen for")
    queries = [brand.query for brand in brands]
    return XSource(name, options, x_rules(queries), x_searches(queries), clock, pace or Pace())


class XSource:
    """A Source; see `hark.core.protocols`. Short faults of X are waited out inside, and told in the note."""

    firehose = False

    def __init__(
        self,
        name: str,
        options: Options,
        rules: Sequence[str],
        searches: Sequence[str],
        clock: Clock,
        pace: Pace,
    ) -> None:
        self.name = name
        self.options = options
        self.rules = rules
        self.searches = searches
        self.clock = clock
        self.pace = pace

    def look(self) -> str:
        """Ask for the stream's rules, or, where search serves alone, for what is used: no post is read.

        See hark.core.protocols.Looking.
        """
        time = PlatformTime(self.clock)
        adapter = Adapter(self.options.base_url, time, (self.pace.timeout_seconds, self.pace.timeout_seconds))
        kind = tweepy.StreamingClient if self.options.stream else tweepy.Client
        client = rest_client(kind, self.options.bearer_token, adapter)
        try:
            return _looked(client)
        except (HttpError, requests.RequestException) as error:
            if self.options.stream and isinstance(error, HttpError) and error.status == 403:
                raise SettingsError(
                    f"no access to the filtered stream ({error}): recent search serves alone; stream = false says so"
                ) from error
            raise translate(error, 1, self.pace, time) from error
        finally:
            client.session.close()

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches until stopped; SettingsError where X refuses token, rules or queries."""
        reading = _Reading(self, cursor, stop)
        try:
            while not stop.is_set():
                batch = reading.step()
                if batch is not None:
                    yield batch
        finally:
            reading.close()


def _looked(client: tweepy.Client | tweepy.StreamingClient) -> str:
    if isinstance(client, tweepy.StreamingClient):
        client.get_rules()
        return "X answers; the app may use the filtered stream"
    client.request("GET", "/2/usage/tweets")
    return "X accepts the token; recent search serves alone"


class _Reading:
    """One run of `read`: what the stream and recent search bring, and the one cursor that both move.

    The cursor passes an id only when nothing below it can still be missing: at the end of a fill, or behind
    the newest post of a stream that has been connected since a time that fills have reached.
    """

    def __init__(self, source: XSource, cursor: str | None, stop: threading.Event) -> None:
        self._source, self._pace, self._stop = source, source.pace, stop
        self._options = source.options
        self._time = PlatformTime(source.clock)
        self._place = _decode(cursor, source, self._time.now())
        # What the very first start reads back is no gap.
        self._first = cursor is None
        client = rest_client(
            tweepy.Client, self._options.bearer_token, self._adapter(self._pace.timeout_seconds)
        )
        rules = rest_client(
            tweepy.StreamingClient, self._options.bearer_token, self._adapter(self._pace.timeout_seconds)
        )
        self._clients = (client, rules)
        self._recent = Recent(client, source.searches, source.name, self._pace, self._time)
        self._live = Live(
            connect=lambda: Connection(self._options.bearer_token, self._adapter(self._pace.stall_seconds)),
            rules=lambda: keep_in_step(rules, source.rules, f"hark:{source.name}:"),
            pace=self._pace,
            time=self._time,
            stop=stop,
        )
        if not self._options.stream:
            self._live.available, self._live.note = False, ""
        self._search_at = self._poll_at = self._yielded_at = monotonic()
        self._search_note = self._told = ""
        self._held_until: datetime | None = None

    def step(self) -> Batch | None:
        """Do one page and one round of lines at most; a batch, or None while there is nothing to tell."""
        moment = self._time.now()
        self._turn_month(moment)
        gaps: list[Gap] = []
        if self._left() > 0:
            found = [self._search(moment, gaps), self._listen()]
        else:
            found = [self._hold(moment, gaps)]
        changes: list[Change] = [change for read in found for change in read.changes]
        rejected: list[Rejected] = [refused for read in found for refused in read.rejected]
        reads = sum(read.posts for read in found)
        self._place.reads += reads
        note = self._note()
        idle = monotonic() - self._yielded_at >= self._pace.idle_seconds
        if not (changes or rejected or gaps or reads or idle or note != self._told):
            return None
        self._yielded_at, self._told = monotonic(), note
        return Batch(changes, msgspec.json.encode(self._place).decode(), rejected, gaps, reads, note)

    def close(self) -> None:
        """End the stream's thread and close all connections."""
        self._live.close()
        for client in self._clients:
            client.session.close()

    def _adapter(self, silence_seconds: float) -> Adapter:
        return Adapter(self._options.base_url, self._time, (self._pace.timeout_seconds, silence_seconds))

    def _listen(self) -> Read:
        searching = self._place.fill is not None and monotonic() >= self._search_at
        limit = max(1, min(_LINES_A_BATCH, self._left()))
        lines = self._live.take(
            limit, 0.001 if searching else min(_LONGEST_WAIT_SECONDS, self._pace.idle_seconds)
        )
        moment = self._time.now()
        reads = [read_line(line, self._source.name, self._live.foreign, moment) for line in lines]
        self._live.problem = next((read.problem for read in reads if read.problem), self._live.problem)
        newest = max((read.newest for read in reads), default=0)
        if self._contiguous():
            lag = id_at(moment) - id_at(moment - timedelta(seconds=self._pace.lag_seconds))
            self._advance(min(newest, id_at(moment)) - lag)
            if self._live.drained:
                self._advance(id_at(moment - timedelta(seconds=self._pace.quiet_seconds)))
        return Read(
            [change for read in reads for change in read.changes],
            [refused for read in reads for refused in read.rejected],
            sum(read.posts for read in reads),
        )

    def _search(self, moment: datetime, gaps: list[Gap]) -> Read:
        """Read a page of recent search, where one is due."""
        if self._live.complete_from is not None:
            self._poll_at = monotonic() + self._options.poll_seconds
        place = self._place
        if monotonic() < self._search_at:
            return Read()
        if place.fill is None:
            until = id_at(moment - timedelta(seconds=self._pace.lag_seconds))
            if not self._time.known:
                until = max(
                    until, place.since + 2
                )  # whatever this machine's clock says: ask, and learn the time
            if not self._fill_is_due(moment) or until <= place.since + 1:
                return Read()
            place.fill = Fill(place.since, until)
            if self._is_long(place.fill):
                gaps.append(self._gap(place.fill, place.fill.until, "being read from recent search"))
        try:
            # All of it may have been read already, where a brand's query has gone since the last start.
            done = self._recent.finished(place.fill)
            read = Read() if done else self._recent.page(place.fill, self._left())
        except TransientError as error:
            wait = error.wait_seconds or 0.0
            self._search_at = monotonic() + wait
            self._search_note = f"recent search waits: {error}" if wait else ""
            if not place.fill.done:
                place.fill = None  # nothing of it was read: the next one reaches closer to the present
            return Read()
        self._search_note = ""
        self._search_at = monotonic() + self._pace.search_spacing_seconds
        if self._recent.finished(place.fill):
            self._finish(place.fill, gaps)
        return read

    def _fill_is_due(self, moment: datetime) -> bool:
        # With the stream up, one fill that reaches its beginning; without, one every poll_seconds.
        complete_from = self._live.complete_from
        if complete_from is None:
            return monotonic() >= self._poll_at
        lag = timedelta(seconds=self._pace.lag_seconds)
        return not self._contiguous() and moment > complete_from + lag

    def _finish(self, fill: Fill, gaps: list[Gap]) -> None:
        if fill.floor > fill.since and not self._first:
            why = "older than the seven days that X searches"
            gaps.append(self._gap(fill, fill.floor, why))
        elif self._is_long(fill):
            gaps.append(self._gap(fill, fill.until, "read from recent search", closed=True))
        self._first = False
        self._place.fill = None
        self._advance(fill.until - 1)
        self._poll_at = monotonic() + self._options.poll_seconds

    def _contiguous(self) -> bool:
        """Say that the stream has been up since a time that the cursor has reached."""
        begin = self._live.complete_from
        return begin is not None and self._place.fill is None and self._place.since >= id_at(begin) - 1

    def _advance(self, id: int) -> None:
        self._place.since = max(self._place.since, id)

    def _is_long(self, fill: Fill) -> bool:
        length = instant_of(fill.until) - instant_of(fill.since)
        return (
            not self._first and length.total_seconds() > self._pace.gap_seconds + self._options.poll_seconds
        )

    def _gap(self, fill: Fill, end: int, why: str, closed: bool = False) -> Gap:
        # A gap is known by its beginning: told again, it replaces what was told before.
        return Gap(instant_of(fill.since), instant_of(end), why, closed)

    def _left(self) -> int:
        budget = self._options.monthly_read_budget
        return 1_000_000_000 if budget is None else budget - self._place.reads

    def _turn_month(self, moment: datetime) -> None:
        month = f"{moment:%Y-%m}"
        if month != self._place.month:
            self._place.month, self._place.reads, self._held_until = month, 0, None

    def _hold(self, moment: datetime, gaps: list[Gap]) -> Read:
        if self._held_until is None:
            following = (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
            self._held_until = following.replace(hour=0, minute=0, second=0, microsecond=0)
            self._live.close()
            self._search_note = ""
            why = "the month's read budget is used up"
            gaps.append(Gap(instant_of(self._place.since), self._held_until, why))
        self._stop.wait(min(_LONGEST_WAIT_SECONDS, self._pace.idle_seconds))
        return Read()

    def _note(self) -> str:
        notes = [self._live.note, self._search_note]
        budget, reads = self._options.monthly_read_budget, self._place.reads
        if budget is not None and reads >= budget:
            notes.insert(0, f"held: {reads} of {budget} posts of {self._place.month} are read")
        elif budget is not None and reads >= _WARN_AT * budget:
            notes.insert(0, f"{reads} of {budget} posts of {self._place.month} are read")
        return "; ".join(note for note in notes if note)


def _decode(cursor: str | None, source: XSource, moment: datetime) -> Cursor:
    if cursor is None:
        begin = id_at(moment - timedelta(hours=source.options.first_hours))
        return Cursor(max(begin, id_at(moment - HORIZON)), f"{moment:%Y-%m}")
    try:
        return msgspec.json.decode(cursor, type=Cursor)
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"source {source.name}: the saved cursor is not one of X's: {cursor!r}"
        ) from error
