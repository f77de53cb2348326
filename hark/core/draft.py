"""A mention on its way through the chain of enrichment: its text, and what the enrichers found so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hark.core.mention import Entity, Language, Mention, Reason, Sentiment, Topic, Vader

LONGEST_TEXT = 20_000
"""Characters of a text that are judged; what stands behind them is stored, searched and matched by brands."""

_UNKNOWN = Language("unknown", 0.0)
_NO_VADER = Vader(0.0, 0.0, 0.0, 0.0)
_NO_SENTIMENT = Sentiment("neutral", 0.0, 0.0, _NO_VADER)


@dataclass(slots=True)
class Draft:
    """What the steps of the chain read and fill in, one a mention; the chain makes an Enrichment of it.

    Steps assign whole values (`draft.topics = …`) and append to `reasons` alone.
    """

    mention: Mention
    text: str
    """The mention's text, at most LONGEST_TEXT characters of it: places in it are places in the mention's."""
    tokens: Sequence[str] = ()
    """`hark.core.tokens.tokens(text)`: NFKC, lower case, handles and hashtags whole, links left out."""
    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    """Where each token begins and ends in `text`."""
    words: frozenset[str] = frozenset()
    """Each token once."""
    digit: int = 0
    """No digit of any script stands before this place in `text`: its length where there is none at all."""
    language: Language = _UNKNOWN
    brands: tuple[str, ...] = ()
    vader: Vader = _NO_VADER
    sentiment: Sentiment = _NO_SENTIMENT
    topics: tuple[Topic, ...] = ()
    intent: str | None = None
    urgency: str | None = None
    journey: str | None = None
    entities: tuple[Entity, ...] = ()
    fingerprint: str | None = None
    priority: int | None = None
    reach: int | None = None
    influence: int | None = None
    automation: float | None = None
    reasons: list[Reason] = field(default_factory=list)
    unknown: float | None = None
    """Share of its words that the trained model has no weight of; None without one."""
    cues: list[list[tuple[int, int, int]]] | None = None
    """What enrich.cues found, once for all steps that judge by phrases."""

    @property
    def english(self) -> bool:
        """True for English, and where the language is unknown."""
        return self.language.code == "en" or self.language.code == "unknown"

    def span(self, first: int, last: int | None = None) -> tuple[int, int]:
        """Return where tokens `first` to `last` (inclusive) begin and end in `text`."""
        return self.starts[first], self.ends[first if last is None else last]
