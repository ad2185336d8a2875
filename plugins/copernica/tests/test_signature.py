"""Signatures of Copernica's calls, made with keys of our own, and keys that stand in a DNS server on loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.asyncresolver import Resolver
from hypothesis import given
from hypothesis import strategies as st

from esplanade import InboundRequest, Secret, TemporaryError
from esplanade.testing import FakeClock
from esplanade_copernica import signature
from esplanade_copernica.keys import MAX_NAMES, Keys, _resolver_at, key_in
from esplanade_copernica.settings import CopernicaSettings
from esplanade_copernica.signature import NonceMemory, Verifier

AT = datetime(2025, 3, 2, 9, 11, 12, tzinfo=UTC)
NAME = "one._domainkey.copernica.com"
COVERS = "(request-target) host date content-length content-type x-copernica-id digest x-nonce"
KEY = rsa.generate_private_key(65_537, 2_048)
OTHER = rsa.generate_private_key(65_537, 2_048)
SMALL = rsa.generate_private_key(65_537, 1_024)
BODY = b"type=update&profile=50411&database=31&fields%5BEmail%5D=noor%40example.net"
SETTINGS = CopernicaSettings(api_token=Secret("t"), database_id=31)


def record(key=KEY, kind="rsa", version="v=DKIM1; "):
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{version}k={kind}; p={base64.b64encode(der).decode()}".encode()


class DnsServer(asyncio.DatagramProtocol):
    """Answers TXT questions from ``records`` (name: texts, each in as many strings as it needs), and counts them."""

    def __init__(self):
        self.records = {NAME: [record()]}
        self.ttl = 600
        self.asked = []
        self.heard = asyncio.Event()
        self.silent = False
        self.rcode = None
        self.cut = 255

    @property
    def address(self):
        return "{}:{}".format(*self.transport.get_extra_info("sockname"))

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        question = dns.message.from_wire(data)
        name = question.question[0].name
        self.asked.append(name.to_text(omit_final_dot=True))
        self.heard.set()
        if self.silent:
            return
        answer = dns.message.make_response(question)
        texts = self.records.get(self.asked[-1])
        if self.rcode is not None or texts is None:
            answer.set_rcode(self.rcode or dns.rcode.NXDOMAIN)
        elif texts:
            quoted = [" ".join(f'"{part}"' for part in self.strings(text.decode())) for text in texts]
            answer.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "TXT", *quoted))
        self.transport.sendto(answer.to_wire(), addr)

    def strings(self, text):
        return [text[at : at + self.cut].replace(";", "\\;") for at in range(0, len(text), self.cut)]


@asynccontextmanager
async def serving():
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        DnsServer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()


@pytest.fixture
async def dns_server():
    async with serving() as server:
        yield server


@pytest.fixture
def clock():
    return FakeClock(AT.timestamp())


@pytest.fixture
def keys(dns_server, clock):
    return Keys(clock, dns_server=dns_server.address, timeout_s=1.0)


@pytest.fixture
def verifier(keys):
    return Verifier(SETTINGS, keys)


def digest_of(body, name="SHA-256"):
    function = {"SHA-256": hashlib.sha256, "SHA-512": hashlib.sha512, "MD5": hashlib.md5}[name.upper()]
    return f"{name}={base64.b64encode(function(body).digest()).decode()}"


def signed(
    body=BODY,
    *,
    key=KEY,
    covers=COVERS,
    key_id=NAME,
    algorithm="rsa-sha256",
    date=AT,
    received_at=AT,
    path="/hooks/copernica/k3y",
    query="",
    then=None,
    **headers,
):
    """A request as Copernica signs it. Keywords change headers before it is signed (None: left out), ``then`` afterwards."""
    own = {
        "host": "hub.example.net",
        "date": format_datetime(date, usegmt=True),
        "content-length": str(len(body)),
        "content-type": "application/x-www-form-urlencoded",
        "x-copernica-id": "account-771",
        "digest": digest_of(body),
        "x-nonce": "a1b2c3",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    own = {name: value for name, value in own.items() if value is not None}
    target = f"post {path}{f'?{query}' if query else ''}"
    lines = [f"{name}: {target if name == '(request-target)' else own.get(name, '')}" for name in covers.split()]
    made = base64.b64encode(key.sign("\n".join(lines).encode(), PKCS1v15(), SHA256())).decode()
    own["signature"] = f'keyId="{key_id}",algorithm="{algorithm}",headers="{covers}",signature="{made}"'
    after = {**own, **{name.replace("_", "-"): value for name, value in (then or {}).items()}}
    after = {name: value for name, value in after.items() if value is not None}
    return InboundRequest(method="POST", path=path, query=query, headers=after, body=body, received_at=received_at)


def altered(request, **parts):
    return msgspec.structs.replace(request, **parts)


def rewritten(request, old, new):
    header = request.headers["signature"].replace(old, new)
    return altered(request, headers={**request.headers, "signature": header})


@pytest.mark.parametrize(
    "request_",
    [
        signed(),
        signed(x_copernica_id="account_771"),
        signed(x_copernica_id="Account-771"),
        signed(x_copernica_id="environment_771"),
        signed(digest=digest_of(BODY, "sha-256")),
        signed(digest=digest_of(BODY, "SHA-512")),
        signed(digest=f"{digest_of(BODY, 'MD5')},{digest_of(BODY)}"),
        signed(query="a=b%20c&d"),
        signed(path="/hooks/copernica/k%33y"),
        signed(covers="digest x-nonce x-copernica-id date host (request-target)"),
        signed(date=AT - timedelta(seconds=300)),
        signed(date=AT + timedelta(seconds=60)),
        signed(b""),
        signed(b'{"type": "update"}', content_type="application/json"),
        signed(host="hub.example.net:8443"),
        rewritten(signed(), '",', '", '),
        rewritten(signed(), '",', '"\r\n '),
        rewritten(signed(), '",', '" '),
        rewritten(signed(), '="', ' = "'),
        rewritten(signed(), "(request-target) host", "(request-target)\r\n\tHost"),
        rewritten(signed(), "keyId", "keyid"),
        rewritten(signed(), "rsa-sha256", "RSA-SHA256"),
        rewritten(signed(), NAME, NAME.upper()),
    ],
)
async def test_a_request_that_copernica_signed_is_let_in(verifier, request_):
    assert await verifier.why_not(request_, account_id="771") is None


async def test_a_signature_may_be_folded_anywhere_inside_its_base64(verifier):
    request = signed()
    made = request.headers["signature"].rpartition('signature="')[2].rstrip('"')
    folded = rewritten(request, made, f"{made[:60]}\r\n {made[60:120]} {made[120:]}")
    assert await verifier.why_not(folded, account_id="771") is None


NO_FIT = "the signature does not fit"
FORGED = {
    "no Signature header": (signed(then={"signature": None}), "there is no Signature header"),
    "an empty one": (signed(then={"signature": " "}), "there is no Signature header"),
    "one without parts": (signed(then={"signature": "rubbish"}), "the Signature header cannot be read"),
    "one without its end": (rewritten(signed(), '=="', "=="), "the Signature header cannot be read"),
    "a part twice": (rewritten(signed(), "keyId=", 'keyId="x",keyId='), "the Signature header cannot be read"),
    "no digest": (signed(digest=None), "there is no Digest header"),
    "a digest of md5": (signed(digest=digest_of(BODY, "MD5")), "the digest is neither SHA-256 nor SHA-512"),
    "a digest without a value": (signed(digest="SHA-256"), "the body is not the one that was signed"),
    "a digest of nothing": (signed(digest="SHA-256="), "the body is not the one that was signed"),
    "one of two digests wrong": (
        signed(digest=f"{digest_of(BODY)},{digest_of(b'', 'SHA-512')}"),
        "the body is not the one that was signed",
    ),
    "another body": (altered(signed(), body=BODY + b"&x=1"), "the body is not the one that was signed"),
    "a body written anew": (
        altered(signed(), body=BODY.replace(b"%5B", b"[").replace(b"%5D", b"]")),
        "the body is not the one that was signed",
    ),
    "another body and its digest": (
        altered(signed(then={"digest": digest_of(b"x=1")}), body=b"x=1"),
        NO_FIT,
    ),
    "no date": (signed(date=AT, then={"date": None}), "there is no Date header"),
    "a date that is none": (signed(then={"date": "yesterday"}), "the Date header cannot be read"),
    "a stale one": (signed(date=AT - timedelta(seconds=301)), "the request is too old"),
    "a stale one with a new date": (
        signed(date=AT - timedelta(hours=2), then={"date": format_datetime(AT, usegmt=True)}),
        NO_FIT,
    ),
    "one from the future": (
        signed(date=AT + timedelta(seconds=61)),
        "the request is from the future; compare the clocks",
    ),
    "another account's": (signed(x_copernica_id="account-772"), "the request is another account's"),
    "a longer number": (signed(x_copernica_id="account-7711"), "the request is another account's"),
    "no account": (signed(x_copernica_id=None), "the X-Copernica-ID header is missing or names no account"),
    "the bare number": (signed(x_copernica_id="771"), "the X-Copernica-ID header is missing or names no account"),
    "more than an account": (
        signed(x_copernica_id="account-771, account-772"),
        "the X-Copernica-ID header is missing or names no account",
    ),
    "another account made ours": (signed(x_copernica_id="account-772", then={"x_copernica_id": "account-771"}), NO_FIT),
    "hmac": (signed(algorithm="hmac-sha256"), "the signature's algorithm is not rsa-sha256"),
    "sha1": (signed(algorithm="rsa-sha1"), "the signature's algorithm is not rsa-sha256"),
    "an algorithm left to us": (signed(algorithm="hs2019"), "the signature's algorithm is not rsa-sha256"),
    "a key elsewhere": (signed(key_id="one._domainkey.example.net"), "the key is not under copernica.com"),
    "a look-alike": (signed(key_id="one.evilcopernica.com"), "the key is not under copernica.com"),
    "the domain itself": (signed(key_id="copernica.com"), "the key is not under copernica.com"),
    "only a dot before it": (signed(key_id=".copernica.com"), "the key is not under copernica.com"),
    "a domain before another": (signed(key_id="a.copernica.com.example.net"), "the key is not under copernica.com"),
    "a path in the key's name": (signed(key_id="example.net/.copernica.com"), "the key is not under copernica.com"),
    "no key": (signed(key_id="two._domainkey.copernica.com"), "DNS has no such key"),
    "another key": (signed(key=OTHER), NO_FIT),
    "a signature that is no base64": (
        rewritten(signed(), ',signature="', ',signature="*'),
        "the signature is not base64",
    ),
    "a signature of the wrong length": (rewritten(signed(), ',signature="', ',signature="AAAA'), NO_FIT),
    "another path": (altered(signed(), path="/hooks/copernica/other"), NO_FIT),
    "a path decoded": (altered(signed(path="/hooks/copernica/k%33y"), path="/hooks/copernica/k3y"), NO_FIT),
    "another query": (altered(signed(), query="a=b"), NO_FIT),
    "another method": (altered(signed(), method="PUT"), NO_FIT),
    "another host": (signed(then={"host": "other.example.net"}), NO_FIT),
    "another nonce": (signed(then={"x_nonce": "d4e5f6"}), NO_FIT),
    "another type of body": (signed(then={"content_type": "application/json"}), NO_FIT),
    "a covered header gone": (
        signed(then={"content_type": None}),
        "the signature covers a header that is not there",
    ),
    "no host": (signed(host=None), "the signature covers a header that is not there"),
    "too many headers": (
        signed(covers=f"{COVERS} {' '.join(['host'] * 50)}"),
        "the signature covers too many headers",
    ),
    **{
        f"{name} not covered": (
            signed(covers=COVERS.replace(name, "").replace("  ", " ").strip()),
            f"the signature does not cover {name}",
        )
        for name in ("(request-target)", "host", "date", "x-copernica-id", "digest", "x-nonce")
    },
}


@pytest.mark.parametrize(("request_", "why"), FORGED.values(), ids=FORGED.keys())
async def test_any_other_request_is_not_and_the_reason_is_told(verifier, request_, why):
    assert await verifier.why_not(request_, account_id="771") == why


async def test_without_require_nonce_it_may_be_missing(keys):
    covers = COVERS.removesuffix(" x-nonce")
    lenient = Verifier(msgspec.structs.replace(SETTINGS, require_nonce=False), keys)
    assert await lenient.why_not(signed(covers=covers, x_nonce=None), account_id="771") is None


async def test_what_is_wrong_on_its_face_costs_no_question_to_dns(verifier, dns_server):
    for request, _ in (FORGED["another account's"], FORGED["a look-alike"], FORGED["date not covered"]):
        await verifier.why_not(request, account_id="771")
    assert dns_server.asked == []


async def test_behind_a_proxy_the_public_host_is_what_must_have_been_signed(keys):
    verifier = Verifier(msgspec.structs.replace(SETTINGS, public_host="hub.example.net"), keys)
    assert await verifier.why_not(signed(then={"host": "10.0.0.7:8080"}), account_id="771") is None
    assert await verifier.why_not(signed(host="Hub.Example.net:443"), account_id="771") is None
    assert await verifier.why_not(signed(host="other.example.net"), account_id="771") == NO_FIT


# Keys of the settings.


def pinned(key_id, text, clock, dns_server):
    settings = msgspec.structs.replace(SETTINGS, signature_keys={key_id: text})
    return Verifier(settings, Keys(clock, known=settings.signature_keys, dns_server=dns_server.address))


P = record().decode().rpartition("p=")[2]
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("text", [P, f"{P[:70]}\n {P[70:]}", PEM, f"\n{PEM}"])
@pytest.mark.parametrize("key_id", [NAME, NAME.upper(), "two._domainkey.copernica.com", "test-key"])
async def test_a_key_that_is_given_is_used_for_its_key_id_and_dns_is_not_asked(clock, dns_server, key_id, text):
    verifier = pinned(key_id, text, clock, dns_server)
    assert await verifier.why_not(signed(key_id=key_id), account_id="771") is None
    assert await verifier.why_not(signed(key=OTHER, key_id=key_id), account_id="771") == NO_FIT
    assert dns_server.asked == []


async def test_for_any_other_key_id_dns_is_asked(clock, dns_server):
    verifier = pinned("two._domainkey.copernica.com", P, clock, dns_server)
    assert await verifier.why_not(signed(), account_id="771") is None
    assert dns_server.asked == [NAME]
    elsewhere = signed(key_id="one._domainkey.example.net")
    assert await verifier.why_not(elsewhere, account_id="771") == "the key is not under copernica.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        P[:-20],
        PEM.replace("PUBLIC", "PRIVATE"),
        record(ec.generate_private_key(ec.SECP256R1())).decode().rpartition("p=")[2],
    ],
)
def test_a_key_that_is_none_is_told_with_its_name_when_the_file_is_read(text):
    with pytest.raises(ValueError, match=r"^signature_keys: what stands at one.* give p= of its DNS record, or PEM"):
        CopernicaSettings(api_token=Secret("t"), database_id=31, signature_keys={"one._domainkey.copernica.com": text})


# Replays.


async def test_a_request_that_came_before_is_refused(verifier):
    assert await verifier.why_not(signed(), account_id="771") is None
    again = altered(signed(), received_at=AT + timedelta(seconds=20))
    assert await verifier.why_not(again, account_id="771") == "the same request came before"
    rearranged = rewritten(again, '",', '" ')
    assert await verifier.why_not(rearranged, account_id="771") == "the same request came before"
    assert await verifier.why_not(signed(x_nonce="other"), account_id="771") is None


async def test_the_same_request_looked_at_again_is_no_replay(verifier, clock):
    assert await verifier.why_not(signed(), account_id="771") is None
    await clock.advance(86_400)
    assert await verifier.why_not(signed(), account_id="771") is None


async def test_a_forged_copy_does_not_shut_out_the_real_one(verifier):
    assert await verifier.why_not(FORGED["another path"][0], account_id="771") == NO_FIT
    assert await verifier.why_not(signed(), account_id="771") is None


def test_the_memory_forgets_what_no_date_would_let_in_and_is_bounded():
    memory, until = NonceMemory(max_entries=3), AT + timedelta(seconds=300)
    for number in range(5):
        assert memory.first_time(b"%d" % number, received_at=AT, until=until)
    assert len(memory) == 3
    assert not memory.first_time(b"4", received_at=AT + timedelta(seconds=1), until=until)
    assert memory.first_time(b"later", received_at=until + timedelta(seconds=1), until=until + timedelta(hours=1))
    assert len(memory) == 1


# Keys.


async def test_a_key_is_asked_for_once_however_many_wait(verifier, dns_server):
    several = [signed(x_nonce=str(number)) for number in range(20)]
    assert set(await asyncio.gather(*(verifier.why_not(each, account_id="771") for each in several))) == {None}
    assert dns_server.asked == [NAME]


async def test_an_answer_is_kept_as_long_as_dns_says_and_an_hour_at_most(keys, dns_server, clock):
    dns_server.ttl = 100
    await keys.read(NAME)
    await clock.advance(99)
    await keys.read(NAME)
    assert len(dns_server.asked) == 1
    dns_server.ttl = 86_400
    await clock.advance(1)
    await keys.read(NAME)
    await clock.advance(3_599)
    await keys.read(NAME)
    assert len(dns_server.asked) == 2
    await clock.advance(1)
    await keys.read(NAME)
    assert len(dns_server.asked) == 3


async def test_a_key_changed_before_dns_lets_go_of_the_old_one_is_asked_for_again(verifier, dns_server, clock):
    assert await verifier.why_not(signed(), account_id="771") is None
    dns_server.records[NAME] = [record(OTHER)]
    await clock.advance(60)
    assert await verifier.why_not(signed(key=OTHER), account_id="771") is None
    assert await verifier.why_not(signed(x_nonce="old"), account_id="771") == NO_FIT
    assert dns_server.asked == [NAME] * 2


async def test_forgers_cause_few_questions(verifier, dns_server, clock):
    for number in range(10):
        assert await verifier.why_not(signed(key=OTHER, x_nonce=str(number)), account_id="771") == NO_FIT
    assert len(dns_server.asked) == 1
    await clock.advance(10)
    for number in range(10):
        await verifier.why_not(signed(key=OTHER, x_nonce=str(number)), account_id="771")
    assert len(dns_server.asked) == 2


async def test_a_key_published_later_is_found(verifier, dns_server, clock):
    request = FORGED["no key"][0]
    assert await verifier.why_not(request, account_id="771") == "DNS has no such key"
    dns_server.records["two._domainkey.copernica.com"] = [record()]
    await clock.advance(10)
    assert await verifier.why_not(request, account_id="771") is None


async def test_a_name_without_a_key_is_asked_for_again_after_a_minute(keys, dns_server, clock):
    dns_server.records[NAME] = []
    assert (await keys.read(NAME)).keys == ()
    await clock.advance(59)
    await keys.read(NAME)
    assert len(dns_server.asked) == 1
    await clock.advance(1)
    await keys.read(NAME)
    assert len(dns_server.asked) == 2


async def test_keys_come_in_strings_of_any_length_and_beside_other_records(keys, dns_server):
    dns_server.records[NAME] = [b"v=spf1 -all", record(OTHER), record()]
    dns_server.cut = 60
    found = {key.public_numbers().n for key in (await keys.read(NAME)).keys}
    assert found == {key.public_key().public_numbers().n for key in (KEY, OTHER)}


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_server_that_cannot_say_is_no_no(verifier, dns_server, rcode):
    dns_server.rcode = rcode
    with pytest.raises(TemporaryError, match="DNS does not answer"):
        await verifier.why_not(signed(), account_id="771")


async def test_silence_is_told_at_once_to_all_who_wait_and_asked_again_soon(dns_server, clock):
    verifier = Verifier(SETTINGS, Keys(clock, dns_server=dns_server.address, timeout_s=0.1))
    dns_server.silent = True
    tries = (verifier.why_not(signed(x_nonce=str(number)), account_id="771") for number in range(10))
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(each) for each in found} == {TemporaryError}
    assert len(dns_server.asked) == 1
    dns_server.silent = False
    await clock.advance(2)
    assert await verifier.why_not(signed(), account_id="771") is None


async def test_who_asks_may_give_up_and_the_next_one_asks(dns_server, clock):
    keys = Keys(clock, dns_server=dns_server.address, timeout_s=5.0)
    dns_server.silent = True
    first, second = asyncio.create_task(keys.read(NAME)), asyncio.create_task(keys.read(NAME))
    await dns_server.heard.wait()
    dns_server.silent = False
    first.cancel()
    assert (await second).keys
    with pytest.raises(asyncio.CancelledError):
        await first
    assert dns_server.asked == [NAME] * 2


async def test_any_number_of_names_takes_bounded_room(keys, dns_server):
    for number in range(MAX_NAMES + 5):
        await keys.read(f"k{number}.copernica.com")
    assert len(keys._names) == MAX_NAMES


async def test_a_resolver_may_be_handed_in(dns_server, clock):
    resolver = Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], int(dns_server.address.rpartition(":")[2])
    assert (await Keys(clock, resolver=resolver).read(NAME)).keys


@pytest.mark.parametrize(
    ("dns_server", "address", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("192.0.2.53:5300", "192.0.2.53", 5300),
        ("[2001:db8::53]:5300", "2001:db8::53", 5300),
    ],
)
def test_a_dns_server_is_an_address_with_or_without_a_port(dns_server, address, port):
    resolver = _resolver_at(dns_server)
    assert (resolver.nameservers, resolver.port) == ([address], port)


async def test_a_dns_server_that_is_none_is_told_by_its_setting(clock):
    with pytest.raises(TemporaryError, match="set dns_server to address:port"):
        await Keys(clock, dns_server="no such place:53").read(NAME)


@pytest.mark.parametrize(
    "text",
    [
        record(version=""),
        record(version="v=DKIM1;"),
        b" " + record().replace(b"; ", b" ;\t") + b"; t=s;",
        record().replace(b"k=rsa; ", b""),
        record()[:90] + b" " + record()[90:],
    ],
)
def test_a_record_is_read_however_it_is_spaced(text):
    assert key_in(text).public_numbers() == KEY.public_key().public_numbers()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"v=DKIM1; k=rsa; p=",
        b"v=DKIM1; k=rsa; p=!",
        b"v=DKIM1; k=rsa; p=AAAA",
        record(kind="ed25519"),
        record(version="v=DKIM2; "),
        record(ec.generate_private_key(ec.SECP256R1())),
        b"\xff\xfe",
    ],
)
def test_a_record_without_an_rsa_key_holds_none(text):
    assert key_in(text) is None


def test_keys_below_1024_bits_do_not_count(monkeypatch):
    monkeypatch.setattr("esplanade_copernica.keys.MIN_BITS", 2_048)
    assert key_in(record(SMALL)) is None
    assert key_in(record()) is not None


NAMES = ["signature", "digest", "date", "x-copernica-id", "host", "x-nonce"]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60)),
    st.text(max_size=60) | st.from_regex(r'keyId="[^"]*",algorithm="rsa-sha256",headers="[^"]*",signature="[^"]*"'),
)
def test_nothing_that_comes_in_crashes_the_check(headers, header):
    request = signed(then={**headers, "signature": headers.get("signature", header)})
    request = altered(request, headers={name: value for name, value in request.headers.items() if name in {*NAMES}})
    for check in (
        lambda: signature._check_digest(request),
        lambda: signature._check_date(request, timedelta(seconds=300)),
        lambda: signature._check_account(request, "771"),
        lambda: signature.signing_string(
            request, signature.read_signature(request.headers["signature"]).covers, host="hub.example.net"
        ),
    ):
        with suppress(signature._Refusal):
            check()
