"""A connector and its receiver, joined by loopback; and the events that the hub would hand it."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from aiohttp import web

from esplanade import ConsentEvent, ConsentTarget, ProfileEvent, Secret, TriggerEvent, TriggerTarget
from esplanade.testing import FakeClock, open_context
from esplanade_webhook.plugin import WebhookConnector
from esplanade_webhook.settings import WebhookSettings
from esplanade_webhook.twin import WebhookTwin

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
AT = datetime(2026, 1, 15, 10, tzinfo=UTC)


def settings(**changes):
    """Settings for ``changes``; without a receiver behind them."""
    return WebhookSettings(**{"url": "https://cdp.example/hooks/esplanade", "secret": Secret(SECRET)} | changes)


def profile(**changes):
    plain = {"delivery_id": "d-1", "person": "p-1", "email": "ada@example.com", "at": AT}
    return ProfileEvent(**plain | changes)


def consent(**changes):
    plain = {"delivery_id": "d-2", "person": "p-1", "email": "ada@example.com", "at": AT, "said_at": AT}
    return ConsentEvent(**plain | {"purpose": "newsletter", "target": ConsentTarget(), "state": "granted"} | changes)


def trigger(**changes):
    plain = {"delivery_id": "d-3", "person": "p-1", "email": "ada@example.com", "at": AT}
    return TriggerEvent(
        **plain | {"trigger": "abandoned-cart", "target": TriggerTarget(), "trigger_id": "t-9"} | changes
    )


@pytest.fixture
def clock():
    return FakeClock(AT.timestamp())


@pytest.fixture
def joined(clock):
    """Start a twin and yield it with a connector that points at it, and a context."""

    @asynccontextmanager
    async def join(theirs=None, **changes):
        ours = settings(**changes)
        twin = WebhookTwin(theirs or ours, clock=clock)
        twin.keep_requests = True
        await twin.start()
        connector = WebhookConnector(twin.rewired(ours))
        try:
            async with open_context(connector, clock=clock, language="nl", timeout_s=2) as ctx:
                yield twin, connector, ctx
        finally:
            await twin.stop()

    return join


class Receiver:
    """A server that notes each request as it came, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.path_qs, headers, await request.read()))
        return web.Response(status=self.status, headers=self.headers)

    @property
    def bodies(self):
        return [msgspec.json.decode(body) for _, _, _, body in self.requests]


@pytest.fixture
async def receiver(aiohttp_server):
    """A receiver, with ``origin``."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    server = await aiohttp_server(app)
    made.origin = str(server.make_url("")).rstrip("/")
    return made


@pytest.fixture
def calling(receiver, clock):
    """A connector that points at the receiver, and a context."""

    @asynccontextmanager
    async def call(**changes):
        connector = WebhookConnector(settings(url=f"{receiver.origin}/hooks/esplanade", **changes))
        async with open_context(connector, clock=clock, language="nl", timeout_s=2) as ctx:
            yield connector, ctx

    return call
