"""Why a mention cannot wait: safety, medical, minor-alone, stranded, legal, press or time-critical.

Judged by the phrases of signals.toml, the gravest kind that stands there first; a phrase behind a negation counts
nothing ("not stuck"). Praise and news are never urgent. The reason names the phrase.

Limits: words alone. "This is killing me" is no emergency and is not listed; "bomb" in a joke is taken seriously.
"""

from collections.abc import Sequence

from enrich import Context
from enrich.cues import longest, negated
from enrich.phrasebook import URGENCIES, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason

RULES = "1"
"""Part of the version: changes with every change of the rules below."""

GRAVEST = 2
"""The first so many kinds of signals.toml are reported whatever the sentiment."""


class Urgency:
    """Fills in `urgency`, and the phrase that spoke for it."""

    name = "urgency"

    def __init__(self, book: Phrasebook) -> None:
        """Take the phrases from `book`; their order is that of gravity."""
        self.version = digest(RULES, book.digests[2])
        self._cues = book.cues
        self._names = [signal.name for signal in book.signals.urgency]

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge each draft; sentiment and intent must have been judged before."""
        for draft in drafts:
            cues = self._cues.scan(draft)[URGENCIES]
            if not cues:
                continue
            calm = draft.sentiment.label == "positive" or draft.intent in ("news", "spam", "praise")
            for entry, first, last in sorted(longest(cues)):
                if (calm and entry >= GRAVEST) or negated(draft.tokens, first, 2):
                    continue
                draft.urgency = self._names[entry]
                start, end = draft.span(first, last)
                draft.reasons.append(Reason("urgency", draft.urgency, 0.0, start, end))
                break


def build(context: Context) -> Urgency:
    """Return the step; it has no options and reads signals.toml."""
    return Urgency(load(context.config))
