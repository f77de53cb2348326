"""The hand-written phrase lists of a configuration: lexicon.toml, topics.toml, signals.toml, and one search for all.

A folder that lacks one of the files uses the shipped one.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct, field

from enrich.cues import Cues, expand
from enrich.text import digest
from hark.core.errors import SettingsError
from hark.settings import SHIPPED, read_toml

LEXICON, TOPICS, INTENTS, URGENCIES, STAGES = range(5)
"""Places of the lists in what `Cues.scan` returns."""
S = TypeVar("S", bound="Signal")


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """What is added to each reading of a text, in log-odds."""

    negative: float = 0.0
    neutral: float = 0.0
    positive: float = 0.0


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """A [[group]] of lexicon.toml: phrases that say the same of the writer's feeling."""

    name: str
    phrases: tuple[str, ...]
    negative: float = 0.0
    neutral: float = 0.0
    positive: float = 0.0
    again: float = 0.3
    """What each further phrase of the group counts."""
    negated: Weights | None = None
    """The weights behind a negation; None where negation changes nothing."""
    kind: Literal["", "trouble", "praise", "thanks", "fix", "irony", "question", "request", "news"] = ""


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
    within: int = 6
    weight: float = 2.0


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """A [[topic]] of topics.toml. A phrase is evidence of 1, in `strong` of 2, in `weak` of 0.4."""

    id: str
    title: str = ""
    parent: str = ""
    weight: float = 1.0
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
    """topics.toml."""

    topic: tuple[Node, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Signal(Struct, frozen=True, forbid_unknown_fields=True):
    """An [[intent]], [[urgency]] or [[journey]] of signals.toml."""

    name: str
    phrases: tuple[str, ...]
    weight: float = 1.0


class Signals(Struct, frozen=True, forbid_unknown_fields=True):
    """signals.toml."""

    intent: tuple[Signal, ...]
    urgency: tuple[Signal, ...]
    journey: tuple[Signal, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Phrasebook(Struct, frozen=True):
    """The three files read, a digest of each, and the search over all their phrases."""

    lexicon: Lexicon
    taxonomy: Taxonomy
    signals: Signals
    digests: tuple[str, str, str]
    cues: Cues
    topic_pairs: tuple
    topic_phrases: tuple[tuple[int, str, float, str], ...]
    """Of each topic phrase: number of its node, language, weight, and the phrase itself."""


def load(config: Path) -> Phrasebook:
    """Return the phrasebook of a configuration folder; the same object as long as its files do not change.

    Raises SettingsError.
    """
    paths = tuple(
        folder / name
        for name in ("lexicon.toml", "topics.toml", "signals.toml")
        for folder in ((config if (config / name).exists() else SHIPPED),)
    )
    return _load(paths, tuple(_content(path) for path in paths))


@lru_cache(maxsize=4)
def _load(paths: tuple[Path, ...], contents: tuple[str, ...]) -> Phrasebook:
    lexicon = read_toml(paths[0], Lexicon)
    taxonomy = read_toml(paths[1], Taxonomy)
    signals = read_toml(paths[2], Signals)
    topic_phrases = tuple(_topic_phrases(taxonomy, paths[1]))
    cues = Cues(
        [
            [
                (phrase, number)
                for number, group in enumerate(lexicon.group)
                for line in group.phrases
                for phrase in expand(line, lexicon.words, f"{paths[0]}: group {group.name!r}")
            ],
            [(entry[3], number) for number, entry in enumerate(topic_phrases)],
            _phrases(signals.intent, signals, paths[2]),
            _phrases(signals.urgency, signals, paths[2]),
            _phrases(signals.journey, signals, paths[2]),
        ]
    )
    made = tuple(digest(content) for content in contents)
    return Phrasebook(lexicon, taxonomy, signals, (made[0], made[1], made[2]), cues, tuple((i, p.within, p.weight * n.weight) for i, n in enumerate(taxonomy.topic) for p in n.pairs), topic_phrases)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _topic_phrases(taxonomy: Taxonomy, path: Path) -> Iterator[tuple[int, str, float, str, int, int]]:
    k = 0
    for number, node in enumerate(taxonomy.topic):
        lists: list[tuple[str, float, Sequence[str], int, int]] = [
            ("", 2.0 * node.weight, node.strong, 0, 0),
            ("", node.weight, node.phrases, 0, 0),
            ("", 0.4 * node.weight, node.weak, 0, 0),
            *((code, 1.5, phrases, 0, 0) for code, phrases in node.languages.items()),
        ]
        for pair in node.pairs:
            k += 1
            lists += [("", pair.weight * node.weight, pair.first, k, 0), ("", pair.weight * node.weight, pair.second, k, 1)]
        for code, weight, lines, kk, side in lists:
            for line in lines:
                for phrase in expand(line, taxonomy.words, f"{path}: topic {node.id!r}"):
                    yield number, code, weight, phrase, kk, side


def _phrases(entries: Sequence[Signal], signals: Signals, path: Path) -> list[tuple[str, int]]:
    return [
        (phrase, number)
        for number, entry in enumerate(entries)
        for line in entry.phrases
        for phrase in expand(line, signals.words, f"{path}: {entry.name!r}")
    ]
