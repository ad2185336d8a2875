"""A vendor that hangs, or that floods the hub with 429s: its neighbours notice nothing, and it gets no more calls than it bears."""

import asyncio
from email.utils import formatdate

import pytest
from tests.faults.conftest import all_done, at_rest, calls_of
from tests.faults.invariants import promises_are_kept, rows_of
from tests.faults.story import Said, story, tell
from tests.faults.vendor import running_vendor
from tests.integration.runtime.conftest import deliveries, folded

from esplanade.model import KINDS
from esplanade.testing.faults import Fault

CALLS = 4
PATIENT = {"timeout": "10m", "pace": {"concurrency": CALLS}}
LONG_S = 30.0


NO_CONSENT = ["profile", "trigger"]


def at_once(people, events, *, kinds=KINDS):
    """A story, told in one breath."""
    return [said for wave in story(1, people, events, kinds=kinds) for said in wave]


def opt_out(name, seq=1_000):
    return Said(kind="consent", name=name, seq=seq, purpose="newsletter", state="denied")


class TestAVendorThatHangs:
    async def test_the_one_beside_it_gets_everything_meanwhile_opt_outs_too(self, place):
        async with running_vendor() as ill, running_vendor() as well:
            hub = await place.start({"ill": ill, "vendor": well}, **PATIENT)
            ill.open.clear()
            said = at_once(20, 10)
            await tell(hub, said)
            await ill.heard(lambda _: ill.calls == CALLS)
            late = [opt_out(f"p{number}") for number in range(20)]
            await tell(hub, late)
            await folded(hub)
            await well.heard(lambda account: all(told(account, one) for one in late))
            async with asyncio.timeout(10):
                while any(row.state not in {"done", "parked"} for row in await rows(hub)):
                    await hub.store.run(lambda unit: None)
            promises_are_kept([*said, *late], well.account, await rows(hub), repeat="never")
            assert ill.calls == CALLS
            assert not any(line.acted for line in ill.account.lines)
            ill.heal()
            promises_are_kept([*said, *late], ill.account, await all_done(hub, "ill"), repeat="never")

    async def test_its_own_opt_outs_go_first_once_it_answers(self, place):
        async with running_vendor() as ill:
            hub = await place.start({"vendor": ill}, **PATIENT)
            ill.open.clear()
            await tell(hub, at_once(20, 10, kinds=NO_CONSENT))
            await ill.heard(lambda _: ill.calls == CALLS)
            late = [opt_out(f"q{number}") for number in range(10)]
            await tell(hub, late)
            await folded(hub)
            ill.heal()
            await all_done(hub)
            assert overtaken_by(ill, late, first=CALLS) < CALLS


def told(account, said):
    """Whether a vendor holds what was said of a purpose."""
    found = account.held(said.email).consents.get(said.purpose)
    return found is not None and found.state == said.state


def overtaken_by(vendor, late, *, first):
    """How many others a vendor acted on before the last of these, after the first so many; they may have left beside it."""
    acted = [line.email for line in vendor.account.acted()[first:]]
    return max(acted.index(said.email) for said in late) + 1 - len(late)


async def rows(hub):
    """What the hub says became of everything for the connector ``vendor``."""
    return await hub.store.read(rows_of)


PATIENCE = {
    "seconds": lambda now: (429, {"Retry-After": "30"}),
    "a date": lambda now: (429, {"Retry-After": formatdate(now + LONG_S, usegmt=True)}),
    "seconds of a 503": lambda now: (503, {"Retry-After": "30"}),
    "the date of a 503": lambda now: (503, {"Retry-After": formatdate(now + LONG_S, usegmt=True)}),
    "seconds to the reset": lambda now: (429, {"RateLimit-Reset": "30"}),
    "the moment of the reset": lambda now: (429, {"X-RateLimit-Reset": str(int(now + LONG_S))}),
    "its milliseconds": lambda now: (429, {"X-Rate-Limit-Reset": str(int((now + LONG_S) * 1_000))}),
}
"""How a vendor asks to be left alone for half a minute."""
SPENT = {
    "no seconds": lambda now: {"Retry-After": "0"},
    "a date that has passed": lambda now: {"Retry-After": formatdate(now - LONG_S, usegmt=True)},
    "a reset that has passed": lambda now: {"X-RateLimit-Reset": str(int(now - LONG_S))},
    "nothing that can be read": lambda now: {"Retry-After": "soon"},
    "nothing": lambda now: {},
}
"""How it asks and does not say for how long, or for no time at all."""


class TestAFloodOf429s:
    @pytest.mark.parametrize("patience", PATIENCE)
    async def test_the_time_that_the_vendor_asks_for_is_kept_and_no_attempt_is_used_up(self, place, clock, patience):
        async with running_vendor() as vendor:
            hub = await place.start({"vendor": vendor}, clock=clock, **PATIENT)
            status, headers = PATIENCE[patience](clock.time())
            vendor.faults.append(Fault(status=status, headers=headers, times=None))
            said = at_once(10, 10)
            await tell(hub, said)
            await at_rest(hub)
            assert 1 <= vendor.calls <= CALLS
            asked = vendor.calls
            await moved(hub, clock, LONG_S - 0.5)
            assert vendor.calls == asked
            assert {each.attempts for each in await deliveries(hub)} == {0}
            vendor.heal()
            await moved(hub, clock, 0.5)
            rows = await all_done(hub)
            promises_are_kept(said, vendor.account, rows, repeat="never")
            called = [each for each in await deliveries(hub) if each.outcome == "delivered"]
            assert {each.attempts for each in called} == {1}

    async def test_a_vendor_that_asks_again_and_again_gets_a_handful_of_calls_each_time(self, place, clock):
        async with running_vendor() as vendor:
            hub = await place.start({"vendor": vendor}, clock=clock, **PATIENT)
            vendor.faults.append(Fault(status=429, headers={"Retry-After": "30"}, times=None))
            said = at_once(20, 10)
            await tell(hub, said)
            await at_rest(hub)
            for asked in range(1, 20):
                assert asked <= vendor.calls <= CALLS * asked
                await moved(hub, clock, LONG_S)
            vendor.heal()
            await moved(hub, clock, LONG_S)
            promises_are_kept(said, vendor.account, await all_done(hub), repeat="never")

    @pytest.mark.parametrize("wish", SPENT)
    async def test_one_that_does_not_say_how_long_is_left_alone_for_longer_each_time(self, place, clock, wish):
        async with running_vendor() as vendor:
            hub = await place.start({"vendor": vendor}, clock=clock, **PATIENT, retry={"base": "1s", "cap": "1m"})
            vendor.faults.append(Fault(status=429, headers=SPENT[wish](clock.time()), times=None))
            said = at_once(20, 10)
            await tell(hub, said)
            assert await calls_of(hub, vendor) <= 2 * CALLS  # one more try at once may be what it asks for
            rounds, before = 0, vendor.calls
            for _ in range(200):
                await clock.advance(3)
                rounds += await calls_of(hub, vendor) > before
                assert vendor.calls - before <= 6 * CALLS  # by chance it waits no longer than half a second each time
                before = vendor.calls
            assert 5 <= rounds <= 100
            vendor.heal()
            await moved(hub, clock, 60.0)
            promises_are_kept(said, vendor.account, await all_done(hub), repeat="never")
            called = [each for each in await deliveries(hub) if each.outcome == "delivered"]
            assert {each.attempts for each in called} == {1}

    async def test_the_first_to_go_once_the_vendor_relents_is_an_opt_out(self, place, clock):
        async with running_vendor() as vendor:
            hub = await place.start({"vendor": vendor}, clock=clock, **PATIENT)
            vendor.faults.append(Fault(status=429, headers={"Retry-After": "30"}, times=None))
            await tell(hub, at_once(20, 10, kinds=NO_CONSENT))
            await at_rest(hub)
            late = [opt_out(f"q{number}") for number in range(10)]
            await tell(hub, late)
            await at_rest(hub)
            vendor.heal()
            await moved(hub, clock, LONG_S)
            await all_done(hub)
            assert overtaken_by(vendor, late, first=0) < CALLS

    async def test_the_one_beside_it_gets_everything_meanwhile(self, place, clock):
        async with running_vendor() as ill, running_vendor() as well:
            hub = await place.start({"ill": ill, "vendor": well}, clock=clock, **PATIENT)
            ill.faults.append(Fault(status=429, headers={"Retry-After": "30"}, times=None))
            said = at_once(20, 10)
            await tell(hub, said)
            await at_rest(hub)
            await at_rest(hub, "ill")
            promises_are_kept(said, well.account, await rows(hub), repeat="never")
            assert ill.calls <= CALLS


async def moved(hub, clock, seconds):
    """Let time pass, and the lane do what it may do by then."""
    await clock.advance(seconds)
    await at_rest(hub)
