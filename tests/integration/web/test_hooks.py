"""Vendors' webhooks: on disk before 200, and nothing for who has no key."""

import gzip
import io

import msgspec
import pytest
from yarl import URL

from esplanade.config.model import ConnectorConfig
from esplanade.ingest.accept import MAX_BACKLOG
from esplanade.ingest.shapes import WebhookIn
from esplanade.values import Secret

from .conftest import KEY, problem_of

HOOK = f"/hooks/webpower/{KEY}"


async def kept(hub):
    return [msgspec.msgpack.decode(entry.body, type=WebhookIn) for entry in await hub.journal()]


async def test_the_raw_request_is_in_the_journal_before_the_vendor_hears_200(hub, client):
    answer = await client.post(
        HOOK + "?a=%31&b=2",
        data=b"\x00\xffraw",
        headers={"X-Signature": "s", "Content-Type": "application/x-thing", "User-Agent": "vendor/1"},
    )
    assert answer.status == 200
    assert await answer.read() == b""
    (webhook,) = await kept(hub)
    assert (webhook.method, webhook.body, webhook.verified) == ("POST", b"\x00\xffraw", True)
    assert webhook.headers["x-signature"] == "s"
    assert webhook.headers["content-type"] == "application/x-thing"
    assert hub.intake.unfolded == 1
    ((connector, request),) = hub.asked
    assert connector == "webpower"
    assert request.body == webhook.body
    assert request.received_at.timestamp() == hub.clock.time()
    (entry,) = await hub.journal()
    assert (entry.kind, entry.origin) == ("webhook", "webpower")


async def test_the_query_is_kept_as_it_came(hub, client):
    await client.post(URL(HOOK + "?a=%31+2&b=%E9", encoded=True))
    assert (await kept(hub))[0].query == "a=%31+2&b=%E9"


async def test_the_path_is_shown_to_whoever_verifies_and_kept_only_until_then(hub, client):
    escaped = HOOK.replace("/hooks/web", "/hooks/%77eb")
    await client.post(URL(escaped + "?a=1", encoded=True), data=b"x")
    hub.verified = None
    await client.post(URL(escaped, encoded=True), data=b"x")
    assert [(request.path, request.query) for _, request in hub.asked] == [(escaped, "a=1"), (escaped, "")]
    assert [webhook.path for webhook in await kept(hub)] == ["", escaped]


@pytest.mark.parametrize(
    "path",
    ["/hooks/webpower/wrong", f"/hooks/nobody/{KEY}", "/hooks/off/wrong", "/hooks/webpower/", "/hooks/webpower/%FF"],
)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS"])
async def test_404_for_a_wrong_key_and_an_unknown_connector(hub, client, path, method):
    await problem_of(await client.request(method, path, data=b"x"), 404)
    assert hub.asked == []
    assert await hub.journal() == []


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS"])
async def test_a_vendor_is_asked_to_come_back_while_its_connector_is_disabled(hub, client, method):
    answer = await client.request(method, f"/hooks/off/{KEY}", data=b"x")
    assert "disabled" in (await problem_of(answer, 503))["detail"]
    assert int(answer.headers["Retry-After"]) >= 60
    assert hub.asked == []
    assert await hub.journal() == []


async def test_401_for_a_wrong_signature(hub, client):
    hub.verified = False
    await problem_of(await client.post(HOOK, data=b"x"), 401)
    assert await hub.journal() == []


async def test_what_cannot_be_verified_just_now_is_kept_with_all_that_verifying_needs(hub, client):
    hub.verified = None
    headers = {"Authorization": "Bearer vendor", "X-Token": "t", "Cookie": "c=1", "X-Nonce": "n"}
    assert (await client.post(HOOK, data=b"x", headers=headers)).status == 200
    (webhook,) = await kept(hub)
    assert not webhook.verified
    assert webhook.headers["authorization"] == "Bearer vendor"
    assert webhook.headers["x-token"] == "t"
    assert "cookie" not in webhook.headers


async def test_credentials_are_not_kept_once_they_have_done_their_work(hub, client):
    headers = {"Authorization": "Bearer vendor", "X-Token": "t", "X-Nonce": "n"}
    await client.post(HOOK, data=b"x", headers=headers)
    (webhook,) = await kept(hub)
    assert "authorization" not in webhook.headers
    assert "x-token" not in webhook.headers
    assert webhook.headers["x-nonce"] == "n"


@pytest.mark.parametrize(
    ("query", "kept_query"),
    [
        ("token=let-me-in&event=left", "event=left"),
        ("event=left&token=let%2Dme%2Din", "event=left"),
        ("token=a+secret+b&event=left", "event=left"),
        ("token=a%20secret+b&event=left&x=1", "event=left&x=1"),
        ("back=https://h.example/?k=let-me-in&event=left", "event=left"),
        ("k=demo&event_name=demo&plan=demonstration", "event_name=demo&plan=demonstration"),
        ("let-me-in", ""),
    ],
)
async def test_a_secret_in_the_query_is_not_kept_and_what_the_call_is_read_by_is(hub, client, query, kept_query):
    secrets = [Secret("let-me-in"), Secret("a secret b"), Secret("demo")]
    hub.config.connectors["webpower"] = ConnectorConfig(name="webpower", plugin="webpower", settings=secrets)
    assert (await client.post(URL(f"{HOOK}?{query}", encoded=True), data=b"x")).status == 200
    assert (await kept(hub))[0].query == kept_query


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_vendor_may_look_whether_the_address_is_there(hub, client, method):
    answer = await client.request(method, HOOK)
    assert answer.status == 200
    assert await answer.read() == b""
    assert await hub.journal() == []


async def test_a_vendor_may_report_by_get(hub, client):
    assert (await client.get(HOOK + "?event=new_offer_subscriber")).status == 200
    assert (await kept(hub))[0].method == "GET"


async def test_a_get_that_is_not_the_vendors_and_says_nothing_is_only_a_look(hub, client):
    hub.verified = False
    assert (await client.get(HOOK + "?test=1")).status == 200
    assert await hub.journal() == []


@pytest.mark.parametrize("query", ["event=left&email=a%40b.example", "k=wrong", "test=1&event=left", "k"])
async def test_a_get_that_says_something_and_is_not_the_vendors_is_401(hub, client, query):
    hub.verified = False
    await problem_of(await client.get(f"{HOOK}?{query}"), 401)
    assert await hub.journal() == []
    text, _ = hub.metrics.exposition([], "text/plain")
    assert b'esplanade_webhooks_total{connector="webpower",result="refused"} 1.0' in text


async def test_cloudevents_validation_is_answered(client):
    answer = await client.options(HOOK, headers={"WebHook-Request-Origin": "events.example"})
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "events.example"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_taken_as_they_come(hub, client, method):
    assert (await client.request(method, HOOK, data=b"x")).status == 200
    assert (await kept(hub))[0].method == method


async def test_413_over_one_mebibyte(hub, client):
    largest = b"x" * 1024 * 1024
    assert (await client.post(HOOK, data=io.BytesIO(largest))).status == 200
    await problem_of(await client.post(HOOK, data=io.BytesIO(largest + b"x")), 413)
    assert len(await hub.journal()) == 1


async def test_a_compressed_webhook_is_kept_as_it_was_signed(hub, client):
    body = gzip.compress(b"hello")
    await client.post(HOOK, data=body, headers={"Content-Encoding": "gzip"})
    (webhook,) = await kept(hub)
    assert webhook.body == body
    assert webhook.headers["content-encoding"] == "gzip"


async def test_a_vendor_is_asked_to_come_back_when_there_is_no_room(hub, client):
    hub.intake.added(MAX_BACKLOG + 1)
    answer = await client.post(HOOK, data=b"x")
    await problem_of(answer, 503)
    assert "Retry-After" in answer.headers
    hub.intake.folded(MAX_BACKLOG)
    hub.store.full = True
    assert (await problem_of(await client.post(HOOK, data=b"x"), 503))["type"] == "storage-full"
