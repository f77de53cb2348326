"""Fine-tunes a sentence model into a second opinion beside a trained model.

AdamW (Loshchilov and Hutter 2019) with a rate that warms up and falls to nought, over batches of texts of similar length;
the vectors of words stay as they are. It learns from those three fifths of the texts of which the trained model is less
sure, unseen: of the others it is never asked. Labels weigh as the trained model's do. Twice: first without one fold, whose
groups (authors) are no other fold's. On that fold, which neither the network nor the trained model's sums there had
seen, the blend of both and its confidence are fitted (multinomial logistic regression with a weight for each opinion and
a bias for each label, drawn to an equal say). Then on all. The same file, seed, processor and libraries give the same.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.optimize import minimize

from enrich.second_opinion import (
    Floats,
    Network,
    Opinion,
    Precision,
    base_network,
    blend,
    packed,
    sentence_model,
    shares_of,
    torch_for,
)
from enrich.training import Training, Validation, rare_weights, sureness_of, validation

EPOCHS = 2
BATCH = 32
ASKED = 0.2
"""Share of the texts, by the trained model's confidence, of which the second opinion is asked."""
LEARNT = 0.6
"""Share of the texts, likewise, that it learns from."""
_FITTED = 0.4
"""Share of the texts, likewise, that the blend is fitted on."""
_FOLD = 0
_RATE, _RATE_OF_HEAD = 1e-4, 1e-3
_WARM = 0.1
_DECAY = 0.01
_STEEPEST = 1.0
_SIMILAR = 50
"""Batches that are drawn together and sorted by length."""

Progress = Callable[[], None]


class Fitted(Struct, frozen=True):
    """A second opinion, and how both did on the fold that the network of the validation had not seen."""

    opinion: Opinion
    without: Validation
    together: Validation
    """With a blend fitted on the other half of the fold's groups."""
    said: tuple[str, ...]
    """The label of each example of that fold, of both together; "" for those of the others."""
    asked: int
    """Of how many of those texts it was asked."""


def steps_of_fine_tuning(training: Training) -> int:
    """Return how often `fit` will report progress."""
    count = len(training.fold_of)
    learnt = (max(1, round(LEARNT * each)) for each in (count - training.fold_of.count(_FOLD), count))
    return sum(EPOCHS * -(-each // BATCH) for each in learnt) + 1


def fit(training: Training, base: str, seed: int, progress: Progress) -> Fitted:
    """Return a second opinion beside the trained model: the sentence model `base` (a folder or package), fine-tuned.

    Takes minutes for ten thousand texts. Raises SettingsError.
    """
    folder = sentence_model(base)
    labels = training.model.labels
    truth = np.array([labels.index(label) for label in training.examples.labels])
    shares = training.shares
    sure = shares[np.arange(len(truth)), training.best]
    held_out = np.array(training.fold_of) == _FOLD
    texts = training.masked
    weights = rare_weights(truth, len(labels))

    def tuned(rows: NDArray[np.bool_]) -> Network:
        places = np.flatnonzero(rows)
        chosen = np.sort(
            places[np.argsort(sure[places], kind="stable")][: max(1, round(LEARNT * len(places)))]
        )
        return _fine_tuned(folder, [texts[at] for at in chosen], truth[chosen], weights, seed, progress)

    below, fitted = np.quantile(sure, [ASKED, _FITTED])
    doubted = np.flatnonzero(held_out & (sure <= fitted))
    said = np.zeros_like(shares)
    said[doubted] = tuned(~held_out).log_probabilities([texts[at] for at in doubted])
    progress()
    first, second, bias, sureness = _blended(shares[doubted], said[doubted], truth[doubted], weights)
    validated = _validated(training, truth, said, doubted, below, weights)
    network = tuned(np.ones(len(truth), dtype=bool))
    opinion = Opinion(
        labels,
        float(below),
        first,
        second,
        tuple(bias.tolist()),
        tuple(sureness.tolist()),
        _precision(),
        folder.name if Path(base).is_dir() else base,
        training.examples.digest(),
        seed,
        *packed(network),
    )
    return Fitted(opinion, *validated)


def _fine_tuned(
    folder: Path,
    texts: Sequence[str],
    truth: NDArray[np.int64],
    weights: Floats,
    seed: int,
    progress: Progress,
) -> Network:
    torch = torch_for(f"{folder}: a sentence model")
    precise = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _steps(torch, folder, texts, truth, weights, random.Random(seed), progress)
    finally:
        torch.use_deterministic_algorithms(precise)


def _steps(
    torch: Any,
    folder: Path,
    texts: Sequence[str],
    truth: NDArray[np.int64],
    weights: Floats,
    chance: random.Random,
    progress: Progress,
) -> Network:
    network = base_network(folder, len(weights))
    encoder, head = network.encoder, network.head
    encoder.get_input_embeddings().requires_grad_(False)
    ids = network.ids(texts)
    wanted = torch.tensor(truth)
    parameters = [each for each in encoder.parameters() if each.requires_grad]
    machine = torch.optim.AdamW(
        [
            {"params": [each for each in parameters if each.ndim > 1], "lr": _RATE, "weight_decay": _DECAY},
            {"params": [each for each in parameters if each.ndim < 2], "lr": _RATE, "weight_decay": 0.0},
            {"params": list(head.parameters()), "lr": _RATE_OF_HEAD, "weight_decay": 0.0},
        ]
    )
    count = EPOCHS * -(-len(ids) // BATCH)
    warm = max(1, round(_WARM * count))
    rate = torch.optim.lr_scheduler.LambdaLR(
        machine, lambda at: min((at + 1) / warm, (count - at) / max(1, count - warm))
    )
    loss_of = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32))
    encoder.train()
    for places in _batches(list(map(len, ids)), chance):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_precision() == "bfloat16"):
            scores = network.scores([ids[at] for at in places])
        loss_of(scores.float(), wanted[places]).backward()
        torch.nn.utils.clip_grad_norm_([*parameters, *head.parameters()], _STEEPEST)
        machine.step()
        machine.zero_grad()
        rate.step()
        progress()
    encoder.eval().to(getattr(torch, _precision()))
    return network


def _batches(lengths: Sequence[int], chance: random.Random) -> Iterator[list[int]]:
    """Yield the places of texts of similar length, all of them once an epoch, in an order by chance."""
    for _ in range(EPOCHS):
        order = list(range(len(lengths)))
        chance.shuffle(order)
        batches = []
        for begin in range(0, len(order), BATCH * _SIMILAR):
            similar = sorted(order[begin : begin + BATCH * _SIMILAR], key=lengths.__getitem__)
            batches += [similar[at : at + BATCH] for at in range(0, len(similar), BATCH)]
        chance.shuffle(batches)
        yield from batches


def _precision() -> Precision:
    """Return in which numbers this processor is quickest: bfloat16 where it multiplies them, else float32."""
    torch = torch_for("fine-tuning")
    can = torch.cpu.get_capabilities()
    return "bfloat16" if can.get("avx512_bf16") or can.get("amx_bf16") else "float32"


def _blended(
    shares: Floats, said: Floats, truth: NDArray[np.int64], weights: Floats
) -> tuple[float, float, Floats, Floats]:
    """Return the weights of both opinions, the biases of labels, and what makes the blend's confidence."""
    texts = np.arange(len(truth))

    def loss(values: Floats) -> float:
        mixed = blend(shares, said, values[0], values[1], values[2:])
        mixed -= mixed.max(axis=1, keepdims=True)
        right = mixed[texts, truth] - np.log(np.exp(mixed).sum(axis=1))
        return float(((values - start) ** 2).sum() - (weights[truth] * right).sum())

    start = np.array([0.5, 0.5, *np.zeros(len(weights))])
    values: Floats = minimize(loss, start, method="L-BFGS-B").x
    mixed = blend(shares, said, values[0], values[1], values[2:])
    return float(values[0]), float(values[1]), values[2:], sureness_of(mixed, truth)


def _validated(
    training: Training,
    truth: NDArray[np.int64],
    said: Floats,
    doubted: NDArray[np.int64],
    below: float,
    weights: Floats,
) -> tuple[Validation, Validation, tuple[str, ...], int]:
    """Return how the held-out fold's labels did without and with it, blended as the other half of the groups has it."""
    examples = training.examples
    places = np.flatnonzero(np.array(training.fold_of) == _FOLD)
    best, shares = training.best.copy(), training.shares.copy()
    without = validation(examples, training.model.labels, best[places], shares[places], places.tolist())
    groups = np.array(examples.separate_groups())[doubted]
    half = np.isin(groups, np.unique(groups)[::2])
    asked = 0
    for part, other in ((half, ~half), (~half, half)):
        rows = doubted[part]
        rows = rows[training.shares[rows, training.best[rows]] < below]
        if not len(rows) or not other.any():
            continue
        learnt = doubted[other]
        first, second, bias, sureness = _blended(
            training.shares[learnt], said[learnt], truth[learnt], weights
        )
        mixed = blend(training.shares[rows], said[rows], first, second, bias)
        best[rows], shares[rows] = mixed.argmax(axis=1), shares_of(mixed, sureness)
        asked += len(rows)
    together = validation(examples, training.model.labels, best[places], shares[places], places.tolist())
    given = [""] * len(truth)
    for at in places:
        given[at] = training.model.labels[best[at]]
    return without, together, tuple(given), asked
