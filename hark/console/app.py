"""The web application: health and metrics; what else it shows is added to the same application."""

import os
from collections.abc import Callable

import prometheus_client
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from hark import __version__

Health = Callable[[], tuple[bool, dict[str, object]]]
"""Returns whether every role's process is up, and what is to be told of each part."""


def create_app(health: Health) -> FastAPI:
    """Return the application; `health` may take as long as a local database does."""
    app = FastAPI(title="Hark", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        """Answer 200 when every role's process is up, else 503; the body says what is wrong."""
        up, body = health()
        return JSONResponse(body, status_code=200 if up else 503)

    @app.get("/metrics")
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

    return app
