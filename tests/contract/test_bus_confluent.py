"""The log on a real Kafka, through confluent-kafka, keeps the contract and agrees with the other client."""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hark.bus import open_bus
from hark.core.errors import SettingsError
from hark.core.protocols import Bus
from hark.settings import LogSettings
from tests.contract.bus_contract import PARTITIONS, messages, take, values
from tests.contract.kafka_contract import KafkaContract
from tests.support import leaderless


class TestConfluentBus(KafkaContract):
    scheme = "kafka+confluent"

    def test_both_clients_agree_on_the_partition_of_a_key_and_on_a_group(
        self, open: Callable[[], Bus], topic: str, kafka: str, data: Path
    ) -> None:
        here = open()
        there = open_bus(f"kafka://{kafka}", data, LogSettings(partitions=PARTITIONS))
        many = [(f"ключ:{i}", b"%d" % i) for i in range(200)]
        here.publish(topic, many)
        there.publish(topic, many)
        homes = {(record.key, record.partition) for record in there.read(topic)}
        assert len(homes) == len(many)

        subscription = here.subscribe(topic, f"{topic}.group")
        take(subscription, 400)
        subscription.commit()
        subscription.close()
        there.publish(topic, messages(10))
        subscription = there.subscribe(topic, f"{topic}.group")
        assert values(take(subscription, 10)) == list(range(10))
        subscription.close()
        there.close()


@pytest.mark.parametrize("lost", [range(PARTITIONS), [1]], ids=["all partitions", "one partition"])
def test_what_has_no_leader_yet_is_asked_for_again(tmp_path: Path, lost: Sequence[int]) -> None:
    with leaderless.cluster() as cluster:
        cluster.create("mentions", PARTITIONS)
        with closing(open_bus(f"kafka+confluent://{cluster.hosts}", tmp_path)) as bus:
            for partition in lost:
                cluster.lose_leader("mentions", partition, 3)
            assert bus.ends("mentions") == dict.fromkeys(range(PARTITIONS), 0)


def test_without_the_extra_the_address_is_a_mistake_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "hark.bus.confluent", raising=False)
    with pytest.raises(SettingsError, match=r"hark\[confluent\]"):
        open_bus("kafka+confluent://127.0.0.1:9092", tmp_path)
