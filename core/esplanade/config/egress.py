"""Which vendor URLs may be written in the file. Names are judged again, by their addresses, when connecting."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias
from unicodedata import normalize
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_LOCALHOST: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_HOST = re.compile(r"[\w.:-]+")
_NAT64 = IPv6Network("64:ff9b::/96")


def network(text: str) -> Network:
    """A range of ``hub.egress.allow``; raises ValueError with the remedy."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address range such as 127.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"the address has bits beyond its prefix; did you mean {loose}?")


def literal(host: str) -> Address | None:
    """The address that a host stands for without asking DNS, also in the short forms that ``inet_aton`` takes."""
    try:
        return _unwrapped(ip_address(host))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError, ValueError):
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, which is where the packets would go."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_localhost(host: str) -> bool:
    """Whether a name means this machine, wherever it is resolved."""
    return host == "localhost" or host.endswith(".localhost")


def loopback(host: str) -> bool:
    """Whether a host can only be reached from this machine."""
    address = literal(host)
    return address.is_loopback if address is not None else is_localhost(host)


def public(address: Address) -> bool:
    """Whether an address belongs to the internet at large."""
    return address.is_global and not address.is_multicast and not address.is_reserved


def covered(addresses: Iterable[Address], allow: Sequence[Network]) -> bool:
    """Whether one of the addresses lies in a range that ``hub.egress.allow`` lists."""
    return any(address in each for address in addresses for each in allow)


def refused(url: str, allow: Sequence[Network], *, hidden: bool = False) -> str | None:
    """Why a vendor URL may not be called, with the remedy; None if it may, or if only its addresses can tell.

    ``hidden`` keeps the host out of the message, for URLs that are secrets.
    """
    try:
        parts = urlsplit(url)
        host = normalize("NFKC", parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        return "expected a URL such as https://api.vendor.example"
    address = literal(host)
    candidates = (address,) if address is not None else _LOCALHOST if is_localhost(host) else ()
    if covered(candidates, allow):
        return None
    if candidates and not public(candidates[0]):
        shown = "the host" if hidden else f"[{host}]" if ":" in host else host
        wanted = "its range" if hidden else f'["{candidates[0]}/{candidates[0].max_prefixlen}"]'
        return f"{shown} is not a public address; allow it with hub.egress.allow: {wanted}, or use twin: true"
    name_may_be_private = not candidates and bool(allow)
    if parts.scheme == "http" and not name_may_be_private:
        return "expected https; http is only for hosts that hub.egress.allow lists"
    return None
