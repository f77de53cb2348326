"""What is said of an event: the message of one event, the digest of several, and the templates of both.

A template is Jinja's, in its sandbox; the first line is the title, the rest the text. One that is broken is replaced
by the default, with a line that says so: people are told all the same.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import structlog
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from hark.alerts.deliver import Message
from hark.alerts.events import EventKind, IncidentEvent
from hark.alerts.targets import Target
from hark.core.clock import from_ms
from hark.core.errors import SettingsError

PREFIXES: dict[EventKind, str] = {
    "opened": "",
    "escalated": "Worse: ",
    "updated": "Update: ",
    "acknowledged": "Acknowledged: ",
    "silenced": "Silenced: ",
    "assigned": "Assigned: ",
    "noted": "Note: ",
    "linked": "Linked: ",
    "resolved": "Over: ",
    "reopened": "Again: ",
}
DEFAULT = """\
{{ prefix }}{{ title }}: {{ series }}{% if severity %}, severity {{ severity }}{% endif %} [{{ incident }}]
{{ prefix }}{{ headline }}
{% if body %}

{{ body }}

{% endif %}
{% if who %}
By {{ who }}.
{% endif %}
{% if via %}
You are told because: {{ via }}.
{% endif %}
{{ at }}
{{ link }}
Reference {{ key }}
"""
_LONGEST_TITLE = 200
_LONGEST_BODY = 20_000
_TIME = re.compile(
    r"(?P<over>\bover at )?(?P<day>\d{4}-\d\d-\d\d )?\b(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(?(over)(?: UTC)?| UTC)\b"
)
"""A time in a headline: "19:45 UTC", "2026-11-22 19:45 UTC", or "over at 20:30"."""
_log = structlog.get_logger()


def message_of(event: IncidentEvent, key: str, via: str, target: Target, console: str) -> Message:
    """Return what `target` is told of one event. `via` says how it came to this target."""
    words = _words(event, key, via, target, console)
    text = _rendered(target, words)
    title, _, body = text.lstrip("\n").partition("\n")
    payload = {
        "id": key,
        "type": f"incident.{event.kind}",
        "target": target.name,
        "via": via,
        "title": _line(title),
        "text": body.strip("\n"),
        "url": words["link"],
        "event": event,
    }
    return Message(
        key,
        event.incident,
        event.kind == "opened",
        _line(f"{event.title}: {event.series} [{event.incident}]"),
        _line(title),
        body.strip("\n")[:_LONGEST_BODY],
        event.severity,
        payload,
    )


def digest_of(
    events: Sequence[tuple[str, IncidentEvent]], held_ms: int, target: Target, console: str
) -> Message:
    """Return what `target` is told of what happened while it was not to be disturbed; `events` with their keys."""
    incidents: dict[str, list[IncidentEvent]] = {}
    for _, event in events:
        incidents.setdefault(event.incident, []).append(event)
    lasting = [found[-1] for found in incidents.values() if found[-1].kind != "resolved"]
    title = f"Digest: {_many(len(incidents), 'incident')}, {len(lasting) or 'none'} of them open"
    lines = []
    for found in incidents.values():
        newest, worst = found[-1], max(event.severity for event in found)
        state = "over" if newest.kind == "resolved" else f"open, severity {newest.severity}"
        lines.append(f"{newest.title}: {newest.series} [{newest.incident}]: {state}, at worst {worst}")
        lines += [
            f"  {_local(event, target)} {event.kind}: {_line(_in_zone(event.headline, event, target))}"
            for event in found
        ]
        lines += [f"  {console}{newest.path}", ""]
    key = f"digest.{target.name}.{held_ms}.{events[0][0]}"
    lines.append(f"Reference {key}")
    body = "\n".join(lines)[:_LONGEST_BODY]
    payload = {
        "id": key,
        "type": "digest",
        "target": target.name,
        "title": title,
        "text": body,
        "at": from_ms(held_ms),
        "events": [event for _, event in events],
    }
    severity = max((event.severity for event in lasting), default=0)
    return Message(key, "", True, title, title, body, severity, payload)


def check_template(target: Target) -> None:
    """Render the target's template with an event made up; SettingsError says what is wrong and where."""
    if target.template is not None:
        fault = _try(_read(target.template), _words(sample(), "sample", "", target, ""))[1]
        if fault:
            raise SettingsError(f"{target.template}: {fault}")


def sample() -> IncidentEvent:
    """Return the event that a test message tells of."""
    return IncidentEvent(
        "test",
        1,
        "opened",
        from_ms(0),
        "test",
        "Test",
        "all",
        1,
        "This is a test of Hark's notifications.",
        "Nothing has happened.",
        "/",
        (),
    )


def _words(event: IncidentEvent, key: str, via: str, target: Target, console: str) -> dict[str, Any]:
    return {
        "prefix": PREFIXES[event.kind],
        "key": key,
        "via": via,
        "link": f"{console}{event.path}",
        "at": _local(event, target),
        **{name: getattr(event, name) for name in event.__struct_fields__ if name not in ("at", "targets")},
        "headline": _in_zone(event.headline, event, target),
        "body": _in_zone(event.body, event, target),
    }


def _rendered(target: Target, words: dict[str, Any]) -> str:
    if target.template is not None:
        text, fault = _try(_read(target.template), words)
        if not fault:
            return text
        _log.warning("template broken", target=target.name, template=target.template.name, reason=fault)
        return f"{_environment.from_string(DEFAULT).render(words)}\n(The template {target.template.name} is broken: {fault})"
    return _environment.from_string(DEFAULT).render(words)


def _try(source: str | None, words: dict[str, Any]) -> tuple[str, str]:
    """Return the text and "", or "" and what is wrong."""
    if source is None:
        return "", "it cannot be read"
    try:
        text = _environment.from_string(source).render(words)
    except Exception as error:  # noqa: BLE001 - a template can raise whatever its expressions can
        line = getattr(error, "lineno", None)
        return "", (f"line {line}: " if line else "") + _line(str(error) or type(error).__name__)
    return (text, "") if text.strip() else ("", "it says nothing")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _local(event: IncidentEvent, target: Target) -> str:
    return event.at.astimezone(target.zone).strftime("%Y-%m-%d %H:%M %Z")


def _in_zone(text: str, event: IncidentEvent, target: Target) -> str:
    """Return a text with its times, which are UTC's, as the clock of the target's zone shows them."""

    def told(found: re.Match[str]) -> str:
        day = date.fromisoformat(found["day"].strip()) if found["day"] else event.at.date()
        moment = datetime.combine(day, time(int(found["hour"]), int(found["minute"])), UTC)
        if not found["day"] and moment > event.at:
            moment -= timedelta(days=1)
        local = moment.astimezone(target.zone)
        before = "over at " if found["over"] else f"{local:%Y-%m-%d} " if found["day"] else ""
        return f"{before}{local:%H:%M %Z}"

    return _TIME.sub(told, text)


def _line(text: str) -> str:
    """Return one line: a title goes into headers."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= _LONGEST_TITLE else plain[: _LONGEST_TITLE - 1] + "…"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


_environment = SandboxedEnvironment(
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=False,
    autoescape=False,
)
