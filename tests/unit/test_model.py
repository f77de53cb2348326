"""Trained models: what they see, what they add up to, and the files they stand in."""

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest

from enrich import Context
from enrich.chain import before_models, build_chain
from enrich.examples import Columns, Examples, read
from enrich.features import BRAND, HANDLE, Reader, grams, names_of, names_of_brands, pairs
from enrich.measures import difference, scores, sureness
from enrich.model import Models, Task, Trained, build, write
from enrich.model import read as read_model
from enrich.phrasebook import load as load_phrasebook
from enrich.training import Training, drafts_of, train
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.settings import SHIPPED, load
from tests.support.drafts import draft_of

shipped = load(SHIPPED, Path("unused"))
book = load_phrasebook(SHIPPED)
steps = before_models(build_chain(SHIPPED, shipped.brands))

WORDS = {
    "happy face": "lovely seat and a smile from the whole crew",
    "sad face": "broken seat and nobody of the crew cares at all",
    "no face": "which seat does the crew of flight 12 have today",
}


def examples(count: int = 240, seed: int = 5) -> Examples:
    """Return texts of a few words each that tell their label, with some words of another."""
    chance = random.Random(seed)
    found = Examples([], [], [], [], 0, [])
    for at in range(count):
        label = chance.choice(list(WORDS))
        other = chance.choice(list(WORDS))
        words = chance.sample(WORDS[label].split(), 6) + chance.sample(WORDS[other].split(), 2)
        found.texts.append("@AcmeAir " + " ".join(words))
        found.labels.append(label)
        assert found.groups is not None
        assert found.brands is not None
        found.groups.append(f"author {at % 60}")
        found.brands.append(chance.choice(["Acme Air", "Zenith"]))
    return found


def learnt(task: Task = "sentiment", seed: int = 1, from_: Examples | None = None) -> Training:
    return train(from_ or examples(), task, steps, shipped.brands, book, seed, lambda: None)


@pytest.fixture(scope="module")
def sentiment() -> Trained:
    return learnt().model


@pytest.fixture(scope="module")
def topic() -> Trained:
    return learnt("topic").model


@pytest.fixture
def folder(tmp_path: Path, sentiment: Trained) -> Path:
    write(sentiment, tmp_path)
    return tmp_path


def served(*models: Trained) -> Models:
    return Models(models, frozenset(), book)


def judged(step: Models, *texts: str) -> list[Draft]:
    drafts = drafts_of(texts, steps)
    step.enrich(drafts)
    return drafts


def test_handles_and_names_of_brands_are_masked_and_words_normalised() -> None:
    names = names_of(["Acme Air", "Zenith"])
    assert names == {"acme air", "zenith"}
    draft = draft_of("@someone Acme Air lost 23 bags, sooooo #acmeair; Zenith's fine")
    seen = Reader(names, book).read(draft)
    assert seen.words == [HANDLE, BRAND, "lost", "0", "bags", "soo", BRAND, BRAND, "fine"]
    assert [draft.text[slice(*draft.span(place))] for place in seen.places][:4] == [
        "@someone",
        "Acme",
        "lost",
        "23",
    ]


def test_the_brands_of_the_settings_give_names() -> None:
    assert {"southwest", "southwestair", "united airlines", "deltaassist"} <= names_of_brands(shipped.brands)


def test_pairs_and_grams_know_where_texts_and_words_end() -> None:
    assert pairs(["a", "b"]) == ["<begin> a", "a b", "b <end>"]
    assert pairs([]) == ["<begin> <end>"]
    assert grams("bag") == ["<ba", "bag", "ag>", "<bag", "bag>", "<bag>"]
    assert grams("a") == grams(HANDLE) == grams(BRAND) == []


def test_serving_adds_up_what_training_fitted(sentiment: Trained) -> None:
    from enrich.training import _features

    drafts = drafts_of(["@AcmeAir lovely lovely crew!!", "brokenest of all seats?", ""], steps)
    reader = Reader(sentiment.names, book)
    ((_, table, _),) = served(sentiment)._groups
    totals = table.add_up([reader.read(draft) for draft in drafts]).totals[:, table.columns["sentiment"]]
    weights = np.frombuffer(sentiment.weights, "<f4").reshape(len(sentiment.features), -1)
    number = {feature: at for at, feature in enumerate(sentiment.features)}
    for draft, row in zip(drafts, totals, strict=True):
        found = _features(reader.read(draft))
        expected = np.array(sentiment.bias) + sum(
            value * weights[number[name]] for name, value in found.items() if name in number
        )
        assert row == pytest.approx(expected, abs=1e-5)


def test_labels_are_given_back_verbatim_with_reasons_in_the_text(sentiment: Trained) -> None:
    (draft,) = judged(served(sentiment), "@AcmeAir a lovely smile from the whole crew")
    assert draft.sentiment.label == "happy face"
    assert draft.sentiment.confidence > 0.5
    told = [draft.text[r.start : r.end] for r in draft.reasons if r.tag == "sentiment" and r.end]
    assert set(" ".join(told).split()) & {"lovely", "smile", "from", "whole"}


def test_a_text_alone_is_judged_as_among_others(sentiment: Trained, topic: Trained) -> None:
    texts = [*examples(150, seed=9).texts, "", "?", "word " * 3000, "😡" * 500]
    step = served(sentiment, topic)
    together = judged(step, *texts)
    anew = [judged(served(sentiment, topic), text)[0] for text in texts[::10]]
    assert [(d.sentiment, d.topics, d.reasons) for d in together[::10]] == [
        (d.sentiment, d.topics, d.reasons) for d in anew
    ]


def test_a_memory_that_is_emptied_changes_nothing(
    sentiment: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrich.model._CACHE", 1)
    step = served(sentiment)
    texts = examples(200, seed=4).texts
    first = [draft.sentiment for draft in judged(step, *texts)]
    assert [draft.sentiment for draft in judged(step, *texts)] == first
    monkeypatch.undo()
    assert [draft.sentiment for draft in judged(served(sentiment), *texts)] == first


def test_the_first_topic_is_the_models_and_the_taxonomys_stay_behind_it(topic: Trained) -> None:
    (draft,) = judged(served(topic), "@AcmeAir broken seat, nobody cares, and my flight was cancelled")
    ids = [each.id for each in draft.topics]
    assert ids[0] == "sad face"
    assert "cancelled-flight" in ids
    assert [each.confidence for each in draft.topics] == sorted(
        (t.confidence for t in draft.topics), reverse=True
    )


def test_a_label_that_is_an_id_of_the_taxonomy_speaks_for_it(topic: Trained) -> None:
    labels = ("cancelled-flight", *topic.labels[1:])
    (draft,) = judged(
        served(msgspec.structs.replace(topic, labels=labels)), "@AcmeAir broken seat, my flight was cancelled"
    )
    assert [each.id for each in draft.topics].count("cancelled-flight") <= 1


def test_a_topic_model_of_complaints_says_nothing_of_praise(topic: Trained) -> None:
    of_complaints = msgspec.structs.replace(topic, mood="negative")
    praise, complaint = (
        "Thank you so much, best crew ever, love you guys!!! 😍",
        "worst crew ever, I am furious, never again",
    )
    assert judged(served(of_complaints), praise)[0].topics[:1] == drafts_of([praise], steps)[0].topics[:1]
    assert judged(served(of_complaints), complaint)[0].topics[0].id in topic.labels
    assert judged(served(topic), praise)[0].topics[0].id in topic.labels


def test_a_language_that_was_not_trained_on_is_left_to_the_taxonomy(
    sentiment: Trained, topic: Trained
) -> None:
    text = "mi vuelo fue cancelado otra vez y nadie nos ayuda en el aeropuerto"
    (untrained,), (draft,) = drafts_of([text], steps), judged(served(sentiment, topic), text)
    assert untrained.language.code == "es"
    assert draft.topics == untrained.topics
    assert draft.sentiment.label in sentiment.labels
    assert draft.sentiment.confidence == 0.0


def test_the_same_seed_gives_the_same_bytes(sentiment: Trained) -> None:
    assert msgspec.msgpack.encode(learnt().model) == msgspec.msgpack.encode(sentiment)
    assert learnt(seed=2).model != sentiment


def test_two_labels_are_learnt_too() -> None:
    every = examples()
    two = every.chosen([i for i, label in enumerate(every.labels) if label != "no face"])
    found = learnt(from_=two)
    assert found.folds.scores.accuracy.value > 0.8
    (draft,) = judged(served(found.model), "@AcmeAir broken seat and nobody cares")
    assert draft.sentiment.label == "sad face"


def test_rare_labels_are_left_out_and_told() -> None:
    every = examples()
    every.labels[0] = "typo"
    found = learnt(from_=every)
    assert found.rare == {"typo": 1}
    assert "typo" not in found.model.labels


def test_too_little_to_learn_from_is_said() -> None:
    every = examples()
    with pytest.raises(SettingsError, match="only 'sad face' has"):
        learnt(from_=every.chosen([i for i, label in enumerate(every.labels) if label == "sad face"]))
    with pytest.raises(SettingsError, match="20 labelled texts; 30 are needed"):
        learnt(from_=every.chosen(range(20)))


def test_validation_never_learns_from_an_authors_other_texts() -> None:
    # Each author has one word and one label: known authors would make it easy, unknown ones leave nothing to learn.
    chance = random.Random(3)
    found = Examples([], [], [], None, 0, [])
    assert found.groups is not None
    for author in range(60):
        label = chance.choice(["up", "down"])
        for _ in range(5):
            found.texts.append(f"word{'abcdefghij'[author % 10]}{'klmnopqrst'[author // 10]} " * 2)
            found.labels.append(label)
            found.groups.append(str(author))
    kept_apart = learnt(from_=found).folds.scores.accuracy.value
    mixed = learnt(from_=msgspec.structs.replace(found, groups=None)).folds.scores.accuracy.value
    assert mixed > 0.95
    assert kept_apart < 0.8


def test_a_model_is_read_as_written(folder: Path, sentiment: Trained) -> None:
    assert read_model(folder / "sentiment.model") == sentiment
    step = build(Context(SHIPPED, shipped.brands, folder, {}))
    assert step.version != build(Context(SHIPPED, shipped.brands, None, {})).version


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-5], "damaged"),
        (lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:], "damaged"),
        (lambda content: b"", "is no model"),
        (lambda content: content.replace(b"hark model 1\n", b"hark model 2\n"), "another format"),
    ],
)
def test_a_damaged_or_newer_model_is_refused(folder: Path, change: object, says: str) -> None:
    path = folder / "sentiment.model"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(SettingsError, match=says):
        build(Context(SHIPPED, (), folder, {}))


def test_a_model_of_other_rules_is_refused(tmp_path: Path, sentiment: Trained) -> None:
    write(msgspec.structs.replace(sentiment, rules="0"), tmp_path)
    with pytest.raises(SettingsError, match="train it again"):
        build(Context(SHIPPED, (), tmp_path, {}))


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no model is here"):
        build(Context(SHIPPED, (), tmp_path, {}))


def test_models_need_their_step_in_the_order(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "enrichment.toml").write_text('order = ["text"]', encoding="utf-8")
    with pytest.raises(SettingsError, match='expected "model"'):
        build_chain(tmp_path, (), folder)


def test_scores_are_those_of_the_book() -> None:
    truth = ["a"] * 6 + ["b"] * 4
    said = ["a"] * 5 + ["b"] + ["b"] * 2 + ["a", "other"]
    found = scores(truth, said)
    assert found.accuracy.value == 0.7
    a, b = found.labels
    assert (a.label, a.texts, a.precision.value, a.recall.value) == ("a", 6, 0.8333, 0.8333)
    assert (b.precision.value, b.recall.value, b.f1.value) == (0.6667, 0.5, 0.5714)
    assert found.macro_f1.value == pytest.approx((5 / 6 + 4 / 7) / 2, abs=1e-4)
    assert found.accuracy.low < 0.7 < found.accuracy.high
    assert found.confusion == {"a": {"a": 5, "b": 1}, "b": {"a": 1, "b": 2, "other": 1}}


def test_intervals_widen_when_texts_come_in_groups() -> None:
    truth, said = ["a", "b"] * 100, ["a", "b"] * 70 + ["b", "a"] * 30
    alone = scores(truth, said).accuracy
    by_four = scores(truth, said, [str(i // 50) for i in range(200)]).accuracy
    assert by_four.high - by_four.low > 2 * (alone.high - alone.low)


def test_texts_without_a_group_are_drawn_one_by_one() -> None:
    truth, said = ["a", "b"] * 100, ["a", "b"] * 70 + ["b", "a"] * 30
    one, many = scores(truth, said, ["author"] * 200).accuracy, scores(truth, said, [""] * 200).accuracy
    assert one.high == one.low
    assert 0.1 < many.high - many.low < 0.15


def test_two_models_are_compared_on_the_same_resamples() -> None:
    truth = ["a", "b", "b", "a"] * 60
    first = ["a", "b", "b", "b"] * 60
    # Right nine times more than the first, on texts that both would find easy or hard alike.
    second = ["a", "b", "b", "b"] * 51 + truth[:36]
    found = difference(truth, first, second)
    assert found.accuracy.value == pytest.approx(9 / 240, abs=1e-4)
    assert found.accuracy.low > 0
    assert found.macro_f1.low > 0
    alone = scores(truth, first).accuracy
    assert found.accuracy.high - found.accuracy.low < (alone.high - alone.low) / 2
    assert difference(truth, second, first).macro_f1.high < 0
    assert (
        difference(truth, first, first).macro_f1.low == 0.0 == difference(truth, first, first).macro_f1.high
    )


def test_scores_are_told_for_each_source() -> None:
    every = examples()
    every.sources = ["x" if at % 3 else "reddit" for at in range(len(every))]
    found = learnt(from_=every)
    assert {name: each.texts for name, each in found.folds.sources.items()} == {"reddit": 80, "x": 160}
    assert found.left_out is not None
    assert set(found.left_out.sources) == {"reddit", "x"}
    assert found.model == learnt().model


def test_confidence_is_compared_with_what_is_right() -> None:
    found = sureness([0.95] * 80 + [0.55] * 20, [True] * 76 + [False] * 4 + [True] * 5 + [False] * 15)
    assert found.calibration_error == pytest.approx(0.2 * 0.3)
    assert found.surest_80 == 0.95


def test_rows_are_read_with_what_is_wrong_told(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(
        b'\xef\xbb\xbftext,label,who\n"two\nlines",good,1\nshort,good\nempty,,3\nbytes \xff,good,4\n"a ""b""",  ,5\nfine,"very, good",6\n'
    )
    found = read(path, Columns("text", "label", "who"))
    assert found.texts == ["two\nlines", "fine"]
    assert found.labels == ["good", "very, good"]
    assert found.groups == ["1", "6"]
    assert found.unlabelled == 2
    assert found.broken == ["line 4: 2 fields, not 3 as in the head line", "line 6: not UTF-8"]


def test_a_missing_column_is_answered_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,mood\na,b\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="no column 'label'; there are: text, mood"):
        read(path, Columns("text", "label"))
    path.write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="names of the columns"):
        read(path, Columns("text", "label"))
