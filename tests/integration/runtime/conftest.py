"""A whole hub on a real store, with plugins that are files beside its connectors.yaml and do what a test tells them."""

import asyncio
import contextlib
import json

import pytest
import structlog.testing

from esplanade import runtime
from esplanade.model import KINDS
from esplanade.records import DeliveryFilter
from esplanade.testing.clock import FakeClock

PLUGIN = '''
from msgspec import Struct

from esplanade import *
from esplanade import hookimpl


class CrmSettings(Struct, frozen=True):
    account: str = "a"


class Crm(Connector[CrmSettings]):
    """Notes every call, wakes whoever waits for it, and answers what the test wants."""

    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")
    Settings = CrmSettings
    Consent = ConsentTarget
    Audience = AudienceTarget
    Trigger = TriggerTarget
    calls = []
    events = []
    waiters = []
    answers = {}

    def endpoint(self):
        return Endpoint(base_url="https://crm.example")

    async def act(self, kind, event, ctx):
        what = {"profile": lambda: dict(event.changed), "consent": lambda: f"{event.purpose} {event.state}",
                "trigger": lambda: event.trigger_id}[kind]()
        name = event.email.partition("@")[0]
        Crm.calls.append((name, kind, what))
        Crm.events.append(event)
        for waiter in Crm.waiters:
            waiter.set()
        answer = Crm.answers.get((name, kind)) or Crm.answers.get(kind) or Crm.answers.get("all")
        result = Outcome() if answer is None else answer(event)
        if hasattr(result, "__await__"):
            result = await result
        if isinstance(result, BaseException):
            raise result
        return result
'''

SINGLE = """
    @hookimpl
    async def on_profile(self, event, ctx):
        return await self.act("profile", event, ctx)

    @hookimpl
    async def on_consent(self, event, ctx):
        return await self.act("consent", event, ctx)

    @hookimpl
    async def on_trigger(self, event, ctx):
        return await self.act("trigger", event, ctx)
"""

ALL = {
    "fields": {"city": "City", "name": "Name"},
    "consents": {"newsletter": {}, "service": {}},
    "audiences": {"vip": {}},
    "triggers": {"cart": {"requires": "newsletter"}, "order": {}, "sale": {"expires": "5m"}},
}
"""The targets that tests speak of."""
ONLY_PROFILES = {"fields": {"city": "City", "name": "Name"}, "consents": {}, "audiences": {}, "triggers": {}}


class Script:
    """What the plugin of a file was asked, and what it shall answer."""

    def __init__(self, plugin):
        self.plugin = plugin

    @property
    def calls(self):
        """Who was called for what, in order: name, kind, what."""
        return self.plugin.calls

    @property
    def events(self):
        return self.plugin.events

    @property
    def answers(self):
        """By (name, kind), by kind, or ``all``: a function of the event that gives an Outcome or an error."""
        return self.plugin.answers

    def to(self, name):
        """The calls for one person."""
        return [call[1:] for call in self.calls if call[0] == name]

    async def called(self, times):
        """Return once there were that many calls."""
        waiter = asyncio.Event()
        self.plugin.waiters.append(waiter)
        async with asyncio.timeout(10):
            while len(self.calls) < times:
                waiter.clear()
                await waiter.wait()
        self.plugin.waiters.remove(waiter)

    def hold(self, key):
        """Let these calls wait until the gate that is returned is set; each answers delivered then."""
        from esplanade import Outcome

        gate = asyncio.Event()

        async def wait():
            await gate.wait()
            return Outcome()

        self.answers[key] = lambda _event: wait()
        return gate

    def once(self, key, *results):
        """Answer these, one call after the other, and delivered from then on."""
        from esplanade import Outcome

        left = list(results)
        self.answers[key] = lambda _event: left.pop(0) if left else Outcome()


class Place:
    """A folder with a connectors.yaml, its plugins and its store, and the hubs that run there."""

    def __init__(self, path):
        self.path = path
        self.hubs = []
        self.plugin()

    def plugin(self, body=SINGLE, name="crm.py", attributes=""):
        """Write a plugin's file."""
        head = PLUGIN + "".join(f"    {line}\n" for line in attributes.splitlines())
        (self.path / name).write_text(head + body)

    def write(self, connectors=None, **hub):
        """Write connectors.yaml: by default one connector ``crm`` that maps everything of ``ALL``."""
        found = {}
        for name, keys in (connectors or {"crm": {}}).items():
            found[name] = {"plugin": "./crm.py", **ALL, "pace": {"concurrency": 4}, **keys}
        content = {
            "hub": {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "drain_timeout": "2s", **hub},
            "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
            "connectors": found,
        }
        (self.path / "connectors.yaml").write_text(json.dumps(content))

    def load(self):
        return runtime.load(self.path / "connectors.yaml", {})

    async def start(self, *, clock=None, listen=False, write=True, connectors=None, **hub):
        """Write the configuration and run a hub on it."""
        if write:
            self.write(connectors, **hub)
        started = await runtime.Hub.start(self.load(), clock=clock, listen=listen)
        self.hubs.append(started)
        return started

    def script(self, name="./crm.py"):
        """The script of a plugin's file; the same for every hub and connector here."""
        return Script(self.load().plugins[name])

    async def close(self):
        for hub in self.hubs:
            await hub.stop()


@pytest.fixture
async def place(tmp_path):
    place = Place(tmp_path)
    yield place
    async with asyncio.timeout(20):
        await place.close()


@pytest.fixture
def clock():
    return FakeClock()


def email(name):
    return f"{name}@example.com"


async def send(hub, kind, *items, backfill=False):
    """Accept events as the shop sends them; ``email`` may be a bare name."""
    raws = [json.dumps({**item, "email": email(item["email"])}).encode() for item in items]
    admission = hub.intake.admit("shop", kind, raws, may=KINDS, backfill=backfill)
    assert not admission.rejected, admission.rejected
    await hub.intake.accept(admission.entries)
    return admission.ids


async def profile(hub, who, /, *, backfill=False, **fields):
    await send(hub, "profile", {"email": who, "fields": fields or {"city": "Delft"}}, backfill=backfill)


async def consent(hub, name, state="granted", purpose="newsletter", **more):
    await send(hub, "consent", {"email": name, "purpose": purpose, "state": state, **more})


async def trigger(hub, name, trigger_id, trigger="order", **more):
    await send(hub, "trigger", {"email": name, "trigger": trigger, "trigger_id": trigger_id, **more})


async def settled(hub, seconds=10.0):
    async with asyncio.timeout(seconds):
        await hub.settled()


async def moved(hub, clock, seconds):
    """Let time pass, and what is due by then be done."""
    await clock.advance(seconds)
    await settled(hub)


async def folded(hub):
    """Return once everything accepted is folded, whatever the lanes do."""
    async with asyncio.timeout(10):
        await hub._fold.caught_up()


async def deliveries(hub, **wanted):
    found = await hub.store.run(lambda unit: unit.deliveries(DeliveryFilter(**wanted), limit=1000))
    return [delivery for delivery, _ in found]


async def delivery(hub, **wanted):
    (found,) = await deliveries(hub, **wanted)
    return found


async def state(hub, connector="crm"):
    return await hub.store.run(lambda unit: unit.connector_state(connector))


async def reasons(hub, name):
    """Why things were not sent to a person, in order."""
    person = await person_of(hub, name)
    notes = await hub.store.run(lambda unit: unit.timeline(person.id))
    return [note.reason for note in notes if note.what in {"not-sent", "failed"}]


async def person_of(hub, name):
    return await hub.store.run(lambda unit: unit.person_by_email(email(name)))


async def remote_of(hub, name, connector="crm"):
    person = await person_of(hub, name)
    return await hub.store.run(lambda unit: unit.remote(person.id, connector))


async def attempts(hub, delivery_id):
    return await hub.store.run(lambda unit: [each.outcome for each in unit.attempts(delivery_id)])


@contextlib.contextmanager
def told():
    """The alerts that are raised meanwhile, as their keys."""
    keys = []
    with structlog.testing.capture_logs() as logs:
        yield keys
    keys.extend(each["key"] for each in logs if each["event"] == "alert")
