"""`--model spacy`: a text classifier of spaCy's learns, is written, and serves like the additive model."""

from pathlib import Path

import msgspec
import pytest

from enrich import Context
from enrich.chain import Chain
from enrich.drift import OF_TASK
from enrich.examples import Examples
from enrich.features import Reader
from enrich.model import Models, Task, Trained, build, write
from enrich.spacy_model import Pipeline
from enrich.training import Training, drafts_of, train
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.settings import SHIPPED
from tests.unit.test_model import book, examples, learnt, shipped, steps


def spacy_learnt(of: Examples, task: Task) -> Training:
    return train(of, task, steps, shipped.brands, book, 1, lambda: None, kind="spacy")


def without_brands() -> Examples:
    return msgspec.structs.replace(examples(150), brands=None)


@pytest.fixture(scope="module")
def found() -> Training:
    return spacy_learnt(examples(), "sentiment")


@pytest.fixture(scope="module")
def topic() -> Trained:
    return spacy_learnt(without_brands(), "topic").model


def judged(models: list[Trained], *texts: str) -> list[Draft]:
    drafts = drafts_of(texts, steps)
    Models(models, frozenset(), book).enrich(drafts)
    return drafts


def test_it_learns_and_is_validated_with_authors_and_brands_apart(found: Training) -> None:
    assert found.folds.scores.accuracy.value > 0.8
    assert found.left_out is not None
    assert set(found.left_out.brands) == {"Acme Air", "Zenith"}
    assert found.left_out.scores.accuracy.value > 0.8
    assert found.folds.sureness.calibration_error < 0.15


def test_labels_come_with_confidence_and_with_the_words_that_weighed_most(found: Training) -> None:
    praise, complaint = judged(
        [found.model], "@AcmeAir a lovely smile from the whole crew", "broken seat, nobody cares at all"
    )
    assert (praise.sentiment.label, complaint.sentiment.label) == ("happy face", "sad face")
    assert 0.4 < praise.sentiment.confidence <= 1
    reasons = [reason for reason in complaint.reasons if reason.tag == "sentiment"]
    told = {complaint.text[reason.start : reason.end] for reason in reasons}
    assert told & {"broken", "nobody", "cares", "all"}
    assert all(reason.weight > 0 for reason in reasons)


def test_its_figures_are_those_that_drift_is_measured_against(found: Training, topic: Trained) -> None:
    rows = Models([found.model, topic], frozenset(), book).reference.rows
    counts: dict[str, int] = {}
    for tag, _, count, _ in rows:
        counts[tag] = counts.get(tag, 0) + count
    assert counts.keys() == (OF_TASK["sentiment"] | OF_TASK["topic"]) - {"intent"}
    assert counts["sentiment"] == counts["sentiment confidence"] == len(found.examples.texts)
    # Words of two texts are known, so a word that nobody wrote is not.
    (draft,) = judged([found.model], "broken seat zorp")
    assert draft.unknown == pytest.approx(1 / 3)


def test_a_text_alone_is_judged_as_among_others(found: Training) -> None:
    texts = [*examples(150, seed=9).texts, "", "?", "word " * 3000, "😡" * 500]
    together = judged([found.model], *texts)
    anew = [judged([found.model], text)[0] for text in texts[::10]]
    assert [(d.sentiment, d.reasons) for d in together[::10]] == [(d.sentiment, d.reasons) for d in anew]


def test_the_same_seed_gives_the_same_bytes(topic: Trained) -> None:
    assert spacy_learnt(without_brands(), "topic").model == topic


def test_it_stands_beside_an_additive_model_and_follows_the_same_rules(
    found: Training, topic: Trained
) -> None:
    german, complaint = judged(
        [found.model, learnt("topic").model],
        "Der Sitz ist kaputt und niemand von der Besatzung kümmert sich darum, sehr schade",
        "broken seat and nobody of the crew cares at all",
    )
    assert german.sentiment.label in found.model.labels
    assert german.sentiment.confidence == 0.0
    assert complaint.sentiment.label == complaint.topics[0].id == "sad face"
    unsaid = "Thank you so much, best crew ever, love you guys!!! 😍"
    (praised,) = judged([msgspec.structs.replace(topic, mood="negative")], unsaid)
    assert praised.topics == drafts_of([unsaid], steps)[0].topics
    assert judged([topic], "broken seat and nobody cares")[0].topics[0].id == "sad face"


def test_it_is_served_from_its_file_and_refused_when_damaged_or_made_by_another_spacy(
    found: Training, tmp_path: Path
) -> None:
    path = write(found.model, tmp_path)
    (draft,) = drafts_of(["broken seat, nobody cares"], steps)
    step = build(Context(SHIPPED, shipped.brands, tmp_path, {}))
    assert Chain([*steps, step]).tag([draft.mention])[0].sentiment.label == "sad face"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(SettingsError, match=r"sentiment\.model: is damaged"):
        build(Context(SHIPPED, (), tmp_path, {}))
    write(msgspec.structs.replace(found.model, rules="1, spaCy 2.3"), tmp_path)
    with pytest.raises(SettingsError, match=r"made by rules 1, spaCy 2\.3"):
        build(Context(SHIPPED, (), tmp_path, {}))


def test_words_never_seen_before_take_no_memory_for_ever(found: Training) -> None:
    pipeline = Pipeline(found.model)
    strings = pipeline._pipeline.vocab.strings
    reader = Reader((), book)
    sizes = []
    for at in range(3):
        texts = [f"never{at}{number} seen" for number in range(99)]
        pipeline.add_up([reader.read(draft) for draft in drafts_of(texts, steps)])
        sizes.append(len(strings))
    assert sizes[0] == sizes[1] == sizes[2]
