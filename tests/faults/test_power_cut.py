"""The power goes with the hub, which forgets what it had not taken to the disk: every promise is kept."""

import asyncio
import itertools
import os
from itertools import accumulate
from random import Random

import pytest
from tests.faults.conftest import all_done
from tests.faults.crashing import ANY, Life, Point, furnish
from tests.faults.cutting import cut_power
from tests.faults.shop import post
from tests.faults.story import Said, story
from tests.faults.trial import FLAVOURS, Trial, left_in, started
from tests.faults.vendor import running_vendor

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
EVERY = 1 if LONG else 12
CUTS, PEOPLE = 25 if LONG else 6, 12
LOST = {"all that was not synced": None, "some of it": 1}
STEP_BY_STEP = [
    Point("before", "accept", 5),
    Point("before", "claim trigger", 2),
    Point("after", "fold", 2),
    Point("after", "settle profile"),
    Point("after", "settle consent"),
    Point("after", "settle trigger", 2),
]


@pytest.mark.parametrize("seed", LOST.values(), ids=LOST)
@pytest.mark.parametrize("point", STEP_BY_STEP, ids=str)
async def test_every_promise_outlives_a_power_cut_at_each_step(tmp_path, quiet, point, seed):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor)
        assert await trial.lose_power(point, seed and Random(seed))
        await trial.ends_well()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_every_promise_outlives_a_power_cut_at_any_commit(tmp_path, quiet, flavour, when):
    async def loses_power_at(nth):
        async with running_vendor() as vendor:
            trial = Trial(tmp_path / str(nth), vendor, **FLAVOURS[flavour])
            died = await trial.lose_power(Point(when, ANY, nth))
            await trial.ends_well()
            return died

    for nth in itertools.count(7, 2 * EVERY):  # until one lives to its end, for it makes fewer commits
        if not all(await asyncio.gather(loses_power_at(nth), loses_power_at(nth + EVERY))):
            break
    assert nth + EVERY > len(STEP_BY_STEP)


@pytest.mark.parametrize("flavour", FLAVOURS if LONG else list(FLAVOURS)[:1])
async def test_every_promise_outlives_one_power_cut_after_the_other(tmp_path, quiet, flavour):
    rng = Random(f"{flavour} {CUTS}")
    cuts = list(accumulate(rng.randrange(100) for _ in range(CUTS)))  # each when so many events were taken
    said = [each for wave in story(1, PEOPLE, cuts[-1] // PEOPLE + 10) for each in wave]
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor, said, **FLAVOURS[flavour])
        for taken in cuts:
            await trial.lose_power_once_told(taken, rng)
        await trial.ends_well()


async def test_a_trigger_that_the_hub_forgot_to_have_sent_is_not_sent_again(tmp_path, quiet):
    order = Said(kind="trigger", name="ada", seq=1, trigger="order")
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor, [order])
        assert await trial.lose_power(Point("after", "settle trigger"))
        assert [line.trigger_id for line in vendor.account.acted("trigger")] == [order.trigger_id]
        assert trial.in_doubt == {order.trigger_id}
        await trial.ends_well()


async def test_what_was_not_synced_is_lost(tmp_path, quiet):
    async with running_vendor() as vendor:
        furnish(tmp_path, vendor, timeout="20s")
        life = await Life.begin(tmp_path, Point("after", "settle profile"))
        await post(life.url, "profile", {"email": "ada@example.com", "fields": {"town": "Delft"}})
        assert await life.end()
        assert [row.outcome for row in await asyncio.to_thread(left_in, tmp_path)] == ["delivered"]
        assert await asyncio.to_thread(cut_power, tmp_path) > 0
        assert await asyncio.to_thread(left_in, tmp_path) == []
        async with started(tmp_path) as hub:
            assert [row.outcome for row in await all_done(hub)] == ["delivered"]
        assert len(vendor.account.acted("profile")) == 2
