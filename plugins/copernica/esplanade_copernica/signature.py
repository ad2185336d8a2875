"""Whether a webhook or callback is Copernica's: its signature, step by step (fact 10.4).

The scheme is draft-cavage-http-signatures with the ``Digest`` header of RFC 3230. Headers, the names that must be covered,
and where the keys are come from the vendor's page on its signature header and its own library for checking it. Which
algorithms are let in, the 60 s for clocks that run ahead, and the memory of what came before are ours.
That the request came over TLS is the affair of whatever takes it in: here it cannot be seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from esplanade.http import same

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from esplanade import InboundRequest

    from .keys import Keys
    from .settings import CopernicaSettings

AHEAD = timedelta(seconds=60)
"""How far the vendor's clock may run ahead of ours."""
COVERED = ("(request-target)", "host", "date", "digest", "x-copernica-id")
"""What every signature must cover; X-Nonce too where ``require_nonce`` says so."""
MAX_COVERED = 50
DIGESTS = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}

_ACCOUNT = re.compile(r"(?:account|environment)[-_]([0-9]{1,20})", re.IGNORECASE)
_KEY_ID = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+copernica\.com", re.IGNORECASE)
_PART = re.compile(r'([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))[\s,]*')


class _Refusal(Exception):
    """Why a request is not let in, fit for a log: it holds nothing of what somebody else wrote."""


class Signature(Struct, frozen=True, kw_only=True):
    """A ``Signature`` header, read."""

    key_id: str
    covers: tuple[str, ...]
    """Names in lower case, in the order in which they were signed."""
    signature: bytes


class NonceMemory:
    """Which signatures came before. A signature is as good as a nonce: no two requests have the same, and none can be altered.

    It is in memory only. After a restart a request that was recorded on its way can be sent once more while its Date is
    fresh (``max_age_s``); what it says then carries the vendor's time and the same event id as before, so it changes nothing.
    One that comes while the memory is full of others takes the place of the oldest.
    """

    def __init__(self, *, max_entries: int = 100_000) -> None:
        self._max = max_entries
        self._seen: OrderedDict[bytes, tuple[datetime, datetime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def first_time(self, signature: bytes, *, received_at: datetime, until: datetime) -> bool:
        """Whether a signature was never seen in another request; from now on it was. Forgets what was to be kept ``until`` now.

        A request that is looked at again (it has the same ``received_at``) is no other one: the core checks a stored
        request anew with every attempt to read it.
        """
        self._forget(received_at)
        known = self._seen.setdefault(hashlib.sha256(signature).digest(), (received_at, until))
        if len(self._seen) > self._max:
            self._seen.popitem(last=False)
        return known[0] == received_at

    def _forget(self, now: datetime) -> None:
        # They came in nearly in the order in which they end, so one that ends late holds up few.
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest][1] >= now:
                return
            del self._seen[oldest]


class Verifier:
    """Checks requests for one account."""

    def __init__(self, settings: CopernicaSettings, keys: Keys, memory: NonceMemory | None = None) -> None:
        self._settings = settings
        self._keys = keys
        self._memory = memory if memory is not None else NonceMemory()
        self._trusted = frozenset(key_id.lower() for key_id in settings.signature_keys)

    async def why_not(self, request: InboundRequest, *, account_id: str) -> str | None:
        """Why a request is not the vendor's, in words for a log; None when it is. Raises TemporaryError when DNS is silent.

        ``account_id`` is ``id`` of the vendor's ``identity``. Age is measured at ``received_at``, so a request that is
        looked at again later is judged as it was when it came.
        """
        try:
            _check_digest(request)
            dated = _check_date(request, timedelta(seconds=self._settings.max_age_s))
            _check_account(request, account_id)
            signed = read_signature(request.headers.get("signature", ""), trusted=self._trusted)
            self._check_covered(signed)
            text = signing_string(request, signed.covers, host=self._host(request))
            await self._check_key(signed, text)
        except _Refusal as why:
            return str(why)
        until = dated + timedelta(seconds=self._settings.max_age_s)
        if not self._memory.first_time(signed.signature, received_at=request.received_at, until=until):
            return "the same request came before"
        return None

    def _host(self, request: InboundRequest) -> str:
        """The host that the vendor must have signed: ``public_host`` where it is set, whatever a proxy made of the header."""
        host = request.headers.get("host", "").strip()
        public = self._settings.public_host
        if public is None:
            return host
        return host if re.sub(r":\d+\Z", "", host).lower() == public.lower() else public

    def _check_covered(self, signed: Signature) -> None:
        needed = (*COVERED, "x-nonce") if self._settings.require_nonce else COVERED
        for name in needed:
            if name not in signed.covers:
                raise _Refusal(f"the signature does not cover {name}")

    async def _check_key(self, signed: Signature, text: bytes) -> None:
        answer = await self._keys.read(signed.key_id)
        if _fits_any(answer.keys, signed.signature, text):
            return
        # The vendor changes its keys every month, and a name may get another key before DNS lets go of the old one.
        again = await self._keys.read(signed.key_id, instead_of=answer)
        if again is not answer and _fits_any(again.keys, signed.signature, text):
            return
        raise _Refusal("the signature does not fit" if again.keys else "DNS has no such key")


def read_signature(header: str, *, trusted: Collection[str] = ()) -> Signature:
    """The parts of a ``Signature`` header; they may be parted by commas, blanks or folded lines.

    ``trusted`` are key ids, in lower case, that need not be under copernica.com: the operator has given their keys.
    """
    if not header.strip():
        raise _Refusal("there is no Signature header")
    parts = _parts(header)
    if parts.get("algorithm", "").lower() != "rsa-sha256":
        raise _Refusal("the signature's algorithm is not rsa-sha256")
    key_id = parts.get("keyid", "").strip()
    if key_id.lower() not in trusted and not _KEY_ID.fullmatch(key_id):
        raise _Refusal("the key is not under copernica.com")
    covers = tuple(parts.get("headers", "").lower().split())
    if len(covers) > MAX_COVERED:
        raise _Refusal("the signature covers too many headers")
    signature = _base64(parts.get("signature", ""))
    if not signature:
        raise _Refusal("the signature is not base64")
    return Signature(key_id=key_id, covers=covers, signature=signature)


def signing_string(request: InboundRequest, covers: Iterable[str], *, host: str) -> bytes:
    """What the vendor signed, as its library builds it: ``name: value`` by line, in the order named, no line feed at the end."""
    lines = [f"{name}: {_value_of(name, request, host)}" for name in covers]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _value_of(name: str, request: InboundRequest, host: str) -> str:
    if name == "(request-target)":
        target = f"{request.path}?{request.query}" if request.query else request.path
        return f"{request.method.lower()} {target}"
    value = host if name == "host" else request.headers.get(name, "").strip()
    if not value:
        raise _Refusal("the signature covers a header that is not there")
    return value


def _parts(header: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    header, at = header.strip(", \t\r\n"), 0
    while at < len(header):
        found = _PART.match(header, at)
        if found is None or found[1].lower() in parts:
            raise _Refusal("the Signature header cannot be read")
        parts[found[1].lower()] = found[2] if found[2] is not None else found[3]
        at = found.end()
    return parts


def _check_digest(request: InboundRequest) -> None:
    """Every digest that the hub knows must be the body's, and there must be one."""
    header = request.headers.get("digest")
    if header is None:
        raise _Refusal("there is no Digest header")
    known = 0
    for each in header.split(","):
        algorithm, _, value = each.partition("=")
        digest = DIGESTS.get(algorithm.strip().lower())
        if digest is None:
            continue
        known += 1
        if not same(_base64(value), digest(request.body).digest()):
            raise _Refusal("the body is not the one that was signed")
    if not known:
        raise _Refusal("the digest is neither SHA-256 nor SHA-512")


def _check_date(request: InboundRequest, max_age: timedelta) -> datetime:
    header = request.headers.get("date")
    if header is None:
        raise _Refusal("there is no Date header")
    try:
        dated = parsedate_to_datetime(header)
        dated = dated.replace(tzinfo=UTC) if dated.tzinfo is None else dated.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        raise _Refusal("the Date header cannot be read") from None
    age = request.received_at - dated
    if age > max_age:
        raise _Refusal("the request is too old")
    if age < -AHEAD:
        raise _Refusal("the request is from the future; compare the clocks")
    return dated


def _check_account(request: InboundRequest, account_id: str) -> None:
    """One page of the vendor's writes account-771, another account_771: only the number is compared."""
    found = _ACCOUNT.fullmatch(request.headers.get("x-copernica-id", "").strip())
    if found is None:
        raise _Refusal("the X-Copernica-ID header is missing or names no account")
    if not same(found[1], account_id):
        raise _Refusal("the request is another account's")


def _fits_any(keys: Iterable[RSAPublicKey], signature: bytes, text: bytes) -> bool:
    return any(_fits(key, signature, text) for key in keys)


def _fits(key: RSAPublicKey, signature: bytes, text: bytes) -> bool:
    """RSA PKCS#1 v1.5 with SHA-256."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(signature, text, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _base64(text: str) -> bytes:
    """What base64 stands for; lines may be folded inside it. Empty when it is none."""
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError):
        return b""
