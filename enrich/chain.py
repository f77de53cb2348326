"""The chain of enrichers: mentions in, enrichments out, as config/enrichment.toml orders it."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import structs

from enrich import FILE, Context, build, read_enrichment
from enrich.drift import Reference, Tally, versions_of_tags
from enrich.model import UNTRAINED, Models
from enrich.text import digest
from hark.core.draft import LONGEST_TEXT, Draft
from hark.core.errors import SettingsError
from hark.core.mention import Enrichment, Mention
from hark.core.protocols import Enricher
from hark.settings import Brand

MODEL = "model"
_TOGETHER = 512
"""So many go through all steps together: fewer change steps too often, more need memory."""


class Chain:
    """Enrichers one after the other; each sees what those before it found. Used by one thread."""

    def __init__(self, steps: Sequence[Enricher]) -> None:
        self.steps = tuple(steps)
        self.version = digest(*(f"{step.name} {step.version}" for step in steps))
        """Names these steps with their rules, lists and models: other tags come with another version."""
        self.tally: Tally | None = None
        """Counts the tags that are given, where one is set."""
        references = [step.reference for step in self.steps if isinstance(step, Models)]
        reference = references[0] if references else Reference()
        versions = {step.name: step.version for step in self.steps}
        trained = versions.get(MODEL, UNTRAINED) != UNTRAINED
        self.reference = structs.replace(reference, versions=versions_of_tags(versions, trained))
        """What such counts are to be compared with: figures where a trained model serves, and what made each tag."""

    def tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        """Return one enrichment a mention, in order; quickest with a hundred or more at a time."""
        done: list[Enrichment] = []
        for begin in range(0, len(mentions), _TOGETHER):
            with _uncollected():
                done += self._tag(mentions[begin : begin + _TOGETHER])
        return done

    def _tag(self, mentions: Sequence[Mention]) -> list[Enrichment]:
        drafts = [Draft(mention, mention.text[:LONGEST_TEXT]) for mention in mentions]
        for step in self.steps:
            step.enrich(drafts)
        if self.tally is not None:
            self.tally.add(drafts)
        return [self._finished(draft) for draft in drafts]

    def _finished(self, draft: Draft) -> Enrichment:
        return Enrichment(
            self.version,
            draft.language,
            draft.brands,
            draft.sentiment,
            draft.topics,
            draft.intent,
            draft.urgency,
            draft.journey,
            draft.entities,
            draft.fingerprint,
            draft.priority,
            tuple(draft.reasons),
            reach=draft.reach,
            influence=draft.influence,
            automation=draft.automation,
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for cycles among thousands of half-made tags: there are none, and it takes a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def build_chain(config: Path, brands: Sequence[Brand], models: Path | None = None) -> Chain:
    """Return the chain that enrichment.toml in the folder `config` describes.

    `models` is a folder that `hark train` wrote. Takes a second or two; raises SettingsError.
    """
    path = config / FILE
    file = read_enrichment(config)
    if not file.options.get("recogniser"):
        _import_spacy_alone()
    if models is not None and MODEL not in file.order:
        raise SettingsError(
            f'{path}: order: expected "{MODEL}", behind "topics", as there are models to serve'
        )
    contexts = {
        name: Context(config, tuple(brands), models, file.options.get(name, {})) for name in file.order
    }
    return Chain([build(name, context) for name, context in contexts.items()])


def _import_spacy_alone() -> None:
    """Import spaCy, and not torch with it.

    spaCy takes torch along wherever it is installed, as it is for a second opinion: 490 MB and two seconds in each
    process, and only a pipeline of one's own can need it.
    """
    if "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]  # to whoever imports it now it is not installed
        try:
            import spacy  # noqa: F401
        finally:
            del sys.modules["torch"]


def before_models(chain: Chain) -> tuple[Enricher, ...]:
    """Return the steps whose findings a trained model sees; raises SettingsError when the chain has no such model."""
    names = [step.name for step in chain.steps]
    if MODEL not in names:
        raise SettingsError(
            f'{FILE}: order: expected "{MODEL}", behind "topics", where a trained model is to judge'
        )
    return chain.steps[: names.index(MODEL)]
