"""Who may use the console: people, their sessions and API keys, and the audit log of what they did.

Passwords are kept as argon2id hashes, session tokens and API keys as SHA-256 hashes (they are random, 256 bits).
Every change of a person or a key is written to the audit log in the same transaction.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import sqlalchemy as sa
from msgspec import Struct
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from hark.core.clock import Clock, now, to_ms
from hark.core.errors import SettingsError
from hark.state.database import State
from hark.state.tables import metadata

ROLES = ("agent", "lead", "analyst", "operations", "admin", "partner")
SCOPES = (
    "read:mentions",
    "read:trends",
    "read:incidents",
    "read:center",
    "write:searches",
    "write:labels",
    "write:incidents",
    "admin",
)
"""What an API key can be allowed; never more than its owner's role allows."""
SHORTEST_PASSWORD = 10
KEY_PREFIX = "hark_"
_LONGEST_PASSWORD = 1_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_USED_EVERY_MS = 60_000

people = Table(
    "people",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("brands", Text, nullable=False, server_default=""),  # a partner's, separated by spaces
    Column("password", Text, nullable=False, server_default=""),  # empty: signs in elsewhere
    Column("subject", Text, nullable=False, server_default=""),  # issuer and subject of OpenID Connect
    Column("disabled", Boolean, nullable=False, server_default=sa.false()),
    Column("created_ms", BigInteger, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    Column("browser", Text, nullable=False, server_default=""),
    Index("sessions_by_person", "person"),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("hash", String, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("person", String, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("brands", Text, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Column("revoked", Boolean, nullable=False, server_default=sa.false()),
)
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("person", String, nullable=False),
    Column("action", String, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    Index("audit_by_time", "at_ms"),
    Index("audit_by_person", "person", "at_ms"),
)


class Person(Struct, frozen=True):
    """Somebody who may sign in. `brands`: what a partner sees; empty means all, for every other role."""

    name: str
    role: str
    brands: tuple[str, ...]
    subject: str
    disabled: bool
    created_ms: int
    has_password: bool


class Session(Struct, frozen=True):
    """One browser that is signed in; `hash` names it without being able to use it."""

    hash: str
    person: str
    created_ms: int
    expires_ms: int
    address: str
    browser: str


class ApiKey(Struct, frozen=True):
    """A key for programs; acts for its owner `person`, within `scopes` and (if there are any) `brands`."""

    id: str
    title: str
    person: str
    scopes: tuple[str, ...]
    brands: tuple[str, ...]
    created_ms: int
    used_ms: int | None
    revoked: bool


class Entry(Struct, frozen=True):
    """One line of the audit log."""

    id: int
    at_ms: int
    person: str
    action: str
    detail: str
    address: str


class People:
    """People, sessions, keys and audit in the state database. Safe to share between threads.

    Raises SettingsError for what cannot be done, TransientError while the database is away.
    """

    def __init__(self, state: State, clock: Clock = now) -> None:
        self._state = state
        self._clock = clock

    def add(
        self,
        name: str,
        role: str,
        password: str | None,
        brands: Sequence[str] = (),
        subject: str = "",
        by: str = "",
    ) -> Person:
        """Add a person; without a password they sign in elsewhere (`subject`)."""
        name = name.strip().lower()
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"name {name!r}: expected 1 to 64 letters, digits or . _ @ + -, beginning with a letter or digit"
            )
        _check_role(role, brands)
        row = {
            "name": name,
            "role": role,
            "brands": " ".join(brands),
            "password": hashed(password) if password is not None else "",
            "subject": subject,
            "disabled": False,
            "created_ms": self._now(),
        }
        with self._state.begin() as connection:
            if connection.scalar(sa.select(people.c.name).where(people.c.name == name)) is not None:
                raise SettingsError(f"there is a person named {name} already")
            connection.execute(sa.insert(people).values(row))
            self._note(connection, by or name, "person added", f"{name} as {role} {' '.join(brands)}".strip())
        return self.get(name)

    def change(
        self,
        name: str,
        *,
        role: str | None = None,
        brands: Sequence[str] | None = None,
        disabled: bool | None = None,
        by: str,
    ) -> Person:
        """Change what a person may do; the change holds from their next request on."""
        before = self.get(name)
        new_role, new_brands = role or before.role, before.brands if brands is None else tuple(brands)
        if new_role != "partner" and brands is None:
            new_brands = ()
        _check_role(new_role, new_brands)
        off = before.disabled if disabled is None else disabled
        with self._state.begin() as connection:
            connection.execute(
                sa.update(people)
                .where(people.c.name == name)
                .values(role=new_role, brands=" ".join(new_brands), disabled=off)
            )
            if off:
                connection.execute(sa.delete(sessions).where(sessions.c.person == name))
            said = f"{name}: {new_role} {' '.join(new_brands)} {'disabled' if off else 'enabled'}"
            self._note(connection, by, "person changed", " ".join(said.split()))
        return self.get(name)

    def set_password(self, name: str, password: str, by: str) -> None:
        """Give a person a new password; all their sessions end."""
        self.get(name)
        value = hashed(password)
        with self._state.begin() as connection:
            connection.execute(sa.update(people).where(people.c.name == name).values(password=value))
            connection.execute(sa.delete(sessions).where(sessions.c.person == name))
            self._note(connection, by, "password changed", name)

    def get(self, name: str) -> Person:
        """Return a person; SettingsError says that there is none of that name."""
        found = self.find(name)
        if found is None:
            raise SettingsError(f"there is nobody named {name}: `hark user list` shows who there is")
        return found

    def find(self, name: str) -> Person | None:
        """Return a person, or None."""
        with self._state.read() as connection:
            row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
        return _person(row) if row else None

    def of_subject(self, subject: str) -> Person | None:
        """Return the person who signs in elsewhere as `subject`, or None."""
        with self._state.read() as connection:
            row = connection.execute(sa.select(people).where(people.c.subject == subject)).mappings().first()
        return _person(row) if row and subject else None

    def everyone(self) -> list[Person]:
        """Return all people by name."""
        with self._state.read() as connection:
            rows = connection.execute(sa.select(people).order_by(people.c.name)).mappings()
            return [_person(row) for row in rows]

    def check(self, name: str, password: str) -> Person | None:
        """Return the person if the password is theirs; takes the same 0.1 s or so whatever is wrong."""
        name = name.strip().lower()
        with self._state.read() as connection:
            row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
        known = row is not None and bool(row["password"]) and not row["disabled"]
        kept = row["password"] if row is not None and known else _nobody()
        right = len(password) <= _LONGEST_PASSWORD and _hasher().verify(password, kept)
        return _person(row) if row is not None and known and right else None

    def begin_session(self, person: str, hours: float, address: str = "", browser: str = "") -> str:
        """Return the token of a new session, for the cookie; sessions that are over are forgotten."""
        token, moment = secrets.token_urlsafe(32), self._clock()
        row = {
            "hash": digest(token),
            "person": person,
            "created_ms": to_ms(moment),
            "expires_ms": to_ms(moment + timedelta(hours=hours)),
            "address": address,
            "browser": browser[:200],
        }
        with self._state.begin() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.expires_ms <= to_ms(moment)))
            connection.execute(sa.insert(sessions).values(row))
            self._note(connection, person, "signed in", "", address)
        return token

    def session(self, token: str) -> tuple[Session, Person] | None:
        """Return the session of a cookie and whose it is; None when it is unknown, over, or the person disabled."""
        return self.session_of_hash(digest(token))

    def session_of_hash(self, hash: str) -> tuple[Session, Person] | None:
        """Return the session that `hash` names; see `session`."""
        with self._state.read() as connection:
            row = connection.execute(sa.select(sessions).where(sessions.c.hash == hash)).mappings().first()
            if row is None or row["expires_ms"] <= self._now():
                return None
            owner = connection.execute(sa.select(people).where(people.c.name == row["person"])).mappings()
            person = owner.first()
        return (Session(**row), _person(person)) if person and not person["disabled"] else None

    def sessions(self, person: str | None = None) -> list[Session]:
        """Return the sessions that stand, of one person or of all, newest first."""
        statement = sa.select(sessions).where(sessions.c.expires_ms > self._now())
        if person is not None:
            statement = statement.where(sessions.c.person == person)
        with self._state.read() as connection:
            rows = connection.execute(statement.order_by(sessions.c.created_ms.desc())).mappings()
            return [Session(**row) for row in rows]

    def end_session(self, hash: str, by: str) -> None:
        """End one session; nothing happens when it is over already."""
        with self._state.begin() as connection:
            if connection.execute(sa.delete(sessions).where(sessions.c.hash == hash)).rowcount:
                self._note(connection, by, "signed out", "")

    def make_key(
        self, title: str, person: str, scopes: Sequence[str], brands: Sequence[str] = (), by: str = ""
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which is shown this once and never again."""
        owner = self.get(person)
        unknown = set(scopes) - set(SCOPES)
        if unknown or not scopes:
            raise SettingsError(
                f"scopes: expected some of {', '.join(SCOPES)}, found {', '.join(unknown) or 'none'}"
            )
        if not 1 <= len(title.strip()) <= 100:
            raise SettingsError("a key needs a title that says what it is for, of 100 characters at most")
        if owner.role == "partner" and not set(brands) <= set(owner.brands):
            raise SettingsError(f"brands: {person} sees only {', '.join(owner.brands)}")
        secret, id = KEY_PREFIX + secrets.token_urlsafe(32), secrets.token_hex(4)
        row = {
            "id": id,
            "hash": digest(secret),
            "title": title.strip(),
            "person": person,
            "scopes": " ".join(dict.fromkeys(scopes)),
            "brands": " ".join(brands),
            "created_ms": self._now(),
        }
        with self._state.begin() as connection:
            connection.execute(sa.insert(api_keys).values(row))
            said = f"{id} {title.strip()!r} for {person}: {' '.join(scopes)} {' '.join(brands)}"
            self._note(connection, by or person, "key made", said.strip())
        return next(key for key in self.keys() if key.id == id), secret

    def key(self, secret: str) -> tuple[ApiKey, Person] | None:
        """Return the key and its owner; None when it is unknown, revoked, or the owner disabled."""
        with self._state.read() as connection:
            found = connection.execute(sa.select(api_keys).where(api_keys.c.hash == digest(secret)))
            row = found.mappings().first()
            if row is None or row["revoked"]:
                return None
            owner = connection.execute(sa.select(people).where(people.c.name == row["person"])).mappings()
            person = owner.first()
        if person is None or person["disabled"]:
            return None
        if self._now() - (row["used_ms"] or 0) > _USED_EVERY_MS:
            with self._state.begin() as connection:
                used = sa.update(api_keys).where(api_keys.c.id == row["id"]).values(used_ms=self._now())
                connection.execute(used)
        return _key(row), _person(person)

    def keys(self, person: str | None = None) -> list[ApiKey]:
        """Return the keys of one person or of all, newest first."""
        statement = sa.select(api_keys).order_by(api_keys.c.created_ms.desc(), api_keys.c.id)
        if person is not None:
            statement = statement.where(api_keys.c.person == person)
        with self._state.read() as connection:
            return [_key(row) for row in connection.execute(statement).mappings()]

    def revoke_key(self, id: str, by: str) -> None:
        """Make a key useless, for ever."""
        with self._state.begin() as connection:
            statement = sa.update(api_keys).where(api_keys.c.id == id).values(revoked=True)
            if not connection.execute(statement).rowcount:
                raise SettingsError(f"there is no key {id}")
            self._note(connection, by, "key revoked", id)

    def note(self, person: str, action: str, detail: str = "", address: str = "") -> None:
        """Write one line to the audit log: who did or saw what, when, and from where."""
        with self._state.begin() as connection:
            self._note(connection, person, action, detail, address)

    def audit(
        self,
        person: str | None = None,
        action: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Return lines of the audit log, newest first; `before` is the id of the last line of the page before."""
        statement = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        for column, value in ((audit.c.person, person), (audit.c.action, action)):
            if value is not None:
                statement = statement.where(column == value)
        if before is not None:
            statement = statement.where(audit.c.id < before)
        with self._state.read() as connection:
            return [Entry(**row) for row in connection.execute(statement).mappings()]

    def _note(
        self, connection: sa.Connection, person: str, action: str, detail: str, address: str = ""
    ) -> None:
        row = {
            "at_ms": self._now(),
            "person": person,
            "action": action,
            "detail": detail[:2_000],
            "address": address,
        }
        connection.execute(sa.insert(audit).values(row))

    def _now(self) -> int:
        return to_ms(self._clock())


def digest(token: str) -> str:
    """Return the name under which a random token is kept: its SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def hashed(password: str) -> str:
    """Return what is kept of a password; SettingsError when it is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise SettingsError(
            f"a password has {SHORTEST_PASSWORD} characters at least: a few words make a good one"
        )
    return _hasher().hash(password)


@cache
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def _nobody() -> str:
    """Return a hash that no password has, to be checked in the place of an unknown person's."""
    return _hasher().hash(secrets.token_urlsafe(32))


def _check_role(role: str, brands: Sequence[str]) -> None:
    if role not in ROLES:
        raise SettingsError(f"role: expected one of {', '.join(ROLES)}, found {role!r}")
    if role == "partner" and not brands:
        raise SettingsError("a partner sees only its brands: name at least one")
    if role != "partner" and brands:
        raise SettingsError(f"brands are a partner's; one of role {role} sees all")


def _person(row: sa.RowMapping) -> Person:
    return Person(
        row["name"],
        row["role"],
        tuple(row["brands"].split()),
        row["subject"],
        row["disabled"],
        row["created_ms"],
        bool(row["password"]),
    )


def _key(row: sa.RowMapping) -> ApiKey:
    return ApiKey(
        row["id"],
        row["title"],
        row["person"],
        tuple(row["scopes"].split()),
        tuple(row["brands"].split()),
        row["created_ms"],
        row["used_ms"],
        row["revoked"],
    )
