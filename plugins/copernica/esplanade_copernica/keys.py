"""The vendor's public keys, from DNS. Every signature names its key as a host name; its TXT record there is in DKIM's syntax.

Facts 10.4, steps 10 and 12: the vendor's page on its signature header and its own library for checking it
(``v=DKIM1; k=rsa; p=...``; keys change every month). How long an answer is kept is ours: as long as DNS says, one hour at most.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from esplanade import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from dns.asyncresolver import Resolver

    from esplanade import Clock

KEPT_AT_MOST_S = 3_600.0
"""However long DNS lets a record be kept."""
NO_KEY_KEPT_S = 60.0
"""How long to believe that there is no such key."""
FAILURE_KEPT_S = 2.0
"""How long nobody asks again after DNS did not answer, so that those who wait do not each wait in turn."""
ASKED_AGAIN_S = 10.0
"""How old an answer must be before a wrong signature is a reason to ask again, so that forgers cause few questions."""
MAX_NAMES = 64
MIN_BITS = 1_024


class Answer(Struct, frozen=True, kw_only=True, eq=False):
    """What DNS said of one name. Times are seconds of the clock's ``monotonic``."""

    keys: tuple[RSAPublicKey, ...]
    """Empty: there is no such key."""
    asked_at: float
    until: float


class _Name(Struct, kw_only=True, eq=False):
    """What is known of one name, and whose turn it is to ask."""

    lock: asyncio.Lock
    answer: Answer | None = None
    failed_until: float = float("-inf")


class Keys:
    """Public keys by name, each asked for once, however many wait for it.

    ``known`` are keys by name, in any form that ``public_key`` reads; DNS is not asked for these names. ``dns_server`` is
    ``address:port``, None for the system's; ``resolver`` is used instead of either. ``timeout_s`` bounds one question, its
    repeats included.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        known: Mapping[str, str] | None = None,
        dns_server: str | None = None,
        resolver: Resolver | None = None,
        timeout_s: float = 3.0,
    ) -> None:
        self._clock = clock
        self._known = {key_id.lower(): _answer_of(text) for key_id, text in (known or {}).items()}
        self._dns_server = dns_server
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._names: dict[str, _Name] = {}

    async def read(self, key_id: str, *, instead_of: Answer | None = None) -> Answer:
        """The keys at a name. Raises TemporaryError when DNS does not answer.

        ``instead_of`` is an answer whose keys were of no use: DNS is asked again, unless it was asked only just now.
        """
        key_id = key_id.lower()
        if key_id in self._known:
            return self._known[key_id]
        name = self._name(key_id)
        if (known := self._usable(name, instead_of)) is not None:
            return known
        async with name.lock:
            if (known := self._usable(name, instead_of)) is not None:
                return known
            if self._clock.monotonic() < name.failed_until:
                raise _no_answer()
            try:
                name.answer = await self._ask(key_id)
            except TemporaryError:
                name.failed_until = self._clock.monotonic() + FAILURE_KEPT_S
                raise
            return name.answer

    def _name(self, key_id: str) -> _Name:
        name = self._names.pop(key_id, None) or _Name(lock=asyncio.Lock())
        self._names[key_id] = name  # last again, as the one used last
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
        return name

    def _usable(self, name: _Name, instead_of: Answer | None) -> Answer | None:
        answer, now = name.answer, self._clock.monotonic()
        if answer is None or now >= answer.until:
            return None
        return None if answer is instead_of and now >= answer.asked_at + ASKED_AGAIN_S else answer

    async def _ask(self, key_id: str) -> Answer:
        if self._resolver is None:
            self._resolver = await asyncio.to_thread(_resolver_at, self._dns_server)
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN, YXDOMAIN, NoAnswer

        asked_at = self._clock.monotonic()
        try:
            found = await self._resolver.resolve(key_id, "TXT", lifetime=self._timeout_s, search=False)
        except (NXDOMAIN, YXDOMAIN, NoAnswer):
            return Answer(keys=(), asked_at=asked_at, until=asked_at + NO_KEY_KEPT_S)
        except (DNSException, OSError):
            raise _no_answer() from None
        texts = [b"".join(record.strings) for record in found]
        keys = tuple(key for key in map(key_in, texts) if key is not None)
        ttl = found.rrset.ttl if found.rrset is not None else 0
        kept_s = min(float(ttl), KEPT_AT_MOST_S if keys else NO_KEY_KEPT_S)
        return Answer(keys=keys, asked_at=asked_at, until=asked_at + kept_s)


def key_in(text: bytes) -> RSAPublicKey | None:
    """The RSA key in a TXT record (RFC 6376, 3.6.1), its strings already joined; None when it holds none, or a withdrawn one."""
    tags = _tags(text.decode("ascii", "replace"))
    if tags.get("v", "DKIM1") != "DKIM1" or tags.get("k", "rsa").lower() != "rsa":
        return None
    return public_key(tags.get("p", ""))


def public_key(text: str) -> RSAPublicKey | None:
    """An RSA key in PEM, or as the base64 of its SubjectPublicKeyInfo; None for anything else, and for one that is too short."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if text.lstrip().startswith("-----BEGIN"):
            key = load_pem_public_key(text.strip().encode())
        else:
            key = load_der_public_key(base64.b64decode(re.sub(r"\s", "", text), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= MIN_BITS else None


def _answer_of(text: str) -> Answer:
    key = public_key(text)
    return Answer(keys=() if key is None else (key,), asked_at=0.0, until=float("inf"))


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _resolver_at(dns_server: str | None) -> Resolver:
    """Reads libraries, and the system's list of DNS servers where none is given: not for the event loop. Raises TemporaryError."""
    import cryptography.hazmat.primitives.asymmetric.padding
    import cryptography.hazmat.primitives.serialization  # noqa: F401 - soon needed, and slow to load
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException

    try:
        resolver = Resolver(configure=dns_server is None)
        if dns_server is not None:
            host, _, port = dns_server.rpartition(":") if re.search(r":\d+$", dns_server) else (dns_server, "", "53")
            resolver.nameservers = [host.strip("[]")]
            resolver.port = int(port)
    except (DNSException, OSError, ValueError):
        raise TemporaryError(
            "no DNS server can be asked for Copernica's keys; set dns_server to address:port"
        ) from None
    resolver.timeout = 1.0
    resolver.use_edns(0, 0, 1_232)  # keys are longer than what plain DNS carries over UDP
    return resolver


def _no_answer() -> TemporaryError:
    return TemporaryError("DNS does not answer where Copernica's keys are; the signature is checked again later")
