"""Learning from labelled texts: an additive model over words, pairs of words, character n-grams and untrained findings.

A linear support vector machine, each label against the rest (liblinear; Fan et al. 2008), with rare labels weighing
more, by the root of how much rarer they are: between accuracy and macro-F1. Confidence comes from two logistic
regressions on its sums: of all labels ("matrix scaling", Guo et al. 2017), and of whether the best is right, by its
height, its lead and its label. Both are fitted on texts that the model had not seen: five folds that keep a group's texts
(an author's) together. Where brands are known, each is also left out once, to see how
the model does on a brand it never saw. The same file, settings and seed give the same model, byte for byte.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from enrich.drift import INTENT, OF_TASK, Row, Tally, share_unknown
from enrich.examples import Examples, mark_of_group, mark_of_text
from enrich.features import Read, Reader, grams, names_of, names_of_brands, pairs
from enrich.measures import Scores, Sureness, scores, sureness
from enrich.model import (
    GRAM_SHARE,
    OTHER_MOOD,
    PAIR_SHARE,
    VALUE_SHARE,
    Floats,
    Kind,
    Task,
    Trained,
    confidences,
    leads,
    likelihood,
    rules_of,
    speaks,
)
from enrich.phrasebook import Phrasebook
from enrich.second_opinion import masked
from hark.core.clock import EARLIEST
from hark.core.draft import LONGEST_TEXT, Draft
from hark.core.errors import SettingsError
from hark.core.mention import Mention, Topic
from hark.core.protocols import Enricher
from hark.settings import Brand

FOLDS = 5
FEWEST_TEXTS, FEWEST_OF_LABEL = 30, 5
MOST_BRANDS_LEFT_OUT = 20
_STRENGTH = 0.1
"""C of the support vector machine: chosen on the airline tweets with airlines left out; 0.05 to 0.2 do as well."""
_RARE = 0.5
_LEAST_TEXTS = {"w": 2, "p": 2, "g": 3, "v": 1}
"""Texts that a feature must be in, by its kind."""
_TOGETHER = 64
_MOOD_SHARE = 0.6
_LANGUAGE_SHARE = 0.01

Progress = Callable[[], None]


class Validation(Struct, frozen=True):
    """How labels did that were given to texts unseen in training; `brands` by each brand's own texts."""

    scores: Scores
    sureness: Sureness
    brands: dict[str, Scores]
    sources: dict[str, Scores] = {}
    """By the source that each text came from, where the file tells."""


class Training(Struct, frozen=True):
    """A model and how it was validated: with authors kept apart, and with each brand left out once."""

    model: Trained
    folds: Validation
    left_out: Validation | None
    rare: dict[str, int]
    """Labels of too few texts, which were left out, and how many they have."""
    examples: Examples
    """What it learnt from, without those."""
    said: tuple[str, ...]
    """For each example, the label that a model gave which had learnt from the other folds alone; "" where none did."""
    fold_of: tuple[int, ...]
    best: NDArray[np.int64]
    """The number of each label in `said`."""
    shares: Floats
    """The confidences that came with it, calibrated on the other folds."""
    masked: tuple[str, ...]
    """The texts as a sentence model reads them."""


def steps_of_training(examples: Examples) -> int:
    """Return how often `train` will report progress."""
    return FOLDS + len(_brands_left_out(examples)) + 2


def train(
    examples: Examples,
    task: Task,
    steps: Sequence[Enricher],
    brands: Sequence[Brand],
    book: Phrasebook,
    seed: int,
    progress: Progress,
    after: Sequence[Enricher] = (),
    kind: Kind = "additive",
) -> Training:
    """Return a model learnt from the examples, as `steps` (the chain before the models) find them.

    `after` are steps behind the models whose tags belong to the figures that drift is measured against. Raises
    SettingsError when there is too little to learn from.
    """
    examples, rare = _enough(examples)
    names = frozenset(names_of(examples.brands or ()) | names_of_brands(brands))
    drafts = drafts_of(examples.texts, steps)
    reader = Reader(names, book)
    reads = [reader.read(draft) for draft in drafts]
    labels = sorted(set(examples.labels))
    number = {label: at for at, label in enumerate(labels)}
    truth = np.array([number[label] for label in examples.labels])
    learn: Learner
    if kind == "spacy":
        from enrich import spacy_model

        learn = spacy_model.Learner(reads, truth, labels, rare_weights(truth, len(labels)), seed)
    else:
        learn = _Additive(reads, truth, len(labels), seed)
    progress()
    fold_of = folds_of(examples, seed)
    sums = np.zeros((len(truth), len(labels)))
    for fold in range(FOLDS):
        sums[fold_of == fold] = learn.sums(fold_of != fold, fold_of == fold)
        progress()
    shares = np.zeros_like(sums)
    for fold in range(FOLDS):
        chosen = fold_of == fold
        shares[chosen] = confidences(sums[chosen], *_calibration(sums[~chosen], truth[~chosen]))
    folds = validation(examples, labels, sums.argmax(axis=1), shares, range(len(truth)))
    calibration, sure = _calibration(sums, truth)
    left_out = _leave_brands_out(examples, labels, learn, progress)
    features, weights, bias = learn.parts()
    progress()
    model = Trained(
        task,
        tuple(labels),
        rules_of(kind),
        tuple(sorted(names)),
        _languages(drafts),
        _mood(drafts) if task == "topic" else "",
        features,
        weights,
        bias,
        tuple(tuple(row) for row in calibration.tolist()),
        tuple(sure.tolist()),
        examples.digest(),
        seed,
        kind,
        texts=b"".join(sorted(set(map(mark_of_text, examples.texts)))),
        groups=b"".join(sorted({mark_of_group(each) for each in examples.groups or () if each.strip()})),
    )
    best = sums.argmax(axis=1)
    said = tuple(labels[at] for at in best)
    sure = shares[np.arange(len(best)), best].tolist()
    figures = _figures(model, drafts, reads, list(zip(said, sure, strict=True)), fold_of, after)
    model = structs.replace(model, figures=figures)
    return Training(
        model,
        folds,
        left_out,
        rare,
        examples,
        said,
        tuple(fold_of.tolist()),
        best,
        shares,
        tuple(map(masked, drafts, reads)),
    )


def drafts_of(texts: Sequence[str], steps: Sequence[Enricher]) -> list[Draft]:
    """Return the texts after these steps of the chain."""
    drafts = [
        Draft(Mention(f"train:{at}", "train", text, EARLIEST, EARLIEST), text[:LONGEST_TEXT])
        for at, text in enumerate(texts)
    ]
    for begin in range(0, len(drafts), _TOGETHER):
        for step in steps:
            step.enrich(drafts[begin : begin + _TOGETHER])
    return drafts


def _enough(examples: Examples) -> tuple[Examples, dict[str, int]]:
    """Return the examples without labels that are too rare; raises SettingsError when too few are left."""
    counts = Counter(examples.labels)
    rare = {label: count for label, count in sorted(counts.items()) if count < FEWEST_OF_LABEL}
    if rare:
        examples = examples.chosen([i for i, label in enumerate(examples.labels) if label not in rare])
    kept = sorted(set(examples.labels))
    if len(kept) < 2:
        only = f"only {kept[0]!r} has" if kept else "none has"
        raise SettingsError(
            f"too little to learn from: of the labels {only} {FEWEST_OF_LABEL} texts or more; two are needed"
        )
    if len(examples) < FEWEST_TEXTS:
        raise SettingsError(
            f"too little to learn from: {len(examples)} labelled texts; {FEWEST_TEXTS} are needed"
        )
    return examples, rare


def rare_weights(truth: NDArray[np.int64], labels: int) -> Floats:
    """Return how much a text of each label weighs: rare ones more, by the root; 1 where there is none."""
    counts = np.bincount(truth, minlength=labels)
    weights: Floats = (len(truth) / np.count_nonzero(counts) / np.maximum(counts, 1)) ** _RARE
    return np.where(counts > 0, weights, 1.0)


class Learner(Protocol):
    """Learns from some of the texts; enrich.spacy_model has another one."""

    def sums(self, rows: NDArray[np.bool_], others: NDArray[np.bool_]) -> Floats:
        """Return what a model that learnt from `rows` adds up for `others`; raises SettingsError for too few labels."""

    def parts(self) -> tuple[tuple[str, ...], bytes, tuple[float, ...]]:
        """Return features, weights and bias of a model that learnt from all texts, as they stand in its file."""


class _Additive:
    """Fits the machine to some of the rows of one matrix."""

    def __init__(self, reads: Sequence[Read], truth: NDArray[np.int64], labels: int, seed: int) -> None:
        self._features, self._matrix = _matrix(reads)
        self._truth = truth
        self._labels = labels
        self._seed = seed

    def parts(self) -> tuple[tuple[str, ...], bytes, tuple[float, ...]]:
        """Return what is kept of a machine fitted to all rows."""
        weights, bias = self._fit(np.ones(len(self._truth), dtype=bool))
        # What weighs nothing for any label need not be kept.
        kept = np.flatnonzero(np.abs(weights).max(axis=1) > 1e-6)
        features = tuple(self._features[at] for at in kept)
        return features, weights[kept].astype("<f4").tobytes(), tuple(bias.tolist())

    def _fit(self, rows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return a weight for each feature and label, and a bias for each label."""
        matrix, truth = self._matrix[rows], self._truth[rows]
        counts = np.bincount(truth, minlength=self._labels)
        present = np.flatnonzero(counts)
        if len(present) < 2:
            raise SettingsError(
                "too little to learn from: without one group or brand, all texts have the same label"
            )
        heavier = rare_weights(truth, self._labels)
        machine = LinearSVC(
            C=_STRENGTH,
            class_weight={int(at): heavier[at] for at in present},
            max_iter=10_000,
            tol=1e-3,
            random_state=self._seed,
        ).fit(matrix, truth)
        coefficients, intercepts = machine.coef_, machine.intercept_
        if len(present) == 2:
            coefficients = np.vstack([-coefficients, coefficients])
            intercepts = np.concatenate([-intercepts, intercepts])
        weights = np.zeros((matrix.shape[1], self._labels))
        # A label that is not among these rows is the last to be given.
        bias = np.full(self._labels, -2.0)
        weights[:, present], bias[present] = coefficients.T, intercepts
        return weights, bias

    def sums(self, rows: NDArray[np.bool_], others: NDArray[np.bool_]) -> Floats:
        """Return what a machine fitted to `rows` makes of `others`."""
        weights, bias = self._fit(rows)
        sums: Floats = self._matrix[others] @ weights + bias
        return sums


def _matrix(reads: Sequence[Read]) -> tuple[list[str], Any]:
    """Return the names of the features, and a row of them for each text."""
    rows = [_features(read) for read in reads]
    texts = Counter(name for row in rows for name in row)
    names = sorted(name for name, count in texts.items() if count >= _LEAST_TEXTS[name[0]])
    number = {name: at for at, name in enumerate(names)}
    columns: list[int] = []
    values: list[float] = []
    starts = [0]
    for row in rows:
        kept = sorted((number[name], value) for name, value in row.items() if name in number)
        columns += [column for column, _ in kept]
        values += [value for _, value in kept]
        starts.append(len(columns))
    return names, csr_matrix((values, columns, starts), shape=(len(rows), len(names)))


def _features(read: Read) -> dict[str, float]:
    """Return what enrich.model adds up for a text: the value of each feature."""
    found: dict[str, float] = {}
    share = 1.0 / max(len(read.words), 1) ** 0.5
    _add(found, "w", read.words, share)
    _add(found, "p", pairs(read.words), share * PAIR_SHARE)
    for word in read.words:
        _add(found, "g", grams(word), share * GRAM_SHARE)
    for name, value in read.values:
        found["v" + name] = found.get("v" + name, 0.0) + value * VALUE_SHARE
    return found


def _add(found: dict[str, float], kind: str, names: Iterable[str], value: float) -> None:
    for name in names:
        found[kind + name] = found.get(kind + name, 0.0) + value


def folds_of(examples: Examples, seed: int) -> NDArray[np.int64]:
    """Return each text's fold: groups stay together, labels are spread, the seed shuffles."""
    members: dict[str, list[int]] = {}
    for place, group in enumerate(examples.separate_groups()):
        members.setdefault(group, []).append(place)
    counts = Counter(examples.labels)

    def rarest(places: list[int]) -> str:
        return min({examples.labels[place] for place in places}, key=lambda label: (counts[label], label))

    order = sorted(members, key=lambda group: (rarest(members[group]), _shuffled(group, seed)))
    fold_of = np.zeros(len(examples), dtype=np.int64)
    for at, group in enumerate(order):
        fold_of[members[group]] = at % FOLDS
    return fold_of


def _shuffled(group: str, seed: int) -> bytes:
    return blake2b(f"{seed} {group}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _calibration(sums: Floats, truth: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return what enrich.model.confidences takes beside the sums."""
    labels = sums.shape[1]
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(sums, truth)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:
        weights, bias = np.vstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    found = np.zeros((labels + 1, labels))
    found[-1] = -20.0
    found[:-1, fitted.classes_], found[-1, fitted.classes_] = weights.T, bias
    return found, sureness_of(sums, truth)


def sureness_of(sums: Floats, truth: NDArray[np.int64]) -> Floats:
    """Return what makes confidence of sums: a weight for height, one for lead, a bias for each label."""
    labels = sums.shape[1]
    best = sums.argmax(axis=1)
    right = best == truth
    if right.all() or not right.any():
        # Nothing to learn from: as sure as Laplace's rule of succession allows.
        odds = float(np.log(len(right) + 1.0)) * (1.0 if right.all() else -1.0)
        return np.array([0.0, 0.0, *[odds] * labels])
    seen = np.hstack([leads(sums), np.eye(labels)[best]])
    sure = LogisticRegression(C=1.0, max_iter=1000).fit(seen, right)
    return np.array([*sure.coef_[0, :2], *(sure.coef_[0, 2:] + sure.intercept_[0])])


def validation(
    examples: Examples, labels: Sequence[str], best: NDArray[np.int64], shares: Floats, places: Iterable[int]
) -> Validation:
    """Return how the labels of the numbers `best` did, for the texts at `places`."""
    chosen = examples.chosen(list(places))
    said = [labels[at] for at in best]
    sure = shares[np.arange(len(best)), best].tolist()
    right = [a == b for a, b in zip(chosen.labels, said, strict=True)]
    return Validation(
        scores(chosen.labels, said, chosen.groups),
        sureness(sure, right),
        scores_by(chosen.brands, chosen, said),
        scores_by(chosen.sources, chosen, said),
    )


def scores_by(column: Sequence[str] | None, examples: Examples, said: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of `said` for each value of a column of the examples; none where there is no such column."""
    places: dict[str, list[int]] = {}
    for at, value in enumerate(column or ()):
        places.setdefault(value, []).append(at)
    found = {}
    for value, chosen in sorted(places.items()):
        part = examples.chosen(chosen)
        found[value] = scores(part.labels, [said[at] for at in chosen], part.groups)
    return found


def _brands_left_out(examples: Examples) -> list[str]:
    found = Counter(brand for brand in examples.brands or () if brand.strip())
    return [brand for brand, _ in found.most_common(MOST_BRANDS_LEFT_OUT)] if len(found) > 1 else []


def _leave_brands_out(
    examples: Examples, labels: Sequence[str], learn: Learner, progress: Progress
) -> Validation | None:
    """Return how each brand's texts do under a model of the others; None where there are no brands.

    Confidences are calibrated on the other brands' texts, too.
    """
    brands = _brands_left_out(examples)
    if not brands:
        return None
    brand_of = np.array(examples.brands)
    number = {label: at for at, label in enumerate(labels)}
    truth = np.array([number[label] for label in examples.labels])
    sums = np.zeros((len(truth), len(labels)))
    for brand in brands:
        sums[brand_of == brand] = learn.sums(brand_of != brand, brand_of == brand)
        progress()
    shares = np.zeros_like(sums)
    tried = np.isin(brand_of, brands)
    for brand in brands:
        others = tried & (brand_of != brand)
        shares[brand_of == brand] = confidences(
            sums[brand_of == brand], *_calibration(sums[others], truth[others])
        )
    return validation(
        examples, labels, sums[tried].argmax(axis=1), shares[tried], np.flatnonzero(tried).tolist()
    )


def _figures(
    model: Trained,
    drafts: Sequence[Draft],
    reads: Sequence[Read],
    said: Sequence[tuple[str, float]],
    fold_of: NDArray[np.int64],
    after: Sequence[Enricher],
) -> tuple[Row, ...]:
    """Return the model's figures for enrich.drift: each text as judged, surely or not, by what learnt from the others.

    The drafts are filled in as the chain with the model would fill in theirs.
    """
    texts_of = [Counter(word for read in part for word in set(read.words)) for part in _parts(reads, fold_of)]
    everywhere = sum(texts_of, Counter[str]())
    for draft, read, (label, sure), fold in zip(drafts, reads, said, fold_of.tolist(), strict=True):
        here = texts_of[fold]
        known = {word for word in read.words if everywhere[word] - here[word] >= _LEAST_TEXTS["w"]}
        draft.unknown = share_unknown(read.words, known)
        spoken = speaks(model, draft)
        if model.task == "sentiment":
            draft.sentiment = structs.replace(
                draft.sentiment, label=label, confidence=round(sure, 4) if spoken else 0.0
            )
        else:
            given = spoken and likelihood(draft, model.mood) >= OTHER_MOOD
            draft.topics = (Topic(label, round(sure, 4)),) if given else ()
    for step in after:
        step.enrich(drafts)
    tally = Tally(model.labels if model.task == "topic" else ())
    tally.add(drafts)
    kept = OF_TASK[model.task] - (frozenset() if after else {INTENT})
    return tuple(row for row in tally.take() if row[0] in kept)


def _parts(reads: Sequence[Read], fold_of: NDArray[np.int64]) -> list[list[Read]]:
    return [
        [read for read, place in zip(reads, fold_of.tolist(), strict=True) if place == fold]
        for fold in range(FOLDS)
    ]


def _languages(drafts: Sequence[Draft]) -> tuple[str, ...]:
    counts = Counter(draft.language.code for draft in drafts)
    least = _LANGUAGE_SHARE * len(drafts)
    return tuple(sorted({"unknown", *(code for code, count in counts.items() if count >= least)}))


def _mood(drafts: Sequence[Draft]) -> str:
    """Return the sentiment of most of the texts by the untrained judgement, "" where they differ."""
    ((label, count),) = Counter(draft.sentiment.label for draft in drafts).most_common(1)
    return label if count >= _MOOD_SHARE * len(drafts) else ""
