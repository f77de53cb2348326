"""alerts.toml: what is shipped works, and every mistake is told with its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hark.alerts.rules import Rule, RuleEntry, RuleError, find_rule, load_rules, rule_of
from hark.core.errors import SettingsError
from hark.query import parse
from hark.settings import SHIPPED

GOOD = 'name = "a"\nmetric = "complaints"\ndetector = "spike"\n'


def rules(folder: Path, text: str) -> dict[str, Rule]:
    (folder / "alerts.toml").write_text(text)
    return load_rules(folder)


def rule(folder: Path, more: str = "", text: str = GOOD) -> Rule:
    return rules(folder, f"[[rule]]\n{text}{more}\n")["a"]


def test_the_shipped_rules_watch_complaints_per_brand() -> None:
    shipped = find_rule(SHIPPED, "complaint-spike")
    assert (shipped.metric, shipped.group_by, shipped.detector) == ("complaints", ("brand",), "spike")
    assert (shipped.threshold, shipped.allowance_seconds) == (1.0, 120)
    assert shipped.selection("delta").text == "brand:delta AND sentiment:negative"
    assert find_rule(SHIPPED, "mostly-negative").window_seconds == 7200


def test_a_folder_without_rules_has_none(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == {}


def test_an_unknown_rule_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        SettingsError, match="no rule is named 'spikes'; there are: complaint-spike, topic-spike, mostly-neg"
    ):
        find_rule(SHIPPED, "spikes")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            'group_by = "author"',
            "group_by of rule 'a': expected \"none\", one of brand, topic, .*found 'author'",
        ),
        (
            'group_by = ["brand", "topic", "lang"]',
            "group_by of rule 'a': expected .* or two of them in a list",
        ),
        ('group_by = ["brand", "brand"]', "group_by of rule 'a': expected"),
        ('quiet_hours = "22-7"', "quiet_hours of rule 'a': expected \"22:00-07:00\", found '22-7'"),
        ('quiet_hours = "25:00-07:00"', "quiet_hours of rule 'a': expected"),
        ('time_zone = "Dallas"', "time_zone of rule 'a': expected a name such as America/Chicago"),
        ('part = "delay"', "part of rule 'a': expected a query with the metric \"share\", and none without"),
        ("thresold = 2.0", 'rule "a": unknown key `thresold`; did you mean `threshold`'),
        ("threshold = 0.0", "threshold of rule 'a': expected a number above 0, found 0.0"),
        ("threshold = nan", "threshold of rule 'a': expected a number above 0"),
        ("window_minutes = 21", "window_minutes of rule 'a': expected a multiple of 5 up to 1440, found 21"),
        ("minimum_volume = 0", "minimum_volume of rule 'a': expected at least 1, found 0"),
        ("minimum_severity = 11", "minimum_severity of rule 'a': expected 1 to 10, found 11"),
        ('query = "delay AND"', "query of rule 'a': .*AND"),
        ('query = "delay (late OR created>now-2h)"', "query of rule 'a': expected no created:"),
        ('query = "NOT created>2026-01-01"', "query of rule 'a': expected no created:"),
    ],
)
def test_a_mistake_names_file_key_and_what_was_expected(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"alerts\.toml: {said}"):
        rule(tmp_path, more)


def test_a_share_has_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='detector of rule \'a\': expected "threshold" or "change"'):
        rule(tmp_path, text='name = "a"\nmetric = "share-negative"\ndetector = "spike"\n')
    with pytest.raises(SettingsError, match="threshold of rule 'a': expected more than 0 and at most 1"):
        rule(tmp_path, "threshold = 2", 'name = "a"\nmetric = "share-negative"\ndetector = "threshold"\n')


def test_two_rules_of_one_name_and_a_strange_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two rules are named 'a'"):
        rules(tmp_path, f"[[rule]]\n{GOOD}[[rule]]\n{GOOD}")
    with pytest.raises(SettingsError, match="name of rule 'A b': expected lower-case"):
        rule(tmp_path, text=GOOD.replace('"a"', '"A b"'))
    with pytest.raises(SettingsError, match="allowance_minutes: expected 0 to 1440, found -1"):
        rules(tmp_path, "allowance_minutes = -1")


def test_what_a_series_counts_is_a_query_that_can_be_typed(tmp_path: Path) -> None:
    found = rule(tmp_path, 'query = "bag OR luggage"\ngroup_by = "topic"').selection("lost luggage")
    assert found.text == '(bag OR luggage) AND topic:"lost luggage" AND sentiment:negative'
    assert parse(found.text).root == found.root
    everything = rule(tmp_path, text='name = "a"\nmetric = "count"\ndetector = "spike"\n').selection(None)
    assert parse(everything.text).root == everything.root


def test_a_pair_of_fields_is_a_query_too(tmp_path: Path) -> None:
    found = rule(tmp_path, 'group_by = ["brand", "topic"]').selection("delta × lost luggage")
    assert found.text == 'brand:delta AND topic:"lost luggage" AND sentiment:negative'


def test_a_ratio_needs_something_to_compare(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="group_by of rule 'a': expected the one field"):
        rule(tmp_path, text='name = "a"\nmetric = "count"\ndetector = "ratio"\n')


def test_quiet_hours_go_past_midnight_in_their_own_zone(tmp_path: Path) -> None:
    quiet = rule(tmp_path, 'quiet_hours = "22:00-07:00"\ntime_zone = "America/Chicago"').quiet
    assert quiet is not None
    assert quiet.at(datetime(2026, 11, 2, 12, 59, tzinfo=UTC))
    assert not quiet.at(datetime(2026, 11, 2, 13, 0, tzinfo=UTC))
    assert quiet.at(datetime(2026, 11, 2, 4, 0, tzinfo=UTC))


def test_what_changes_a_verdict_changes_the_identity_and_a_title_does_not(tmp_path: Path) -> None:
    plain = rule(tmp_path)
    assert rule(tmp_path, 'title = "b"\nnotify = ["x"]').identity == plain.identity
    for more in ("threshold = 1.1", "minimum_volume = 2", 'query = "a"', 'group_by = "brand"'):
        assert rule(tmp_path, more).identity != plain.identity


def test_a_rule_in_no_file_says_which_key_is_wrong_and_where(tmp_path: Path) -> None:
    (tmp_path / "alerts.toml").write_text("allowance_minutes = 7\n")
    found = rule_of(tmp_path, RuleEntry("mine", "spike"))
    assert found.allowance_seconds == 420
    with pytest.raises(RuleError) as wrong:
        rule_of(tmp_path, RuleEntry("mine", "spike", query="bag (lost"))
    assert (wrong.value.key, wrong.value.position) == ("query", 4)
    with pytest.raises(RuleError) as wrong:
        rule_of(tmp_path, RuleEntry("mine", "spike", minimum_severity=11))
    assert (wrong.value.key, wrong.value.problem) == ("minimum_severity", "expected 1 to 10, found 11")
