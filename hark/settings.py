"""What a user edits: the TOML files of the configuration folder, validated, with secrets from the environment.

Files: hark.toml (the parts and their addresses), brands.toml, sources.toml; topics.toml and enrichment.toml are
read by enrich/. A mistake is a SettingsError that names the file, the key, and what was expected.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from hark.core.errors import SettingsError
from hark.core.mistakes import converted, unknown
from hark.core.tree import Query
from hark.query import parse

T = TypeVar("T")
SHIPPED = Path(__file__).resolve().parent.parent / "config"
_OF_ANY_SOURCE = ("type", "enabled")
_REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The log: how many partitions a topic has, and how long records are kept."""

    partitions: Annotated[int, Meta(ge=1, le=1024)] = 4
    retention_days: Annotated[float, Meta(gt=0, le=36_500)] = 7.0
    replication: Annotated[int, Meta(ge=1, le=100)] = 1
    """Kafka only: copies of each partition."""
    ca_certs: str = ""
    """Kafka by TLS only: the file (PEM) of the authority that signed its certificate, if it is not a known one."""
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """Kafka by TLS only: how the login of HARK_KAFKA_USERNAME and HARK_KAFKA_PASSWORD is shown."""


class EnrichSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Workers that tag mentions (0 means one a core), and the folder of the trained models that they serve."""

    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    models: str = ""
    """Relative to the configuration folder; empty for the tags as shipped."""


class OidcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Signing in by OpenID Connect: `claim` of the identity says the role, by the table `roles`."""

    issuer: str
    client_id: str
    client_secret: str
    """As ${NAME}, from the environment."""
    claim: str = "groups"
    roles: Mapping[str, Literal["agent", "lead", "analyst", "operations", "admin"]] = {}
    """A value of the claim, and the role it gives; the first of the table that the identity has."""
    title: str = "single sign-on"


class ConsoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The console: the host names it answers to beside loopback, how long a sign-in holds, how much one may ask."""

    hosts: tuple[str, ...] = ()
    session_hours: Annotated[float, Meta(gt=0, le=8_784)] = 12.0
    requests_per_minute: Annotated[int, Meta(ge=1)] = 600
    """Of one session or API key."""
    oidc: OidcSettings | None = None


class Center(Struct, frozen=True, forbid_unknown_fields=True):
    """hark.toml: each part by one address."""

    bus: str = "embedded"
    store: str = "embedded"
    state: str = "embedded"
    log: LogSettings = LogSettings()
    enrich: EnrichSettings = EnrichSettings()
    console: ConsoleSettings = ConsoleSettings()


class BrandEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One [[brand]] of brands.toml, as written."""

    name: str
    query: str
    title: str = ""
    handles: tuple[str, ...] = ()
    """Its own accounts on the platforms: what they write is the brand speaking, not a customer."""


class BrandFile(Struct, frozen=True, forbid_unknown_fields=True):
    """brands.toml."""

    brand: tuple[BrandEntry, ...]


class Brand(Struct, frozen=True):
    """A brand: its short name (used in tags and queries), its title for people, and the query that finds it."""

    name: str
    title: str
    query: Query
    handles: frozenset[str]
    """Lower case, without @."""


class SourcesFile(Struct, frozen=True, forbid_unknown_fields=True):
    """sources.toml; a source's own options are known to its module alone."""

    sources: dict[str, dict[str, Any]] = {}


class SourceEntry(Struct, frozen=True):
    """One [sources.NAME]: `type` names the platform, `options` are that source's own, unresolved."""

    name: str
    type: str
    enabled: bool
    options: Mapping[str, Any]


class Settings(Struct, frozen=True):
    """All that the configuration folder says, with HARK_BUS, HARK_STORE and HARK_STATE applied."""

    config: Path
    data: Path
    center: Center
    brands: tuple[Brand, ...]
    sources: tuple[SourceEntry, ...]


def load(config: Path | None = None, data: Path | None = None) -> Settings:
    """Read the configuration; defaults: HARK_CONFIG or the shipped one, HARK_DATA or ./hark-data.

    Raises SettingsError.
    """
    config = config or Path(os.environ.get("HARK_CONFIG") or SHIPPED)
    data = data or Path(os.environ.get("HARK_DATA") or "hark-data")
    if not config.is_dir():
        raise SettingsError(f"no configuration folder {config}: make one with `hark init {config}`")
    center = read_toml(config / "hark.toml", Center)
    center = msgspec.structs.replace(
        center,
        bus=os.environ.get("HARK_BUS") or resolve(center.bus, "hark.toml: bus"),
        store=os.environ.get("HARK_STORE") or resolve(center.store, "hark.toml: store"),
        state=os.environ.get("HARK_STATE") or resolve(center.state, "hark.toml: state"),
        console=_with_secret(center.console),
    )
    if center.log.ca_certs:
        log = msgspec.structs.replace(center.log, ca_certs=str(config / center.log.ca_certs))
        center = msgspec.structs.replace(center, log=log)
    return Settings(config, data, center, _brands(config / "brands.toml"), _sources(config / "sources.toml"))


def read_toml(path: Path, type: type[T]) -> T:
    """Return the file decoded into `type`; SettingsError names the file, the key and what was expected."""
    try:
        table = tomllib.loads(read_text(path))
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
    except RecursionError:
        raise SettingsError(f"{path}: lists or tables stand too deep within each other") from None
    return converted(table, type, str(path))


def read_text(path: Path) -> str:
    """Return what a file of the configuration says; SettingsError names the file, and the line that is no UTF-8."""
    try:
        content = path.read_bytes()
        # With a mark at the beginning, as some editors write it, or without.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such file; `hark init DIR` writes a complete configuration"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: line {line} is not UTF-8: save the file in that encoding") from error


def resolve(value: Any, where: str) -> Any:
    """Replace `${NAME}` in strings by the environment's value, in tables and lists too.

    Raises SettingsError naming the variable that is not set; the value itself is never part of a message.
    """
    if isinstance(value, str):

        def look_up(match: re.Match[str]) -> str:
            found = os.environ.get(match[1])
            if not found:
                raise SettingsError(f"{where}: the environment variable {match[1]} is not set")
            return found

        return _REFERENCE.sub(look_up, value)
    if isinstance(value, Mapping):
        return {key: resolve(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, where) for inner in value]
    return value


def options_of(entry: SourceEntry, type: type[T]) -> T:
    """Return the source's own options, secrets filled in, as the struct `type`; raises SettingsError."""
    where = f"sources.toml: sources.{entry.name}"
    return converted(resolve(dict(entry.options), where), type, where, _OF_ANY_SOURCE)


def check_options(entry: SourceEntry, type: type[Struct]) -> None:
    """Raise SettingsError for an option that the source does not have; asks for no secret, and for no option."""
    known = [field.encode_name for field in msgspec.structs.fields(type)]
    for key in entry.options:
        if key not in known:
            said = unknown("key", key, [*known, *_OF_ANY_SOURCE])
            raise SettingsError(f"sources.toml: sources.{entry.name}: {said}")


def _with_secret(console: ConsoleSettings) -> ConsoleSettings:
    if console.oidc is None:
        return console
    secret = resolve(console.oidc.client_secret, "hark.toml: console.oidc.client_secret")
    return msgspec.structs.replace(console, oidc=msgspec.structs.replace(console.oidc, client_secret=secret))


def _brands(path: Path) -> tuple[Brand, ...]:
    entries = read_toml(path, BrandFile).brand
    brands: dict[str, Brand] = {}
    for entry in entries:
        if entry.name in brands:
            raise SettingsError(f"{path}: two brands are named {entry.name!r}: give each its own name")
        try:
            query = parse(entry.query)
        except SettingsError as error:
            raise SettingsError(f"{path}: query of brand {entry.name!r}: {error}") from error
        handles = frozenset(handle.lower().removeprefix("@") for handle in entry.handles)
        brands[entry.name] = Brand(entry.name, entry.title or entry.name, query, handles)
    return tuple(brands.values())


def _sources(path: Path) -> tuple[SourceEntry, ...]:
    tables = read_toml(path, SourcesFile).sources
    sources = []
    for name, table in tables.items():
        options = dict(table)
        kind, enabled = options.pop("type", name), options.pop("enabled", True)
        if not isinstance(kind, str) or not isinstance(enabled, bool):
            raise SettingsError(f"{path}: sources.{name}: type is a word in quotes, enabled is true or false")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
            raise SettingsError(
                f"{path}: sources.{name}: a source's name has lower-case letters, digits, - and _ only"
            )
        sources.append(SourceEntry(name, kind, enabled, options))
    return tuple(sources)
