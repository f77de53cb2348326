"""What the commands of the roles share: how a role starts, and how its metrics are seen."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hark import logs, settings
from hark.commands.options import PORT
from hark.core.errors import SettingsError
from hark.settings import Settings
from hark.supervisor import leave_in_time, stop_on_signals

_REPEATABLE = {"collect", "enrich", "index", "alert", "reprocess-feed", "reprocess-tag", "reprocess-write"}
"""Roles whose work may be cut off anywhere: it is done again, and changes nothing more."""
F = TypeVar("F", bound=Callable[..., Any])


def start(
    role: str, config: Path | None, data: Path | None, metrics_port: int | None
) -> tuple[Settings, threading.Event]:
    """Set up logs, metrics and signals for a role; returns its settings and its stop event."""
    logs.configure(role)
    if metrics_port is not None:
        from prometheus_client import start_http_server

        try:
            start_http_server(metrics_port, addr="127.0.0.1")
        except OSError as error:
            raise SettingsError(f"--metrics-port {metrics_port}: {error.strerror}") from error
    loaded, stop = settings.load(config, data), stop_on_signals()
    if role in _REPEATABLE:
        leave_in_time(stop)
    return loaded, stop


def share(text: str) -> tuple[int, int]:
    """Return (i, n) of "i/n"; raises SettingsError."""
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and int(first) < int(second)):
        raise SettingsError(f'--share: expected "0/4" for the first of four, found {text!r}')
    return int(first), int(second)


share_option = click.option(
    "--share",
    "share_text",
    default="0/1",
    show_default=True,
    help="Which worker this is, of how many: 0/2 and 1/2 divide the work.",
)
metrics_option = click.option(
    "--metrics-port", type=PORT, help="Show this role's metrics on 127.0.0.1 at that port."
)


def metrics_folder(data: Path) -> None:
    """Let the processes of this machine share their metrics through an emptied folder of `data`."""
    folder = data / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
