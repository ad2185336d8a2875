"""Real servers on loopback in the vendor's place: one speaks HTTP, one answers whatever bytes it is told."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

from esplanade.connector import Endpoint
from esplanade.http.session import Session
from esplanade.http.ssrf import EgressGuard
from esplanade.testing import FakeClock


class Vendor:
    """Answers every request with ``handler`` and remembers what it was asked."""

    def __init__(self):
        self.origin = ""
        self.requests = []
        self.handler = self.echo

    async def echo(self, request):
        return web.json_response({"method": request.method, "path": request.raw_path})

    def answers(self, status, body="", headers=None):
        async def handler(request):
            return web.Response(status=status, text=body, headers=headers)

        self.handler = handler

    async def dispatch(self, request):
        self.requests.append((request, await request.read()))
        return await self.handler(request)


@asynccontextmanager
async def running_vendor():
    vendor = Vendor()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", vendor.dispatch)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield vendor
    finally:
        await runner.cleanup()


@pytest.fixture
async def vendor():
    async with running_vendor() as running:
        yield running


@pytest.fixture
async def other_vendor():
    async with running_vendor() as running:
        yield running


class RawVendor:
    """Answers each connection by what ``script(reader, writer)`` does to it."""

    def __init__(self):
        self.origin = ""
        self.connections = 0

        async def hang_up(reader, writer):
            pass

        self.script = hang_up

    def says(self, answer: bytes):
        async def script(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

        self.script = script

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            await self.script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def raw_vendor():
    raw = RawVendor()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield raw
    server.close()
    await server.wait_closed()
    # The handlers of connections that were just closed end in the loop's next turns.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if getattr(task.get_coro(), "__qualname__", "") == "RawVendor.serve":
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def opened(clock):
    """Opens sessions and closes them at the end: ``opened("http://…", auth=…)``."""
    sessions = []

    def opened(
        base_url, *, allow=("127.0.0.0/8",), exempt=(), timeout_s=20.0, max_bytes=100_000, connections=100, **endpoint
    ):
        session = Session(
            Endpoint(base_url=base_url, **endpoint),
            connector="acme",
            timeout_s=timeout_s,
            guard=EgressGuard(list(allow), exempt),
            clock=clock,
            log=structlog.get_logger(),
            max_bytes=max_bytes,
            connections=connections,
        )
        sessions.append(session)
        return session

    yield opened
    for session in sessions:
        await session.close()
