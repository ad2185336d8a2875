"""The twin's import is as strict and as odd as the vendor's (sections 5 and 6 of the fact sheet)."""

from __future__ import annotations

import pytest

ADA = {"emailaddress": "ada@example.com"}


def on(number=7, status="confirmed"):
    return {"contactlists": [{"id": number, "status": status}]}


# The request, and what comes back.


async def test_the_map_names_every_contact_in_another_order(load):
    found = await load(*({"emailaddress": f"P{number}@Example.com"} for number in range(4)))
    assert (found.status, found.said["status"], found.said["meta"]) == (201, "created", [])
    assert "data" not in found.said
    assert [each["emailaddress"] for each in found.said["contacts_map"]] == [
        f"p{number}@example.com" for number in (1, 3, 0, 2)
    ]
    assert sorted(each["contact_id"] for each in found.said["contacts_map"]) == [5001, 5002, 5003, 5004]
    assert found.said["double_opt_in_map"] == []


async def test_an_address_that_comes_twice_is_one_contact_and_the_last_word_stands(load, twin):
    found = await load({**ADA, "name": "Ada"}, {"emailaddress": "ADA@example.com", "name": "Augusta"})
    assert found.said["contacts_map"] == [{"emailaddress": "ada@example.com", "contact_id": 5001}]
    assert twin.account.contact(5001).values["name"] == "Augusta"


async def test_addresses_keep_their_capitals_where_a_habit_says_so(load, twin):
    twin.habits.lowers_addresses = False
    assert (await load({"emailaddress": "Ada@Example.com"})).said["contacts_map"][0][
        "emailaddress"
    ] == "Ada@Example.com"
    assert (await load(ADA)).said["contacts_map"][0]["emailaddress"] == "Ada@Example.com"


async def test_500_contacts_are_taken_and_no_more(load, twin):
    contacts = [{"emailaddress": f"p{number}@example.com"} for number in range(501)]
    assert (await load(*contacts)).refused == (422, "Number of contacts must be between 1 and 500.")
    assert (await load()).refused[0] == 422
    assert twin.account.contacts == {}
    assert len((await load(*contacts[:500])).said["contacts_map"]) == 500


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"data": [ADA]},
        {"settings": {}, "data": ADA},
        {"settings": {"update": 1}, "data": [ADA]},
        {"settings": {"add_salutations": False}, "data": [ADA]},
        {"settings": {"create_update_custom_fields": True}, "data": [ADA]},
        {"settings": {}, "data": [ADA], "extra": 1},
        {"settings": {}, "data": [{"name": "Ada"}]},
        {"settings": {}, "data": [{**ADA, "tags": ["x"]}]},
        {"settings": {}, "data": [{**ADA, "Name": "Ada"}]},
        {"settings": {}, "data": [{**ADA, "name": 7}]},
        {"settings": {}, "data": [{**ADA, "gender": "X"}]},
        {"settings": {}, "data": [{**ADA, "language": "czech"}]},
        {"settings": {}, "data": [{**ADA, "birthday": "1990-12-10"}]},
        {"settings": {}, "data": [{**ADA, "birthday": "1990-13-10 00:00:00"}]},
        {"settings": {}, "data": [{**ADA, "blacklisted": True}]},
        {"settings": {}, "data": [{**ADA, "contactlists": [{"id": 7}]}]},
        {"settings": {}, "data": [{**ADA, **on(status="subscribed")}]},
        {"settings": {}, "data": [{**ADA, **on(99)}]},
        {"settings": {}, "data": [{**ADA, "purposes": [{"id": 99}]}]},
        {"settings": {}, "data": [{**ADA, "purposes": [{"id": 2, "valid_from": "2026-01-15T10:00:00Z"}]}]},
        {"settings": {}, "data": [{**ADA, "purposes": [{"id": 2, "valid_to": "2020-01-15 11:00:00"}]}]},
    ],
)
async def test_one_thing_that_is_not_valid_refuses_everything(call, twin, body):
    if isinstance(body, dict) and isinstance(body["data"], list):
        body["data"].insert(0, {"emailaddress": "first@example.com"})
    assert (await call("POST", "import", body)).refused[0] == 422
    assert twin.account.contacts == {}


@pytest.mark.parametrize("address", ["bad@@example", "nobody", "a b@example.com", "a.@example.com", "a@example", ""])
async def test_a_bad_address_ends_the_import_or_is_silently_skipped(load, address):
    refused = await load(ADA, {"emailaddress": address})
    assert refused.refused == (422, f"Emailaddress {address} is not valid email address.")
    found = await load({"emailaddress": address, "tags": 1}, ADA, skip_invalid_emails=True)
    assert (found.status, found.said["contacts_map"]) == (
        201,
        [{"emailaddress": "ada@example.com", "contact_id": 5001}],
    )


# Fields.


@pytest.mark.parametrize(
    ("number", "said", "held"),
    [
        (1, {"value": "gold"}, "gold"),
        (2, {"value": "-12.5"}, "-12.5"),
        (3, {"value": "2026-01-15 11:00:00"}, "2026-01-15 11:00:00"),
        (4, {"value": "0"}, "0"),
        (5, {"options": [3, 1, 1]}, [3, 1]),
        (6, {"options": [4]}, [4]),
        (1, {"value": 7}, None),
        (1, {"options": [1]}, None),
        (1, {"value": "x" * 65_537}, None),
        (2, {"value": "many"}, None),
        (3, {"value": "2026-01-15"}, None),
        (4, {"value": "false"}, None),
        (5, {"value": "red"}, None),
        (5, {"options": [4]}, None),
        (5, {"options": ["red"]}, None),
        (6, {"options": [4, 5]}, None),
        (5, {}, None),
        (99, {"value": "x"}, None),
    ],
)
async def test_custom_fields_take_their_own_kind_of_value(load, twin, number, said, held):
    found = await load({**ADA, "customfields": [{"id": number, **said}]})
    if held is None:
        assert found.refused[0] == 422
    else:
        assert twin.account.contact(5001).custom == {number: held}


@pytest.mark.parametrize(("habit", "empty", "null"), [("both", None, None), ("empty", None, "Ada"), ("null", "", None)])
async def test_what_clears_a_field_is_a_habit(load, twin, habit, empty, null):
    twin.habits.cleared_by = habit
    for said, held in (("", empty), (None, null)):
        await load({**ADA, "name": "Ada"})
        await load({**ADA, "name": said})
        assert twin.account.contact(5001).values.get("name") == held


async def test_custom_fields_are_cleared_too(load, twin):
    gold = {**ADA, "customfields": [{"id": 1, "value": "gold"}, {"id": 5, "options": [1]}]}
    await load(gold)
    await load({**ADA, "customfields": [{"id": 1, "value": None}, {"id": 5, "options": []}]})
    assert twin.account.contact(5001).custom == {}
    twin.habits.cleared_by = "empty"
    assert (await load({**ADA, "customfields": [{"id": 1, "value": None}]})).refused[0] == 422


async def test_what_is_not_mentioned_is_untouched(load, twin):
    await load({**ADA, "name": "Ada", "customfields": [{"id": 1, "value": "gold"}], **on(7)})
    await load({**ADA, "surname": "Byron", **on(9)})
    contact = twin.account.contact(5001)
    assert (contact.values, contact.custom, list(contact.lists)) == (
        {"name": "Ada", "surname": "Byron"},
        {1: "gold"},
        [7, 9],
    )


async def test_the_vendor_works_things_out_from_the_name_unless_told_not_to(call, load, twin):
    await load({**ADA, "name": "Ada", "gender": "M"})
    assert twin.account.contact(5001).values == {"name": "Ada", "gender": "M"}
    await call("POST", "import", {"settings": {}, "data": [{**ADA, "name": "Ada", "gender": "M"}]})
    held = twin.account.contact(5001).values
    assert (held["gender"], held["salution"]) == ("F", "Ada!")
    assert held["nameday"].startswith("2012-")


async def test_without_update_a_known_contact_changes_on_lists_only(load, twin, statuses):
    await load({**ADA, "name": "Ada", **on(7)})
    more = {"name": "Augusta", "blacklisted": 1, "purposes": [{"id": 2}]}
    await load(
        {**ADA, **more, **on(7, "unsubscribed")}, {"emailaddress": "new@example.com", "name": "New"}, update=False
    )
    contact = twin.account.contact(5001)
    assert (contact.values, contact.blacklisted, twin.account.connections) == ({"name": "Ada"}, 0, {})
    assert statuses() == {7: "unsubscribed"}
    assert twin.account.contact(5002).values == {"name": "New"}


async def test_updated_moves_only_when_something_changes(load, twin, clock):
    await load({**ADA, "name": "Ada"})
    await clock.advance(60)
    await load({**ADA, "name": "Ada"})
    assert twin.account.contact(5001).updated is None
    twin.habits.unchanged_counts = True
    await load({**ADA, "name": "Ada"})
    assert twin.account.contact(5001).updated == clock.time()


async def test_long_texts_are_cut_where_a_habit_says_so(load, twin):
    twin.habits.text_length = 10
    await load({**ADA, "town": "x" * 20, "notes": None})
    assert twin.account.contact(5001).values == {"town": "x" * 10}


# Lists, opt-outs, the blacklist.


async def test_whoever_left_stays_out_unless_the_import_says_otherwise(load, statuses):
    await load({**ADA, **on(7, "unsubscribed")})
    for status in ("confirmed", "removed"):
        await load({**ADA, **on(7, status)})
        assert statuses() == {7: "unsubscribed"}
    await load({**ADA, **on(7)}, preserve_unsubscribed=False)
    assert statuses() == {7: "confirmed"}
    await load({**ADA, **on(7, "removed")})
    assert statuses() == {}


async def test_the_blacklist_takes_everybody_off_all_lists(load, twin, statuses):
    await load({**ADA, "contactlists": [{"id": 7, "status": "confirmed"}, {"id": 9, "status": "confirmed"}]})
    await load({**ADA, "blacklisted": 1})
    assert (twin.account.contact(5001).blacklisted, statuses()) == (1, {7: "unsubscribed", 9: "unsubscribed"})
    await load({**ADA, "blacklisted": 0, **on(12)})
    assert (twin.account.contact(5001).blacklisted, statuses()[12]) == (1, "unsubscribed")
    await load({**ADA, "blacklisted": 0, **on(7)}, preserve_unsubscribed=False)
    assert (twin.account.contact(5001).blacklisted, statuses()[7], statuses()[9]) == (0, "confirmed", "unsubscribed")


# Purposes.


async def test_a_purpose_is_on_record_from_now_for_its_duration(call, load, clock):
    await load({**ADA, "purposes": [{"id": 2}]})
    (row,) = (await call("GET", "purpose-connections", contact_id="5001")).data
    assert row == {
        "id": 1,
        "contact_id": 5001,
        "purpose_id": 2,
        "created_at": "2026-01-15 11:00:00",
        "valid_from": "2026-01-15 11:00:00",
        "valid_to": "2031-01-15 11:00:00",
        "details": {"source": "API import"},
    }
    await clock.advance(1)
    await load({**ADA, "purposes": [{"id": 2}]})
    assert len((await call("GET", "purpose-connections", sort="-id")).data) == 2


async def test_an_exact_repeat_is_skipped_and_a_connection_can_be_revoked(call, load, clock):
    for _ in range(2):
        await load({**ADA, "purposes": [{"id": 2, "valid_from": "2026-01-01 00:00:00"}]})
        await clock.advance(60)
    (row,) = (await call("GET", "purpose-connections", purpose_id="2")).data
    assert (row["valid_from"], row["valid_to"]) == ("2026-01-01 00:00:00", "2031-01-01 00:00:00")
    assert (await call("DELETE", "purpose-connections/1")).status == 204
    assert (await call("DELETE", "purpose-connections/1")).refused[0] == 404


async def test_durations_are_days_months_and_years(call, load):
    ends = []
    for number, unit in enumerate(("days", "months", "years"), 3):
        body = {"lawful_basis": "consent", "name": unit, "duration": {"value": 13, "unit": unit}}
        await call("POST", "purposes", body)
        await load({**ADA, "purposes": [{"id": number}]})
        ends.append((await call("GET", "purpose-connections", purpose_id=str(number))).data[0]["valid_to"])
    assert ends == ["2026-01-28 11:00:00", "2027-02-15 11:00:00", "2039-01-15 11:00:00"]
