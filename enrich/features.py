"""What a trained model sees of a text: its words, masked and normalised, and what the untrained steps found in it.

Handles become one token, and so do the names of brands, so that a model learns how people talk to a brand and not
which brands are talked to badly. Digits become 0, letters repeated three times or more two. Beside the words stand
values by name: vaderSentiment's numbers, the untrained judgement, the phrases of lexicon.toml and signals.toml, the
taxonomy's topics, and signs such as question marks.
"""

import re
from collections.abc import Iterable, Sequence

from enrich.phrasebook import INTENTS, LEXICON, STAGES, URGENCIES, Phrasebook
from hark.core.draft import Draft
from hark.core.tokens import tokens
from hark.core.tree import Term
from hark.settings import Brand

RULES = "1"
"""Part of a model's file: a model made by other rules than these is refused."""

HANDLE, BRAND = "@", "<brand>"
BEGIN, END = "<begin>", "<end>"
"""Words before the first and behind the last; no token is written so."""
_ELONGATED = re.compile(r"(.)\1{2,}")
_DIGITS = re.compile(r"\d+")
_SHOUTED = re.compile(r"\b[A-Z]{3,}\b")
_GRAMS = (3, 4, 5)
_CACHE = 100_000
"""Distinct tokens remembered; then the memory is emptied, so that a long life takes no more."""
_LONG = 30
"""Words from which a text is simply long."""


class Read:
    """A text as a model sees it."""

    __slots__ = ("places", "values", "words")

    def __init__(self, words: list[str], places: Sequence[int], values: list[tuple[str, float]]) -> None:
        self.words = words
        """Normalised tokens."""
        self.places = places
        """For each word, the number of its first token in the draft."""
        self.values = values
        """What else there is to see: (name, value)."""


class Reader:
    """Reads drafts; the steps text, vader, sentiment and topics come before."""

    def __init__(self, names: Iterable[str], book: Phrasebook) -> None:
        """Mask `names` (of brands: words in lower case, with spaces between)."""
        self._cues = book.cues
        self._lexicon = [f"phrases: {group.name}" for group in book.lexicon.group]
        self._signals = [
            (place, [f"{kind}: {signal.name}" for signal in signals])
            for place, kind, signals in (
                (INTENTS, "intent", book.signals.intent),
                (URGENCIES, "urgency", book.signals.urgency),
                (STAGES, "journey", book.signals.journey),
            )
        ]
        self._single: set[str] = set()
        self._phrases: dict[str, list[tuple[str, ...]]] = {}
        for name in sorted(set(names), key=lambda name: (-len(name.split()), name)):
            parts = tuple(name.split())
            self._single.add("".join(parts))
            if len(parts) > 1:
                self._phrases.setdefault(parts[0], []).append(parts)
        self._normal: dict[str, str] = {}

    def read(self, draft: Draft) -> Read:
        """Return what a model sees of the draft; in time proportional to its length."""
        found = draft.tokens
        words = [self._normal.get(token) or self._normalised(token) for token in found]
        places: Sequence[int] = range(len(words))
        if not self._phrases.keys().isdisjoint(found):
            words, places = self._without_phrases(found, words)
        return Read(words, places, self._values(draft))

    def _normalised(self, token: str) -> str:
        if len(self._normal) > _CACHE:
            self._normal.clear()
        if token[0] == "@":
            word = HANDLE
        elif token.lstrip("#") in self._single:
            word = BRAND
        else:
            word = _DIGITS.sub("0", _ELONGATED.sub(r"\1\1", token))
        self._normal[token] = word
        return word

    def _without_phrases(self, found: Sequence[str], words: Sequence[str]) -> tuple[list[str], list[int]]:
        """Put BRAND in place of names of several words."""
        kept: list[str] = []
        places: list[int] = []
        at = 0
        while at < len(found):
            places.append(at)
            for parts in self._phrases.get(found[at], ()):
                if tuple(found[at : at + len(parts)]) == parts:
                    kept.append(BRAND)
                    at += len(parts)
                    break
            else:
                kept.append(words[at])
                at += 1
        return kept, places

    def _values(self, draft: Draft) -> list[tuple[str, float]]:
        text, vader, judged = draft.text, draft.vader, draft.sentiment
        number = len(draft.tokens)
        length = min(number, _LONG) / _LONG
        values = [
            ("vaderSentiment: negative", vader.neg),
            ("vaderSentiment: positive", vader.pos),
            ("vaderSentiment: compound", vader.compound),
            ("untrained: score", judged.score),
            (f"untrained: {judged.label}", 1.0),
            (f"untrained: {judged.label}, how sure", judged.confidence),
            ("length", length),
            ("length squared", length * length),
        ]
        if number < 6:
            values.append(("a few words", 1.0))
        if text.startswith("@"):
            values.append(("spoken to somebody", 1.0))
        if "@" in text:
            values.append(("handles", min(text.count("@"), 4) / 4))
        if "#" in text:
            values.append(("hashtags", min(text.count("#"), 4) / 4))
        if "?" in text:
            values += self._signs("question mark", text, "?")
        if "!" in text:
            values += self._signs("exclamation mark", text, "!")
        if ".." in text:
            values.append(("dots", 1.0))
        if "http" in text:
            values.append(("link", 1.0))
        if '"' in text or "“" in text:
            values.append(("quotation mark", 1.0))
        if "“@" in text or '"@' in text or "RT @" in text:
            values.append(("somebody else's words", 1.0))
        if not text.islower():
            shouted = len(_SHOUTED.findall(text))
            if shouted:
                values.append(("capitals", min(shouted / number, 1.0) if number else 1.0))
        self._add_found(draft, values)
        return values

    def _signs(self, name: str, text: str, sign: str) -> list[tuple[str, float]]:
        found = [(name, 1.0), (name + "s", min(text.count(sign), 3) / 3)]
        if text.rstrip()[-1] == sign:
            found.append((name + " at the end", 1.0))
        return found

    def _add_found(self, draft: Draft, values: list[tuple[str, float]]) -> None:
        """Add what the phrase lists and the taxonomy found."""
        cues = self._cues.scan(draft)
        if cues[LEXICON]:
            counts: dict[int, int] = {}
            for entry, _, _ in cues[LEXICON]:
                counts[entry] = counts.get(entry, 0) + 1
            values += [(self._lexicon[entry], _ROOTS[min(count, 3)]) for entry, count in counts.items()]
        for place, names in self._signals:
            if cues[place]:
                values += [(names[entry], 1.0) for entry in {cue[0] for cue in cues[place]}]
        values += [(f"topic: {topic.id}", topic.confidence) for topic in draft.topics]
        values.append((f"first topic: {draft.topics[0].id}" if draft.topics else "no topic", 1.0))


_ROOTS = (0.0, 1.0, 2.0**0.5, 3.0**0.5)


def pairs(words: Sequence[str]) -> list[str]:
    """Return each two neighbours as one string, with marks for the text's beginning and end: one more than words."""
    return [f"{one} {other}" for one, other in zip([BEGIN, *words], [*words, END], strict=True)]


def grams(word: str) -> list[str]:
    """Return the strings of three to five characters in a word with marks at its ends; none of a masked one."""
    if len(word) < 2 or word[0] in "@<":
        return []
    marked = f"<{word}>"
    return [marked[at : at + size] for size in _GRAMS for at in range(len(marked) - size + 1)]


def names_of(values: Iterable[str]) -> set[str]:
    """Return the names to be masked for a column of brands: "US Airways" as "us airways"."""
    return {name for value in values if (name := " ".join(tokens(value.replace("@", " ").replace("#", " "))))}


def names_of_brands(brands: Iterable[Brand]) -> set[str]:
    """Return the names to be masked for brands.toml: names, titles, accounts, and the hashtags and handles of queries."""
    found: set[str] = set()
    for brand in brands:
        found |= names_of((brand.name, brand.title, *brand.handles))
        found |= names_of(token for token in _terms(brand.query.root) if token[0] in "@#")
    return found


def _terms(node: object) -> Iterable[str]:
    if isinstance(node, Term):
        yield node.token
    for child in getattr(node, "children", ()):
        yield from _terms(child)
