"""Who may do what: every route names a permission, roles and API scopes grant them, and nothing is open by default.

The guard stands before everything: it finds the route that will answer, and lets a request through only if that
route is in `PUBLIC` or names a permission (`dependencies=[allow("search")]`) that the person or the key has. A
route that names none is closed to everyone. It also checks the Host header, the origin and the CSRF token of
whatever changes something, and the rate; what it found out stands in `request.state.who`.
"""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Request
from msgspec import Struct
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from hark.state.people import ApiKey, Person, Session

PERMISSIONS: Mapping[str, str] = {
    "self": "what everybody has who is signed in: who one is, how the center is",
    "account": "one's own password, keys and sessions; of no API key's scope, or a key could make others",
    "feed": "the live feed, single mentions and their threads",
    "search": "search, and to look at saved searches",
    "save": "keep searches under a name, change and delete one's own",
    "trends": "trends",
    "export": "downloads: CSV, JSON, Parquet",
    "reveal": "personal data that is masked otherwise; recorded",
    "label": "label or correct a tag",
    "alerts": "incidents and rules, to look at",
    "annotate": "notes on charts",
    "respond": "acknowledge, silence, own and close incidents",
    "rules": "change alert rules, and try them on history",
    "wall": "the wall",
    "sources": "sources, coverage and the books, to look at",
    "replay": "send rejected mentions round again",
    "quality": "taxonomy, quality, the queue of uncertain mentions, to look at",
    "reprocess": "reprocess history, promote and roll back",
    "admin": "people, keys, sessions, the audit log, erasure",
}
_EVERYONE = {"self", "account", "feed", "search", "save", "trends"}
ROLES: Mapping[str, frozenset[str]] = {
    "agent": frozenset(_EVERYONE | {"reveal", "label", "alerts", "wall"}),
    "lead": frozenset(
        _EVERYONE
        | {"reveal", "label", "annotate", "alerts", "respond", "wall", "quality", "export", "sources"}
    ),
    "analyst": frozenset(
        _EVERYONE | {"label", "annotate", "alerts", "rules", "wall", "sources", "quality", "export"}
    ),
    "operations": frozenset(
        _EVERYONE
        | {"annotate", "alerts", "respond", "rules", "wall", "sources", "replay", "quality", "export"}
    ),
    "admin": frozenset(PERMISSIONS),
    "partner": frozenset(_EVERYONE | {"export", "alerts"}),
}
SCOPES: Mapping[str, frozenset[str]] = {
    "read:mentions": frozenset({"self", "feed", "search", "export"}),
    "read:trends": frozenset({"self", "trends"}),
    "read:incidents": frozenset({"self", "alerts"}),
    "read:center": frozenset({"self", "sources", "quality"}),
    "write:searches": frozenset({"self", "search", "save"}),
    "write:labels": frozenset({"self", "label", "annotate"}),
    "write:incidents": frozenset({"self", "respond", "rules"}),
    "admin": frozenset(PERMISSIONS) - {"account"},
}
"""What each scope of an API key grants, as far as its owner's role grants it too."""
PUBLIC = frozenset({"/healthz", "/metrics", "/login", "/login/oidc", "/login/oidc/back", "/static"})
"""The only paths that anybody may see; new ones are added here and nowhere else."""


class Permission:
    """What a route asks for. As a dependency it does nothing: the guard reads it."""

    def __init__(self, name: str) -> None:
        if name not in PERMISSIONS:
            raise ValueError(f"no permission {name!r}; there are {', '.join(PERMISSIONS)}")
        self.name = name

    def __call__(self) -> None:
        """Do nothing: the guard has let the request through before this is called."""


def allow(name: str) -> Any:
    """Return the dependency that declares a route's permission: `dependencies=[allow("search")]`."""
    return Depends(Permission(name))


class Who(Struct, frozen=True):
    """Who makes a request. `brands` limits what they see; None: everything."""

    name: str
    role: str
    permissions: frozenset[str]
    brands: tuple[str, ...] | None
    address: str
    session: str | None = None
    """The session's hash, for one who came with the cookie."""
    key: str | None = None
    """The key's id, for a program."""
    csrf: str = ""

    def may(self, permission: str) -> bool:
        """Say whether `permission` is granted."""
        return permission in self.permissions


def who_of_session(session: Session, person: Person, token: str, address: str) -> Who:
    """Return who a browser acts for."""
    return Who(
        person.name,
        person.role,
        ROLES.get(person.role, frozenset()),
        person.brands if person.role == "partner" else None,
        address,
        session=session.hash,
        csrf=csrf_of(token),
    )


def who_of_key(key: ApiKey, person: Person, address: str) -> Who:
    """Return who a program acts for: its owner, within the key's scopes and brands."""
    granted = frozenset[str]().union(*(SCOPES.get(scope, frozenset()) for scope in key.scopes))
    brands = person.brands if person.role == "partner" else None
    if key.brands:
        brands = tuple(brand for brand in key.brands if brands is None or brand in brands)
    return Who(
        person.name,
        person.role,
        ROLES.get(person.role, frozenset()) & granted,
        brands,
        address,
        key=key.id,
    )


def csrf_of(token: str) -> str:
    """Return the CSRF token of a session: derived from its secret, so that nothing needs to be kept."""
    return hmac.new(token.encode(), b"csrf", sha256).hexdigest()


def permission_of(route: BaseRoute) -> str | None:
    """Return the permission that a route names; None: it names none and is closed."""
    for dependency in getattr(route, "dependencies", ()):
        if isinstance(dependency.dependency, Permission):
            return dependency.dependency.name
    return None


def route_of(routes: Sequence[BaseRoute], scope: Scope) -> BaseRoute | None:
    """Return the route that will answer: the first that matches wholly, else the first but for the method."""
    partial = None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route
        if match is Match.PARTIAL and partial is None:
            partial = route
    return partial


def who(request: Request) -> Who:
    """Return who makes this request."""
    found: Who = request.state.who
    return found


Asker = Annotated[Who, Depends(who)]
"""As a parameter of a route, `who: Asker`: who makes the request."""
