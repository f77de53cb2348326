"""One message to one target, over real sockets: taken, or a reason in plain words without secrets."""

import hmac
import json
import socket
from datetime import UTC, datetime, time, timedelta
from email import message_from_string
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hark.alerts.deliver import Message, check_target, deliver, ping
from hark.alerts.targets import TOLD, Target
from hark.core.errors import SettingsError, TransientError
from tests.support.receivers import mail_receiver, web_receiver

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def target(address: str, secret: str = "", name: str = "ops") -> Target:
    return Target(
        name,
        address,
        secret,
        ZoneInfo("UTC"),
        None,
        8,
        time(8),
        "",
        timedelta(minutes=15),
        frozenset(TOLD),
        None,
    )


def message(**fields: Any) -> Message:
    given: dict[str, Any] = {
        "key": "k3.1.ops",
        "thread": "k3",
        "first": True,
        "subject": "Spike: delta [k3]",
        "title": "Spike: delta, severity 5 [k3]",
        "body": "Forty complaints.",
        "severity": 5,
        "payload": {"id": "k3.1.ops", "text": "Forty complaints."},
    }
    return Message(**(given | fields))


def sent(to: Target, what: Message, folder: Path, seconds: float = 5.0) -> None:
    deliver(to, what, folder, lambda: NOON, seconds)


def test_a_file_gets_a_line_for_each_message(tmp_path: Path) -> None:
    for _ in range(2):
        sent(target("file:told/alerts.jsonl"), message(), tmp_path)
    lines = (tmp_path / "told" / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["k3.1.ops", "k3.1.ops"]


def test_a_file_that_cannot_be_written_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "alerts").mkdir()
    with pytest.raises(TransientError, match="cannot be written: Is a directory"):
        sent(target("file:alerts"), message(), tmp_path)


def test_a_webhook_is_signed_as_the_documentation_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a-long-secret")
    with web_receiver() as web:
        sent(target(f"webhook+{web.url}/hook?a=b", "${HOOK_SECRET}"), message(), tmp_path)
        ((path, headers, body),) = web.posts
    assert (path, headers["Hark-Key"]) == ("/hook?a=b", "k3.1.ops")
    stamp, _, given = headers["Hark-Signature"].partition(",")
    assert stamp == f"t={int(NOON.timestamp())}"
    expected = hmac.new(b"a-long-secret", stamp[2:].encode() + b"." + body, sha256).hexdigest()
    assert given == f"v1={expected}"
    assert json.loads(body)["text"] == "Forty complaints."


@pytest.mark.parametrize(
    ("status", "headers", "said", "wait"),
    [
        (500, {}, "answers 500 Internal Server Error", None),
        (429, {"Retry-After": "90"}, "answers 429", 90.0),
        (503, {"Retry-After": "Sun, 01 Mar 2026 12:02:00 GMT"}, "answers 503", 120.0),
        (503, {"Retry-After": "soon"}, "answers 503", None),
        (503, {"Retry-After": "999999999"}, "answers 503", 86_400.0),
        (302, {"Location": "http://127.0.0.1:1/"}, "answers 302: redirects are not followed", None),
    ],
)
def test_a_webhook_that_does_not_take_it_is_told_why_and_for_how_long(
    tmp_path: Path, status: int, headers: dict[str, str], said: str, wait: float | None
) -> None:
    with web_receiver() as web:
        web.status, web.headers = status, headers
        with pytest.raises(TransientError, match=said) as caught:
            sent(target(f"webhook+{web.url}", "s"), message(), tmp_path)
        assert len(web.posts) == 1
    assert caught.value.wait_seconds == wait


@pytest.mark.timeout(60)  # the receiver hangs or drips until it is closed: who waits for it does not end
@pytest.mark.parametrize("status", [0, -1])
@pytest.mark.parametrize("scheme", ["webhook+http", "json"])
def test_a_target_that_hangs_or_drips_costs_no_more_than_its_time(
    tmp_path: Path, status: int, scheme: str
) -> None:
    with web_receiver() as web:
        web.status = status
        to = target(f"{scheme}://127.0.0.1:{web.port}/", "s" if scheme.startswith("w") else "")
        with pytest.raises(TransientError, match="no answer within"):
            sent(to, message(), tmp_path, seconds=0.5)


def test_a_server_that_is_gone_is_told_without_the_secrets_of_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("TOKEN", "tok+en1234567")
    for scheme, secret in (("webhook+http", "${TOKEN}"), ("json", "")):
        to = target(f"{scheme}://someone:${{TOKEN}}@127.0.0.1:{port}/a-literal-token", secret)
        with pytest.raises(TransientError) as caught:
            sent(to, message(), tmp_path)
        assert "127.0.0.1" in str(caught.value) or "reached" in str(caught.value)
        for hidden in ("1234567", "a-literal-token", "tok+en", "tok%2Ben"):
            assert hidden not in str(caught.value)


def test_a_service_of_apprise_is_told_and_its_refusal_has_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with web_receiver() as web:
        to = target(f"json://127.0.0.1:{web.port}/secret-token")
        sent(to, message(body="He said @everyone and <!channel>"), tmp_path)
        _, headers, body = web.posts[0]
        assert headers["Hark-Key"] == "k3.1.ops"
        told = json.loads(body)
        assert (told["title"], told["type"]) == ("Spike: delta, severity 5 [k3]", "warning")
        assert "@everyone" not in told["message"]
        assert "<!channel>" not in told["message"]
        web.status = 500
        with pytest.raises(TransientError, match=r"Internal server error.*500"):
            sent(to, message(), tmp_path)
    assert "secret-token" not in "".join(capfd.readouterr())


def test_mails_of_one_incident_are_one_thread(tmp_path: Path) -> None:
    with mail_receiver() as post:
        to = target(f"mailto://127.0.0.1:{post.port}?from=hark@example.com&to=ops@example.com&mode=insecure")
        sent(to, message(), tmp_path)
        sent(to, message(key="k3.2.ops", first=False, title="Over: Spike [k3]", severity=0), tmp_path)
    first, second = map(message_from_string, post.mails)
    assert first["References"] == second["References"] == second["In-Reply-To"] != ""
    assert second["Subject"] == f"Re: {first['Subject']}"
    assert "[k3]" in str(first["Subject"])
    assert (first["Hark-Key"], second["Hark-Key"]) == ("k3.1.ops", "k3.2.ops")
    assert first.get_all("Message-ID") is not None
    assert len(first.get_all("Message-ID") or []) == 1


def test_an_address_of_several_recipients_or_of_nothing_known_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected one recipient, found 2"):
        check_target(target("mailto://u:p@example.com?to=a@example.com,b@example.com"))
    with pytest.raises(SettingsError, match="can make nothing of its nosuch:// address"):
        check_target(target("nosuch://secret-token/"))
    with pytest.raises(SettingsError, match="environment variable HARK_NO_SUCH is not set"):
        check_target(target("json://host/${HARK_NO_SUCH}"))
    assert check_target(target("json://host/")) == "JSON"


def test_a_heartbeat_fetches_its_address(tmp_path: Path) -> None:
    with web_receiver() as web:
        ping(target(f"{web.url}/beat"), tmp_path)
        assert [path for path, _, _ in web.posts] == ["/beat"]
        web.status = 500
        with pytest.raises(TransientError, match="answers 500"):
            ping(target(f"{web.url}/beat"), tmp_path)
    ping(target("file:beats.jsonl"), tmp_path, lambda: NOON)
    assert json.loads((tmp_path / "beats.jsonl").read_text())["type"] == "heartbeat"
