"""What a plugin's calls look like on the wire, and what comes back."""

import asyncio

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from esplanade import (
    AuthenticationError,
    EndpointGone,
    HeaderAuth,
    Http,
    OAuth2ClientCredentials,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
    __version__,
)


async def test_a_path_is_appended_to_the_base_urls_path(vendor, opened):
    http: Http = opened(f"{vendor.origin}/rest/v4")
    answer = await http.get("/contacts", params={"email": "a+b@example.com", "page": 2})
    assert answer.json() == {"method": "GET", "path": "/rest/v4/contacts?email=a%2Bb@example.com&page=2"}
    assert answer.url.startswith(f"{vendor.origin}/rest/v4/contacts?")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_parameters_join_a_query_that_is_already_there(vendor, opened):
    answer = await opened(vendor.origin).get("/contacts?page=1", params={"size": 5})
    assert answer.json()["path"] == "/contacts?page=1&size=5"


async def test_quoted_parts_of_a_path_stay_one_part(vendor, opened):
    answer = await opened(vendor.origin).get("/contacts/a%2Fb%3Fc%23d")
    assert answer.json()["path"] == "/contacts/a%2Fb%3Fc%23d"


@pytest.mark.parametrize(
    "path", ["/contacts/../admin", "/..", "/%2e%2E/admin", "/a/./b", "/..\\admin", "/x/%2e%2e?a=1"]
)
async def test_a_path_cannot_climb_out(vendor, opened, path):
    with pytest.raises(PermanentError, match="egress-refused"):
        await opened(f"{vendor.origin}/v1").get(path)
    assert vendor.requests == []


async def test_dots_in_a_query_or_name_climb_nowhere(vendor, opened):
    http = opened(vendor.origin)
    assert (await http.get("/files/..x/a..b?next=/../y")).status == 200


@pytest.mark.parametrize(
    "path", ["contacts", "@evil.example/", ".evil.example", "ftp://x/", "//[", "http://[", "mailto:a@b.c"]
)
async def test_what_is_neither_path_nor_url_is_refused(vendor, opened, path):
    http = opened(vendor.origin)
    if path.startswith("//"):
        assert (await http.get(path)).status == 200  # below the base URL like any other path
    else:
        with pytest.raises(PermanentError):
            await http.get(path)


async def test_json_goes_out_as_json(vendor, opened):
    await opened(vendor.origin).post("/x", json={"naam": "Zoë", "n": 1})
    request, body = vendor.requests[0]
    assert request.content_type == "application/json"
    assert body == '{"naam":"Zoë","n":1}'.encode()


@pytest.mark.parametrize(
    ("data", "kind", "body"),
    [
        ({"a": "é&", "b": "1"}, "application/x-www-form-urlencoded", b"a=%C3%A9%26&b=1"),
        ("text", "text/plain", b"text"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
    ],
)
async def test_data_goes_out_as_form_text_or_bytes(vendor, opened, data, kind, body):
    await opened(vendor.origin).request("POST", "/x", data=data)
    request, sent = vendor.requests[0]
    assert (request.content_type, sent) == (kind, body)


async def test_a_callers_header_wins_over_ours_in_any_case(vendor, opened):
    http = opened(vendor.origin, headers={"Accept": "application/json"})
    await http.request("POST", "/x", data=b"<a/>", headers={"content-type": "text/xml", "ACCEPT": "text/xml"})
    request, _ = vendor.requests[0]
    assert request.headers.getall("Content-Type") == ["text/xml"]
    assert request.headers.getall("Accept") == ["text/xml"]


async def test_an_endpoints_headers_go_along_once_each_in_any_case(vendor, opened):
    key = HeaderAuth(name="X-Api-Key", value="k-1")
    headers = {"x-api-key": "old", "accept": "text/xml", "Accept": "text/csv", "user-agent": "Acme/1"}
    await opened(vendor.origin, auth=key, headers=headers).get("/")
    sent = vendor.requests[0][0].headers
    assert sent.getall("X-Api-Key") == ["k-1"]
    assert sent.getall("Accept") == ["text/csv"]
    assert sent.getall("User-Agent") == ["Acme/1"]


async def test_an_endpoints_own_content_type_replaces_that_of_a_body(vendor, opened):
    http = opened(vendor.origin, headers={"content-type": "application/vnd.api+json"})
    await http.post("/x", json={})
    await http.request("POST", "/x", data="<a/>", headers={"Content-Type": "text/xml"})
    assert [request.headers.getall("Content-Type") for request, _ in vendor.requests] == [
        ["application/vnd.api+json"],
        ["text/xml"],
    ]


@pytest.mark.parametrize("size", [0, 1, 200_000])
async def test_an_answer_is_read_whole_however_it_comes(vendor, opened, size):
    async def chunked(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(4):
            await answer.write(b"x" * size)
        return answer

    http = opened(vendor.origin, max_bytes=1_000_000)
    for handler in (lambda request: respond(b"x" * 4 * size), chunked):
        vendor.handler = handler
        for _ in range(2):
            assert (await http.get("/")).body == b"x" * 4 * size
    assert len({request.transport for request, _ in vendor.requests}) == 1


async def respond(body):
    return web.Response(body=body)


async def test_headers_that_come_twice_are_joined_under_one_lower_case_name(raw_vendor, opened):
    raw_vendor.says(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xc3\xa9\r\nContent-Length: 0\r\n\r\n")
    answer = await opened(raw_vendor.origin).get("/")
    assert (answer.headers["x-a"], answer.headers["x-b"]) == ("1, 2", "é")


async def test_a_large_body_goes_out_whole(vendor, opened):
    await opened(vendor.origin).put("/x", json="x" * 3_000_000)
    assert len(vendor.requests[0][1]) == 3_000_002


async def test_every_verb_sends_its_method_and_our_name(vendor, opened):
    http = opened(vendor.origin)
    for call in (http.get("/"), http.post("/", json=1), http.put("/", json=1), http.delete("/")):
        await call
    assert [request.method for request, _ in vendor.requests] == ["GET", "POST", "PUT", "DELETE"]
    assert vendor.requests[0][0].headers["User-Agent"] == f"Esplanade/{__version__}"


async def test_fixed_headers_and_the_api_key_go_along(vendor, opened):
    http = opened(vendor.origin, auth=HeaderAuth(name="X-Api-Key", value="k-1"), headers={"X-Tenant": "7"})
    await http.get("/")
    sent = vendor.requests[0][0].headers
    assert (sent["X-Api-Key"], sent["X-Tenant"]) == ("k-1", "7")


async def test_an_absolute_url_on_a_declared_origin_gets_the_credentials(vendor, other_vendor, opened):
    http = opened(vendor.origin, origins=[other_vendor.origin], auth=HeaderAuth(name="X-Api-Key", value="k-1"))
    await http.get(f"{other_vendor.origin}/page/2")
    assert other_vendor.requests[0][0].headers["X-Api-Key"] == "k-1"


async def test_an_absolute_url_elsewhere_is_refused_before_anything_leaves(vendor, other_vendor, opened):
    http = opened(vendor.origin)
    for url in (f"{other_vendor.origin}/x", vendor.origin.replace("127.0.0.1", "127.0.0.2"), "https://evil.example"):
        with pytest.raises(PermanentError, match=r"egress-refused: .*acme"):
            await http.get(url)
    assert other_vendor.requests == []


async def test_a_url_with_a_user_name_is_refused(vendor, opened):
    with pytest.raises(PermanentError, match="egress-refused"):
        await opened(vendor.origin).get(vendor.origin.replace("//", "//user:pass@"))


async def test_the_tokens_origin_may_be_called_but_gets_no_credentials(vendor, other_vendor, opened):
    other_vendor.answers(200, '{"access_token":"tok-1","expires_in":3600}')
    auth = OAuth2ClientCredentials(token_url=f"{other_vendor.origin}/token", client_id="c", client_secret="hush-hush")
    http = opened(vendor.origin, auth=auth, headers={"X-Tenant": "7"})
    await http.get(f"{other_vendor.origin}/introspect")
    [(request, _)] = other_vendor.requests
    assert request.path == "/introspect"
    assert not {"Authorization", "X-Tenant"} & set(request.headers)


async def test_cookies_are_neither_kept_nor_sent(vendor, opened):
    vendor.answers(200, headers={"Set-Cookie": "sid=1; Path=/"})
    # By name, because aiohttp's own jar takes no cookies from an IP address in any case.
    http = opened(vendor.origin.replace("127.0.0.1", "localhost"))
    await http.get("/")
    await http.get("/")
    assert "Cookie" not in vendor.requests[1][0].headers


async def test_proxies_of_the_environment_are_ignored(vendor, opened, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert (await opened(vendor.origin).get("/")).status == 200


async def test_connections_are_used_again(vendor, opened):
    http = opened(vendor.origin)
    for _ in range(3):
        await http.get("/")
    assert len({request.transport for request, _ in vendor.requests}) == 1


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (400, {}, PermanentError),
        (401, {}, AuthenticationError),
        (403, {}, AuthenticationError),
        (404, {}, PermanentError),
        (408, {}, TemporaryError),
        (410, {}, EndpointGone),
        (422, {}, PermanentError),
        (425, {}, TemporaryError),
        (429, {"Retry-After": "3"}, RateLimited),
        (503, {"Retry-After": "3"}, RateLimited),
        (500, {}, OutcomeUnknown),
        (502, {}, OutcomeUnknown),
        (503, {}, OutcomeUnknown),
        (504, {}, OutcomeUnknown),
    ],
)
async def test_each_status_raises_what_it_means_for_a_post(vendor, opened, status, headers, kind):
    vendor.answers(status, "no", headers)
    with pytest.raises(kind) as raised:
        await opened(vendor.origin).post("/mail", json={})
    assert raised.type is kind
    assert f"127.0.0.1 answered {status} to POST /mail: no" in str(raised.value)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_repeatable_call_is_only_tried_again_later(vendor, opened, status):
    vendor.answers(status)
    http = opened(vendor.origin)
    for call in (http.get("/"), http.put("/"), http.delete("/"), http.post("/", repeatable=True)):
        with pytest.raises(TemporaryError):
            await call
    with pytest.raises(OutcomeUnknown):
        await http.request("DELETE", "/", repeatable=False)
    with pytest.raises(OutcomeUnknown):
        await http.request("patch", "/")


async def test_statuses_that_are_allowed_come_back(vendor, opened):
    http = opened(vendor.origin)
    for status in (302, 401, 404, 410, 429, 500):
        vendor.answers(status, "body")
        answer = await http.get("/", allow=(status,))
        assert (answer.status, answer.text()) == (status, "body")


async def test_a_redirect_is_an_error_and_is_not_followed(vendor, other_vendor, opened):
    vendor.answers(302, headers={"Location": f"{other_vendor.origin}/?token=hush"})
    with pytest.raises(PermanentError, match="302 to GET /x, a redirect") as raised:
        await opened(vendor.origin, auth=HeaderAuth(name="X-Api-Key", value="k-1")).get("/x")
    assert other_vendor.requests == []
    assert "hush" not in str(raised.value)


async def test_the_vendors_words_are_in_the_error_short_and_without_addresses(vendor, opened):
    vendor.answers(422, '{"message":"ada@example.com is blocked","more":"' + "x " * 1000 + '"}')
    with pytest.raises(PermanentError) as raised:
        await opened(vendor.origin).put("/contacts/ada@example.com", json={})
    message = str(raised.value)
    assert "422 to PUT /contacts/{email}: " in message
    assert "[email] is blocked" in message
    assert len(message) < 400


async def test_a_rate_limit_header_from_the_wire_is_measured_on_the_hubs_clock(vendor, opened, clock):
    vendor.answers(429, headers={"X-RateLimit-Reset": str(int(clock.time()) + 45)})
    with pytest.raises(RateLimited) as raised:
        await opened(vendor.origin).get("/")
    assert raised.value.retry_after == 45


async def test_header_values_with_line_breaks_are_refused(vendor, opened):
    with pytest.raises(PermanentError, match="X-Note holds a line break"):
        await opened(vendor.origin).request("GET", "/", headers={"X-Note": "a\r\nX-Evil: 1"})
    with pytest.raises(PermanentError, match="X-Key holds a line break"):
        opened(vendor.origin, auth=HeaderAuth(name="X-Key", value="from-file\n"))


async def test_a_closed_session_says_that_nothing_was_sent(vendor, opened):
    http = opened(vendor.origin)
    await http.close()
    with pytest.raises(TemporaryError, match="closed"):
        await http.post("/", json={})


async def test_cancellation_passes_through_and_leaves_nothing_behind(vendor, opened):
    asked = asyncio.Event()

    async def hang(request):
        asked.set()
        await asyncio.Event().wait()

    vendor.handler = hang
    http = opened(vendor.origin)
    tasks = asyncio.all_tasks()
    call = asyncio.create_task(http.post("/", json={}))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await http.close()
    assert {task for task in asyncio.all_tasks() - tasks if "session" in repr(task.get_coro())} == set()


async def test_one_debug_line_per_request_tells_no_more_than_needed(vendor, opened):
    http = opened(vendor.origin)
    with capture_logs() as logs:
        await http.request("PUT", "/contacts/ada%40example.com?token=hush", json={"a": "ada"}, params={"q": "ada"})
    assert len(logs) == 1
    line = logs[0]
    assert line.pop("ms") >= 0
    assert line == {
        "event": "http request",
        "log_level": "debug",
        "method": "PUT",
        "host": "127.0.0.1",
        "path": "/contacts/{email}",
        "status": 200,
    }


async def test_without_debug_lines_none_is_made_ready(vendor, opened, monkeypatch):
    http = opened(vendor.origin)
    monkeypatch.setattr(http._teller, "_log", structlog.make_filtering_bound_logger(20)(None, [], {}))
    monkeypatch.setattr(http._teller, "path", None)
    assert (await http.get("/")).status == 200


async def test_many_calls_at_once_share_the_session(vendor, opened):
    async def echo(request):
        return web.Response(body=await request.read())

    vendor.handler = echo
    http = opened(vendor.origin)
    answers = await asyncio.gather(*(http.post("/", json=number) for number in range(150)))
    assert [answer.json() for answer in answers] == list(range(150))


async def test_no_more_calls_are_under_way_than_there_are_connections(vendor, opened):
    under_way = most = 0
    go_on = asyncio.Event()

    async def slow(request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1
        return web.json_response({})

    vendor.handler = slow
    http = opened(vendor.origin, connections=2)
    calls = asyncio.gather(*(http.get("/contacts") for _ in range(6)))
    while most < 2:
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)
    go_on.set()
    assert [each.status for each in await calls] == [200] * 6
    assert most == 2


async def test_a_vendor_that_quotes_what_it_was_sent_is_not_quoted(vendor, opened):
    async def parrot(request):
        return web.json_response({"error": f"no {(await request.json())['city']}"}, status=422)

    vendor.handler = parrot
    with pytest.raises(PermanentError, match=r"no \[value\]") as caught:
        await opened(vendor.origin).post("/contacts", json={"city": "Baarle Nassau"})
    assert caught.value.exchange.answered == '{"error":"no [value]"}'
