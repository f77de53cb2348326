"""The first step: the text that the others judge, its lower case, its tokens; and helpers for the others."""

from collections.abc import Sequence
from hashlib import blake2b

from enrich import Context
from hark.core.draft import Draft
from hark.core.tokens import spans


class Text:
    """Fills in `lower`, `tokens` and their `places`."""

    name = "text"
    version = "1"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in what can be read off `text`."""
        for draft in drafts:
            draft.lower = lower(draft.text)
            # Nearly as quick as the tokens alone, and whoever gives reasons needs their places.
            draft.places = places = spans(draft.text)
            draft.tokens = [place[0] for place in places]


def build(context: Context) -> Text:
    """Return the step; it has no options."""
    return Text()


def lower(text: str) -> str:
    """Return `text` in lower case, character for character, so that places in it are places in `text`."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def digest(*parts: str) -> str:
    """Return twelve hex digits that change when any of `parts` does: for the versions of enrichers."""
    made = blake2b(digest_size=6)
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass"))
    return made.hexdigest()
