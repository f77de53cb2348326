"""`hark tail`: mentions as they are tagged."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import mention_line
from hark.core.change import ENRICHED, Tagged, decode_item
from hark.core.mention import flat
from hark.query import parse
from hark.supervisor import stop_on_signals


@click.command()
@common
@click.argument("query", default="")
@json_option
def command(config: Path | None, data: Path | None, query: str, as_json: bool) -> None:
    """Show mentions that match QUERY from now on, as soon as they are tagged; Ctrl-C ends it.

    \b
    hark tail
    hark tail 'brand:southwest sentiment:negative'
    """
    from hark.query.match import Document, compile_query
    from hark.roles import wait_out
    from hark.wiring import bus_of, taxonomy_of

    settings = settings_module.load(config, data)
    matcher, taxonomy = compile_query(parse(query)), taxonomy_of(settings)
    stop = stop_on_signals()
    show = _json if as_json else _lines()
    with bus_of(settings) as bus:
        subscription = bus.subscribe(ENRICHED, None)
        if sys.stderr.isatty():
            click.echo("listening; Ctrl-C ends it", err=True)
        while not stop.is_set():
            for record in wait_out(lambda: subscription.poll(1_000, 0.5), stop, "log") or []:
                item = decode_item(record.value)
                if isinstance(item, Tagged):
                    document = Document(item.mention, item.enrichment, taxonomy)
                    if matcher.matches(document):
                        show(item)
            sys.stdout.flush()
        subscription.close()


def _json(item: Tagged) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(flat(item.mention, item.enrichment)) + b"\n")


def _lines() -> Callable[[Tagged], None]:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    return lambda item: console.print(mention_line(item.mention, item.enrichment))
