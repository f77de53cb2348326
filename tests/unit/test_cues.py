from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.cues import MOST_WAYS, Cue, Cues, expand, longest
from hark.core.draft import Draft
from hark.core.errors import SettingsError
from hark.core.mention import Mention
from hark.core.tokens import tokens
from tests.support.hostile import in_proportion

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def draft(text: str) -> Draft:
    made = Draft(Mention("x:1", "x", text, NOW, NOW), text)
    made.tokens = tokens(text)
    return made


def found(text: str, *phrases: str) -> list[str]:
    """Return what of the text each cue covers, in order."""
    given_text = draft(text)
    (cues,) = Cues([[(phrase, 0) for phrase in phrases]]).scan(given_text)
    return [" ".join(given_text.tokens[first : last + 1]) for _, first, last in cues]


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("on hold again", "on hold", ["on hold"]),
        ("ON-HOLD, again", "on hold", ["on hold"]),
        ("upon holding", "on hold", []),
        ("neighbour", "0 hours", []),
        ("2 hours and 45 hours", "0 hours", ["2 hours", "45 hours"]),
        ("gate 3h", "0h", ["3h"]),
        ("delays delayed Delay relay", "delay*", ["delays", "delayed", "delay"]),
        ("#fail #epicfailure", "fail", ["#fail"]),
        ("#fail #epicfailure fail", "*fail*", ["#fail", "#epicfailure"]),
        ("so #fail", "fail", ["#fail"]),
        ("#on hold on #hold", "on hold", ["#on hold"]),
        ("#delayed #relay", "delay*", ["#delayed"]),
        ("missed connecting, missed relation", "missed connect*", ["missed connecting"]),
        ("3hours 45hourly hourly", "0hour*", ["3hours", "45hourly"]),
        ("gate45 hours", "0 hours", ["gate45 hours"]),
        ("for 5 hours, for 45 hours", "for 0 hours", ["for 5 hours"]),
        ("it's late", "it late", ["it late"]),
        ("don’t care 😡", "😡", ["😡"]),
        ("naïve façade 😡 on hold", "on hold", ["on hold"]),
        ("", "on hold", []),
    ],
)
def test_a_phrase_is_found_where_its_words_stand(text: str, phrase: str, expected: list[str]) -> None:
    assert found(text, phrase) == expected


def test_a_word_that_a_phrase_names_is_found_by_signs_too() -> None:
    given_text = draft("bags bagging bag")
    cues = Cues([[("bag*", 0), ("bags", 1), ("bagg*", 2)]])
    assert sorted(cues.scan(given_text)[0]) == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 0), (2, 1, 1)]


@given(
    st.lists(
        st.sampled_from(["on", "hold", "#on", "holds", "naïve", "😡", "x" * 300, "12", "."]), max_size=400
    )
)
def test_short_and_long_lines_find_what_a_plain_search_finds(words: list[str]) -> None:
    text = " ".join(words)
    plain = [token.removeprefix("#") for token in tokens(text)]
    # A sign between two words keeps them apart.
    signs = [token[0] == "#" for token in tokens(text)]
    expected = sum(plain[i : i + 2] == ["on", "hold"] and not signs[i + 1] for i in range(len(plain)))
    assert len(found(text, "on hold")) == expected


def test_each_list_gets_its_own_cues_of_one_scan() -> None:
    given_text = draft("on hold, delayed")
    cues = Cues([[("on hold", 7)], [("delayed", 1), ("on hold", 2)]])
    assert cues.scan(given_text) == [[(7, 0, 1)], [(2, 0, 1), (1, 2, 2)]]
    assert cues.scan(given_text) is cues.scan(given_text)


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        ([(0, 1, 1), (1, 0, 2)], [(1, 0, 2)]),
        ([(1, 0, 2), (0, 2, 2)], [(1, 0, 2)]),
        ([(0, 0, 1), (1, 1, 2)], [(0, 0, 1), (1, 1, 2)]),
        ([(0, 0, 1), (1, 0, 1)], [(0, 0, 1), (1, 0, 1)]),
        ([(0, 0, 0), (1, 1, 1), (2, 0, 3)], [(2, 0, 3)]),
        ([(2, 0, 3), (0, 0, 0)], [(2, 0, 3), (0, 0, 0)]),
    ],
)
def test_a_longer_phrase_hides_those_within_it(cues: list[Cue], expected: list[Cue]) -> None:
    assert longest(cues) == expected


def test_a_list_that_hides_gives_its_longest_phrases_alone() -> None:
    phrases = [("thanks", 0), ("thanks for nothing", 1)]
    plain, hiding = Cues([phrases, phrases], hiding=[1]).scan(draft("thanks for nothing, thanks"))
    assert sorted(plain) == [(0, 0, 0), (0, 3, 3), (1, 0, 2)]
    assert hiding == [(1, 0, 2), (0, 3, 3)]


def test_one_line_of_a_list_stands_for_many_phrases() -> None:
    words = {"bag": ["bag", "bags"]}
    assert expand("(lost|left) (my|) <bag>", words, "here") == [
        "lost my bag", "lost my bags", "lost bag", "lost bags", "left my bag", "left my bags", "left bag", "left bags",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["lost (my", "<suitcase>", "Lost bag", "lo*st", "", "(|)", "a " + "(b|c)" * 12, "(<bag>|x)", "a (b (c))"],
)
def test_a_mistake_in_a_list_is_told_with_its_place(line: str) -> None:
    with pytest.raises(SettingsError, match="here"):
        expand(line, {"bag": ["bag"]}, "here")
    assert MOST_WAYS < 2**12


@in_proportion
@pytest.mark.parametrize("text", ["on hold ", "#on ", "😡", "on", "@a "])
def test_a_hostile_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    cues = Cues([[("on hold", 0), ("on", 1), ("😡", 2), ("*o*", 3)]])
    cues.scan(draft(text * (1_000_000 // len(text))))
