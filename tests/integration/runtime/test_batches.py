"""Vendors with a bulk call: as many people as it takes at once, an answer for each, and a bad one costs no other."""

import asyncio
import json

import msgspec
import pytest
from aiohttp import web
from tests.integration.http.conftest import running_vendor

from esplanade.delivery import lane
from esplanade.errors import AuthenticationError, OutcomeUnknown, PermanentError, RateLimited, TemporaryError
from esplanade.model import Outcome
from esplanade.records import DeliveryFilter

from .conftest import (
    ONLY_PROFILES,
    attempts,
    consent,
    deliveries,
    email,
    folded,
    moved,
    person_of,
    profile,
    remote_of,
    send,
    settled,
    state,
    told,
    trigger,
)
from .test_attempts import PLUGIN as HTTP_PLUGIN

BATCH = """
    batches = []
    whole = {}

    @hookimpl
    async def on_profile_batch(self, events, ctx):
        return await self.together("profile", events, ctx)

    @hookimpl
    async def on_consent_batch(self, events, ctx):
        return await self.together("consent", events, ctx)

    @hookimpl
    async def on_trigger_batch(self, events, ctx):
        return await self.together("trigger", events, ctx)

    async def together(self, kind, events, ctx):
        Crm.batches.append(list(events))
        if kind in Crm.whole:
            for event in events:
                Crm.whole[kind](event)
        return [await self.each(kind, event, ctx) for event in events]

    async def each(self, kind, event, ctx):
        try:
            return await self.act(kind, event, ctx)
        except Exception as problem:
            return problem
"""
ONE = {"crm": {"pace": {"concurrency": 1}, "breaker": {"failures": 1000}, "retry": {"base": "1s", "cap": "1s"}}}
CROWD = [f"p{number:03}" for number in range(250)]


class Bulk:
    """A place whose plugin takes batches."""

    def __init__(self, place, clock):
        self.place, self.clock = place, clock

    async def start(self, *, items=100, size=1_000_000, repeat="never", connectors=ONE, **hub):
        self.place.plugin(BATCH, attributes=f"batch_items = {items}\nbatch_bytes = {size}\ntrigger_repeat = {repeat!r}")
        started = await self.place.start(clock=self.clock, connectors=connectors, **hub)
        self.crm = self.place.script()
        return started, self.crm

    @property
    def batches(self):
        """What each call carried, in order: the names of its people."""
        return [[name(event) for event in batch] for batch in self.crm.plugin.batches]

    @property
    def sizes(self):
        return [len(batch) for batch in self.batches]


@pytest.fixture
def bulk(place, clock):
    return Bulk(place, clock)


def name(event):
    return event.email.partition("@")[0]


async def waiting(hub, *sending):
    """Let a backlog be there before any of it is sent."""
    await hub.pause("crm", "until all of it is there")
    for each in sending:
        await each
    await settled(hub)


async def sent(hub, *sending):
    """Send a backlog as fast as it goes."""
    await waiting(hub, *sending)
    await hub.resume("crm")
    await settled(hub)


async def at_rest(hub):
    """Return once nothing is under way, whether or not the lane waits for its next turn."""
    found, looks = hub.connections["crm"].outbound, 0
    async with asyncio.timeout(10):
        while looks < 3:  # what the lane asked of the store before a look is answered by the next one
            await hub.store.run(lambda _: None, durable=False)
            looks = 0 if found._window._busy or found._calls.finished or found._woken.is_set() else looks + 1


def profiles(hub, names, city="Delft", **more):
    return send(hub, "profile", *[{"email": each, "fields": {"city": city}, **more} for each in names])


def refuses(*bad):
    """The answer of a vendor that takes a batch whole or not at all."""

    def judge(event):
        if name(event) in bad:
            raise PermanentError(f"{name(event)} is bad")

    return judge


class TestHowManyShareACall:
    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_as_many_as_the_plugin_takes(self, bulk, concurrency):
        connectors = {"crm": {"pace": {"concurrency": concurrency}}}
        hub, _ = await bulk.start(items=10, connectors=connectors)
        await sent(hub, profiles(hub, CROWD[:25]))
        assert sorted(bulk.sizes) == [5, 10, 10]
        assert sorted(each for batch in bulk.batches for each in batch) == CROWD[:25]

    async def test_large_calls_are_full_though_no_single_visit_to_the_store_fills_them(self, bulk):
        hub, _ = await bulk.start(items=100)
        await sent(hub, profiles(hub, CROWD))
        assert sorted(bulk.sizes) == [50, 100, 100]
        assert sorted(each for batch in bulk.batches for each in batch) == CROWD

    async def test_no_call_is_heavier_than_the_plugin_takes_and_what_is_heavier_by_itself_goes_alone(self, bulk):
        hub, crm = await bulk.start(items=100, size=2_000)
        heavy = {"email": "heavy", "fields": {"city": "Delft", "name": "x" * 5_000}}
        await sent(hub, profiles(hub, CROWD[:20]), send(hub, "profile", heavy), profiles(hub, CROWD[20:40]))
        for batch in crm.plugin.batches:
            weight = sum(len(msgspec.json.encode(event)) for event in batch)
            assert weight <= 2_000 or [name(event) for event in batch] == ["heavy"]
        assert sorted(each for batch in bulk.batches for each in batch) == ["heavy", *CROWD[:40]]
        assert len(bulk.batches) < 20

    async def test_what_comes_one_by_one_within_a_moment_shares_a_call(self, bulk, monkeypatch):
        monkeypatch.setattr(lane, "BATCH_LINGER_S", 0.5)
        hub, _ = await bulk.start()
        for each in CROWD[:5]:
            await profile(hub, each)
        await settled(hub)
        assert bulk.batches == [CROWD[:5]]

    async def test_neither_an_opt_out_nor_a_trigger_waits_for_a_call_to_be_filled(self, bulk, monkeypatch):
        monkeypatch.setattr(lane, "BATCH_LINGER_S", 60.0)
        hub, crm = await bulk.start()
        await consent(hub, "ada", "denied")
        await crm.called(1)
        await trigger(hub, "bob", "t-1")
        async with asyncio.timeout(10):
            while ("trigger", "t-1") not in crm.to("bob"):
                await folded(hub)
        assert crm.calls[0] == ("ada", "consent", "newsletter denied")

    async def test_a_call_carries_one_kind(self, bulk):
        hub, crm = await bulk.start()
        await sent(
            hub,
            profiles(hub, CROWD[:9]),
            *[consent(hub, each) for each in CROWD[5:20]],
            *[trigger(hub, each, f"t-{each}") for each in CROWD[10:30]],
        )
        assert all(len({type(event) for event in batch}) == 1 for batch in crm.plugin.batches)
        assert len(crm.calls) == 9 + 15 + 20 + (30 - 9)  # who is new is made known by a profile first


class TestAnAnswerForEach:
    async def test_each_event_ends_as_its_own_answer_says(self, bulk, clock):
        hub, crm = await bulk.start()
        answers = {
            "ada": Outcome(remote_id="9001"),
            "bob": PermanentError("no such city"),
            "cyd": TemporaryError("locked", retry_after=60),
            "dan": OutcomeUnknown("cut", retry_after=60),
            "eve": Outcome(status="unchanged", reason="suppressed"),
            "fay": None,
            "gus": Outcome(),
        }
        for who, answer in answers.items():
            crm.answers[(who, "profile")] = lambda _event, answer=answer: answer or "nonsense"
        await sent(hub, profiles(hub, answers))
        assert bulk.batches == [list(answers)]
        found = {name(row): (row.state, row.reason, row.attempts) for row in await rows(hub)}
        assert found == {
            "ada": ("done", None, 1),
            "bob": ("dead", "rejected", 1),
            "cyd": ("pending", None, 1),
            "dan": ("pending", None, 1),
            "eve": ("done", None, 1),
            "fay": ("pending", None, 1),
            "gus": ("done", None, 1),
        }
        assert (await remote_of(hub, "ada")).remote_id == "9001"
        assert (await remote_of(hub, "cyd")).unknown  # it may have acted before it failed
        assert (await remote_of(hub, "dan")).unknown
        crm.answers.clear()
        await moved(hub, clock, 60)
        assert sorted(bulk.batches[1] + [each for batch in bulk.batches[2:] for each in batch]) == ["cyd", "dan", "fay"]
        assert await attempts(hub, 3) == ["retried", "delivered"]

    async def test_a_call_that_takes_too_long_leaves_all_of_it_in_doubt(self, bulk, clock):
        slow = {**ONE["crm"], "timeout": "10s", "retry": {"base": "1h", "cap": "1h"}}
        hub, crm = await bulk.start(connectors={"crm": slow})
        crm.hold("profile")
        await waiting(hub, profiles(hub, CROWD[:3]))
        await hub.resume("crm")
        await crm.called(1)
        crm.answers.clear()
        await clock.advance(11)
        await settled(hub)
        assert {row.last_error for row in await rows(hub)} == {"OutcomeUnknown: no answer from the plugin within 10 s"}
        assert [(await remote_of(hub, each)).unknown for each in CROWD[:3]] == [True] * 3
        await moved(hub, clock, 3_600)
        assert {row.state for row in await rows(hub)} == {"done"}

    async def test_patience_that_the_vendor_asks_for_is_kept_whatever_it_took_of_the_same_call(self, bulk, clock):
        hub, crm = await bulk.start()
        crm.once(("bob", "profile"), RateLimited("slow down", retry_after=60))
        await sent(hub, profiles(hub, ["ada", "bob"]))
        await profile(hub, "cyd")
        await folded(hub)
        await at_rest(hub)
        assert bulk.batches == [["ada", "bob"]]
        await moved(hub, clock, 60)
        assert sorted(each for batch in bulk.batches[1:] for each in batch) == ["bob", "cyd"]

    async def test_credentials_that_are_refused_for_one_stop_all(self, bulk, clock):
        hub, crm = await bulk.start(items=3)
        crm.answers[("p001", "profile")] = lambda _event: AuthenticationError("expired")
        await sent(hub, profiles(hub, CROWD[:9]))
        assert bulk.batches == [CROWD[:3]]
        assert (await state(hub)).state == "auth"
        assert [row.attempts for row in await rows(hub)] == [1, 0, 1] + [0] * 6


async def rows(hub, **wanted):
    """Deliveries with their person's address, as ``email``."""

    def read(reader):
        return reader.deliveries(DeliveryFilter(**wanted), limit=1_000)

    found = await hub.store.read(read)
    return [Row(row, address) for row, address in found]


class Row:
    def __init__(self, row, email):
        self.row, self.email = row, email

    def __getattr__(self, attribute):
        return getattr(self.row, attribute)


class TestABadOneAmongMany:
    @pytest.mark.parametrize("bad", [["p000"], ["p049"], ["p017", "p018", "p044"], CROWD[:50]])
    async def test_it_is_found_and_the_others_are_delivered_once(self, bulk, bad):
        hub, crm = await bulk.start()
        crm.plugin.whole["profile"] = refuses(*bad)
        await sent(hub, profiles(hub, CROWD[:50]))
        good = [each for each in CROWD[:50] if each not in bad]
        assert sorted(call[0] for call in crm.calls) == good
        found = {name(row): (row.state, row.last_error) for row in await rows(hub)}
        assert found == {
            each: ("dead", f"PermanentError: {each} is bad") if each in bad else ("done", None) for each in CROWD[:50]
        }

    @pytest.mark.parametrize("repeat", ["never", "safe"])
    async def test_so_it_is_among_triggers_that_were_refused_as_a_whole(self, bulk, repeat):
        hub, crm = await bulk.start(repeat=repeat)
        crm.plugin.whole["trigger"] = refuses("p007", "p021")
        await sent(hub, *[trigger(hub, each, f"t-{each}") for each in CROWD[:30]])
        mails = [call[0] for call in crm.calls if call[1] == "trigger"]
        assert sorted(mails) == [each for each in CROWD[:30] if each not in {"p007", "p021"}]
        found = await rows(hub, kind="trigger", states=["dead"])
        assert [row.last_error for row in found] == [
            "PermanentError: p007 is bad", "PermanentError: p021 is bad",
        ]  # fmt: skip

    @pytest.mark.parametrize("error", [TemporaryError("down"), OutcomeUnknown("cut")], ids=repr)
    async def test_a_batch_of_which_nobody_knows_more_is_not_halved(self, bulk, clock, error):
        hub, crm = await bulk.start()
        failures = [error]

        def judge(event):
            if failures:
                raise failures.pop()

        crm.plugin.whole["profile"] = judge
        await sent(hub, profiles(hub, CROWD[:20]))
        assert bulk.sizes == [20]
        assert {(row.state, row.attempts) for row in await rows(hub)} == {("pending", 1)}
        await moved(hub, clock, 1)
        assert sorted(call[0] for call in crm.calls) == CROWD[:20]

    async def test_of_triggers_that_must_not_be_repeated_few_are_in_doubt_after_a_cut(self, bulk):
        hub, crm = await bulk.start()
        failures = [OutcomeUnknown("cut")]

        def judge(event):
            if failures:
                raise failures.pop()

        crm.plugin.whole["trigger"] = judge
        await sent(hub, *[trigger(hub, each, f"t-{each}") for each in CROWD[:120]])
        parked = [row for row in await rows(hub, kind="trigger") if row.state == "parked"]
        assert {row.reason for row in parked} == {"outcome-unknown"}
        mails = [batch for batch in crm.plugin.batches if hasattr(batch[0], "trigger_id")]
        assert len(parked) == len(mails[0]) <= 50
        assert max(len(batch) for batch in mails) <= 50
        delivered = sorted(call[0] for call in crm.calls if call[1] == "trigger")
        assert delivered == sorted(set(CROWD[:120]) - {name(row) for row in parked})

    @pytest.mark.parametrize("burst", [1, 2, 20])
    async def test_at_a_slow_pace_it_is_found_too(self, place, clock, burst):
        """A turn is further off than a call waits for one, so that what has to be halved cannot be halved within one call."""
        async with running_vendor() as vendor:
            bad, got = {email("p001"), email("p006")}, []

            async def handler(request):
                asked = json.loads(vendor.requests[-1][1])
                if bad & set(asked):
                    return web.Response(status=400, text="one of them is bad")
                got.extend(asked)
                return web.json_response({})

            vendor.handler = handler
            (place.path / "crm.py").write_text(
                HTTP_PLUGIN.replace("on_profile(self, event,", "on_profile_batch(self, events,") + POST_ALL
            )
            pace = {"rate": "10/m", "burst": burst, "concurrency": 1}
            crm = {**ONLY_PROFILES, "settings": {"url": vendor.origin}, "pace": pace, "timeout": "1h"}
            hub = await place.start(clock=clock, connectors={"crm": crm}, egress={"allow": ["127.0.0.0/8"]})
            await waiting(hub, profiles(hub, CROWD[:8]))
            await hub.resume("crm")
            for _ in range(600):  # ten minutes, in which there are a hundred turns
                await clock.advance(1)
                if not await deliveries(hub, states=["pending", "in_flight"]):
                    break
            assert sorted(got) == sorted({email(each) for each in CROWD[:8]} - bad)
            assert {row.email for row in await rows(hub, states=["dead"])} == bad
            await place.close()


POST_ALL = """
        await ctx.http.post("/bulk", json=[event.email for event in events])
        return [Outcome() for _ in events]
"""


class TestOrder:
    async def test_a_person_s_order_holds_within_calls_and_between_them(self, bulk):
        hub, crm = await bulk.start(items=4, repeat="safe", connectors={"crm": {"pace": {"concurrency": 3}}})
        people = CROWD[:10]
        sending = [profiles(hub, people)]
        for each in people:
            sending += [consent(hub, each), consent(hub, each, purpose="service")]
            sending += [trigger(hub, each, f"{each} {number}") for number in range(4)]
        running = set()

        async def watch(event):
            assert event.email not in running
            running.add(event.email)
            await asyncio.sleep(0)
            running.remove(event.email)
            return Outcome()

        crm.answers["all"] = watch
        await sent(hub, *sending)
        for each in people:
            assert crm.to(each) == [
                ("profile", {"City": "Delft"}),
                ("consent", "newsletter granted"),
                ("consent", "service granted"),
                *[("trigger", f"{each} {number}") for number in range(4)],
            ]
        assert all(len(set(batch)) == len(batch) for batch in bulk.batches)
        assert len(bulk.batches) < len(crm.calls) / 2

    async def test_an_opt_out_goes_alone_and_before_everything_that_waits(self, bulk):
        hub, crm = await bulk.start()
        await sent(
            hub,
            profiles(hub, CROWD[:40]),
            *[consent(hub, each) for each in CROWD[:40]],
            *[trigger(hub, each, f"t-{each}") for each in CROWD[:40]],
            consent(hub, "p039", "denied"),
            consent(hub, "zoe", "denied"),
        )
        first, *others = crm.plugin.batches
        assert sorted((name(event), event.state) for event in first) == [("p039", "denied"), ("zoe", "denied")]
        assert all(getattr(event, "state", None) != "denied" for batch in others for event in batch)

    async def test_an_opt_out_that_comes_while_calls_are_under_way_takes_the_next_one(self, bulk):
        hub, crm = await bulk.start(items=10, repeat="safe")
        gate = crm.hold(("p000", "profile"))
        await waiting(hub, profiles(hub, CROWD[:100]))
        await hub.resume("crm")
        await crm.called(1)
        await consent(hub, "p055", "denied")
        async with asyncio.timeout(10):
            while not await deliveries(hub, kind="consent", states=["in_flight"]):
                await folded(hub)
        gate.set()
        await settled(hub)
        assert bulk.batches[1] == ["p055"]
        assert crm.to("p055")[0] == ("consent", "newsletter denied")
        assert sorted({each for batch in bulk.batches for each in batch}) == CROWD[:100]


class TestTheGuard:
    @pytest.mark.parametrize(("size", "largest"), [(1_000_000, 12), (900, 3)])
    async def test_who_finds_no_place_in_a_call_is_counted_once(self, bulk, size, largest):
        hub, crm = await bulk.start(size=size, guard={"max_removals": "60%"})
        people = CROWD[:20]
        member = {"audiences": {"vip": True}}
        await sent(hub, profiles(hub, people, **member))
        before, calls = len(crm.calls), len(bulk.batches)
        with told() as alerts:
            await sent(hub, profiles(hub, people[:12], audiences={"vip": False}))
        assert max(bulk.sizes[calls:]) <= largest
        assert await deliveries(hub, reason="guard") == []
        assert alerts == []
        assert len(crm.calls) == before + 12
        run = await hub.store.run(lambda unit: unit.audience("crm", "vip"))
        assert (run.members, run.removed) == (8, 12)


async def test_a_reload_to_smaller_calls_is_heeded(bulk):
    hub, _ = await bulk.start(items=50)
    await waiting(hub, profiles(hub, CROWD[:60]))
    bulk.place.plugin(BATCH, attributes="batch_items = 7")
    await hub.reload(bulk.place.load())
    await hub.resume("crm")
    await settled(hub)
    bulk.crm = bulk.place.script()
    assert max(bulk.sizes) == 7
    assert sorted(each for batch in bulk.batches for each in batch) == CROWD[:60]
    assert await person_of(hub, "p059") is not None
