"""What persons said about tags, all of it and for ever: the store keeps only what stands for each mention.

A label is written down here first, then published to the log, then marked as sent: killed in between, it is sent
again (twice does no harm). What two persons said of the same mention is what their agreement is measured by.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from hark.core.change import Labelled
from hark.core.clock import Clock, from_ms, now, to_ms
from hark.state.database import State
from hark.state.tables import metadata

Publish = Callable[[Sequence[Labelled]], None]
"""Appends labels to the log; returns when they are durable."""
_UNSENT_FOR = timedelta(seconds=30)
_CHUNK = 400

labels = Table(
    "labels",
    metadata,
    Column("id", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("person", String, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Text, nullable=False),
    Column("sent", Boolean, nullable=False),
    Index("labels_unsent", "sent", "at_ms"),
)


class Labels:
    """The register of labels. Safe to share between threads; raises TransientError while the database is away."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def give(self, said: Sequence[Labelled], publish: Publish) -> None:
        """Keep labels and publish them; one that was given before changes nothing."""
        for start in range(0, len(said), _CHUNK):
            chunk = said[start : start + _CHUNK]
            with self._state.begin() as connection:
                insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
                rows = [{**_row(label), "sent": False} for label in chunk]
                connection.execute(insert(labels).on_conflict_do_nothing(), rows)
            publish(chunk)
            self._mark(chunk)

    def send_again(self, publish: Publish) -> int:
        """Publish what was kept and then not sent, since its process died; returns how many."""
        before = to_ms(self._clock() - _UNSENT_FOR)
        statement = sa.select(labels).where(labels.c.sent.is_(False), labels.c.at_ms < before)
        with self._state.read() as connection:
            unsent = [_label(row) for row in connection.execute(statement).mappings()]
        if unsent:
            publish(unsent)
            self._mark(unsent)
        return len(unsent)

    def all(self, tag: str | None = None) -> Iterator[Labelled]:
        """Yield all labels, the oldest first; of one tag or of all."""
        statement = sa.select(labels).order_by(labels.c.at_ms, labels.c.id, labels.c.tag, labels.c.person)
        if tag is not None:
            statement = statement.where(labels.c.tag == tag)
        with self._state.read() as connection:
            rows = connection.execution_options(yield_per=5_000).execute(statement).mappings()
            for row in rows:
                yield _label(row)

    def of(self, ids: Sequence[str]) -> dict[str, list[Labelled]]:
        """Return what was said of each of `ids`, the oldest first; ids of which nothing was said are left out."""
        found: dict[str, list[Labelled]] = {}
        with self._state.read() as connection:
            for start in range(0, len(ids), _CHUNK):
                chosen = labels.c.id.in_(ids[start : start + _CHUNK])
                statement = sa.select(labels).where(chosen).order_by(labels.c.at_ms, labels.c.person)
                for row in connection.execute(statement).mappings():
                    found.setdefault(row["id"], []).append(_label(row))
        return found

    def forget(self, ids: Sequence[str]) -> int:
        """Forget what was said of mentions that are erased; returns how many labels that were."""
        gone = 0
        for start in range(0, len(ids), _CHUNK):
            with self._state.begin() as connection:
                chosen = labels.c.id.in_(ids[start : start + _CHUNK])
                gone += connection.execute(sa.delete(labels).where(chosen)).rowcount
        return gone

    def _mark(self, said: Sequence[Labelled]) -> None:
        with self._state.begin() as connection:
            for label in said:
                row = _row(label)
                same = [labels.c[name] == row[name] for name in ("id", "tag", "person", "at_ms")]
                connection.execute(sa.update(labels).where(*same).values(sent=True))


def _row(label: Labelled) -> dict[str, object]:
    at_ms = to_ms(label.at)
    return {"id": label.id, "tag": label.tag, "person": label.by, "at_ms": at_ms, "value": label.value}


def _label(row: sa.RowMapping) -> Labelled:
    return Labelled(row["id"], row["tag"], row["value"], row["person"], from_ms(row["at_ms"]))
