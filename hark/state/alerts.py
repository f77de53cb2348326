"""What the alert role has judged, and the incidents that came of it.

The clock says up to when all rules have judged; whoever moves it on from where it found it has the right to record
what came of those buckets, and nobody else. An incident is a row of what is known now and the events that led there.
Times in ms UTC.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from hark.state.tables import metadata

alert_clock = Table(
    "alert_clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("through_ms", BigInteger, nullable=False),
    Column("live_since_ms", BigInteger, nullable=False),  # the first bucket that was judged while it was new
    Column("history", BigInteger, nullable=False),  # mentions that were there to learn from
    Column(
        "learned_ms", BigInteger, nullable=False, server_default="0"
    ),  # what was collected before then was in the store when they were counted
)
alert_checkpoints = Table(
    "alert_checkpoints",
    metadata,
    Column("rule", String, primary_key=True),
    Column("identity", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
alert_lessons = Table(
    "alert_lessons",
    metadata,
    Column("rule", String, primary_key=True),
    Column("identity", String, nullable=False),
    Column("begin_ms", BigInteger, nullable=False),  # from where on it learned
    Column("shown_ms", BigInteger, nullable=False),  # from where on incidents were kept
    Column(
        "learned_ms", BigInteger, nullable=False
    ),  # what was collected later is no part of what it learned
)
alert_coverage = Table(
    "alert_coverage",
    metadata,
    Column("start_ms", BigInteger, primary_key=True),
    Column("blind", Text, nullable=False),  # the sources that were away when the bucket was judged
)
incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),
    Column("rule", String, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),  # when the figures were back to what is usual
    Column("status", String, nullable=False),  # what people see: open, acknowledged, resolved
    Column("severity", Integer, nullable=False),
    Column("owner", String, nullable=False, server_default=""),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", String, nullable=False, server_default=""),
    Column("silenced_until_ms", BigInteger),
    Column("cases", Text, nullable=False, server_default="[]"),
    Column("events", Integer, nullable=False, server_default="0"),
    Column("data", LargeBinary, nullable=False),
    Index("incidents_by_time", "opened_ms"),
    Index("incidents_by_end", "ended_ms"),
)
incident_events = Table(
    "incident_events",
    metadata,
    Column("incident", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("who", String, nullable=False),
    Column("data", Text, nullable=False),
)
_FIRST = 1


class AlertClock(Struct, frozen=True):
    """Where all rules stand."""

    through_ms: int
    live_since_ms: int
    history: int
    learned_ms: int = 0


class Lesson(Struct, frozen=True):
    """From which past a rule learned, so that it can be gone through again: see the table."""

    identity: str
    begin_ms: int
    shown_ms: int
    learned_ms: int


class IncidentRow(Struct, frozen=True):
    """One incident: what people did with it, and `data`, what the alert role knows of it."""

    id: str
    rule: str
    opened_ms: int
    ended_ms: int | None
    status: str
    severity: int
    owner: str
    acknowledged_ms: int | None
    acknowledged_by: str
    silenced_until_ms: int | None
    cases: tuple[str, ...]
    events: int
    data: bytes


class EventRow(Struct, frozen=True):
    """One entry of an incident's timeline; `who` is "" for Hark itself."""

    incident: str
    number: int
    at_ms: int
    kind: str
    who: str
    note: str
    headline: str = ""
    severity: int = 0


def clock(connection: sa.Connection) -> AlertClock | None:
    """Return where all rules stand, None before the first time."""
    columns = [alert_clock.c[name] for name in AlertClock.__struct_fields__]
    row = connection.execute(sa.select(*columns)).first()
    return None if row is None else AlertClock(*row)


def start_clock(connection: sa.Connection, at: AlertClock) -> bool:
    """Begin to judge; False when another process has."""
    statement = _insert(connection)(alert_clock).values(id=_FIRST, **msgspec.structs.asdict(at))
    # PostgreSQL's driver does not count the rows of an insert: they are asked for.
    found = connection.execute(statement.on_conflict_do_nothing().returning(alert_clock.c.id))
    return found.first() is not None


def move_clock(connection: sa.Connection, before: AlertClock, after: AlertClock) -> bool:
    """Move the clock on if it still stands at `before`; False when another process was there first.

    Holds the row until the transaction ends, so that one process at a time records.
    """
    same = (
        (alert_clock.c.id == _FIRST)
        & (alert_clock.c.through_ms == before.through_ms)
        & (alert_clock.c.history == before.history)
    )
    values = msgspec.structs.asdict(after)
    return connection.execute(sa.update(alert_clock).where(same).values(values)).rowcount == 1


def unsettle(connection: sa.Connection) -> None:
    """Let what is being judged be judged anew: mentions that it may have read are gone, one at least of the history."""
    connection.execute(sa.update(alert_clock).values(history=alert_clock.c.history - 1))


def checkpoints(connection: sa.Connection) -> dict[str, tuple[str, bytes]]:
    """Return (identity, checkpoint) by rule."""
    return {row.rule: (row.identity, row.data) for row in connection.execute(sa.select(alert_checkpoints))}


def save_checkpoints(connection: sa.Connection, found: Mapping[str, tuple[str, bytes]]) -> None:
    """Write (identity, checkpoint) by rule."""
    for rule, (identity, data) in found.items():
        statement = _insert(connection)(alert_checkpoints).values(rule=rule, identity=identity, data=data)
        changed = {"identity": identity, "data": data}
        connection.execute(statement.on_conflict_do_update(index_elements=["rule"], set_=changed))


def forget_checkpoints(connection: sa.Connection, rules: Iterable[str] | None = None) -> None:
    """Drop the checkpoints of `rules`, or of all."""
    statement = sa.delete(alert_checkpoints)
    if rules is not None:
        statement = statement.where(alert_checkpoints.c.rule.in_(list(rules)))
    connection.execute(statement)


def lessons(connection: sa.Connection) -> dict[str, Lesson]:
    """Return from which past each rule learned."""
    rows = connection.execute(sa.select(alert_lessons))
    return {row.rule: Lesson(row.identity, row.begin_ms, row.shown_ms, row.learned_ms) for row in rows}


def save_lesson(connection: sa.Connection, rule: str, lesson: Lesson) -> None:
    """Write from which past a rule learned."""
    changed = msgspec.structs.asdict(lesson)
    statement = _insert(connection)(alert_lessons).values(rule=rule, **changed)
    connection.execute(statement.on_conflict_do_update(index_elements=["rule"], set_=changed))


def coverage(connection: sa.Connection, begin_ms: int, end_ms: int) -> dict[int, frozenset[str]]:
    """Return, for each bucket that was judged while it was new, the sources that were away.

    Of the past that was learned from there are its first bucket and those with a source that was away.
    """
    within = (alert_coverage.c.start_ms >= begin_ms) & (alert_coverage.c.start_ms < end_ms)
    rows = connection.execute(sa.select(alert_coverage).where(within))
    return {row.start_ms: frozenset(json.loads(row.blind)) for row in rows}


def covered_from(connection: sa.Connection) -> int | None:
    """Return the first bucket (ms) of which it is known which sources were away, None when there is none."""
    first: int | None = connection.scalar(sa.select(sa.func.min(alert_coverage.c.start_ms)))
    return first


def save_coverage(connection: sa.Connection, found: Mapping[int, frozenset[str]]) -> None:
    """Write which sources were away, by bucket."""
    if found:
        rows = [{"start_ms": start, "blind": json.dumps(sorted(names))} for start, names in found.items()]
        connection.execute(_insert(connection)(alert_coverage).on_conflict_do_nothing(), rows)


def following(connection: sa.Connection, since_ms: int) -> list[bytes]:
    """Return the data of the incidents that last, or ended at `since_ms` or later."""
    lasts = incidents.c.ended_ms.is_(None) | (incidents.c.ended_ms >= since_ms)
    return list(connection.scalars(sa.select(incidents.c.data).where(lasts).order_by(incidents.c.opened_ms)))


def get(connection: sa.Connection, id: str, lock: bool = False) -> IncidentRow | None:
    """Return one incident; with `lock` nobody else changes it until the transaction ends."""
    statement = sa.select(incidents).where(incidents.c.id == id)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    return None if row is None else _row(row)


def listed(
    connection: sa.Connection,
    statuses: Sequence[str] | None,
    since_ms: int | None,
    limit: int,
    after: tuple[int, str] | None = None,
) -> list[IncidentRow]:
    """Return incidents, the newest first; those behind `after`: (opened in ms, id) of the last one of a page."""
    statement = sa.select(incidents).order_by(incidents.c.opened_ms.desc(), incidents.c.id).limit(limit)
    if statuses is not None:
        statement = statement.where(incidents.c.status.in_(list(statuses)))
    if since_ms is not None:
        statement = statement.where(incidents.c.opened_ms >= since_ms)
    if after is not None:
        opened, id = after
        same = (incidents.c.opened_ms == opened) & (incidents.c.id > id)
        statement = statement.where((incidents.c.opened_ms < opened) | same)
    return [_row(row) for row in connection.execute(statement).mappings()]


def save(connection: sa.Connection, id: str, values: Mapping[str, Any]) -> None:
    """Write columns of an incident, and the incident itself when it is new."""
    statement = _insert(connection)(incidents).values(id=id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=dict(values)))


def change(connection: sa.Connection, id: str, values: Mapping[str, Any]) -> None:
    """Change columns of an incident that is there."""
    connection.execute(sa.update(incidents).where(incidents.c.id == id).values(dict(values)))


def add_event(connection: sa.Connection, event: EventRow) -> None:
    """Write one entry of a timeline."""
    data = json.dumps({"note": event.note, "headline": event.headline, "severity": event.severity})
    row = {"incident": event.incident, "number": event.number, "at_ms": event.at_ms, "kind": event.kind}
    connection.execute(sa.insert(incident_events).values(**row, who=event.who, data=data))


def timeline(connection: sa.Connection, id: str) -> list[EventRow]:
    """Return the entries of an incident's timeline, in order."""
    statement = sa.select(incident_events).where(incident_events.c.incident == id)
    rows = connection.execute(statement.order_by(incident_events.c.number)).mappings()
    return [
        EventRow(
            row["incident"], row["number"], row["at_ms"], row["kind"], row["who"], **json.loads(row["data"])
        )
        for row in rows
    ]


def _row(row: Mapping[Any, Any]) -> IncidentRow:
    return IncidentRow(**{**row, "cases": tuple(json.loads(row["cases"]))})


def _insert(connection: sa.Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
