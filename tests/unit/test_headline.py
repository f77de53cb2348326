"""The sentence that an incident is told by: in people's own words for brands and topics, and in figures that fit."""

import msgspec

from hark.alerts.explain import Contribution, Explanation
from hark.alerts.incidents import Incident, Member, headline, interval
from hark.alerts.rules import Rule
from hark.query import parse

NAMES = {"delta": "Delta Air Lines", "late-flight": "Late flight"}
SINCE = 1_793_000_700_000  # 02:25 UTC
HOUR = 3_600_000


def told(rule: Rule, group: str, observed: int, expected: float, volume: int = 0) -> str:
    member = Member(rule.name, group, SINCE, SINCE, SINCE + HOUR, observed, expected, 0.1, 5, volume=volume)
    parts = (Contribution("late-flight", observed, expected, observed - expected, "q"),)
    explanation = Explanation("q", observed - expected, parts, (), (), (), (), "q")
    incident = Incident(
        "i", rule.name, "T", rule.metric, rule.detector, SINCE, SINCE, [member], explanation=explanation
    )
    return headline(incident, {rule.name: rule}, NAMES)


RULE = Rule("r", "R", parse(""), "complaints", ("brand",), "spike")


def test_brands_and_topics_are_called_what_people_call_them() -> None:
    said = told(RULE, "delta", 54, 4.0)
    assert said.startswith("Delta Air Lines · Late flight: 54 complaints in 60 min, expected 4 (")
    pairs = msgspec.structs.replace(RULE, group_by=("brand", "topic"))
    assert told(pairs, "delta × late-flight", 54, 4.0).startswith("Delta Air Lines × Late flight: 54")
    assert told(RULE, "unknown", 54, 4.0).startswith("unknown · Late flight: 54")


def test_great_numbers_are_told_with_separators() -> None:
    assert "1,195 complaints in 60 min, expected 1,000 (" in told(RULE, "delta", 1_195, 1_000.0)
    low, high = interval(Member("r", "delta", SINCE, SINCE, SINCE + HOUR, 1_195, 1_000.0, 0.1, 5))
    assert f"({low:,}–{high:,})" in told(RULE, "delta", 1_195, 1_000.0)
    assert high > 999
    fixed = msgspec.structs.replace(RULE, detector="threshold", threshold=1_000)
    assert "1,195 complaints in 60 min, told from 1,000 on" in told(fixed, "delta", 1_195, 1_000.0)


def test_a_new_term_leads_its_headline() -> None:
    rule = msgspec.structs.replace(RULE, detector="new-term", metric="count")
    said = told(rule, "delta × url:example.com/recall", 14, 0.05)
    assert said.startswith(
        "Delta Air Lines · “example.com/recall” is new · Late flight: 14 mentions in 60 min, expected 0 ("
    )


def test_shares_and_net_sentiment_are_told_in_per_cent_of_how_many() -> None:
    share = msgspec.structs.replace(RULE, detector="change", metric="share-negative")
    assert "60% of 50 mentions negative in 60 min, expected 20%, since" in told(share, "delta", 30, 10.0, 50)
    fixed = msgspec.structs.replace(share, detector="threshold", threshold=0.5)
    assert "60% of 50 mentions negative in 60 min, told from 50% on, since" in told(
        fixed, "delta", 30, 25.0, 50
    )
    net = msgspec.structs.replace(RULE, detector="change", metric="net-sentiment", direction="down")
    said = told(net, "delta", -30, 5.0, 50)
    assert "Late flight: net sentiment -60% of 50 mentions in 60 min, expected +10%, since" in said


def test_the_interval_of_a_net_sentiment_may_be_below_nothing() -> None:
    member = Member("r", "delta", SINCE, SINCE, SINCE + HOUR, -30, 5.0, 0.0, 5, volume=100)
    low, high = interval(member)
    assert low < 0 < 5 < high
