"""Double opt-in: what is imported is stored only after the click (section 6 of the fact sheet)."""

from __future__ import annotations

import pytest

ADA = {"emailaddress": "ada@example.com"}
CAMPAIGN = {
    "email_id": 41,
    "sender_credentials": {"from": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"},
}
ASKING = {"campaign": CAMPAIGN, "send_to_mode": "all"}


def on(number=7, status="confirmed"):
    return {"contactlists": [{"id": number, "status": status}]}


async def test_nothing_is_stored_before_the_click(call, load, twin, statuses):
    found = await load({**ADA, "name": "Ada", "purposes": [{"id": 2}], **on(7)}, double_opt_in_settings=ASKING)
    assert (found.status, found.said["contacts_map"]) == (201, [])
    (asked,) = found.said["double_opt_in_map"]
    assert asked["emailaddress"] == "ada@example.com"
    assert (await call("GET", "contacts")).data == []
    assert [email for email, _ in twin.account.asked] == ["ada@example.com"]
    assert twin.click_confirmation("ADA@example.com")
    assert statuses() == {7: "confirmed"}
    assert twin.account.contact(5001).values == {"name": "Ada"}
    assert len(twin.account.connections) == 1
    assert not twin.click_confirmation("ada@example.com")


async def test_a_request_is_confirmed_by_api_once(call, load, statuses):
    found = await load({**ADA, **on(7)}, double_opt_in_settings=ASKING)
    number = found.said["double_opt_in_map"][0]["id"]
    assert (await call("POST", "double-opt-in-confirmation", {"id": "no"})).refused[0] == 404
    done = await call("POST", "double-opt-in-confirmation", {"id": number})
    assert (done.status, done.said) == (200, {"status": "ok", "meta": []})
    assert statuses() == {7: "confirmed"}
    assert (await call("POST", "double-opt-in-confirmation", {"id": number})).refused[0] == 404


async def test_a_click_brings_back_whoever_left_but_the_import_did_not(load, twin, statuses):
    await load({**ADA, **on(7, "unsubscribed")})
    found = await load({**ADA, **on(7)}, double_opt_in_settings=ASKING)
    assert found.said["contacts_map"] == [{"emailaddress": "ada@example.com", "contact_id": 5001}]
    assert statuses() == {7: "unsubscribed"}
    twin.click_confirmation("ada@example.com")
    assert statuses() == {7: "confirmed"}


async def test_nobody_is_asked_twice_within_the_silence_period(load, twin, clock):
    async def asked(**more):
        await load({**ADA, **on(7)}, double_opt_in_settings={**ASKING, **more})
        return len(twin.account.asked)

    assert [await asked(), await asked()] == [1, 1]
    await clock.advance(3_601)
    assert await asked() == 1
    assert await asked(silence_period={"unit": "hours", "value": 1}) == 2
    await clock.advance(86_401)
    assert await asked() == 3


async def test_new_in_database_asks_only_those_who_are_new(load, twin, statuses):
    asking = {**ASKING, "send_to_mode": "new-in-database"}
    await load(ADA)
    found = await load({**ADA, **on(7)}, {"emailaddress": "new@example.com", **on(7)}, double_opt_in_settings=asking)
    assert [each["emailaddress"] for each in found.said["contacts_map"]] == ["ada@example.com"]
    assert (statuses(), statuses("new@example.com")) == ({7: "confirmed"}, None)
    twin.habits.takes_known = False
    await load({**ADA, **on(9)}, double_opt_in_settings=asking)
    assert statuses() == {7: "confirmed"}


async def test_the_blacklisted_are_asked_only_by_force(load, twin, statuses):
    await load({**ADA, "blacklisted": 1})
    await load({**ADA, **on(7)}, double_opt_in_settings=ASKING)
    assert twin.account.asked == []
    await load({**ADA, **on(7)}, double_opt_in_settings=ASKING, preserve_unsubscribed=False)
    assert twin.click_confirmation("ada@example.com")
    assert (statuses(), twin.account.contact(5001).blacklisted) == ({7: "confirmed"}, 0)


async def test_a_request_may_end(load, twin, clock):
    campaign = {
        **CAMPAIGN,
        "valid_to": "2026-01-15 12:00:00",
        "confirmation_thank_you_page_url": "https://shop.example/",
    }
    await load({**ADA, **on(7)}, double_opt_in_settings={**ASKING, "campaign": campaign})
    await clock.advance(3_600)
    assert not twin.click_confirmation("ada@example.com")


async def test_an_unconfirmed_contact_may_be_there_from_the_asking_on(call, load, twin):
    twin.habits.creates_unconfirmed, twin.habits.tells_requests = True, False
    found = await load({**ADA, "name": "Ada", **on(7)}, double_opt_in_settings=ASKING)
    assert (len(found.said["contacts_map"]), found.said["double_opt_in_map"]) == (1, [])
    (row,) = (await call("GET", "contacts")).data
    assert (row["is_confirmed"], row["name"], row["contactlists"]) == (0, None, [])
    twin.click_confirmation("ada@example.com")
    (row,) = (await call("GET", "contacts")).data
    assert (row["is_confirmed"], row["name"]) == (1, "Ada")


@pytest.mark.parametrize(
    "asking",
    [
        {"campaign": CAMPAIGN},
        {"campaign": CAMPAIGN, "send_to_mode": "some"},
        {**ASKING, "campaign": {**CAMPAIGN, "email_id": 71}},
        {**ASKING, "campaign": {**CAMPAIGN, "email_id": 999}},
        {**ASKING, "campaign": {"email_id": 41}},
        {**ASKING, "campaign": {**CAMPAIGN, "sender_credentials": {**CAMPAIGN["sender_credentials"], "from": "x"}}},
        {**ASKING, "campaign": {**CAMPAIGN, "valid_to": "soon"}},
        {**ASKING, "silence_period": {"unit": "moments", "value": 1}},
    ],
)
async def test_the_question_must_be_one_that_can_be_sent(load, twin, asking):
    assert (await load(ADA, double_opt_in_settings=asking)).refused[0] == 422
    assert twin.account.asked == []
