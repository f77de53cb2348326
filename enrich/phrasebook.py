"""The hand-written phrase lists of a configuration: lexicon.toml, topics.toml, signals.toml, and one search for all.

A folder that lacks one of the files uses the shipped one.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, field

from enrich.cues import Cues, expand
from enrich.text import digest
from hark.core.errors import SettingsError
from hark.core.mistakes import meant
from hark.settings import SHIPPED, read_text, read_toml

LEXICON, TOPICS, INTENTS, URGENCIES, STAGES = range(5)
"""Places of the lists in what `Cues.scan` returns; of the lexicon's phrases it returns the longest."""

FILES = ("lexicon.toml", "topics.toml", "signals.toml")
Kind = Literal["", "trouble", "irony", "praise", "thanks", "fix"]
LogOdds = Annotated[float, Meta(ge=-20, le=20)]
Weight = Annotated[float, Meta(gt=0, le=100)]
_CODE = re.compile("[a-z]{2}")


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """What is added to each reading of a text, in log-odds."""

    negative: LogOdds = 0.0
    neutral: LogOdds = 0.0
    positive: LogOdds = 0.0


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """A [[group]] of lexicon.toml: phrases that say the same of the writer's feeling."""

    name: str
    phrases: tuple[str, ...]
    negative: LogOdds = 0.0
    neutral: LogOdds = 0.0
    positive: LogOdds = 0.0
    again: Annotated[float, Meta(ge=0, le=1)] = 0.3
    """What each further phrase of the group counts."""
    negated: Weights | None = None
    """The weights behind a negation; None where negation changes nothing."""
    kind: Kind = ""
    """What the rules of enrich.sentiment ask for."""


class Quiet(Struct, frozen=True, forbid_unknown_fields=True):
    """Words that vaderSentiment scores and that are no feeling here."""

    words: tuple[str, ...]


class Lexicon(Struct, frozen=True, forbid_unknown_fields=True):
    """lexicon.toml."""

    group: tuple[Group, ...]
    quiet: Quiet
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """Two lists of phrases: one of each, at most `within` tokens apart in any order, is evidence of `weight`."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    within: Annotated[int, Meta(ge=1, le=1_000)] = 6
    weight: Weight = 2.0


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """A [[topic]] of topics.toml. A phrase is evidence of 1, in `strong` of 2, in `weak` of 0.4."""

    id: str
    title: str = ""
    parent: str = ""
    weight: Weight = 1.0
    """All evidence of the topic is multiplied by it: which of two topics is the likelier reason of a complaint."""
    event: bool = False
    """It can be said not to have happened: "no delay", "not cancelled" are no evidence."""
    strong: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    languages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Phrases for texts in other languages, by ISO 639-1 code."""


class Taxonomy(Struct, frozen=True, forbid_unknown_fields=True):
    """topics.toml: a tree by each node's parent."""

    topic: tuple[Node, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Signal(Struct, frozen=True, forbid_unknown_fields=True):
    """An [[urgency]] or [[journey]] of signals.toml."""

    name: str
    phrases: tuple[str, ...]
    weight: Weight = 1.0


class Intent(Signal, frozen=True, forbid_unknown_fields=True):
    """An [[intent]] of signals.toml: one of those that enrich.intent chooses from."""

    name: Literal["question", "request", "threat-to-leave", "offer-of-help", "news", "spam"]


class Signals(Struct, frozen=True, forbid_unknown_fields=True):
    """signals.toml."""

    intent: tuple[Intent, ...]
    urgency: tuple[Signal, ...]
    journey: tuple[Signal, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Evidence(NamedTuple):
    """What a topic phrase stands for: node, language ("" English), weight, and its pair and side (-1: none)."""

    node: int
    language: str
    weight: float
    pair: int = -1
    side: int = 0


class Phrasebook(Struct, frozen=True):
    """The three files read, a digest of each, and the search over all their phrases."""

    lexicon: Lexicon
    taxonomy: Taxonomy
    signals: Signals
    digests: tuple[str, ...]
    """In the order of FILES."""
    cues: Cues
    evidence: tuple[Evidence, ...]
    """By the entries of the TOPICS list."""
    within: tuple[int, ...]
    """By the number of a pair."""


def load(config: Path) -> Phrasebook:
    """Return the phrasebook of a configuration folder; the same object as long as its files do not change.

    Raises SettingsError.
    """
    paths = _paths(config)
    return _load(paths, tuple(read_text(path) for path in paths))


def parents(taxonomy: Taxonomy) -> dict[str, str]:
    """Return each topic's parent, "" for a root."""
    return {node.id: node.parent for node in taxonomy.topic}


@lru_cache(maxsize=4)
def _load(paths: tuple[Path, ...], contents: tuple[str, ...]) -> Phrasebook:
    lexicon, taxonomy, signals = _read(paths)
    lists, entries = _lists(lexicon, taxonomy, signals, paths)
    cues = Cues(lists, hiding=[LEXICON])
    within = tuple(pair.within for node in taxonomy.topic for pair in node.pairs)
    digests = tuple(digest(content) for content in contents)
    return Phrasebook(lexicon, taxonomy, signals, digests, cues, entries, within)


def check(config: Path) -> None:
    """Raise SettingsError for what is wrong in the lists of a configuration folder; a tenth of the work of `load`."""
    paths = _paths(config)
    _lists(*_read(paths), paths)


def _paths(config: Path) -> tuple[Path, ...]:
    return tuple((config if (config / name).exists() else SHIPPED) / name for name in FILES)


def _read(paths: tuple[Path, ...]) -> tuple[Lexicon, Taxonomy, Signals]:
    lexicon = read_toml(paths[0], Lexicon)
    taxonomy = read_toml(paths[1], Taxonomy)
    signals = read_toml(paths[2], Signals)
    _each_once(paths[0], "group", [group.name for group in lexicon.group])
    _each_once(paths[1], "topic", [node.id for node in taxonomy.topic])
    _check_tree(taxonomy, paths[1])
    for what, entries in (
        ("intent", signals.intent),
        ("urgency", signals.urgency),
        ("journey", signals.journey),
    ):
        _each_once(paths[2], what, [entry.name for entry in entries])
    return lexicon, taxonomy, signals


def _each_once(path: Path, what: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SettingsError(f"{path}: {what} {twice[0]!r} stands twice: give each its own")


def _check_tree(taxonomy: Taxonomy, path: Path) -> None:
    known = parents(taxonomy)
    for node in taxonomy.topic:
        seen = {node.id}
        above = node.parent
        while above:
            if above not in known or above in seen:
                raise SettingsError(
                    f"{path}: topic {node.id!r}: expected a parent that is a topic and not below it: {above!r}"
                    + meant(above, known.keys() - seen)
                )
            seen.add(above)
            above = known[above]
        for code in node.languages:
            if not _CODE.fullmatch(code):
                raise SettingsError(
                    f"{path}: topic {node.id!r}: languages: expected a code such as es or de, found {code!r}"
                )


def _lists(
    lexicon: Lexicon, taxonomy: Taxonomy, signals: Signals, paths: tuple[Path, ...]
) -> tuple[list[list[tuple[str, int]]], tuple[Evidence, ...]]:
    """Return all phrases, list by list, each with the number of its entry; and the entries of the list TOPICS."""
    entries: dict[Evidence, int] = {}
    topics = [
        (phrase, entries.setdefault(evidence, len(entries)))
        for evidence, phrase in _topic_phrases(taxonomy, paths[1])
    ]
    others = (signals.intent, signals.urgency, signals.journey)
    lists = [
        _phrases(lexicon.group, lexicon.words, paths[0]),
        topics,
        *(_phrases(each, signals.words, paths[2]) for each in others),
    ]
    return lists, tuple(entries)


def _topic_phrases(taxonomy: Taxonomy, path: Path) -> Iterator[tuple[Evidence, str]]:
    pairs = -1
    for number, node in enumerate(taxonomy.topic):
        lists: list[tuple[Evidence, Sequence[str]]] = [
            (Evidence(number, "", 2.0 * node.weight), node.strong),
            (Evidence(number, "", node.weight), node.phrases),
            (Evidence(number, "", 0.4 * node.weight), node.weak),
            *((Evidence(number, code, 1.5 * node.weight), lines) for code, lines in node.languages.items()),
        ]
        for pair in node.pairs:
            pairs += 1
            weight = pair.weight * node.weight
            lists.append((Evidence(number, "", weight, pairs, 0), pair.first))
            lists.append((Evidence(number, "", weight, pairs, 1), pair.second))
        for evidence, lines in lists:
            for line in lines:
                for phrase in expand(line, taxonomy.words, f"{path}: topic {node.id!r}"):
                    yield evidence, phrase


def _phrases(
    entries: Sequence[Group | Signal], words: Mapping[str, Sequence[str]], path: Path
) -> list[tuple[str, int]]:
    return [
        (phrase, number)
        for number, entry in enumerate(entries)
        for line in entry.phrases
        for phrase in expand(line, words, f"{path}: {entry.name!r}")
    ]
