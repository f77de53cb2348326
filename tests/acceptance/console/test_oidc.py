"""Signing in at another place, by OpenID Connect, against a real provider on loopback."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey

from hark import settings
from hark.console.app import create_app
from hark.console.center import Center
from hark.console.oidc import Provider
from hark.core.errors import SettingsError, TransientError
from hark.settings import OidcSettings
from hark.wiring import console_of
from tests.support.oidc_server import CLIENT, SECRET, OidcServer


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    server = OidcServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def center(server: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    loaded = settings.load(None, tmp_path_factory.mktemp("oidc"))
    roles = {"chiefs": "lead", "listeners": "agent"}
    oidc = OidcSettings(server.issuer, CLIENT, SECRET, roles=roles)
    console = msgspec.structs.replace(loaded.center.console, oidc=oidc)
    parts = msgspec.structs.replace(loaded.center, console=console)
    with console_of(msgspec.structs.replace(loaded, center=parts)) as center:
        yield center


@pytest.fixture(scope="module")
def app(center: Center) -> FastAPI:
    return create_app(center)


@pytest.fixture
def provider(server: OidcServer) -> OidcServer:
    """The provider, which signs in somebody new, of group `listeners`."""
    name = f"zoe-{secrets.token_hex(4)}"
    server.claims = {"sub": name, "preferred_username": name, "groups": ["listeners"]}
    server.spoil, server.signed_by = {}, server.key
    return server


@pytest.fixture
def name(provider: OidcServer) -> str:
    return str(provider.claims["sub"])


@pytest.fixture
def browser(app: FastAPI, provider: OidcServer) -> TestClient:
    return TestClient(app, base_url="http://localhost", follow_redirects=False)


def sign_in(browser: TestClient, wanted: str = "/feed") -> Any:
    """Go the whole way round and return the answer to the browser that comes back."""
    begun = browser.get("/login/oidc", params={"next": wanted})
    assert begun.status_code == 303
    sent_back = httpx2.get(begun.headers["Location"])
    return browser.get(sent_back.headers["Location"])


def test_who_is_known_elsewhere_is_signed_in_with_the_role_of_their_group(
    browser: TestClient, provider: OidcServer, center: Center, name: str
) -> None:
    answer = sign_in(browser, "/feed?q=bags")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/feed?q=bags")
    assert browser.get("/api/v1/me").json()["role"] == "agent"
    assert center.people.get(name).has_password is False
    provider.claims["groups"] = ["others", "chiefs"]
    provider.claims["preferred_username"] = "renamed"
    sign_in(browser)
    assert browser.get("/api/v1/me").json() | {"permissions": []} == {
        "name": name,
        "role": "lead",
        "permissions": [],
        "brands": None,
    }
    assert center.people.check(name, "") is None


def test_who_has_no_group_or_is_switched_off_is_not_let_in(
    browser: TestClient, provider: OidcServer, center: Center, name: str
) -> None:
    provider.claims["groups"] = ["others"]
    answer = sign_in(browser)
    assert answer.status_code == 401
    assert "has no role here" in answer.text
    provider.claims["groups"] = "listeners"
    assert sign_in(browser).status_code == 303
    center.people.change(name, disabled=True, by="test")
    assert "switched off" in sign_in(browser).text
    assert browser.get("/api/v1/me").status_code == 401


def test_a_name_that_is_taken_is_not_taken_over(browser: TestClient, center: Center, name: str) -> None:
    center.people.add(name, "admin", "a password of zoe's")
    answer = sign_in(browser)
    assert answer.status_code == 400
    assert "already" in answer.text
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"iat": 99_999_999_999},
        {"sub": None},
    ],
    ids=str,
)
def test_an_identity_that_does_not_hold_is_refused(
    spoil: dict[str, Any], browser: TestClient, provider: OidcServer, center: Center
) -> None:
    provider.spoil = spoil
    assert sign_in(browser).status_code == 401
    assert center.people.find(str(provider.claims["sub"])) is None


def test_an_identity_signed_by_another_key_is_refused(browser: TestClient, provider: OidcServer) -> None:
    provider.signed_by = RSAKey.generate_key(2048, parameters={"kid": "one"})
    assert sign_in(browser).status_code == 401


def test_an_answer_to_another_sign_in_is_refused(browser: TestClient, app: FastAPI) -> None:
    mine = browser.get("/login/oidc")
    other = TestClient(app, base_url="http://localhost", follow_redirects=False)
    theirs = other.get("/login/oidc")
    sent_back = httpx2.get(theirs.headers["Location"]).headers["Location"]
    assert browser.get(sent_back).status_code == 401
    browser.cookies.clear()
    sent_back = httpx2.get(mine.headers["Location"]).headers["Location"]
    assert browser.get(sent_back).status_code == 401
    assert browser.get("/login/oidc/back?error=access_denied&state=x").status_code == 401


def test_a_provider_that_is_away_is_told() -> None:
    gone = OidcSettings("http://127.0.0.1:1", CLIENT, SECRET)
    with pytest.raises(TransientError, match="does not answer"):
        Provider(gone).begin("http://localhost/login/oidc/back", "/")


def test_a_provider_that_is_not_asked_over_https_is_refused() -> None:
    with pytest.raises(SettingsError, match="https"):
        Provider(OidcSettings("http://login.example", CLIENT, SECRET))


def test_without_it_the_way_is_not_there(tmp_path: Path) -> None:
    with console_of(settings.load(None, tmp_path)) as center:
        client = TestClient(create_app(center), base_url="http://localhost", follow_redirects=False)
        assert client.get("/login/oidc").status_code == 404
        assert "Sign in by" not in client.get("/login").text
