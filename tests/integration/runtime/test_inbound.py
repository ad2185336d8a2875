"""Webhooks that were stored and answered: read by their plugin, tried again, kept when nobody can read them."""

import asyncio
import json

import aiohttp
import pytest

from esplanade import Report
from esplanade.errors import AuthenticationError, PermanentError, RateLimited, TemporaryError
from esplanade.ingest.shapes import WebhookIn
from esplanade.records import DeliveryFilter
from esplanade.store.sqlite.unit import SqliteUnit

from .conftest import ONLY_PROFILES, SINGLE, deliveries, moved, person_of, profile, settled, state

READS = (
    SINGLE
    + """
    inbound = {}
    read = []
    reading = None

    @hookimpl
    async def on_inbound_webhook(self, event, ctx):
        name = event.body.decode()
        Crm.read.append(name)
        if Crm.reading is not None:
            Crm.reading.set()
        answer = Crm.inbound.get(name, [Report(email=f"{name}@example.com", fields={"City": "Delft"})])
        if callable(answer):
            answer = answer()
        if hasattr(answer, "__await__"):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        return answer
"""
)
VERIFIES = """
    genuine = []

    async def verify(self, request, ctx):
        answer = Crm.genuine.pop(0) if Crm.genuine else True
        if isinstance(answer, BaseException):
            raise answer
        if answer == "hang":
            import asyncio
            await asyncio.Event().wait()
        return answer
"""
TWO = {"crm": ONLY_PROFILES, "erp": {**ONLY_PROFILES, "plugin": "./erp.py"}}


async def arrive(hub, *names, verified=True):
    entries = [
        hub.intake.entry_for_webhook("crm", WebhookIn(method="POST", body=name.encode(), verified=verified))
        for name in names
    ]
    await hub.intake.accept(entries)


async def webhooks(hub):
    return await deliveries(hub, kind="webhook")


@pytest.fixture
def reading(place):
    place.plugin(READS + VERIFIES)
    place.plugin(name="erp.py")
    return place


async def test_what_one_vendor_reports_is_told_to_the_others(reading):
    hub, crm, erp = await reading.start(connectors=TWO), reading.script(), reading.script("./erp.py")
    await arrive(hub, "ada")
    await settled(hub)
    assert [each.state for each in await webhooks(hub)] == ["done"]
    assert erp.calls == [("ada", "profile", {"City": "Delft"})]
    assert crm.calls == []
    assert (await person_of(hub, "ada")).fields["city"].value == "Delft"


async def test_they_are_read_in_the_order_in_which_they_came(reading):
    hub, crm = await reading.start(connectors=TWO), reading.script()
    names = [f"p{number}" for number in range(30)]
    await arrive(hub, *names)
    await settled(hub)
    assert crm.plugin.read == names


async def test_one_that_fails_is_tried_again_and_holds_up_nobody(reading, clock):
    hub, crm = await reading.start(connectors=TWO, clock=clock), reading.script()
    answers = [TemporaryError("down", retry_after=60), RuntimeError("bug")]
    crm.plugin.inbound["ada"] = lambda: answers.pop(0) if answers else []
    await arrive(hub, "ada", "bob", "eve")
    await settled(hub)
    assert crm.plugin.read == ["ada", "bob", "eve"]
    assert (await state(hub)).last_error == "TemporaryError: down"
    await moved(hub, clock, 60)
    assert (await state(hub)).last_error == "PluginError: the plugin raised RuntimeError"
    await moved(hub, clock, 60)
    assert crm.plugin.read == ["ada", "bob", "eve", "ada", "ada"]
    assert {each.state for each in await webhooks(hub)} == {"done"}


async def test_one_that_cannot_be_understood_is_a_dead_letter_which_can_be_read_again(reading):
    hub, crm = await reading.start(connectors=TWO), reading.script()
    crm.plugin.inbound["ada"] = PermanentError("an event of an unknown kind")
    await arrive(hub, "ada")
    await settled(hub)
    (found,) = await webhooks(hub)
    assert (found.state, found.reason) == ("dead", "rejected")
    crm.plugin.inbound.clear()
    assert await hub.replay(DeliveryFilter(connector="crm", kind="webhook"), force=False) == 1
    await settled(hub)
    assert (await person_of(hub, "ada")).fields["city"].value == "Delft"


async def test_refused_credentials_while_reading_do_not_pause_the_way_out(reading, clock):
    hub, crm = await reading.start(connectors=TWO, clock=clock), reading.script()
    crm.plugin.inbound["ada"] = AuthenticationError("expired")
    await arrive(hub, "ada")
    await settled(hub)
    assert (await state(hub)).state == "ok"
    assert [each.state for each in await webhooks(hub)] == ["pending"]


async def test_one_that_hangs_is_cancelled_and_the_next_is_read(reading, clock):
    connectors = {**TWO, "crm": {**ONLY_PROFILES, "timeout": "10s"}}
    hub, crm = await reading.start(connectors=connectors, clock=clock), reading.script()
    crm.plugin.inbound["ada"] = lambda: asyncio.Event().wait()
    crm.plugin.reading = asyncio.Event()
    await arrive(hub, "ada", "bob")
    async with asyncio.timeout(5):
        await crm.plugin.reading.wait()
    crm.plugin.inbound.clear()
    await clock.advance(10.8)
    await settled(hub)
    assert (await state(hub)).last_error == "TemporaryError: the webhook was not read within 10 s"
    await moved(hub, clock, 2)
    assert sorted(crm.plugin.read) == ["ada", "ada", "bob"]
    assert {each.state for each in await webhooks(hub)} == {"done"}


@pytest.mark.parametrize("nonsense", ["None", "'ada'", "['ada']", "[Report(email=5)]", "[Report(fields={'City': {'a': 1}})]",
                                      "[Report(email='ada@example.com', consents={'newsletter': 'yes'})]",
                                      "[Happening(name=1, email='ada@example.com')]"])  # fmt: skip
async def test_a_report_that_is_none_is_a_fault_of_the_plugin_and_does_not_reach_the_fold(reading, clock, nonsense):
    body = READS.replace("Crm.inbound.get(name, [", f'{nonsense} if name == "ada" else Crm.inbound.get(name, [')
    reading.plugin(body)
    hub = await reading.start(connectors=TWO, clock=clock)
    await arrive(hub, "ada", "bob")
    await settled(hub)
    first, second = await webhooks(hub)
    assert (first.state, second.state) == ("pending", "done")
    assert first.last_error.startswith("PluginError: ")
    assert await deliveries(hub, kind="fold") == []


async def test_one_that_could_not_be_verified_is_verified_before_it_is_read(reading):
    hub, crm = await reading.start(connectors=TWO), reading.script()
    crm.plugin.genuine += [False, True]
    await arrive(hub, "eve", "ada", verified=False)
    await settled(hub)
    assert crm.plugin.read == ["ada"]
    assert [each.state for each in await webhooks(hub)] == ["dead", "done"]


async def test_a_repeat_of_the_vendors_own_event_id_counts_once(reading):
    body = READS.replace("fields={", "event_id='v-1', fields={")
    reading.plugin(body)
    hub, erp = await reading.start(connectors=TWO), reading.script("./erp.py")
    await arrive(hub, "ada", "ada")
    await settled(hub)
    person = await person_of(hub, "ada")
    notes = await hub.store.run(lambda unit: unit.timeline(person.id))
    assert [note.reason for note in notes].count("duplicate") == 1
    assert len(erp.calls) == 1


async def test_what_was_being_read_in_a_crash_is_read_again(reading):
    hub, crm = await reading.start(connectors=TWO, drain_timeout="0s"), reading.script()
    crm.plugin.inbound["ada"] = lambda: asyncio.Event().wait()
    crm.plugin.reading = asyncio.Event()
    await arrive(hub, "ada")
    async with asyncio.timeout(5):
        await crm.plugin.reading.wait()
    await hub.stop()
    crm.plugin.inbound.clear()
    hub = await reading.start(connectors=TWO)
    await settled(hub)
    assert [each.state for each in await webhooks(hub)] == ["done"]


async def test_settled_waits_for_what_a_webhook_sets_going(reading):
    hub, erp = await reading.start(connectors=TWO), reading.script("./erp.py")
    gate = erp.hold("all")
    await arrive(hub, "ada")
    waiting = asyncio.create_task(hub.settled())
    await erp.called(1)
    assert not waiting.done()
    gate.set()
    await waiting
    assert len(erp.calls) == 1


async def test_reports_keep_to_what_the_journal_can_hold(reading):
    reading.plugin(READS.replace('"Delft"', '"D" * 100_000'))
    hub = await reading.start(connectors=TWO)
    await arrive(hub, "ada")
    await settled(hub)
    assert len((await person_of(hub, "ada")).fields["city"].value) == 100_000


class TestOverHttp:
    async def post(self, hub, body, path=None):
        facts = hub.connectors()[0]
        async with aiohttp.ClientSession() as client, client.post(path or facts.hook_url, data=body) as answer:
            return answer.status

    async def listening(self, reading, **more):
        connectors = {"crm": {**ONLY_PROFILES, "timeout": "200ms"}}
        return await reading.start(connectors=connectors, listen=True, **more), reading.script()

    async def test_a_genuine_webhook_is_answered_and_read(self, reading):
        hub, crm = await self.listening(reading)
        assert await self.post(hub, b"ada") == 200
        await settled(hub)
        assert crm.plugin.read == ["ada"]

    async def test_a_forged_one_is_refused(self, reading):
        hub, crm = await self.listening(reading)
        crm.plugin.genuine.append(False)
        assert await self.post(hub, b"ada") == 401
        await settled(hub)
        assert crm.plugin.read == []

    @pytest.mark.parametrize("trouble", [TemporaryError("no key just now"), RuntimeError("bug"), "hang"], ids=repr)
    async def test_one_that_cannot_be_judged_just_now_is_kept_and_judged_later(self, reading, trouble):
        hub, crm = await self.listening(reading)
        crm.plugin.genuine.append(trouble)
        assert await self.post(hub, b"ada") == 200
        await settled(hub)
        assert crm.plugin.read == ["ada"]

    async def test_the_hub_answers_while_a_vendor_is_being_called(self, reading):
        hub, crm = await self.listening(reading)
        gate = crm.hold("all")
        await profile(hub, "ada")
        await crm.called(1)
        async with aiohttp.ClientSession() as client, client.get(f"{hub.url}/healthz") as answer:
            assert answer.status == 200
        gate.set()
        async with aiohttp.ClientSession() as client, client.get(f"{hub.url}/v1/connectors") as answer:
            assert json.loads(await answer.text())["connectors"][0]["state"] == "ok"


async def test_one_that_the_hub_cannot_settle_is_kept_and_the_others_are_read(reading, clock, monkeypatch):
    hub = await reading.start(clock=clock)
    append = SqliteUnit.append

    def fail(unit, entries):
        if any(b"odd@example.com" in entry.body for entry in entries if entry.kind == "report"):
            raise LookupError("odd@example.com")
        append(unit, entries)

    monkeypatch.setattr(SqliteUnit, "append", fail)
    await arrive(hub, "ada", "odd", "eve")
    await settled(hub)
    states = [(each.state, each.reason) for each in await webhooks(hub)]
    assert states == [("done", None), ("dead", "not-planned"), ("done", None)]
    (kept,) = [each for each in await webhooks(hub) if each.state == "dead"]
    assert kept.last_error == "the hub could not work out what to do with this: LookupError"
    assert await person_of(hub, "eve") is not None


async def test_patience_that_the_vendor_asks_for_while_it_is_asked_costs_no_attempt(reading, clock):
    hub, crm = await reading.start(clock=clock), reading.script()
    left = [RateLimited("slow", retry_after=60.0), RateLimited("slow", retry_after=60.0)]
    crm.plugin.inbound["ada"] = lambda: left.pop(0) if left else [Report(email="ada@example.com")]
    await arrive(hub, "ada")
    await settled(hub)
    (waits,) = await webhooks(hub)
    assert (waits.state, waits.attempts, waits.due_at) == ("pending", 0, clock.time() + 60)
    await moved(hub, clock, 60)
    await moved(hub, clock, 60)
    (read,) = await webhooks(hub)
    assert (read.state, read.attempts) == ("done", 1)
