"""History tagged again under SIGKILL, with the real program: a long run of `make chaos`."""

import os
import random
from pathlib import Path

import pytest

from bench.reprocess import run


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_reprocessing_under_kill_leaves_each_mention_once_and_a_rollback_restores_every_figure(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("HARK_CHAOS_SEED") or random.randrange(1_000_000))
    print(f"HARK_CHAOS_SEED={seed} repeats this run")
    report = run(tmp_path, mentions=20_000, kill_every=5.0, live_rate=20.0, rate=0.0, seed=seed)
    assert report["wrong"] == []
    assert report["kills"]
