"""A second opinion: a fine-tuned sentence model, asked for the texts of which a trained model is least sure.

It reads the text itself, with handles, names of brands and links masked, and gives each label a log-probability. What the
trained model added up and what the sentence model says are blended: a weight for each, and a bias for each label; the
confidence comes from the blend's height, its lead and its label. All of that was fitted on texts that neither had seen
(enrich.finetune). A text is judged alike alone and among others: it is padded to a multiple of eight of its own tokens,
and rows of one length do not touch each other.

It stands beside TASK.model in one file, TASK-HASH.second: the encoder's configuration, the tokenizer, the weights and
what was fitted. TASK.model names the hash, so that the two are of one training: a file that is damaged, lacking or another
model's is refused. torch and transformers are imported when one is read; nothing is ever fetched or unpickled.
"""

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from enrich.features import BRAND, HANDLE, Read
from enrich.model import confidences
from hark.core.draft import Draft
from hark.core.errors import SettingsError

LONGEST_TOKENS = 64
INSTALL = "`make second-opinion` in Hark's own environment, or `pip install 'hark[second-opinion]'`"
TOKENIZER = "tokenizer.json"
_FORMAT = b"hark second opinion 1\n"
_LONGEST_CHARACTERS = 600
"""Characters of a text that are read: more than its first tokens take."""
_STEP = 8
"""Tokens to whose multiple a text is padded."""
_TOGETHER = 32
_LEAST_SHARE = 1e-6
_DIGEST_BYTES = 16
_LINK = re.compile(r"https?://\S+")
_MASKS = {HANDLE: "@user", BRAND: "company"}

Floats = NDArray[np.float64]
Precision = Literal["float32", "bfloat16"]


class Opinion(Struct, frozen=True):
    """A second opinion as it stands in its file."""

    labels: tuple[str, ...]
    below: float
    """Asked where the trained model's confidence is lower."""
    first: float
    """Weight of the logarithms of the trained model's confidences."""
    second: float
    """Weight of the sentence model's log-probabilities."""
    bias: tuple[float, ...]
    sureness: tuple[float, ...]
    """As of enrich.model.Trained, for the blend."""
    precision: Precision
    base: str
    """Name of the sentence model that was fine-tuned."""
    data: str
    """Hash of the training texts and labels."""
    seed: int
    config: str
    """Of the encoder, as Hugging Face writes it: JSON."""
    tokenizer: str
    """Likewise."""
    weights: bytes
    """Of the encoder and the last layer, in the format safetensors."""


class Network:
    """Tokenizer, encoder and last layer. Used by one thread."""

    def __init__(self, tokenizer: Any, encoder: Any, head: Any) -> None:
        self.tokenizer, self.encoder, self.head = tokenizer, encoder, head

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers of each text's tokens, at most LONGEST_TOKENS."""
        return [found.ids for found in self.tokenizer.encode_batch(list(texts))]

    def scores(self, ids: Sequence[Sequence[int]]) -> Any:
        """Return a tensor with a number for each text and label: the last layer's view of the mean token."""
        import torch

        longest = max(_STEP, -(-max(map(len, ids)) // _STEP) * _STEP)
        tokens = torch.zeros((len(ids), longest), dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = torch.tensor(each)
            mask[row, : len(each)] = 1
        hidden = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
        share = mask[:, :, None].float()
        return self.head((hidden * share).sum(1) / share.sum(1).clamp(min=1))

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Return the log-probability of each label for each (masked) text, whatever others are among them."""
        import torch

        found = np.zeros((len(texts), self.head.out_features))
        alike: dict[int, list[int]] = {}
        ids = self.ids(texts)
        for at, each in enumerate(ids):
            alike.setdefault(-(-len(each) // _STEP), []).append(at)
        with torch.inference_mode():
            for places in alike.values():
                for begin in range(0, len(places), _TOGETHER):
                    chosen = places[begin : begin + _TOGETHER]
                    found[chosen] = self.scores([ids[at] for at in chosen]).double().log_softmax(1).numpy()
        return found


class Second:
    """The second opinion beside one trained model. Used by one thread."""

    def __init__(self, opinion: Opinion, network: Network) -> None:
        self.opinion = opinion
        self._network = network
        self._bias, self._sureness = np.array(opinion.bias), np.array(opinion.sureness)

    def judge(
        self, drafts: Sequence[Draft], reads: Sequence[Read], shares: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return for drafts and the trained model's confidences: blends, confidences, what the sentence model alone said."""
        said = self._network.log_probabilities([masked(*each) for each in zip(drafts, reads, strict=True)])
        mixed = blend(shares, said, self.opinion.first, self.opinion.second, self._bias)
        return mixed, shares_of(mixed, self._sureness), np.exp(said)


def blend(shares: Floats, said: Floats, first: float, second: float, bias: Floats) -> Floats:
    """Return the weighted sum of both opinions' logarithms, a row a text and a column a label."""
    return (
        first * np.log(np.maximum(shares, _LEAST_SHARE))
        + second * np.maximum(said, np.log(_LEAST_SHARE))
        + bias
    )


def shares_of(mixed: Floats, sureness: Floats) -> Floats:
    """Return the calibrated share of each label: the best by `sureness`, the others the rest by their softmax."""
    labels = mixed.shape[1]
    return confidences(mixed, np.vstack([np.eye(labels), np.zeros(labels)]), sureness)


def masked(draft: Draft, seen: Read) -> str:
    """Return the text as a sentence model reads it: a word in place of each handle, name of a brand and link."""
    text = draft.text[:_LONGEST_CHARACTERS]
    parts: list[str] = []
    end = 0
    for at, word in enumerate(seen.words):
        if word not in _MASKS:
            continue
        first = seen.places[at]
        last = seen.places[at + 1] - 1 if at + 1 < len(seen.places) else len(draft.tokens) - 1
        begin, behind = draft.span(first, last)
        if begin >= len(text):
            break
        parts += (text[end:begin], _MASKS[word])
        end = behind
    parts.append(text[end:])
    return _LINK.sub("http", "".join(parts))


def torch_for(what: str) -> Any:
    """Return the module torch, of one thread; raises SettingsError that names `what` where it is not installed."""
    # Whatever is read, is read from this machine.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        import transformers
    except ImportError as error:
        raise SettingsError(f"{what} needs torch and transformers, which are not here: {INSTALL}") from error
    # Workers are processes, one a core.
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    return torch


def sentence_model(name: str) -> Path:
    """Return the folder of a sentence model: a path, or the name of an installed package that carries one.

    Raises SettingsError when there is none, or when it lacks one of the files that are needed.
    """
    folder = Path(name)
    if not folder.is_dir():
        module = name.replace("-", "_")
        spec = find_spec(module) if module.isidentifier() else None
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        found = sorted(path.parent for place in places for path in place.rglob("model.safetensors"))
        if not found:
            raise SettingsError(
                f"--second-opinion {name}: expected a folder with config.json, model.safetensors and tokenizer.json, "
                "or the name of an installed package that carries one"
            )
        folder = found[0]
    lacks = [
        each for each in ("config.json", "model.safetensors", TOKENIZER) if not (folder / each).is_file()
    ]
    if lacks:
        raise SettingsError(f"--second-opinion {name}: {folder} lacks {' and '.join(lacks)}")
    return folder


def base_network(folder: Path, labels: int) -> Network:
    """Return the encoder in a folder with a new last layer; raises SettingsError for one that cannot be read."""
    torch = torch_for(f"{folder}: a sentence model")
    from tokenizers import Tokenizer
    from transformers import AutoModel

    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        encoder = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        size = encoder.config.hidden_size
    except Exception as error:  # these libraries raise whatever they like, and the folder is at fault
        raise SettingsError(f"{folder}: cannot be read as a sentence model: {error}") from error
    return _network(tokenizer, encoder, torch.nn.Linear(size, labels))


def _network(tokenizer: Any, encoder: Any, head: Any) -> Network:
    tokenizer.enable_truncation(LONGEST_TOKENS)
    tokenizer.no_padding()
    return Network(tokenizer, encoder.eval(), head.eval())


def packed(network: Network) -> tuple[str, str, bytes]:
    """Return a network as the last three fields of an Opinion: its configuration, tokenizer and weights."""
    from safetensors.torch import save

    parts = {"encoder": network.encoder, "head": network.head}
    tensors = {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }
    weights = save({name: value.contiguous() for name, value in tensors.items()})
    return network.encoder.config.to_json_string(), network.tokenizer.to_str(), weights


def _unpacked(opinion: Opinion, what: str) -> Network:
    torch = torch_for(what)
    from safetensors.torch import load
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModel

    try:
        config = msgspec.json.decode(opinion.config, type=dict[str, Any])
        encoder = AutoModel.from_config(
            AutoConfig.for_model(**config), dtype=getattr(torch, opinion.precision)
        )
        head = torch.nn.Linear(encoder.config.hidden_size, len(opinion.labels))
        tensors = load(opinion.weights)
        for part, module in (("encoder.", encoder), ("head.", head)):
            module.load_state_dict(
                {name.removeprefix(part): each for name, each in tensors.items() if name.startswith(part)}
            )
        return _network(Tokenizer.from_str(opinion.tokenizer), encoder, head)
    except Exception as error:  # the bytes are whole: these libraries are others than those that wrote them
        raise SettingsError(
            f"{what} cannot be read by transformers {version('transformers')} and torch {version('torch')}: {error}: "
            "train again with `hark train --second-opinion`"
        ) from error


def path_of(folder: Path, task: str, digest: str) -> Path:
    """Return where the second opinion of that hash stands."""
    return folder / f"{task}-{digest[:12]}.second"


def write(opinion: Opinion, folder: Path, task: str) -> str:
    """Write a second opinion into the folder; return its hash, which TASK.model is to name. Raises SettingsError."""
    body = msgspec.msgpack.encode(opinion)
    digest = blake2b(body, digest_size=_DIGEST_BYTES)
    path = path_of(folder, task, digest.hexdigest())
    new = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.write_bytes(_FORMAT + digest.digest() + body)
        new.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return digest.hexdigest()


def read(folder: Path, task: str, digest: str) -> Second:
    """Return the second opinion of that hash; raises SettingsError for one that is damaged, lacking or cannot be served."""
    path = path_of(folder, task, digest)
    again = "train again with `hark train --second-opinion`, or copy it anew"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, and {task}.model asks it: {again}") from error
    body = memoryview(content)[len(_FORMAT) + _DIGEST_BYTES :]
    if not content.startswith(_FORMAT) or blake2b(body, digest_size=_DIGEST_BYTES).hexdigest() != digest:
        raise SettingsError(f"{path}: is damaged, or not the second opinion of {task}.model: {again}")
    try:
        opinion = msgspec.msgpack.decode(body, type=Opinion)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}: {again}") from error
    return Second(opinion, _unpacked(opinion, f"{path}: a second opinion"))
