"""What the twin sends to the hub: bodies of webhooks and callbacks, their signatures, and the DNS server that has the keys.

Bodies: section 10.3 (webhook pages) and the three shapes of section 11 (callback pages, a live module, a screenshot).
Signatures: section 10.4 (signature-header page and the vendor's own library), which is draft-cavage-http-signatures.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.rdtypes.ANY.TXT import TXT

from .twin_account import Event, Record
from .twin_fields import http_date, local
from .twin_hooks import Shape

FORM = "application/x-www-form-urlencoded"
KEY_ID = "one._domainkey.copernica.com"
COVERED = ("(request-target)", "host", "date", "x-copernica-id", "digest", "x-nonce")
"""What a signature covers, in this order. The vendor's library asks for no more; X-Nonce came last."""
_READER = {"ip": "192.0.2.7", "useragent": "Mozilla/5.0", "referer": ""}
_USUAL: dict[str, dict[str, str]] = {
    "click": {**_READER, "original": "https://shop.example.net/"},
    "open": _READER,
    "bounce": {"envelope": "", "mime": "Content-Type: multipart/report"},
    "failure": {
        "action": "failed",
        "state": "rcpt",
        "code": "550",
        "extended": "5.1.1",
        "description": "no such mailbox",
    },
}
"""What a mail event says besides, unless it is told otherwise."""


# Bodies.


def webhook_body(event: Event, number: int) -> bytes:
    """The form of one webhook, in bracket notation. ``id`` is a number of the call, not of the profile."""
    record = event.record
    if event.message is not None:
        return urlencode([*bracketed(_about_a_mail(event))]).encode()
    said: dict[str, Any] = {"id": str(number), "type": event.type, **_place(record)}
    said |= {"timestamp": local(event.at), "time": str(int(event.at))}
    if event.type == "unsubscribe":
        return urlencode([*bracketed({**said, "mailing": str(event.mailing or 912)})]).encode()
    if event.type != "delete":
        said["parameters"] = event.parameters
    said["fields"] = record.fields
    if event.type != "delete":
        interests = {"interests": record.interests} if record.collection is None else {}
        said |= {**interests, "created": local(record.created), "modified": local(record.modified)}
    return urlencode([*bracketed(said)]).encode()


def _about_a_mail(event: Event) -> dict[str, Any]:
    """A click and the like: ``id`` is the message's, which several events have in common."""
    when = {"timestamp": local(event.at), "time": str(int(event.at))}
    place = {"profile": str(event.record.id), "mailing": str(event.mailing)}
    return {
        "id": str(event.message),
        "type": event.type,
        **when,
        **place,
        **_USUAL.get(event.type, {}),
        **event.details,
    }


def _place(record: Record) -> dict[str, str]:
    if record.collection is None:
        return {"profile": str(record.id), "database": str(record.database)}
    below = {"subprofile": str(record.id), "profile": str(record.profile)}
    return {**below, "database": str(record.database), "collection": str(record.collection)}


def bracketed(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Maps as ``fields[Email]``, lists as ``interests[]``; empty ones leave no trace."""
    for key, value in said.items():
        if isinstance(value, dict):
            yield from ((f"{key}[{name}]", text) for name, text in value.items())
        elif isinstance(value, list):
            yield from ((f"{key}[]", text) for text in value)
        else:
            yield key, value


def callback_body(event: Event, shape: Shape) -> tuple[bytes, str]:
    """The body of a callback and its Content-Type.

    A is JSON with the current fields; B a form whose variable ``json`` has the old fields and what changed; C is XML with old
    and new fields, without any id. How B speaks of a subprofile, and the outer element of C, are inferred.
    """
    record = event.record
    match shape:
        case "A":
            interests = {"interests": record.interests} if record.collection is None else {}
            said = {"id": str(record.id), "action": event.type, "fields": record.fields, **interests}
            return msgspec.json.encode(said), "application/json"
        case "B":
            about = {"ID": str(record.id), "fields": event.before, "database": str(record.database)}
            above = (
                {} if record.profile is None else {"collection": str(record.collection), "profile": str(record.profile)}
            )
            text = msgspec.json.encode({record.kind: {**about, **above}, "parameters": event.parameters}).decode()
            return urlencode({"json": text}).encode(), FORM
        case "C":
            root = Element("callback")
            updated = {} if event.type == "delete" else record.fields
            changed = {name: text for name, text in updated.items() if event.before.get(name) != text}
            for tag, fields in (("fields", event.before), ("updated", changed)):
                inner = SubElement(root, tag)
                for name, text in fields.items():
                    SubElement(inner, name.replace(" ", "_")).text = text
            return tostring(root, encoding="utf-8", xml_declaration=True), "text/xml"


# Keys and signatures.


@cache
def _private_key(number: int) -> rsa.RSAPrivateKey:
    """The process's keys are made once each, for making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def foreign_key() -> rsa.RSAPrivateKey:
    """A key that no DNS has: of somebody else, or from before the vendor's first."""
    return _private_key(-1)


class Signer:
    """Signs as the vendor does, with the key that its DNS has just then."""

    def __init__(self, account: int, now: Callable[[], float], dns_server: KeyServer) -> None:
        self.account = account
        self.now = now
        self.dns = dns_server
        self.key_id = KEY_ID
        self._turn = 0
        self._publish()

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return _private_key(self._turn)

    def rotate(self, key_id: str | None = None) -> None:
        """Another key from now on, under the same name or, beside the old one, under a new name."""
        self._turn += 1
        self.key_id = key_id or self.key_id
        self._publish()

    def _publish(self) -> None:
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.dns.texts[self.key_id] = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"

    def headers(
        self,
        url: str,
        body: bytes,
        content_type: str = FORM,
        *,
        method: str = "POST",
        covered: Sequence[str] = COVERED,
        algorithm: str = "rsa-sha256",
        key_id: str | None = None,
        key: rsa.RSAPrivateKey | None = None,
        **instead: str,
    ) -> dict[str, str]:
        """The headers of a request to ``url``. ``instead`` puts another value for a header, such as ``date=...``."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": parts.netloc,
            "Date": http_date(self.now()),
            "Content-Type": content_type,
            "X-Copernica-ID": f"account_{self.account}",
            "Digest": f"SHA-256={base64.b64encode(hashlib.sha256(body).digest()).decode()}",
            "X-Nonce": secrets.token_hex(16),
        }
        by_name = {name.lower(): name for name in headers}
        headers |= {by_name[name.replace("_", "-")]: value for name, value in instead.items()}
        signed = {name.lower(): value for name, value in headers.items()}
        signed |= {"(request-target)": f"{method.lower()} {path}", "content-length": str(len(body))}
        text = "\n".join(f"{name.lower()}: {signed[name.lower()].strip()}" for name in covered)
        seal = base64.b64encode((key or self.key).sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()
        said = {"keyId": key_id or self.key_id, "algorithm": algorithm, "headers": " ".join(covered), "signature": seal}
        return {**headers, "Signature": ",".join(f'{name}="{value}"' for name, value in said.items())}


class KeyServer(asyncio.DatagramProtocol):
    """A DNS server on loopback that has TXT records in DKIM syntax, and nothing else."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """What is answered, by key id; changed at will by tests."""
        self.ttl = 3600
        self.queries: list[str] = []
        """The names that were asked for, in order."""
        self.broken = False
        """Answer SERVFAIL to all."""
        self.address = ""
        """``host:port``, once started."""
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        made, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._transport = made
        self.address = "127.0.0.1:{}".format(made.get_extra_info("sockname")[1])

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._transport is not None:
            self._transport.sendto(self._answer(dns.message.from_wire(data)).to_wire(), addr)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.queries.append(name)
        answer = dns.message.make_response(query)
        text = self.texts.get(name.lower())
        if self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif text is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.TXT:
            pieces = [text[at : at + 255].encode() for at in range(0, len(text), 255)]
            said = TXT(dns.rdataclass.IN, dns.rdatatype.TXT, pieces or [b""])
            answer.answer.append(dns.rrset.from_rdata(question.name, self.ttl, said))
        return answer
