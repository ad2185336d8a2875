"""A plugin that is broken in any way costs nobody else anything: the others deliver, it is named, and its work is kept."""

import asyncio
import json
import textwrap

import pytest

from esplanade import runtime
from esplanade.records import DeliveryFilter
from esplanade.views import connectors_view

HEAD = """\
import asyncio
import sys
import time

from msgspec import Struct

from esplanade import *
from esplanade import hookimpl


class VendorSettings(Struct, frozen=True):
    account: str = "a"


class Vendor(Connector[VendorSettings]):
    manifest = Manifest(title="Vendor", vendor_api="1", owner="me", homepage="https://vendor.example")
    Settings = VendorSettings
    Consent = ConsentTarget
    Trigger = TriggerTarget
    got = []

    def endpoint(self):
        return Endpoint(base_url="https://vendor.example")
"""
GOOD = """
    @hookimpl
    async def on_profile(self, event, ctx):
        self.got.append(event.email)
        return Outcome()
"""
ALL_HOOKS = """
    @hookimpl
    async def on_profile(self, event, ctx):
        {act}

    @hookimpl
    async def on_consent(self, event, ctx):
        {act}

    @hookimpl
    async def on_trigger(self, event, ctx):
        {act}

    @hookimpl
    async def on_inbound_webhook(self, event, ctx):
        {act}
"""
CONNECTOR = {
    "fields": {"city": "City"},
    "timeout": "50ms",
    "retry": {"base": "1ms", "cap": "5ms"},
    "breaker": {"open": "10ms"},
}


def plugin(body):
    return HEAD + textwrap.indent(textwrap.dedent(body), "    ")


def hooks(act):
    return plugin(ALL_HOOKS.format(act=act))


class Place:
    """A connectors.yaml with a good connector ``fine`` and another, ``broken``."""

    def __init__(self, path):
        self.path = path
        self.hub = None

    def write(self, broken, *, fine=None, **keys):
        (self.path / "fine.py").write_text(fine or plugin(GOOD))
        (self.path / "broken.py").write_text(broken)
        connectors = {
            "fine": {"plugin": "./fine.py", **CONNECTOR},
            "broken": {"plugin": "./broken.py", **CONNECTOR, **keys},
        }
        hub = {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "drain_timeout": "200ms"}
        sources = {"shop": {"token": "a-token-of-the-shop-1"}}
        content = {"hub": hub, "sources": sources, "connectors": connectors}
        (self.path / "connectors.yaml").write_text(json.dumps(content))
        return runtime.load(self.path / "connectors.yaml", {})

    async def start(self, broken, **keys):
        self.hub = await runtime.Hub.start(self.write(broken, **keys), listen=False)
        return self.hub

    async def mend(self, text, **keys):
        await self.hub.reload(self.write(text, **keys))

    def got(self, name):
        """Whom a connector's plugin was told of."""
        return list(self.hub.connections[name].plugin.got)


@pytest.fixture
async def place(tmp_path):
    place = Place(tmp_path)
    yield place
    if place.hub is not None:
        async with asyncio.timeout(10):
            await place.hub.stop()


async def profiles(hub, *names):
    raws = [json.dumps({"email": f"{name}@example.com", "fields": {"city": "Delft"}}).encode() for name in names]
    await hub.intake.accept(hub.intake.admit("shop", "profile", raws, may=("profile",)).entries)


async def delivered(hub, connector, count):
    """Return once a connector has delivered that many."""
    wanted = DeliveryFilter(connector=connector, states=["done"])
    async with asyncio.timeout(10):
        while len(await hub.store.read(lambda reader: reader.deliveries(wanted))) < count:
            await hub.store.run(lambda unit: None)


async def view(hub, name):
    """A connector as the operator API shows it."""
    facts = hub.connectors()
    found = await hub.store.read(lambda reader: connectors_view(facts, reader, hub.clock.time()))
    return next(each for each in found["connectors"] if each["name"] == name)


async def failing(hub, name, words):
    """Return once a connector's last error says so."""
    async with asyncio.timeout(10):
        while words not in ((await view(hub, name))["last_error"] or ""):
            await hub.store.run(lambda unit: None)


NOT_LOADED = {
    "a syntax error": ("class Vendor(:\n", "SyntaxError"),
    "an import that fails": ("import esplanade_of_the_future\n", "ModuleNotFoundError"),
    "code that raises": ("raise RuntimeError('no licence file')\n", "no licence file"),
    "code that exits": ("raise SystemExit(3)\n", "SystemExit"),
    "no connector": ("x = 1\n", "defines no public Connector class"),
    "a hook with another name": (plugin("async def on_profil(self, event, ctx): ..."), "did you mean on_profile?"),
    "a hook with another signature": (plugin("@hookimpl\nasync def on_profile(self, event): ..."), "on_profile takes"),
    "a hook that is not async": (plugin("@hookimpl\ndef on_profile(self, event, ctx): ..."), "not a coroutine"),
    "a manifest for another core": (HEAD.replace('vendor_api="1"', 'core=">=9", vendor_api="1"'), "esplanade >=9"),
}


@pytest.mark.parametrize("broken", NOT_LOADED)
async def test_one_that_cannot_be_loaded_is_named_with_the_cause_and_the_others_deliver(place, broken):
    text, words = NOT_LOADED[broken]
    hub = await place.start(text)
    await profiles(hub, "ada", "bob")
    await delivered(hub, "fine", 2)
    (row,) = [each for each in runtime.plugin_report(hub.loaded) if each["name"] == "./broken.py"]
    assert row["state"] == "failed"
    assert "./broken.py" in row["reason"]
    assert words in row["reason"]
    (facts,) = [each for each in hub.connectors() if each.name == "broken"]
    assert words in facts.failure
    shown = await view(hub, "broken")
    assert (shown["state"], shown["reason"]) == ("failed", facts.failure)
    assert shown["queue"]["due"] == 2


NOT_STARTED = {
    "a constructor that raises": ("def __init__(self, settings):\n    raise KeyError('region')", "KeyError"),
    "a constructor that exits": ("def __init__(self, settings):\n    sys.exit('bye')", "SystemExit"),
    "no endpoint": ("def endpoint(self):\n    raise NotImplementedError('where?')", "where?"),
    "an endpoint that is none": ("def endpoint(self):\n    return None", "could not be started"),
    "fields that are none": ("read_only_fields = None", "TypeError"),
    "a repeat class that is none": ("trigger_repeat = 'sometimes'", "trigger_repeat"),
    "a look-up that is missing": ("trigger_repeat = 'check'", "was_sent must be there"),
    "batches of nothing": ("batch_items = 0", "batch_items"),
    "a hook on the instance": ("def __init__(self, settings):\n    self.on_trigger = print", "on_trigger"),
}


@pytest.mark.parametrize("broken", NOT_STARTED)
async def test_one_that_cannot_be_started_is_named_with_the_cause_and_the_others_deliver(place, broken):
    body, words = NOT_STARTED[broken]
    hub = await place.start(plugin(body) + textwrap.indent(textwrap.dedent(GOOD), "    "))
    await profiles(hub, "ada")
    await delivered(hub, "fine", 1)
    shown = await view(hub, "broken")
    assert shown["state"] == "failed"
    assert "broken" in shown["reason"]
    assert words in shown["reason"]
    assert hub.registry.names() == ["fine"]
    await place.mend(plugin(GOOD))
    await hub.settled()
    assert place.got("broken") == ["ada@example.com"]


BAD_TWIN = """
@classmethod
def twin(cls):
    from esplanade.testing import Twin
    class Bad(Twin):
        def {method}
    return Bad
"""
TWINS = {
    "there is none": ("", "set `twin: false`"),
    "its import fails": ("@classmethod\ndef twin(cls):\n    import esplanade_of_the_future", "ModuleNotFoundError"),
    "it cannot be built": (
        BAD_TWIN.format(method="__init__(self, settings, clock=None): raise ValueError('no account')"),
        "no account",
    ),
    "it cannot be pointed at": (BAD_TWIN.format(method="routes(self): return []"), "NotImplementedError"),
}


@pytest.mark.parametrize("broken", TWINS)
async def test_a_twin_that_cannot_be_started_fails_its_connector_alone(place, broken):
    body, words = TWINS[broken]
    hub = await place.start(plugin(body) + textwrap.indent(textwrap.dedent(GOOD), "    "), twin=True)
    await profiles(hub, "ada")
    await delivered(hub, "fine", 1)
    shown = await view(hub, "broken")
    assert shown["state"] == "failed"
    assert words in shown["reason"]


RAISING = {
    "its own exception": ("raise KeyError('ada@example.com')", "PluginError: the plugin raised KeyError"),
    "exit": ("sys.exit(1)", "PluginError: the plugin raised SystemExit"),
    "an exception whose text raises": ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "Odd"),
    "nothing it may return": ("return 'done'", "PluginError: on_profile must return an Outcome, not str"),
    "a number for an id": (
        "return Outcome(remote_id=9001)",
        "PluginError: on_profile returned an Outcome that is none",
    ),
    "text for a wait": ("raise RateLimited('slow', retry_after='1')", "RateLimited: slow"),
    "a cancellation": ("raise asyncio.CancelledError", "no answer from the plugin"),
    "recursion": ("return await self.on_profile(event, ctx)", "PluginError: the plugin raised RecursionError"),
}


@pytest.mark.parametrize("broken", RAISING)
async def test_one_whose_hooks_raise_is_tried_again_while_the_others_deliver(place, broken):
    act, words = RAISING[broken]
    hub = await place.start(hooks(act))
    await profiles(hub, *[f"p{number}" for number in range(20)])
    await delivered(hub, "fine", 20)
    await failing(hub, "broken", words)
    shown = await view(hub, "broken")
    assert (shown["state"], shown["plugin"]) == ("ok", "./broken.py")
    assert "ada@example.com" not in shown["last_error"]
    await place.mend(plugin(GOOD))
    await delivered(hub, "broken", 20)
    assert set(place.got("broken")) == {f"p{number}@example.com" for number in range(20)}


async def test_one_that_hangs_is_cancelled_and_its_work_is_delivered_once_it_is_mended(place):
    hub = await place.start(hooks("await asyncio.Event().wait()"))
    await profiles(hub, "ada", "bob")
    await delivered(hub, "fine", 2)
    await failing(hub, "broken", "no answer from the plugin within 0.05 s")
    await place.mend(plugin(GOOD))
    await delivered(hub, "broken", 2)


async def test_one_that_hangs_and_does_not_let_itself_be_cancelled_is_left_behind(place):
    stubborn = """
        Vendor.gate = asyncio.Event()
        while not Vendor.gate.is_set():
            try:
                await Vendor.gate.wait()
            except asyncio.CancelledError:
                pass
        return Outcome()
    """
    hub = await place.start(hooks(textwrap.indent(textwrap.dedent(stubborn), " " * 8).strip()))
    old = hub.connections["broken"].plugin
    await profiles(hub, "ada")
    await delivered(hub, "fine", 1)
    await failing(hub, "broken", "no answer from the plugin")
    await place.mend(plugin(GOOD))
    await profiles(hub, "bob")
    await delivered(hub, "broken", 2)
    type(old).gate.set()


@pytest.mark.may_block
@pytest.mark.may_block
async def test_one_that_blocks_the_loop_slows_the_others_down_but_loses_nothing(place):
    hub = await place.start(hooks("time.sleep(0.02); return Outcome()"))
    await profiles(hub, *[f"p{number}" for number in range(10)])
    await delivered(hub, "fine", 10)
    await delivered(hub, "broken", 10)


async def test_one_that_is_broken_when_it_is_edited_fails_and_the_rest_goes_on(place):
    hub = await place.start(plugin(GOOD))
    await profiles(hub, "ada")
    await hub.settled()
    before = hub.connections["fine"]
    await place.mend("raise RuntimeError('half an edit')\n")
    assert hub.connections["fine"] is before
    assert "half an edit" in hub.failures["broken"]
    await profiles(hub, "bob")
    await delivered(hub, "fine", 2)
    await place.mend(plugin(GOOD))
    await delivered(hub, "broken", 2)
    assert hub.failures == {}


async def test_webhooks_for_one_that_is_broken_are_kept_and_read_once_it_is_mended(place):
    from esplanade.ingest.shapes import WebhookIn

    hub = await place.start("raise RuntimeError('no')\n")
    await hub.intake.accept([hub.intake.entry_for_webhook("broken", WebhookIn(method="POST", body=b"1"))])
    await hub.settled()
    assert (await view(hub, "broken"))["inbound"]["due"] == 1
    reads = "@hookimpl\nasync def on_inbound_webhook(self, event, ctx):\n    return [Report(email='ada@example.com')]\n"
    await place.mend(plugin(reads))
    await hub.settled()
    assert (await view(hub, "broken"))["inbound"]["due"] == 0
    assert await hub.store.read(lambda reader: reader.person_by_email("ada@example.com")) is not None


@pytest.mark.parametrize("act", ["raise KeyError('x')", "return 'fine'", "sys.exit(2)"])
async def test_webhooks_that_it_cannot_read_wait_and_the_others_are_not_touched(place, act):
    from esplanade.ingest.shapes import WebhookIn

    hub = await place.start(hooks(act))
    await hub.intake.accept([hub.intake.entry_for_webhook("broken", WebhookIn(method="POST", body=b"1"))])
    await profiles(hub, "ada")
    await delivered(hub, "fine", 1)
    await failing(hub, "broken", "PluginError")


@pytest.mark.parametrize("act", ["raise KeyError('x')", "sys.exit(2)", "await asyncio.Event().wait()"])
async def test_a_verification_that_fails_keeps_the_request_for_later(place, act):
    from datetime import UTC, datetime

    from esplanade.model import InboundRequest

    body = GOOD + f"\n    async def verify(self, request, ctx):\n        {act}\n"
    hub = await place.start(plugin(body))
    request = InboundRequest(method="POST", received_at=datetime.now(UTC))
    async with asyncio.timeout(5):
        assert await hub.verify("broken", request) is None


@pytest.mark.parametrize("act", ["raise KeyError('x')", "sys.exit(2)"])
async def test_what_an_operator_asks_of_it_fails_with_its_name_on_it(place, act):
    from esplanade.errors import PluginError

    body = GOOD + "".join(
        f"\n    async def {name}(self, *args):\n        {act}\n" for name in ("check", "discover", "pull")
    )
    hub = await place.start(plugin(body))
    for method in (hub.check, hub.discover, hub.pull):
        with pytest.raises(PluginError, match="the plugin raised"):
            await method("broken")


async def test_one_that_fails_at_every_start_does_not_keep_the_hub_from_starting_again(place, tmp_path):
    text = hooks("raise KeyError('x')")
    for _ in range(3):
        hub = await place.start(text)
        await profiles(hub, "ada")
        await failing(hub, "broken", "KeyError")
        await hub.stop()
    hub = await place.start(plugin(GOOD))
    await delivered(hub, "broken", 1)
