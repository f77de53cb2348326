"""Sentiment, judged without any training: vaderSentiment's numbers, a lexicon of service talk, and rules.

Three readings (negative, neutral, positive) collect weights in log-odds: from the phrases of lexicon.toml, from
vaderSentiment's compound with the words taken out that are no feeling in talk with a company ("help", "please", the
brand "United"), and from how the text is built. Rules weigh them against each other: praise beside trouble is irony
or courtesy, thanks beside a question are courtesy, thanks for a fix are thanks, and a long text to a company is
more likely a complaint than a short one. A text that speaks to nobody (no handle at its beginning or end) is read more as
vaderSentiment does: service talk weighs less there, and length says nothing. The softmax of the three, drawn a
little to the middle, is the confidence; the phrases that weighed most are the reasons. Texts in other languages get
vaderSentiment's label with confidence 0.

Limits: irony without a cue, and plain statements of fact, are told from complaints by little more than their length.
"""

from collections.abc import Sequence
from math import exp, sqrt
from typing import get_args

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from enrich import Context
from enrich.cues import FIRST_PERSON, NEGATORS, negated
from enrich.phrasebook import LEXICON, Group, Kind, Phrasebook, Weights, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason, Sentiment, Vader

RULES = "1"
"""Part of the version: changes with every change of the rules below."""

# Log-odds, chosen by hand.
_GENERAL_POSITIVE, _GENERAL_NEGATIVE = 2.0, 2.2  # vaderSentiment's compound at 1 and at -1
_ASKED, _ASKED_AT_ONCE = 1.0, 0.8  # a question mark; a question word before anything else
_QUOTED = 1.0  # somebody else's words, passed on
_LINK = 0.8  # a link, and nobody who says "I"
_SILENT = 0.5  # no word of feeling at all
_CHEERED = 0.8  # an exclamation mark, and nothing against
_LONG, _PER_WORD, _LONGEST = -1.0, 0.1, 24  # to the negative: a complaint tells its story
_SHORT, _PER_WORD_LESS = 1.0, 0.04  # to the neutral
_PLAIN = 0.4  # to the neutral and against the negative, in a text that speaks to nobody
# Factors.
_OVERHEARD = 0.6  # service talk in a text that speaks to nobody
_OVERHEARD_GENERAL = 2.5  # and vaderSentiment's compound there, all its words included
_COURTESY = 0.4  # thanks beside a question mark
_PRAISE_IN_QUESTION = 0.5
_PRAISE_QUOTED = 0.6
_IRONY = 0.25  # praise as the first word, and trouble behind it
_MENDED = 0.7  # trouble, where thanks for a fix stand
_SHARPNESS = 0.6  # of the softmax: weights that come together say less than each alone
_LEAST_SURE, _SURER = 0.12, 0.86  # of the softmax: even people agree on 84 to 88 of 100 labels

_MARKED, _OUTRAGE = (
    2.0,
    2.5,
)  # negative weight from which praise is in doubt, and a question may be a reproach
_ALPHA = 15.0  # vaderSentiment's own normalization: compound = sum / sqrt(sum² + 15)
_REASONS = 3
_ASKING = "is are can could do does did will would what when where which who how any may am was"
_OPENING = "great awesome nice wonderful perfect lovely fantastic cool brilliant excellent congrats congratulations yay wow oh bravo kudos"
_OPENERS = frozenset(_OPENING.split())
_QUESTION_WORDS = frozenset(_ASKING.split())
_KINDS: tuple[Kind, ...] = get_args(Kind)


Meaning = tuple[float, float, float, int, float, float, float, str]
"""What a phrase adds: to the negative, to the neutral, an amount to its kind; its size, its lean, its weight, and why.

The kind is a place in _KINDS, the amount its log-odds to the positive, or to the negative where it has none; the
size is the lean without its sign, the weight the lean as it is told. A plain tuple, which is taken apart the quickest.
"""


class Judgement:
    """Fills in `sentiment`, and its reasons."""

    name = "sentiment"

    def __init__(self, book: Phrasebook) -> None:
        """Take the phrases and their weights from `book`."""
        self.version = digest(RULES, book.digests[LEXICON])
        self._cues = book.cues
        self._meanings = [
            (_meaning(group, group), _meaning(group, group.negated) if group.negated else None, group.again)
            for group in book.lexicon.group
        ]
        valences: dict[str, float] = SentimentIntensityAnalyzer().lexicon
        # What is taken out of vaderSentiment's sum: quiet words, and handles that look like words.
        self._quiet = {word: valences[word] for word in book.lexicon.quiet.words if word in valences}
        self._quiet.update(("@" + word, valence) for word, valence in valences.items() if word.isalnum())
        self._quiet_words = frozenset(self._quiet)

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge each draft by its tokens, its cues and vaderSentiment's numbers."""
        for draft in drafts:
            if draft.english:
                self._judge(draft)
            else:
                compound = draft.vader.compound
                label = "positive" if compound >= 0.05 else "negative" if compound <= -0.05 else "neutral"
                draft.sentiment = Sentiment(label, compound, 0.0, draft.vader)

    def _judge(self, draft: Draft) -> None:
        tokens = draft.tokens
        kinds = [0.0] * len(_KINDS)
        negative = neutral = 0.0
        seen: set[int] = set()
        told: list[tuple[float, float, str, int, int, float]] = []
        denies = not NEGATORS.isdisjoint(draft.words)
        meanings = self._meanings
        for entry, first, last in self._cues.scan(draft)[LEXICON]:
            meaning, behind_negation, again = meanings[entry]
            if denies and behind_negation is not None and negated(tokens, first):
                meaning = behind_negation
            against, calm, amount, kind, size, lean, weight, why = meaning
            if entry in seen:
                against, calm, amount, lean = again * against, again * calm, again * amount, again * lean
                size, weight = abs(lean), round(lean, 2)
            else:
                seen.add(entry)
            negative += against
            neutral += calm
            kinds[kind] += amount
            told.append((size, lean, why, first, last, weight))
        general = draft.vader.compound
        addressed = bool(tokens) and (tokens[0][0] == "@" or tokens[-1][0] == "@")
        if addressed and not self._quiet_words.isdisjoint(draft.words):
            general = self._general(general, tokens)
        negative, neutral, positive = _weigh(draft, addressed, kinds, general, negative, neutral)
        if not told and general == 0.0:
            neutral += _SILENT
        draft.sentiment = _decided(negative, neutral, positive, draft.vader)
        reasons, starts, ends = draft.reasons, draft.starts, draft.ends
        told.sort(reverse=True)
        for _, _, why, first, last, weight in told[:_REASONS]:
            reasons.append(Reason("sentiment", why, weight, starts[first], ends[last]))
        if general:
            weight = general * (_GENERAL_POSITIVE if general > 0 else _GENERAL_NEGATIVE)
            reasons.append(Reason("sentiment", "vaderSentiment without quiet words", round(weight, 2)))

    def _general(self, compound: float, tokens: Sequence[str]) -> float:
        """Return vaderSentiment's compound without the quiet words and the words of handles."""
        extra = 0.0
        quiet = self._quiet
        for place, token in enumerate(tokens):
            if token in quiet and not negated(tokens, place):
                extra += quiet[token]
        if not extra:
            return compound
        total = compound * sqrt(_ALPHA / (1.0 - min(compound * compound, 0.9999))) - extra
        return total / sqrt(total * total + _ALPHA)


def _weigh(
    draft: Draft, addressed: bool, kinds: Sequence[float], general: float, negative: float, neutral: float
) -> tuple[float, float, float]:
    """Return the weights of the three readings by the rules, in the order in which they are to be read.

    A text is `addressed` where it speaks to somebody: service talk, where silence is neutral and a story a complaint.
    """
    text = draft.text
    _, trouble, irony, praise, thanks, fix = kinds
    if not addressed:
        negative *= _OVERHEARD
        general *= _OVERHEARD_GENERAL
    if general > 0.0:
        praise += general * _GENERAL_POSITIVE
    else:
        negative -= general * _GENERAL_NEGATIVE
    first = _first_word(draft.tokens)
    asked = "?" in text
    if asked:
        neutral += _ASKED
        thanks *= _COURTESY
        if first in _QUESTION_WORDS and negative < _OUTRAGE:
            neutral += _ASKED_AT_ONCE
    positive = thanks + praise + fix
    if asked:
        positive *= _PRAISE_IN_QUESTION
    if "“@" in text or '"@' in text or "RT @" in text:
        neutral += _QUOTED
        positive *= _PRAISE_QUOTED
    if first in _OPENERS and not fix and (trouble or irony):
        positive *= _IRONY
    if negative > _MARKED:
        if fix:
            negative *= _MENDED
        else:
            positive *= max(0.25, 1.3 - negative * 0.1)
    elif positive and not negative and "!" in text:
        positive += _CHEERED
    if "http" in text and FIRST_PERSON.isdisjoint(draft.words):
        neutral += _LINK
    if not addressed:
        return negative - _PLAIN, neutral + _PLAIN, positive
    words = min(len(draft.tokens) - text.count("@"), _LONGEST)
    return negative + _LONG + words * _PER_WORD, neutral + _SHORT - words * _PER_WORD_LESS, positive


def _first_word(tokens: Sequence[str]) -> str:
    for token in tokens:
        if token[0] != "@":
            return token
    return ""


def _decided(negative: float, neutral: float, positive: float, vader: Vader) -> Sentiment:
    highest = max(negative, neutral, positive)
    against = exp((negative - highest) * _SHARPNESS)
    favour = exp((positive - highest) * _SHARPNESS)
    total = against + exp((neutral - highest) * _SHARPNESS) + favour
    label = "negative" if negative == highest else "neutral" if neutral == highest else "positive"
    return Sentiment(
        label, round((favour - against) / total, 4), round(_LEAST_SURE + _SURER / total, 4), vader
    )


def _meaning(group: Group, weights: Group | Weights) -> Meaning:
    kind, why = (group.kind, group.name) if weights is group else ("", f"not: {group.name}")
    lean = weights.positive - weights.negative
    return (
        weights.negative,
        weights.neutral,
        weights.positive or weights.negative,
        _KINDS.index(kind),
        abs(lean),
        lean,
        round(lean, 2),
        why,
    )


def build(context: Context) -> Judgement:
    """Return the step; it has no options and reads lexicon.toml."""
    return Judgement(load(context.config))
