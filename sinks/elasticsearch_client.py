"""Talking to Elasticsearch: the address, requests, errors in Hark's words, bulk requests with retries.

Elasticsearch's own client carries the requests (connections, TLS, login, the check of the product); bodies are
encoded and answers decoded here, by msgspec.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from elasticsearch import (
    ApiError,
    ConnectionTimeout,
    Elasticsearch,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch.serializer import JsonSerializer
from msgspec import Raw, Struct

from hark.core.errors import SettingsError, TransientError

T = TypeVar("T")
API_KEY = "HARK_ELASTICSEARCH_API_KEY"

BODY_BYTES = 1 << 20
"""Where a bulk body is cut: large enough for the server's work, small enough to encode one during another."""
_AT_ONCE = 2
"""Bulk requests under way at a time."""
TIMEOUT_SECONDS = 60.0
CLOSED = "index_closed_exception"
"""A 400, as for what will never be taken; but somebody may open the index again."""
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
"""Seconds before each new try of what the server was too busy for; after the last it is for the caller to wait."""
_BUSY = frozenset((429, 502, 503, 504))
_JSON = {"accept": "application/json", "content-type": "application/json"}
_LINES = {"accept": "application/json", "content-type": "application/x-ndjson"}


class Address(Struct, frozen=True):
    """`elasticsearch+http[s]://[user:password@]host[:port][/prefix][?ca_certs=FILE]`, taken apart."""

    url: str
    login: tuple[str, str] | None
    prefix: str
    ca_certs: str | None
    api_key: str | None = None
    """From HARK_ELASTICSEARCH_API_KEY, in the encoded form that Elasticsearch gives."""

    def __repr__(self) -> str:
        return f"Address({self.url}, {self.prefix})"


def parse_address(address: str) -> Address:
    """Take an address apart; SettingsError says what was expected, without the password."""
    expected = "expected elasticsearch+http://host:9200 or elasticsearch+https://user:password@host:9200"
    parts = urlsplit(address.removeprefix("elasticsearch+"))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(f"store: the port is no number from 0 to 65535; {expected}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"store: no host in the address; {expected}")
    prefix = parts.path.strip("/") or "hark"
    if not prefix.isascii() or not prefix.replace("_", "").isalnum() or prefix != prefix.lower():
        raise SettingsError(
            "store: the path of the address begins the names of the indices: a-z, 0-9 and _ only"
        )
    options = parse_qs(parts.query, keep_blank_values=True)
    ca_certs = options.pop("ca_certs", [None])[0]
    if options:
        raise SettingsError(f"store: unknown option {min(options)!r} in the address; there is only ca_certs")
    if ca_certs is not None and not Path(ca_certs).is_file():
        raise SettingsError(f"store: ca_certs: no file {ca_certs}")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    api_key = os.environ.get(API_KEY) or None
    if api_key is not None and login is not None:
        raise SettingsError(f"store: {API_KEY} is set, and the address has a user too: use one of them")
    if api_key is not None and parts.scheme != "https":
        raise SettingsError(f"store: {API_KEY} would go in the clear: write elasticsearch+https")
    shown = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{shown}:{port or (443 if parts.scheme == 'https' else 9200)}"
    return Address(url, login, prefix, ca_certs, api_key)


class Failure(Struct):
    """Why Elasticsearch did not do something."""

    type: str = ""
    reason: str | None = None
    caused_by: "Failure | None" = None
    root_cause: list["Failure"] = []

    def __str__(self) -> str:
        inner = self.caused_by or next(iter(self.root_cause), None)
        said = self.reason or self.type
        return said if inner is None or str(inner) in said else f"{said}: {inner}"


class Outcome(Struct):
    """What became of one operation of a bulk request."""

    status: int
    error: Failure | None = None


class _Bulk(Struct):
    items: Raw
    errors: bool = True
    """Whether anything but success is among the items."""


_outcomes = msgspec.json.Decoder(list[dict[str, Outcome]]).decode
_DONE = Outcome(200)


class _Problem(Struct):
    error: Failure | str = ""


class _Raw(JsonSerializer):
    """Hands encoded bytes through in both directions."""

    def dumps(self, data: Any) -> bytes:
        return bytes(data)

    def loads(self, data: bytes) -> Any:
        return data


class Client:
    """One server; used by several threads if need be. `sleep` waits between tries."""

    def __init__(self, address: Address, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = address.url
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="elasticsearch")
        tls: dict[str, Any] = {"ca_certs": address.ca_certs} if address.ca_certs else {}
        raw = _Raw()
        kinds = (
            "application/json",
            "application/vnd.elasticsearch+json",
            "application/vnd.elasticsearch+x-ndjson",
        )
        self._client = Elasticsearch(
            address.url,
            basic_auth=address.login,
            api_key=address.api_key,
            serializers=dict.fromkeys(kinds, raw),
            request_timeout=TIMEOUT_SECONDS,
            max_retries=0,
            **tls,
        )

    def ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: object = None,
        expected: tuple[int, ...] = (),
        **params: object,
    ) -> T:
        """Send one request (`body`: bytes as they are, else encoded as JSON) and decode what comes back.

        Raises SettingsError, TransientError, and Elasticsearch's own ApiError for the `expected` statuses.
        """
        headers = _LINES if isinstance(body, bytes) else _JSON
        data = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        with self._translated(expected):
            found = self._client.perform_request(method, path, params=params, headers=headers, body=data)
            return msgspec.json.decode(found.body, type=answer)

    def bulk(self, operations: Iterable[bytes]) -> list[Outcome]:
        """Perform operations (each its lines, ending in a new line) and return their outcomes, in order.

        They are drawn while those before them are under way. What the server was too busy for is sent again,
        and that alone; TransientError when it stays busy or goes away. Then some may have been done, so
        operations must bear repetition.
        """
        requests: list[Future[list[Outcome]]] = []
        try:
            for piece in _pieces(operations):
                requests.append(self._threads.submit(self._insist, piece))
            return [outcome for request in requests for outcome in request.result()]
        finally:
            # After a failure nothing may go on behind the caller's back.
            for request in requests:
                request.cancel()
            wait(requests)

    def _insist(self, operations: list[bytes]) -> list[Outcome]:
        outcomes = self._send(operations)
        for pause in _PAUSES:
            busy = [index for index, outcome in enumerate(outcomes) if outcome.status in _BUSY]
            if not busy:
                return outcomes
            self._sleep(pause)
            for index, outcome in zip(busy, self._send([operations[i] for i in busy]), strict=True):
                outcomes[index] = outcome
        left = [outcome for outcome in outcomes if outcome.status in _BUSY]
        if left:
            problem = f"{len(left)} operations got {left[0].status}: {left[0].error}"
            raise TransientError(f"Elasticsearch at {self.url} is too busy: {problem}")
        return outcomes

    def _send(self, operations: list[bytes]) -> list[Outcome]:
        try:
            body = b"".join(operations)
            answer = self.ask("POST", "/_bulk", _Bulk, body, expected=(413,), timeout="10s")
        except ApiError:
            if len(operations) == 1:
                return [Outcome(413, Failure("too_large", "larger than Elasticsearch takes in one request"))]
            half = len(operations) // 2
            return self._send(operations[:half]) + self._send(operations[half:])
        except TransientError as error:
            if isinstance(error.__cause__, ApiError) and error.__cause__.meta.status in _BUSY:
                return [Outcome(error.__cause__.meta.status, Failure("busy", str(error)))] * len(operations)
            raise
        if not answer.errors:
            return [_DONE] * len(operations)
        with self._translated(()):
            items = _outcomes(answer.items)
        return [_checked(outcome, self.url) for item in items for outcome in item.values()]

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._threads.shutdown()
        self._client.close()

    @contextmanager
    def _translated(self, expected: tuple[int, ...]) -> Iterator[None]:
        where = f"Elasticsearch at {self.url}"
        try:
            yield
        except UnsupportedProductError as error:
            raise SettingsError(f"store: what answers at {self.url} is not Elasticsearch 9") from error
        except ApiError as error:
            status, said = error.meta.status, said_by(error)
            if status in expected:
                raise
            if CLOSED in said:
                raise TransientError(closed(self.url)) from error
            if status == 401:
                problem = (
                    f"refuses the login: check user and password in the address of the store, or {API_KEY}"
                )
                raise SettingsError(f"store: {where} {problem}") from error
            if status == 403 and "cluster_block" not in said:
                raise SettingsError(f"store: {where} does not allow this user to do that: {said}") from error
            if "media_type_header" in said or status == 406:
                raise SettingsError(f"store: what answers at {self.url} is not Elasticsearch 9") from error
            if status in (400, 404, 409, 413):
                raise SettingsError(f"store: {where} refuses a request: {said}") from error
            raise TransientError(f"{where} answers with {status}: {said}") from error
        except ConnectionTimeout as error:
            raise TransientError(f"{where} does not answer") from error
        except TransportError as error:
            # The client tells these from a server that is away by their text alone.
            if "CERTIFICATE_VERIFY_FAILED" in error.message:
                problem = (
                    "its certificate is not trusted: name its authority with ?ca_certs=FILE in the address"
                )
                raise SettingsError(f"store: {where}: {problem} ({error.message})") from error
            if "WRONG_VERSION_NUMBER" in error.message:
                raise SettingsError(f"store: {where} does not speak https: try elasticsearch+http") from error
            raise TransientError(f"{where} is away: {error.message}") from error
        except (msgspec.DecodeError, OSError) as error:
            raise TransientError(f"{where}: its answer was not understood: {error}") from error


def quoted(document: object) -> bytes:
    """Return one line of a bulk body."""
    return msgspec.json.encode(document) + b"\n"


def _pieces(operations: Iterable[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for operation in operations:
        if piece and size + len(operation) > BODY_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(operation)
        size += len(operation)
    if piece:
        yield piece


def _checked(outcome: Outcome, url: str) -> Outcome:
    """Let pass what the caller can decide about; the rest is nothing that another mention would change."""
    if outcome.error is not None and outcome.error.type == CLOSED:
        raise TransientError(closed(url))
    if outcome.status in (200, 201, 400, 409) or outcome.status in _BUSY:
        return outcome
    if outcome.status == 403 and outcome.error and outcome.error.type == "security_exception":
        raise SettingsError(
            f"store: Elasticsearch at {url} does not allow this user to write: {outcome.error}"
        )
    raise TransientError(f"Elasticsearch at {url} cannot write now ({outcome.status}): {outcome.error}")


def closed(url: str) -> str:
    """Return what is told where an index is closed."""
    return f"Elasticsearch at {url}: an index of the store is closed: open it again (POST /INDEX/_open)"


def said_by(error: ApiError) -> str:
    """Return the server's own reason, from the body of its answer."""
    try:
        problem = msgspec.json.decode(error.body, type=_Problem).error
    except (msgspec.DecodeError, TypeError):
        return str(error.body)[:200]
    return problem if isinstance(problem, str) else f"{problem.type}: {problem}"
