"""Vendors that are away, slow, cut the line or are hostile: each time one of our errors, and the right one."""

import asyncio
import gzip
import socket
import ssl
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esplanade import DeliveryError, OutcomeUnknown, PermanentError, TemporaryError, UnreadableAnswer
from esplanade.testing import Fault, Twin


@pytest.fixture
def nobody():
    """The origin of a port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def test_a_refused_connection_was_not_acted_on_even_for_a_post(nobody, opened):
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 cannot be reached: .*refused"):
        await opened(nobody).post("/mail", json={})


async def test_a_name_that_does_not_resolve_was_not_acted_on(opened):
    with pytest.raises(TemporaryError, match="its name does not resolve"):
        await opened("https://vendor.invalid").post("/mail", json={})


def self_signed(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor.example")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "vendor.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_certificate_of_somebody_else_was_not_acted_on(tmp_path, opened):
    async def serve(reader, writer):
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TemporaryError, match="TLS certificate is not valid"):
            await opened(f"https://127.0.0.1:{port}").post("/mail", json={})


async def test_tls_to_a_plain_server_was_not_acted_on(raw_vendor, opened):
    async def script(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    raw_vendor.script = script
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await opened(raw_vendor.origin.replace("http:", "https:")).post("/mail", json={})


async def test_no_connection_in_time_was_not_acted_on(opened):
    # A listener whose queue of one is taken lets further connections wait for ever.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for each in (first, second):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.connect(address)
        with pytest.raises(TemporaryError, match=r"cannot be reached: no answer within 0\.1 s"):
            await opened(f"http://127.0.0.1:{address[1]}", timeout_s=0.1).post("/mail", json={})


@pytest.mark.parametrize(("repeatable", "kind"), [(True, TemporaryError), (False, OutcomeUnknown)])
async def test_silence_after_the_request_is_in_doubt(vendor, opened, repeatable, kind):
    async def hang(request):
        await asyncio.Event().wait()

    vendor.handler = hang
    with pytest.raises(kind, match=r"no answer within 0\.1 s"):
        await opened(vendor.origin, timeout_s=0.1).post("/mail", json={}, repeatable=repeatable)
    assert len(vendor.requests) == 1


async def test_a_body_that_stops_half_way_is_in_doubt(vendor, opened):
    async def drip(request):
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"half")
        await asyncio.Event().wait()

    vendor.handler = drip
    http = opened(vendor.origin, timeout_s=0.1)
    with pytest.raises(OutcomeUnknown):
        await http.post("/mail", json={})
    with pytest.raises(TemporaryError):
        await http.get("/mail")


@pytest.mark.parametrize("action", ["cut-before", "cut-after"])
async def test_a_cut_is_in_doubt_and_never_silently_repeated(opened, action):
    class Tiny(Twin):
        name = "tiny"
        acted = 0

        def routes(self):
            async def act(request):
                self.acted += 1
                return web.json_response({})

            return [web.route("*", "/mail", act)]

    twin = Tiny(None, faults=[Fault(action=action, times=2)])
    origin = await twin.start()
    try:
        http = opened(origin)
        with pytest.raises(TemporaryError):
            await http.put("/mail", json={})
        with pytest.raises(OutcomeUnknown):
            await http.post("/mail", json={})
        assert twin.request_count == 2
        assert twin.acted == (2 if action == "cut-after" else 0)
        assert (await http.get("/mail")).status == 200
    finally:
        await twin.stop()


async def test_closing_the_session_ends_calls_under_way_as_in_doubt(vendor, opened):
    asked = asyncio.Event()

    async def hang(request):
        asked.set()
        await asyncio.Event().wait()

    vendor.handler = hang
    http = opened(vendor.origin)
    call = asyncio.create_task(http.post("/mail", json={}))
    await asked.wait()
    await http.close()
    with pytest.raises(OutcomeUnknown):
        await call


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"HTTP/1.1 99999 X\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 50\r\n\r\nshort",
        OK + b"No colon here\r\n\r\n",
        OK + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
        OK + b"".join(b"X-%d: 1\r\n" % number for number in range(5_000)) + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_an_answer_that_is_not_http_is_in_doubt(raw_vendor, opened, answer):
    raw_vendor.says(answer)
    http = opened(raw_vendor.origin)
    with pytest.raises(OutcomeUnknown):
        await http.post("/mail", json={})
    with pytest.raises(TemporaryError):
        await http.get("/mail")
    assert raw_vendor.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Type: text/html; charset=no-such-charset\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        OK + b"X-\xc3\xa9: a\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Encoding: no-such-coding\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000,
        OK + b"Content-Length: 36\r\n\r\n<html><h1>Service unavailable</h1>..",
    ],
)
async def test_a_strange_body_is_at_worst_one_of_our_errors(raw_vendor, opened, answer):
    raw_vendor.says(answer)
    try:
        found = await opened(raw_vendor.origin).get("/")
        found.text().encode()
        assert all(value.encode() is not None for value in found.headers.values())
        found.json()
    except DeliveryError:
        pass


@given(answer=st.binary(max_size=200), status=st.sampled_from([b"", OK, OK + b"\r\n", b"HTTP/1.1 500 X\r\n"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_raise_anything_but_our_errors(raw_vendor, opened, answer, status):
    raw_vendor.says(status + answer)
    http = opened(raw_vendor.origin, timeout_s=0.5)
    try:
        await http.post("/mail", json={})
    except DeliveryError:
        pass
    finally:
        await http.close()


BOMB = gzip.compress(b"0" * 30_000_000)


def explodes(vendor, status=200):
    async def explode(request):
        return web.Response(status=status, body=BOMB, headers={"Content-Encoding": "gzip", "X-Created": "7"})

    vendor.handler = explode


@pytest.mark.parametrize(("method", "repeatable"), [("GET", None), ("POST", True)])
async def test_a_gzip_bomb_is_not_unpacked_where_the_answer_is_what_was_asked_for(vendor, opened, method, repeatable):
    explodes(vendor)
    with pytest.raises(PermanentError, match="more than 100000 bytes"):
        await opened(vendor.origin).request(method, "/people", repeatable=repeatable)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_vendor_that_has_acted_is_believed_although_its_answer_is_too_long_to_read(vendor, opened, method):
    explodes(vendor, 201)
    answer = await opened(vendor.origin).request(method, "/mail", json={})
    assert (answer.status, answer.headers["x-created"], answer.body, answer.whole) == (201, "7", b"", False)
    for read in (answer.json, answer.text):
        with pytest.raises(UnreadableAnswer, match="201 with more than is read"):
            read()
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("zipped", [True, False])
async def test_an_endless_stream_is_left_at_the_limit(vendor, opened, zipped):
    left = asyncio.Event()

    async def stream(request):
        answer = web.StreamResponse(headers={"Content-Encoding": "deflate"} if zipped else {})
        await answer.prepare(request)
        packer = zlib.compressobj()
        try:
            while True:
                block = b"0" * 65_536
                await answer.write(packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) if zipped else block)
                await asyncio.sleep(0)
        finally:
            left.set()

    vendor.handler = stream
    with pytest.raises(PermanentError, match="more than 100000 bytes"):
        await opened(vendor.origin).get("/")
    await asyncio.wait_for(left.wait(), 5)


async def test_an_error_whose_body_never_ends_still_counts_by_its_status(vendor, opened):
    async def stream(request):
        answer = web.StreamResponse(status=422)
        await answer.prepare(request)
        while True:
            await answer.write(b"no no no " * 1000)
            await asyncio.sleep(0)

    vendor.handler = stream
    with pytest.raises(PermanentError, match="422 to POST /mail: no no"):
        await opened(vendor.origin).post("/mail", json={})


async def test_an_error_whose_body_is_cut_or_broken_still_counts_by_its_status(raw_vendor, opened):
    head = b"HTTP/1.1 429 Slow\r\nRetry-After: 9\r\n"
    http = opened(raw_vendor.origin, timeout_s=0.3)
    for rest in (b"Content-Length: 50\r\n\r\nshort", b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"):
        raw_vendor.says(head + rest)
        with pytest.raises(TemporaryError) as raised:
            await http.post("/mail", json={})
        assert raised.value.retry_after == 9


async def test_an_answer_of_exactly_the_limit_is_read(vendor, opened):
    vendor.answers(200, "x" * 100_000)
    assert len((await opened(vendor.origin).get("/")).body) == 100_000


async def test_json_nested_too_deep_is_a_permanent_error(vendor, opened):
    vendor.answers(200, "[" * 50_000)
    answer = await opened(vendor.origin).get("/")
    with pytest.raises(PermanentError, match="not JSON"):
        answer.json()
