"""Every route of the real application: closed to all but those whose role, scope and brands open it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from hark import settings
from hark.console import access
from hark.console.app import create_app
from hark.console.center import Center, Sight, within
from hark.query import parse
from hark.state.people import ROLES, SCOPES, SHORTEST_PASSWORD
from hark.wiring import console_of

PASSWORD = "x" * SHORTEST_PASSWORD
REFUSED = (401, 403)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    loaded = settings.load(None, tmp_path_factory.mktemp("access"))
    with console_of(loaded) as center:
        for role in ROLES:
            center.people.add(role, role, PASSWORD, ["delta"] if role == "partner" else [])
        yield center


@pytest.fixture(scope="module")
def app(parts: Center) -> FastAPI:
    app = create_app(parts)
    stray = APIRouter()

    @stray.get("/stray")
    def nobody_said_who_may() -> str:
        return "open"

    app.router.routes.extend(stray.routes)
    return app


@pytest.fixture(scope="module")
def browsers(app: FastAPI, parts: Center) -> dict[str, TestClient]:
    """A signed-in client a role, without going through the form; X-CSRF is set."""
    found = {}
    for role in ROLES:
        token = parts.people.begin_session(role, 1.0)
        client = TestClient(app, base_url="http://localhost", follow_redirects=False)
        client.cookies.set("hark", token)
        client.headers["X-CSRF"] = access.csrf_of(token)
        found[role] = client
    return found


def routes(app: FastAPI) -> list[tuple[str, str, str | None]]:
    """Return (method, path, permission) of every route but the public ones; parameters are filled with words."""
    found = []
    for route in app.routes:
        if getattr(route, "path", None) in access.PUBLIC:
            continue
        assert isinstance(route, APIRoute), f"{route}: only plain routes can be guarded"
        path = route.path
        for name in route.param_convertors:
            path = (
                path.replace("{" + name + "}", "1")
                .replace("{" + name + ":path}", "1")
                .replace("{" + name + ":int}", "1")
            )
        found += [(method, path, access.permission_of(route)) for method in sorted(route.methods)]
    return found


def asked(client: TestClient, method: str, path: str) -> int:
    """Return the status, without waiting for the end of a stream."""
    with client.stream(method, path) as answer:
        return answer.status_code


def test_every_route_names_a_permission(app: FastAPI) -> None:
    assert [path for _, path, permission in routes(app) if permission is None] == ["/stray"]


def test_nothing_but_the_public_routes_answers_who_is_not_signed_in(app: FastAPI) -> None:
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    for method, path, _ in routes(app):
        status = asked(client, method, path)
        led_to_sign_in = status == 303 and method == "GET"
        assert status in REFUSED or led_to_sign_in, (method, path, status)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_refused_exactly_where_it_lacks_the_permission(
    role: str, app: FastAPI, browsers: dict[str, TestClient]
) -> None:
    for method, path, permission in routes(app):
        if permission in access.ROLES[role]:
            assert permission is not None
            if method == "GET" and "stream" not in path:
                assert asked(browsers[role], method, path) not in REFUSED, (method, path)
        else:
            assert asked(browsers[role], method, path) == 403, (method, path)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_is_refused_exactly_where_its_scope_lacks_the_permission(
    scope: str, app: FastAPI, parts: Center
) -> None:
    _, secret = parts.people.make_key(scope, "admin", [scope])
    client = key_client(app, secret)
    for method, path, permission in routes(app):
        if permission in access.SCOPES[scope]:
            if method == "GET" and "stream" not in path:
                assert asked(client, method, path) not in REFUSED, (method, path)
        else:
            assert asked(client, method, path) == 403, (method, path)


@pytest.mark.parametrize("role", ROLES)
def test_a_key_never_does_more_than_its_owner(role: str, app: FastAPI, parts: Center) -> None:
    _, secret = parts.people.make_key("all", role, ["admin"], ["delta"] if role == "partner" else [])
    client = key_client(app, secret)
    for method, path, permission in routes(app):
        if permission not in access.ROLES[role] - {"account"}:
            assert asked(client, method, path) == 403, (method, path)


def test_a_key_stops_when_it_is_revoked_and_when_its_owner_is_shut_out(app: FastAPI, parts: Center) -> None:
    key, secret = parts.people.make_key("once", "agent", ["read:mentions"])
    client = key_client(app, secret)
    assert client.get("/api/v1/me").status_code == 200
    parts.people.change("agent", disabled=True, by="test")
    assert client.get("/api/v1/me").status_code == 401
    parts.people.change("agent", disabled=False, by="test")
    assert client.get("/api/v1/me").status_code == 200
    parts.people.revoke_key(key.id, "test")
    assert client.get("/api/v1/me").status_code == 401


def test_what_changes_something_needs_the_token_of_the_session(
    app: FastAPI, browsers: dict[str, TestClient], parts: Center
) -> None:
    token = parts.people.begin_session("lead", 1.0)
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.cookies.set("hark", token)
    for method, path, _ in routes(app):
        if method not in ("GET", "HEAD", "OPTIONS"):
            assert asked(client, method, path) == 403, (method, path)
    assert client.get("/api/v1/me").status_code == 200
    assert client.post("/logout", data={"csrf": access.csrf_of("another")}).status_code == 403
    assert client.post("/logout", data={"csrf": access.csrf_of(token)}).status_code == 303
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_request_that_comes_from_another_site_changes_nothing(
    headers: dict[str, str], browsers: dict[str, TestClient]
) -> None:
    assert browsers["lead"].post("/logout", headers=headers).status_code == 403
    assert browsers["lead"].post("/login", headers=headers, data={"name": "x"}).status_code == 403
    assert browsers["lead"].get("/api/v1/me").status_code == 200


def test_another_host_name_is_not_answered(app: FastAPI) -> None:
    for host in ("evil.example", "localhost.evil.example", "", "127.0.0.2"):
        answer = TestClient(app, base_url="http://localhost").get("/login", headers={"Host": host})
        assert answer.status_code == 400, host
        assert "hosts" in answer.text


def test_a_session_ends_when_its_time_is_over(app: FastAPI, parts: Center) -> None:
    token = parts.people.begin_session("agent", -0.001)
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.cookies.set("hark", token)
    assert client.get("/api/v1/me").status_code == 401


def test_too_many_requests_of_one_session_are_told_when_to_come_back(parts: Center, app: FastAPI) -> None:
    _, secret = parts.people.make_key("busy", "agent", ["read:mentions"])
    client = key_client(app, secret)
    most = parts.settings.center.console.requests_per_minute
    codes = [client.get("/api/v1/me").status_code for _ in range(most + 1)]
    assert codes == [200] * most + [429]
    assert 1 <= int(client.get("/api/v1/me").headers["Retry-After"]) <= 60
    _, other = parts.people.make_key("calm", "agent", ["read:mentions"])
    assert key_client(app, other).get("/api/v1/me").status_code == 200


def test_every_answer_has_the_headers_that_keep_a_page_to_itself(
    app: FastAPI, browsers: dict[str, TestClient]
) -> None:
    for path in ("/login", "/feed", "/static/hark.css", "/api/v1/me", "/nothing", "/healthz"):
        answer = browsers["agent"].get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer.headers["Cache-Control"] or path.startswith("/static")


def test_the_cookie_is_bound_to_this_host_where_the_connection_is_encrypted(app: FastAPI) -> None:
    form = {"name": "analyst", "password": PASSWORD}
    for scheme, name in (("http", "hark="), ("https", "__Host-hark=")):
        client = TestClient(app, base_url=f"{scheme}://localhost", follow_redirects=False)
        cookie = client.post("/login", data=form).headers["Set-Cookie"]
        assert cookie.startswith(name)
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert ("Secure" in cookie) == (scheme == "https")


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/feed?q=a", "/feed?q=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_this_console_alone(wanted: str, led: str, app: FastAPI) -> None:
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    answer = client.post("/login", data={"name": "operations", "password": PASSWORD, "next": wanted})
    assert answer.headers["Location"] == led


def test_sign_ins_good_and_bad_are_in_the_audit_log(app: FastAPI, parts: Center) -> None:
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.post("/login", data={"name": "partner", "password": "wrong"})
    client.post("/login", data={"name": "partner", "password": PASSWORD})
    newest = [(entry.person, entry.action) for entry in parts.people.audit(limit=2)]
    assert newest == [("partner", "signed in"), ("partner", "sign-in failed")]


def test_secrets_are_not_kept_as_they_are(parts: Center) -> None:
    _, secret = parts.people.make_key("kept", "agent", ["read:mentions"])
    token = parts.people.begin_session("agent", 1.0)
    files = [path.read_bytes() for path in Path(parts.settings.data).glob("state.db*")]
    for text in (secret, token, PASSWORD):
        assert not any(text.encode() in content for content in files)


def test_a_partner_reaches_the_store_by_nothing_but_methods_that_narrow() -> None:
    reading = {"search", "sample", "count", "histogram", "top", "get", "many", "as_of"}
    assert {name for name in vars(Sight) if not name.startswith("_")} == reading


def test_a_query_is_narrowed_to_brands_whatever_it_says(parts: Center) -> None:
    for text in ("", "a OR b", "NOT brand:delta", "brand:united", "brand:united OR brand:delta"):
        query = within(parse(text), ("delta",))
        assert str(query.root).startswith("And(children=(Field(name='brand', operator='=', value='delta'),")
    assert parts.whole_store.count(within(parse(""), ())) == 0


def key_client(app: FastAPI, secret: str) -> TestClient:
    client = TestClient(app, base_url="http://localhost", follow_redirects=False)
    client.headers["Authorization"] = f"Bearer {secret}"
    return client


def test_a_key_sees_the_brands_of_its_owner_and_of_its_own_limit_alone(app: FastAPI, parts: Center) -> None:
    for owner, limit, seen in (
        ("partner", (), ["delta"]),
        ("partner", ("delta",), ["delta"]),
        ("agent", ("united",), ["united"]),
        ("agent", (), None),
    ):
        _, secret = parts.people.make_key("seen", owner, ["read:mentions"], limit)
        assert key_client(app, secret).get("/api/v1/me").json()["brands"] == seen
    _, secret = parts.people.make_key("seen", "partner", ["read:mentions"], ["delta"])
    parts.people.change("partner", brands=["united"], by="test")
    assert key_client(app, secret).get("/api/v1/me").json()["brands"] == []
    parts.people.change("partner", brands=["delta"], by="test")
