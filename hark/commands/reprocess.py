"""`hark reprocess`: history tagged again beside the old tags, then shown, or taken back."""

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import click
import msgspec

from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.roles import share, share_option, start
from hark.commands.times import point
from hark.core.errors import FatalError, SettingsError, TransientError
from hark.generations import FOLDER, Progress, Reprocessing, Shown, Way, shown
from hark.settings import Settings
from hark.supervisor import Role, Supervisor, hark, stop_on_signals

F = TypeVar("F", bound=Callable[..., object])
ROLES_FILE = "reprocess.json"
_LOOK_SECONDS = 0.5
_NICE = 10
"""What is live goes first on a machine that has too much to do."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(invoke_without_command=True)
@common
@click.option(
    "--since",
    help="Tag mentions again from this time on: 2026-11-01, or 30d ago. Older ones keep their tags.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With the trained models of this folder.",
)
@click.option(
    "--taxonomy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With the topics of this file.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    help="At most so many mentions a second. Default: what the machine has left.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    since: str | None,
    models: Path | None,
    taxonomy: Path | None,
    rate: float,
    as_json: bool,
) -> None:
    """Tag history again, beside the tags that are shown, while what is new flows on.

    Nothing that people see changes until `promote`; `rollback` takes it back. What a person labelled stands.

    \b
    hark reprocess --since 90d --models my-models     build a new generation, with progress
    hark diff                                         what it would change
    hark reprocess promote                            show it
    hark reprocess rollback                           show the one before again
    hark reprocess drop                               remove the one that is not shown
    """
    if context.invoked_subcommand is not None:
        return
    if since is None:
        raise click.UsageError(
            "--since is missing: from when on is history to be tagged again? (1970-01-01: all of it)"
        )
    begin = point(since, "--since")
    with _open(config, data) as (settings, center, stop):
        center.start(begin, models, taxonomy, rate)
        _follow(settings, center, stop, as_json)


@command.command()
@common
@json_option
def follow(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Wait until the generation that is being built is ready; does the work itself where no `hark up` does."""
    with _open(config, data) as (settings, center, stop):
        _follow(settings, center, stop, as_json)


@command.command()
@common
@json_option
def status(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Show the generations: which is shown, and how far the one is that is being built."""
    with _open(config, data) as (_, center, _stop):
        _show(center.overview(), as_json)


@command.command()
@common
@click.argument("generation", type=int, required=False)
def promote(config: Path | None, data: Path | None, generation: int | None) -> None:
    """Show another generation from now on (default: the one beside), in one step."""
    with _open(config, data) as (_, center, stop):
        number = center.promote(generation, stop)
    click.echo(f"generation {number} is shown; `hark reprocess rollback` takes it back", err=True)


@command.command()
@common
def rollback(config: Path | None, data: Path | None) -> None:
    """Show the generation again that was shown before, at once; what came since is in it too."""
    with _open(config, data) as (_, center, _stop):
        number = center.rollback()
    click.echo(f"generation {number} is shown again", err=True)


@command.command()
@common
@click.argument("generation", type=int, required=False)
def drop(config: Path | None, data: Path | None, generation: int | None) -> None:
    """Remove a generation that is not shown (default: the one beside), for good."""
    with _open(config, data) as (settings, center, stop):
        number = center.drop(generation, stop)
        with _sole_worker(settings) as alone:
            if alone:
                center.sweep()
    click.echo(f"generation {number} is dropped", err=True)


@command.command()
@common
def work(config: Path | None, data: Path | None) -> None:
    """Role: keep the generations that are built, or kept beside the one that is shown, up to date."""
    settings, stop = start("reprocess", config, data, None)
    _work(settings, stop)


def _for_generation(run: F) -> F:
    return click.argument("generation", type=int)(share_option(common(run)))


@command.command(hidden=True)
@_for_generation
def feed(config: Path | None, data: Path | None, generation: int, share_text: str) -> None:
    """Role: send history to a generation."""
    from hark.reprocess import Feeder
    from hark.reprocess import feed as run
    from hark.wiring import reprocessing_of, serving_of, store_of_generation

    del share_text
    settings, stop = start("reprocess-feed", config, data, None)
    os.nice(_NICE)
    lock = _lock(settings.data / FOLDER / f"g{generation}.feed.lock", stop)
    with (
        reprocessing_of(settings) as center,
        contextlib.closing(store_of_generation(settings, serving_of(settings))) as source,
    ):
        run(Feeder(generation, center.generations, center.bus, source, stop), stop)
    stop.wait()  # the parent sees that the generation is ready, and ends this process
    if lock is not None:
        lock.close()


@command.command(hidden=True)
@_for_generation
@click.option("--history", is_flag=True, help="What is sent to be tagged again, in place of what is new.")
def tag(config: Path | None, data: Path | None, generation: int, share_text: str, history: bool) -> None:
    """Role: tag for a generation, what is new or what is old."""
    from hark.core.change import MENTIONS
    from hark.generations import Tags
    from hark.roles import enrich_loop
    from hark.wiring import bus_of, chain_of_generation

    settings, stop = start("reprocess-tag", config, data, None)
    os.nice(_NICE)
    tags, way = Tags(chain_of_generation(settings, generation), generation), Way(generation)
    topic, group = (way.history, way.history_group) if history else (MENTIONS, way.live_group)
    with bus_of(settings) as bus:
        subscription = bus.subscribe(topic, group, share(share_text))
        try:
            enrich_loop(subscription, tags, bus, stop, topic=way.enriched)
        finally:
            subscription.close()


@command.command(hidden=True)
@_for_generation
def write(config: Path | None, data: Path | None, generation: int, share_text: str) -> None:
    """Role: write to the store of a generation."""
    from hark.roles import index_loop
    from hark.wiring import bus_of, store_of_generation

    settings, stop = start("reprocess-write", config, data, None)
    os.nice(_NICE)
    way = Way(generation)
    with contextlib.closing(store_of_generation(settings, generation)) as store, bus_of(settings) as bus:
        subscription = bus.subscribe(way.enriched, way.index_group, share(share_text))
        try:
            index_loop(subscription, store, bus, stop, live=False)
        finally:
            subscription.close()


@contextlib.contextmanager
def _open(config: Path | None, data: Path | None) -> Iterator[tuple[Settings, Reprocessing, threading.Event]]:
    from hark.wiring import reprocessing_of

    settings = settings_module.load(config, data)
    stop = stop_on_signals()
    with reprocessing_of(settings) as center:
        yield settings, center, stop


def _follow(settings: Settings, center: Reprocessing, stop: threading.Event, as_json: bool) -> None:
    """Show progress until nothing is being built; work on it meanwhile where nobody does."""
    ended = threading.Event()
    worker = threading.Thread(target=_work, args=(settings, ended))
    worker.start()
    try:
        _watch(center, worker, stop)
    finally:
        ended.set()
        worker.join()
    if stop.is_set():
        click.echo("It goes on with `hark up`, or `hark reprocess follow`.", err=True)
        raise SystemExit(130)
    _show(center.overview(), as_json)


def _watch(center: Reprocessing, worker: threading.Thread, stop: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("tagged again", total=None)
        while not stop.is_set():
            building = [each for each in center.overview() if each.status == "building"]
            if not building:
                return
            if not worker.is_alive():
                raise FatalError("the work on it has ended: what is above says why")
            (one,) = building
            progress.update(task, total=one.total, completed=min(one.total, max(0, one.sent - one.behind)))
            stop.wait(_LOOK_SECONDS)


def _show(generations: list[Progress], as_json: bool) -> None:
    if as_json:
        serving = next((each.number for each in generations if each.serving), 0)
        sys.stdout.buffer.write(msgspec.json.encode({"serving": serving, "generations": generations}) + b"\n")
        return
    for line in lines(generations):
        click.echo(line)
    if not generations:
        click.echo("Nothing was ever reprocessed: there is one generation, and it is shown.", err=True)


def lines(generations: list[Progress]) -> list[str]:
    """Return a line of plain words for each generation."""
    found = []
    for each in generations:
        with_what = [name for name, own in (("models", each.models), ("taxonomy", each.taxonomy)) if own]
        made = f" with its own {' and '.join(with_what)}" if with_what else ""
        if each.status == "building":
            share_done = min(1.0, each.sent / each.total) if each.total else 1.0
            where = f"is being built ({each.phase}, {each.sent:,} of {each.total:,} sent, {share_done:.0%})"
        else:
            where = (
                "is shown"
                if each.serving
                else {"ready": "is kept beside"}.get(each.status, f"is {each.status}")
            )
        behind = f", {each.behind:,} on their way" if each.behind else ""
        found.append(f"generation {each.number} {where}{made}{behind}")
    return found


def _work(settings: Settings, stop: threading.Event) -> None:
    """Run the roles of the generations until `stop`; whoever holds the lock of the data folder does it."""
    from hark.wiring import reprocessing_of

    folder = settings.data / FOLDER
    if settings.center.state == "embedded":
        while not folder.is_dir():  # nothing was ever reprocessed here
            if stop.wait(_LOOK_SECONDS):
                return
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder / "work.lock", stop)
    if lock is None:
        return
    with lock, reprocessing_of(settings) as center:
        while not stop.is_set():
            try:
                center.sweep()
                plan = _plan(settings, shown(center.generations))
                if plan:
                    roles = [Role(name, argv) for name, argv in plan]
                    Supervisor(roles, settings.data, file=ROLES_FILE).run(
                        _until_changed(settings, center, plan, stop)
                    )
                else:
                    stop.wait(_LOOK_SECONDS)
            except TransientError:
                stop.wait(_LOOK_SECONDS)


def _until_changed(
    settings: Settings, center: Reprocessing, plan: list[tuple[str, list[str]]], stop: threading.Event
) -> threading.Event:
    """Return an event that is set when other roles are wanted than `plan`, or at `stop`."""
    changed = threading.Event()

    def look() -> None:
        while not stop.wait(_LOOK_SECONDS):
            with contextlib.suppress(TransientError):  # the roles wait too; the next look tells
                if _plan(settings, shown(center.generations)) != plan:
                    break
        changed.set()

    threading.Thread(target=look, name="generations", daemon=True).start()
    return changed


def _plan(settings: Settings, known: Shown) -> list[tuple[str, list[str]]]:
    """Return name and command line of each role that the generations need."""
    places = ["--config", str(settings.config.resolve()), "--data", str(settings.data.resolve())]
    plan: list[tuple[str, list[str]]] = []
    for generation in known.kept:
        if not generation.shadow:
            continue
        number = str(generation.number)
        if generation.status == "building":
            plan.append((f"feed-g{number}", hark("reprocess", "feed", number, *places)))
            workers = min(
                settings.center.enrich.workers or os.cpu_count() or 1, settings.center.log.partitions
            )
            for n in range(workers):
                again = ["--history", "--share", f"{n}/{workers}"]
                plan.append((f"again-g{number}-{n}", hark("reprocess", "tag", number, *places, *again)))
        plan.append((f"tag-g{number}", hark("reprocess", "tag", number, *places)))
        plan.append((f"write-g{number}", hark("reprocess", "write", number, *places)))
    return plan


def _lock(path: Path, stop: threading.Event) -> IO[str] | None:
    """Wait for a lock between processes, which goes with its process; None when `stop` came first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    while not stop.is_set():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            stop.wait(_LOOK_SECONDS)
    file.close()
    return None


@contextlib.contextmanager
def _sole_worker(settings: Settings) -> Iterator[bool]:
    """Say whether no other process works on the generations of this data folder; none begins to meanwhile."""
    path = settings.data / FOLDER / "work.lock"
    if not path.parent.is_dir():
        raise SettingsError("nothing was ever reprocessed here")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
