"""Mentions as a search shows them: what was found is marked, personal data is masked."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from pydantic import ConfigDict, RootModel

from enrich.pii import covered
from hark.console.said import Piece, fit, pieces, titled
from hark.core.mention import Enrichment, Mention, flat
from hark.core.protocols import Hit
from hark.core.tree import All, Query
from hark.export import mask, moved
from hark.query.fields import Taxonomy
from hark.query.highlight import highlights
from hark.query.match import Highlights

LONGEST_SEARCHED = 20_000
"""Characters of a text in which what was found is looked for; longer ones have no marks."""
_BEFORE = 120
"""Characters of a row that stand before the first mark, where the beginning does not fit."""
_LONGEST_TITLE = 200
_SPACES = re.compile(r"\s+")


def marks_of(hit: Hit, query: Query, taxonomy: Taxonomy) -> Highlights:
    """Return where the words of the query stand in title and text, as they are, unmasked."""
    if isinstance(query.root, All) or len(hit.mention.text) > LONGEST_SEARCHED:
        return Highlights()
    return highlights(query, hit.mention, hit.enrichment, taxonomy)


def row_pieces(hit: Hit, query: Query, taxonomy: Taxonomy, longest: int = 400) -> list[Piece]:
    """Return title and text for a row of a list: about `longest` characters around the first mark, on one line."""
    marks = marks_of(hit, query, taxonomy)
    words = ((start, end, "word", "matches the query") for start, end in marks.text)
    text = pieces(hit, words, longest=None)
    return [*_title(hit, marks.title), *_around(text, longest)]


def _title(hit: Hit, spans: Iterable[tuple[int, int]]) -> list[Piece]:
    title = (hit.mention.title or "")[:_LONGEST_TITLE]
    if not title:
        return []
    if covered(title)[1]:
        return [Piece(f"{titled(hit, _LONGEST_TITLE)} — ")]
    found, at = [], 0
    for start, end in spans:
        found += [Piece(fit(title[at:start])), Piece(fit(title[start:end]), "word", "matches the query")]
        at = max(at, end)
    return [*(piece for piece in found if piece.text), Piece(f"{fit(title[at:])} — ")]


def _around(all_pieces: list[Piece], longest: int) -> list[Piece]:
    before = 0
    for piece in all_pieces:
        if piece.kind == "word":
            break
        before += len(piece.text)
    else:
        before = 0
    skip = before - _BEFORE if before > longest - _BEFORE else 0
    found, left = [Piece("…")] if skip else [], longest
    for piece in all_pieces:
        if skip >= len(piece.text):
            skip -= len(piece.text)
            continue
        text = _SPACES.sub(" ", piece.text[skip : skip + left])
        left -= len(piece.text) - skip
        skip = 0
        found.append(Piece(text, piece.kind, piece.title))
        if left <= 0:
            return [*found, Piece("…")]
    return found


def told_whole(hit: Hit, query: Query, taxonomy: Taxonomy) -> dict[str, Any]:
    """Return a mention for programs: its fields flat, `enrichment` and `highlights` beside them.

    Personal data is masked; the highlights are (start, end) in characters of title and text as they stand here.
    """
    marks, safe = marks_of(hit, query, taxonomy), mask(hit)
    found: dict[str, Any] = flat(safe.mention, safe.enrichment)
    found["highlights"] = {
        "title": _moved(hit.mention.title or "", marks.title),
        "text": _moved(hit.mention.text, marks.text),
    }
    return found


def _moved(text: str, spans: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    hidden = covered(text)[1] if spans else []
    return [place for start, end in spans if (place := moved(start, end, hidden)) is not None]


def _schema() -> dict[str, Any]:
    """Return the JSON Schema of `told_whole`, made from the structs themselves."""
    _, parts = msgspec.json.schema_components([Mention, Enrichment], ref_template="{name}")
    span = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": 2,
        "maxItems": 2,
    }
    found: dict[str, Any] = _without_references(parts["Mention"], parts)
    for name in ("created_at", "collected_at"):
        found["properties"][name]["format"] = "date-time"
    tags = _without_references(parts["Enrichment"], parts)
    found["properties"]["enrichment"] = {**tags, "required": list(tags["properties"])}
    found["properties"]["highlights"] = {
        "type": "object",
        "description": "What the words of the query found: (start, end) in characters, personal data masked",
        "properties": {name: {"type": "array", "items": span} for name in ("title", "text")},
        "required": ["title", "text"],
    }
    found["required"] = [*found["required"], "enrichment", "highlights"]
    return found


def _without_references(part: Any, parts: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        if "$ref" in part:
            return _without_references(parts[part["$ref"]], parts)
        return {name: _without_references(value, parts) for name, value in part.items()}
    return [_without_references(value, parts) for value in part] if isinstance(part, list) else part


def _describe(schema: dict[str, Any]) -> None:
    schema.clear()
    schema.update(_schema())


class FlatMention(RootModel[dict[str, Any]]):
    """A mention as programs get it, described by the structs that hold it."""

    model_config = ConfigDict(title="Mention", json_schema_extra=_describe)
