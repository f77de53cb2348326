"""`hark console`: the role that serves the web application."""

import socket
import threading
from pathlib import Path

import click

from hark.commands import options
from hark.commands.options import common
from hark.commands.roles import start
from hark.core.errors import SettingsError

PORT = 8765
DRAIN_SECONDS = 5
LONGEST_HEAD = 512 * 1024
"""Bytes of a request's address and headers: the longest query that there may be, in letters of four bytes."""


@click.command()
@common
@click.option("--port", type=options.PORT, default=PORT, show_default=True, help="Where it listens.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address it listens on.")
@click.option("--fd", type=int, hidden=True, help="A listening socket handed over by the supervisor.")
def command(config: Path | None, data: Path | None, port: int, host: str, fd: int | None) -> None:
    """Serve the console and the HTTP interface. GET /healthz and /metrics tell how it goes."""
    import uvicorn

    from hark.console.app import create_app
    from hark.wiring import console_of

    settings, stop = start("console", config, data, None)
    listener = socket.socket(fileno=fd) if fd is not None else listen(host, port)
    with console_of(settings) as center:
        app = create_app(center)
        settled = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,  # else it writes lines of its own form into the role's log
            lifespan="off",
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
            h11_max_incomplete_event_size=LONGEST_HEAD,
        )
        server = uvicorn.Server(settled)

        def watch() -> None:
            stop.wait()
            app.state.live.close()  # streams never end by themselves
            server.should_exit = True

        threading.Thread(target=watch, daemon=True).start()
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; SettingsError says when the port is in use."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        option = "--host" if isinstance(error, socket.gaierror) else "--port"
        raise SettingsError(f"{host}:{port}: {error.strerror}. Choose another with {option}") from error
    return listener
