"""What every log promises. A subclass brings the fixture `address`; `data` is a folder for a log that wants one."""

import itertools
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hark.bus import open_bus
from hark.core.errors import RefusedError, SettingsError
from hark.core.protocols import Bus, Record, Subscription
from hark.settings import LogSettings
from tests.support.bus_process import BATCH, SESSION_SECONDS
from tests.support.require import REPOSITORY

PARTITIONS = 4
# Kafka misses a member that is gone after a session's time, 30 s; nothing here takes longer unless it hangs
PATIENCE_SECONDS = 120
Open = Callable[[], Bus]
Join = Callable[..., Subscription]


def messages(count: int, start: int = 0, keys: int = 20) -> list[tuple[str, bytes]]:
    return [(f"key:{i % keys}", b"%d" % i) for i in range(start, start + count)]


def poll_until(subscription: Subscription, done: Callable[[list[Record]], bool]) -> list[Record]:
    """Poll until what was brought is enough."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done(records):
        assert time.monotonic() < deadline, f"{len(records)} records, the rest did not come"
        records += subscription.poll(1000, 0.5)
    return records


@contextmanager
def working(members: Sequence[Subscription]) -> Iterator[list[list[Record]]]:
    """Let each member poll and commit in a thread of its own; yields what each has brought, growing."""
    brought: list[list[Record]] = [[] for _ in members]
    stop = threading.Event()

    def work(member: Subscription, mine: list[Record]) -> None:
        while not stop.is_set():
            mine += member.poll(1000, 0.5)
            member.commit()

    with ThreadPoolExecutor(len(members)) as pool:
        workers = [pool.submit(work, member, mine) for member, mine in zip(members, brought, strict=True)]
        try:
            yield brought
        finally:
            stop.set()
    for worker in workers:
        worker.result()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def take(subscription: Subscription, count: int) -> list[Record]:
    return poll_until(subscription, lambda records: len(records) >= count)


def values(records: Iterable[Record]) -> list[int]:
    return sorted(int(record.value) for record in records)


def assert_ordered_by_key(records: Iterable[Record]) -> None:
    seen: dict[str, list[int]] = defaultdict(list)
    for record in records:
        seen[record.key].append(int(record.value))
    for key, numbers in seen.items():
        assert numbers == sorted(numbers), key


@contextmanager
def process(role: str, address: str, data: Path, topic: str) -> Iterator["subprocess.Popen[str]"]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.support.bus_process",
        role,
        address,
        str(data),
        topic,
    ]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


class BusContract:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def topic(self) -> str:
        return f"contract.{uuid.uuid4().hex}"[:40]

    @pytest.fixture
    def open(self, address: str, data: Path) -> Iterator[Open]:
        opened: list[Bus] = []

        def open_() -> Bus:
            opened.append(open_bus(address, data, LogSettings(partitions=PARTITIONS)))
            return opened[-1]

        yield open_
        for bus in opened:
            bus.close()

    @pytest.fixture
    def bus(self, open: Open) -> Bus:
        return open()

    @pytest.fixture
    def join(self, bus: Bus, topic: str) -> Iterator[Join]:
        joined: list[Subscription] = []

        def join_(group: str | None = f"{topic}.group", share: tuple[int, int] = (0, 1)) -> Subscription:
            joined.append(bus.subscribe(topic, group, share))
            return joined[-1]

        yield join_
        for subscription in joined:
            subscription.close()

    def test_what_was_published_arrives_whole(self, bus: Bus, topic: str, join: Join) -> None:
        sent = [("a:1", b"one"), ("ключ 🔑", "zwei €".encode()), ("", b""), ("a:2", bytes(range(256)))]
        bus.publish(topic, sent)
        records = take(join(), len(sent))
        assert sorted((record.key, record.value) for record in records) == sorted(sent)
        assert all(abs(record.timestamp_ms / 1000 - time.time()) < PATIENCE_SECONDS for record in records)

    def test_an_empty_batch_is_nothing(self, bus: Bus, topic: str) -> None:
        bus.publish(topic, [])
        assert bus.ends(topic) == dict.fromkeys(range(PARTITIONS), 0)

    def test_records_of_one_key_keep_their_order(self, bus: Bus, topic: str, join: Join) -> None:
        for start in range(0, 2000, 100):
            bus.publish(topic, messages(100, start))
        records = take(join(), 2000)
        assert values(records) == list(range(2000))
        assert_ordered_by_key(records)
        assert {record.partition for record in records} == set(range(PARTITIONS))

    def test_a_poll_brings_no_more_than_its_limit(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(100))
        subscription = join()
        sizes: list[int] = []
        while sum(sizes) < 100:
            sizes.append(len(subscription.poll(7, PATIENCE_SECONDS)))
            assert 0 < sizes[-1] <= 7

    def test_uncommitted_batch_is_delivered_again(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(50))
        first = join()
        assert values(take(first, 50)) == list(range(50))
        first.close()
        assert values(take(join(), 50)) == list(range(50))

    def test_committed_offsets_survive_a_reopening(self, open: Open, topic: str) -> None:
        bus = open()
        bus.publish(topic, messages(50))
        subscription = bus.subscribe(topic, f"{topic}.group")
        take(subscription, 50)
        subscription.commit()
        subscription.close()
        assert bus.committed(topic, f"{topic}.group") == bus.ends(topic)
        bus.close()
        again = open()
        assert again.committed(topic, f"{topic}.group") == again.ends(topic)
        again.publish(topic, messages(10, 50))
        subscription = again.subscribe(topic, f"{topic}.group")
        assert values(take(subscription, 10)) == list(range(50, 60))
        subscription.close()

    def test_a_commit_covers_what_was_polled_and_no_more(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(100))
        subscription = join()
        polled = values(subscription.poll(30, PATIENCE_SECONDS))
        subscription.commit()
        subscription.close()
        rest = values(take(join(), 100 - len(polled)))
        assert sorted(polled + rest) == list(range(100))

    def test_two_groups_each_see_everything(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(40))
        for name in ("one", "two"):
            subscription = join(f"{topic}.{name}")
            assert values(take(subscription, 40)) == list(range(40))
            subscription.commit()

    def test_two_members_share_the_partitions(self, bus: Bus, topic: str, join: Join) -> None:
        def settled(start: int) -> bool:
            """Publish 200 and say whether each member brought those of two partitions of its own."""
            bus.publish(topic, messages(200, start))
            new: list[list[Record]] = [[], []]

            def all_there() -> bool:
                new[:] = [[r for r in part if int(r.value) >= start] for part in brought]
                return len({r.value for part in new for r in part}) == 200

            wait_for(all_there)
            owned = [{record.partition for record in part} for part in new]
            return all(len(own) == PARTITIONS / 2 for own in owned) and not owned[0] & owned[1]

        with working([join(share=(0, 2)), join(share=(1, 2))]) as brought:
            # Kafka may give all to the member that came first, and moves half of them a little later
            rounds = itertools.count(0, 200)
            wait_for(lambda: settled(next(rounds)))

    def test_a_stopped_members_partitions_are_taken_over(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(100))
        stopped = join(share=(0, 1))
        take(stopped, 100)
        stopped.commit()
        stopped.close()
        bus.publish(topic, messages(100, 100))
        with working([join(share=(0, 2)), join(share=(1, 2))]) as brought:
            wait_for(lambda: set(values(itertools.chain(*brought))) == set(range(100, 200)))

    def test_a_killed_members_partitions_are_free_at_once_for_its_successor(
        self, address: str, data: Path, bus: Bus, topic: str, join: Join
    ) -> None:
        bus.publish(topic, messages(100))
        with process("read", address, data, topic) as reader:
            assert reader.stdout is not None
            assert int(reader.stdout.readline()) > 0
            reader.kill()
            reader.wait()
            # Kafka's session with it goes on; a static member need not wait for its end
            assert PATIENCE_SECONDS < SESSION_SECONDS
            assert values(take(join(f"{topic}.killed"), 100)) == list(range(100))

    def test_a_tail_begins_at_the_end(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(50))
        tail = join(None)
        bus.publish(topic, messages(10, 50))
        assert values(take(tail, 10)) == list(range(50, 60))
        tail.commit()
        assert tail.poll(10, 0.2) == []

    def test_saturated_it_resumes(self, bus: Bus, topic: str, join: Join) -> None:
        subscription = join()
        assert subscription.poll(10, 0.1) == []
        big = b"x" * 10_000
        for start in range(0, 3000, 500):
            bus.publish(topic, [(f"key:{i}", b"%d " % i + big) for i in range(start, start + 500)])
        records = take(subscription, 3000)
        assert sorted(int(record.value.split()[0]) for record in records) == list(range(3000))
        subscription.commit()
        bus.publish(topic, messages(5))
        assert values(take(subscription, 5)) == list(range(5))

    def test_ten_megabytes_travel(self, bus: Bus, topic: str, join: Join) -> None:
        large = b"\xf0\x9f\x8e\xa7" * 2_500_000
        bus.publish(topic, [("small", b"1"), ("large", large), ("small", b"2")])
        records = take(join(), 3)
        assert {record.key: record.value for record in records}["large"] == large

    def test_a_message_too_large_is_refused_by_name_and_nothing_of_its_batch_is_written(
        self, bus: Bus, topic: str
    ) -> None:
        with pytest.raises(RefusedError, match=r"x:17 of 17,000,000 bytes"):
            bus.publish(topic, [("x:1", b"1"), ("x:17", bytes(17_000_000))])
        assert list(bus.read(topic)) == []

    def test_a_key_that_is_no_text_is_refused(self, bus: Bus, topic: str) -> None:
        with pytest.raises(RefusedError, match="Unicode"):
            bus.publish(topic, [("\ud800", b"1")])

    def test_a_range_is_read_without_a_group(self, bus: Bus, topic: str) -> None:
        bus.publish(topic, messages(100))
        middle = bus.ends(topic)
        assert sum(middle.values()) == 100
        bus.publish(topic, messages(100, 100))
        assert values(bus.read(topic)) == list(range(200))
        assert values(bus.read(topic, end=middle)) == list(range(100))
        later = list(bus.read(topic, start=middle))
        assert values(later) == list(range(100, 200))
        assert_ordered_by_key(later)
        assert list(bus.read(topic, start=middle, end=middle)) == []
        one = {p: middle[p] + (1 if p == 0 else 0) for p in middle}
        assert [(r.partition, r.offset) for r in bus.read(topic, start=middle, end=one)] == [(0, middle[0])]
        assert bus.starts(topic) == dict.fromkeys(range(PARTITIONS), 0)

    def test_a_group_that_never_was_has_processed_nothing(self, bus: Bus, topic: str) -> None:
        bus.publish(topic, messages(10))
        assert bus.committed(topic, "unknown") == bus.starts(topic)

    def test_a_group_begins_where_it_is_told_to_and_only_once(self, bus: Bus, topic: str, join: Join) -> None:
        bus.publish(topic, messages(50))
        middle = bus.ends(topic)
        bus.publish(topic, messages(10, 50))
        group = f"{topic}.late"
        bus.begin(topic, group, middle)
        assert bus.committed(topic, group) == middle
        bus.begin(topic, group, bus.ends(topic))
        subscription = join(group)
        assert values(take(subscription, 10)) == list(range(50, 60))
        subscription.commit()
        subscription.close()
        bus.begin(topic, group, middle)
        assert bus.committed(topic, group) == bus.ends(topic)

    def test_a_forgotten_group_begins_anew(self, bus: Bus, topic: str) -> None:
        bus.publish(topic, messages(50))
        bus.begin(topic, "forgetful", bus.ends(topic))
        assert bus.committed(topic, "forgetful") == bus.ends(topic)
        bus.forget(topic, "forgetful")
        bus.forget(topic, "forgetful")
        assert bus.committed(topic, "forgetful") == bus.starts(topic)

    def test_a_dropped_topic_is_gone_with_its_records(self, bus: Bus, topic: str) -> None:
        bus.publish(topic, messages(50))
        bus.drop(topic)
        bus.drop(topic)
        wait_for(lambda: list(bus.read(topic)) == [])

    def test_a_killed_writers_acknowledged_messages_are_all_there(
        self, address: str, data: Path, open: Open, topic: str
    ) -> None:
        open().publish(topic, [])
        with process("write", address, data, topic) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(30)][-1]
            writer.kill()
            acknowledged += len(writer.stdout.read().splitlines())
        records = list(open().read(topic))
        assert set(range((acknowledged + 1) * BATCH)) <= set(values(records))
        assert_ordered_by_key(records)

    def test_names_that_no_log_takes_are_a_mistake_in_the_settings(self, bus: Bus, topic: str) -> None:
        with pytest.raises(SettingsError, match="topic"):
            bus.publish("no/such", messages(1))
        with pytest.raises(SettingsError, match="group"):
            bus.subscribe(topic, "no/such")
        with pytest.raises(SettingsError, match="member"):
            bus.subscribe(topic, "group", (2, 2))

    def test_closing_twice_is_harmless(self, open: Open, topic: str) -> None:
        bus = open()
        bus.publish(topic, messages(1))
        subscription = bus.subscribe(topic, f"{topic}.group")
        subscription.close()
        subscription.close()
        bus.close()
        bus.close()
