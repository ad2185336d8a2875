"""The twin is as strict as SparkLoop and speaks in the guide's words."""

from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest

from esplanade import InboundRequest, PersonRef, Secret
from esplanade.testing import Furnishing, open_context
from esplanade_sparkloop.plugin import SparkLoopConnector
from esplanade_sparkloop.twin import SparkLoopTwin
from esplanade_sparkloop.twin_account import Account, Refused

INCOMING = "/incoming/demo-4c1f9a27"
KEYED = {"X-Api-Key": "demo-key"}


@pytest.fixture
async def twin(inbox):
    running = SparkLoopTwin(SparkLoopTwin.demo_settings())
    await running.start()
    running.hook_url = inbox.url
    yield running
    await running.stop()


@pytest.fixture
async def call(twin):
    """``status, body = await call("POST", "/path", {...})``"""
    async with aiohttp.ClientSession() as client:

        async def send(method, path, body=None, headers=KEYED, **more):
            async with client.request(method, twin.origin + path, json=body, headers=headers, **more) as answer:
                return answer.status, await answer.json(content_type=None)

        yield send


def signup(email="ada@example.com", **more):
    return {"type": "subscribe", "subscriber": {"email": email, **more}}


def shape(value):
    """A body's keys in order and the types of its values."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    return type(value)


# What it sends.


async def test_a_new_subscriber_is_told_in_the_guides_words(twin, call, inbox, guide):
    await call("POST", INCOMING, signup(first_name="John", name="John Doe"))
    await twin.settled()
    [told] = inbox.bodies
    sample = msgspec.json.decode(guide("sync_subscriber"))
    sample["subscriber"]["last_reward"] = None
    assert shape(told) == shape(sample)
    headers = inbox.got[0][0]
    assert (headers["Content-Type"], headers["SparkLoop-Token"]) == ("application/json", "tok_demo")


async def test_a_referral_is_told_after_the_friend(twin, call, inbox, guide):
    await call("POST", INCOMING, signup("john.smith@email.com", name="John Smith"))
    await twin.settled()
    twin.unlock_reward("john.smith@email.com", "reward_1", "Stickers", 1)
    twin.refer("john.smith@email.com", "john.doe@email.com", name="John Doe")
    await twin.settled()
    told = {each["type"]: each for each in inbox.bodies}
    assert shape(told["new_referral"]) == shape(msgspec.json.decode(guide("new_referral")))
    assert told["new_referral"]["referrer"]["tot_referrals"] == 1
    assert told["new_referral"]["subscriber"]["referred"] is True
    kinds = [each["type"] for each in inbox.bodies if each["subscriber"]["email"] == "john.doe@email.com"]
    assert kinds == ["sync_subscriber", "new_referral"]


async def test_a_reward_is_told_in_the_guides_words_and_with_its_coupon(twin, call, inbox, guide):
    await call("POST", INCOMING, signup(first_name="John", name="John Doe"))
    await twin.settled()
    twin.unlock_reward("ada@example.com", "reward_1", "Report", 4)
    await twin.settled()
    assert shape(inbox.bodies[-1]) == shape(msgspec.json.decode(guide("reward_unlocked")))
    twin.unlock_reward("ada@example.com", "reward_2", "Mug", 5, coupon_code="MUG")
    await twin.settled()
    assert (inbox.bodies[-1]["coupon_code"], inbox.bodies[-1]["reward"]["id"]) == ("MUG", "reward_2")
    ada = twin.snapshot()["subscribers"]["ada@example.com"]
    assert (ada["last_reward"], ada["coupon"]) == ("reward_2", "MUG")


@pytest.mark.parametrize("refused", [201, 204, 401, 500])
async def test_everything_but_200_is_an_error_and_sent_again(twin, call, inbox, refused):
    inbox.answers = [refused]
    await call("POST", INCOMING, signup())
    await twin.settled()
    assert len(inbox.got) == 2
    assert inbox.got[0][1] == inbox.got[1][1]


async def test_a_change_is_told_and_no_change_is_not(twin, call, inbox):
    for name in ("Ada", "Ada", "Augusta"):
        await call("POST", INCOMING, signup(name=name))
        await twin.settled()
    assert [each["subscriber"]["name"] for each in inbox.bodies] == ["Ada", "Augusta"]


async def test_a_reset_is_told_of_everybody(twin, call, inbox):
    await call("POST", INCOMING, signup())
    twin.refer("ada@example.com", "bo@example.com")
    twin.reset_campaign()
    await twin.settled()
    assert {each["tot_referrals"] for each in twin.snapshot()["subscribers"].values()} == {0}


async def test_what_it_sends_the_connector_understands_and_believes(twin, call, inbox):
    await call("POST", INCOMING, signup())
    twin.refer("ada@example.com", "bo@example.com", name="Bo Li")
    twin.unlock_reward("ada@example.com", "reward_1", "Mug", 1, coupon_code="MUG")
    await twin.settled()
    connector = SparkLoopConnector(twin.rewired(twin.settings))
    held = {}
    async with open_context(connector) as ctx:
        for headers, body in inbox.got:
            lower = {name.lower(): value for name, value in headers.items()}
            request = InboundRequest(method="POST", headers=lower, body=body, received_at=datetime.now(UTC))
            assert await connector.verify(request, ctx)
            for each in await connector.on_inbound_webhook(request, ctx):
                held.setdefault(each.email, {}).update(getattr(each, "fields", {}))
    ada = twin.snapshot()["subscribers"]["ada@example.com"]
    assert held["ada@example.com"] == {
        "RH_SUBID": ada["id"],
        "RH_CODE": ada["referral_code"],
        "RH_REFLINK": ada["referral_link"],
        "RH_ISREF": False,
        "RH_TOTREF": 1,
        "RH_COUPON": "MUG",
        "RH_LASTREWARD": "reward_1",
    }
    assert held["bo@example.com"]["RH_ISREF"] is True


async def test_without_a_hub_nothing_is_sent(twin, call, inbox):
    twin.hook_url = None
    await call("POST", INCOMING, signup())
    await twin.settled()
    assert inbox.got == []


# What its incoming webhook takes.


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (signup(id=1, first_name="", name="", created_at=1), 200),
        (signup(id="a-1"), 200),
        ({"type": "unsubscribe", "subscriber": {"email": "nobody@example.com"}}, 200),
        ({"type": "update", "subscriber": {"email": "a@b.example", "previous_email": "c@d.example"}}, 422),
        ({"type": "update", "subscriber": {"email": "a@b.example"}}, 422),
        ({"type": "resubscribe", "subscriber": {"email": "a@b.example"}}, 422),
        ({"type": "subscribe"}, 422),
        ({"subscriber": {"email": "a@b.example"}}, 422),
        (signup(phone="1"), 422),
        (signup(created_at="today"), 422),
        (signup(first_name=None), 422),
        (signup(email="nobody"), 422),
        (signup(email=""), 422),
        ({**signup(), "extra": 1}, 422),
        ([signup()], 422),
    ],
)
async def test_it_takes_the_guides_three_bodies_and_no_other(twin, call, body, status):
    before = len(twin.received)
    answered, answer = await call("POST", INCOMING, body)
    assert answered == status
    assert len(twin.received) == before + (status == 200)
    assert status == 200 or set(answer) == {"error"}


async def test_it_takes_the_guides_bodies_as_they_stand(twin, guide):
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as client:
        for name, status in (("subscribe", 200), ("update", 422), ("unsubscribe", 200)):
            async with client.post(twin.origin + INCOMING, data=guide(name)) as answer:
                assert answer.status == status
        for data in (b"{", b"\xff"):
            async with client.post(twin.origin + INCOMING, data=data) as answer:
                assert answer.status == 400
        async with client.post(twin.origin + INCOMING, data=b"x", headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 400
        async with client.post(twin.origin + "/incoming/other", data=guide("subscribe")) as answer:
            assert answer.status == 404
    assert twin.snapshot()["received"] == [msgspec.json.decode(guide(name)) for name in ("subscribe", "unsubscribe")]


# Its API.


@pytest.mark.parametrize(
    ("headers", "text"), [({}, "API key is missing!"), ({"X-Api-Key": "other"}, "User not found!")]
)
async def test_only_its_own_key_opens_the_api(call, headers, text):
    assert await call("GET", "/v2/campaigns", headers=headers) == (401, {"error": text})


async def test_without_a_key_of_its_own_nobody_gets_in():
    settings = msgspec.structs.replace(SparkLoopTwin.demo_settings(), api_key=Secret(""))
    closed = SparkLoopTwin(settings)
    await closed.start()
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.get(closed.origin + "/v2/campaigns", headers={"X-Api-Key": ""}) as answer,
        ):
            assert answer.status == 401
    finally:
        await closed.stop()


async def test_a_subscriber_is_made_read_changed_and_erased(call):
    made = {"email": "ada@example.com", "name": "Ada Byron", "created_at": "2026-01-15T11:00:00+01:00"}
    status, answer = await call("POST", "/v2/subscribers", {**made, "country_code": "CZ", "utm_source": "backfill"})
    ada = answer["subscriber"]
    assert (status, ada["created_at"], ada["country_code"]) == (201, "2026-01-15T10:00:00.000Z", "CZ")
    assert await call("GET", f"/v2/subscribers/{ada['uuid']}") == (200, {"subscriber": ada})
    one = "/v2/subscribers/ada%40example.com"
    assert (await call("PUT", one, {"status": "unsubscribed"}))[0] == 200
    assert (await call("PUT", f"{one}/unsubscribe"))[0] == 409
    assert (await call("PUT", f"{one}/reject"))[0] == 409
    assert (await call("PUT", one, {"status": "maybe"}))[0] == 400
    assert (await call("PUT", one, {}))[0] == 400
    assert (await call("PUT", one, {"name": 7}))[0] == 400
    assert (await call("PUT", one, {"name": None}))[1]["subscriber"]["name"] == ""
    assert (await call("DELETE", one))[0] == 200
    assert await call("GET", one) == (404, {"error": "Subscriber not found!"})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"email": "ada@example.com"}, "Email has already been taken"),
        ({"email": "ADA@example.com"}, "Email has already been taken"),
        ({"email": "nobody"}, "Email is invalid"),
        ({"email": 7}, "Email is invalid"),
        ({}, "You have to provide at least an email"),
        ({"email": "b@c.example", "created_at": "yesterday"}, "Created at is invalid"),
        ({"email": "b@c.example", "created_at": "2026-01-15T11:00:00"}, "Created at is invalid"),
        ({"email": "b@c.example", "country_code": "Netherlands"}, "Country code is invalid"),
        ([], "The body is not an object"),
    ],
)
async def test_a_bad_subscriber_is_refused_with_a_text(call, body, text):
    await call("POST", "/v2/subscribers", {"email": "ada@example.com"})
    assert await call("POST", "/v2/subscribers", body) == (400, {"error": text})


async def test_a_body_must_be_json_and_say_so(twin):
    async with aiohttp.ClientSession(headers=KEYED) as client:
        for data, kind in ((b"{", "application/json"), (b"{}", "text/plain")):
            async with client.post(
                twin.origin + "/v2/subscribers", data=data, headers={"Content-Type": kind}
            ) as answer:
                assert answer.status == 400


async def test_a_referrer_code_makes_a_referral(call):
    _, ada = await call("POST", "/v2/subscribers", {"email": "ada@example.com"})
    code = ada["subscriber"]["ref_code"]
    _, bo = await call("POST", "/v2/subscribers", {"email": "bo@example.com", "referrer_code": code})
    assert (bo["subscriber"]["referred"], bo["subscriber"]["referrer_code"]) == (True, code)
    _, referrals = await call("GET", "/v2/campaigns/MFdemo000001/subscribers/ada@example.com/referrals")
    assert [each["email"] for each in referrals["subscribers"]] == ["bo@example.com"]


async def test_lists_are_paged_newest_first(twin, call):
    for number in range(5):
        twin.account.add(f"p{number}@example.com", float(number), referred=number == 3)
    _, page = await call("GET", "/v2/subscribers?per_page=2&page=2")
    assert [each["email"] for each in page["subscribers"]] == ["p2@example.com", "p1@example.com"]
    assert page["meta"] == {"per_page": 2, "page": 2, "total_pages": 3, "total_subscribers": 5}
    assert (await call("GET", "/v2/subscribers?per_page=999"))[1]["meta"]["per_page"] == 200
    assert [each["email"] for each in (await call("GET", "/v2/subscribers?type=referrals"))[1]["subscribers"]] == [
        "p3@example.com"
    ]
    assert (await call("GET", "/v2/subscribers?type=advocates"))[1]["subscribers"] == []
    assert (await call("GET", "/v2/subscribers?type=friends"))[0] == 400
    assert (await call("GET", "/v2/subscribers?page=0"))[0] == 400


async def test_campaigns_have_members(call):
    campaign = "/v2/campaigns/MFdemo000001"
    assert (await call("GET", "/v2/campaigns"))[1]["campaigns"][0]["uuid"] == "MFdemo000001"
    assert await call("GET", "/v2/campaigns/MFx") == (404, {"error": "Campaign MFx not found!"})
    assert (await call("PUT", campaign, {"name": "Friends"}))[1]["campaign"]["name"] == "Friends"
    assert (await call("PUT", campaign, {"name": ""}))[0] == 400
    join = f"{campaign}/campaign_memberships"
    assert (await call("POST", join, {"subscriber_uuid": "ada@example.com"}))[0] == 400
    await call("POST", "/v2/subscribers", {"email": "ada@example.com"})
    assert (await call("GET", f"{campaign}/subscribers/ada@example.com"))[0] == 404
    status, made = await call("POST", join, {"subscriber_uuid": "ada@example.com"})
    assert status == 201
    assert set(made["campaign_membership"]) == {"uuid", "campaign_uuid", "subscriber_uuid", "created_at"}
    assert (await call("POST", join, {"subscriber_uuid": "ada@example.com"}))[0] == 400
    assert (await call("GET", f"{campaign}/subscribers/ada@example.com"))[0] == 200
    assert len((await call("GET", f"{campaign}/subscribers"))[1]["subscribers"]) == 1
    assert (await call("DELETE", f"{join}/{made['campaign_membership']['uuid']}"))[0] == 200
    assert (await call("DELETE", f"{join}/{made['campaign_membership']['uuid']}"))[0] == 404


async def test_events_belong_to_a_campaign(call):
    await call("POST", "/v2/subscribers", {"email": "ada@example.com"})
    events = "/v2/subscribers/ada@example.com/events"
    status, made = await call("POST", events, {"value": 9.5, "campaign_uuid": "MFdemo000001"})
    assert (status, set(made["event"])) == (201, {"value", "subscriber_uuid", "created_at"})
    assert (await call("POST", events, {"value": 9.5}))[0] == 404


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://hub.example", 201),
        ("http://127.0.0.1:8600/hooks/x", 201),
        ("http://0.0.0.0:8600", 201),
        ("http://localhost:8600", 201),
        ("http://192.168.1.5", 201),
        ("http://hub.example", 400),
        ("http://8.8.8.8", 400),
        ("ftp://127.0.0.1", 400),
        ("http://[", 400),
        (None, 400),
    ],
)
async def test_webhooks_go_to_https_or_near_the_twin(call, url, status):
    answered, answer = await call("POST", "/v2/webhooks", {"url": url})
    assert answered == status
    assert status == 201 or answer == {"error": "Url must start with https://"}
    _, made = await call("POST", "/v2/webhooks", {"url": "https://hub.example"})
    answered, _ = await call("PUT", f"/v2/webhooks/{made['webhook']['uuid']}", {"url": url})
    assert (answered == 200) is (status == 201)


async def test_events_of_webhooks_are_switched_on_or_off(call):
    refused = await call("POST", "/v2/webhooks", {"url": "https://hub.example", "new_referral": "yes"})
    assert refused == (400, {"error": "new_referral is not a boolean"})


async def test_webhooks_are_made_read_changed_and_removed(call):
    _, made = await call("POST", "/v2/webhooks", {"url": "https://hub.example", "new_referral": True})
    uuid = made["webhook"]["uuid"]
    assert made["webhook"]["events"]["reward_unlocked"] is None
    _, changed = await call("PUT", f"/v2/webhooks/{uuid}", {"reward_unlocked": True})
    assert changed["webhook"]["events"]["new_referral"] is True
    assert await call("GET", f"/v2/webhooks/{uuid}") == (200, changed)
    assert len((await call("GET", "/v2/webhooks"))[1]["webhooks"]) == 1
    assert (await call("DELETE", f"/v2/webhooks/{uuid}"))[0] == 200
    assert (await call("GET", f"/v2/webhooks/{uuid}"))[0] == 404


# Its doors, and what it says of itself.


async def test_its_doors_refer_and_reward(twin, call, inbox):
    await call("POST", INCOMING, signup())
    status, bo = await call(
        "POST", "/__twin__/refer", {"referrer": "ada@example.com", "email": "bo@example.com", "name": "Bo Li"}
    )
    assert (status, bo["referred"], bo["first_name"]) == (200, True, "Bo")
    reward = {"email": "ada@example.com", "reward_id": "reward_1", "name": "Mug", "referrals": 1, "coupon_code": "MUG"}
    status, ada = await call("POST", "/__twin__/reward", reward)
    assert (status, ada["last_reward"], ada["tot_referrals"]) == (200, "reward_1", 1)
    await twin.settled()
    assert sorted(each["type"] for each in inbox.bodies) == [
        "new_referral",
        "reward_unlocked",
        "sync_subscriber",
        "sync_subscriber",
    ]
    for door in ("refer", "reward"):
        assert (await call("POST", f"/__twin__/{door}", {}))[0] == 400
    assert (await call("POST", "/__twin__/reward", {**reward, "email": "no@example.com"}))[0] == 404
    assert (await call("POST", "/__twin__/refer", {"referrer": "no@example.com", "email": "x@y.example"}))[0] == 404


async def test_its_credentials_reach_it(twin):
    given = twin.credentials()
    assert given["incoming_webhook_url"] == twin.origin + INCOMING
    assert (given["api_key"], given["webhook_token"], given["outbound_mode"]) == (
        "demo-key",
        "tok_demo",
        "incoming_webhook",
    )
    wired = msgspec.structs.replace(twin.rewired(twin.settings), outbound_mode="api_v2")
    connector = SparkLoopConnector(wired)
    async with open_context(connector) as ctx:
        assert (await connector.check(ctx)).status == "ok"
        assert await connector.fetch(PersonRef(person="p-1", email="a@b.example"), ctx) is None


async def test_it_needs_no_furniture(twin):
    before = twin.snapshot()
    twin.furnish(Furnishing(fields=["RH_CODE"]))
    assert twin.snapshot() == before


def test_two_accounts_generate_the_same():
    one, two = Account(None), Account(None)
    assert one.add("ada@example.com", 0.0) == two.add("ADA@example.com".lower(), 0.0)


def test_an_address_given_up_and_taken_again_is_another_person():
    account = Account(None)
    first = account.add("ada@example.com", 0.0)
    assert account.rename(first, "new@example.com")
    assert not account.rename(first, "new@example.com")
    second = account.add("ada@example.com", 1.0)
    assert first.id != second.id
    with pytest.raises(Refused, match="taken"):
        account.rename(second, "NEW@example.com")
    account.remove(first)
    assert account.find(first.id) is None


def test_the_connector_brings_its_twin():
    assert SparkLoopConnector.twin() is SparkLoopTwin
