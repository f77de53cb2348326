"""What another generation of tags changes: mention by mention, with examples, and in the trends.

Two stores hold the same mentions with tags of two versions. Those that both hold are compared in the order of time;
what only one of them holds was collected or deleted a moment ago, or refused by one chain, and is counted as such.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from msgspec import Struct, field

from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Hit, Store
from hark.query import parse

_PAGE = 1_000
_DAY = 86_400
ONE = ("sentiment", "intent", "urgency", "journey", "language")
"""Tags of which a mention has one, or none."""
SEVERAL = ("topic", "brand")
"""Tags of which a mention has any number."""
NOTHING = "none"
"""Stands for a tag that a mention does not have."""


class Example(Struct, frozen=True):
    """A mention whose tag changed."""

    id: str
    text: str
    before: str
    after: str


class Move(Struct):
    """So many mentions had one value before and have the other after."""

    before: str
    after: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Course(Struct, frozen=True):
    """Mentions of a value in a range of time, before and after; net sentiment is None where there are none."""

    value: str
    before: int
    after: int
    net_before: float | None
    net_after: float | None


class Difference(Struct):
    """What changes from generation `before` to generation `after`.

    `compared` mentions stand in both, in the same edit; `changed` of them have another tag. `moves` holds for each
    tag the transitions, the most frequent first: a topic or brand added comes from "none", one removed goes there.
    `trends` are those of the days before `until`: all mentions, then by topic, then by brand.
    """

    before: int
    after: int
    since: datetime | None
    compared: int = 0
    changed: int = 0
    missing: int = 0
    """Held before, and not after."""
    moves: dict[str, list[Move]] = field(default_factory=dict)
    trends_since: datetime | None = None
    trends_until: datetime | None = None
    trends: dict[str, list[Course]] = field(default_factory=dict)


def difference(
    numbers: tuple[int, int],
    before: Store,
    after: Store,
    since: datetime | None,
    trends: tuple[datetime, datetime],
    examples: int = 3,
    seen: Callable[[int], None] = lambda _: None,
) -> Difference:
    """Compare two generations' stores: mentions created from `since` on, and the range `trends`.

    `seen` is told how many mentions were compared since the last time. Takes about 30 s for a million mentions.
    """
    moves: dict[tuple[str, str, str], Move] = {}
    found = Difference(*numbers, since)
    for page in _pages(before, since):
        others = after.many([hit.mention.id for hit in page])
        for hit in page:
            other = others.get(hit.mention.id)
            if other is None:
                found.missing += 1
            elif other.mention.edit == hit.mention.edit:
                found.compared += 1
                found.changed += _compare(hit.mention, hit.enrichment, other.enrichment, moves, examples)
        seen(len(page))
    for tag in (*ONE, *SEVERAL):
        mine = [move for (kind, _, _), move in moves.items() if kind == tag]
        found.moves[tag] = sorted(mine, key=lambda move: (-move.count, move.before, move.after))
    found.trends_since, found.trends_until = trends
    for by in (None, "topic", "brand"):
        found.trends[by or "all"] = list(_courses(before, after, by, *trends))
    return found


def _pages(store: Store, since: datetime | None) -> Iterator[list[Hit]]:
    after: str | None = None
    while True:
        page, after = store.history(after, _PAGE)
        if after is None:
            return
        yield [hit for hit in page if since is None or hit.mention.created_at >= since]


def _compare(
    mention: Mention,
    before: Enrichment,
    after: Enrichment,
    moves: dict[tuple[str, str, str], Move],
    examples: int,
) -> bool:
    changed = False
    for tag, old, new in _changes(before, after):
        changed = True
        move = moves.setdefault((tag, old, new), Move(old, new))
        move.count += 1
        if len(move.examples) < examples:
            move.examples.append(Example(mention.id, mention.text[:280], old, new))
    return changed


def _changes(before: Enrichment, after: Enrichment) -> Iterator[tuple[str, str, str]]:
    for tag in ONE:
        old, new = _value(before, tag), _value(after, tag)
        if old != new:
            yield tag, old, new
    for tag in SEVERAL:
        old_ones, new_ones = _values(before, tag), _values(after, tag)
        for gone in sorted(old_ones - new_ones):
            yield tag, gone, NOTHING
        for come in sorted(new_ones - old_ones):
            yield tag, NOTHING, come


def _value(tags: Enrichment, tag: str) -> str:
    if tag == "sentiment":
        return tags.sentiment.label
    if tag == "language":
        return tags.language.code
    return getattr(tags, tag) or NOTHING


def _values(tags: Enrichment, tag: str) -> set[str]:
    return set(tags.brands) if tag == "brand" else {topic.id for topic in tags.topics}


def _courses(
    before: Store, after: Store, by: str | None, since: datetime, until: datetime
) -> Iterable[Course]:
    old, new = _sums(before, by, since, until), _sums(after, by, since, until)
    order: Counter[str] = Counter({value: old.get(value, (0, 0))[0] for value in old.keys() | new.keys()})
    for value, _ in sorted(order.items(), key=lambda item: (-item[1], item[0])):
        count, net = old.get(value, (0, 0))
        other_count, other_net = new.get(value, (0, 0))
        yield Course(value, count, other_count, _share(net, count), _share(other_net, other_count))


def _sums(store: Store, by: str | None, since: datetime, until: datetime) -> dict[str, tuple[int, int]]:
    """Return for each value the number of mentions, and of positive less negative ones."""
    sums: dict[str, tuple[int, int]] = {}
    for bucket in store.histogram(parse(""), _DAY, since, until, by):
        count, net = sums.get(bucket.group or "", (0, 0))
        sums[bucket.group or ""] = count + bucket.count, net + bucket.positive - bucket.negative
    return sums


def _share(net: int, count: int) -> float | None:
    return net / count if count else None
