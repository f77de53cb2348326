"""What the writer wants: complaint, question, request, praise, threat-to-leave, offer-of-help, news or spam.

Judged by the phrases of signals.toml and by the sentiment found before. The first of these that holds: spam; a
threat to leave; an offer of help; a question that is no reproach; a request; a complaint (negative); praise
(positive); news (a link, and nobody who says "I"). None where nothing holds.

Limits: a question put as a reproach ("why is it that you never answer?") is a complaint; a plain statement has none.
"""

from collections.abc import Sequence

from enrich import Context
from enrich.cues import FIRST_PERSON, Cue, longest
from enrich.phrasebook import INTENTS, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason

RULES = "1"
"""Part of the version: changes with every change of the rules below."""

SURE = 0.75
"""Confidence from which a negative text with a question or a request in it is a complaint first."""


class Intent:
    """Fills in `intent`, and the phrase that spoke for it."""

    name = "intent"

    def __init__(self, book: Phrasebook) -> None:
        """Take the phrases from `book`."""
        self.version = digest(RULES, book.digests[2])
        self._cues = book.cues
        self._names = [signal.name for signal in book.signals.intent]
        self._weights = [signal.weight for signal in book.signals.intent]

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge each draft; sentiment must have been judged before."""
        for draft in drafts:
            cues = self._cues.scan(draft)[INTENTS]
            first: dict[str, Cue] = {}
            for cue in longest(cues):
                first.setdefault(self._names[cue[0]], cue)
            draft.intent = self._choose(draft, first)
            if draft.intent in first:
                entry, begin, last = first[draft.intent]
                start, end = draft.span(begin, last)
                draft.reasons.append(Reason("intent", draft.intent, self._weights[entry], start, end))
            elif draft.intent is not None:
                draft.reasons.append(Reason("intent", f"{draft.sentiment.label} sentiment"))

    def _choose(self, draft: Draft, first: dict[str, Cue]) -> str | None:
        negative = draft.sentiment.label == "negative"
        positive = draft.sentiment.label == "positive"
        for intent in ("spam", "threat-to-leave", "offer-of-help"):
            if intent in first and not (positive and intent == "threat-to-leave"):
                return intent
        if not (negative and draft.sentiment.confidence >= SURE):
            if "?" in draft.text and ("question" in first or not (negative or positive)):
                return "question"
            if "request" in first:
                return "request"
        if negative:
            return "complaint"
        if positive:
            return "praise"
        if "question" in first and "?" in draft.text:
            return "question"
        if "news" in first and "http" in draft.text and FIRST_PERSON.isdisjoint(draft.tokens):
            return "news"
        return None


def build(context: Context) -> Intent:
    """Return the step; it has no options and reads signals.toml."""
    return Intent(load(context.config))
