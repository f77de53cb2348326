"""Which Kafka it is, and how it lets us in: TLS and a login, the same for both clients."""

import os
from pathlib import Path

from msgspec import Struct

from hark.bus.rules import REQUEST_SECONDS, check_hosts
from hark.core.errors import SettingsError
from hark.settings import LogSettings

USERNAME, PASSWORD = "HARK_KAFKA_USERNAME", "HARK_KAFKA_PASSWORD"
UNTRUSTED = "its certificate is not trusted: name the file of its authority in hark.toml, [log] ca_certs"
_LOOK = f"check {USERNAME}, {PASSWORD}, and in hark.toml [log] mechanism"
NO_LOGIN = f"it refuses the login: {_LOOK}"
BROKEN_LOGIN = f"it ends the connection, perhaps over the login: {_LOOK}"


class Login(Struct, frozen=True):
    """Who we are; the password is never part of what is printed."""

    mechanism: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.mechanism}, {self.username!r})"


class Cluster(Struct, frozen=True):
    """An address kafka[+confluent][+ssl]://host:port,…, with what hark.toml and the environment add."""

    hosts: str
    log: LogSettings
    tls: bool = False
    login: Login | None = None

    @property
    def protocol(self) -> str:
        """Kafka's own name of how its listener is spoken to."""
        return "SASL_SSL" if self.login else "SSL" if self.tls else "PLAINTEXT"

    @property
    def first_answer_seconds(self) -> int:
        """How long to wait for the first answer: both clients go on trying after a refusal, and say it only then."""
        return 4 if self.tls else REQUEST_SECONDS


def cluster_of(address: str, log: LogSettings) -> Cluster:
    """Take an address apart and add the login from the environment; SettingsError says what does not fit."""
    scheme, _, hosts = address.partition("://")
    check_hosts(scheme, hosts)
    tls = scheme.endswith("+ssl")
    if log.ca_certs and not Path(log.ca_certs).is_file():
        raise SettingsError(f"hark.toml: log.ca_certs: no file {log.ca_certs}")
    username, password = os.environ.get(USERNAME), os.environ.get(PASSWORD)
    if not username and not password:
        return Cluster(hosts, log, tls)
    if not (username and password):
        raise SettingsError(f"bus: of {USERNAME} and {PASSWORD} only one is set")
    if not tls:
        raise SettingsError(
            f"bus: {USERNAME} is set, and {scheme}:// would send the login in the clear: write {scheme}+ssl://"
        )
    return Cluster(hosts, log, tls, Login(log.mechanism, username, password))


def refusal_in(text: str) -> str | None:
    """Return what a user can mend, of what a client says of a failed connection; None: it may pass."""
    lowered = text.lower()
    if "certificate verify failed" in lowered or "certificate_verify_failed" in lowered:
        return UNTRUSTED
    if "authentication fail" in lowered or "saslauthenticationfailed" in lowered:
        return NO_LOGIN
    return None
