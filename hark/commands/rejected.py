"""`hark rejected`: what a stage could not take."""

import threading
from pathlib import Path

import click
import msgspec

from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import harmless, local
from hark.core.change import (
    REJECTED,
    Change,
    Rejected,
    Seen,
    Tagged,
    decode_change,
    decode_item,
    decode_rejected,
)
from hark.core.clock import now
from hark.core.errors import RefusedError
from hark.core.protocols import Bus, Store


@click.group()
def command() -> None:
    """List what was refused and why, with its original bytes, or send it round again."""


@command.command("list")
@common
@json_option
def list_(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List what is refused now: one line for each mention, with the newest reason."""
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
    from hark.roles import done, publish_changes
    from hark.wiring import bus_of, store_of

    settings = settings_module.load(config, data)
    never = threading.Event()
    with bus_of(settings) as bus, store_of(settings) as store:
        items = [item for item in still_rejected(bus, store) if not ids or item.id in ids]
        changes, refused = _again(items)
        done(lambda: publish_changes(bus, changes), never, "log")
    click.echo(f"{len(changes):,} sent round again, {refused:,} still cannot be read", err=True)
    if refused:
        raise SystemExit(1)


def still_rejected(bus: Bus, store: Store) -> list[Rejected]:
    """Return the newest refusal of each id that the store does not hold, oldest first."""
    newest: dict[str, Rejected] = {}
    for record in bus.read(REJECTED):
        newest[record.key] = decode_rejected(record.value)
    _, known = store.account(newest)
    return sorted((item for id, item in newest.items() if id not in known), key=lambda item: item.at)


def _again(items: list[Rejected]) -> tuple[list[Change], int]:
    changes: list[Change] = []
    refused = 0
    for item in items:
        try:
            changes.append(_change(item))
        except RefusedError as error:
            click.echo(f"{harmless(item.id, 60)}: {harmless(str(error), 300)}", err=True)
            refused += 1
    return changes, refused


def _change(item: Rejected) -> Change:
    if item.stage == "enrich":
        return decode_change(item.original)
    if item.stage == "index":
        tagged = decode_item(item.original)
        return Seen(tagged.mention) if isinstance(tagged, Tagged) else tagged
    from ingest.files import LONGEST_LINE_BYTES, change_of, from_json

    if len(item.original) > LONGEST_LINE_BYTES:
        raise RefusedError(f"still longer than {LONGEST_LINE_BYTES:,} bytes")
    return change_of(from_json(item.original), item.source, item.id, now())
