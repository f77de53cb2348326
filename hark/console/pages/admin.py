"""Administration: people, keys, sessions, the audit log; and everybody's own account."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from hark.console.access import Asker, Who, allow
from hark.console.center import Center, Parts
from hark.console.page import page
from hark.core.errors import SettingsError
from hark.state.people import ROLES, SCOPES, SHORTEST_PASSWORD

router = APIRouter(include_in_schema=False)
ABOUT = {
    "agent": "answers customers: feed, search, labels",
    "lead": "leads agents: also quality, sources, incidents",
    "analyst": "asks about trends: also rules, exports",
    "operations": "watches: incidents, rules, sources, replay",
    "admin": "may do everything",
    "partner": "sees only its brands",
}
_LINES = 100
Several = Annotated[list[str], Form(default_factory=list, max_length=100)]
"""A field of a form that may come several times, or not at all."""


@router.get("/admin", dependencies=[allow("admin")])
def show_people(request: Request, center: Parts) -> Response:
    """Show who may sign in."""
    return _people(request, center)


@router.post("/admin/people", dependencies=[allow("admin")])
def add_person(
    request: Request,
    center: Parts,
    who: Asker,
    brands: Several,
    name: str = Form("", max_length=200),
    role: str = Form("", max_length=20),
    password: str = Form("", max_length=2_000),
) -> Response:
    """Add a person."""
    try:
        center.people.add(name, role, password, _brands(center, role, brands), by=who.name)
    except SettingsError as error:
        return _people(request, center, str(error), name)
    return RedirectResponse("/admin", 303)


@router.post("/admin/people/{name}", dependencies=[allow("admin")])
def change_person(
    request: Request,
    center: Parts,
    who: Asker,
    name: str,
    brands: Several,
    role: str | None = Form(None, max_length=20),
    disabled: bool | None = Form(None),
    password: str = Form("", max_length=2_000),
) -> Response:
    """Change a person's role, brands or password, or switch them off; never the one who asks out of their office."""
    try:
        if name == who.name and (disabled or (role is not None and role != who.role)):
            raise SettingsError("you cannot take the administration from yourself; let another admin do it")
        if password:
            center.people.set_password(name, password, by=who.name)
        else:
            chosen = _brands(center, role, brands) if role is not None else None
            center.people.change(name, role=role, brands=chosen, disabled=disabled, by=who.name)
    except SettingsError as error:
        return _people(request, center, str(error))
    return RedirectResponse("/admin", 303)


@router.get("/admin/keys", dependencies=[allow("admin")])
def show_keys(request: Request, center: Parts) -> Response:
    """Show the API keys of all people."""
    return page(request, "admin_keys.html", tab="keys", keys=center.people.keys())


@router.post("/admin/keys/{id}/revoke", dependencies=[allow("admin")])
def revoke_key(center: Parts, who: Asker, id: str) -> Response:
    """Make a key useless."""
    center.people.revoke_key(id, who.name)
    return RedirectResponse("/admin/keys", 303)


@router.get("/admin/sessions", dependencies=[allow("admin")])
def show_sessions(request: Request, center: Parts) -> Response:
    """Show who is signed in, and from where."""
    return page(request, "admin_sessions.html", tab="sessions", sessions=center.people.sessions())


@router.post("/admin/sessions/{hash}/end", dependencies=[allow("admin")])
def end_session(center: Parts, who: Asker, hash: str) -> Response:
    """Sign a browser out."""
    center.people.end_session(hash, who.name)
    return RedirectResponse("/admin/sessions", 303)


@router.get("/admin/audit", dependencies=[allow("admin")])
def show_audit(
    request: Request,
    center: Parts,
    person: str = Query("", max_length=64),
    action: str = Query("", max_length=64),
    before: int | None = Query(None, ge=0, le=2**31 - 1),
) -> Response:
    """Show who did and saw what, newest first."""
    lines = center.people.audit(person or None, action or None, before, _LINES)
    return page(
        request,
        "admin_audit.html",
        tab="audit",
        lines=lines,
        person=person,
        action=action,
        people=[one.name for one in center.people.everyone()],
        older=lines[-1].id if len(lines) == _LINES else None,
    )


@router.get("/account", dependencies=[allow("account")])
def show_account(request: Request, center: Parts, who: Asker) -> Response:
    """Show one's own password, keys and sessions."""
    return _account(request, center, who)


@router.post("/account/password", dependencies=[allow("account")])
def change_password(
    request: Request,
    center: Parts,
    who: Asker,
    old: str = Form("", max_length=2_000),
    new: str = Form("", max_length=2_000),
) -> Response:
    """Give oneself a new password; all one's sessions end, this one too."""
    if center.people.check(who.name, old) is None:
        return _account(request, center, who, "The old password is not right.")
    try:
        center.people.set_password(who.name, new, by=who.name)
    except SettingsError as error:
        return _account(request, center, who, str(error))
    return RedirectResponse("/login", 303)


@router.post("/account/keys", dependencies=[allow("account")])
def make_key(
    request: Request,
    center: Parts,
    who: Asker,
    scopes: Several,
    title: str = Form("", max_length=200),
) -> Response:
    """Make a key for a program of one's own; its secret is shown this once."""
    try:
        key, secret = center.people.make_key(title, who.name, scopes, who.brands or (), by=who.name)
    except SettingsError as error:
        return _account(request, center, who, str(error))
    return _account(request, center, who, made=(key.title, secret))


@router.post("/account/keys/{id}/revoke", dependencies=[allow("account")])
def revoke_own_key(center: Parts, who: Asker, id: str) -> Response:
    """Make a key of one's own useless."""
    if id not in {key.id for key in center.people.keys(who.name)}:
        raise HTTPException(404, f"You have no key {id}")
    center.people.revoke_key(id, who.name)
    return RedirectResponse("/account", 303)


@router.post("/account/sessions/{hash}/end", dependencies=[allow("account")])
def end_own_session(center: Parts, who: Asker, hash: str) -> Response:
    """Sign a browser of one's own out."""
    if hash not in {session.hash for session in center.people.sessions(who.name)}:
        raise HTTPException(404, "That session is over already")
    center.people.end_session(hash, who.name)
    return RedirectResponse("/account", 303)


def _brands(center: Center, role: str | None, brands: list[str]) -> tuple[str, ...]:
    known = {brand.name for brand in center.settings.brands}
    unknown = [brand for brand in brands if brand not in known]
    if unknown:
        raise SettingsError(f"no brand {unknown[0]!r} in brands.toml; there are {', '.join(sorted(known))}")
    return tuple(brands) if role == "partner" else ()


def _people(request: Request, center: Center, wrong: str = "", name: str = "") -> Response:
    return page(
        request,
        "admin.html",
        400 if wrong else 200,
        tab="people",
        people=center.people.everyone(),
        roles=ROLES,
        about=ABOUT,
        brands=[brand.name for brand in center.settings.brands],
        shortest=SHORTEST_PASSWORD,
        wrong=wrong,
        name=name[:64],
    )


def _account(
    request: Request, center: Center, who: Who, wrong: str = "", made: tuple[str, str] | None = None
) -> Response:
    return page(
        request,
        "account.html",
        400 if wrong else 200,
        person=center.people.get(who.name),
        about=ABOUT,
        keys=[key for key in center.people.keys(who.name) if not key.revoked],
        sessions=center.people.sessions(who.name),
        scopes=SCOPES,
        shortest=SHORTEST_PASSWORD,
        wrong=wrong,
        made=made,
    )
