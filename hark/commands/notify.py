"""`hark notify`: the role that tells people, and what it told."""

from pathlib import Path

import click
import msgspec

from hark import settings as settings_module
from hark.commands.console import PORT
from hark.commands.options import common, json_option
from hark.commands.roles import metrics_option, start
from hark.commands.show import harmless, local
from hark.core.clock import from_ms, now
from hark.core.errors import SettingsError, TransientError
from hark.settings import Settings


@click.group(invoke_without_command=True)
@common
@metrics_option
@click.option(
    "--console",
    default=f"http://127.0.0.1:{PORT}",
    show_default=True,
    metavar="URL",
    help="What links begin with where alerts.toml does not say it.",
)
@click.pass_context
def command(
    context: click.Context, config: Path | None, data: Path | None, metrics_port: int | None, console: str
) -> None:
    """Send what alerts have to tell to the targets of alerts.toml: each by itself, again until it has arrived.

    \b
    hark notify             the role, which `hark up` runs
    hark notify test ops    send a test message to one target
    hark notify list        what was sent, what waits, and why
    """
    if context.invoked_subcommand is None:
        _run(config, data, metrics_port, console)


def _run(config: Path | None, data: Path | None, metrics_port: int | None, console: str) -> None:
    from hark.alerts.outbox import Sender
    from hark.alerts.targets import load_targets
    from hark.roles import wait_out
    from hark.state import open_state

    settings, stop = start("notify", config, data, metrics_port)
    targets = load_targets(settings.config, console)
    state = wait_out(lambda: open_state(settings.center.state, settings.data), stop, "state")
    if state is not None:
        try:
            Sender(state, targets, settings.data).run(stop)
        finally:
            state.close()


def _settings(context: click.Context, config: Path | None, data: Path | None) -> Settings:
    """Load the settings; the folders may stand before or behind the subcommand's name."""
    before = context.parent.params if context.parent is not None else {}
    return settings_module.load(config or before.get("config"), data or before.get("data"))


@command.command("test")
@common
@click.argument("name")
@click.pass_context
def test(context: click.Context, config: Path | None, data: Path | None, name: str) -> None:
    """Send a test message to the target NAME, or to who is on call in the rota NAME, now."""
    from hark.alerts.deliver import deliver
    from hark.alerts.targets import load_targets
    from hark.alerts.wording import check_template, message_of, sample

    settings = _settings(context, config, data)
    targets = load_targets(settings.config)
    if name not in targets.names():
        known = ", ".join(targets.names()) or "none"
        raise SettingsError(f"{settings.config}: no target or rota is named {name!r}; there are: {known}")
    ((resolved, _),) = targets.resolve([name], now()).items()
    target = targets.targets[resolved]
    check_template(target)
    event = msgspec.structs.replace(sample(), at=now())
    key = f"test.{resolved}.{event.at:%Y%m%dT%H%M%S}"
    message = message_of(event, key, "somebody tests it", target, targets.console)
    message.payload["type"] = "test"  # no program is to take it for an incident
    try:
        deliver(target, message, settings.data)
    except TransientError as error:
        raise TransientError(f"target {resolved} was not told: {error}") from None
    click.echo(f"{resolved} ({target.scheme}) was told; reference {key}")


@command.command("list")
@common
@json_option
@click.option("--incident", help="Of this incident only.")
@click.option("--limit", default=50, show_default=True, help="The newest so many.")
@click.pass_context
def deliveries(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    as_json: bool,
    incident: str | None,
    limit: int,
) -> None:
    """Show what was sent to whom, what waits, and why; newest first."""
    from hark.state.outbox import Outbox
    from hark.wiring import state_of

    settings = _settings(context, config, data)
    with state_of(settings) as state:
        found = Outbox(state).deliveries(incident, limit)
    for delivery in found:
        if as_json:
            click.echo(msgspec.json.encode(delivery).decode())
            continue
        when = delivery.sent_ms or delivery.due_ms
        condition = "held" if delivery.state == "pending" and delivery.held_ms else delivery.state
        tries = f"  {delivery.attempts} attempts" if delivery.attempts > 1 else ""
        error = f"  {harmless(delivery.error)}" if delivery.error else ""
        click.echo(
            f"{local(from_ms(when))} {condition:9} {delivery.target:16} {delivery.kind:12} "
            f"{delivery.incident}.{delivery.number}{tries}{error}"
        )
