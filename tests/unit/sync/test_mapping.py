"""Between the hub's names and a vendor's, and what a vendor should hold."""

from __future__ import annotations

import pytest

from esplanade.model import ConsentTarget
from esplanade.sync import mapping


def test_fields_have_the_vendors_name_and_back(connector):
    webpower = connector()
    assert mapping.vendor_name(webpower, "firstname") == "first_name"
    assert mapping.hub_name(webpower, "first_name") == "firstname"


def test_a_field_that_is_not_mapped_has_no_name_there(connector):
    webpower = connector()
    assert mapping.vendor_name(webpower, "ltv") is None
    assert mapping.hub_name(webpower, "firstname") is None


def test_a_connector_of_all_fields_has_the_hubs_names(connector):
    webhook = connector(all_fields=True, fields={})
    assert mapping.vendor_name(webhook, "ltv") == mapping.hub_name(webhook, "ltv") == "ltv"


def test_desired_are_the_mapped_fields_that_may_be_written(connector, person):
    ada = person(fields={"firstname": "Ada", "phone": None, "ltv": 12})
    assert mapping.desired_fields(ada, connector(), frozenset()) == {"first_name": "Ada", "mobile": None}
    assert mapping.desired_fields(ada, connector(), frozenset({"mobile"})) == {"first_name": "Ada"}


def test_desired_are_the_mapped_audiences_about_which_something_was_said(connector, person):
    ada = person(audiences={"vip": True, "churn-risk": True})
    assert mapping.desired_audiences(ada, connector()) == {"vip": True}


@pytest.mark.parametrize(
    ("said", "plain", "asking"),
    [
        ("granted", "granted", "granted"),
        ("denied", "denied", "denied"),
        ("pending", None, "pending"),
        (("pending", "denied"), "denied", "pending"),
    ],
)
def test_a_request_is_the_askers_business_alone(connector, person, asks, said, plain, asking):
    ada = person(newsletter=said)
    assert mapping.desired_consent(ada, connector(), "newsletter") == plain
    assert mapping.desired_consent(ada, connector(consents={"newsletter": asks}), "newsletter") == asking


def test_a_vendor_is_told_nothing_of_a_purpose_that_is_not_mapped_or_was_not_spoken_of(connector, person):
    assert mapping.desired_consent(person(service="granted"), connector(), "service") is None
    assert mapping.desired_consent(person(), connector(), "newsletter") is None


def test_a_change_concerns_those_who_map_it(connector):
    webpower = connector()
    assert mapping.touches(webpower, {"firstname", "ltv"}, set())
    assert mapping.touches(webpower, set(), {"vip"})
    assert not mapping.touches(webpower, {"ltv"}, {"churn-risk"})
    assert mapping.touches(connector(all_fields=True, fields={}), {"ltv"}, set())


def test_the_asker_is_the_connector_that_has_a_purpose_confirmed(connector, asks):
    plain, asker = connector("sparkloop"), connector("webpower", consents={"newsletter": asks})
    both = {"sparkloop": plain, "webpower": asker}
    assert mapping.asker(both, "newsletter") is asker
    assert mapping.asker(both, "service") is None
    assert mapping.asker({"sparkloop": plain}, "newsletter") is None


@pytest.mark.parametrize("off", [{"enabled": False}, {"receives": ["profile"]}])
def test_a_connector_that_is_sent_no_consents_asks_nobody(connector, asks, off):
    silent = connector(consents={"newsletter": asks, "service": ConsentTarget()}, **off)
    assert mapping.asker({"webpower": silent}, "newsletter") is None
