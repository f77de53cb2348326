"""What the parts of Hark promise each other. Each protocol has a contract suite in tests/contract."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from msgspec import Struct

from hark.core.change import Change, Deleted, Item, Labelled, Rejected
from hark.core.clock import to_ms
from hark.core.draft import Draft
from hark.core.mention import Enrichment, Mention
from hark.core.tree import Query


class Gap(Struct, frozen=True):
    """A stretch of time in which a source may have missed mentions, and why; `closed` once filled again."""

    begin: datetime
    end: datetime
    why: str
    closed: bool = False


class Batch(Struct):
    """What a source read in one go, and the cursor that stands after it.

    The runtime publishes `changes` and `rejected`, waits until they are durable, then saves `cursor`; it asks
    for the next batch only after that. An idle source yields an empty batch now and then (at least every five
    seconds), so that its life is seen. `reads` counts what the platform charges for; `note` is one line for
    status ("rate limited until 12:05"), empty when all is well.
    """

    changes: Sequence[Change]
    cursor: str
    rejected: Sequence[Rejected] = ()
    gaps: Sequence[Gap] = ()
    reads: int = 0
    note: str = ""


class Source(Protocol):
    """A stream of changes from one platform.

    `read` may block, though never longer than a few seconds after `stop` is set. It raises SettingsError for
    credentials that are missing or refused, TransientError for what the runtime should wait out; the runtime
    then calls `read` again from the last saved cursor. `cursor` is None the first time. A source whose
    platform does not filter sets `firehose`: the runtime drops what matches no brand, and counts it.
    """

    name: str
    firehose: bool

    def read(self, cursor: str | None, stop: threading.Event) -> Iterator[Batch]:
        """Yield batches from `cursor` on, until `stop` is set; finite sources end by returning."""
        ...


@runtime_checkable
class Looking(Protocol):
    """A source that can be asked whether its platform answers; `hark check` asks."""

    def look(self) -> str:
        """Ask the platform once, with the real credentials, and return in a few words that it answers.

        Reads nothing that the platform charges for, changes nothing there or here, and takes some seconds at most
        (whoever asks gives up after that). Raises SettingsError, TransientError with what is wrong, for people.
        """
        ...


class Record(Struct, frozen=True):
    """One message of the log. `offset` grows by one or more within its partition."""

    partition: int
    offset: int
    key: str
    value: bytes
    timestamp_ms: int


class Subscription(Protocol):
    """One member of a consumer group; used by one thread."""

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        """Return up to `limit` records, waiting up to `timeout_seconds` for the first; [] when there is none.

        Records of one key come in the order they were published.
        """
        ...

    def commit(self) -> None:
        """Remember that everything polled so far has been processed; returns when that is durable."""
        ...

    def close(self) -> None:
        """Leave the group without committing: what was polled since the last commit is delivered again."""
        ...


class Bus(Protocol):
    """The log between the stages: topics of partitions of records, kept until retention has passed."""

    def publish(self, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append (key, value) pairs; returns when all are durable. The key chooses the partition.

        Raises TransientError while the log is away (some may have been written: publish all again),
        RefusedError for a message that the log will never take.
        """
        ...

    def subscribe(self, topic: str, group: str | None, share: tuple[int, int] = (0, 1)) -> Subscription:
        """Join `group`; without a group, follow the topic from its present end, with nothing to commit.

        `share` (i, n) says that this is member i of n: the embedded log divides partitions by it; Kafka
        divides them itself and uses it to name a static member.
        """
        ...

    def read(
        self, topic: str, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> Iterator[Record]:
        """Yield records from `start` (default: the oldest kept) up to, not including, `end` (default: now)."""
        ...

    def starts(self, topic: str) -> dict[int, int]:
        """Return the oldest kept offset of each partition."""
        ...

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset that each partition's next record will have."""
        ...

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return, for each partition, the offset of the next record that `group` has not processed."""
        ...

    def lost(self, topic: str, group: str) -> dict[int, tuple[int, int]]:
        """Return, by partition, the offsets (first, end) of records that went before `group` had processed them.

        Only what its commits still tell: once the group has gone on from there, it is forgotten.
        """
        ...

    def kept(self, topic: str) -> timedelta | None:
        """Return how long after its publication a record may lie in the log's files at most; None: without an end.

        It holds while the log is in use: an embedded one is trimmed by those who work with it, once every group has
        processed the record.
        """
        ...

    def hold(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Keep what stands at `offsets` and behind them until the next call, where this log's retention can be told to.

        For the one reader that is no group: the register of the books.
        """
        ...

    def begin(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Let a group that nobody has joined yet begin at `offsets`; one that has begun stays where it is."""
        ...

    def forget(self, topic: str, group: str) -> None:
        """Forget what `group` has processed, so that it holds nothing back; its members have left. Idempotent."""
        ...

    def drop(self, topic: str) -> None:
        """Remove a topic and all its records for good; nobody uses it any more. Idempotent."""
        ...

    def close(self) -> None:
        """Release what is held; idempotent."""
        ...


class Enricher(Protocol):
    """One step of the chain. Pure: the same batch and the same version give the same annotations."""

    name: str
    version: str
    """Changes whenever the same text may get another tag: with the code's rules, and with the files it reads."""

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in this step's fields of every draft; what earlier steps found is there already.

        Reasons are appended to `draft.reasons`. Never raises for a text, however hostile, and takes time in
        proportion to its length.
        """
        ...


class Hit(Struct):
    """One mention as the store holds it."""

    mention: Mention
    enrichment: Enrichment


class Refusal(Struct, frozen=True):
    """The store will never take `items[index]`; `reason` in plain words."""

    index: int
    reason: str


class Books(Struct):
    """What the store holds of one source: numbers of distinct ids."""

    indexed: int = 0
    deleted: int = 0


class Bucket(Struct, frozen=True):
    """One cell of a histogram: `start` in ms UTC, the group's value (None without grouping), and its sums."""

    start: int
    group: str | None
    count: int
    positive: int
    negative: int


class Store(Protocol):
    """The index. Writes are idempotent by id and version and need no order; a deletion wins for ever.

    Times are aware datetimes, `since` inclusive, `until` exclusive, on the mention's own `created_at`.
    Every method raises TransientError while the store is away.
    """

    def write(self, items: Sequence[Item], records: Sequence[bytes] = ()) -> list[Refusal]:
        """Write all items durably; visible to the next search on this store. Per-item failures are returned.

        Of two writes with the same id the higher version stands; with equal versions the first one.
        `records` are the items as they lie in the log, where the caller has them: a store that keeps the same form
        need not encode them again.
        """
        ...

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 50,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions, newest first (ties by id, descending), `limit` None for all.

        `after` is the cursor of the last hit of the page before (`cursor_of(hit)`), so that paging neither
        repeats nor skips while new mentions arrive.
        """
        ...

    def sample(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Iterator[Hit]:
        """Yield matching mentions in a shuffled order that is always the same, in every store: a stable sample.

        The order is `hark.query.sampling.place` of the id. `after` is `sample_cursor` of the last hit before.
        """
        ...

    def as_of(self) -> datetime | None:
        """Return when the newest mention that can be found was collected, None in an empty store.

        What was collected later than this is not in the answers yet. Deletions do not move it.
        """
        ...

    def count(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        level: int = 0,
    ) -> int:
        """Return how many mentions match, exactly; of those at `level` of the order of samples, unless that is 0.

        One mention in 2 ** level is there: 0, or 3 to 20 (`hark.query.sampling`).
        """
        ...

    def terms(self, pattern: str, limit: int) -> Sequence[str] | None:
        """Return the words of the texts that fit a pattern (`*`, `?`), in the order of letters.

        None where they are more than `limit`, and in a store that cannot list them.
        """
        ...

    def histogram(
        self,
        query: Query,
        interval_seconds: int,
        since: datetime,
        until: datetime,
        by: str | None = None,
    ) -> list[Bucket]:
        """Return counts per interval (a multiple of 60 s, aligned to the epoch), empty intervals left out.

        `since` and `until` are exact, wherever in an interval they lie. Multiples of 900 s are the fastest. `by`
        is None or one of sinks.groups.GROUPS: brand, topic (with ancestors), sentiment, source, lang, author,
        site, hashtag, country, place (its name and the parts between commas), kind, intent, journey, urgency; a
        mention with several values counts in each.
        """
        ...

    def top(
        self,
        query: Query,
        field: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[tuple[str, int]]:
        """Return the most frequent values of `field` (as in `histogram`)."""
        ...

    def get(self, id: str) -> Hit | None:
        """Return one mention, or None when it is unknown or deleted."""
        ...

    def many(self, ids: Sequence[str]) -> dict[str, Hit]:
        """Return those of `ids` that are indexed, as they stand now."""
        ...

    def history(self, after: str | None = None, limit: int = 1_000) -> tuple[list[Hit], str | None]:
        """Return up to `limit` mentions, oldest first, and the cursor that stands after them; None at the end.

        Page by page it brings all that is held when it begins and stays; what is written, edited or deleted
        meanwhile may come, come twice, or not.
        """
        ...

    def remarks(self) -> Iterator[Labelled | Deleted]:
        """Yield all labels of persons, those that wait for their mention too, and all tombstones."""
        ...

    def account(self, ids: Iterable[str]) -> tuple[dict[str, Books], dict[str, str]]:
        """Return the books per source and, of `ids`, those known here as "indexed" or "deleted", at one instant.

        That instant is fixed, and the books are read, before the first of `ids` is drawn: `ids` may be a
        generator that looks into the log only then. That is what lets the books balance while all is moving.
        """
        ...

    def ids(self) -> Iterator[tuple[str, bool]]:
        """Yield every id held, with True where it is a deletion's tombstone; for verification."""
        ...

    def close(self) -> None:
        """Release what is held; idempotent."""
        ...


def cursor_of(hit: Hit) -> str:
    """Return the paging cursor that stands after `hit`: "milliseconds,id"."""
    return f"{to_ms(hit.mention.created_at)},{hit.mention.id}"
