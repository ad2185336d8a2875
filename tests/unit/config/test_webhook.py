"""How ``webhook:`` is read, and what must hold between it and the rest of the file."""

from __future__ import annotations

from textwrap import indent

import pytest
from msgspec.structs import replace

from esplanade import BodyPath
from esplanade.config.model import Webhook

from .conftest import TYPES

HEAD = """\
connectors:
  a:
    plugin: acme
    settings: {account: a, api_key: k}
    fields: {firstname: FNAME}
    consents: {newsletter: {group: 1}, service: {group: 2}}
    triggers: {mine: {mailing: 1}}
    webhook:
"""


ONE = "events: {x: {trigger: clicked}}"


OTHER = "  b: {plugin: acme, settings: {account: b, api_key: k}, triggers: {clicked: {mailing: 1}}}\n"


def block(lines, other=OTHER):
    return HEAD + indent(lines, "      ") + "\n" + other


def test_a_whole_block(load):
    webhook = (
        load(
            block(
                "content_type: xml\n"
                "email: contact.email\n"
                "event: [kind, 'data[0].kind']\n"
                "events:\n"
                "  left: {consents: {newsletter: denied, service: granted}}\n"
                "  order: {trigger: clicked, fields: {order_status: order.status}, event_id: [order.id, order.status]}\n"
            )
        )
        .connectors["a"]
        .webhook
    )
    assert (webhook.content_type, webhook.email) == ("xml", BodyPath("contact.email"))
    assert webhook.event == ["kind", "data[0].kind"]
    assert all(isinstance(path, BodyPath) for path in webhook.event)
    assert webhook.events["left"].consents == {"newsletter": "denied", "service": "granted"}
    assert webhook.events["order"].fields == {"order_status": "order.status"}
    assert webhook.events["order"].event_id == ["order.id", "order.status"]


def test_what_is_left_out(load):
    config = load(block("events: {x: {trigger: clicked}}"))
    webhook = config.connectors["a"].webhook
    assert (webhook.content_type, webhook.event) == (None, ["event", "event_name"])
    assert webhook.email[0] == "emailaddress"
    assert webhook.email == Webhook(events={}).email
    assert config.warnings == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("{}", "8:5: events: missing; add it with keys"),
        ("events: {}", "9:7: events: says nothing; write what a value means, such as"),
        ("evnts: {x: {trigger: clicked}}\n" + ONE, "9:7: evnts: unknown key; did you mean event"),
        ("content_type: html\n" + ONE, "9:21: content_type: 'html' is not one of json, form, xml, text"),
        ("email: a..b\n" + ONE, "9:14: email: expected the way to a value in the body"),
        ("email: [a, 'b[']\n" + ONE, "9:18: email[1]: expected the way to a value"),
        ("email: []\n" + ONE, "9:7: email: names no path; write one"),
        ("event: {a: b}\n" + ONE, "9:14: event: expected a list of path"),
        ("events: {x: {}}", "9:16: events.x: says nothing; give it trigger, consents or fields"),
        ("events: {x: {event_id: id}}", "9:16: events.x: says nothing"),
        ("events: {x: {triger: clicked}}", "9:20: events.x.triger: unknown key; did you mean trigger?"),
        ("events: {x: {consents: {newsletter: pending}}}", "9:43: events.x.consents.newsletter: 'pending' is not one of"),
        ("events: {x: {consents: {newsleter: denied}}}", "9:42: events.x.consents.newsleter: not a consent of this"),
        ("events: {x: {consents: {parties: denied}}}", "not a consent of this connector; this connector has newsletter, service"),
        ("events: {x: {fields: {firstname: name}}}", "9:40: events.x.fields.firstname: this connector maps the field"),
        ("events: {x: {fields: {age: 'a.'}}}", "9:34: events.x.fields.age: expected the way to a value"),
        ("events: {x: {trigger: '*'}}", "9:29: events.x.trigger: not the name of a trigger; write one such"),
        ("events: {x: {trigger: ' clicked'}}", "not the name of a trigger"),
        (f"events: {{x: {{trigger: {'x' * 201}}}}}", "of at most 200 characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(problems, lines, problem):
    (found,) = problems(block(lines))
    assert problem in found.replace("connectors.a.webhook.", "")


@pytest.mark.parametrize("plugin", ["small"])
def test_a_plugin_that_reads_no_single_contact_has_no_block(problems, plugin):
    text = (
        "connectors:\n  a: {plugin: small, consents: {news: {}}, webhook: {events: {x: {consents: {news: denied}}}}}\n"
    )
    (found,) = problems(text)
    assert found.startswith(
        "2:44: connectors.a.webhook: the plugin small cannot read one contact again (it has no fetch)"
    )


def test_a_connector_that_maps_every_field_has_none_to_take_from_a_body(problems):
    text = "connectors:\n  a: {plugin: small, webhook: {events: {x: {fields: {age: a}}}}}\n"
    assert len(problems(text)) == 2


def test_a_plugin_that_could_not_be_loaded_costs_the_checks_of_the_core_nothing(problems):
    text = "connectors:\n  a: {plugin: gone, webhook: {events: {x: {consents: {news: denied}}}}}\n"
    (found,) = problems(text)
    assert found.endswith("connectors.a.webhook.events.x.consents.news: not a consent of this connector; remove it")


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        ("events: {x: {trigger: cliked}}", "no other connector that runs maps a trigger called cliked; did you mean clicked?"),
        ("events: {x: {trigger: order-status}}", "a trigger called order-status; it will be recorded and go nowhere"),
        ("events: {x: {trigger: clicked}, X: {trigger: clicked}}", "webhook.events.X: differs from x only in capitals"),
    ],
)  # fmt: skip
def test_what_is_unwise_is_a_warning(load, lines, warning):
    (found,) = load(block(lines)).warnings
    assert warning in found


@pytest.mark.parametrize(
    "other",
    [
        "",
        OTHER.replace("{plugin", "{enabled: false, plugin"),
        OTHER.replace("{plugin", "{receives: [profile], plugin"),
        OTHER.replace("clicked", "opened"),
    ],
)
def test_a_trigger_goes_nowhere_but_to_another_connector_that_runs_and_takes_triggers(load, other):
    warnings = load(block(ONE, other)).warnings
    assert [each for each in warnings if "no other connector that runs maps a trigger called clicked" in each]


def test_what_a_connector_maps_itself_hears_nothing_of_its_own_calls(load):
    (warning,) = load(block(ONE.replace("clicked", "mine"))).warnings
    assert "no other connector that runs maps a trigger called mine" in warning


def test_settings_with_which_one_contact_cannot_be_read_have_no_block(problems, types, monkeypatch):
    acme = replace(types["acme"], can_fetch=lambda settings: settings.mode == "full")
    monkeypatch.setitem(TYPES, "acme", acme)
    (found,) = problems(block(ONE))
    assert "webhook: with these settings the plugin acme cannot read one contact again" in found
    assert problems(block(ONE).replace("api_key: k", "api_key: k, mode: full", 1)) == []


def test_a_rule_that_sends_leaves_out_is_a_warning(load):
    text = block(
        "events: {x: {trigger: clicked, fields: {age: a}, consents: {service: denied}}}",
        "    sends: [profile]\n" + OTHER,
    )
    assert [line.partition(" ")[2] for line in load(text).warnings] == [
        "connectors.a.webhook.events.x.trigger: does nothing, because `sends` leaves out trigger; add it there or remove this",
        "connectors.a.webhook.events.x.consents: does nothing, because `sends` leaves out consent; add it there or remove this",
    ]
