"""Erasing a person at the vendors: after the hub, once nothing can bring them back, and with a certificate of what came of it."""

import asyncio
import itertools
import json

import pytest
import structlog.testing
from aiohttp import web
from tests.integration.http.conftest import running_vendor

from .conftest import ONLY_PROFILES, email, folded, person_of, profile, send, settled

PLUGIN = """
from msgspec import Struct

from esplanade import *
from esplanade import hookimpl


class CrmSettings(Struct, frozen=True):
    url: str


class Crm(Connector[CrmSettings]):
    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")
    Settings = CrmSettings

    def endpoint(self):
        return Endpoint(base_url=self.settings.url)

    @hookimpl
    async def on_profile(self, event, ctx):
        answer = await ctx.http.put("/contacts", json={"id": event.remote_id, "email": event.email})
        return Outcome(remote_id=answer.json()["id"])

    async def found(self, person, ctx):
        if person.remote_id is not None:
            return person.remote_id
        answer = await ctx.http.get("/contacts", params={"email": person.email})
        return answer.json()["id"]
"""
ERASES = """
    async def erase(self, person, ctx):
        theirs = await self.found(person, ctx)
        if theirs is None:
            return False
        answer = await ctx.http.delete(f"/contacts/{theirs}", allow=(404,))
        return answer.status != 404
"""
FETCHES = """
    async def fetch(self, person, ctx):
        theirs = await self.found(person, ctx)
        return None if theirs is None else Report(email=person.email, remote_id=theirs)
"""
LIES = """
    async def erase(self, person, ctx):
        return True
"""
RAISES = """
    async def erase(self, person, ctx):
        raise ValueError(f"what to do with {person.email}?")
"""
RAISES_AT_ONCE = """
    def erase(self, person, ctx):
        raise ValueError(f"what to do with {person.email}?")
"""
READS_BACK_AND_RAISES_AT_ONCE = """
    def fetch(self, person, ctx):
        raise ValueError(f"where is {person.email}?")
"""
SAYS_NOTHING = """
    async def erase(self, person, ctx):
        pass
"""
HANGS = """
    async def erase(self, person, ctx):
        import asyncio
        await asyncio.Event().wait()
"""


class Account:
    """What the vendor holds, and what it was asked to change."""

    def __init__(self):
        self.contacts, self.writes, self.refusals = {}, [], []
        self.numbers = itertools.count(9001)
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request):
        number = request.path.rpartition("/")[2]
        if request.method == "GET":
            address = request.query["email"].lower()
            ids = [theirs for theirs, held in self.contacts.items() if held.lower() == address]
            return web.json_response({"id": ids[0] if ids else None})
        await self.gate.wait()
        self.writes.append(request.method)
        if self.refusals:
            return self.refusals.pop(0)
        if request.method == "DELETE":
            return web.Response(status=404 if self.contacts.pop(number, None) is None else 204)
        said = await request.json()
        number = said["id"] or str(next(self.numbers))
        self.contacts[number] = said["email"]
        return web.json_response({"id": number})


@pytest.fixture
async def vendor():
    async with running_vendor() as running:
        running.account = Account()
        running.handler = running.account.answer
        yield running


@pytest.fixture
def account(vendor):
    return vendor.account


@pytest.fixture
def start(place, vendor):
    """Run a hub whose plugin has these methods, with these keys of its connector."""

    async def started(methods=ERASES + FETCHES, **keys):
        (place.path / "crm.py").write_text(PLUGIN + methods)
        crm = {**ONLY_PROFILES, "settings": {"url": vendor.origin}, "retry": {"base": "1ms", "cap": "1ms"}, **keys}
        return await place.start(connectors={"crm": crm}, egress={"allow": ["127.0.0.0/8"]})

    return started


async def known(hub, *names):
    for name in names or ("ada",):
        await profile(hub, name, city="Delft")
    await settled(hub)


async def erased(hub, address="ada@example.com"):
    async with asyncio.timeout(15):
        answer = await hub.erase(address)
    (certified,) = answer.certificate
    return certified.result, certified.detail


async def test_the_contact_is_gone_at_the_vendor_and_the_certificate_names_it(start, account):
    hub = await start()
    await known(hub, "ada", "bob")
    with structlog.testing.capture_logs() as logs:
        assert await erased(hub) == ("erased", "erased at the vendor: contact 9001 (ada@example.com)")
    assert account.contacts == {"9002": "bob@example.com"}
    (line,) = [each for each in logs if each["event"] == "erased_at_vendor"]
    assert {key: line[key] for key in ("person", "connector", "result")} == {
        "person": "p-1",
        "connector": "crm",
        "result": "erased",
    }
    assert "ada" not in json.dumps(logs)
    assert await hub.store.read(lambda reader: reader.open_erasures()) == []


async def test_asked_again_the_vendor_is_looked_through_by_the_address(start, account):
    hub = await start()
    await known(hub)
    await erased(hub)
    gone = "not there at the vendor: the contact with the address Ada@Example.com"
    assert await erased(hub, "Ada@Example.com") == ("not-found", gone)
    account.contacts["7"] = "ada@example.com"  # made by somebody since
    assert (await erased(hub))[0] == "erased"
    assert account.contacts == {}


async def test_a_former_contact_and_every_former_address_go_too(start, account):
    hub = await start()
    await known(hub)
    await send(hub, "profile", {"email": "new", "previous_email": email("ada"), "fields": {"city": "Delft"}})
    await settled(hub)
    assert set(account.contacts.values()) == {"ada@example.com", "new@example.com"}  # this vendor moves nobody
    account.contacts["7"] = "ADA@example.com"  # of which nobody told the hub
    names = "contact 9002 (new@example.com) and contact 9001 (ada@example.com)"
    assert await erased(hub, "new@example.com") == ("erased", f"erased at the vendor: {names}")
    assert account.contacts == {}


async def taken_over(hub):
    """Somebody has a new address; their former one is somebody else's since."""
    fields = {"city": "Delft"}
    await send(hub, "profile", {"email": "ada", "id": "u-1", "fields": fields})
    await settled(hub)
    await send(hub, "profile", {"email": "new", "id": "u-1", "previous_email": email("ada"), "fields": fields})
    await settled(hub)
    await send(hub, "profile", {"email": "ada", "id": "u-2", "fields": {"city": "Breda"}})
    await settled(hub)
    assert ((await person_of(hub, "new")).id, (await person_of(hub, "ada")).id) == (1, 2)


async def test_whoever_has_a_former_address_of_theirs_now_keeps_their_contact(start, account, vendor):
    hub = await start()
    await taken_over(hub)
    assert account.contacts == {"9001": "ada@example.com", "9002": "new@example.com", "9003": "ada@example.com"}
    before = len(vendor.requests)
    names = "contact 9002 (new@example.com) and contact 9001"
    assert await erased(hub, "new@example.com") == ("erased", f"erased at the vendor: {names}")
    assert account.contacts == {"9003": "ada@example.com"}
    assert not [path for request, *_ in vendor.requests[before:] if "ada" in (path := request.path_qs)]
    assert (await person_of(hub, "ada")).id == 2


async def test_whoever_has_a_former_contact_of_theirs_now_keeps_it(start, account):
    hub = await start()
    account.numbers = iter(["9001", "9002", "9001"])  # a vendor that has one contact for each address
    await taken_over(hub)
    assert await erased(hub, "new@example.com") == ("erased", "erased at the vendor: contact 9002 (new@example.com)")
    assert account.contacts == {"9001": "ada@example.com"}


async def test_a_contact_that_must_be_erased_by_hand_is_not_named_by_an_address_that_is_anothers(start):
    hub = await start("")
    await taken_over(hub)
    _, detail = await erased(hub, "new@example.com")
    assert detail.startswith("erase contact 9002 (new@example.com) and contact 9001 at the vendor by hand: ")


async def test_a_contact_that_has_another_id_by_now_is_found_by_its_address(start, account):
    hub = await start(ERASES)
    await known(hub)
    account.contacts = {"77": "ada@example.com"}
    assert (await erased(hub))[0] == "erased"
    assert account.contacts == {}


async def test_a_vendor_that_fails_is_named_and_asking_again_erases(start, account, place):
    hub = await start()
    await known(hub)
    account.refusals = [web.Response(status=503, text="ada@example.com cannot be erased just now")]
    result, detail = await erased(hub)
    assert result == "failed"
    assert detail.startswith("not erased at the vendor: contact 9001 (ada@example.com): TemporaryError: ")
    assert "ada@example.com cannot" not in detail
    assert detail.endswith("Ask again, by ada@example.com.")
    assert await person_of(hub, "ada") is None  # here they are erased all the same
    assert b"ada@example.com" not in b"".join(path.read_bytes() for path in place.path.glob("hub.db*"))
    assert (await erased(hub))[0] == "erased"
    assert account.contacts == {}


async def test_one_contact_that_fails_does_not_keep_the_others(start, account):
    hub = await start()
    await known(hub)
    await send(hub, "profile", {"email": "new", "previous_email": email("ada"), "fields": {"city": "Delft"}})
    await settled(hub)
    account.refusals = [web.Response(status=400)]
    result, detail = await erased(hub, "new@example.com")
    assert result == "failed"
    assert list(account.contacts.values()) == ["new@example.com"]
    assert "Ask again, by new@example.com. Erased: contact 9001 (ada@example.com)." in detail


@pytest.mark.parametrize(
    ("methods", "why"),
    [
        (LIES + FETCHES, "PermanentError: the vendor says that it is erased, and still shows it"),
        (RAISES, "PluginError: the plugin raised ValueError"),
        (RAISES_AT_ONCE, "PluginError: the plugin raised ValueError"),
        (ERASES + READS_BACK_AND_RAISES_AT_ONCE, "PluginError: the plugin raised ValueError"),
        (SAYS_NOTHING, "PluginError: erase must return True or False, not NoneType"),
        (HANGS, "no answer within 1 s"),
    ],
    ids=["lies", "raises", "raises at once", "raises at once when read back", "says nothing", "hangs"],
)
async def test_a_plugin_that_does_not_do_it_has_failed(start, methods, why):
    hub = await start(methods, timeout="1s")
    await known(hub)
    result, detail = await erased(hub)
    assert result == "failed"
    assert f"contact 9001 (ada@example.com): {why}. Ask again" in detail


async def test_what_cannot_be_read_back_has_failed(start, account, vendor):
    hub = await start()
    await known(hub)

    async def answer(request):
        return web.Response(status=403) if request.method == "GET" else await account.answer(request)

    vendor.handler = answer
    result, detail = await erased(hub)
    assert (result, account.contacts) == ("failed", {})
    assert "the vendor took it, and could not be read back: AuthenticationError" in detail


async def test_a_call_under_way_ends_before_the_vendor_is_asked(start, account):
    hub = await start()
    account.gate.clear()
    await profile(hub, "ada", city="Delft")
    await folded(hub)
    while not hub.connections["crm"].outbound.under_way:
        await asyncio.sleep(0.01)
    erasing = asyncio.create_task(erased(hub))
    while await person_of(hub, "ada") is not None:
        await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(erasing), 0.1)
    account.gate.set()
    assert (await erasing)[0] == "erased"
    assert (account.writes, account.contacts) == (["PUT", "DELETE"], {})


async def test_a_call_that_does_not_end_is_told(start, account, monkeypatch):
    monkeypatch.setattr("esplanade.runtime.vendors.SETTLE_S", -1.0)  # before the lane itself gives the call up
    hub = await start(ERASES, timeout="1s")
    account.contacts["7"] = "ada@example.com"
    account.gate.clear()
    await profile(hub, "ada", city="Delft")
    await folded(hub)
    while not hub.connections["crm"].outbound.under_way:
        await asyncio.sleep(0.01)
    erasing = asyncio.create_task(erased(hub))
    with pytest.raises(TimeoutError):  # the vendor is asked by then, and answers nobody
        await asyncio.wait_for(asyncio.shield(erasing), 0.7)
    account.gate.set()
    result, detail = await erasing
    assert result == "failed"
    assert "a call for this person has not ended, and may make it anew" in detail


async def test_a_connector_that_is_paused_is_asked_all_the_same(start, account):
    hub = await start()
    await known(hub)
    await hub.pause("crm", "by hand")
    assert (await erased(hub))[0] == "erased"
    assert account.contacts == {}


async def test_a_connector_that_is_disabled_is_not_asked_and_asking_again_once_it_runs_erases(start, account):
    hub = await start()
    await known(hub)
    await hub.stop()
    hub = await start(enabled=False)
    result, detail = await erased(hub)
    assert result == "failed"
    assert "connector crm is disabled; set `enabled: true`. See to that and ask again; else" in detail
    assert "erase contact 9001 (ada@example.com) at the vendor by hand" in detail
    assert (await erased(hub))[0] == "failed"  # it is remembered that this vendor may know them
    await hub.stop()
    hub = await start()
    assert (await erased(hub))[0] == "erased"
    assert account.contacts == {}


async def test_a_plugin_that_cannot_do_it_leaves_it_to_a_human(start, account):
    hub = await start("")
    await known(hub)
    by_hand = "erase contact 9001 (ada@example.com) at the vendor by hand: the plugin ./crm.py cannot do it"
    assert await erased(hub) == ("unsupported", by_hand)


async def test_a_vendor_that_was_never_told_is_not_asked(start, account, vendor):
    hub = await start()
    await hub.pause("crm", "by hand")
    await profile(hub, "ada", city="Delft")
    await folded(hub)
    result, _ = await erased(hub)
    assert (result, vendor.requests) == ("not-found", [])


async def test_people_who_were_erased_at_once_are_asked_for_one_after_the_other(start, account):
    hub = await start()
    names = [f"person{number}" for number in range(8)]
    await known(hub, *names)
    results = await asyncio.gather(*(erased(hub, email(name)) for name in names))
    assert [result for result, _ in results] == ["erased"] * 8
    assert account.contacts == {}


async def test_a_hub_that_stopped_before_the_vendors_had_answered_says_so_when_it_starts(start, account, vendor):
    hub = await start()
    await known(hub)
    account.gate.clear()
    erasing = asyncio.create_task(hub.erase("ada@example.com"))
    while vendor.requests[-1][0].method != "DELETE":
        await asyncio.sleep(0.01)
    erasing.cancel()
    await asyncio.gather(erasing, return_exceptions=True)
    await hub.stop()
    account.gate.set()
    with structlog.testing.capture_logs() as logs:
        hub = await start()
        async with asyncio.timeout(10):
            while await hub.store.read(lambda reader: reader.open_erasures()):
                await asyncio.sleep(0.01)
    (alert,) = [each for each in logs if each["event"] == "alert"]
    assert alert["key"] == "erasure:1"
    assert "crm. Erase the same person again" in alert["message"]
    assert (await erased(hub))[0] in {"erased", "not-found"}
    assert account.contacts == {}
