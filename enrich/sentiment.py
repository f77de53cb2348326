"""Sentiment, judged without any training: vaderSentiment's numbers, a lexicon of service talk, and rules.

Three readings (negative, neutral, positive) collect weights in log-odds: from the phrases of lexicon.toml, from
vaderSentiment's compound with the words taken out that are no feeling in talk with a company ("help", "please",
the brand "United"), and from how the text is built. Rules weigh them against each other: praise beside trouble is
irony or courtesy, thanks beside a question are courtesy, thanks for a fix are thanks. The softmax of the three is
the confidence; every weight is in the reasons. Languages other than English get vaderSentiment's label with
confidence 0.

Limits: irony without a cue, and plain statements of fact to a company, are told from complaints by length alone.
"""

from collections.abc import Sequence
from math import exp, sqrt

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from enrich import Context
from enrich.cues import Cue, longest, negated
from enrich.phrasebook import LEXICON, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason, Sentiment

RULES = "1"
"""Changes with every change of the rules below."""

_VADER_ALPHA = 15.0
_QUESTION_WORDS = frozenset("is are can could do does did will would what when where which who how any may am was".split())
_FIRST_PERSON = frozenset("i i'm i've i'll i'd my me we we're we've our us mine im ive".split())


P = dict(gpos=1.6,gneg=2.2,q=.8,qw=.8,tq=.4,tr=.8,pq=.5,rt=1.0,prt=.6,dmin=.25,damp=.15,fixneg=.7,bang=.5,nbang=.3,n0=-1.0,n1=.1,u0=1.2,u1=.04,url=.8)


class Judgement:
    """Fills in `sentiment`, and its reasons."""

    name = "sentiment"

    def __init__(self, book: Phrasebook) -> None:
        """Take the phrases and their weights from `book`."""
        self.version = digest(RULES, book.digests[0])
        self._cues = book.cues
        self._groups = book.lexicon.group
        valences = SentimentIntensityAnalyzer().lexicon
        self._quiet = {word: valences[word] for word in book.lexicon.quiet.words if word in valences}
        self._valences = valences

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
        tokens, text = draft.tokens, draft.text
        kinds = dict.fromkeys(("", "trouble", "praise", "thanks", "fix", "irony", "question", "request", "news"), 0.0)
        negative = neutral = 0.0
        seen: set[int] = set()
        for entry, first, last in longest(self._cues.scan(draft)[LEXICON]):
            group = self._groups[entry]
            share = 1.0 if entry not in seen else group.again
            seen.add(entry)
            weights = group
            if group.negated is not None and negated(tokens, first):
                weights = group.negated
            else:
                kinds[group.kind] += share * (group.positive or group.neutral or group.negative)
            negative += share * weights.negative
            neutral += share * weights.neutral
        general = self._general(draft.vader.compound, tokens)
        marks = text.count("?", 0, 2000)
        words = len([1 for token in tokens if token[0] != "@"])
        thanks, fix, praise = kinds["thanks"], kinds["fix"], kinds["praise"]
        question = kinds["question"]
        # --- rules
        if general > 0:
            praise += P["gpos"] * general
        else:
            negative -= P["gneg"] * general
        first_word = next((token for token in tokens if token[0] != "@"), "")
        if marks:
            neutral += P["q"]
            if first_word in _QUESTION_WORDS:
                neutral += P["qw"]
        if thanks and (question or marks or kinds["request"]):
            thanks *= P["tq"] if marks else P["tr"]
        positive = thanks + praise + fix
        if marks:
            positive *= P["pq"]
        if "\u201c@" in text or '"@' in text or "RT @" in text:
            neutral += P["rt"]
            positive *= P["prt"]
        if negative > 2.0 and not fix:
            positive *= max(P["dmin"], 1.3 - negative * P["damp"])
        elif negative > 2.0:
            negative *= P["fixneg"]
        if positive and not negative and "!" in text:
            positive += P["bang"]
        elif negative and "!" in text:
            negative += P["nbang"]
        if not seen and general == 0.0:
            neutral += 0.5
        size = min(words, 24)
        negative += P["n0"] + size * P["n1"]
        neutral += P["u0"] - size * P["u1"]
        if "http" in text and _FIRST_PERSON.isdisjoint(tokens):
            neutral += P["url"]
        self._decide(draft, negative, neutral, positive)

    def _general(self, compound: float, tokens: Sequence[str]) -> float:
        """Return vaderSentiment's compound without the quiet words and the words of handles."""
        extra = 0.0
        for place, token in enumerate(tokens):
            if token in self._quiet:
                if not negated(tokens, place):
                    extra += self._quiet[token]
            elif token[0] == "@" and token[1:] in self._valences:
                extra += self._valences[token[1:]]
        if not extra:
            return compound
        total = compound * sqrt(_VADER_ALPHA / (1.0 - min(compound * compound, 0.9999))) - extra
        return total / sqrt(total * total + _VADER_ALPHA)

    def _decide(self, draft: Draft, negative: float, neutral: float, positive: float) -> None:
        scale = 0.6
        highest = max(negative, neutral, positive)
        a, b, c = exp((negative - highest) * scale), exp((neutral - highest) * scale), exp((positive - highest) * scale)
        total = a + b + c
        label = "negative" if negative == highest else "neutral" if neutral == highest else "positive"
        draft.sentiment = Sentiment(label, round((c - a) / total, 4), round(1.0 / total, 4), draft.vader)


def build(context: Context) -> Judgement:
    """Return the step; it has no options and reads lexicon.toml."""
    return Judgement(load(context.config))
