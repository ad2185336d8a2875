"""A canary in every secret: none is ever found in a log line, an error, its traceback or what it tells of its exchange."""

import asyncio
import traceback

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from esplanade import DeliveryError, HeaderAuth, OAuth2ClientCredentials

CANARY = "canary"


def everything_told(error):
    """An error as the fullest log would show it, with all that it chains to."""
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__) + repr(error.__cause__)
    return told + repr(error.exchange)


async def parrot(request):
    """The worst vendor: it quotes back the whole request."""
    body = await request.text()
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    words = f"{key} {request.raw_path} {dict(request.headers)} {body}"
    if request.path == "/token":
        if "refused" in body:
            return web.json_response({"error_description": f"no: {body}"}, status=400)
        return web.json_response({"access_token": "tok/canary-1+x", "expires_in": 3600})
    status = int(request.path.rpartition("/")[2])
    headers = {"Location": f"/?t={CANARY}", "Retry-After": CANARY}
    return web.Response(status=status, text=words, headers=headers)


@pytest.fixture(params=["header", "oauth2", "refused"])
async def http(request, vendor, opened):
    vendor.handler = parrot
    auth = {
        "header": HeaderAuth(name="Authorization", value="Bearer key-canary"),
        "oauth2": OAuth2ClientCredentials(
            token_url=f"{vendor.origin}/token", client_id="me", client_secret="s/canary+1"
        ),
        "refused": OAuth2ClientCredentials(
            token_url=f"{vendor.origin}/token", client_id="refused", client_secret="s/canary+1"
        ),
    }[request.param]
    return opened(vendor.origin, auth=auth, headers={"X-Api-Key": "fixed-canary"})


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 410, 422, 429, 500, 503])
async def test_no_secret_is_told_whatever_the_vendor_quotes(http, status):
    with capture_logs() as logs:
        [result] = await asyncio.gather(
            http.request(
                "POST",
                f"/{CANARY}%40example.com/{status}",
                params={"token": f"query-{CANARY}"},
                data={"email": f"{CANARY}@example.com", f"{CANARY}@example.com": "x", "fixed-canary": "x"},
            ),
            return_exceptions=True,
        )
    if isinstance(result, Exception):
        assert isinstance(result, DeliveryError)
        assert result.exchange is not None
        assert CANARY not in everything_told(result)
    assert logs
    assert CANARY not in repr(logs)


@pytest.mark.parametrize("way", ["cut", "hang", "garbage", "flood"])
async def test_no_secret_is_told_when_the_exchange_breaks(raw_vendor, opened, way):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        match way:
            case "hang":
                await reader.read()  # until the client gives up
            case "garbage":
                writer.write(f"HTTP/1.1 200 OK\r\nBad {CANARY}\r\n\r\n".encode())
            case "flood":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + CANARY.encode() * 50_000)

    raw_vendor.script = script
    auth = HeaderAuth(name="Authorization", value="Bearer key-canary")
    http = opened(raw_vendor.origin, auth=auth, timeout_s=0.1)
    with capture_logs() as logs, pytest.raises(DeliveryError) as raised:
        await http.post(
            f"/x/key-{CANARY}?token={CANARY}",
            json={"email": f"{CANARY}@example.com", f"key-{CANARY}": [CANARY] * 2},
            repeatable=True,
        )
    assert raised.value.exchange is not None
    assert CANARY not in everything_told(raised.value)
    assert CANARY not in repr(logs)


async def test_no_secret_is_told_when_nobody_is_there(opened):
    http = opened("http://127.0.0.1:9", auth=HeaderAuth(name="Authorization", value="Bearer key-canary"))
    with capture_logs() as logs, pytest.raises(DeliveryError) as raised:
        await http.get(f"/x?token={CANARY}")
    assert raised.value.exchange is not None
    assert CANARY not in everything_told(raised.value) + repr(logs)
