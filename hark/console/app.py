"""The web application: one FastAPI, its routers by one line each, the guard before all of them."""

from importlib import import_module

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from hark import __version__
from hark.console.center import Center
from hark.console.guard import Guard
from hark.console.live import Live
from hark.console.oidc import Provider
from hark.console.page import STATIC
from hark.console.pages.feed import rows
from hark.console.problems import handle_problems

ROUTERS = (
    "hark.console.api.center",
    "hark.console.api.alerts",
    "hark.console.api.wall",
    "hark.console.api.people",
    "hark.console.api.quality",
    "hark.console.api.sources",
    "hark.console.api.trends",
    "hark.console.pages.signin",
    "hark.console.pages.feed",
    "hark.console.api.feed",
    "hark.console.api.search",
    "hark.console.pages.search",
    "hark.console.pages.trends",
    "hark.console.pages.sources",
    "hark.console.pages.alerts",
    "hark.console.pages.wall",
    "hark.console.pages.quality",
    "hark.console.pages.admin",
)
"""Modules with a `router` (fastapi.APIRouter), in the order in which routes are looked for."""

_ABOUT = """
The HTTP interface of a Hark center. Send an API key as `Authorization: Bearer hark_…`; an administrator makes one
under Admin, or with `hark user key`. A key never sees or does more than its owner. Errors are problem details
(RFC 9457); 429 and 503 say in `Retry-After` how many seconds to wait. Times are RFC 3339.
"""


def create_app(center: Center) -> FastAPI:
    """Return the application over the parts of `center`."""
    app = FastAPI(
        title="Hark",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,  # served by hark.console.api.center, to those who are signed in
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.center = center
    elsewhere = center.settings.center.console.oidc
    app.state.provider = Provider(elsewhere) if elsewhere is not None else None
    app.state.attempts = MovingWindowRateLimiter(MemoryStorage())
    app.state.live = Live(center.bus, center.taxonomy)
    app.state.rows = rows(center)
    for name in ROUTERS:
        router: APIRouter = import_module(name).router
        # The routes themselves, not an inclusion of them: the guard looks each one up by its path.
        app.router.routes.extend(router.routes)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    handle_problems(app)
    app.add_middleware(Guard, routes=app, center=center)
    return app
