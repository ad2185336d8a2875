"""A machine whose clock is set: nothing stands still for as long, nothing is cancelled or done twice, and order holds."""

import asyncio
import itertools
from email.utils import formatdate

import pytest
from tests.faults.conftest import all_done, at_rest, calls_of
from tests.faults.invariants import promises_are_kept
from tests.faults.story import Said, story, tell
from tests.faults.vendor import Chance, running_vendor
from tests.integration.runtime.conftest import consent, delivery, email, folded, profile

from esplanade.clock import SystemClock
from esplanade.testing.clock import FakeClock
from esplanade.testing.faults import Fault

HOUR, DAY = 3_600.0, 86_400.0
JUMPS = {"an hour back": -HOUR, "a day forward": DAY, "a month back": -30 * DAY, "a second back": -1.0}
TWICE = 2.0
"""After its clock was set back the hub's time goes at half speed, so that a wait may take twice as long as it should."""


TICK_S = 0.001
"""No sleep is shorter, on this machine as on any."""


class Machine(SystemClock):
    """A clock that runs as it is told to, and can be set besides."""

    def __init__(self):
        self.running = FakeClock()
        self.set_by = 0.0
        super().__init__(lambda: self.running.time() + self.set_by, self.running.monotonic)

    async def sleep(self, seconds):
        await self.running.sleep(max(seconds, TICK_S))

    async def advance(self, seconds):
        await self.running.advance(seconds)

    def jump(self, seconds):
        """Set it by so much, as a machine's clock is set when it is corrected."""
        self.set_by += seconds


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture(params=JUMPS)
def jump(request):
    return JUMPS[request.param]


@pytest.fixture
async def vendor():
    async with running_vendor() as vendor:
        yield vendor


async def start(place, machine, vendor, **keys):
    defaults = {"timeout": "10m", "pace": {"concurrency": 4}, "breaker": {"failures": 1_000}}
    return await place.start({"vendor": vendor}, clock=machine, **{**defaults, **keys})


async def passes(hub, machine, seconds):
    """Let time pass, second by second, and the lane do what is due by then."""
    for _ in range(int(seconds)):
        await machine.advance(1.0)
        await at_rest(hub)


def profiles(many, seq=1):
    return [Said(kind="profile", name=f"p{number}", seq=seq) for number in range(many)]


def triggers(many, seq=2):
    return [Said(kind="trigger", name=f"p{number}", seq=seq, trigger="order") for number in range(many)]


async def test_what_waits_for_its_next_attempt_does_not_wait_for_as_long_again(place, machine, vendor, jump):
    hub = await start(place, machine, vendor, retry={"base": "20s", "cap": "20s"})
    vendor.faults.append(Fault(status=408, times=4))
    await tell(hub, profiles(4))
    await at_rest(hub)
    assert vendor.calls == 4
    machine.jump(jump)
    await passes(hub, machine, TWICE * 21)
    promises_are_kept(profiles(4), vendor.account, await all_done(hub), repeat="never")
    assert vendor.calls == 8


async def test_what_was_due_when_it_jumped_is_done_at_once(place, machine, vendor, jump):
    hub = await start(place, machine, vendor)
    said = [*profiles(50), *triggers(50)]
    vendor.open.clear()
    await tell(hub, said)
    await vendor.heard(lambda _: vendor.calls == 4)
    await folded(hub)
    machine.jump(jump)
    vendor.open.set()
    promises_are_kept(said, vendor.account, await all_done(hub), repeat="never")
    assert vendor.calls == len(vendor.account.acted()) == len(said)


async def test_calls_under_way_are_neither_cancelled_nor_made_again(place, machine, vendor, jump):
    hub = await start(place, machine, vendor, timeout="30s")
    said = [*profiles(4), *triggers(4)]
    vendor.open.clear()
    await tell(hub, said)
    await vendor.heard(lambda _: vendor.calls == 4)
    machine.jump(jump)
    await machine.advance(5.0)
    await hub.store.run(lambda _: None)
    vendor.open.set()
    promises_are_kept(said, vendor.account, await all_done(hub), repeat="never")
    assert vendor.calls == len(vendor.account.acted()) == 8
    assert (await delivery(hub, kind="profile", email_key=email("p0"))).attempts == 1


async def test_a_call_that_takes_too_long_is_cancelled_in_its_time(place, machine, vendor, jump):
    hub = await start(place, machine, vendor, timeout="30s", breaker={"failures": 1})
    vendor.open.clear()
    await tell(hub, profiles(1))
    await vendor.heard(lambda _: vendor.calls == 1)
    machine.jump(jump)
    await machine.advance(29.0)
    await hub.store.run(lambda _: None)
    assert (await delivery(hub)).state == "in_flight"
    await machine.advance(2.0)
    await at_rest(hub)
    assert (await delivery(hub)).last_error == "OutcomeUnknown: no answer from the plugin within 30 s"


async def test_an_open_breaker_is_tried_again_in_its_time(place, machine, vendor, jump):
    hub = await start(place, machine, vendor, breaker={"failures": 3, "open": "20s"}, retry={"base": "1s", "cap": "1s"})
    vendor.faults.append(Fault(status=500, times=None))
    await tell(hub, profiles(10))
    await at_rest(hub)
    assert hub.connectors()[0].breaker == "open"
    vendor.heal()
    before = vendor.calls
    machine.jump(jump)
    await passes(hub, machine, TWICE * 21)
    assert hub.connectors()[0].breaker == "closed"
    promises_are_kept(profiles(10), vendor.account, await all_done(hub), repeat="never")
    assert vendor.calls - before == 10


@pytest.mark.parametrize("wish", ["20", "a date"])
async def test_the_patience_that_a_vendor_asks_for_takes_no_longer_and_nobody_hammers_it(
    place, machine, vendor, jump, wish
):
    hub = await start(place, machine, vendor)
    until = formatdate(machine.time() + 20, usegmt=True) if wish == "a date" else wish
    vendor.faults.append(Fault(status=429, headers={"Retry-After": until}, times=None))
    await tell(hub, profiles(10))
    await at_rest(hub)
    asked = vendor.calls
    machine.jump(jump)
    await passes(hub, machine, 5)
    assert vendor.calls - asked <= (4 if jump > 0 else 0)  # set forward, its time may be over
    vendor.heal()
    await passes(hub, machine, TWICE * 20 - 4)
    promises_are_kept(profiles(10), vendor.account, await all_done(hub), repeat="never")


async def test_a_date_that_has_passed_by_the_hubs_time_alone_is_no_leave_to_hammer(place, machine, vendor):
    hub = await start(place, machine, vendor)
    await tell(hub, profiles(1))
    await all_done(hub)
    machine.jump(-HOUR)
    until = formatdate(machine.running.time() + machine.set_by + 20, usegmt=True)
    vendor.faults.append(Fault(status=429, headers={"Retry-After": until}, times=None))
    await tell(hub, profiles(20, seq=2))
    assert await calls_of(hub, vendor) <= 1 + 2 * 4
    vendor.heal()
    await passes(hub, machine, 2)
    promises_are_kept(profiles(20, seq=2), vendor.account, await all_done(hub), repeat="never")


async def test_a_pace_is_kept_and_does_not_stand_still(place, machine, vendor, jump):
    hub = await start(place, machine, vendor, pace={"rate": "1/s", "burst": 1, "concurrency": 4})
    await tell(hub, profiles(10))
    await at_rest(hub)
    assert vendor.calls == 1
    machine.jump(jump)
    for second in range(1, 10):
        await passes(hub, machine, 1)
        assert vendor.calls <= 1 + second
    promises_are_kept(profiles(10), vendor.account, await all_done(hub), repeat="never")
    assert vendor.calls == 10


async def test_a_budget_of_a_day_is_not_given_twice(place, machine, vendor):
    hub = await start(place, machine, vendor, pace={"daily": 5, "concurrency": 4})
    await tell(hub, profiles(10))
    await at_rest(hub)
    assert vendor.calls == 5
    machine.jump(-DAY)
    await passes(hub, machine, 5)
    assert vendor.calls == 5


async def test_what_is_said_after_it_was_set_back_is_what_was_said_last(place, machine, vendor, jump):
    hub = await start(place, machine, vendor)
    for state, town in (("denied", "Delft"), ("granted", "Breda"), ("denied", "Gouda")):
        await profile(hub, "ada", town=town)
        await consent(hub, "ada", state, evidence={"form": town})
        await all_done(hub)
        held = vendor.account.held(email("ada"))
        assert (held.fields, held.consents["newsletter"].state) == ({"Town": town}, state)
        machine.jump(jump)
        await machine.advance(0.01)


async def test_every_promise_is_kept_while_it_jumps_about(place):
    offsets = itertools.cycle([-HOUR, DAY, -1.0, -DAY, HOUR, 1.0])
    said = []
    machine = Jumpy()
    async with running_vendor(Chance(1)) as vendor:
        hub = await place.start({"vendor": vendor}, repeat="check", clock=machine)
        for number, wave in enumerate(story(1, people=20, events=30)):
            await tell(hub, wave)
            said += wave
            if number % 3 == 0:
                machine.set_by += next(offsets)
                await asyncio.sleep(0)
        promises_are_kept(said, vendor.account, await all_done(hub), repeat="check")


class Jumpy(SystemClock):
    """The machine's own clock, which can be set besides."""

    def __init__(self):
        self.set_by = 0.0
        real = SystemClock()
        super().__init__(lambda: real.time() + self.set_by)
