"""What a hub takes over from the one before it: the day's budget, and work that was to be done by a clock that ran ahead."""

import asyncio

import pytest
from tests.integration.http.conftest import running_vendor
from tests.integration.runtime.conftest import (
    ONLY_PROFILES,
    deliveries,
    folded,
    moved,
    profile,
    settled,
)
from tests.integration.runtime.test_attempts import PLUGIN, POST

from esplanade.errors import TemporaryError
from esplanade.testing.clock import FakeClock

DAY = 86_400.0
UNSTOPPABLE = {"breaker": {"failures": 1_000}}


@pytest.fixture
async def started(place, clock):
    """Starts hubs whose connector may make three requests a day, to a vendor that counts them."""
    async with running_vendor() as vendor:
        (place.path / "crm.py").write_text(PLUGIN + POST)
        crm = {**ONLY_PROFILES, "settings": {"url": vendor.origin}, "pace": {"daily": 3}}

        async def start():
            return await place.start(clock=clock, connectors={"crm": crm}, egress={"allow": ["127.0.0.0/8"]}), vendor

        yield start
        await place.close()


async def requested(hub, vendor, times):
    """Return once there were that many requests, and what came of them is settled."""
    async with asyncio.timeout(10):
        while len(vendor.requests) < times or len(await deliveries(hub, states=["done"])) < times:
            await hub.store.run(lambda unit: None)


async def test_a_restart_gives_no_second_day(started, clock):
    for times, names in ((2, ["ada", "bob"]), (3, ["cyd", "dan", "eve"])):
        hub, vendor = await started()
        for name in names:
            await profile(hub, name)
        await requested(hub, vendor, times)
        await hub.stop()
    hub, vendor = await started()
    await folded(hub)
    assert hub.connections["crm"].pacer.free() == 0
    assert len(vendor.requests) == 3
    await clock.advance(DAY)
    await settled(hub)
    assert len(vendor.requests) == 5


async def test_what_is_spent_is_kept_while_the_hub_runs_so_that_a_kill_forgets_little(started, clock):
    hub, vendor = await started()
    for spent in (1, 2):
        await profile(hub, f"person-{spent}")
        await requested(hub, vendor, spent)
        await clock.advance(1.0)
        async with asyncio.timeout(10):
            while f'"requests":{spent}' not in (await hub.store.read(lambda reader: reader.meta("spent:crm")) or ""):
                await hub.store.run(lambda unit: None)


@pytest.mark.parametrize("set_back_by", [3_600.0, 30 * DAY])
async def test_work_that_a_clock_set_back_has_left_in_the_future_is_done_at_its_time_from_now(
    place, clock, set_back_by
):
    hub, crm = await place.start(clock=clock, connectors={"crm": UNSTOPPABLE}), place.script()
    crm.once(("ada", "profile"), TemporaryError("down"))
    await profile(hub, "ada")
    await settled(hub)
    await hub.pause("crm", "a move")
    await profile(hub, "bob")
    await settled(hub)
    (retried,) = [each for each in await deliveries(hub) if each.attempts]
    wait = retried.due_at - clock.time()
    assert wait > 0
    await hub.stop()
    earlier = FakeClock(clock.time() - set_back_by)
    again = await place.start(clock=earlier, connectors={"crm": UNSTOPPABLE})
    await again.resume("crm")
    await settled(again)
    assert [call[0] for call in crm.calls] == ["ada", "bob"]
    await moved(again, earlier, wait + 0.001)
    assert [call[0] for call in crm.calls] == ["ada", "bob", "ada"]
