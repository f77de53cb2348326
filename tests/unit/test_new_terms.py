"""New terms: found when several people say them, and not for one author, copies, a swell, or what was said before."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from hark.alerts import counts, new_term
from hark.alerts.backtest import Backtest, run
from hark.alerts.counts import BUCKET_MS
from hark.alerts.desk import list_incidents
from hark.alerts.evaluate import Stretch, closed_until, evaluate
from hark.alerts.incidents import Incident
from hark.alerts.live import Watch, past_of
from hark.alerts.new_term import Memory
from hark.alerts.rules import Rule
from hark.alerts.terms import Saying, counted, node_of, terms_of
from hark.core.change import Tagged
from hark.core.clock import from_ms, to_ms
from hark.core.mention import Author
from hark.core.protocols import Hit
from hark.core.tree import Query
from hark.query import parse
from hark.query.fields import NO_TAXONOMY
from hark.query.match import Document, Matcher
from hark.state import State
from sinks.embedded import EmbeddedStore
from tests.contract.store_contract import tagged

START = datetime(2026, 11, 2, tzinfo=UTC)
NEWS = START + timedelta(days=3, hours=6)
END = NEWS + timedelta(hours=4)
ALLOWANCE = 120
RULE = Rule(
    "new",
    "A new word",
    parse(""),
    "count",
    ("brand",),
    "new-term",
    minimum_volume=5,
    allowance_seconds=ALLOWANCE,
)


def said(
    number: int, words: str, at: datetime, author: str, brand: str = "delta", label: str = "neutral"
) -> Tagged:
    item = tagged(f"x:{number}", words, at, (brand,), label)
    mention = msgspec.structs.replace(
        item.mention, author=Author(handle=author), collected_at=at + timedelta(seconds=20)
    )
    return Tagged(mention, item.enrichment)


def ordinary(seed: int = 1, times: float = 1.0) -> list[Tagged]:
    """Return what two brands' customers always say, `times` as much in the hour of the news."""
    draw = np.random.default_rng(seed)
    items: list[Tagged] = []
    moment = START
    while moment < END:
        hour = times if NEWS <= moment < NEWS + timedelta(hours=1) else 1.0
        for brand in ("delta", "united"):
            for _ in range(draw.poisson(0.8 * hour)):
                words = " ".join(f"word{at}" for at in draw.zipf(1.4, 7) if at < 5_000)
                at = moment + timedelta(seconds=float(draw.uniform(0, 300)))
                items.append(said(len(items), f"flight {words}", at, f"a{draw.integers(5_000)}", brand))
        moment += timedelta(minutes=5)
    return items


def news(
    words: str, many: int, authors: int = 10**6, begin: datetime = NEWS, label: str = "neutral"
) -> list[Tagged]:
    """Return mentions of delta over an hour that say `words`."""
    return [
        said(
            900_000 + number,
            f"note{number} {words} item{number}",
            begin + timedelta(seconds=3_600 / many * number),
            f"b{number % authors}",
            label=label,
        )
        for number in range(many)
    ]


def tried(store: EmbeddedStore, items: list[Tagged], rule: Rule = RULE) -> Backtest:
    store.write(items)
    return run(store, rule, NO_TAXONOMY, START, END)


def test_a_hashtag_that_many_say_is_told_of_within_the_hour_with_what_it_counts(store: EmbeddedStore) -> None:
    found = tried(store, ordinary() + news("#boycott", 14))
    (alert,) = found.alerts
    assert alert.series == "delta × #boycott"
    assert NEWS + timedelta(minutes=20) < alert.told_at < NEWS + timedelta(hours=1)
    assert alert.expected < 1 < 5 <= alert.observed
    counted_again = store.count(parse(alert.explanation.query), alert.window_begin, alert.window_end)
    assert counted_again == alert.observed
    (incident,) = found.incidents
    assert incident.headline.startswith("delta · “#boycott” is new: ")
    assert incident.ended is not None


def test_every_figure_of_its_explanation_can_be_counted_again_and_adds_up(store: EmbeddedStore) -> None:
    found = tried(store, ordinary() + news("engine fire", 20))
    (incident,) = found.incidents
    explained, explanation = incident.explained, incident.explanation
    assert explained is not None
    assert explanation is not None
    begin, end = from_ms(explained.begin), from_ms(explained.end)
    for name in ("topics", "sources", "authors", "places", "terms"):
        parts = getattr(explanation, name)
        assert round(sum(part.excess for part in parts) * 100) == round(explanation.excess * 100)
        for part in parts:
            assert store.count(parse(part.query), begin, end) == part.observed


@pytest.mark.parametrize(
    ("words", "series"),
    [
        ("engine fire", "delta × engine fire"),
        ("see https://example.com/recall/42", "delta × url:example.com/recall/42"),
    ],
)
def test_a_pair_and_a_link_can_be_new(store: EmbeddedStore, words: str, series: str) -> None:
    (alert,) = tried(store, ordinary() + news(words, 20)).alerts
    assert alert.series == series


def test_one_author_who_repeats_a_word_is_no_news(store: EmbeddedStore) -> None:
    assert tried(store, ordinary() + news("#boycott", 40, authors=2)).alerts == ()


def test_a_text_that_is_copied_is_one_voice(store: EmbeddedStore) -> None:
    copies = [
        Tagged(item.mention, msgspec.structs.replace(item.enrichment, fingerprint="the same"))
        for item in news("#boycott", 40)
    ]
    assert tried(store, ordinary() + copies).alerts == ()


def test_a_common_word_that_swells_and_a_busy_hour_are_no_news(store: EmbeddedStore) -> None:
    # word2 is in a fifth of all mentions; in the busy hour there is six times as much of everything.
    assert tried(store, ordinary(times=6.0) + news("word2", 60)).alerts == ()


def test_what_was_said_yesterday_is_not_new_today(store: EmbeddedStore) -> None:
    yesterday = [
        said(800_000 + n, f"yes{n} #boycott more{n}", NEWS - timedelta(hours=30, minutes=8 * n), f"c{n}")
        for n in range(60)
    ]
    found = tried(store, ordinary() + yesterday + news("#boycott", 6))
    assert [alert for alert in found.alerts if alert.told_at > NEWS - timedelta(hours=12)] == []


def test_what_only_two_brands_together_say_often_is_looked_at_for_each(store: EmbeddedStore) -> None:
    ungrouped = msgspec.structs.replace(RULE, group_by=())
    split = [
        msgspec.structs.replace(
            item, enrichment=msgspec.structs.replace(item.enrichment, brands=(("delta", "united")[at % 2],))
        )
        for at, item in enumerate(news("#boycott", 10))
    ]
    store.write(ordinary() + split)
    together = run(store, ungrouped, NO_TAXONOMY, START, END).alerts
    assert [alert.series for alert in together] == ["#boycott"]
    assert run(store, RULE, NO_TAXONOMY, START, END).alerts == ()


def test_of_complaints_only_those_are_heard(store: EmbeddedStore) -> None:
    complaints = msgspec.structs.replace(RULE, metric="complaints")
    angry = [
        Tagged(
            item.mention,
            msgspec.structs.replace(
                item.enrichment,
                sentiment=msgspec.structs.replace(item.enrichment.sentiment, label="negative"),
            ),
        )
        for item in ordinary()
    ]
    found = tried(
        store,
        angry
        + news("#happy", 14)
        + [
            msgspec.structs.replace(
                item, mention=msgspec.structs.replace(item.mention, id=item.mention.id + "n")
            )
            for item in news("#boycott", 14, label="negative")
        ],
        complaints,
    )
    assert [alert.series for alert in found.alerts] == ["delta × #boycott"]
    assert "sentiment:negative" in found.alerts[0].explanation.query


def test_cut_anywhere_with_its_checkpoint_it_says_the_same_as_in_one_go(store: EmbeddedStore) -> None:
    store.write(ordinary() + news("#boycott", 14))
    begin, end = to_ms(START), to_ms(END)

    def stretch(first: int, last: int) -> Stretch:
        return Stretch(first, last, counts.read(store, [RULE], NO_TAXONOMY, first, last, None)["new"], {})

    expected, whole = evaluate(RULE, stretch(begin, end))
    assert [verdict.event for verdict in expected if verdict.event] == ["begin", "end"]
    cuts = [begin, to_ms(NEWS - timedelta(hours=20))]
    cuts += range(to_ms(NEWS), to_ms(NEWS + timedelta(hours=2)), BUCKET_MS)
    said_in_parts, checkpoint = [], b""
    for first, last in zip(cuts, [*cuts[1:], end], strict=True):
        verdicts, checkpoint = evaluate(RULE, stretch(first, last), checkpoint)
        said_in_parts += verdicts
    assert said_in_parts == expected
    assert checkpoint == whole


def test_live_is_replay_and_what_comes_too_late_is_not_heard(store: EmbeddedStore, state: State) -> None:
    items = ordinary()
    late = timedelta(hours=3)
    for number, item in enumerate(news("#boycott", 28)):
        # Every second one is collected hours later.
        at = item.mention.created_at + (late if number % 2 else timedelta(seconds=30))
        items.append(Tagged(msgspec.structs.replace(item.mention, collected_at=at), item.enrichment))
    coming = sorted(items, key=lambda item: item.mention.collected_at)
    moment, place = NEWS - timedelta(hours=2), 0
    while moment <= END + timedelta(minutes=10):
        arrived = [item for item in coming[place:] if item.mention.collected_at <= moment]
        store.write(arrived)
        place += len(arrived)
        # Every step is another process, and two of them do it.
        for _ in range(2):
            Watch(store, state, {"new": RULE}, NO_TAXONOMY, [], lambda connection, event: None).step(
                closed_until(moment, ALLOWANCE)
            )
        moment += timedelta(minutes=30)
    watch = Watch(store, state, {"new": RULE}, NO_TAXONOMY, [], lambda connection, event: None)
    replayed = run(store, RULE, NO_TAXONOMY, START, from_ms(watch.through() or 0), past_of(state, RULE))
    (live,) = [shown.incident for shown in list_incidents(state)]
    (other,) = replayed.incidents
    assert plain(live) == plain(other)
    everything = run(store, RULE, NO_TAXONOMY, START, END)
    assert everything.alerts[0].told_at < replayed.alerts[0].told_at


def plain(incident: Incident) -> object:
    found = msgspec.to_builtins(msgspec.structs.replace(incident, notify=()))
    del found["explanation"], found["explained"]
    return found


def test_a_spike_of_the_same_cause_and_its_new_word_are_one_incident(
    store: EmbeddedStore, state: State
) -> None:
    spike = Rule(
        "spike",
        "Complaints",
        parse(""),
        "complaints",
        ("brand",),
        "spike",
        minimum_volume=5,
        allowance_seconds=ALLOWANCE,
    )
    complaints = [
        said(700_000 + n, f"complaint{n} late", START + timedelta(minutes=9 * n), f"d{n}", label="negative")
        for n in range(500)
    ]
    store.write(ordinary() + complaints + news("engine fire", 60, label="negative"))
    rules = {"new": RULE, "spike": spike}
    moment = NEWS - timedelta(hours=2)
    while moment <= NEWS + timedelta(hours=2):
        Watch(store, state, rules, NO_TAXONOMY, [], lambda connection, event: None).step(
            closed_until(moment, ALLOWANCE)
        )
        moment += timedelta(minutes=30)
    (incident,) = [
        shown.incident for shown in list_incidents(state) if shown.opened_at > NEWS - timedelta(hours=1)
    ]
    assert {member.rule for member in incident.members} == {"new", "spike"}


def test_what_is_remembered_is_bounded_and_the_new_is_still_found(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_term, "MOST_KNOWN", 300)
    monkeypatch.setattr(new_term, "MOST_A_BUCKET", 30)
    memories: list[Memory] = []
    update = Memory.update

    def watched(self: Memory, *given: object) -> object:
        memories[:] = [self]
        return update(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Memory, "update", watched)
    found = tried(store, ordinary() + news("#boycott", 20))
    assert "delta × #boycott" in {alert.series for alert in found.alerts}
    assert len(memories[0].known) <= 450
    assert max(len(row.heard) for row in memories[0].rows) <= 30


def test_within_a_window_no_voice_counts_twice() -> None:
    def saying(minute: int, author: str, copy: str) -> Saying:
        at = minute * 60_000
        return Saying(
            at, f"{minute}-{author}", at // BUCKET_MS * BUCKET_MS, ("g",), "x", author, copy, ("word",)
        )

    each = [
        saying(0, "ann", "1"),
        saying(10, "ann", "2"),
        saying(20, "bob", "1"),
        saying(30, "cid", "3"),
        saying(90, "cid", "4"),
        saying(149, "ann", "5"),
    ]
    found = counted(each, 3_600_000, 0, " × ")
    voices = {start // 60_000: cells["g × word"]["x"] for start, cells in found.items()}
    assert voices == {0: (1, 1), 10: (1, 0), 20: (1, 0), 30: (1, 1), 90: (1, 1), 145: (1, 1)}


def test_terms_are_words_pairs_hashtags_links_and_sites_without_people_and_what_is_always_said() -> None:
    item = tagged("web:1", "@kim the Engine fire on #SWA1380, 42 at https://www.example.com/a/?", START)
    mention = msgspec.structs.replace(item.mention, url="https://news.example.org/story")
    found = terms_of(Hit(mention, item.enrichment))
    assert set(found) == {
        "engine", "fire", "engine fire", "#swa1380", "url:example.com/a", "site:news.example.org",
    }  # fmt: skip
    document = Document(mention, item.enrichment, NO_TAXONOMY)
    for term in found:
        assert Matcher(Query("", node_of(term))).matches(document), term
