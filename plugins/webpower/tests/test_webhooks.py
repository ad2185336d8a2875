"""What Webpower sends: signed webhooks, and callbacks with a token."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from esplanade import Happening, InboundRequest, PermanentError, Report, Secret
from esplanade.http import hmac_hex
from esplanade_webpower import webhooks
from esplanade_webpower.settings import WebpowerSettings

AT = datetime(2026, 1, 15, 10, tzinfo=UTC)
SECRET = "demo-webhook-secret"
CREATED = {
    "contact_id": 9001,
    "campaign_id": 42,
    "email": "noor@example.net",
    "mobile_nr": None,
    "lang": "nl",
    "fields": [{"field": "firstname", "value": "Noor"}, {"field": "unmapped", "value": "x"}],
}


def signed(body=CREATED, *, topic="contact.created", secret=SECRET, received_at=AT, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {
        "content-type": "application/json",
        "x-mailpro-license": "demo",
        "x-mailpro-subscriber-id": "5",
        "x-mailpro-topic": topic,
        "x-mailpro-signature": hmac_hex(secret, raw),
    }
    given_headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return InboundRequest(method="POST", headers={**own, **given_headers}, body=raw, received_at=received_at)


async def test_a_signed_webhook_is_the_vendors(hub):
    request = signed()
    assert await hub.connector.verify(request, hub.ctx)
    signature = request.headers["x-mailpro-signature"]
    assert await hub.connector.verify(signed(x_mailpro_signature=f"sha256={signature}"), hub.ctx)
    assert await hub.connector.verify(signed(x_mailpro_signature=signature.upper()), hub.ctx)
    assert await hub.connector.verify(signed(x_mailpro_license="DEMO"), hub.ctx)


@pytest.mark.parametrize(
    "request_",
    [
        signed(secret="another"),
        signed(x_mailpro_signature=""),
        signed(x_mailpro_signature="sha256="),
        signed(x_mailpro_signature="é"),
        signed(x_mailpro_license="other"),
        signed(x_mailpro_license=""),
        signed({**CREATED, "campaign_id": 43}),
        signed({**CREATED, "campaign_id": None}),
        InboundRequest(method="POST", headers={}, body=b"{}", received_at=AT),
        InboundRequest(method="GET", headers={}, query="token=", received_at=AT),
    ],
)
async def test_any_other_webhook_is_not(hub, request_):
    assert not await hub.connector.verify(request_, hub.ctx)


async def test_a_body_written_anew_no_longer_matches_its_signature(hub):
    request = signed()
    changed = InboundRequest(method="POST", headers=request.headers, body=request.body + b" ", received_at=AT)
    assert not await hub.connector.verify(changed, hub.ctx)


async def test_a_signed_body_that_cannot_be_read_is_kept_for_whoever_reads_it(hub):
    assert await hub.connector.verify(signed(b"{"), hub.ctx)


async def test_without_a_secret_nothing_is_believed(open_hub):
    async with open_hub(webhook_secret=Secret("")) as hub:
        assert not await hub.connector.verify(signed(secret=""), hub.ctx)


async def test_a_created_contact_brings_address_and_fields_but_never_consent(hub):
    (report,) = await hub.connector.on_inbound_webhook(signed(), hub.ctx)
    assert report.consents == {}
    assert (report.email, report.remote_id) == ("noor@example.net", "9001")
    assert report.fields == {"firstname": "Noor", "lang": "nl", "mobile_nr": None}


async def test_a_repeat_on_the_same_day_has_the_same_event_id(hub):
    async def event_id(**parts):
        return (await hub.connector.on_inbound_webhook(signed(**parts), hub.ctx))[0].event_id

    first = await event_id()
    assert await event_id(received_at=AT + timedelta(hours=3)) == first
    assert await event_id(received_at=AT + timedelta(days=1)) != first
    assert await event_id(body={**CREATED, "lang": "en"}) != first


async def test_an_unknown_topic_says_nothing_and_is_logged_without_personal_data(hub, capsys):
    assert await hub.connector.on_inbound_webhook(signed(topic="contact.moved\nnoor@x"), hub.ctx) == []
    logged = capsys.readouterr().out
    assert "contact.movednoorx" in logged
    assert "example.net" not in logged


async def test_further_topics_mean_what_the_operator_says(open_hub):
    topics = {
        "contact.updated": "contact",
        "contact.unsubscribed": "unsubscribed",
        "contact.deleted": "deleted",
        "mail.opened": "happening",
        "group.created": "ignore",
    }
    async with open_hub(webhook_topics=topics) as hub:

        async def said(topic):
            return await hub.connector.on_inbound_webhook(signed(topic=topic), hub.ctx)

        assert (await said("contact.updated"))[0].fields["firstname"] == "Noor"
        (denied,) = await said("contact.unsubscribed")
        assert denied == Report(
            email="noor@example.net", remote_id="9001", consents={"newsletter": "denied", "service": "denied"}
        )
        (deleted,) = await said("contact.deleted")
        assert deleted.deleted
        (opened,) = await said("mail.opened")
        assert isinstance(opened, Happening)
        assert (opened.name, opened.email, opened.data["contact_id"]) == ("mail.opened", "noor@example.net", 9001)
        assert await said("group.created") == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"x"', b"{}", b'{"email": 7}', b"[" * 5000])
async def test_a_webhook_that_cannot_be_understood_is_refused_for_good(hub, body):
    with pytest.raises(PermanentError):
        await hub.connector.on_inbound_webhook(signed(body), hub.ctx)


def callback(query="", body=b"", kind=None):
    headers = {"content-type": kind} if kind else {}
    return InboundRequest(method="POST" if body else "GET", query=query, headers=headers, body=body, received_at=AT)


@pytest.mark.parametrize(
    "request_",
    [
        callback("token=t-1&topic=clicked&email=noor%40example.net&firstname=Noor"),
        callback(
            "token=t-1&event=clicked", b"email=noor%40example.net&firstname=Noor", "application/x-www-form-urlencoded"
        ),
        callback("", b'{"token": "t-1", "topic": "clicked", "email": "noor@example.net", "firstname": "Noor"}'),
    ],
)
@pytest.mark.parametrize("meaning", ["contact", "happening"])
async def test_callbacks_come_as_query_form_or_json_with_their_token(open_hub, request_, meaning):
    async with open_hub(callback_token=Secret("t-1"), webhook_topics={"clicked": meaning}) as hub:
        assert await hub.connector.verify(request_, hub.ctx)
        (said,) = await hub.connector.on_inbound_webhook(request_, hub.ctx)
    assert said.email == "noor@example.net"
    assert (said.fields if isinstance(said, Report) else said.data)["firstname"] == "Noor"
    assert "t-1" not in repr(said)


@pytest.mark.parametrize("query", ["", "token=", "token=t-2", "token=t-1&campaign_id=43"])
async def test_a_callback_without_its_token_is_refused(open_hub, query):
    async with open_hub(callback_token=Secret("t-1")) as hub:
        assert not await hub.connector.verify(callback(query), hub.ctx)
        assert not await hub.connector.verify(callback(query, b"{"), hub.ctx)


async def test_the_query_of_a_signed_webhook_is_not_believed(hub):
    request = signed({"email": "noor@example.net"})
    forged = InboundRequest(
        method="POST", query="contact_id=7&firstname=Eve", headers=request.headers, body=request.body, received_at=AT
    )
    (report,) = await hub.connector.on_inbound_webhook(forged, hub.ctx)
    assert (report.remote_id, report.fields) == (None, {})


async def test_the_twin_signs_what_it_sends_as_the_vendor_does(hub, twin):
    came: list[InboundRequest] = []

    async def take(request: web.Request) -> web.Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        came.append(InboundRequest(method="POST", headers=headers, body=await request.read(), received_at=AT))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    twin.hook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await hub.consent("pending", purpose="newsletter", desired={"firstname": "Noor"})
    await twin.settled()
    await runner.cleanup()
    (request,) = came
    assert await hub.connector.verify(request, hub.ctx)
    (report,) = await hub.connector.on_inbound_webhook(request, hub.ctx)
    assert (report.email, report.fields["firstname"], report.consents) == ("noor@example.net", "Noor", {})


SETTINGS = WebpowerSettings(
    license="demo",
    client_id="demo",
    client_secret=Secret("demo"),
    campaign_id=42,
    webhook_secret=Secret(SECRET),
    callback_token=Secret("t-1"),
)


@given(
    st.one_of(
        st.binary(max_size=200), st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
    ),
    st.text(max_size=50),
    st.dictionaries(
        st.sampled_from(["content-type", "x-mailpro-signature", "x-mailpro-license"]), st.text(max_size=30)
    ),
)
def test_nothing_that_comes_in_crashes_the_check(body, query, headers):
    request = InboundRequest(method="POST", query=query, headers=headers, body=body, received_at=AT)
    assert webhooks.verify(request, SETTINGS) in {True, False}
    with suppress(PermanentError):
        webhooks.payload(request)
