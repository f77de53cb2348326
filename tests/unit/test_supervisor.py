import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hark.supervisor import ROLES_FILE, Role, Supervisor, hark
from tests.support.center import wait_for

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


@contextmanager
def supervised(role: Role, data: Path) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=Supervisor([role], data).run, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()


def written_pid(data: Path) -> int | None:
    file = data / ROLES_FILE
    return json.loads(file.read_text())[0]["pid"] if file.exists() else None


def test_a_full_disk_does_not_end_what_brings_the_roles_back(tmp_path: Path) -> None:
    draft = (tmp_path / ROLES_FILE).with_suffix(".new")
    draft.symlink_to("/dev/full")  # a real write that fails with "no space left on device"
    role = Role("collect", FOREVER)
    with supervised(role, tmp_path) as thread:
        wait_for(lambda: role.process is not None, "the role")
        assert role.process is not None
        os.kill(role.process.pid, signal.SIGKILL)
        wait_for(lambda: role.restarts == 1 and role.process is not None, "the role to come back")
        assert thread.is_alive()
        assert written_pid(tmp_path) is None
        draft.unlink()
        wait_for(lambda: role.process is not None and written_pid(tmp_path) == role.process.pid, "the file")


def test_a_role_that_cannot_be_started_now_is_tried_again(tmp_path: Path) -> None:
    missing = tmp_path / "program"
    role = Role("collect", [str(missing)])
    with supervised(role, tmp_path) as thread:
        wait_for(lambda: role.due > 0, "the first try")
        assert thread.is_alive()
        missing.write_text(f"#!{sys.executable}\nimport signal; signal.pause()\n")
        missing.chmod(0o755)
        role.due = 0.0  # as if the pause were over
        wait_for(lambda: role.process is not None, "the role")


def test_what_is_called_like_a_part_of_it_in_the_folder_where_it_runs_is_not_run(tmp_path: Path) -> None:
    for name in ("hark", "config", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    subprocess.run(hark("--version"), cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_a_role_whose_work_hangs_ends_soon_after_the_signal() -> None:
    program = (
        "import time, hark.supervisor as supervisor\n"
        "supervisor.LEAVE_SECONDS = 0.1\n"
        "supervisor.leave_in_time(supervisor.stop_on_signals())\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(30) == 1
        assert "it will be done again" in process.stdout.read()


def test_a_signal_is_heard_while_the_event_that_it_sets_is_being_waited_for() -> None:
    """A handler runs in the main thread: were it to take a lock that this thread holds, nothing would end it."""
    program = (
        "import signal, hark.supervisor as supervisor\n"
        "stop = supervisor.stop_on_signals()\n"
        "with stop._cond:  # as between two bytecodes of stop.wait()\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "stop.wait()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
