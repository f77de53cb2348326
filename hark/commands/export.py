"""`hark export`: all mentions of a query as a file."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.times import point
from hark.core.clock import now
from hark.core.errors import FatalError, HarkError, SettingsError
from hark.export import FORMATS, export, hits_of, mask
from hark.query import parse
from hark.tables import arrow


@click.command()
@common
@click.argument("query")
@click.option("--since", help="From this time on: 2026-11-01, 2026-11-01T12:00:00Z, or 2h, 7d ago.")
@click.option("--until", help="Before this time.")
@click.option(
    "--format", "format", type=click.Choice(FORMATS), help="Default: by the ending of --out, else jsonl."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; there only once it is whole."
)
@click.option("--unmasked", is_flag=True, help="Leave personal data in the texts as it is.")
def command(
    config: Path | None,
    data: Path | None,
    query: str,
    since: str | None,
    until: str | None,
    format: str | None,
    out: Path | None,
    unmasked: bool,
) -> None:
    """Write all mentions that match QUERY, newest first, every copy; "" is all.

    E-mail addresses, phone and card numbers and the like in texts are masked. CSV holds no formulas, and `hark
    import` reads JSONL and CSV again. Exit 1: it stopped half-way, and says after how many.

    \b
    hark export brand:southwest --since 30d > southwest.jsonl
    hark export 'topic:baggage' --since 2026-10-01 --until 2026-11-01 --out bags.csv
    """
    from hark.wiring import store_of

    settings = settings_module.load(config, data)
    as_of = now()
    tree = parse(query, lambda: as_of)
    begin, end = point(since, "--since"), point(until, "--until")
    ending = out.suffix.removeprefix(".").lower() if out is not None else ""
    form = format or (ending if ending in FORMATS else "jsonl")
    if form == "parquet":
        arrow()
        if out is None and sys.stdout.isatty():
            raise click.UsageError("Parquet is nothing to read on a terminal: name a file with --out")
    console, written = Console(stderr=True), 0
    with store_of(settings) as store, _target(out) as file, _progress(console) as progress:
        task = progress.add_task("", total=None)

        def wrote(number: int) -> None:
            nonlocal written
            written += number
            progress.advance(task, number)

        hits = hits_of(store, tree, begin, end)
        try:
            export(hits if unmasked else map(mask, hits), file, form, wrote)
        except HarkError:
            click.echo(
                f"hark export: stopped after {written:,} mentions; what is there is not whole", err=True
            )
            raise
    click.echo(f"{written:,} mentions", err=True)


@contextlib.contextmanager
def _target(out: Path | None) -> Iterator[IO[bytes]]:
    """Lend the file to write; it gets its name when all went well, and leaves nothing when not."""
    part = None
    try:
        if out is None:
            file: IO[bytes] = sys.stdout.buffer
        elif out.exists() and not out.is_file():  # a device or a pipe: nothing to be put in the place of
            file = out.open("wb")
        else:
            part = out.with_name(f".{out.name}.{os.getpid()}.part")
            file = part.open("wb")
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        yield file
        file.flush()
        if out is not None and part is not None:
            os.fsync(file.fileno())
            file.close()
            part.replace(out)
    except BrokenPipeError:
        raise  # the reader has seen enough
    except OSError as error:
        raise FatalError(f"{out or 'standard output'}: cannot be written: {error.strerror}") from error
    finally:
        if out is not None:
            with contextlib.suppress(OSError):  # what could not be written was told above
                file.close()
        if part is not None:
            part.unlink(missing_ok=True)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} mentions"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
