"""Live equals backtest where the mentions are in Elasticsearch: one seeded story, with kills, a gap and late mentions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.elasticsearch import open_store
from tests.support.elasticsearch import Stores, stores_on
from tests.support.watched import TAXONOMY, Burst, Center, Interruption, Plan, Step, live
from tests.unit.test_alerts_replay import RULES, differences, replayed

PLAN = Plan(
    seed=3,
    bursts=[Burst(30, 40, "delta", "lost", 110, 200), Burst(100, 30, "united", "rude", 80, 200)],
    late=0.3,
    too_late=0.1,
    edited=0.0,
    deleted=0.0,
    interruptions=[Interruption("reddit", 60, 25, "open")],
    first=10,
    steps=[Step(30, True, 40, 10), Step(11, False, 60, -1), Step(30, True, -1, 5), Step(75, True, 90, -1)],
)


@pytest.fixture
def stores(elasticsearch: str) -> Iterator[Stores]:
    with stores_on(elasticsearch) as stores:
        yield stores


def test_the_incidents_of_a_killed_role_are_those_of_a_backtest(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hark.roles.POLL_SECONDS", 0.01)
    address = f"elasticsearch+{stores.url}/{stores.name()}"
    center = Center(tmp_path, {"pairs": RULES["pairs"]}, lambda: open_store(address, tmp_path, TAXONOMY))
    try:
        live(center, PLAN)
        recorded = center.recorded()
        assert len(recorded) >= 2
        assert not differences(recorded, replayed(center, "pairs"))
    finally:
        center.close()
