"""The first step: the words that the others judge by; and a helper for their versions."""

import re
from collections.abc import Sequence
from hashlib import blake2b

from enrich import Context
from hark.core.draft import Draft
from hark.core.tokens import located

_DIGIT, _ASCII_DIGIT = re.compile(r"\d"), re.compile("[0-9]")


class Text:
    """Fills in `tokens`, where they stand, `words`, and where digits begin."""

    name = "text"
    version = "1"

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in what can be read off `text`."""
        for draft in drafts:
            text = draft.text
            draft.tokens, draft.starts, draft.ends = located(text)
            draft.words = frozenset(draft.tokens)
            digit = (_ASCII_DIGIT if text.isascii() else _DIGIT).search(text)
            draft.digit = digit.start() if digit else len(text)


def build(context: Context) -> Text:
    """Return the step; it has no options."""
    return Text()


def digest(*parts: str) -> str:
    """Return twelve hex digits that change when any of `parts` does: for the versions of enrichers."""
    made = blake2b(digest_size=6)
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass"))
    return made.hexdigest()
