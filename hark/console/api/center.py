"""How the center is: health, metrics, the footer's pulse, and the description of this interface."""

import os
from typing import Any

import msgspec
import prometheus_client
from fastapi import APIRouter, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from hark.console.access import Asker, allow
from hark.console.center import Parts
from hark.console.described import answers, describe_structs
from hark.console.page import Pulse, pulse
from hark.console.problems import TITLES

_ANY_MAY_GET = ("400", "401", "403", "404", "429", "503")
_PROBLEM = {
    "title": "Problem",
    "description": "What is wrong (RFC 9457); `detail` is written for people.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "query": {
            "description": "Where a query is wrong: the position counts characters from 0.",
            "type": "object",
            "required": ["position", "problem", "hint"],
            "properties": {
                "position": {"type": "integer"},
                "problem": {"type": "string"},
                "hint": {"type": "string"},
            },
        },
    },
}

router = APIRouter()


@router.get("/healthz", include_in_schema=False)
def healthz(center: Parts) -> JSONResponse:
    """Answer 200 when every role's process is up, else 503; the body says what is wrong."""
    up, body = center.health()
    return JSONResponse(body, status_code=200 if up else 503)


@router.get("/metrics", include_in_schema=False)
def show_metrics() -> Response:
    """Show the metrics of all roles of this machine, for Prometheus."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = prometheus_client.REGISTRY
    return Response(
        prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST
    )


class Me(Struct, frozen=True):
    """Who a key or a session acts for, and what it may do; `brands` null: those of everybody."""

    name: str
    role: str
    permissions: tuple[str, ...]
    brands: tuple[str, ...] | None


@router.get(
    "/api/v1/pulse",
    dependencies=[allow("self")],
    tags=["center"],
    response_model=None,
    responses=answers(Pulse),
)
def show_pulse(center: Parts, who: Asker) -> dict[str, Any]:
    """Return how many sources answered within a minute, the newest mention's time, and how many incidents wait."""
    found: dict[str, Any] = msgspec.to_builtins(pulse(center, who))
    return found


@router.get(
    "/api/v1/me", dependencies=[allow("self")], tags=["center"], response_model=None, responses=answers(Me)
)
def show_me(who: Asker) -> dict[str, Any]:
    """Return who this key or session acts for, and what it may do."""
    found: dict[str, Any] = msgspec.to_builtins(
        Me(who.name, who.role, tuple(sorted(who.permissions)), who.brands)
    )
    return found


@router.get("/api/v1/openapi.json", dependencies=[allow("self")], include_in_schema=False)
def describe(request: Request) -> dict[str, Any]:
    """Return the OpenAPI description of this interface."""
    app = request.app
    if not app.openapi_schema:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer", "bearerFormat": "hark_…"}
        schema["security"] = [{"key": []}]
        describe_structs(schema)
        _add_problems(schema)
        app.openapi_schema = schema
    found: dict[str, Any] = app.openapi_schema
    return found


def _add_problems(schema: dict[str, Any]) -> None:
    """Describe every error as it is answered: a problem, on every route those that the guard may give."""
    parts = schema["components"].setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which nobody gets here
        parts.pop(name, None)
    parts["Problem"] = _PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in schema["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            for status in {*_ANY_MAY_GET, *(status for status in answers if status >= "400")}:
                said = answers.get(status, {}).get("description") or TITLES.get(int(status), "Wrong")
                answers[status] = {"description": said, "content": content}
