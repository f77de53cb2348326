"""`hark erase`: mentions taken out for good, on request."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hark import logs
from hark import settings as settings_module
from hark.commands.options import common
from hark.commands.show import harmless
from hark.core.errors import SettingsError
from hark.supervisor import stop_on_signals

if TYPE_CHECKING:  # it loads the parts of alerts; --help does without
    from hark.erasing import Found, Receipt


@click.command()
@common
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--author", metavar="HANDLE", help="All mentions of this author, in place of IDs; with or without @."
)
@click.option("--source", metavar="NAME", help="Of the author: those of this source alone.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where no terminal is.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Wait so many seconds until all is gone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as one JSON object.")
def command(
    config: Path | None,
    data: Path | None,
    ids: tuple[str, ...],
    author: str | None,
    source: str | None,
    dry_run: bool,
    yes: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Take mentions out for good, by their IDs or all of one author, and print a receipt.

    \b
    hark erase x:1234567 reddit:t3_abc
    hark erase --author @someone --dry-run      how many, and of which sources
    hark erase --author @someone --source x

    They are gone from search, counts, trends, the feed and new exports as soon as the roles (`hark up`) have done it, in
    every generation of the index; nothing that is imported, sent round or tagged again brings them back. The author
    goes from incidents, the labels of the mentions too. Until which date the log's files still hold their bytes stands
    in the receipt, and what is not covered: files that people exported, backups, what others wrote of them.

    An author is the handle as it was collected: an older handle is another author. What is collected of it later is not
    erased: give the command again. It may be given again at any time, after it was killed too.

    Ends with 1 where an id was never collected or is deleted already (the others go on), and where something still
    waits for the roles.
    """
    from hark.wiring import erasing_of

    if bool(ids) == (author is not None) or (source is not None and author is None):
        raise click.UsageError("expected either IDs, or --author HANDLE with or without --source NAME")
    settings = settings_module.load(config, data)
    logs.configure("erase")
    with erasing_of(settings) as erasing:
        found = erasing.by_id(ids) if author is None else erasing.by_author(author, source)
        _tell(found, author)
        if dry_run:
            if as_json:
                click.echo(msgspec.json.encode(_seen(found)).decode())
            raise SystemExit(1 if found.gone or found.unknown or not found.ids else 0)
        if not (found.ids or found.gone or author):
            raise SystemExit(1)
        if found.ids and not yes:
            _ask()
        with _until(wait_seconds) as stop, _progress(len(found.ids)) as told:
            receipt = erasing.erase(found, stop, told)
    if as_json:
        click.echo(msgspec.json.encode(receipt).decode())
    else:
        _print(receipt)
    if receipt.waiting:
        click.echo(
            f"{_mentions(receipt.waiting)} {_are(receipt.waiting)} not deleted yet: is `hark up` running? Nothing is "
            "lost, it goes on when it does; the same command then tells the dates.",
            err=True,
        )
    if receipt.waiting or found.gone or found.unknown or not (receipt.erased or receipt.incidents):
        raise SystemExit(1)


def _tell(found: "Found", author: str | None) -> None:
    for id in found.unknown:
        click.echo(f"{harmless(id)}: was never collected here", err=True)
    for id in found.gone:
        click.echo(f"{harmless(id)}: is deleted already", err=True)
    if found.ids:
        click.echo(f"To be erased: {_of_sources(found.sources)}", err=True)
    elif author is not None:
        click.echo(f"No mention of {harmless(author, 60)} is here.", err=True)


def _seen(found: "Found") -> dict[str, object]:
    return {
        "mentions": len(found.ids),
        "sources": found.sources,
        "deleted_before": found.gone,
        "unknown": found.unknown,
    }


def _ask() -> None:
    if not sys.stdin.isatty():
        raise SettingsError("erase: it cannot be taken back: add --yes to do it without being asked")
    click.confirm("It cannot be taken back. Erase?", abort=True, err=True)


@contextmanager
def _until(seconds: float) -> Iterator[threading.Event]:
    """Lend an event that is set after `seconds`, or by Ctrl-C."""
    stop = stop_on_signals()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = TextColumn("gone"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def told(number: int) -> None:
            progress.advance(task, number)

        yield told


def _print(receipt: "Receipt") -> None:
    lines = [f"Erased on request, {_time(receipt.at)}: {_mentions(receipt.erased)}"]
    if receipt.waiting:
        lines[0] += f" of {sum(receipt.sources.values()):,}"
    if receipt.sources:
        lines[0] += f" ({_listed(receipt.sources)})"
    if receipt.erased:
        numbers = ", ".join(map(str, receipt.generations))
        lines.append(
            f"Gone: from search, counts, trends, feed and new exports (generation {numbers} of the index)"
        )
    if receipt.labels:
        lines.append(
            f"Gone: {receipt.labels:,} {'label' if receipt.labels == 1 else 'labels'} that people gave them"
        )
    if receipt.incidents:
        lines.append(f"Gone: the author from {receipt.incidents:,} of the incidents")
    by_date: dict[str, list[str]] = {}
    for kept in receipt.log:
        when = f"by {_time(kept.until)}" if kept.until else f"at a date that is not known ({kept.why})"
        by_date.setdefault(when, []).append(kept.topic)
    lines += [f"Goes from the log's files {when}: {', '.join(topics)}" for when, topics in by_date.items()]
    if receipt.refused:
        lines.append(
            f"  {receipt.refused:,} of them had been refused: hark.rejected holds their bytes until then"
        )
    lines += [f"Stays: {what}" for what in receipt.remains]
    lines += [f"Not covered: {what}" for what in receipt.not_covered]
    click.echo("\n".join(lines))


def _of_sources(sources: dict[str, int]) -> str:
    return f"{_mentions(sum(sources.values()))} ({_listed(sources)})"


def _listed(sources: dict[str, int]) -> str:
    return ", ".join(f"{harmless(name, 60)} {number:,}" for name, number in sources.items())


def _mentions(number: int) -> str:
    return f"{number:,} {'mention' if number == 1 else 'mentions'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
