"""`hark search`: mentions that match a query."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import mention_line
from hark.commands.times import point
from hark.core.mention import flat
from hark.query import parse


@click.command()
@common
@click.argument("query")
@click.option("--since", help="From this time on: 2026-11-01, 2026-11-01T12:00:00Z, or 2h, 7d ago.")
@click.option("--until", help="Before this time.")
@click.option("--limit", type=click.IntRange(min=0), help="At most this many. Default: 50; with --json all.")
@click.option("--count", "only_count", is_flag=True, help="Print how many there are, and nothing else.")
@json_option
def command(
    config: Path | None,
    data: Path | None,
    query: str,
    since: str | None,
    until: str | None,
    limit: int | None,
    only_count: bool,
    as_json: bool,
) -> None:
    """Find the mentions that match QUERY, newest first; "" finds all.

    \b
    hark search 'delayed AND denver'
    hark search 'brand:southwest topic:delays sentiment:negative' --since 2h
    hark search '"lost my bag" OR baggage' --json --limit 1000 > bags.jsonl
    """
    from hark.wiring import store_of

    settings = settings_module.load(config, data)
    tree = parse(query)
    begin, end = point(since, "--since"), point(until, "--until")
    with store_of(settings) as store:
        if only_count:
            click.echo(store.count(tree, begin, end))
            return
        hits = store.search(tree, begin, end, limit=limit if limit is not None or as_json else 50)
        if as_json:
            for hit in hits:
                sys.stdout.buffer.write(msgspec.json.encode(flat(hit.mention, hit.enrichment)) + b"\n")
            sys.stdout.buffer.flush()
            return
        console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        found = 0
        for hit in hits:
            console.print(mention_line(hit.mention, hit.enrichment))
            found += 1
        if not found:
            click.echo("No mention matches. `hark status` shows what has been collected.", err=True)
