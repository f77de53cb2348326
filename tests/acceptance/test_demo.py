"""`hark demo`: history, then live, and a clean end."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

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
