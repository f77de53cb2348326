"""`hark rejected`: what a stage could not take."""

import threading
from pathlib import Path

import click
import msgspec

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import harmless, local
from hark.core.clock import now


@click.group()
def command() -> None:
    """List what was refused and why, with its original bytes, or send it round again."""


@command.command("list")
@common
@json_option
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List what is refused now: one line for each mention, with the newest reason."""
    from hark.rejected import still_rejected
    from hark.wiring import bus_of, store_of

    settings = settings_module.load(config, data)
    with bus_of(settings) as bus, store_of(settings) as store:
        items = still_rejected(bus, store)
    for item in items:
        if as_json:
            row = msgspec.to_builtins(item) | {"original": item.original.decode("utf-8", "replace")}
            click.echo(msgspec.json.encode(row).decode())
        else:
            click.echo(
                f"{local(item.at)}  {item.stage:6}  {harmless(item.id, 60)}  {harmless(item.reason, 300)}"
            )
    if not items:
        click.echo("Nothing is rejected.", err=True)


@command.command()
@common
@click.argument("ids", nargs=-1)
def replay(config: Path | None, data: Path | None, ids: tuple[str, ...]) -> None:
    """Send what was refused round again: all of it, or the IDS given; for use after the cause was mended.

    What is refused again stays in the list, with its new reason; ends with 1 when some cannot be sent.
    """
    from hark.rejected import replay as send_again
    from hark.rejected import still_rejected
    from hark.roles import wait_out
    from hark.wiring import bus_of, store_of

    settings = settings_module.load(config, data)
    never = threading.Event()
    with bus_of(settings) as bus, store_of(settings) as store:
        items = [item for item in still_rejected(bus, store) if not ids or item.id in ids]
        absent = set(ids) - {item.id for item in items}
        refused = wait_out(lambda: send_again(bus, items, now), never, "log") or []
    for id, why in refused:
        click.echo(f"{harmless(id, 60)}: {harmless(why, 300)}", err=True)
    click.echo(
        f"{len(items) - len(refused):,} sent round again, {len(refused):,} still cannot be read", err=True
    )
    for id in sorted(absent):
        click.echo(
            f"{harmless(id, 60)}: is not among the rejected; `hark rejected list` shows those", err=True
        )
    if refused or absent:
        raise SystemExit(1)
