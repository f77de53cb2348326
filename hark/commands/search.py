"""`hark search`: mentions that match a query."""

import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec
from rich.console import Console

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import mention_line
from hark.commands.times import point
from hark.core.clock import to_ms
from hark.core.errors import SettingsError
from hark.core.mention import flat
from hark.core.protocols import Hit
from hark.core.tree import Query
from hark.query import parse
from hark.query.fields import Taxonomy
from hark.query.highlight import highlights
from hark.query.pages import MOST_RANKED, page
from hark.query.unknown import unnamed
from hark.settings import Settings

_USUAL_LIMIT = 50


@click.command()
@common
@click.argument("query", required=False)
@click.option("--saved", help="The saved search of this name, in place of QUERY.")
@click.option("--since", help="From this time on: 2026-11-01, 2026-11-01T12:00:00Z, or 2h, 7d ago.")
@click.option("--until", help="Before this time.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many. Default: 50; with --json all.")
@click.option(
    "--sort",
    type=click.Choice(["newest", "relevance"]),
    default="newest",
    show_default=True,
    help=f"relevance: what says most of the query first, among the newest {MOST_RANKED:,}.",
)
@click.option(
    "--sample", type=click.IntRange(min=1), help="This many by chance, always the same ones; newest first."
)
@click.option(
    "--highlight/--no-highlight",
    default=None,
    help="Mark what was found; with --json where it stands. Default: on a terminal.",
)
@click.option("--count", "only_count", is_flag=True, help="Print how many there are, and nothing else.")
@json_option
def command(
    config: Path | None,
    data: Path | None,
    query: str | None,
    saved: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    sort: str,
    sample: int | None,
    highlight: bool | None,
    only_count: bool,
    as_json: bool,
) -> None:
    """Find the mentions that match QUERY, newest first; "" finds all.

    \b
    hark search 'delayed AND denver'
    hark search 'brand:southwest topic:late-flight sentiment:negative' --since 2h
    hark search '(lost OR broken) (bag OR luggage)' --sort relevance --limit 20
    hark search '"lost my bag" OR baggage' --json --limit 1000 > bags.jsonl
    """
    from hark.wiring import store_of, taxonomy_of

    if sample is not None and (sort != "newest" or limit is not None):
        raise SettingsError("--sample goes with neither --sort nor --limit")
    settings = settings_module.load(config, data)
    tree = parse(_text(query, saved, settings))
    begin, end = point(since, "--since"), point(until, "--until")
    taxonomy = taxonomy_of(settings)
    with store_of(settings) as store:
        if only_count:
            click.echo(store.count(tree, begin, end))
            return
        hits: Iterable[Hit]
        if sample is not None:
            hits = sorted(store.sample(tree, begin, end, sample), key=_newness, reverse=True)
        elif sort == "relevance":
            most = min(limit if limit is not None else _USUAL_LIMIT, MOST_RANKED)
            found = page(store, tree, begin, end, order="relevance", limit=most, taxonomy=taxonomy)
            hits = found.hits
            if found.cut:
                click.echo(
                    f"Of more than {MOST_RANKED:,}, the newest {MOST_RANKED:,} were compared.", err=True
                )
        else:
            hits = store.search(tree, begin, end, limit if limit is not None or as_json else _USUAL_LIMIT)
        if as_json:
            _print_json(hits, tree if highlight else None, taxonomy)
        else:
            marked = tree if highlight or (highlight is None and sys.stdout.isatty()) else None
            if not _print(hits, marked, taxonomy):
                click.echo("No mention matches. `hark status` shows what has been collected.", err=True)
                known = {"topic": taxonomy, "brand": [brand.name for brand in settings.brands]}
                for line in unnamed(tree, known):
                    click.echo(line, err=True)


def _text(query: str | None, saved: str | None, settings: Settings) -> str:
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of

    if (query is None) == (saved is None):
        raise SettingsError('search: expected either QUERY ("" for all mentions) or --saved NAME')
    if saved is None:
        return query or ""
    with state_of(settings) as state:
        return SavedSearches(state).get(saved).query


def _newness(hit: Hit) -> tuple[int, str]:
    return to_ms(hit.mention.created_at), hit.mention.id


def _print_json(hits: Iterable[Hit], marked: Query | None, taxonomy: Taxonomy) -> None:
    for hit in hits:
        shown = flat(hit.mention, hit.enrichment)
        if marked is not None:
            shown["highlights"] = highlights(marked, hit.mention, hit.enrichment, taxonomy)
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
    sys.stdout.buffer.flush()


def _print(hits: Iterable[Hit], marked: Query | None, taxonomy: Taxonomy) -> int:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    found = 0
    for hit in hits:
        where = None if marked is None else highlights(marked, hit.mention, hit.enrichment, taxonomy)
        console.print(mention_line(hit.mention, hit.enrichment, where))
        found += 1
    return found
