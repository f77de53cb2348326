"""`hark train`, `hark evaluate` and `hark tag --models` as people use them; and how good they are on real labels."""

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from enrich.chain import before_models, build_chain
from enrich.examples import Columns, read
from enrich.model import Task
from enrich.phrasebook import load as load_phrasebook
from enrich.training import Training, train
from hark.settings import SHIPPED, load
from tests.support.require import shared_data

HEAD = ["who", "airline", "what", "mood", "reason"]
MOODS = {
    "Great!": [
        "lovely crew and a smooth ride",
        "wonderful seats, thanks a lot",
        "the smile of the pilot made my day",
    ],
    "so-so": ["what time does the desk open", "is there a meal on board", "where do I find my receipt"],
    "bad": ["my bag is lost again", "two hours late and no word", "the rude agent hung up on me"],
}
REASONS = {"my bag is lost again": "Lost Bag", "two hours late and no word": "late-flight"}


def rows(count: int = 240, seed: int = 7) -> list[list[str]]:
    chance = random.Random(seed)
    made = []
    for at in range(count):
        mood = chance.choice(list(MOODS))
        text = chance.choice(MOODS[mood])
        filler = " ".join(
            chance.sample(
                ["today", "really", "you", "know", "friends", "well", "then", "guys", "here", "now"], 3
            )
        )
        reason = REASONS.get(text, "")
        made.append(
            [f"author {at % 50}", chance.choice(["Acme", "Zenith"]), f"@acme {text} {filler}", mood, reason]
        )
    return made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([HEAD, *rows()])
    return path


@pytest.fixture(scope="module")
def models(file: Path) -> Path:
    folder = file.parent / "models"
    for task, label in (("sentiment", "mood"), ("topic", "reason")):
        done = hark("train", file, *columns(task, label), "--source", "airline", "--out", folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    return folder


def columns(task: str, label: str) -> list[str]:
    return ["--task", task, "--text", "what", "--label", label, "--group", "who", "--brand", "airline"]


def hark(*arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hark", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_trained_is_served_side_by_side(models: Path) -> None:
    texts = ["@acme my bag is lost", "where is the desk?", "wonderful crew, thanks"]
    done = hark("tag", "--models", models, stdin="".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert done.returncode == 0, done.stderr
    tags = [json.loads(line)["enrichment"] for line in done.stdout.splitlines()]
    assert [each["sentiment"]["label"] for each in tags] == ["bad", "so-so", "Great!"]
    assert tags[0]["topics"][0]["id"] == "Lost Bag"
    assert 0.5 < tags[0]["topics"][0]["confidence"] <= 1


def test_the_card_tells_what_the_model_is_and_is_worth(models: Path) -> None:
    card = json.loads((models / "topic.json").read_text(encoding="utf-8"))
    assert card["seed"] == 1
    assert card["labels"] == ["Lost Bag", "late-flight"]
    assert card["texts"] + card["unlabelled"] == 240
    assert len(card["data"]) == 32
    assert set(card["brands_left_out"]["brands"]) == {"Acme", "Zenith"}
    assert set(card["folds"]["sources"]) == {"Acme", "Zenith"}
    page = (models / "sentiment.md").read_text(encoding="utf-8")
    assert "On brands unseen in training" in page
    assert "| Great!" in page
    assert "| source | texts | accuracy" in page


def test_evaluation_gives_each_figure_with_its_interval(file: Path, models: Path) -> None:
    done = hark("evaluate", file, *columns("sentiment", "mood"), "--models", models, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["texts"] == 240
    for figure in (found["accuracy"], found["macro_f1"], *(each["f1"] for each in found["classes"])):
        assert 0.9 < figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert [each["label"] for each in found["classes"]] == ["Great!", "bad", "so-so"]
    assert {"precision", "recall", "texts"} <= set(found["classes"][0])
    assert found["sources"] == {}
    by_source = hark("evaluate", file, *columns("sentiment", "mood"), "--source", "airline", "--json")
    untrained = json.loads(by_source.stdout)
    assert set(untrained["sources"]) == {"Acme", "Zenith"}
    assert untrained["accuracy"]["value"] == 0.0
    assert "macro-F1" in hark("evaluate", file, *columns("topic", "reason"), "--models", models).stdout


def test_training_again_gives_the_same_bytes(file: Path, models: Path, tmp_path: Path) -> None:
    assert hark("train", file, *columns("topic", "reason"), "--out", tmp_path).returncode == 0
    assert (tmp_path / "topic.model").read_bytes() == (models / "topic.model").read_bytes()


def test_broken_rows_are_told_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([HEAD, *rows(90)])
        target.write("only,two\n")
    done = hark("train", path, *columns("sentiment", "mood"), "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "line 92: 2 fields, not 5 as in the head line: left out\n"
    assert (tmp_path / "sentiment.model").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--task", "sentiment", "--text", "text", "--label", "mood"],
            "there are: who, airline, what, mood, reason",
        ),
        (["--task", "mood", "--text", "what", "--label", "mood"], "'sentiment', 'topic'"),
        (["--task", "topic", "--text", "what", "--label", "who"], "too little to learn from"),
    ],
)
def test_bad_questions_are_answered(file: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    path = file
    if "who" in arguments:
        path = tmp_path / "few.csv"
        path.write_text("who,what\nme,text\n", encoding="utf-8")
    done = hark("train", path, *arguments, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_folder_of_models_is_a_mistake_in_the_settings(models: Path, tmp_path: Path) -> None:
    (tmp_path / "topic.model").write_bytes((models / "topic.model").read_bytes()[:-1])
    done = hark("tag", "--models", tmp_path, stdin='{"text": "x"}\n')
    assert done.returncode == 2
    assert "topic.model" in done.stderr
    assert "damaged" in done.stderr


def learnt(task: Task, label: str) -> Training:
    path = shared_data("airline/airline_share.csv.gz")
    settings = load(SHIPPED, Path("unused"))
    steps = before_models(build_chain(SHIPPED, settings.brands))
    examples = read(path, Columns("text", label, "author_id", "airline" if task == "sentiment" else None))
    return train(examples, task, steps, settings.brands, load_phrasebook(SHIPPED), 1, lambda: None)


def test_sentiment_on_airlines_left_out() -> None:
    found = learnt("sentiment", "airline_sentiment").left_out
    assert found is not None
    assert found.scores.accuracy.value >= 0.81
    assert found.scores.macro_f1.value >= 0.75
    assert found.sureness.calibration_error < 0.02
    assert found.sureness.surest_80 >= 0.885
    assert min(each.macro_f1.value for each in found.brands.values()) > 0.7


def test_reasons_of_complaints_with_authors_kept_apart() -> None:
    found = learnt("topic", "negativereason")
    assert found.folds.scores.macro_f1.value >= 0.55
    assert found.folds.scores.accuracy.value >= 0.61
