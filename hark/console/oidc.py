"""Signing in by OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636).

The identity's claim says the role, at every sign-in anew: who loses the group loses the role. A person is known by
issuer and subject, never by a name or an address that somebody else could be given later.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from itsdangerous import BadSignature, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from hark.core.errors import RefusedError, SettingsError, TransientError
from hark.settings import OidcSettings
from hark.state.people import People, Person

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
MINUTES = 10
"""How long one may take to sign in at the provider."""
_TIMEOUT_SECONDS = 10.0
_KNOWN_SECONDS = 3_600.0
_LEEWAY_SECONDS = 60


class Begun(Struct, frozen=True):
    """A sign-in that was begun: where to go, and what the browser keeps in a cookie until it comes back."""

    address: str
    cookie: str


class Provider:
    """The provider of hark.toml's [console.oidc]. Safe to use from several threads."""

    def __init__(self, settings: OidcSettings) -> None:
        parts = urlsplit(settings.issuer)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise SettingsError(
                f"hark.toml: console.oidc.issuer: expected an https address, found {settings.issuer!r}"
            )
        self._settings = settings
        key = hashlib.sha256(b"hark oidc " + settings.client_secret.encode()).digest()
        self._signed = URLSafeTimedSerializer(key, salt="sign-in")
        self._known: tuple[float, dict[str, Any]] | None = None

    def begin(self, back: str, next: str) -> Begun:
        """Return where the browser goes to sign in; it comes back to `back`. Raises TransientError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": back,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        cookie = self._signed.dumps({"state": state, "nonce": nonce, "verifier": verifier, "next": next})
        endpoint = str(self._metadata()["authorization_endpoint"])
        joint = "&" if urlsplit(endpoint).query else "?"
        return Begun(f"{endpoint}{joint}{urlencode(asked)}", cookie)

    def finish(self, cookie: str, code: str, state: str, back: str) -> tuple[dict[str, Any], str]:
        """Return the identity's claims, and the page that was wanted; RefusedError says what is wrong with it."""
        try:
            kept = self._signed.loads(cookie, max_age=MINUTES * 60)
        except BadSignature as error:
            raise RefusedError("This sign-in was begun elsewhere or too long ago: begin again.") from error
        if not hmac.compare_digest(str(kept["state"]).encode(), state.encode()):
            raise RefusedError("This answer belongs to another sign-in: begin again.")
        answer = self._ask(
            "POST",
            str(self._metadata()["token_endpoint"]),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": back,
                "code_verifier": kept["verifier"],
            },
            auth=(self._settings.client_id, self._settings.client_secret),
        )
        return self._claims(str(answer.get("id_token", "")), str(kept["nonce"])), str(kept["next"])

    def role(self, claims: dict[str, Any]) -> str:
        """Return the role that the identity's claim gives; RefusedError when it gives none."""
        found = claims.get(self._settings.claim)
        values = found if isinstance(found, list) else [found]
        for value, role in self._settings.roles.items():
            if value in values:
                return role
        raise RefusedError(
            f"Your account at {self._settings.title} has no role here: its claim {self._settings.claim!r} is none of "
            "those that hark.toml lists. Ask an administrator."
        )

    def person(self, claims: dict[str, Any], people: People) -> Person:
        """Return the person of these claims, with the role of today; made when they come for the first time."""
        role, subject = self.role(claims), f"{self._settings.issuer} {claims['sub']}"
        known = people.of_subject(subject)
        if known is None:
            return people.add(_name(claims), role, None, subject=subject, by=self._settings.title)
        if known.disabled:
            raise RefusedError("This account is switched off here. Ask an administrator.")
        if known.role not in (role, "partner"):  # a partner's brands are given here, so the role is too
            return people.change(known.name, role=role, by=self._settings.title)
        return known

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        keys = KeySet.import_key_set(self._ask("GET", str(self._metadata()["jwks_uri"])))  # type: ignore[arg-type]
        try:
            claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise RefusedError(f"The identity that the provider sent does not hold: {error}") from error
        parties = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(parties) > 1 and claims.get("azp") != self._settings.client_id:
            raise RefusedError("The identity that the provider sent is meant for somebody else.")
        return dict(claims)

    def _metadata(self) -> dict[str, Any]:
        if self._known is None or time.monotonic() - self._known[0] > _KNOWN_SECONDS:
            address = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = self._ask("GET", address)
            if found.get("issuer") != self._settings.issuer:
                raise SettingsError(
                    f"hark.toml: console.oidc.issuer: {address} calls itself {found.get('issuer')!r}"
                )
            self._known = time.monotonic(), found
        return self._known[1]

    def _ask(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        try:
            answer = httpx2.request(method, address, timeout=_TIMEOUT_SECONDS, **more)
        except httpx2.HTTPError as error:
            raise TransientError(f"{self._settings.title} does not answer: {error}") from error
        if answer.status_code >= 500:
            raise TransientError(f"{self._settings.title} is in trouble: it answered {answer.status_code}")
        try:
            found = answer.json()
        except ValueError as error:
            raise RefusedError(f"{self._settings.title} answered with something that is not JSON") from error
        if answer.status_code != 200 or not isinstance(found, dict):
            why = found.get("error", answer.status_code) if isinstance(found, dict) else answer.status_code
            raise RefusedError(f"{self._settings.title} refused: {str(why)[:100]}")
        return found


def _name(claims: dict[str, Any]) -> str:
    """Return a name that people.add takes, from what the identity is called."""
    called = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])
    return re.sub(r"[^a-z0-9._@+-]+", "-", called.lower()).strip("._@+-")[:64] or "somebody"
