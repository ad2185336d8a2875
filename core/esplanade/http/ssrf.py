"""The guard against being talked into calling private addresses (server-side request forgery).

It judges each address at the moment a socket to it is made, so a name that resolves to something else on second sight,
an IP literal, and a number in octal are all the same to it.
"""

from __future__ import annotations

import errno
import socket
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from aiohttp import ServerDisconnectedError, TCPConnector
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

Address: TypeAlias = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")


class EgressGuard:
    """Which addresses connectors may call: public ones over https, whatever ``allow`` covers, and the hub's own twins.

    ``allow`` holds CIDR ranges from ``hub.egress.allow``; plain http is permitted inside them. ``exempt`` holds origins
    whose host is an IP address or ``localhost``, such as ``http://127.0.0.1:40123``; other names are not exempted,
    because a name may resolve to anything. Raises ValueError when a range is none.
    """

    def __init__(self, allow: Sequence[str], exempt: Iterable[str] = ()) -> None:
        try:
            self._allow = [ip_network(each, strict=False) for each in allow]
        except ValueError as problem:
            raise ValueError(f"hub.egress.allow: {problem}; write a range such as 10.0.0.0/8") from None
        self._exempt = {pair for origin in exempt for pair in _exempted(origin)}

    def refusal(self, address: str, port: int, *, plain: bool) -> str | None:
        """Why this address may not be called, in words that follow the host's name; None when it may.

        ``plain`` says that the call would be without TLS.
        """
        try:
            raw = ip_address(address)
        except ValueError:
            return f"is at {address!r}, which is not an address"
        real = _unwrapped(raw)
        if (real, port) in self._exempt or any(each in network for network in self._allow for each in (raw, real)):
            return None
        if not _is_public(real):
            return f"is at {address}, which is not a public address"
        if plain:
            return f"is at {address} and would be called without TLS; use https"
        return None


def _exempted(origin: str) -> Iterable[tuple[Address, int]]:
    parts = urlsplit(origin)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    hosts = ["127.0.0.1", "::1"] if parts.hostname == "localhost" else [parts.hostname or ""]
    for host in hosts:
        try:
            yield _unwrapped(ip_address(host)), port
        except ValueError:
            continue


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it: mapped, NAT64, 6to4."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    # Teredo carries an address too, hidden; site-local is deprecated, and older Pythons take it for global.
    return isinstance(address, IPv4Address) or not (address.teredo or address.is_site_local)


class Call(Struct, kw_only=True):
    """What happened to one exchange below aiohttp's surface, where its exceptions do not tell."""

    plain: bool
    """Without TLS."""
    sent: bool = False
    """A connection was had, so bytes may have left."""
    tried: bool = False
    """At least one address was allowed."""
    refused: str | None = None
    """Why an address was not allowed."""


current_call: ContextVar[Call] = ContextVar("current_call")


class GuardedConnector(TCPConnector):
    """aiohttp's connection pool, where every socket passes the guard and every call learns whether it was sent."""

    def __init__(self, guard: EgressGuard, *, limit: int, keepalive_timeout_s: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout_s, socket_factory=self._guarded_socket)
        self._guard = guard

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        call = current_call.get()
        if call.sent:
            # aiohttp repeats some methods by itself when a connection was cut. Whether a call may go out twice is for its
            # caller to say, and what goes out must be counted by its pace; so the cut stays the end of it.
            raise ServerDisconnectedError
        connection = await super().connect(req, traces, timeout)
        call.sent = True
        return connection

    def _guarded_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (address, port, *_) = addr_info
        call = current_call.get()
        reason = self._guard.refusal(address, port, plain=call.plain)
        if reason is not None:
            call.refused = reason
            # An OSError, so that the next address of the same name still gets its chance.
            raise PermissionError(errno.EACCES, reason)
        call.tried = True
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return made
