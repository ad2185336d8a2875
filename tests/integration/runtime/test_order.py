"""Who is called when: order per person, urgency before age, and ten changes that become one call."""

import asyncio

from esplanade.errors import TemporaryError
from esplanade.model import Outcome

from .conftest import consent, folded, moved, person_of, profile, reasons, send, settled, trigger


async def test_the_order_of_a_person_holds_across_kinds_while_others_go_on(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    await consent(hub, "ada")
    await trigger(hub, "ada", "t-1", "cart")
    await profile(hub, "bob")
    await consent(hub, "bob")
    await crm.called(3)
    assert crm.to("ada") == [("profile", {"City": "Delft"})]
    gate.set()
    await settled(hub)
    assert crm.to("ada") == [("profile", {"City": "Delft"}), ("consent", "newsletter granted"), ("trigger", "t-1")]
    assert crm.to("bob") == [("profile", {"City": "Delft"}), ("consent", "newsletter granted")]


async def test_one_person_is_never_called_twice_at_the_same_time(place):
    hub, crm = await place.start(), place.script()
    running = set()

    async def watch(event):
        assert event.email not in running
        running.add(event.email)
        await asyncio.sleep(0)
        running.remove(event.email)
        return Outcome()

    crm.answers["all"] = watch
    for name in ("ada", "bob", "eve"):
        await profile(hub, name)
        await consent(hub, name)
        await consent(hub, name, purpose="service")
        for number in range(4):
            await trigger(hub, name, f"t-{number}")
    await settled(hub)
    assert len(crm.calls) == 3 * 7


async def test_no_more_calls_are_under_way_than_the_connector_allows(place):
    hub, crm = await place.start(connectors={"crm": {"pace": {"concurrency": 3}}}), place.script()
    gate = crm.hold("all")
    for number in range(8):
        await profile(hub, f"p{number}")
    await crm.called(3)
    await folded(hub)
    assert len(crm.calls) == 3
    gate.set()
    await settled(hub)
    assert len(crm.calls) == 8


async def test_triggers_of_a_person_leave_in_the_order_in_which_they_came(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    for number in range(20):
        await trigger(hub, "ada", f"t-{number}")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert [what for kind, what in crm.to("ada") if kind == "trigger"] == [f"t-{number}" for number in range(20)]


async def test_an_opt_out_overtakes_everything_that_waits(place):
    hub, crm = await place.start(connectors={"crm": {"pace": {"concurrency": 1}}}), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    await crm.called(1)
    for number in range(30):
        await profile(hub, f"p{number}", backfill=number % 2 == 0)
        await trigger(hub, f"p{number}", f"t-{number}")
    await consent(hub, "zoe", "denied")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert crm.calls[1] == ("zoe", "consent", "newsletter denied")


async def test_a_trigger_goes_before_live_changes_and_these_before_a_backfill(place):
    hub, crm = await place.start(connectors={"crm": {"pace": {"concurrency": 1}}}), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    await crm.called(1)
    await profile(hub, "old", backfill=True)
    await profile(hub, "live")
    await send(hub, "profile", {"email": "cart", "fields": {"city": "Breda"}}, backfill=True)
    await trigger(hub, "cart", "t-1")
    await folded(hub)
    gate.set()
    await settled(hub)
    # the trigger lifts what waits for the same person before it
    assert [call[:2] for call in crm.calls[1:]] == [
        ("cart", "profile"), ("cart", "trigger"), ("live", "profile"), ("old", "profile"),
    ]  # fmt: skip


async def test_an_opt_out_goes_alone_before_the_earlier_work_of_the_same_person(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada")
    await crm.called(1)
    await consent(hub, "ada", purpose="service")
    await trigger(hub, "ada", "t-1")
    await consent(hub, "ada", "denied")
    await folded(hub)
    assert len(crm.calls) == 1
    gate.set()
    await settled(hub)
    assert crm.to("ada")[1:] == [("consent", "newsletter denied"), ("consent", "service granted"), ("trigger", "t-1")]


async def test_an_opt_out_drops_the_triggers_that_need_the_purpose(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "consent"))
    await consent(hub, "ada")
    await crm.called(2)
    await trigger(hub, "ada", "t-1", "cart")
    await trigger(hub, "ada", "t-2", "order")
    await consent(hub, "ada", "denied")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert crm.to("ada")[2:] == [("consent", "newsletter denied"), ("trigger", "t-2")]
    assert "no-consent" in await reasons(hub, "ada")


async def test_an_opt_out_does_not_wait_for_the_retry_of_earlier_work(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    crm.once(("ada", "profile"), TemporaryError("down", retry_after=3600))
    await profile(hub, "ada")
    await settled(hub)
    await consent(hub, "ada", "denied")
    await settled(hub)
    assert crm.to("ada")[-1] == ("consent", "newsletter denied")


async def test_an_opt_out_said_while_the_grant_is_being_refused_does_not_wait_for_its_retry(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    gate = asyncio.Event()

    async def refuse(event):
        if event.state == "denied":
            return Outcome()
        await gate.wait()
        return TemporaryError("down", retry_after=3600)

    crm.answers["consent"] = refuse
    await consent(hub, "ada")
    await crm.called(2)
    await consent(hub, "ada", "denied")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert crm.to("ada")[1:] == [("consent", "newsletter granted"), ("consent", "newsletter denied")]


async def test_what_comes_after_a_retry_waits_for_it_and_others_do_not(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    crm.once(("ada", "profile"), TemporaryError("down", retry_after=60))
    await profile(hub, "ada")
    await settled(hub)
    await consent(hub, "ada")
    await trigger(hub, "ada", "t-1")
    await profile(hub, "bob")
    await settled(hub)
    assert crm.calls == [("ada", "profile", {"City": "Delft"}), ("bob", "profile", {"City": "Delft"})]
    await moved(hub, clock, 59)
    assert len(crm.calls) == 2
    await moved(hub, clock, 1)
    assert crm.to("ada")[1:] == [
        ("profile", {"City": "Delft"}), ("consent", "newsletter granted"), ("trigger", "t-1"),
    ]  # fmt: skip


async def test_ten_changes_during_a_call_become_one_more_call_with_the_last_state(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada", city="Delft")
    await crm.called(1)
    for number in range(10):
        await profile(hub, "ada", city=f"Town {number}")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert crm.to("ada") == [("profile", {"City": "Delft"}), ("profile", {"City": "Town 9"})]


async def test_changes_that_come_to_nothing_are_not_sent(place):
    hub, crm = await place.start(), place.script()
    gate = crm.hold(("ada", "profile"))
    await profile(hub, "ada", city="Delft")
    await crm.called(1)
    await profile(hub, "ada", city="Breda")
    await profile(hub, "ada", city="Delft")
    await folded(hub)
    gate.set()
    await settled(hub)
    assert len(crm.calls) == 1
    assert (await reasons(hub, "ada"))[-1] == "unchanged"


async def test_the_same_trigger_again_is_one_mail(place):
    hub, crm = await place.start(), place.script()
    for _ in range(3):
        await trigger(hub, "ada", "t-1")
    await settled(hub)
    assert crm.to("ada") == [("profile", {}), ("trigger", "t-1")]


async def test_a_trigger_that_comes_too_late_is_reported_and_not_sent(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    crm.once(("ada", "profile"), TemporaryError("down", retry_after=300))
    await profile(hub, "ada")
    await trigger(hub, "ada", "t-1", "sale")
    await trigger(hub, "ada", "t-2", "order", expires_at=clock.time() + 299)
    await trigger(hub, "ada", "t-3", "order")
    await settled(hub)
    await moved(hub, clock, 300)
    assert crm.to("ada")[2:] == [("trigger", "t-3")]
    assert (await reasons(hub, "ada"))[-2:] == ["expired", "expired"]


async def test_hundreds_of_people_are_each_called_once(place):
    hub, crm = await place.start(connectors={"crm": {"pace": {"concurrency": 50}}}), place.script()
    await send(hub, "profile", *[{"email": f"p{number}", "fields": {"city": "Delft"}} for number in range(300)])
    await settled(hub)
    assert sorted(call[0] for call in crm.calls) == sorted(f"p{number}" for number in range(300))
    assert (await person_of(hub, "p299")).fields["city"].value == "Delft"
