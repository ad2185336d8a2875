"""A lane over a real store and a real desk: nobody is lost or served twice at once, and one that is broken costs no other."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.config.model import BreakerConfig, ConnectorConfig, Hub, Pace, Retry
from esplanade.delivery import window
from esplanade.delivery.breaker import Breaker
from esplanade.delivery.dispatch import Dispatch
from esplanade.delivery.health import Health
from esplanade.delivery.lane import STORE_RETRY_S, Lane, Listeners
from esplanade.delivery.outbound import OutboundDesk
from esplanade.delivery.pace import Pacer
from esplanade.delivery.settle import Settlement
from esplanade.delivery.window import Window
from esplanade.errors import AuthenticationError, OutcomeUnknown, RateLimited, StoreError, TemporaryError
from esplanade.ingest.world import World
from esplanade.model import ConsentTarget, Outcome, TriggerTarget
from esplanade.observe.metrics import Metrics
from esplanade.records import Clocked, Delivery, DeliveryFilter, Place, Standing, Urgency
from esplanade.store.slices import carry_through
from esplanade.store.sqlite.store import SqliteStore
from esplanade.sync.plan import TriggerBody
from esplanade.testing.clock import FakeClock
from esplanade.values import Duration, Rate

OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency
TIMEOUT_S = 10.0


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, event, **words):
        self.lines.append((event, words))

    debug = info = error = warning

    def named(self, event):
        return [words for name, words in self.lines if name == event]


class Vendor:
    """Every hook: notes who is called for what, waits where a test holds a name, and answers what it wants."""

    def __init__(self):
        self.calls, self.running, self.most = [], [], 0
        self.answers, self.gates = {}, {}
        self.acts = None
        self._called = asyncio.Condition()

    async def batch(self, events, ctx):
        return await asyncio.gather(*(self(event, ctx) for event in events), return_exceptions=True)

    async def __call__(self, event, ctx):
        name, kind = event.email.partition("@")[0], type(event).__name__.removesuffix("Event").lower()
        assert name not in self.running, "called twice at the same time"
        self.calls.append((name, kind))
        self.running.append(name)
        self.most = max(self.most, len(self.running))
        try:
            async with self._called:
                self._called.notify_all()
            if self.acts is not None:
                await self.acts(name)
            if name in self.gates:
                await self.gates[name].wait()
        finally:
            self.running.remove(name)
        answers = self.answers.get(name)
        answer = answers.pop(0) if answers else Outcome()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hold(self, *names):
        gate = asyncio.Event()
        self.gates.update(dict.fromkeys(names, gate))
        return gate

    async def called(self, times):
        """Return once there were that many calls."""
        async with asyncio.timeout(10), self._called:
            await self._called.wait_for(lambda: len(self.calls) >= times)


class Between:
    """The store as the lane sees it. ``before`` and ``after`` come between each visit and what the lane hears of it."""

    def __init__(self, store):
        self.store, self.durable = store, []
        self.before = self.after = None

    async def run(self, work, *, durable=True):
        number = len(self.durable)
        self.durable.append(durable)

        def noted(unit):
            result = work(unit)
            self.durable[number] |= unit.must_last
            return result

        if self.before is not None:
            await self.before()
        result = await self.store.run(noted, durable=durable)
        if self.after is not None:
            await self.after()
        return result


class Flawed(Settlement):
    """Cannot settle anything of one person."""

    def __init__(self, connector, person):
        super().__init__(connector)
        self._person = person

    def settle(self, unit, one, now):
        if one.work.key == self._person:
            raise ZeroDivisionError
        return super().settle(unit, one, now)


class Station:
    """A lane and all that it needs."""

    def __init__(self, store, clock, *, concurrency=2, repeat="safe", failures=1_000, at_once=1, **pace):
        self.clock, self.log, self.vendor, self.alerts = clock, Log(), Vendor(), []
        self.between, self.store, self.pauses = Between(store), store, []
        self.connector = ConnectorConfig(
            name="crm",
            plugin="crm",
            receives=["profile", "consent", "trigger"],
            fields={"city": "City"},
            consents={"newsletter": ConsentTarget()},
            triggers={"order": TriggerTarget(), "offer": TriggerTarget(requires="newsletter")},
            pace=Pace(concurrency=concurrency, **pace),
            timeout=Duration(TIMEOUT_S),
            retry=Retry(base=Duration(1), cap=Duration(1)),
        )
        world = World(hub=Hub(), connectors={"crm": self.connector})
        form, hook = ("", self.vendor) if at_once == 1 else ("_batch", self.vendor.batch)
        dispatch = Dispatch(
            {f"on_{kind}{form}": hook for kind in ("profile", "consent", "trigger")},
            None,
            was_sent=None,
            batch_items=at_once,
            batch_bytes=100_000,
            triggers_at_once=at_once,
        )
        self.desk = OutboundDesk(
            self.connector, dispatch, world=lambda: world, clock=clock, repeat=repeat, rng=Random(0)
        )
        self.pacer = Pacer(self.connector.pace, clock)
        breaker = Breaker(BreakerConfig(failures=failures, open=Duration(30)))
        self.lane = Lane(
            self.desk,
            self.between,
            clock=clock,
            log=self.log,
            pacer=self.pacer,
            health=Health(breaker, lane="crm", retry=self.connector.retry, rng=Random(0), log=self.log),
            concurrency=concurrency,
            timeout_s=TIMEOUT_S,
            listeners=Listeners(
                on_pause=self.pauses.append,
                on_journalled=lambda _: None,
                alert=lambda *words: self.alerts.append(words),
                metrics=Metrics("1"),
            ),
        )
        store.on_commit = self._on_commit
        self.task = None
        self.people = {}

    def _on_commit(self, committed):
        if "crm" in committed.places:
            self.lane.offer(committed.places["crm"])
        if "crm" in committed.shuffled:
            self.lane.rescan()

    def start(self):
        self.task = asyncio.create_task(self.lane.run())

    async def stop(self):
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def quiet(self):
        async with asyncio.timeout(10):
            await self.lane.quiet()

    async def passes(self, seconds):
        await self.clock.advance(seconds)
        await self.quiet()

    async def quiet_of_visits(self, *, wake=True):
        """Return once the lane has nothing more to ask of the store, whatever is still under way."""
        if wake:
            self.lane.wake()
        seen = 0
        async with asyncio.timeout(10):
            while seen < 3:  # what it asked before a look is answered by the next one
                asked = len(self.between.durable)
                await self.store.run(lambda _: None, durable=False)
                seen = 0 if self.lane._woken.is_set() or len(self.between.durable) > asked else seen + 1

    # What there is to do.

    def _of(self, unit, name):
        if name not in self.people:
            address = f"{name}@example.com"
            person = unit.add_person(address, address, None, self.clock.time())
            person.fields = {"city": Clocked("Delft", self.clock.time())}
            person.consents = {"newsletter": self._says("granted")}
            unit.save_person(person)
            self.people[name] = person.id
        return self.people[name]

    def _says(self, state):
        return Standing(state=state, at=self.clock.time(), source="shop")

    def _delivery(self, unit, name, kind, urgency, **more):
        now = self.clock.time()
        return Delivery(
            id=0, lane="crm", kind=kind, person=self._of(unit, name), urgency=urgency, due_at=now, first_at=now, **more
        )

    async def profiles(self, *names, urgency=LIVE):
        def work(unit):
            return [unit.enqueue_state(self._delivery(unit, name, "profile", urgency)) for name in names]

        return await self.store.run(work)

    async def mails(self, *names, trigger="order", payload=None):
        def work(unit):
            found = []
            for name in names:
                body = payload or msgspec.msgpack.encode(TriggerBody(trigger_id=name, at=self.clock.time()))
                found.append(
                    unit.enqueue(self._delivery(unit, name, "trigger", TRIGGER, subject=trigger, payload=body))
                )
            return found

        return await self.store.run(work)

    async def grants(self, *names):
        def work(unit):
            for name in names:
                unit.enqueue_state(self._delivery(unit, name, "consent", LIVE, subject="newsletter"))

        await self.store.run(work)

    async def opts_out(self, name):
        def work(unit):
            person = unit.person(self._of(unit, name))
            person.consents = {"newsletter": self._says("denied")}
            unit.save_person(person)
            return unit.enqueue_state(self._delivery(unit, name, "consent", OPT_OUT, subject="newsletter"))

        return await self.store.run(work)

    async def merges(self, gone, *, into):
        def work(unit):
            into_ = unit.person(self._of(unit, into))
            into_.lineage = [*into_.lineage, self.people[gone]]
            unit.save_person(into_)
            unit.merge_person(self.people[gone], into_.id, self.clock.time())

        await self.store.run(work)

    # What became of it.

    async def rows(self):
        found = await self.store.read(lambda reader: reader.deliveries(DeliveryFilter(), limit=10_000))
        return [row for row, _ in found]

    async def states(self):
        names = {number: name for name, number in self.people.items()}
        return [(names[row.person], row.kind, row.state) for row in await self.rows()]

    def to(self, name):
        return [kind for called, kind in self.vendor.calls if called == name]


@pytest.fixture
async def station(tmp_path):
    """``station(concurrency=…, rate=…)`` makes one; its lane runs once it is started."""
    store = await SqliteStore.open(tmp_path / "hub.db", what="tests")
    made = []

    def make(**more):
        made.append(Station(store, FakeClock(), **more))
        return made[-1]

    yield make
    for each in made:
        await each.stop()
    await store.close()


# What is broken.


async def test_work_of_which_the_hub_can_make_nothing_is_set_aside_and_the_others_go_on(station):
    here = station()
    (broken,) = await here.mails("eve", payload=b"\xc1 no trigger")
    await here.mails("ada", "bob")
    await here.profiles("zoe", "eve")
    here.start()
    await here.quiet()
    states = await here.states()
    assert ("eve", "trigger", "dead") in states
    assert [state for *_, state in states].count("done") == 4
    row = next(row for row in await here.rows() if row.id == broken)
    assert (row.reason, row.attempts) == ("not-planned", 0)
    assert row.last_error == "the hub could not work out what to do with this: DecodeError"
    assert sorted(here.vendor.calls) == [("ada", "trigger"), ("bob", "trigger"), ("eve", "profile"), ("zoe", "profile")]
    assert here.log.named("lane_failed") == [{"lane": "crm", "error": "DecodeError"}]


async def test_everyone_whose_work_is_broken_is_set_aside_in_one_more_visit(station):
    here = station()
    await here.mails("eve", "ada", "bob", payload=b"\xc1")
    await here.mails("zoe")
    here.start()
    await here.quiet()
    assert sorted(state for *_, state in await here.states()) == ["dead", "dead", "dead", "done"]
    assert len(here.log.named("lane_failed")) == 1


async def test_the_timeline_says_what_was_set_aside(station):
    here = station()
    await here.mails("eve", payload=b"\xc1")
    here.start()
    await here.quiet()
    (note,) = await here.store.read(lambda reader: reader.timeline(here.people["eve"]))
    assert (note.what, note.reason) == ("failed", "not-planned")


async def test_what_came_of_a_call_and_cannot_be_written_down_is_set_aside_alone(station):
    here = station(concurrency=3)
    gate = here.vendor.hold("ada", "bob", "eve")
    await here.profiles("ada", "bob", "eve")
    here.desk._settlement = Flawed(here.connector, here.people["bob"])
    here.start()
    await here.vendor.called(3)
    gate.set()
    await here.quiet()
    assert await here.states() == [("ada", "profile", "done"), ("bob", "profile", "dead"), ("eve", "profile", "done")]
    row = (await here.rows())[1]
    assert (row.reason, row.last_error) == (
        "not-planned",
        "the hub could not work out what to do with this: ZeroDivisionError",
    )
    await here.mails("bob")
    here.desk._settlement = Settlement(here.connector)
    await here.quiet()
    assert here.to("bob") == ["profile", "trigger"]


async def test_whoever_turned_out_to_be_another_is_served_although_the_visit_was_a_careful_one(station):
    here = station()
    await here.mails("ada", "zed")
    here.desk._settlement = Flawed(here.connector, here.people["zed"])
    gate = here.vendor.hold("ada", "zed")
    here.start()
    await here.vendor.called(2)
    await here.profiles("bob")
    await here.merges("ada", into="bob")
    await here.quiet_of_visits()
    gate.set()
    async with asyncio.timeout(10):
        while ("bob", "profile", "pending") in await here.states():
            await here.quiet()


async def test_a_listener_that_raises_keeps_nothing_from_being_called(station, monkeypatch):
    here = station(concurrency=1)
    await here.profiles("ada")
    broken = [BrokenPipeError()]

    def ended(*_words):
        if broken:
            raise broken.pop()

    monkeypatch.setattr(here.lane._listeners.metrics, "ended", ended)
    gate = here.vendor.hold("ada")
    here.start()
    await here.vendor.called(1)
    await here.mails("ada")
    await here.quiet_of_visits()
    gate.set()
    await here.vendor.called(2)
    await here.passes(STORE_RETRY_S)
    assert not broken
    assert {state for *_, state in await here.states()} == {"done"}


class TestWhatChangesWhileAClaimIsOnItsWay:
    """The visit has committed, and the lane has not heard of it yet."""

    async def _meanwhile(self, here, what):
        done = []

        async def after():
            if not done and any(state == "in_flight" for *_, state in await here.states()):
                done.append(True)
                await what()

        here.between.after = after
        here.start()
        async with asyncio.timeout(10):
            while not done:
                await asyncio.sleep(0)

    async def test_nothing_is_sent_to_somebody_who_was_erased(self, station):
        here = station()
        await here.mails("eve")

        async def erase():
            begun = await here.store.run(
                lambda unit: unit.begin_erasure(here.people["eve"], [], here.clock.time()), durable=False
            )
            await carry_through(here.store, begun)

        await self._meanwhile(here, erase)
        await here.quiet()
        assert here.vendor.calls == []
        assert await here.rows() == []

    async def test_nothing_is_sent_that_the_one_whom_they_turned_out_to_be_does_not_want(self, station):
        here = station()
        await here.profiles("bob")
        await here.mails("ada", trigger="offer")  # which needs the newsletter

        async def merge():
            def deny(unit):
                person = unit.person(here.people["bob"])
                person.consents = {"newsletter": here._says("denied")}
                unit.save_person(person)

            await here.store.run(deny)
            await here.merges("ada", into="bob")

        await self._meanwhile(here, merge)
        await here.quiet()
        assert [kind for _, kind in here.vendor.calls] == ["profile"]

    async def test_what_was_claimed_is_given_back_when_an_operator_pauses(self, station):
        here = station()
        await here.mails("eve")

        async def pause():
            here.lane.paused = True

        await self._meanwhile(here, pause)
        await here.quiet_of_visits(wake=False)
        assert here.vendor.calls == []
        assert [(row.state, row.attempts) for row in await here.rows()] == [("pending", 0)]


async def test_who_finds_no_seat_is_not_offered_again_as_more_urgent_than_they_are(station):
    here = station(concurrency=1)
    await here.profiles("pat")
    said = []

    async def before():
        if not said and here.people["pat"] in here.lane._window._busy:
            said.append(True)
            await here.opts_out("pat")  # which the visit that claims the profile takes along

    here.between.before = before
    gate = here.vendor.hold("pat")
    here.start()
    await here.vendor.called(1)
    assert here.vendor.calls == [("pat", "consent")]
    held = here.vendor.hold("zed", "yan", "xan")
    await here.mails("zed", "yan", "xan")
    await here.quiet_of_visits()
    gate.set()
    await here.vendor.called(2)
    await here.quiet_of_visits()  # it has nothing more to ask of the store
    held.set()
    await here.quiet()
    assert {state for *_, state in await here.states()} == {"done"}


async def test_a_visit_that_fails_carefully_too_loses_nothing_and_is_made_again(station):
    here = station()
    await here.profiles("ada", "bob")
    fails = [RuntimeError("no"), RuntimeError("no")]

    async def before():
        if len(here.between.durable) > 1 and fails:
            raise fails.pop()

    here.between.before = before
    here.start()
    async with asyncio.timeout(10):
        while fails:
            await asyncio.sleep(0)
    await here.passes(STORE_RETRY_S)
    assert sorted(here.vendor.calls) == [("ada", "profile"), ("bob", "profile")]
    assert here.log.named("lane_failed") == [{"lane": "crm", "error": "RuntimeError"}] * 2


class TestAStoreThatFails:
    async def failing(self, here, times, *, after=False):
        """Let the next visits fail, before or after what they did, which is undone then."""
        left = [StoreError("the disk is full")] * times

        async def fail():
            if left:
                raise left.pop()

        here.between.before = fail
        return left

    async def test_what_was_to_be_claimed_is_claimed_once_it_works_again(self, station):
        here = station()
        here.start()
        await here.quiet()
        left = await self.failing(here, 3)
        await here.profiles("ada", "bob", "eve")
        await here.clock.advance(0)
        while left:
            await here.clock.advance(STORE_RETRY_S)
        await here.passes(STORE_RETRY_S)
        assert sorted(here.vendor.calls) == [("ada", "profile"), ("bob", "profile"), ("eve", "profile")]
        assert len(here.log.named("lane_store_failed")) == 3

    async def test_what_came_of_calls_is_written_down_once_it_works_again_and_nobody_is_called_twice(self, station):
        here = station(concurrency=2)
        gate = here.vendor.hold("ada", "bob")
        here.vendor.answers["bob"] = [TemporaryError("down", retry_after=60)]
        await here.profiles("ada", "bob", "eve", "zoe")
        here.start()
        await here.vendor.called(2)
        left = await self.failing(here, 4)
        gate.set()
        while left:
            await here.clock.advance(STORE_RETRY_S)
        await here.passes(STORE_RETRY_S)
        assert sorted(here.vendor.calls) == [(name, "profile") for name in ("ada", "bob", "eve", "zoe")]
        assert {state for *_, state in await here.states()} == {"done", "pending"}
        await here.passes(60)
        assert here.to("bob") == ["profile"] * 2
        assert {state for *_, state in await here.states()} == {"done"}


# What must be on disk.


async def test_a_trigger_s_claim_is_on_disk_before_its_call_and_a_profile_s_need_not_be(station):
    here = station()
    here.start()
    await here.quiet()
    before = len(here.between.durable)
    await here.profiles("ada")
    await here.quiet()
    assert not any(here.between.durable[before:])
    before = len(here.between.durable)
    await here.mails("bob")
    await here.vendor.called(2)
    assert here.between.durable[before]


# The vendor.


async def test_patience_that_the_vendor_asks_for_holds_the_whole_lane_and_costs_no_attempt(station):
    here = station(concurrency=1)
    here.vendor.answers["ada"] = [RateLimited("slow down", retry_after=60)]
    await here.profiles("ada")
    here.start()
    await here.quiet()
    await here.profiles("bob")
    await here.opts_out("eve")
    await here.clock.advance(59)
    await here.quiet_of_visits()
    assert here.vendor.calls == [("ada", "profile")]
    assert [row.attempts for row in await here.rows()] == [0, 0, 0]
    await here.passes(1)
    assert here.vendor.calls[1] == ("eve", "consent")
    assert sorted(here.vendor.calls[2:]) == [("ada", "profile"), ("bob", "profile")]


async def test_claims_that_wait_are_given_back_when_the_vendor_asks_for_patience(station):
    here = station(concurrency=1)
    gate = here.vendor.hold("ada")
    here.vendor.answers["ada"] = [RateLimited("slow down", retry_after=60)]
    await here.profiles("ada", "bob", "eve")
    here.start()
    await here.vendor.called(1)
    await here.quiet_of_visits()
    assert [row.state for row in await here.rows()].count("in_flight") == 2
    gate.set()
    await here.quiet_of_visits()
    assert [(row.state, row.attempts) for row in await here.rows()] == [("pending", 0)] * 3
    await here.passes(60)
    assert {state for *_, state in await here.states()} == {"done"}
    assert len(here.vendor.calls) == 4


async def test_refused_credentials_pause_the_lane_until_somebody_resumes_it(station):
    here = station(concurrency=1)
    here.vendor.answers["ada"] = [AuthenticationError("401")]
    await here.profiles("ada", "bob")
    here.start()
    await here.passes(3_600)
    assert (here.lane.paused, len(here.pauses)) == (True, 1)
    assert here.vendor.calls == [("ada", "profile")]
    assert {(row.state, row.attempts) for row in await here.rows()} == {("pending", 0)}
    here.lane.paused = False
    await here.quiet()
    assert sorted(here.vendor.calls[1:]) == [("ada", "profile"), ("bob", "profile")]


async def test_a_vendor_that_is_ill_is_tried_by_one_call_and_then_gets_all(station):
    here = station(concurrency=4, failures=2)
    names = [f"p{number}" for number in range(20)]
    here.vendor.answers = {name: [TemporaryError("down")] * 9 for name in names}
    await here.profiles(*names)
    here.start()
    async with asyncio.timeout(10):
        while here.lane.health == "closed":
            await asyncio.sleep(0)
    await here.quiet_of_visits()
    tried = len(here.vendor.calls)
    assert tried <= 2 + 4
    assert {row.state for row in await here.rows()} == {"pending"}  # what was claimed and not called is given back
    await here.clock.advance(29)
    await here.quiet_of_visits()
    assert len(here.vendor.calls) == tried
    here.vendor.answers.clear()
    gate = here.vendor.hold(*names)
    await here.clock.advance(2)
    await here.quiet_of_visits()
    assert (len(here.vendor.calls), here.lane.health) == (tried + 1, "half-open")
    gate.set()
    await here.passes(1)
    assert {state for *_, state in await here.states()} == {"done"}
    assert here.lane.health == "closed"


async def test_a_vendor_that_is_ill_is_tried_by_a_call_that_does_not_wait_to_be_filled(station):
    here = station(concurrency=1, failures=1, at_once=8)
    for number in range(20):  # few grants, so that the first of what is left does not fill a call
        await here.profiles(f"p{number}")
        if number % 4 == 0:
            await here.grants(f"c{number}")
    here.vendor.answers = {f"p{number}": [TemporaryError("down")] for number in range(8)}
    here.start()
    await here.quiet_of_visits()
    tried = len(here.vendor.calls)
    assert (here.lane.health, tried <= 8) == ("open", True)
    await here.passes(31)
    assert here.lane.health == "closed"
    assert {state for *_, state in await here.states()} == {"done"}


# Pace.


async def test_at_a_pace_whoever_is_most_urgent_when_a_turn_comes_goes(station):
    here = station(concurrency=4, rate=Rate(1), burst=1)

    async def request(_):
        await here.pacer.acquire()

    here.vendor.acts = request
    await here.profiles("ada", "bob", "eve")
    here.start()
    await here.vendor.called(1)
    await here.opts_out("zoe")
    await here.mails("kim")
    for calls in range(2, 6):
        await here.clock.advance(1)
        await here.vendor.called(calls)
    await here.quiet()
    assert here.vendor.calls == [
        ("ada", "profile"), ("zoe", "consent"), ("kim", "trigger"), ("bob", "profile"), ("eve", "profile"),
    ]  # fmt: skip


async def test_work_whose_turn_was_used_up_while_it_was_claimed_is_called_when_the_next_turn_comes(station):
    here = station(concurrency=2, rate=Rate(1), burst=2)
    goes_on = asyncio.Event()

    async def requests(name):
        await here.pacer.acquire()
        if name == "ada":
            await goes_on.wait()
            await here.pacer.acquire()

    here.vendor.acts = requests
    await here.profiles("ada")
    here.start()
    await here.vendor.called(1)
    await here.quiet_of_visits()

    async def meanwhile():
        """The first call asks for one more while the second is being claimed."""
        goes_on.set()
        for _ in range(5):
            await asyncio.sleep(0)

    here.between.after = meanwhile
    await here.profiles("bob")
    await here.quiet_of_visits()
    for _ in range(5):
        await here.clock.advance(1)
        await here.quiet_of_visits(wake=False)
    assert here.vendor.calls == [("ada", "profile"), ("bob", "profile")]
    await here.quiet()


# Opt-outs.


async def test_an_opt_out_goes_before_what_was_claimed_for_the_same_person_and_not_yet_called(station):
    here = station(concurrency=1)
    gate = here.vendor.hold("bob")
    await here.profiles("bob")
    here.start()
    await here.vendor.called(1)
    await here.mails("ada", trigger="offer")
    await here.quiet_of_visits()
    assert [row.state for row in await here.rows()] == ["in_flight", "in_flight"]
    await here.opts_out("ada")
    await here.quiet_of_visits()
    gate.set()
    await here.quiet()
    assert here.vendor.calls == [("bob", "profile"), ("ada", "consent")]
    assert await here.states() == [("bob", "profile", "done"), ("ada", "trigger", "done"), ("ada", "consent", "done")]
    assert (await here.rows())[1].outcome == "unchanged"  # nobody wants it any more


async def test_an_opt_out_that_is_committed_while_a_claim_is_on_its_way_goes_before_it_too(station):
    here = station(concurrency=1)
    gate = here.vendor.hold("bob")
    await here.profiles("bob")
    here.start()
    await here.vendor.called(1)
    await here.quiet_of_visits()
    said = []

    async def meanwhile():
        if not said and "in_flight" in [row.state for row in await here.rows() if row.kind == "trigger"]:
            said.append(await here.opts_out("ada"))

    here.between.after = meanwhile
    await here.mails("ada", trigger="offer")
    async with asyncio.timeout(10):
        while not said:
            await asyncio.sleep(0)
    await here.quiet_of_visits()
    gate.set()
    await here.quiet()
    assert here.vendor.calls == [("bob", "profile"), ("ada", "consent")]


async def test_an_opt_out_leaves_what_was_claimed_for_others_alone(station):
    here = station(concurrency=1)
    gate = here.vendor.hold("bob")
    await here.profiles("bob", "ada")
    here.start()
    await here.vendor.called(1)
    await here.quiet_of_visits()
    await here.opts_out("eve")
    await here.quiet_of_visits()
    assert {(row.person, row.state) for row in await here.rows() if row.kind == "profile"} == {
        (here.people["bob"], "in_flight"),
        (here.people["ada"], "in_flight"),
    }
    gate.set()
    await here.quiet()
    assert here.vendor.calls == [("bob", "profile"), ("eve", "consent"), ("ada", "profile")]


# Two who turn out to be one.


async def test_while_one_of_them_is_called_the_other_waits(station):
    here = station(concurrency=2)
    gate = here.vendor.hold("ada")
    await here.profiles("eve")
    here.start()
    await here.quiet()
    await here.mails("ada")
    await here.vendor.called(2)
    await here.merges("ada", into="eve")
    await here.mails("eve")
    await here.quiet_of_visits()
    assert here.vendor.calls == [("eve", "profile"), ("ada", "trigger")]
    gate.set()
    await here.quiet()
    assert here.vendor.calls[2:] == [("eve", "trigger")]
    assert {state for *_, state in await here.states()} == {"done"}


async def test_an_opt_out_of_the_one_takes_back_what_was_claimed_for_the_other(station):
    here = station(concurrency=1)
    gate = here.vendor.hold("bob")
    await here.profiles("bob")
    here.start()
    await here.vendor.called(1)
    await here.mails("ada", trigger="offer")
    await here.quiet_of_visits()
    assert [row.state for row in await here.rows()] == ["in_flight", "in_flight"]
    await here.profiles("eve")
    await here.merges("ada", into="eve")
    await here.opts_out("eve")
    await here.quiet_of_visits()
    gate.set()
    await here.quiet()
    assert ("ada", "trigger") not in here.vendor.calls
    assert here.vendor.calls[1] == ("eve", "consent")


# Stopping and starting.


async def test_draining_settles_what_is_under_way_gives_back_what_waits_and_starts_nothing(station):
    here = station(concurrency=2)
    gate = here.vendor.hold("ada", "bob")
    await here.profiles("ada", "bob", "eve", "zoe", "kim", "jan")
    here.start()
    await here.vendor.called(2)
    await here.quiet_of_visits()
    draining = asyncio.create_task(here.lane.drain())
    await here.quiet_of_visits()
    assert not draining.done()
    gate.set()
    async with asyncio.timeout(10):
        await draining
    assert sorted(here.vendor.calls) == [("ada", "profile"), ("bob", "profile")]
    assert [(row.state, row.attempts) for row in await here.rows()] == [("done", 1)] * 2 + [("pending", 0)] * 4
    await here.profiles("lea")
    await here.quiet_of_visits()
    assert len(here.vendor.calls) == 2


async def test_a_lane_without_work_is_drained_at_once(station):
    here = station()
    here.start()
    async with asyncio.timeout(10):
        await here.lane.drain()
    assert here.vendor.calls == []


async def test_what_an_earlier_process_had_claimed_is_told_and_done_again(station):
    here = station()
    numbers = await here.profiles("ada", "bob")
    await here.store.run(lambda unit: [unit.claim(unit.delivery(number)) for number in numbers])
    here.start()
    await here.quiet()
    assert here.log.named("recovered") == [{"lane": "crm", "deliveries": 2}]
    assert sorted(here.vendor.calls) == [("ada", "profile"), ("bob", "profile")]
    assert [(row.state, row.attempts) for row in await here.rows()] == [("done", 2)] * 2


async def test_a_call_that_takes_too_long_is_tried_again_and_the_others_are_not_kept_waiting(station):
    here = station(concurrency=1)
    here.vendor.hold("ada")
    await here.profiles("ada", "bob")
    here.start()
    await here.vendor.called(1)
    here.vendor.gates.clear()
    await here.clock.advance(TIMEOUT_S + 1)
    here.lane.sweep()
    await here.quiet()
    assert here.vendor.calls == [("ada", "profile"), ("bob", "profile")]
    await here.passes(1)
    assert here.to("ada") == ["profile"] * 2
    assert {state for *_, state in await here.states()} == {"done"}


# Long backlogs.


@pytest.mark.parametrize("told", [True, False], ids=["told of each", "found in the store"])
async def test_however_long_the_backlog_all_of_it_is_served_once_and_little_of_it_is_in_memory(
    station, monkeypatch, told
):
    monkeypatch.setattr(window, "ROOM", 32)
    monkeypatch.setattr(window, "PAGE", 16)
    here = station(concurrency=4)
    names = [f"p{number:03}" for number in range(600)]
    if told:
        here.start()
        await here.quiet()
    sizes = []

    async def measure(_):
        sizes.append(len(here.lane._window))

    here.vendor.acts = measure
    for first in range(0, 600, 200):
        await here.profiles(*names[first : first + 200], urgency=BACKFILL)
    if not told:
        here.store.on_commit = lambda _: None
        here.start()
    await here.quiet()
    assert sorted(here.vendor.calls) == [(name, "profile") for name in names]
    assert max(sizes) <= 32
    assert here.vendor.most <= 4


async def test_an_opt_out_finds_its_way_past_a_backlog_that_fills_the_memory(station, monkeypatch):
    monkeypatch.setattr(window, "ROOM", 16)
    monkeypatch.setattr(window, "PAGE", 8)
    here = station(concurrency=1)
    gate = here.vendor.hold("p000")
    await here.profiles(*[f"p{number:03}" for number in range(100)], urgency=BACKFILL)
    here.start()
    await here.vendor.called(1)
    await here.opts_out("zoe")
    await here.quiet_of_visits()
    gate.set()
    await here.quiet()
    assert here.vendor.calls[1] == ("zoe", "consent")
    assert len(here.vendor.calls) == 101


async def test_work_of_which_the_lane_was_not_told_is_found_once_it_looks_through_all_anew(station):
    here = station()
    here.start()
    await here.quiet()
    here.store.on_commit = lambda _: None
    await here.profiles("ada", "bob")
    await here.quiet()
    assert here.vendor.calls == []
    here.lane.rescan()
    await here.quiet()
    assert sorted(here.vendor.calls) == [("ada", "profile"), ("bob", "profile")]


async def test_failures_of_many_leave_nobody_behind(station, monkeypatch):
    monkeypatch.setattr(window, "ROOM", 16)
    monkeypatch.setattr(window, "PAGE", 8)
    here = station(concurrency=4)
    names = [f"p{number:03}" for number in range(150)]
    chance = Random(5)
    errors = [TemporaryError("down"), OutcomeUnknown("cut"), TemporaryError("down", retry_after=30)]
    here.vendor.answers = {name: chance.choices(errors, k=chance.randrange(4)) for name in names}
    expected = {name: len(answers) + 1 for name, answers in here.vendor.answers.items()}
    await here.profiles(*names)
    here.start()
    await here.quiet()
    for _ in range(200):
        await here.passes(1)
    assert {name: len(here.to(name)) for name in names} == expected
    assert {state for *_, state in await here.states()} == {"done"}


# The window's law, with the lane's manners: pages are asked for, some are taken, and only then the pages come.


class Rows:
    """The store's side: where those stand who wait, and who are under way."""

    def __init__(self):
        self.places = {}

    def page(self, page):
        found = sorted(
            each
            for each in self.places.values()
            if each.urgency == page.urgency and (each.due_at, each.delivery) > page.after and each.due_at <= page.until
        )
        later = [
            each.due_at for each in self.places.values() if each.urgency == page.urgency and each.due_at > page.until
        ]
        return [(each.person, each) for each in found[: page.limit]], min(later, default=None)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 3), st.integers(-3, 3), st.integers(0, 7)),
        st.tuples(st.just("visit"), st.lists(st.integers(0, 4), min_size=4, max_size=4), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("put off"), st.integers(0, 9), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(0, 4)),
        st.tuples(st.just("rescan")),
    ),
    max_size=60,
)


@given(story=moves)
def test_in_any_story_the_most_urgent_go_first_once_at_a_time_and_nobody_is_forgotten(story):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "ROOM", 4)
        patch.setattr(window, "PAGE", 2)
        _Story().tell(story)


class _Story:
    def __init__(self):
        self.window, self.rows, self.now, self.busy, self.numbers = Window(), Rows(), 1_000.0, {}, 0

    def tell(self, story):
        for move in story:
            match move:
                case ("queue", urgency, shift, person):
                    self._queue(urgency, shift, person)
                case ("visit", many, served):
                    room = sorted(many, reverse=True)  # the more urgent may have what the less urgent may not
                    self._visit(room, served=served)
                case ("end", which) if self.busy:
                    key = sorted(self.busy)[which % len(self.busy)]
                    del self.rows.places[self.busy.pop(key)]
                    self._reminded(key)
                case ("put off", which, seconds) if self.busy:
                    key = sorted(self.busy)[which % len(self.busy)]
                    number = self.busy.pop(key)
                    self.rows.places[number] = self.rows.places[number]._replace(due_at=self.now + seconds)
                    self._reminded(key)
                case ("wait", seconds):
                    self.now += seconds
                case ("rescan",):
                    self.window.rescan()
        self._finish()

    def _queue(self, urgency, shift, person):
        self.numbers += 1
        place = Place(urgency, self.now + shift, self.numbers, person)
        self.rows.places[place.delivery] = place
        self.window.offer(person, place, self.now)

    def _reminded(self, key):
        for place in self.rows.places.values():
            if place.person == key:
                self.window.offer(key, place, self.now)
        self.window.done(key, self.now)

    def _visit(self, room, *, served=True):
        pages = self.window.pages(self.now)
        taken = self.window.take(room)
        for key, place in taken:
            assert key not in self.busy
            assert place.due_at <= self.now
            assert self.rows.places[place.delivery] == place
        keys = {key for key, _ in taken}
        waits = [
            each
            for each in self.rows.places.values()
            if each.due_at <= self.now and each.person not in self.busy and each.person not in keys
        ]
        for _, place in taken:
            assert all(each.urgency >= place.urgency or len(taken) >= room[each.urgency] for each in waits)
        answers = [(page, self.rows.page(page)) for page in pages]
        if served:
            self.busy.update({key: place.delivery for key, place in taken})
        else:  # the store failed: nothing was claimed
            self.window.give_back(taken, self.now)
        for page, answer in answers:
            self.window.loaded(page, *answer, self.now)

    def _finish(self):
        for key in sorted(self.busy):
            del self.rows.places[self.busy.pop(key)]
            self._reminded(key)
        while self.rows.places:
            left = len(self.rows.places)
            for _ in range(4 * left + 8):
                self._visit([9, 9, 9, 9])
                for key in sorted(self.busy):
                    del self.rows.places[self.busy.pop(key)]
                    self._reminded(key)
            due = [each for each in self.rows.places.values() if each.due_at <= self.now]
            assert not due, "forgotten"
            if self.rows.places:
                soonest = min(each.due_at for each in self.rows.places.values())
                assert self.window.next_due_at() is not None
                assert self.window.next_due_at() <= soonest
                self.now = soonest
