"""Nobody empties an audience by accident: more removals than the guard allows wait for a human."""

import asyncio

import pytest

from esplanade.errors import TemporaryError
from esplanade.records import DeliveryFilter

from .conftest import deliveries, email, folded, moved, person_of, remote_of, send, settled, told

PEOPLE = [f"p{number:03}" for number in range(30)]


async def memberships(hub, names, *, member, audience="vip"):
    await send(hub, "profile", *[{"email": name, "audiences": {audience: member}} for name in names])
    await settled(hub)


async def inside(hub, names):
    """Those who are members at the vendor, as far as the hub knows."""
    return [name for name in names if (await remote_of(hub, name)).audiences.get("vip")]


@pytest.fixture
async def hub(place, clock):
    hub = await place.start(clock=clock)
    await memberships(hub, PEOPLE, member=True)
    return hub


async def test_ten_may_leave_however_few_there_are(hub):
    with told() as alerts:
        await memberships(hub, PEOPLE[:10], member=False)
    assert await inside(hub, PEOPLE) == PEOPLE[10:]
    assert alerts == []


async def test_one_more_stays_until_a_human_says_so(hub, place):
    crm = place.script()
    with told() as alerts:
        await memberships(hub, PEOPLE[:25], member=False)
    assert len(await inside(hub, PEOPLE)) == 20
    assert alerts == ["guard:crm:vip"]
    parked = await deliveries(hub, reason="guard")
    assert (len(parked), {each.state for each in parked}) == (15, {"parked"})
    before = len(crm.calls)
    assert await hub.replay(DeliveryFilter(reason="guard"), force=False) == 15
    await settled(hub)
    assert await inside(hub, PEOPLE) == PEOPLE[25:]
    assert len(crm.calls) == before + 15


async def test_what_else_there_is_to_tell_of_them_is_told_at_once(hub, place):
    await send(hub, "profile", *[{"email": name, "audiences": {"vip": False}} for name in PEOPLE[:10]])
    await settled(hub)
    await send(hub, "profile", {"email": "p020", "audiences": {"vip": False}, "fields": {"city": "Delft"}})
    await settled(hub)
    assert (await remote_of(hub, "p020")).fields == {"City": "Delft"}
    assert await inside(hub, ["p020"]) == ["p020"]
    notes = await hub.store.run(lambda unit: unit.timeline(unit.person_by_email(email("p020")).id))
    assert ("not-sent", "guard", "vip") in [(note.what, note.reason, note.detail) for note in notes]


async def test_the_same_removal_waits_once(hub):
    await memberships(hub, PEOPLE[:12], member=False)
    waiting = await deliveries(hub, reason="guard")
    for city in ("Delft", "Breda"):
        for name in PEOPLE[:12]:
            await send(hub, "profile", {"email": name, "fields": {"city": city}})
        await settled(hub)
    assert [each.id for each in await deliveries(hub, reason="guard")] == [each.id for each in waiting]


async def test_whoever_joins_again_meanwhile_stays_when_the_removal_is_replayed(hub):
    await memberships(hub, PEOPLE[:12], member=False)
    (first, *_) = await deliveries(hub, reason="guard")
    person = await hub.store.run(lambda unit: unit.person(first.person))
    name = person.email.partition("@")[0]
    await memberships(hub, [name], member=True)
    await hub.replay(DeliveryFilter(reason="guard"), force=False)
    await settled(hub)
    assert await inside(hub, [name]) == [name]


async def test_an_hour_later_a_new_run_begins(hub, clock):
    await memberships(hub, PEOPLE[:10], member=False)
    await clock.advance(3_600)
    await memberships(hub, PEOPLE[10:20], member=False)
    assert await inside(hub, PEOPLE) == PEOPLE[20:]


async def test_the_guard_is_a_share_of_those_whom_the_hub_put_there(place, clock):
    hub = await place.start(clock=clock, guard={"max_removals": "50%"})
    await memberships(hub, PEOPLE, member=True)
    await memberships(hub, PEOPLE[:20], member=False)
    assert len(await inside(hub, PEOPLE)) == 15


async def test_an_opt_out_is_never_held(hub, place):
    crm = place.script()
    for name in PEOPLE[:25]:
        await send(hub, "consent", {"email": name, "purpose": "newsletter", "state": "denied"})
    await settled(hub)
    assert sum(call[1] == "consent" for call in crm.calls) == 25
    assert (await person_of(hub, "p000")).consents["newsletter"].state == "denied"


async def test_work_that_waits_for_another_try_takes_nobody_past_the_guard(place, clock):
    hub = await place.start(clock=clock, connectors={"crm": {"breaker": {"failures": 1000}}})
    crm = place.script()
    await memberships(hub, PEOPLE, member=True)
    crm.once("profile", *[TemporaryError("down")] * len(PEOPLE))
    await send(hub, "profile", *[{"email": name, "fields": {"city": "Delft"}} for name in PEOPLE])
    await folded(hub)
    while len(crm.calls) < 2 * len(PEOPLE):
        await asyncio.sleep(0)
    await send(hub, "profile", *[{"email": name, "audiences": {"vip": False}} for name in PEOPLE])
    await folded(hub)
    await moved(hub, clock, 60)
    assert len(await inside(hub, PEOPLE)) == 20
