"""A hub as the web sees it, on a real store and a real port of this machine."""

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from esplanade.config.model import Config, ConnectorConfig, Hub, Source
from esplanade.errors import StorageFull
from esplanade.ingest.accept import Intake
from esplanade.ingest.world import World
from esplanade.model import CheckResult, Choice, Discovery, Webhooks
from esplanade.observe.metrics import Metrics
from esplanade.store.sqlite.store import SqliteStore
from esplanade.sync.identity import normalise
from esplanade.testing.clock import FakeClock
from esplanade.values import Secret
from esplanade.views import ConnectorFacts
from esplanade.web.app import make_app, make_runner
from esplanade.web.port import PullSummary

SHOP = {"Authorization": "Bearer shop-token"}
TILL = {"Authorization": "Bearer till-token"}
ADMIN = {"Authorization": "Bearer admin-token"}
KEY = "k3y-of-webpower"


class WatchedStore:
    """A real store whose disk can be full, and whose commits can be held back for a while."""

    def __init__(self, store):
        self._store = store
        self.full = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def accept(self, entries, answered=None):
        self.entered.set()
        await self.gate.wait()
        if self.full:
            raise StorageFull("no room")
        await self._store.accept(entries, answered)

    def __getattr__(self, name):
        return getattr(self._store, name)


class WebHub:
    """What HubPort asks for, with what a test wants it to answer."""

    def __init__(self, store, config):
        self.config = config
        self.store = store
        self.clock = FakeClock()
        self.metrics = Metrics("0.0.0")
        self.intake = Intake(store, self.clock, on_accepted=self.metrics.accepted)
        self.ready = True
        self.verified = True
        self.asked = []
        self.failure = None
        self.orders = []
        self.vendor_error = None
        self.erased = None

    @property
    def world(self):
        return World.of(self.config, {})

    def connectors(self):
        return [
            ConnectorFacts(
                name=name, plugin=each.plugin, version="0.1.0", enabled=each.enabled, failure=self.failure,
                hook_url=f"http://hub.example/hooks/{name}/{KEY}", breaker="closed", next_pull=None,
            )
            for name, each in self.config.connectors.items()
        ]  # fmt: skip

    def hook_keys(self):
        return {"webpower": KEY, "off": KEY}

    async def verify(self, connector, request):
        self.asked.append((connector, request))
        return self.verified

    async def pause(self, connector, reason):
        self.orders.append(("pause", connector, reason))

    async def resume(self, connector):
        self.orders.append(("resume", connector))

    async def pull(self, connector):
        if self.vendor_error is not None:
            raise self.vendor_error
        return PullSummary(pages=2, read=150, changed=3, held=350)

    async def discover(self, connector):
        if self.vendor_error is not None:
            raise self.vendor_error
        return Discovery(groups=[Choice(id="135", name="Nieuwsbrief")])

    async def check(self, connector):
        return CheckResult()

    async def webhooks(self, connector, *, remove):
        if self.vendor_error is not None:
            raise self.vendor_error
        return Webhooks(removed=["update"]) if remove else Webhooks(made=["update"], kept=["create"])

    async def replay(self, wanted, *, force):
        self.orders.append(("replay", wanted, force))
        return 7

    async def erase(self, email):
        self.orders.append(("erase", email))
        normalise(email)
        return self.erased

    async def journal(self):
        """Everything accepted so far, in order."""
        found = await self.store.run(lambda unit: list(unit.next_entries(100_000)))
        return [entry for _, entry in found]


def config(*, admin_token=""):
    return Config(
        path=Path("connectors.yaml"),
        hub=Hub(admin_token=Secret(admin_token)),
        sources={
            "shop": Source(token=Secret("shop-token")),
            "till": Source(token=Secret("till-token"), may=["profile"]),
            "unset": Source(token=Secret("")),
        },
        connectors={
            "webpower": ConnectorConfig(name="webpower", plugin="webpower"),
            "off": ConnectorConfig(name="off", plugin="webhook", enabled=False),
        },
    )


@contextlib.asynccontextmanager
async def running(path, **options):
    """A hub that listens, and a client that talks to it."""
    store = WatchedStore(await SqliteStore.open(path / "hub.db"))
    hub = WebHub(store, config(**options))
    runner = make_runner(make_app(hub), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}", auto_decompress=False) as client:
            yield hub, client
    finally:
        await runner.cleanup()
        await store.close()


@pytest.fixture
async def pair(tmp_path):
    async with running(tmp_path) as both:
        yield both


@pytest.fixture
def hub(pair):
    return pair[0]


@pytest.fixture
def client(pair):
    return pair[1]


async def problem_of(answer, status):
    """The problem in an answer, which must have this status and be one."""
    body = await answer.read()
    assert answer.status == status, body
    assert answer.content_type == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    content = msgspec.json.decode(body)
    assert content["status"] == status
    assert content["type"]
    assert content["title"]
    assert content["detail"]
    return content
