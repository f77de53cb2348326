"""Firms, places, products and events as a spaCy pipeline of one's own finds them; without one it does nothing.

No pipeline comes with Hark: they are large, and each is for one language. Names of people are left out: who is spoken
of is personal data, and nothing in Hark needs it.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version as installed
from typing import Any

import spacy
from msgspec import Struct
from spacy.language import Language

from enrich import Context
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mention import Entity
from hark.core.mistakes import converted

RULES = "1"
_KINDS = {
    "ORG": "organisation",
    "GPE": "place",
    "LOC": "place",
    "FAC": "place",
    "PRODUCT": "product",
    "EVENT": "event",
}
"""The labels of OntoNotes and WikiNER, which most pipelines are trained on."""
_FINDS = ("ner", "entity_ruler", "span_ruler")
_UNUSED = ("tagger", "parser", "senter", "lemmatizer", "attribute_ruler", "morphologizer", "textcat")
_LONGEST = 2_000
"""Characters of a text that are read: a pipeline takes a second for what a hostile text of 64 KB holds."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [options.recogniser]: `pipeline` is an installed package, or a folder from the configuration's on."""

    pipeline: str = ""


class Recogniser:
    """Adds to `entities` what overlaps none that is there, in the order of the text."""

    name = "recogniser"

    def __init__(self, nlp: Language | None) -> None:
        """Take a pipeline with a component that finds entities."""
        self._nlp = nlp
        self.version = digest(RULES, installed("spacy"), *_parts(nlp)) if nlp else RULES

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Read the texts in the pipeline's language, and those in an unknown one."""
        if self._nlp is None:
            return
        read = [draft for draft in drafts if draft.language.code in (self._nlp.lang, "unknown")]
        # Without the zone spaCy would keep every word it ever saw.
        with self._nlp.memory_zone():
            texts = self._nlp.pipe(draft.text[:_LONGEST] for draft in read)
            for draft, doc in zip(read, texts, strict=True):
                found = [
                    Entity(_KINDS[span.label_], " ".join(span.text.split()), span.start_char, span.end_char)
                    for span in doc.ents
                    if span.label_ in _KINDS and _is_apart(span.start_char, span.end_char, draft.entities)
                ]
                if found:
                    draft.entities = tuple(sorted((*draft.entities, *found), key=lambda entity: entity.start))


def build(context: Context) -> Recogniser:
    """Return the step; raises SettingsError where the pipeline is not named, not there, or finds no entities."""
    where = "enrichment.toml: options.recogniser"
    named = converted(dict(context.options), Options, where).pipeline
    if not named:
        return Recogniser(None)
    folder = context.config / named
    try:
        nlp = spacy.load(folder if folder.is_dir() else named, exclude=_UNUSED)
    except (OSError, ValueError, ImportError) as error:
        # spaCy's messages are long; the first sentence says what is wrong.
        what = str(error).split(". ")[0]
        raise SettingsError(
            f"{where}: pipeline {named!r} cannot be loaded: {what}. Install the package, or give a folder"
        ) from error
    if not set(_FINDS) & set(nlp.pipe_names):
        has = ", ".join(nlp.pipe_names) or "nothing"
        raise SettingsError(
            f"{where}: pipeline {named!r} finds no entities: it has {has}, of {', '.join(_FINDS)} none"
        )
    return Recogniser(nlp)


def _parts(nlp: Language) -> Iterator[str]:
    """Yield what tells a pipeline from another: its language and each component's weights or patterns."""
    yield str(nlp.lang)
    for name in nlp.pipe_names:
        component: Any = nlp.get_pipe(name)
        yield name + component.to_bytes(exclude=["vocab"]).hex()


def _is_apart(start: int, end: int, entities: Sequence[Entity]) -> bool:
    return all(end <= each.start or each.end <= start for each in entities)
