"""`hark user`: who may sign in to the console, and keys for programs."""

import sys
from pathlib import Path

import click
import msgspec

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.core.clock import from_ms
from hark.core.errors import SettingsError
from hark.settings import Settings
from hark.state.people import ROLES, SCOPES, SHORTEST_PASSWORD, People

_BY = "hark user"


@click.group()
def command() -> None:
    """Say who may sign in to the console.

    \b
    hark user add ann --role lead                    asks for a password
    hark user add acme --role partner --brand delta  sees the mentions of that brand alone
    hark user key ann --title "nightly report" --scope read:trends
    """


@command.command()
@common
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What they may see and do.")
@click.option("--brand", "brands", multiple=True, help="A partner's brand; may be given several times.")
def add(config: Path | None, data: Path | None, name: str, role: str, brands: tuple[str, ...]) -> None:
    """Add a person; the password is asked for, or read from standard input."""
    from hark.wiring import state_of

    settings = settings_module.load(config, data)
    known_brands(settings, brands)
    with state_of(settings) as state:
        person = People(state).add(name, role, _password(), brands, by=_BY)
    click.echo(f"{person.name} may sign in as {person.role}", err=True)


@command.command("list")
@common
@json_option
def list_people(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List who may sign in."""
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        for person in People(state).everyone():
            if as_json:
                click.echo(msgspec.json.encode(person).decode())
            else:
                since = from_ms(person.created_ms).strftime("%Y-%m-%d")
                condition = "disabled" if person.disabled else ""
                click.echo(
                    f"{person.name:24} {person.role:10} {since}  {condition}{' '.join(person.brands)}".rstrip()
                )


@command.command()
@common
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let them in again.")
def disable(config: Path | None, data: Path | None, name: str, undo: bool) -> None:
    """Shut a person out, at once: their sessions end and their keys stop."""
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        People(state).change(name, disabled=not undo, by=_BY)


@command.command()
@common
@click.argument("name")
def passwd(config: Path | None, data: Path | None, name: str) -> None:
    """Give a person a new password; their sessions end."""
    from hark.wiring import state_of

    with state_of(settings_module.load(config, data)) as state:
        people = People(state)
        people.get(name)
        people.set_password(name, _password(), by=_BY)


@command.command()
@common
@click.argument("name")
@click.option("--title", required=True, help="What the key is for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), required=True, help="May be repeated."
)
@click.option("--brand", "brands", multiple=True, help="Limit it to this brand; may be repeated.")
def key(
    config: Path | None,
    data: Path | None,
    name: str,
    title: str,
    scopes: tuple[str, ...],
    brands: tuple[str, ...],
) -> None:
    """Make an API key that acts for a person; it is printed once and kept as a hash."""
    from hark.wiring import state_of

    settings = settings_module.load(config, data)
    known_brands(settings, brands)
    with state_of(settings) as state:
        _, secret = People(state).make_key(title, name, scopes, brands, by=_BY)
    click.echo(secret)


def known_brands(settings: Settings, brands: tuple[str, ...]) -> None:
    """Raise SettingsError for a brand that brands.toml does not have."""
    names = [brand.name for brand in settings.brands]
    for brand in brands:
        if brand not in names:
            raise SettingsError(f"--brand {brand}: expected one of {', '.join(names)}")


def _password() -> str:
    """Ask for a password at the terminal, or read one line from a pipe; never from the command line."""
    if sys.stdin.isatty():
        text = f"Password ({SHORTEST_PASSWORD} characters at least)"
        return str(click.prompt(text, hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
