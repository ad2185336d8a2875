"""Connections that are kept and then dropped: nothing goes out twice unasked, neither by us nor by the library below."""

import asyncio
import socket
import struct

import pytest

from esplanade import OutcomeUnknown, TemporaryError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Dropping:
    """Answers the first request of its first connection, keeps that open, and drops it when the next request is there."""

    def __init__(self, raw, *, reset):
        self.requests = []
        self.reset = reset
        self.closed = asyncio.Event()
        raw.script = self.script

    async def request(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ", 1)[0].decode())
        if b"content-length: " in head.lower():
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))

    async def script(self, reader, writer):
        await self.request(reader)
        writer.write(ANSWER)
        await writer.drain()
        if len(self.requests) > 1:
            return
        await self.request(reader)
        if self.reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("repeatable", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
async def test_a_call_on_a_connection_that_is_dropped_goes_out_once(raw_vendor, opened, method, repeatable, reset):
    vendor = Dropping(raw_vendor, reset=reset)
    http = opened(raw_vendor.origin)
    await http.get("/first")
    body = None if method in {"GET", "HEAD", "OPTIONS"} else {"n": 1}
    with pytest.raises(
        TemporaryError if repeatable else OutcomeUnknown, match=r"^127\.0\.0\.1: the connection was cut$"
    ):
        await http.request(method, "/second", json=body, repeatable=repeatable)
    assert vendor.requests == ["GET", method]
    assert raw_vendor.connections == 1
    await http.get("/third")
    assert vendor.requests == ["GET", method, "GET"]


async def test_a_fresh_connection_that_is_dropped_is_not_tried_again_either(raw_vendor, opened):
    http = opened(raw_vendor.origin)
    for method in ("GET", "PUT", "DELETE"):
        with pytest.raises(OutcomeUnknown):
            await http.request(method, "/", repeatable=False)
    assert raw_vendor.connections == 3


async def test_a_connection_that_was_closed_while_it_was_idle_costs_no_call(raw_vendor, opened):
    left = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        left.set()

    raw_vendor.script = script
    http = opened(raw_vendor.origin)
    for number in range(1, 4):
        left.clear()
        await http.get("/")
        await left.wait()
        await asyncio.sleep(0.01)  # the client's side hears of it in the loop's next turns
        assert raw_vendor.connections == number


async def test_many_calls_whose_connections_are_dropped_go_out_once_each(raw_vendor, opened):
    seen = []

    async def script(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))

    raw_vendor.script = script
    http = opened(raw_vendor.origin)
    results = await asyncio.gather(*(http.get(f"/{number}") for number in range(30)), return_exceptions=True)
    assert {type(result) for result in results} == {TemporaryError}
    assert len(set(seen)) == len(seen) == 30
