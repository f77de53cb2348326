"""What every store must do; each kind inherits this suite.

The expected answers come from `Reference`: the rules of `Store` over a plain dict, and the matcher in memory.
"""

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hark.core.change import Deleted, Item, Labelled, Tagged, encode, key_of
from hark.core.clock import to_ms
from hark.core.errors import SettingsError
from hark.core.mention import Author, Enrichment, Language, Mention, Sentiment, Topic, Vader, source_of
from hark.core.protocols import Books, Bucket, Hit, Store, cursor_of
from hark.core.tokens import tokens
from hark.core.tree import Query
from hark.query import QueryError, patience
from hark.query.difference import difference
from hark.query.fields import values_of
from hark.query.highlight import spans
from hark.query.match import Document, Matcher
from hark.query.pages import ORDERS, Order, page
from hark.query.sampling import level, place, sample_cursor
from hark.query.volume import volume
from sinks import labels
from sinks.groups import GROUPS
from tests.support.queries import HOSTILE, NOW, TAXONOMY, collections, parsed, queries

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = 3600
EVERYTHING = parsed("")
WIDTHS = (HOUR, 60, 900, 420, 86_400)
"""Of histograms, in seconds: some are counted from rollups, some from rows."""


def tagged(
    id: str = "x:1",
    text: str = "my flight is late",
    at: datetime = NOON,
    brands: tuple[str, ...] = ("delta",),
    label: str = "neutral",
    topics: tuple[str, ...] = (),
    edit: int = 0,
    generation: int = 0,
    title: str | None = None,
) -> Tagged:
    """Return a mention with its tags."""
    mention = Mention(id, source_of(id), text, at, at + timedelta(seconds=9), edit=edit, title=title)
    sentiment = Sentiment(label, 0.0, 0.5, Vader(0.0, 1.0, 0.0, 0.0))
    enrichment = Enrichment(
        "1",
        Language("en", 0.9),
        brands,
        sentiment,
        tuple(Topic(topic, 0.7) for topic in topics),
        generation=generation,
    )
    return Tagged(mention, enrichment)


def label(id: str, tag: str, value: str, minute: int = 0, by: str = "ana") -> Labelled:
    """Return what a person said, so many minutes after noon."""
    return Labelled(id, tag, value, by, NOON + timedelta(minutes=minute))


def deleted(id: str) -> Deleted:
    """Return the end of a mention."""
    return Deleted(id, "by its author", NOON)


class Reference:
    """What a store must answer after `items` were written, in any order and number of times."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.gone: set[str] = set()
        standing: dict[str, Tagged] = {}
        said: dict[str, list[Labelled]] = {}
        for item in items:
            if isinstance(item, Deleted):
                self.gone.add(item.id)
            elif isinstance(item, Labelled):
                said.setdefault(item.id, []).append(item)
            else:
                other = standing.get(item.mention.id)
                if other is None or item.version > other.version:
                    standing[item.mention.id] = item
        self.hits = [
            Hit(item.mention, labels.apply(item.enrichment, said.get(id, ())))
            for id, item in standing.items()
            if id not in self.gone
        ]
        self.hits.sort(key=lambda hit: (to_ms(hit.mention.created_at), hit.mention.id), reverse=True)

    def search(
        self,
        query: Query,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[Hit]:
        assert after is None
        matcher = Matcher(query)
        found = [
            hit
            for hit in self.hits
            if (since is None or hit.mention.created_at >= since)
            and (until is None or hit.mention.created_at < until)
            and matcher.matches(Document(hit.mention, hit.enrichment, TAXONOMY))
        ]
        return found[:limit]

    def sample(self, query: Query, since: datetime | None = None, until: datetime | None = None) -> list[str]:
        return sorted(ids(self.search(query, since, until)), key=lambda id: (place(id), id))

    def histogram(
        self, query: Query, interval_seconds: int, since: datetime, until: datetime, by: str | None = None
    ) -> list[Bucket]:
        sums: dict[tuple[int, str | None], list[int]] = {}
        interval = interval_seconds * 1000
        for hit in self.search(query, since, until):
            start = to_ms(hit.mention.created_at) // interval * interval
            for group in [None] if by is None else values_of(by, hit.mention, hit.enrichment, TAXONOMY):
                cell = sums.setdefault((start, group), [0, 0, 0])
                label = hit.enrichment.sentiment.label
                cell[0] += 1
                cell[1] += label == "positive"
                cell[2] += label == "negative"
        return [Bucket(*key, *sums[key]) for key in sorted(sums, key=lambda key: (key[0], key[1] or ""))]

    def top(self, query: Query, field: str) -> list[tuple[str, int]]:
        counts: Counter[str] = Counter()
        for hit in self.search(query):
            counts.update(values_of(field, hit.mention, hit.enrichment, TAXONOMY))
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def books(self) -> dict[str, Books]:
        books: dict[str, Books] = {}
        for hit in self.hits:
            books.setdefault(source_of(hit.mention.id), Books()).indexed += 1
        for id in self.gone:
            books.setdefault(source_of(id), Books()).deleted += 1
        return books


def ids(hits: Iterable[Hit]) -> list[str]:
    """Return the ids of hits, in their order."""
    return [hit.mention.id for hit in hits]


def held(books: dict[str, Books]) -> dict[str, Books]:
    """Leave out sources of which nothing is held."""
    return {source: book for source, book in books.items() if book != Books()}


class StoreContract:
    """Subclasses give two fixtures, both with TAXONOMY of tests.support.queries.

    `fresh()` opens a new, empty store; `again(store)` opens what `store` holds once more, beside it.
    """

    examples = 60
    """Examples of each property; fewer for a store that takes long to make."""

    @pytest.fixture
    def store(self, fresh: Callable[[], Store]) -> Store:
        return fresh()

    def explore(self, property: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
        """Try `property` on random examples."""
        allowed = settings(
            max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        allowed(given(*strategies)(property))()

    # Nothing, and one

    def test_an_empty_store_answers_every_question(self, store: Store) -> None:
        assert list(store.search(EVERYTHING)) == []
        assert store.count(parsed("flight")) == 0
        assert store.histogram(EVERYTHING, HOUR, NOON, NOW) == []
        assert store.histogram(parsed("flight"), HOUR, NOON, NOW, by="brand") == []
        assert store.top(EVERYTHING, "topic") == []
        assert store.get("x:1") is None
        assert (held(store.account(["x:1"])[0]), store.account(["x:1"])[1]) == ({}, {})
        assert list(store.ids()) == []
        assert store.write([]) == []

    def test_one_mention_is_found_counted_and_given_back_whole(self, store: Store) -> None:
        item = tagged(at=NOON + timedelta(microseconds=123_456), label="negative")
        assert store.write([item]) == []
        hit = Hit(item.mention, item.enrichment)
        assert list(store.search(parsed("late"))) == [hit]
        assert store.get("x:1") == hit
        assert store.count(EVERYTHING) == store.count(parsed("brand:delta flight")) == 1
        bucket = Bucket(to_ms(NOON), None, 1, 0, 1)
        assert store.histogram(EVERYTHING, HOUR, NOON, NOW) == [bucket]
        assert store.histogram(parsed("late"), HOUR, NOON, NOW) == [bucket]
        assert store.account(["x:1", "x:2"]) == ({"x": Books(1, 0)}, {"x:1": "indexed"})
        assert list(store.ids()) == [("x:1", False)]

    # Which write stands

    def test_the_records_of_the_log_change_nothing_in_what_is_stored(self, store: Store) -> None:
        items: list[Item] = [
            tagged("x:1", 'she said "late" 😡\n\\ again'),
            tagged("x:2", "as another program lays it out"),
            tagged("x:3", "with names in another order"),
            tagged("x:4", "and labelled"),
            label("x:4", "sentiment", "positive"),
            deleted("x:5"),
            tagged("x:6", "one\x00of two hundred thousand", at=datetime(1960, 1, 1, tzinfo=UTC)),
        ]
        records = [encode(item) for item in items]
        records[1] = records[1].replace(b',"', b',\n"')
        records[2] = json.dumps(dict(sorted(json.loads(records[2]).items()))).encode()
        assert [refusal.index for refusal in store.write(items, records)] == [6]
        assert list(store.search(EVERYTHING, limit=None)) == Reference(items[:6]).search(EVERYTHING)

    def test_the_higher_version_stands_in_whichever_order_they_come(self, store: Store) -> None:
        old, new = tagged("x:1", "old"), tagged("x:1", "new", edit=1)
        again = tagged("x:1", "new", edit=1, generation=1, brands=("united",))
        for item in (new, old, again, new):
            assert store.write([item]) == []
        assert ids(store.search(parsed("new brand:united"))) == ["x:1"]
        assert store.count(parsed("old OR brand:delta")) == 0
        assert store.count(EVERYTHING) == 1
        assert [b.group for b in store.histogram(EVERYTHING, HOUR, NOON, NOW, by="brand")] == ["united"]

    def test_of_equal_versions_the_first_stands(self, store: Store) -> None:
        store.write([tagged(text="first"), tagged(text="second")])
        store.write([tagged(text="third")])
        assert store.count(parsed("first")) == 1
        assert store.count(parsed("second OR third")) == 0

    def test_an_edit_may_move_a_mention_in_time(self, store: Store) -> None:
        store.write([tagged()])
        store.write([tagged(at=NOON - timedelta(hours=2), edit=1)])
        assert store.count(EVERYTHING, since=NOON) == 0
        assert [b.start for b in store.histogram(EVERYTHING, HOUR, NOON - timedelta(days=1), NOW)] == [
            to_ms(NOON) - 2 * HOUR * 1000
        ]

    def test_a_deletion_leaves_its_tombstone_and_nothing_else(self, store: Store) -> None:
        store.write([tagged("x:1", topics=("late-flight",)), tagged("x:2", "stays")])
        store.write([label("x:1", "intent", "complaint"), deleted("x:1")])
        assert store.get("x:1") is None
        assert ids(store.search(EVERYTHING)) == ["x:2"]
        assert store.count(parsed("flight")) == store.count(parsed("topic:delay")) == 0
        assert sum(b.count for b in store.histogram(EVERYTHING, HOUR, NOON, NOW)) == 1
        assert store.top(EVERYTHING, "topic") == []
        assert store.account(["x:1", "x:2"]) == ({"x": Books(1, 1)}, {"x:1": "deleted", "x:2": "indexed"})
        assert sorted(store.ids()) == [("x:1", True), ("x:2", False)]

    def test_a_deletion_wins_for_ever_and_before_its_mention_too(self, store: Store) -> None:
        store.write([deleted("x:1"), deleted("x:1")])
        store.write([tagged("x:1"), label("x:1", "intent", "complaint")])
        store.write([tagged("x:1", "again", edit=70_000, generation=9), deleted("x:1")])
        assert list(store.search(EVERYTHING)) == []
        assert store.account(["x:1"]) == ({"x": Books(0, 1)}, {"x:1": "deleted"})

    def test_a_label_stands_above_every_later_enrichment(self, store: Store) -> None:
        store.write([tagged(label="positive", topics=("delay",))])
        store.write([label("x:1", "sentiment", "negative"), label("x:1", "topic", "baggage, late-flight")])
        store.write([tagged(label="positive", topics=("delay",), edit=3, generation=8)])
        (hit,) = store.search(parsed("sentiment:negative topic:baggage topic:operations"))
        assert hit.enrichment.sentiment.label == "negative"
        assert [topic.id for topic in hit.enrichment.topics] == ["baggage", "late-flight"]
        assert [reason.why for reason in hit.enrichment.reasons] == ["labelled by ana"] * 2
        assert store.count(parsed("sentiment:positive")) == 0
        assert store.histogram(EVERYTHING, HOUR, NOON, NOW) == [Bucket(to_ms(NOON), None, 1, 0, 1)]

    def test_a_label_waits_for_its_mention(self, store: Store) -> None:
        assert store.write([label("x:1", "brand", "united")]) == []
        assert store.account(["x:1"])[1] == {}
        assert list(store.ids()) == []
        store.write([tagged()])
        assert store.count(parsed("brand:united")) == 1
        assert store.count(parsed("brand:delta")) == 0

    def test_of_two_labels_the_later_one_stands_in_whichever_order_they_come(self, store: Store) -> None:
        for id, minutes in (("x:1", (1, 2)), ("x:2", (2, 1))):
            store.write([tagged(id)])
            for minute in minutes:
                store.write([label(id, "urgency", f"of minute {minute}", minute)])
        assert store.top(EVERYTHING, "brand") == [("delta", 2)]
        assert ids(store.search(parsed('urgency:"of minute 2"'))) == ["x:2", "x:1"]

    # What is refused

    def test_what_cannot_be_stored_is_refused_and_the_rest_goes_on(self, store: Store) -> None:
        refusals = store.write(
            [
                tagged("x:1", "one"),
                tagged("x:2", at=datetime(9999, 12, 31, tzinfo=UTC)),
                label("x:1", "mood", "sour"),
                tagged("x:3", at=datetime(1931, 1, 1, tzinfo=UTC)),
                tagged("x:4", "\ud800"),
                label("x:1", "sentiment", " "),
                tagged("x:5", "five"),
            ]
        )
        assert [refusal.index for refusal in refusals] == [1, 2, 3, 4, 5]
        assert "9999" in refusals[0].reason
        assert "mood" in refusals[1].reason
        assert ids(store.search(EVERYTHING)) == ["x:5", "x:1"]

    # Order, pages, ranges

    def test_mentions_come_newest_first_and_those_of_one_instant_by_id(self, store: Store) -> None:
        times = [NOON + timedelta(milliseconds=ms) for ms in (0, 0, 1, 1, 999, 1000, 1000, -1)]
        items = [tagged(f"x:{i}", at=at) for i, at in enumerate(times)]
        store.write(items[4:])
        store.write(items[:4])
        assert ids(store.search(EVERYTHING)) == [f"x:{i}" for i in (6, 5, 4, 3, 2, 1, 0, 7)]
        assert ids(store.search(parsed("flight"), limit=3)) == ["x:6", "x:5", "x:4"]
        assert ids(store.search(EVERYTHING, limit=None)) == [f"x:{i}" for i in (6, 5, 4, 3, 2, 1, 0, 7)]

    @pytest.mark.parametrize("text", ["flight", "", "my ONEAR/2 late", "flight followers>=0 OR brand:delta"])
    def test_pages_neither_repeat_nor_skip_while_new_mentions_arrive(self, store: Store, text: str) -> None:
        draw = random.Random(5)
        first = [tagged(f"x:{i}", at=NOON + timedelta(milliseconds=draw.randrange(4000))) for i in range(60)]
        store.write(first)
        expected = ids(Reference(first).hits)
        found: list[str] = []
        after: str | None = None
        while page := list(store.search(parsed(text), limit=7, after=after)):
            found += ids(page)
            assert len(found) <= len(expected)
            after = cursor_of(page[-1])
            newest = NOON + timedelta(seconds=5, milliseconds=len(found))
            store.write([tagged(f"reddit:{len(found)}", at=newest)])
        assert found == expected

    def test_a_wrong_cursor_is_refused(self, store: Store) -> None:
        with pytest.raises(SettingsError, match="cursor"):
            list(store.search(EVERYTHING, after="yesterday"))

    @pytest.mark.parametrize("text", ["", "flight", "brand:delta"])
    def test_a_range_includes_its_begin_and_excludes_its_end(self, store: Store, text: str) -> None:
        step = timedelta(milliseconds=1)
        moments = [NOON - step, NOON, NOON + step, NOW - step, NOW, NOW + step]
        store.write([tagged(f"x:{i}", at=at) for i, at in enumerate(moments)])
        query = parsed(text)
        assert ids(store.search(query, NOON, NOW)) == ["x:3", "x:2", "x:1"]
        assert store.count(query, NOON, NOW) == 3
        assert store.count(query, NOON + step, NOW + step) == 3
        assert sum(bucket.count for bucket in store.histogram(query, HOUR, NOON, NOW)) == 3
        assert sum(bucket.count for bucket in store.histogram(query, HOUR, NOON + step, NOW - step)) == 1
        assert store.top(query, "brand", NOON, NOW) == [("delta", 3)]
        assert store.count(query, NOW, NOON) == 0
        assert store.histogram(query, HOUR, NOW, NOON) == []

    def test_great_numbers_are_compared_exactly(self, store: Store) -> None:
        values = (
            None,
            -1,
            0,
            49,
            50,
            51,
            59,
            60,
            99,
            100,
            101,
            1023,
            1024,
            1025,
            2047,
            2048,
            1 << 31,
            1 << 40,
        )
        items = []
        for number, value in enumerate(values):
            item = tagged(f"x:{number}")
            mention = replace(item.mention, author=Author(handle="ana", followers=value))
            items.append(Tagged(mention, replace(item.enrichment, priority=value)))
        store.write(items)
        reference = Reference(items)
        for name in ("followers", "priority"):
            for operator in (":", ">", ">=", "<", "<="):
                for bound in (0, 50, 59, 60, 100, 1023, 1024, 2048, 1 << 31, 1 << 41):
                    query = parsed(f"late {name}{operator}{bound}")
                    assert ids(store.search(query)) == ids(reference.search(query)), query.text

    # Samples

    def test_a_sample_is_always_the_same_and_a_smaller_one_is_a_part_of_it(self, store: Store) -> None:
        draw = random.Random(3)
        items = [tagged(f"x:{i}", at=NOON + timedelta(seconds=draw.randrange(9000))) for i in range(700)]
        store.write(items[:300])
        store.write([*items[300:], deleted("x:5")])
        expected = Reference([*items, deleted("x:5")]).sample(EVERYTHING)
        for text in ("", "flight", "my ONEAR/2 late", "brand:delta NOT bag"):
            assert ids(store.sample(parsed(text), limit=None)) == expected
            assert ids(store.sample(parsed(text), limit=40)) == expected[:40]
            for ahead in (3, 5):
                counted = sum(level(place(id)) >= ahead for id in expected)
                assert 0 < store.count(parsed(text), level=ahead) == counted
        until = NOON + timedelta(seconds=4000)
        within = Reference([*items, deleted("x:5")]).sample(EVERYTHING, NOON, until)
        assert ids(store.sample(EVERYTHING, NOON, until, limit=None)) == within

    def test_pages_of_a_sample_neither_repeat_nor_skip_while_new_mentions_arrive(self, store: Store) -> None:
        items = [tagged(f"x:{i}") for i in range(90)]
        store.write(items)
        expected = Reference(items).sample(EVERYTHING)
        found: list[str] = []
        after: str | None = None
        while page := list(store.sample(parsed("flight brand:delta"), limit=11, after=after)):
            found += [id for id in ids(page) if id.startswith("x:")]
            assert len(found) <= len(expected)
            after = sample_cursor(page[-1].mention.id)
            store.write([tagged(f"reddit:{len(found)}-{i}") for i in range(3)])
        assert found == expected
        with pytest.raises(SettingsError, match="cursor"):
            list(store.sample(EVERYTHING, after="-1,x"))

    # Relevance

    def test_what_says_more_of_the_query_comes_first_and_of_equals_the_newest(self, store: Store) -> None:
        store.write(
            [
                tagged("x:1", "my bag is late and the bag is lost", at=NOON),
                tagged("x:2", "my bag", at=NOON + timedelta(hours=1)),
                tagged("x:3", "my bag is with me on this long way home to my other bags", at=NOON),
                tagged("x:4", "all fine here", at=NOON, title="Bag lost"),
                tagged("x:5", "my bag", at=NOON),
                tagged("x:6", "nothing here"),
            ]
        )
        found = page(store, parsed("bag OR lost"), order="relevance")
        assert ids(found.hits) == ["x:4", "x:1", "x:2", "x:5", "x:3"]
        assert (found.after, found.ranked, found.cut) == (None, 5, False)
        assert ids(page(store, parsed("brand:delta"), order="relevance").hits) == ids(
            store.search(EVERYTHING)
        )

    @pytest.mark.parametrize("order", ORDERS)
    def test_pages_of_every_order_neither_repeat_nor_skip_while_new_mentions_arrive(
        self, store: Store, order: Order
    ) -> None:
        draw = random.Random(7)
        words = ["bag", "lost", "late", "gate", "my", "the"]
        items = [
            tagged(
                f"x:{i}",
                " ".join(draw.choices(words, k=draw.randint(3, 9))),
                NOON + timedelta(seconds=i % 50),
            )
            for i in range(120)
        ]
        store.write(items)
        query = parsed('bag OR "lost late" OR gate')
        expected = ids(page(store, query, order=order, limit=1000).hits)
        found: list[str] = []
        after: str | None = None
        for number in range(100):
            one = page(store, query, order=order, limit=9, after=after)
            found += [id for id in ids(one.hits) if id.startswith("x:")]
            after = one.after
            if after is None:
                break
            late = NOON + timedelta(seconds=number % 60)
            store.write([tagged(f"reddit:{number}", "bag bag lost late gate", late)])
        assert found == expected
        with pytest.raises(SettingsError, match="cursor"):
            page(store, query, order=order, after="!!")

    def test_a_volume_is_exact_where_that_is_quick(self, store: Store) -> None:
        store.write([tagged(f"x:{i}") for i in range(40)])
        found = volume(store, parsed("my ONEAR/2 late"), NOON, NOW)
        assert (found.count, found.low, found.high, found.exact, found.one_in) == (40, 40, 40, True, 1)

    def test_what_a_changed_query_adds_and_loses_is_counted_and_shown(self, store: Store) -> None:
        store.write(
            [
                tagged("x:1", "late bag", at=NOON),
                tagged("x:2", "late", at=NOON + timedelta(seconds=1)),
                tagged("x:3", "lost bag", at=NOON + timedelta(seconds=2)),
                tagged("x:4", "lost bag", at=NOW),
            ]
        )
        found = difference(store, parsed("late"), parsed("bag"), NOON, NOW)
        assert (found.kept, found.added.count, found.lost.count) == (1, 1, 1)
        assert (ids(found.added.examples), ids(found.lost.examples)) == (["x:3"], ["x:2"])
        assert store.count(parsed(found.added.query), NOON, NOW) == 1
        everything = difference(store, parsed("late"), EVERYTHING, NOON, NOW, examples=0)
        assert (everything.kept, everything.added.count, everything.lost.count) == (2, 1, 0)
        assert store.count(parsed(everything.added.query), NOON, NOW) == 1
        assert difference(store, EVERYTHING, parsed("late"), NOON, NOW).lost.count == 1

    def test_a_reader_that_waits_no_longer_is_told_so(self, store: Store) -> None:
        store.write([tagged("x:1")])
        with patience.within(0), pytest.raises(patience.TooSlowError, match="shorter time"):
            list(store.search(parsed("my ONEAR/2 late")))
        with patience.within(60):
            assert ids(store.search(parsed("my ONEAR/3 late"))) == ["x:1"]
        assert store.count(EVERYTHING) == 1

    @pytest.mark.timeout(120)  # some seconds; a query that no patience ends takes longer by itself
    def test_hostile_queries_are_answered_or_refused_in_every_order(self, store: Store) -> None:
        items = [tagged(f"x:{i}", "a w9 air " * 9 + f"w{i}x delta") for i in range(30)]
        store.write(items)
        reference = Reference(items)
        for name, text in HOSTILE.items():
            try:
                query = parsed(text)
            except QueryError:
                continue
            with contextlib.suppress(patience.TooSlowError), patience.within(2):
                for order in ORDERS:
                    found = page(store, query, order=order, limit=100, taxonomy=TAXONOMY).hits
                    assert sorted(ids(found)) == sorted(ids(reference.search(query))), name

    # As of

    def test_a_store_says_when_the_newest_of_its_mentions_was_collected(
        self, store: Store, again: Callable[[Store], Store]
    ) -> None:
        assert store.as_of() is None
        store.write([tagged("x:1", at=NOON), tagged("reddit:2", at=NOON - timedelta(days=40))])
        assert store.as_of() == NOON + timedelta(seconds=9)
        store.write([tagged("reddit:3", at=NOON + timedelta(hours=1))])
        assert store.as_of() == NOON + timedelta(hours=1, seconds=9)
        assert again(store).as_of() == NOON + timedelta(hours=1, seconds=9)

    # Counts

    def test_a_mention_counts_in_each_of_its_groups_and_in_the_topics_above(self, store: Store) -> None:
        store.write(
            [
                tagged(
                    "x:1", brands=("delta", "Love Field"), topics=("late-flight", "delay"), label="positive"
                ),
                tagged("x:2", brands=(), topics=("cancelled",), label="negative"),
            ]
        )
        start = to_ms(NOON)
        assert store.histogram(EVERYTHING, HOUR, NOON, NOW, by="brand") == [
            Bucket(start, "delta", 1, 1, 0),
            Bucket(start, "love field", 1, 1, 0),
        ]
        assert store.histogram(parsed("flight"), HOUR, NOON, NOW, by="topic") == [
            Bucket(start, "cancelled", 1, 0, 1),
            Bucket(start, "delay", 1, 1, 0),
            Bucket(start, "late-flight", 1, 1, 0),
            Bucket(start, "operations", 2, 1, 1),
        ]
        assert store.histogram(parsed('brand:"Love Field"'), HOUR, NOON, NOW) == [
            Bucket(start, None, 1, 1, 0)
        ]
        assert store.top(EVERYTHING, "topic", limit=2) == [("operations", 2), ("cancelled", 1)]

    @pytest.mark.parametrize("text", ["", "brand:delta", "flight", "my ONEAR/2 late"])
    def test_a_histogram_counts_by_the_minute_and_cuts_its_range_to_the_millisecond(
        self, store: Store, text: str
    ) -> None:
        seconds = (0, 59.999, 60, 119, 120, 899, 900, 961, 1500, 1800.5)
        items = [tagged(f"x:{i}", at=NOON + timedelta(seconds=at)) for i, at in enumerate(seconds)]
        store.write(items)
        query, reference = parsed(text), Reference(items)
        step = timedelta(milliseconds=1)
        for width in (60, 120, 300, 900, 1020, 1800, HOUR):
            for begin, end in (
                (NOON, NOW),
                (NOON + step, NOON + timedelta(seconds=900)),
                (
                    NOON + timedelta(seconds=59, milliseconds=999),
                    NOON + timedelta(seconds=1800, milliseconds=500),
                ),
                (NOON + timedelta(seconds=60), NOON + timedelta(seconds=1800, milliseconds=501)),
            ):
                found = store.histogram(query, width, begin, end, by="source")
                assert found == reference.histogram(query, width, begin, end, by="source"), (width, begin)
                found = store.histogram(query, width, begin, end)
                assert found == reference.histogram(query, width, begin, end), (width, begin)
        with pytest.raises(SettingsError, match="60"):
            store.histogram(query, 90, NOON, NOW)

    def test_a_field_that_is_not_counted_is_named_with_those_that_are(self, store: Store) -> None:
        with pytest.raises(SettingsError, match="brand"):
            store.top(EVERYTHING, "colour")
        with pytest.raises(SettingsError, match="brand"):
            store.histogram(EVERYTHING, HOUR, NOON, NOW, by="colour")

    # Accounts

    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_history_brings_every_mention_once_oldest_first(self, store: Store, limit: int) -> None:
        store.write([tagged(f"x:{n}", at=NOON + timedelta(seconds=n * 37 % 11)) for n in range(11)])
        store.write([deleted("x:4")])
        found: list[Hit] = []
        after = None
        while True:
            page, cursor = store.history(after, limit)
            found += page
            if cursor is None:
                break
            after = cursor
        assert sorted(hit.mention.id for hit in found) == sorted(f"x:{n}" for n in range(11) if n != 4)
        assert [hit.mention.created_at for hit in found] == sorted(hit.mention.created_at for hit in found)

    def test_remarks_are_the_labels_and_the_tombstones(self, store: Store) -> None:
        late, early = label("x:1", "sentiment", "negative"), label("x:2", "intent", "praise")
        store.write(
            [tagged("x:1"), tagged("x:3"), late, early, label("x:3", "intent", "spam"), deleted("x:3")]
        )
        remarks = list(store.remarks())
        labels = [remark for remark in remarks if isinstance(remark, Labelled)]
        assert sorted(labels, key=lambda remark: remark.id) == [late, early]
        assert [remark.id for remark in remarks if isinstance(remark, Deleted)] == ["x:3"]

    def test_many_are_found_by_their_ids_at_once(self, store: Store) -> None:
        store.write([tagged("x:1"), tagged("x:2"), deleted("x:2")])
        assert store.many(["x:1", "x:2", "x:9"]) == {"x:1": store.get("x:1")}
        assert store.many([]) == {}

    def test_an_account_is_of_the_instant_before_its_first_id_is_drawn(
        self, store: Store, again: Callable[[Store], Store]
    ) -> None:
        store.write([tagged("x:1"), deleted("x:2")])

        def drawn() -> Iterator[str]:
            again(store).write([tagged("x:3"), deleted("x:1")])
            yield from ("x:1", "x:2", "x:3", "x:4", "x:\0")

        assert store.account(drawn()) == ({"x": Books(1, 1)}, {"x:1": "indexed", "x:2": "deleted"})
        assert store.account(["x:3"]) == ({"x": Books(1, 2)}, {"x:3": "indexed"})

    # Life

    def test_what_was_written_is_there_after_reopening(
        self, store: Store, again: Callable[[Store], Store]
    ) -> None:
        store.write([tagged("x:1"), deleted("x:2"), label("x:3", "brand", "united")])
        store.close()
        store.close()
        other = again(store)
        assert ids(other.search(parsed("flight"))) == ["x:1"]
        other.write([tagged("x:2"), tagged("x:3")])
        assert ids(other.search(EVERYTHING)) == ["x:3", "x:1"]
        assert other.count(parsed("brand:united")) == 1

    def test_readers_see_counts_grow_and_never_fail_while_another_writes(
        self, store: Store, again: Callable[[Store], Store]
    ) -> None:
        reader = again(store)
        done = threading.Event()
        seen: list[int] = []

        def read() -> None:
            while not done.is_set():
                seen.append(reader.count(parsed("flight")))
                found = ids(reader.search(parsed("brand:delta late"), limit=20))
                assert len(set(found)) == len(found)

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            try:
                for batch in range(20):
                    times = [NOON + timedelta(seconds=second) for second in range(25)]
                    store.write([tagged(f"x:{batch}-{i}", at=at) for i, at in enumerate(times)])
            finally:
                done.set()
            reading.result()
        assert seen == sorted(seen)
        assert reader.count(parsed("flight")) == 500

    # Properties

    def test_any_order_and_repetition_of_writes_gives_the_same(self, fresh: Callable[[], Store]) -> None:
        def property(items: list[Item], data: st.DataObject) -> None:
            store, reference = fresh(), Reference(items)
            shuffled = data.draw(st.permutations(items + data.draw(_some_of(items))))
            for batch in _batches(data, shuffled):
                assert store.write(batch) == []
            self.check(store, reference, [EVERYTHING, parsed("brand:delta"), parsed("love OR delay*")])
            known = {key_of(item) for item in items}
            books, states = store.account(known)
            assert held(books) == reference.books()
            assert states == {id: "indexed" for id in ids(reference.hits)} | dict.fromkeys(
                reference.gone, "deleted"
            )
            assert sorted(store.ids()) == sorted((id, state == "deleted") for id, state in states.items())
            store.close()

        self.explore(property, histories(), st.data())

    def test_every_query_finds_and_counts_what_the_matcher_does(self, fresh: Callable[[], Store]) -> None:
        def property(pairs: list[tuple[Mention, Enrichment]], texts: list[str]) -> None:
            store = fresh()
            items = [Tagged(mention, enrichment) for mention, enrichment in pairs]
            assert store.write(items) == []
            self.check(store, Reference(items), [parsed(text) for text in texts])
            store.close()

        self.explore(property, collections(max_size=20), st.lists(queries(), min_size=8, max_size=16))

    def check(self, store: Store, reference: Reference, asked: Sequence[Query]) -> None:
        """Compare answers to `asked`, over all time and over a range that cuts through hours."""
        begin, end = NOW - timedelta(days=2, minutes=7), NOW - timedelta(hours=3, seconds=5)
        for number, query in enumerate(asked):
            found = list(store.search(query, limit=None))
            assert found == reference.search(query), query.text
            within = reference.search(query, begin, end)
            assert store.count(query) == len(found), query.text
            assert store.count(query, begin, end) == len(within), query.text
            assert ids(store.search(query, begin, end)) == ids(within[:50]), query.text
            assert ids(store.sample(query, limit=None)) == reference.sample(query), query.text
            ahead = sum(level(place(hit.mention.id)) >= 3 for hit in found)
            assert store.count(query, level=3) == ahead, query.text
            self.check_order_and_spans(store, reference, query)
            by = (None, *GROUPS)[number % (len(GROUPS) + 1)]
            width = WIDTHS[number % len(WIDTHS)]
            assert store.histogram(query, width, begin, end, by) == reference.histogram(
                query, width, begin, end, by
            ), (query.text, width, by)
            field = GROUPS[number % len(GROUPS)]
            assert store.top(query, field, limit=1000) == reference.top(query, field), (query.text, field)

    def check_order_and_spans(self, store: Store, reference: Reference, query: Query) -> None:
        """Compare the order of relevance, and look at what is marked as found."""
        ranked = page(store, query, order="relevance", limit=1000, taxonomy=TAXONOMY)
        expected = page(cast(Store, reference), query, order="relevance", limit=1000, taxonomy=TAXONOMY)
        assert ids(ranked.hits) == ids(expected.hits), query.text
        for hit in ranked.hits[:5]:
            end = 0
            for start, stop in spans(query, hit.mention, hit.enrichment, TAXONOMY):
                assert end <= start < stop <= len(hit.mention.text), query.text
                assert tokens(hit.mention.text[start:stop]), query.text
                end = stop


@st.composite
def histories(draw: st.DrawFn) -> list[Item]:
    """Draw what may happen to some mentions: texts and tags of several versions, labels, deletions."""
    items: list[Item] = []
    for mention, enrichment in draw(collections(max_size=6)):
        for edit, generation in draw(
            st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=3, unique=True)
        ):
            at = mention.created_at + timedelta(minutes=draw(st.sampled_from([0, 0, 0, edit * 20])))
            tags = replace(enrichment, brands=draw(_brands), generation=generation)
            items.append(
                Tagged(replace(mention, edit=edit, text=f"{mention.text} {edit}", created_at=at), tags)
            )
        for tag, value in draw(st.lists(_labels, max_size=2)):
            items.append(label(mention.id, tag, value, draw(st.integers(0, 3)), draw(_persons)))
        if draw(st.integers(0, 3)) == 0:
            items.append(deleted(mention.id))
    return items


_brands = st.sampled_from([(), ("delta",), ("delta", "love field"), ("southwest",)])
_persons = st.sampled_from(["ana", "bo"])
_labels = st.sampled_from(
    [
        ("sentiment", "negative"),
        ("sentiment", "positive"),
        ("topic", "baggage"),
        ("topic", "late-flight,cancelled"),
        ("topic", ""),
        ("brand", "delta"),
        ("intent", "praise"),
        ("urgency", ""),
    ]
)


def _some_of(items: list[Item]) -> st.SearchStrategy[list[Item]]:
    return st.lists(st.sampled_from(items), max_size=6) if items else st.just([])


def _batches(data: st.DataObject, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    rest = list(items)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        yield rest[:size]
        del rest[:size]
