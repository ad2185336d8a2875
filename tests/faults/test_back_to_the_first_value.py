"""A, then B whose call is cut off, then A again: the vendor ends with A, whether or not it acted on B."""

import itertools

import pytest
from tests.faults.conftest import later
from tests.faults.vendor import START, Stream, running_vendor
from tests.integration.runtime.conftest import consent, email, folded, profile, send, settled

from esplanade.testing.faults import Fault

ROUND_S = 21.0
CUT_OFF = {
    "cut before it acted": Fault(action="cut-before"),
    "cut after it acted": Fault(action="cut-after"),
    "500 before it acted": Fault(status=500),
    "500 after it acted": Fault(action="after", status=500),
    "504 after it acted": Fault(action="after", status=504),
    "cut within the answer": Stream(cut=True),
    "an answer without end": Stream(pieces=None, every_s=0.02),
    "silence before it acted": Fault(action="hang"),
    "silence after it acted": Fault(action="hang-after"),
}
ACTED = {why: fault for why, fault in CUT_OFF.items() if "before" not in why}
UNREADABLE = {
    "an answer too long to be read": Stream(piece=b" " * 2**20, pieces=12),
    "an answer that is no JSON": Stream(piece=b"<p>no JSON</p>", pieces=1),
}
PATIENT = {"retry": {"base": "20s", "cap": "20s"}, "breaker": {"failures": 1_000}}
"""Waits long enough for its next attempt that much can be said meanwhile."""


class Field:
    first, second = "Delft", "Breda"

    async def say(self, hub, name, town):
        await profile(hub, name, town=town)

    def held(self, held):
        return held.fields.get("Town")


class Purpose:
    def __init__(self, first, second):
        self.first, self.second = first, second
        self._numbers = itertools.count(1)

    async def say(self, hub, name, state):
        number = next(self._numbers)
        await consent(hub, name, state, evidence={"form": number}, at=START + number)

    def held(self, held):
        found = held.consents.get("newsletter")
        return found and found.state


class Audience:
    def __init__(self, first, second):
        self.first, self.second = first, second

    @staticmethod
    async def say(hub, name, member):
        await send(hub, "profile", {"email": name, "audiences": {"vip": member}})

    def held(self, held):
        return "vip" in held.audiences


STATES = {
    "a field": Field,
    "an opt-in": lambda: Purpose("denied", "granted"),
    "an opt-out": lambda: Purpose("granted", "denied"),
    "joining an audience": lambda: Audience(first=False, second=True),
    "leaving an audience": lambda: Audience(first=True, second=False),
}


@pytest.fixture(params=STATES)
def state(request):
    return STATES[request.param]()


@pytest.fixture
async def vendor():
    async with running_vendor() as vendor:
        yield vendor


async def patiently(place, vendor, clock, **more):
    return await place.start({"vendor": vendor}, clock=clock, **PATIENT, **more)


async def finish(hub, clock):
    """Let every attempt that is still to come be made."""
    for _ in range(4):
        await later(hub, clock, ROUND_S)


def ends(vendor, state, whys):
    """What the vendor holds in the end of each person, who is named by what happened to them."""
    return {why: state.held(vendor.account.held(email(name_of(why)))) for why in whys}


def name_of(why):
    return why.replace(" ", "-")


async def say(hub, state, whys, value):
    for why in whys:
        await state.say(hub, name_of(why), value)


async def cut_off(hub, vendor, clock, state, whys):
    """Say the first of everybody and have it delivered, then the second, which meets the faults that they are named by."""
    await say(hub, state, whys, state.first)
    await settled(hub)
    clock.set(clock.time() + 1)
    left = follow_script(vendor, whys)
    await say(hub, state, whys, state.second)
    await settled(hub)
    if any(left.values()):
        await later(hub, clock, ROUND_S)
    assert not any(left.values())


def follow_script(vendor, whys):
    """Let the calls for each person meet the faults that they are named by, one after the other; those that are left."""
    left = {email(name_of(why)): list(faults) for why, faults in whys.items()}
    vendor.plan = lambda lines: left[lines[0].email].pop(0) if left.get(lines[0].email) else None
    return left


def each(faults, *more):
    return {why: [fault, *more] for why, fault in faults.items()}


async def test_said_again_before_the_next_attempt(place, vendor, clock, state):
    hub = await patiently(place, vendor, clock)
    await cut_off(hub, vendor, clock, state, each(CUT_OFF))
    await say(hub, state, CUT_OFF, state.first)
    await finish(hub, clock)
    assert ends(vendor, state, CUT_OFF) == dict.fromkeys(CUT_OFF, state.first)


async def test_said_again_while_the_call_is_under_way(place, vendor, clock, state):
    hub = await patiently(place, vendor, clock, timeout="300ms")
    await say(hub, state, CUT_OFF, state.first)
    await settled(hub)
    clock.set(clock.time() + 1)
    left, calls = follow_script(vendor, each(CUT_OFF)), vendor.calls
    vendor.open.clear()
    await say(hub, state, CUT_OFF, state.second)
    await vendor.heard(lambda _: vendor.calls == calls + len(CUT_OFF))
    await say(hub, state, CUT_OFF, state.first)
    await folded(hub)
    vendor.open.set()
    await settled(hub)
    await finish(hub, clock)
    assert not any(left.values())
    assert ends(vendor, state, CUT_OFF) == dict.fromkeys(CUT_OFF, state.first)


async def test_said_again_after_the_next_attempt_was_refused(place, vendor, clock, state):
    hub = await patiently(place, vendor, clock)
    await cut_off(hub, vendor, clock, state, each(ACTED, Fault(status=400)))
    await say(hub, state, ACTED, state.first)
    await finish(hub, clock)
    assert ends(vendor, state, ACTED) == dict.fromkeys(ACTED, state.first)


@pytest.mark.parametrize("state", [Purpose("denied", "granted"), Purpose("granted", "denied")], ids=["in", "out"])
async def test_a_profile_that_is_acknowledged_says_nothing_of_a_consent_that_was_cut_off(place, vendor, clock, state):
    hub = await patiently(place, vendor, clock)
    await cut_off(hub, vendor, clock, state, each(ACTED, Fault(status=400)))
    await say(hub, Field(), ACTED, "Delft")
    await settled(hub)
    assert ends(vendor, Field(), ACTED) == dict.fromkeys(ACTED, "Delft")
    await say(hub, state, ACTED, state.first)
    await finish(hub, clock)
    assert ends(vendor, state, ACTED) == dict.fromkeys(ACTED, state.first)


@pytest.mark.parametrize("receives", [["consent"], ["profile", "consent"]])
async def test_an_opt_out_of_another_purpose_says_nothing_of_a_grant_that_was_cut_off(place, vendor, clock, receives):
    state = Purpose("denied", "granted")
    hub = await patiently(place, vendor, clock, receives=receives)
    await cut_off(hub, vendor, clock, state, each(ACTED))
    for why in ACTED:
        await consent(hub, name_of(why), "denied", purpose="service")
    await settled(hub)
    assert all(vendor.account.held(email(name_of(why))).consents["service"].state == "denied" for why in ACTED)
    await say(hub, state, ACTED, state.first)
    await finish(hub, clock)
    assert ends(vendor, state, ACTED) == dict.fromkeys(ACTED, state.first)


async def test_an_answer_that_cannot_be_read_says_that_the_vendor_acted(place, vendor, clock, state):
    hub = await patiently(place, vendor, clock, timeout="5s", batch=True)
    for why, answer in UNREADABLE.items():
        await cut_off(hub, vendor, clock, state, {why: [answer]})
        await say(hub, state, [why], state.first)
    await finish(hub, clock)
    assert ends(vendor, state, UNREADABLE) == dict.fromkeys(UNREADABLE, state.first)


async def test_a_membership_that_was_said_while_a_profile_was_under_way_is_taken_back_even_if_its_call_was_cut_off(
    place, vendor, clock
):
    hub = await patiently(place, vendor, clock)
    vendor.open.clear()
    await profile(hub, "ada", town="Delft")
    await vendor.heard(lambda _: vendor.calls == 1)
    vendor.faults.append(Fault(action="cut-after"))
    await Audience.say(hub, "ada", member=True)
    await folded(hub)
    vendor.open.set()
    await settled(hub)
    assert vendor.account.held(email("ada")).audiences == ["vip"]
    await Audience.say(hub, "ada", member=False)
    await finish(hub, clock)
    assert vendor.account.held(email("ada")).audiences == []
