"""`hark incidents`: what alerts came to, and what is done about it."""

import getpass
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hark import settings as settings_module
from hark.alerts import desk
from hark.alerts.desk import Action, Shown
from hark.alerts.explain import OTHER, Contribution
from hark.alerts.post_mortem import as_html, as_markdown
from hark.commands.options import common, json_option
from hark.commands.show import harmless
from hark.commands.times import point
from hark.core.clock import from_ms, now
from hark.core.errors import RefusedError, SettingsError
from hark.settings import Settings

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.group(invoke_without_command=True)
@common
@click.pass_context
def command(context: click.Context, config: Path | None, data: Path | None) -> None:
    """See incidents, and say what is done about them.

    \b
    hark incidents                         those that are not resolved
    hark incidents list --all --since 7d   all of a week
    hark incidents show k3j9x2ab           one, with its reasons and its timeline
    hark incidents ack k3j9x2ab            say that you are on it
    hark incidents silence k3j9x2ab 2h     no notifications for two hours
    hark incidents post-mortem k3j9x2ab --html report.html
    """
    if context.invoked_subcommand is None:
        _list(_settings(context, config, data), False, None, False)


def _settings(context: click.Context, config: Path | None, data: Path | None) -> Settings:
    """Load the settings; the folders may stand before or behind the subcommand's name."""
    before = context.parent.params if context.parent is not None else {}
    return settings_module.load(config or before.get("config"), data or before.get("data"))


@command.command("list")
@common
@click.option("--all", "everything", is_flag=True, help="Resolved ones too.")
@click.option("--since", help="Opened from this time on: 2026-11-01, or 7d ago.")
@json_option
@click.pass_context
def list_(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    everything: bool,
    since: str | None,
    as_json: bool,
) -> None:
    """List incidents, the newest first."""
    _list(_settings(context, config, data), everything, point(since, "--since"), as_json)


def _list(settings: Settings, everything: bool, since: datetime | None, as_json: bool) -> None:
    from hark.wiring import state_of

    with state_of(settings) as state:
        found = desk.list_incidents(state, None if everything else ["open", "acknowledged"], since)
    if as_json:
        for shown in found:
            click.echo(msgspec.json.encode(shown).decode())
        return
    if not found:
        click.echo(
            "No incident."
            if everything
            else "No incident is open; `hark incidents list --all` lists the others.",
            err=True,
        )
        return
    table = Table(box=None, header_style="bold")
    for name in ("id", "opened (UTC)", "severity", "status", "what"):
        table.add_column(name, no_wrap=name != "what")
    for shown in found:
        table.add_row(
            shown.id,
            f"{shown.opened_at:%m-%d %H:%M}",
            f"{shown.severity} (up to {shown.worst})",
            shown.status + (f", {harmless(shown.owner)}" if shown.owner else ""),
            harmless(shown.headline),
        )
    Console(highlight=False, soft_wrap=not sys.stdout.isatty()).print(table)


@command.command("show")
@common
@click.argument("id")
@json_option
@click.pass_context
def show(context: click.Context, config: Path | None, data: Path | None, id: str, as_json: bool) -> None:
    """Show one incident: figures, reasons, mentions, timeline."""
    from hark.wiring import state_of, store_of

    settings = _settings(context, config, data)
    with state_of(settings) as state:
        shown = _found(desk.get(state, id), id)
    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
        return
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(harmless(shown.headline), style="bold", markup=False)
    console.print(f"{shown.status}, severity {shown.severity} (up to {shown.worst}), {shown.incident.title}")
    explanation = shown.incident.explanation
    if explanation is not None:
        for name in ("topics", "sources", "authors", "places", "terms"):
            parts = getattr(explanation, name)
            if parts and parts[0].value != OTHER:
                console.print(f"  {name}: {_parts(parts)}", markup=False)
    concentration = shown.incident.concentration
    if concentration is not None and concentration.mentions:
        said = concentration.pile_on or "no few stand out"
        console.print(
            f"  {concentration.mentions} mentions of {concentration.authors} authors: {harmless(said)}",
            markup=False,
        )
    with store_of(settings) as store:
        for mention in shown.incident.mentions:
            if (hit := store.get(mention)) is not None:
                console.print(f"  “{harmless(hit.mention.text, 160)}” {hit.mention.id}", markup=False)
    for event in shown.timeline:
        who = f" by {harmless(event.who)}" if event.who else ""
        console.print(
            f"  {from_ms(event.at_ms):%m-%d %H:%M}  {event.kind}{who}  {harmless(event.note, 120)}",
            markup=False,
        )


def _parts(parts: tuple[Contribution, ...]) -> str:
    return " · ".join(f"{harmless(part.value, 40)} {part.excess:+.2f}" for part in parts)


def _until(time: str) -> datetime:
    """Return the end of TIME from now."""
    if not re.fullmatch(r"[0-9]{1,5}[mhd]", time):
        raise SettingsError(f"TIME: expected 30m, 2h or 1d, found {time!r}")
    return now().astimezone(UTC) + timedelta(**{_UNITS[time[-1]]: int(time[:-1])})


def _add(name: str, action: Action, word: str, needed: bool, help: str) -> None:
    """Add the command `name ID WORD` that does `action`; where WORD is not `needed` it is empty without."""

    @command.command(name, help=help)
    @common
    @click.argument("id")
    @click.argument("text", metavar=word if needed else f"[{word}]", required=needed)
    @click.option("--who", help="In whose name. Default: the name of this machine's user.")
    @json_option
    @click.pass_context
    def act(
        context: click.Context,
        config: Path | None,
        data: Path | None,
        id: str,
        text: str | None,
        who: str | None,
        as_json: bool,
    ) -> None:
        from hark.alerts.outbox import enqueuer
        from hark.alerts.targets import load_targets
        from hark.wiring import state_of

        until = _until(text or "") if action == "silence" else None
        settings = _settings(context, config, data)
        enqueue = enqueuer(load_targets(settings.config))
        with state_of(settings) as state:
            said = "" if until else text or ""
            shown = desk.act(state, id, who or getpass.getuser(), action, said, until, enqueue)
        if as_json:
            click.echo(msgspec.json.encode(shown).decode())
        else:
            event = shown.timeline[-1]
            click.echo(f"{shown.id}: {shown.status}; {event.kind} {event.note}".rstrip())


_add("ack", "acknowledge", "NOTE", False, "Acknowledge: somebody is on it; nobody further is called.")
_add("silence", "silence", "TIME", True, "Send no notifications of it for TIME: 30m, 2h, 1d.")
_add("own", "own", "OWNER", False, "Make it OWNER's; without a name nobody's.")
_add("note", "note", "TEXT", True, "Write TEXT into its timeline.")
_add("link", "link", "CASE", True, "Link a case to it, by the case's id.")
_add("resolve", "resolve", "NOTE", False, "Say that it is over.")
_add("reopen", "reopen", "NOTE", False, "Say that it is not over after all.")


@command.command("post-mortem")
@common
@click.argument("id")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts to this file."
)
@click.pass_context
def post_mortem(
    context: click.Context, config: Path | None, data: Path | None, id: str, html: Path | None
) -> None:
    """Print what happened as Markdown: figures, reasons, timeline."""
    from hark.wiring import state_of, store_of

    settings = _settings(context, config, data)
    with state_of(settings) as state:
        shown = _found(desk.get(state, id), id)
    with store_of(settings) as store:
        hits = [hit for mention in shown.incident.mentions if (hit := store.get(mention)) is not None]
    if html is None:
        click.echo(as_markdown(shown, hits), nl=False)
        return
    try:
        html.write_text(as_html(shown, hits), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--html: {html}: cannot be written: {error.strerror}") from error


def _found(shown: Shown | None, id: str) -> Shown:
    if shown is None:
        raise RefusedError(f"there is no incident {id!r}; `hark incidents list --all` lists them")
    return shown
