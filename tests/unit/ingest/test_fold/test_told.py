"""What a call told in a person's name: their news, which says nothing of what the vendor holds."""

from __future__ import annotations

import pytest

from esplanade.ingest.shapes import WordIn
from esplanade.model import ConsentTarget, Outcome

PROOF = {"form": "footer"}
HOUR = 3_600
DENIED, GRANTED = {"newsletter": "denied"}, {"newsletter": "granted"}


async def told(hub, *, ago=0, shows=None, read_ago=0, contact=None, **word):
    """Webpower has called so many seconds ago, and its contact was read again since; by default as it is known to be."""
    if shows is None:
        remote = await hub.remote("webpower") if await hub.person() is not None else None
        shows = dict(remote.consents) if remote is not None else {}
    now = hub.clock.time()
    word = WordIn(at=now - ago, evidence={"webhook_event": "left"}, **word)
    return await hub.reports(
        "webpower", pulled=True, read_at=now - read_ago, consents=shows, word=word, **(contact or {})
    )


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
    await told(hub, consents=DENIED)
    assert await hub.ledger() == [("granted", "single", "shop"), ("denied", "vendor", "webpower")]
    assert await sent(hub) == {"webpower": ["denied"], "sparkloop": ["denied"]}


async def test_an_opt_out_that_is_told_again_is_an_echo(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents=DENIED)
    await sent(hub)
    again = await told(hub, consents=DENIED)
    assert await hub.notes(event=again) == [("reported", "webpower", "echo")]
    assert await sent(hub) == {}


async def test_an_opt_out_ends_a_request_that_nobody_has_answered(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}}, sparkloop={})
    await hub.consent("granted")
    assert await hub.state() == "pending"
    await told(hub, consents=DENIED)
    assert await hub.state() == "denied"


async def test_an_opt_out_from_before_a_grant_with_evidence_undoes_nothing(house):
    hub = await house()
    await known(hub, "granted", evidence=PROOF)
    event = await told(hub, ago=2 * HOUR, consents=DENIED)
    assert await hub.state() == "granted"
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)
    assert await sent(hub) == {}


@pytest.mark.parametrize(("regrant", "state"), [("confirmed", "granted"), ("reported", "granted"), ("never", "denied")])
async def test_a_grant_is_worth_what_the_vendors_confirmations_are(house, regrant, state):
    hub = await house(webpower={"consents": {"newsletter": ConsentTarget(regrant=regrant)}}, sparkloop={})
    await known(hub, "denied")
    event = await told(hub, consents=GRANTED, shows=GRANTED)
    assert await hub.state() == state
    assert (("reported", "webpower", "not-evidenced") in await hub.notes(event=event)) == (state == "denied")
    assert await sent(hub) == ({"sparkloop": ["granted"]} if state == "granted" else {"webpower": ["denied"]})


async def test_a_grant_from_before_an_opt_out_lifts_nothing(house):
    hub = await house()
    await known(hub, "denied")
    await told(hub, ago=2 * HOUR, consents=GRANTED, shows=GRANTED)
    assert await hub.state() == "denied"


class TestAGrantThatTheVendorOnlyStillHas:
    """The contact shows a grant, and it is not that the person has come back."""

    async def test_it_was_not_told_of_the_opt_out_yet(self, house):
        hub = await house()
        await known(hub, "granted")
        await hub.consent("denied")
        await hub.deliver("sparkloop")  # webpower is down
        await hub.passes(60)
        event = await told(hub, consents=GRANTED, shows=GRANTED)
        assert await hub.state() == "denied"
        assert ("reported", "webpower", "not-evidenced") in await hub.notes(event=event)
        assert await sent(hub) == {"webpower": ["denied"]}

    async def test_it_was_told_of_an_earlier_opt_out_only(self, house):
        hub = await house()
        await known(hub, "denied")
        await hub.consent("denied")  # of which the vendor is not told, since it holds that already
        await hub.passes(60)
        await told(hub, consents=GRANTED, shows=GRANTED)
        assert await hub.state() == "denied"

    async def test_it_was_told_while_the_contact_was_read(self, house):
        hub = await house()
        await known(hub, "granted")
        await hub.consent("denied")
        await hub.passes(5)
        await hub.settle()
        event = await told(hub, consents=GRANTED, shows=GRANTED, read_ago=3)
        assert await hub.state() == "denied"
        assert ("not-sent", "webpower", "stale") in await hub.notes(event=event)

    async def test_nobody_knows_whether_it_was_told(self, house):
        hub = await house()
        await known(hub, "denied")
        await hub.profile(fields={"firstname": "Ada"})
        await hub.deliver("webpower", TimeoutError())
        assert (await hub.remote("webpower")).unknown
        await told(hub, consents=GRANTED, shows=GRANTED)
        assert await hub.state() == "denied"

    async def test_it_is_a_former_contact(self, house):
        hub = await house()
        await hub.consent("granted")
        await hub.deliver("webpower", Outcome(remote_id="1"))
        await hub.passes(HOUR)
        await hub.profile(email="new@example.com", previous_email="ada@example.com")
        await hub.passes(1)
        await hub.deliver("webpower", Outcome(remote_id="2"))
        await hub.consent("denied", email="new@example.com")
        await hub.settle()
        await hub.passes(HOUR)
        await told(hub, consents=GRANTED, shows=GRANTED, contact={"remote_id": "1"})
        assert await hub.state(email="new@example.com") == "denied"

    async def test_a_call_that_comes_again_lifts_no_later_opt_out(self, house):
        hub = await house()
        await known(hub, "denied")
        await told(hub, consents=GRANTED, shows=GRANTED)
        assert await hub.state() == "granted"
        await hub.passes(HOUR)
        await hub.consent("denied")
        await hub.passes(60)
        await told(hub, consents=GRANTED, shows=GRANTED)
        assert await hub.state() == "denied"


async def test_a_grant_is_no_word_of_somebody_whose_reading_was_overtaken_or_is_of_a_former_contact(house):
    hub = await house()
    await hub.profile(fields={"firstname": "Ada"})
    await hub.deliver("webpower", Outcome(remote_id="1"))
    await hub.passes(HOUR)
    await told(hub, consents=GRANTED, shows=GRANTED, read_ago=2 * HOUR)
    assert await hub.state() is None
    await hub.profile(email="new@example.com", previous_email="ada@example.com")
    await hub.passes(1)
    await hub.deliver("webpower", Outcome(remote_id="2"))
    await hub.passes(HOUR)
    event = await told(hub, consents=GRANTED, shows=GRANTED, contact={"remote_id": "1"})
    assert await hub.state(email="new@example.com") is None
    assert ("reported", "webpower", "not-evidenced") in await hub.notes("new@example.com", event=event)


async def test_an_opt_out_is_told_although_the_reading_was_overtaken(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents=DENIED, shows=GRANTED, read_ago=2 * HOUR)
    assert await hub.state() == "denied"
    assert await sent(hub) == {"webpower": ["denied"], "sparkloop": ["denied"]}


async def test_of_a_repeat_only_the_opt_out_counts(house):
    hub = await house()
    await known(hub, "granted", evidence=PROOF)
    said = {"consents": DENIED, "fields": {"order": "paid"}, "event_id": "order-1"}
    await told(hub, **said)
    await hub.profile(fields={"order": "sent"})
    await known(hub, "granted", evidence=PROOF)
    again = await told(hub, **said)
    assert ("reported", "webpower", "duplicate") in await hub.notes(event=again)
    assert await hub.state() == "denied"
    assert await hub.values() == {"order": "sent"}


async def test_a_grant_of_somebody_whose_grant_is_known_is_an_echo(house):
    hub = await house()
    await known(hub, "granted")
    await told(hub, consents=GRANTED)
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
    event = await told(hub, fields={"order": "sent"}, consents=DENIED)
    assert (await hub.notes(event=event)).count(("reported", "webpower", "not-mapped")) == 2
    assert await hub.values() == {}
    assert await hub.state() is None


async def test_a_purpose_that_the_connector_no_longer_has_is_noted(house):
    hub = await house()
    await known(hub, "granted")
    event = await told(hub, consents={"gone": "denied"})
    assert ("reported", "webpower", "not-mapped") in await hub.notes(event=event)
