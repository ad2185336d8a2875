"""A vendor that misbehaves in every way over a crowd of people: each promise of delivery is kept, counted event by event."""

import os

import pytest
from tests.faults.conftest import all_done
from tests.faults.invariants import promises_are_kept
from tests.faults.story import story, tell
from tests.faults.vendor import FATES, Chance, describe, running_vendor

from esplanade.records import DeliveryFilter

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
PEOPLE, EVENTS = 200, 50
FEW = PEOPLE if LONG else 20
SEEDS = range(1, 6) if LONG else [1]
FLAVOURS = {
    "triggers that are never repeated": {"repeat": "never"},
    "triggers that are looked up": {"repeat": "check"},
    "triggers that may be repeated": {"repeat": "safe"},
    "batches": {"repeat": "never", "batch": True},
    "batches whose triggers are looked up": {"repeat": "check", "batch": True},
    "batches whose triggers may be repeated": {"repeat": "safe", "batch": True},
}


async def misbehave(place, people, seed, *, repeat, batch=False):
    """Tell a story to a hub whose vendor misbehaves; returns what the vendor remembers of it."""
    said = []
    async with running_vendor(Chance(seed)) as vendor:
        hub = await place.start({"vendor": vendor}, repeat=repeat, batch=batch)
        for wave in story(seed, people, EVENTS):
            await tell(hub, wave)
            said += wave
        promises_are_kept(said, vendor.account, await all_done(hub), repeat=repeat)
        vendor.heal()
        await hub.replay(DeliveryFilter(reason="rejected"), force=False)
        rows = await all_done(hub)
        promises_are_kept(said, vendor.account, rows, repeat=repeat, replayed=True)
        left = [row for row in rows if row.state != "done"]  # triggers that may have gone out are left to a person
        assert all(row.kind == "trigger" and (row.unsure or row.reason == "outcome-unknown") for row in left)
        return vendor


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_every_promise_is_kept_whatever_the_vendor_answers(place, flavour, seed):
    await misbehave(place, FEW, seed, **FLAVOURS[flavour])


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_promise_is_kept_to_a_crowd_while_the_vendor_misbehaves_in_every_way(place, seed):
    vendor = await misbehave(place, PEOPLE, seed, repeat="never")
    met = {line.fault for line in vendor.account.lines}
    assert met == {"", *(describe(fault) for faults, _ in FATES for fault in faults)}
