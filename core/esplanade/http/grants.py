"""The ways in which a session comes to its token: what is asked of the token endpoint, and what its answer grants."""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from esplanade.connector import OAuth2ClientCredentials, TokenExchange

ASSUMED_LIFETIME_S = 3600.0
_TOKEN = re.compile(r"[\w!#$%&'*+./:;=?@^`|~()-]{1,8000}", re.ASCII)
_TOKEN_NAMES = ("token", "access_token", "jwt")


class Granted(NamedTuple):
    """A token, and for how many seconds it is good."""

    token: str
    lifetime_s: float


class Grant(Protocol):
    """One way to a token."""

    token_url: str
    early_s: float
    """So long before its end a token is renewed."""
    wanted: str
    """What the token is called in the endpoint's answer."""
    remedy: str
    """What an operator can do when the token is refused."""
    unread: int | None
    """The status that says by itself that a token is no good, so that its body need not be read."""

    def form(self) -> dict[str, str]:
        """What is sent to the token endpoint, as a form."""
        ...

    def read(self, body: bytes, now: float) -> Granted | None:
        """What the token endpoint grants; None when there is no usable token in its answer."""
        ...

    def refuses(self, status: int, body: bytes) -> bool:
        """Whether an answer to a call says that its token is no good."""
        ...


class ClientCredentials:
    """OAuth2 client credentials (https://www.rfc-editor.org/rfc/rfc6749#section-4.4)."""

    unread: int | None = 401
    wanted = "access_token"
    remedy = "check client id, client secret, scope and token_url"

    def __init__(self, auth: OAuth2ClientCredentials) -> None:
        self.token_url = auth.token_url
        self.early_s = auth.early_s
        self._auth = auth

    def form(self) -> dict[str, str]:
        auth = self._auth
        form = {"grant_type": "client_credentials", "client_id": auth.client_id, "client_secret": auth.client_secret}
        if auth.scope:
            form["scope"] = auth.scope
        return form

    def read(self, body: bytes, now: float) -> Granted | None:
        granted = object_in(body)
        return _usable(granted.get("access_token"), _seconds(granted.get("expires_in")))

    def refuses(self, status: int, body: bytes) -> bool:
        return status == 401


class Exchange:
    """A key for a token, which comes as plain text, as a JSON string, or in an object under one of the usual names."""

    unread: int | None = 401
    wanted = "token"
    remedy = "check the API key, its rights, and from which addresses it may be used"

    def __init__(self, auth: TokenExchange) -> None:
        self.token_url = auth.token_url
        self.early_s = auth.early_s
        self._auth = auth

    def form(self) -> dict[str, str]:
        return dict(self._auth.form)

    def read(self, body: bytes, now: float) -> Granted | None:
        token = _token_in(body)
        ends_at = _expiry(token) if token is not None else None
        return _usable(token, self._auth.lifetime_s if ends_at is None else ends_at - now)

    def refuses(self, status: int, body: bytes) -> bool:
        return status in {401, 403} or (status == 400 and b"token" in body[:4_096].lower())


def object_in(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; empty where it is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usable(token: object, lifetime_s: float) -> Granted | None:
    """A token that may stand in a header: not a page or a piece of JSON, and not longer than servers read."""
    return Granted(token, lifetime_s) if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def _seconds(given: object) -> float:
    try:
        seconds = float(given) if isinstance(given, (int, float, str)) else ASSUMED_LIFETIME_S
    except (ValueError, OverflowError):
        return ASSUMED_LIFETIME_S
    return ASSUMED_LIFETIME_S if math.isnan(seconds) else seconds


def _token_in(body: bytes) -> str | None:
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return None
    if text[:1] not in {'"', "{"}:
        return text
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if isinstance(found, dict):
        found = next((found[name] for name in _TOKEN_NAMES if name in found), None)
    return found.strip() if isinstance(found, str) else None


def _expiry(token: str) -> float | None:
    """When a JWT ends, by its own word (RFC 7519, ``exp``); None where it does not say."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = object_in(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    ends_at = claims.get("exp")
    return float(ends_at) if isinstance(ends_at, (int, float)) and math.isfinite(ends_at) else None
