"""`hark up`: every role on this machine."""

import fcntl
import os
import sys
from pathlib import Path
from typing import IO

import click
import structlog

from hark import logs
from hark import settings as settings_module
from hark.commands import options
from hark.commands.console import PORT, listen
from hark.commands.options import common
from hark.commands.roles import metrics_folder
from hark.core.errors import SettingsError, TransientError
from hark.settings import Settings
from hark.supervisor import Role, Supervisor, hark, stop_on_signals

log = structlog.get_logger()


@click.command()
@common
@click.option("--port", type=options.PORT, default=PORT, show_default=True, help="Where the console listens.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that it listens on.")
def command(config: Path | None, data: Path | None, port: int, host: str) -> None:
    """Run the whole center on this machine: sources, workers, store, console.

    Each role is a process of its own: it is started again when it dies, and drained when you press Ctrl-C.

    \b
    hark up                      with the shipped settings and ./hark-data
    hark up --config my-center   with yours (`hark init my-center` writes them)
    """
    settings = settings_module.load(config, data)
    logs.configure("supervisor")
    run_center(settings, host, port)


def run_center(settings: Settings, host: str, port: int) -> None:
    """Supervise all roles of `settings` until a signal; the console listens at `host`:`port`."""
    data = settings.data
    with lock_folder(data):
        _try_files(settings)
        _try_parts(settings)
        with listen(host, port) as listener:
            metrics_folder(data)
            stop = stop_on_signals()
            address = _address(host, listener.getsockname()[1])
            if sys.stderr.isatty():
                click.echo(f"Hark is up: {address}/ · data in {data} · Ctrl-C ends it", err=True)
            Supervisor(roles_of(settings, listener.fileno(), address), data).run(stop)


def _try_files(settings: Settings) -> None:
    """Read the files that a role would end by, again and again: a mistake is told here and now."""
    from enrich import phrasebook, read_enrichment
    from hark.alerts.targets import load_alerts

    read_enrichment(settings.config)
    if serving := settings.center.enrich.models:
        from enrich.model import models_in

        models_in(settings.config / serving)
    phrasebook.check(settings.config)
    load_alerts(settings.config)


def _try_parts(settings: Settings) -> None:
    """Open each part once: a wrong address is told here and now; a server that is away is waited for."""
    from hark.wiring import bus_of, state_of, store_of, taxonomy_of

    taxonomy_of(settings, 0)
    for open_part in (bus_of, store_of, state_of):
        try:
            with open_part(settings):
                pass
        except TransientError as error:
            log.warning("waiting", reason=str(error))


def _address(host: str, port: int) -> str:
    """Return where somebody at this machine opens what listens at `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def roles_of(settings: Settings, listener: int, address: str) -> list[Role]:
    """Return the processes that make a whole center; `listener` is the console's socket, `address` where it is opened."""
    places = ["--config", str(settings.config.resolve()), "--data", str(settings.data.resolve())]
    workers = settings.center.enrich.workers or os.cpu_count() or 1
    workers = min(workers, settings.center.log.partitions)
    indexers = 1 if settings.center.store == "embedded" else workers  # SQLite has one writer
    return [
        Role("collect", hark("collect", *places)),
        *(Role(f"enrich-{n}", hark("enrich", *places, "--share", f"{n}/{workers}")) for n in range(workers)),
        *(Role(f"index-{n}", hark("index", *places, "--share", f"{n}/{indexers}")) for n in range(indexers)),
        Role("alert", hark("alert", *places)),
        Role("notify", hark("notify", *places, "--console", address)),
        Role("reprocess", hark("reprocess", "work", *places)),
        Role("console", hark("console", *places, "--fd", str(listener)), fds=(listener,)),
    ]


def lock_folder(data: Path) -> IO[str]:
    """Lock the data folder against a second center; the lock goes with the process."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "up.lock").open("w")
    except OSError as error:
        raise SettingsError(f"data folder {data}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        taken = isinstance(error, BlockingIOError)
        what = "another `hark up` or `hark demo` runs on it already" if taken else error.strerror
        raise SettingsError(f"data folder {data}: {what}") from error
    return lock
