"""A trained model of the kind "spacy": a spaCy text classifier (exclusive classes) in place of the additive sums.

It is spaCy's own TextCatBOW in a blank pipeline: a linear layer over hashed words and pairs of neighbours. It sees the same
masked words as the additive model, and behind them, each as a token, what the untrained chain found. Its log-probabilities
less their mean over the labels are used as the additive model's sums are: for validation, calibration, and serving. As the
layer is linear, what a word does alone is its weight: those are the reasons.

Trained with Adam on a seeded order, rare labels oftener by the root of how much rarer they are. The same texts, settings,
seed and version of spaCy give the same model, byte for byte.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import Adam, fix_random_seed

from enrich.features import Read
from enrich.model import LEAST_REASON, REASONS, WORD, Floats, Heavy, Trained
from hark.core.errors import SettingsError

EPOCHS, BATCH, RATE = 5, 64, 0.0005
_LENGTH = 1 << 17
"""Rows into which words and pairs are hashed."""
_FEWEST = 2
_CACHE = 100_000
_LEAST_PROBABILITY = 1e-9
_NOTHING = "<nothing>"
"""A word that no text has; spaCy's layer wants one at least."""
_ARCHITECTURE = {
    "@architectures": "spacy.TextCatBOW.v3",
    "exclusive_classes": True,
    "ngram_size": 2,
    "no_output_layer": False,
    "length": _LENGTH,
}
_SIZED = ("vaderSentiment: compound", "untrained: score")
"""Values that say more than whether they are there: they become a token for each quarter."""
_LEFT_OUT = ("vaderSentiment: negative", "vaderSentiment: positive", "length", "length squared")


class Learner:
    """Trains pipelines on some of the texts. Used by one thread."""

    def __init__(
        self,
        reads: Sequence[Read],
        truth: NDArray[np.int64],
        labels: Sequence[str],
        weights: Floats,
        seed: int,
    ) -> None:
        """Take the texts as read, the numbers of their labels, and how much a text of each label weighs."""
        self._words = [_tokens(read) for read in reads]
        self._reads = reads
        self._truth = truth
        self._labels = labels
        self._weights = weights / weights.min()
        self._seed = seed

    def sums(self, rows: NDArray[np.bool_], others: NDArray[np.bool_]) -> Floats:
        """Return what a pipeline trained on `rows` makes of `others`."""
        pipeline = self._trained(np.flatnonzero(rows))
        chosen = np.flatnonzero(others).tolist()
        return _sums(pipeline, [self._words[at] for at in chosen])

    def parts(self) -> tuple[tuple[str, ...], bytes, tuple[float, ...]]:
        """Return what is kept of a pipeline trained on all: the words it knows, its weights, and no bias."""
        texts = Counter(word for read in self._reads for word in set(read.words))
        known = sorted("w" + word for word, count in texts.items() if count >= _FEWEST)
        pipeline = self._trained(np.arange(len(self._truth)))
        weights: bytes = pipeline.get_pipe("textcat").model.to_bytes()  # type: ignore[attr-defined]
        return tuple(known), weights, ()

    def _trained(self, rows: NDArray[np.int64]) -> Language:
        if len(set(self._truth[rows].tolist())) < 2:
            raise SettingsError(
                "too little to learn from: without one group or brand, all texts have the same label"
            )
        pipeline = _pipeline(self._labels, self._seed)
        textcat: Any = pipeline.get_pipe("textcat")
        chance = random.Random(self._seed)
        examples = []
        for at in rows.tolist():
            label = self._truth[at]
            example = Example(_doc(pipeline, self._words[at]), _doc(pipeline, self._words[at]))
            example.reference.cats = {each: float(i == label) for i, each in enumerate(self._labels)}
            whole, part = divmod(float(self._weights[label]), 1.0)
            examples += [example] * (int(whole) + (chance.random() < part))
        optimizer = Adam(RATE, L2=0.01, L2_is_weight_decay=True, grad_clip=1.0)
        for _ in range(EPOCHS):
            chance.shuffle(examples)
            for batch in minibatch(examples, BATCH):  # type: ignore[no-untyped-call]
                textcat.update(batch, sgd=optimizer)
        return pipeline


class Judged(NamedTuple):
    """What a pipeline makes of a batch: a row a text, a column a label; and the texts as they were read."""

    totals: Floats
    reads: Sequence[Read]


class Pipeline:
    """A pipeline that is served, where an additive model has its enrich.model.Table. Used by one thread."""

    def __init__(self, model: Trained) -> None:
        """Take a model of the kind "spacy"."""
        self.columns: dict[str, slice] = {model.task: slice(0, len(model.labels))}
        self._pipeline = _pipeline(model.labels, model.seed)
        textcat: Any = self._pipeline.get_pipe("textcat")
        textcat.model.from_bytes(model.weights)
        self._alone: dict[str, Floats] = {}
        (self._nothing,) = _sums(self._pipeline, [[_NOTHING]])

    def add_up(self, reads: Sequence[Read]) -> Judged:
        """Return each text's sums."""
        return Judged(_sums(self._pipeline, [_tokens(read) for read in reads]), reads)

    def heaviest(self, judged: Judged, columns: slice, labels: NDArray[np.intp]) -> list[list[Heavy]]:
        """Return the words that weighed most for each text's label, by what each does alone."""
        alone = self._each_alone([word for read in judged.reads for word in read.words])
        found = []
        for read, label in zip(judged.reads, labels.tolist(), strict=True):
            weights = {word: float(alone[word][label]) for word in read.words}
            best = sorted(weights, key=weights.__getitem__, reverse=True)[:REASONS]
            told = [word for word in best if weights[word] >= LEAST_REASON]
            # The words are numbered from the text's begin, which is none of them.
            found.append([(weights[word], WORD, read.words.index(word) + 1) for word in told])
        return found

    def _each_alone(self, words: Sequence[str]) -> dict[str, Floats]:
        """Return what each word adds to a text's sums, its pairs with others aside."""
        if len(self._alone) > _CACHE:
            self._alone.clear()
        new = [word for word in dict.fromkeys(words) if word not in self._alone]
        if new:
            rows = _sums(self._pipeline, [[word] for word in new]) - self._nothing
            self._alone.update(zip(new, rows, strict=True))
        return self._alone


def _pipeline(labels: Sequence[str], seed: int) -> Language:
    """Return a blank pipeline for these labels, ready to learn or to be given weights."""
    fix_random_seed(seed)
    pipeline = spacy.blank("en")
    textcat: Any = pipeline.add_pipe("textcat", config={"model": _ARCHITECTURE})
    for label in labels:
        textcat.add_label(label)
    doc = _doc(pipeline, ["word"])
    example = Example(doc, _doc(pipeline, ["word"]))
    example.reference.cats = dict.fromkeys(labels, 0.0) | {labels[0]: 1.0}
    pipeline.initialize(lambda: [example])
    return pipeline


def _doc(pipeline: Language, words: Sequence[str]) -> Doc:
    return Doc(pipeline.vocab, words=list(words))


def _sums(pipeline: Language, texts: Sequence[Sequence[str]]) -> Floats:
    """Return the log-probabilities of each text's labels, less their mean."""
    model: Any = pipeline.get_pipe("textcat").model  # type: ignore[attr-defined]
    # Words that are seen for the first time are forgotten afterwards: a long life takes no more memory.
    with pipeline.memory_zone():
        shares = model.predict([_doc(pipeline, words) for words in texts])
    logarithms: Floats = np.log(np.maximum(shares.astype(np.float64), _LEAST_PROBABILITY))
    sums: Floats = logarithms - logarithms.mean(axis=1, keepdims=True)
    return sums


def _tokens(read: Read) -> list[str]:
    """Return the words, and behind them what the untrained chain found, as words that no text has."""
    found = list(read.words)
    for name, value in read.values:
        if name in _SIZED:
            found.append(f"{name} {round(value * 4)}")
        elif name not in _LEFT_OUT and not name.endswith("how sure"):
            found.append(name)
    return found
