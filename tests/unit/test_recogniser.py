"""spaCy's own recogniser, over pipelines that the tests write themselves: real ones, with rules in place of weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import spacy

from enrich import Context
from enrich.recogniser import Recogniser, build
from hark.core.errors import SettingsError
from hark.core.mention import Entity, Language
from tests.support.drafts import draft_of

PATTERNS = [
    {"label": "GPE", "pattern": "Dallas"},
    {"label": "ORG", "pattern": "Harbour  Line"},
    {"label": "PERSON", "pattern": "Ann Example"},
    {"label": "EVENT", "pattern": "WN1234"},
]


def pipeline(folder: Path, patterns: list[dict[str, str]] = PATTERNS, language: str = "en") -> Path:
    nlp = spacy.blank(language)
    nlp.add_pipe("entity_ruler").add_patterns(patterns)  # type: ignore[attr-defined]
    nlp.to_disk(folder)
    return folder


def built(config: Path, options: Mapping[str, Any]) -> Recogniser:
    return build(Context(config, (), None, options))


def test_firms_and_places_join_what_was_found_in_the_order_of_the_text(tmp_path: Path) -> None:
    pipeline(tmp_path / "own")
    text = "Harbour  Line lost WN1234 near Dallas, says Ann Example"
    draft = draft_of(text)
    flight = Entity("flight", "WN1234", 19, 25)
    draft.entities = (flight,)
    built(tmp_path, {"pipeline": "own"}).enrich([draft])
    assert list(draft.entities) == [
        Entity("organisation", "Harbour Line", 0, 13),
        flight,
        Entity("place", "Dallas", 31, 37),
    ]


def test_without_a_pipeline_it_does_nothing(tmp_path: Path) -> None:
    draft = draft_of("Dallas")
    built(tmp_path, {}).enrich([draft])
    assert draft.entities == ()


def test_only_texts_in_the_pipelines_language_or_an_unknown_one_are_read(tmp_path: Path) -> None:
    pipeline(tmp_path / "own")
    drafts = [draft_of("Dallas") for _ in range(3)]
    for draft, code in zip(drafts, ("en", "de", "unknown"), strict=True):
        draft.language = Language(code, 0.9)
    built(tmp_path, {"pipeline": "own"}).enrich(drafts)
    assert [len(draft.entities) for draft in drafts] == [1, 0, 1]


def test_a_long_text_is_read_at_its_beginning_alone(tmp_path: Path) -> None:
    pipeline(tmp_path / "own")
    draft = draft_of("Dallas " + "😀" * 60_000 + " Dallas")
    built(tmp_path, {"pipeline": "own"}).enrich([draft])
    assert [(each.value, each.start) for each in draft.entities] == [("Dallas", 0)]


def test_the_version_names_what_the_pipeline_knows(tmp_path: Path) -> None:
    versions = [
        built(tmp_path, {"pipeline": str(pipeline(tmp_path / name, patterns, language))}).version
        for name, patterns, language in (
            ("one", PATTERNS, "en"),
            ("same", PATTERNS, "en"),
            ("fewer", PATTERNS[1:], "en"),
            ("german", PATTERNS, "de"),
        )
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipeline": 3}, "pipeline: expected a text in quotes, found a whole number"),
        ({"pipeline": "own", "kinds": []}, "unknown key `kinds`"),
        ({"pipeline": "no_such_package"}, "'no_such_package' cannot be loaded"),
        ({"pipeline": "empty"}, "cannot be loaded"),
        ({"pipeline": "blank"}, "finds no entities: it has sentencizer, of ner"),
    ],
)
def test_a_pipeline_that_cannot_serve_is_refused_with_the_reason(
    tmp_path: Path, options: Mapping[str, Any], message: str
) -> None:
    pipeline(tmp_path / "own")
    (tmp_path / "empty").mkdir()
    blank = spacy.blank("en")
    blank.add_pipe("sentencizer")
    blank.to_disk(tmp_path / "blank")
    with pytest.raises(SettingsError, match=r"options\.recogniser") as refused:
        built(tmp_path, options)
    assert message in str(refused.value)
