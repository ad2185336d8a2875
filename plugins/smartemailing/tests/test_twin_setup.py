"""What an account is set up with, and what the hub and its operators ask of the twin (section 4 of the fact sheet)."""

from __future__ import annotations

from esplanade.testing import Furnishing
from esplanade_smartemailing.settings import (
    DoubleOptIn,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingTrigger,
)
from esplanade_smartemailing.twin import SmartEmailingTwin

NOW = "2026-01-15 11:00:00"
ADA = {"emailaddress": "ada@example.com", "name": "Ada", "surname": "Byron"}


# The set-up: section 4.


async def test_lists_are_made_changed_and_read(call):
    body = {"name": "New", "sendername": "Shop", "senderemail": "a@shop.example", "replyto": "b@shop.example"}
    made = await call("POST", "contactlists", body)
    assert (made.status, made.data["id"], made.data["publicname"]) == (201, 13, None)
    assert (await call("PUT", "contactlists/13", {"publicname": "Public"})).data["publicname"] == "Public"
    assert (await call("GET", "contactlists/13", select="name,publicname")).data == {
        "name": "New",
        "publicname": "Public",
    }
    assert [each["id"] for each in (await call("GET", "contactlists", sort="-id")).data] == [13, 12, 9, 7]
    for wrong in ({"name": "x"}, {**body, "name": " "}, {**body, "replyto": "x"}, {**body, "colour": "red"}):
        assert (await call("POST", "contactlists", wrong)).refused[0] == 422
    assert (await call("PUT", "contactlists/13", {"senderemail": "x"})).refused[0] == 422
    assert (await call("PUT", "contactlists/99", {})).refused[0] == 404


async def test_names_need_not_be_unique_unless_a_habit_says_so(call, twin):
    assert (await call("POST", "customfields", {"name": "points", "type": "text"})).status == 201
    twin.habits.unique_names = True
    assert (await call("POST", "customfields", {"name": "points", "type": "text"})).refused[0] == 422


async def test_custom_fields_have_options(call, load):
    found = (await call("GET", "customfields", name="interests", expand="customfield_options")).data[0]
    assert [each["name"] for each in found["customfield_options"]] == ["red", "blue", "green"]
    assert "customfield_options_url" in (await call("GET", "customfields/1")).data
    made = await call("POST", "customfields", {"name": "Fruit", "type": "radio"})
    assert made.data == {"id": 7, "options": None, "name": "Fruit", "type": "radio"}
    option = await call("POST", "customfield-options", {"customfield_id": 7, "order": 1, "name": "Fig"})
    assert (option.status, option.data) == (201, {"id": 7, "customfield_id": 7, "order": 1, "name": "Fig"})
    assert (await call("PATCH", "customfield-options/7", {"name": "Pear"})).data["name"] == "Pear"
    assert (await call("PATCH", "customfield-options/7", {"customfield_id": 1})).refused[0] == 422
    assert (await call("GET", "customfield-options", customfield_id="7")).data[0]["name"] == "Pear"
    assert (await call("GET", "customfield-options/7")).data["order"] == 1
    for wrong in (
        {"customfield_id": 1, "order": 1, "name": "x"},
        {"customfield_id": 99, "order": 1, "name": "x"},
        {"name": "x"},
    ):
        assert (await call("POST", "customfield-options", wrong)).refused[0] == 422
    assert (await call("POST", "customfields", {"name": "x", "type": "colour"})).refused[0] == 422


async def test_what_is_deleted_leaves_the_contacts_too(call, load, twin):
    await load({**ADA, "customfields": [{"id": 1, "value": "gold"}, {"id": 5, "options": [1, 2]}]})
    assert (await call("DELETE", "customfield-options/1")).status == 204
    assert (await call("DELETE", "customfields/1")).status == 204
    assert (await call("DELETE", "customfields/1")).refused[0] == 404
    assert (await call("DELETE", "customfield-options/1")).refused[0] == 404
    assert twin.account.contact(5001).custom == {5: [2]}


async def test_purposes_are_made_and_listed(call):
    body = {"lawful_basis": "contract", "name": "Pizza", "duration": {"value": 10, "unit": "days"}, "notes": None}
    made = await call("POST", "purposes", body)
    assert made.data == {**body, "id": 3, "created_at": NOW}
    assert [each["name"] for each in (await call("GET", "purposes", lawful_basis="contract")).data] == ["Pizza"]
    for wrong in (
        {**body, "lawful_basis": "because"},
        {**body, "duration": {"value": 1, "unit": "weeks"}},
        {**body, "duration": {"value": 0, "unit": "days"}},
    ):
        assert (await call("POST", "purposes", wrong)).refused[0] == 422
    assert (await call("GET", "purposes", sort="duration")).refused[0] == 422


async def test_confirmation_emails_are_those_with_the_link(call):
    assert [each["id"] for each in (await call("GET", "emails")).data] == [41, 71, 72]
    assert [each["id"] for each in (await call("GET", "confirmation-emails")).data] == [41]
    assert (await call("GET", "emails/71")).data["name"] == "Order confirmation"


# What the hub and its operators ask of a twin.


def test_furnishing_makes_what_the_configuration_points_at():
    twin = SmartEmailingTwin(SmartEmailingTwin.demo_settings())
    asking = DoubleOptIn(email_id=4, from_address="a@b.cz", sender_name="A", reply_to="a@b.cz")
    furnishing = Furnishing(
        fields=["name", "shoe_size", "points"],
        consents={"sms": SmartEmailingConsent(list=70, purpose=71, double_opt_in=asking)},
        audiences={"loyal": SmartEmailingAudience(list=72), "unnamed": SmartEmailingAudience()},
        triggers={"cart": SmartEmailingTrigger(event="cart"), "order": SmartEmailingTrigger(email_id=73)},
    )
    for _ in range(2):
        twin.furnish(furnishing)
    account = twin.account
    assert [each.name for each in account.fields.values()].count("shoe_size") == 1
    assert account.field_named("name") is None
    assert {70: "sms", 72: "loyal"}.items() <= {number: each.name for number, each in account.lists.items()}.items()
    assert account.purposes[71].name == "sms"
    assert account.emails[4].asks_to_confirm
    assert account.emails[73].name == "order"
    assert [each.event for each in twin.scenarios.scenarios] == ["cart"]


async def test_the_snapshot_and_the_doors(call, client, load, twin):
    await load(
        {**ADA, "customfields": [{"id": 5, "options": [2, 1]}], "contactlists": [{"id": 7, "status": "confirmed"}]}
    )
    async with client.post("/__twin__/unsubscribe", json={"email": "ada@example.com", "list": 7}) as answer:
        assert answer.status == 204
    for door in ("unsubscribe", "confirm"):
        async with client.post(f"/__twin__/{door}", json={"email": "nobody@example.com"}) as answer:
            assert answer.status == 404
    held = twin.snapshot()
    assert held["contacts"]["ada@example.com"] == {
        "id": 5001,
        "fields": {"interests": "blue, red", "name": "Ada", "surname": "Byron"},
        "lists": {"7": "unsubscribed"},
        "purposes": [],
        "blacklisted": 0,
        "hardbounced": 0,
    }
    async with client.get("/__twin__/snapshot") as answer:
        assert await answer.json() == held


def test_the_credentials_point_a_connector_here():
    twin = SmartEmailingTwin(SmartEmailingTwin.demo_settings())
    twin.origin = "http://127.0.0.1:9"
    assert twin.rewired(twin.settings).api_url == "http://127.0.0.1:9/api/v3"
    assert twin.credentials()["username"] == "demo@shop.example"
    assert SmartEmailingTwin.name == "smartemailing"
