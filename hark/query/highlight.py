"""Where in a mention a query's words stand, from the matcher's own spans, and the part of a text around them."""

from collections.abc import Sequence
from functools import lru_cache

from hark.core.mention import Enrichment, Mention
from hark.core.tree import Query
from hark.query.fields import NO_TAXONOMY, Taxonomy
from hark.query.match import Document, Highlights, Matcher

Spans = Sequence[tuple[int, int]]
"""(start, end) in characters, ascending, without overlap."""


def highlights(
    query: Query, mention: Mention, enrichment: Enrichment | None = None, taxonomy: Taxonomy = NO_TAXONOMY
) -> Highlights:
    """Return what the words of the query found in title and text; nothing where the mention does not match.

    What stands under NOT is never among it, nor are fields.
    """
    return _matcher(query).spans(Document(mention, enrichment, taxonomy))


def spans(
    query: Query, mention: Mention, enrichment: Enrichment | None = None, taxonomy: Taxonomy = NO_TAXONOMY
) -> list[tuple[int, int]]:
    """Return what the words of the query found in the text, as (start, end) in characters; see `highlights`."""
    return list(highlights(query, mention, enrichment, taxonomy).text)


def cut_out(text: str, found: Spans, longest: int) -> list[tuple[str, bool]]:
    """Return the part of a text that shows its first span, at most `longest` characters, as (piece, found or not).

    What is left out at either end is an ellipsis.
    """
    first = found[0] if found else (0, 0)
    begin = 0
    if first[1] > longest - 1:
        begin = max(0, min(first[0] - longest // 3, len(text) - longest + 1))
    end = min(len(text), begin + longest - (begin > 0))
    if end < len(text):
        end -= 1
    pieces = [("…", False)] if begin else []
    at = begin
    for start, stop in found:
        start, stop = max(at, min(start, end)), min(stop, end)
        if start < stop:
            pieces += [(text[at:start], False), (text[start:stop], True)]
            at = stop
    pieces += [(text[at:end], False), ("…" if end < len(text) else "", False)]
    return [(piece, is_found) for piece, is_found in pieces if piece]


@lru_cache(maxsize=64)
def _matcher(query: Query) -> Matcher:
    return Matcher(query)
