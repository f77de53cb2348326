"""`hark collect`: the role that reads the sources."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import structlog

from hark.commands.options import common
from hark.commands.roles import metrics_option, start
from hark.core.errors import SettingsError
from hark.core.protocols import Source
from hark.settings import Settings

log = structlog.get_logger()


@click.command()
@common
@metrics_option
def command(config: Path | None, data: Path | None, metrics_port: int | None) -> None:
    """Read the enabled sources of sources.toml into the log, each in its own thread.

    A source with missing credentials is reported and left out; the others go on.
    """
    from hark.roles import Collector, ledger_loop
    from hark.wiring import brand_matcher, bus_of, state_of

    settings, stop = start("collect", config, data, metrics_port)
    with bus_of(settings) as bus, state_of(settings) as state:
        matches = brand_matcher(settings)
        collectors = [
            Collector(source, bus, state, matches, stop) for source in _sources(settings, state.save_error)
        ]
        run_all([*(collector.run for collector in collectors), partial(ledger_loop, bus, state, stop)], stop)


def run_all(loops: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run each loop in a thread until `stop`; an error in one ends all of them, and is raised.

    A dead thread must not leave a process that looks alive.
    """
    errors: list[BaseException] = []

    def guarded(loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _sources(settings: Settings, report: Callable[[str, str], None]) -> list[Source]:
    from hark.wiring import source_of

    sources = []
    for entry in settings.sources:
        if not entry.enabled:
            continue
        try:
            sources.append(source_of(entry, settings))
        except SettingsError as error:
            log.error("source left out", source=entry.name, reason=str(error))
            report(entry.name, str(error))
    return sources
