"""OAuth2 client credentials against a real token endpoint on the hub's clock."""

import asyncio
from collections import Counter
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from esplanade import (
    AuthenticationError,
    OAuth2ClientCredentials,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)


class TokenVendor:
    """Grants ``tok-1``, ``tok-2``, … and takes only those in ``good``; other paths count as the API."""

    def __init__(self, vendor):
        self.vendor = vendor
        vendor.handler = self.handle
        self.granted = 0
        self.good = set()
        self.expires_in = {"expires_in": 3600}
        self.refuse = None
        self.gate = None
        self.asked = asyncio.Event()
        self.calls = Counter()
        self.forms = []

    async def handle(self, request):
        self.calls[request.path] += 1
        if request.path != "/token":
            sent = request.headers.get("Authorization", "")
            return web.json_response({"sent": sent}, status=200 if sent.removeprefix("Bearer ") in self.good else 401)
        self.asked.set()
        self.forms.append(dict(parse_qsl(await request.text())))
        if self.gate:
            await self.gate.wait()
        if self.refuse is not None:
            return self.refuse()
        self.granted += 1
        token = f"tok-{self.granted}-canary"
        self.good.add(token)
        return web.json_response({"access_token": token, "token_type": "bearer", **self.expires_in})


@pytest.fixture
async def tokens(vendor):
    return TokenVendor(vendor)


@pytest.fixture
async def http(vendor, opened):
    auth = OAuth2ClientCredentials(
        token_url=f"{vendor.origin}/token", client_id="me&co", client_secret="hush+hush", scope="a b"
    )
    return opened(f"{vendor.origin}/rest", auth=auth)


async def test_the_token_is_asked_for_by_form_without_credentials_in_headers(tokens, http, vendor):
    await http.get("/x")
    request, _ = vendor.requests[0]
    assert request.method == "POST"
    assert request.content_type == "application/x-www-form-urlencoded"
    assert "Authorization" not in request.headers
    assert tokens.forms == [
        {"grant_type": "client_credentials", "client_id": "me&co", "client_secret": "hush+hush", "scope": "a b"}
    ]


async def test_one_token_serves_all_callers_at_once_and_later(tokens, http):
    tokens.gate = asyncio.Event()
    calls = [asyncio.create_task(http.get("/x")) for _ in range(20)]
    await tokens.asked.wait()
    tokens.gate.set()
    answers = await asyncio.gather(*calls)
    assert {answer.json()["sent"] for answer in answers} == {"Bearer tok-1-canary"}
    await http.get("/x")
    assert tokens.calls == {"/token": 1, "/rest/x": 21}


async def test_a_token_is_renewed_a_minute_before_it_expires(tokens, http, clock):
    await http.get("/x")
    await clock.advance(3539)
    await http.get("/x")
    assert tokens.granted == 1
    await clock.advance(2)
    await http.get("/x")
    assert tokens.granted == 2


@pytest.mark.parametrize(
    ("said", "good_for"),
    [
        ({}, 3540),
        ({"expires_in": None}, 3540),
        ({"expires_in": "1200"}, 1140),
        ({"expires_in": "for ever"}, 3540),
        ({"expires_in": [1]}, 3540),
        ({"expires_in": "nan"}, 3540),
        ({"expires_in": 90}, 45),
        ({"expires_in": 30}, 15),
        ({"expires_in": 1}, 1),
        ({"expires_in": 0}, 1),
        ({"expires_in": -60}, 1),
        ({"expires_in": "-inf"}, 1),
        ({"expires_in": 10**12}, 30 * 86_400 - 60),
    ],
)
async def test_any_lifetime_a_vendor_names_makes_sense_and_never_a_loop(tokens, http, clock, said, good_for):
    tokens.expires_in = said
    await http.get("/x")
    await clock.advance(good_for - 0.01)
    await http.get("/x")
    assert tokens.granted == 1
    await clock.advance(0.02)
    await http.get("/x")
    assert tokens.granted == 2


async def test_after_a_401_the_token_is_fetched_once_and_the_call_replayed_even_a_post(tokens, http, vendor):
    await http.get("/x")
    tokens.good.clear()
    answer = await http.post("/x", json={"big": "y" * 2_000_000})
    assert answer.json() == {"sent": "Bearer tok-2-canary"}
    assert tokens.granted == 2
    bodies = [len(body) for request, body in vendor.requests if request.method == "POST" and request.path == "/rest/x"]
    assert bodies == [2_000_010, 2_000_010]


async def test_a_401_whose_body_never_ends_does_not_hold_up_the_second_try(tokens, http, vendor):
    await http.get("/x")
    tokens.good.clear()
    plain = vendor.handler

    async def handle(request):
        answer = await plain(request)
        if answer.status != 401:
            return answer
        endless = web.StreamResponse(status=401)
        await endless.prepare(request)
        await endless.write(b"who?")
        return await asyncio.Event().wait()

    vendor.handler = handle
    assert (await http.post("/x", json=1)).json() == {"sent": "Bearer tok-2-canary"}
    assert tokens.calls == {"/token": 2, "/rest/x": 3}


async def test_a_token_of_the_callers_own_making_is_replaced_by_the_sessions(tokens, http, vendor):
    await http.request("GET", "/x", headers={"authorization": "Bearer mine", "X-Note": "1"})
    request, _ = vendor.requests[1]
    assert request.headers.getall("Authorization") == ["Bearer tok-1-canary"]
    assert request.headers["X-Note"] == "1"


async def test_many_calls_with_a_dead_token_fetch_one_new_token(tokens, http):
    await http.get("/x")
    tokens.good.clear()
    await asyncio.gather(*(http.post("/x", json=1) for _ in range(20)))
    assert tokens.granted == 2


async def test_a_late_401_for_the_old_token_does_not_drop_the_new_one(tokens, http):
    await http.get("/x")
    plain, late = tokens.vendor.handler, asyncio.Event()

    async def handle(request):
        if request.path == "/rest/late" and "tok-1-" in request.headers["Authorization"]:
            await late.wait()
        return await plain(request)

    tokens.vendor.handler = handle
    tokens.good.clear()
    slow = asyncio.create_task(http.get("/late"))
    assert (await http.get("/x")).json() == {"sent": "Bearer tok-2-canary"}
    late.set()
    assert (await slow).json() == {"sent": "Bearer tok-2-canary"}
    assert tokens.granted == 2


async def test_a_second_401_is_an_authentication_error_and_no_third_try(tokens, http):
    async def refuse_all(request):
        tokens.calls[request.path] += 1
        if request.path == "/token":
            return web.json_response({"access_token": "tok"})
        return web.Response(status=401, text="who?")

    tokens.vendor.handler = refuse_all
    with pytest.raises(AuthenticationError, match=r"401 to POST /rest/x: who\?"):
        await http.post("/x", json=1)
    assert tokens.calls == {"/token": 2, "/rest/x": 2}


async def test_a_403_is_not_replayed(tokens, http):
    async def forbid(request):
        tokens.calls[request.path] += 1
        return web.json_response({"access_token": "tok"}) if request.path == "/token" else web.Response(status=403)

    tokens.vendor.handler = forbid
    with pytest.raises(AuthenticationError):
        await http.get("/x")
    assert tokens.calls == {"/token": 1, "/rest/x": 1}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_a_refused_grant_is_an_authentication_error_in_the_vendors_words(tokens, http, status):
    tokens.refuse = lambda: web.json_response(
        {"error": "invalid_client", "error_description": "hush+hush of ada@example.com is revoked"}, status=status
    )
    with pytest.raises(AuthenticationError) as raised:
        await http.post("/x", json=1)
    assert f"the token endpoint answered {status}" in str(raised.value)
    assert "[secret] of [email] is revoked" in str(raised.value)
    assert tokens.calls == {"/token": 1}


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "[]", '"tok"', "{}", '{"access_token":null}', '{"access_token":""}', '{"access_token":"a\\nb"}'],
)
async def test_an_answer_without_a_usable_token_is_an_authentication_error(tokens, http, body):
    tokens.refuse = lambda: web.Response(text=body)
    with pytest.raises(AuthenticationError, match="access_token"):
        await http.get("/x")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_trouble_at_the_token_endpoint_is_temporary_even_for_a_post(tokens, http, status):
    tokens.refuse = lambda: web.Response(status=status)
    with pytest.raises(TemporaryError):
        await http.post("/x", json=1)


async def test_a_token_endpoint_that_asks_for_patience_gets_it(tokens, http):
    tokens.refuse = lambda: web.Response(status=429, headers={"Retry-After": "8"})
    with pytest.raises(RateLimited) as raised:
        await http.post("/x", json=1)
    assert raised.value.retry_after == 8


async def test_a_silent_token_endpoint_is_temporary_even_for_a_post(tokens, vendor, opened):
    tokens.gate = asyncio.Event()
    auth = OAuth2ClientCredentials(token_url=f"{vendor.origin}/token", client_id="c", client_secret="hush")
    http = opened(vendor.origin, auth=auth, timeout_s=0.1)
    with pytest.raises(TemporaryError) as raised:
        await asyncio.gather(*(http.post("/x", json=1) for _ in range(5)))
    assert not isinstance(raised.value, OutcomeUnknown)
    tokens.gate.set()


async def test_a_silent_token_endpoint_after_a_401_is_temporary_because_a_401_was_not_acted_on(tokens, vendor, opened):
    auth = OAuth2ClientCredentials(token_url=f"{vendor.origin}/token", client_id="c", client_secret="hush")
    http = opened(vendor.origin, auth=auth, timeout_s=1.0)
    await http.post("/x", json=1)
    tokens.good.clear()
    tokens.gate = asyncio.Event()
    with pytest.raises(TemporaryError):
        await http.post("/x", json=1)
    tokens.gate.set()


async def test_callers_who_waited_share_a_failure_and_the_next_asks_anew(tokens, http):
    tokens.gate = asyncio.Event()
    tokens.refuse = lambda: web.Response(status=401)
    calls = [asyncio.create_task(http.get("/x")) for _ in range(10)]
    await tokens.asked.wait()
    tokens.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {AuthenticationError}
    assert tokens.calls["/token"] == 1
    tokens.refuse = None
    assert (await http.get("/x")).status == 200


async def test_a_caller_who_gives_up_does_not_take_the_others_along(tokens, http):
    tokens.gate = asyncio.Event()
    first = asyncio.create_task(http.get("/x"))
    await tokens.asked.wait()
    second = asyncio.create_task(http.get("/x"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    tokens.gate.set()
    assert (await second).status == 200


async def test_a_token_endpoint_on_a_private_address_is_refused(vendor, other_vendor, opened):
    auth = OAuth2ClientCredentials(token_url=f"{other_vendor.origin}/token", client_id="c", client_secret="hush")
    http = opened(vendor.origin, auth=auth, allow=(), exempt=[vendor.origin])
    with pytest.raises(PermanentError, match=r"egress-refused: .*hub\.egress\.allow"):
        await http.get("/x")
    assert vendor.requests == other_vendor.requests == []
