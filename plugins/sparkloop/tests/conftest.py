"""A SparkLoop twin on loopback, the connector with a real session to it, and somebody who takes its webhooks."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from esplanade import ConsentEvent, Context, InboundRequest, ProfileEvent, Secret
from esplanade.testing import open_context
from esplanade_sparkloop.plugin import SparkLoopConnector, Subscription
from esplanade_sparkloop.settings import SparkLoopSettings
from esplanade_sparkloop.twin import SparkLoopTwin

GUIDE = Path(__file__).parents[3] / "tests" / "data" / "sparkloop"
MOMENT = datetime.fromtimestamp(1564400550, tz=UTC)
FIELDS = {
    "firstname": "first_name",
    "fullname": "name",
    "rh_subid": "RH_SUBID",
    "rh_code": "RH_CODE",
    "rh_reflink": "RH_REFLINK",
    "rh_isref": "RH_ISREF",
    "rh_totref": "RH_TOTREF",
    "rh_coupon": "RH_COUPON",
    "rh_lastreward": "RH_LASTREWARD",
}


class Bench:
    """One account, the connector that uses it, and short words for what happens to people."""

    def __init__(self, twin: SparkLoopTwin, connector: SparkLoopConnector, ctx: Context) -> None:
        self.twin = twin
        self.connector = connector
        self.ctx = ctx

    moment = MOMENT

    @property
    def sent(self) -> list:
        """Method, path and decoded body of every request that the account got."""
        return [
            (each.method, each.path, msgspec.json.decode(each.body) if each.body else None)
            for each in self.twin.requests
        ]

    @property
    def people(self) -> dict:
        return self.twin.snapshot()["subscribers"]

    async def grant(self, email="ada@example.com", *, remote_id=None, at=MOMENT, **desired):
        return await self.connector.on_consent(consent("granted", email, remote_id, at, desired), self.ctx)

    async def deny(self, email="ada@example.com", *, remote_id=None):
        return await self.connector.on_consent(consent("denied", email, remote_id, MOMENT, {}), self.ctx)

    async def wait(self, email="ada@example.com"):
        return await self.connector.on_consent(consent("pending", email, None, MOMENT, {}), self.ctx)

    async def profile(self, email="ada@example.com", **more):
        return await self.connector.on_profile(profile(email, **more), self.ctx)

    async def webhook(self, body, ctx=None):
        if not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        return await self.connector.on_inbound_webhook(inbound(body), ctx or self.ctx)


def consent(state, email, remote_id, at, desired):
    return ConsentEvent(
        delivery_id="1.1",
        person="p-1",
        email=email,
        remote_id=remote_id,
        purpose="newsletter",
        target=Subscription(),
        state=state,
        desired=desired,
        said_at=at,
        at=at,
    )


def profile(email, *, held="granted", changed=None, **more):
    changed = changed or {}
    return ProfileEvent(
        delivery_id="1.1",
        person="p-1",
        email=email,
        changed=changed,
        desired=more.pop("desired", changed),
        held={} if held is None else {"newsletter": held},
        at=MOMENT,
        **more,
    )


def inbound(body=b"{}", headers=None):
    return InboundRequest(method="POST", headers=headers or {}, body=body, received_at=MOMENT)


@pytest.fixture
def guide():
    """The bodies of the SparkLoop guide, byte for byte."""
    return lambda name: (GUIDE / f"{name}.json").read_bytes()


@pytest.fixture
async def bench():
    """Makes a Bench: ``await bench(campaign_uuid=…)``."""
    async with AsyncExitStack() as stack:

        async def make(
            *, twin_settings=None, clock=None, fields=FIELDS, consents=("newsletter",), vendor=None, **changes
        ) -> Bench:
            base = SparkLoopTwin.demo_settings()
            twin = SparkLoopTwin(twin_settings or base, clock=clock)
            twin.keep_requests = True
            await twin.start()
            stack.push_async_callback(twin.stop)
            settings = twin.rewired(msgspec.structs.replace(base, **changes))
            if vendor is not None:
                settings = msgspec.structs.replace(settings, incoming_webhook_url=Secret(vendor))
            connector = SparkLoopConnector(settings)
            ctx = await stack.enter_async_context(
                open_context(connector, fields=fields, consents={name: Subscription() for name in consents})
            )
            return Bench(twin, connector, ctx)

        yield make


@pytest.fixture
async def api(bench):
    """The connector on API v2."""
    return await bench(outbound_mode="api_v2")


@pytest.fixture
async def hook(bench):
    """The connector on the incoming webhook."""
    return await bench(outbound_mode="incoming_webhook")


@pytest.fixture
async def inbox():
    """Takes webhooks in the hub's place; ``answers`` are the statuses of the first ones, then 200."""

    class Inbox:
        def __init__(self):
            self.got = []
            self.answers = []
            self.url = ""

        @property
        def bodies(self):
            return [msgspec.json.decode(body) for _, body in self.got]

        async def take(self, request):
            self.got.append((dict(request.headers), await request.read()))
            return web.Response(status=self.answers.pop(0) if self.answers else 200)

    box = Inbox()
    app = web.Application()
    app.router.add_post("/hooks/sparkloop", box.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/sparkloop"
    yield box
    await runner.cleanup()


@pytest.fixture
def settings():
    """Settings of an incoming webhook with a token."""
    return SparkLoopSettings(
        incoming_webhook_url=Secret("https://sparkloop.example/incoming/x"), webhook_token=Secret("tok_demo")
    )
