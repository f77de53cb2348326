"""vaderSentiment's four numbers, equal to the package's own to the last digit, several times as fast.

The rules are those of C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
of Social Media Text" (ICWSM 2014), as vaderSentiment 3.3.2 carries them out, its quirks included; its lexicon and
word lists are read from the installed package. What makes it fast: all that is to be known of a word is looked up
once and remembered, most words are known to say nothing, and only the neighbours of a word of the lexicon are
looked at. Time grows with the length of the text alone (n log n for a text with "but"), where the package's grows
with its square.
"""

import math
import re
from collections.abc import Sequence
from heapq import heappop, heappush
from importlib.metadata import version as installed
from string import punctuation
from typing import Final

from vaderSentiment import vaderSentiment as package

from enrich import Context
from hark.core.draft import Draft
from hark.core.mention import Sentiment, Vader

_REMEMBERED_WORDS = 50_000
_LONGEST_REMEMBERED = 40
_NEGATION: Final[float] = package.N_SCALAR
_CAPITALS: Final[float] = package.C_INCR
_BOOSTERS: Final[dict[str, float]] = package.BOOSTER_DICT
_SPECIAL: Final[dict[str, float]] = package.SPECIAL_CASES
_NEGATING: Final[frozenset[str]] = frozenset(package.NEGATE)
_SO_THIS = ("so", "this")
_IDIOM_WORDS = frozenset(
    word for phrase in (*_SPECIAL, *_BOOSTERS) if " " in phrase for word in phrase.split()
)
_RULE_WORDS = frozenset(
    ["never", "so", "this", "without", "doubt", "least", "at", "very", "but", "no", "or", "nor", "kind", "of"]
)


class Word:
    """What the rules ask of a word; `word` is empty where none of them names it."""

    __slots__ = ("boost", "idiom", "negates", "simple", "upper", "valence", "word")

    def __init__(self, word: str, upper: bool, valence: float | None) -> None:
        self.word = word
        self.upper = upper
        self.valence = valence
        self.boost = _BOOSTERS.get(word, 0.0)
        self.negates = word in _NEGATING or "n't" in word
        self.idiom = word in _IDIOM_WORDS
        # Among words that say nothing its valence alone counts.
        self.simple = not self.idiom and word not in ("no", "kind")


_PLAIN = Word("", False, None)
_PLAIN_UPPER = Word("", True, None)
# Stands before the first word: as a word of the lexicon it modifies nothing.
_BEFORE = Word("", False, 0.0)


class _Words(dict[str, Word]):
    """From a piece of text between spaces to its Word; bounded."""

    def __init__(self, lexicon: dict[str, float]) -> None:
        self._lexicon = lexicon
        self._telling = frozenset(lexicon) | frozenset(_BOOSTERS) | _NEGATING | _IDIOM_WORDS | _RULE_WORDS

    def __missing__(self, piece: str) -> Word:
        stripped = piece.strip(punctuation)
        # Two characters or fewer are taken for an emoticon, and left whole.
        item = piece if len(stripped) <= 2 else stripped
        word, upper = item.lower(), item.isupper()
        if word in self._telling or "n't" in word:
            found = Word(word, upper, self._lexicon.get(word))
        else:
            found = _PLAIN_UPPER if upper else _PLAIN
        if len(piece) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED_WORDS:
                self.clear()
            self[piece] = found
        return found


class Scorer:
    """vaderSentiment's `polarity_scores`."""

    def __init__(self) -> None:
        original = package.SentimentIntensityAnalyzer()
        # The package looks at single characters, so longer sequences of its list are never found.
        self._emoji = {emoji: text for emoji, text in original.emojis.items() if len(emoji) == 1}
        # One range for all beyond the basic plane: hundreds of single ones there would be tried one by one.
        basic = "".join(sorted(re.escape(emoji) for emoji in self._emoji if emoji <= "\uffff"))
        self._candidates = re.compile(f"[{basic}\U00010000-\U0010ffff]")
        self._words = _Words(original.lexicon)

    def score(self, text: str) -> Vader:
        """Return the four numbers of `text`."""
        if not text.isascii():
            text = self._candidates.sub(self._described, text)
        look_up = self._words.__getitem__
        words = [_BEFORE, _BEFORE, _BEFORE, *map(look_up, text.split())]
        marked = [at for at, word in enumerate(words) if word is not _PLAIN]
        if len(marked) == 3:
            return _NOTHING if len(words) == 3 else _NEUTRAL
        return self._score(text, words, marked[3:])

    def _score(self, text: str, words: list[Word], marked: list[int]) -> Vader:
        count = len(words) - 3
        # Capitals are emphasis where only some of the words have them.
        emphatic = 0 < sum([words[at].upper for at in marked]) < count
        places: list[int] = []
        values: list[float] = []
        but = 0
        for at in marked:
            word = words[at]
            if word.valence is not None and not word.boost:
                value = _valence(words, at, emphatic)
                if value:
                    places.append(at)
                    values.append(value)
            elif word.word == "but" and not but:
                but = at
        if not values:
            return _NEUTRAL
        if but:
            _shift(values, places, but)
        return _summary(values, count, text)

    def _described(self, match: "re.Match[str]") -> str:
        text = self._emoji.get(match[0])
        if text is None:
            return match[0]
        start = match.start()
        return text if start == 0 or match.string[start - 1] == " " else f" {text}"


def _valence(words: list[Word], at: int, emphatic: bool) -> float:
    """Return what the word of the lexicon at `at` contributes, after its neighbours had their say."""
    word, before, second, third = words[at], words[at - 1], words[at - 2], words[at - 3]
    value = word.valence or 0.0
    if before is _PLAIN and second is _PLAIN and third is _PLAIN and word.simple:
        if emphatic and word.upper:
            value = value + _CAPITALS if value > 0 else value - _CAPITALS
        return value
    if word.word == "kind" and at + 1 < len(words) and words[at + 1].word == "of":
        return 0.0
    if before.word == "no" or second.word == "no" or (third.word == "no" and before.word in ("or", "nor")):
        value *= _NEGATION
    elif word.word == "no" and at + 1 < len(words) and words[at + 1].valence is not None:
        value = 0.0
    if emphatic and word.upper:
        value = value + _CAPITALS if value > 0 else value - _CAPITALS
    if before.valence is None:
        if before.boost:
            value += _boost(before, value, emphatic)
        if before.negates:
            value *= _NEGATION
    if second.valence is None:
        if second.boost:
            value += _boost(second, value, emphatic) * 0.95
        if second.negates:
            if second.word == "never" and before.word in _SO_THIS:
                value *= 1.25
            elif second.word != "without" or before.word != "doubt":
                value *= _NEGATION
    if third.valence is None:
        if third.boost:
            value += _boost(third, value, emphatic) * 0.9
        if before.word in _SO_THIS or (third.word == "never" and second.word in _SO_THIS):
            value *= 1.25
        elif third.negates and (
            third.word != "without" or (second.word != "doubt" and before.word != "doubt")
        ):
            value *= _NEGATION
        if word.idiom or second.idiom:
            value = _idiom(words, at, value)
    if before.word == "least" and before.valence is None and second.word not in ("at", "very"):
        value *= _NEGATION
    return value


def _boost(word: Word, value: float, emphatic: bool) -> float:
    boost = -word.boost if value < 0 else word.boost
    if emphatic and word.upper:
        boost = boost + _CAPITALS if value > 0 else boost - _CAPITALS
    return boost


def _idiom(words: list[Word], at: int, value: float) -> float:
    """Let phrases that end or begin at `at`, or end just before it, replace or shift `value`."""
    third, second, before, word = (words[place].word for place in range(at - 3, at + 1))
    three_before, farther, nearer = f"{third} {second} {before}", f"{third} {second}", f"{second} {before}"
    for phrase in (f"{before} {word}", f"{second} {before} {word}", nearer, three_before, farther):
        if phrase in _SPECIAL:
            value = _SPECIAL[phrase]
            break
    following = [after.word for after in words[at + 1 : at + 3]]
    for end in range(1, len(following) + 1):
        value = _SPECIAL.get(" ".join([word, *following[:end]]), value)
    for phrase in (three_before, farther, nearer):
        value += _BOOSTERS.get(phrase, 0.0)
    return value


def _shift(values: list[float], places: list[int], but: int) -> None:
    """Halve what stands before "but", and give half as much again to what stands after it.

    The package finds each value's place by its first equal, so that of equal values the first one is changed
    once for each; a heap of places for each value gives the same without searching.
    """
    equals: dict[float, list[int]] = {}
    for index in range(len(values)):
        value = values[index]
        heap = equals.setdefault(value, [])
        heappush(heap, index)
        first = heappop(heap)
        values[first] = shifted = value * (0.5 if places[first] < but else 1.5)
        heappush(equals.setdefault(shifted, []), first)


def _summary(values: list[float], count: int, text: str) -> Vader:
    marks = min(text.count("!"), 4) * 0.292
    questions = text.count("?")
    if questions > 1:
        marks += questions * 0.18 if questions <= 3 else 0.96
    total = float(sum(values))
    if total > 0:
        total += marks
    elif total < 0:
        total -= marks
    positive = negative = 0.0
    for value in values:
        if value > 0:
            positive += value + 1
        else:
            negative += value - 1
    negative = math.fabs(negative)
    if positive > negative:
        positive += marks
    elif positive < negative:
        negative += marks
    neutral = count - len(values)
    whole = positive + negative + neutral
    compound = total / math.sqrt(total * total + 15)
    return Vader(
        round(negative / whole, 3), round(neutral / whole, 3), round(positive / whole, 3), round(compound, 4)
    )


_CONFIDENCE = 0.5
"""What a label by VADER alone is worth: it is right on about half of the tweets to airlines."""
_NOTHING = Vader(0.0, 0.0, 0.0, 0.0)
_NEUTRAL = Vader(0.0, 1.0, 0.0, 0.0)


class VaderScores:
    """Fills in `vader`, and `sentiment` as its authors read it, for chains without a judgement of their own."""

    name = "vader"
    version = f"1 {installed('vaderSentiment')}"

    def __init__(self) -> None:
        self._score = Scorer().score

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `vader` and `sentiment` from `text`."""
        score = self._score
        for draft in drafts:
            draft.vader = vader = score(draft.text)
            compound = vader.compound
            label = "positive" if compound >= 0.05 else "negative" if compound <= -0.05 else "neutral"
            draft.sentiment = Sentiment(label, compound, _CONFIDENCE, vader)


def build(context: Context) -> VaderScores:
    """Return the step; it has no options."""
    return VaderScores()
