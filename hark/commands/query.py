"""`hark query`: what a query means, and what may be asked."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark.commands.options import common, json_option
from hark.query import parse
from hark.query.explain import describe, text_of
from hark.query.fields import FIELDS
from hark.query.platforms import PLATFORMS, Translation, translate


@click.group()
def command() -> None:
    """Explain a query, or list the fields that one may ask for."""


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("query")
@json_option
@common
def explain(query: str, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Show how QUERY is understood, and what each platform is asked for it.

    A platform is asked for more than the query says where it cannot say it all; what is left out is listed, and
    decided here.
    """
    del config, data  # taken by every command; a query means the same everywhere
    parsed = parse(query)
    translations = {name: translate(parsed, name) for name in PLATFORMS}
    if as_json:
        shown = {
            "query": query,
            "canonical": text_of(parsed.root),
            "tree": parsed.root,
            "platforms": translations,
        }
        click.echo(msgspec.json.encode(shown).decode())
        return
    click.echo(describe(parsed))
    for name, translation in translations.items():
        click.echo(f"\n{name} is asked:")
        _print_translation(translation)


def _print_translation(translation: Translation) -> None:
    for rule in translation.filters:
        click.echo(f"  {rule}")
    if translation.problem:
        click.echo(f"  nothing: {translation.problem}")
    if translation.dropped:
        click.echo("  decided here, since it cannot be asked for:")
        for part in translation.dropped:
            click.echo(f"    {part}")


@command.command()
@json_option
@common
def fields(as_json: bool, config: Path | None, data: Path | None) -> None:
    """List the fields: name, other names, what it asks for, an example."""
    del config, data
    if as_json:
        for info in FIELDS:
            click.echo(msgspec.json.encode(info).decode())
        return
    table = Table("field", "also", "asks for", "example", box=None, pad_edge=False)
    for info in FIELDS:
        table.add_row(info.name, ", ".join(info.aliases), info.help, info.example)
    Console().print(table)
