"""What people do with incidents: look at them, acknowledge, silence, take over, note, link, resolve, reopen.

Every act is an event of the incident's timeline, recorded with what it changes in one transaction. The figures are
the alert role's alone.
"""

import json
from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from hark.alerts.events import EventKind, IncidentEvent
from hark.alerts.incidents import Incident, body, interval
from hark.core.clock import Clock, from_ms, now, to_ms
from hark.core.errors import RefusedError
from hark.query.fields import normal
from hark.state import State
from hark.state import alerts as tables
from hark.state.alerts import EventRow, IncidentRow

Action = Literal["acknowledge", "silence", "own", "note", "link", "resolve", "reopen"]
ACTIONS: tuple[Action, ...] = get_args(Action)
Status = Literal["open", "acknowledged", "resolved"]
_KINDS: dict[Action, EventKind] = {
    "acknowledge": "acknowledged",
    "silence": "silenced",
    "own": "assigned",
    "note": "noted",
    "link": "linked",
    "resolve": "resolved",
    "reopen": "reopened",
}
ERASED = "(erased)"
_LONGEST_NOTE = 10_000
_ALL = 10**9
_LONGEST_SILENCE = timedelta(days=30)

Enqueue = Callable[[sa.Connection, IncidentEvent], None]


class Shown(Struct, frozen=True):
    """One incident as people see it: its figures (`incident`), and what was done with it.

    `low` and `high` are the interval of what was expected. `timeline` is empty in a list.
    """

    id: str
    status: str
    headline: str
    severity: int
    worst: int
    opened_at: datetime
    since: datetime
    ended_at: datetime | None
    owner: str
    acknowledged_at: datetime | None
    acknowledged_by: str
    silenced_until: datetime | None
    cases: tuple[str, ...]
    series: tuple[str, ...]
    observed: int
    expected: float
    low: int
    high: int
    incident: Incident
    timeline: tuple[EventRow, ...] = ()


def list_incidents(
    state: State,
    statuses: Sequence[Status] | None = None,
    since: datetime | None = None,
    limit: int = 100,
    after: tuple[int, str] | None = None,
) -> list[Shown]:
    """Return incidents, the newest first; raises TransientError while the state database is away.

    `after` is (opened in ms, id) of the last one of the page before.
    """
    with state.read() as connection:
        rows = tables.listed(connection, statuses, None if since is None else to_ms(since), limit, after)
    return [_shown(row) for row in rows]


def get(state: State, id: str) -> Shown | None:
    """Return one incident with its timeline, None when there is none of that id."""
    with state.read() as connection:
        row = tables.get(connection, id)
        return None if row is None else _shown(row, tables.timeline(connection, id))


def act(
    state: State,
    id: str,
    who: str,
    action: Action,
    text: str = "",
    until: datetime | None = None,
    enqueue: Enqueue = lambda connection, event: None,
    clock: Clock = now,
) -> Shown:
    """Do something with an incident in the name of `who`; return it as it is then.

    `text` is the note, the owner's name ("" for nobody), or the case's id; `until` the end of a silence. Raises
    RefusedError for an incident that is not there and for what cannot be done with it, TransientError.
    """
    moment = clock()
    with state.begin() as connection:
        row = tables.get(connection, id, lock=True)
        if row is None:
            raise RefusedError(f"there is no incident {id!r}")
        text = text.strip()
        values, note = _effect(row, who, action, text, until, moment)
        number = row.events + 1
        tables.change(connection, id, {**values, "events": number})
        incident = msgspec.msgpack.decode(row.data, type=Incident)
        kind = _KINDS[action]
        tables.add_event(
            connection,
            EventRow(id, number, to_ms(moment), kind, who, note, incident.headline, incident.severity),
        )
        enqueue(connection, _event(row, incident, number, kind, moment, who, note))
    found = get(state, id)
    assert found is not None
    return found


def forget_author(state: State, *names: str) -> int:
    """Take an author out of all incidents, as when somebody asks to be erased; return of how many.

    `names` are the handles, names or platform's ids that it is known by. Figures stay. Do it when the author's mentions
    are gone from the store; what is being judged meanwhile is judged anew. Raises TransientError while the state
    database is away; doing it again does no harm.
    """
    wanted = {_plain(name) for name in names}
    changed = 0
    with state.begin() as connection:
        # Held until all is written: who judges records under it, and would write back what it read before.
        tables.unsettle(connection)
        for row in tables.listed(connection, None, None, _ALL):
            incident = msgspec.msgpack.decode(row.data, type=Incident)
            if _without(incident, wanted):
                tables.change(connection, row.id, {"data": msgspec.msgpack.encode(incident)})
                changed += 1
    return changed


def _plain(name: str) -> str:
    return normal(name.strip().removeprefix("@"))


def _without(incident: Incident, names: Set[str]) -> bool:
    """Replace the author in an incident; say whether it was there."""
    found, explanation = False, incident.explanation
    if incident.concentration is not None and _plain(incident.concentration.top_author) in names:
        found = True
        incident.concentration = msgspec.structs.replace(incident.concentration, top_author=ERASED)
    if explanation is not None and any(part.value in names for part in explanation.authors):
        found = True
        # The query of each part names the authors: without them nothing is left to ask for.
        parts = tuple(
            msgspec.structs.replace(part, value=ERASED if part.value in names else part.value, query="")
            for part in explanation.authors
        )
        incident.explanation = msgspec.structs.replace(explanation, authors=parts)
    return found


def _effect(
    row: IncidentRow, who: str, action: Action, text: str, until: datetime | None, moment: datetime
) -> tuple[dict[str, object], str]:
    """Return the columns that change, and what the timeline says."""
    if len(text) > _LONGEST_NOTE:
        raise RefusedError(f"expected at most {_LONGEST_NOTE} characters, found {len(text)}")
    match action:
        case "acknowledge":
            if row.status == "resolved":
                raise RefusedError("it is resolved already; reopen it first")
            known = {"acknowledged_ms": to_ms(moment), "acknowledged_by": who, "status": "acknowledged"}
            return {**known, **({} if row.owner else {"owner": who})}, text
        case "silence":
            if until is None or not moment < until <= moment + _LONGEST_SILENCE:
                raise RefusedError("expected the end of the silence: a time to come, within 30 days")
            return {"silenced_until_ms": to_ms(until)}, text or f"until {until:%Y-%m-%d %H:%M} UTC"
        case "own":
            return {"owner": text}, f"now {text}'s" if text else "now nobody's"
        case "note":
            if not text:
                raise RefusedError("expected a note")
            return {}, text
        case "link":
            if not text or text in row.cases:
                raise RefusedError(f"expected the id of a case that is not linked yet, found {text!r}")
            return {"cases": json.dumps([*row.cases, text])}, f"case {text}"
        case "resolve":
            if row.status == "resolved":
                raise RefusedError("it is resolved already")
            return {"status": "resolved"}, text
        case "reopen":
            if row.status != "resolved":
                raise RefusedError("it is not resolved")
            return {"status": "open", "acknowledged_ms": None, "acknowledged_by": ""}, text


def _event(
    row: IncidentRow, incident: Incident, number: int, kind: EventKind, moment: datetime, who: str, note: str
) -> IncidentEvent:
    return IncidentEvent(
        row.id,
        number,
        kind,
        moment,
        incident.rule,
        incident.title,
        incident.series,
        incident.severity,
        incident.headline,
        "\n".join(filter(None, (note, body(incident)))),
        f"/incidents/{row.id}",
        incident.notify,
        who,
        quiet=(row.silenced_until_ms or 0) > to_ms(moment),
    )


def _shown(row: IncidentRow, timeline: Sequence[EventRow] = ()) -> Shown:
    incident = msgspec.msgpack.decode(row.data, type=Incident)
    member = incident.leading
    low, high = interval(member)
    return Shown(
        row.id,
        row.status,
        incident.headline,
        row.severity,
        incident.worst,
        from_ms(row.opened_ms),
        from_ms(incident.since),
        _moment(row.ended_ms),
        row.owner,
        _moment(row.acknowledged_ms),
        row.acknowledged_by,
        _moment(row.silenced_until_ms),
        row.cases,
        tuple(dict.fromkeys(one.group or "all" for one in incident.members)),
        member.observed,
        round(member.expected, 2),
        low,
        high,
        incident,
        tuple(timeline),
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
