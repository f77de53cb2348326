"""Who is told: the targets, rotas and heartbeat of alerts.toml, validated, and their clocks.

A mistake is a SettingsError with the file, the key, and what was expected. Addresses stay as written (`${NAME}`)
until something is sent, so that no secret is in what is printed.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from hark.alerts.events import EventKind
from hark.alerts.rules import FILE, Rule, load_rules
from hark.core.errors import SettingsError
from hark.core.mistakes import converted, expected, meant
from hark.settings import read_toml

TOLD: tuple[EventKind, ...] = ("opened", "escalated", "updated", "acknowledged", "resolved", "reopened")
"""What a target hears of unless `tell` says otherwise."""
CONSOLE = "http://127.0.0.1:8765"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
_SCHEME = re.compile(r"([a-z][a-z0-9+]*):")
_LONGEST_CHAIN_MINUTES = 24 * 60


class TargetEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [target.NAME], as written."""

    address: str
    secret: str = ""
    zone: str = "UTC"
    quiet: str = ""
    breaks_through: int = 8
    digest_at: str = "08:00"
    escalate_to: str = ""
    escalate_after_minutes: int = 15
    tell: tuple[EventKind, ...] = TOLD
    template: str = ""


class RotaEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [rota.NAME], as written."""

    people: tuple[str, ...]
    start: datetime
    turn: Literal["day", "week"] = "week"
    zone: str = "UTC"


class HeartbeatEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """[heartbeat], as written."""

    address: str
    every_minutes: int = 5


class _File(Struct, frozen=True):
    """What alerts.toml says of who is told; the rest of it is read by rules.py, which knows every key."""

    target: Mapping[str, Any] = {}
    rota: Mapping[str, Any] = {}
    heartbeat: Mapping[str, Any] | None = None
    console: str | None = None


class Target(Struct, frozen=True):
    """One place that is told. `quiet` are the local times between which it hears only of the gravest."""

    name: str
    address: str
    secret: str
    zone: ZoneInfo
    quiet: tuple[time, time] | None
    breaks_through: int
    digest_at: time
    escalate_to: str
    escalate_after: timedelta
    tell: frozenset[EventKind]
    template: Path | None

    @property
    def scheme(self) -> str:
        """The kind of its address, which is all of it that may be shown."""
        return self.address.partition(":")[0]

    def quiet_until(self, moment: datetime) -> datetime | None:
        """Return when the quiet hours that `moment` lies in are over, None outside of them."""
        if self.quiet is None:
            return None
        begins, ends = self.quiet
        today = moment.astimezone(self.zone).date()
        for day in (today - timedelta(days=1), today):
            begin = _instant(datetime.combine(day, begins), self.zone)
            end = _instant(datetime.combine(day + timedelta(days=begins >= ends), ends), self.zone)
            if begin <= moment < end:
                return end
        return None

    def next_digest(self, moment: datetime) -> datetime:
        """Return when what is for the digest goes out: at the end of the quiet hours, or at `digest_at`."""
        at = self.quiet[1] if self.quiet is not None else self.digest_at
        day = moment.astimezone(self.zone).date()
        due = _instant(datetime.combine(day, at), self.zone)
        return due if due > moment else _instant(datetime.combine(day + timedelta(days=1), at), self.zone)


class Rota(Struct, frozen=True):
    """People (targets) who are on call in turns, each from the same local time on."""

    name: str
    people: tuple[str, ...]
    start: datetime
    days: int
    zone: ZoneInfo

    def on_duty(self, moment: datetime) -> str:
        """Return who is on call; before the start the turns run backwards."""
        local = moment.astimezone(self.zone).replace(tzinfo=None)
        turn = (local - self.start).days // self.days
        # An hour that comes twice, or not at all, may put the handover on the other side of the moment.
        while self._begins(turn + 1) <= moment:
            turn += 1
        while self._begins(turn) > moment:
            turn -= 1
        return self.people[turn % len(self.people)]

    def _begins(self, turn: int) -> datetime:
        return _instant(self.start + timedelta(days=turn * self.days), self.zone)


class Heartbeat(Struct, frozen=True):
    """Where to say that the alerts are still watched, and how often."""

    target: Target
    every: timedelta


class Targets(Struct, frozen=True):
    """All that alerts.toml says of who is told; `console` is the address that links begin with."""

    targets: Mapping[str, Target] = {}
    rotas: Mapping[str, Rota] = {}
    heartbeat: Heartbeat | None = None
    console: str = CONSOLE

    def names(self) -> list[str]:
        """Return what a rule's `notify` may name."""
        return [*self.targets, *self.rotas]

    def resolve(self, names: Iterable[str], moment: datetime) -> dict[str, str]:
        """Return the targets that `names` mean at `moment`, each with how it came to it ("" or the rota's name)."""
        found: dict[str, str] = {}
        for name in names:
            rota = self.rotas.get(name)
            if rota is None:
                found[name] = ""
            else:
                found.setdefault(rota.on_duty(moment), f"on call: {name}")
        return found


def load_alerts(config: Path) -> tuple[dict[str, Rule], Targets]:
    """Return the rules of alerts.toml in the folder `config`, and who is told; SettingsError where a rule tells nobody."""
    rules, targets = load_rules(config), load_targets(config)
    for rule in rules.values():
        for name in rule.notify:
            if name not in targets.names():
                known = ", ".join(targets.names()) or "none"
                raise SettingsError(
                    f"{config / FILE}: notify of rule {rule.name!r}: no target or rota is named {name!r}"
                    f"{meant(name, targets.names())}; there are: {known}"
                )
    return rules, targets


def load_targets(config: Path, console: str = CONSOLE) -> Targets:
    """Return who is told, of alerts.toml in the folder `config`; raises SettingsError.

    Links begin with the address `console` where the file names none.
    """
    path = config / FILE
    file = read_toml(path, _File)
    targets = {
        name: _target(path, config, name, converted(table, TargetEntry, f"{path}: target.{name}"))
        for name, table in file.target.items()
    }
    rotas = {
        name: _rota(path, name, converted(table, RotaEntry, f"{path}: rota.{name}"), targets)
        for name, table in file.rota.items()
    }
    if both := sorted(targets.keys() & rotas.keys()):
        raise SettingsError(f"{path}: {both[0]!r} is the name of a target and of a rota: give each its own")
    where, links = (f"{path}: console", file.console) if file.console is not None else ("--console", console)
    if not re.match(r"https?://[^/\s]+", links):
        raise SettingsError(
            f"{where}: expected the address that people open, like {CONSOLE}, found {links!r}"
        )
    found = Targets(targets, rotas, _heartbeat(path, config, file.heartbeat), links.rstrip("/"))
    _check_chains(path, found)
    return found


def _target(path: Path, config: Path, name: str, entry: TargetEntry) -> Target:
    def wrong(key: str, expected: str, found: object) -> SettingsError:
        return SettingsError(f"{path}: target.{name}.{key}: expected {expected}, found {found!r}")

    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: target.{name}: expected a name of lower-case letters, digits, - and _ only"
        )
    if not _SCHEME.match(entry.address):
        # What was found is not shown: it may be a secret in the wrong place.
        raise SettingsError(
            f"{path}: target.{name}.address: expected file:NAME, webhook+https://…, or an address that Apprise "
            "knows, like mailto://, slack://, json:// (the scheme is written out, the rest may be ${NAME})"
        )
    webhook = entry.address.startswith(("webhook+http://", "webhook+https://"))
    if entry.address.startswith("webhook") and not webhook:
        raise wrong(
            "address", "webhook+https://… or webhook+http://…", entry.address.partition(":")[0] + ":…"
        )
    if bool(entry.secret) != webhook:
        raise SettingsError(
            f"{path}: target.{name}.secret: "
            + (
                'expected a secret to sign with, as "${NAME}"'
                if webhook
                else "only webhook addresses are signed"
            )
        )
    if not 1 <= entry.breaks_through <= 11:
        raise wrong("breaks_through", "a severity of 1 to 10, or 11 for never", entry.breaks_through)
    if not 1 <= entry.escalate_after_minutes <= _LONGEST_CHAIN_MINUTES:
        raise wrong("escalate_after_minutes", f"1 to {_LONGEST_CHAIN_MINUTES}", entry.escalate_after_minutes)
    template = config / entry.template if entry.template else None
    if template is not None and not template.is_file():
        raise wrong("template", f"a file beside {path.name}", entry.template)
    quiet = None
    if entry.quiet:
        begin, dash, end = entry.quiet.partition("-")
        quiet = (_time(begin), _time(end))
        if not dash or None in quiet or quiet[0] == quiet[1]:
            raise wrong("quiet", 'two times of day, like "22:00-07:00"', entry.quiet)
    digest_at = _time(entry.digest_at)
    if digest_at is None:
        raise wrong("digest_at", 'a time of day, like "08:00"', entry.digest_at)
    return Target(
        name,
        entry.address,
        entry.secret,
        _zone(f"{path}: target.{name}.zone", entry.zone),
        quiet,  # type: ignore[arg-type]  # None in it was refused above
        entry.breaks_through,
        digest_at,
        entry.escalate_to,
        timedelta(minutes=entry.escalate_after_minutes),
        frozenset(entry.tell),
        template,
    )


def _rota(path: Path, name: str, entry: RotaEntry, targets: Mapping[str, Target]) -> Rota:
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: rota.{name}: expected a name of lower-case letters, digits, - and _ only"
        )
    if not entry.people:
        raise SettingsError(f"{path}: rota.{name}.people: expected one name of a target at least")
    for person in entry.people:
        if person not in targets:
            raise SettingsError(
                f"{path}: rota.{name}.people: expected names of targets ({', '.join(targets)}), found {person!r}"
                + meant(person, targets)
            )
    if entry.start.tzinfo is not None:
        raise SettingsError(
            f"{path}: rota.{name}.start: expected a local time without offset, like 2026-11-02T09:00:00; "
            "the zone is in `zone`"
        )
    zone = _zone(f"{path}: rota.{name}.zone", entry.zone)
    return Rota(name, entry.people, entry.start, 7 if entry.turn == "week" else 1, zone)


def _heartbeat(path: Path, config: Path, table: Mapping[str, Any] | None) -> Heartbeat | None:
    if table is None:
        return None
    entry = converted(table, HeartbeatEntry, f"{path}: heartbeat")
    if not 1 <= entry.every_minutes <= 24 * 60:
        raise SettingsError(
            f"{path}: heartbeat.every_minutes: expected 1 to 1440, found {entry.every_minutes}"
        )
    if not entry.address.startswith(("http://", "https://", "file:")):
        raise SettingsError(
            f"{path}: heartbeat.address: expected https://… (it is fetched every so often) or file:NAME"
        )
    target = _target(path, config, "heartbeat", TargetEntry(entry.address))
    return Heartbeat(target, timedelta(minutes=entry.every_minutes))


def _check_chains(path: Path, found: Targets) -> None:
    for target in found.targets.values():
        chain = [target.name]
        while (following := found.targets[chain[-1]].escalate_to if chain[-1] in found.targets else "") != "":
            if following not in found.names():
                raise SettingsError(
                    f"{path}: target.{chain[-1]}.escalate_to: {expected(following, found.names())}"
                )
            if following in chain:
                raise SettingsError(
                    f"{path}: target.{chain[-1]}.escalate_to: {' → '.join([*chain, following])} goes round in a circle"
                )
            chain.append(following)


def _zone(where: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"{where}: expected a time zone like America/Chicago, found {name!r}") from error


def _time(text: str) -> time | None:
    match = re.fullmatch(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*", text)
    return time(int(match[1]), int(match[2])) if match else None


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall clock's time; the first of two, and after a gap the time that it jumped to."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)
