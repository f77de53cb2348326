"""`hark backtest` on a simulated airline's fortnight: the incident is found, and every figure can be counted again."""

import json
import re
import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from hark import settings
from hark.alerts.detector import Detector, Options
from hark.commands.backtest import command
from hark.commands.times import point
from hark.core.change import Seen, Tagged
from hark.core.errors import SettingsError
from hark.core.protocols import Hit, Store
from hark.query import parse
from hark.wiring import chain_of, store_of
from ingest.simulator import AIRLINES, BLOCK_SECONDS, Incident, World
from ingest.simulator import Options as SimulatorOptions
from tests.support.center import Center

DAYS = 10
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""The first live incident begins two minutes later: Southwest cancels flights at Denver."""
UNTIL = START + timedelta(hours=3)
SINCE = START - timedelta(days=7)


def written(incident: Incident) -> dict[str, str]:
    """Return a simulated incident as a row of labels."""
    begin = START + timedelta(seconds=incident.begin)
    peak = begin + timedelta(seconds=3 * incident.rise_seconds)
    return {
        "name": f"{AIRLINES[incident.airline].name} {incident.about}",
        "series": AIRLINES[incident.airline].name,
        "begin": begin.isoformat(),
        "end": (peak + timedelta(seconds=incident.fall_seconds)).isoformat(),
        "peak": peak.isoformat(),
    }


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory) -> Center:
    """Return a center whose store holds ten simulated days and the first hours of an incident, and its labels."""
    center = Center(tmp_path_factory.mktemp("backtest"))
    own = settings.load(settings.SHIPPED, center.data)
    world = World(SimulatorOptions(platform="x", history_days=DAYS, mentions_per_day=900), "x", START)
    blocks = range(-DAYS * 86_400 // BLOCK_SECONDS, 3 * 3_600 // BLOCK_SECONDS)
    mentions = [change.mention for n in blocks for change, _ in world.block(n) if isinstance(change, Seen)]
    with store_of(own) as store:
        tags = chain_of(own).tag(mentions)
        assert not store.write([Tagged(*pair) for pair in zip(mentions, tags, strict=True)])
    rows = [written(incident) for incident in world.incidents]
    columns = list(rows[0])
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in rows)]
    (center.folder / "known.csv").write_text("\n".join(lines) + "\n")
    return center


@pytest.fixture(scope="module")
def tried(center: Center) -> dict[str, Any]:
    """Return what the command prints."""
    arguments = ["--since", SINCE.isoformat(), "--until", UNTIL.isoformat()]
    printed = center.run(
        "backtest", "complaint-spike", *arguments, "--incidents", "known.csv", "--json"
    ).stdout
    body: dict[str, Any] = json.loads(printed)
    return body


def opened(center: Center) -> Any:
    return store_of(settings.load(settings.SHIPPED, center.data))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def complaints(store: Store, brand: str) -> list[Hit]:
    """Return the complaints about a brand, found without queries, rollups or histograms."""
    return [
        hit
        for hit in store.search(parse(""), limit=None)
        if brand in hit.enrichment.brands and hit.enrichment.sentiment.label == "negative"
    ]


def test_the_incident_is_found_within_minutes_and_before_its_peak(tried: dict[str, Any]) -> None:
    known = {outcome["label"]["name"]: outcome for outcome in tried["outcomes"]}
    told = known["Southwest cancelled"]
    assert told["told_at"]
    assert -1500 <= told["before_begin_seconds"] <= 0
    assert told["before_peak_seconds"] > 0
    alert = next(a for a in tried["alerts"] if "Southwest cancelled" in a["incidents"])
    assert (alert["series"], alert["title"]) == ("southwest", "Southwest Airlines")
    headlines = [one["headline"] for one in tried["incidents"]]
    assert any(said.startswith("Southwest Airlines · Cancelled flight") for said in headlines)
    assert alert["severity"] >= 3
    assert alert["explanation"]["topics"][0]["value"] == "cancelled-flight"
    assert alert["explanation"]["topics"][0]["excess"] > 0.7 * alert["explanation"]["excess"]


def test_hits_misses_and_false_alarms_are_those_of_the_lists(tried: dict[str, Any]) -> None:
    shipped, outcomes, alerts = tried["shipped"], tried["outcomes"], tried["alerts"]
    assert shipped["hits"] == sum(outcome["told_at"] is not None for outcome in outcomes) == 3
    # At so few mentions a day the short one at Atlanta is no more than a handful of complaints.
    missed = [outcome["label"]["name"] for outcome in outcomes if outcome["told_at"] is None]
    assert (shipped["misses"], missed) == (1, ["Delta baggage"])
    assert shipped["false_alarms"] == sum(not alert["incidents"] for alert in alerts) == 0
    weeks = (instant(tried["until"]) - instant(tried["since"])) / timedelta(weeks=1)
    assert shipped["alerts_a_week"] == pytest.approx(len(alerts) / weeks)
    assert shipped in tried["curve"]
    assert len(tried["curve"]) == 6


def test_observed_and_expected_are_recomputed_from_the_mentions_alone(
    center: Center, tried: dict[str, Any]
) -> None:
    with opened(center) as store:
        for alert in tried["alerts"]:
            begin, end = instant(alert["window_begin"]), instant(alert["window_end"])
            times = [hit.mention.created_at for hit in complaints(store, alert["series"])]
            assert alert["observed"] == sum(begin <= at < end for at in times)
            for bar in alert["chart"]:
                start = instant(bar["start"])
                assert bar["value"] == sum(start <= at < start + timedelta(minutes=5) for at in times)
            # The same detector, fed by hand from the first bucket in which the brand is named at all.
            named = [
                hit.mention.created_at.timestamp()
                for hit in store.search(parse(""), limit=None)
                if alert["series"] in hit.enrichment.brands
            ]
            counts = Counter(int(at.timestamp() // 300) for at in times)
            detector = Detector(options=Options(interval_seconds=300.0, series_watched=tried["series"]))
            expected = {
                bucket: detector.update(bucket * 300, counts[bucket]).expected
                for bucket in range(int(min(named) // 300), int(end.timestamp() // 300))
            }
            buckets = range(int(begin.timestamp() // 300), int(end.timestamp() // 300))
            assert alert["expected"] == pytest.approx(sum(expected[bucket] for bucket in buckets), abs=0.006)


def test_contributions_add_up_and_each_is_what_its_query_counts(
    center: Center, tried: dict[str, Any]
) -> None:
    assert tried["alerts"]
    with opened(center) as store:
        for alert in tried["alerts"]:
            begin, end = instant(alert["window_begin"]), instant(alert["window_end"])
            explanation = alert["explanation"]
            excess = round(explanation["excess"] * 100)
            assert excess == alert["observed"] * 100 - round(alert["expected"] * 100)
            for parts in (explanation[name] for name in ("topics", "sources", "authors", "places", "terms")):
                assert sum(round(part["excess"] * 100) for part in parts) == excess
                assert sum(part["observed"] for part in parts) == alert["observed"]
                for part in parts:
                    assert part["observed"] == store.count(parse(part["query"]), begin, end)
                    assert round(part["excess"] * 100) == part["observed"] * 100 - round(
                        part["expected"] * 100
                    )


def test_the_terminal_shows_the_same_and_a_search_that_counts_to_it(
    center: Center, tried: dict[str, Any]
) -> None:
    times = ("--since", SINCE.isoformat(), "--until", UNTIL.isoformat())
    shown = center.run("backtest", "complaint-spike", *times, "--html", "report.html").stdout.decode()
    searches = [shlex.split(line) for line in shown.splitlines() if line.strip().startswith("hark search")]
    assert len(searches) == len(tried["alerts"])
    with opened(center) as store:
        for (_, _, query, _, since, _, until, count), alert in zip(searches, tried["alerts"], strict=True):
            assert count == "--count"
            assert (
                store.count(parse(query), point(since, "--since"), point(until, "--until"))
                == alert["observed"]
            )
            assert f"{alert['observed']} in " in shown
            assert f"{alert['expected']:.2f} expected: {alert['explanation']['excess']:+.2f}" in shown
    first = searches[0][1:]
    assert center.run(*first).stdout.decode().strip() == str(tried["alerts"][0]["observed"])


def test_the_report_stands_alone_and_shows_each_alert_with_its_chart(
    center: Center, tried: dict[str, Any]
) -> None:
    known = center.folder / "hostile.csv"
    alert = tried["alerts"][0]
    known.write_text(
        f"name,begin,end\n<script>alert(1)</script>,{alert['window_begin']},{alert['told_at']}\n"
    )
    file = center.folder / "hostile.html"
    arguments = ["--since", SINCE.isoformat(), "--until", UNTIL.isoformat(), "--incidents", str(known)]
    result = CliRunner().invoke(
        command, ["complaint-spike", *arguments, "--html", str(file), "--data", str(center.data)]
    )
    assert result.exit_code == 0, result.output
    text = file.read_text()
    for outside in ("<script", "http:", "https:", "src=", "url(", "@import"):
        assert outside not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    charts = [ElementTree.fromstring(found) for found in re.findall("<svg.*?</svg>", text, re.DOTALL)]
    assert len(charts) == len(tried["alerts"])
    for drawn, alert in zip(charts, tried["alerts"], strict=True):
        bars = [bar.findtext("title") for bar in drawn.iter("rect")]
        assert [bar.split(": ")[1] for bar in bars if bar] == [
            f"{bar['value']:g}, expected {bar['expected']:.2f}" for bar in alert["chart"]
        ]
        for bar in drawn.iter("rect"):
            assert 0 <= float(bar.attrib["y"]) <= 170
            assert 0 <= float(bar.attrib["x"]) <= 860


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spikes"], "no rule is named 'spikes'; there are: complaint-spike"),
        (["source-silent"], "rule 'source-silent': whether a source answers is known live alone"),
        (["complaint-spike", "--since", "2026-02-01", "--until", "2026-01-01"], "--since: expected a time"),
        (["complaint-spike", "--incidents", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (
            ["complaint-spike", "--html", "nowhere/report.html"],
            "--html: nowhere/report.html: cannot be written",
        ),
    ],
)
def test_what_is_asked_wrongly_is_answered_with_what_was_expected(
    center: Center, arguments: list[str], said: str
) -> None:
    result = CliRunner().invoke(command, [*arguments, "--data", str(center.data)])
    assert isinstance(result.exception, SettingsError)
    assert said in str(result.exception)


def test_a_rule_that_is_in_no_file_is_tried_as_it_is_written(center: Center) -> None:
    def tried(rule: str) -> Any:
        arguments = ["-", "--since", SINCE.isoformat(), "--until", UNTIL.isoformat(), "--json"]
        return CliRunner().invoke(command, [*arguments, "--data", str(center.data)], input=rule)

    same = '{"name": "mine", "metric": "complaints", "group_by": "brand", "detector": "threshold", "threshold": 9}'
    body = json.loads(tried(same).stdout)
    assert (body["rule"], body["shipped"]["threshold"]) == ("mine", 9)
    assert "standard input: detector: expected one of spike" in str(
        tried('{"name": "a", "detector": "x"}').exception
    )
