"""Trained models: `hark train` writes them into a folder, and this step puts their judgement in place of the untrained.

A model is additive. Each word, each two neighbours and each value that enrich.features reads adds a vector, one number
a label; words and neighbours are divided by the root of the number of words, and a word's vector has the vectors of
its character n-grams folded in, once, when the word is first seen. The label with the highest sum is given; its
confidence comes from a calibration learnt on texts that the model had not seen. The pieces that weighed most for the
label against the mean of all labels are the reasons.

A sentiment model replaces the sentiment. A topic model's labels come before the taxonomy's topics, which stay, with a
confidence no higher than the first label's. Texts in a language that the training texts were not in keep their
taxonomy's topics alone, and get the model's sentiment with confidence 0, so that all labels are of one set.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from enrich import Context
from enrich.features import RULES, Read, Reader, grams, names_of_brands, pairs
from enrich.phrasebook import Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mention import Reason, Sentiment, Topic

Task = Literal["sentiment", "topic"]
TASKS: tuple[Task, ...] = ("sentiment", "topic")
Floats = NDArray[np.float64]

PAIR_SHARE, GRAM_SHARE = 0.8, 0.5 / 5**0.5
"""What a pair of neighbours and a character n-gram count beside a word."""
_FORMAT = b"hark model 1\n"
_KIND = b"hark model "
_DIGEST_BYTES = 16
_CACHE = 100_000
"""Distinct words whose vectors are remembered, from one batch to the next."""
_REASONS = 3
_LEAST_REASON = 0.02
_ALSO = 0.25
"""Confidence from which a topic model's second label is given, too."""
_OTHER_MOOD = 0.05
"""A text less likely than this to be of the mood of the training texts gets no label of a topic model."""
_STANDARD = ("positive", "neutral", "negative")


class Trained(Struct, frozen=True):
    """A model as it stands in its file."""

    task: Task
    labels: tuple[str, ...]
    rules: str
    names: tuple[str, ...]
    """Names of brands that were masked in training."""
    languages: tuple[str, ...]
    """Codes of the languages of the training texts, "unknown" among them."""
    mood: str
    """Of a topic model: the sentiment that nearly all its training texts had; "" for none."""
    features: tuple[str, ...]
    """A letter for the kind (word, pair, gram, value), and what it is."""
    weights: bytes
    """Little-endian float32, a row a feature and a column a label."""
    bias: tuple[float, ...]
    calibration: tuple[tuple[float, ...], ...]
    """Log-odds = sums @ all rows but the last + the last row."""
    data: str
    """Hash of the training texts and labels."""
    seed: int


def write(model: Trained, folder: Path) -> Path:
    """Write the model into the folder, in place of one for the same task that stands there; return its path."""
    body = msgspec.msgpack.encode(model)
    path = folder / f"{model.task}.model"
    new = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.write_bytes(_FORMAT + blake2b(body, digest_size=_DIGEST_BYTES).digest() + body)
        new.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return path


def read(path: Path) -> Trained:
    """Return the model in a file; raises SettingsError for one that is damaged, or made by another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    if not content.startswith(_FORMAT):
        what = "is of another format than this Hark reads" if content.startswith(_KIND) else "is no model"
        raise SettingsError(f"{path}: {what}: train it again with `hark train`")
    body = content[len(_FORMAT) + _DIGEST_BYTES :]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != content[len(_FORMAT) : -len(body) or None]:
        raise SettingsError(f"{path}: is damaged: train it again with `hark train`, or copy it anew")
    try:
        model = msgspec.msgpack.decode(body, type=Trained)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}: train it again with `hark train`") from error
    if model.rules != RULES:
        raise SettingsError(
            f"{path}: was made by rules {model.rules} of enrich.features, this Hark has {RULES}: "
            "train it again with `hark train`"
        )
    return model


class Sums(NamedTuple):
    """What the pieces of a batch add up to, and the pieces."""

    totals: Floats
    """A row a text, a column a label."""
    vectors: Floats
    """A row a piece."""
    starts: NDArray[np.intp]
    """Each text's first piece: its words, its pairs, its values."""


class Table:
    """The vectors of models that read texts alike, side by side, by word, pair and value. Used by one thread."""

    def __init__(self, models: Sequence[Trained]) -> None:
        self.columns: dict[str, slice] = {}
        width = sum(len(model.labels) for model in models)
        rows: dict[str, int] = {}
        for model in models:
            for feature in model.features:
                rows.setdefault(feature, len(rows) + 1)
        # The first row is for all that the models do not know.
        self._known = np.zeros((len(rows) + 1, width))
        self._bias = np.zeros(width)
        at = 0
        for model in models:
            columns = slice(at, at + len(model.labels))
            weights = np.frombuffer(model.weights, dtype="<f4").reshape(len(model.features), -1)
            self._known[[rows[feature] for feature in model.features], columns] = weights
            self._bias[columns] = model.bias
            self.columns[model.task] = columns
            at = columns.stop
        self._words = {name[1:]: row for name, row in rows.items() if name[0] == "w"}
        self._pairs = {name[1:]: row for name, row in rows.items() if name[0] == "p"}
        self._grams = {name[1:]: row for name, row in rows.items() if name[0] == "g"}
        self._values = {name[1:]: row for name, row in rows.items() if name[0] == "v"}
        self._seen: dict[str, int] = {}
        self._matrix = self._known
        self._used = len(self._known)

    def add_up(self, reads: Sequence[Read]) -> Sums:
        """Return what the pieces of each text add up to."""
        if len(self._seen) > _CACHE:
            self._seen.clear()
            self._matrix, self._used = self._known, len(self._known)
        pieces: list[int] = []
        factors: list[float] = []
        starts: list[int] = []
        seen, pair, value = self._seen, self._pairs.get, self._values.get
        for each in reads:
            starts.append(len(pieces))
            words = each.words
            share = 1.0 / max(len(words), 1) ** 0.5
            pieces += [seen[word] if word in seen else self._look_up(word) for word in words]
            pieces += [pair(two, 0) for two in pairs(words)]
            pieces += [value(name, 0) for name, _ in each.values]
            factors += repeat(share, len(words))
            factors += repeat(share * PAIR_SHARE, len(words) + 1)
            factors += [number for _, number in each.values]
        vectors = self._matrix[pieces] * np.array(factors)[:, None]
        begins = np.array(starts, dtype=np.intp)
        return Sums(np.add.reduceat(vectors, begins, axis=0) + self._bias, vectors, begins)

    def _look_up(self, word: str) -> int:
        """Return the row of a word's vector, made when it is first seen."""
        vector = self._known[self._words.get(word, 0)].copy()
        known = [row for gram in grams(word) if (row := self._grams.get(gram))]
        if known:
            vector += GRAM_SHARE * self._known[known].sum(axis=0)
        if self._used == len(self._matrix):
            grown = np.zeros((self._used + max(self._used // 2, 1000), self._matrix.shape[1]))
            grown[: self._used] = self._matrix
            self._matrix = grown
        self._matrix[self._used] = vector
        self._seen[word] = self._used
        self._used += 1
        return self._used - 1


class Judge:
    """One model over the sums of its columns: labels, confidences, and the pieces that weighed most."""

    def __init__(self, model: Trained, columns: slice) -> None:
        self.model = model
        self._columns = columns
        self._calibration = np.array(model.calibration)

    def judge(self, sums: Sums) -> tuple[list[int], Floats, list[list[tuple[float, int]]]]:
        """Return each text's label, the confidences of all labels, and [(weight, number of the piece), …]."""
        totals = sums.totals[:, self._columns]
        labels = totals.argmax(axis=1)
        return labels.tolist(), confidences(totals, self._calibration), self._heaviest(sums, labels)

    def _heaviest(self, sums: Sums, labels: NDArray[np.intp]) -> list[list[tuple[float, int]]]:
        ends = np.append(sums.starts[1:], len(sums.vectors))
        text_of = np.repeat(np.arange(len(labels)), ends - sums.starts)
        vectors = sums.vectors[:, self._columns]
        weights = vectors[np.arange(len(vectors)), labels[text_of]] - vectors.mean(axis=1)
        order = np.lexsort((-weights, text_of))
        chosen = [
            order[start : min(start + _REASONS, end)] for start, end in zip(sums.starts, ends, strict=True)
        ]
        return [
            [
                (weight, piece - start)
                for weight, piece in zip(weights[few].tolist(), few.tolist(), strict=True)
                if weight >= _LEAST_REASON
            ]
            for few, start in zip(chosen, sums.starts.tolist(), strict=True)
        ]


def confidences(totals: Floats, calibration: Floats) -> Floats:
    """Return the calibrated share of each label: the softmax of a linear map of the sums."""
    # einsum, not a matrix product: a text's confidence must not depend on the others of its batch.
    odds = np.einsum("nk,kl->nl", totals, calibration[:-1]) + calibration[-1]
    odds = np.exp(odds - odds.max(axis=1, keepdims=True))
    shares: Floats = odds / odds.sum(axis=1, keepdims=True)
    return shares


class Models:
    """Puts the trained models' labels in place of the untrained ones."""

    name = "model"

    def __init__(self, models: Sequence[Trained], names: frozenset[str], book: Phrasebook) -> None:
        """Take models of different tasks; `names` of brands are masked beside those of the training."""
        self.version = digest(RULES, *sorted(names), *map(_digest_of, models)) if models else "none"
        alike: dict[tuple[str, ...], list[Trained]] = {}
        for model in models:
            alike.setdefault(model.names, []).append(model)
        self._groups = []
        for masked, group in alike.items():
            table = Table(group)
            judges = [Judge(model, table.columns[model.task]) for model in group]
            self._groups.append((Reader(names | set(masked), book), table, judges))

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge the drafts; sentiment and topics without training must have been found before."""
        if not drafts:
            return
        found = []
        # All is read before anything is changed: the models see the untrained judgement.
        for reader, table, judges in self._groups:
            reads = [reader.read(draft) for draft in drafts]
            sums = table.add_up(reads)
            found += [(judge.model, reads, judge.judge(sums)) for judge in judges]
        for model, reads, (labels, shares, heaviest) in sorted(found, key=lambda each: each[0].task):
            fill_in = _sentiment if model.task == "sentiment" else _topics
            for draft, read_, label, row, heavy in zip(
                drafts, reads, labels, shares.tolist(), heaviest, strict=True
            ):
                fill_in(draft, model, label, row, read_, heavy)


def _sentiment(
    draft: Draft, model: Trained, label: int, shares: list[float], read_: Read, heavy: list[tuple[float, int]]
) -> None:
    lower = [name.lower() for name in model.labels]
    score = draft.sentiment.score
    if "positive" in lower and "negative" in lower:
        score = round(shares[lower.index("positive")] - shares[lower.index("negative")], 4)
    sure = round(shares[label], 4) if _speaks(model, draft) else 0.0
    draft.sentiment = Sentiment(model.labels[label], score, sure, draft.vader)
    draft.reasons = [reason for reason in draft.reasons if reason.tag != "sentiment"]
    _explain(draft, "sentiment", read_, heavy)


def _topics(
    draft: Draft, model: Trained, label: int, shares: list[float], read_: Read, heavy: list[tuple[float, int]]
) -> None:
    if not _speaks(model, draft) or _likelihood(draft, model.mood) < _OTHER_MOOD:
        return
    first = Topic(model.labels[label], round(shares[label], 4))
    others = sorted((-share, at) for at, share in enumerate(shares) if share >= _ALSO and at != label)
    # The label with the highest sum is the first, even where the calibration has a slight doubt.
    also = [Topic(model.labels[at], min(round(-share, 4), first.confidence)) for share, at in others]
    draft.topics = (
        first,
        *also,
        *(
            topic if topic.confidence <= also_least(first, also) else Topic(topic.id, also_least(first, also))
            for topic in draft.topics
            if topic.id not in model.labels
        ),
    )
    _explain(draft, f"topic:{first.id}", read_, heavy)


def also_least(first: Topic, also: Sequence[Topic]) -> float:
    """Return the confidence of the last of a model's topics."""
    return also[-1].confidence if also else first.confidence


def _speaks(model: Trained, draft: Draft) -> bool:
    """Return whether the model was trained on texts in the draft's language."""
    return draft.language.code in model.languages


def _likelihood(draft: Draft, mood: str) -> float:
    """Return how likely the text's sentiment is `mood`; 1 where that cannot be told."""
    sentiment = draft.sentiment
    if mood not in _STANDARD or sentiment.label not in _STANDARD or sentiment.confidence == 0.0:
        return 1.0
    if sentiment.label == mood:
        return sentiment.confidence
    if sentiment.label == "neutral":
        rest = 1.0 - sentiment.confidence
        return (rest + (sentiment.score if mood == "positive" else -sentiment.score)) / 2
    opposite = sentiment.confidence - abs(sentiment.score)
    return 1.0 - sentiment.confidence - opposite if mood == "neutral" else opposite


def _explain(draft: Draft, tag: str, read_: Read, heavy: Sequence[tuple[float, int]]) -> None:
    """Append the heaviest pieces as reasons, with the places of words and pairs."""
    words, places = len(read_.words), read_.places
    for weight, piece in heavy:
        if piece < words:
            why, (start, end) = "word", draft.span(places[piece])
        elif piece <= 2 * words:
            at = piece - words
            why = "words"
            start, end = draft.span(places[max(at - 1, 0)], places[min(at, words - 1)]) if words else (0, 0)
        else:
            why, start, end = read_.values[piece - 2 * words - 1][0], 0, 0
        draft.reasons.append(Reason(tag, why, round(weight, 2), start, end))


def _digest_of(model: Trained) -> str:
    return blake2b(msgspec.msgpack.encode(model), digest_size=_DIGEST_BYTES).hexdigest()


def build(context: Context) -> Models:
    """Return the step; without a folder of models it does nothing. It has no options."""
    models = []
    if context.models is not None:
        models = [read(path) for task in TASKS if (path := context.models / f"{task}.model").exists()]
        if not models:
            raise SettingsError(f"{context.models}: no model is here: `hark train … --out DIR` writes one")
    return Models(models, frozenset(names_of_brands(context.brands)), load(context.config))
