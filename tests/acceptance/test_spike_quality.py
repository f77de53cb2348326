"""The goals of the spike detector, on real labelled counts and on synthetic ones; see docs/spikes.md."""

import pytest

from bench import nab, spikes
from hark.alerts.detector import Options
from tests.support.require import shared_data


@pytest.fixture(scope="module")
def nab_scores():
    """Return the scores of the files for the shipped threshold and one below."""
    files = nab.load(shared_data("nab"))
    return {
        threshold: [nab.score(one, nab.alerts_of(one, Options(threshold=threshold))) for one in files]
        for threshold in (0.9, 1.0)
    }


def test_the_shipped_detector_reaches_the_goal_on_the_shared_tweet_counts(nab_scores):
    together = sum(nab_scores[1.0], nab.Score())
    assert together.nab >= 80
    assert together.precision >= 0.57


def test_the_score_does_not_hang_on_the_exact_threshold(nab_scores):
    for scores in nab_scores.values():
        assert sum(scores, nab.Score()).nab >= 75


def test_incidents_are_found_early_and_little_else_is_told_of():
    found = spikes.measure(20, 1000, Options())
    ours, rule = found["hark detect"], found["ElastAlert 2 spike"]
    assert ours["recall"] >= 0.75
    assert ours["event_precision"] >= 0.88
    assert ours["median_delay_minutes"] <= 25
    assert ours["recall"] > rule["recall"]
    assert ours["event_precision"] > 2 * rule["event_precision"]


def test_nab_scores_of_simple_detectors_are_those_known():
    """Silence is 0; an alert at the first row of each window is 100; the middle, where labels stand, about 93."""
    series = nab.Series("one", [300.0 * at for at in range(8000)], [0.0] * 8000, [(2000, 2400), (5000, 5400)])
    assert nab.score(series, []).nab == 0
    assert nab.score(series, [2000, 5000]).nab == pytest.approx(100, abs=0.1)
    assert nab.score(series, [2200, 5200]).nab == pytest.approx(93, abs=0.5)
    assert nab.score(series, [100, 2000, 5000]).nab == pytest.approx(100, abs=0.1)
    with_false = nab.score(series, [1000, 2000, 5000])
    assert with_false.nab == pytest.approx(100 - 0.11 / 4 * 100, abs=0.1)
    assert with_false.precision == pytest.approx(2 / 3)
