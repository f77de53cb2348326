"""Saved searches: a query under a name, with its owner, notes, and who changed it when. Times in ms UTC."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from hark.core.clock import Clock, now, to_ms
from hark.core.errors import SettingsError
from hark.query import parse
from hark.state.database import State
from hark.state.tables import metadata

LONGEST_NAME = 80
LONGEST_NOTES = 2_000

searches = Table(
    "searches",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
versions = Table(
    "search_versions",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("query", Text, nullable=False),
    Column("notes", Text, nullable=False, server_default=""),
    Column("saved_by", String, nullable=False),
    Column("saved_ms", BigInteger, nullable=False),
)
_JOINED = sa.select(
    searches.c.name,
    searches.c.owner,
    versions.c.query,
    versions.c.notes,
    versions.c.version,
    versions.c.saved_by,
    versions.c.saved_ms,
).join_from(searches, versions, searches.c.name == versions.c.name)


class SavedSearch(Struct, frozen=True):
    """One version of a saved search: the query as typed, so that a `now` in it is the moment of each use."""

    name: str
    owner: str
    query: str
    notes: str
    version: int
    saved_by: str
    saved_ms: int


class SavedSearches:
    """The tables of this module in the state database; each method is one transaction."""

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def save(self, name: str, query: str, by: str, notes: str | None = None) -> SavedSearch:
        """Save a query under a name; a new name belongs to `by`, one that is there gets a new version.

        Without `notes` they stay as they are. What changes nothing makes no version. Raises SettingsError for a
        name that cannot be, QueryError for a query that cannot be understood.
        """
        parse(query)
        _check(name, query, notes)
        moment = to_ms(self._clock())
        with self._state.begin() as connection:
            before = _newest(connection, name)
            if before is None:
                connection.execute(sa.insert(searches).values(name=name, owner=by, created_ms=moment))
            saved = SavedSearch(
                name=name,
                owner=by if before is None else before.owner,
                query=query,
                notes=notes if notes is not None else "" if before is None else before.notes,
                version=1 if before is None else before.version + 1,
                saved_by=by,
                saved_ms=moment,
            )
            if before is not None and (before.query, before.notes) == (saved.query, saved.notes):
                return before
            row = {column.name: getattr(saved, column.name) for column in versions.columns}
            connection.execute(sa.insert(versions).values(row))
            return saved

    def get(self, name: str) -> SavedSearch:
        """Return the newest version; raises SettingsError naming those that there are."""
        with self._state.read() as connection:
            found = _newest(connection, name)
            if found is None:
                known = ", ".join(connection.scalars(sa.select(searches.c.name).order_by(searches.c.name)))
                raise SettingsError(f"there is no saved search {name!r}; there are: {known or 'none'}")
            return found

    def all(self, owner: str | None = None) -> list[SavedSearch]:
        """Return the newest version of each search, of one owner or of all, by name."""
        newest = sa.select(versions.c.name, sa.func.max(versions.c.version)).group_by(versions.c.name)
        statement = _JOINED.where(sa.tuple_(versions.c.name, versions.c.version).in_(newest))
        if owner is not None:
            statement = statement.where(searches.c.owner == owner)
        with self._state.read() as connection:
            return [_saved(row) for row in connection.execute(statement.order_by(searches.c.name))]

    def versions(self, name: str) -> list[SavedSearch]:
        """Return all versions of a search, the newest first; [] where there is no such search."""
        statement = _JOINED.where(searches.c.name == name).order_by(versions.c.version.desc())
        with self._state.read() as connection:
            return [_saved(row) for row in connection.execute(statement)]

    def delete(self, name: str) -> bool:
        """Remove a search with all its versions; say whether it was there."""
        with self._state.begin() as connection:
            connection.execute(sa.delete(versions).where(versions.c.name == name))
            return bool(connection.execute(sa.delete(searches).where(searches.c.name == name)).rowcount)


def _newest(connection: sa.Connection, name: str) -> SavedSearch | None:
    statement = _JOINED.where(searches.c.name == name).order_by(versions.c.version.desc()).limit(1)
    row = connection.execute(statement).first()
    return None if row is None else _saved(row)


def _saved(row: Any) -> SavedSearch:
    return SavedSearch(**row._mapping)


def _check(name: str, query: str, notes: str | None) -> None:
    fits = 0 < len(name) <= LONGEST_NAME and name == name.strip() and name.isprintable()
    # A name is part of addresses, where a slash and dots alone mean something else.
    if not fits or "/" in name or not name.strip("."):
        raise SettingsError(
            f"name {name[:LONGEST_NAME]!r}: expected 1 to {LONGEST_NAME} visible characters, "
            "no slash among them, not dots alone, and no space at either end"
        )
    if "\0" in query:
        raise SettingsError("query: a NUL character cannot be saved")
    if notes is not None and (len(notes) > LONGEST_NOTES or "\0" in notes):
        raise SettingsError(f"notes: expected at most {LONGEST_NOTES} characters, none of them NUL")
