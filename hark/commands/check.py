"""`hark check`: is each part configured, reachable, and what is wrong."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hark import TAGGING
from hark import settings as settings_module
from hark.commands.options import common, json_option
from hark.commands.show import harmless
from hark.core.change import TOPICS
from hark.core.clock import now
from hark.core.errors import HarkError, SettingsError
from hark.core.protocols import Looking
from hark.query import parse
from hark.settings import Settings, SourceEntry
from ingest import check_source

if TYPE_CHECKING:
    from hark.alerts.targets import Target

LOOK_SECONDS = 12.0
"""How long a source may take to answer: a connection, a login and a request, at five seconds each at most."""
Finding = tuple[str, str, str]
"""Part, "ok" or "off" or "wrong", and what is to be told."""


@click.command()
@common
@json_option
def command(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Say for each part whether it is configured and reachable, and what is wrong; ends with 1 if anything is."""
    settings = settings_module.load(config, data)
    findings = [
        ("settings", "ok", f"{settings.config}: {len(settings.brands)} brands"),
        _try("log", lambda: _bus(settings)),
        _try("store", lambda: _store(settings)),
        _try("state", lambda: _state(settings)),
        _try("enrichment", lambda: _chain(settings)),
        _try("alert rules", lambda: _rules(settings)),
        *target_findings(settings),
        *source_findings(settings),
    ]
    for part, condition, text in findings:
        if as_json:
            row = {"part": part, "condition": condition, "text": text}
            click.echo(msgspec.json.encode(row).decode())
        else:
            colour = {"ok": "green", "wrong": "red"}.get(condition)
            click.echo(f"{part:22} {click.style(f'{condition:6}', fg=colour)} {harmless(text, 1_000)}")
    if any(condition == "wrong" for _, condition, _ in findings):
        raise SystemExit(1)


def _try(part: str, look: Callable[[], str]) -> Finding:
    try:
        return part, "ok", look()
    except HarkError as error:
        return part, "wrong", str(error)


def _bus(settings: Settings) -> str:
    from hark.wiring import bus_of

    with bus_of(settings) as bus:
        kept = {topic: sum(bus.ends(topic).values()) - sum(bus.starts(topic).values()) for topic in TOPICS}
    return f"{_kind(settings.center.bus)}: " + ", ".join(f"{topic} {n:,}" for topic, n in kept.items())


def _store(settings: Settings) -> str:
    from hark.wiring import store_of

    with store_of(settings) as store:
        return f"{_kind(settings.center.store)}: {store.count(parse('')):,} mentions"


def _state(settings: Settings) -> str:
    from hark.wiring import state_of

    with state_of(settings) as state:
        return f"{_kind(settings.center.state)}: {len(state.source_states())} sources known"


def _chain(settings: Settings) -> str:
    from hark.wiring import chain_of

    return f"version {chain_of(settings).version}, {TAGGING}"


def _rules(settings: Settings) -> str:
    from hark.alerts.targets import load_alerts

    rules, _ = load_alerts(settings.config)
    return ", ".join(rules) or "none"


def target_findings(settings: Settings) -> list[Finding]:
    """Look at who is told, sending nothing."""
    from hark.alerts.targets import load_targets

    try:
        found = load_targets(settings.config)
    except HarkError as error:
        return [("targets", "wrong", str(error))]
    rotas = [
        (f"rota {rota.name}", "ok", f"on call now: {rota.on_duty(now())}") for rota in found.rotas.values()
    ]
    targets = [_try(f"target {name}", partial(_target, to)) for name, to in found.targets.items()]
    return [*targets, *rotas]


def _target(target: "Target") -> str:
    from hark.alerts.deliver import check_target
    from hark.alerts.wording import check_template

    kind = check_target(target)
    check_template(target)
    quiet = ""
    if target.quiet is not None:
        begin, end = target.quiet
        quiet = f", quiet from {begin:%H:%M} to {end:%H:%M} {target.zone.key} below severity {target.breaks_through}"
    minutes = target.escalate_after.total_seconds() / 60
    following = f", then {target.escalate_to} after {minutes:.0f} minutes" if target.escalate_to else ""
    return f"{kind}{quiet}{following}; `hark notify test {target.name}` tries it"


def source_findings(settings: Settings, seconds: float = LOOK_SECONDS) -> list[Finding]:
    """Ask all sources at the same time whether they answer; give up on those that take longer than `seconds`."""
    answers: list[Future[Finding]] = [Future() for _ in settings.sources]

    def look(entry: SourceEntry, answer: Future[Finding]) -> None:
        try:
            answer.set_result(_source(entry, settings))
        except BaseException as error:  # noqa: BLE001 - a bug is raised where the answer is waited for
            answer.set_exception(error)

    for asked in zip(settings.sources, answers, strict=True):
        # Daemons: one that hangs in a library must not keep the program.
        threading.Thread(target=look, args=asked, daemon=True).start()
    wait(answers, seconds)
    return [
        answer.result()
        if answer.done()
        else (f"source {entry.name}", "wrong", f"{entry.type}: no answer within {seconds:.0f} s")
        for entry, answer in zip(settings.sources, answers, strict=True)
    ]


def _source(entry: SourceEntry, settings: Settings) -> Finding:
    part = f"source {entry.name}"
    if not entry.enabled:
        off = f"{entry.type}: enabled = false in {settings.config / 'sources.toml'}"
        try:
            check_source(entry)
        except SettingsError as error:
            return part, "wrong", f"{error} ({off})"
        return part, "off", off

    def look() -> str:
        from hark.wiring import source_of

        source = source_of(entry, settings)
        if not isinstance(source, Looking):
            return f"{entry.type}: configured; `hark status` shows whether it answers"
        return f"{entry.type}: {source.look()}"

    return _try(part, look)


def _kind(address: str) -> str:
    # Without what follows the scheme: an address may hold a password.
    return address.partition("://")[0]
