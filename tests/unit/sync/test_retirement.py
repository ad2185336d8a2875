"""Taking a former contact off every list: what is told, and to which contact."""

from __future__ import annotations

import pytest

from esplanade.clock import as_datetime
from esplanade.model import ConsentTarget
from esplanade.records import Contact, Delivery
from esplanade.sync.plan import FormerRef, Send, Skip, sent_values
from esplanade.sync.retirement import audiences_to_leave, plan_retirement, purposes_to_leave

OLD = "a@old.example"


def contact(**known):
    return Contact(**{"email": OLD, "remote_id": "1", **known})


def delivery(kind="consent", subject="newsletter"):
    subject = subject if kind == "consent" else ""
    return Delivery(id=7, rev=2, lane="webpower", kind=kind, person=1, subject=subject, first_at=500.0)


def decide(work, person, former, connector, change="new-contact"):
    return plan_retirement(work, person, former, connector, address_change=change)


@pytest.mark.parametrize("held", ["granted", "pending", None])
def test_a_contact_leaves_each_purpose_for_which_it_may_be_mailed(connector, held):
    one = connector(consents={"newsletter": ConsentTarget(), "service": ConsentTarget()})
    assert purposes_to_leave(contact(consents={"newsletter": held} if held else {}), one) == ["newsletter", "service"]


@pytest.mark.parametrize("left", [{"consents": {"newsletter": "denied"}}, {"consents": {"newsletter": "absent"}}])
def test_a_contact_does_not_leave_twice(connector, left):
    assert purposes_to_leave(contact(**left), connector()) == []
    assert purposes_to_leave(contact(told={"newsletter": 5.0}), connector()) == []


def test_a_contact_leaves_only_audiences_that_the_hub_gave_it_and_still_maps(connector):
    assert audiences_to_leave(contact(audiences=["vip", "bygone"]), connector()) == ["vip"]


def test_the_old_address_is_opted_out_whatever_the_person_agreed_to(connector, person):
    former = contact(consents={"newsletter": "granted"})
    send = decide(delivery(), person(newsletter="granted"), former, connector())
    assert isinstance(send, Send)
    event = send.event
    assert (event.person, event.email, event.remote_id) == ("p-1", OLD, "1")
    assert (event.purpose, event.state, event.target) == ("newsletter", "denied", connector().consents["newsletter"])
    assert (event.delivery_id, event.held, event.said_at) == ("7.2", {"newsletter": "granted"}, as_datetime(500.0))
    assert (send.consent, send.email, send.former) == (("newsletter", "denied"), OLD, FormerRef(OLD, "1"))


def test_the_old_address_leaves_the_audiences_and_nothing_else_is_written_to_it(connector, person):
    former = contact(audiences=["vip"], fields={"first_name": "Ada"})
    ada = person(fields={"firstname": "Ada L."}, audiences={"vip": True, "staff": True})
    send = decide(delivery("profile"), ada, former, connector())
    assert isinstance(send, Send)
    event = send.event
    assert (event.email, event.remote_id, event.previous_email) == (OLD, "1", None)
    assert (event.changed, event.cleared, event.desired) == ({}, [], {"first_name": "Ada"})
    assert (event.audiences.add, list(event.audiences.remove)) == ({}, ["vip"])
    assert (send.left, send.joined, send.fields) == (["vip"], [], {})


@pytest.mark.parametrize("kind", ["consent", "profile"])
def test_what_a_former_contact_is_told_echoes_nothing_of_the_persons_own(connector, person, kind):
    assert sent_values(decide(delivery(kind), person(), contact(audiences=["vip"]), connector())) == {}


@pytest.mark.parametrize("former", [None, contact(email="ADA@example.com")])
def test_a_contact_that_is_the_persons_own_again_leaves_nothing(connector, person, former):
    assert decide(delivery(), person(), former, connector()) == Skip(
        reason="unchanged", detail="the former contact is the person's own again, or gone"
    )


def test_a_vendor_that_merges_is_told_with_the_profile(connector, person):
    decided = decide(delivery(), person(), contact(), connector(), "merge")
    assert isinstance(decided, Skip)
    assert decided.reason == "unchanged"


def test_what_is_no_longer_mapped_is_left_alone(connector, person):
    assert decide(delivery(subject="service"), person(), contact(), connector()) == Skip(reason="not-mapped")
    assert decide(delivery("profile"), person(), contact(audiences=["bygone"]), connector()) == Skip(reason="unchanged")
