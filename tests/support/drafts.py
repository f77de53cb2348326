"""Drafts for tests of single enrichers."""

from datetime import UTC, datetime
from typing import Any

from enrich.text import Text
from hark.core.draft import Draft
from hark.core.mention import Mention
from hark.core.protocols import Enricher


def mention_of(text: str, **fields: Any) -> Mention:
    """Return a mention with that text."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return Mention(**{"id": "x:1", "source": "x", "created_at": at, "collected_at": at} | fields, text=text)


def draft_of(text: str, **fields: Any) -> Draft:
    """Return a draft as the first step of the chain leaves it; `fields` are the mention's."""
    draft = Draft(mention_of(text, **fields), text)
    Text().enrich([draft])
    return draft


def enriched(step: Enricher, text: str, **fields: Any) -> Draft:
    """Return the draft of a text after one step."""
    draft = draft_of(text, **fields)
    step.enrich([draft])
    return draft
