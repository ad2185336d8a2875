"""Folding what vendors report about consent: an opt-out always counts, a vendor's grant as far as its word is worth."""

from __future__ import annotations

import pytest

from esplanade.errors import OutcomeUnknown
from esplanade.model import ConsentTarget, Outcome

PROOF = {"form": "footer"}
WINDOW, DAY = 600, 86_400
ASKED = Outcome(status="pending")


def trusting(regrant):
    return {"consents": {"newsletter": ConsentTarget(regrant=regrant)}}


async def told(hub, state, **more):
    """Ada has said so to a source, and every vendor has acknowledged it."""
    await hub.consent(state, **more)
    await hub.settle()
    await hub.passes(DAY)


async def consents(hub):
    """What goes out to whom."""
    sent = await hub.settle()
    said = {name: [event.state for event in events if hasattr(event, "purpose")] for name, events in sent.items()}
    return {name: states for name, states in said.items() if states}


# A contact that the hub did not know.


async def test_a_vendor_that_was_never_told_of_somebody_hears_of_their_opt_out_once_it_has_them(house):
    hub = await house(sparkloop={"requires": "newsletter"})
    await told(hub, "denied")
    await hub.reports("sparkloop", fields={})
    assert await consents(hub) == {"sparkloop": ["denied"]}
    await hub.reports("sparkloop", fields={})
    assert await consents(hub) == {}


async def test_a_contact_that_is_made_anew_after_its_deletion_hears_of_the_opt_out_again(house):
    hub = await house()
    await told(hub, "denied")
    await hub.reports("webpower", deleted=True)
    assert await consents(hub) == {}, "there is nobody to tell"
    await hub.reports("webpower", remote_id="another")
    assert await consents(hub) == {"webpower": ["denied"]}


# Grants.


async def test_a_subscription_at_a_vendor_counts_where_nothing_was_recorded(house):
    hub = await house()
    await hub.reports("webpower", consents={"newsletter": "granted"})
    assert await hub.ledger() == [("granted", "vendor", "webpower")]
    assert await consents(hub) == {"sparkloop": ["granted"]}


@pytest.mark.parametrize(
    ("regrant", "confirmed", "holds"),
    [
        ("confirmed", True, "granted"),
        ("confirmed", False, "denied"),
        ("reported", False, "granted"),
        ("reported", True, "granted"),
        ("never", True, "denied"),
        ("never", False, "denied"),
    ],
)
async def test_over_a_denial_a_vendor_s_grant_is_worth_what_the_operator_said(house, regrant, confirmed, holds):
    hub = await house(webpower=trusting(regrant))
    await told(hub, "denied")
    event = await hub.reports("webpower", consents={"newsletter": "granted"}, confirmed=confirmed)
    assert await hub.state() == holds
    if holds == "denied":
        assert ("reported", "webpower", "not-evidenced") in await hub.notes(event=event)
        assert await consents(hub) == {"webpower": ["denied"]}


async def test_a_confirmation_from_before_the_denial_lifts_nothing(house):
    hub = await house(webpower=trusting("confirmed"))
    await told(hub, "denied")
    await hub.reports("webpower", consents={"newsletter": "granted"}, confirmed=True, at=hub.clock.time() - 2 * DAY)
    assert await hub.state() == "denied"


async def test_a_vendor_that_was_never_told_of_the_denial_lifts_nothing_by_reporting(house):
    hub = await house(webpower=trusting("reported"), sparkloop={})
    await hub.consent("denied")
    await hub.deliver("sparkloop")
    await hub.passes(DAY)
    await hub.reports("webpower", consents={"newsletter": "granted"}, pulled=True)
    assert await hub.state() == "denied"
    assert await consents(hub) == {"webpower": ["denied"]}


async def test_our_own_grant_come_back_is_an_echo(house):
    hub = await house(webpower={})
    await hub.consent("granted", evidence=PROOF)
    land = await hub.claim("webpower")
    await land()
    land = await hub.claim("webpower")
    event = await hub.reports("webpower", consents={"newsletter": "granted"})
    await land()
    again = await hub.reports("webpower", consents={"newsletter": "granted"})
    for each in (event, again):
        assert await hub.notes(event=each) == [("reported", "webpower", "echo")]
    assert len(await hub.ledger()) == 1


# Opt-outs.


async def test_an_opt_out_at_a_vendor_goes_to_the_others_at_once(house):
    hub = await house()
    await told(hub, "granted", evidence=PROOF)
    await hub.reports("webpower", consents={"newsletter": "denied"})
    assert await hub.state() == "denied"
    assert [(each.urgency, each.subject) for each in await hub.queue("sparkloop", "pending")] == [(0, "newsletter")]
    assert await consents(hub) == {"sparkloop": ["denied"]}


@pytest.mark.parametrize("clock", [True, False])
async def test_an_opt_out_within_the_echo_window_counts(house, clock):
    hub = await house(webpower={})
    await hub.consent("denied", at=1_000)
    await hub.settle()
    await hub.consent("granted", evidence=PROOF)
    await hub.settle()
    await hub.reports("webpower", consents={"newsletter": "denied"}, **({"at": hub.clock.time()} if clock else {}))
    assert await hub.state() == "denied"


async def test_an_opt_out_counts_by_its_own_clock_though_the_vendor_was_not_told_of_the_grant_yet(house):
    hub = await house(webpower={}, sparkloop={})
    await told(hub, "denied")
    await hub.consent("granted", evidence=PROOF)
    await hub.passes(1)
    await hub.reports("webpower", consents={"newsletter": "denied"}, at=hub.clock.time())
    assert await hub.state() == "denied"
    assert await consents(hub) == {}


async def test_a_vendor_that_still_holds_the_old_denial_says_nothing_new(house):
    hub = await house(webpower={})
    await told(hub, "denied")
    await hub.consent("granted", evidence=PROOF)
    await hub.reports("webpower", consents={"newsletter": "denied"})
    assert await hub.state() == "granted"
    assert await consents(hub) == {"webpower": ["granted"]}


async def test_an_opt_out_older_than_proof_changes_nothing_and_the_vendor_is_told(house):
    hub = await house(webpower={})
    await told(hub, "granted", evidence=PROOF)
    event = await hub.reports("webpower", consents={"newsletter": "denied"}, at=hub.clock.time() - 2 * DAY)
    assert await hub.state() == "granted"
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)
    assert await consents(hub) == {"webpower": ["granted"]}


async def test_an_opt_out_older_than_a_grant_without_proof_counts(house):
    hub = await house(webpower={})
    await told(hub, "granted")
    await hub.reports("webpower", consents={"newsletter": "denied"}, at=hub.clock.time() - 2 * DAY)
    assert await hub.state() == "denied"


async def test_absent_from_where_the_vendor_held_the_person_is_an_opt_out(house):
    hub = await house()
    await told(hub, "granted", evidence=PROOF)
    await hub.reports("webpower", consents={"newsletter": "absent"}, pulled=True)
    assert await hub.state() == "denied"
    person = await hub.person()
    assert person.consents["newsletter"].evidence["how"] == "left"
    assert await consents(hub) == {"sparkloop": ["denied"]}


@pytest.mark.parametrize("said", ["denied", None])
async def test_absent_from_where_the_vendor_never_held_the_person_is_unknown(house, said):
    hub = await house(webpower={})
    await (told(hub, said) if said else hub.profile())
    event = await hub.reports("webpower", consents={"newsletter": "absent"})
    assert await hub.state() == said
    assert await hub.notes(event=event) == [("reported", "webpower", "echo")]


# Double opt-in.


@pytest.fixture
async def asked(house, asks):
    """Ada was asked to confirm by webpower; sparkloop waits to be told."""
    hub = await house(webpower={"consents": {"newsletter": asks}}, sparkloop={})
    await hub.consent("granted")
    await hub.deliver("webpower", ASKED)
    await hub.deliver("sparkloop")
    await hub.passes(60)
    return hub


@pytest.mark.parametrize("confirmed", [True, False])
async def test_present_where_absent_when_asked_is_the_confirmation(asked, confirmed):
    await asked.reports("webpower", consents={"newsletter": "granted"}, confirmed=confirmed, evidence={"click": "c-1"})
    standing = (await asked.person()).consents["newsletter"]
    assert (standing.state, standing.method, standing.evidence["click"]) == ("granted", "double", "c-1")
    assert await consents(asked) == {"sparkloop": ["granted"]}
    assert await asked.store.read(lambda reader: reader.pending_people("newsletter")) == []


@pytest.mark.parametrize("held", ["pending", "absent"])
async def test_a_vendor_that_still_waits_for_the_person_says_nothing_new(asked, held):
    event = await asked.reports("webpower", consents={"newsletter": held})
    assert await asked.state() == "pending"
    assert await asked.notes(event=event) == [("reported", "webpower", "echo")]


async def test_a_person_who_declines_is_denied(asked):
    await asked.reports("webpower", consents={"newsletter": "denied"})
    assert await asked.state() == "denied"
    assert await consents(asked) == {"sparkloop": ["denied"]}


async def test_a_confirmation_over_a_denial_grants(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}})
    await told(hub, "denied")
    await hub.consent("granted", evidence=PROOF)
    await hub.deliver("webpower", ASKED)
    await hub.passes(60)
    await hub.reports("webpower", consents={"newsletter": "granted"})
    assert await hub.state() == "granted"


async def test_a_vendor_that_asked_of_itself_is_not_asked_to_ask_again(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}})
    await hub.reports("webpower", consents={"newsletter": "pending"})
    await hub.reports("webpower", consents={"newsletter": "granted"})
    assert await hub.state() == "granted"
    assert await consents(hub) == {}


async def test_a_subscription_that_was_there_when_the_vendor_was_asked_is_no_confirmation(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}})
    await hub.consent("granted")
    await hub.reports("webpower", consents={"newsletter": "granted"}, at=hub.clock.time())
    for _ in range(2):
        await hub.deliver("webpower", Outcome(status="pending"))
    await hub.passes(86_400)
    await hub.reports("webpower", consents={"newsletter": "granted"}, pulled=True)
    assert await hub.state() == "pending"


async def test_an_opt_out_counts_where_nobody_knows_whether_the_vendor_took_the_grant(house):
    webpower = await house(webpower={})
    await webpower.profile(fields={"firstname": "Ada"})
    await webpower.consent("denied")
    await webpower.settle()
    await webpower.consent("granted", evidence={"form": "footer"})
    await webpower.passes(1)
    await webpower.deliver("webpower", OutcomeUnknown("no answer"))
    await webpower.passes(3_600)
    await webpower.reports("webpower", consents={"newsletter": "denied"})
    assert await webpower.state() == "denied"


async def test_the_old_denial_is_no_news_while_a_later_grant_was_not_sent(house):
    webpower = await house(webpower={})
    await told(webpower, "granted", evidence=PROOF)
    await webpower.reports("webpower", consents={"newsletter": "denied"})
    await webpower.profile(fields={"firstname": "Ada"})
    await webpower.passes(1)
    await webpower.deliver("webpower", OutcomeUnknown("no answer"))
    await webpower.consent("granted", evidence={"form": "footer"})
    await webpower.passes(1)
    await webpower.reports("webpower", consents={"newsletter": "denied"})
    assert await webpower.state() == "granted"
