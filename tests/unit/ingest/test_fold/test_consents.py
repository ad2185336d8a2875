"""Folding consents: the law, double opt-in, imports, and who is told."""

from __future__ import annotations

import pytest

from esplanade.model import Outcome

PROOF = {"form": "footer"}
DAY = 86_400
ASKED = Outcome(status="pending")


@pytest.fixture
async def asking(house, asks):
    """webpower has each newsletter sign-up confirmed; sparkloop is told of sign-ups."""
    return await house(webpower={"consents": {"newsletter": asks}}, sparkloop={})


async def denied(hub):
    """Ada said no a day ago, and everybody knows."""
    await hub.consent("denied", evidence={"page": "unsubscribe"})
    await hub.settle()
    await hub.passes(DAY)


# The law, as sources meet it.


async def test_a_consent_for_an_unknown_address_makes_the_person(house):
    hub = await house()
    await hub.consent("granted", evidence=PROOF, method="single")
    assert await hub.ledger() == [("granted", "single", "shop")]
    assert await hub.waits("webpower") == ["profile", ("consent", "newsletter")]


async def test_an_opt_out_overtakes_everything(house):
    hub = await house(webpower={})
    await hub.profile("eve@example.com")
    await hub.trigger("welcome", "eve@example.com")
    await hub.profile(consents={"newsletter": "granted"})
    await hub.consent("denied")
    assert (await hub.deliver("webpower"))[0].state == "denied"


async def test_the_last_word_alone_is_sent(house):
    hub = await house(webpower={})
    await hub.consent("granted")
    await hub.passes(1)
    await hub.consent("denied")
    events = [event.state for event in await hub.deliver("webpower") if hasattr(event, "purpose")]
    assert events == ["denied"]


async def test_proof_said_later_lifts_a_denial(house):
    hub = await house(webpower={})
    await denied(hub)
    await hub.consent("granted", evidence=PROOF)
    assert await hub.state() == "granted"
    assert [event.state for event in await hub.deliver("webpower")] == ["granted"]


async def test_a_grant_without_evidence_lifts_nothing(house):
    hub = await house(webpower={})
    await denied(hub)
    (event,) = await hub.consent("granted")
    assert await hub.state() == "denied"
    assert ("not-sent", "", "not-evidenced") in await hub.notes(event=event)
    assert await hub.deliver("webpower") == []


async def test_proof_from_before_a_denial_lifts_nothing(house):
    hub = await house(webpower={})
    await hub.consent("denied", at=2_000)
    (event,) = await hub.consent("granted", evidence=PROOF, at=1_000)
    assert await hub.state() == "denied"
    assert [reason for what, _, reason in await hub.notes(event=event) if what == "not-sent"] == ["stale"]


async def test_a_consent_in_a_profile_lifts_nothing(house):
    hub = await house(webpower={})
    await denied(hub)
    (event,) = await hub.profile(consents={"newsletter": "granted"})
    assert await hub.state() == "denied"
    assert ("not-sent", "", "not-evidenced") in await hub.notes(event=event)


async def test_a_late_denial_from_before_a_proven_grant_changes_nothing(house):
    hub = await house(webpower={})
    await hub.consent("granted", evidence=PROOF, at=2_000)
    await hub.settle()
    (event,) = await hub.consent("denied", at=1_000)
    assert await hub.state() == "granted"
    assert ("not-sent", "", "unchanged") in await hub.notes(event=event)
    assert await hub.deliver("webpower") == []


async def test_a_late_denial_from_before_an_unproven_grant_counts(house):
    hub = await house(webpower={})
    await hub.profile(consents={"newsletter": "granted"}, at=2_000)
    await hub.consent("denied", at=1_000)
    assert await hub.state() == "denied"


@pytest.mark.parametrize("state", ["granted", "denied"])
async def test_the_same_word_again_is_sent_to_nobody_and_says_so(house, state):
    hub = await house()
    await hub.consent(state)
    await hub.settle()
    (event,) = await hub.consent(state)
    assert await hub.settle() == {}
    reasons = [reason for what, _, reason in await hub.notes(event=event) if what == "not-sent"]
    assert set(reasons) == {"unchanged"}


async def test_purposes_never_mix(house):
    hub = await house(webpower={})
    await hub.consent("granted", purpose="newsletter")
    await hub.consent("denied", purpose="service")
    assert (await hub.state("newsletter"), await hub.state("service")) == ("granted", "denied")
    assert ("consent", "service") not in await hub.waits("webpower")


async def test_proof_after_a_grant_is_kept_in_the_ledger(house):
    hub = await house(webpower={})
    await hub.consent("granted")
    await hub.consent("granted")
    await hub.passes(1)
    await hub.consent("granted", evidence=PROOF, method="single")
    assert len(await hub.ledger()) == 2


@pytest.mark.parametrize(("first", "then"), [("granted", "denied"), ("denied", "granted")])
async def test_a_change_back_while_the_call_is_in_flight_is_not_lost(house, first, then):
    hub = await house(webpower={})
    await hub.consent(first, evidence=PROOF)
    await hub.settle()
    await hub.consent(then, evidence=PROOF)
    land = await hub.claim("webpower")
    await hub.passes(1)
    await hub.consent(first, evidence=PROOF)
    assert [event.state for event in await land()] == [then]
    assert [event.state for event in await hub.deliver("webpower")] == [first]
    assert (await hub.remote("webpower")).consents == {"newsletter": first}


# Imports.


async def test_an_import_over_nothing_counts(house):
    hub = await house(webpower={})
    await hub.profile(consents={"newsletter": "granted"}, imported=True, source="import")
    assert await hub.ledger() == [("granted", "import", "import")]


async def test_an_import_asks_nobody_to_confirm(asking):
    await asking.profile(consents={"newsletter": "granted"}, imported=True)
    assert await asking.state() == "granted"


async def test_an_import_lifts_no_denial(house):
    hub = await house(webpower={})
    await denied(hub)
    (event,) = await hub.profile(consents={"newsletter": "granted"}, imported=True)
    assert await hub.state() == "denied"
    assert ("not-sent", "", "not-evidenced") in await hub.notes(event=event)
    assert await hub.deliver("webpower") == []


async def test_an_opt_out_in_an_import_counts(house):
    hub = await house(webpower={})
    await hub.consent("granted")
    await hub.passes(1)
    await hub.profile(consents={"newsletter": "denied"}, imported=True)
    assert await hub.state() == "denied"


async def test_an_imported_grant_answers_no_request(asking):
    await asking.consent("granted")
    await asking.settle()
    await asking.deliver("webpower", ASKED)
    (event,) = await asking.profile(consents={"newsletter": "granted"}, imported=True)
    assert await asking.state() == "pending"
    assert ("not-sent", "", "not-evidenced") in await asking.notes(event=event)
    assert await asking.settle() == {}


# Double opt-in.


async def test_a_plain_grant_asks_the_person_first(asking):
    (event,) = await asking.consent("granted")
    assert await asking.state() == "pending"
    sent = await asking.settle()
    assert [each.state for each in sent["webpower"] if hasattr(each, "purpose")] == ["pending"]
    assert not any(hasattr(each, "purpose") for each in sent["sparkloop"])
    assert ("not-sent", "sparkloop", "no-consent") in await asking.notes(event=event)
    people = await asking.store.read(lambda reader: reader.pending_people("newsletter"))
    assert people == [(await asking.person()).id]


@pytest.mark.parametrize("evidence", [{}, PROOF])
async def test_nobody_is_asked_again_while_a_request_waits(asking, evidence):
    await asking.consent("granted")
    await asking.deliver("webpower", ASKED)
    await asking.passes(DAY)
    await asking.consent("granted", evidence=evidence)
    assert await asking.state() == "pending"
    assert await asking.deliver("webpower", ASKED) == []


async def test_a_proven_request_outlives_a_denial_that_comes_late(asking):
    await asking.consent("granted", at=1_000)
    await asking.consent("granted", evidence=PROOF, at=3_000)
    await asking.consent("denied", at=2_000)
    assert await asking.state() == "pending"
    assert (await asking.person()).consents["newsletter"].under == "denied"


async def test_a_new_grant_asks_anew_once_the_request_has_expired(asking):
    await asking.consent("granted")
    await asking.deliver("webpower", ASKED)
    await asking.passes(31 * DAY)
    await asking.consent("granted")
    assert [event.state for event in await asking.deliver("webpower", ASKED)] == ["pending"]


async def test_a_request_is_open_from_when_it_was_made_however_long_ago_the_person_said_so(asking):
    await asking.consent("granted", at=asking.clock.time() - 60 * DAY)
    await asking.deliver("webpower", ASKED)
    await asking.consent("granted", at=asking.clock.time() - 50 * DAY)
    assert await asking.deliver("webpower", ASKED) == []


async def test_a_new_grant_asks_anew_though_the_expired_request_was_said_later(asking):
    await asking.consent("denied", at=1_000)
    await asking.consent("granted", evidence=PROOF, at=3_000)
    await asking.deliver("webpower", ASKED)
    await asking.passes(31 * DAY)
    await asking.consent("granted", evidence=PROOF, at=2_000)
    assert [event.state for event in await asking.deliver("webpower", ASKED)] == ["pending"]


async def test_an_expired_request_over_a_denial_is_no_way_around_the_denial(asking):
    await denied(asking)
    await asking.consent("granted", evidence=PROOF)
    await asking.deliver("webpower", ASKED)
    await asking.passes(31 * DAY)
    (event,) = await asking.consent("granted")
    assert ("not-sent", "", "not-evidenced") in await asking.notes(event=event)
    assert await asking.deliver("webpower", ASKED) == []
    assert await asking.deliver("sparkloop") == []


async def test_a_vendor_that_signs_up_somebody_who_is_being_asked_over_a_denial_is_told_that_the_denial_holds(asking):
    await denied(asking)
    await asking.consent("granted", evidence=PROOF)
    await asking.deliver("webpower", ASKED)
    event = await asking.reports("sparkloop", consents={"newsletter": "granted"})
    assert ("reported", "sparkloop", "not-evidenced") in await asking.notes(event=event)
    assert [event.state for event in await asking.deliver("sparkloop")] == ["denied"]
    assert await asking.deliver("webpower", ASKED) == []


async def test_who_is_granted_is_not_asked(asking):
    await asking.consent("granted", method="double", evidence=PROOF)
    assert await asking.state() == "granted"
    await asking.settle()
    await asking.consent("granted")
    assert await asking.state() == "granted"
    assert await asking.settle() == {}


async def test_a_grant_that_was_confirmed_elsewhere_asks_nobody(asking):
    await asking.consent("granted", method="double", evidence=PROOF)
    sent = await asking.settle()
    states = {name: [each.state for each in events if hasattr(each, "purpose")] for name, events in sent.items()}
    assert states == {"webpower": ["granted"], "sparkloop": ["granted"]}


async def test_a_grant_that_claims_to_be_confirmed_without_evidence_is_asked(asking):
    await asking.consent("granted", method="double")
    assert await asking.state() == "pending"


async def test_a_request_over_a_denial_keeps_the_denial_under_it(asking):
    await denied(asking)
    await asking.consent("granted", evidence=PROOF)
    standing = (await asking.person()).consents["newsletter"]
    assert (standing.state, standing.under) == ("pending", "denied")
    assert [event.state for event in await asking.deliver("webpower", ASKED)] == ["pending"]
    assert await asking.deliver("sparkloop") == []


async def test_a_plain_grant_without_evidence_over_a_denial_asks_nobody(asking):
    await denied(asking)
    await asking.consent("granted")
    assert await asking.state() == "denied"
    assert await asking.deliver("webpower") == []


async def test_a_denial_while_a_request_waits_denies(asking):
    await asking.consent("granted")
    await asking.deliver("webpower", ASKED)
    await asking.passes(1)
    await asking.consent("denied")
    assert await asking.state() == "denied"
    assert await asking.store.read(lambda reader: reader.pending_people("newsletter")) == []


async def test_a_request_asks_again_after_a_denial(asking):
    await asking.consent("granted")
    await asking.deliver("webpower", ASKED)
    await denied(asking)
    await asking.consent("granted", evidence=PROOF)
    assert [event.state for event in await asking.deliver("webpower", ASKED)] == ["pending"]


async def test_a_connector_that_is_sent_no_consents_keeps_nobody_waiting(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}, "receives": ["profile"]})
    await hub.consent("granted")
    assert await hub.state() == "granted"


# A source that is a connector too.


@pytest.mark.parametrize("inside", ["profile", "consent"])
async def test_a_source_that_is_a_connector_is_not_sent_its_own_consent(house, inside):
    hub = await house(cdp={"source": "shop"})
    await (hub.profile(consents={"newsletter": "denied"}) if inside == "profile" else hub.consent("denied"))
    assert ("consent", "newsletter") not in await hub.waits("cdp")
    assert (await hub.remote("cdp")).consents == {"newsletter": "denied"}


async def test_a_source_that_is_a_connector_is_told_that_a_denial_stands(house):
    hub = await house(cdp={"source": "shop"})
    await hub.consent("denied", source="site")
    await hub.settle()
    await hub.profile(consents={"newsletter": "granted"})
    assert [event.state for event in await hub.deliver("cdp")] == ["denied"]


async def test_a_source_that_is_a_connector_is_told_that_a_grant_stands(house):
    hub = await house(cdp={"source": "shop"})
    await hub.consent("granted", evidence=PROOF, source="site", at=2_000)
    await hub.settle()
    await hub.consent("denied", at=1_000)
    assert [event.state for event in await hub.deliver("cdp")] == ["granted"]
