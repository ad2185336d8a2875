"""The hub dies just before or just after a commit, whichever it is, and is started anew: every promise is kept."""

import asyncio
import itertools
import os

import pytest
from tests.faults.crashing import ANY, STEPS, Point
from tests.faults.trial import FLAVOURS, Trial
from tests.faults.vendor import running_vendor

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
EVERY = 1 if LONG else 12
"""Of all commits every so manieth is a point."""
STEP_BY_STEP = [Point(when, what) for what in ["migration 1", *STEPS] for when in ("before", "after")]
ONE_AFTER_THE_OTHER = [
    [Point("after", "accept", 3), Point("before", "note", 2)],
    [Point("after", "claim trigger"), Point("after", "settle trigger")],
    [Point("before", "settle profile"), Point("before", "fold"), Point("before", "claim consent")],
]


def named(points):
    return ", then ".join(map(str, points))


@pytest.mark.parametrize("point", STEP_BY_STEP, ids=str)
async def test_every_promise_outlives_a_crash_at_each_step(tmp_path, quiet, point):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor)
        assert await trial.live(point)
        await trial.ends_well()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_every_promise_outlives_a_crash_at_any_commit(tmp_path, quiet, flavour, when):
    async def dies_at(nth):
        async with running_vendor() as vendor:
            trial = Trial(tmp_path / str(nth), vendor, **FLAVOURS[flavour])
            died = await trial.live(Point(when, ANY, nth))
            await trial.ends_well()
            return died

    for nth in itertools.count(1, 2 * EVERY):  # until one lives to its end, for it makes fewer commits
        if not all(await asyncio.gather(dies_at(nth), dies_at(nth + EVERY))):
            break
    assert nth + EVERY > len(STEPS)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("points", ONE_AFTER_THE_OTHER, ids=named)
async def test_every_promise_outlives_a_crash_while_the_hub_recovers_from_one(tmp_path, quiet, points, flavour):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor, **FLAVOURS[flavour])
        died = [await trial.live(point) for point in points]
        assert any(died[1:])
        await trial.ends_well()


async def test_a_trigger_whose_claim_was_not_committed_is_sent_once(tmp_path, quiet):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor)
        assert await trial.live(Point("before", "claim trigger"))
        assert vendor.account.acted("trigger") == []
        rows = await trial.ends_well()
        assert {row.state for row in rows} == {"done"}


@pytest.mark.parametrize("point", [Point("after", "claim trigger"), Point("before", "settle trigger")], ids=str)
async def test_a_trigger_that_was_about_to_be_sent_is_kept_for_a_person_to_decide_on(tmp_path, quiet, point):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor)
        assert await trial.live(point)
        rows = await trial.ends_well()
        assert {row.trigger_id for row in rows if row.state == "parked"} == trial.in_doubt != set()
