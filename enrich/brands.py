"""Which brands a mention is about: the brands' own queries of brands.toml."""

from collections.abc import Sequence

from enrich import Context
from enrich.text import digest
from hark.core.draft import Draft
from hark.query.match import Document, MatcherSet
from hark.settings import Brand


class Brands:
    """Fills in `brands`, in the order of brands.toml."""

    name = "brands"

    def __init__(self, brands: Sequence[Brand]) -> None:
        self._names = [brand.name for brand in brands]
        self._matcher = MatcherSet([brand.query for brand in brands])
        self.version = "1 " + digest(*(f"{brand.name}={brand.query.text}" for brand in brands))

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Fill in `brands`, from the whole text, the title and what else the queries ask for."""
        matches, names = self._matcher.matches, self._names
        for draft in drafts:
            if len(draft.text) == len(draft.mention.text):
                document = Document(draft.mention, text_tokens=draft.tokens, text_words=draft.words)
            else:
                document = Document(draft.mention)
            draft.brands = tuple([names[index] for index in matches(document)])


def build(context: Context) -> Brands:
    """Return the step; it has no options."""
    return Brands(context.brands)
