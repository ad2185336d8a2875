"""A person's fields, address and audiences at Webpower."""

from __future__ import annotations

import asyncio
import json

import pytest

from esplanade import AuthenticationError, OutcomeUnknown, PermanentError, RateLimited, TemporaryError
from esplanade.testing import Fault
from esplanade_webpower.settings import WebpowerAudience

VIP = WebpowerAudience(group=140)


async def test_a_new_person_becomes_a_contact(hub, twin):
    outcome = await hub.profile(desired={"firstname": "Noor", "mobile_nr": "+31612345678", "lang": "nl"})
    held = twin.snapshot()["contacts"]["noor@example.net"]
    assert outcome.remote_id == str(held["id"])
    assert held == {
        "id": 9001,
        "fields": {"firstname": "Noor", "mobile_nr": "+31612345678"},
        "lang": "nl",
        "groups": [],
    }


async def test_a_known_person_is_updated_without_a_lookup(hub, twin, calls):
    made = await hub.profile()
    calls()
    await hub.profile(desired={"firstname": "Nora"}, remote_id=made.remote_id)
    assert calls() == ["PUT /42/contact/9001"]
    assert twin.snapshot()["contacts"]["noor@example.net"]["fields"] == {"firstname": "Nora"}


async def test_a_person_whom_webpower_had_before_is_found_by_address(hub, twin):
    twin.account.create({"email": "Noor@Example.net", "custom": [{"field": "city", "value": "Utrecht"}]})
    outcome = await hub.profile()
    assert outcome.remote_id == "9001"
    assert twin.account.contacts[9001].custom == {"firstname": "Noor", "city": "Utrecht"}


async def test_applying_twice_changes_nothing(hub, twin):
    await hub.profile(add={"vip": VIP})
    once = twin.snapshot()
    await hub.profile(add={"vip": VIP})
    assert twin.snapshot() == once


async def test_a_cleared_field_is_emptied_and_other_fields_stay(hub, twin):
    await hub.profile(desired={"firstname": "Noor", "city": "Utrecht", "mobile_nr": "+31612345678"})
    outcome = await hub.profile(desired={"firstname": "Noor"}, cleared=["city", "mobile_nr"], remote_id="9001")
    assert twin.snapshot()["contacts"]["noor@example.net"]["fields"] == {"firstname": "Noor"}
    assert outcome.acknowledged is None


async def test_a_language_cannot_be_cleared_only_replaced(hub, twin):
    await hub.profile(desired={"lang": "nl"})
    await hub.profile(desired={}, cleared=["lang"], remote_id="9001")
    assert twin.account.contacts[9001].lang == "nl"


async def test_only_new_contacts_get_the_default_language(open_hub, twin):
    async with open_hub(default_lang="de") as hub:
        await hub.profile()
        assert twin.account.contacts[9001].lang == "de"
        twin.account.contacts[9001].lang = "fr"
        await hub.profile(remote_id="9001")
        assert twin.account.contacts[9001].lang == "fr"


@pytest.mark.parametrize("replaces", [False, True])
async def test_every_mapped_field_is_sent_whether_an_update_merges_or_replaces(hub, twin, replaces):
    twin.account.put_replaces = replaces
    await hub.profile(desired={"firstname": "Noor", "city": "Utrecht"})
    await hub.profile(desired={"firstname": "Nora", "city": "Utrecht"}, remote_id="9001")
    assert twin.account.contacts[9001].custom == {"firstname": "Nora", "city": "Utrecht"}


async def test_mode_full_keeps_foreign_fields_where_an_update_replaces(open_hub, twin):
    twin.account.put_replaces = True
    foreign = [{"field": "RH_COUPON", "value": "C-1"}]
    twin.account.create({"email": "noor@example.net", "lang": "fr", "mobile_nr": "+316", "custom": foreign})
    async with open_hub(contact_update_mode="full") as hub:
        await hub.profile()
    held = twin.account.contacts[9001]
    assert (held.custom["RH_COUPON"], held.custom["firstname"], held.lang, held.mobile_nr) == (
        "C-1",
        "Noor",
        "fr",
        "+316",
    )


async def test_values_that_webpower_keeps_as_text_are_acknowledged_as_text(hub):
    outcome = await hub.profile(desired={"firstname": "Noor", "city": 12.5, "RH_CODE": True, "lang": "nl-NL"})
    assert outcome.acknowledged == {"city": "12.5", "RH_CODE": "true", "lang": "nl"}


async def test_a_lost_race_for_the_address_ends_in_an_update(hub, twin, monkeypatch):
    twin.account.create({"email": "noor@example.net"})
    empty = json.dumps({"totalRecords": 0, "result": []})
    twin.faults.append(Fault(match=r"GET .*match=", status=200, body=empty))
    outcome = await hub.profile()
    assert outcome.remote_id == "9001"
    assert twin.account.contacts[9001].custom["firstname"] == "Noor"


async def test_a_create_answered_without_an_id_is_looked_up(hub, twin):
    twin.faults.append(Fault(match="POST .*/contact$", action="after", status=200, body="<html>created</html>"))
    assert (await hub.profile()).remote_id == "9001"


async def test_an_address_that_exists_but_cannot_be_found_is_tried_again_later(hub, twin):
    twin.faults.append(Fault(match="POST .*/contact$", status=409))
    with pytest.raises(TemporaryError):
        await hub.profile()


async def test_a_contact_deleted_there_is_made_anew(hub, twin):
    await hub.profile()
    twin.account.remove(twin.account.contacts[9001])
    outcome = await hub.profile(remote_id="9001")
    assert outcome.remote_id == "9002"


async def test_a_foreign_remote_id_is_looked_up_by_address(hub):
    assert (await hub.profile(remote_id="not-a-number")).remote_id == "9001"


@pytest.mark.parametrize("remote_id", ["9001", None])
async def test_a_new_address_renames_the_contact(hub, twin, remote_id):
    await hub.profile("old@example.net", add={"vip": VIP})
    outcome = await hub.profile("new@example.net", previous_email="old@example.net", remote_id=remote_id)
    assert outcome.remote_id == "9001"
    assert list(twin.snapshot()["contacts"]) == ["new@example.net"]
    assert twin.account.contacts[9001].groups == {140}


async def test_a_rename_with_a_stale_id_finds_the_old_address(hub, twin):
    await hub.profile("old@example.net")
    outcome = await hub.profile("new@example.net", previous_email="old@example.net", remote_id="77")
    assert outcome.remote_id == "9001"
    assert list(twin.snapshot()["contacts"]) == ["new@example.net"]


async def test_a_change_of_case_alone_is_no_rename(hub, twin, calls):
    await hub.profile("noor@example.net")
    calls()
    await hub.profile("Noor@example.net", previous_email="noor@example.net", remote_id="9001")
    assert calls() == ["PUT /42/contact/9001"]
    assert twin.account.contacts[9001].email == "Noor@example.net"


async def test_a_new_address_that_has_a_contact_takes_over_and_the_old_one_leaves_every_mapped_group(hub, twin, calls):
    await hub.profile("old@example.net", add={"vip": VIP})
    old = twin.account.contacts[9001]
    foreign = twin.account.add_group("Foreign").id
    old.groups |= {135, 136, foreign}
    twin.account.create({"email": "new@example.net", "custom": [{"field": "city", "value": "Utrecht"}]})
    calls()
    outcome = await hub.profile(
        "new@example.net", previous_email="old@example.net", remote_id="9001", held={"service": "granted"}
    )
    assert "PUT /42/contact/9001" not in calls(), "a vendor that takes duplicates would now have two"
    new = twin.account.contacts[9002]
    assert outcome.remote_id == "9002"
    assert old.groups == {foreign}
    assert new.groups == {136, 140}, "a consent moves only if it is known as granted"
    assert new.custom == {"firstname": "Noor", "city": "Utrecht"}


async def test_a_consent_does_not_move_to_a_contact_that_unsubscribed(open_hub, twin):
    async with open_hub(unsubscribe_group_id=61) as hub:
        await hub.profile("old@example.net", add={"vip": VIP})
        twin.account.contacts[9001].groups |= {136}
        twin.account.create({"email": "new@example.net"}).groups.add(61)
        await hub.profile("new@example.net", previous_email="old@example.net", held={"service": "granted"})
    assert twin.account.contacts[9002].groups == {61, 140}
    assert twin.account.contacts[9001].groups == set()


async def test_a_collision_that_only_the_update_shows_is_settled_alike(hub, twin):
    await hub.profile("old@example.net", add={"vip": VIP})
    twin.account.create({"email": "new@example.net"})
    outcome = await hub.profile("new@example.net", remote_id="9001")
    assert outcome.remote_id == "9002"
    assert (twin.account.contacts[9001].groups, twin.account.contacts[9002].groups) == (set(), {140})


async def test_a_collision_with_an_old_contact_that_is_gone_needs_no_move(hub, twin):
    twin.account.create({"email": "new@example.net"})
    outcome = await hub.profile("new@example.net", previous_email="old@example.net", remote_id="77")
    assert outcome.remote_id == "9001"


async def test_an_update_that_collides_with_nobody_is_tried_again(hub, twin):
    await hub.profile()
    twin.faults.append(Fault(match="PUT ", status=409, times=None))
    with pytest.raises(TemporaryError):
        await hub.profile(remote_id="9001")


async def test_an_address_with_wildcards_finds_only_itself(hub, twin):
    for number in range(5):
        twin.account.create({"email": f"a{number}b@example.net"})
    outcome = await hub.profile("a*b@example.net")
    assert outcome.remote_id == "9006"
    again = await hub.profile("A*b@example.net")
    assert again.remote_id == "9006"
    assert all(not twin.account.contacts[number].custom for number in range(9001, 9006))


async def test_a_lookup_that_ignores_the_address_is_noticed(hub, twin):
    others = {"totalRecords": 2, "next": "/x?page=2", "result": [{"id": 1, "email": "a@example.net"}]}
    twin.faults.append(Fault(match=r"GET .*match=", status=200, body=json.dumps(others), times=None))
    with pytest.raises(PermanentError, match="other contacts"):
        await hub.profile()


# Audiences.


async def test_audiences_are_contact_groups(hub, twin, calls):
    await hub.profile(add={"vip": VIP})
    assert [each for each in calls() if each.endswith("/group") and "POST" in each] == ["POST /42/contact/9001/group"]
    await hub.profile(remove={"vip": VIP}, remote_id="9001")
    assert twin.account.contacts[9001].groups == set()


async def test_leaving_a_group_without_being_in_it_is_fine(hub):
    await hub.profile(remove={"vip": VIP})


async def test_an_audience_without_a_group_is_made_once_and_remembered(open_hub, twin, calls):
    async with open_hub(audience_group_prefix="CDP - ") as hub:
        await hub.profile(add={"churn-risk": WebpowerAudience()})
        made = next(group for group in twin.account.groups.values() if group.name == "CDP - churn-risk")
        assert twin.account.contacts[9001].groups == {made.id}
        calls()
        await hub.profile(add={"churn-risk": WebpowerAudience()}, remote_id="9001")
        assert calls() == ["PUT /42/contact/9001", "POST /42/contact/9001/group"]


async def test_an_audience_finds_its_group_by_exact_name(hub, twin):
    twin.account.add_group("Churn-Risk")
    there = twin.account.add_group("churn-risk")
    await hub.profile(add={"churn-risk": WebpowerAudience()})
    assert twin.account.contacts[9001].groups == {there.id}


async def test_two_calls_at_once_make_one_group(hub, twin):
    await asyncio.gather(*(hub.profile(f"p{n}@example.net", add={"churn-risk": WebpowerAudience()}) for n in range(8)))
    assert [group.name for group in twin.account.groups.values()].count("churn-risk") == 1


async def test_leaving_an_audience_makes_no_group(hub, twin):
    await hub.profile(remove={"churn-risk": WebpowerAudience()})
    assert "churn-risk" not in {group.name for group in twin.account.groups.values()}


async def test_a_group_deleted_there_is_made_anew(hub, twin):
    await hub.profile(add={"churn-risk": WebpowerAudience()})
    (number,) = twin.account.contacts[9001].groups
    twin.account.contacts[9001].groups.clear()
    del twin.account.groups[number]
    twin.account.add_group("another", number + 5)
    await hub.profile(add={"churn-risk": WebpowerAudience()}, remote_id="9001")
    assert {twin.account.groups[each].name for each in twin.account.contacts[9001].groups} == {"churn-risk"}


async def test_a_configured_group_that_is_not_there_is_named(hub):
    with pytest.raises(PermanentError, match=r"audiences\.vip: Webpower has no contact group 999"):
        await hub.profile(add={"vip": WebpowerAudience(group=999)})


async def test_a_group_that_can_neither_be_made_nor_found_is_said_plainly(hub, twin):
    twin.faults.append(Fault(match="POST .*/42/group", status=409))
    with pytest.raises(PermanentError, match="set its group id"):
        await hub.profile(add={"churn-risk": WebpowerAudience()})
    twin.faults.append(Fault(match="POST .*/42/group", status=422, body='{"error": "too many groups"}'))
    with pytest.raises(PermanentError, match="too many groups"):
        await hub.profile(add={"churn-risk": WebpowerAudience()})


async def test_a_licence_without_a_list_of_groups_still_takes_configured_ones(hub, twin):
    twin.faults.append(Fault(match="GET .*/42/group", status=404, times=None))
    await hub.profile(add={"vip": VIP})
    assert twin.account.contacts[9001].groups == {140}


@pytest.mark.parametrize("group", [60, 61])
async def test_system_groups_are_never_written_to(hub, twin, group):
    with pytest.raises(PermanentError, match="system group"):
        await hub.profile(add={"vip": WebpowerAudience(group=group)})
    with pytest.raises(PermanentError, match="system group"):
        await hub.profile(remove={"vip": WebpowerAudience(group=group)})
    assert not twin.snapshot()["pending"]


async def test_an_audience_named_like_a_system_group_is_refused(hub):
    with pytest.raises(PermanentError, match="system group"):
        await hub.profile(add={"Bounced": WebpowerAudience()})


async def test_a_name_too_long_for_a_group_is_refused(hub):
    with pytest.raises(PermanentError, match="80 characters"):
        await hub.profile(add={"x" * 81: WebpowerAudience()})


@pytest.mark.parametrize("shape", ["array", "object", "objects"])
async def test_the_body_of_adding_follows_the_setting(open_hub, twin, shape):
    twin.licence.group_body = shape
    async with open_hub(group_add_body=shape) as hub:
        await hub.profile(add={"vip": VIP})
    assert twin.account.contacts[9001].groups == {140}


async def test_the_way_out_of_a_group_is_found_and_remembered(hub, twin, calls):
    twin.licence.removal = "body"
    await hub.profile(add={"vip": VIP})
    await hub.profile(remove={"vip": VIP}, remote_id="9001")
    assert twin.account.contacts[9001].groups == set()
    await hub.profile(add={"vip": VIP}, remote_id="9001")
    calls()
    await hub.profile(remove={"vip": VIP}, remote_id="9001")
    assert calls() == ["PUT /42/contact/9001", "DELETE /42/contact/9001/group"]


async def test_no_way_out_of_a_group_is_said_plainly(hub, twin):
    twin.licence.removal = "none"
    await hub.profile(add={"vip": VIP})
    with pytest.raises(PermanentError, match="set group_remove"):
        await hub.profile(remove={"vip": VIP}, remote_id="9001")


async def test_a_non_member_is_not_put_through_every_way_out(hub, calls):
    await hub.profile()
    calls()
    await hub.profile(remove={"vip": VIP}, remote_id="9001")
    assert [each for each in calls() if each.startswith("DELETE")] == ["DELETE /42/contact/9001/group/140"]


# Errors.


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (400, {}, PermanentError),
        (401, {}, AuthenticationError),
        (403, {}, AuthenticationError),
        (422, {}, PermanentError),
        (429, {"Retry-After": "7"}, RateLimited),
        (500, {}, TemporaryError),
        (502, {}, TemporaryError),
        (503, {}, TemporaryError),
        (503, {"Retry-After": "7"}, RateLimited),
        (504, {}, TemporaryError),
    ],
)
@pytest.mark.parametrize("call", ["GET .*match=", "POST .*/contact$", "PUT "])
async def test_what_the_vendor_answers_says_what_to_do(hub, twin, status, headers, error, call):
    if call == "PUT ":
        await hub.profile()
    body = "<html><body>Bad gateway</body></html>" if status == 502 else '{"error": "no"}'
    twin.faults.append(Fault(match=call, status=status, headers=headers, body=body, times=None))
    with pytest.raises(error) as raised:
        await hub.profile(remote_id="9001" if call == "PUT " else None)
    assert type(raised.value) is error
    if headers:
        assert raised.value.retry_after == 7


@pytest.mark.parametrize("action", ["cut-before", "cut-after"])
async def test_a_cut_connection_is_tried_again_because_a_contact_is_an_upsert(hub, twin, action):
    twin.faults.append(Fault(match="POST .*/contact$", action=action))
    with pytest.raises(TemporaryError):
        await hub.profile()
    assert (await hub.profile()).remote_id == "9001"
    assert len(twin.account.contacts) == 1


async def test_a_page_in_place_of_json_is_temporary(hub, twin):
    twin.faults.append(Fault(match="GET .*match=", status=200, body="<html>maintenance</html>"))
    with pytest.raises(TemporaryError, match="not JSON"):
        await hub.profile()


@pytest.mark.parametrize("body", ["[1]", '{"result": 1}', '"x"'])
async def test_an_answer_of_another_shape_is_temporary(open_hub, twin, body):
    twin.faults.append(Fault(match="GET .*/contact/9001$", status=200, body=body))
    async with open_hub(contact_update_mode="full") as hub:
        await hub.profile()
        if body != '{"result": 1}':
            with pytest.raises(TemporaryError, match="not an object"):
                await hub.profile(remote_id="9001")
        twin.faults.append(Fault(match="match=", status=200, body=body.replace("[1]", "7")))
        with pytest.raises(TemporaryError, match="without 'result'"):
            await hub.profile()


async def test_a_400_about_the_token_is_temporary(hub, twin):
    twin.faults.append(Fault(match="POST .*/contact$", status=400, body='{"error": "invalid_token"}'))
    with pytest.raises(TemporaryError, match="access token"):
        await hub.profile()


async def test_a_refusal_tells_no_personal_data(hub, twin):
    said = {"errors": [{"message": "Van der Berg of noor@example.net, +31612345678 is not allowed"}]}
    twin.faults.append(Fault(match="POST .*/contact$", status=422, body=json.dumps(said)))
    with pytest.raises(PermanentError, match="is not allowed") as raised:
        await hub.profile(desired={"firstname": "Van der Berg"})
    for word in ("Berg", "noor", "612345678"):
        assert word not in str(raised.value)


async def test_making_a_group_is_not_repeated_blindly(hub, twin):
    twin.faults.append(Fault(match="POST .*/42/group", action="cut-after"))
    with pytest.raises(OutcomeUnknown):
        await hub.profile(add={"churn-risk": WebpowerAudience()})
    await hub.profile(add={"churn-risk": WebpowerAudience()})
    assert [group.name for group in twin.account.groups.values()].count("churn-risk") == 1


# Tokens.


async def test_one_token_serves_until_it_expires(hub, twin, clock):
    await asyncio.gather(*(hub.profile(f"p{n}@example.net") for n in range(5)))
    await hub.profile()
    assert len(twin.rest.tokens) == 1
    await clock.advance(3600)
    await hub.profile()
    assert len(twin.rest.tokens) == 2


async def test_a_token_withdrawn_early_is_replaced_once(hub, twin):
    await hub.profile()
    twin.rest.tokens.clear()
    await hub.profile(remote_id="9001")
    assert len(twin.rest.tokens) == 1
