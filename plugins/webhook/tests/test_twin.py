"""The twin takes nothing that a strict receiver of Standard Webhooks would not."""

from contextlib import asynccontextmanager

import aiohttp
import pytest

from esplanade.http import sign_standard_webhook
from esplanade_webhook.plugin import WebhookConnector
from esplanade_webhook.twin import KEPT_EVENTS, WebhookTwin

from .conftest import AT, OTHER, SECRET

BODY = b'{"type":"profile.updated","timestamp":"2026-01-15T10:00:00Z","data":{"email":"ada@example.com"}}'
VECTOR = {
    "Content-Type": "application/json",
    "webhook-id": "msg_hub0001",
    "webhook-timestamp": "1768471200",
    "webhook-signature": "v1,ZHx5HkjQoKIx/sRXqpNPrEA7nfHqChqmcd2w6988dI4=",
}


@pytest.fixture
def posting(clock):
    """Start a twin; yield it and a function that posts to it and returns the status."""

    @asynccontextmanager
    async def start():
        twin = WebhookTwin(WebhookTwin.demo_settings(), clock=clock)
        await twin.start()
        async with aiohttp.ClientSession() as client:

            async def post(body=BODY, *, signed_with=SECRET, msg_id="m-1", at=None, kind="application/json", **headers):
                stamp = int(AT.timestamp()) if at is None else at
                given = sign_standard_webhook(signed_with, msg_id, stamp, body) | {"Content-Type": kind} | headers
                async with client.post(twin.credentials()["url"], data=body, headers=given) as answer:
                    return answer.status

            yield twin, post
        await twin.stop()

    return start


async def test_the_specifications_own_message_is_taken(posting):
    async with posting() as (twin, post):
        assert await post(**VECTOR) == 204

    assert list(twin.people) == ["ada@example.com"]


async def test_a_replay_is_counted_and_changes_nothing(posting):
    async with posting() as (twin, post):
        assert [await post(**VECTOR), await post(**VECTOR), await post(msg_id="m-2")] == [204, 204, 204]

    assert (twin.snapshot()["events"], twin.duplicates) == (2, 1)


async def test_an_id_with_another_body_is_a_mistake_of_the_sender(posting):
    async with posting() as (twin, post):
        assert [await post(), await post(BODY.replace(b"ada", b"eve"))] == [204, 409]

    assert list(twin.people) == ["ada@example.com"]


@pytest.mark.parametrize("off", [-301, 301])
async def test_a_message_older_or_newer_than_five_minutes_is_refused(posting, off):
    async with posting() as (_, post):
        now = int(AT.timestamp())
        assert [await post(at=now + off), await post(at=now + off // 301 * 300)] == [401, 204]


async def test_a_signature_that_is_not_right_is_refused(posting):
    async with posting() as (twin, post):
        assert await post(signed_with=OTHER) == 401
        assert await post(BODY.replace(b"ada", b"eve"), **VECTOR) == 401
        assert await post(**{"webhook-signature": ""}) == 401
        assert await post(**{"webhook-signature": "v2,AAAA"}) == 401
        assert await post(**{"webhook-timestamp": "1768471201"}) == 401
        assert await post(**{"webhook-id": "m-9"}) == 401

    assert twin.snapshot()["events"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"type":"profile.updated"}',
        BODY.replace(b"profile.updated", b"profile.made"),
        BODY.replace(b"10:00:00Z", b"10:00:00"),
        BODY.replace(b'"email"', b'"mail"'),
        BODY.replace(b"}}", b',"more":1}}'),
        (
            b'{"type":"consent.changed","timestamp":"2026-01-15T10:00:00Z","data":{"email":"a@example.com",'
            b'"purpose":"newsletter","state":"pending","at":"2026-01-15T10:00:00Z"}}'
        ),
    ],
    ids=["empty", "list", "no-data", "unknown-type", "no-zone", "no-email", "unknown-key", "pending"],
)
async def test_what_is_no_canonical_event_is_refused(posting, body):
    async with posting() as (twin, post):
        assert await post(body) == 400

    assert twin.snapshot()["events"] == 0


async def test_a_cloudevent_must_carry_the_same_id_as_its_header(posting):
    event = (
        b'{"specversion":"1.0","id":"m-1","source":"/esplanade/cdp","type":"profile.updated",'
        b'"time":"2026-01-15T10:00:00Z","datacontenttype":"application/json","data":{"email":"ada@example.com"}}'
    )
    kind = "application/cloudevents+json"
    async with posting() as (_, post):
        assert await post(event, kind=kind, msg_id="m-2") == 400
        assert await post(event.replace(b'"1.0"', b'"0.3"'), kind=kind) == 400
        assert await post(event, kind="text/plain") == 400
        assert await post(event, kind=kind) == 204


async def test_it_takes_the_place_of_the_settings_own_receiver(posting):
    async with posting() as (twin, _):
        moved = twin.rewired(WebhookTwin.demo_settings())

        assert moved.url == f"{twin.origin}/hooks/esplanade"
        assert twin.credentials() == {"url": moved.url, "secret": SECRET}
        assert WebhookConnector.twin() is WebhookTwin


async def test_it_keeps_the_latest_events_only_but_counts_all(posting):
    assert WebhookTwin(WebhookTwin.demo_settings()).events.maxlen == KEPT_EVENTS
