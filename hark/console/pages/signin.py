"""Signing in and out."""

import re
import threading
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from hark.console.access import Asker, allow
from hark.console.center import Center, Parts
from hark.console.guard import cookie_name
from hark.console.oidc import MINUTES, Provider
from hark.console.page import page
from hark.console.problems import problem
from hark.core.errors import RefusedError

router = APIRouter(include_in_schema=False)
_OF_ACCOUNT = RateLimitItemPerMinute(10, 5)
_OF_ADDRESS = RateLimitItemPerMinute(60, 5)
_checks = threading.Semaphore(2)  # a check takes 64 MB and a core: more at once would stop the console
ELSEWHERE = "hark_oidc"
_TOO_MANY = "Too many attempts to sign in; wait five minutes."
_WRONG = "That name and password do not go together."


@router.get("/login", name="login")
def show_login(request: Request, center: Parts, next: str = "/", ended: bool = False) -> Response:
    """Show the form; where nobody may sign in yet, say how to change that; where a session has `ended`, that."""
    return _form(request, center, next, ended=ended)


@router.post("/login")
def login(
    request: Request,
    center: Parts,
    name: str = Form("", max_length=200),
    password: str = Form("", max_length=2_000),
    next: str = Form("/", max_length=4_000),
) -> Response:
    """Check name and password and begin a session; the answer is the same for a name that does not exist."""
    address = request.client.host if request.client else ""
    name = name.strip().lower()
    attempts: MovingWindowRateLimiter = request.app.state.attempts
    of_account = attempts.hit(_OF_ACCOUNT, "account", name)
    of_address = attempts.hit(_OF_ADDRESS, "address", address)
    if not (of_account and of_address):
        return problem(request, 429, _TOO_MANY, {"Retry-After": "300"})
    with _checks:
        person = center.people.check(name, password)
    if person is None:
        center.people.note(name[:64], "sign-in failed", "", address)
        return _form(request, center, next, _WRONG, name)
    attempts.clear(_OF_ACCOUNT, "account", name)
    return begin(request, center, person.name, next)


@router.get("/login/oidc")
def begin_elsewhere(request: Request, center: Parts, next: str = "/") -> Response:
    """Lead to the provider of hark.toml to sign in there."""
    begun = _provider(request).begin(_back(request), local(next))
    response = RedirectResponse(begun.address, 303)
    secure = request.url.scheme == "https"
    response.set_cookie(
        ELSEWHERE,
        begun.cookie,
        max_age=MINUTES * 60,
        path="/login",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/login/oidc/back")
def come_back(request: Request, center: Parts, code: str = "", state: str = "", error: str = "") -> Response:
    """Begin a session for whom the provider sent back."""
    provider, address = _provider(request), request.client.host if request.client else ""
    if not request.app.state.attempts.hit(_OF_ADDRESS, "address", address):
        return problem(request, 429, _TOO_MANY, {"Retry-After": "300"})
    try:
        if error or not code:
            raise RefusedError(f"You were not signed in: {error[:100] or 'no code came back'}")
        claims, wanted = provider.finish(request.cookies.get(ELSEWHERE, ""), code, state, _back(request))
        person = provider.person(claims, center.people)
    except RefusedError as refused:
        center.people.note("", "sign-in failed", str(refused), address)
        response = _form(request, center, "/", str(refused))
    else:
        response = begin(request, center, person.name, wanted)
    response.delete_cookie(ELSEWHERE, path="/login")
    return response


@router.post("/logout", dependencies=[allow("self")])
def logout(request: Request, center: Parts, who: Asker) -> Response:
    """End this session."""
    if who.session:
        center.people.end_session(who.session, who.name)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(cookie_name(request), path="/", secure=request.url.scheme == "https")
    return response


@router.get("/", dependencies=[allow("self")])
def home() -> Response:
    """Lead to the feed: the screen that everybody has."""
    return RedirectResponse("/feed", 303)


def begin(request: Request, center: Center, name: str, next: str) -> Response:
    """Begin a session of `name` and lead to `next`, if that is a page of this console."""
    hours = center.settings.center.console.session_hours
    address = request.client.host if request.client else ""
    token = center.people.begin_session(name, hours, address, request.headers.get("user-agent", ""))
    response = RedirectResponse(local(next), 303)
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=int(hours * 3600),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def local(path: str) -> str:
    """Return `path` if it is one of this console, else its front page."""
    return path if re.fullmatch(r"/(?![/\\])[^\x00-\x20\\]*", path) and not path.startswith("/login") else "/"


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise HTTPException(404, "Signing in elsewhere is not set up: hark.toml has no [console.oidc].")
    return provider


def _back(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/login/oidc/back"


def _form(
    request: Request, center: Center, next: str, wrong: str = "", name: str = "", ended: bool = False
) -> Response:
    return page(
        request,
        "login.html",
        401 if wrong else 200,
        next=local(next),
        wrong=wrong,
        ended=ended,
        name=name[:64],
        nobody=not center.people.everyone(),
        oidc=center.settings.center.console.oidc,
        oidc_link="/login/oidc?" + urlencode({"next": local(next)}),
    )
