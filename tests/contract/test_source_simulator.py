"""The simulator: the same story from the same seed, whenever it is stopped and started again."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from hark.core.change import Change, Seen, encode, key_of
from hark.core.errors import SettingsError
from hark.core.mention import Mention
from hark.core.protocols import Batch
from ingest.simulator import AIRLINES, Options, Simulator, build

START = datetime(2026, 3, 4, 15, tzinfo=UTC)


def read(options: Options, until: datetime, cursor: str | None = None, batches: int = 10_000) -> list[Batch]:
    """Read until the simulator waits for the present, which stands still at `until`."""
    found: list[Batch] = []
    stop = threading.Event()
    stop.wait = lambda timeout=None: stop.set() or True  # type: ignore[method-assign]
    for batch in Simulator("x", options, clock=lambda: until).read(cursor, stop):
        found.append(batch)
        if len(found) == batches:
            break
    return found


def changes(batches: list[Batch]) -> list[Change]:
    return [change for batch in batches for change in batch.changes]


@pytest.fixture
def options() -> Options:
    return Options(start=START, history_days=1, mentions_per_day=5_000)


def test_the_same_seed_tells_the_same_story(options: Options) -> None:
    once, again = (changes(read(options, START)) for _ in range(2))
    assert [encode(change) for change in once] == [encode(change) for change in again]
    other = changes(read(Options(start=START, history_days=1, mentions_per_day=5_000, seed=8), START))
    assert [encode(change) for change in other] != [encode(change) for change in once]


def test_stopped_at_any_batch_it_goes_on_without_losing_or_doubling(options: Options) -> None:
    until = START + timedelta(minutes=7)
    whole = [encode(change) for change in changes(read(options, until))]
    for stopped_after in (1, 2, 3):
        first = read(options, until, batches=stopped_after)
        rest = read(options, until, first[-1].cursor)
        assert [encode(change) for change in changes(first) + changes(rest)] == whole


def test_what_happens_later_in_a_block_comes_when_it_happens(options: Options) -> None:
    cursor, found = None, []
    for minute in range(0, 21):
        batches = read(options, START + timedelta(minutes=minute), cursor)
        cursor = batches[-1].cursor
        found += changes(batches)
    assert [encode(c) for c in found] == [
        encode(c) for c in changes(read(options, START + timedelta(minutes=20)))
    ]
    assert all(c.mention.created_at <= START + timedelta(minutes=20) for c in found if isinstance(c, Seen))


def test_ids_are_distinct_and_changes_follow_their_mention(options: Options) -> None:
    seen: set[str] = set()
    for change in changes(read(options, START)):
        if isinstance(change, Seen):
            assert change.mention.id not in seen
            seen.add(change.mention.id)
        else:
            assert key_of(change) in seen


def test_an_incident_begins_three_minutes_after_the_start(options: Options) -> None:
    def about(begin: datetime, end: datetime) -> int:
        handle = AIRLINES[0].handle.lower()
        found = (c.mention for c in changes(read(options, end)) if isinstance(c, Seen))
        return sum(
            begin <= m.created_at < end and handle in m.text.lower() and "ancel" in m.text for m in found
        )

    before = about(START - timedelta(minutes=30), START)
    during = about(START + timedelta(minutes=5), START + timedelta(minutes=35))
    assert during > 5 * max(before, 2)


def mentions(options: Options) -> list[Mention]:
    return [change.mention for change in changes(read(options, START)) if isinstance(change, Seen)]


def test_nobody_writes_more_than_a_hundredth_of_all_and_a_few_are_heard_again_and_again(
    options: Options,
) -> None:
    said = mentions(options)
    brands = {airline.handle for airline in AIRLINES}
    counts = Counter(m.author.handle for m in said if m.author and m.author.handle not in brands)
    assert counts.most_common(1)[0][1] < len(said) / 100
    assert len(counts) > len(said) / 5
    assert sum(n > 3 for n in counts.values()) > 30


def test_nobody_answers_or_repeats_themselves_nor_repeats_what_is_a_repost(options: Options) -> None:
    said = {m.id: m for m in mentions(options)}
    followed = [(m, said[m.in_reply_to or m.repost_of or ""]) for m in said.values() if m.kind != "post"]
    assert len(followed) > 100
    for mention, parent in followed:
        assert mention.author != parent.author
        assert parent.kind != "repost"


def test_a_long_title_ends_at_a_word(options: Options) -> None:
    posts = [m for m in mentions(replace(options, platform="reddit")) if m.title]
    cut = [m for m in posts if m.title and m.title.endswith("…")]
    assert cut
    for mention in cut:
        head = mention.title.partition(": ")[2].removesuffix("…")
        assert len(head) < 60
        assert mention.text.startswith(f"{head} ")
    assert all(m.title.endswith(m.text) for m in posts if m not in cut)


def test_a_platform_that_cannot_be_simulated_is_answered() -> None:
    with pytest.raises(SettingsError, match="expected one of x, reddit, bluesky"):
        build("x", Options(platform="fax"), [])
