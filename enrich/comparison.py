"""Whether a new model is better than the one that serves: both on texts that neither learnt from, beyond noise.

A model with a second opinion is judged together with it; of a new one only the fold counts that no part of it had seen.
A model remembers its texts and groups by their marks. What the new file has beside them is labelled by the serving
model as it is, and by the new kind of model as it came out of the folds that had neither the text nor its group. Both
sets of labels are held against the people's on the same resamples (measures.difference). The new one is better where the
whole interval of the difference in macro-F1 is above nought, and that of accuracy is not below it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from enrich.examples import MARK_BYTES, Examples, mark_of_group, mark_of_text
from enrich.measures import Difference, Figure, difference, scores
from enrich.model import Models, Trained
from enrich.phrasebook import Phrasebook
from enrich.second_opinion import Second
from enrich.training import Training, drafts_of
from hark.core.protocols import Enricher

FEWEST_TEXTS, FEWEST_GROUPS = 100, 50
"""Held-out texts and groups without which nothing is compared: an interval over fewer means little."""


class Served(NamedTuple):
    """What a model is served with: the steps before it, the names of brands that are masked, the lists of phrases."""

    steps: Sequence[Enricher]
    names: frozenset[str]
    book: Phrasebook
    seconds: Mapping[str, Second] = {}
    """Second opinions of the models that are compared, by their hashes."""


class Comparison(Struct, frozen=True):
    """How two models did on the same texts, and why they could not be compared where they were not."""

    texts: int
    """Texts that neither learnt from."""
    groups: int
    left_out: int
    """Texts that were left out, since one of the two knew them, their group, or a copy of them."""
    serving: Figure | None = None
    """Macro-F1 of the model that serves."""
    new: Figure | None = None
    difference: Difference | None = None
    hindrance: str = ""
    """Why nothing was compared."""

    @property
    def better(self) -> bool:
        """Whether the new model is better beyond noise."""
        found = self.difference
        return found is not None and found.macro_f1.low > 0 and found.accuracy.high >= 0


def compare(
    training: Training, serving: Trained, served: Served, held_out: Examples | None = None
) -> Comparison:
    """Compare on what is new in the training's file, or on those texts of a file of their own that neither learnt from."""
    if training.model == serving:
        return not_compared("it is the same model")
    if set(training.model.labels) != set(serving.labels):
        return not_compared(_labels_differ(training.model.labels, serving.labels))
    if held_out is not None:
        return _on_file(training.model, serving, served, held_out)
    if not serving.texts:
        return not_compared("the model that serves does not say which texts it learnt from")
    return _on_unseen(training, serving, served)


def not_compared(why: str, texts: int = 0, groups: int = 0, left_out: int = 0) -> Comparison:
    """Return the comparison of two models that cannot be compared."""
    return Comparison(texts, groups, left_out, hindrance=why)


def _on_unseen(training: Training, serving: Trained, served: Served) -> Comparison:
    every = training.examples
    known = _known(serving, every)
    fold_of: dict[bytes, set[int]] = {}
    marks = [mark_of_text(text) for text in every.texts]
    for mark, fold in zip(marks, training.fold_of, strict=True):
        fold_of.setdefault(mark, set()).add(fold)
    # A text with a copy in another fold is known to the model that judged it.
    places = [
        i for i, mark in enumerate(marks) if training.said[i] and not known[i] and len(fold_of[mark]) == 1
    ]
    return _compared(every.chosen(places), len(every), serving, [training.said[i] for i in places], served)


def _on_file(model: Trained, serving: Trained, served: Served, held_out: Examples) -> Comparison:
    known = [a or b for a, b in zip(_known(serving, held_out), _known(model, held_out), strict=True)]
    part = held_out.chosen([i for i, each in enumerate(known) if not each])
    return _compared(part, len(held_out), serving, said_by(model, part.texts, served), served)


def said_by(model: Trained, texts: Sequence[str], served: Served) -> list[str]:
    """Return the label that a model gives each text, whatever the text's language and mood."""
    drafts = drafts_of(texts, served.steps)
    languages = tuple({draft.language.code for draft in drafts})
    of_all = structs.replace(model, languages=languages, mood="")
    seconds = {model.task: served.seconds[model.second]} if model.second else {}
    Models([of_all], served.names, served.book, seconds).enrich(drafts)
    if model.task == "sentiment":
        return [draft.sentiment.label for draft in drafts]
    return [draft.topics[0].id for draft in drafts]


def _known(model: Trained, examples: Examples) -> list[bool]:
    """Return for each text whether the model learnt from it, or from another of its group."""
    texts, groups = _marks(model.texts), _marks(model.groups)
    return [
        mark_of_text(text) in texts or mark_of_group(group) in groups
        for text, group in zip(examples.texts, examples.separate_groups(), strict=True)
    ]


def _marks(packed: bytes) -> frozenset[bytes]:
    return frozenset(packed[at : at + MARK_BYTES] for at in range(0, len(packed), MARK_BYTES))


def _compared(
    held_out: Examples, whole: int, serving: Trained, new: Sequence[str], served: Served
) -> Comparison:
    groups = held_out.separate_groups()
    counts = (len(held_out), len(set(groups)), whole - len(held_out))
    if counts[0] < FEWEST_TEXTS or counts[1] < FEWEST_GROUPS:
        return not_compared(
            f"{counts[0]:,} texts of {counts[1]:,} groups are unknown to both models, and {FEWEST_TEXTS} of "
            f"{FEWEST_GROUPS} are needed; --held-out names another file with labels",
            *counts,
        )
    old = said_by(serving, held_out.texts, served)
    truth = held_out.labels
    return Comparison(
        *counts,
        scores(truth, old, groups).macro_f1,
        scores(truth, new, groups).macro_f1,
        difference(truth, old, new, groups),
    )


def _labels_differ(new: Sequence[str], serving: Sequence[str]) -> str:
    parts = [
        f"{whose} {', '.join(repr(label) for label in sorted(labels))}"
        for whose, labels in (
            ("the new one alone knows", set(new) - set(serving)),
            ("the one that serves alone knows", set(serving) - set(new)),
        )
        if labels
    ]
    return f"their labels differ: {'; '.join(parts)}"
