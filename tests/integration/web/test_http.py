"""Manners: health, errors without insides, and answers that are problems even when the question was not HTTP."""

import asyncio
import logging

import msgspec
import pytest
import structlog

from .conftest import KEY, SHOP, problem_of


async def raw(hub, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(data)
    answer = await reader.read(65_536)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


async def test_health_needs_no_token(hub, client):
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path)).status == 200
    hub.ready = False
    assert (await client.get("/healthz")).status == 200
    await problem_of(await client.get("/readyz"), 503)


async def test_404_for_an_address_that_is_not_there(client):
    await problem_of(await client.get("/nothing"), 404)
    await problem_of(await client.post("/v1/profiles/"), 404)


async def test_405_names_what_goes(client):
    answer = await client.get("/v1/profiles")
    await problem_of(answer, 405)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.may_block
async def test_an_unexpected_error_shows_nothing_of_the_inside(hub, client):
    async def verify(connector, request):
        raise RuntimeError("secret insides")

    hub.verify = verify
    answer = await client.post(f"/hooks/webpower/{KEY}", data=b"x")
    problem = await problem_of(answer, 500)
    assert "secret" not in msgspec.json.encode(problem).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_problem(hub, data):
    status, head, body = await raw(hub, data + b"\r\n\r\n")
    assert status == 400
    assert b"application/problem+json" in head
    assert msgspec.json.decode(body)["status"] == 400


async def test_an_expectation_that_nobody_can_meet_gets_a_problem(client):
    await problem_of(await client.get("/healthz", headers={"Expect": "magic"}), 417)


async def test_a_chunked_body_that_is_none_gets_a_problem(hub):
    request = b"POST /v1/profiles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer shop-token\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, head, _ = await raw(hub, request + b"zz\r\n")
    assert status == 400
    assert b"application/problem+json" in head


async def test_a_sender_that_hangs_up_half_way_leaves_nothing_behind(hub, client):
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(
        b"POST /v1/profiles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer shop-token\r\nIdempotency-Key: k\r\n"
        b'Content-Length: 100\r\n\r\n{"email"'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    while True:
        answer = await client.post("/v1/profiles", json={"id": "u-1"}, headers={**SHOP, "Idempotency-Key": "k"})
        if answer.status != 409:
            break
    assert answer.status == 202
    assert len(await hub.journal()) == 1


async def test_headers_keep_browsers_and_caches_out(client):
    answer = await client.get("/v1/connectors")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "aiohttp" not in answer.headers["Server"]
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/profiles", 405), ("/v1/nothing", 404), ("/v1/people/nobody@a.nl", 404)]
)
async def test_problems_carry_the_same_headers_whoever_found_them(client, path, status):
    answer = await client.get(path)
    await problem_of(answer, status)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "esplanade"


async def test_a_request_that_has_no_route_is_in_the_log_too(client):
    with structlog.testing.capture_logs() as lines:
        await client.get("/v1/people")
    assert [(line["route"], line["status"]) for line in lines if line["event"] == "request"] == [("unknown", 404)]


async def test_the_log_holds_no_address_and_no_key(client):
    with structlog.testing.capture_logs() as lines:
        await client.get("/v1/people/ada@example.com?connector=x")
        await client.get(f"/hooks/webpower/{KEY}?email=ada@example.com")
    routes = [line["route"] for line in lines if line["event"] == "request"]
    assert routes == ["/v1/people/{email}", "/hooks/{connector}/{key}"]
    assert "ada@" not in str(lines)
    assert KEY not in str(lines)


def test_the_http_library_writes_no_access_log_of_its_own():
    assert not logging.getLogger("aiohttp.access").handlers
