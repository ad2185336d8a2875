"""A lane within a whole hub: what is broken costs no other, claims that wait are given back, and a long backlog is served once."""

import asyncio

import pytest

from esplanade.delivery import window
from esplanade.errors import (
    AuthenticationError,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    StoreError,
    TemporaryError,
)
from esplanade.model import Outcome
from esplanade.records import Delivery

from .conftest import (
    attempts,
    consent,
    deliveries,
    delivery,
    email,
    folded,
    moved,
    person_of,
    profile,
    reasons,
    remote_of,
    send,
    settled,
    state,
    told,
    trigger,
)

ONE = {"crm": {"pace": {"concurrency": 1}, "breaker": {"failures": 1_000}, "retry": {"base": "1s", "cap": "1s"}}}
SAFE = 'trigger_repeat = "safe"'
"""With it the next calls are claimed while the first ones are under way."""
CROWD = [f"p{number:03}" for number in range(300)]


async def claimed(hub, many):
    """Return once so many are claimed, no more and no less."""
    async with asyncio.timeout(10):
        while len(await deliveries(hub, states=["in_flight"])) != many:
            await folded(hub)


async def at_rest(hub):
    """Return once the lane has nothing more to ask of the store, whatever waits for a moment to come or for a gate."""
    lane, looks = hub.connections["crm"].outbound, 0
    async with asyncio.timeout(10):
        while looks < 3:  # what it asked before a look is answered by the next one
            await hub.store.run(lambda _: None, durable=False)
            looks = 0 if lane._calls.finished or lane._woken.is_set() else looks + 1


async def put(hub, name, **more):
    """Put work into the queue past the fold."""
    person, now = await person_of(hub, name), hub.clock.time()
    known = {"id": 0, "lane": "crm", "person": person.id, "due_at": now, "first_at": now, "urgency": 1}
    return await hub.store.run(lambda unit: unit.enqueue(Delivery(**{**known, **more})))


BROKEN = {"kind": "trigger", "subject": "order", "payload": b"\xc1"}


class TestWorkOfWhichNothingCanBeMade:
    async def test_it_becomes_a_dead_letter_and_whoever_is_claimed_with_it_goes_on(self, place):
        hub, crm = await place.start(), place.script()
        for name in ("ada", "bob", "eve"):
            await profile(hub, name)
        await settled(hub)
        await hub.pause("crm", "to have them all in one visit")
        broken = [await put(hub, name, **BROKEN) for name in ("ada", "eve")]
        for name in ("bob", "ada"):
            await trigger(hub, name, f"t-{name}")
        await hub.resume("crm")
        await settled(hub)
        dead = await deliveries(hub, states=["dead"])
        assert [(row.id, row.reason) for row in dead] == [(number, "not-planned") for number in broken]
        assert sorted(call for call in crm.calls if call[1] == "trigger") == [
            ("ada", "trigger", "t-ada"), ("bob", "trigger", "t-bob"),
        ]  # fmt: skip
        assert await reasons(hub, "eve") == ["not-planned"]

    async def test_it_is_met_while_calls_that_end_are_written_down_and_none_of_these_is_lost(self, place):
        hub, crm = await place.start(), place.script()
        for name in ("ada", "bob", "eve"):
            await profile(hub, name)
        await settled(hub)
        gate = crm.hold("all")
        for name in ("ada", "bob"):
            await trigger(hub, name, f"t-{name}")
        await crm.called(5)
        gate.set()
        await put(hub, "eve", **BROKEN)
        await settled(hub)
        assert {row.state for row in await deliveries(hub, kind="trigger")} == {"done", "dead"}
        assert len(crm.calls) == 5

    async def test_a_person_s_other_work_does_not_wait_for_it(self, place):
        hub, crm = await place.start(), place.script()
        await profile(hub, "ada")
        await settled(hub)
        await hub.pause("crm", "until all of it is there")
        await put(hub, "ada", **BROKEN)
        await consent(hub, "ada")
        await hub.resume("crm")
        await settled(hub)
        assert crm.to("ada")[1:] == [("consent", "newsletter granted")]


@pytest.mark.parametrize(
    ("error", "ended"),
    [(PermanentError("no: \udcff"), "dead"), (TemporaryError("later: \udcff"), "pending")],
    ids=["refused", "to be tried again"],
)
async def test_words_that_no_store_can_hold_change_nothing_of_what_they_say(place, clock, error, ended):
    """As of a vendor's answer that a plugin has read with ``surrogateescape``."""
    hub, crm = await place.start(clock=clock, connectors=ONE), place.script()
    crm.once(("ada", "profile"), error)
    await profile(hub, "ada")
    await profile(hub, "bob")
    await settled(hub)
    found = await delivery(hub, email_key=email("ada"))
    assert (found.state, found.reason) == (ended, "rejected" if ended == "dead" else None)
    assert (await delivery(hub, email_key=email("bob"))).state == "done"
    assert (await state(hub)).last_error.startswith(type(error).__name__)


async def test_a_wait_that_is_no_time_at_all_is_no_hindrance(place, clock):
    hub, crm = await place.start(clock=clock, connectors=ONE), place.script()
    crm.once(("ada", "profile"), TemporaryError("later", retry_after=10**400))
    await profile(hub, "ada")
    await crm.called(1)
    await at_rest(hub)
    found = await delivery(hub)
    assert (found.state, found.due_at) == ("pending", clock.time() + 86_400)


class TestClaimsThatWait:
    async def start(self, place, clock):
        place.plugin(attributes=SAFE)
        hub, crm = await place.start(clock=clock, connectors=ONE), place.script()
        return hub, crm

    async def test_an_opt_out_takes_back_what_was_claimed_for_the_person_and_goes_first(self, place, clock):
        hub, crm = await self.start(place, clock)
        await consent(hub, "ada")
        await settled(hub)
        gate = crm.hold(("bob", "profile"))
        await profile(hub, "bob")
        await crm.called(3)
        await trigger(hub, "ada", "t-1", "cart")
        await claimed(hub, 2)
        await consent(hub, "ada", "denied")
        await folded(hub)
        await at_rest(hub)
        gate.set()
        await settled(hub)
        assert crm.to("ada")[2:] == [("consent", "newsletter denied")]
        assert (await reasons(hub, "ada"))[-1] == "no-consent"

    async def test_a_pause_takes_back_all_of_them(self, place, clock):
        hub, crm = await self.start(place, clock)
        gate = crm.hold(("ada", "profile"))
        await send(hub, "profile", *[{"email": name, "fields": {"city": "Delft"}} for name in ("ada", "bob", "eve")])
        await crm.called(1)
        await claimed(hub, 2)
        await hub.pause("crm", "now")
        gate.set()
        await settled(hub)
        assert [(row.state, row.attempts) for row in await deliveries(hub)] == [
            ("done", 1), ("pending", 0), ("pending", 0),
        ]  # fmt: skip
        assert len(crm.calls) == 1
        await hub.resume("crm")
        await settled(hub)
        assert sorted(call[0] for call in crm.calls) == ["ada", "bob", "eve"]

    async def test_a_hub_that_stops_gives_them_back_and_the_next_one_delivers_them_once(self, place, clock):
        hub, crm = await self.start(place, clock)
        gate = crm.hold(("ada", "profile"))
        await send(hub, "profile", *[{"email": name, "fields": {"city": "Delft"}} for name in ("ada", "bob", "eve")])
        await crm.called(1)
        await claimed(hub, 2)
        stopping = asyncio.create_task(hub.stop())
        await claimed(hub, 1)
        gate.set()
        await stopping
        assert crm.calls == [("ada", "profile", {"City": "Delft"})]
        again = await place.start(clock=clock, connectors=ONE)
        await settled(again)
        assert sorted(call[0] for call in crm.calls) == ["ada", "bob", "eve"]
        assert {(row.state, row.attempts) for row in await deliveries(again)} == {("done", 1)}

    @pytest.mark.parametrize(
        "answer", [RateLimited("slow down", retry_after=60), AuthenticationError("expired")], ids=["patience", "auth"]
    )
    async def test_so_does_a_vendor_that_does_not_want_to_be_called(self, place, clock, answer):
        hub, crm = await self.start(place, clock)
        gate = asyncio.Event()

        async def refuse(_event):
            await gate.wait()
            return answer

        crm.answers[("ada", "profile")] = refuse
        await send(hub, "profile", *[{"email": name, "fields": {"city": "Delft"}} for name in ("ada", "bob", "eve")])
        await crm.called(1)
        await claimed(hub, 2)
        gate.set()
        await at_rest(hub)
        assert {(row.state, row.attempts) for row in await deliveries(hub)} == {("pending", 0)}
        assert len(crm.calls) == 1
        assert await attempts(hub, 2) == []


class TestTheGuard:
    """Twelve of twenty members may leave within an hour."""

    PEOPLE = CROWD[:20]
    LEAVING = CROWD[:12]

    async def start(self, place, clock, attributes=""):
        place.plugin(attributes=attributes)
        hub = await place.start(clock=clock, connectors=ONE, guard={"max_removals": "60%"})
        await self.memberships(hub, self.PEOPLE, member=True)
        return hub, place.script()

    async def memberships(self, hub, names, *, member):
        await send(hub, "profile", *[{"email": name, "audiences": {"vip": member}} for name in names])
        await settled(hub)

    async def inside(self, hub):
        return [name for name in self.PEOPLE if (await remote_of(hub, name)).audiences.get("vip")]

    async def test_whose_removal_is_put_off_by_the_vendor_is_counted_once(self, place, clock):
        hub, crm = await self.start(place, clock)
        crm.once("profile", *[RateLimited("slow down", retry_after=1)] * 3)
        with told() as alerts:
            await send(hub, "profile", *[{"email": name, "audiences": {"vip": False}} for name in self.LEAVING])
            await folded(hub)
            for _ in range(10):
                await at_rest(hub)
                await clock.advance(1)
            await settled(hub)
        assert await self.inside(hub) == self.PEOPLE[12:]
        assert alerts == []

    async def test_whose_removal_was_claimed_and_taken_back_is_counted_once(self, place, clock):
        hub, crm = await self.start(place, clock, SAFE)
        gate = crm.hold(("p000", "profile"))
        before = len(crm.calls)
        with told() as alerts:
            await send(hub, "profile", *[{"email": name, "audiences": {"vip": False}} for name in self.LEAVING])
            await crm.called(before + 1)
            for _ in range(3):
                await claimed(hub, 2)
                await hub.pause("crm", "a while")
                hub.connections["crm"].outbound.wake()
                await claimed(hub, 1)
                await hub.resume("crm")
            gate.set()
            await settled(hub)
        assert await self.inside(hub) == self.PEOPLE[12:]
        assert alerts == []

    async def test_whose_removal_fails_and_is_tried_again_is_counted_once(self, place, clock):
        hub, crm = await self.start(place, clock)
        crm.once("profile", *[TemporaryError("down"), OutcomeUnknown("cut")] * 3)
        await self.memberships(hub, self.LEAVING, member=False)
        for _ in range(10):
            await moved(hub, clock, 1)
        assert await self.inside(hub) == self.PEOPLE[12:]


async def test_a_store_that_fails_for_a_while_loses_nothing_and_repeats_nothing(place, clock, monkeypatch):
    hub, crm = await place.start(clock=clock, connectors=ONE), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    await crm.called(1)
    await profile(hub, "bob")
    await folded(hub)
    left, lane = [StoreError("the disk is full")] * 3, hub.connections["crm"].outbound
    real = lane._store

    class Failing:
        async def run(self, work, *, durable=True):
            if left:
                raise left.pop()
            return await real.run(work, durable=durable)

    monkeypatch.setattr(lane, "_store", Failing())
    gate.set()
    async with asyncio.timeout(10):
        while left:
            await clock.advance(1)
            await folded(hub)
    await moved(hub, clock, 1)
    assert [call[0] for call in crm.calls] == ["ada", "bob"]
    assert {(row.state, row.attempts) for row in await deliveries(hub)} == {("done", 1)}


class TestALongBacklog:
    @pytest.fixture(autouse=True)
    def _little_memory(self, monkeypatch):
        monkeypatch.setattr(window, "ROOM", 32)
        monkeypatch.setattr(window, "PAGE", 16)

    async def backlog(self, place, clock, **more):
        """A hub with three hundred people to tell, of whom few fit into memory."""
        connectors = {"crm": {**ONE["crm"], "pace": {"concurrency": 4}}}
        hub, crm = await place.start(clock=clock, connectors=connectors, **more), place.script()
        await hub.pause("crm", "until all of it is there")
        await send(hub, "profile", *[{"email": name, "fields": {"city": "Delft"}} for name in CROWD], backfill=True)
        await settled(hub)
        return hub, crm

    async def test_all_of_it_is_delivered_once_and_little_of_it_is_in_memory(self, place, clock):
        hub, crm = await self.backlog(place, clock)
        sizes, waiting = [], hub.connections["crm"].outbound._window

        def measure(_event):
            sizes.append(len(waiting))
            return Outcome()

        crm.answers["all"] = measure
        await hub.resume("crm")
        await settled(hub)
        assert sorted(call[0] for call in crm.calls) == CROWD
        assert max(sizes) <= 32

    async def test_a_hub_that_starts_on_it_finds_all_of_it(self, place, clock):
        hub, crm = await self.backlog(place, clock)
        await hub.stop()
        again = await place.start(clock=clock, write=False)
        await again.resume("crm")
        await settled(again)
        assert sorted(call[0] for call in crm.calls) == CROWD

    async def test_what_comes_meanwhile_and_what_fails_leaves_nobody_behind(self, place, clock):
        hub, crm = await self.backlog(place, clock)
        failing = {f"{name}@example.com": [TemporaryError("down"), OutcomeUnknown("cut")] for name in CROWD[::7]}

        def fail(event):
            left = failing.get(event.email)
            return left.pop() if left else Outcome()

        crm.answers["profile"] = fail
        await hub.resume("crm")
        for number, name in enumerate(CROWD[:60]):
            await profile(hub, name, city=f"Town {number}")
            await consent(hub, name, "granted" if number % 2 else "denied")
        await settled(hub)
        for _ in range(6):
            await moved(hub, clock, 1)
        assert {row.state for row in await deliveries(hub)} == {"done"}
        assert [(await remote_of(hub, name)).fields["City"] for name in CROWD[:60]] == [f"Town {n}" for n in range(60)]
        assert sorted({call[0] for call in crm.calls}) == CROWD

    async def test_an_opt_out_does_not_wait_for_it(self, place, clock):
        hub, crm = await self.backlog(place, clock)
        gate = crm.hold("profile")
        await hub.resume("crm")
        await crm.called(4)
        await consent(hub, "zoe", "denied")
        await folded(hub)
        await at_rest(hub)
        gate.set()
        await settled(hub)
        assert crm.calls[4][:2] == ("zoe", "consent")
