"""`hark bench`: what enrichment costs on this machine."""

import sys
from pathlib import Path

import click
import msgspec

from hark.commands.options import common, json_option
from hark.core.errors import SettingsError


@click.command()
@common
@click.option(
    "--texts", "count", type=click.IntRange(min=500), default=20_000, show_default=True, help="How many."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other texts.")
@json_option
def command(config: Path | None, data: Path | None, count: int, seed: int, as_json: bool) -> None:
    """Measure each stage of enrichment and the whole, in microseconds of one core a text.

    Beside them, in the same run and over texts that do not repeat: a plain loop of vaderSentiment, and the
    pipeline that most people would write (json, vaderSentiment, spaCy's PhraseMatcher, SQLite).
    """
    from hark.settings import load
    from hark.wiring import chain_of

    try:
        from bench.pipeline import measure, table
    except ModuleNotFoundError as error:
        raise SettingsError(
            "the programs that measure are in the folder bench/ of the source: run it from there"
        ) from error
    chain = chain_of(load(config, data))
    with click.progressbar(
        length=count, label="texts", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = measure(chain, count, seed, lambda done: bar.update(done - bar.pos))
    click.echo(msgspec.json.encode(report).decode() if as_json else table(report))
