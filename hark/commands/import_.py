"""`hark import`: files of mentions into the log."""

import threading
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hark import settings as settings_module
from hark.commands.options import common
from hark.core.change import Rejected
from hark.core.errors import SettingsError
from hark.core.protocols import Bus
from ingest.files import Piece, file_hash, read_file

_BATCH = 1_000


@click.command(name="import")
@common
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--source", default="import", show_default=True, help="The source of lines that name none themselves."
)
def command(config: Path | None, data: Path | None, files: tuple[Path, ...], source: str) -> None:
    """Put mentions from FILES (JSONL, or CSV by its ending) into the log.

    Fields are named after a mention's: only `text` is required; `id`, `created_at` (RFC 3339, with a time
    zone), `author` (a handle or an object), `url`, `source` and the rest are taken when they are there. The
    same file may be imported again: nothing is counted twice. Lines that cannot be read go to the rejected
    log (`hark rejected list`), and the others go on.

    Returns when all is durable; while the log is away it waits.
    """
    from hark.wiring import bus_of

    settings = settings_module.load(config, data)
    for file in files:
        if not file.is_file():
            raise SettingsError(f"{file}: no such file")
    taken = refused = 0
    console = Console(stderr=True)
    with bus_of(settings) as bus, _progress(console) as progress:
        for file in files:
            task = progress.add_task(file.name, total=file.stat().st_size)
            some_taken, some_refused = _import_file(file, source, bus, progress, task)
            taken, refused = taken + some_taken, refused + some_refused
    summary = f"{taken:,} mentions are in the log"
    if refused:
        summary += f", {refused:,} lines were refused: `hark rejected list` says why"
    click.echo(summary, err=True)
    if refused:
        raise SystemExit(1)


def _import_file(file: Path, source: str, bus: Bus, progress: Progress, task: TaskID) -> tuple[int, int]:
    taken = refused = 0
    batch: list[Piece] = []

    def flush() -> None:
        nonlocal taken, refused
        rejected = [piece.outcome for piece in batch if isinstance(piece.outcome, Rejected)]
        _publish(bus, batch, rejected)
        refused += len(rejected)
        taken += len(batch) - len(rejected)
        if batch:
            progress.update(task, completed=batch[-1].offset)
        for item in rejected[: max(0, 10 - (refused - len(rejected)))]:
            click.echo(item.reason, err=True)
        batch.clear()

    try:
        for piece in read_file(file, source, file_hash(file)):
            batch.append(piece)
            if len(batch) == _BATCH:
                flush()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    flush()
    return taken, refused


def _publish(bus: Bus, batch: Sequence[Piece], rejected: Sequence[Rejected]) -> None:
    from hark.bus import publish_changes
    from hark.roles import done, publish_rejected

    never = threading.Event()
    changes = [piece.outcome for piece in batch if not isinstance(piece.outcome, Rejected)]
    done(lambda: publish_changes(bus, changes), never, "log")
    done(lambda: publish_rejected(bus, rejected), never, "log")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
