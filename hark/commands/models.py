"""`hark models`: which trained models serve, which wait, which served before; promoted and taken back in one step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark.commands.options import json_option
from hark.core.errors import SettingsError

F = TypeVar("F", bound=Callable[..., Any])


def _one(command: F) -> F:
    task = click.option("--task", required=True, type=click.Choice(["sentiment", "topic"]))
    folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
    return folder(task(command))


@click.group()
def command() -> None:
    """See the models of a folder that `hark train` writes to, promote a candidate, take a promotion back.

    \b
    hark models show models
    hark models promote models --task sentiment     the candidate serves, whatever the comparison said
    hark models rollback models --task sentiment    the one before serves again; once more brings the other back
    """


@command.command("show")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@json_option
def show(folder: Path, as_json: bool) -> None:
    """List what serves, what waits as a candidate, and what served before, each as its card tells."""
    from enrich.model import TASKS
    from enrich.shelf import opened

    rows = []
    for task in TASKS:
        with opened(folder, task) as shelf:
            places = {"serves": folder, "candidate": shelf.candidate, "previous": shelf.previous}
            rows += [
                {"task": task, "is": name, "folder": str(place)} | _told(place / f"{task}.json")
                for name, place in places.items()
                if (place / shelf.model.name).exists()
            ]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
        return
    if not rows:
        click.echo(f"No model is in {folder}: `hark train … --out {folder}` writes one.", err=True)
        return
    table = Table(box=None, header_style="bold")
    for title in ("task", "is", "made", "kind", "texts", "macro-F1", "folder"):
        table.add_column(title)
    for row in rows:
        table.add_row(
            *(str(row[name]) for name in ("task", "is", "made", "kind", "texts", "macro_f1", "folder"))
        )
    Console(highlight=False, soft_wrap=True).print(table)


@command.command("promote")
@_one
def promote(folder: Path, task: str) -> None:
    """Let the candidate serve; what serves now is kept for a rollback."""
    _swap(folder, task, "candidate")


@command.command("rollback")
@_one
def rollback(folder: Path, task: str) -> None:
    """Let the model serve again that served before; what serves now is kept in its place."""
    _swap(folder, task, "previous")


def _swap(folder: Path, task: str, place: str) -> None:
    from enrich.model import Task, read
    from enrich.shelf import opened

    with opened(folder, cast(Task, task)) as shelf:
        source = shelf.candidate if place == "candidate" else shelf.previous
        if not (source / shelf.model.name).exists():
            raise SettingsError(f"{folder}: no {place} model for {task} is here")
        read(source / shelf.model.name)  # one that cannot be served is refused here
        shelf.promote(source)
    click.echo(
        f"{folder} serves it. The center does when its enrich roles start again; "
        f"`hark models rollback {folder} --task {task}` takes it back"
    )


def _told(card: Path) -> dict[str, object]:
    try:
        found = msgspec.json.decode(card.read_bytes())
        return {
            "made": found["date"],
            "kind": found["kind"],
            "texts": found["texts"],
            "macro_f1": found["folds"]["macro_f1"]["value"],
        }
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return dict.fromkeys(("made", "kind", "texts", "macro_f1"), "–")
