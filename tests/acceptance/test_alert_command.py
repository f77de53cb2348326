"""`hark alert` as processes that are killed: what they recorded is what `hark backtest` finds."""

import json
import os
import random
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from hark import settings
from hark.alerts import desk
from hark.core.change import Seen, Tagged
from hark.core.clock import from_ms
from hark.state import alerts as tables
from hark.wiring import chain_of, state_of, store_of
from ingest.simulator import BLOCK_SECONDS, Options, World
from tests.support.center import Center, wait_for

DAYS = 4
HEARD = 3
"""Hours that are heard after those days; an incident breaks out in the first of them."""
EVENING = 18
"""Hour of the day, UTC, at which they begin."""
RULE = """
[[rule]]
name = "complaint-spike"
metric = "complaints"
group_by = "brand"
detector = "spike"
minimum_volume = 5
minimum_severity = 3
"""
KILLS = 3


def test_killed_at_any_moment_the_role_records_what_a_backtest_finds(tmp_path: Path) -> None:
    """SIGKILL at random moments, by a printed seed; then two at once, until all is judged."""
    seed = int(os.environ.get("HARK_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"HARK_SEED={seed}")
    dice = random.Random(seed)
    center = Center(tmp_path)
    center.config = tmp_path / "config"
    shutil.copytree(settings.SHIPPED, center.config)
    (center.config / "alerts.toml").write_text(RULE)
    own = settings.load(center.config, center.data)
    start = (datetime.now(UTC) - timedelta(hours=HEARD)).replace(minute=0, second=0, microsecond=0)
    start -= timedelta(
        hours=(start.hour - EVENING) % 24
    )  # at night the same incident stirs too few to be told
    world = World(Options(platform="x", history_days=DAYS, mentions_per_day=1_200), "x", start)
    blocks = range(-DAYS * 86_400 // BLOCK_SECONDS, HEARD * 3_600 // BLOCK_SECONDS)
    mentions = [change.mention for n in blocks for change, _ in world.block(n) if isinstance(change, Seen)]
    chain = chain_of(own)
    with store_of(own) as store, state_of(own) as state:
        store.write([Tagged(*pair) for pair in zip(mentions, chain.tag(mentions), strict=True)])

        def judged() -> int | None:
            """Return up to when all is judged, None before the rule has learned."""
            with state.read() as connection:
                clock, known = tables.clock(connection), tables.checkpoints(connection)
            return clock.through_ms if clock is not None and known else None

        for _ in range(KILLS):
            role = center.start("alert")
            threading.Event().wait(
                dice.uniform(0.5, 4.0)
            )  # the moment of the kill, whatever it is doing then
            role.kill()
            role.wait()
        both = [center.start("alert") for _ in range(2)]
        try:
            wait_for(judged, f"the past to be learned; HARK_SEED={seed}")
        finally:
            for role in both:
                role.terminate()
            for role in both:
                role.wait()
        through = judged()
        assert through is not None
        recorded = [shown.incident for shown in desk.list_incidents(state)]
    times = ("--since", f"{DAYS + 2}d", "--until", from_ms(through).isoformat())
    tried = json.loads(center.run("backtest", "complaint-spike", *times, "--json").stdout)
    recorded.sort(key=lambda one: (one.opened, one.id))
    live = [json.loads(msgspec.json.encode(msgspec.structs.replace(one, notify=()))) for one in recorded]
    assert live
    found = {one["id"]: one for one in tried["incidents"]}
    assert [one["id"] for one in live] == list(found), f"HARK_SEED={seed}"
    for one in live:
        other = found[one["id"]]
        assert {key: (one[key], other[key]) for key in one if one[key] != other[key]} == {}, one["id"]
