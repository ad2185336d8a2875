"""Calls that take too long, are given up from outside, or are under way when the session closes."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from aiohttp import web

from esplanade import AuthenticationError, OutcomeUnknown, RateLimited, TemporaryError


def timers():
    """How many things the loop would still do by itself, later."""
    return sum(not handle.cancelled() for handle in asyncio.get_running_loop()._scheduled)


async def hang(request):
    await asyncio.Event().wait()


@pytest.fixture
def unreachable():
    """The origin of a listener whose queue of one is taken: further connections wait for ever."""
    with ExitStack() as stack:
        listener, *others = (stack.enter_context(socket.socket()) for _ in range(3))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for each in others:
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def trickling(status):
    async def trickle(request):
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        while True:
            await answer.write(b"no ")
            await asyncio.sleep(0.01)

    return trickle


async def test_an_answer_that_trickles_for_ever_ends_at_the_limit(vendor, opened):
    vendor.handler = trickling(200)
    http = opened(vendor.origin, timeout_s=0.2)
    with pytest.raises(OutcomeUnknown, match=r"^127\.0\.0\.1: no answer within 0\.2 s$"):
        await http.post("/mail", json={})
    with pytest.raises(TemporaryError, match=r"^127\.0\.0\.1: no answer within 0\.2 s$"):
        await http.get("/mail")


async def test_an_error_whose_body_trickles_for_ever_still_counts_by_its_status(vendor, opened):
    vendor.handler = trickling(429)
    with pytest.raises(RateLimited, match="429 to POST /mail: no no"):
        await opened(vendor.origin, timeout_s=0.2).post("/mail", json={})
    assert asyncio.current_task().cancelling() == 0


async def test_many_hanging_calls_end_together_each_with_its_own_answer(vendor, opened, unreachable):
    vendor.handler = hang
    sent, unsent = opened(vendor.origin, timeout_s=0.3), opened(unreachable, timeout_s=0.3)
    results = await asyncio.gather(
        *(sent.post("/mail", json={}) for _ in range(20)),
        *(sent.put("/mail", json={}) for _ in range(20)),
        *(unsent.post("/mail", json={}) for _ in range(20)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [OutcomeUnknown] * 20 + [TemporaryError] * 40
    assert {str(result) for result in results[:40]} == {"127.0.0.1: no answer within 0.3 s"}
    assert {str(result) for result in results[40:]} == {"127.0.0.1 cannot be reached: no answer within 0.3 s"}
    assert len(vendor.requests) == 40


async def test_one_hanging_call_takes_no_other_along(vendor, opened):
    async def answer(request):
        return await (hang(request) if request.path == "/slow" else vendor.echo(request))

    vendor.handler = answer
    http = opened(vendor.origin, timeout_s=1.0)
    slow = asyncio.create_task(http.get("/slow"))
    while not slow.done():
        assert (await http.get("/quick")).status == 200
    with pytest.raises(TemporaryError):
        await slow


async def test_a_task_goes_on_after_a_call_that_took_too_long(vendor, opened):
    http = opened(vendor.origin, timeout_s=0.5)
    for _ in range(3):
        vendor.handler = hang
        with pytest.raises(TemporaryError):
            await http.get("/")
        vendor.handler = vendor.echo
        assert (await http.get("/")).status == 200
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("first", ["limit", "caller"])
async def test_who_gives_up_a_call_in_the_moment_it_takes_too_long_is_obeyed(vendor, opened, first):
    asked = asyncio.Event()

    async def handler(request):
        asked.set()
        await hang(request)

    vendor.handler = handler
    http = opened(vendor.origin)
    call = asyncio.create_task(http.post("/", json={}))
    await asked.wait()
    [limit] = http._sweep._underway
    if first == "caller":
        call.cancel()
    limit.end(TimeoutError())
    if first == "limit":
        call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()


async def test_a_callers_own_timeout_is_told_to_the_caller_as_such(vendor, opened):
    vendor.handler = hang
    http = opened(vendor.origin)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await http.post("/", json={})


async def test_an_idle_session_keeps_no_timer(vendor, opened):
    http = opened(vendor.origin)
    await http.get("/")
    await http.close()  # aiohttp's own timer, for idle connections, ends here
    assert timers() == 0
    again = opened(vendor.origin)
    assert timers() == 0
    await again.get("/")
    async with asyncio.timeout(10):
        while again._sweep._timer is not None:
            await asyncio.sleep(0.01)


async def test_closing_leaves_no_timer_no_task_and_no_connection(vendor, opened, unreachable):
    asked = asyncio.Event()

    async def handler(request):
        asked.set()
        await hang(request)

    vendor.handler = handler
    tasks = asyncio.all_tasks()
    http = opened(vendor.origin, origins=[unreachable])
    waiting = asyncio.create_task(http.post("/", json={}))
    await asked.wait()
    connecting = asyncio.create_task(http.post(f"{unreachable}/", json={}))
    await asyncio.sleep(0)
    await http.close()
    with pytest.raises(OutcomeUnknown, match="the connection was cut"):
        await waiting
    with pytest.raises(TemporaryError, match="cannot be reached: the connection was cut"):
        await connecting
    assert timers() == 0
    # What is left are the vendor's own handlers, which notice in their next turns.
    assert {task for task in asyncio.all_tasks() - tasks if "aiohttp/client" in repr(task.get_coro())} == set()


async def test_calls_that_wait_for_a_connection_when_the_session_closes_were_not_sent(vendor, opened):
    all_asked = asyncio.Event()

    async def handler(request):
        if len(vendor.requests) == 100:
            all_asked.set()
        await hang(request)

    vendor.handler = handler
    http = opened(vendor.origin)
    calls = [asyncio.create_task(http.post("/", json={})) for _ in range(110)]
    await all_asked.wait()
    await http.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["OutcomeUnknown"] * 100 + ["TemporaryError"] * 10


async def test_an_upload_that_the_vendor_does_not_read_ends_at_the_limit_and_leaves_no_task(raw_vendor, opened):
    connected, over = asyncio.Event(), asyncio.Event()

    async def script(reader, writer):
        connected.set()
        await over.wait()

    raw_vendor.script = script
    tasks = asyncio.all_tasks()
    call = asyncio.create_task(opened(raw_vendor.origin, timeout_s=0.2).post("/", json="x" * 20_000_000))
    await connected.wait()
    with pytest.raises(OutcomeUnknown, match="no answer within"):
        await call
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - tasks if "write_bytes" in repr(task.get_coro())} == set()
    over.set()


async def test_an_answer_before_the_upload_is_read_ends_the_upload(raw_vendor, opened):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nwho?")
        await writer.drain()
        await asyncio.Event().wait()

    raw_vendor.script = script
    tasks = asyncio.all_tasks()
    with pytest.raises(AuthenticationError, match=r"who\?"):
        await opened(raw_vendor.origin, timeout_s=5).post("/", json="x" * 20_000_000)
    assert {task for task in asyncio.all_tasks() - tasks if "write_bytes" in repr(task.get_coro())} == set()
