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

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from enrich import Context
from enrich.drift import LIKE_ANY_MODEL, OF_TASK, Reference, Row, share_unknown
from enrich.features import BEGIN, END, RULES, Read, Reader, grams, names_of_brands
from enrich.phrasebook import Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mention import Reason, Sentiment, Topic

if TYPE_CHECKING:  # they build on this module
    from enrich.second_opinion import Second
    from enrich.spacy_model import Judged

Task = Literal["sentiment", "topic"]
TASKS: tuple[Task, ...] = ("sentiment", "topic")
Kind = Literal["additive", "spacy"]
Floats = NDArray[np.float64]

WORD, PAIR, VALUE = range(3)
Heavy = tuple[float, int, int]
"""A piece that weighed much: its weight, its kind, and its number within its text and kind."""

PAIR_SHARE, GRAM_SHARE, VALUE_SHARE = 0.8, 0.5 / 5**0.5, 0.5
"""What a pair of neighbours, a character n-gram and a value count beside a word."""
UNTRAINED = "none"
"""The step's version where no model serves."""
_FORMAT = b"hark model 1\n"
_KIND = b"hark model "
_DIGEST_BYTES = 16
_CACHE = 100_000
"""Distinct words whose vectors are remembered, from one batch to the next."""
_MOST_ROWS = 1 << 31
_TOGETHER = 64
"""Texts whose pieces are added up at once: more would leave the processor's caches."""
_TOGETHER_ASKED = 512
REASONS = 3
LEAST_REASON = 0.02
_ALSO = 0.25
"""Confidence from which a topic model's second label is given, too."""
OTHER_MOOD = 0.05
"""A text less likely than this to be of the mood of the training texts gets no label of a topic model."""
_LIKELY_MOOD = 0.5
"""Of topics, a second opinion is asked about texts at least so likely of the training texts' mood: it costs too much for others."""
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
    """Log-odds of all labels = sums @ all rows but the last + the last row."""
    sureness: tuple[float, ...]
    """Log-odds of the label with the highest sum to be right: a weight for that sum, one for its distance to the next,
    and a bias for each label."""
    data: str
    """Hash of the training texts and labels."""
    seed: int
    kind: Kind = "additive"
    """Of kind "spacy", `weights` are a pipeline's (see enrich.spacy_model); `features` and `bias` are empty."""
    texts: bytes = b""
    """Marks of the texts that it learnt from (see enrich.examples), sorted; empty where it is not known."""
    groups: bytes = b""
    """Marks of their groups, such as authors."""
    figures: tuple[Row, ...] = ()
    """How often it gave each label to texts that it had not seen, and the like: see enrich.drift."""
    second: str = ""
    """Hash of the second opinion that is asked where it is least sure (see enrich.second_opinion); "" for none."""


def rules_of(kind: Kind) -> str:
    """Return by which rules a model of this kind is made: one that was made by others cannot be served."""
    # The weights of a pipeline fit the version of spaCy that made them.
    return RULES if kind == "additive" else f"{RULES}, spaCy {'.'.join(version('spacy').split('.')[:2])}"


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
    if model.rules != rules_of(model.kind):
        raise SettingsError(
            f"{path}: was made by rules {model.rules} of enrich.features, this Hark has {rules_of(model.kind)}: "
            "train it again with `hark train`"
        )
    return model


class Pieces(NamedTuple):
    """Vectors of one kind for all texts of a batch, text by text."""

    vectors: NDArray[np.float32]
    text_of: NDArray[np.intp]
    begins: NDArray[np.intp]


class Sums(NamedTuple):
    """What the pieces of a batch add up to: a row a text, a column a label."""

    totals: Floats
    words: Pieces
    """Each text's begin, its words, its end."""
    pairs: Pieces
    """Each of those with the next."""
    values: Pieces


class Table:
    """The vectors of models that read texts alike, side by side, by word, pair and value. Used by one thread.

    Behind a model's labels stands a column with their mean.
    """

    def __init__(self, models: Sequence[Trained]) -> None:
        self.columns: dict[str, slice] = {}
        rows: dict[str, int] = {}
        for model in models:
            for feature in model.features:
                rows.setdefault(feature, len(rows) + 1)
        # The first row is for all that the models do not know.
        self._matrix = np.zeros((len(rows) + 1, sum(len(model.labels) + 1 for model in models)), np.float32)
        self._used = len(self._matrix)
        self._bias = np.zeros(self._matrix.shape[1])
        at = 0
        for model in models:
            columns = slice(at, at + len(model.labels))
            weights = np.frombuffer(model.weights, "<f4").reshape(len(model.features), -1)
            self._matrix[[rows[feature] for feature in model.features], columns] = weights
            self._matrix[:, columns.stop] = self._matrix[:, columns].mean(axis=1)
            self._bias[columns] = model.bias
            self.columns[model.task] = columns
            at = columns.stop + 1
        kinds: dict[str, dict[str, int]] = {"w": {}, "p": {}, "g": {}, "v": {}}
        for name, row in rows.items():
            kinds[name[0]][name[1:]] = row
        self._words, self._grams, self._values = kinds["w"], kinds["g"], kinds["v"]
        self._seen: dict[str, int] = {}
        in_pairs = [word for pair in kinds["p"] for word in pair.split(" ")]
        self._learn(dict.fromkeys([BEGIN, END, *self._words, *in_pairs]))
        self._index_pairs(kinds["p"])
        self._first = (dict(self._seen), self._matrix, self._used)

    def _index_pairs(self, pairs: dict[str, int]) -> None:
        """Make pairs findable by their two words' rows, which stay as they are."""
        rows = np.array(list(pairs.values()), np.int64)
        keys = []
        for pair in pairs:
            first, _, second = pair.partition(" ")
            keys.append(self._seen[first] * _MOST_ROWS + self._seen[second])
        order = np.argsort(np.array(keys, np.int64))
        # The last one is found by none.
        self._pair_keys = np.append(np.array(keys, np.int64)[order], np.iinfo(np.int64).max)
        self._pair_rows = np.append(rows[order], 0)

    def add_up(self, reads: Sequence[Read]) -> Sums:
        """Return what the pieces of each text add up to."""
        if len(self._seen) > _CACHE:
            first, self._matrix, self._used = self._first
            self._seen = dict(first)
        seen, value = self._seen, self._values.get
        new = [word for each in reads for word in each.words if word not in seen]
        if new:
            self._learn(dict.fromkeys(new))
        begin, end = seen[BEGIN], seen[END]
        rows: list[int] = []
        found: list[int] = []
        numbers: list[float] = []
        for each in reads:
            rows.append(begin)
            rows += [seen[word] for word in each.words]
            rows.append(end)
            found += [value(name, 0) for name, _ in each.values]
            numbers += [number * VALUE_SHARE for _, number in each.values]
        words = np.array(rows, np.int64)
        keys = words * _MOST_ROWS
        keys[:-1] += words[1:]
        at = self._pair_keys.searchsorted(keys)
        twos = np.where(self._pair_keys[at] == keys, self._pair_rows[at], 0)
        lengths = np.array([len(each.words) for each in reads])
        shares = 1.0 / np.sqrt(np.maximum(lengths, 1))
        in_words = self._pieces(words, lengths + 2, np.repeat(shares, lengths + 2))
        in_pairs = self._pieces(twos, lengths + 2, np.repeat(shares * PAIR_SHARE, lengths + 2))
        in_values = self._pieces(found, np.array([len(each.values) for each in reads]), np.array(numbers))
        totals = self._bias + _added_up(in_words) + _added_up(in_pairs) + _added_up(in_values)
        return Sums(totals, in_words, in_pairs, in_values)

    def heaviest(self, sums: Sums, columns: slice, labels: NDArray[np.intp]) -> list[list[Heavy]]:
        """Return the pieces that weighed most for each text's label of these columns."""
        kinds = sums[1:]
        widths = [int(np.diff(kind.begins, append=len(kind.vectors)).max()) for kind in kinds]
        weights = np.zeros((len(labels), sum(widths)), np.float32)
        offset = 0
        for (vectors, text_of, begins), width in zip(kinds, widths, strict=True):
            places = np.arange(len(vectors))
            chosen = vectors[places, labels[text_of] + columns.start]
            weights[text_of, places - begins[text_of] + offset] = chosen - vectors[:, columns.stop]
            offset += width
        texts = np.arange(len(labels))
        found: list[list[Heavy]] = [[] for _ in labels]
        for _ in range(REASONS):
            best = weights.argmax(axis=1)
            for told, weight, piece in zip(found, weights[texts, best].tolist(), best.tolist(), strict=True):
                if weight < LEAST_REASON:
                    continue
                kind = 0 if piece < widths[0] else 1 if piece < 2 * widths[0] else 2
                told.append((weight, kind, piece - kind * widths[0]))
            weights[texts, best] = 0.0
        return found

    def _pieces(self, rows: Any, counts: NDArray[np.int64], factors: Floats) -> Pieces:
        vectors = self._matrix.take(rows, axis=0)
        vectors *= factors.astype(np.float32)[:, None]
        return Pieces(vectors, np.repeat(np.arange(len(counts)), counts), np.cumsum(counts) - counts)

    def _learn(self, words: Iterable[str]) -> None:
        """Make the vectors of words that are seen for the first time."""
        rows: list[int] = []
        starts: list[int] = []
        own: list[int] = []
        gram = self._grams.get
        for number, word in enumerate(words, self._used):
            self._seen[word] = number
            own.append(self._words.get(word, 0))
            starts.append(len(rows))
            # A gram of nothing first, so that every word has one.
            rows.append(0)
            rows += [gram(each, 0) for each in grams(word)]
        vectors = np.add.reduceat(self._matrix.take(rows, axis=0), starts, axis=0)
        vectors *= np.float32(GRAM_SHARE)
        vectors += self._matrix.take(own, axis=0)
        end = self._used + len(own)
        if end > len(self._matrix):
            grown = np.zeros((end + end // 4, self._matrix.shape[1]), np.float32)
            grown[: self._used] = self._matrix[: self._used]
            self._matrix = grown
        self._matrix[self._used : end] = vectors
        self._used = end


def _added_up(pieces: Pieces) -> Floats:
    sums: Floats = np.add.reduceat(pieces.vectors, pieces.begins, axis=0, dtype=np.float64)
    return sums


class Judge:
    """One model over the sums of its columns: labels, confidences, and the pieces that weighed most."""

    def __init__(self, model: Trained, columns: slice) -> None:
        self.model = model
        self.columns = columns
        self._calibration, self._sureness = np.array(model.calibration), np.array(model.sureness)
        lower = [label.lower() for label in model.labels]
        self.poles = (
            (lower.index("positive"), lower.index("negative"))
            if "positive" in lower and "negative" in lower
            else None
        )
        """Which labels are positive and negative, if there are such."""
        self.words = frozenset(name[1:] for name in model.features if name[0] == "w")

    def judge(self, sums: "Sums | Judged") -> tuple[NDArray[np.intp], Floats]:
        """Return each text's label, and the confidences of all labels."""
        totals = sums.totals[:, self.columns]
        return totals.argmax(axis=1), confidences(totals, self._calibration, self._sureness)


def confidences(totals: Floats, calibration: Floats, sureness: Floats) -> Floats:
    """Return the calibrated share of each label.

    That of the highest sum by its height, its distance to the next, and its label; the others share the rest by the
    softmax of a linear map of all sums.
    """
    # einsum, not a matrix product: a text's confidence must not depend on the others of its batch.
    odds = np.einsum("nk,kl->nl", totals, calibration[:-1]) + calibration[-1]
    shares: Floats = np.exp(odds - odds.max(axis=1, keepdims=True))
    texts, best = np.arange(len(totals)), totals.argmax(axis=1)
    shares[texts, best] = 0.0
    sure = 1.0 / (1.0 + np.exp(-(leads(totals) * sureness[:2]).sum(axis=1) - sureness[2 + best]))
    shares *= ((1.0 - sure) / np.maximum(shares.sum(axis=1), 1e-300))[:, None]
    shares[texts, best] = sure
    return shares


def leads(totals: Floats) -> Floats:
    """Return each text's highest sum, and its distance to the next."""
    ordered = np.sort(totals, axis=1)
    return np.stack([ordered[:, -1], ordered[:, -1] - ordered[:, -2]], axis=1)


class Models:
    """Puts the trained models' labels in place of the untrained ones."""

    name = "model"

    def __init__(
        self,
        models: Sequence[Trained],
        names: frozenset[str],
        book: Phrasebook,
        seconds: Mapping[Task, "Second"] | None = None,
    ) -> None:
        """Take models of different tasks, and the second opinions of some.

        `names` of brands are masked beside those of the training.
        """
        self._seconds = dict(seconds or {})
        # Texts of similar length are read together: of many, more are similar.
        self._together = _TOGETHER_ASKED if self._seconds else _TOGETHER
        self.reference = _reference(models)
        self.version = digest(RULES, *sorted(names), *map(_digest_of, models)) if models else UNTRAINED
        alike: dict[tuple[str, ...], list[Trained]] = {}
        for model in models:
            alike.setdefault(model.names, []).append(model)
        self._groups = []
        for masked, group in alike.items():
            reader = Reader(names | set(masked), book)
            for table, beside in _tables(group):
                judges = [Judge(model, table.columns[model.task]) for model in beside]
                self._groups.append((reader, table, judges))

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Judge the drafts; sentiment and topics without training must have been found before."""
        for begin in range(0, len(drafts), self._together):
            self._judge(drafts[begin : begin + self._together])

    def _judge(self, drafts: Sequence[Draft]) -> None:
        found = []
        # All is read before anything is changed: the models see the untrained judgement.
        for reader, table, judges in self._groups:
            reads = [reader.read(draft) for draft in drafts]
            sums = table.add_up(reads)
            found += [(judge, table, reads, sums) for judge in judges]
        # Sentiment first: a topic model asks for it, and unknown words are those that the first one does not know.
        found.sort(key=lambda each: each[0].model.task)
        for judge, _, reads, _ in found[:1]:
            if judge.words:
                for draft, seen in zip(drafts, reads, strict=True):
                    draft.unknown = share_unknown(seen.words, judge.words)
        for judge, table, reads, sums in found:
            labels, shares = judge.judge(sums)
            told = self._ask(judge.model, drafts, reads, labels, shares)
            heaviest = table.heaviest(sums, judge.columns, labels)
            fill_in = _sentiment if judge.model.task == "sentiment" else _topics
            for draft, seen, label, row, heavy, second in zip(
                drafts, reads, labels.tolist(), shares.tolist(), heaviest, told, strict=True
            ):
                if fill_in(draft, judge, label, row):
                    tag = "sentiment" if fill_in is _sentiment else "topic:" + judge.model.labels[label]
                    if second is not None:
                        draft.reasons.append(Reason(tag, *second))
                    _explain(draft, tag, seen, heavy)

    def _ask(
        self,
        model: Trained,
        drafts: Sequence[Draft],
        reads: Sequence[Read],
        labels: NDArray[np.intp],
        shares: Floats,
    ) -> list[tuple[str, float] | None]:
        """Change labels and shares where the model is least sure, by its second opinion; return what that said, and how surely."""
        told: list[tuple[str, float] | None] = [None] * len(drafts)
        second = self._seconds.get(model.task)
        if second is None:
            return told
        unsure = shares[np.arange(len(drafts)), labels] < second.opinion.below
        asked = [at for at in np.flatnonzero(unsure).tolist() if _judges(model, drafts[at], _LIKELY_MOOD)]
        if not asked:
            return told
        mixed, sure, said = second.judge(
            [drafts[at] for at in asked], [reads[at] for at in asked], shares[asked]
        )
        labels[asked], shares[asked] = mixed.argmax(axis=1), sure
        for at, row in zip(asked, said, strict=True):
            best = int(row.argmax())
            told[at] = f"second opinion: {model.labels[best]}", round(float(row[best]), 2)
        return told


def _tables(models: Sequence[Trained]) -> "list[tuple[Any, list[Trained]]]":
    """Return what adds up the models of one way of reading: one table of all additive ones, a pipeline for each other."""
    additive = [model for model in models if model.kind == "additive"]
    found: list[tuple[Any, list[Trained]]] = [(Table(additive), additive)] if additive else []
    for model in models:
        if model.kind == "spacy":
            from enrich.spacy_model import Pipeline

            found.append((Pipeline(model), [model]))
    return found


def _sentiment(draft: Draft, judge: Judge, label: int, shares: list[float]) -> bool:
    """Give the draft the label; return True, as it is always given."""
    score = draft.sentiment.score
    if judge.poles is not None:
        positive, negative = judge.poles
        score = round(shares[positive] - shares[negative], 4)
    sure = round(shares[label], 4) if speaks(judge.model, draft) else 0.0
    draft.sentiment = Sentiment(judge.model.labels[label], score, sure, draft.vader)
    draft.reasons = [reason for reason in draft.reasons if reason.tag != "sentiment"]
    return True


def _topics(draft: Draft, judge: Judge, label: int, shares: list[float]) -> bool:
    """Put the label before the draft's topics; return False where the model does not judge such texts."""
    model = judge.model
    if not _judges(model, draft):
        return False
    # The label with the highest sum is the first, even where the calibration leans to another.
    least = round(shares[label], 4)
    topics = [Topic(model.labels[label], least)]
    for share, at in sorted([(-share, at) for at, share in enumerate(shares) if share >= _ALSO]):
        if at != label:
            least = min(least, round(-share, 4))
            topics.append(Topic(model.labels[at], least))
    for topic in draft.topics:
        if topic.id not in model.labels:
            topics.append(topic if topic.confidence <= least else Topic(topic.id, least))
    draft.topics = tuple(topics)
    return True


def _judges(model: Trained, draft: Draft, least: float = OTHER_MOOD) -> bool:
    """Return whether the model judges the draft: of its language, and at least so likely of its mood where it has one."""
    return speaks(model, draft) and (model.task == "sentiment" or likelihood(draft, model.mood) >= least)


def _reference(models: Sequence[Trained]) -> Reference:
    """Return the models' figures at training time; of what several have, those of the first by task."""
    rows: dict[str, list[Row]] = {}
    for model in sorted(models, key=lambda each: each.task):
        known = set(rows)
        for row in model.figures:
            # Its labels and confidences were figured without its second opinion, which would look like drift.
            told = LIKE_ANY_MODEL if model.second else OF_TASK[model.task]
            if row[0] in told - known:
                rows.setdefault(row[0], []).append(row)
    topics = frozenset(label for model in models if model.task == "topic" for label in model.labels)
    return Reference(tuple(row for tag in sorted(rows) for row in rows[tag]), topics)


def speaks(model: Trained, draft: Draft) -> bool:
    """Return whether the model was trained on texts in the draft's language."""
    return draft.language.code in model.languages


def likelihood(draft: Draft, mood: str) -> float:
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


def _explain(draft: Draft, tag: str, seen: Read, heavy: Sequence[Heavy]) -> None:
    """Append the heaviest pieces as reasons, with the places of words and pairs."""
    places = seen.places
    for weight, kind, number in heavy:
        start = end = 0
        if kind == VALUE:
            why = seen.values[number][0]
        elif kind == WORD:
            why, (start, end) = "word", draft.span(places[number - 1])
        else:
            why = "words"
            if places:
                start, end = draft.span(places[max(number - 1, 0)], places[min(number, len(places) - 1)])
        draft.reasons.append(Reason(tag, why, round(weight, 2), start, end))


def _digest_of(model: Trained) -> str:
    return blake2b(msgspec.msgpack.encode(model), digest_size=_DIGEST_BYTES).hexdigest()


def seconds_of(folder: Path, models: Iterable[Trained]) -> dict[Task, "Second"]:
    """Return the second opinions of the models in a folder; raises SettingsError for one that cannot be served."""
    from enrich.second_opinion import read as read_second

    return {model.task: read_second(folder, model.task, model.second) for model in models if model.second}


def models_in(folder: Path) -> list[Trained]:
    """Return the trained models of a folder; raises SettingsError where there is none, or one cannot be read."""
    models = [read(path) for task in TASKS if (path := folder / f"{task}.model").exists()]
    if not models:
        raise SettingsError(f"{folder}: no model is here: `hark train … --out DIR` writes one")
    return models


def build(context: Context) -> Models:
    """Return the step; without a folder of models it does nothing. It has no options."""
    models: list[Trained] = []
    seconds: dict[Task, Second] = {}
    if context.models is not None:
        models = models_in(context.models)
        seconds = seconds_of(context.models, models)
    return Models(models, frozenset(names_of_brands(context.brands)), load(context.config), seconds)
