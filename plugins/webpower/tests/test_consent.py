"""Opt-ins, confirmations and opt-outs at Webpower."""

from __future__ import annotations

import pytest

from esplanade import OutcomeUnknown, PermanentError, PersonRef, TemporaryError
from esplanade.testing import Fault, Furnishing
from esplanade_webpower.settings import WebpowerConsent

ME = PersonRef(person="p-1", email="noor@example.net")


async def test_a_grant_puts_the_contact_into_the_group_of_its_purpose_only(hub, twin):
    outcome = await hub.consent("granted", desired={"firstname": "Noor"})
    assert outcome.status == "delivered"
    assert outcome.remote_id == "9001"
    held = twin.account.contacts[9001]
    assert (held.groups, held.custom) == ({136}, {"firstname": "Noor"})


async def test_a_grant_for_a_known_contact_leaves_its_fields_alone(hub, twin, calls):
    await hub.profile(desired={"firstname": "Nora"})
    await hub.consent("granted", remote_id="9001", desired={"firstname": "Stale"})
    calls()
    await hub.consent("granted", remote_id="9001", desired={"firstname": "Stale"})
    assert calls() == ["POST /42/contact/9001/group"]
    assert twin.account.contacts[9001].custom["firstname"] == "Nora"


async def test_a_grant_for_a_contact_deleted_there_makes_it_anew(hub, twin):
    outcome = await hub.consent("granted", remote_id="77", desired={"firstname": "Noor"})
    assert outcome.remote_id == "9001"
    assert twin.account.contacts[9001].groups == {136}


async def test_a_grant_that_was_confirmed_elsewhere_asks_nobody(hub, twin):
    await hub.consent("granted", purpose="newsletter", method="double")
    assert twin.account.contacts[9001].groups == {135}
    assert twin.snapshot()["pending"] == []


async def test_a_double_opt_in_is_pending_until_the_click(hub, twin):
    outcome = await hub.consent("pending", purpose="newsletter", desired={"firstname": "Noor", "lang": "nl"})
    assert outcome.status == "pending"
    assert [each["email"] for each in twin.snapshot()["pending"]] == ["noor@example.net"]
    before = await hub.connector.fetch(ME, hub.ctx)
    assert before.consents == {"newsletter": "absent", "service": "absent"}
    assert twin.click_confirmation("noor@example.net")
    after = await hub.connector.fetch(ME, hub.ctx)
    assert after.consents == {"newsletter": "granted", "service": "absent"}
    assert after.fields["firstname"] == "Noor"
    assert not twin.click_confirmation("noor@example.net")


async def test_the_subscribe_call_carries_what_the_operator_adds(open_hub, twin):
    extra = {"groups": ["{group}"], "contact": {"mobile_nr": "+316"}}
    twin.furnish(Furnishing(consents={"extra": WebpowerConsent(group=150, opt_in="double")}))
    async with open_hub(subscribe_extra_body=extra, default_lang="de") as hub:
        await hub.consent("pending", purpose="newsletter")
    twin.click_confirmation("noor@example.net")
    held = twin.account.contacts[9001]
    assert (held.groups, held.mobile_nr, held.lang) == ({135}, "+316", "de")


async def test_an_address_that_webpower_knows_already_stays_pending(hub, twin):
    twin.faults.append(Fault(match="subscribe", status=409))
    outcome = await hub.consent("pending", purpose="newsletter")
    assert (outcome.status, outcome.reason) == ("pending", "already-known")
    assert twin.account.contacts == {}


async def test_a_confirmation_mail_that_may_have_left_is_not_sent_again_blindly(hub, twin):
    twin.faults.append(Fault(match="subscribe", action="cut-after"))
    with pytest.raises(OutcomeUnknown):
        await hub.consent("pending", purpose="newsletter")


async def test_an_opt_out_leaves_the_group_of_its_purpose_only(hub, twin):
    await hub.consent("granted")
    await hub.consent("granted", purpose="newsletter", remote_id="9001")
    outcome = await hub.consent("denied", remote_id="9001")
    assert outcome.status == "delivered"
    assert twin.account.contacts[9001].groups == {135}


async def test_an_opt_out_without_a_known_id_finds_the_contact(hub, twin):
    await hub.consent("granted")
    await hub.consent("denied")
    assert twin.account.contacts[9001].groups == set()


@pytest.mark.parametrize("remote_id", [None, "77"])
@pytest.mark.parametrize("mode", ["group", "endpoint", "field"])
async def test_an_opt_out_creates_nobody(open_hub, twin, remote_id, mode):
    async with open_hub(unsubscribe_mode=mode, unsubscribe_field="RH_CODE") as hub:
        outcome = await hub.consent("denied", remote_id=remote_id)
    assert (outcome.status, outcome.reason) == ("unchanged", "not-at-vendor")
    assert twin.account.contacts == {}


async def test_an_opt_out_with_a_stale_id_reaches_the_contact_of_the_address(hub, twin):
    await hub.consent("granted")
    outcome = await hub.consent("denied", remote_id="77")
    assert outcome.remote_id == "9001"
    assert twin.account.contacts[9001].groups == set()


async def test_an_opt_out_of_a_non_member_is_done(hub):
    await hub.profile()
    assert (await hub.consent("denied", remote_id="9001")).status == "delivered"


async def test_an_opt_out_that_webpower_ignores_is_an_error(hub, twin):
    await hub.consent("granted")
    twin.licence.removal = "none"
    with pytest.raises(PermanentError, match="set group_remove"):
        await hub.consent("denied", remote_id="9001")


@pytest.mark.parametrize("path", ["/{cid}/contact/{id}/unsubscribe", "/{cid}/contact/unsubscribe"])
async def test_mode_endpoint_calls_the_vendors_own_opt_out(open_hub, twin, path):
    async with open_hub(unsubscribe_mode="endpoint", unsubscribe_path=path) as hub:
        await hub.profile()
        await hub.consent("denied", remote_id="9001")
    assert 61 in twin.account.contacts[9001].groups


async def test_mode_endpoint_names_a_call_that_is_not_there(open_hub):
    async with open_hub(unsubscribe_mode="endpoint", unsubscribe_path="/{cid}/contact/{id}/optout") as hub:
        await hub.profile()
        with pytest.raises(PermanentError, match="unsubscribe_path"):
            await hub.consent("denied", remote_id="9001")


@pytest.mark.parametrize("replaces", [False, True])
async def test_mode_field_writes_the_opt_out_and_a_grant_takes_it_back(open_hub, twin, replaces):
    twin.account.put_replaces = replaces
    twin.account.add_field("optout_service")
    async with open_hub(unsubscribe_mode="field", unsubscribe_field="optout_{purpose}", unsubscribe_value="1") as hub:
        desired = {"firstname": "Noor"}
        await hub.profile(desired=desired)
        await hub.consent("denied", remote_id="9001", desired=desired)
        assert twin.account.contacts[9001].custom == {"firstname": "Noor", "optout_service": "1"}
        report = await hub.connector.fetch(ME, hub.ctx)
        assert report.consents == {"newsletter": "absent", "service": "denied"}
        await hub.consent("granted", remote_id="9001", desired=desired)
        assert twin.account.contacts[9001].custom == {"firstname": "Noor", "optout_service": ""}
        assert twin.account.contacts[9001].groups == {136}


async def test_a_grant_does_not_lift_another_purposes_opt_out_from_a_shared_field(open_hub, twin):
    async with open_hub(unsubscribe_mode="field", unsubscribe_field="RH_CODE") as hub:
        await hub.profile()
        await hub.consent("denied", remote_id="9001")
        await hub.consent("granted", purpose="newsletter", remote_id="9001", held={"service": "denied"})
        assert twin.account.contacts[9001].custom["RH_CODE"] == "true"
        await hub.consent("granted", remote_id="9001", held={"service": "denied"})
        assert twin.account.contacts[9001].custom["RH_CODE"] == ""


async def test_an_opt_out_by_field_whose_address_is_taken_is_tried_again(open_hub, twin):
    async with open_hub(unsubscribe_mode="field", unsubscribe_field="RH_CODE") as hub:
        await hub.profile()
        twin.account.create({"email": "other@example.net"})
        with pytest.raises(TemporaryError):
            await hub.consent("denied", "other@example.net", remote_id="9001")


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("call", ["subscribe", "unsubscribe", "POST .*/group$"])
async def test_a_refused_consent_call_is_a_dead_letter(open_hub, twin, status, call):
    async with open_hub(unsubscribe_mode="endpoint") as hub:
        await hub.profile()
        twin.faults.append(Fault(match=call, status=status, body='{"error": "no"}'))
        state = {"subscribe": "pending", "unsubscribe": "denied"}.get(call, "granted")
        with pytest.raises(PermanentError, match=f"{status}.*no"):
            await hub.consent(state, remote_id="9001")


async def test_mode_none_says_that_it_tells_nobody(open_hub, calls):
    async with open_hub(unsubscribe_mode="none") as hub:
        outcome = await hub.consent("denied", remote_id="9001")
    assert (outcome.status, outcome.reason) == ("unchanged", "unsubscribe-mode-none")
    assert calls() == []


@pytest.mark.parametrize("state", ["granted", "pending", "denied"])
async def test_the_opt_in_group_of_the_system_is_never_written_to(hub, twin, state):
    with pytest.raises(PermanentError, match=r"consents\.service: 60 is a system group"):
        await hub.consent(state, target=WebpowerConsent(group=60))
    assert twin.account.contacts == {}


async def test_a_consent_group_that_is_not_there_is_named(hub):
    with pytest.raises(PermanentError, match=r"consents\.service: Webpower has no contact group 999"):
        await hub.consent("granted", target=WebpowerConsent(group=999))


async def test_who_unsubscribed_at_webpower_is_not_put_back(open_hub, twin):
    async with open_hub(unsubscribe_group_id=61) as hub:
        await hub.consent("granted")
        twin.unsubscribe("noor@example.net")
        with pytest.raises(PermanentError, match="only the person may leave"):
            await hub.consent("granted", remote_id="9001")
        report = await hub.connector.fetch(ME, hub.ctx)
    assert twin.account.contacts[9001].groups == {61}
    assert report.consents == {"newsletter": "denied", "service": "denied"}


async def test_a_profile_never_changes_consent(hub, twin):
    await hub.consent("granted")
    await hub.profile(remote_id="9001")
    assert twin.account.contacts[9001].groups == {136}
    await hub.consent("denied", remote_id="9001")
    await hub.profile(remote_id="9001")
    assert twin.account.contacts[9001].groups == set()
