"""The log on one machine: an SQLite file a topic, in the data folder, shared by any number of processes.

A partition is a table with dense offsets; a publish is one transaction that is on the disk when it returns. Its
readers notice it in other processes through SQLite's data_version, within 20 ms. A group's partitions are divided
by `share` and each is owned through a file lock, which the system frees however its owner ends.
"""

import fcntl
import os
import shutil
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

import apsw

from hark.bus.rules import check_name, check_share, encode
from hark.core.change import ENRICHED, MENTIONS
from hark.core.clock import Clock, monotonic, now, to_ms
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.protocols import Record
from hark.settings import LogSettings

_LARGEST_READ_BYTES = 32 * 1024 * 1024
_LONGEST_PAUSE_SECONDS = 0.02
_BUSY_SECONDS = 60.0
_TRIM_EVERY_MS = 60_000
_TRIM_ROWS = 2_000
_CHUNK = 1_000
_LEAST_FREE_BYTES = 1 << 20
_DAY_MS = 86_400_000
_HELD = ":held"  # no group can be called that
_TRIMMING = timedelta(hours=1)
"""How long it may take at most until what is past retention is trimmed: much of it takes many turns."""


def connect(address: str, data: Path, log: LogSettings) -> "EmbeddedBus":
    """Open the log in the folder `data`/log; an embedded address names no host."""
    if hosts := address.partition("://")[2]:
        raise SettingsError(f"bus: the embedded log has no host, found {hosts!r}; write just embedded")
    return EmbeddedBus(data / "log", log)


class _Topic:
    """One connection to one topic's file; used by one thread at a time."""

    def __init__(self, folder: Path, topic: str, log: LogSettings) -> None:
        check_name("topic", topic)
        self.path = folder / f"{topic}.db"
        self.retention_ms = int(log.retention_days * _DAY_MS)
        self.trim_at = 0
        self._looked_from: int | None = None
        self._unforgotten = False
        """Whether the write-ahead log, or the file behind it, may still hold what was trimmed."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"the data folder {folder} cannot be made: {error.strerror}") from error
        with self.translated():
            self.connection = apsw.Connection(str(self.path))
            self.connection.set_busy_handler(_wait_while_busy)
            for pragma, value in (
                ("synchronous", "FULL"),
                ("secure_delete", "ON"),
                ("wal_autocheckpoint", 4000),
            ):
                self.connection.pragma(pragma, value)
            with _locked(folder / f"{topic}.create.lock"):
                self._create(log.partitions)
            self.partitions: int = self.value("SELECT count(*) FROM partitions")

    def _create(self, partitions: int) -> None:
        """Make the tables of a new topic; an old one keeps the partitions that it was made with."""
        if self.value("SELECT count(*) FROM sqlite_schema WHERE name = 'partitions'"):
            return
        self.connection.pragma("page_size", 8192)
        self.connection.pragma("journal_mode", "WAL")
        with self.transaction():
            self.connection.execute(
                "CREATE TABLE partitions (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL)"
            )
            self.connection.execute(
                "CREATE TABLE commits (consumer TEXT, partition INTEGER, next INTEGER NOT NULL,"
                " PRIMARY KEY (consumer, partition)) WITHOUT ROWID"
            )
            for partition in range(partitions):
                self.connection.execute("INSERT INTO partitions VALUES (?, 0)", (partition,))
                # the value last: what stands before it is read without its overflow pages
                self.connection.execute(
                    f"CREATE TABLE records_{partition} (offset INTEGER PRIMARY KEY,"
                    " timestamp_ms INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL)"
                )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn SQLite's errors into Hark's."""
        try:
            yield
        except (apsw.FullError, apsw.IOError) as error:
            full = isinstance(error, apsw.FullError)
            if full or shutil.disk_usage(self.path.parent).free < _LEAST_FREE_BYTES:
                what = f"no space left in {self.path.parent}: free some; nothing was lost"
                raise TransientError(what, wait_seconds=5) from error
            raise FatalError(f"the log {self.path} cannot be used: {error}") from error
        except (apsw.BusyError, apsw.LockedError) as error:
            raise TransientError(f"the log {self.path} is held by another process: {error}") from error
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
            raise SettingsError(f"the log {self.path} cannot be opened for writing: {error}") from error
        except apsw.Error as error:
            raise FatalError(f"the log {self.path} cannot be used: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all or nothing; on the disk when it ends."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def value(self, statement: str, bindings: tuple[object, ...] = ()) -> int:
        """Return the one number that a statement yields."""
        return int(self.connection.execute(statement, bindings).get)

    def starts(self) -> dict[int, int]:
        """Return the oldest kept offset of each partition."""
        ends = self.ends()
        return {p: self.value(f"SELECT coalesce(min(offset), {ends[p]}) FROM records_{p}") for p in ends}

    def ends(self) -> dict[int, int]:
        """Return the next offset of each partition."""
        return dict(self.connection.execute("SELECT partition, next FROM partitions"))

    def committed(self, group: str) -> dict[int, int]:
        """Return what `group` has committed; a partition without a commit begins at its oldest record."""
        found = self.connection.execute("SELECT partition, next FROM commits WHERE consumer = ?", (group,))
        return self.starts() | dict(found)

    def rows(self, partition: int, start: int, end: int | None, limit: int) -> list[Record]:
        """Return up to `limit` records from `start` on, before `end` where one is given; fewer when they are large."""
        below = "" if end is None else f" AND offset < {end}"
        found = self.connection.execute(
            f"SELECT offset, key, value, timestamp_ms FROM records_{partition} WHERE offset >= ?{below}"
            " ORDER BY offset LIMIT ?",
            (start, limit),
        )
        records: list[Record] = []
        size = 0
        for row in found:
            records.append(Record(partition, *row))
            size += len(row[2])
            if size > _LARGEST_READ_BYTES:
                break
        return records

    def trim(self, now_ms: int) -> bool:
        """Delete a bounded number of records that are past retention and that every group has processed.

        What is held stays too (see `hold`), and all that enrich or index has never begun to read. Called within a
        transaction, often; does something once a minute, and each time while there is more. True when
        it is done with what there was: then `forget` is to follow, outside the transaction.
        """
        if now_ms < self.trim_at:
            return False
        self.trim_at = now_ms + _TRIM_EVERY_MS
        for partition, end in self.ends().items():
            unread = 0 if self.path.stem in (MENTIONS, ENRICHED) else end
            processed = self.value(
                "SELECT min(coalesce(min(next) FILTER (WHERE consumer <> ?1), ?2),"
                " coalesce(min(next) FILTER (WHERE consumer = ?1), ?3)) FROM commits WHERE partition = ?4",
                (_HELD, unread, end, partition),
            )
            oldest: list[Any] = self.connection.execute(
                f"SELECT offset, timestamp_ms FROM records_{partition} WHERE offset < ? ORDER BY offset LIMIT ?",
                (processed, _TRIM_ROWS),
            ).fetchall()
            expired = [
                offset for offset, _ in takewhile(lambda row: row[1] <= now_ms - self.retention_ms, oldest)
            ]
            if expired:
                self.connection.execute(f"DELETE FROM records_{partition} WHERE offset <= ?", (expired[-1],))
                self._unforgotten = True
            if len(expired) == _TRIM_ROWS:
                self.trim_at = now_ms
        return self.trim_at > now_ms

    def forget(self) -> None:
        """Take what was trimmed out of the file and its write-ahead log too; at the next trim while readers hinder it."""
        if not self._unforgotten:
            return
        self.connection.set_busy_handler(None)
        try:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._unforgotten = False
        except (apsw.BusyError, apsw.LockedError):
            self._unforgotten = True
        finally:
            self.connection.set_busy_handler(_wait_while_busy)

    def tidy(self, now_ms: int) -> None:
        """Trim and forget, where it is time to."""
        if self.trim_at <= now_ms:
            with self.transaction():
                done = self.trim(now_ms)
            if done:
                self.forget()

    def tidy_seldom(self, now_ms: int) -> None:
        """Do so for one who only looks, and has done so for a while: a topic that nobody reads is trimmed too."""
        if self._looked_from is None:
            self._looked_from = now_ms
        elif self._looked_from + _TRIM_EVERY_MS <= now_ms:
            self.tidy(now_ms)


class EmbeddedBus:
    """The log as files in `folder`. Any number of threads and processes may publish."""

    def __init__(self, folder: Path, log: LogSettings, clock: Clock = now) -> None:
        self._folder = folder
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}

    @contextmanager
    def _topic(self, topic: str) -> Iterator[_Topic]:
        """Lend this bus's own connection to `topic`, to one thread at a time."""
        with self._lock:
            for name in [name for name, held in self._topics.items() if not held.path.exists()]:
                self._topics.pop(name).connection.close()  # dropped by another process: free its disk
            if topic not in self._topics:
                self._topics[topic] = _Topic(self._folder, topic, self._log)
            with self._topics[topic].translated():
                yield self._topics[topic]

    def publish(self, topic: str, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append (key, value) pairs in one transaction; returns when it is on the disk."""
        if not messages:
            return
        stamp = to_ms(self._clock())
        with self._topic(topic) as log:
            by_partition: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
            for (key, value), (encoded, _) in zip(messages, encode(messages), strict=True):
                by_partition[zlib.crc32(encoded) % log.partitions].append((key, value))
            with log.transaction():
                trimmed = log.trim(stamp)
                for partition, pairs in by_partition.items():
                    first = log.value("SELECT next FROM partitions WHERE partition = ?", (partition,))
                    log.connection.executemany(
                        f"INSERT INTO records_{partition} VALUES (?, ?, ?, ?)",
                        [(first + i, stamp, key, value) for i, (key, value) in enumerate(pairs)],
                    )
                    log.connection.execute(
                        "UPDATE partitions SET next = ? WHERE partition = ?", (first + len(pairs), partition)
                    )
            if trimmed:
                log.forget()

    def subscribe(
        self, topic: str, group: str | None, share: tuple[int, int] = (0, 1)
    ) -> "EmbeddedSubscription | EmbeddedTail":
        """Join `group` as member i of n, which owns every n-th partition; without a group, follow the end."""
        log = _Topic(self._folder, topic, self._log)
        if group is None:
            return EmbeddedTail(log)
        return EmbeddedSubscription(log, group, share, self._clock)

    def read(
        self, topic: str, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> Iterator[Record]:
        """Yield records of a range, partition after partition."""
        begin, stop = self.starts(topic) | dict(start or {}), self.ends(topic) | dict(end or {})
        return self._read(topic, begin, stop)

    def _read(self, topic: str, start: dict[int, int], end: dict[int, int]) -> Iterator[Record]:
        for partition, offset in start.items():
            while offset < end[partition]:
                # a lookup for each chunk holds neither the lock nor a snapshot while the caller works
                with self._topic(topic) as log:
                    records = log.rows(partition, offset, end[partition], _CHUNK)
                yield from records
                offset = records[-1].offset + 1 if records else end[partition]

    def starts(self, topic: str) -> dict[int, int]:
        """Return the oldest kept offset of each partition."""
        return self._looked_up(topic, lambda log: log.starts())

    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset that each partition's next record will have."""
        return self._looked_up(topic, lambda log: log.ends())

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return, for each partition, the offset of the next record that `group` has not processed."""
        return self._looked_up(topic, lambda log: log.committed(group))

    def _looked_up(self, topic: str, read: Callable[[_Topic], dict[int, int]]) -> dict[int, int]:
        """Return what `read` finds; who only looks makes no topic, as it may just have been dropped."""
        check_name("topic", topic)
        if not (self._folder / f"{topic}.db").exists():
            return dict.fromkeys(range(self._log.partitions), 0)
        with self._topic(topic) as log:
            log.tidy_seldom(to_ms(self._clock()))
            return read(log)

    def kept(self, topic: str) -> timedelta | None:
        """Return how long a record may lie in the log's files, by the settings; those who use the log trim it."""
        check_name("topic", topic)
        return timedelta(days=self._log.retention_days) + _TRIMMING

    def lost(self, topic: str, group: str) -> dict[int, tuple[int, int]]:
        """Return {}: here a record stays until every group has processed it."""
        return {}

    def hold(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Keep what stands at `offsets` and behind them, however old it is; the next call moves that on."""
        rows = [(_HELD, partition, offset) for partition, offset in offsets.items()]
        with self._topic(topic) as log, log.transaction():
            log.connection.executemany("INSERT OR REPLACE INTO commits VALUES (?, ?, ?)", rows)

    def begin(self, topic: str, group: str, offsets: Mapping[int, int]) -> None:
        """Let a group that nobody has joined yet begin at `offsets`; one that has begun stays where it is."""
        check_name("group", group)
        with self._topic(topic) as log, log.transaction():
            log.connection.executemany(
                "INSERT OR IGNORE INTO commits VALUES (?, ?, ?)",
                [(group, partition, offset) for partition, offset in offsets.items()],
            )

    def forget(self, topic: str, group: str) -> None:
        """Forget what `group` has processed, so that it no longer holds back the trimming."""
        with self._topic(topic) as log, log.transaction():
            log.connection.execute("DELETE FROM commits WHERE consumer = ?", (group,))
        for lock in self._folder.glob(f"{topic}.{group}.*.lock"):
            lock.unlink(missing_ok=True)

    def drop(self, topic: str) -> None:
        """Remove the topic's files; another process that has them open keeps what it sees until it closes them."""
        check_name("topic", topic)
        with self._lock:
            if topic in self._topics:
                self._topics.pop(topic).connection.close()
            for file in (*self._folder.glob(f"{topic}.db*"), *self._folder.glob(f"{topic}.*.lock")):
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; subscriptions are closed by their owners."""
        with self._lock:
            while self._topics:
                self._topics.popitem()[1].connection.close()


class EmbeddedTail:
    """A follower of all partitions from the end they had when it began."""

    def __init__(self, log: _Topic) -> None:
        self._topic = log
        with log.translated():
            self._next = log.ends()
        self._first = 0
        self._seen: int | None = None

    def poll(self, limit: int, timeout_seconds: float) -> list[Record]:
        """Return up to `limit` records, waiting up to `timeout_seconds` for the first."""
        deadline = monotonic() + timeout_seconds
        pause = 0.001
        with self._topic.translated():
            while True:
                if (changed := self._changed()) and (records := self._take(limit)):
                    return records
                left = deadline - monotonic()
                if left <= 0:
                    return []
                pause = 0.001 if changed else min(2 * pause, _LONGEST_PAUSE_SECONDS)
                time.sleep(min(pause, left))

    def _changed(self) -> bool:
        """Say whether the file may hold something new since the last read that found nothing."""
        version = self._topic.connection.pragma("data_version")
        if version == self._seen:
            return False
        self._seen = version
        return True

    def _take(self, limit: int) -> list[Record]:
        """Return what stands at the positions, the partitions taking turns to come first, and move on."""
        owned = sorted(self._next)
        self._first += 1
        records: list[Record] = []
        for i in range(len(owned)):
            partition = owned[(self._first + i) % len(owned)]
            found = self._topic.rows(partition, self._next[partition], None, limit - len(records))
            if found:
                self._next[partition] = found[-1].offset + 1
                records += found
                self._seen = None  # there may be more
            if len(records) >= limit:
                break
        return records

    def commit(self) -> None:
        """Do nothing: without a group there is nothing to remember."""

    def close(self) -> None:
        """Close the file; idempotent."""
        self._topic.connection.close()


class EmbeddedSubscription(EmbeddedTail):
    """Member i of n of a group: follows the partitions i, i + n, … that no other process owns."""

    def __init__(self, log: _Topic, group: str, share: tuple[int, int], clock: Clock) -> None:
        check_name("group", group)
        check_share(share)
        super().__init__(log)
        self._group = group
        self._clock = clock
        self._next = {}
        self._committed: dict[int, int] = {}
        self._wanted = set(range(share[0], log.partitions, share[1]))
        self._owned: dict[int, IO[bytes]] = {}
        with log.translated(), log.transaction():
            # a group that has begun holds back the trimming of what it has not processed
            for partition, start in log.starts().items():
                log.connection.execute(
                    "INSERT OR IGNORE INTO commits VALUES (?, ?, ?)", (group, partition, start)
                )

    def _changed(self) -> bool:
        claimed = len(self._owned) < len(self._wanted) and self._claim()
        self._topic.tidy(to_ms(self._clock()))
        return super()._changed() or claimed

    def _claim(self) -> bool:
        """Take the wanted partitions whose owner is gone; their positions are read once they are ours."""
        before = len(self._owned)
        for partition in self._wanted - self._owned.keys():
            name = f"{self._topic.path.stem}.{self._group}.{partition}.lock"
            file = (self._topic.path.parent / name).open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            self._owned[partition] = file
            self._committed[partition] = self._topic.committed(self._group)[partition]
            self._next[partition] = self._committed[partition]
        return len(self._owned) > before

    def commit(self) -> None:
        """Remember the positions; returns when they are on the disk."""
        moved = {p: n for p, n in self._next.items() if n != self._committed[p]}
        if not moved:
            return
        with self._topic.translated(), self._topic.transaction():
            self._topic.connection.executemany(
                "UPDATE commits SET next = ? WHERE consumer = ? AND partition = ?",
                [(n, self._group, p) for p, n in moved.items()],
            )
        self._committed.update(moved)

    def close(self) -> None:
        """Close the file and let go of the partitions; idempotent."""
        super().close()
        while self._owned:
            self._owned.popitem()[1].close()


def _wait_while_busy(attempt: int) -> bool:
    """Wait for another process's transaction; a few milliseconds at a time, since they are short."""
    time.sleep(0.002)
    return attempt < _BUSY_SECONDS / 0.002


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock against other processes."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
