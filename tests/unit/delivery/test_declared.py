"""What a declared webhook says, and what of it counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from esplanade import BodyPath, Happening, InboundRequest, PermanentError, Report, Secret
from esplanade.config.model import ConnectorConfig, Webhook, WebhookRule
from esplanade.delivery import declared

ADA = "ada@shop.example"
AT = datetime(2026, 1, 15, tzinfo=UTC)
WEBHOOK = Webhook(
    events={
        "clicked": WebhookRule(trigger="clicked"),
        "left": WebhookRule(consents={"newsletter": "denied", "service": "granted"}),
        "order": WebhookRule(
            trigger="order-status",
            fields={"order_status": BodyPath("order.status"), "tags": BodyPath("tags")},
            event_id=[BodyPath("order.id"), BodyPath("order.status")],
        ),
    }
)
CRM = ConnectorConfig(name="crm", plugin="crm", webhook=WEBHOOK)


def read(said, query=""):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return declared.read_call(WEBHOOK, InboundRequest(method="POST", query=query, body=body, received_at=AT)).call


def told(said, query="", **contact):
    """The word and the trigger, as far as there are any."""
    told = declared.told(read(said, query), Report(**{"email": ADA, "remote_id": "7", **contact}), CRM, AT.timestamp())
    return [each for each in (told.word, told.trigger) if each is not None]


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ({"event": "clicked"}, "clicked"),
        ({"event": " CLICKED "}, "clicked"),
        ({"event_name": "left"}, "left"),
        ({"event": "", "event_name": "left"}, "left"),
        ({"event": "opened"}, None),
        ({"event": ["clicked"]}, None),
        ({"event": ["clicked"], "event_name": "left"}, "left"),
        ({"event": {"name": "clicked"}}, None),
        ({"event": 7}, None),
        ({}, None),
    ],
)
def test_a_call_is_known_by_its_event(said, event):
    call = read({**said, "email": ADA})
    assert (call.event if call else None) == event


EVIL = 'x", "event": "left", "y": "'


@pytest.mark.parametrize(
    ("said", "query"),
    [
        (f'{{"email": "{ADA}", "name": "{EVIL}"}}'.encode(), "event_name=clicked"),
        (f'{{"email": "{ADA}", "event": "clicked", "name": "{EVIL}"}}'.encode(), ""),
        (f'{{"email": "{ADA}", "EVENT": "opened", "name": "{EVIL}"}}'.encode(), ""),
        (f"name: x\nevent: left\nemail: {ADA}".encode(), "event=opened"),
        ({"event": "clicked", "event_name": "left", "email": ADA}, ""),
    ],
)
def test_an_event_that_somebody_has_put_beside_the_scenarios_is_not_taken_for_it(said, query):
    with pytest.raises(PermanentError, match=r"^2 events are in the webhook, at .* name one path in webhook\.event$"):
        read(said, query)


@pytest.mark.parametrize("query", ["event=CLICKED", "event_name=clicked&event=clicked"])
def test_an_event_may_be_said_in_several_places_and_none_of_them_is_data(query):
    (trigger,) = told({"event": "clicked", "email": ADA, "contact": {"email": ADA}, "x": 1}, query)
    assert trigger.data == {"x": 1}


def test_events_of_which_none_has_a_rule_are_left_to_the_plugin():
    assert read({"event": "opened", "event_name": "read"}) is None


def test_the_query_says_it_before_the_body_does():
    call = read({"event": "clicked", "email": ADA}, f"event=clicked&email={ADA}")
    assert (call.said.where, call.address.where) == ("query", "query")


def test_a_call_that_no_rule_is_for_needs_no_address():
    assert read({"event": "opened"}) is None


def test_a_body_that_cannot_be_read_is_left_to_a_plugin_where_there_is_one():
    request = InboundRequest(method="POST", body=b"{", received_at=AT)
    heard = declared.read_call(WEBHOOK, request, others_read=True)
    assert (heard.call, heard.body.form) == (None, None)
    assert "cannot be read" in heard.body.broken
    with pytest.raises(PermanentError, match="cannot be read"):
        declared.read_call(WEBHOOK, request)


def test_a_body_that_cannot_be_read_is_not_the_plugins_where_the_query_names_an_event_with_a_rule():
    request = InboundRequest(method="POST", query="event_name=left", body=b"{", received_at=AT)
    with pytest.raises(PermanentError, match="cannot be read"):
        declared.read_call(WEBHOOK, request, others_read=True)


def test_an_opt_out_counts_and_a_grant_only_where_the_contact_shows_it():
    (word,) = told({"event": "left", "email": ADA}, consents={"newsletter": "granted", "service": "pending"})
    assert word.consents == {"newsletter": "denied"}
    (word,) = told({"event": "left", "email": ADA}, consents={"service": "granted"})
    assert word.consents == {"newsletter": "denied", "service": "granted"}
    assert (word.evidence, word.at) == ({"webhook_event": "left"}, AT.timestamp())


def test_fields_are_values_of_the_body_and_what_it_does_not_say_clears_nothing():
    order = {"event": "order", "email": ADA}
    word, _ = told({**order, "order": {"id": 1, "status": "paid"}, "tags": ["a", None, 2]})
    assert word.fields == {"order_status": "paid", "tags": ["a", 2]}
    (trigger,) = told({**order, "order": {"id": 1, "status": None}})
    assert isinstance(trigger, Happening)


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [[1]]])
def test_a_field_that_leads_to_keys_is_an_error_that_names_the_path(value):
    with pytest.raises(PermanentError, match=r"^tags of the webhook, for the field tags, leads to keys"):
        told({"event": "order", "email": ADA, "tags": value})


def test_an_event_is_told_from_others_by_all_of_its_parts_and_its_person():
    def event_id(email=ADA, **order):
        (*_, trigger) = told({"event": "order", "email": email, "order": order}, email=email)
        return trigger.event_id

    assert event_id(id=1, status="paid") == event_id(status="paid", id="1", email=ADA.upper())
    others = [
        event_id(id=1, status="sent"),
        event_id(id=2, status="paid"),
        event_id(id=1, status="paid", email="b@c.example"),
    ]
    assert len({event_id(id=1, status="paid"), *others}) == 4
    assert event_id(id=1) is None
    assert "ada" not in event_id(id=1, status="paid")


@pytest.mark.parametrize(
    ("said", "query", "data"),
    [
        ({"event": "clicked", "email": ADA, "link": "x", "n": {"m": [1]}}, "q=1", {"link": "x", "n": {"m": [1]}}),
        ({"event": "clicked", "contact": {"email": ADA, "name": "Ada"}}, "", {"contact": {"name": "Ada"}}),
        ({"event": "clicked", "contact": {"email": ADA}}, "", {}),
        ({"event": "clicked", "who": ADA}, "", {"who": ADA}),
        ([{"who": ADA}], "event=clicked", {"items": [{"who": ADA}]}),
        (ADA, "event=clicked", {}),
        (b"", f"event=clicked&email={ADA}&link=x", {"link": "x"}),
        (b'{"email": "' + ADA.encode() + b'", "x": "a "b""}', "event=clicked", {}),
    ],
)
def test_the_data_of_a_trigger_is_the_body_less_whom_and_what_it_is_about(said, query, data):
    (trigger,) = told(said, query)
    assert (trigger.name, trigger.email, trigger.data, trigger.at) == ("clicked", ADA, data, AT)


@pytest.mark.parametrize("contact", [None, Report(email=ADA, deleted=True), Report(email="eve@shop.example")])
def test_without_the_contact_itself_nothing_is_believed(contact):
    with pytest.raises(PermanentError, match="nothing that it says is believed") as caught:
        declared.check_contact(read({"event": "left", "email": ADA}), contact)
    assert "@" not in str(caught.value)


def test_a_contact_is_the_one_whose_address_is_the_same_and_one_without_has_that_of_the_call():
    call, same = read({"event": "left", "email": ADA}), Report(email=ADA.upper())
    assert declared.check_contact(call, same) is same
    assert declared.check_contact(call, Report(remote_id="7")) == Report(email=ADA, remote_id="7")


@pytest.mark.parametrize("address", ["a..b@shop.example", ".ada@shop.example", "ada@1.2.3.4"])
def test_an_address_that_the_hub_cannot_take_is_refused_before_the_vendor_is_asked(address):
    with pytest.raises(PermanentError, match="is none that the hub can take, so the vendor is not asked"):
        read({"event": "clicked", "email": address})


SECRETS = [Secret("let-me-in"), Secret("12345678"), Secret("demo")]
KEYED = ConnectorConfig(name="crm", plugin="crm", webhook=WEBHOOK, settings=SECRETS)


@pytest.mark.parametrize(
    "secret",
    [
        *("let-me-in", "https://h.example/?k=let-me-in&x", 12345678, "12345678", "demo", "derived-key-of-the-url"),
        *(["let-me-in"], {"a": "x let-me-in"}),
    ],
)
def test_what_tells_a_secret_is_no_data(secret):
    call = read(
        {"event": "clicked", "email": ADA, "url": secret, "let-me-in": 1, "plan": "demonstration", "flag": True}
    )
    trigger = declared.told(call, Report(email=ADA), KEYED, AT.timestamp(), hook_key="derived-key-of-the-url").trigger
    assert {key: value for key, value in trigger.data.items() if value not in ([], {})} == {
        "plan": "demonstration",
        "flag": True,
    }
