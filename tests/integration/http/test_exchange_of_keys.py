"""A key that is exchanged for a bearer token: what the token endpoint may answer, and when a token is asked for anew."""

import base64
import json

import pytest
from aiohttp import web

from esplanade import AuthenticationError, PermanentError, TemporaryError, TokenExchange

DAY_S = 86_400


def jwt(number, ends_at=None):
    """A token of three parts, as RFC 7519 has it; ``ends_at`` in epoch seconds."""
    claims = json.dumps({} if ends_at is None else {"exp": ends_at}).encode()
    parts = [b"head", claims, f"signature-{number}-canary".encode()]
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)


class KeyVendor:
    """Gives a new token for the key each time, and answers calls that carry the latest."""

    def __init__(self, vendor):
        self.forms, self.granted, self.token, self.calls = [], 0, None, 0
        self.answer = lambda token: web.Response(text=token)
        self.make = jwt
        self.refusal = lambda: web.Response(status=401)
        vendor.handler = self.handle

    async def handle(self, request):
        if request.path == "/authenticate":
            self.forms.append(dict(await request.post()))
            self.granted += 1
            self.token = self.make(self.granted)
            return self.answer(self.token)
        self.calls += 1
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refusal()
        return web.json_response({})


@pytest.fixture
async def keys(vendor):
    return KeyVendor(vendor)


@pytest.fixture
async def http(vendor, opened):
    auth = TokenExchange(token_url=f"{vendor.origin}/authenticate", form={"access_token": "key-hush"})
    return opened(f"{vendor.origin}/v4", auth=auth)


@pytest.mark.parametrize(
    "answer",
    [
        lambda token: web.Response(text=token),
        lambda token: web.Response(text=f"\n {token} \n"),
        lambda token: web.json_response(token),
        lambda token: web.json_response({"token": token}),
        lambda token: web.json_response({"access_token": token}),
        lambda token: web.json_response({"jwt": token}),
    ],
)
async def test_a_token_is_found_in_every_form_of_answer(keys, http, answer):
    keys.answer = answer
    await http.get("/identity")
    await http.get("/identity")
    assert (keys.forms, keys.calls) == ([{"access_token": "key-hush"}], 2)


@pytest.mark.parametrize(
    "answer",
    [
        lambda token: web.Response(text=""),
        lambda token: web.Response(text="two words"),
        lambda token: web.Response(text="[[[]]]"),
        lambda token: web.Response(text="<html></html>"),
        lambda token: web.Response(text="x" * 8_001),
        lambda token: web.json_response({"token": "{}"}),
        lambda token: web.Response(body=b"\xff\xfe"),
        lambda token: web.Response(text='{"token": 7}'),
        lambda token: web.Response(text='"half'),
        lambda token: web.json_response({"session": token}),
    ],
)
async def test_an_answer_without_a_token_is_told_without_its_words(keys, http, answer):
    keys.answer = answer
    with pytest.raises(
        AuthenticationError, match=r"^the token endpoint answered without a usable token; check its URL$"
    ):
        await http.get("/identity")


async def test_a_token_is_renewed_ten_minutes_before_the_end_that_it_names(keys, http, clock):
    keys.make = lambda number: jwt(number, int(clock.time()) + 7_200)
    await http.get("/identity")
    await clock.advance(7_200 - 601)
    await http.get("/identity")
    assert keys.granted == 1
    await clock.advance(2)
    await http.get("/identity")
    assert keys.granted == 2


@pytest.mark.parametrize("make", [jwt, lambda number: f"opaque-{number}", lambda number: f"a.!!{number}.c"])
async def test_one_that_names_no_end_is_good_for_a_day(keys, http, clock, make):
    keys.make = make
    await http.get("/identity")
    await clock.advance(DAY_S - 601)
    await http.get("/identity")
    assert keys.granted == 1
    await clock.advance(2)
    await http.get("/identity")
    assert keys.granted == 2


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: web.Response(status=401),
        lambda: web.Response(status=403),
        lambda: web.json_response({"error": {"message": "Invalid access token"}}, status=400),
    ],
)
async def test_a_call_whose_token_is_refused_is_made_once_more_with_a_new_one(keys, http, refusal):
    await http.get("/identity")
    keys.refusal, keys.token = refusal, None
    await http.post("/profiles", json={})
    assert (keys.granted, keys.calls) == (2, 3)


async def test_a_refusal_of_something_else_is_told_at_once(keys, http, vendor):
    await http.get("/identity")
    keys.refusal = lambda: web.json_response({"error": {"message": "No database with supplied ID"}}, status=400)
    keys.token = None
    with pytest.raises(PermanentError, match="No database with supplied ID"):
        await http.get("/database/7")
    assert (keys.granted, keys.calls) == (1, 2)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, AuthenticationError), (403, AuthenticationError), (503, TemporaryError)]
)
async def test_a_key_that_is_refused_says_what_to_look_at(keys, http, status, kind):
    keys.answer = lambda _: web.json_response({"error": {"message": "key-hush is revoked"}}, status=status)
    with pytest.raises(kind) as raised:
        await http.get("/identity")
    assert "key-hush" not in str(raised.value)
    assert status == 503 or "check the API key, its rights" in str(raised.value)
