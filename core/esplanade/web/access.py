"""Who may come in: sources by their token, operators by the admin token or by being on this machine."""

import hashlib
import ipaddress
import os
from urllib.parse import urlsplit

from aiohttp import web

from esplanade.config.model import Config, Source
from esplanade.http.signatures import same

from .port import HubPort
from .problems import Problem

_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
_HERE = frozenset({"same-origin", "none"})


class Doors:
    """Checks tokens against the configuration as it is now."""

    def __init__(self, hub: HubPort) -> None:
        self._hub = hub
        self._config: Config | None = None
        self._salt = os.urandom(16)
        self._sources: dict[bytes, str] = {}

    def source(self, request: web.Request) -> tuple[str, Source]:
        """The source whose token this is. Raises Problem 401."""
        if self._hub.config is not self._config:
            self._learn(self._hub.config)
        name = self._sources.get(self._digest(_bearer(request)))
        if name is None:
            raise _unauthorized("give the source's token as `Authorization: Bearer …`")
        return name, self._hub.config.sources[name]

    def operator(self, request: web.Request) -> None:
        """Let an operator in. Raises Problem 401, 403."""
        token = self._hub.config.hub.admin_token.reveal()
        if token:
            if not same(_bearer(request), token.encode()):
                raise _unauthorized("give hub.admin_token as `Authorization: Bearer …`")
        elif (why := _not_from_here(request)) is not None:
            raise Problem(403, f"without hub.admin_token only this machine may do this: {why}; set hub.admin_token")

    def _learn(self, config: Config) -> None:
        # Looked up by a salted digest, so that the time it takes tells nothing about the tokens.
        tokens = [(each.token.reveal(), name) for name, each in config.sources.items()]
        self._sources = {self._digest(token.encode()): name for token, name in tokens if token}
        self._config = config

    def _digest(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._salt, digest_size=32).digest()


def _bearer(request: web.Request) -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return b""
    return token.strip().encode("utf-8", "surrogateescape")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="esplanade"'})


def _not_from_here(request: web.Request) -> str | None:
    """Why a request may come from elsewhere: another machine, a proxy, or another site in this machine's browser."""
    if not _is_loopback(request.remote or ""):
        return "this request came from another one"
    if any(name in request.headers for name in _FORWARDING):
        return "this request came through a proxy"
    host = request.headers.get("Host", "")
    if not _is_loopback(_host_name(f"//{host}")):
        return "this request names another host"
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"{request.url.scheme}://{host}".lower():
        return "this request came from another site"
    if request.headers.get("Sec-Fetch-Site", "none") not in _HERE:
        return "this request came from another site"
    return None


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
