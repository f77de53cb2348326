"""Who is told: what is shipped works, every mistake is told with its place, and clocks that change are no surprise."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hark.alerts.rules import load_rules
from hark.alerts.targets import Targets, load_targets
from hark.core.errors import SettingsError
from hark.settings import SHIPPED

OPS = '[target.ops]\naddress = "file:ops.jsonl"\n'
LEAD = '[target.lead]\naddress = "file:lead.jsonl"\n'
CHICAGO = ZoneInfo("America/Chicago")


def targets(folder: Path, text: str) -> Targets:
    (folder / "alerts.toml").write_text(text)
    load_rules(folder)  # the same file: both readers must accept it
    return load_targets(folder)


def at(text: str, zone: ZoneInfo = CHICAGO, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def test_what_is_shipped_tells_a_file_in_the_data_folder() -> None:
    shipped = load_targets(SHIPPED)
    assert [(target.name, target.address) for target in shipped.targets.values()] == [
        ("file", "file:alerts.jsonl")
    ]
    assert shipped.heartbeat is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OPS + "colour = 1\n", r"target.*ops.*colour"),
        (
            '[target.ops]\naddress = "ops@example.com"\n',
            r"target\.ops\.address: expected file:NAME, webhook\+https",
        ),
        ('[target.ops]\naddress = "webhook://host/"\n', r"target\.ops\.address: expected webhook\+https"),
        (
            '[target.ops]\naddress = "webhook+https://host/"\n',
            r"target\.ops\.secret: expected a secret to sign with",
        ),
        (OPS + 'secret = "s"\n', r"target\.ops\.secret: only webhook addresses are signed"),
        (OPS + 'quiet = "22-7"\n', r'target\.ops\.quiet: expected two times of day, like "22:00-07:00"'),
        (OPS + 'quiet = "22:00-24:00"\n', r"target\.ops\.quiet: expected two times"),
        (OPS + 'quiet = "07:00-07:00"\n', r"target\.ops\.quiet: expected two times"),
        (OPS + 'digest_at = "8"\n', r"target\.ops\.digest_at: expected a time of day"),
        (OPS + 'zone = "Mars/Base"\n', r"target\.ops\.zone: expected a time zone like America/Chicago"),
        (OPS + 'zone = "../etc"\n', r"target\.ops\.zone: expected a time zone"),
        (OPS + "breaks_through = 12\n", r"target\.ops\.breaks_through: expected a severity of 1 to 10"),
        (OPS + 'tell = ["begin"]\n', r"target.*ops.*tell.*begin"),
        (OPS + 'template = "none.txt"\n', r"target\.ops\.template: expected a file beside alerts.toml"),
        (OPS + 'escalate_to = "lead"\n', r"target\.ops\.escalate_to: expected one of ops, found 'lead'"),
        (
            OPS + 'escalate_to = "lead"\n' + LEAD + 'escalate_to = "ops"\n',
            r"ops → lead → ops goes round in a circle",
        ),
        ("[target.Ops]\n" + OPS.partition("\n")[2], r"target\.Ops: expected a name of lower-case"),
        (
            OPS + '[rota.duty]\npeople = ["kim"]\nstart = 2026-01-01T09:00:00\n',
            r"rota\.duty\.people: expected names of targets \(ops\), found 'kim'",
        ),
        (
            OPS + "[rota.duty]\npeople = []\nstart = 2026-01-01T09:00:00\n",
            r"rota\.duty\.people: expected one name",
        ),
        (
            OPS + '[rota.duty]\npeople = ["ops"]\nstart = 2026-01-01T09:00:00Z\n',
            r"rota\.duty\.start: expected a local time without offset",
        ),
        (
            OPS + '[rota.ops]\npeople = ["ops"]\nstart = 2026-01-01T09:00:00\n',
            r"'ops' is the name of a target and of a rota",
        ),
        (
            '[heartbeat]\naddress = "mailto://u:p@example.com"\n',
            r"heartbeat\.address: expected https://… ",
        ),
        (
            '[heartbeat]\naddress = "https://h/"\nevery_minutes = 0\n',
            r"heartbeat\.every_minutes: expected 1 to 1440",
        ),
        ('console = "hark.example.com"\n', r"console: expected the address that people open"),
    ],
)
def test_a_mistake_names_file_key_and_what_was_expected(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"alerts\.toml: .*{said}"):
        targets(tmp_path, text)


def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        targets(tmp_path, '[target.ops]\naddress = "xoxb-12345"\n')
    assert "12345" not in str(caught.value)


def test_quiet_hours_cross_midnight_and_the_change_of_the_clock(tmp_path: Path) -> None:
    ops = targets(tmp_path, OPS + 'quiet = "22:00-07:00"\nzone = "America/Chicago"\n').targets["ops"]
    assert ops.quiet_until(at("2026-03-07T21:59")) is None
    assert ops.quiet_until(at("2026-03-07T22:00")) == at("2026-03-08T07:00")
    assert ops.quiet_until(at("2026-03-08T06:59")) == at("2026-03-08T07:00")
    assert ops.quiet_until(at("2026-03-08T07:00")) is None
    # That night lost an hour: nine hours of the wall clock are eight.
    assert at("2026-03-08T07:00") - at("2026-03-07T22:00") == timedelta(hours=8)


def test_quiet_hours_within_a_day(tmp_path: Path) -> None:
    ops = targets(tmp_path, OPS + 'quiet = "12:00-13:30"\nzone = "America/Chicago"\n').targets["ops"]
    assert ops.quiet_until(at("2026-05-01T12:30")) == at("2026-05-01T13:30")
    assert ops.quiet_until(at("2026-05-01T13:30")) is None
    assert ops.next_digest(at("2026-05-01T13:30")) == at("2026-05-02T13:30")


def test_the_turn_changes_at_the_same_local_time_all_year(tmp_path: Path) -> None:
    text = (
        OPS
        + LEAD
        + '[rota.duty]\npeople = ["ops", "lead"]\nstart = 2026-03-02T09:00:00\nzone = "America/Chicago"\n'
    )
    duty = targets(tmp_path, text).rotas["duty"]
    assert duty.on_duty(at("2026-03-02T08:59")) == "lead"  # before the start, backwards
    assert duty.on_duty(at("2026-03-02T09:00")) == "ops"
    assert duty.on_duty(at("2026-03-09T08:59")) == "ops"  # the clock has gone forward on the 8th
    assert duty.on_duty(at("2026-03-09T09:00")) == "lead"
    assert duty.on_duty(at("2026-11-02T08:59")) == "ops"  # and back on November 1
    assert duty.on_duty(at("2026-11-02T09:00")) == "lead"


def test_a_turn_that_changes_in_the_hour_that_comes_twice_changes_once(tmp_path: Path) -> None:
    text = (
        OPS
        + LEAD
        + '[rota.duty]\npeople = ["ops", "lead"]\nturn = "day"\nstart = 2026-10-31T01:30:00\nzone = "America/Chicago"\n'
    )
    duty = targets(tmp_path, text).rotas["duty"]
    moment, seen = at("2026-11-01T00:00"), []
    while moment < at("2026-11-01T04:00"):
        seen.append(duty.on_duty(moment))
        moment += timedelta(minutes=10)
    assert seen == ["ops"] * 9 + ["lead"] * (len(seen) - 9)


def test_a_rota_means_who_is_on_call(tmp_path: Path) -> None:
    text = OPS + LEAD + '[rota.duty]\npeople = ["ops", "lead"]\nturn = "day"\nstart = 2026-03-01T00:00:00\n'
    found = targets(tmp_path, text)
    day = datetime(2026, 3, 2, 5, tzinfo=UTC)
    assert found.resolve(["duty", "ops"], day) == {"lead": "on call: duty", "ops": ""}
    assert found.names() == ["ops", "lead", "duty"]
