"""What a declared webhook says, and what of it counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from esplanade import BodyPath, Happening, InboundRequest, PermanentError, Report
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
    return declared.read_call(WEBHOOK, InboundRequest(method="POST", query=query, body=body, received_at=AT))


def told(said, query="", **contact):
    return declared.told(read(said, query), Report(**{"email": ADA, "remote_id": "7", **contact}), CRM, AT.timestamp())


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ({"event": "clicked"}, "clicked"),
        ({"event": " CLICKED "}, "clicked"),
        ({"event_name": "left"}, "left"),
        ({"event": "", "event_name": "left"}, "left"),
        ({"event": "opened"}, None),
        ({"event": ["clicked"]}, None),
        ({"event": {"name": "clicked"}}, None),
        ({"event": 7}, None),
        ({}, None),
    ],
)
def test_a_call_is_known_by_its_event(said, event):
    call = read({**said, "email": ADA})
    assert (call.event if call else None) == event


def test_a_call_that_no_rule_is_for_needs_no_address():
    assert read({"event": "opened"}) is None


def test_a_body_that_cannot_be_read_is_left_to_a_plugin_where_there_is_one():
    request = InboundRequest(method="POST", body=b"{", received_at=AT)
    assert declared.read_call(WEBHOOK, request, others_read=True) is None
    with pytest.raises(PermanentError, match="cannot be read"):
        declared.read_call(WEBHOOK, request)


def test_a_body_that_cannot_be_read_is_not_the_plugins_where_the_query_names_an_event_with_a_rule():
    request = InboundRequest(method="POST", query="event_name=left", body=b"{", received_at=AT)
    with pytest.raises(PermanentError, match="cannot be read"):
        declared.read_call(WEBHOOK, request, others_read=True)


def test_an_opt_out_counts_and_a_grant_only_where_the_contact_shows_it():
    (report,) = told({"event": "left", "email": ADA}, consents={"newsletter": "granted", "service": "pending"})
    assert report.consents == {"newsletter": "denied"}
    (report,) = told({"event": "left", "email": ADA}, consents={"service": "granted"})
    assert report.consents == {"newsletter": "denied", "service": "granted"}
    assert (report.confirmed, report.evidence, report.at) == (True, {"webhook_event": "left"}, AT)
    assert (report.email, report.remote_id) == (ADA, "7")


def test_fields_are_values_of_the_body_and_what_it_does_not_say_clears_nothing():
    order = {"event": "order", "email": ADA}
    report, _ = told({**order, "order": {"id": 1, "status": "paid"}, "tags": ["a", None, 2]})
    assert report.fields == {"order_status": "paid", "tags": ["a", 2]}
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


@pytest.mark.parametrize("contact", [Report(email=ADA.upper()), Report(remote_id="7")])
def test_a_contact_is_the_one_whose_address_is_the_same(contact):
    assert declared.check_contact(read({"event": "left", "email": ADA}), contact) is contact
