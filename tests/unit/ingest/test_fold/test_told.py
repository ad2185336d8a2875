"""What a call told in a person's name: their news, which says nothing of what the vendor holds."""

from __future__ import annotations

import pytest

from esplanade.model import ConsentTarget

PROOF = {"form": "footer"}
HOUR = 3_600


async def told(hub, ago=0, **more):
    """Webpower's call has told this, so many seconds ago."""
    at = hub.clock.time() - ago
    return await hub.reports("webpower", told=True, confirmed=True, at=at, evidence={"webhook_event": "left"}, **more)


async def known(hub, state, **more):
    """Ada has said so to a source, and every vendor has acknowledged it, an hour ago."""
    await hub.consent(state, **more)
    await hub.settle()
    await hub.passes(HOUR)


async def sent(hub):
    """What goes out to whom: consents by their states, profiles by what changed."""
    out = await hub.settle()
    return {name: [getattr(event, "state", None) or event.changed for event in events] for name, events in out.items()}


async def test_an_opt_out_goes_to_every_vendor_that_holds_a_grant_and_to_the_one_that_called_too(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents={"newsletter": "denied"})
    assert await hub.ledger() == [("granted", "single", "shop"), ("denied", "vendor", "webpower")]
    assert await sent(hub) == {"webpower": ["denied"], "sparkloop": ["denied"]}


async def test_an_opt_out_that_is_told_again_is_an_echo(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents={"newsletter": "denied"})
    await sent(hub)
    again = await told(hub, consents={"newsletter": "denied"})
    assert await hub.notes(event=again) == [("reported", "webpower", "echo")]
    assert await sent(hub) == {}


async def test_an_opt_out_ends_a_request_that_nobody_has_answered(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}}, sparkloop={})
    await hub.consent("granted")
    assert await hub.state() == "pending"
    await told(hub, consents={"newsletter": "denied"})
    assert await hub.state() == "denied"


async def test_an_opt_out_from_before_a_grant_with_evidence_undoes_nothing(house):
    hub = await house()
    await known(hub, "granted", evidence=PROOF)
    event = await told(hub, ago=2 * HOUR, consents={"newsletter": "denied"})
    assert await hub.state() == "granted"
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)
    assert await sent(hub) == {}


@pytest.mark.parametrize(("regrant", "state"), [("confirmed", "granted"), ("reported", "granted"), ("never", "denied")])
async def test_a_grant_is_worth_what_the_vendors_confirmations_are(house, regrant, state):
    hub = await house(webpower={"consents": {"newsletter": ConsentTarget(regrant=regrant)}}, sparkloop={})
    await known(hub, "denied")
    event = await told(hub, consents={"newsletter": "granted"})
    assert await hub.state() == state
    assert (("reported", "webpower", "not-evidenced") in await hub.notes(event=event)) == (state == "denied")


async def test_a_grant_from_before_an_opt_out_lifts_nothing(house):
    hub = await house()
    await known(hub, "denied")
    await told(hub, ago=2 * HOUR, consents={"newsletter": "granted"})
    assert await hub.state() == "denied"


async def test_a_grant_of_somebody_whose_grant_is_known_is_an_echo(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents={"newsletter": "granted"})
    assert await hub.ledger() == [("granted", "single", "shop")]


async def test_what_is_told_leaves_the_base_as_it_is(house):
    hub = await house()
    await known(hub, "granted")
    before = await hub.remote("webpower")
    await told(hub, consents={"newsletter": "denied"}, fields={"order": "sent"})
    after = await hub.remote("webpower")
    assert (after.consents, after.fields) == (before.consents, before.fields)


async def test_fields_are_the_hubs_own_and_go_to_whoever_maps_them(house):
    hub = await house(webpower={}, sparkloop={"fields": {"order": "Order"}})
    await told(hub, fields={"order": "sent"})
    assert await hub.values() == {"order": "sent"}
    assert await sent(hub) == {"sparkloop": [{"Order": "sent"}]}


async def test_a_value_that_was_told_before_is_an_echo_and_an_older_one_is_stale(house):
    hub = await house()
    await told(hub, fields={"order": "sent"})
    again = await told(hub, fields={"order": "sent"})
    assert await hub.notes(event=again) == [("reported", "webpower", "echo")]
    late = await told(hub, ago=HOUR, fields={"order": "paid"})
    assert await hub.notes(event=late) == [("reported", "webpower", "stale")]
    assert await hub.values() == {"order": "sent"}


async def test_what_sends_leaves_out_is_noted_and_not_taken_over(house):
    hub = await house(webpower={"sends": ["trigger"]})
    event = await told(hub, fields={"order": "sent"}, consents={"newsletter": "denied"})
    assert (await hub.notes(event=event)).count(("reported", "webpower", "not-mapped")) == 2
    assert await hub.values() == {}
    assert await hub.state() is None


async def test_a_purpose_that_the_connector_no_longer_has_is_noted(house):
    hub = await house()
    await known(hub, "granted")
    event = await told(hub, consents={"gone": "denied"})
    assert await hub.notes(event=event) == [("reported", "webpower", "not-mapped")]
