"""Runs the roles of one machine as processes: started again when they die, gone when it is gone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import structlog
from msgspec import Struct

from hark import metrics
from hark.core.clock import Clock, monotonic, now

log = structlog.get_logger()
LIFELINE = "HARK_LIFELINE"
"""Environment variable: a file descriptor that reads to its end when the supervisor is gone."""
ROLES_FILE = "roles.json"
DRAIN_SECONDS = 10.0
LEAVE_SECONDS = 4.5
_BACK_OFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 30.0
_LOOK_SECONDS = 0.05


class Role(Struct):
    """One supervised process: its name, and what is run."""

    name: str
    argv: list[str]
    fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    since: datetime | None = None
    failures: int = 0
    restarts: int = 0
    due: float = 0.0


def hark(*arguments: str) -> list[str]:
    """Return the command line that runs this program with `arguments`, whatever stands in the folder where it runs."""
    return [sys.executable, "-P", "-m", "hark", *arguments]


class Supervisor:
    """Keeps `roles` running until told to stop; writes who runs to `file` in the data folder."""

    def __init__(self, roles: Sequence[Role], data: Path, clock: Clock = now, file: str = ROLES_FILE) -> None:
        self._roles = roles
        self._file = data / file
        self._clock = clock
        self._told = True

    def run(self, stop: threading.Event) -> None:
        """Start all roles and restart those that end, until `stop`; then drain them within the deadline."""
        read_end, write_end = os.pipe()
        try:
            while not stop.is_set():
                changed = [self._keep_up(role, read_end) for role in self._roles]
                if any(changed) or not self._told:
                    self._tell()
                stop.wait(_LOOK_SECONDS)
        finally:
            self._drain()
            os.close(write_end)
            os.close(read_end)
            self._file.unlink(missing_ok=True)

    def _keep_up(self, role: Role, lifeline: int) -> bool:
        present = monotonic()
        if role.process is not None:
            code = role.process.poll()
            if code is None:
                return False
            if present - role.started > _STEADY_SECONDS:
                role.failures = 0
            pause = _BACK_OFF_SECONDS[min(role.failures, len(_BACK_OFF_SECONDS) - 1)]
            log.error("role ended", ended=role.name, code=code, again_in_seconds=pause)
            role.process, role.due = None, present + pause
            role.failures += 1
            role.restarts += 1
            metrics.restarts.labels(role.name).inc()
        if present < role.due:
            return True
        try:
            role.process = subprocess.Popen(
                role.argv,
                stdin=subprocess.DEVNULL,
                pass_fds=(lifeline, *role.fds),
                env={**os.environ, LIFELINE: str(lifeline)},
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then drains its roles
            )
        except OSError as error:  # no memory or no process left on the machine: for now
            log.error("role not started", role=role.name, reason=error.strerror)
            role.due = present + _BACK_OFF_SECONDS[-1]
            return True
        role.started, role.since = present, self._clock()
        return True

    def _tell(self) -> None:
        """Write who runs, where there is room: a full disk must not end what brings the roles back."""
        try:
            self._write()
        except OSError as error:
            if self._told:
                log.error("cannot say who runs", file=str(self._file), reason=error.strerror)
            self._told = False
        else:
            self._told = True

    def _write(self) -> None:
        rows = [
            {
                "role": role.name,
                "pid": role.process.pid if role.process else None,
                "since": role.since.isoformat() if role.since else None,
                "restarts": role.restarts,
            }
            for role in self._roles
        ]
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(rows, indent=1))
        draft.replace(self._file)

    def _drain(self) -> None:
        running = [role.process for role in self._roles if role.process is not None]
        for process in running:
            process.terminate()
        deadline = monotonic() + DRAIN_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                log.error("role did not drain in time", pid=process.pid)
                process.kill()
                process.wait()


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, and the end of the supervisor (when there is one)."""
    stop = threading.Event()
    heard, told = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A handler runs amid whatever the main thread does, an event's own wait too: it may take no lock.
        signal.signal(number, lambda *_: os.write(told, b"."))

    def listen() -> None:
        os.read(heard, 1)
        stop.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    if lifeline := os.environ.get(LIFELINE):

        def watch() -> None:
            os.read(int(lifeline), 1)  # returns at the end of file: when the supervisor is gone
            stop.set()
            time.sleep(DRAIN_SECONDS)  # a daemon thread: it ends with the process, when that has drained
            os._exit(1)

        threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return stop


def leave_in_time(stop: threading.Event) -> None:
    """Let SIGTERM or SIGINT end this process within LEAVE_SECONDS, drained or not; call it from the main thread.

    For roles whose work is done again when it was cut off: a request to a log that is away may take a minute, in a
    library that hears of no signal meanwhile.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)  # written to at once, while a handler waits for the library's call to end

    def leave() -> None:
        os.read(heard, 1)
        stop.set()
        time.sleep(LEAVE_SECONDS)
        log.warning("left with work under way: it will be done again", seconds=LEAVE_SECONDS)
        os._exit(1)

    threading.Thread(target=leave, name="leave", daemon=True).start()


def read_roles(data: Path) -> list[dict[str, object]]:
    """Return the rows of `roles.json`, with `up` saying whether the process is there; [] without supervisor."""
    try:
        rows: list[dict[str, object]] = json.loads((data / ROLES_FILE).read_text())
    except FileNotFoundError:
        return []
    for row in rows:
        row["up"] = _is_running(row["pid"])
    return rows


def _is_running(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
