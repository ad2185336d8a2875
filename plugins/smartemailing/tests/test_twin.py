"""The twin is as strict and as odd as the vendor: the door, the limits, reading. The rest has files of its own."""

from __future__ import annotations

import aiohttp
import pytest

from esplanade.testing import Fault

NOW = "2026-01-15 11:00:00"
"""The fake clock's time, 10:00 UTC, in Prague."""
ADA = {"emailaddress": "ada@example.com", "name": "Ada", "surname": "Byron"}

# The door: sections 1, 2 and 9.


async def test_the_ping_asks_for_no_credentials_and_so_proves_none(call):
    found = await call("GET", "ping", headers={})
    assert (found.status, found.said) == (200, {"status": "ok", "meta": [], "message": "Hi there! API version 3 here!"})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_credentials_are_checked_and_the_account_told(call, method):
    found = await call(method, "check-credentials")
    assert (found.status, found.said["status"], found.said["meta"], found.said["account_id"]) == (200, "ok", [], 2)
    assert "data" not in found.said


@pytest.mark.parametrize(
    "login",
    [
        None,
        aiohttp.encode_basic_auth("demo@shop.example", "wrong"),
        aiohttp.encode_basic_auth("other@shop.example", "demo-key-of-smartemailing"),
        "Bearer demo-key-of-smartemailing",
        "Basic !!",
    ],
)
async def test_every_other_call_needs_the_right_ones(call, login):
    headers = {} if login is None else {"Authorization": login}
    for path in ("check-credentials", "contacts", "nothing"):
        assert (await call("GET", path, headers=headers)).refused[0] == 401


async def test_a_key_without_rights_is_refused_otherwise(call, twin):
    twin.habits.has_rights = False
    assert (await call("GET", "contacts")).refused[0] == 403


async def test_account_info(call):
    assert (await call("GET", "account-info")).data["username"] == "demo@shop.example"


async def test_what_is_no_call_is_404_and_a_wrong_method_405(call):
    assert (await call("GET", "nothing")).refused[0] == 404
    for method, path in (
        ("PUT", "import"),
        ("DELETE", "contacts"),
        ("PUT", "customfields/1"),
        ("GET", "trigger-event"),
    ):
        assert (await call(method, path)).refused[0] == 405


async def test_a_body_is_json_and_says_so(call, twin):
    for data, headers in ((b"{", {"Content-Type": "application/json"}), (b"{}", {"Content-Type": "text/plain"})):
        login = aiohttp.encode_basic_auth("demo@shop.example", "demo-key-of-smartemailing")
        found = await call("POST", "import", data=data, headers={"Authorization": login, **headers})
        assert found.refused == (400, "Request body is not valid JSON.")
    twin.habits.max_request_bytes = 10
    assert (await call("POST", "import", {"settings": {}, "data": []})).refused[0] == 413


async def test_a_burst_is_taken_and_then_four_calls_a_second(call, twin, clock):
    twin.habits.burst = 3
    statuses = [(await call("GET", "check-credentials")).status for _ in range(3)]
    late = await call("GET", "check-credentials")
    assert (statuses, late.refused) == ([200] * 3, (429, "Rate limit exceeded."))
    assert late.headers["Retry-After"] == "1"
    await clock.advance(1)
    statuses = [(await call("GET", "check-credentials")).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    await clock.advance(0.25)
    assert (await call("GET", "check-credentials")).status == 200
    assert twin.gate.refused == 2


async def test_a_day_has_so_many_calls_and_ends_at_midnight_in_prague(call, twin, clock):
    assert (twin.habits.burst, twin.habits.per_second, twin.habits.daily) == (2_500, 4.0, 100_000)
    twin.habits.daily = 2
    assert [(await call("GET", "check-credentials")).status for _ in range(2)] == [200, 200]
    late = await call("GET", "check-credentials")
    assert (late.status, late.headers["Retry-After"]) == (429, str(13 * 3600))
    await clock.advance(13 * 3600 - 1)
    assert (await call("GET", "check-credentials")).status == 429
    await clock.advance(1)
    assert (await call("GET", "check-credentials")).status == 200


@pytest.mark.parametrize(
    ("habit", "single", "written"), [("never", 404, 422), ("reads", 200, 422), ("always", 200, 200)]
)
async def test_errors_may_hide_in_a_200(call, load, twin, habit, single, written):
    twin.habits.errors_in_200 = habit
    for path in ("contacts/no@example.com", "contactlists/99", "customfields/99", "emails/99"):
        assert (await call("GET", path)).refused[0] == single
    assert (await load({"emailaddress": "bad@@example"})).refused == (
        written,
        "Emailaddress bad@@example is not valid email address.",
    )
    assert (await call("GET", "nothing")).refused[0] == 404


async def test_a_proxy_in_front_may_answer_in_html(call, twin):
    twin.faults.append(Fault(match="contacts", status=502, headers={"Content-Type": "text/html"}, body="<html>"))
    found = await call("GET", "contacts")
    assert (found.status, found.said) == (502, "<html>")


# Reading contacts: sections 3 and 5.


async def test_a_contact_has_all_of_the_vendors_properties(call, load):
    await load({**ADA, "birthday": "1990-12-10 00:00:00", "contactlists": [{"id": 7, "status": "confirmed"}]})
    found = await call("GET", "contacts", emailaddress="ADA@example.com")
    assert found.said["meta"] == {"total_count": 1, "displayed_count": 1, "offset": 0, "limit": 500}
    (row,) = found.data
    assert {key: row[key] for key in ("id", "realname", "domain", "birthday", "blacklisted", "created", "updated")} == {
        "id": 5001,
        "realname": "Ada Byron",
        "domain": "example.com",
        "birthday": "1990-12-10",
        "blacklisted": 0,
        "created": NOW,
        "updated": None,
    }
    assert row["customfields_url"].endswith("/api/v3/contact-customfields?contact_id=5001")
    (on,) = row["contactlists"]
    assert (on["contactlist_id"], on["contact_id"], on["status"], on["added"]) == (7, 5001, "confirmed", NOW)
    assert (await call("GET", "contacts", emailaddress="nobody@example.com")).data == []


async def test_custom_fields_are_expanded_into_one_row_per_option(call, load):
    await load({**ADA, "customfields": [{"id": 1, "value": "gold"}, {"id": 5, "options": [1, 3]}]})
    (row,) = (await call("GET", "contacts", expand="customfields")).data
    assert "customfields_url" not in row
    rows = [(each["customfield_id"], each["customfield_options_id"], each["value"]) for each in row["customfields"]]
    assert rows == [(1, None, "gold"), (5, 1, None), (5, 3, None)]
    assert len({each["id"] for each in row["customfields"]}) == 2
    assert (await call("GET", "contact-customfields", contact_id="5001", customfield_id="1")).data[0]["value"] == "gold"


async def test_pages_are_told_by_row_offset_and_hold_500_at_most(call, load):
    await load(*({"emailaddress": f"p{number}@example.com"} for number in range(5)))
    seen, offset = [], 0
    while True:
        found = await call("GET", "contacts", limit="2", offset=str(offset), sort="id")
        assert found.said["meta"]["total_count"] == 5
        seen += [each["id"] for each in found.data]
        offset += 2
        if found.said["meta"]["displayed_count"] < 2:
            break
    assert seen == [5001, 5002, 5003, 5004, 5005]
    for query in ({"limit": "501"}, {"limit": "0"}, {"limit": "x"}, {"offset": "-1"}):
        assert (await call("GET", "contacts", **query)).refused[0] == 422


async def test_contacts_are_selected_sorted_and_filtered_by_documented_properties_only(call, load, twin):
    await load(
        ADA, {"emailaddress": "bob@example.com", "name": "Bob", "gender": "M"}, {"emailaddress": "c@example.com"}
    )
    assert (await call("GET", "contacts", select="emailaddress,name", gender="m")).data == [
        {"emailaddress": "bob@example.com", "name": "Bob"}
    ]
    found = (await call("GET", "contacts", sort="-name,id", select="id")).data
    assert [each["id"] for each in found] == [5002, 5001, 5003]
    wrong = [{"select": "updated"}, {"sort": "created"}, {"expand": "lists"}, {"updated": NOW}, {"since": NOW}]
    for query in wrong:
        assert (await call("GET", "contacts", **query)).refused[0] == 422
    twin.habits.ignores_unknown_parameters = True
    assert len((await call("GET", "contacts", updated=NOW)).data) == 3


async def test_a_filter_on_changes_is_there_only_where_a_habit_says_so(call, load, twin, clock):
    await load(ADA, {"emailaddress": "bob@example.com"})
    await clock.advance(60)
    await load({**ADA, "town": "Brno"})
    twin.habits.since_parameter = "updated_since"
    (row,) = (await call("GET", "contacts", updated_since="2026-01-15 11:00:30")).data
    assert (row["emailaddress"], row["updated"]) == ("ada@example.com", "2026-01-15 11:01:00")
    assert (await call("GET", "contacts", updated_since="yesterday")).refused[0] == 422


@pytest.mark.parametrize(("habit", "by_email", "by_id"), [("email", 1, 0), ("id", 0, 1), ("both", 1, 1)])
async def test_one_contact_is_read_by_its_address_or_as_older_clients_do(call, load, twin, habit, by_email, by_id):
    await load(ADA)
    twin.habits.contact_key, twin.habits.errors_in_200 = habit, "never"
    statuses = [(await call("GET", f"contacts/{key}")).status for key in ("ada%40example.com", "5001")]
    assert statuses == [200 if by_email else 404, 200 if by_id else 404]


async def test_lists_are_read_by_status(call, load, twin):
    def on(email, **statuses):
        return {
            "emailaddress": email,
            "contactlists": [{"id": int(key[1:]), "status": statuses[key]} for key in statuses],
        }

    await load(on("in@example.com", l7="confirmed"), on("out@example.com", l7="unsubscribed", l9="confirmed"))
    await load(on("hard@example.com", l7="confirmed"), on("black@example.com", l7="confirmed"))
    twin.bounce("hard@example.com")
    twin.blacklist("black@example.com")

    async def of(path, **query):
        return [each["emailaddress"].partition("@")[0] for each in (await call("GET", path, **query)).data]

    assert await of("contactlists/7/contacts") == ["in", "out", "hard", "black"]
    assert await of("contactlists/7/contacts/confirmed", limit="1") == ["in"]
    assert await of("contactlists/7/contacts/unsubscribed") == ["out", "black"]
    assert await of("contacts/in-lists", listIds="7", status="confirmed") == ["in", "hard"]
    assert await of("contacts/in-lists", listIds="7,9", status="unsubscribed") == ["out", "black"]
    assert await of("contacts/in-lists") == ["in", "out", "hard", "black"]
    assert await of("contacts", blacklisted="1") == ["black"]
    for path, query in (
        ("contacts/in-lists", {"status": "removed"}),
        ("contacts/in-lists", {"listIds": "99"}),
        ("contacts/in-lists", {"listIds": "x"}),
        ("contactlists/7/contacts", {"emailaddress": "in@example.com"}),
    ):
        assert (await call("GET", path, **query)).refused[0] == 422
    assert (await call("GET", "contactlists/7/distribution")).data == {"total": 4, "confirmed": 2, "unsubscribed": 2}
    assert (await call("GET", "contactlists/7/added-contacts")).data == {"count": 4}
    assert (await call("POST", "contactlists/7/truncate")).said == {"status": "ok", "meta": []}
    assert await of("contactlists/7/contacts") == []


# Other calls about contacts: section 5.


async def test_an_address_is_changed_unless_it_is_somebody_elses(call, load, twin):
    await load(ADA, {"emailaddress": "bob@example.com"})
    moved = await call("POST", "change-emailaddress", {"from": "ADA@example.com", "to": "Ada.B@example.com"})
    assert (moved.status, moved.said) == (201, {"status": "created", "meta": []})
    assert twin.account.contact(5001).emailaddress == "ada.b@example.com"
    assert twin.account.find("ada@example.com") is None
    for said, status in (
        ({"from": "ada@example.com", "to": "x@example.com"}, 404),
        ({"from": "bob@example.com", "to": "ada.b@example.com"}, 409),
        ({"from": "bob@example.com", "to": "nobody"}, 422),
        ({"from": "bob@example.com"}, 422),
    ):
        assert (await call("POST", "change-emailaddress", said)).refused[0] == status


async def test_a_contact_is_forgotten_by_its_id(call, load, twin):
    await load({**ADA, "purposes": [{"id": 2}]})
    gone = await call("DELETE", "contacts/forget/5001")
    assert (gone.status, gone.said) == (204, "")
    assert (await call("DELETE", "contacts/forget/5001")).refused[0] == 404
    assert (twin.account.contacts, twin.account.connections) == ({}, {})
    assert (await load(ADA)).said["contacts_map"][0]["contact_id"] == 5002
