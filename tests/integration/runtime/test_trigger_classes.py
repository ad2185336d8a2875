"""What is done after a trigger of which nobody knows whether it was sent: never again, asked for, or simply repeated."""

import asyncio
import shutil

import pytest

from esplanade.errors import OutcomeUnknown, TemporaryError, UnreadableAnswer
from esplanade.model import Outcome

from .conftest import (
    SINGLE,
    Place,
    consent,
    deliveries,
    folded,
    moved,
    person_of,
    profile,
    reasons,
    settled,
    state,
    trigger,
)

TIMEOUT_S = 10.0
UNSTOPPABLE = {"breaker": {"failures": 1000}, "timeout": "10s", "retry": {"base": "1s", "cap": "1s"}}
WAS_SENT = """
    sent = []
    asked = []
    said = []

    async def was_sent(self, event, ctx):
        Crm.asked.append(event.trigger_id)
        answer = Crm.said.pop(0) if Crm.said else event.trigger_id in Crm.sent
        if callable(answer):
            answer = await answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer
"""
CUT = OutcomeUnknown("127.0.0.1: the connection was cut")


def mails(crm):
    """Who was sent what by which call, in order."""
    return [(name, what) for name, kind, what in crm.calls if kind == "trigger"]


def cut_after_acting(crm):
    """Let the vendor send each trigger once, and cut the connection after it."""

    def act(event):
        if event.trigger_id in crm.plugin.sent:
            return Outcome()
        crm.plugin.sent.append(event.trigger_id)
        return CUT

    crm.answers["trigger"] = act


async def the_trigger(hub):
    (found,) = await deliveries(hub, kind="trigger")
    return found


class House:
    """One place after the other, each as a kill has left the one before."""

    def __init__(self, place, clock, repeat):
        self.place, self.clock, self._repeat = place, clock, repeat
        self._write(place)

    def _write(self, place):
        body = SINGLE + (WAS_SENT if self._repeat == "check" else "")
        place.plugin(body, attributes=f"trigger_repeat = {self._repeat!r}")

    async def start(self, **crm):
        hub = await self.place.start(clock=self.clock, connectors={"crm": {**UNSTOPPABLE, **crm}})
        return hub, self.place.script()

    async def killed(self):
        """Start a hub on what a hub that is killed now leaves on the disk."""
        folder = self.place.path / "after"
        folder.mkdir()
        for name in ("hub.db", "hub.db-wal", "connectors.yaml"):
            shutil.copy(self.place.path / name, folder / name)
        before, self.place = self.place, Place(folder)
        self._write(self.place)
        script = self.place.script()
        if self._repeat == "check":
            script.plugin.sent += before.script().plugin.sent
        hub = await self.place.start(clock=self.clock, write=False)
        before.hubs.append(hub)  # the fixture stops it
        return hub, script


@pytest.fixture
def house(place, clock):
    return lambda repeat: House(place, clock, repeat)


class TestNever:
    @pytest.mark.parametrize("error", [CUT, UnreadableAnswer("no JSON"), KeyError("a bug")], ids=repr)
    async def test_it_is_kept_for_a_person_and_never_sent_again(self, house, clock, error):
        hub, crm = await house("never").start()
        crm.once("trigger", error)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        found = await the_trigger(hub)
        assert (found.state, found.reason, found.attempts) == ("parked", "outcome-unknown", 1)
        for _ in range(5):
            await moved(hub, clock, 60)
        assert mails(crm) == [("ada", "t-1")]
        assert await reasons(hub, "ada") == ["outcome-unknown"]

    async def test_what_was_not_acted_on_is_sent_again(self, house, clock):
        hub, crm = await house("never").start()
        crm.once("trigger", TemporaryError("refused"))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 1)
        assert mails(crm) == [("ada", "t-1")] * 2
        assert (await the_trigger(hub)).state == "done"

    async def test_one_that_was_under_way_when_the_hub_was_killed_is_kept_for_a_person(self, house, clock):
        place = house("never")
        hub, crm = await place.start()
        gate = crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await trigger(hub, "ada", "t-2")
        await crm.called(2)
        again, after = await place.killed()
        await settled(again)
        first, second = await deliveries(again, kind="trigger")
        assert (first.state, first.reason, first.attempts) == ("parked", "outcome-unknown", 1)
        assert first.last_error == "the hub stopped while this was being sent"
        assert second.state == "done"
        assert mails(after) == [("ada", "t-2")]
        assert "outcome-unknown" in await reasons(again, "ada")
        gate.set()

    async def test_those_that_waited_for_their_turn_when_it_was_killed_are_sent_once(self, house):
        place = house("never")
        hub, crm = await place.start(pace={"concurrency": 1})
        gate = crm.hold("trigger")
        for name in ("ada", "bob", "eve", "zoe"):
            await trigger(hub, name, f"t-{name}")
        await crm.called(2)
        await folded(hub)
        again, after = await place.killed()
        await settled(again)
        (under_way,) = mails(crm)
        states = {each.event_id: each.state for each in await deliveries(again, kind="trigger")}
        assert sorted(states.values()) == ["done", "done", "done", "parked"]
        assert sorted([*mails(after), under_way]) == [(name, f"t-{name}") for name in ("ada", "bob", "eve", "zoe")]
        gate.set()

    async def test_state_that_was_under_way_is_sent_again(self, house):
        place = house("never")
        hub, crm = await place.start()
        gate = crm.hold("profile")
        await profile(hub, "ada")
        await crm.called(1)
        again, after = await place.killed()
        await settled(again)
        assert after.calls == [("ada", "profile", {"City": "Delft"})]
        gate.set()


class TestCheck:
    async def cut(self, place):
        """One trigger whose call was cut after the vendor had acted."""
        hub, crm = await place.start()
        cut_after_acting(crm)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        return hub, crm

    async def test_it_is_asked_for_after_the_time_that_a_call_may_take_and_not_sent_twice(self, house, clock):
        hub, crm = await self.cut(house("check"))
        await moved(hub, clock, TIMEOUT_S - 0.5)
        assert crm.plugin.asked == []
        assert (await the_trigger(hub)).state == "pending"
        await moved(hub, clock, 0.5)
        assert crm.plugin.asked == ["t-1"]
        found = await the_trigger(hub)
        assert (found.state, found.outcome, found.attempts) == ("done", "delivered", 2)
        assert mails(crm) == [("ada", "t-1")]

    async def test_where_the_vendor_says_that_it_was_not_sent_it_is_sent(self, house, clock):
        hub, crm = await house("check").start()
        crm.once("trigger", CUT)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, TIMEOUT_S)
        assert (crm.plugin.asked, mails(crm)) == (["t-1"], [("ada", "t-1")] * 2)
        assert (await the_trigger(hub)).state == "done"

    async def test_a_vendor_that_acted_and_gave_an_answer_that_nobody_can_read_is_asked(self, house, clock):
        hub, crm = await house("check").start()
        crm.once("trigger", UnreadableAnswer("no JSON"))
        crm.plugin.said.append(True)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, TIMEOUT_S)
        assert (crm.plugin.asked, mails(crm)) == (["t-1"], [("ada", "t-1")])

    async def test_what_was_not_acted_on_is_not_asked_for(self, house, clock):
        hub, crm = await house("check").start()
        crm.once("trigger", TemporaryError("refused"))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 1)
        assert (crm.plugin.asked, mails(crm)) == ([], [("ada", "t-1")] * 2)

    async def test_once_in_doubt_it_is_asked_for_before_each_further_call(self, house, clock):
        hub, crm = await house("check").start()
        crm.once("trigger", CUT, TemporaryError("refused"), CUT)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        for seconds in (TIMEOUT_S, 1, TIMEOUT_S):
            await moved(hub, clock, seconds)
        assert crm.plugin.asked == ["t-1"] * 3
        assert mails(crm) == [("ada", "t-1")] * 4
        assert (await the_trigger(hub)).state == "done"

    async def test_a_vendor_that_gives_no_answer_is_asked_again_and_nothing_is_sent_meanwhile(self, house, clock):
        hub, crm = await self.cut(house("check"))
        crm.plugin.said += [TemporaryError("down")] * 3
        await moved(hub, clock, TIMEOUT_S)
        for _ in range(3):
            await moved(hub, clock, 1)
        assert crm.plugin.asked == ["t-1"] * 4
        assert mails(crm) == [("ada", "t-1")]
        assert (await the_trigger(hub)).state == "done"

    async def test_one_of_which_the_vendor_cannot_tell_is_kept_for_a_person(self, house, clock):
        hub, crm = await self.cut(house("check"))
        crm.plugin.said += [OutcomeUnknown("its log goes back only an hour")] * 9
        await moved(hub, clock, TIMEOUT_S)
        found = await the_trigger(hub)
        assert (found.state, found.reason) == ("parked", "outcome-unknown")
        assert crm.plugin.asked == ["t-1"]

    async def test_a_look_up_that_takes_too_long_is_given_up_and_nothing_is_sent(self, house, clock):
        hub, crm = await self.cut(house("check"))
        asked = asyncio.Event()

        async def hangs():
            asked.set()
            await asyncio.Event().wait()

        crm.plugin.said.append(hangs)
        await clock.advance(TIMEOUT_S)
        async with asyncio.timeout(10):
            await asked.wait()
        await moved(hub, clock, TIMEOUT_S + 1)
        found = await the_trigger(hub)
        assert (found.state, found.attempts) == ("pending", 2)
        assert found.last_error == "OutcomeUnknown: no answer from the plugin within 10 s"
        await moved(hub, clock, TIMEOUT_S)
        assert (crm.plugin.asked, mails(crm)) == (["t-1"] * 2, [("ada", "t-1")])
        assert (await the_trigger(hub)).state == "done"

    async def test_the_person_s_later_work_waits_for_the_answer_and_others_do_not(self, house, clock):
        hub, crm = await self.cut(house("check"))
        await trigger(hub, "ada", "t-2")
        await profile(hub, "bob")
        await settled(hub)
        assert mails(crm) == [("ada", "t-1")]
        assert crm.to("bob") == [("profile", {"City": "Delft"})]
        crm.answers.clear()
        await moved(hub, clock, TIMEOUT_S)
        assert mails(crm) == [("ada", "t-1"), ("ada", "t-2")]

    async def test_one_that_nobody_wants_any_more_is_neither_asked_for_nor_sent(self, house, clock):
        hub, crm = await house("check").start()
        await consent(hub, "ada")
        await settled(hub)
        crm.once("trigger", CUT)
        await trigger(hub, "ada", "t-1", "cart")
        await settled(hub)
        await consent(hub, "ada", "denied")
        await moved(hub, clock, TIMEOUT_S)
        assert (crm.plugin.asked, mails(crm)) == ([], [("ada", "t-1")])
        assert "no-consent" in await reasons(hub, "ada")

    @pytest.mark.parametrize("was_sent", [True, False])
    async def test_one_that_was_under_way_when_the_hub_was_killed_is_asked_for(self, house, clock, was_sent):
        place = house("check")
        hub, crm = await place.start()
        gate = crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await crm.called(2)
        if was_sent:
            crm.plugin.sent.append("t-1")
        again, after = await place.killed()
        await settled(again)
        await moved(again, clock, TIMEOUT_S - 0.5)
        assert (after.plugin.asked, mails(after)) == ([], [])
        await moved(again, clock, 0.5)
        assert after.plugin.asked == ["t-1"]
        assert mails(after) == ([] if was_sent else [("ada", "t-1")])
        assert (await the_trigger(again)).state == "done"
        gate.set()


class TestSafe:
    @pytest.mark.parametrize("error", [CUT, KeyError("a bug"), TemporaryError("refused")], ids=repr)
    async def test_it_is_sent_again(self, house, clock, error):
        hub, crm = await house("safe").start()
        crm.once("trigger", error)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 1)
        assert mails(crm) == [("ada", "t-1")] * 2
        assert (await the_trigger(hub)).state == "done"

    async def test_each_time_it_is_the_same_trigger_so_that_the_vendor_can_tell(self, house, clock):
        hub, crm = await house("safe").start()
        crm.once("trigger", CUT, CUT)
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        for _ in range(2):
            await moved(hub, clock, 1)
        first, *others = [event for event in crm.events if hasattr(event, "trigger_id")]
        assert others == [first, first]

    async def test_where_the_vendor_has_surely_acted_it_is_kept_for_a_person(self, house, clock):
        hub, crm = await house("safe").start()
        crm.once("trigger", UnreadableAnswer("no JSON"))
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await moved(hub, clock, 60)
        assert mails(crm) == [("ada", "t-1")]
        assert (await the_trigger(hub)).reason == "outcome-unknown"

    async def test_one_that_was_under_way_when_the_hub_was_killed_is_sent_again_at_once(self, house):
        place = house("safe")
        hub, crm = await place.start()
        gate = crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await crm.called(2)
        again, after = await place.killed()
        await settled(again)
        assert mails(after) == [("ada", "t-1")]
        found = await the_trigger(again)
        assert (found.state, found.attempts) == ("done", 2)
        gate.set()


@pytest.mark.parametrize("repeat", ["never", "check", "safe"])
async def test_whatever_the_class_what_was_claimed_and_has_ended_is_not_touched_by_a_kill(house, repeat):
    place = house(repeat)
    hub, _ = await place.start()
    await trigger(hub, "ada", "t-1")
    await settled(hub)
    again, after = await place.killed()
    await settled(again)
    assert mails(after) == []
    assert (await the_trigger(again)).state == "done"
    assert (await state(again)).last_error is None
    assert await person_of(again, "ada") is not None
