"""DL5: how fast the vendor is called, as it sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.rig import NAME, REST_S, Rig
from esplanade.conformance.tales import Tale, tales
from esplanade.conformance.trial import Trial
from esplanade.testing import FakeClock, Fault
from esplanade.testing.twin import Recorded, Twin

RATE, BURST, AT_ONCE, DAILY = 5, 3, 2, 7
DAY_S = 86_400.0
STEP_S = 0.1
LONG_S = 300.0
SLOW_S = 5.0
ROUNDS = 6
BEFORE_MIDNIGHT = 20_469 * DAY_S - 600.0
"""Ten minutes before a day begins, by UTC."""
LOOK_S = 0.002
LOOKS = 200
"""So often the loop goes round before it is believed that no further call comes."""


@check("DL5")
async def the_rate_is_kept(trial: Trial) -> None:
    """In no second, and in no minute, more calls than the rate and the burst allow; and all of them in the end."""
    async with _paced(trial, FakeClock(), {"rate": f"{RATE}/s", "burst": BURST, "concurrency": AT_ONCE}) as (rig, told):
        await _say(rig, told)
        passed = 0.0
        while await rig.deliveries(states=["pending", "in_flight"]):
            require(passed < LONG_S, f"at {RATE} calls a second, not all was done after {LONG_S:g} s")
            await _until_time_must_pass(rig)
            await rig.clock.advance(STEP_S)
            passed += STEP_S
        calls = _times(rig, rig.requests())
        for window_s in (1.0, 60.0):
            most, allowed = _most_within(calls, window_s), int(BURST + RATE * window_s)
            require(most <= allowed, f"{most} calls were made within {window_s:g} s; pace allows {allowed}")
        for tale in told:
            require(tale.is_held(rig), f"{tale.words} did not reach the vendor at a slow pace")


@check("DL5")
async def the_days_budget_is_kept(trial: Trial) -> None:
    """Once the calls of a day are used up, none is made until the next begins, and then no more than one day's."""
    async with _paced(trial, FakeClock(BEFORE_MIDNIGHT), {"daily": DAILY}) as (rig, told):
        await _say(rig, told)
        await rig.at_rest()
        await rig.advance(300.0)
        today = len(_times(rig, rig.requests()))
        require(today <= DAILY, f"{today} calls were made on a day that has {DAILY}")
        require(today, "no call was made on a day that has some")
        await rig.advance(600.0)
        tomorrow = len(_times(rig, rig.requests()))
        require(tomorrow <= DAILY, f"{tomorrow} calls were made on the next day, which has {DAILY}")
        require(tomorrow, "no call was made on the next day, although there was much to do")


@check("DL5")
async def no_more_are_made_at_once(trial: Trial) -> None:
    """A slow vendor, deliveries for many people, and a pull: never more calls under way than are allowed."""
    async with _paced(trial, FakeClock(), {"rate": "5000/s", "burst": 1000, "concurrency": AT_ONCE}) as (rig, told):
        rig.twin.faults.append(Fault(match=rig.own_calls, action="pass", delay_s=SLOW_S, times=None))
        await _say(rig, told)
        pull = asyncio.create_task(rig.hub.pull(NAME)) if "pull" in trial.methods else None
        try:
            for _ in range(ROUNDS):
                if not await _comes(rig):
                    break
                most = rig.twin.most_under_way
                require(most <= AT_ONCE, f"{most} calls were under way at once; pace allows {AT_ONCE}")
                before = rig.twin.request_count
                await rig.clock.advance(SLOW_S + STEP_S)
                await _answered(rig.twin, before + 1)
            same(rig.twin.most_under_way, AT_ONCE, "the most calls that were under way at once, with so much to do")
        finally:
            rig.twin.faults.clear()
            if pull is not None:
                pull.cancel()


@asynccontextmanager
async def _paced(trial: Trial, clock: FakeClock, pace: dict[str, Any]) -> AsyncIterator[tuple[Rig, list[Tale]]]:
    """A hub with this pace and much to say, whose vendor holds what it must beforehand."""
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin) as rig:
            told = [tale for each in await tales(rig, 8) for tale in each]
        async with trial.hub(
            clock=clock, at=twin, connector={"pace": pace, "retry": {"base": "1s", "cap": "2s"}}
        ) as rig:
            await rig.at_rest()
            rig.requests()
            twin.most_under_way = 0
            yield rig, told


async def _say(rig: Rig, told: Iterable[Tale]) -> None:
    """Everything at once."""
    for tale in told:
        kind, event = tale.event(rig.trial)
        await rig.say(kind, event)


async def _until_time_must_pass(rig: Rig) -> None:
    """Return once nothing happens before time passes: all is at rest, or every call under way waits for its turn."""
    connection = rig.hub.connections[NAME]
    resting = asyncio.create_task(rig.at_rest())
    try:
        while not resting.done():
            if 0 < connection.outbound.under_way <= connection.pacer.asleep and not rig.twin.under_way:
                return
            await asyncio.wait({resting}, timeout=LOOK_S)
        await resting
    finally:
        resting.cancel()


async def _comes(rig: Rig) -> bool:
    """Return once a call is under way, and no further one has come for a while; False: nothing is left to do."""
    coming = asyncio.create_task(rig.twin.reached(1))
    try:
        async with asyncio.timeout(REST_S):
            while not coming.done():
                if not await rig.deliveries(states=["pending", "in_flight"]):
                    return False
                await asyncio.wait({coming}, timeout=LOOK_S)
    except TimeoutError:
        raise CheckFailed("no call was under way, although there was much to do") from None
    finally:
        coming.cancel()
    for _ in range(LOOKS):
        await asyncio.sleep(0)
    return True


async def _answered(twin: Twin[Any], many: int) -> None:
    async with asyncio.timeout(REST_S):
        while twin.request_count < many:  # noqa: ASYNC110 - it counts what the other side of a socket does
            await asyncio.sleep(0)


def _times(rig: Rig, requests: Iterable[Recorded]) -> list[float]:
    """When the vendor was called, but for tokens."""
    return [each.at for each in requests if each.path != rig.token_path]


def _most_within(times: list[float], window_s: float) -> int:
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most
