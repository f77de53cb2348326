"""Whether the modules that tagging spends its time in run compiled, and that they never do so out of step with their sources.

`hatch_build.py` compiles them with mypyc beside their sources, where there is a C compiler. Python prefers a compiled module
to a source without looking which is newer, so `choose` looks before any of them is imported: after an edit or an
update the sources run until they are compiled again. docs/adr/0013-compiled-enrichment.md says why.
"""

import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

MODULES = (
    "enrich.aspects",
    "enrich.author",
    "enrich.brands",
    "enrich.chain",
    "enrich.cues",
    "enrich.entities",
    "enrich.fingerprint",
    "enrich.intent",
    "enrich.journey",
    "enrich.language",
    "enrich.pii",
    "enrich.priority",
    "enrich.sentiment",
    "enrich.text",
    "enrich.topics",
    "enrich.urgency",
    "enrich.vader",
    "hark.core.draft",
    "hark.core.tokens",
)
"""All or none: compiled modules call each other past their sources."""
ROOT = Path(__file__).resolve().parents[1]
RECORD = "hark/compiled.json"
"""In ROOT, written last: what the compiled modules were made from."""


def source_of(module: str) -> str:
    """Return where a module's source lies in ROOT."""
    return module.replace(".", "/") + ".py"


def fingerprint(root: Path) -> dict[str, str]:
    """Return the Python that runs and the sources as they are; OSError where one is missing."""
    sources = {module: sha256((root / source_of(module)).read_bytes()).hexdigest() for module in MODULES}
    return {"python": EXTENSION_SUFFIXES[0], **sources}


def state(root: Path = ROOT) -> str:
    """Return "compiled", or what stands against it: the modules run as plain Python then."""
    if os.environ.get("HARK_PLAIN") == "1":
        return "plain Python (HARK_PLAIN=1)"
    try:
        recorded = json.loads((root / RECORD).read_bytes())
        present = fingerprint(root)
    except (OSError, ValueError):
        return "plain Python (not compiled when it was installed)"
    if recorded != present:
        return "plain Python (the sources have changed since they were compiled: install again)"
    return "compiled"


class Sources:
    """Finds the sources of MODULES, compiled or not: for `sys.meta_path`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the source lies; None for all other modules."""
        return spec_from_file_location(name, ROOT / source_of(name)) if name in MODULES else None


def choose() -> str:
    """See to it that compiled modules are imported only where they are those of the sources; return `state`."""
    found = state()
    if found != "compiled":
        sys.meta_path.insert(0, Sources())
    return found
