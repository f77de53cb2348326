"""The guard before every request: host, origin, who it is, what they may, the CSRF token, and the rate."""

import hmac
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hark.console.access import PUBLIC, Who, permission_of, route_of, who_of_key, who_of_session
from hark.console.center import Center
from hark.console.problems import of_error, problem
from hark.core.errors import HarkError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_FORM = 1_000_000
_UNWATCHED = frozenset({"/healthz", "/metrics"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Stop(Exception):
    """The request goes no further: this is the answer."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Guard:
    """ASGI middleware. `app` routes by `routes`; whatever is not let through never reaches it."""

    def __init__(self, app: ASGIApp, routes: FastAPI, center: Center) -> None:
        self._app = app
        self._routes = routes
        self._center = center
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(center.settings.center.console.requests_per_minute)
        self._hosts = _LOOPBACK | {host.lower() for host in center.settings.center.console.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["app"] = self._routes
        request = Request(scope, receive)
        send = _with_headers(request, send)
        try:
            receive = await self._admit(request, receive)
        except _Stop as stop:
            await stop.response(scope, receive, send)
        except HarkError as error:
            await of_error(request, error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admit(self, request: Request, receive: Receive) -> Receive:
        """Return the body to be read by the route, or raise _Stop."""
        route = route_of(self._routes.router.routes, request.scope)
        path = getattr(route, "path", None)
        request.state.who = None
        if path not in _UNWATCHED:
            self._check_host(request)
        unsafe = request.method not in SAFE
        if unsafe:
            _check_origin(request)
        if route is None or path in PUBLIC:
            return receive
        who = await self._who(request)
        if who is None:
            raise _Stop(_unknown(request))
        request.state.who = who
        permission = permission_of(route)
        if permission is None or not who.may(permission):
            raise _Stop(problem(request, 403, _denied(who, permission)))
        if unsafe and who.session is not None:
            receive = await _check_token(request, receive, who)
        name = who.session or f"key {who.key}"
        if not self._limiter.hit(self._limit, name):
            wait = self._limiter.get_window_stats(self._limit, name).reset_time
            seconds = max(1, round(wait - self._center.clock().timestamp()))
            text = f"At most {self._limit.amount} requests a minute; try again in {seconds} s."
            raise _Stop(problem(request, 429, text, {"Retry-After": str(seconds)}))
        return receive

    def _check_host(self, request: Request) -> None:
        host = urlsplit("//" + request.headers.get("host", "")).hostname or ""
        if host not in self._hosts:
            # Another name that was made to lead here is how a web page elsewhere would read this console.
            text = f"This center does not answer to {host[:100]!r}: list it in hark.toml, [console] hosts."
            raise _Stop(problem(request, 400, text))

    async def _who(self, request: Request) -> Who | None:
        address = request.client.host if request.client else ""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = await run_in_threadpool(self._center.people.key, secret.strip())
            return who_of_key(*found, address) if found else None
        token = request.cookies.get(cookie_name(request))
        if not token:
            return None
        held = await run_in_threadpool(self._center.people.session, token)
        return who_of_session(*held, token, address) if held else None


def cookie_name(request: Request) -> str:
    """Return the session cookie's name: bound to this host alone where the connection is encrypted."""
    return "__Host-hark" if request.url.scheme == "https" else "hark"


def _check_origin(request: Request) -> None:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in (None, "same-origin", "none") or (
        origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    )
    if foreign:
        raise _Stop(problem(request, 403, "This request came from another site; nothing was changed."))


async def _check_token(request: Request, receive: Receive, who: Who) -> Receive:
    """Check the CSRF token, of the header X-CSRF or the form's field `csrf`; returns the body to be read again."""
    given = request.headers.get("x-csrf", "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if not given and kind == "application/x-www-form-urlencoded":
        body = await _body(request, receive)
        try:
            given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1_000).get("csrf", [""])[0]
        except ValueError as error:
            raise _Stop(problem(request, 400, f"This form cannot be read: {error}")) from error
        receive = _again(body, receive)
    if not hmac.compare_digest(given.encode(), who.csrf.encode()):
        text = "This form is of another sign-in or has been open too long: load the page again."
        raise _Stop(problem(request, 403, text))
    return receive


async def _body(request: Request, receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_FORM:
            raise _Stop(problem(request, 413, f"A form holds at most {LARGEST_FORM:,} bytes."))
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _unknown(request: Request) -> Response:
    if request.url.path.startswith("/api/") or request.method not in SAFE:
        text = "Sign in, or send an API key as `Authorization: Bearer hark_…`."
        return problem(request, 401, text, {"WWW-Authenticate": "Bearer"})
    where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/login?" + urlencode({"next": where}), 303)


def _denied(who: Who, permission: str | None) -> str:
    if permission is None:
        return "This page names no permission, so nobody may see it."
    what = "This API key's scopes do" if who.key else f"The role {who.role} does"
    return f"{what} not include {permission!r}. Ask an administrator."


def _with_headers(request: Request, send: Send) -> Send:
    static = request.url.path.startswith("/static/")

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
        await send(message)

    return send_with_headers
