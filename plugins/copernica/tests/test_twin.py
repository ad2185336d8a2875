"""The twin is as strict and as odd as the vendor."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import aiohttp
import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from esplanade.testing import Fault, Furnishing
from esplanade_copernica.settings import CopernicaConsent, CopernicaTrigger
from esplanade_copernica.twin import CopernicaTwin
from esplanade_copernica.twin_fields import RefusedError

TOKEN = {"access_token": "demo-api-token"}
DB = "/v4/database/31"
NOOR = "Email==noor@example.net"
INVALID = {"error": {"message": "Invalid data provided"}}


class Answer:
    """What came back: status, JSON or text, headers."""

    def __init__(self, status, said, headers):
        self.status, self.said, self.headers = status, said, headers

    @property
    def made(self):
        """The id in ``X-Created`` of a 201 without body."""
        assert (self.status, self.said) == (201, "")
        return self.headers["X-Created"]

    @property
    def words(self):
        """The words of a 400."""
        assert self.status == 400
        return self.said["error"]["message"]


@pytest.fixture
async def client(twin):
    async with aiohttp.ClientSession(twin.origin) as opened:
        yield opened


@pytest.fixture
async def token(client):
    async with client.post("/authenticate", data=TOKEN) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        return await answer.text()


@pytest.fixture
def call(client, token):
    """Make a call with a token; ``fields`` are filters, the last argument a JSON body."""

    async def made(method, path, body=None, *, fields=None, headers=None, data=None, allow_redirects=True, **query):
        params = [*query.items(), *(("fields[]", each) for each in fields or [])]
        bearer = {"Authorization": f"Bearer {token}"} if headers is None else headers
        more = {"headers": bearer, "allow_redirects": allow_redirects}
        async with client.request(method, path, params=params, json=body, data=data, **more) as answer:
            said = await (answer.json() if answer.content_type == "application/json" else answer.text())
            return Answer(answer.status, said, answer.headers)

    return made


class Hub:
    """A loopback server that keeps what is posted to it."""

    def __init__(self):
        self.came = asyncio.Queue()
        self.status = 200

    async def take(self, request):
        await self.came.put((request.path_qs, dict(request.headers), await request.read()))
        return web.Response(status=self.status)

    async def form(self):
        """The next body, as a form's pairs."""
        _, _, body = await self.next()
        return dict(parse_qsl(body.decode(), keep_blank_values=True))

    async def next(self):
        return await asyncio.wait_for(self.came.get(), 5)


@pytest.fixture
async def hub(twin):
    app, hub = web.Application(), Hub()
    app.router.add_post("/in/{key}", hub.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    twin.hook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/in/k3y?from=copernica"
    yield hub
    await runner.cleanup()


@pytest.fixture
async def collection(call):
    """The id of a collection with the text field ``key``."""
    made = (await call("POST", f"{DB}/collections", {"name": "SQ_triggers"})).made
    await call("POST", f"/v4/collection/{made}/fields", {"name": "key"})
    return made


# Tokens.


async def test_the_api_token_is_exchanged_for_a_jwt_of_24_hours(token, clock):
    _, said, _ = token.split(".")
    ends = json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))["exp"]
    assert ends == int(clock.time()) + 24 * 3600


@pytest.mark.parametrize("sent", [{"data": {"access_token": "no"}}, {"data": {}}, {"json": TOKEN}])
async def test_only_the_right_api_token_in_a_form_gets_a_jwt(client, sent):
    async with client.post("/authenticate", **sent) as answer:
        assert (answer.status, (await answer.json())["error"]["message"]) == (401, "Invalid access token")


async def test_several_tokens_are_alive_until_they_end_or_are_revoked(client, call, clock, twin):
    await clock.advance(3600)
    async with client.post("/authenticate", data=TOKEN) as answer:
        younger = {"Authorization": f"Bearer {await answer.text()}"}
    assert (await call("GET", "/v4/identity")).status == 200
    await clock.advance(23 * 3600)
    assert (await call("GET", "/v4/identity")).status == 401
    assert (await call("GET", "/v4/identity", headers=younger)).status == 200
    twin.revoke_tokens()
    assert (await call("GET", "/v4/identity", headers=younger)).status == 401


async def test_no_call_without_a_bearer_token(call, token, twin):
    for headers in ({}, {"Authorization": token}, {"Authorization": "Bearer demo-api-token"}):
        assert (await call("GET", "/v4/identity", headers=headers)).status == 401
    twin.habits.refused_status = 400
    assert (await call("GET", "/v4/identity", headers={})).words == "Invalid access token"


async def test_too_many_requests_in_a_second_are_429(call, twin, clock):
    twin.quota = 2
    answers = [await call("GET", "/v4/identity") for _ in range(3)]
    assert [each.status for each in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "1"
    await clock.advance(1)
    assert (await call("GET", "/v4/identity")).status == 200


async def test_what_is_no_call_is_an_invalid_method(call):
    paths = [("GET", "/v4/nothing"), ("PATCH", DB), ("GET", "/v4/webhooks"), ("POST", "/v4/profile/1/fields")]
    for method, path in paths:
        assert (await call(method, path)).words == "Invalid method"
    assert (await call("GET", "/v4/nothing", headers={})).status == 401


# The account and its tables.


async def test_identity_and_consumption(call):
    assert (await call("GET", "/v4/identity")).said["id"] == "771"
    assert (await call("GET", "/v4/consumption", begin="2026-01-01")).said == INVALID
    used = (await call("GET", "/v4/consumption", begin="2026-01-01", end="2026-02-01")).said
    assert (used["emails"], used["apicalls"]) == (0, 3)


async def test_a_database_has_its_fields_and_collections_within(call, collection):
    one = (await call("GET", DB)).said
    assert (one["ID"], one["name"]) == ("31", "Relations")
    assert one["fields"]["data"][0]["name"] == "Email"
    assert one["collections"]["data"][0]["fields"]["data"][0]["name"] == "key"
    assert (await call("GET", "/v4/database/Relations")).said == one
    assert (await call("GET", "/v4/databases")).said["data"] == [one]
    assert (await call("GET", "/v4/database/32")).words == "No database with supplied ID"
    assert (await call("GET", "/v4/collection/1/fields")).words == "No collection with given ID"


async def test_a_page_within_a_database_is_cut_at_100(call, twin):
    for number in range(100):
        twin.account.add_field(twin.account.database(31), f"f{number}")
    fields = (await call("GET", DB)).said["fields"]
    assert (fields["count"], fields["limit"], fields["total"]) == (100, 100, 108)
    assert (await call("GET", f"{DB}/fields", limit=1000)).said["count"] == 108


async def test_fields_are_made_once_and_of_known_types(call, twin):
    number = twin.sign_up("noor@example.net")
    made = await call("POST", f"{DB}/fields", {"name": "Size", "type": "select", "value": "S\nM*", "length": "9"})
    last = (await call("GET", f"{DB}/fields")).said["data"][-1]
    assert (last["ID"], last["name"], last["type"], last["value"]) == (made.made, "Size", "select", "S\nM*")
    assert (last["length"], last["hidden"]) == ("9", False)
    assert twin.account.profile(number).fields["Size"] == "M", "who is there already holds the default"
    for refused in ({}, {"name": "SIZE"}, {"name": "X", "type": "varchar"}, {"name": "Mail2", "type": "email"}):
        assert (await call("POST", f"{DB}/fields", refused)).said == INVALID


async def test_a_collection_is_named_with_letters_and_underscores_once(call, collection):
    shown = (await call("GET", f"{DB}/collections")).said["data"]
    assert [(each["ID"], each["name"], each["database"]) for each in shown] == [(collection, "SQ_triggers", "31")]
    assert (await call("GET", f"/v4/collection/{collection}")).said == shown[0]
    for name in ("SQ-more", "SQ2", "", "sq_triggers"):
        assert (await call("POST", f"{DB}/collections", {"name": name})).said == INVALID


async def test_bodies_are_json_or_forms(call, token, twin):
    bearer = {"Authorization": f"Bearer {token}"}
    made = await call(
        "POST", f"{DB}/profiles", data={"fields[Email]": "a@example.net", "interests[]": "shoes"}, headers=bearer
    )
    row = (await call("GET", f"/v4/profile/{made.made}")).said
    assert (row["fields"]["Email"], row["interests"]) == ("a@example.net", ["shoes"])
    form = "application/x-www-form-urlencoded"
    for body, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"fields": []}', "application/json"),
        (b'{"interests": [1]}', "application/json"),
        (b"{}", "text/plain"),
        (b"fields=1&fields[Email]=a", form),
    ):
        refused = await call("POST", f"{DB}/profiles", data=body, headers={**bearer, "Content-Type": kind})
        assert refused.said == INVALID


# Profiles.


async def test_a_profile_is_made_however_often_it_is_asked_for(call, twin):
    body = {"fields": {"email": "noor@example.net", "FIRSTNAME": "N", "Firstname": "Noor", "Nonsense": 1}}
    first, second = [await call("POST", f"{DB}/profiles", body) for _ in range(2)]
    assert int(second.made) == int(first.made) + 1
    assert first.headers["X-location"] == f"{twin.origin}/v4/profile/{first.made}"
    row = (await call("GET", f"/v4/profile/{first.made}")).said
    assert row.pop("secret")
    assert row == {
        "ID": "50411",
        "fields": {
            "Email": "noor@example.net",
            "Firstname": "Noor",
            "Lastname": "",
            "City": "",
            "Newsletter": "",
            "Points": "0",
            "Score": "0",
            "Birthdate": "",
        },
        "interests": [],
        "database": "31",
        "created": "2026-01-15 11:00:00",
        "modified": "2026-01-15 11:00:00",
        "removed": False,
    }


@pytest.mark.parametrize(
    ("kind", "sent", "held"),
    [
        ("email", " Noor@Example.net ", " Noor@Example.net "),
        ("text", "  ", "  "),
        ("text", True, "1"),
        ("text", None, ""),
        ("text", 3.5, "3.5"),
        ("integer", "twelve", "0"),
        ("integer", "12.9", "12"),
        ("float", "1.50", "1.5"),
        ("select", "yes", "yes"),
        ("select", "Yes", ""),
        ("select", "perhaps", ""),
        ("date", "2026-02-30", "0000-00-00"),
        ("empty_date", "15-01-2026", ""),
        ("empty_date", "2026-01-15 10:00:00", "2026-01-15"),
        ("datetime", "2026-01-15T10:00:00Z", "0000-00-00 00:00:00"),
        ("empty_datetime", "2026-01-15", "2026-01-15 00:00:00"),
    ],
)
async def test_what_a_field_makes_of_a_value(call, twin, kind, sent, held):
    name = "Email" if kind == "email" else "Extra"
    if kind != "email":
        await call(
            "POST", f"{DB}/fields", {"name": name, "type": kind, "value": "yes\nno*" if kind == "select" else ""}
        )
    made = await call("POST", f"{DB}/profiles", {"fields": {name: sent}})
    assert (await call("GET", f"/v4/profile/{made.made}")).said["fields"][name] == held


async def test_the_starred_choice_of_a_select_is_its_default(call):
    await call("POST", f"{DB}/fields", {"name": "Size", "type": "select", "value": "S\nM*"})
    made = await call("POST", f"{DB}/profiles", {"fields": {}})
    assert (await call("GET", f"/v4/profile/{made.made}")).said["fields"]["Size"] == "M"


async def test_a_blocked_mail_domain_fails(call, twin):
    twin.account.blocked.add("spam.example")
    refused = await call("POST", f"{DB}/profiles", {"fields": {"Email": "a@Spam.example"}})
    assert refused.words == "Failed to create profile"


async def test_an_upsert_writes_to_all_that_match(call, twin):
    twins = [twin.sign_up("noor@example.net"), twin.sign_up("Noor@example.net")]
    twin.sign_up("other@example.net")
    answer = await call("PUT", f"{DB}/profiles", {"fields": {"City": "Breda"}}, fields=[NOOR], create=1)
    assert (answer.status, answer.said, "X-Created" in answer.headers) == (204, "", False)
    assert [number for number, each in twin.account.profiles.items() if each.fields["City"] == "Breda"] == twins


async def test_an_upsert_without_a_match_makes_one_of_its_body_alone(call, twin):
    assert (await call("PUT", f"{DB}/profiles", {"fields": {"City": "Breda"}}, fields=[NOOR])).status == 204
    assert twin.account.profiles == {}
    made = await call("PUT", f"{DB}/profiles", {"fields": {"City": "Breda"}}, fields=[NOOR], create=1)
    assert twin.account.profile(made.made).fields["Email"] == "", "the filter's value is not copied"
    quiet = await call("PUT", f"{DB}/profiles", {"fields": {}}, fields=[NOOR], create=1, **{"async": 1})
    assert (quiet.status, "X-Created" in quiet.headers, len(twin.account.profiles)) == (204, False, 2)


@pytest.mark.parametrize("fields", [[""], ["Mail==noor@example.net"], ["Email ==noor@example.net"]])
async def test_a_filter_that_is_empty_or_unknown_writes_to_everybody(call, twin, fields):
    twin.sign_up("noor@example.net")
    twin.sign_up("other@example.net")
    assert (await call("PUT", f"{DB}/profiles", {"fields": {"City": "Breda"}}, fields=fields)).status == 204
    assert {each.fields["City"] for each in twin.account.profiles.values()} == {"Breda"}


async def test_a_put_needs_the_parameter_fields(call, twin, collection):
    number = twin.sign_up("noor@example.net")
    for path in (f"{DB}/profiles", f"/v4/profile/{number}/subprofiles/{collection}"):
        assert (await call("PUT", path, {}, create=1)).words == "URL parameter fields is required"


async def test_modified_moves_only_when_a_value_changes(call, twin, clock):
    path = f"/v4/profile/{twin.sign_up('noor@example.net', {'City': 'Breda'})}"
    await clock.advance(60)
    assert (await call("PUT", path, {"fields": {"City": "Breda", "Nonsense": "x"}})).status == 204
    assert (await call("GET", path)).said["modified"] == "2026-01-15 11:00:00"
    assert (await call("PUT", f"{path}/fields", {"city": "Delft"})).status == 204
    row = (await call("GET", path)).said
    assert (row["fields"]["City"], row["modified"]) == ("Delft", "2026-01-15 11:01:00")


async def test_interests_are_replaced_or_merged(call, twin):
    path = f"/v4/profile/{twin.sign_up('noor@example.net', interests={'hats': True})}"
    assert (await call("POST", f"{path}/interests", ["shoes"])).status == 201
    assert (await call("GET", path)).said["interests"] == ["hats", "shoes"]
    assert (await call("PUT", path, {"interests": {"hats": 0}})).status == 204
    assert (await call("GET", path)).said["interests"] == ["shoes"]
    assert (await call("PUT", f"{path}/interests", ["bags"])).status == 204
    assert (await call("GET", path)).said["interests"] == ["bags"]


async def test_a_deleted_profile_is_still_there_without_fields(call, twin, collection):
    number = twin.sign_up("noor@example.net")
    below = twin.add_subprofile(number, "SQ_triggers", {"key": "1"})
    path = f"/v4/profile/{number}"
    gone = await call("DELETE", path)
    assert (gone.status, gone.headers["X-deleted"]) == (204, f"profile {number}")
    row = await call("GET", path)
    assert (row.status, row.said["fields"], row.said["removed"]) == (200, {}, "2026-01-15 11:00:00")
    assert (await call("DELETE", path)).words == "Profile has already been removed"
    assert (await call("PUT", path, {"fields": {"City": "Breda"}})).words == "No entity with supplied ID"
    assert (await call("GET", f"/v4/subprofile/{below}")).said["removed"] == "2026-01-15 11:00:00"
    assert (await call("GET", f"{DB}/profiles", fields=[NOOR])).said["data"] == []
    assert (await call("PUT", f"{DB}/profiles", {"fields": {}}, fields=[NOOR], create=1)).status == 201
    assert (await call("GET", "/v4/profile/9")).words == "No entity with supplied ID"


async def test_a_profile_that_is_deleted_completely_leaves_nothing_and_its_id_to_nobody(call, twin, collection):
    number = twin.sign_up("noor@example.net")
    below = twin.add_subprofile(number, "SQ_triggers", {"key": "1"})
    gone = await call("DELETE", f"/v4/profile/{number}", {"completely": True})
    assert (gone.status, gone.headers["X-deleted"]) == (204, f"profile {number}")
    assert (await call("GET", f"/v4/profile/{number}")).words == "No entity with supplied ID"
    assert (await call("DELETE", f"/v4/profile/{number}")).words == "No entity with supplied ID"
    assert (await call("GET", f"/v4/subprofile/{below}")).words == "No subprofile with supplied ID"
    assert twin.sign_up("noor@example.net") == number + 1


# Filters and pages.


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (["Points>9"], "bc"),
        (["Points>=9", "Points<12"], "ab"),
        (["City==BREDA"], "a"),
        (["City!=Breda"], "bc"),
        (["City<>Breda"], "bc"),
        (["City=~%d%"], "ab"),
        (["City!~_reda"], "bc"),
        (["id==50412"], "b"),
        (["modified>=2026-01-15 11:01:00"], "bc"),
        (["Birthdate<2000-01-01", "Birthdate>0"], "b"),
        (["Nonsense==1", "City==Breda"], "a"),
        (["City== Breda"], ""),
    ],
)
async def test_filters(call, twin, clock, fields, found):
    for name, city, points, born in (
        ("a", "Breda", 9, ""),
        ("b", "Delft", 10, "1999-05-01"),
        ("c", "", 12, "2001-01-01"),
    ):
        twin.sign_up(f"{name}@example.net", {"City": city, "Points": points, "Birthdate": born})
        await clock.advance(60)
    data = (await call("GET", f"{DB}/profiles", fields=fields)).said["data"]
    assert "".join(each["fields"]["Email"][0] for each in data) == found


async def test_a_secret_finds_its_profile(call, twin):
    twin.sign_up("a@example.net")
    number = twin.sign_up("b@example.net")
    found = await call("GET", f"{DB}/profiles", fields=[f"code=={twin.account.profile(number).secret}"])
    assert [each["ID"] for each in found.said["data"]] == [str(number)]


async def test_ids_come_in_pages_without_an_envelope_and_those_of_profiles_know_no_filter(call, twin, collection):
    numbers = [str(twin.sign_up(f"{name}@example.net")) for name in "abc"]
    assert (await call("GET", f"{DB}/profileids", fields=["Email==b@example.net"])).said == numbers
    assert (await call("GET", f"{DB}/profileids", start=1, limit=1)).said == numbers[1:2]
    below = [str(twin.add_subprofile(int(numbers[0]), "SQ_triggers", {"key": key})) for key in "xy"]
    assert (await call("GET", f"/v4/collection/{collection}/subprofileids", fields=["key==y"])).said == below[1:]


async def test_a_field_called_modified_stands_before_the_time(call, twin):
    twin.account.add_field(twin.account.database(31), "modified")
    twin.sign_up("a@example.net")
    assert (await call("GET", f"{DB}/profiles", fields=["modified>=2000-01-01 00:00:00"])).said["data"] == []


async def test_pages(call, twin):
    for name in "bca":
        twin.sign_up(f"{name}@example.net")
    page = (await call("GET", f"{DB}/profiles", limit=2, dataonly="true")).said
    rows = page.pop("data")
    assert page == {"start": 0, "limit": 2, "count": 2, "total": 3, "nextid": 50413}
    assert set(rows[0]) == {"ID", "fields", "interests", "modified"}
    rest = (await call("GET", f"{DB}/profiles", fields=["id>=50413"], total="false")).said
    assert ("total" in rest, [each["ID"] for each in rest["data"]]) == (False, ["50413"])
    assert (await call("GET", f"{DB}/profiles", start=2)).said["data"][0]["ID"] == "50413"


async def test_pages_in_another_order_have_no_next_id(call, twin, clock):
    for name in "bca":
        twin.sign_up(f"{name}@example.net")
        await clock.advance(1)
    for by, way, order in (("Email", "asc", "abc"), ("email", "desc", "cba"), ("modified", "desc", "acb")):
        page = (await call("GET", f"{DB}/profiles", orderby=by, order=way)).said
        assert "".join(each["fields"]["Email"][0] for each in page["data"]) == order
        assert "nextid" not in page


async def test_a_page_has_100_unless_told_and_1000_at_most(call, twin):
    for number in range(1001):
        twin.sign_up(f"{number}@example.net")
    assert (await call("GET", f"{DB}/profiles")).said["count"] == 100
    page = (await call("GET", f"{DB}/profiles", limit=5000)).said
    assert (page["count"], page["limit"], page["total"]) == (1000, 1000, 1001)


# Subprofiles.


async def test_subprofiles_are_made_changed_listed_and_deleted(call, twin, collection):
    number, other = twin.sign_up("noor@example.net"), twin.sign_up("other@example.net")
    below = f"/v4/profile/{number}/subprofiles/SQ_triggers"
    made = (await call("POST", below, {"KEY": "t-1", "fields": "nothing"})).made
    twin.add_subprofile(other, "SQ_triggers", {"key": "t-1"})
    row = (await call("GET", f"/v4/subprofile/{made}")).said
    assert (row["fields"], row["profile"], row["collection"]) == ({"key": "t-1"}, str(number), collection)
    assert [each["ID"] for each in (await call("GET", below)).said["data"]] == [made]
    page = (await call("GET", f"/v4/collection/{collection}/subprofiles", dataonly="true")).said
    assert page["count"] == 2
    assert set(page["data"][0]) == {"ID", "fields", "collection", "profile", "modified"}
    assert (await call("PUT", f"/v4/subprofile/{made}/fields", {"key": "t-2"})).status == 204
    assert (await call("PUT", f"/v4/subprofile/{made}", {"fields": {"key": "t-3"}})).status == 204
    assert twin.account.subprofile(made).fields == {"key": "t-3"}
    assert (await call("DELETE", f"/v4/subprofile/{made}")).headers["X-deleted"] == f"subprofile {made}"
    assert (await call("DELETE", f"/v4/subprofile/{made}")).words == "Subprofile has already been removed"
    assert (await call("GET", "/v4/subprofile/1")).words == "No subprofile with supplied ID"
    assert (await call("GET", f"/v4/profile/{number}/subprofiles")).words == "Invalid method"


async def test_a_subprofile_is_upserted_within_its_profile(call, twin, collection):
    number, other = twin.sign_up("noor@example.net"), twin.sign_up("other@example.net")
    twin.add_subprofile(other, "SQ_triggers", {"key": "t-1"})
    below = f"/v4/profile/{number}/subprofiles/{collection}"
    assert (await call("PUT", below, {"key": "t-1"}, fields=["key==t-1"])).status == 204
    assert twin.below(number, "SQ_triggers") == []
    made = (await call("PUT", below, {"key": "t-1"}, fields=["key==t-1"], create=1)).made
    assert (await call("PUT", below, {"key": "t-1"}, fields=["key==t-1"], create=1)).status == 204
    assert [str(each.id) for each in twin.below(number, "SQ_triggers")] == [made]
    twin.remove_profile(number)
    assert (await call("POST", below, {"key": "t"})).words == "Subprofile could not be created"


# Unsubscribing and mail.


async def test_unsubscribing_does_what_the_database_says(call, twin):
    assert (await call("GET", f"{DB}/unsubscribe")).said == {"behavior": "nothing", "fields": {}}
    number = twin.sign_up("noor@example.net", {"Newsletter": "yes"})
    path = f"/v4/profile/{number}/unsubscribe"
    assert (await call("PUT", path)).status == 204
    assert twin.account.profile(number).fields["Newsletter"] == "yes"
    rule = {"behavior": "update", "fields": {"Newsletter": "no"}}
    assert (await call("PUT", f"{DB}/unsubscribe", rule)).status == 204
    assert (await call("GET", f"{DB}/unsubscribe")).said == rule
    assert (await call("PUT", path)).status == 204
    assert twin.account.profile(number).fields["Newsletter"] == "no"
    assert (await call("PUT", f"{DB}/unsubscribe", {"behavior": "remove"})).status == 204
    assert (await call("PUT", path)).status == 204
    assert twin.find("noor@example.net") is None
    assert (await call("PUT", path)).words == "No entity with supplied ID"
    assert (await call("PUT", f"{DB}/unsubscribe", {"behavior": "forget"})).said == INVALID


@pytest.mark.parametrize(
    ("style", "templates", "documents"), [("draganddrop", "draganddrop", "html"), ("ms", "ms", "publisher")]
)
async def test_mailing_calls_have_one_set_of_names(call, twin, style, templates, documents):
    twin.mail_path_style = style
    twin.furnish(
        Furnishing(
            triggers={
                "cart": CopernicaTrigger(route="mailing", template=7),
                "ship": CopernicaTrigger(route="mailing", document=8),
            }
        )
    )
    twin.account.templates[9] = type(twin.account.templates[7])(id=9, name="Old", archived=True)
    shown = (await call("GET", f"/v4/{templates}/templates")).said["data"]
    assert [(each["id"], each["name"], each["archived"]) for each in shown] == [
        ("7", "cart", False),
        ("9", "Old", True),
    ]
    assert (await call("GET", f"/v4/{templates}/templates", archived="false")).said["count"] == 1
    assert (await call("GET", f"/v4/{documents}/documents")).said["data"][0]["name"] == "ship"
    other_templates, other_documents = ("ms", "publisher") if style == "draganddrop" else ("draganddrop", "html")
    for method, path in (
        ("GET", f"{other_templates}/templates"),
        ("POST", f"{other_templates}/emailing"),
        ("GET", f"{other_documents}/documents"),
        ("POST", f"{other_documents}/emailing"),
    ):
        assert (await call(method, f"/v4/{path}")).words == "Invalid method"


async def test_a_template_is_mailed_to_whom_it_is_aimed_at(call, twin, collection):
    twin.furnish(
        Furnishing(
            triggers={
                "cart": CopernicaTrigger(route="mailing", template=7),
                "ship": CopernicaTrigger(route="mailing", document=8),
            }
        )
    )
    number = twin.sign_up("noor@example.net")
    below = twin.add_subprofile(number, "SQ_triggers", {"key": "1"})
    twin.sign_up("no address")
    mail = {"target": number, "targettype": "profile", "template": 7}
    first = (await call("POST", "/v4/draganddrop/emailing", mail)).made
    aimed = {"target": str(below), "targettype": "subprofile", "document": "8", "settings": {"start": ""}}
    await call("POST", "/v4/html/emailing", aimed)
    await call("POST", "/v4/draganddrop/emailing", {"target": 31, "targettype": "database", "template": 7})
    assert twin.mails[0] == {
        "mailing": int(first),
        "template": 7,
        "targettype": "profile",
        "target": number,
        "destination": 70_001,
        "profile": number,
        "email": "noor@example.net",
        "settings": {},
        "at": twin.clock.time(),
    }
    assert [(each["targettype"], each["target"]) for each in twin.mails[1:]] == [
        ("subprofile", below),
        ("database", number),
    ]
    assert twin.mails[1]["document"] == 8
    for wrong in ({"target": 1}, {**mail, "targettype": "view"}, {**mail, "template": 99}, {**mail, "target": 9}):
        assert (await call("POST", "/v4/draganddrop/emailing", wrong)).status == 400
    twin.account.templates[7].archived = True
    assert (await call("POST", "/v4/draganddrop/emailing", mail)).said == INVALID
    assert len(twin.mails) == 3
    await call("POST", "/v4/html/emailing", {"target": collection, "targettype": "collection", "document": 8})
    assert [each["target"] for each in twin.mails[3:]] == [below]
    twin.remove_profile(number)
    assert (await call("POST", "/v4/html/emailing", aimed)).words == "No entity with supplied ID"


async def test_who_left_by_a_mail_s_link_is_in_the_statistics(call, twin, clock):
    twin.furnish(Furnishing(triggers={"cart": CopernicaTrigger(route="mailing", template=7)}))
    number, other = twin.sign_up("noor@example.net"), twin.sign_up("other@example.net")
    sent = {"target": number, "targettype": "profile", "template": 7}
    mailing = (await call("POST", "/v4/draganddrop/emailing", sent)).made
    twin.unsubscribe(number)
    await clock.advance(60)
    twin.unsubscribe(number)
    twin.unsubscribe(other, mailing=42, caller="publisher")
    await call("PUT", f"/v4/profile/{number}/unsubscribe")
    row = {"ID": "1", "mailing": mailing, "timestamp": "2026-01-15 11:00:00", "destination": "70001", "source": "link"}
    page = (await call("GET", "/v4/ms/unsubscribes")).said
    assert page["data"] == [row, {**row, "ID": "2", "timestamp": "2026-01-15 11:01:00"}]
    assert (await call("GET", "/v4/ms/unsubscribes", unique="true")).said["data"] == [row]
    early, late = {"endtime": "2026-01-15 11:00:30"}, {"begintime": "2026-01-15 11:00:30"}
    found = [(await call("GET", "/v4/ms/unsubscribes", **when)).said["data"][0]["ID"] for when in (early, late)]
    assert found == ["1", "2"]
    (left,) = (await call("GET", "/v4/publisher/unsubscribes", fields=["timestamp>2026-01-01"])).said["data"]
    assert (left["profile"], left["emailing"], left["success"]) == (str(other), "42", True)
    assert (await call("GET", "/v4/publisher/unsubscribes", fields=["timestamp>2026-02-01"])).said["data"] == []


@pytest.mark.parametrize(
    ("version", "changed", "made_by_put", "deleted"), [("v2", 200, 303, 200), ("v3", 204, 201, 204)]
)
async def test_older_versions_take_the_token_in_the_query_and_answer_otherwise(
    call, twin, version, changed, made_by_put, deleted
):
    path = f"/{version}/database/31/profiles"
    for token in ({}, {"access_token": "no"}):
        refused = await call("GET", f"/{version}/identity", **token)
        assert refused.words == "Invalid access token"
    made = await call("POST", path, {"fields": {"Email": "a@example.net"}}, headers={}, **TOKEN)
    assert made.headers["X-location"] == f"{twin.origin}/{version}/profile/{made.made}"
    put = {"headers": {}, "fields": [NOOR], "create": 1, "allow_redirects": False, **TOKEN}
    first = await call("PUT", path, {"fields": {"Email": "noor@example.net"}}, **put)
    assert (first.status, first.headers["X-Created"]) == (made_by_put, str(twin.find("noor@example.net").id))
    assert first.headers.get("Location") == (first.headers["X-location"] if version == "v2" else None)
    again = await call("PUT", path, {"fields": {"City": "Breda"}}, **put)
    assert (again.status, again.said) == (changed, "")
    gone = await call("DELETE", f"/{version}/profile/{made.made}", headers={}, **TOKEN)
    assert (gone.status, gone.headers["X-deleted"]) == (deleted, f"profile {made.made}")
    assert (await call("GET", f"/{version}/nothing", headers={}, **TOKEN)).words == "Invalid method"


# Webhooks and callbacks: what is registered.

HOOK = {"handler": "https://hub.example.net/in/k3y", "trigger": "update"}


async def test_webhooks_are_made_read_changed_and_deleted_one_by_one(call, twin):
    made = (await call("POST", "/v4/webhooks", {**HOOK, "callers": ["ms"], "database": 31})).made
    path = f"/v4/webhook/{made}"
    assert (await call("GET", path)).said == {"ID": made, **HOOK, "callers": ["ms"]}
    assert (await call("PUT", path, {"callers": ["publisher"]})).status == 204
    assert (await call("GET", path)).said["callers"] == ["publisher"]
    assert [each.database for each in twin.webhooks] == [31]
    assert (await call("DELETE", path)).headers["X-deleted"] == f"webhook {made}"
    for method in ("GET", "PUT", "DELETE"):
        assert (await call(method, path)).words == "No entity with supplied ID"


@pytest.mark.parametrize(
    "wrong", [{"handler": ""}, {"handler": "hub"}, {"trigger": "change"}, {"callers": "ms"}, {"database": 9}]
)
async def test_a_webhook_needs_a_url_and_a_known_trigger(call, twin, wrong):
    assert (await call("POST", "/v4/webhooks", {**HOOK, **wrong})).status == 400
    assert twin.webhooks == []


async def test_callbacks_are_managed_by_v1_with_the_token_in_the_query(call, collection):
    sent = {"url": "https://hub.example.net/in/k3y", "method": "JSON", "action": "all", "expression": ""}
    for place, where in (("database/31", ("31", "")), (f"collection/{collection}", ("31", collection))):
        path = f"/v1/{place}/callbacks"
        made = (await call("POST", path, sent, **TOKEN)).made
        row = {"ID": made, **sent, "database": where[0], "collection": where[1]}
        assert (await call("GET", path, **TOKEN)).said["data"] == [row]
        assert (await call("GET", f"/v1/callback/{made}", **TOKEN)).said == row
        assert (await call("POST", f"/v1/callback/{made}", {"action": "update"}, **TOKEN)).said["action"] == "update"
    assert (await call("GET", "/v1/database/31/callbacks")).words == "Invalid access token"
    assert (await call("POST", "/v1/database/31/callbacks", {**sent, "url": "x"}, **TOKEN)).said == INVALID
    assert (await call("GET", "/v1/callback/1", **TOKEN)).words == "No entity with supplied ID"
    assert (await call("GET", "/v1/nothing", **TOKEN)).words == "Invalid method"


# Webhooks and callbacks: what is sent.


async def test_webhooks_speak_in_bracket_notation(call, twin, hub, clock):
    for trigger in ("create", "update", "delete", "unsubscribe"):
        await call("POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "trigger": trigger, "database": 31})
    number = twin.sign_up("noor@example.net", {"points": "many"}, interests={"hats": True})
    made = await hub.form()
    assert made["type"] == "create"
    assert (made["parameters[Points]"], made["fields[Points]"]) == ("many", "0"), "as sent, and as stored"
    await clock.advance(60)
    twin.edit_profile(number, {"City": "Breda"})
    assert await hub.form() == {
        "id": "2",
        "type": "update",
        "profile": str(number),
        "database": "31",
        "timestamp": "2026-01-15 11:01:00",
        "time": str(int(clock.time())),
        "parameters[City]": "Breda",
        **{f"fields[{name}]": value for name, value in twin.account.profile(number).fields.items()},
        "interests[]": "hats",
        "created": "2026-01-15 11:00:00",
        "modified": "2026-01-15 11:01:00",
    }
    twin.unsubscribe(number, mailing=914)
    left = await hub.form()
    assert set(left) == {"id", "type", "timestamp", "time", "database", "profile", "mailing"}
    assert (left["type"], left["mailing"]) == ("unsubscribe", "914")
    twin.remove_profile(number)
    gone = await hub.form()
    assert (gone["type"], gone["fields[Email]"]) == ("delete", "noor@example.net")
    assert not {"created", "modified", "interests[]", "parameters[City]"} & set(gone)


async def test_webhooks_are_for_a_database_or_a_collection_and_for_their_callers(call, twin, hub, collection):
    await call(
        "POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "database": 31, "callers": ["ms", "publisher"]}
    )
    await call(
        "POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "trigger": "create", "collection": int(collection)}
    )
    number = twin.sign_up("noor@example.net")
    await call("PUT", f"/v4/profile/{number}", {"fields": {"City": "Breda"}})
    twin.edit_profile(number, {"City": "Breda"})
    assert hub.came.empty(), "neither one's own write nor one that changes nothing is told"
    below = twin.add_subprofile(number, "SQ_triggers", {"key": "1"}, caller="rest")
    told = await hub.form()
    assert (told["subprofile"], told["profile"], told["collection"]) == (str(below), str(number), collection)
    assert told["fields[key]"] == "1"
    twin.edit_subprofile(below, {"key": "2"})
    twin.remove_subprofile(below)
    twin.edit_profile(number, {"City": "Delft"}, caller="publisher")
    assert (await hub.form())["fields[City]"] == "Delft"
    await twin.settled()
    assert hub.came.empty()


async def test_mail_events_tell_of_one_message(call, twin, hub):
    twin.furnish(Furnishing(triggers={"cart": CopernicaTrigger(route="mailing", template=7)}))
    for trigger in ("click", "bounce"):
        await call("POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "trigger": trigger, "database": 31})
    number = twin.sign_up("noor@example.net")
    sent = {"target": number, "targettype": "profile", "template": 7}
    mailing = (await call("POST", "/v4/draganddrop/emailing", sent)).made
    twin.mail_event("open", number)
    twin.mail_event("click", number, original="https://shop.example.net/p/77", tags=["sale", "shoes"])
    said = await hub.form()
    assert (said["type"], said["id"], said["mailing"], said["profile"]) == ("click", "70001", mailing, str(number))
    assert (said["recipient"], said["original"]) == ("noor@example.net", "https://shop.example.net/p/77")
    assert (said["tags[]"], said["ip"]) == ("shoes", "192.0.2.7")
    twin.mail_event("bounce", number)
    assert {"envelope", "mime"} <= set(await hub.form())
    twin.remove_profile(number)
    with pytest.raises(RefusedError):
        twin.mail_event("click", number)


async def test_callbacks_have_three_shapes(twin, hub):
    number = twin.sign_up("noor@example.net", {"Newsletter": "yes"})
    for shape in "ABC":
        twin.hooks.callbacks.clear()
        twin.hooks.add_callback(twin.hook_url, database=31, shape=shape)
        twin.edit_profile(number, {"Newsletter": "yes"})
        twin.edit_profile(number, {"Newsletter": "no"}, caller="rest")
        _, headers, body = await hub.next()
        if shape == "A":
            said = json.loads(body)
            assert (said["id"], said["action"], said["fields"]["Newsletter"]) == (str(number), "update", "no")
            assert (headers["Content-Type"], said["interests"]) == ("application/json", [])
        elif shape == "B":
            [(name, text)] = parse_qsl(body.decode())
            said = json.loads(text)
            assert (name, said["parameters"]) == ("json", {"Newsletter": "no"})
            assert (said["profile"]["ID"], said["profile"]["fields"]["Newsletter"]) == (str(number), "yes")
        else:
            root = ElementTree.fromstring(body)
            assert (root.findtext("fields/Newsletter"), root.findtext("updated/Newsletter")) == ("yes", "no")
            assert headers["Content-Type"] == "text/xml"
        twin.edit_profile(number, {"Newsletter": "yes"})
        await hub.next()
    assert hub.came.empty()


async def test_a_callback_is_fired_by_what_is_ticked_only(twin, hub, collection):
    twin.hooks.add_callback(twin.hook_url, database=31, triggers=["publisher"], action="update")
    twin.hooks.add_callback(twin.hook_url, database=31, collection=int(collection), action="create")
    number = twin.sign_up("noor@example.net")
    twin.edit_profile(number, {"City": "Breda"}, caller="rest")
    twin.unsubscribe(number)
    twin.edit_profile(number, {"City": "Delft"}, caller="publisher")
    twin.edit_profile(number, {"City": "Gouda"}, caller="form")
    below = twin.add_subprofile(number, "SQ_triggers", {"key": "1"}, caller="rest")
    await twin.settled()
    told = [json.loads(hub.came.get_nowait()[2]) for _ in range(hub.came.qsize())]
    cities = sorted(each["fields"]["City"] for each in told if "City" in each["fields"])
    assert cities == ["Delft", "Gouda"]
    assert [each["id"] for each in told if "key" in each["fields"]] == [str(below)]


# Signatures.


async def ask(twin, name, kind="TXT"):
    host, _, port = twin.dns.address.partition(":")
    return await dns.asyncquery.udp(dns.message.make_query(name, kind), host, timeout=5, port=int(port))


async def verify(twin, came):
    """Check a request as its receiver does; its key comes from the DNS."""
    path, headers, body = came
    said = dict(each.split("=", 1) for each in headers["Signature"].split(","))
    said = {name: value.strip('"') for name, value in said.items()}
    record = (await ask(twin, said["keyId"])).answer[0]
    text = b"".join(record[0].strings).decode()
    assert all(len(each) <= 255 for each in record[0].strings)
    key = load_der_public_key(base64.b64decode(text.removeprefix("v=DKIM1; k=rsa; p=")))
    known = {name.lower(): value for name, value in headers.items()} | {"(request-target)": f"post {path}"}
    lines = "\n".join(f"{name}: {known[name]}" for name in said["headers"].split())
    key.verify(base64.b64decode(said["signature"]), lines.encode(), padding.PKCS1v15(), SHA256())
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert headers["Digest"] == f"SHA-256={digest}"
    return said


async def test_what_is_sent_is_signed(call, twin, hub):
    await call("POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "trigger": "create"})
    twin.sign_up("noor@example.net")
    came = await hub.next()
    said = await verify(twin, came)
    path, headers, _ = came
    assert (path, headers["Host"]) == ("/in/k3y?from=copernica", twin.hook_url.split("/")[2])
    assert (said["keyId"], said["algorithm"]) == ("one._domainkey.copernica.com", "rsa-sha256")
    assert said["headers"] == "(request-target) host date x-copernica-id digest x-nonce"
    assert (headers["X-Copernica-ID"], headers["Date"]) == ("account_771", "Thu, 15 Jan 2026 10:00:00 GMT")


async def test_each_attempt_is_signed_anew(twin, hub, clock):
    hub.status = 503
    twin.deliver(b"type=test")
    first = await hub.next()
    hub.status = 200
    while twin._tasks:
        await clock.advance(1)
    second = await hub.next()
    assert first[1]["X-Nonce"] != second[1]["X-Nonce"]
    await verify(twin, second)


async def test_a_hub_that_is_not_there_is_called_again(twin, hub, clock):
    here = twin.hook_url
    twin.hook_url = "http://127.0.0.1:9/in/k3y"
    twin.deliver(b"type=test")
    while not clock._sleepers:
        await clock.advance(0)
    twin.hook_url = here
    while twin._tasks:
        await clock.advance(1)
    assert (await hub.form())["type"] == "test"


async def test_the_key_rotates(twin, hub):
    async def came():
        assert await twin.send(b"type=test", twin.signed(b"type=test")) == 200
        return await hub.next()

    old = await came()
    twin.rotate_key()
    with pytest.raises(InvalidSignature):
        await verify(twin, old)
    await verify(twin, await came())
    twin.rotate_key("two._domainkey.copernica.com")
    assert (await verify(twin, await came()))["keyId"] == "two._domainkey.copernica.com"


async def test_signatures_can_be_forged(twin, hub):
    made = twin.signed(b"", date="yesterday", x_copernica_id="account-9", covered=("date",), algorithm="hmac-sha256")
    assert (made["Date"], made["X-Copernica-ID"]) == ("yesterday", "account-9")
    assert 'algorithm="hmac-sha256",headers="date"' in made["Signature"]


async def test_the_dns_server_knows_the_keys_and_nothing_else(twin):
    found = await ask(twin, "one._domainkey.copernica.com")
    assert (found.rcode(), found.answer[0].ttl) == (dns.rcode.NOERROR, 3600)
    twin.dns.ttl = 60
    assert (await ask(twin, "ONE._domainkey.copernica.com")).answer[0].ttl == 60
    assert (await ask(twin, "one._domainkey.copernica.com", "A")).answer == []
    assert (await ask(twin, "two._domainkey.copernica.com")).rcode() == dns.rcode.NXDOMAIN
    twin.dns.broken = True
    assert (await ask(twin, "one._domainkey.copernica.com")).rcode() == dns.rcode.SERVFAIL
    assert len(twin.dns.queries) == 5


# The twin's own ways.


async def test_it_is_furnished_with_what_a_configuration_points_at(twin):
    furnishing = Furnishing(
        fields=["Email", "Shoe size", "SQ_profile.City"],
        consents={
            "newsletter": CopernicaConsent(
                field="Newsletter", granted="aan", denied="uit", pending="wacht", confirmation=5
            ),
            "service": CopernicaConsent(field="Service"),
        },
        triggers={
            "cart": CopernicaTrigger(route="mailing", template=7),
            "ship": CopernicaTrigger(route="mailing", document=8),
            "row": CopernicaTrigger(),
        },
    )
    twin.furnish(furnishing)
    twin.furnish(furnishing)
    fields = {each.name: each for each in twin.account.database(31).fields}
    assert fields["Newsletter"].choices() == ["yes", "no", "aan", "uit", "wacht"]
    assert (fields["Service"].type, fields["Service"].choices()) == ("select", ["yes", "no"])
    assert fields["Shoe size"].type == "text"
    assert (list(twin.account.templates), list(twin.account.documents)) == ([5, 7], [8])


async def test_settings_are_pointed_at_it(twin):
    wired = twin.rewired(twin.settings)
    assert (wired.base_url, wired.auth_url) == (twin.origin, f"{twin.origin}/authenticate")
    assert wired.dns_server == twin.dns.address
    assert twin.credentials() == {
        "api_token": "demo-api-token",
        "database_id": 31,
        "auth_url": wired.auth_url,
        "dns_server": wired.dns_server,
    }


async def test_the_snapshot_tells_all(twin, call, client, collection):
    number = twin.sign_up("noor@example.net", {"City": "Breda"})
    again = twin.sign_up("noor@example.net")
    twin.add_subprofile(number, "SQ_triggers", {"key": "1"})
    twin.remove_profile(twin.sign_up("gone@example.net"))
    async with client.get("/__twin__/snapshot") as answer:
        said = await answer.json()
    assert said == twin.snapshot()
    assert list(said["profiles"]) == ["noor@example.net", f"noor@example.net ({again})"]
    assert said["profiles"]["noor@example.net"] == {
        "id": number,
        "fields": {"City": "Breda", "Email": "noor@example.net", "Points": "0", "Score": "0"},
        "interests": [],
        "subprofiles": {"SQ_triggers": [{"key": "1"}]},
    }
    assert said["collections"] == {"SQ_triggers": ["key"]}


async def test_doors(twin, client):
    twin.account.database(31).unsubscribing.behavior = "remove"
    noor = {"email": "noor@example.net", "fields": {"City": "Breda"}}
    seen = {"email": "noor@example.net", "type": "open", "mailing": 7}
    for door, status in (("sign-up", 200), ("edit", 204), ("unsubscribe", 204), ("unsubscribe", 404), ("edit", 404)):
        async with client.post(f"/__twin__/{door}", json=noor) as answer:
            assert answer.status == status
        async with client.post("/__twin__/mail-event", json=seen) as answer:
            assert answer.status == (204 if door in {"sign-up", "edit"} and status != 404 else 404)
    assert twin.snapshot()["profiles"] == {}


async def test_a_deleted_field_takes_its_values_along(twin, call):
    number = twin.sign_up("noor@example.net", {"City": "Breda"})
    table = twin.account.database(31)
    twin.account.remove_field(table, "City")
    with pytest.raises(RefusedError):
        twin.account.remove_field(table, "City")
    assert "City" not in (await call("GET", f"/v4/profile/{number}")).said["fields"]


async def test_scripted_faults_come_first(twin, call):
    twin.faults.append(Fault(match="GET /v4/identity", status=503))
    assert [(await call("GET", "/v4/identity")).status for _ in range(2)] == [503, 200]


async def test_nothing_is_sent_before_the_hub_says_where_it_is(call, twin):
    await call("POST", "/v4/webhooks", {**HOOK, "handler": twin.hook_url, "trigger": "create"})
    twin.sign_up("noor@example.net")
    await twin.settled()
    with pytest.raises(RuntimeError, match="hook_url"):
        twin.signed(b"")
    assert isinstance(twin, CopernicaTwin)
