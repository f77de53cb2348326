"""How often each tag is given: counted where mentions are tagged, and at training time, for comparison.

Both are counted by the same code. The figures at training time are those of texts that the model had not seen (each
text as the model of the other folds judged it): on the texts that it learnt from, a model is surer, and knows more
words, than it will ever be again. See hark.drift for the comparison.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from enrich.text import digest
from hark.core.draft import Draft

Row = tuple[str, str, int, float]
"""Tag, value (a label, or the lower end of a range of numbers), how often, sum of the numbers."""
SENTIMENT, TOPIC, INTENT, LANGUAGE = "sentiment", "topic", "intent", "language"
SENTIMENT_SURE, TOPIC_SURE, UNKNOWN = "sentiment confidence", "topic confidence", "unknown words"
NUMBERS = frozenset({SENTIMENT_SURE, TOPIC_SURE, UNKNOWN})
"""Tags that are numbers between 0 and 1, counted by ranges."""
TAGS = (LANGUAGE, SENTIMENT, SENTIMENT_SURE, TOPIC, TOPIC_SURE, INTENT, UNKNOWN)
NONE = "none"
_TENTHS = tuple(f"{tenth / 10:.1f}" for tenth in range(10))
_UNKNOWN_FROM = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Shares of unknown words are skewed: most texts have few."""
OF_TASK = {
    "sentiment": frozenset({SENTIMENT, SENTIMENT_SURE, INTENT, LANGUAGE, UNKNOWN}),
    "topic": frozenset({TOPIC, TOPIC_SURE, LANGUAGE, UNKNOWN}),
}
"""The tags that a model of a task has figures of at its training time."""
_TO_SENTIMENT = ("text", "language", "vader", "sentiment")
_MADE_BY = {
    LANGUAGE: ("text", "language"),
    SENTIMENT: _TO_SENTIMENT,
    SENTIMENT_SURE: _TO_SENTIMENT,
    TOPIC: ("text", "language", "topics"),
    TOPIC_SURE: ("text", "language", "topics"),
    INTENT: (*_TO_SENTIMENT, "intent"),
}
"""The steps that decide a tag where no trained model serves; a model reads what all steps before it found."""
LIKE_ANY_MODEL = frozenset({LANGUAGE, UNKNOWN})
"""Those that do not depend on what the model says."""


class Reference(Struct, frozen=True):
    """What a chain's counts are to be compared with: its models' figures at training time."""

    rows: tuple[Row, ...] = ()
    topics: frozenset[str] = frozenset()
    """The labels of the topic model, where there is one: only topics that it gave are counted then."""
    versions: Mapping[str, str] = {}
    """What made each tag: as long as it is the same, the tag is like that of other versions of the chain."""


def versions_of_tags(steps: Mapping[str, str], trained: bool) -> dict[str, str]:
    """Return for each tag what changes when it may be given otherwise.

    `steps` are the versions of a chain's steps; `trained` says whether models are among them.
    """
    whole = "; ".join(f"{name} {version}" for name, version in steps.items())
    found = {UNKNOWN: digest(whole)}
    for tag, names in _MADE_BY.items():
        told = "; ".join(f"{name} {steps.get(name, '')}" for name in names)
        found[tag] = digest(whole if trained and tag != LANGUAGE else told)
    return found


class Tally:
    """Counts tags; of bounded size, as there are so many labels. One thread adds, another may take."""

    def __init__(self, topics: Collection[str] = ()) -> None:
        """Count only first topics that are among `topics`, where any are named."""
        self._topics = topics
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._totals: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, drafts: Sequence[Draft]) -> None:
        """Count the tags of finished drafts.

        Sentiment and its confidence are counted where it could be judged: a confidence of 0 says another language.
        """
        judged = [draft.sentiment for draft in drafts if draft.sentiment.confidence > 0.0]
        firsts = [draft.topics[0] if draft.topics else None for draft in drafts]
        if self._topics:
            firsts = [first for first in firsts if first is not None and first.id in self._topics]
        unknown = [draft.unknown for draft in drafts if draft.unknown is not None]
        with self._lock:
            self._labels(LANGUAGE, (draft.language.code for draft in drafts))
            self._labels(INTENT, (draft.intent or NONE for draft in drafts))
            self._labels(SENTIMENT, (sentiment.label for sentiment in judged))
            self._labels(TOPIC, (NONE if first is None else first.id for first in firsts))
            for sentiment in judged:
                self._number(SENTIMENT_SURE, _tenth(sentiment.confidence), sentiment.confidence)
            for first in firsts:
                if first is not None:
                    self._number(TOPIC_SURE, _tenth(first.confidence), first.confidence)
            for share in unknown:
                self._number(UNKNOWN, _step(share), share)

    def take(self) -> list[Row]:
        """Return what was counted since it was last taken, in the order of tags and values."""
        with self._lock:
            counts, totals = self._counts, self._totals
            self._counts, self._totals = Counter(), defaultdict(float)
        return [(*key, count, totals.get(key, 0.0)) for key, count in sorted(counts.items())]

    def _labels(self, tag: str, labels: Iterable[str]) -> None:
        for label, count in Counter(labels).items():
            self._counts[tag, label] += count

    def _number(self, tag: str, value: str, number: float) -> None:
        self._counts[tag, value] += 1
        self._totals[tag, value] += number


def share_unknown(words: Sequence[str], known: Collection[str]) -> float | None:
    """Return the share of a text's words that are not known; None for a text without words."""
    return sum(word not in known for word in words) / len(words) if words else None


def _tenth(share: float) -> str:
    return _TENTHS[min(int(share * 10), 9)]


def _step(share: float) -> str:
    for least in _UNKNOWN_FROM:
        if share >= least:
            return str(least)
    return "0.0" if share == 0.0 else "0.01"
