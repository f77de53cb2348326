"""`hark query`: what a query means and costs, what may be asked, and searches kept under a name."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import harmless, mention_line
from hark.commands.times import point
from hark.core.clock import from_ms, now
from hark.core.errors import SettingsError, TransientError
from hark.core.protocols import Store
from hark.core.tree import Query
from hark.query import parse
from hark.query.asked import Asked, Pattern, asked_elasticsearch, asked_sqlite, patterns
from hark.query.difference import Difference, Part, difference
from hark.query.explain import describe, text_of
from hark.query.fields import FIELDS
from hark.query.patience import TooSlowError
from hark.query.platforms import PLATFORMS, Translation, translate
from hark.query.sqlite import MOST_TERMS
from hark.query.volume import Volume, volume
from hark.settings import Settings

WEEK = timedelta(days=7)
_LONGEST_REQUEST = 2_000
_BY = click.option("--by", help="Who saves it. Default: the name you are signed in with here.")


@click.group()
def command() -> None:
    """Explain a query, list the fields that one may ask for, or keep searches under a name.

    \b
    hark query explain 'delay* -hiring followers>=10k'
    hark query save bags '(lost OR broken) (bag OR luggage)' --notes 'for the Monday report'
    hark query diff bags '(lost OR broken OR late) (bag OR luggage)'
    hark search --saved bags
    """


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("query")
@json_option
@common
def explain(query: str, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Show how QUERY is understood, what stores and platforms are asked for it, and how much it finds.

    What a store or a platform cannot say is left out there, listed, and decided here. The volume is that of the last
    seven days: counted, or estimated from a sample where counting takes longer than a second.
    """
    parsed = parse(query)
    settings = settings_module.load(config, data)
    found: Volume | str
    with _store(settings) as store:
        if isinstance(store, str):
            expand, found = _unknown, store
        else:

            def expand(pattern: str) -> Any:
                return store.terms(pattern, MOST_TERMS)

            found = _volume(store, parsed)
        asked = {"embedded": asked_sqlite(parsed, expand), "elasticsearch": asked_elasticsearch(parsed)}
        expanded = patterns(parsed, expand)
    translations = {name: translate(parsed, name) for name in PLATFORMS}
    if as_json:
        shown = {
            "query": query,
            "canonical": text_of(parsed.root),
            "tree": parsed.root,
            "stores": asked,
            "patterns": expanded,
            "volume": found if isinstance(found, Volume) else None,
            "platforms": translations,
        }
        click.echo(msgspec.json.encode(shown).decode())
        return
    click.echo(describe(parsed))
    for name, request in asked.items():
        click.echo(f"\nThe store, {name}, is asked:")
        _print_asked(request)
    _print_patterns(expanded)
    click.echo(f"\nIn the last seven days: {found if isinstance(found, str) else _volume_line(found)}")
    for name, translation in translations.items():
        click.echo(f"\n{name} is asked:")
        _print_translation(translation)


def _unknown(pattern: str) -> None:
    return None


@contextmanager
def _store(settings: Settings) -> Iterator[Store | str]:
    """Open the store, or say why there is nothing to ask; an explanation makes no files."""
    from hark.wiring import store_of

    if settings.center.store == "embedded" and not any(settings.data.glob("store*.db")):
        yield f"unknown, there is no store in {settings.data}"
        return
    try:
        with store_of(settings) as store:
            yield store
    except TransientError as error:
        yield f"unknown: {error}"


def _volume(store: Store, query: Query) -> Volume | str:
    until = now()
    try:
        return volume(store, query, until - WEEK, until)
    except TooSlowError:
        return "unknown, counting took more than two seconds, of a sample too"


def _print_asked(asked: Asked) -> None:
    for name, part in asked.request.items():
        text = part if isinstance(part, str) else msgspec.json.encode(part).decode()
        cut = "" if len(text) <= _LONGEST_REQUEST else f" … {len(text):,} characters, all with --json"
        click.echo(f"  {name}: {'everything' if part is None else text[:_LONGEST_REQUEST]}{cut}")
    if asked.decided:
        click.echo("  then decided here, mention by mention, which is slower:")
        for text in asked.decided:
            click.echo(f"    {harmless(text, 300)}")


def _print_patterns(found: list[Pattern]) -> None:
    for pattern in found:
        if pattern.number is None:
            what = f"more than {MOST_TERMS} words, or a store that does not list them"
        else:
            more = ", …" if pattern.number > len(pattern.terms) else ""
            words = f"{pattern.number} word{'' if pattern.number == 1 else 's'}"
            what = f"{words}{': ' if pattern.terms else ''}{', '.join(pattern.terms)}{more}"
        click.echo(f"\n{pattern.pattern} stands for {what}")


def _volume_line(found: Volume) -> str:
    took = f"{found.seconds * 1000:,.0f} ms"
    if found.exact:
        return f"{found.count:,} mentions, counted in {took}"
    return (
        f"about {found.count:,} mentions ({found.low:,} to {found.high:,}, 95 %), "
        f"from one in {found.one_in:,}, in {took}"
    )


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


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("query")
@click.option("--notes", help="What it is for.")
@_BY
@common
def save(
    name: str, query: str, notes: str | None, by: str | None, config: Path | None, data: Path | None
) -> None:
    """Save QUERY under NAME; of one that changes, show what it adds and loses over the last seven days."""
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of

    settings = settings_module.load(config, data)
    with state_of(settings) as state:
        searches = SavedSearches(state)
        before = next(iter(searches.versions(name)), None)
        saved = searches.save(name, query, by or getpass.getuser(), notes)
    if before is None:
        click.echo(f"{name}: saved")
    elif before == saved:
        click.echo(f"{name}: nothing has changed")
    else:
        click.echo(f"{name}: saved, version {saved.version}")
        if before.query != saved.query:
            with _store(settings) as store:
                if isinstance(store, str):
                    click.echo(f"What it adds and loses is {store}")
                else:
                    until = now()
                    _print_difference(
                        difference(store, parse(before.query), parse(query), until - WEEK, until)
                    )


@command.command("list")
@click.option("--owner", help="Those of one person alone.")
@json_option
@common
def list_searches(owner: str | None, as_json: bool, config: Path | None, data: Path | None) -> None:
    """List the saved searches."""
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        found = SavedSearches(state).all(owner)
    if as_json:
        for saved in found:
            click.echo(msgspec.json.encode(saved).decode())
        return
    table = Table("name", "owner", "version", "saved", "query", "notes", box=None, pad_edge=False)
    for saved in found:
        table.add_row(
            harmless(saved.name),
            harmless(saved.owner, 30),
            str(saved.version),
            _day(saved.saved_ms),
            harmless(saved.query, 80),
            harmless(saved.notes, 60),
        )
    Console(highlight=False).print(table)


@command.command()
@click.argument("name")
@json_option
@common
def show(name: str, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Show all versions of a saved search, the newest first: who changed it, and when."""
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        searches = SavedSearches(state)
        searches.get(name)
        found = searches.versions(name)
    for saved in found:
        if as_json:
            click.echo(msgspec.json.encode(saved).decode())
        else:
            click.echo(f"version {saved.version}, {_day(saved.saved_ms)}, by {harmless(saved.saved_by)}")
            click.echo(f"  {harmless(saved.query, 20_000)}")
            if saved.notes:
                click.echo(f"  {harmless(saved.notes, 2_000)}")


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("query", required=False)
@click.option("--since", help="From this time on. Default: seven days ago.")
@click.option("--until", help="Before this time. Default: now.")
@json_option
@common
def diff(
    name: str,
    query: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Show what QUERY would add to the saved search NAME and lose of it; without QUERY, what its last change did."""
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of, store_of

    settings = settings_module.load(config, data)
    with state_of(settings) as state:
        searches = SavedSearches(state)
        old = searches.get(name).query
        if query is None:
            found = searches.versions(name)
            if len(found) < 2:
                raise SettingsError(f"{name} has one version alone: expected a QUERY to compare it with")
            old, query = found[1].query, found[0].query
    end = point(until, "--until") or now()
    begin = point(since, "--since") or end - WEEK
    with store_of(settings) as store:
        compared = difference(store, parse(old), parse(query), begin, end)
    if as_json:
        click.echo(msgspec.json.encode(compared).decode())
    else:
        _print_difference(compared)


@command.command()
@click.argument("name")
@common
def delete(name: str, config: Path | None, data: Path | None) -> None:
    """Remove a saved search with all its versions."""
    from hark.state.searches import SavedSearches
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        searches = SavedSearches(state)
        searches.get(name)
        searches.delete(name)
    click.echo(f"{name}: deleted")


def _print_difference(found: Difference) -> None:
    console = Console(highlight=False)
    click.echo(f"{found.kept:,} found by both")
    for sign, what, part in (("+", "added", found.added), ("−", "lost", found.lost)):
        click.echo(f"{sign}{part.count:,} {what}")
        _print_examples(console, part)


def _print_examples(console: Console, part: Part) -> None:
    for hit in part.examples:
        console.print("  ", mention_line(hit.mention, hit.enrichment), sep="")
    if part.count > len(part.examples):
        click.echo(f"  … hark search '{harmless(part.query, 1_000)}'")


def _day(milliseconds: int) -> str:
    at: datetime = from_ms(milliseconds).astimezone()
    return at.strftime("%Y-%m-%d %H:%M")
