"""Changes of shares and of net sentiment: both ways, and never on a handful of mentions."""

from datetime import UTC, datetime, timedelta
from math import exp, log
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hark.alerts.backtest import run
from hark.alerts.change import BAR, Change, divergence
from hark.alerts.evaluate import Stretch, Verdict, evaluate
from hark.alerts.rules import Rule, RuleEntry, RuleError, rule_of
from hark.core.change import Tagged
from hark.core.clock import from_ms, to_ms
from hark.query import parse
from hark.query.fields import ancestors
from hark.settings import SHIPPED
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged

START = datetime(2026, 11, 2, tzinfo=UTC)
MOVES = 4 * 288
ROWS = MOVES + 48
NET = Rule("mood", "Mood", parse(""), "net-sentiment", (), "change", minimum_volume=30, direction="down")


def moods(
    before: tuple[float, float], after: tuple[float, float], mean: float = 8.0
) -> list[tuple[int, int]]:
    """Return (positive - negative, all) by row; the shares of positive and negative ones change at MOVES."""
    draw = np.random.default_rng(7)
    rows = []
    for row in range(ROWS):
        positive, negative = after if row >= MOVES else before
        every = int(draw.poisson(mean))
        good, bad, _ = draw.multinomial(every, [positive, negative, 1 - positive - negative])
        rows.append((int(good - bad), every))
    return rows


def told(rows: list[tuple[int, int]], rule: Rule = NET) -> list[Verdict]:
    begin = to_ms(START)
    cells = {begin + at * 300_000: {None: {"x": row}} for at, row in enumerate(rows) if row[1]}
    verdicts, _ = evaluate(rule, Stretch(begin, begin + len(rows) * 300_000, cells, {}))
    return [verdict for verdict in verdicts if verdict.event == "begin"]


def test_net_sentiment_that_falls_is_told_with_what_it_is_and_was() -> None:
    (found,) = told(moods((0.3, 0.2), (0.1, 0.6)))
    place = (found.start - to_ms(START)) // 300_000
    assert MOVES < place < MOVES + 12
    assert found.expected == pytest.approx(0.1, abs=0.05)
    assert found.value is not None
    assert found.value < found.upper < found.expected
    assert found.window is not None
    assert found.window.observed / found.window.volume == pytest.approx(found.value)
    assert found.window.expected / found.window.volume == pytest.approx(0.1, abs=0.08)


@pytest.mark.parametrize(
    ("direction", "after", "expected"),
    [
        ("up", (0.7, 0.1), 1),
        ("down", (0.7, 0.1), 0),
        ("either", (0.7, 0.1), 1),
        ("up", (0.1, 0.6), 0),
        ("either", (0.1, 0.6), 1),
        ("either", (0.3, 0.2), 0),
    ],
)
def test_a_rule_looks_the_way_that_it_says(direction: str, after: tuple[float, float], expected: int) -> None:
    rule = msgspec.structs.replace(NET, direction=direction)
    assert len(told(moods((0.3, 0.2), after), rule)) == expected


def test_more_of_the_same_mood_is_no_change() -> None:
    rows = moods((0.3, 0.2), (0.3, 0.2))
    busy = [(part * 5, every * 5) if at >= MOVES else (part, every) for at, (part, every) in enumerate(rows)]
    assert told(busy) == []


def test_a_share_of_negative_ones_can_fall() -> None:
    draw = np.random.default_rng(3)
    rows = []
    for row in range(ROWS):
        every = int(draw.poisson(12))
        rows.append((int(draw.binomial(every, 0.1 if row >= MOVES else 0.4)), every))
    rule = msgspec.structs.replace(NET, metric="share-negative")
    assert len(told(rows, rule)) == 1
    assert told(rows, msgspec.structs.replace(rule, direction="up")) == []


def test_the_evidence_of_a_few_mentions_is_no_more_than_chance_allows() -> None:
    def score(seen: int, of: int) -> float:
        detector = Change(12)
        for row in range(600):
            detector.update(300.0 * row, 300.0, (1, 10), BAR)
        detector.rows.clear()
        detector.overdispersion = 1.0
        return detector.update(300.0 * 600, 300.0, (seen, of), BAR)[2]

    # Three of three at a share of a tenth: one chance in a thousand, 6.5 standard deviations of a normal.
    for many in (1, 2, 3, 4, 5):
        chance = 0.1**many
        assert exp(-((score(many, many) * BAR) ** 2) / 2) >= 0.95 * chance
    assert score(3, 3) < 1 < score(30, 60)


def test_divergence_is_that_of_two_coins() -> None:
    assert divergence(0.5, 0.5) == 0
    assert divergence(1.0, 0.25) == pytest.approx(log(4))
    assert divergence(0.0, 0.25) == pytest.approx(log(4 / 3))


def test_what_brings_the_mood_down_is_explained_and_adds_up(tmp_path: Path) -> None:
    taxonomy = ancestors({"baggage": (), "food": ()})
    store = EmbeddedStore(tmp_path / "store.db", taxonomy)
    draw = np.random.default_rng(5)
    items: list[Tagged] = []
    for minute in range(0, 3 * 1440, 3):
        fallen = minute >= 3 * 1440 - 180
        for _ in range(2 if fallen else 1):
            topic = "baggage" if fallen and draw.random() < 0.6 else "food"
            label = (
                "negative" if topic == "baggage" else str(draw.choice(["positive", "neutral", "negative"]))
            )
            at = START + timedelta(minutes=minute)
            items.append(
                tagged(f"x:{len(items)}", f"text {len(items)}", at, ("delta",), label, topics=(topic,))
            )
    store.write(items)
    rule = msgspec.structs.replace(NET, group_by=("brand",), window_seconds=7200)
    found = run(store, rule, taxonomy, START, START + timedelta(days=3))
    (incident,) = found.incidents
    explained, explanation = incident.explained, incident.explanation
    assert explained is not None
    assert explanation is not None
    assert explained.observed < explained.expected
    assert explanation.topics[0].value == "baggage"
    assert explanation.topics[0].excess < 0
    begin, end = from_ms(explained.begin), from_ms(explained.end)
    for name in ("topics", "sources", "authors", "places", "terms"):
        parts = getattr(explanation, name)
        assert round(sum(part.excess for part in parts) * 100) == round(explanation.excess * 100)
        for part in parts:
            of = [hit.enrichment.sentiment.label for hit in store.search(parse(part.query), begin, end, None)]
            assert of.count("positive") - of.count("negative") == part.observed
    assert "net sentiment " in incident.headline
    assert "baggage" in incident.headline
    store.close()


def test_only_a_change_has_a_direction_and_net_sentiment_is_watched_for_its_fall() -> None:
    assert rule_of(SHIPPED, RuleEntry("a", "change", "net-sentiment")).direction == "down"
    assert rule_of(SHIPPED, RuleEntry("a", "change", "share-negative")).direction == "up"
    with pytest.raises(RuleError, match="direction"):
        rule_of(SHIPPED, RuleEntry("a", "spike", "count", direction="down"))
    with pytest.raises(RuleError, match='"change" for the metric "net-sentiment"'):
        rule_of(SHIPPED, RuleEntry("a", "threshold", "net-sentiment"))
