"""What is not sent, not folded and not taken over says why, also where there is nobody to say it of."""

import msgspec
import pytest

from esplanade.ingest.shapes import ConsentIn
from esplanade.model import TriggerTarget
from esplanade.records import Entry


@pytest.fixture
async def hub(house):
    return await house(webpower={}, sparkloop={"sends": ["consent"]}, copernica={"sends": ["profile"]})


async def of_nobody(hub):
    """What is noted of events about nobody, as (what, connector, reason)."""
    notes = await hub.store.read(lambda reader: reader.timeline(0))
    return [(note.what, note.connector, note.reason) for note in notes]


async def test_what_sends_leaves_out_is_not_mapped(hub):
    await hub.profile(fields={"firstname": "Ada"})
    event = await hub.reports("sparkloop", fields={"first_name": "Eve"}, consents={"newsletter": "granted"})
    assert ("reported", "sparkloop", "not-mapped") in await hub.notes(event=event)
    assert (await hub.values(), await hub.state()) == ({"firstname": "Ada"}, "granted")
    event = await hub.reports("copernica", consents={"newsletter": "denied"})
    assert await hub.notes(event=event) == [("reported", "copernica", "not-mapped")]


async def test_a_contact_that_the_vendor_lost_is_drift_and_no_echo(hub):
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    event = await hub.reports("webpower", deleted=True)
    assert await hub.notes(event=event) == [("reported", "webpower", "drift")]


async def test_an_echo_names_what_was_repeated(hub):
    await hub.profile(fields={"firstname": "Ada"}, audiences={"vip": True})
    await hub.settle()
    event = await hub.reports("webpower", fields={"first_name": "Ada"}, audiences={"vip": True})
    person = await hub.person()
    notes = await hub.store.read(lambda reader: reader.timeline(person.id))
    assert [(note.reason, note.detail) for note in notes if note.event_id == event] == [("echo", "first_name, vip")]


async def test_an_address_that_was_stated_before_the_current_one_is_stale(hub):
    await hub.profile("new@example.com", id="u-1", at=200)
    (event,) = await hub.profile("old@example.com", id="u-1", at=100)
    assert ("not-sent", "", "stale") in await hub.notes(email="new@example.com", event=event)
    assert (await hub.by_id("u-1")).email == "new@example.com"


async def test_a_repeat_is_noted_of_a_person_who_is_known_by_id_only(hub):
    for _ in range(2):
        await hub.profile(None, id="u-1", event_id="e-1", fields={"firstname": "Ada"})
    person = await hub.by_id("u-1")
    notes = await hub.store.read(lambda reader: reader.timeline(person.id))
    assert [note.reason for note in notes if note.what == "not-sent"] == ["duplicate"]


async def test_a_repeat_of_an_event_that_could_not_be_folded_is_noted_of_nobody(hub):
    body = msgspec.msgpack.encode(ConsentIn(email="eve@example.com", purpose="newsletter", state="granted"))
    entry = Entry(kind="report", origin="gone", id="e-1", at=hub.clock.time(), body=body, dedupe=True)
    await hub.store.run(lambda unit: unit.first_time("e-1", hub.clock.time()))
    await hub.append(entry)
    assert await of_nobody(hub) == [("not-sent", "", "duplicate")]


async def test_what_happened_to_somebody_unknown_where_sends_leaves_it_out_is_noted_of_nobody(hub):
    await hub.happens("sparkloop", "opened", email="eve@example.com")
    assert await of_nobody(hub) == [("not-sent", "sparkloop", "not-mapped")]
    assert await hub.person("eve@example.com") is None


async def test_a_trigger_that_was_being_sent_when_the_hub_stopped_is_noted_as_unknown(house):
    hub = await house(webpower={"triggers": {"cart": TriggerTarget()}})
    await hub.profile()
    await hub.settle()
    await hub.trigger("cart")
    await hub.claim("webpower")
    desk = hub.desk("webpower")
    desk._repeat = "never"
    await hub.store.run(lambda unit: desk.recover(unit, hub.clock.time()))
    assert (await hub.notes())[-1] == ("failed", "webpower", "outcome-unknown")
    assert await hub.parked() == [("webpower", "outcome-unknown")]
