"""What the receiver hears, what it holds afterwards, and what each of its answers means to the hub."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from esplanade import (
    AudienceChange,
    AudienceTarget,
    AuthenticationError,
    ConsentTarget,
    EndpointGone,
    Outcome,
    PermanentError,
    Product,
    ProductSet,
    RateLimited,
    Secret,
    TemporaryError,
    TriggerTarget,
)
from esplanade.registry import Registry, types_of
from esplanade.testing import Fault, open_context
from esplanade_webhook.plugin import WebhookConnector

from .conftest import AT, OTHER, SECRET, consent, profile, settings, trigger


def members(add=(), remove=()):
    return AudienceChange(add=dict.fromkeys(add, AudienceTarget()), remove=dict.fromkeys(remove, AudienceTarget()))


# What is said.


async def test_a_changed_person_is_one_event(calling, receiver):
    async with calling() as (connector, ctx):
        outcome = await connector.on_profile(profile(changed={"ltv": 12.5, "city": "Brno"}, cleared=["phone"]), ctx)

    assert outcome == Outcome()
    assert [body for _, _, _, body in receiver.requests] == [
        (
            b'{"type":"profile.updated","timestamp":"2026-01-15T10:00:00Z","data":{"person":"p-1","email":"ada@example.com",'
            b'"fields":{"city":"Brno","ltv":12.5,"phone":null}}}'
        )
    ]


async def test_a_renamed_person_is_told_with_the_former_address_and_the_receivers_own_id(calling, receiver):
    async with calling() as (connector, ctx):
        await connector.on_profile(profile(previous_email="a@old.example", cdp_id="u-1"), ctx)

    assert [(key, value) for key, value in receiver.bodies[0]["data"].items()] == [
        ("person", "p-1"),
        ("id", "u-1"),
        ("email", "ada@example.com"),
        ("previous_email", "a@old.example"),
        ("fields", {}),
    ]


async def test_memberships_are_an_event_of_their_own_after_the_profile(calling, receiver):
    event = profile(changed={"city": "Brno"}, audiences=members(add=["vip", "b2b"], remove=["old"]))
    async with calling() as (connector, ctx):
        await connector.on_profile(event, ctx)

    assert [body["type"] for body in receiver.bodies] == ["profile.updated", "audience.changed"]
    assert receiver.requests[1][3] == (
        b'{"type":"audience.changed","timestamp":"2026-01-15T10:00:00Z",'
        b'"data":{"email":"ada@example.com","audiences":{"b2b":true,"old":false,"vip":true}}}'
    )


async def test_memberships_alone_say_nothing_of_the_profile(calling, receiver):
    async with calling() as (connector, ctx):
        await connector.on_profile(profile(audiences=members(add=["vip"])), ctx)

    assert [body["type"] for body in receiver.bodies] == ["audience.changed"]


@pytest.mark.parametrize("state", ["granted", "denied"])
async def test_a_consent_is_told_with_the_time_at_which_it_was_said(calling, receiver, state):
    said_at = datetime(2026, 1, 15, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    async with calling() as (connector, ctx):
        assert await connector.on_consent(consent(state=state, method="double", said_at=said_at), ctx) == Outcome()

    assert receiver.requests[0][3].decode() == (
        '{"type":"consent.changed","timestamp":"2026-01-15T10:00:00Z","data":{"email":"ada@example.com",'
        f'"purpose":"newsletter","state":"{state}","method":"double","at":"2026-01-15T09:30:00Z"}}}}'
    )


async def test_a_pending_consent_is_not_told(calling, receiver):
    async with calling() as (connector, ctx):
        outcome = await connector.on_consent(consent(state="pending"), ctx)

    assert outcome == Outcome(status="unchanged", reason="no-consent")
    assert receiver.requests == []


async def test_a_trigger_carries_its_data_and_products(calling, receiver):
    lamp = Product(id="SKU-1", title="Lamp", price=24.5, currency="EUR", quantity=1)
    event = trigger(
        language="cs",
        data={"cart_id": "C-77", "nested": {"z": 1, "a": [None, True]}},
        products=ProductSet(set="last-viewed", items=[lamp, Product(id="SKU-2")]),
        expires_at=AT + timedelta(hours=6),
    )
    async with calling() as (connector, ctx):
        assert await connector.on_trigger(event, ctx) == Outcome()

    assert receiver.requests[0][3] == (
        b'{"type":"trigger","timestamp":"2026-01-15T10:00:00Z","data":{"email":"ada@example.com",'
        b'"trigger":"abandoned-cart","trigger_id":"t-9","language":"cs",'
        b'"data":{"cart_id":"C-77","nested":{"z":1,"a":[null,true]}},'
        b'"products":{"set":"last-viewed","items":[{"id":"SKU-1","title":"Lamp","price":24.5,"currency":"EUR",'
        b'"quantity":1},{"id":"SKU-2"}]},"expires_at":"2026-01-15T16:00:00Z"}}'
    )


async def test_a_trigger_without_language_speaks_the_hubs(calling, receiver):
    async with calling() as (connector, ctx):
        await connector.on_trigger(trigger(), ctx)

    assert receiver.bodies[0]["data"] == {
        "email": "ada@example.com",
        "trigger": "abandoned-cart",
        "trigger_id": "t-9",
        "language": "nl",
        "data": {},
    }


async def test_cloudevents_are_structured_and_signed_alike(calling, receiver):
    async with calling() as (connector, ctx):
        await connector.on_consent(consent(), ctx)
    async with calling(format="cloudevents") as (connector, ctx):
        await connector.on_consent(consent(), ctx)

    (*_, plain_headers, plain), (*_, headers, body) = receiver.requests
    assert plain_headers["content-type"] == "application/json"
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == plain_headers["webhook-id"]
    assert list(msgspec.json.decode(body).items()) == [
        ("specversion", "1.0"),
        ("id", headers["webhook-id"]),
        ("source", "/esplanade/test"),
        ("type", "consent.changed"),
        ("subject", "p-1"),
        ("time", "2026-01-15T10:00:00Z"),
        ("datacontenttype", "application/json"),
        ("data", msgspec.json.decode(plain)["data"]),
    ]


async def test_the_url_keeps_its_query_and_further_headers_are_sent(receiver, clock):
    url = f"{receiver.origin}/in?source=esplanade"
    connector = WebhookConnector(settings(url=url, headers={"Authorization": Secret("Bearer hush")}))
    async with open_context(connector, clock=clock) as ctx:
        await connector.on_trigger(trigger(), ctx)

    method, path, headers, _ = receiver.requests[0]
    assert (method, path, headers["authorization"]) == ("POST", "/in?source=esplanade", "Bearer hush")


async def test_the_base_url_is_called_in_place_of_the_urls_origin(receiver, clock):
    connector = WebhookConnector(settings(base_url=receiver.origin))
    async with open_context(connector, clock=clock) as ctx:
        await connector.on_trigger(trigger(), ctx)

    assert receiver.requests[0][1] == "/hooks/esplanade"


# How it is signed.


def test_the_signature_is_that_of_the_specification():
    body = b'{"type":"profile.updated","timestamp":"2026-01-15T10:00:00Z","data":{"email":"ada@example.com"}}'

    assert WebhookConnector(settings())._signed("msg_hub0001", 1768471200, body) == {
        "webhook-id": "msg_hub0001",
        "webhook-timestamp": "1768471200",
        "webhook-signature": "v1,ZHx5HkjQoKIx/sRXqpNPrEA7nfHqChqmcd2w6988dI4=",
    }


async def test_the_reference_library_takes_what_is_sent(receiver):
    connector = WebhookConnector(settings(url=f"{receiver.origin}/in"))
    async with open_context(connector) as ctx:
        await connector.on_trigger(trigger(data={"name": "Žluťoučký kůň"}), ctx)

    _, _, headers, body = receiver.requests[0]
    assert Webhook(SECRET).verify(body, headers)["data"]["data"] == {"name": "Žluťoučký kůň"}


async def test_the_timestamp_is_that_of_the_attempt_and_the_id_that_of_the_event(calling, receiver, clock):
    async with calling() as (connector, ctx):
        await connector.on_trigger(trigger(), ctx)
        await clock.advance(3600)
        await connector.on_trigger(trigger(), ctx)

    (*_, first, body), (*_, second, again) = receiver.requests
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 3600
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_every_other_content_has_another_id(calling, receiver):
    later = AT + timedelta(seconds=1)
    async with calling() as (connector, ctx):
        await connector.on_profile(profile(changed={"a": 1}, audiences=members(add=["vip"])), ctx)
        await connector.on_profile(profile(changed={"a": 2}), ctx)
        await connector.on_profile(profile(changed={"a": 1}, delivery_id="d-9"), ctx)
        await connector.on_profile(profile(changed={"a": 1}, at=later), ctx)  # changed to 2 and back in between
        await connector.on_trigger(trigger(), ctx)
        await connector.on_trigger(trigger(trigger_id="t-10"), ctx)

    ids = [headers["webhook-id"] for _, _, headers, _ in receiver.requests]
    assert len(set(ids)) == len(ids) == 7
    assert not [each for each in ids if "." in each]


async def test_a_secret_changes_without_a_gap(joined):
    ours = {"secret": Secret(SECRET), "secrets": [Secret(OTHER)]}
    for theirs in (settings(secret=Secret(SECRET)), settings(secret=Secret(OTHER))):
        async with joined(theirs, **ours) as (twin, connector, ctx):
            assert await connector.on_consent(consent(), ctx) == Outcome()
            assert twin.snapshot()["events"] == 1


# What the receiver holds, and repeats.


@pytest.mark.parametrize("form", ["canonical", "cloudevents"])
async def test_the_receiver_ends_up_with_what_the_hub_holds(joined, form):
    async with joined(format=form) as (twin, connector, ctx):
        await connector.on_profile(
            profile(email="a@old.example", changed={"city": "Brno", "phone": "1"}, audiences=members(add=["vip"])), ctx
        )
        await connector.on_consent(consent(email="a@old.example"), ctx)
        await connector.on_profile(
            profile(previous_email="a@old.example", cleared=["phone"], audiences=members(remove=["vip"])), ctx
        )
        await connector.on_consent(consent(purpose="service", state="denied"), ctx)
        await connector.on_trigger(trigger(data={"cart_id": "C-77"}), ctx)
        order = [each.type for each in twin.events]

    assert twin.snapshot() == {
        "people": {
            "ada@example.com": {
                "fields": {"city": "Brno"},
                "consents": {"newsletter": "granted", "service": "denied"},
                "audiences": {"vip": False},
            }
        },
        "triggers": [
            {
                "email": "ada@example.com",
                "trigger": "abandoned-cart",
                "trigger_id": "t-9",
                "language": "nl",
                "data": {"cart_id": "C-77"},
            }
        ],
        "events": 7,
        "duplicates": 0,
    }
    assert order == [
        "profile.updated",
        "audience.changed",
        "consent.changed",
        "profile.updated",
        "audience.changed",
        "consent.changed",
        "trigger",
    ]


@pytest.mark.parametrize("action", ["cut-after", "after"])
async def test_a_trigger_whose_answer_was_lost_is_repeated_and_counts_once(joined, clock, action):
    async with joined() as (twin, connector, ctx):
        twin.faults.append(Fault(match="POST", action=action, status=500))
        with pytest.raises(TemporaryError):
            await connector.on_trigger(trigger(), ctx)
        await clock.advance(60)
        assert await connector.on_trigger(trigger(), ctx) == Outcome()

    assert (len(twin.triggers), twin.duplicates) == (1, 1)


async def test_a_profile_that_failed_half_way_is_told_whole_again(joined):
    event = profile(changed={"city": "Brno"}, audiences=members(add=["vip"]))
    async with joined() as (twin, connector, ctx):
        twin.faults.append(Fault(match="POST", skip=1, status=503))
        with pytest.raises(TemporaryError):
            await connector.on_profile(event, ctx)
        await connector.on_profile(event, ctx)

    assert twin.people["ada@example.com"].audiences == {"vip": True}
    assert (twin.snapshot()["events"], twin.duplicates) == (2, 1)


# What the answers mean.


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (301, {"Location": "/elsewhere"}, PermanentError),
        (308, {"Location": "/elsewhere"}, PermanentError),
        (400, {}, PermanentError),
        (401, {}, AuthenticationError),
        (403, {}, AuthenticationError),
        (410, {}, EndpointGone),
        (429, {"Retry-After": "12"}, RateLimited),
        (500, {}, TemporaryError),
        (502, {}, TemporaryError),
        (503, {"Retry-After": "12"}, RateLimited),
        (504, {}, TemporaryError),
    ],
)
async def test_an_answer_says_what_to_do_next(calling, receiver, status, headers, error):
    receiver.status, receiver.headers = status, headers
    async with calling() as (connector, ctx):
        with pytest.raises(error) as caught:
            await connector.on_trigger(trigger(), ctx)

    assert type(caught.value) is error
    assert caught.value.retry_after == (12 if "Retry-After" in headers else None)
    assert "ada@example.com" not in str(caught.value)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_an_acknowledgement(calling, receiver, status):
    receiver.status = status
    async with calling() as (connector, ctx):
        assert await connector.on_trigger(trigger(), ctx) == Outcome()


async def test_another_secret_is_an_authentication_error(joined):
    async with joined(settings(secret=Secret(OTHER))) as (twin, connector, ctx):
        with pytest.raises(AuthenticationError):
            await connector.on_trigger(trigger(), ctx)
        assert (await connector.check(ctx)).status == "bad-credentials"

    assert twin.snapshot()["events"] == 0


# Checking the connection.


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (200, "ok"),
        (404, "ok"),
        (405, "ok"),
        (501, "ok"),
        (302, "wrong-account"),
        (401, "bad-credentials"),
        (403, "bad-credentials"),
        (410, "wrong-account"),
        (502, "vendor-down"),
    ],
)
async def test_the_check_asks_without_making_anything(calling, receiver, answer, status):
    receiver.status = answer
    async with calling() as (connector, ctx):
        result = await connector.check(ctx)

    assert result.status == status
    assert f"the endpoint answers {answer} to HEAD" in result.detail
    assert [(method, body) for method, _, _, body in receiver.requests] == [("HEAD", b"")]


async def test_the_check_of_a_receiver_that_is_not_there_says_so(joined):
    async with joined() as (twin, connector, ctx):
        await twin.stop()
        result = await connector.check(ctx)

    assert result.status == "vendor-down"
    assert "127.0.0.1" in result.detail


async def test_the_check_passes_against_the_twin_and_leaves_nothing(joined):
    async with joined() as (twin, connector, ctx):
        assert (await connector.check(ctx)).status == "ok"

    assert twin.snapshot() == {"people": {}, "triggers": [], "events": 0, "duplicates": 0}


# What it declares.


def test_it_keeps_the_rules_of_the_framework():
    registry = Registry()
    registry.register("cdp", WebhookConnector(settings()))
    types = types_of(WebhookConnector)

    assert registry.capabilities("cdp") == {"hooks": ["on_profile", "on_consent", "on_trigger"], "methods": ["check"]}
    assert (types.consent, types.audience, types.trigger) == (ConsentTarget, AudienceTarget, TriggerTarget)
    assert types.receives == ["profile", "consent", "trigger"]
    assert types.all_fields
