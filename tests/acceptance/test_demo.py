"""`hark demo`: history, then live, and a clean end."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hark import settings
from hark.alerts import desk
from hark.alerts.counts import BUCKET_MS
from hark.alerts.evaluate import closed_until
from hark.alerts.live import Watch
from hark.alerts.outbox import Sender, enqueuer
from hark.alerts.rules import load_rules
from hark.alerts.targets import load_targets
from hark.core.change import Seen, Tagged
from hark.core.clock import to_ms
from hark.wiring import chain_of, state_of, store_of, taxonomy_of
from ingest.simulator import Options, World
from tests.support.center import wait_for
from tests.support.servers import free_ports


def test_the_demo_indexes_its_history_goes_live_and_ends(tmp_path: Path) -> None:
    config = tmp_path / "demo" / "config"
    config.mkdir(parents=True)
    # The demo's own sources, with a thirtieth of their mentions; what stands there already is kept.
    start = datetime.now(UTC).isoformat(timespec="seconds")
    (config / "sources.toml").write_text(
        "".join(
            f'[sources.{name}]\ntype = "simulator"\nplatform = "{name}"\nmentions_per_day = 200\nstart = {start}\n'
            for name in ("x", "reddit", "bluesky")
        )
    )
    said = tmp_path / "said"
    command = [sys.executable, "-m", "hark", "demo", "--data", "demo", "--port", str(free_ports(1)[0])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HARK_")}
    with said.open("wb") as out:
        demo = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(
            lambda: demo.poll() is not None or "Now live." in said.read_text(), "the demo to go live", 120
        )
        assert demo.poll() is None, said.read_text()
        status = subprocess.run(
            [sys.executable, "-m", "hark", "status", "--json", "--data", "demo", "--config", "demo/config"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
        )
        books = json.loads(status.stdout)
        assert books["balanced"]
        assert {row["name"] for row in books["sources"]} == {"x", "reddit", "bluesky"}
        assert sum(row["indexed"] for row in books["sources"]) > 1_500
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(30)
    assert code == 0, said.read_text()


def test_the_first_live_incident_is_found_explained_told_of_and_ends(tmp_path: Path) -> None:
    """The demo's world with its rule on brands and its targets, by a clock of its own: hours pass in seconds."""
    own = settings.load(settings.SHIPPED, tmp_path)
    start = datetime(2026, 11, 20, 15, tzinfo=UTC)
    world = World(Options(platform="x", history_days=3, mentions_per_day=8_000), "x", start)
    moments = [start]
    targets = load_targets(own.config)
    chain = chain_of(own)
    with store_of(own) as store, state_of(own) as state:

        def come(first: int, last: int) -> None:
            """Tag and index what is said from one block to another."""
            for number in range(first, last):
                said = [change.mention for change, _ in world.block(number) if isinstance(change, Seen)]
                items = zip(said, chain.tag(said), strict=True)
                store.write([Tagged(mention, tags) for mention, tags in items])

        enqueue = enqueuer(targets, lambda: moments[-1])
        rules = {"complaint-spike": load_rules(own.config)["complaint-spike"]}
        watch = Watch(store, state, rules, taxonomy_of(own), [], enqueue)
        sender = Sender(state, targets, own.data, lambda: moments[-1])
        come(-3 * 288, 0)
        for block in range(72):
            come(block, block + 1)
            moments.append(world.end_of(block) + timedelta(minutes=2))
            closed = closed_until(moments[-1], 120)
            while (through := watch.through()) is None or through < closed:
                watch.step(closed - BUCKET_MS if through is None else closed)
            with ThreadPoolExecutor(2) as pool:
                sender.look(pool)
            shown = desk.list_incidents(state)
            if any(one.incident.opened >= to_ms(start) and one.status == "resolved" for one in shown):
                break
    lines = [json.loads(line) for line in (own.data / "alerts.jsonl").read_text().splitlines()]
    told = {
        (line["event"]["series"].partition(" ")[0], line["event"]["kind"]): line["event"]["at"]
        for line in lines
    }
    assert datetime.fromisoformat(told["southwest", "opened"]) - start <= timedelta(minutes=25)
    assert told["southwest", "resolved"] > told["southwest", "opened"]
    (found,) = [one for one in shown if one.incident.opened >= to_ms(start)]
    assert found.status == "resolved"
    assert found.incident.explanation is not None
    assert found.incident.explanation.topics[0].value in ("cancelled-flight", "bad-flight", "flight-problems")
