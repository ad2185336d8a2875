"""People at SmartEmailing see and do what the conformance suite asks of them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from esplanade.testing import FORGERIES, Furnishing
from esplanade_smartemailing.settings import (
    DoubleOptIn,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingTrigger,
)
from esplanade_smartemailing.twin import SmartEmailingTwin

EMAIL = "noor@example.net"
ASKING = DoubleOptIn(email_id=41, from_address="a@shop.example", sender_name="Shop", reply_to="a@shop.example")
FURNISHING = Furnishing(
    fields=["name", "loyalty_tier"],
    consents={
        "newsletter": SmartEmailingConsent(list=7, double_opt_in=ASKING),
        "service": SmartEmailingConsent(list=9),
    },
    audiences={"vip": SmartEmailingAudience(list=12), "churn-risk": SmartEmailingAudience()},
    triggers={"order": SmartEmailingTrigger(email_id=71), "cart": SmartEmailingTrigger(event="cart")},
)
SENDER = {"from": "a@shop.example", "sender_name": "Shop", "reply_to": "a@shop.example"}


@pytest.fixture
def side(twin):
    twin.furnish(FURNISHING)
    return twin.side(FURNISHING)


def test_a_sign_up_its_edits_and_its_consents(side, twin):
    side.sign_up(
        EMAIL, {"name": "Noor", "loyalty_tier": "gold", "interests": "red, green", "points": "7"}, ["newsletter"]
    )
    found = side.find("NOOR@example.net")
    assert (found.remote_id, found.consents, found.audiences) == ("5001", {"newsletter": "granted"}, frozenset())
    assert found.fields == {"name": "Noor", "loyalty_tier": "gold", "interests": "red, green", "points": "7"}
    side.edit(EMAIL, {"name": "", "loyalty_tier": ""})
    side.opt_out(EMAIL, "newsletter")
    side.opt_in(EMAIL, "service")
    side.join(EMAIL, "vip")
    found = side.find(EMAIL)
    assert found.consents == {"newsletter": "denied", "service": "granted"}
    assert (found.audiences, "name" in found.fields) == ({"vip"}, False)
    side.opt_in(EMAIL, "newsletter")
    side.wipe("service")
    assert side.find(EMAIL).consents == {"newsletter": "granted"}
    twin.blacklist(EMAIL)
    assert side.find(EMAIL).consents == {"newsletter": "denied", "service": "denied"}
    side.bounce(EMAIL)
    side.readdress(EMAIL, "n@example.net")
    assert side.find(EMAIL) is None
    side.remove("n@example.net")
    side.join("new@example.net", "vip")
    assert [each.email for each in side.contacts()] == ["new@example.net"]
    with pytest.raises(LookupError):
        side.edit(EMAIL, {})


async def test_a_question_is_pending_until_the_click(side, load):
    asking = {"campaign": {"email_id": 41, "sender_credentials": SENDER}, "send_to_mode": "all"}
    await load({"emailaddress": EMAIL})
    await load(
        {"emailaddress": EMAIL, "contactlists": [{"id": 7, "status": "confirmed"}]}, double_opt_in_settings=asking
    )
    assert (side.find(EMAIL).consents, side.asked(EMAIL)) == ({"newsletter": "pending"}, 1)
    assert side.confirm(EMAIL)
    assert side.find(EMAIL).consents == {"newsletter": "granted"}
    assert not side.confirm(EMAIL)


async def test_mails_are_those_of_the_triggers(side, call, twin):
    task = {
        "recipient": {"emailaddress": EMAIL},
        "template_variables": {"trigger_id": "t-1", "items": [{"title": "Lamp"}]},
    }
    body = {"tag": "order", "email_id": 71, "sender_credentials": SENDER, "tasks": [task]}
    await call("POST", "send/transactional-emails-bulk", body)
    await call("POST", "send/transactional-emails-bulk", {**body, "email_id": 72})
    event = {"emailaddress": EMAIL, "name": "cart", "payload": {"language": "cs", "none": None}}
    await call("POST", "trigger-event", [event])
    order, cart = side.mails()
    assert (order.trigger, order.trigger_id, order.words["items[0].title"]) == ("order", "t-1", "Lamp")
    assert (cart.trigger, cart.language, "none" in cart.words) == ("cart", "cs", False)
    side.unpublish("order")
    side.unpublish("cart")
    assert (await call("POST", "send/transactional-emails-bulk", body)).refused == (422, "E-mail 71 does not exist.")
    assert (await call("POST", "trigger-event", [event])).status == 201
    assert len(side.mails()) == 2


def test_the_set_up_changes(side, twin):
    side.add_field("tastes", "multi-select", ["sweet", "sour"])
    assert [each.name for each in twin.account.options_of(twin.account.field_named("tastes").id)] == ["sweet", "sour"]
    side.retype_field("loyalty_tier")
    assert twin.account.field_named("loyalty_tier").type == "numeric"
    side.drop_field("loyalty_tier")
    assert twin.account.field_named("loyalty_tier") is None
    with pytest.raises(LookupError):
        side.drop_field("loyalty_tier")
    assert side.untidy() == []
    twin.habits.text_length = 10
    assert side.untidy()[0].held == "x" * 10


def test_what_is_registered_is_found_by_its_url(side, twin):
    side.add_webhook("https://else.example.net/")
    twin.hooks.add("https://hub.example.net/?event_name=new_contact", "new_contact")
    side.spoil_webhook("https://hub.example.net/")
    assert side.webhooks() == [
        "updated_contact https://else.example.net/ active=True",
        "new_contact https://hub.example.net/?event_name=new_contact active=False",
    ]
    side.drop_webhook("https://hub.example.net/")
    assert len(side.webhooks()) == 1


async def test_calls_are_genuine_and_forgeries_are_not(side, hub, twin):
    calls = side.calls()
    assert len(calls) == 15
    assert {each.headers["Authorization"] for each in calls.values()} == {calls["new_contact"].headers["Authorization"]}
    assert all("k=demo-secret-of-webhooks" in each.query for each in calls.values())
    forged = side.forgeries()
    assert {name.partition(":")[0] for name in forged} <= set(FORGERIES)
    assert not [name for name, each in forged.items() if each in calls.values()]
    assert "polished_contact" in side.unheard_of().query
    side.sign_up(EMAIL, {}, [])
    side.tell(EMAIL)
    _, query, _, body = await asyncio.wait_for(hub.came.get(), 5)
    assert query == "event_name=updated_contact&k=demo-secret-of-webhooks"
    assert msgspec.json.decode(body)["emailaddress"] == EMAIL


def test_without_secrets_nothing_can_be_forged():
    plain = msgspec.structs.replace(
        SmartEmailingTwin.demo_settings(),
        webhook_shared_secret=type(SmartEmailingTwin.demo_settings().api_key)(""),
        basic_auth=None,
    )
    side = SmartEmailingTwin(plain).side(FURNISHING)
    assert side.forgeries() == {}
    assert side.calls()["new_contact"].query == "event_name=new_contact"
    side.tell(EMAIL)
