"""A SmartEmailing account on loopback, a client of it, and a hub that keeps what it is told."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from esplanade.testing import FakeClock
from esplanade_smartemailing.twin import SmartEmailingTwin


class Answer:
    """What came back: status, JSON or text, headers."""

    def __init__(self, status, said, headers):
        self.status, self.said, self.headers = status, said, headers

    @property
    def data(self):
        """What a 200 or 201 carries."""
        assert (self.status, self.said["status"]) in {(200, "ok"), (201, "created")}, self.said
        return self.said["data"]

    @property
    def refused(self):
        """The status and the words of a refusal, which may hide in a 200."""
        assert self.said["status"] == "error"
        assert self.said["meta"] == []
        return self.status, self.said["message"]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def twin(clock):
    started = SmartEmailingTwin(SmartEmailingTwin.demo_settings(), clock=clock)
    started.keep_requests = True
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def client(twin):
    async with aiohttp.ClientSession(twin.origin) as opened:
        yield opened


@pytest.fixture
def call(client):
    """Make a call with the demo credentials, below ``/api/v3/``."""

    async def made(method, path, body=None, *, headers=None, data=None, **query):
        login = aiohttp.encode_basic_auth("demo@shop.example", "demo-key-of-smartemailing")
        sent = {"Authorization": login} if headers is None else headers
        more = {"params": query, "json": body, "data": data, "headers": sent}
        async with client.request(method, f"/api/v3/{path}", **more) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await (answer.json() if is_json else answer.text()), answer.headers)

    return made


@pytest.fixture
def load(call):
    """Import contacts, with settings by keyword; ``add_*`` are false unless told otherwise."""

    async def imported(*contacts, **settings):
        quiet = dict.fromkeys(("add_namedays", "add_genders", "add_salutions"), False)
        return await call("POST", "import", {"settings": {**quiet, **settings}, "data": list(contacts)})

    return imported


class Hub:
    """A loopback server that keeps what comes in."""

    def __init__(self):
        self.came = asyncio.Queue()
        self.status = 200

    async def take(self, request):
        await self.came.put((request.method, request.query_string, dict(request.headers), await request.read()))
        return web.Response(status=self.status)

    async def next(self):
        return await asyncio.wait_for(self.came.get(), 5)


@pytest.fixture
async def hub(twin):
    app, hub = web.Application(), Hub()
    app.router.add_route("*", "/in/{key}", hub.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    twin.hook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/in/k3y"
    yield hub
    await runner.cleanup()
