"""Sentiment towards each topic and brand that a text names, where it says good and bad things: "crew great, bag lost".

Clause by clause: a text is cut at punctuation and at words like "but"; the phrases of lexicon.toml in a clause sum up
to its sentiment, and what is named in the clause gets it, as a reason `aspect:TOPIC` or `aspect:BRAND` whose span is
the clause. What is named where nothing is felt gets none. Texts of one mood alone have no aspects: their sentiment
says it all. English (and unknown) only.

Limits: clauses are found by signs and words, not by grammar; two topics in one clause share its sentiment. A brand is
placed by its handles and its name alone.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from enrich import Context
from enrich.cues import NEGATORS, negated
from enrich.phrasebook import LEXICON, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason
from hark.settings import Brand

RULES = "1"
"""Part of the version: changes with every change of the rules below."""

LEAST = 1.0
"""A clause whose weights sum up to less, one way or the other, says nothing of what it names."""
# Begins with one sign, so that the search can skip to it.
_SIGNS = re.compile(r"[.!?;:,\n…–—][.!?;:,\n…–—]*")
_WORDS = {
    word: re.compile(rf"\b{word}\b")
    for word in ("but", "however", "although", "though", "except", "while", "whereas", "yet")
}
_entry = itemgetter(0)


class Aspects:
    """Appends the reasons `aspect:…`."""

    name = "aspects"

    def __init__(self, book: Phrasebook, brands: Sequence[Brand]) -> None:
        """Take the phrases and their weights from `book`."""
        self.version = digest(RULES, book.digests[LEXICON])
        self._cues = book.cues
        self._leans = [
            (
                group.positive - group.negative,
                None if group.negated is None else group.negated.positive - group.negated.negative,
            )
            for group in book.lexicon.group
        ]
        leans = [(lean, lean if other is None else other) for lean, other in self._leans]
        self._pleased = {number for number, both in enumerate(leans) if max(both) >= LEAST}
        self._displeased = {number for number, both in enumerate(leans) if min(both) <= -LEAST}
        self._brands = {
            token: brand.name
            for brand in brands
            for token in (
                brand.name.lower(),
                "#" + brand.name.lower(),
                *("@" + each for each in brand.handles),
            )
        }
        self._named_words = frozenset(self._brands)

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Look at each draft; brands and topics, with their reasons, must have been found before."""
        for draft in drafts:
            if draft.english and (draft.topics or draft.brands):
                clauses = self._clauses(draft)
                if clauses:
                    self._judge(draft, clauses)

    def _clauses(self, draft: Draft) -> list[tuple[float, int, int]]:
        """Return each clause's sum of weights, beginning and end; nothing for a text of one mood."""
        cues = self._cues.scan(draft)[LEXICON]
        if self._pleased.isdisjoint(map(_entry, cues)) or self._displeased.isdisjoint(map(_entry, cues)):
            return []
        denies = not NEGATORS.isdisjoint(draft.words)
        felt: list[tuple[float, int]] = []
        for entry, first, last in cues:
            lean, behind_negation = self._leans[entry]
            if denies and behind_negation is not None and negated(draft.tokens, first):
                lean = behind_negation
            if abs(lean) >= LEAST:
                felt.append((lean, last))
        if not felt or min(felt)[0] > 0 or max(felt)[0] < 0:
            return []
        begins = _begins(draft.text)
        sums = [0.0] * len(begins)
        for lean, last in felt:
            sums[bisect_right(begins, draft.starts[last]) - 1] += lean
        return list(zip(sums, begins, [*begins[1:], len(draft.text)], strict=True))

    def _judge(self, draft: Draft, clauses: list[tuple[float, int, int]]) -> None:
        begins = [begin for _, begin, _ in clauses]
        told = set()
        for name, place in self._named(draft):
            at = bisect_right(begins, place) - 1
            if (
                abs(clauses[at][0]) < LEAST
                and at + 1 < len(clauses)
                and draft.text[begins[at + 1] - 1] == ","
            ):
                # "@united, which is terrible": what is named has a clause behind it.
                at += 1
            weight, begin, end = clauses[at]
            if abs(weight) >= LEAST and name not in told:
                told.add(name)
                label = "positive" if weight > 0 else "negative"
                draft.reasons.append(Reason("aspect:" + name, label, round(weight, 2), begin, end))

    def _named(self, draft: Draft) -> list[tuple[str, int]]:
        """Return what is named, and where it begins."""
        found = [
            (reason.tag.removeprefix("topic:"), reason.start)
            for reason in draft.reasons
            if reason.tag.startswith("topic:")
        ]
        named = self._named_words & draft.words if draft.brands else ()
        if named:
            for place in [place for place, token in enumerate(draft.tokens) if token in named]:
                name = self._brands[draft.tokens[place]]
                if name in draft.brands:
                    found.append((name, draft.starts[place]))
        return found


def _begins(text: str) -> list[int]:
    """Return where each clause begins."""
    ends = [cut.end() for cut in _SIGNS.finditer(text)]
    # "İ" alone would become two characters, and places would be others.
    lower = text.replace("İ", "i").lower()
    # Most texts have none of the words, and a plain search says so fastest.
    for word, expression in _WORDS.items():
        if word in lower:
            ends += [cut.end() for cut in expression.finditer(lower)]
    ends.sort()
    return [0, *ends]


def build(context: Context) -> Aspects:
    """Return the step; it has no options and reads lexicon.toml."""
    return Aspects(load(context.config), context.brands)
