"""What people and programs are told when something is wrong: a page, or problem details (RFC 9457); no traceback."""

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from hark.console.page import page
from hark.core.errors import HarkError, RefusedError, SettingsError, TransientError
from hark.query.errors import QueryError

log = structlog.get_logger()
TITLES = {
    400: "That cannot be understood",
    401: "Please sign in",
    403: "Not yours to see",
    404: "Nothing is here",
    405: "That is not done here",
    409: "Somebody was faster",
    413: "That is too large",
    422: "Something in the request is wrong",
    429: "Too many requests",
    500: "Something broke",
    503: "Part of the center is away",
}


def problem(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """Return the answer that says what is wrong: JSON below /api/, else a page."""
    title = TITLES.get(status, "That did not work")
    if request.url.path.startswith("/api/") or request.url.path in ("/healthz", "/metrics"):
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
        return JSONResponse(body, status, headers, media_type="application/problem+json")
    response: Response
    try:
        response = page(request, "problem.html", status, title=title, detail=detail)
    except HarkError:  # the state database itself is away: the frame cannot be drawn
        response = page_without_frame(request, status, title, detail)
    response.headers.update(headers or {})
    return response


def page_without_frame(request: Request, status: int, title: str, detail: str) -> Response:
    """Return the page that needs nothing of the center."""
    request.state.who = None
    return page(request, "problem.html", status, title=title, detail=detail)


def of_error(request: Request, error: HarkError) -> Response:
    """Return the answer to one of Hark's own errors."""
    if isinstance(error, QueryError):
        place = {"position": error.position, "problem": error.problem, "hint": error.hint}
        return problem(request, 400, str(error), query=place)
    if isinstance(error, SettingsError | RefusedError):
        return problem(request, 400, str(error))
    if isinstance(error, TransientError):
        wait = str(max(1, round(error.wait_seconds or 5)))
        return problem(request, 503, str(error), {"Retry-After": wait})
    log.error("request failed", path=request.url.path, reason=str(error))
    return problem(request, 500, "The center's log says why.")


def handle_problems(app: FastAPI) -> None:
    """Make `app` answer every error in this way."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(request, error.status_code, str(error.detail), error.headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = [f"{'.'.join(map(str, part['loc'][1:]))}: {part['msg']}" for part in error.errors()]
        return problem(request, 422, "; ".join(said))

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, HarkError)
        return of_error(request, error)

    async def unexpected(request: Request, error: Exception) -> Response:
        return problem(request, 500, "The center's log says why.")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HarkError, ours)
    app.add_exception_handler(Exception, unexpected)
