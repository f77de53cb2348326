"""Texts through the shipped steps that judge by phrases, for their tests."""

from datetime import UTC, datetime
from functools import cache

from enrich import Context, build
from enrich.chain import Chain
from hark.core.draft import Draft
from hark.core.mention import Enrichment, Language, Mention, Reason
from hark.settings import SHIPPED, load

STEPS = ("text", "brands", "vader", "sentiment", "topics", "aspects", "intent", "urgency", "journey")


@cache
def chain(language: bool = False) -> Chain:
    steps = ("text", "language", *STEPS[1:]) if language else STEPS
    brands = load(SHIPPED).brands
    return Chain([build(name, Context(SHIPPED, brands, None, {})) for name in steps])


def judged(text: str, language: bool = False) -> Enrichment:
    """Return what the shipped steps say; without the language step every text counts as English."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    (found,) = chain(language).tag([Mention("x:1", "x", text, now, now)])
    assert language or found.language == Language("unknown", 0.0)
    return found


def judged_whole(text: str) -> Draft:
    """Return what these steps say of all of a text, however long: the chain would cut it off."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    draft = Draft(Mention("x:1", "x", text, now, now), text)
    for step in chain().steps:
        step.enrich([draft])
    return draft


def reasons(found: Enrichment, tag: str) -> list[Reason]:
    return [reason for reason in found.reasons if reason.tag == tag]
