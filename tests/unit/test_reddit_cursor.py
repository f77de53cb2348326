"""What the Reddit source remembers: which post is new, edited, gone, and which is looked at next."""

from datetime import UTC, datetime, timedelta

import pytest

from hark.core.change import Deleted, Edited, Seen
from hark.core.errors import SettingsError
from hark.core.mention import Mention
from ingest import reddit_cursor
from ingest.reddit_cursor import Cursor, Known, decode
from ingest.reddit_posts import Post

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEGIN = int(NOW.timestamp()) - 3600


def post(name: str, created: int = BEGIN, edit: int = 0, digest: int = 1, gone: str = "") -> Post:
    mention = Mention(
        f"reddit:{name}", "reddit", "text", datetime.fromtimestamp(created, UTC), NOW, edit=edit
    )
    return Post(name, created, digest, mention, gone)


def started() -> Cursor:
    cursor = Cursor()
    cursor.start(NOW - timedelta(hours=1), ["new"])
    return cursor


def test_a_list_that_is_new_begins_where_the_one_furthest_behind_stands() -> None:
    cursor = Cursor(begin=900, since={"new": 700, "comments": 500, "search": 800})
    cursor.start(NOW, ["new", "comments", "another"])
    assert (cursor.begin, cursor.since) == (900, {"new": 700, "comments": 500, "another": 500})


def test_new_is_what_is_unknown_and_above_either_date() -> None:
    cursor = started()
    assert isinstance(cursor.change(post("t3_a", BEGIN), "new", NOW), Seen)
    assert cursor.change(post("t3_a", BEGIN), "new", NOW) is None
    assert cursor.change(post("t3_b", BEGIN - 1), "new", NOW) is None
    cursor.begin = BEGIN + 100  # what was known is forgotten
    assert isinstance(cursor.change(post("t3_c", BEGIN + 1), "new", NOW), Seen)
    cursor.since["new"] = BEGIN + 50
    assert cursor.change(post("t3_d", BEGIN + 50), "new", NOW) is None
    assert isinstance(cursor.change(post("t3_e", BEGIN + 100), "new", NOW), Seen)


def test_every_edit_has_a_higher_number() -> None:
    cursor = started()
    cursor.change(post("t3_a"), "new", NOW)
    unmarked = [cursor.change(post("t3_a", digest=digest), None, NOW) for digest in (2, 3)]
    marked = cursor.change(post("t3_a", edit=BEGIN * 1000, digest=4), "new", NOW)
    within_a_second = cursor.change(post("t3_a", edit=BEGIN * 1000, digest=5), "new", NOW)
    edits = [
        change.mention.edit for change in [*unmarked, marked, within_a_second] if isinstance(change, Edited)
    ]
    assert edits == [1, 2, BEGIN * 1000, BEGIN * 1000 + 1]
    assert cursor.change(post("t3_a", edit=BEGIN * 1000, digest=5), "new", NOW) is None


def test_gone_is_told_once_and_for_ever() -> None:
    cursor = started()
    cursor.change(post("t3_a"), "new", NOW)
    gone = cursor.change(post("t3_a", gone="removed"), None, NOW)
    assert gone == Deleted("reddit:t3_a", "removed", NOW)
    assert cursor.change(post("t3_a", gone="removed"), "new", NOW) is None
    assert cursor.change(post("t3_a", digest=2), "new", NOW) is None
    assert cursor.due() == []


def test_what_was_told_before_a_crash_and_is_gone_since_is_deleted() -> None:
    assert isinstance(started().change(post("t3_a", gone="removed"), "new", NOW), Deleted)


def test_each_is_looked_at_in_turn() -> None:
    cursor = started()
    names = [f"t3_{number}" for number in range(250)]
    for name in names:
        cursor.change(post(name), "new", NOW)
    turns = [*cursor.due(), *cursor.due()]
    cursor = decode(cursor.encode(), "reddit")
    assert [*turns, *cursor.due()[:50]] == names


def test_what_is_old_or_too_much_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = started()
    cursor.known = {f"t3_{number}": Known(BEGIN + number, 0, 1) for number in range(100)}
    cursor.forget(timedelta(seconds=80))
    assert (cursor.begin, len(cursor.known)) == (BEGIN + 19, 81)
    monkeypatch.setattr(reddit_cursor, "REMEMBERED", 10)
    cursor.forget(timedelta(seconds=80))
    assert (cursor.begin, len(cursor.known)) == (BEGIN + 90, 10)


def test_it_stays_small_and_comes_back_as_it_was() -> None:
    cursor = started()
    cursor.known = {
        f"t1_{number:07}": Known(BEGIN, BEGIN * 1000, 4_000_000_000)
        for number in range(reddit_cursor.REMEMBERED)
    }
    assert len(cursor.encode()) < 200_000
    assert decode(cursor.encode(), "reddit") == cursor
    with pytest.raises(SettingsError, match="not one of Reddit's"):
        decode('["x"]', "reddit")
