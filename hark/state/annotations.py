"""What people note at a moment, for every chart that shows it: a storm, a campaign, a new fare."""

from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from hark.core.clock import Clock, from_ms, now, to_ms
from hark.core.errors import SettingsError
from hark.state.database import State
from hark.state.tables import metadata

LONGEST = 200
MOST_SHOWN = 200

annotations = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("person", String, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Index("annotations_by_time", "at_ms"),
)


class Annotation(Struct, frozen=True):
    """A note at the moment `at`, and who made it."""

    id: int
    at: datetime
    text: str
    person: str


class Annotations:
    """The notes of a center. Raises SettingsError for what cannot be noted, TransientError while the database is away."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def add(self, at: datetime, text: str, person: str) -> Annotation:
        """Note `text` at a moment."""
        text = " ".join(text.split())
        if not 1 <= len(text) <= LONGEST:
            raise SettingsError(f"text: expected 1 to {LONGEST} characters, found {len(text)}")
        row = {"at_ms": to_ms(at), "text": text, "person": person, "made_ms": to_ms(self._clock())}
        with self._state.begin() as connection:
            made = connection.execute(sa.insert(annotations).values(row)).inserted_primary_key
        assert made is not None
        return Annotation(made[0], from_ms(to_ms(at)), text, person)

    def remove(self, id: int) -> bool:
        """Forget a note; False when there is none."""
        with self._state.begin() as connection:
            return bool(connection.execute(sa.delete(annotations).where(annotations.c.id == id)).rowcount)

    def between(self, since: datetime, until: datetime) -> list[Annotation]:
        """Return the notes of a range, the oldest first; of very many, the newest."""
        inside = (annotations.c.at_ms >= to_ms(since)) & (annotations.c.at_ms < to_ms(until))
        newest = sa.select(annotations).where(inside).order_by(annotations.c.at_ms.desc()).limit(MOST_SHOWN)
        with self._state.read() as connection:
            rows = connection.execute(newest).mappings().all()
        return [
            Annotation(row["id"], from_ms(row["at_ms"]), row["text"], row["person"]) for row in rows[::-1]
        ]
