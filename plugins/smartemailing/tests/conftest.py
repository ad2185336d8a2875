"""A SmartEmailing account on loopback, a client of it, a hub that keeps what it is told, and the plugin pointed at it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest
from aiohttp import web

from esplanade import AudienceChange, ConsentEvent, InboundRequest, PersonRef, ProfileEvent, TriggerEvent
from esplanade.testing import FakeClock, open_context
from esplanade_smartemailing.plugin import SmartEmailingConnector
from esplanade_smartemailing.settings import (
    DoubleOptIn,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingTrigger,
)
from esplanade_smartemailing.twin import SmartEmailingTwin

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
ADA = "ada@example.com"

FIELDS = {
    "firstname": "name",
    "city": "town",
    "born": "birthday",
    "tier": "loyalty_tier",
    "points": "points",
    "last_order": "member_since",
    "paper": "wants_paper",
    "interests": "interests",
    "size": "size",
    "bounced": "hardbounced",
}
ASKING = DoubleOptIn(email_id=41, from_address="news@shop.example", sender_name="Shop", reply_to="help@shop.example")
CONSENTS = {"newsletter": SmartEmailingConsent(list=7, purpose=2), "service": SmartEmailingConsent(list=9)}
ASKED = SmartEmailingConsent(list=7, purpose=2, double_opt_in=ASKING)
AUDIENCES = {"vip": SmartEmailingAudience(list=12), "churn-risk": SmartEmailingAudience()}
TRIGGERS = {
    "abandoned-cart": SmartEmailingTrigger(event="abandoned-cart"),
    "order": SmartEmailingTrigger(email_id=71),
}


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


class Plugin:
    """The connector with its context, and the events that the core would hand to it."""

    def __init__(self, connector, ctx):
        self.connector, self.ctx = connector, ctx

    def a_profile(self, email=ADA, *, add=None, remove=None, **parts):
        parts.setdefault("changed", {name: each for name, each in parts.get("desired", {}).items() if each is not None})
        parts.setdefault("desired", parts["changed"])
        change = AudienceChange(add=add or {}, remove=remove or {})
        said = {"delivery_id": "d-1", "person": "p-1"}
        return ProfileEvent(email=email, audiences=change, at=NOW, **{**said, **parts})

    def a_consent(self, state, email=ADA, purpose="newsletter", **parts):
        parts.setdefault("target", CONSENTS[purpose])
        said = {"delivery_id": "d-2", "person": "p-1", "said_at": NOW, "at": NOW}
        return ConsentEvent(email=email, purpose=purpose, state=state, **{**said, **parts})

    def a_trigger(self, email=ADA, trigger="abandoned-cart", **parts):
        parts.setdefault("target", TRIGGERS.get(trigger))
        said = {"delivery_id": "d-3", "person": "p-1", "trigger_id": "t-9", "at": NOW}
        return TriggerEvent(email=email, trigger=trigger, **{**said, **parts})

    async def profiles(self, *events):
        return await self.connector.on_profile_batch(events, self.ctx)

    async def consents(self, *events):
        return await self.connector.on_consent_batch(events, self.ctx)

    async def triggers(self, *events):
        return await self.connector.on_trigger_batch(events, self.ctx)

    async def profile(self, email=ADA, **parts):
        return _only(await self.profiles(self.a_profile(email, **parts)))

    async def consent(self, state, email=ADA, purpose="newsletter", **parts):
        return _only(await self.consents(self.a_consent(state, email, purpose, **parts)))

    async def trigger(self, email=ADA, trigger="abandoned-cart", **parts):
        return _only(await self.triggers(self.a_trigger(email, trigger, **parts)))

    async def fetch(self, email=ADA, remote_id=None):
        return await self.connector.fetch(PersonRef(person="p-1", email=email, remote_id=remote_id), self.ctx)

    async def pages(self, between=lambda: None):
        """A whole pull, page by page; ``between`` them something may happen."""
        pages, cursor = [], None
        while True:
            pages.append(await self.connector.pull(cursor, self.ctx))
            cursor = pages[-1].cursor
            if cursor is None:
                return pages
            between()

    async def pull(self):
        """The reports of a whole pull by address, and the purposes that it covers."""
        pages = await self.pages()
        return {each.email: each for page in pages for each in page.reports}, pages[-1].covers

    async def hears(self, body=b"", query="", headers=None, method="POST", came_at=NOW):
        """What a call of the vendor is read as."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = InboundRequest(method=method, query=query, headers=headers or {}, body=raw, received_at=came_at)
        return await self.connector.on_inbound_webhook(request, self.ctx)


def _only(results):
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result


@pytest.fixture
def open_plugin(twin, clock):
    """Open the plugin on the twin; keywords change its settings, ``mapped`` its mappings."""

    @asynccontextmanager
    async def opened(mapped=None, **changes):
        settings = msgspec.structs.replace(twin.rewired(twin.settings), **changes)
        connector = SmartEmailingConnector(settings)
        mapping = {"fields": FIELDS, "consents": CONSENTS, "audiences": AUDIENCES, "triggers": TRIGGERS}
        async with open_context(connector, clock=clock, timeout_s=5.0, **{**mapping, **(mapped or {})}) as ctx:
            yield Plugin(connector, ctx)

    return opened


@pytest.fixture
async def plugin(open_plugin):
    async with open_plugin() as opened:
        yield opened


@pytest.fixture
def calls(twin):
    """The calls made since the last time, as ``METHOD path?query`` below ``/api/v3/``."""

    def since():
        made = [
            f"{each.method} {each.path.removeprefix('/api/v3/')}" + (f"?{each.query}" if each.query else "")
            for each in twin.requests
        ]
        twin.requests.clear()
        return made

    return since


@pytest.fixture
def sent(twin):
    """The bodies sent to a path since the last time, that of imports unless told otherwise."""

    def since(path="import"):
        bodies = [
            msgspec.json.decode(each.body)
            for each in twin.requests
            if each.method == "POST" and each.path == f"/api/v3/{path}"
        ]
        twin.requests.clear()
        return bodies

    return since


@pytest.fixture
def sign_up(twin):
    """Put a contact into the account, with list statuses by id and keys of its record; returns its id as text."""

    def made(email=ADA, lists=None, **values):
        contact = twin.account.create(email)
        for number, status in (lists or {}).items():
            twin.account.subscribe(contact, number, status)
        for name, value in values.items():
            if name in {"blacklisted", "hardbounced"}:
                setattr(contact, name, value)
            else:
                contact.values[name] = value
        return str(contact.id)

    return made


@pytest.fixture
def statuses(twin):
    """A contact's list statuses by id; None where there is no such contact."""

    def of(email=ADA):
        contact = twin.account.find(email)
        return None if contact is None else {number: each.status for number, each in contact.lists.items()}

    return of
