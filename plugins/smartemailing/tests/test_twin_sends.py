"""Events, transactional mails and what else the twin has sent (section 7 of the fact sheet)."""

from __future__ import annotations

import pytest

from esplanade_smartemailing.twin_scenarios import FromList, Next, SendEmail, SendSms, ToList

EVENT = {
    "emailaddress": "ada@example.com",
    "name": "abandoned-cart",
    "payload": {"cart_id": "C-77", "products": [{"id": 1}]},
}
SENDER = {"from": "orders@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"}
TASK = {"recipient": {"emailaddress": "ada@example.com"}}
SEND = {"tag": "order", "email_id": 71, "sender_credentials": SENDER, "tasks": [TASK]}
TRANSACTIONAL = "send/transactional-emails-bulk"
FILE = {"file_name": "a.pdf", "content_type": "application/pdf", "data_base64": "eA=="}


async def test_events_are_a_bare_array_and_make_contacts(call, twin):
    twin.scenarios.add("abandoned-cart", SendEmail(email_id=72))
    found = await call("POST", "trigger-event", [EVENT, {**EVENT, "payload": []}, {**EVENT, "name": "other-1"}])
    assert (found.status, found.said) == (201, {"status": "created", "meta": []})
    assert [each["name"] for each in twin.sends.events] == ["abandoned-cart", "abandoned-cart", "other-1"]
    assert [(each["kind"], each["email_id"], each["words"]) for each in twin.account.mails] == [
        ("trigger_action", 72, EVENT["payload"]),
        ("trigger_action", 72, {}),
    ]
    assert [each.emailaddress for each in twin.account.contacts.values()] == ["ada@example.com"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        EVENT,
        [{"emailaddress": "ada@example.com"}],
        [{**EVENT, "emailaddress": "nobody"}],
        [{**EVENT, "name": "Abandoned cart"}],
        [{**EVENT, "payload": "text"}],
        [{**EVENT, "payload": {"text": "x" * 32_768}}],
        [{**EVENT, "language": "cs"}],
        [EVENT] * 501,
    ],
)
async def test_one_event_that_is_not_valid_refuses_all(call, twin, events):
    if isinstance(events, list) and len(events) == 1:
        events = [EVENT, *events]
    assert (await call("POST", "trigger-event", events)).refused[0] == 422
    assert (twin.sends.events, twin.account.contacts) == ([], {})


async def test_what_is_not_known_of_events_can_be_turned(call, twin):
    twin.habits.event_names, twin.habits.max_triggers, twin.habits.max_payload_bytes = ".+", None, None
    large = {**EVENT, "name": "Any name", "payload": {"text": "x" * 40_000}}
    assert (await call("POST", "trigger-event", [large, *[EVENT] * 500])).status == 201


async def test_one_event_may_be_followed_by_others_and_by_actions(call, load, twin):
    await load(
        {
            "emailaddress": "ada@example.com",
            "cellphone": "+420720123456",
            "contactlists": [{"id": 7, "status": "confirmed"}],
        },
        {"emailaddress": "out@example.com", "contactlists": [{"id": 9, "status": "unsubscribed"}]},
    )
    twin.scenarios.add("abandoned-cart", Next(event="second"), SendSms(sms_id=3), ToList(list_id=9, leaving=7))
    twin.scenarios.add(
        "second", SendEmail(email_id=72), SendEmail(email_id=999), ToList(list_id=12), FromList(list_id=12)
    )
    twin.scenarios.add("off", SendEmail(email_id=72)).active = False
    events = [EVENT, {**EVENT, "name": "off"}, {**EVENT, "emailaddress": "out@example.com"}]
    await call("POST", "trigger-event", events)
    assert [each["kind"] for each in twin.account.mails] == ["trigger_action", "sms", "trigger_action"]
    held = {each.emailaddress: each.lists for each in twin.account.contacts.values()}
    assert list(held["ada@example.com"]) == [9]
    assert held["out@example.com"][9].status == "unsubscribed"


async def test_events_that_call_each_other_come_to_an_end(call, twin):
    twin.scenarios.add("abandoned-cart", Next(event="abandoned-cart"), SendEmail(email_id=72))
    await call("POST", "trigger-event", [EVENT])
    assert len(twin.account.mails) == 10


async def test_a_transactional_mail_carries_variables_and_files(call, twin):
    variables = {"order_id": "A-19", "products": [{"name": "Lamp", "price": 24.5}]}
    replace = [{"key": "footer", "content": "Bye"}]
    task = {**TASK, "template_variables": variables, "replace": replace, "attachments": [FILE]}
    found = await call("POST", TRANSACTIONAL, {**SEND, "tasks": [task, {**TASK, "template_variables": []}]})
    assert found.said["meta"] == []
    assert [each["recipient"] for each in found.data] == ["ada@example.com"] * 2
    first, second = twin.account.mails
    assert (first["words"], first["attachments"]) == ({**variables, "replace_footer": "Bye"}, ["a.pdf"])
    assert (first["id"], first["tag"], first["email_id"]) == (found.data[0]["id"], "order", 71)
    assert second["words"] == {}
    assert (await call("GET", "transactional-emails-ids")).data == {"order": 1}


async def test_a_transactional_mail_may_bring_its_own_contents(call, twin):
    contents = {"subject": "Hi", "html_body": "<p>Hi</p>", "text_body": "Hi"}
    own = {key: value for key, value in SEND.items() if key != "email_id"} | {"message_contents": contents}
    assert (await call("POST", TRANSACTIONAL, own)).status == 201
    assert (await call("POST", TRANSACTIONAL, {**SEND, "message_contents": contents})).status == 201
    assert [each["subject"] for each in twin.account.mails] == ["Hi", None]


@pytest.mark.parametrize(
    "body",
    [
        {**SEND, "tasks": []},
        {**SEND, "tasks": [TASK] * 6},
        {**SEND, "tag": ""},
        {**SEND, "email_id": 999},
        {key: value for key, value in SEND.items() if key != "email_id"},
        {key: value for key, value in SEND.items() if key != "sender_credentials"},
        {**SEND, "sender_credentials": {**SENDER, "reply_to": "x"}},
        {**SEND, "tasks": [TASK, {"recipient": {"emailaddress": "nobody"}}]},
        {**SEND, "tasks": [{**TASK, "template_variables": "x"}]},
        {**SEND, "tasks": [{**TASK, "template_variables": {"x": "x" * 32_768}}]},
        {**SEND, "tasks": [{**TASK, "replace": [{"key": "x"}]}]},
        {**SEND, "tasks": [{**TASK, "attachments": [{"file_name": "x"}]}]},
    ],
)
async def test_one_mail_that_cannot_be_sent_refuses_all(call, twin, body):
    assert (await call("POST", TRANSACTIONAL, body)).refused[0] == 422
    assert twin.account.mails == []


async def test_an_account_may_have_no_more_transactional_mails(call, twin):
    twin.habits.sends_left = 1
    statuses = [(await call("POST", TRANSACTIONAL, SEND)).status for _ in range(2)]
    last = await call("POST", TRANSACTIONAL, SEND)
    assert (statuses, last.refused) == ([201, 429], (429, "Rate limit exceeded."))
    assert "Retry-After" not in last.headers


async def test_custom_mails_need_an_email_and_have_no_files(call, twin):
    assert len((await call("POST", "send/custom-emails-bulk", {**SEND, "tasks": [TASK] * 500})).data) == 500
    for wrong in ({**SEND, "tasks": [TASK] * 501}, {**SEND, "tasks": [{**TASK, "attachments": [FILE]}]}):
        assert (await call("POST", "send/custom-emails-bulk", wrong)).refused[0] == 422
    assert (await call("GET", "transactional-emails-ids")).data == {}


async def test_an_sms_needs_a_number(call, twin):
    task = {"recipient": {"emailaddress": "ada@example.com", "cellphone": "+420720123456"}, "attachments": []}
    body = {"tag": "code", "sms_id": 3, "tasks": [task]}
    assert (await call("POST", "send/custom-sms-bulk", body)).status == 201
    assert (await call("POST", "send/custom-sms-bulk", {**body, "tasks": [TASK]})).refused[0] == 422
    assert (await call("POST", "send/custom-sms-bulk", {**body, "tasks": []})).refused[0] == 422
    assert [each["kind"] for each in twin.account.mails] == ["sms"]


async def test_statistics_tell_what_became_of_mails(call, twin):
    await call("POST", TRANSACTIONAL, SEND)
    twin.happens("clicked", "ada@example.com")
    (row,) = (await call("GET", "campaign-stats-sent", type="transactional_email", contact_id="5001", sort="id")).data
    assert {
        key: row[key] for key in ("transactional_email_id", "emailaddress", "time", "opened", "clicked", "bounced")
    } == {
        "transactional_email_id": 1,
        "emailaddress": "ada@example.com",
        "time": "2026-01-15 11:00:00",
        "opened": True,
        "clicked": True,
        "bounced": False,
    }
    assert (await call("GET", "campaign-stats-sent", type="transactional_email", opened="false")).data == []
    assert (await call("GET", "campaign-stats-sent")).refused[0] == 422
