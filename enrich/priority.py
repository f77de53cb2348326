"""Priority 0 to 100 for care: which mention an agent should see first, as a sum of named parts.

Tone up to 25 (a negative judgement, by its strength), urgency up to 35, intent up to 15, reach up to 15 (the
author's followers, by their order of magnitude), and 10 where the center's own brand is spoken to (or 5, about). The
brand's own posts and spam get 0. Each part is a reason with the tag "priority"; their weights add up to the value.
"""

from collections.abc import Iterator, Sequence

from enrich import Context
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason
from hark.settings import Brand

_URGENCY = {
    "safety": 35,
    "medical": 35,
    "minor-alone": 35,
    "stranded": 30,
    "legal": 25,
    "press": 25,
    "time-critical": 20,
}
_OTHER_URGENCY = 20
_INTENT = {
    "threat-to-leave": 15,
    "complaint": 12,
    "request": 10,
    "question": 8,
    "praise": 3,
    "offer-of-help": 3,
}
_FOLLOWERS = ((1_000_000, 15), (100_000, 12), (10_000, 8), (1_000, 4))


class Priority:
    """Fills in `priority`; the first brand of brands.toml is the center's own."""

    name = "priority"

    def __init__(self, brands: Sequence[Brand]) -> None:
        self._own = brands[0].name if brands else ""
        self._handles = frozenset(handle for brand in brands[:1] for handle in brand.handles)
        self._spoken_to = frozenset("@" + handle for handle in self._handles)
        self.version = "1 " + digest(self._own, *sorted(self._handles))

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `priority` and append its parts to the reasons."""
        for draft in drafts:
            total = 0
            for why, points in self._parts(draft):
                total += points
                draft.reasons.append(Reason("priority", why, points))
            draft.priority = total

    def _parts(self, draft: Draft) -> Iterator[tuple[str, int]]:
        author = draft.mention.author
        if draft.intent == "spam":
            return
        if author is not None and author.handle is not None and author.handle.lower() in self._handles:
            return
        sentiment = draft.sentiment
        if sentiment.label == "negative" and (tone := round(25 * min(abs(sentiment.score), 1.0))):
            yield "tone: negative", tone
        if draft.urgency is not None:
            yield f"urgency: {draft.urgency}", _URGENCY.get(draft.urgency, _OTHER_URGENCY)
        if draft.intent is not None and (points := _INTENT.get(draft.intent, 0)):
            yield f"intent: {draft.intent}", points
        if author is not None and author.followers:
            for least, points in _FOLLOWERS:
                if author.followers >= least:
                    yield f"reach: {author.followers:,} followers", points
                    break
        if not self._spoken_to.isdisjoint(draft.words):
            yield "spoken to us", 10
        elif self._own in draft.brands:
            yield "about us", 5


def build(context: Context) -> Priority:
    """Return the step; it has no options."""
    return Priority(context.brands)
