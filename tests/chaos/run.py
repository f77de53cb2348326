"""One run of chaos: mentions are imported while everything is killed; at the end nothing may be lost or double."""

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from msgspec import Struct

from tests.support.center import Center, wait_for
from tests.support.servers import Server

WORDS = [
    "late",
    "flight",
    "bag",
    "lost",
    "crew",
    "great",
    "gate",
    "agent",
    "rude",
    "thanks",
    "delayed",
    "cancelled",
    "refund",
    "seat",
    "wifi",
]


class Plan(Struct):
    """What happens in a run."""

    mentions: int
    kills: int
    broker_kills: int = 0
    store_away_seconds: float = 0.0
    files: int = 10


class Report(Struct):
    """What happened, for the person who reads the run's output."""

    seed: int
    kills: dict[str, int]
    seconds: float
    indexed: int
    rejected: int


def run_chaos(
    folder: Path,
    plan: Plan,
    seed: int,
    environment: dict[str, str],
    broker: Server | None,
    store: Server | None,
) -> Report:
    """Carry out `plan`, and assert that the books balance and the ids are those of the input, each once."""
    print(f"chaos seed {seed}: HARK_CHAOS_SEED={seed} repeats this run")
    dice = random.Random(seed)
    begin = time.monotonic()
    center = Center(folder, **environment)
    files, expected, broken = write_input(folder, plan, dice)
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="importer") as pool, center.running():
        importer = pool.submit(_import_all, center, files, random.Random(seed + 1), stop)
        try:
            kills = _kill(center, plan, dice, importer, broker, store)
            importer.result()
        finally:
            stop.set()
            wait([importer])
        status = center.settled()
        assert status["balanced"], status
        verified = center.status("--verify")
        assert verified["balanced"], verified
        found = [hit["id"] for hit in center.search("")]
        assert len(found) == len(set(found)), "an id is in the store twice"
        assert set(found) == expected, (
            f"{len(expected - set(found))} missing, {len(set(found) - expected)} unknown"
        )
        (books,) = status["sources"]
        assert books["rejected"] == broken
        assert books["collected"] == len(expected) + broken
    report = Report(seed, kills, round(time.monotonic() - begin, 1), len(found), broken)
    print(report)
    return report


def write_input(folder: Path, plan: Plan, dice: random.Random) -> tuple[list[Path], set[str], int]:
    """Write the input: ids that repeat and a broken line now and then; returns files, ids, broken lines."""
    files, expected, broken, number = [], set(), 0, 0
    for file_number in range(plan.files):
        path = folder / f"mentions-{file_number}.jsonl"
        with path.open("w") as file:
            for _ in range(plan.mentions // plan.files):
                number += 1
                text = " ".join(dice.choices(WORDS, k=12))
                second = dice.randrange(86_400)
                created = f"2026-01-{dice.randrange(1, 29):02}T{second // 3600:02}:{second // 60 % 60:02}:00Z"
                file.write(
                    json.dumps(
                        {"id": str(number), "text": f"@SouthwestAir {text} {number}", "created_at": created}
                    )
                    + "\n"
                )
                expected.add(f"import:{number}")
                if dice.random() < 0.01:
                    file.write(json.dumps({"id": str(dice.randrange(1, number + 1)), "text": "again"}) + "\n")
                if dice.random() < 0.002:
                    file.write('{"text": "broken\n')
                    broken += 1
        files.append(path)
    return files, expected, broken


def _import_all(center: Center, files: list[Path], dice: random.Random, stop: threading.Event) -> None:
    """Import every file, killing the import itself now and then and doing it again, until told to stop."""
    for file in files:
        while not _import(center, file, dice.uniform(0.3, 1.5) if dice.random() < 0.3 else None, stop):
            if stop.is_set():
                return


def _import(center: Center, file: Path, kill_after: float | None, stop: threading.Event) -> bool:
    """Import a file; say whether that came to its end, and was not killed after some seconds or for a stop."""
    process = center.start("import", str(file))
    try:
        begin = time.monotonic()
        while process.poll() is None:
            away = time.monotonic() - begin
            if kill_after is not None and away > kill_after:
                return False
            assert away < 300, f"the import of {file} takes longer than 300 s"
            if stop.wait(0.05):
                return False
        assert process.returncode in (0, 1)
        return True
    finally:
        process.kill()
        process.wait()


def _kill(
    center: Center,
    plan: Plan,
    dice: random.Random,
    importer: Future[None],
    broker: Server | None,
    store: Server | None,
) -> dict[str, int]:
    events: list[Callable[[], str]] = []
    roles = sorted(center.roles())
    for number in range(plan.kills):
        # Every role at least once, the rest by chance.
        role = roles[number] if number < len(roles) else dice.choice(roles)
        events.append(lambda role=role: _kill_role(center, role))  # type: ignore[misc]
    if broker is not None:
        events += [lambda: _restart(broker, 1.0, "broker")] * plan.broker_kills
    if store is not None and plan.store_away_seconds:
        events.append(lambda: _restart(store, plan.store_away_seconds, "store"))
    dice.shuffle(events)
    kills: dict[str, int] = {}
    for event in events:
        pause = dice.uniform(0.2, 2.5)
        if wait([importer], pause).done:
            importer.result()  # one that has failed is the failure to tell of
            time.sleep(pause)
        what = event()
        kills[what] = kills.get(what, 0) + 1
    return kills


def _kill_role(center: Center, role: str) -> str:
    wait_for(lambda: center.kill_role(role), f"{role} to be there to be killed")
    return role


def _restart(server: Server, away_seconds: float, name: str) -> str:
    server.kill()
    time.sleep(away_seconds)
    server.start()
    return name
