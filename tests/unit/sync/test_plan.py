"""What a waiting delivery comes to: the event for the plugin, or the reason why nothing is sent."""

from __future__ import annotations

import pytest

from esplanade.clock import as_datetime
from esplanade.connector import Traits
from esplanade.model import ProductSet, TriggerTarget
from esplanade.records import Delivery, Remote
from esplanade.sync.plan import Send, Skip, TriggerBody, is_urgent_denial, plan, sent_values, trigger_target

NOW = 10_000.0
PLAIN = Traits()
CART = TriggerBody(
    trigger_id="t-9", at=9_000.0, language="nl", data={"cart": "C-7"}, products=ProductSet(items=[], set="seen")
)


def delivery(kind="profile", subject="", **more):
    known = {"rev": 3, "due_at": NOW, "first_at": 9_500.0}
    return Delivery(id=7, lane="webpower", kind=kind, person=1, subject=subject, **{**known, **more})


def remote(**known):
    return Remote(person=1, connector="webpower", **{"email": "ada@example.com", "remote_id": "9001", **known})


def decide(work, person, held, connector, *, traits=PLAIN, trigger=None):
    return plan(work, person, held, connector, traits=traits, now=NOW, trigger=trigger)


def skipped(decided):
    assert isinstance(decided, Skip), decided
    return (decided.reason, decided.detail)


def sent(decided):
    assert isinstance(decided, Send), decided
    return decided


# Profiles.


def test_a_person_whom_the_vendor_does_not_know_is_sent_whole(connector, person):
    ada = person(fields={"firstname": "Ada", "phone": None, "ltv": 12}, audiences={"vip": True, "staff": False})
    send = sent(decide(delivery(), ada, None, connector()))
    event = send.event
    assert (event.delivery_id, event.person, event.cdp_id) == ("7.3", "p-1", "u-1")
    assert (event.email, event.previous_email, event.remote_id) == ("ada@example.com", None, None)
    assert (event.changed, event.cleared, event.desired) == ({"first_name": "Ada"}, [], {"first_name": "Ada"})
    assert (list(event.audiences.add), list(event.audiences.remove)) == (["vip"], [])
    assert (event.held, event.at) == ({}, as_datetime(9_500.0))
    assert (send.fields, send.joined, send.left) == ({"first_name": "Ada"}, ["vip"], [])
    assert (send.email, send.consent) == ("ada@example.com", None)


def test_a_person_whom_the_vendor_knows_is_sent_what_differs(connector, person):
    ada = person(fields={"firstname": "Ada", "phone": None}, audiences={"vip": False})
    held = remote(
        fields={"first_name": "A.", "mobile": "06"},
        audiences={"vip": True},
        owned=["vip"],
        consents={"newsletter": "granted"},
    )
    send = sent(decide(delivery(), ada, held, connector()))
    assert (send.event.changed, send.event.cleared) == ({"first_name": "Ada"}, ["mobile"])
    assert (send.event.remote_id, send.event.held) == ("9001", {"newsletter": "granted"})
    assert send.event.audiences.remove == {"vip": connector().audiences["vip"]}
    assert (send.fields, send.left) == ({"first_name": "Ada", "mobile": None}, ["vip"])


def test_a_rename_names_the_address_that_the_vendor_knows(connector, person):
    send = sent(decide(delivery(), person(), remote(email="a@old.example"), connector()))
    assert (send.event.previous_email, send.event.email) == ("a@old.example", "ada@example.com")


def test_a_person_of_whom_nothing_is_mapped_is_still_made_known(connector, person):
    assert sent(decide(delivery(), person(), None, connector())).fields == {}
    assert sent(decide(delivery(), person(), remote(email=None), connector())).fields == {}


def test_what_the_vendor_holds_already_is_not_sent(connector, person):
    ada = person(fields={"firstname": "Ada"})
    assert skipped(decide(delivery(), ada, remote(fields={"first_name": "Ada"}), connector())) == ("unchanged", "")


def test_an_uncertain_base_is_sent_even_when_equal(connector, person):
    ada = person(fields={"firstname": "Ada"})
    held = remote(fields={"first_name": "Ada"}, unknown=True)
    assert sent(decide(delivery(), ada, held, connector())).fields == {"first_name": "Ada"}


def test_a_forced_profile_is_sent_whole_even_when_equal(connector, person):
    ada = person(fields={"firstname": "Ada"})
    held = remote(fields={"first_name": "Ada"})
    assert sent(decide(delivery(force=True), ada, held, connector())).event.changed == {"first_name": "Ada"}


def test_a_membership_that_the_hub_does_not_own_stays(connector, person):
    ada = person(audiences={"vip": False, "staff": False})
    held = remote(audiences={"vip": True, "staff": True})
    assert skipped(decide(delivery(), ada, held, connector())) == ("not-owned", "vip, staff")


def test_a_read_only_field_is_never_sent(connector, person):
    ada = person(fields={"firstname": "Ada"})
    held = remote(fields={"first_name": "A."})
    assert skipped(decide(delivery(), ada, held, connector(), traits=Traits(read_only=frozenset({"first_name"})))) == (
        "unchanged",
        "",
    )


# Requires: fail closed.

NOT_GRANTED = ["denied", "pending", ("pending", "denied"), None]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("said", NOT_GRANTED)
def test_without_the_required_grant_no_profile_leaves(connector, person, said, force):
    ada = person(fields={"firstname": "Ada"}, **({"newsletter": said} if said else {}))
    decided = decide(delivery(force=force), ada, remote(), connector(requires="newsletter"))
    assert skipped(decided) == ("no-consent", "requires newsletter")


def test_with_the_required_grant_the_profile_leaves(connector, person):
    sent(decide(delivery(), person(newsletter="granted"), None, connector(requires="newsletter")))


@pytest.mark.parametrize("said", NOT_GRANTED)
def test_without_the_required_grant_no_grant_of_another_purpose_leaves(connector, person, said):
    target = connector().consents["newsletter"]
    strict = connector(requires="newsletter", consents={"newsletter": target, "service": target})
    ada = person(service="granted", **({"newsletter": said} if said else {}))
    assert skipped(decide(delivery("consent", "service"), ada, remote(), strict))[0] == "no-consent"


def test_the_request_for_the_required_grant_itself_leaves(connector, person, asks):
    strict = connector(requires="newsletter", consents={"newsletter": asks})
    assert sent(decide(delivery("consent", "newsletter"), person(newsletter="pending"), None, strict))


def test_an_opt_out_passes_to_whoever_may_hold_the_person(connector, person):
    strict, ada = connector(requires="newsletter"), person(newsletter="denied")
    work = delivery("consent", "newsletter")
    for held in (remote(), remote(email=None, unknown=True), remote(email=None, consents={"newsletter": "granted"})):
        assert sent(decide(work, ada, held, strict)).consent == ("newsletter", "denied")


@pytest.mark.parametrize("held", [None, Remote(person=1, connector="webpower")])
def test_an_opt_out_is_not_told_to_a_vendor_that_never_heard_of_the_person(connector, person, held):
    strict = connector(requires="newsletter")
    decided = decide(delivery("consent", "newsletter"), person(newsletter="denied"), held, strict)
    assert skipped(decided) == ("no-consent", "never told of this person")


# Consents.


@pytest.mark.parametrize("state", ["granted", "denied"])
def test_a_consent_carries_what_was_said_and_what_goes_along(connector, person, state):
    ada = person(fields={"firstname": "Ada", "phone": ""}, newsletter=state)
    send = sent(decide(delivery("consent", "newsletter"), ada, remote(), connector()))
    event = send.event
    assert (event.purpose, event.state, event.method) == ("newsletter", state, "single")
    assert (event.target, event.said_at) == (connector().consents["newsletter"], as_datetime(50.0))
    assert (event.desired, event.remote_id, event.email) == ({"first_name": "Ada"}, "9001", "ada@example.com")
    assert (send.consent, send.email, send.fields) == (("newsletter", state), "ada@example.com", {})


def test_an_opt_out_goes_to_the_address_that_the_vendor_knows(connector, person):
    held = remote(email="a@old.example")
    work = delivery("consent", "newsletter")
    assert sent(decide(work, person(newsletter="denied"), held, connector())).event.email == "a@old.example"
    assert sent(decide(work, person(newsletter="granted"), held, connector())).event.email == "ada@example.com"


def test_a_consent_that_the_vendor_holds_already_is_not_sent(connector, person):
    held = remote(consents={"newsletter": "granted"})
    decided = decide(delivery("consent", "newsletter"), person(newsletter="granted"), held, connector())
    assert skipped(decided) == ("unchanged", "")


def test_a_forced_or_uncertain_consent_is_sent_though_equal(connector, person):
    ada = person(newsletter="denied")
    known = {"newsletter": "denied"}
    assert sent(decide(delivery("consent", "newsletter", force=True), ada, remote(consents=known), connector()))
    assert sent(decide(delivery("consent", "newsletter"), ada, remote(consents=known, unknown=True), connector()))


def test_nobody_is_asked_to_confirm_twice_for_an_uncertain_base(connector, person, asks):
    held = remote(consents={"newsletter": "pending"}, unknown=True)
    asking = connector(consents={"newsletter": asks})
    decided = decide(delivery("consent", "newsletter"), person(newsletter="pending"), held, asking)
    assert skipped(decided) == ("unchanged", "")


@pytest.mark.parametrize(
    ("purpose", "reason"), [("service", "not-mapped"), ("newsletter", "no-consent"), ("unheard-of", "not-mapped")]
)
def test_a_consent_of_which_nothing_may_be_said_is_not_sent(connector, person, purpose, reason):
    ada = person(service="granted", newsletter="pending")
    assert skipped(decide(delivery("consent", purpose), ada, remote(), connector()))[0] == reason


def test_no_consent_is_set_where_nothing_was_recorded(connector, person):
    assert skipped(decide(delivery("consent", "newsletter"), person(), remote(), connector()))[0] == "no-consent"


def test_only_an_opt_out_is_urgent(connector, person):
    assert is_urgent_denial(person(newsletter="denied"), connector(), "newsletter")
    assert is_urgent_denial(person(newsletter=("pending", "denied")), connector(), "newsletter")
    assert not is_urgent_denial(person(newsletter="granted"), connector(), "newsletter")
    assert not is_urgent_denial(person(newsletter="denied"), connector(), "service")


# Triggers.


def carts(connector, **target):
    return connector(triggers={"abandoned-cart": TriggerTarget(**target)})


def test_a_trigger_carries_its_event(connector, person):
    ada = person(fields={"firstname": "Ada"})
    work = delivery("trigger", "abandoned-cart", expires_at=NOW + 60)
    event = sent(decide(work, ada, remote(), carts(connector), trigger=CART)).event
    assert (event.trigger, event.trigger_id, event.language) == ("abandoned-cart", "t-9", "nl")
    assert (event.data, event.products.set, event.desired) == ({"cart": "C-7"}, "seen", {"first_name": "Ada"})
    assert (event.at, event.expires_at) == (as_datetime(9_000.0), as_datetime(NOW + 60))


def test_a_trigger_changes_nothing_of_the_base(connector, person):
    send = sent(decide(delivery("trigger", "abandoned-cart"), person(), None, carts(connector), trigger=CART))
    assert sent_values(send) == {"trigger": "abandoned-cart"}  # no key of what a vendor holds: only when it was sent


def test_a_trigger_that_is_not_mapped_is_not_sent(connector, person):
    work = delivery("trigger", "welcome")
    assert skipped(decide(work, person(), None, carts(connector), trigger=CART)) == ("not-mapped", "")


def test_a_star_maps_every_trigger_that_is_not_named(connector):
    star, cart = TriggerTarget(), TriggerTarget(requires="newsletter")
    webhook = connector(triggers={"*": star, "abandoned-cart": cart})
    assert trigger_target(webhook, "abandoned-cart") is cart
    assert trigger_target(webhook, "welcome") is star


@pytest.mark.parametrize(("expires_at", "late"), [(NOW - 1, True), (NOW, True), (NOW + 1, False), (None, False)])
def test_a_trigger_expires(connector, person, expires_at, late):
    work = delivery("trigger", "abandoned-cart", expires_at=expires_at)
    decided = decide(work, person(), None, carts(connector), trigger=CART)
    assert decided == Skip(reason="expired") if late else sent(decided)


def test_an_expired_trigger_is_sent_when_forced(connector, person):
    work = delivery("trigger", "abandoned-cart", expires_at=NOW - 1, force=True)
    assert sent(decide(work, person(), None, carts(connector), trigger=CART))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("said", NOT_GRANTED)
def test_a_trigger_that_requires_a_grant_is_not_sent_without_it(connector, person, said, force):
    ada = person(**({"newsletter": said} if said else {}))
    work = delivery("trigger", "abandoned-cart", force=force)
    decided = decide(work, ada, remote(), carts(connector, requires="newsletter"), trigger=CART)
    assert skipped(decided) == ("no-consent", "requires newsletter")


def test_a_trigger_needs_what_its_target_and_its_connector_require(connector, person):
    strict = connector(requires="service", triggers={"abandoned-cart": TriggerTarget(requires="newsletter")})
    work = delivery("trigger", "abandoned-cart")
    half, whole = person(newsletter="granted"), person(newsletter="granted", service="granted")
    assert skipped(decide(work, half, remote(), strict, trigger=CART)) == ("no-consent", "requires service")
    assert sent(decide(work, whole, remote(), strict, trigger=CART))


# The rest.


@pytest.mark.parametrize("kind", ["webhook", "fold"])
def test_what_comes_in_has_no_plan(connector, person, kind):
    with pytest.raises(ValueError, match=f"kind {kind} has no plan"):
        decide(delivery(kind), person(), None, connector())


def test_what_leaves_is_remembered_under_the_keys_by_which_echoes_are_told(connector, person):
    ada = person(fields={"firstname": "Ada"}, audiences={"vip": True, "staff": False}, newsletter="denied")
    held = remote(audiences={"staff": True}, owned=["staff"])
    profile = sent(decide(delivery(), ada, held, connector()))
    consent = sent(decide(delivery("consent", "newsletter"), ada, held, connector()))
    assert sent_values(profile) == {
        "address": "ada@example.com",
        "field:first_name": "Ada",
        "audience:vip": True,
        "audience:staff": False,
    }
    assert sent_values(consent) == {"consent:newsletter": "denied"}
