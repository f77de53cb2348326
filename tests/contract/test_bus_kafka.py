"""The log on a real Kafka, through kafka-python, keeps the contract."""

from typing import Any

import pytest
from kafka import KafkaAdminClient

from hark.core.protocols import Bus
from tests.contract.bus_contract import messages
from tests.contract.kafka_contract import KafkaContract

NOBODY = -1


class TestKafkaBus(KafkaContract):
    scheme = "kafka"

    @pytest.mark.parametrize("lost", [4, 1], ids=["all partitions", "one partition"])
    def test_what_has_no_leader_yet_is_asked_for_again(
        self, bus: Bus, topic: str, lost: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bus.publish(topic, messages(100))
        ends = bus.ends(topic)
        assert sum(ends.values()) == 100
        answer = KafkaAdminClient._get_cluster_metadata
        asked = 0

        async def without_a_leader(client: KafkaAdminClient, topics: Any) -> Any:
            nonlocal asked
            metadata = await answer(client, topics)
            asked += 1
            if asked <= 3:  # a real broker says so too, for an instant that no test can hold on to
                for partition in metadata["topics"][0]["partitions"][:lost]:
                    partition["leader_id"] = NOBODY
            return metadata

        monkeypatch.setattr(KafkaAdminClient, "_get_cluster_metadata", without_a_leader)
        assert bus.ends(topic) == ends
        assert asked == 4
