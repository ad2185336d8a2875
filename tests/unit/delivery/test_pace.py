"""Never faster than declared: the token bucket and the day's budget, on a clock moved by hand."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.config.model import Pace
from esplanade.delivery.pace import PacedHttp, Pacer
from esplanade.errors import RateLimited
from esplanade.testing.clock import FakeClock
from esplanade.values import Rate


async def spend(pacer, clock, arrivals):
    """When requests that ask at these moments may go, with the clock moved to the end."""
    gone = []

    async def one():
        with contextlib.suppress(RateLimited):  # a turn too far off: nothing is sent
            await pacer.acquire()
            gone.append(clock.time())

    tasks = []
    start = clock.time()
    for at in sorted(arrivals):
        await clock.advance(start + at - clock.time())
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
    await clock.advance(10_000)
    await asyncio.gather(*tasks)
    return [at - start for at in gone]


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 10),
    arrivals=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
async def test_in_no_second_more_than_the_rate_and_the_burst(rate, burst, arrivals):
    clock = FakeClock()
    gone = await spend(Pacer(Pace(rate=Rate(rate), burst=burst), clock), clock, arrivals)
    assert len(gone) >= min(len(arrivals), burst)
    for first in gone:
        within = sum(first <= at < first + 1 for at in gone)
        assert within <= burst + rate + 1e-6


async def test_a_burst_goes_at_once_and_the_rest_in_step():
    clock = FakeClock(1_000.0)
    gone = await spend(Pacer(Pace(rate=Rate(2), burst=3), clock), clock, [0] * 6)
    assert gone == [0, 0, 0, 0.5, 1.0, 1.5]


async def test_a_pause_fills_the_bucket_up_to_the_burst_and_no_further():
    clock = FakeClock(1_000.0)
    gone = await spend(Pacer(Pace(rate=Rate(1), burst=2), clock), clock, [0, 0, 100, 100, 100])
    assert gone == [0, 0, 100, 100, 101]


async def test_without_a_rate_nobody_waits():
    clock = FakeClock()
    assert await spend(Pacer(Pace(), clock), clock, [0] * 1000) == [0] * 1000


async def test_the_budget_of_a_day_holds_until_midnight():
    clock = FakeClock(datetime(2026, 1, 15, 22, tzinfo=UTC).timestamp())
    pacer = Pacer(Pace(daily=3), clock)
    for _ in range(3):
        await pacer.acquire()
    with pytest.raises(RateLimited, match="budget") as caught:
        await pacer.acquire()
    assert caught.value.retry_after == 2 * 3600
    await clock.advance(2 * 3600)
    await pacer.acquire()


class Recorder:
    """An Http that notes what is asked of it."""

    def __init__(self):
        self.asked = []

    async def request(self, method, path, **options):
        self.asked.append((method, path, options))


async def test_every_way_to_ask_waits_its_turn_and_passes_on_what_it_was_given():
    http = Recorder()
    paced = PacedHttp(http, Pacer(Pace(daily=5), FakeClock()))
    await paced.get("/a", params={"page": 1}, allow=(404,))
    await paced.post("/b", json=[1], repeatable=True)
    await paced.put("/c", json={})
    await paced.delete("/d", allow=(404,))
    await paced.request("HEAD", "/e")
    with pytest.raises(RateLimited):
        await paced.get("/f")
    assert http.asked == [
        ("GET", "/a", {"params": {"page": 1}, "allow": (404,)}),
        ("POST", "/b", {"json": [1], "allow": (), "repeatable": True}),
        ("PUT", "/c", {"json": {}, "allow": ()}),
        ("DELETE", "/d", {"json": None, "allow": (404,)}),
        ("HEAD", "/e", {}),
    ]


async def test_a_turn_that_is_far_off_is_no_wait_within_a_call() -> None:
    clock = FakeClock()
    pacer = Pacer(Pace(rate=Rate.parse("1/m"), burst=1), clock)
    await pacer.acquire()
    with pytest.raises(RateLimited) as refused:
        await pacer.acquire()
    assert refused.value.retry_after == pytest.approx(60)
    await clock.advance(60)
    await pacer.acquire()
