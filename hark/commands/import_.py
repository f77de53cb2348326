"""`hark import`: files of mentions into the log."""

import codecs
import threading
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hark import settings as settings_module
from hark.commands.options import common
from hark.core.change import MENTIONS, Rejected
from hark.core.errors import RefusedError, SettingsError
from hark.core.protocols import Bus
from ingest.files import FIELDS, Piece, columns_of, file_hash, is_name, read_file
from ingest.spreadsheet import Form, field_of

_BATCH = 1_000


@click.command(name="import")
@common
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--source", default="import", show_default=True, help="The source of lines that name none themselves."
)
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Of CSV: windows-1252 is what spreadsheets often write.",
)
@click.option("--zone", help="Of CSV: the zone of times that name none, like Europe/Berlin.")
def command(
    config: Path | None,
    data: Path | None,
    files: tuple[Path, ...],
    source: str,
    encoding: str,
    zone: str | None,
) -> None:
    """Put mentions from FILES (JSONL, or CSV by its ending) into the log.

    Fields are named after a mention's: only `text` is required; `id`, `created_at` (RFC 3339, with a time
    zone), `author` (a handle or an object), `url`, `source` and the rest are taken when they are there. The
    same file may be imported again: nothing is counted twice. Lines that cannot be read go to the rejected
    log (`hark rejected list`), and the others go on: once more, with --encoding or --zone, takes them too.

    \b
    hark import mentions.jsonl
    hark import survey.csv --source survey --encoding windows-1252 --zone Europe/Berlin

    Returns when all is durable; while the log is away it waits.
    """
    from hark.wiring import bus_of

    settings = settings_module.load(config, data)
    form = _form(encoding, zone)
    if not is_name(source):
        raise SettingsError(
            f"--source: expected a short name without spaces and colons, found {source[:80]!r}"
        )
    for file in files:
        _check(file, form)
    taken = refused = 0
    console = Console(stderr=True)
    with bus_of(settings) as bus, _progress(console) as progress:
        for file in files:
            task = progress.add_task(file.name, total=file.stat().st_size)
            some_taken, some_refused = _import_file(file, source, form, bus, progress, task)
            taken, refused = taken + some_taken, refused + some_refused
    summary = f"{taken:,} {'mention is' if taken == 1 else 'mentions are'} in the log"
    if refused:
        lines = "line was" if refused == 1 else "lines were"
        summary += f", {refused:,} {lines} refused: `hark rejected list` says why"
    click.echo(summary, err=True)
    if refused:
        raise SystemExit(1)


def _form(encoding: str, zone: str | None) -> Form:
    try:
        lines = "\n".encode(encoding) == b"\n"
    except LookupError:
        raise SettingsError(
            f"--encoding: there is none called {encoding!r}; windows-1252 is a usual one"
        ) from None
    if not lines:
        raise SettingsError(f"--encoding: {encoding} is not read; save the file as CSV UTF-8")
    try:
        return Form(codecs.lookup(encoding).name, ZoneInfo(zone) if zone else None)
    except (LookupError, OSError, ValueError):
        raise SettingsError(f"--zone: expected a time zone like Europe/Berlin, found {zone!r}") from None


def _check(file: Path, form: Form) -> None:
    """Say before anything is in the log what cannot be taken: a file that was mended later counts as another one."""
    try:
        if not file.is_file() and (file.exists() or str(file) == "-"):
            raise SettingsError(
                f"{file}: cannot be read twice, as an import does; save what it brings as a file"
            )
        columns = columns_of(file, form)
    except RefusedError as error:
        raise SettingsError(f"{file}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    left_out = [name for name in columns if name and field_of(name).partition(".")[0] not in FIELDS]
    if left_out:
        undated = (
            "" if "created_at" in map(field_of, columns) else "; without created_at all count as said now"
        )
        click.echo(
            f"{file.name}: columns that no mention has are left out: {', '.join(left_out)}{undated}", err=True
        )


def _import_file(
    file: Path, source: str, form: Form, bus: Bus, progress: Progress, task: TaskID
) -> tuple[int, int]:
    taken = refused = 0
    batch: list[Piece] = []

    def flush() -> None:
        nonlocal taken, refused
        rejected = [piece.outcome for piece in batch if isinstance(piece.outcome, Rejected)]
        rejected += _publish(bus, batch, rejected)
        refused += len(rejected)
        taken += len(batch) - len(rejected)
        if batch:
            progress.update(task, completed=batch[-1].offset)
        for item in rejected[: max(0, 10 - (refused - len(rejected)))]:
            click.echo(item.reason, err=True)
        batch.clear()

    try:
        for piece in read_file(file, source, file_hash(file), form=form):
            batch.append(piece)
            if len(batch) == _BATCH:
                flush()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    flush()
    return taken, refused


def _publish(bus: Bus, batch: Sequence[Piece], rejected: Sequence[Rejected]) -> list[Rejected]:
    """Publish a batch and what is refused of it; returns what the log refused beside that."""
    from hark.roles import done, publish_rejected, publish_taken, wait_out

    never = threading.Event()
    changes = [piece.outcome for piece in batch if not isinstance(piece.outcome, Rejected)]
    too_large = wait_out(lambda: publish_taken(bus, MENTIONS, changes), never, "log") or []
    done(lambda: publish_rejected(bus, [*rejected, *too_large]), never, "log")
    return too_large


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
