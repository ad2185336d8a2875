"""Folding triggers, and what happened at a vendor: once per person and connector, and only where they are mapped."""

from __future__ import annotations

import pytest

from esplanade.model import TriggerTarget
from esplanade.values import Duration

HOUR = 3_600


def mapping(*names, **target):
    return {"triggers": {name: TriggerTarget(**target) for name in names}}


async def triggers(hub, name="webpower"):
    return [each.subject for each in await hub.queue(name) if each.kind == "trigger"]


async def test_a_trigger_goes_where_it_is_mapped(house):
    hub = await house(webpower=mapping("cart"), sparkloop=mapping("welcome"))
    await hub.trigger("cart", data={"cart_id": "C-77"}, language="nl", trigger_id="t-9")
    assert (await triggers(hub, "webpower"), await triggers(hub, "sparkloop")) == (["cart"], [])
    event = (await hub.deliver("webpower"))[-1]
    assert (event.trigger_id, event.data, event.language) == ("t-9", {"cart_id": "C-77"}, "nl")


async def test_a_trigger_for_an_unknown_address_makes_the_person_first(house):
    hub = await house(webpower=mapping("cart"))
    await hub.trigger("cart")
    assert [type(event).__name__ for event in await hub.deliver("webpower")] == ["ProfileEvent", "TriggerEvent"]


async def test_a_trigger_that_nobody_maps_says_so(house):
    hub = await house(webpower=mapping("welcome"), sparkloop={**mapping("cart"), "receives": ["profile"]})
    (event,) = await hub.trigger("cart")
    assert ("not-sent", "", "not-mapped") in await hub.notes(event=event)
    assert await triggers(hub) == await triggers(hub, "sparkloop") == []


async def test_a_star_takes_every_trigger(house):
    hub = await house(webpower=mapping("*"))
    await hub.trigger("cart")
    await hub.trigger("welcome")
    assert await triggers(hub) == ["cart", "welcome"]


# Once, for ever.


async def test_a_trigger_id_counts_once_for_a_person(house):
    hub = await house(webpower=mapping("cart"))
    await hub.trigger("cart", trigger_id="t-9")
    await hub.settle()
    (event,) = await hub.trigger("cart", trigger_id="t-9")
    assert ("not-sent", "webpower", "duplicate") in await hub.notes(event=event)
    assert await hub.settle() == {}


async def test_a_trigger_id_is_its_source_s_its_trigger_s_and_its_person_s(house):
    hub = await house(webpower=mapping("cart", "welcome"))
    await hub.trigger("cart", trigger_id="t-9")
    await hub.trigger("cart", trigger_id="t-9", source="site")
    await hub.trigger("welcome", trigger_id="t-9")
    await hub.trigger("cart", "eve@example.com", trigger_id="t-9")
    assert len(await triggers(hub)) == 4


async def test_an_event_id_stands_in_for_a_trigger_id(house):
    hub = await house(webpower=mapping("cart"))
    await hub.trigger("cart", event_id="e-1")
    await hub.trigger("cart", trigger_id="e-1")
    assert len(await triggers(hub)) == 1


async def test_triggers_without_any_id_each_count(house):
    hub = await house(webpower=mapping("cart"))
    await hub.trigger("cart")
    await hub.trigger("cart")
    assert len(await triggers(hub)) == 2


async def test_a_person_whose_address_changed_gets_no_second_mail(house):
    hub = await house(webpower=mapping("cart"))
    await hub.trigger("cart", "a@old.example", trigger_id="t-9")
    await hub.profile(previous_email="a@old.example")
    await hub.trigger("cart", trigger_id="t-9")
    assert len(await triggers(hub)) == 1


# Expiry.


@pytest.mark.parametrize(
    ("target", "given", "expected"),
    [(None, None, None), (6, None, 6), (None, 2, 2), (6, 2, 2), (6, 9, 6)],
)
async def test_the_earlier_of_two_expiries_counts(house, target, given, expected):
    expires = Duration(target * HOUR) if target else None
    hub = await house(webpower=mapping("cart", expires=expires))
    now = hub.clock.time()
    await hub.trigger("cart", **({"expires_at": now + given * HOUR} if given else {}))
    (waiting,) = [each for each in await hub.queue("webpower") if each.kind == "trigger"]
    assert waiting.expires_at == (expected and now + expected * HOUR)


async def test_an_expiry_counts_from_when_it_happened(house):
    hub = await house(webpower=mapping("cart", expires=Duration(HOUR)))
    (event,) = await hub.trigger("cart", at=hub.clock.time() - 2 * HOUR)
    assert not any(type(each).__name__ == "TriggerEvent" for each in await hub.deliver("webpower"))
    assert ("not-sent", "webpower", "expired") in await hub.notes(event=event)


async def test_a_trigger_without_the_grant_that_it_requires_is_not_sent_and_says_so(house):
    hub = await house(webpower=mapping("cart", requires="newsletter"))
    (event,) = await hub.trigger("cart")
    await hub.settle()
    assert ("not-sent", "webpower", "no-consent") in await hub.notes(event=event)


async def test_consent_is_judged_when_the_trigger_is_sent(house):
    hub = await house(webpower=mapping("cart", requires="newsletter"))
    await hub.profile(consents={"newsletter": "granted"})
    await hub.trigger("cart")
    await hub.consent("denied")
    names = [type(event).__name__ for event in await hub.deliver("webpower")]
    assert "TriggerEvent" not in names


# A source that is a connector too, and what happened at a vendor.


async def test_a_source_that_is_a_connector_gets_its_own_trigger_only_by_name(house):
    hub = await house(cdp={"source": "shop", **mapping("*", "welcome")}, webpower=mapping("cart"))
    await hub.trigger("cart")
    await hub.trigger("welcome")
    await hub.trigger("other", source="site")
    assert await triggers(hub, "cdp") == ["welcome", "other"]


async def test_what_happened_at_a_vendor_goes_to_the_others(house):
    hub = await house(sparkloop=mapping("*"), cdp=mapping("*"))
    event = await hub.happens("sparkloop", "reward_unlocked", data={"reward": "mug"})
    assert (await triggers(hub, "cdp"), await triggers(hub, "sparkloop")) == (["reward_unlocked"], [])
    assert ("accepted", "", None) in await hub.notes(event=event)
    assert (await hub.deliver("cdp"))[-1].data == {"reward": "mug"}


async def test_the_same_happening_counts_once(house):
    hub = await house(sparkloop={}, cdp=mapping("*"))
    await hub.happens("sparkloop", "opened", trigger_id="x-1")
    event = await hub.happens("sparkloop", "opened", trigger_id="x-1")
    assert len(await triggers(hub, "cdp")) == 1
    assert ("not-sent", "cdp", "duplicate") in await hub.notes(event=event)


async def test_what_may_not_come_from_a_vendor_does_not(house):
    hub = await house(sparkloop={"sends": ["profile"]}, cdp=mapping("*"))
    await hub.happens("sparkloop", "opened")
    assert await hub.person() is None


async def test_a_vendor_s_clock_that_runs_ahead_makes_no_trigger_last_longer(house):
    hub = await house(sparkloop={}, cdp=mapping("*", expires=Duration(HOUR)))
    now = hub.clock.time()
    await hub.happens("sparkloop", "opened", at=now + 10 * HOUR)
    (waiting,) = [each for each in await hub.queue("cdp") if each.kind == "trigger"]
    assert waiting.expires_at == now + HOUR


async def rings(hub, times):
    """Webpower and SparkLoop each set off the other's scenario, minute by minute; how many triggers went out of it."""
    many = 0
    for number in range(times):
        sent = await hub.settle()
        for name, events in sent.items():
            for event in events:
                if hasattr(event, "trigger"):
                    many += 1
                    await hub.passes(60)
                    await hub.happens(name, "heard", trigger_id=f"{name}-{number}")
    return many


RING = {"triggers": {"heard": TriggerTarget()}}


@pytest.mark.parametrize("most", [1, 4])
async def test_two_vendors_whose_scenarios_set_off_each_other_are_stopped(house, most):
    hub = await house(webpower=RING, sparkloop=RING, hub={"max_hops": most})
    await hub.happens("webpower", "heard")
    assert await rings(hub, 20) == most
    assert [reason for _, reason in await hub.parked()] == ["loop"]
    assert any(key.startswith("loop:") for key, _ in hub.alerts)
    assert "loop" in {reason for what, _, reason in await hub.notes() if what == "not-sent"}


async def test_what_happens_long_after_something_was_sent_is_a_chain_of_its_own(house):
    hub = await house(webpower=RING, sparkloop=RING, hub={"max_hops": 1})
    await hub.happens("webpower", "heard", trigger_id="first")
    await hub.settle()
    await hub.passes(3_600)
    event = await hub.happens("sparkloop", "heard", trigger_id="second")
    (work,) = await hub.queue("webpower", "pending")
    assert (work.root, work.hops) == (event, 1)
