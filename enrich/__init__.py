"""Enrichers, one file each, and the table that names them; their order and options stand in enrichment.toml."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import Struct

from hark.core.errors import SettingsError
from hark.core.mistakes import converted, meant
from hark.core.protocols import Enricher
from hark.settings import Brand, read_toml

FILE = "enrichment.toml"


class Context(Struct, frozen=True):
    """What an enricher may be built from: `options` is its own table of enrichment.toml."""

    config: Path
    brands: tuple[Brand, ...]
    models: Path | None
    options: Mapping[str, Any]


class EnrichmentFile(Struct, frozen=True, forbid_unknown_fields=True):
    """enrichment.toml: which enrichers, in which order, and the options of each by its name."""

    order: tuple[str, ...]
    options: dict[str, dict[str, Any]] = {}


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of an enricher that has none."""


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
"""Each module has `build(context) -> Enricher`, and a struct `Options` if it has any; imported when the chain names it."""


def build(name: str, context: Context) -> Enricher:
    """Return the enricher called `name`; raises SettingsError where it cannot work as its options want."""
    make: Callable[[Context], Enricher] = import_module(ENRICHERS[name]).build
    return make(context)


def _check_options(name: str, options: Mapping[str, Any], where: str) -> None:
    """Raise SettingsError for options that the enricher called `name` does not have."""
    converted(dict(options), getattr(import_module(ENRICHERS[name]), "Options", NoOptions), where)


def read_enrichment(config: Path) -> EnrichmentFile:
    """Return enrichment.toml of the folder `config`, checked; builds nothing. Raises SettingsError."""
    path = config / FILE
    file = read_toml(path, EnrichmentFile)
    for name in (*file.order, *file.options):
        if name not in ENRICHERS:
            raise SettingsError(
                f"{path}: no enricher is called {name!r}{meant(name, ENRICHERS)}; there are: {', '.join(ENRICHERS)}"
            )
    for name, options in file.options.items():
        _check_options(name, options, f"{path}: options.{name}")
    if file.order[:1] != ("text",) or len(set(file.order)) != len(file.order):
        raise SettingsError(f'{path}: order: expected "text" first, and each enricher once')
    return file
