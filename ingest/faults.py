"""What a failure of the network means, in plain words; shared by the sources that speak HTTP or websockets."""

import socket
import ssl
from collections.abc import Iterator


def plain(error: BaseException) -> str:
    """Return why a connection failed: no answer in time, refused, no such name, …; without addresses or tokens."""
    chain = list(_chain(error))
    for inner in chain:
        name = type(inner).__name__
        if isinstance(inner, socket.gaierror) or name == "NameResolutionError":
            return "its name is not known here (DNS)"
        if isinstance(inner, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(inner, ssl.SSLError):
            return f"no secure connection ({inner.reason or name})"
    for inner in chain:
        if isinstance(inner, TimeoutError) or "Timeout" in type(inner).__name__:
            return "no answer in time"
    for inner in chain:
        if isinstance(inner, ConnectionError | EOFError) or type(inner).__name__ in _BROKEN:
            return "the connection broke off"
    return type(chain[-1]).__name__


_BROKEN = {"ProtocolError", "RemoteDisconnected", "IncompleteRead", "ConnectionClosedError"}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those inside it: libraries wrap them as argument, as reason, as cause or context."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        inner = waiting.pop(0)
        if inner in seen:
            continue
        seen.append(inner)
        yield inner
        own = (*inner.args, getattr(inner, "reason", None), inner.__cause__, inner.__context__)
        waiting += [each for each in own if isinstance(each, BaseException)]
