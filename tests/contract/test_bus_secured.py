"""The log on a real Kafka that wants TLS and a login, through both clients; and what is said when it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hark.bus import open_bus
from hark.bus.cluster import PASSWORD, USERNAME, Login
from hark.core.change import TOPICS
from hark.core.errors import SettingsError, TransientError
from hark.settings import LogSettings, load
from tests.contract.bus_contract import messages, take, values
from tests.support.center import Center
from tests.support.servers import SecureKafkaServer

SCHEMES = ["kafka+ssl", "kafka+confluent+ssl"]


@pytest.fixture(scope="module")
def server() -> Iterator[SecureKafkaServer]:
    server = SecureKafkaServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERNAME, SecureKafkaServer.user)
    monkeypatch.setenv(PASSWORD, SecureKafkaServer.password)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_what_is_published_comes_to_a_group_and_is_committed(
    server: SecureKafkaServer, tmp_path: Path, scheme: str, mechanism: str
) -> None:
    log = LogSettings(ca_certs=str(server.certificate), mechanism=mechanism)  # type: ignore[arg-type]
    topic = f"{scheme}-{mechanism}".replace("+", "-")
    bus = open_bus(f"{scheme}://{server.secure_url}", tmp_path, log)
    bus.publish(topic, messages(20))
    subscription = bus.subscribe(topic, topic)
    assert sorted(values(take(subscription, 20))) == list(range(20))
    subscription.commit()
    assert bus.committed(topic, topic) == bus.ends(topic)
    assert sorted(values(bus.read(topic))) == list(range(20))
    subscription.close()
    bus.close()


def test_a_wrong_password_is_said_and_not_shown(
    server: SecureKafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "not-the-right-one")
    bus = open_bus(
        f"kafka+ssl://{server.secure_url}", tmp_path, LogSettings(ca_certs=str(server.certificate))
    )
    # kafka-python may see the end of the connection before the reason for it
    with pytest.raises(
        (SettingsError, TransientError), match=f"the login.* check {USERNAME}, {PASSWORD}"
    ) as caught:
        bus.ends(TOPICS[0])
    assert "not-the-right-one" not in repr(caught.value)
    bus.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_certificate_of_an_unknown_authority_is_said(
    server: SecureKafkaServer, tmp_path: Path, scheme: str
) -> None:
    bus = open_bus(f"{scheme}://{server.secure_url}", tmp_path)
    with pytest.raises(SettingsError, match="not trusted: name the file of its authority"):
        bus.ends(TOPICS[0])
    bus.close()


def test_check_and_a_role_say_what_is_wrong_without_the_password(
    server: SecureKafkaServer, tmp_path: Path
) -> None:
    environment = {USERNAME: server.user, PASSWORD: "not-the-right-one"}
    center = Center(tmp_path, HARK_BUS=f"kafka+confluent+ssl://{server.secure_url}", **environment)
    center.run("init", str(tmp_path / "config"))
    center.config = tmp_path / "config"
    file = center.config / "hark.toml"
    file.write_text(file.read_text().replace('ca_certs = ""', f'ca_certs = "{server.certificate}"'))
    said = center.run("check", "--json", expect=1).stdout.decode()
    (finding,) = [found for found in map(json.loads, said.splitlines()) if found["part"] == "log"]
    assert (finding["condition"], "refuses the login" in finding["text"]) == ("wrong", True)
    role = center.run("index", expect=2)
    assert "refuses the login" in role.stderr.decode()
    assert "not-the-right-one" not in said + role.stderr.decode() + role.stdout.decode()


def test_a_login_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write kafka\+ssl://"):
        open_bus("kafka://127.0.0.1:9092", tmp_path)


def test_half_a_login_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(SettingsError, match="only one is set"):
        open_bus("kafka+ssl://127.0.0.1:9093", tmp_path)


def test_a_file_of_certificates_is_looked_for_beside_hark_toml(tmp_path: Path) -> None:
    Center(tmp_path).run("init", str(tmp_path / "config"))
    file = tmp_path / "config" / "hark.toml"
    file.write_text(file.read_text().replace('ca_certs = ""', 'ca_certs = "ca.pem"'))
    settings = load(tmp_path / "config")
    assert settings.center.log.ca_certs == str(tmp_path / "config" / "ca.pem")
    with pytest.raises(SettingsError, match=r"log\.ca_certs: no file .*ca\.pem"):
        open_bus("kafka+ssl://127.0.0.1:9093", tmp_path, settings.center.log)


def test_a_login_is_printed_without_its_password() -> None:
    assert "s3cret" not in repr(Login("PLAIN", "ana", "s3cret"))
