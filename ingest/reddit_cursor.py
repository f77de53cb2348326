"""Where the Reddit source stands: how far each list has been read, and which mentions it knows.

A list is told apart by dates, never by the item that was newest: that may have been deleted meanwhile. Dates alone
do not do either: what moderators let through, or search finds late, appears below what is known already.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from hark.core.change import Change, Deleted, Edited, Seen
from hark.core.errors import SettingsError
from ingest.reddit_client import PAGE
from ingest.reddit_posts import Post

# About 40 bytes each: what is saved with every batch stays small.
REMEMBERED = 3_000
_GONE = -1


class Known(Struct, frozen=True, array_like=True):
    """A mention as it was last told: `created` in seconds, `edit` as in Mention (-1: gone), the text's digest."""

    created: int
    edit: int
    digest: int


class Cursor(Struct):
    """As JSON. Of each list, what was created up to `since[key]` (seconds) has been read.

    `known` holds every mention created from `begin` on, in the order in which they are to be looked at again.
    `begin` is 0 before the first answer.
    """

    begin: int = 0
    since: dict[str, int] = {}
    known: dict[str, Known] = {}

    def start(self, begin: datetime, keys: Iterable[str]) -> None:
        """Settle where each list begins: a new one where the one furthest behind stands."""
        if not self.begin:
            self.begin = int(begin.timestamp())
        behind = min(self.since.values(), default=self.begin - 1)
        self.since = {key: self.since.get(key, behind) for key in keys}

    def change(self, post: Post, key: str | None, now: datetime) -> Change | None:
        """Return what `post`, found in the list `key` or looked at again (None), tells that is new; remember it."""
        known = self.known.get(post.name)
        if known is None:
            if key is None or (post.created <= self.since[key] and post.created < self.begin):
                return None
        elif known.edit == _GONE:
            return None
        if post.gone:
            self.known[post.name] = Known(post.created, _GONE, 0)
            return Deleted(post.mention.id, post.gone, now)
        if known is None:
            self.known[post.name] = Known(post.created, post.mention.edit, post.digest)
            return Seen(post.mention)
        if post.digest == known.digest and post.mention.edit <= known.edit:
            return None
        edit = max(post.mention.edit, known.edit + 1)
        self.known[post.name] = Known(post.created, edit, post.digest)
        return Edited(msgspec.structs.replace(post.mention, edit=edit))

    def refuse(self, name: str, now: datetime) -> bool:
        """Note that `name` cannot be read; False when that has been told already."""
        if name in self.known:
            return False
        self.known[name] = Known(int(now.timestamp()), _GONE, 0)
        return True

    def due(self) -> list[str]:
        """Return the names that were not looked at for longest, a page of them, and move these to the end."""
        names = [name for name, known in self.known.items() if known.edit != _GONE][:PAGE]
        for name in names:
            self.known[name] = self.known.pop(name)
        return names

    def forget(self, recheck: timedelta) -> None:
        """Let go of what is too old to be looked at again, or too much; `begin` follows."""
        if not self.known:
            return
        newest = max(known.created for known in self.known.values())
        oldest = newest - int(recheck.total_seconds())
        if len(self.known) > REMEMBERED:
            oldest = max(oldest, sorted(known.created for known in self.known.values())[-REMEMBERED])
        if oldest > self.begin:
            self.begin = oldest
            self.known = {name: known for name, known in self.known.items() if known.created >= oldest}

    def encode(self) -> str:
        """Return the JSON."""
        return msgspec.json.encode(self).decode()


def decode(cursor: str | None, source: str) -> Cursor:
    """Return the saved cursor, an empty one for None; SettingsError for another source's."""
    if cursor is None:
        return Cursor()
    try:
        return msgspec.json.decode(cursor, type=Cursor)
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"source {source}: the saved cursor is not one of Reddit's: {cursor[:80]!r}"
        ) from error
