"""What is said of an event: default, own and broken templates, the digest, and text that strangers wrote."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from hark.alerts.events import IncidentEvent
from hark.alerts.targets import Target, load_targets
from hark.alerts.wording import PREFIXES, check_template, digest_of, message_of, sample
from hark.core.errors import SettingsError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def target(folder: Path, template: str | None = None) -> Target:
    text = '[target.ops]\naddress = "file:x"\nzone = "America/Chicago"\n'
    if template is not None:
        (folder / "ops.txt").write_text(template)
        text += 'template = "ops.txt"\n'
    (folder / "alerts.toml").write_text(text)
    return load_targets(folder).targets["ops"]


def event(**fields: Any) -> IncidentEvent:
    base = msgspec.structs.replace(
        sample(), incident="k3", at=NOON, title="Spike", series="delta", severity=6, path="/incidents/k3"
    )
    return msgspec.structs.replace(base, **fields)


def test_the_default_says_what_when_where_and_its_reference(tmp_path: Path) -> None:
    said = message_of(
        event(kind="escalated"), "k3.1.ops", "on call: duty", target(tmp_path), "https://hark.example"
    )
    assert said.title == "Worse: Spike: delta, severity 6 [k3]"
    assert said.body.splitlines() == [
        "Worse: This is a test of Hark's notifications.",
        "",
        "Nothing has happened.",
        "",
        "You are told because: on call: duty.",
        "2026-03-01 06:00 CST",
        "https://hark.example/incidents/k3",
        "Reference k3.1.ops",
    ]
    assert said.payload["type"] == "incident.escalated"
    assert said.payload["event"].severity == 6


def test_every_kind_of_event_has_words(tmp_path: Path) -> None:
    titles = {message_of(event(kind=kind), "k", "", target(tmp_path), "").title for kind in PREFIXES}
    assert len(titles) == len(PREFIXES)


def test_the_subject_of_a_thread_does_not_change(tmp_path: Path) -> None:
    ops = target(tmp_path)
    subjects = {
        message_of(event(kind=kind, severity=severity), "k", "", ops, "").subject
        for kind, severity in (("opened", 3), ("escalated", 8), ("resolved", 0))
    }
    assert subjects == {"Spike: delta [k3]"}


def test_a_template_says_it_in_other_words(tmp_path: Path) -> None:
    own = target(tmp_path, "{{ series|upper }} now\n\n{{ headline }} at {{ at }}\n")
    check_template(own)
    said = message_of(event(), "k", "", own, "")
    assert (said.title, said.body) == (
        "DELTA now",
        "This is a test of Hark's notifications. at 2026-03-01 06:00 CST",
    )


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ seires }}", "'seires' is undefined"),
        ("ok\n{% if %}", "line 2: "),
        ("{{ 1 // 0 }}", "division"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("  \n ", "it says nothing"),
    ],
)
def test_a_broken_template_is_replaced_by_the_default_and_says_so(
    tmp_path: Path, template: str, fault: str
) -> None:
    broken = target(tmp_path, template)
    said = message_of(event(), "k3.1.ops", "", broken, "")
    assert said.title == "Spike: delta, severity 6 [k3]"
    assert "(The template ops.txt is broken: " in said.body
    assert fault in said.body
    with pytest.raises(SettingsError, match=r"ops\.txt: "):
        check_template(broken)


def test_text_of_strangers_makes_no_second_line_of_a_title(tmp_path: Path) -> None:
    said = message_of(event(series="delta\r\nBcc: all@example.com\x00\u202e"), "k", "", target(tmp_path), "")
    assert "\n" not in said.title + said.subject
    assert "\r" not in said.title + said.subject
    assert "{{" in message_of(event(headline="{{ 7*7 }}"), "k", "", target(tmp_path), "").body


def test_a_digest_tells_each_incident_once_with_its_course(tmp_path: Path) -> None:
    events = [
        ("a.1.ops", event(incident="a", severity=7)),
        ("b.1.ops", event(incident="b", severity=4, path="/incidents/b")),
        ("a.2.ops", event(incident="a", number=2, kind="resolved", severity=0, at=NOON + timedelta(hours=2))),
    ]
    said = digest_of(events, 1_000, target(tmp_path), "https://hark.example")
    assert said.title == "Digest: 2 incidents, 1 of them open"
    assert said.body.splitlines()[:4] == [
        "Spike: delta [a]: over, at worst 7",
        "  2026-03-01 06:00 CST opened: This is a test of Hark's notifications.",
        "  2026-03-01 08:00 CST resolved: This is a test of Hark's notifications.",
        "  https://hark.example/incidents/k3",
    ]
    assert said.body.endswith("Reference digest.ops.1000.a.1.ops")
    assert len(said.payload["events"]) == 3


def test_times_are_told_by_the_clock_of_who_is_told_and_name_their_zone(tmp_path: Path) -> None:
    happened = event(
        at=datetime(2026, 3, 1, 4, tzinfo=UTC),
        headline="Delta: 54 complaints, since 19:45 UTC, over at 03:20",
        body="x does not answer since 2026-02-28 23:10 UTC; at 10:00 it was 12:34",
    )
    said = message_of(happened, "k", "", target(tmp_path), "")
    assert "Delta: 54 complaints, since 13:45 CST, over at 21:20 CST" in said.body
    assert "x does not answer since 2026-02-28 17:10 CST; at 10:00 it was 12:34" in said.body
    digest = digest_of([("k", happened)], 0, target(tmp_path), "")
    assert "since 13:45 CST" in digest.body
    plain = msgspec.structs.replace(target(tmp_path), zone=ZoneInfo("UTC"))
    assert "since 19:45 UTC, over at 03:20 UTC" in message_of(happened, "k", "", plain, "").body
