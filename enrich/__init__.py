"""Enrichers, one file each, and the table that names them; their order and options stand in enrichment.toml."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.protocols import Enricher
from hark.settings import Brand


class Context(Struct, frozen=True):
    """What an enricher may be built from: `options` is its own table of enrichment.toml."""

    config: Path
    brands: tuple[Brand, ...]
    models: Path | None
    options: Mapping[str, Any]


ENRICHERS = {
    "text": "enrich.text",
    "language": "enrich.language",
    "brands": "enrich.brands",
    "vader": "enrich.vader",
    "sentiment": "enrich.sentiment",
    "topics": "enrich.topics",
    "aspects": "enrich.aspects",
    "model": "enrich.model",
    "intent": "enrich.intent",
    "urgency": "enrich.urgency",
    "journey": "enrich.journey",
    "entities": "enrich.entities",
    "recogniser": "enrich.recogniser",
    "pii": "enrich.pii",
    "author": "enrich.author",
    "fingerprint": "enrich.fingerprint",
    "priority": "enrich.priority",
}
"""Each module has `build(context) -> Enricher`; it is imported when the chain names it."""


def build(name: str, context: Context) -> Enricher:
    """Return the enricher called `name`; raises SettingsError for an unknown name or wrong options."""
    if name not in ENRICHERS:
        raise SettingsError(f"no enricher is called {name!r}; there are: {', '.join(ENRICHERS)}")
    make: Callable[[Context], Enricher] = import_module(ENRICHERS[name]).build
    return make(context)
