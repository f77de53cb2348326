"""Where on the journey the writer stands: plan, book, check-in, airport, boarding, in-flight, arrival, baggage, after.

Judged by the phrases of signals.toml: the stage whose phrases weigh most, the later one where two weigh the same.
None where no phrase stands.

Limits: somebody who tells of the whole journey gets the stage that most words speak of.
"""

from collections.abc import Sequence

from enrich import Context
from enrich.cues import longest
from enrich.phrasebook import STAGES, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason

RULES = "1"
"""Part of the version: changes with every change of the rules below."""


class Journey:
    """Fills in `journey`, and the first phrase that spoke for it."""

    name = "journey"

    def __init__(self, book: Phrasebook) -> None:
        """Take the phrases from `book`; their order is that of the journey."""
        self.version = digest(RULES, book.digests[2])
        self._cues = book.cues
        self._names = [signal.name for signal in book.signals.journey]
        self._weights = [signal.weight for signal in book.signals.journey]

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge each draft."""
        for draft in drafts:
            cues = longest(self._cues.scan(draft)[STAGES])
            if not cues:
                continue
            sums: dict[int, float] = {}
            for entry, _, _ in cues:
                sums[entry] = sums.get(entry, 0.0) + self._weights[entry]
            stage, first, last = cues[0]
            if len(sums) > 1:
                stage = max(sums, key=lambda entry: (sums[entry], entry))
                _, first, last = next(cue for cue in cues if cue[0] == stage)
            draft.journey = self._names[stage]
            start, end = draft.span(first, last)
            draft.reasons.append(Reason("journey", draft.journey, round(sums[stage], 2), start, end))


def build(context: Context) -> Journey:
    """Return the step; it has no options and reads signals.toml."""
    return Journey(load(context.config))
