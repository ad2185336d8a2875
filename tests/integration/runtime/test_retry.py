"""What follows from each way in which a call can end: again, later, never, or once a person has decided."""

import asyncio

import pytest

from esplanade.errors import (
    AuthenticationError,
    EndpointGone,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)
from esplanade.model import Outcome
from esplanade.records import DeliveryFilter

from .conftest import (
    ONLY_PROFILES,
    SINGLE,
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
    settled,
    state,
    told,
    trigger,
)

UNSTOPPABLE = {"breaker": {"failures": 1000}}
CHECK = """
    checks = []

    async def check(self, ctx):
        answer = Crm.checks.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return CheckResult(status=answer)
"""


async def replay(hub, *, force=False, **wanted):
    return await hub.replay(DeliveryFilter(**wanted), force=force)


class TestAgain:
    async def test_a_vendor_that_is_down_is_tried_again_until_it_answers(self, place, clock):
        hub, crm = await place.start(clock=clock, connectors={"crm": UNSTOPPABLE}), place.script()
        crm.once("profile", *[TemporaryError("down")] * 5)
        await profile(hub, "ada")
        await settled(hub)
        await moved(hub, clock, 60)
        while len(crm.calls) < 6:
            await moved(hub, clock, 60)
        found = await delivery(hub)
        assert (found.state, found.attempts, found.last_error) == ("done", 6, None)
        assert await attempts(hub, found.id) == ["retried"] * 5 + ["delivered"]

    @pytest.mark.parametrize("error", [TemporaryError, RateLimited, OutcomeUnknown])
    async def test_the_wait_that_the_vendor_asked_for_is_kept(self, place, clock, error):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("profile", error("later", retry_after=600))
        await profile(hub, "ada")
        await settled(hub)
        assert (await delivery(hub)).due_at == clock.time() + 600
        await moved(hub, clock, 599)
        assert len(crm.calls) == 1
        await moved(hub, clock, 1)
        assert len(crm.calls) == 2

    async def test_the_newest_state_is_what_is_tried_again(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("profile", TemporaryError("down", retry_after=60))
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        await profile(hub, "ada", city="Breda")
        await moved(hub, clock, 60)
        assert crm.to("ada") == [("profile", {"City": "Delft"}), ("profile", {"City": "Breda"})]

    async def test_after_an_unknown_outcome_nothing_counts_as_known_any_more(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        await profile(hub, "ada", city="Delft", name="Ada")
        await settled(hub)
        crm.once("profile", OutcomeUnknown("cut", retry_after=60))
        await profile(hub, "ada", city="Breda")
        await settled(hub)
        assert (await remote_of(hub, "ada")).unknown
        await profile(hub, "ada", city="Delft")
        await moved(hub, clock, 60)
        assert crm.to("ada")[-1] == ("profile", {"City": "Delft", "Name": "Ada"})
        assert not (await remote_of(hub, "ada")).unknown


IMPATIENT = {"crm": {"retry": {"window": "5m", "min_attempts": 2, "cap": "10m"}, **UNSTOPPABLE}}


class TestGivingUp:
    async def test_it_takes_the_window_and_the_attempts_and_ends_as_a_dead_letter(self, place, clock):
        hub, crm = await place.start(clock=clock, connectors=IMPATIENT), place.script()
        crm.once("profile", *[TemporaryError("down", retry_after=310)] * 2)
        await profile(hub, "ada")
        await settled(hub)
        await moved(hub, clock, 310)
        found = await delivery(hub)
        assert (found.state, found.reason, found.attempts) == ("dead", "gave-up", 2)
        assert found.last_error == "TemporaryError: down"

    async def test_what_was_given_up_leaves_with_the_next_change(self, place, clock):
        hub, crm = await place.start(clock=clock, connectors=IMPATIENT), place.script()
        crm.once("profile", *[TemporaryError("down", retry_after=310)] * 2)
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        await moved(hub, clock, 310)
        await profile(hub, "ada", name="Ada")
        await settled(hub)
        assert crm.to("ada")[-1] == ("profile", {"City": "Delft", "Name": "Ada"})

    async def test_a_dead_letter_holds_back_nobody(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("profile", PermanentError("no such field"))
        await profile(hub, "ada")
        await consent(hub, "ada")
        await settled(hub)
        assert crm.to("ada")[-1] == ("consent", "newsletter granted")

    async def test_a_refused_value_is_sent_again_only_once_it_changes(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("profile", PermanentError("no such city"))
        await profile(hub, "ada", city="Nowhere")
        await settled(hub)
        await profile(hub, "ada", name="Ada")
        await settled(hub)
        assert crm.to("ada")[-1] == ("profile", {"Name": "Ada"})
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        assert crm.to("ada")[-1] == ("profile", {"City": "Delft"})

    async def test_a_change_that_came_during_a_refusal_is_still_sent(self, place):
        hub, crm = await place.start(), place.script()
        gate = asyncio.Event()

        async def refuse(event):
            if event.changed["City"] != "Nowhere":
                return Outcome()
            await gate.wait()
            return PermanentError("no such city")

        crm.answers["profile"] = refuse
        await profile(hub, "ada", city="Nowhere")
        await crm.called(1)
        await profile(hub, "ada", city="Delft")
        await folded(hub)
        gate.set()
        await settled(hub)
        assert crm.to("ada")[-1] == ("profile", {"City": "Delft"})
        assert [each.state for each in await deliveries(hub)] == ["dead", "done"]


class TestReplay:
    async def hub_with_dead_letters(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("all", PermanentError("a"), PermanentError("b"), PermanentError("c"))
        await profile(hub, "ada")
        await settled(hub)
        await consent(hub, "ada")
        await settled(hub)
        await trigger(hub, "bob", "t-1", "order")
        await settled(hub)
        assert [each.state for each in await deliveries(hub)] == ["dead", "dead", "dead", "done"]
        crm.calls.clear()
        return hub, crm

    @pytest.mark.parametrize(
        ("wanted", "sent"),
        [
            ({"kind": "consent"}, ["consent"]),
            ({"email_key": email("ada")}, ["profile", "consent"]),
            ({"email_key": email("nobody")}, []),
            ({"reason": "rejected"}, ["profile", "profile", "consent"]),
            ({"reason": "gave-up"}, []),
            ({"ids": [2]}, ["consent"]),
            ({"connector": "erp"}, []),
            ({"connector": "crm", "kind": "consent", "states": ["dead"]}, ["consent"]),
            ({"until": 0.0}, []),
        ],
    )
    async def test_dead_letters_are_sent_again_by_filter(self, place, wanted, sent):
        hub, crm = await self.hub_with_dead_letters(place)
        assert await replay(hub, **wanted) == len(sent)
        await settled(hub)
        assert sorted(call[1] for call in crm.calls) == sorted(sent)

    async def test_it_sends_even_what_the_vendor_is_thought_to_hold(self, place):
        hub, crm = await place.start(), place.script()
        await profile(hub, "ada", city="Delft", name="Ada")
        await settled(hub)
        assert await replay(hub, ids=[1]) == 1
        await settled(hub)
        assert crm.to("ada") == [("profile", {"City": "Delft", "Name": "Ada"})] * 2

    async def test_a_refused_value_leaves_once_more(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("profile", PermanentError("no such city"))
        await profile(hub, "ada")
        await settled(hub)
        assert await replay(hub, reason="rejected") == 1
        await settled(hub)
        assert crm.to("ada") == [("profile", {"City": "Delft"})] * 2
        assert (await remote_of(hub, "ada")).rejected == {}

    async def test_a_delivered_trigger_is_repeated_only_by_id_and_with_force(self, place):
        hub, crm = await place.start(), place.script()
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        (number,) = [each.id for each in await deliveries(hub, kind="trigger")]
        assert await replay(hub, kind="trigger") == 0
        assert await replay(hub, kind="trigger", force=True) == 0
        assert await replay(hub, ids=[number]) == 0
        assert await replay(hub, ids=[number], force=True) == 1
        await settled(hub)
        assert [call[1] for call in crm.calls].count("trigger") == 2

    async def test_a_parked_trigger_whose_outcome_is_unknown_is_repeated_only_by_id_and_with_force(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("trigger", OutcomeUnknown("cut"))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        (found,) = await deliveries(hub, kind="trigger")
        assert (found.state, found.reason) == ("parked", "outcome-unknown")
        for wanted in ({"kind": "trigger"}, {"reason": "outcome-unknown"}, {"ids": [found.id]}, {"connector": "crm"}):
            await replay(hub, **wanted)
            await settled(hub)
        assert [call[1] for call in crm.calls].count("trigger") == 1
        assert await replay(hub, ids=[found.id], force=True) == 1
        await settled(hub)
        assert [call[1] for call in crm.calls].count("trigger") == 2

    async def test_an_expired_trigger_that_died_is_sent_when_a_person_wants_it(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("trigger", PermanentError("mailing is a draft"))
        await trigger(hub, "ada", "t-1", "sale")
        await settled(hub)
        await moved(hub, clock, 300)
        assert await replay(hub, kind="trigger") == 1
        await settled(hub)
        assert [call[1] for call in crm.calls].count("trigger") == 2


class TestTriggersWhoseOutcomeIsUnknown:
    async def test_they_are_parked_and_hold_back_nobody(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("trigger", OutcomeUnknown("cut"))
        await trigger(hub, "ada", "t-1")
        await trigger(hub, "ada", "t-2")
        await settled(hub)
        assert crm.to("ada") == [("profile", {}), ("trigger", "t-1"), ("trigger", "t-2")]
        assert "outcome-unknown" in await reasons(hub, "ada")

    async def test_where_the_plugin_says_that_repeating_is_safe_they_are_repeated(self, place, clock):
        place.plugin(attributes='trigger_repeat = "safe"')
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("trigger", OutcomeUnknown("cut", retry_after=60))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 60)
        assert crm.to("ada")[1:] == [("trigger", "t-1")] * 2

    async def test_a_refusal_that_was_not_acted_on_is_repeated_even_so(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("trigger", RateLimited("slow", retry_after=60))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 60)
        assert crm.to("ada")[1:] == [("trigger", "t-1")] * 2


class TestRefusedCredentials:
    async def test_they_pause_the_connector_and_keep_the_backlog(self, place, clock):
        with told() as alerts:
            hub, crm = await place.start(clock=clock), place.script()
            crm.answers["all"] = lambda _event: AuthenticationError("invalid grant")
            for name in ("ada", "bob", "eve", "zoe", "kim", "jan"):
                await profile(hub, name)
            await settled(hub)
        assert alerts == ["paused:crm"]
        assert len(crm.calls) <= 4
        found = await state(hub)
        assert (found.state, found.reason) == ("auth", "AuthenticationError: invalid grant")
        assert found.last_error == found.reason
        assert {(each.state, each.attempts) for each in await deliveries(hub)} == {("pending", 0)}

    async def test_check_is_tried_from_a_minute_to_an_hour_apart_until_the_credentials_are_taken(self, place, clock):
        place.plugin(SINGLE + CHECK)
        hub, crm = await place.start(clock=clock), place.script()
        checks = crm.plugin.checks
        checks += ["bad-credentials", TemporaryError("down"), RuntimeError("bug"), "vendor-down", "ok"]
        crm.answers["all"] = lambda _event: AuthenticationError("expired")
        await profile(hub, "ada")
        await settled(hub)
        for wait, left in ((59, 5), (1, 4), (120, 3), (240, 2), (480, 1)):
            await self.probed(hub, clock, wait)
            assert len(checks) == left
        crm.answers.clear()
        await self.probed(hub, clock, 960)
        assert (await state(hub)).state == "ok"
        await settled(hub)
        assert len(crm.calls) == 2

    async def probed(self, hub, clock, seconds):
        """Let time pass, and the probe, which asks the store on the way, come to its next sleep."""
        await clock.advance(seconds)
        for _ in range(3):
            await hub.store.read(lambda reader: None)
            await hub.store.run(lambda unit: None)
        await settled(hub)

    async def test_calls_that_are_refused_together_start_one_probe(self, place, clock):
        place.plugin(SINGLE + CHECK)
        hub, crm = await place.start(clock=clock), place.script()
        checks = crm.plugin.checks
        checks += ["bad-credentials"] * 10
        gate = asyncio.Event()

        async def refuse(_event):
            await gate.wait()
            return AuthenticationError("expired")

        crm.answers["all"] = refuse
        for name in ("ada", "bob", "eve", "zoe"):
            await profile(hub, name)
        await crm.called(4)
        gate.set()
        await settled(hub)
        await self.probed(hub, clock, 61)
        assert len(checks) == 9

    async def test_resume_goes_on_at_once(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("all", AuthenticationError("expired"))
        await profile(hub, "ada")
        await settled(hub)
        await hub.resume("crm")
        await settled(hub)
        assert crm.to("ada") == [("profile", {"City": "Delft"})] * 2
        found = await state(hub)
        assert (found.state, found.reason) == ("ok", None)
        assert found.last_error == "AuthenticationError: expired"

    async def test_without_a_check_the_next_call_shows_and_the_same_alert_is_not_raised_each_minute(self, place, clock):
        with told() as alerts:
            hub, crm = await place.start(clock=clock), place.script()
            crm.answers["all"] = lambda _event: AuthenticationError("expired")
            await profile(hub, "ada")
            await settled(hub)
            for _ in range(5):
                await self.probed(hub, clock, 60)
        assert len(crm.calls) > 3
        assert alerts == ["paused:crm"]

    async def test_after_a_restart_the_credentials_are_tried_at_once(self, place, clock):
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("all", AuthenticationError("expired"))
        await profile(hub, "ada")
        await settled(hub)
        await hub.stop()
        again = await place.start(clock=clock)
        await crm.called(2)
        await settled(again)
        assert (await state(again)).state == "ok"


class TestAnEndpointThatIsGone:
    async def test_it_stays_paused_until_a_person_resumes_it(self, place, clock):
        with told() as alerts:
            hub, crm = await place.start(clock=clock), place.script()
            crm.once("all", EndpointGone("410"))
            await profile(hub, "ada")
            await settled(hub)
        assert alerts == ["paused:crm"]
        assert (await state(hub)).state == "gone"
        await moved(hub, clock, 600)
        assert len(crm.calls) == 1
        await hub.resume("crm")
        await settled(hub)
        assert len(crm.calls) == 2


class TestPausing:
    async def test_it_keeps_the_backlog_and_resuming_sends_it(self, place):
        hub, crm = await place.start(), place.script()
        await hub.pause("crm", "they asked us to")
        await profile(hub, "ada")
        await consent(hub, "ada")
        await settled(hub)
        assert crm.calls == []
        assert (await state(hub)).reason == "they asked us to"
        assert [each.state for each in await deliveries(hub)] == ["pending", "pending"]
        await hub.resume("crm")
        await settled(hub)
        assert [call[1] for call in crm.calls] == ["profile", "consent"]

    async def test_one_paused_connector_does_not_stop_another(self, place):
        connectors = {"crm": ONLY_PROFILES, "erp": {**ONLY_PROFILES, "settings": {"account": "b"}}}
        hub, crm = await place.start(connectors=connectors), place.script()
        await hub.pause("crm", "why not")
        await profile(hub, "ada")
        await settled(hub)
        assert len(crm.calls) == 1
        assert await hub.store.run(lambda unit: unit.open_deliveries(1)) == {"crm": 1}

    async def test_it_outlives_a_restart(self, place):
        hub, crm = await place.start(), place.script()
        await hub.pause("crm", "why not")
        await profile(hub, "ada")
        await settled(hub)
        await hub.stop()
        again = await place.start()
        await settled(again)
        assert crm.calls == []

    async def test_calls_under_way_are_waited_for_before_it_counts_as_settled(self, place):
        hub, crm = await place.start(), place.script()
        gate = crm.hold("all")
        await profile(hub, "ada")
        await crm.called(1)
        await hub.pause("crm", "why not")
        waiting = asyncio.create_task(hub.settled())
        await folded(hub)
        await hub.store.run(lambda unit: None)
        assert not waiting.done()
        gate.set()
        await waiting
        assert (await delivery(hub)).state == "done"


FRAGILE = {"crm": {"breaker": {"failures": 3, "open": "30s"}, "pace": {"concurrency": 1}}}


class TestTheBreaker:
    def health(self, hub):
        return hub.connectors()[0].breaker

    async def opened(self, place, clock, error):
        hub, crm = await place.start(clock=clock, connectors=FRAGILE), place.script()
        crm.answers["all"] = lambda _event: error
        for number in range(10):
            await profile(hub, f"p{number}")
        await crm.called(3)
        await folded(hub)
        return hub, crm

    @pytest.mark.parametrize("error", [TemporaryError("down", retry_after=600), OutcomeUnknown("cut", retry_after=600)])
    async def test_after_failures_in_a_row_the_vendor_is_left_alone_until_a_probe_is_answered(
        self, place, clock, error
    ):
        hub, crm = await self.opened(place, clock, error)
        await clock.advance(29)
        assert len(crm.calls) == 3
        assert self.health(hub) == "open"
        await clock.advance(3)  # the lane's own alarm may be set a moment late
        await crm.called(4)
        await clock.advance(27)
        assert len(crm.calls) == 4
        crm.answers.clear()
        await clock.advance(5)
        await settled(hub)
        assert len(crm.calls) == 10
        assert self.health(hub) == "closed"

    async def test_refusals_are_answers_and_do_not_open_it(self, place, clock):
        hub, crm = await self.opened(place, clock, PermanentError("no"))
        await settled(hub)
        assert len(crm.calls) == 10
        assert self.health(hub) == "closed"

    async def test_triggers_that_are_parked_open_it_so_that_not_all_of_them_are_parked(self, place, clock):
        connectors = {"crm": {**FRAGILE["crm"], "receives": ["trigger"]}}
        hub, crm = await place.start(clock=clock, connectors=connectors), place.script()
        crm.answers["all"] = lambda _event: OutcomeUnknown("timeout")
        for number in range(10):
            await trigger(hub, f"p{number}", "t-1")
        await crm.called(3)
        await folded(hub)
        assert self.health(hub) == "open"
        crm.answers.clear()
        await clock.advance(30)
        await settled(hub)
        states = [each.state for each in await deliveries(hub)]
        assert states == ["parked"] * 3 + ["done"] * 7

    async def test_it_is_one_connectors_own(self, place, clock):
        connectors = {"crm": {**ONLY_PROFILES, **FRAGILE["crm"]}}
        connectors["erp"] = {**connectors["crm"], "plugin": "./erp.py"}
        place.plugin(name="erp.py")
        hub, crm, erp = await place.start(clock=clock, connectors=connectors), place.script(), place.script("./erp.py")
        crm.answers["all"] = lambda _event: TemporaryError("down")
        for number in range(10):
            await profile(hub, f"p{number}")
        await erp.called(10)
        assert [each.breaker for each in hub.connectors()] == ["open", "closed"]


class TestTime:
    async def test_a_call_that_takes_too_long_is_cancelled_and_tried_again(self, place, clock):
        hub, crm = await place.start(clock=clock, connectors={"crm": {"timeout": "10s"}}), place.script()
        crm.hold(("ada", "profile"))
        await profile(hub, "ada")
        await profile(hub, "bob")
        await crm.called(2)
        crm.answers.clear()
        await clock.advance(9.9)
        assert (await delivery(hub, email_key=email("ada"))).state == "in_flight"
        await moved(hub, clock, 1)
        assert (await state(hub)).last_error == "OutcomeUnknown: no answer from the plugin within 10 s"
        await moved(hub, clock, 2)
        found = await delivery(hub, email_key=email("ada"))
        assert found.state == "done"
        assert await attempts(hub, found.id) == ["retried", "delivered"]
        assert not (await remote_of(hub, "ada")).unknown

    async def test_a_trigger_that_takes_too_long_is_parked(self, place, clock):
        hub, crm = await place.start(clock=clock, connectors={"crm": {"timeout": "10s"}}), place.script()
        crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await crm.called(2)
        await clock.advance(11)
        await settled(hub)
        assert [each.state for each in await deliveries(hub, kind="trigger")] == ["parked"]

    async def test_a_call_that_swallows_its_cancellation_is_abandoned(self, place, clock):
        connectors = {"crm": {"timeout": "10s", "pace": {"concurrency": 1}}}
        hub, crm = await place.start(clock=clock, connectors=connectors), place.script()
        gate, cancelled = asyncio.Event(), []

        async def stubborn(_event):
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    cancelled.append(True)
            return Outcome(remote_id="late")

        crm.answers[("ada", "profile")] = stubborn
        await profile(hub, "ada")
        await crm.called(1)
        crm.answers.clear()
        await profile(hub, "bob")
        await clock.advance(12)
        await crm.called(2)
        assert cancelled
        await settled(hub)
        await moved(hub, clock, 2)
        assert crm.to("ada") == [("profile", {"City": "Delft"})] * 2
        gate.set()  # what it says so late counts for nothing
        await settled(hub)
        assert (await remote_of(hub, "ada")).remote_id is None


class TestWhatAPluginGives:
    @pytest.mark.parametrize(
        "nonsense",
        [None, "ok", {"status": "delivered"}, Outcome(remote_id=9001), Outcome(status="fine"),
         Outcome(acknowledged={"City": object()}), Outcome(acknowledged=["City"]), Outcome(remote_id=2**80)],
        ids=repr,
    )  # fmt: skip
    async def test_an_outcome_that_is_none_is_a_fault_of_the_plugin_and_spoils_nothing(self, place, clock, nonsense):
        hub, crm = await place.start(clock=clock), place.script()
        crm.answers[("ada", "profile")] = lambda _event: nonsense
        await profile(hub, "ada")
        await profile(hub, "bob")
        await settled(hub)
        found = await delivery(hub, email_key=email("ada"))
        assert found.state == "pending"
        assert found.last_error.startswith("PluginError: on_profile")
        assert (await state(hub)).last_error == found.last_error
        crm.answers.clear()
        await moved(hub, clock, 2)
        assert {each.state for each in await deliveries(hub)} == {"done"}

    async def test_what_the_vendor_acknowledged_otherwise_becomes_the_base(self, place):
        hub, crm = await place.start(), place.script()
        crm.answers["profile"] = lambda _event: Outcome(remote_id="9001", acknowledged={"City": "DELFT"})
        await profile(hub, "ada", city="Delft", name="Ada")
        await settled(hub)
        remote = await remote_of(hub, "ada")
        assert (remote.remote_id, remote.fields) == ("9001", {"City": "DELFT", "Name": "Ada"})

    async def test_an_unchanged_outcome_is_told_with_its_reason(self, place):
        hub, crm = await place.start(), place.script()
        crm.answers["profile"] = lambda _event: Outcome(status="unchanged", reason="suppressed")
        await profile(hub, "ada")
        await settled(hub)
        assert await reasons(hub, "ada") == ["suppressed"]
        assert (await remote_of(hub, "ada")).email is None


BATCH = """
    @hookimpl
    async def on_profile_batch(self, events, ctx):
        return [await self.each("profile", event, ctx) for event in events]

    @hookimpl
    async def on_consent_batch(self, events, ctx):
        return [await self.each("consent", event, ctx) for event in events]

    @hookimpl
    async def on_trigger_batch(self, events, ctx):
        return [await self.each("trigger", event, ctx) for event in events]

    async def each(self, kind, event, ctx):
        try:
            return await self.act(kind, event, ctx)
        except DeliveryError as problem:
            return problem
"""


class TestHooksThatTakeBatches:
    async def test_they_are_called_for_all_three_kinds(self, place):
        place.plugin(BATCH)
        hub, crm = await place.start(), place.script()
        await profile(hub, "ada")
        await consent(hub, "ada")
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        assert [call[1] for call in crm.calls] == ["profile", "consent", "trigger"]

    async def test_an_error_in_their_answer_counts_as_if_it_were_raised(self, place, clock):
        place.plugin(BATCH)
        hub, crm = await place.start(clock=clock), place.script()
        crm.once("profile", TemporaryError("down", retry_after=60), PermanentError("no"))
        await profile(hub, "ada")
        await settled(hub)
        assert (await delivery(hub)).due_at == clock.time() + 60
        await moved(hub, clock, 60)
        assert (await delivery(hub)).state == "dead"

    async def test_an_answer_of_another_length_is_a_fault_of_the_plugin(self, place, clock):
        place.plugin("    @hookimpl\n    async def on_profile_batch(self, events, ctx):\n        return []\n")
        hub = await place.start(clock=clock)
        await profile(hub, "ada")
        await settled(hub)
        assert "one outcome or error per event" in (await delivery(hub)).last_error
        assert await person_of(hub, "ada") is not None
