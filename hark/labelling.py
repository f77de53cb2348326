"""What persons' labels tell: which mentions to label next, and how far two persons agree.

Agreement is Cohen's kappa (Cohen 1960): the share on which two persons agree, less what chance would give, as a part
of what chance leaves. Its interval is by the percentile bootstrap over the mentions that both labelled.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import combinations

import numpy as np
from msgspec import Struct

from enrich.measures import Scores, Sureness, scores, sureness
from hark.bus import publish_changes
from hark.core.change import Labelled
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Bus, Hit, Store
from hark.core.tree import Query
from hark.state.labels import Labels

TagAgain = Callable[[Sequence[Mention]], Sequence[Enrichment]]
NO_TOPIC = "none"
LOOKED_AT = 5_000
"""How many mentions the queue is chosen from: a stable sample of those that match."""
_RESAMPLES = 1_000
_PAGE = 500


class Agreement(Struct, frozen=True):
    """How far two persons agree on one tag; `kappa` is None where chance alone explains all (one value for all)."""

    tag: str
    first: str
    second: str
    mentions: int
    agreed: float
    kappa: float | None
    low: float | None
    high: float | None


class Uncertain(Struct, frozen=True):
    """A mention that is worth a person's look: how sure its tag is, and what persons said of it so far."""

    hit: Hit
    confidence: float
    said: tuple[Labelled, ...]

    def says(self, tag: str) -> str:
        """Return what the tag is now."""
        return value_of(self.hit, tag)

    @property
    def disputed(self) -> bool:
        """Whether persons said different things."""
        return len({label.value for label in newest(self.said)}) > 1


def give(said: Sequence[Labelled], labels: Labels, bus: Bus) -> int:
    """Keep labels and publish them; and what was kept before and not sent, since its process died: returns how many.

    Raises TransientError while log or state is away; what is kept by then is sent with the next labels.
    """
    publish = partial(publish_changes, bus)
    labels.give(said, publish)
    return labels.send_again(publish)


class Quality(Struct, frozen=True):
    """How often the tags are what people said; `scores` and `sureness` are None where nothing was labelled.

    `disputed`: mentions that people labelled differently, left out. `gone`: of mentions that are not here any more.
    """

    tag: str
    mentions: int
    disputed: int
    gone: int
    scores: Scores | None
    sureness: Sureness | None


def measured(said: Iterable[Labelled], store: Store, tag_again: TagAgain, tag: str) -> Quality:
    """Compare what people said of `tag` with what the tags are when nobody is asked: the texts are tagged anew.

    A mention counts once, with what its people agree on. Of several topics the first that people named is held
    against the most confident one. The labels are those of mentions that somebody chose to label: where the doubtful
    ones were labelled first, the tags look worse than they are.
    """
    by_id: dict[str, list[Labelled]] = {}
    for label in newest(said):
        by_id.setdefault(label.id, []).append(label)
    agreed = {id: one[0].value for id, one in by_id.items() if len({label.value for label in one}) == 1}
    truth: list[str] = []
    tags: list[str] = []
    sure: list[float] = []
    gone = 0
    ids = list(agreed)
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        hits = store.many(page)
        here = [hits[id].mention for id in page if id in hits]
        gone += len(page) - len(here)
        for mention, made in zip(here, tag_again(here), strict=True):
            hit = Hit(mention, made)
            truth.append(agreed[mention.id].partition(",")[0].strip() or NO_TOPIC)
            tags.append(value_of(hit, tag))
            sure.append(confidence(hit, tag))
    disputed = len(by_id) - len(agreed)
    if not truth:
        return Quality(tag, 0, disputed, gone, None, None)
    right = [a == b for a, b in zip(truth, tags, strict=True)]
    return Quality(tag, len(truth), disputed, gone, scores(truth, tags), sureness(sure, right))


def value_of(hit: Hit, tag: str) -> str:
    """Return what `tag` says: the sentiment's label, or the most confident topic."""
    if tag == "topic":
        return hit.enrichment.topics[0].id if hit.enrichment.topics else NO_TOPIC
    return hit.enrichment.sentiment.label


def confidence(hit: Hit, tag: str) -> float:
    """Return how sure `tag` ("sentiment" or "topic") of a mention is; no topic at all counts as a half."""
    if tag == "topic":
        return max((topic.confidence for topic in hit.enrichment.topics), default=0.5)
    return hit.enrichment.sentiment.confidence


def queue(
    store: Store,
    labels: Labels,
    query: Query,
    since: datetime | None,
    until: datetime | None,
    tag: str = "sentiment",
    limit: int = 50,
) -> list[Uncertain]:
    """Return the mentions to label next: the disputed first, then the least sure; what is agreed is left out."""
    hits = list(store.sample(query, since, until, limit=LOOKED_AT))
    said = labels.of([hit.mention.id for hit in hits])
    found = []
    for hit in hits:
        given = tuple(label for label in said.get(hit.mention.id, ()) if label.tag == tag)
        one = Uncertain(hit, confidence(hit, tag), given)
        if not given or one.disputed:
            found.append(one)
    found.sort(key=lambda one: (not one.disputed, one.confidence, one.hit.mention.id))
    return found[:limit]


def newest(said: Iterable[Labelled]) -> list[Labelled]:
    """Return the last word of each person on each tag of each mention, in the order of the first ones."""
    last: dict[tuple[str, str, str], Labelled] = {}
    for label in said:
        key = (label.id, label.tag, label.by)
        if key not in last or label.at >= last[key].at:
            last[key] = label
    return list(last.values())


def agreements(said: Iterable[Labelled], seed: int = 0) -> list[Agreement]:
    """Return the agreement of every two persons on every tag that both labelled, by tag and names."""
    by_tag: dict[str, dict[str, dict[str, str]]] = {}
    for label in newest(said):
        by_tag.setdefault(label.tag, {}).setdefault(label.by, {})[label.id] = label.value
    found = []
    for tag, persons in sorted(by_tag.items()):
        for first, second in combinations(sorted(persons), 2):
            both = sorted(persons[first].keys() & persons[second].keys())
            if both:
                pairs = [(persons[first][id], persons[second][id]) for id in both]
                found.append(_agreement(tag, first, second, pairs, seed))
    return found


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of what two persons said, pair by pair; None where there is nothing beside chance."""
    count = len(pairs)
    agreed = sum(a == b for a, b in pairs) / count
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[value] * second[value] for value in first) / count**2
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def _agreement(tag: str, first: str, second: str, pairs: list[tuple[str, str]], seed: int) -> Agreement:
    chance = np.random.default_rng(seed)
    resampled = (
        kappa([pairs[at] for at in chance.integers(0, len(pairs), len(pairs))]) for _ in range(_RESAMPLES)
    )
    values = [value for value in resampled if value is not None]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) > 1 else (None, None)
    whole = kappa(pairs)
    return Agreement(
        tag,
        first,
        second,
        len(pairs),
        round(sum(a == b for a, b in pairs) / len(pairs), 4),
        None if whole is None else round(whole, 4),
        None if low is None else round(float(low), 4),
        None if high is None else round(float(high), 4),
    )
