"""`hark demo`: history, then live, and a clean end."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
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
from hark.commands.up import lock_folder
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
    # A center that the environment names is not the demo's.
    strange = {"HARK_BUS": "kafka://127.0.0.1:1", "HARK_STORE": "elasticsearch+http://127.0.0.1:1"}
    with said.open("wb") as out:
        demo = subprocess.Popen(
            command, cwd=tmp_path, env=environment | strange, stdout=out, stderr=subprocess.STDOUT
        )
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
    other = subprocess.run([*command, "--seed", "8"], cwd=tmp_path, env=environment, capture_output=True)
    assert other.returncode == 2
    assert b"hark: --seed 8: the story in demo has begun with another" in other.stderr

    frames = on_a_terminal(command, tmp_path, environment, 24, 80)
    last = frames[-1]
    assert len(last) <= 24
    assert all(len(line) <= 80 for line in last)
    collected = {row["name"]: f"{row['collected']:,}" for row in books["sources"]}
    shown = {words[0]: words[1] for line in last if (words := line.split()) and words[0] in collected}
    assert shown.keys() == collected.keys()
    # What came meanwhile is there as well; the same numbers are in the books below.
    total = sum(int(number.replace(",", "")) for number in shown.values())
    assert f"the books balance: {total:,} collected" in " ".join(last)
    assert sum("[" in line for line in last) > 5, "the newest mentions with their tags"


def on_a_terminal(
    command: list[str], folder: Path, environment: dict[str, str], height: int, width: int
) -> list[list[str]]:
    """Run the demo on a terminal until its view has stood for a moment; return the view's frames, in lines."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while block := os.read(outer, 65_536):
                said.extend(block)

    demo = subprocess.Popen(command, cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_for(lambda: demo.poll() is not None or said.count(b"\x1b[H") > 8, "the demo's view", 60)
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(30)
        reader.join()
        os.close(outer)
    assert code == 0, said.decode()
    assert said.count(b"\x1b[?1049h") == said.count(b"\x1b[?1049l") == 1, "its own screen, left at the end"
    view = said.decode().partition("\x1b[?1049h")[2].partition("\x1b[?1049l")[0]
    frames = re.sub(r"\x1b\[[0-9;?]*[A-GI-Za-z]", "", view).split("\x1b[H")
    return [frame.replace("\r", "").split("\n") for frame in frames if "source" in frame]


def test_what_keeps_the_demo_from_starting_is_told_before_anything_else(tmp_path: Path) -> None:
    def demo(*options: str) -> str:
        command = [sys.executable, "-m", "hark", "demo", *options]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 2
        assert ended.stdout == ""
        return ended.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert demo("--port", str(port)) == (
            f"hark: 127.0.0.1:{port}: Address already in use. Choose another with --port\n"
        )
    assert "99999 is not in the range 0<=x<=65535" in demo("--port", "99999")
    lock = lock_folder(tmp_path / "busy")
    assert "hark: data folder busy: another `hark up` or `hark demo` runs" in demo("--data", "busy")
    lock.close()
    (tmp_path / "file").write_text("")
    assert demo("--data", "file/demo") == "hark: data folder file/demo: Not a directory\n"


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
