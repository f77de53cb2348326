"""What somebody said, as it is shown: personal data masked, the words that matter marked, nothing else changed."""

import re
from collections.abc import Iterable
from itertools import islice

from markupsafe import Markup, escape
from msgspec import Struct

from enrich.pii import masked
from hark.core.protocols import Hit

LONGEST = 4_000
"""Characters of a text that a page shows at first; the whole is a click away."""
MOST_MARKS = 200
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Piece(Struct, frozen=True):
    """A stretch of text: plain, or marked by `kind` ("word", "neg", "pos", "topic", "pii")."""

    text: str
    kind: str = ""
    title: str = ""


def pieces(
    hit: Hit,
    marks: Iterable[tuple[int, int, str, str]] = (),
    revealed: bool = False,
    longest: int | None = LONGEST,
) -> list[Piece]:
    """Return the mention's text in pieces: `marks` are (start, end, kind, title); the first of two that overlap wins.

    Where the enrichment found personal data, its kind stands in its place, unless `revealed`.
    """
    text = hit.mention.text
    hidden = [
        (reason.start, reason.end, "pii", reason.why)
        for reason in hit.enrichment.reasons
        if reason.tag.startswith("pii:") and reason.end > reason.start
    ]
    # Personal data first: a mark across it must not bring it out.
    found: list[tuple[int, int, str, str]] = []
    for mark in [*hidden, *islice(marks, MOST_MARKS)]:
        if mark[0] < mark[1] and not any(mark[0] < other[1] and other[0] < mark[1] for other in found):
            found.append(mark)
    result: list[Piece] = []
    at, end = 0, len(text) if longest is None else min(len(text), longest)
    for start, stop, kind, title in sorted(found):
        if start >= end:
            break
        if start > at:
            result.append(Piece(fit(text[at:start])))
        if kind == "pii" and not revealed:
            result.append(Piece(f"[{title}]", "pii", title))
        else:
            result.append(Piece(fit(text[start:stop]), kind, title))
        at = stop
    if at < end:
        result.append(Piece(fit(text[at:end])))
    if end < len(text):
        result.append(Piece("…"))
    return result


def told(hit: Hit, longest: int = 400) -> str:
    """Return title and text of a mention for a row of a list: personal data masked, cut, on one line."""
    text = "".join(piece.text for piece in pieces(hit, longest=longest))
    title = f"{titled(hit, 200)} — " if hit.mention.title else ""
    return title + " ".join(text.split())


def titled(hit: Hit, longest: int = 500) -> str:
    """Return a mention's title, personal data masked, cut; "" where it has none."""
    return fit(masked((hit.mention.title or "")[:longest]))


def marked(found: Iterable[Piece]) -> Markup:
    """Return pieces as HTML: marks are <mark>, with their kind as the class."""
    parts = []
    for piece in found:
        if piece.kind:
            parts.append(
                Markup('<mark class="{}" title="{}">{}</mark>').format(piece.kind, piece.title, piece.text)
            )
        else:
            parts.append(escape(piece.text))
    return Markup("").join(parts)


def fit(text: str) -> str:
    """Return `text` without the characters that HTML cannot hold."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
