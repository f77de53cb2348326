"""Drift: the index, what it is compared with, and how workers count."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY

from bench.texts import texts
from enrich.chain import Chain, build_chain
from enrich.drift import Reference, Row, Tally, share_unknown, versions_of_tags
from enrich.features import names_of_brands
from enrich.model import Models
from enrich.phrasebook import load as load_phrasebook
from hark.core.clock import EARLIEST
from hark.core.draft import Draft
from hark.core.errors import TransientError
from hark.core.mention import Language, Mention, Sentiment, Topic, Vader
from hark.drift import FEWEST, Counting, TagDrift, drift, population_stability
from hark.settings import SHIPPED, load
from hark.state import State, open_state
from hark.state.drift import TagCounts
from tests.unit.test_model import learnt as learn

learnt = cache(learn)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
shipped = load(SHIPPED, Path("unused"))
NO_VADER = Vader(0.0, 0.0, 0.0, 0.0)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = open_state("embedded", tmp_path)
    yield opened
    opened.close()


def draft(label: str = "neutral", sure: float = 0.5, code: str = "en", *topics: Topic) -> Draft:
    made = Draft(Mention("a:1", "a", "text", EARLIEST, EARLIEST), "text")
    made.sentiment = Sentiment(label, 0.0, sure, NO_VADER)
    made.language = Language(code, 1.0)
    made.topics = topics
    return made


def test_the_index_is_that_of_the_definition() -> None:
    # (.6 - .5) ln(.6 / .5) + (.4 - .5) ln(.4 / .5), for so many texts that the halves do not show
    found, _ = population_stability({"a": 5_000_000, "b": 5_000_000}, {"a": 6_000_000, "b": 4_000_000})
    assert found == pytest.approx(0.0405465, abs=1e-6)


def test_the_index_is_0_where_nothing_moved_and_the_same_in_both_directions() -> None:
    then, present = {"a": 700, "b": 300}, {"a": 300, "b": 650, "c": 50}
    assert population_stability(then, then)[0] == 0.0
    assert population_stability(then, present)[0] == pytest.approx(
        population_stability(present, then)[0], abs=0.01
    )
    assert 0.5 < population_stability(then, present)[0] < 2


def test_a_value_never_seen_before_and_a_hundred_rare_ones_do_not_carry_the_index_away() -> None:
    rare = {f"rare {at}": 1 for at in range(100)}
    index, _ = population_stability({"a": 50_000}, {"a": 50_000, **rare})
    assert index < 0.02
    index, _ = population_stability({"a": 1000}, {"b": 1000})
    assert 0.25 < index < 20


def test_chance_alone_stays_below_its_bound_nineteen_times_in_twenty() -> None:
    chance = np.random.default_rng(3)
    shares = [0.35, 0.25, 0.2, 0.1, 0.06, 0.04]
    above = 0
    for _ in range(1000):
        then, present = (
            {str(at): int(n) for at, n in enumerate(chance.multinomial(size, shares))} for size in (800, 1500)
        )
        index, bound = population_stability(then, present)
        above += index > bound
    assert 25 <= above <= 80


def test_sentiment_is_counted_where_it_could_be_judged_and_numbers_by_their_range() -> None:
    tally = Tally()
    tally.add([draft("negative", 0.87), draft("negative", 0.81), draft("positive", 0.0, "fi")])
    rows = {row[:2]: row[2:] for row in tally.take()}
    assert rows["sentiment", "negative"] == (2, 0.0)
    assert ("sentiment", "positive") not in rows
    assert rows["sentiment confidence", "0.8"] == (2, pytest.approx(1.68))
    assert rows["language", "fi"] == (1, 0.0)
    assert rows["topic", "none"] == (3, 0.0)
    assert tally.take() == []


def test_where_a_topic_model_serves_only_its_topics_are_counted() -> None:
    tally = Tally({"late"})
    tally.add(
        [
            draft("neutral", 0.5, "en", Topic("late", 0.9), Topic("bags", 0.4)),
            draft(),
            draft("neutral", 0.5, "en", Topic("bags", 1.0)),
        ]
    )
    rows = {row[:2]: row[2:] for row in tally.take()}
    assert {key for key in rows if key[0].startswith("topic")} == {
        ("topic", "late"),
        ("topic confidence", "0.9"),
    }


def test_words_that_a_model_has_no_weight_of_are_unknown() -> None:
    assert share_unknown(["late", "again", "late", "zorp"], {"late", "again"}) == 0.25
    assert share_unknown([], {"late"}) is None


@pytest.fixture(scope="module")
def chain() -> Chain:
    """The shipped chain with a model that was learnt from made-up texts."""
    model = learnt().model
    steps = [
        Models([model], frozenset(names_of_brands(shipped.brands)), load_phrasebook(SHIPPED))
        if step.name == "model"
        else step
        for step in build_chain(SHIPPED, shipped.brands).steps
    ]
    return Chain(steps)


def told(texts: list[str]) -> list[Mention]:
    return [Mention(f"a:{at}", "a", text, NOON, NOON) for at, text in enumerate(texts)]


def mean(rows: tuple[Row, ...] | list[Row], tag: str) -> float:
    chosen = [row for row in rows if row[0] == tag]
    return sum(row[3] for row in chosen) / sum(row[2] for row in chosen)


def test_a_models_figures_are_of_texts_that_it_had_not_seen(chain: Chain) -> None:
    training = learnt()
    figures = training.model.figures
    count = len(training.examples.texts)
    assert sum(row[2] for row in figures if row[0] == "language") == count
    assert sum(row[2] for row in figures if row[0] == "unknown words") == count
    assert not [row for row in figures if row[0].startswith("topic") or row[0] == "intent"]
    # On what it learnt from, it is surer.
    tally = chain.tally = Tally()
    chain.tag(told(training.examples.texts))
    chain.tally = None
    assert mean(tally.take(), "sentiment confidence") > mean(figures, "sentiment confidence")


def test_a_topic_models_figures_are_its_labels(chain: Chain) -> None:
    training = learnt("topic")
    assert {row[0] for row in training.model.figures} <= {
        "topic",
        "topic confidence",
        "language",
        "unknown words",
    }
    assert {row[1] for row in training.model.figures if row[0] == "topic"} <= set(training.model.labels)
    both = Models([training.model, learnt().model], frozenset(), load_phrasebook(SHIPPED)).reference
    assert both.topics == set(training.model.labels)
    assert len([row for row in both.rows if row[0] == "language"]) == len(
        {row for row in both.rows if row[0] == "language"}
    )


def test_labels_that_a_second_opinion_may_change_are_not_held_against_the_first() -> None:
    asked = msgspec.structs.replace(learnt().model, second="some hash")
    rows = Models([asked], frozenset(), load_phrasebook(SHIPPED)).reference.rows
    assert {row[0] for row in rows} == {"language", "unknown words"}


def by_tag(counts: TagCounts, clock: Hand) -> dict[str, TagDrift]:
    found = drift(counts, clock)
    assert found is not None
    return {one.tag: one for one in found.tags}


def test_texts_like_those_of_the_training_are_steady_and_others_are_told_of(
    state: State, chain: Chain
) -> None:
    clock = Hand()
    counting = Counting(state, clock)
    counting.watch(chain)
    like = learnt().examples.texts * 4
    chain.tag(told(like))
    counting.add_up()
    counts = TagCounts(state, clock)
    found = by_tag(counts, clock)
    assert found["sentiment"].since == "training"
    assert found["sentiment"].verdict == "steady"
    assert REGISTRY.get_sample_value("hark_drift_index", {"tag": "sentiment"}) == found["sentiment"].index

    clock.moment += timedelta(days=8)  # the week before is out of sight
    chain.tag(told([f"gözleme kvarner blivit obskur {at % 7} lovely seat" for at in range(900)]))
    counting.add_up()
    found = by_tag(counts, clock)
    assert found["unknown words"].verdict == "look"
    assert (found["unknown words"].mean_now or 0) > 0.4 > (found["unknown words"].mean_then or 0)
    assert found["unknown words"].texts_now == 900
    assert found["unknown words"].moved[0].value in ("0.0", "0.5")
    shown = REGISTRY.get_sample_value(
        "hark_tag_share", {"tag": "unknown words", "value": "0.5", "when": "now"}
    )
    assert shown is not None
    assert shown > 0.9
    chain.tally = None


def counted(share: float, count: int = FEWEST) -> dict[tuple[str, str], tuple[int, float]]:
    negative = int(share * count)
    return {("sentiment", "negative"): (negative, 0.0), ("sentiment", "neutral"): (count - negative, 0.0)}


def test_without_a_model_the_first_week_of_a_version_is_what_is_compared_with(state: State) -> None:
    clock = Hand()
    counts = TagCounts(state, clock)
    assert drift(counts, clock) is None
    for _ in range(7):
        counts.add("v1", msgspec.json.encode(Reference()).decode(), counted(0.3))
        found = by_tag(counts, clock)["sentiment"]
        assert (found.since, found.verdict, found.index, found.texts_now) == (
            "first week",
            "too few",
            None,
            0,
        )
        clock.moment += timedelta(days=1)
    counts.add("v1", "{}", counted(0.3))
    assert by_tag(counts, clock)["sentiment"].verdict == "steady"
    clock.moment += timedelta(days=7)
    counts.add("v1", "{}", counted(0.75))
    found = by_tag(counts, clock)["sentiment"]
    assert (found.verdict, found.texts_then, found.texts_now) == ("look", 7 * FEWEST, FEWEST)
    assert (found.moved[0].then, found.moved[0].now) == (0.3, 0.75)


def given(**versions: str) -> str:
    return msgspec.json.encode(Reference(versions=versions)).decode()


def test_a_tag_that_an_edit_does_not_touch_goes_on_and_the_others_begin_a_first_week_of_their_own(
    state: State,
) -> None:
    clock = Hand()
    counts = TagCounts(state, clock)
    topics = {("topic", "late"): (FEWEST, 0.0)}
    for _ in range(8):
        counts.add("v1", given(sentiment="a", topic="a"), counted(0.3) | topics)
        clock.moment += timedelta(days=1)
    counts.add("v2", given(sentiment="a", topic="b"), counted(0.3) | topics)
    found = by_tag(counts, clock)
    assert (found["sentiment"].verdict, found["sentiment"].texts_then) == ("steady", 7 * FEWEST)
    assert (found["topic"].verdict, found["topic"].texts_then) == ("too few", FEWEST)
    clock.moment += timedelta(days=7)
    counts.add("v2", given(sentiment="a", topic="b"), counted(0.75) | topics)
    found = by_tag(counts, clock)
    assert (found["sentiment"].verdict, found["sentiment"].texts_now) == ("look", FEWEST)
    assert (found["topic"].verdict, found["topic"].texts_now) == ("steady", FEWEST)
    # Taken back, it is compared with what it was before.
    clock.moment += timedelta(minutes=1)
    counts.add("v3", given(sentiment="a", topic="a"), topics)
    assert by_tag(counts, clock)["topic"].texts_then == 7 * FEWEST


def test_an_edit_changes_the_versions_of_the_tags_that_it_touches_and_of_no_others() -> None:
    steps = {step.name: step.version for step in build_chain(SHIPPED, shipped.brands).steps}
    before = versions_of_tags(steps, trained=False)

    def touched(name: str, trained: bool = False) -> set[str]:
        was = before if not trained else versions_of_tags(steps, trained=True)
        after = versions_of_tags(steps | {name: "other"}, trained)
        return {tag for tag in after if after[tag] != was[tag] and tag != "unknown words"}

    assert touched("brands") == touched("urgency") == set()
    assert touched("topics") == {"topic", "topic confidence"}
    assert touched("sentiment") == {"sentiment", "sentiment confidence", "intent"}
    assert touched("intent") == {"intent"}
    assert touched("language") == before.keys() - {"unknown words"}
    assert touched("topics", trained=True) == before.keys() - {"unknown words", "language"}


def test_a_tag_is_decided_by_the_steps_that_its_version_names() -> None:
    chain = build_chain(SHIPPED, shipped.brands)
    mentions = [
        Mention(f"a:{at}", "a", text, NOON, NOON)
        for at, text in enumerate([*texts(300, 5), "Le vol est annulé, merci pour rien", "ok", "你好"])
    ]
    steps = {step.name: step.version for step in chain.steps}
    whole = chain.tag(mentions)
    for tag, read in {
        "language": lambda tags: tags.language,
        "sentiment": lambda tags: tags.sentiment,
        "topic": lambda tags: tags.topics,
        "intent": lambda tags: tags.intent,
    }.items():
        before = versions_of_tags(steps, trained=False)[tag]
        named = [
            step
            for step in chain.steps
            if versions_of_tags(steps | {step.name: "other"}, trained=False)[tag] != before
        ]
        assert 1 < len(named) < 6
        assert list(map(read, Chain(named).tag(mentions))) == list(map(read, whole))


def test_fewer_mentions_than_can_be_judged_are_not_judged(state: State) -> None:
    clock = Hand()
    counts = TagCounts(state, clock)
    counts.add("v1", "{}", counted(0.3))
    clock.moment += timedelta(days=8)
    counts.add("v1", "{}", counted(0.9, FEWEST - 1))
    assert by_tag(counts, clock)["sentiment"].verdict == "too few"


def test_what_was_counted_while_the_database_is_away_is_told_to_be_lost(
    state: State, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(state, Hand())
    counting.watch(chain)
    chain.tag(told(["hello there"]))

    def away(*_: Any) -> None:
        raise TransientError("away")

    with monkeypatch.context() as patch:
        patch.setattr(TagCounts, "add", away)
        counting.try_to_add_up()
    stop = threading.Event()
    stop.set()
    counting.loop(stop)
    counting.try_to_add_up()
    assert by_tag(TagCounts(state), Hand())["language"].texts_now == 0
    chain.tally = None
