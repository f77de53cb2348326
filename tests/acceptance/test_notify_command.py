"""`hark notify` as people run it: the role sends what is in the outbox, survives a kill, and tells what it did."""

import json
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hark.alerts.events import IncidentEvent
from hark.alerts.outbox import enqueuer
from hark.alerts.targets import load_targets
from hark.commands.check import target_findings
from hark.settings import SHIPPED, load
from hark.state import open_state
from tests.support.center import Center, wait_for
from tests.support.receivers import web_receiver
from tests.support.servers import free_ports

TARGETS = """
[target.file]
address = "file:alerts.jsonl"

[target.hook]
address = "webhook+http://127.0.0.1:{port}/?token=${{HOOK_TOKEN}}"
secret = "${{HOOK_SECRET}}"
"""


@pytest.fixture
def center(tmp_path: Path) -> Center:
    center = Center(tmp_path, HOOK_TOKEN="a-hidden-token", HOOK_SECRET="a-hidden-secret")
    center.config = tmp_path / "config"
    shutil.copytree(SHIPPED, center.config, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return center


def happens(center: Center, incident: str) -> None:
    assert center.config is not None
    event = IncidentEvent(
        incident,
        1,
        "opened",
        datetime.now(UTC),
        "spike",
        "Spike",
        "delta",
        5,
        "Forty complaints.",
        "",
        f"/incidents/{incident}",
        ("file", "hook"),
    )
    state = open_state("embedded", center.data)
    with state.begin() as connection:
        enqueuer(load_targets(center.config))(connection, event)
    state.close()


def test_the_role_tells_targets_and_a_kill_while_one_hangs_tells_nobody_twice(center: Center) -> None:
    with web_receiver() as web:
        assert center.config is not None
        (center.config / "alerts.toml").write_text(TARGETS.format(port=web.port))
        web.status = 0
        happens(center, "k3")
        role = center.start("notify")
        told = center.data / "alerts.jsonl"
        wait_for(lambda: told.exists() and told.read_text().endswith("\n"), "the file to be told")
        assert web.wait_for(1, 30)
        role.send_signal(signal.SIGKILL)
        role.wait()
        web.status = 200
        role = center.start("notify")
        happens(center, "b2")
        wait_for(lambda: len(told.read_text().splitlines()) == 2, "the second incident in the file")
        assert web.wait_for(2, 30)
        role.send_signal(signal.SIGTERM)
        assert role.wait(10) == 0
        assert [json.loads(line)["id"] for line in told.read_text().splitlines()] == [
            "k3.1.file",
            "b2.1.file",
        ]
        # What hung when the process was killed is under its lease still; the other has arrived.
        assert [json.loads(body)["id"] for body in web.taken] == ["b2.1.hook"]
        rows = [json.loads(line) for line in center.run("notify", "list", "--json").stdout.splitlines()]
        assert {row["key"]: row["state"] for row in rows} == {
            "k3.1.file": "sent",
            "k3.1.hook": "pending",
            "b2.1.file": "sent",
            "b2.1.hook": "sent",
        }
        listed = center.run("notify", "list", "--incident", "k3").stdout.decode()
        assert "file" in listed
        assert "k3.1" in listed
        assert "b2" not in listed


@pytest.mark.parametrize(
    ("said", "links"),
    [("", "http://127.0.0.1:{port}/"), ('console = "https://hark.example/"\n', "https://hark.example/")],
)
def test_links_lead_to_where_the_center_listens_or_to_where_the_settings_say(
    center: Center, said: str, links: str
) -> None:
    assert center.config is not None
    (center.config / "alerts.toml").write_text(said + '[target.file]\naddress = "file:alerts.jsonl"\n')
    (port,) = free_ports(1)
    up = center.start("up", "--port", str(port))
    told = center.data / "alerts.jsonl"
    try:
        happens(center, "k3")
        wait_for(lambda: told.exists() and told.read_text().endswith("\n"), "the file to be told")
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    assert json.loads(told.read_text())["url"] == links.format(port=port) + "incidents/k3"


def test_a_target_can_be_tried_and_checked_and_no_secret_is_shown(center: Center) -> None:
    with web_receiver() as web:
        assert center.config is not None
        (center.config / "alerts.toml").write_text(TARGETS.format(port=web.port))
        done = center.run("notify", "test", "hook")
        assert b"hook (webhook+http) was told" in done.stdout
        assert json.loads(web.posts[0][2])["type"] == "test"
        assert web.posts[0][0] == "/?token=a-hidden-token"
        web.status = 500
        refused = center.run("notify", "test", "hook", expect=1)
        assert b"target hook was not told: answers 500" in refused.stderr
        for finished in (done, refused):
            assert b"a-hidden" not in finished.stdout + finished.stderr
        assert b"there are: file, hook" in center.run("notify", "test", "nobody", expect=2).stderr


def test_hark_check_looks_at_each_target_and_sends_nothing(
    center: Center, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_receiver() as web:
        assert center.config is not None
        (center.config / "ops.txt").write_text("{{ seires }}")
        text = TARGETS.format(port=web.port) + 'quiet = "22:00-07:00"\nescalate_to = "file"\n'
        text += '[target.odd]\naddress = "file:x"\ntemplate = "ops.txt"\n'
        text += '[rota.duty]\npeople = ["hook"]\nstart = 2026-01-01T09:00:00\n'
        (center.config / "alerts.toml").write_text(text)
        monkeypatch.setenv("HOOK_TOKEN", "a-hidden-token")
        monkeypatch.delenv("HOOK_SECRET", raising=False)
        found = {part: (condition, said) for part, condition, said in target_findings(load(center.config))}
        assert found["target hook"] == (
            "wrong",
            "target hook: the environment variable HOOK_SECRET is not set",
        )
        monkeypatch.setenv("HOOK_SECRET", "a-hidden-secret")
        found = {part: (condition, said) for part, condition, said in target_findings(load(center.config))}
        assert found["target hook"] == (
            "ok",
            "signed webhook, quiet from 22:00 to 07:00 UTC below severity 8, then file after 15 minutes; "
            "`hark notify test hook` tries it",
        )
        assert found["target odd"][0] == "wrong"
        assert "'seires' is undefined" in found["target odd"][1]
        assert found["rota duty"] == ("ok", "on call now: hook")
        assert web.posts == []
