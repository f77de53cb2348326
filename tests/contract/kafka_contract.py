"""What a log on Kafka promises beyond the contract: a broker may be killed and come back."""

import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource

from hark.bus import open_bus, publish_each
from hark.bus.rules import REQUEST_SECONDS
from hark.core.errors import FatalError, TransientError
from hark.core.protocols import Bus, Record
from hark.settings import LogSettings
from tests.contract.bus_contract import (
    PARTITIONS,
    PATIENCE_SECONDS,
    BusContract,
    Join,
    messages,
    poll_until,
    take,
    values,
    wait_for,
    working,
)
from tests.support.center import Center
from tests.support.servers import START_SECONDS, KafkaServer, free_ports


class KafkaContract(BusContract):
    scheme: ClassVar[str]

    @pytest.fixture
    def address(self, kafka: str) -> str:
        return f"{self.scheme}://{kafka}"

    @pytest.fixture
    def killed_broker(
        self, kafka_server: KafkaServer, kafka: str, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[KafkaServer]:
        # A minute is long for a broker's restart, but not for a busy machine that starts one.
        for client in ("kafka", "confluent"):
            monkeypatch.setattr(f"hark.bus.{client}.DELIVERY_SECONDS", START_SECONDS)
        yield kafka_server
        kafka_server.start()

    def test_a_publish_waits_for_a_killed_broker_and_a_consumer_resumes(
        self, bus: Bus, topic: str, join: Join, killed_broker: KafkaServer
    ) -> None:
        bus.publish(topic, messages(100))
        subscription, tail = join(), join(None)
        take(subscription, 100)
        subscription.commit()

        killed_broker.kill()
        errors: list[Exception] = []

        def publish() -> None:
            try:
                bus.publish(topic, messages(100, 100))
            except Exception as error:  # noqa: BLE001  (handed to the test)
                errors.append(error)

        blocked = threading.Thread(target=publish)
        blocked.start()
        assert subscription.poll(10, 0.5) == []
        assert blocked.is_alive()
        killed_broker.start()
        blocked.join(PATIENCE_SECONDS)
        assert not blocked.is_alive()
        assert errors == []

        new = poll_until(subscription, lambda records: len({record.value for record in records}) >= 100)
        assert set(values(new)) == set(range(100, 200))
        subscription.commit()
        bus.publish(topic, messages(10, 200))
        assert values(take(subscription, 10)) == list(range(200, 210))
        assert set(values(take(tail, 110))) == set(range(100, 210))
        assert set(values(bus.read(topic))) == set(range(210))

    def test_a_commit_waits_for_a_killed_broker(
        self, bus: Bus, topic: str, join: Join, killed_broker: KafkaServer
    ) -> None:
        bus.publish(topic, messages(100))
        subscription = join()
        take(subscription, 100)
        killed_broker.kill()
        starting = threading.Thread(target=killed_broker.start)
        starting.start()
        subscription.commit()
        starting.join()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while bus.committed(topic, f"{topic}.group") != bus.ends(topic):
            # a rebalance may have come before the commit; then the records come again
            assert time.monotonic() < deadline
            try:
                subscription.poll(1000, 0.1)
                subscription.commit()
            except FatalError:
                # A broker that was away for longer than a session may fence the member that joins again: its process
                # ends, and its supervisor starts it anew.
                subscription.close()
                subscription = join()

    def test_a_broker_that_is_not_there_is_a_passing_trouble(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        bus = open_bus(f"{self.scheme}://127.0.0.1:{port}", tmp_path)
        with pytest.raises(TransientError, match=str(port)):
            bus.publish("topic", messages(1))
        bus.close()

    def test_a_command_tells_in_one_line_that_the_broker_is_not_there(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        center = Center(tmp_path, HARK_BUS=f"{self.scheme}://127.0.0.1:{port}")
        said = center.run("status", expect=1).stderr.decode().splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"hark: Kafka at 127.0.0.1:{port} is away")

    def test_a_record_of_another_program_without_key_or_value_is_brought_as_empty(
        self, bus: Bus, topic: str, join: Join, kafka: str
    ) -> None:
        bus.publish(topic, messages(1))
        other = KafkaProducer(bootstrap_servers=kafka)
        sent = [(None, b"no key"), (b"no value", None), (b"\xff", b"no text")]
        for key, value in sent:
            other.send(topic, key=key, value=value)
        other.flush()
        other.close()
        records = take(join(), 4)
        found = {(record.key, record.value) for record in records}
        assert found >= {("", b"no key"), ("no value", b""), ("\ufffd", b"no text")}

    def test_a_topic_has_the_partitions_and_retention_of_the_settings(
        self, bus: Bus, topic: str, kafka: str
    ) -> None:
        bus.publish(topic, messages(1))
        assert len(bus.ends(topic)) == PARTITIONS
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        found = admin.describe_configs([ConfigResource("topic", topic)])["topic"][topic]
        admin.close()
        assert int(found["retention.ms"]["value"]) == LogSettings().retention_days * 86_400_000

    def test_a_topic_tells_how_long_its_files_keep_a_record(self, bus: Bus, topic: str, kafka: str) -> None:
        bus.publish(topic, messages(1))
        day, removing = timedelta(days=1), timedelta(minutes=10)
        assert bus.kept(topic) == LogSettings().retention_days * day + day + removing
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        for settings, expected in (
            ({"retention.ms": "86400000", "segment.ms": "172800000"}, 3 * day + removing),
            ({"retention.ms": "-1"}, None),
            ({"retention.ms": "86400000", "cleanup.policy": "compact"}, None),
        ):
            admin.alter_configs([ConfigResource("topic", topic, settings)])
            wait_for(partial(_keeps, bus, topic, expected))
        admin.close()

    def test_what_retention_took_from_a_group_is_told_until_the_group_goes_on(
        self, bus: Bus, topic: str, join: Join, kafka: str
    ) -> None:
        group = f"{topic}.group"
        bus.publish(topic, messages(20))
        assert bus.lost(topic, group) == {}
        subscription = join()
        take(subscription, 20)
        subscription.commit()
        subscription.close()
        begin = bus.committed(topic, group)
        bus.publish(topic, messages(20, 20))
        end = bus.ends(topic)
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.delete_records({TopicPartition(topic, p): offset for p, offset in end.items()})
        admin.close()
        assert bus.lost(topic, group) == {p: (begin[p], end[p]) for p in end if begin[p] < end[p]}
        bus.publish(topic, messages(20, 40))
        subscription = join()
        assert values(take(subscription, 20)) == list(range(40, 60))
        subscription.commit()
        assert bus.lost(topic, group) == {}

    def test_partitions_that_are_added_are_counted_and_read(
        self, bus: Bus, topic: str, join: Join, kafka: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("kafka", "confluent", "members"):
            monkeypatch.setattr(f"hark.bus.{module}.METADATA_SECONDS", 1)
        bus.publish(topic, messages(20))
        subscription, tail = join(), join(None)
        take(subscription, 20)
        subscription.commit()
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.create_partitions({topic: PARTITIONS + 4})
        admin.close()
        wait_for(lambda: len(bus.ends(topic)) == PARTITIONS + 4)
        other = KafkaProducer(bootstrap_servers=kafka)  # one that knows of them at once
        for number in range(20, 220):
            other.send(topic, key=b"key:%d" % number, value=b"%d" % number)
        other.flush()
        other.close()
        assert sum(bus.ends(topic).values()) == 220
        assert values(bus.read(topic)) == list(range(220))
        assert set(values(take(subscription, 200))) == set(range(20, 220))
        assert values(take(tail, 200)) == list(range(20, 220))
        subscription.commit()
        assert bus.committed(topic, f"{topic}.group") == bus.ends(topic)

    def test_a_member_that_polls_briefly_gets_its_partitions_when_they_are_divided_anew(
        self, bus: Bus, topic: str, join: Join, kafka: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for client in ("kafka", "confluent"):
            monkeypatch.setattr(f"hark.bus.{client}.METADATA_SECONDS", 1)
        bus.publish(topic, messages(20))
        subscription = join()
        take(subscription, 20)
        subscription.commit()
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.create_partitions({topic: PARTITIONS + 4})
        admin.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        added = range(PARTITIONS, PARTITIONS + 4)
        other = KafkaProducer(bootstrap_servers=kafka)
        for number in added:
            other.send(topic, key=b"key", value=b"%d" % number, partition=number)
        other.flush()
        other.close()
        brought: list[Record] = []
        while len(brought) < len(added):
            assert time.monotonic() < deadline, f"{len(brought)} records, the rest did not come"
            brought += subscription.poll(1000, 0.005)  # less than joining takes
        assert values(brought) == list(added)

    def test_a_deleted_topic_is_made_again_and_read_from_its_beginning(
        self, bus: Bus, topic: str, join: Join, kafka: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for client in ("kafka", "confluent"):
            monkeypatch.setattr(f"hark.bus.{client}.METADATA_SECONDS", 1)
            monkeypatch.setattr(f"hark.bus.{client}.DELIVERY_SECONDS", REQUEST_SECONDS + 1)
        bus.publish(topic, messages(20))
        subscription = join()
        take(subscription, 20)
        subscription.commit()
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.delete_topics([topic])
        admin.close()
        with working([subscription]) as (brought,):
            wait_for(partial(_publishes, bus, topic, messages(20, 20)))
            wait_for(lambda: set(values(brought)) == set(range(20, 40)))
        assert set(values(bus.read(topic))) == set(range(20, 40))

    def test_a_topic_is_created_when_enough_brokers_are_back_for_its_copies(
        self, address: str, data: Path, topic: str
    ) -> None:
        class Growing(LogSettings, frozen=True):
            asked: ClassVar[list[int]] = []

            def __getattribute__(self, name: str) -> Any:
                if name != "replication":
                    return super().__getattribute__(name)
                self.asked.append(1)
                return 2 if len(self.asked) == 1 else 1  # as if the one broker had been one of two too few

        bus = open_bus(address, data, Growing(partitions=PARTITIONS))
        bus.publish(topic, messages(10))
        assert len(Growing.asked) == 2
        assert values(bus.read(topic)) == list(range(10))
        bus.close()

    def test_one_message_that_is_too_large_for_its_topic_holds_up_no_other(
        self, bus: Bus, topic: str, kafka: str
    ) -> None:
        bus.publish(topic, [("before", b"0")])
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.alter_configs([ConfigResource("topic", topic, {"max.message.bytes": "100000"})])
        admin.close()
        large = random.Random(1).randbytes(200_000)  # that no compression makes smaller

        def refused() -> bool:  # the broker takes a moment to heed the setting
            return bool(publish_each(bus, topic, [("large", large)]))

        wait_for(refused)
        kept = {record.offset for record in bus.read(topic) if record.key == "large"}
        ((at, reason),) = publish_each(bus, topic, [("first", b"1"), ("large", large), ("last", b"2")])
        assert at == 1
        assert f"{topic} takes: set its max.message.bytes" in reason
        bus.publish(topic, [("after", b"3")])
        found = [record for record in bus.read(topic) if record.offset not in kept or record.key != "large"]
        assert {record.key for record in found} == {"before", "first", "last", "after"}

    def test_a_member_whose_place_was_taken_is_told_so_and_cannot_commit(
        self, bus: Bus, topic: str, join: Join
    ) -> None:
        bus.publish(topic, messages(10))
        first = join()
        take(first, 10)
        second = join()
        take(second, 10)
        with pytest.raises(FatalError, match="share"):  # noqa: PT012  (one client says so at once, one soon)
            first.commit()
            poll_until(first, lambda records: False)
        assert bus.committed(topic, f"{topic}.group") == bus.starts(topic)
        second.commit()
        assert bus.committed(topic, f"{topic}.group") == bus.ends(topic)


def _keeps(bus: Bus, topic: str, expected: timedelta | None) -> bool:
    return bus.kept(topic) == expected


def _publishes(bus: Bus, topic: str, sent: list[tuple[str, bytes]]) -> bool:
    try:
        bus.publish(topic, sent)
    except TransientError:
        return False
    return True
