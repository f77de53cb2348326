"""Drives the real `hark` program: commands, a running center, and waiting for conditions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.servers import free_ports


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Return the first true value of `condition`; fail after `seconds`, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


class Center:
    """One data folder, one configuration, and the commands that work on them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = folder / "data"
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config: Path | None = None
        self.port = free_ports(1)[0]
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("HARK_", "PROMETHEUS"))
            },
            "HARK_DATA": str(self.data),
            **environment,
        }
        self._up: subprocess.Popen[bytes] | None = None
        self.log = folder / "up.log"

    def run(
        self, *arguments: str, input: bytes | None = None, expect: int | None = 0, timeout: float = 120
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `hark` with `arguments`; fails when the exit code is not `expect` (None: any), or on a traceback."""
        finished = subprocess.run(
            [sys.executable, "-m", "hark", *arguments],
            input=input,
            capture_output=True,
            env=self._environment(),
            cwd=self.folder,
            timeout=timeout,
        )
        shown = finished.stderr.decode(errors="replace")
        assert "Traceback" not in shown, shown
        if expect is not None:
            assert finished.returncode == expect, (arguments, finished.returncode, shown[-3000:])
        return finished

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `hark` with `arguments` in the background, its output thrown away."""
        return subprocess.Popen(
            [sys.executable, "-m", "hark", *arguments],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def up(self) -> None:
        """Start `hark up` and return when every role runs; nothing stays behind when that fails."""
        with self.log.open("ab") as log:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "hark", "up", "--port", str(self.port)],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(self._all_up, f"every role to run; {self.log}")
        except BaseException:
            self._kill()
            raise

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let `hark up` run within a block, and end it however the block ends."""
        self.up()
        try:
            yield
        finally:
            self.down()

    def down(self, number: int = signal.SIGTERM) -> int:
        """End `hark up` by a signal and return its exit code; its roles are gone when this returns."""
        assert self._up is not None
        pids = [pid for pid in self.roles().values() if pid]
        self._up.send_signal(number)
        try:
            code = self._up.wait(timeout=60)
            wait_for(lambda: not any(_runs(pid) for pid in pids), "the roles to end")
        finally:
            self._kill()
        return code

    def _kill(self) -> None:
        """Kill `hark up` if it still runs; its roles end with it."""
        up, self._up = self._up, None
        assert up is not None
        up.kill()
        up.wait()

    def roles(self) -> dict[str, int | None]:
        """Return the process of each supervised role."""
        try:
            rows = json.loads((self.data / "roles.json").read_text())
        except FileNotFoundError:
            return {}
        return {row["role"]: row["pid"] for row in rows}

    def kill_role(self, role: str) -> bool:
        """Send SIGKILL to a role and return when another process has taken its place; False if it was not up."""
        pid = self.roles().get(role)
        if not pid or not _runs(pid):
            return False
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.roles().get(role) not in (None, pid), f"{role} to be started again")
        return True

    def status(self, *arguments: str) -> dict[str, Any]:
        """Return what `hark status --json` prints."""
        body: dict[str, Any] = json.loads(self.run("status", "--json", *arguments, expect=None).stdout)
        return body

    def search(self, query: str, *arguments: str) -> Iterator[dict[str, Any]]:
        """Return what `hark search --json` prints."""
        return map(json.loads, self.run("search", query, "--json", *arguments).stdout.splitlines())

    def settled(self) -> dict[str, Any]:
        """Return the books when nothing is pending any more; wait for it as long as the number still falls."""
        before, patience = None, 0
        while True:
            status = self.status()
            pending = sum(source["pending"] for source in status["sources"])
            if status["sources"] and not pending:
                return status
            patience = patience + 1 if pending == before else 0
            assert patience < 120, f"{pending} stay pending; {self.log}"
            before = pending
            time.sleep(0.25)

    def _environment(self) -> dict[str, str]:
        extra = {"HARK_CONFIG": str(self.config)} if self.config else {}
        return {**self.environment, **extra}

    def _all_up(self) -> bool:
        assert self._up is not None
        assert self._up.poll() is None, self.log.read_text()[-3000:]
        roles = self.roles()
        return bool(roles) and all(pid and _runs(pid) for pid in roles.values())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
