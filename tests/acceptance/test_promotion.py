"""`hark train` into a folder where a model serves, and `hark models`, as people use them."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hark.commands import program
from hark.core.errors import SettingsError
from tests.unit.test_comparison import examples


def hark(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(each) for each in arguments])


def labels(path: Path, count: int, seed: int, wrong: float = 0.0) -> Path:
    found = examples(count, seed, wrong)
    assert found.groups is not None
    with path.open("w", encoding="utf-8", newline="") as target:
        table = csv.writer(target)
        table.writerow(["text", "label", "author"])
        table.writerows(zip(found.texts, found.labels, found.groups, strict=True))
    return path


def train(file: Path, out: Path, *more: object) -> str:
    done = hark(
        *("train", file, "--task", "sentiment", "--text", "text", "--label", "label", "--group", "author"),
        *("--out", out, *more),
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def shown(folder: Path) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in hark("models", "show", folder, "--json").stdout.splitlines()]
    return {row["is"]: row for row in rows}


def test_only_a_better_model_takes_the_place_and_a_person_decides_otherwise(tmp_path: Path) -> None:
    models = tmp_path / "models"
    serving = models / "sentiment.model"
    poor, good, as_good = (
        labels(tmp_path / "poor.csv", 60, 1, wrong=0.5),
        labels(tmp_path / "good.csv", 400, 2),
        labels(tmp_path / "as-good.csv", 400, 31),
    )
    assert f"`hark tag --models {models}` serves it" in train(poor, models)
    assert list(shown(models)) == ["serves"]
    first = serving.read_bytes()

    told = train(good, models)
    assert "On 400 texts of 160 groups that neither learnt from: macro-F1 0." in told
    assert "That is better beyond noise: promoted" in told
    second = serving.read_bytes()
    assert second != first
    assert {name: row["texts"] for name, row in shown(models).items()} == {"serves": 400, "previous": 60}

    told = train(as_good, models)
    assert "That is not better beyond noise: not promoted" in told
    assert f"`hark models promote {models} --task sentiment` lets it serve all the same" in told
    assert serving.read_bytes() == second
    candidate = models / "sentiment-candidate"
    third = (candidate / "sentiment.model").read_bytes()
    card = json.loads((candidate / "sentiment.json").read_text())
    assert card["comparison"]["texts"] == 400
    assert "## Beside the model that served" in (candidate / "sentiment.md").read_text()

    assert hark("models", "promote", models, "--task", "sentiment").exit_code == 0
    assert serving.read_bytes() == third
    assert (models / "sentiment-previous" / "sentiment.model").read_bytes() == second
    assert hark("models", "rollback", models, "--task", "sentiment").exit_code == 0
    assert serving.read_bytes() == second
    assert json.loads((models / "sentiment.json").read_text())["file"] == "good.csv"

    told = train(good, models, "--held-out", labels(tmp_path / "more.csv", 120, 9))
    assert "it is the same model" in told
    assert serving.read_bytes() == second


def test_beside_a_damaged_model_the_new_one_is_kept_and_what_to_do_is_said(tmp_path: Path) -> None:
    models = tmp_path / "models"
    file = labels(tmp_path / "labels.csv", 60, 1)
    train(file, models)
    serving = models / "sentiment.model"
    serving.write_bytes(serving.read_bytes()[:-1])
    told = train(file, models)
    assert "could not be compared with the model that served: " in told
    assert "is damaged" in told
    assert "hark models promote" in told
    assert hark("models", "promote", models, "--task", "sentiment").exit_code == 0
    assert [row["texts"] for row in shown(models).values()] == [60, 60]
    done = hark("models", "rollback", models, "--task", "sentiment")
    assert isinstance(done.exception, SettingsError)
    assert "damaged" in str(done.exception)


def test_a_classifier_of_spacys_is_trained_by_one_option_and_compared_like_any_other(tmp_path: Path) -> None:
    models = tmp_path / "models"
    file = labels(tmp_path / "labels.csv", 150, 2)
    train(file, models, "--model", "spacy")
    assert shown(models)["serves"]["kind"] == "spacy"
    assert "A text classifier of spaCy's" in (models / "sentiment.md").read_text()
    others = labels(tmp_path / "others.csv", 200, 3)
    columns = ("--task", "sentiment", "--text", "text", "--label", "label", "--group", "author")
    found = json.loads(hark("evaluate", others, *columns, "--models", models, "--json").stdout)
    assert found["accuracy"]["low"] > 0.5
    told = train(file, models, "--held-out", others)
    assert "On 200 texts of 80 groups that neither learnt from" in told


@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_where_there_is_nothing_to_promote_it_is_said(tmp_path: Path, what: str) -> None:
    done = hark("models", what, tmp_path, "--task", "topic")
    assert isinstance(done.exception, SettingsError)
    assert "model for topic is here" in str(done.exception)
