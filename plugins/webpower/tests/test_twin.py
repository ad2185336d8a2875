"""The twin is as strict as the vendor."""

from __future__ import annotations

import aiohttp
import pytest

from esplanade.testing import Fault
from esplanade_webpower.twin import WebpowerTwin

ROOT = "/admin/api/index.php/rest"
FORM = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo", "scope": "rest"}


@pytest.fixture
async def web(twin):
    async with aiohttp.ClientSession(twin.origin) as client:
        yield client


@pytest.fixture
async def call(web):
    """Make a call as an authorised client: ``status, body``."""
    async with web.post("/admin/oauth2/token.php", data=FORM) as answer:
        token = (await answer.json())["access_token"]

    async def made(method, path, json=None, **more):
        headers = {"Authorization": f"Bearer {token}"}
        async with web.request(method, ROOT + path, json=json, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, (await answer.json() if text and answer.content_type == "application/json" else text)

    return made


@pytest.mark.parametrize(
    ("wrong", "status", "error"),
    [
        ({"client_secret": "no"}, 401, "invalid_client"),
        ({"client_id": "no"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "all"}, 400, "invalid_scope"),
    ],
)
async def test_only_the_right_credentials_get_a_token(web, wrong, status, error):
    async with web.post("/admin/oauth2/token.php", data={**FORM, **wrong}) as answer:
        said = await answer.json()
        assert (answer.status, said["error"]) == (status, error)
        assert said["error_description"]


async def test_a_token_is_asked_for_by_form_only(web):
    async with web.post("/admin/oauth2/token.php", json=FORM) as answer:
        assert answer.status == 400
    async with web.get("/admin/oauth2/token.php", params=FORM) as answer:
        assert answer.status == 405


async def test_a_token_lives_an_hour(call, clock):
    assert (await call("GET", "/campaign"))[0] == 200
    await clock.advance(3600)
    assert (await call("GET", "/campaign"))[0] == 401


async def test_no_call_without_a_token_and_none_without_rights(web, call, twin):
    async with web.get(f"{ROOT}/42/contact") as answer:
        assert answer.status == 401
    twin.licence.has_rights = False
    assert (await call("GET", "/campaign"))[0] == 403


async def test_contacts_are_made_read_changed_and_deleted(call):
    assert await call("POST", "/42/contact", {"email": "a@example.net", "groups": [135]}) == (200, {"id": 9001})
    assert (await call("POST", "/42/contact", {"email": "A@example.net"}))[0] == 409
    assert await call("GET", "/42/contact/9001/group") == (200, []), "groups of a new contact have no effect"
    assert (await call("PUT", "/42/contact/9001", {"email": "b@example.net", "lang": "nl"}))[0] == 200
    assert (await call("GET", "/42/contact/9001"))[1]["email"] == "b@example.net"
    assert (await call("DELETE", "/42/contact/9001"))[0] == 204
    assert (await call("GET", "/42/contact/9001"))[0] == 404
    assert (await call("PATCH", "/42/contact/9001"))[0] == 405
    assert (await call("GET", "/43/contact"))[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"email": "nobody"},
        {"email": "a@example.net", "lang": "xx"},
        {"email": "a@example.net", "mobile_nr": 31},
        {"email": "a@example.net", "custom": {"firstname": "A"}},
        {"email": "a@example.net", "custom": [{"name": "firstname", "value": "A"}]},
        {"email": "a@example.net", "custom": [{"field": "firstname", "value": True}]},
        {"email": "a@example.net", "custom": [{"field": "birthdate", "value": "yesterday"}]},
        {"email": "a@example.net", "firstname": "A"},
    ],
)
async def test_a_contact_that_is_not_valid_is_refused(call, twin, body):
    assert (await call("POST", "/42/contact", body))[0] == 422
    assert twin.account.contacts == {}


async def test_unknown_fields_are_ignored_long_values_cut_and_numbers_kept(call, twin):
    twin.account.add_field("age", "integer")
    custom = [
        {"field": "firstname", "value": "x" * 300},
        {"field": "nope", "value": "1"},
        {"field": "age", "value": "7"},
    ]
    await call("POST", "/42/contact", {"email": "a@example.net", "custom": custom})
    assert twin.account.contacts[9001].custom == {"firstname": "x" * 255, "age": 7}
    wrong = {"custom": [{"field": "age", "value": "seven"}]}
    assert (await call("PUT", "/42/contact/9001", wrong))[0] == 422


async def test_a_required_field_must_not_be_empty(call, twin):
    twin.account.add_field("tier", required=True)
    assert (await call("POST", "/42/contact", {"email": "a@example.net"}))[0] == 422


async def test_lists_are_paged_with_a_next_that_is_a_path(call, twin):
    for number in range(5):
        twin.account.create({"email": f"p{number}@example.net"})
    seen, following = [], f"{ROOT}/42/contact?pagelength=2"
    while following:
        status, page = await call("GET", following.removeprefix(ROOT))
        assert (status, page["totalRecords"]) == (200, 5)
        seen += [each["id"] for each in page["result"]]
        following = page["next"]
        assert following is None or following.startswith(f"{ROOT}/42/contact?")
    assert seen == [9001, 9002, 9003, 9004, 9005]
    assert (await call("GET", "/42/contact?pagelength=1001"))[0] == 422
    assert (await call("GET", "/42/contact?page=x"))[0] == 400


async def test_match_knows_wildcards(call, twin):
    for email in ("ann@example.net", "anna@example.net", "bob@example.net"):
        twin.account.create({"email": email, "custom": [{"field": "city", "value": "Utrecht"}]})

    async def found(pattern):
        status, page = await call("GET", "/42/contact", params={"match": pattern})
        return [each["id"] for each in page["result"]] if status == 200 else status

    assert await found('{"email": "ANN@example.net"}') == [9001]
    assert await found('{"email": "ann*"}') == [9001, 9002]
    assert await found('{"email": "???@example.net", "city": "Utrecht"}') == [9001, 9003]
    assert await found('{"email": "no@example.net"}') == []
    assert await found("{") == 400
    assert await found('{"nope": "x"}') == 422


async def test_groups_take_a_bare_list_of_ids(call, twin):
    twin.account.create({"email": "a@example.net"})
    path = "/42/contact/9001/group"
    assert (await call("POST", path, [135, 140]))[0] == 200
    for wrong in ([], ["135"], {"groups": [135]}, [{"id": 135}]):
        assert (await call("POST", path, wrong))[0] == 422
    assert (await call("POST", path, [999]))[0] == 404
    assert (await call("POST", path, [61]))[0] == 403
    assert (await call("DELETE", f"{path}/135"))[0] == 204
    assert (await call("DELETE", f"{path}/135"))[0] == 404
    assert (await call("DELETE", path, [140]))[0] == 405
    assert twin.account.contacts[9001].groups == {140}


async def test_a_new_contact_in_the_opt_in_group_alone_gets_the_confirmation_mail(call, twin):
    twin.account.create({"email": "a@example.net"})
    await call("POST", "/42/contact/9001/group", [60])
    assert [each["email"] for each in twin.snapshot()["pending"]] == ["a@example.net"]


async def test_groups_fields_and_mailings_can_be_made(call, twin):
    assert (await call("POST", "/42/group", {"name": "New", "is_test": False, "is_active": True}))[0] == 200
    assert (await call("POST", "/42/group", {"name": "x" * 81}))[0] == 422
    assert (await call("PUT", "/42/group/140", {"name": "VIPs"}))[0] == 200
    assert (await call("GET", "/42/group/140"))[1]["name"] == "VIPs"
    assert (await call("PUT", "/42/group/61", {"name": "x"}))[0] == 403
    assert (await call("GET", "/42/group/998"))[0] == 404
    field = {"name": "tier", "type": "varchar", "length": 40, "default": "", "required": False}
    assert (await call("POST", "/42/field", field))[0] == 200
    assert (await call("POST", "/42/field", field))[0] == 422
    status, made = await call("POST", "/42/mailing", {"name": "Promo", "lang": "nl", "subject": "Hi"})
    assert status == 200
    assert not twin.account.mailings[made["id"]].published
    assert (await call("POST", "/42/mailing", {}))[0] == 422


async def test_moving_a_group_moves_everybody(call, twin):
    for number in range(3):
        twin.account.create({"email": f"p{number}@example.net"}).groups.add(135)
    assert (await call("PUT", "/42/contacts/group/135/to/140"))[0] == 204
    assert len(twin.snapshot()["groups"]["140"]["members"]) == 3


async def test_sends_are_checked(call, twin):
    twin.account.create({"email": "a@example.net"})
    path, extra = "/42/mailing/318/sendSingle", [{"field": "DMD_x", "value": "1"}]
    assert (await call("POST", path, {"contactId": 9001, "attachments": [], "extraContactData": extra}))[0] == 200
    for wrong in (
        {"contactId": "9001"},
        {"contactId": 9001, "extraContactData": [{"field": "x", "value": "1"}]},
        {"contactId": 9001, "extraContactData": [{"field": "DMD_x", "value": 1}]},
        {"contactId": 9001, "extraContactData": {}},
        {"contactId": 9001, "surprise": 1},
    ):
        assert (await call("POST", path, wrong))[0] == 422
    assert (await call("POST", path, {"contactId": 7}))[0] == 404
    assert len(twin.mails) == 1


async def test_send_single_mail_overwrites_only_when_told(call, twin):
    body = {"mailingId": 318, "contact": {"email": "a@example.net", "lang": "nl"}, "extraContactData": []}
    path = "/42/contact/sendSingleMail"
    assert (await call("POST", path, body))[0] == 200
    changed = {**body, "contact": {"email": "a@example.net", "lang": "en"}}
    assert (await call("POST", path, changed))[0] == 409
    assert (await call("POST", path, {**changed, "overrideDuplicateAndSend": True}))[0] == 200
    assert twin.account.contacts[9001].lang == "en"
    assert (await call("POST", path, {"contact": {}}))[0] == 422


async def test_the_bulk_send_answers_per_contact(call, twin):
    contacts = [{"email": "a@example.net"}, {"email": "nobody"}, {"email": "a@example.net"}]
    body = {"mailingId": 318, "groups": [135], "overwrite": True, "addDuplicateToGroup": True, "contacts": contacts}
    _, answers = await call("POST", "/42/contacts/send", body)
    assert [each["status"] for each in answers] == ["OK", "ERROR", "DUPLICATE"]
    assert twin.account.contacts[9001].groups == {135}


async def test_credits_run_out_through_the_door(web, call, twin):
    twin.account.create({"email": "a@example.net"})
    async with web.post("/__twin__/credits", json={"credits": 1}) as answer:
        assert answer.status == 204
    statuses = [(await call("POST", "/42/mailing/318/sendSingle", {"contactId": 9001}))[0] for _ in range(2)]
    assert statuses == [200, 422]


async def test_people_click_through_the_doors(web, call, twin):
    assert (await call("POST", "/42/contact/subscribe", {"contact": {"email": "a@example.net"}}))[0] == 200
    assert (await call("POST", "/42/contact/subscribe", {"contact": {"email": "a@example.net"}}))[0] == 200
    assert (await call("POST", "/42/contact/subscribe", {}))[0] == 422
    assert (await call("POST", "/42/contact/subscribe", {"contact": {"email": "a@b.cz"}, "groups": [9]}))[0] == 422
    for door, status in (("confirm", 204), ("confirm", 404), ("unsubscribe", 204)):
        async with web.post(f"/__twin__/{door}", json={"email": "A@example.net"}) as answer:
            assert answer.status == status
    async with web.post("/__twin__/unsubscribe", json={"email": "nobody@example.net"}) as answer:
        assert answer.status == 404
    assert twin.account.contacts[9001].groups == {61}


async def test_a_body_must_be_a_json_object(web, call):
    assert (await call("POST", "/42/contact", [1]))[0] == 400
    assert (await call("POST", "/42/contact", data=b"{"))[0] == 400
    assert (await call("POST", "/42/contact/unsubscribe", {"contact": {"email": "no@example.net"}}))[0] == 404


async def test_an_inactive_campaign_refuses_everything_but_its_own_name(call, twin):
    twin.licence.is_active = False
    assert (await call("GET", "/42/contact"))[0] == 403
    assert (await call("GET", "/campaign/42"))[1]["is_active"] is False


async def test_a_proxy_in_front_may_answer_in_html(call, twin):
    html = {"Content-Type": "text/html"}
    twin.faults.append(Fault(match="contact", status=502, headers=html, body="<html>Bad Gateway</html>"))
    assert await call("GET", "/42/contact") == (502, "<html>Bad Gateway</html>")


async def test_the_snapshot_is_json_in_a_stable_order(web, twin):
    for email in ("b@example.net", "a@example.net"):
        twin.account.create({"email": email})
    async with web.get("/__twin__/snapshot") as answer:
        held = await answer.json()
    assert list(held["contacts"]) == ["a@example.net", "b@example.net"]
    assert held == twin.snapshot()
    assert set(held) == {"contacts", "groups", "mails", "pending"}


def test_the_credentials_point_a_connector_here(twin):
    assert twin.credentials() == {
        "license": "demo",
        "client_id": "demo",
        "client_secret": "demo",
        "campaign_id": 42,
        "webhook_secret": "demo-webhook-secret",
    }
    assert twin.rewired(twin.settings).origin == twin.origin
    assert WebpowerTwin.name == "webpower"
