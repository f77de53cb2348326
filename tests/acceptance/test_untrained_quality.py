"""The tags as shipped, without any training, against labels that people gave: the floors that must hold."""

from pathlib import Path

import numpy as np
import pytest

from bench.quality import accuracy, airline_rows, calibration_error, macro_f1, reason_of, surest, tag
from hark.core.mention import Enrichment
from tests.support.require import shared_data


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    path: Path = shared_data("airline/airline_share.csv.gz")
    return airline_rows(path.parents[1])


@pytest.fixture(scope="module")
def found(rows: list[dict[str, str]]) -> list[Enrichment]:
    return tag([row["text"] for row in rows])


def test_three_classes_of_sentiment(rows: list[dict[str, str]], found: list[Enrichment]) -> None:
    truth = np.array([row["airline_sentiment"] for row in rows])
    said = np.array([each.sentiment.label for each in found])
    assert accuracy(truth, said) >= 0.77
    assert macro_f1(truth, said) >= 0.72


def test_no_airline_is_left_behind(rows: list[dict[str, str]], found: list[Enrichment]) -> None:
    for airline in {row["airline"] for row in rows}:
        chosen = [i for i, row in enumerate(rows) if row["airline"] == airline]
        truth = np.array([rows[i]["airline_sentiment"] for i in chosen])
        said = np.array([found[i].sentiment.label for i in chosen])
        assert macro_f1(truth, said) >= 0.66, airline


def test_confidence_tells_the_sure_from_the_doubtful(
    rows: list[dict[str, str]], found: list[Enrichment]
) -> None:
    right = [row["airline_sentiment"] == each.sentiment.label for row, each in zip(rows, found, strict=True)]
    sure = [each.sentiment.confidence for each in found]
    assert surest(sure, right, 0.8) >= float(np.mean(right)) + 0.04
    assert calibration_error(sure, right) <= 0.02


def test_ten_reasons_of_complaints_by_the_taxonomy_alone(
    rows: list[dict[str, str]], found: list[Enrichment]
) -> None:
    complaints = [i for i, row in enumerate(rows) if row["negativereason"]]
    truth = np.array([rows[i]["negativereason"] for i in complaints])
    said = np.array([reason_of(found[i]) for i in complaints])
    assert macro_f1(truth, said) >= 0.52
    assert accuracy(truth, said) >= 0.57
    first = [found[i].topics[0].confidence if found[i].topics else 0.0 for i in complaints]
    with_topic = [i for i, confidence in enumerate(first) if confidence]
    error = calibration_error([first[i] for i in with_topic], [bool(truth[i] == said[i]) for i in with_topic])
    assert error <= 0.07
