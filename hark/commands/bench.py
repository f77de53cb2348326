"""`hark bench`: what enrichment and queries cost on this machine."""

import shutil
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from hark.commands.options import common, json_option
from hark.core.errors import SettingsError

_NOT_HERE = "the programs that measure are in the folder bench/ of the source: run it from there"


@click.group(invoke_without_command=True)
@click.pass_context
@common
@click.option(
    "--texts", "count", type=click.IntRange(min=500), default=20_000, show_default=True, help="How many."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other texts.")
@json_option
def command(
    context: click.Context, config: Path | None, data: Path | None, count: int, seed: int, as_json: bool
) -> None:
    """Measure each stage of enrichment and the whole, in microseconds of one core a text.

    Beside them, in the same run and over texts that do not repeat: a plain loop of vaderSentiment, and the
    pipeline that most people would write (json, vaderSentiment, spaCy's PhraseMatcher, SQLite).
    """
    if context.invoked_subcommand is not None:
        return
    from hark.settings import load
    from hark.wiring import chain_of

    try:
        from bench.pipeline import measure, table
    except ModuleNotFoundError as error:
        raise SettingsError(_NOT_HERE) from error
    chain = chain_of(load(config, data))
    with click.progressbar(
        length=count, label="texts", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = measure(chain, count, seed, lambda done: bar.update(done - bar.pos))
    click.echo(msgspec.json.encode(report).decode() if as_json else table(report))


@command.command()
@click.option(
    "--mentions",
    "count",
    type=click.IntRange(min=20_000),
    default=1_000_000,
    show_default=True,
    help="How many.",
)
@click.option(
    "--rate", type=click.IntRange(min=1), default=1_000, show_default=True, help="Written a second meanwhile."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the stores in this folder, and use those that are there.",
)
@json_option
def query(count: int, rate: int, keep: Path | None, as_json: bool) -> None:
    """Measure queries of the embedded store while another process writes to it, in milliseconds.

    Beside them, in the same run: plain SQLite FTS5 without Hark's layer, written to in the same way. The ratio is of
    the processor's time; making a million mentions takes some minutes and 4 GB.
    """
    try:
        from bench import query as program
    except ModuleNotFoundError as error:
        raise SettingsError(_NOT_HERE) from error
    folder = keep or Path(tempfile.mkdtemp(prefix="hark-bench-"))
    try:
        report = program.measure(count, folder, rate, say=lambda text: click.echo(text, err=True))
    finally:
        if keep is None:
            shutil.rmtree(folder)
    click.echo(msgspec.json.encode(report).decode() if as_json else program.table(report))
