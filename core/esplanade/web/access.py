"""Who may come in: sources by their token, operators by the admin token or by being on this machine."""

import ipaddress
import os
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from msgspec import Struct

from esplanade.config.model import Config, Source
from esplanade.http.signatures import same

from .port import HubPort
from .problems import Problem

_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
_BEARER = b"Bearer "
_HERE = frozenset({"same-origin", "none"})


class _Known(Struct, frozen=True):
    header: bytes
    name: str
    source: Source


class Doors:
    """Checks tokens against the configuration as it is now."""

    def __init__(self, hub: HubPort) -> None:
        self._hub = hub
        self._config: Config | None = None
        self._salt = os.urandom(16)
        self._sources: dict[int, _Known] = {}

    def source(self, request: web.Request) -> tuple[str, Source]:
        """The source whose token this is. Raises Problem 401."""
        if self._hub.config is not self._config:
            self._learn(self._hub.config)
        given = _bytes(request.headers.get(hdrs.AUTHORIZATION, ""))
        known = self._find(given) or self._find(_BEARER + _bearer(given))
        if known is None:
            raise _unauthorized("give the source's token as `Authorization: Bearer …`")
        return known.name, known.source

    def operator(self, request: web.Request) -> None:
        """Let an operator in. Raises Problem 401, 403."""
        token = self._hub.config.hub.admin_token.reveal()
        if token:
            if not same(_bearer(_bytes(request.headers.get(hdrs.AUTHORIZATION, ""))), token.encode()):
                raise _unauthorized("give hub.admin_token as `Authorization: Bearer …`")
        elif (why := _not_from_here(request)) is not None:
            raise Problem(403, f"without hub.admin_token only this machine may do this: {why}; set hub.admin_token")

    def _learn(self, config: Config) -> None:
        known = [
            _Known(_BEARER + each.token.reveal().encode(), name, each)
            for name, each in config.sources.items()
            if each.token.reveal()
        ]
        self._sources = {self._hash(each.header): each for each in known}
        self._config = config

    def _find(self, header: bytes) -> _Known | None:
        """Whose header this is: found by its hash, and then compared in a time that does not tell where they differ."""
        known = self._sources.get(self._hash(header))
        return known if known is not None and same(known.header, header) else None

    def _hash(self, header: bytes) -> int:
        # Python keys its hashes with a secret of the process, unless PYTHONHASHSEED gives it away. Behind the salt nobody
        # can tell what hash a header has, so the time that the look-up takes tells nothing about the tokens.
        return hash(self._salt + header)


def _bearer(header: bytes) -> bytes:
    scheme, _, token = header.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _bytes(header: str) -> bytes:
    return header.encode("utf-8", "surrogateescape")


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
