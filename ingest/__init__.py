"""Sources, one file a platform, and the one table that names them.

A source's module has `Options`, a struct of its own settings, and `build(name, options, brands)`. A package of
third parties offers such a module under the entry point group "hark.sources".
"""

import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from hark.core.errors import SettingsError
from hark.core.mistakes import meant
from hark.core.protocols import Source
from hark.settings import Brand, SourceEntry, check_options, options_of

SOURCES = {
    "x": "ingest.x",
    "reddit": "ingest.reddit",
    "bluesky": "ingest.bluesky",
    "files": "ingest.files",
    "simulator": "ingest.simulator",
}
GROUP = "hark.sources"


def open_source(entry: SourceEntry, brands: Sequence[Brand]) -> Source:
    """Build the source that `entry` of sources.toml describes; no connection is made before `read`.

    Raises SettingsError for an unknown type, wrong options, or a secret that the environment does not have.
    """
    module = _module(entry)
    source: Source = module.build(entry.name, options_of(entry, module.Options), brands)
    return source


def check_source(entry: SourceEntry) -> None:
    """Raise SettingsError for a type or an option that there is not; asks for no secret."""
    check_options(entry, _module(entry).Options)


def _module(entry: SourceEntry) -> Any:
    if entry.type in SOURCES:
        return importlib.import_module(SOURCES[entry.type])
    others = entry_points(group=GROUP)
    if entry.type not in others.names:
        known = sorted({*SOURCES, *others.names})
        raise SettingsError(
            f"sources.toml: sources.{entry.name}.type: no source {entry.type!r}{meant(entry.type, known)}; "
            f"there are {', '.join(known)}"
        )
    return others[entry.type].load()
