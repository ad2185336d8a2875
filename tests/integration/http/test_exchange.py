"""What an error tells of the exchange that it came from: enough to understand it, and nothing personal."""

import asyncio
import time

import pytest
from aiohttp import web

from esplanade import (
    AuthenticationError,
    DeliveryError,
    HeaderAuth,
    OAuth2ClientCredentials,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)
from esplanade.model import Exchange


async def failed(call):
    """The exchange of the error that a call ends in."""
    with pytest.raises(DeliveryError) as raised:
        await call
    return raised.value.exchange


async def test_a_refused_body_is_told_by_its_shape_beside_the_vendors_words(vendor, opened):
    vendor.answers(422, '{"error":"ada@example.com is blocked"}')
    body = {"email": "ada@example.com", "score": 7, "lists": [{"id": 1}, {"id": 2}], "vip": True}
    told = await failed(opened(f"{vendor.origin}/v1").put("/contacts/ada%40example.com?token=hush", json=body))
    assert told.took_s >= 0
    assert told == Exchange(
        method="PUT",
        path="/v1/contacts/{email}",
        status=422,
        took_s=told.took_s,
        sent='{"email":"text","score":"number","lists":[{"id":"number"},"and 1 more"],"vip":"boolean"}',
        answered='{"error":"[email] is blocked"}',
    )


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, ""),
        ({"data": {"email": "ada@example.com", "name": "Ada"}}, '{"email":"text","name":"text"}'),
        (
            {"data": b'[{"email":"ada@example.com"}]', "headers": {"Content-Type": "application/json"}},
            '[{"email":"text"}]',
        ),
        ({"data": "<email>ada@example.com</email>"}, '"text"'),
        ({"params": {"email": "ada@example.com"}}, ""),
    ],
)
async def test_forms_bytes_and_text_are_told_by_their_shape_too(vendor, opened, options, sent):
    vendor.answers(400, "no")
    told = await failed(opened(vendor.origin).request("post", "/mail", **options))
    assert (told.method, told.path, told.status, told.sent, told.answered) == ("POST", "/mail", 400, sent, "no")


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 408, 410, 422, 429, 500, 502, 503])
async def test_every_status_that_is_an_error_comes_with_its_exchange(vendor, opened, status):
    vendor.answers(status, "words")
    told = await failed(opened(vendor.origin).post("/mail", json={"a": 1}))
    assert (told.status, told.sent, told.answered) == (status, '{"a":"number"}', "" if status < 400 else "words")


async def test_a_success_and_an_allowed_status_tell_nothing(vendor, opened):
    vendor.answers(404)
    assert (await opened(vendor.origin).get("/", allow=(404,))).status == 404


async def test_without_an_answer_there_is_no_status_and_the_time_it_took(vendor, opened):
    async def hang(request):
        await asyncio.Event().wait()

    vendor.handler = hang
    told = await failed(opened(vendor.origin, timeout_s=0.1).post("/mail", json={"a": "b"}))
    assert (told.status, told.sent, told.answered) == (None, '{"a":"text"}', "")
    assert 0.1 <= told.took_s < 5


async def test_a_cut_a_refused_connection_and_a_refused_address_tell_what_was_asked(raw_vendor, opened):
    assert (await failed(opened(raw_vendor.origin).post("/mail", json=[]))).sent == "[]"
    assert (await failed(opened("http://127.0.0.1:9").get("/mail"))).path == "/mail"
    assert (await failed(opened(raw_vendor.origin, allow=()).delete("/mail"))).method == "DELETE"


async def test_a_call_that_is_refused_before_any_exchange_tells_of_none(vendor, opened):
    http = opened(vendor.origin)
    assert await failed(http.get("https://elsewhere.example/")) is None
    await http.close()
    assert await failed(http.get("/")) is None


async def test_a_path_that_is_the_credential_is_not_told(vendor, opened):
    vendor.answers(500)
    told = await failed(opened(vendor.origin, log_paths=False).post("/hooks/abc", json=1))
    assert told.path == "***"


async def test_a_secret_in_a_path_or_a_field_name_is_not_told(vendor, opened):
    vendor.answers(400, "key-hush")
    http = opened(vendor.origin, auth=HeaderAuth(name="X-Key", value="key-hush"))
    with pytest.raises(PermanentError) as raised:
        await http.put("/hooks/key-hush/x", json={"key-hush": {"ada@example.com": 1}})
    assert "hush" not in str(raised.value) + repr(raised.value.exchange)
    assert raised.value.exchange.path == "/hooks/[secret]/x"
    assert raised.value.exchange.sent == '{"[secret]":{"[email]":"number"}}'


async def test_what_the_token_endpoint_refuses_is_told_as_its_own_exchange(vendor, opened):
    vendor.answers(400, '{"error":"invalid_client","error_description":"hush-hush is revoked"}')
    auth = OAuth2ClientCredentials(token_url=f"{vendor.origin}/token", client_id="me", client_secret="hush-hush")
    http = opened(vendor.origin, auth=auth)
    results = await asyncio.gather(*(http.put("/x", json={"a": 1}) for _ in range(3)), return_exceptions=True)
    for error in results:
        assert isinstance(error, AuthenticationError)
        assert (error.exchange.method, error.exchange.path, error.exchange.status) == ("POST", "/token", 400)
        assert error.exchange.answered == "[secret] is revoked"
        assert "client_id" in error.exchange.sent
    vendor.answers(200, '{"accessToken":"hush-2"}')
    told = await failed(http.put("/x"))
    assert (told.path, told.status, told.answered) == ("/token", 200, "")


async def test_a_silent_token_endpoint_is_told_as_the_call_that_waited(vendor, opened):
    async def hang(request):
        await asyncio.Event().wait()

    vendor.handler = hang
    auth = OAuth2ClientCredentials(token_url=f"{vendor.origin}/token", client_id="me", client_secret="hush-hush")
    told = await failed(opened(vendor.origin, auth=auth, timeout_s=0.1).put("/x", json={"a": 1}))
    assert (told.method, told.path, told.status) == ("PUT", "/x", None)


@pytest.mark.parametrize("kind", [PermanentError, RateLimited, TemporaryError, OutcomeUnknown, AuthenticationError])
def test_an_error_that_a_plugin_raises_itself_tells_of_no_exchange(kind):
    assert kind("words").exchange is None


class Refusing:
    """Reads whatever comes, and answers with a status and as many bytes as are taken."""

    def __init__(self, raw, status, size):
        self.left = asyncio.Event()
        self.status, self.size = status, size
        raw.script = self.script

    async def script(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while length:
            length -= len(await reader.read(65_536))
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: {self.size}\r\n\r\n".encode())
        try:
            while True:
                writer.write(b"ada@example.com " * 4_096)
                await writer.drain()
        finally:
            self.left.set()


@pytest.mark.parametrize(("status", "answered"), [(422, "[email] [email]"), (200, "")])
async def test_a_huge_request_and_a_huge_answer_are_told_in_few_words(raw_vendor, opened, status, answered):
    vendor = Refusing(raw_vendor, status, 1024**3)
    body = [{"email": "ada@example.com", "n": 1}] * 300_000
    http = opened(raw_vendor.origin)
    with pytest.raises(PermanentError) as raised:
        await http.request("POST", "/bulk", json=body, repeatable=True)
    told = raised.value.exchange
    await asyncio.wait_for(vendor.left.wait(), 5)
    assert told.sent == '[{"email":"text","n":"number"},"and 299999 more"]'
    assert told.status == status
    assert told.answered.startswith(answered)
    assert len(told.answered) <= 300


async def test_telling_of_many_fields_stays_short(vendor, opened):
    vendor.answers(400, "no " * 1_000)
    body = {f"field number {at}": {"x": "y" * 10_000} for at in range(1_000)}
    told = await failed(opened(vendor.origin).put("/" + "part/" * 1_000, json=body))
    assert len(told.sent) == 500
    assert len(told.answered) == 300
    assert len(told.path) == 300


async def test_an_error_page_and_a_deep_answer_are_told_within_bounds(vendor, opened):
    async def answer(request):
        words = "[" * 60_000 if request.path == "/deep" else "<html><style>x</style><h1>Sorry</h1>" + "<b>" * 20_000
        return web.Response(status=500, text=words)

    vendor.handler = answer
    http = opened(vendor.origin)
    began = time.perf_counter()
    assert (await failed(http.get("/page"))).answered.startswith("Sorry")
    assert len((await failed(http.get("/deep"))).answered) <= 300
    assert time.perf_counter() - began < 5
