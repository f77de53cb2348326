"""Agreement between persons, against figures worked out by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.core.change import Labelled
from hark.labelling import agreements, kappa, newest

START = datetime(2026, 3, 1, tzinfo=UTC)


def said(id: str, value: str, by: str, minutes: int = 0, tag: str = "sentiment") -> Labelled:
    return Labelled(id, tag, value, by, START + timedelta(minutes=minutes))


def test_kappa_of_a_table_worked_out_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreed .70, by chance .50, so (.70 − .50) / (1 − .50) = .40
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa(pairs) == pytest.approx(0.4)


@given(st.lists(st.sampled_from("abc"), min_size=2))
def test_one_who_agrees_in_all_has_kappa_one_unless_there_is_but_one_value(values: list[str]) -> None:
    found = kappa([(value, value) for value in values])
    assert found is None if len(set(values)) == 1 else found == pytest.approx(1)


def test_only_mentions_that_both_labelled_count_and_the_last_word_of_each() -> None:
    labels = [
        said("x:1", "negative", "ann"),
        said("x:1", "neutral", "bob"),
        said("x:1", "negative", "bob", minutes=1),
        said("x:2", "positive", "ann"),
        said("x:2", "positive", "bob"),
        said("x:3", "positive", "ann"),
        said("x:1", "delays", "ann", tag="topic"),
    ]
    (found,) = agreements(labels)
    assert (found.tag, found.first, found.second, found.mentions) == ("sentiment", "ann", "bob", 2)
    assert (found.agreed, found.kappa) == (1.0, 1.0)
    assert len(newest(labels)) == 6
