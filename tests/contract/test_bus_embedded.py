"""The embedded log keeps the contract, and what only it promises."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hark.bus import open_bus
from hark.bus.embedded import EmbeddedBus
from hark.core.change import MENTIONS
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.core.protocols import Record
from hark.settings import LogSettings
from tests.contract.bus_contract import BusContract, messages, process, take, values
from tests.support.require import REPOSITORY

START = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class TestEmbeddedBus(BusContract):
    @pytest.fixture
    def address(self) -> str:
        return "embedded"


def test_a_second_owner_of_a_partition_waits_for_the_first(tmp_path: Path) -> None:
    bus = open_bus("embedded", tmp_path)
    bus.publish("t", messages(10))
    first, second = bus.subscribe("t", "g"), bus.subscribe("t", "g")
    assert len(take(first, 10)) == 10
    assert second.poll(10, 0.1) == []
    first.commit()
    bus.publish("t", messages(10, 10))
    first.close()
    assert values(take(second, 10)) == list(range(10, 20))
    second.close()
    bus.close()


def test_a_killed_owners_partitions_are_there_at_the_first_poll(tmp_path: Path) -> None:
    bus = open_bus("embedded", tmp_path)
    bus.publish("t", messages(10))
    with process("read", "embedded", tmp_path, "t") as reader:
        assert reader.stdout is not None
        assert int(reader.stdout.readline()) == 10
        second = bus.subscribe("t", "t.killed")
        assert second.poll(10, 0) == []
        reader.kill()
        reader.wait()
        assert values(second.poll(10, 0)) == list(range(10))
    second.close()
    bus.close()


def test_who_only_looks_at_a_dropped_topic_does_not_make_it_again(tmp_path: Path) -> None:
    bus, other = open_bus("embedded", tmp_path), open_bus("embedded", tmp_path)
    bus.publish("t", messages(10))
    assert sum(other.ends("t").values()) == 10
    bus.drop("t")
    nothing = other.ends("t")
    assert set(nothing.values()) == {0}
    assert other.starts("t") == other.committed("t", "g") == nothing
    assert list(other.read("t")) == []
    assert not list(tmp_path.rglob("t.db*"))
    for each in (bus, other):
        each.close()


def test_a_tail_looks_ten_times_a_second_or_more_and_a_look_finds_what_another_process_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = open_bus("embedded", tmp_path)
    bus.publish("t", [("warm", b"0")])
    tail = bus.subscribe("t", None)
    program = (
        "from pathlib import Path; from hark.bus import open_bus\n"
        f"open_bus('embedded', Path({str(tmp_path)!r})).publish('t', [('k', b'1')])"
    )
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 50:  # when the pauses have grown as long as they grow
            subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)

    monkeypatch.setattr("hark.bus.embedded.time", SimpleNamespace(sleep=sleep))
    for _ in range(3):
        pauses.clear()
        assert [record.value for record in tail.poll(10, 3600)] == [b"1"]
        assert len(pauses) == 50
        assert max(pauses) < 0.1
    tail.close()
    bus.close()


def test_what_is_old_and_processed_by_every_group_is_trimmed_and_offsets_go_on(tmp_path: Path) -> None:
    clock = Clock()
    bus = EmbeddedBus(tmp_path, LogSettings(partitions=1, retention_days=1), clock)
    bus.publish("t", [("k", b"gone %d" % i) for i in range(5000)])
    quick, slow = bus.subscribe("t", "quick"), bus.subscribe("t", "slow")
    take(quick, 5000)
    quick.commit()
    slow.poll(10, 1)
    slow.commit()

    clock.now += timedelta(days=2)
    bus.publish("t", [("k", b"young")])
    assert bus.starts("t") == {0: 10}  # the slow group holds the rest back

    take(slow, 4991)
    slow.commit()
    for _ in range(3):  # a bounded number at a time
        clock.now += timedelta(minutes=2)
        bus.publish("t", [("k", b"young")])
    assert bus.starts("t") == {0: 5000}
    assert [record.offset for record in bus.read("t")] == [5000, 5001, 5002, 5003]
    for closing in (quick, slow, bus):
        closing.close()
    # gone from the file as well, not just unlinked
    assert all(b"gone 4321" not in file.read_bytes() for file in tmp_path.glob("t.db*"))


def test_what_enrich_has_not_begun_to_read_outlives_retention(tmp_path: Path) -> None:
    clock = Clock()
    bus = EmbeddedBus(tmp_path, LogSettings(partitions=1, retention_days=1), clock)
    bus.publish(MENTIONS, messages(10))
    clock.now += timedelta(days=2)
    bus.publish(MENTIONS, messages(1, 10))
    subscription = bus.subscribe(MENTIONS, "g")
    assert values(take(subscription, 11)) == list(range(11))
    subscription.close()
    bus.close()


def test_what_is_held_outlives_retention_until_the_hold_moves_on(tmp_path: Path) -> None:
    clock = Clock()
    bus = EmbeddedBus(tmp_path, LogSettings(partitions=1, retention_days=1), clock)
    bus.publish("t", messages(10))
    bus.hold("t", {0: 4})
    clock.now += timedelta(days=2)
    bus.publish("t", messages(1))
    assert bus.starts("t") == {0: 4}
    bus.hold("t", {0: 11})
    clock.now += timedelta(days=2)
    bus.publish("t", messages(1))
    assert bus.starts("t") == {0: 11}
    bus.close()


def test_an_idle_log_is_trimmed_by_its_readers(tmp_path: Path) -> None:
    clock = Clock()
    bus = EmbeddedBus(tmp_path, LogSettings(partitions=1, retention_days=1), clock)
    bus.publish("t", messages(10))
    subscription = bus.subscribe("t", "g")
    take(subscription, 10)
    subscription.commit()
    clock.now += timedelta(days=2)
    assert subscription.poll(10, 0) == []
    assert bus.starts("t") == bus.ends("t") == {0: 10}
    bus.publish("t", [("k", b"1")])
    assert [record.offset for record in take(subscription, 1)] == [10]
    subscription.close()
    bus.close()


def test_what_is_trimmed_is_gone_from_the_files_while_the_log_is_open(tmp_path: Path) -> None:
    clock = Clock()
    bus = EmbeddedBus(tmp_path, LogSettings(partitions=1, retention_days=1), clock)
    bus.publish("t", [("k", b"gone %d" % i) for i in range(100)])
    kept = bus.kept("t")
    assert kept is not None
    assert timedelta(days=1) <= kept <= timedelta(days=1, hours=1)
    clock.now += kept
    bus.publish("t", [("k", b"young")])
    assert bus.starts("t") == {0: 100}
    assert all(b"gone 4" not in file.read_bytes() for file in tmp_path.glob("t.db*"))
    bus.close()


def test_a_topic_without_readers_is_trimmed_by_those_who_look_at_it_for_long(tmp_path: Path) -> None:
    clock = Clock()
    settings = LogSettings(partitions=1, retention_days=1)
    writer, looker = EmbeddedBus(tmp_path, settings, clock), EmbeddedBus(tmp_path, settings, clock)
    writer.publish("t", messages(10))
    clock.now += timedelta(days=2)
    assert looker.starts("t") == {0: 0}  # one look changes nothing
    clock.now += timedelta(minutes=1)
    looker.ends("t")
    assert looker.starts("t") == {0: 10}
    writer.close()
    looker.close()


@contextmanager
def _file_of_at_most(pages: int) -> Iterator[None]:
    """Let SQLite run out of space for real: every connection opened meanwhile may not grow its file."""

    def limit(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", pages)

    apsw.connection_hooks.append(limit)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(limit)


def test_a_full_disk_is_said_plainly_and_nothing_is_lost(tmp_path: Path) -> None:
    with _file_of_at_most(40):
        bus = open_bus("embedded", tmp_path)
        bus.publish("t", messages(10))
        with pytest.raises(TransientError, match=r"no space left in .*: free some; nothing was lost"):
            bus.publish("t", [(f"k:{i}", bytes(10_000)) for i in range(100)])
        assert values(bus.read("t")) == list(range(10))
        bus.close()
    bus = open_bus("embedded", tmp_path)
    bus.publish("t", messages(10, 10))
    assert values(bus.read("t")) == list(range(20))
    bus.close()


def test_a_file_that_is_no_log_stops_the_process_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "t.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(FatalError, match=r"t\.db"):
        open_bus("embedded", tmp_path).publish("t", messages(1))


def test_a_data_folder_that_cannot_be_made_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="data folder"):
        open_bus("embedded", tmp_path / "file").publish("t", messages(1))


def test_many_threads_publish_through_one_bus(tmp_path: Path) -> None:
    bus = open_bus("embedded", tmp_path)
    parts = [messages(500, start) for start in range(0, 4000, 500)]
    threads = [
        threading.Thread(
            target=lambda part=part: [bus.publish("t", part[i : i + 50]) for i in range(0, 500, 50)]
        )
        for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(bus.read("t")) == list(range(4000))
    bus.close()


class EmbeddedLogIsAList(RuleBasedStateMachine):
    """Whatever is published, polled, committed, reopened: the log reads as one list a partition."""

    def __init__(self) -> None:
        super().__init__()
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory(prefix="hark-log-")
        self.settings = LogSettings(partitions=3)
        self.bus = EmbeddedBus(Path(self.folder.name), self.settings)
        self.bus.publish("t", [])
        self.model: dict[int, list[tuple[str, bytes]]] = {0: [], 1: [], 2: []}
        self.home: dict[str, int] = {}
        self.position = dict.fromkeys(range(3), 0)
        self.committed = dict.fromkeys(range(3), 0)
        self.subscription = self.bus.subscribe("t", "g")

    @rule(batch=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.binary(max_size=20)), max_size=8))
    def publish(self, batch: list[tuple[str, bytes]]) -> None:
        before = self.bus.ends("t")
        self.bus.publish("t", batch)
        for record in self.bus.read("t", start=before):
            assert self.home.setdefault(record.key, record.partition) == record.partition
        for key, value in batch:
            self.model[self.home[key]].append((key, value))

    @rule(limit=st.integers(1, 6))
    def poll(self, limit: int) -> None:
        records: list[Record] = self.subscription.poll(limit, 0)
        left = sum(len(self.model[p]) - self.position[p] for p in self.model)
        assert len(records) == min(limit, left)
        for record in records:
            assert record.offset == self.position[record.partition]
            assert (record.key, record.value) == self.model[record.partition][record.offset]
            self.position[record.partition] += 1

    @rule()
    def commit(self) -> None:
        self.subscription.commit()
        self.committed = dict(self.position)

    @rule()
    def leave_and_come_back(self) -> None:
        self.subscription.close()
        self.subscription = self.bus.subscribe("t", "g")
        self.position = dict(self.committed)

    @rule()
    def reopen(self) -> None:
        self.bus.close()
        self.bus = EmbeddedBus(Path(self.folder.name), self.settings)

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def read_a_range(self, data: st.DataObject) -> None:
        start = {p: data.draw(st.integers(0, len(rows))) for p, rows in self.model.items()}
        end = {p: data.draw(st.integers(start[p], len(rows))) for p, rows in self.model.items()}
        found = [(r.partition, r.key, r.value) for r in self.bus.read("t", start, end)]
        assert found == [(p, *row) for p in self.model for row in self.model[p][start[p] : end[p]]]

    @invariant()
    def ends_and_commits_agree(self) -> None:
        assert self.bus.ends("t") == {p: len(rows) for p, rows in self.model.items()}
        assert self.bus.committed("t", "g") == self.committed

    def teardown(self) -> None:
        self.subscription.close()
        self.bus.close()
        self.folder.cleanup()


TestEmbeddedLogIsAList = EmbeddedLogIsAList.TestCase
TestEmbeddedLogIsAList.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_an_address_of_an_unknown_kind_gets_the_list_of_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'redis'.*embedded, kafka, kafka\+confluent"):
        open_bus("redis://127.0.0.1", tmp_path)
    with pytest.raises(SettingsError, match="just embedded"):
        open_bus("embedded://somewhere", tmp_path)
    with pytest.raises(SettingsError, match="kafka://host:port"):
        open_bus("kafka://somewhere", tmp_path)
