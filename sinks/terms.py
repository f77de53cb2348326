"""The words of all texts in a table of their own, so that a pattern finds at once which of them it stands for.

FTS5 knows them too, but tells them only by reading through its whole index: seconds at a million mentions.
"""

from collections.abc import Iterable, Sequence

import apsw

_MOST_REMEMBERED = 200_000


class Terms:
    """The table as its writer sees it: what is remembered to be there need not be written again."""

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._version: int | None = None

    def begin(self, db: apsw.Connection) -> None:
        """Call it first in each transaction: another process may have changed the table since."""
        version = int(db.pragma("data_version"))
        if version != self._version or len(self._there) > _MOST_REMEMBERED:
            self._there.clear()
            self._version = version

    def save(self, db: apsw.Connection, said: set[str], removed: set[str]) -> None:
        """Add words of texts that were indexed; forget those `removed` that no text in the index has any more."""
        news = said - self._there
        db.executemany("INSERT OR IGNORE INTO terms VALUES (?)", [(term,) for term in sorted(news)])
        self._there |= news
        gone = [(term,) for term in removed - said if not _is_indexed(db, term)]
        db.executemany("DELETE FROM terms WHERE term = ?", gone)
        self._there.difference_update(term for (term,) in gone)

    def forget(self) -> None:
        """Call it when a transaction failed: what it added is not there."""
        self._there.clear()


def expand(db: apsw.Connection, pattern: str, limit: int) -> Sequence[str] | None:
    """Return the words that fit a pattern (`*`, `?`), None where they are more than `limit`."""
    literal = pattern.replace("?", "*").partition("*")[0]
    rows: Iterable[tuple[str]] = db.execute(
        "SELECT term FROM terms WHERE term >= ? AND term < ? AND term GLOB ? LIMIT ?",
        (literal, literal + "\U0010ffff", pattern.replace("[", "[[]"), limit + 1),
    )
    found = [term for (term,) in rows]
    return found if len(found) <= limit else None


def _is_indexed(db: apsw.Connection, term: str) -> bool:
    quoted = term.replace('"', '""')
    rows = db.execute("SELECT 1 FROM search WHERE search MATCH ? LIMIT 1", (f'"{quoted}"',))
    return bool(rows.fetchall())
