"""A process of its own on a log, for tests that kill it: python -m tests.support.bus_process ROLE ADDRESS DATA TOPIC.

`write` publishes batches of ten for ever and prints each batch's number once it is durable; `read` joins the group
`TOPIC.killed` and prints the number of records polled, without ever committing; its session with Kafka outlasts it by
`SESSION_SECONDS`.
"""

import sys
from pathlib import Path

import pytest

from hark.bus import open_bus
from hark.core.protocols import Bus

KEYS = 5
BATCH = 10
# Longer than any test waits, and the most that librdkafka takes: more than five minutes may not lie between two polls.
SESSION_SECONDS = 300


def batch(number: int) -> list[tuple[str, bytes]]:
    """Return the messages of one batch: the value tells the key's own order."""
    return [(f"key:{i % KEYS}", b"%d" % (number * BATCH + i)) for i in range(BATCH)]


def write(bus: Bus, topic: str) -> None:
    number = 0
    while True:
        bus.publish(topic, batch(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


def read(bus: Bus, topic: str) -> None:
    subscription = bus.subscribe(topic, f"{topic}.killed")
    while True:
        if records := subscription.poll(100, 1.0):
            sys.stdout.write(f"{len(records)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _, role, address, data, topic = sys.argv
    if address.startswith("kafka"):
        for client in ("kafka", "confluent"):
            pytest.MonkeyPatch().setattr(f"hark.bus.{client}.SESSION_SECONDS", SESSION_SECONDS)
    {"write": write, "read": read}[role](open_bus(address, Path(data)), topic)
