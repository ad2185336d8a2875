"""Never faster than declared: the token bucket and the day's budget, on a clock moved by hand."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.config.model import Pace
from esplanade.delivery.pace import LONGEST_TURN_S, PacedHttp, Pacer, Spent
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


DAY = 86_400.0
MIDNIGHT = 20_000 * DAY


@pytest.fixture
def clock():
    return FakeClock(MIDNIGHT)


def pacer_of(clock, per_second=None, **pace):
    return Pacer(Pace(rate=None if per_second is None else Rate(per_second), **pace), clock)


async def waits(pacer, clock):
    """How long the next request waits within a call."""
    began = clock.time()
    going = asyncio.create_task(pacer.acquire())
    await asyncio.sleep(0)
    while not going.done():
        await clock.advance(0.125)
    await going
    return clock.time() - began


class TestWhatALaneAsksBeforeItStartsACall:
    async def test_as_many_may_start_as_there_are_tokens(self, clock):
        pacer = pacer_of(clock, 2, burst=3)
        assert (pacer.free(), pacer.next_free_s()) == (3, None)
        for left in (2, 1, 0):
            pacer.reserve()
            assert pacer.free() == left
        assert pacer.next_free_s() == 0.5
        await clock.advance(0.5)
        assert (pacer.free(), pacer.next_free_s()) == (1, None)

    async def test_when_it_says_that_one_may_start_one_may(self):
        clock = FakeClock(1_000.0)  # a monotonic clock's numbers are small
        for rate in (3, 7, 0.3, 9.7, 1000 / 3):
            pacer = pacer_of(clock, rate, burst=1)
            for _ in range(50):
                pacer.reserve()
                await clock.advance(pacer.next_free_s())
                assert pacer.free() == 1

    async def test_without_a_limit_any_number_may_start_and_nothing_is_counted(self, clock):
        pacer = pacer_of(clock)
        pacer.reserve()
        assert pacer.unlimited
        assert pacer.begin() is None
        pacer.end(None)
        assert (pacer.free() >= 1_000_000, pacer.next_free_s(), pacer.spent) == (True, None, None)

    async def test_what_requests_within_calls_use_up_is_not_free_for_calls_that_are_yet_to_start(self, clock):
        pacer = pacer_of(clock, 1, burst=2)
        for _ in range(2):
            await pacer.acquire()
        later = [asyncio.create_task(pacer.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        assert (pacer.free(), pacer.next_free_s()) == (0, 3)
        await clock.advance(2)
        await asyncio.gather(*later)
        assert (pacer.free(), pacer.next_free_s()) == (0, 1)

    async def test_of_rate_and_budget_the_tighter_one_binds(self, clock):
        assert pacer_of(clock, 5, burst=9, daily=4).free() == 4
        assert pacer_of(clock, 5, burst=3, daily=4).free() == 3
        spent = pacer_of(clock, 5, burst=9, daily=1)
        spent.reserve()
        assert (spent.free(), spent.next_free_s()) == (0, DAY)


class TestTheFirstRequestOfACall:
    async def test_it_uses_what_was_reserved_and_the_next_one_waits_its_own_turn(self, clock):
        pacer = pacer_of(clock, 1, burst=1)
        pacer.reserve()
        turn = pacer.begin()
        assert await waits(pacer, clock) == 0
        assert await waits(pacer, clock) == 1
        pacer.end(turn)
        assert pacer.free() == 0

    async def test_a_call_that_asked_for_nothing_gives_back_what_was_reserved_once(self, clock):
        pacer = pacer_of(clock, 1, burst=2, daily=9)
        pacer.reserve()
        turn = pacer.begin()
        assert (pacer.free(), pacer.spent.requests) == (1, 1)
        pacer.end(turn)
        pacer.end(turn)
        assert (pacer.free(), pacer.spent.requests) == (2, 0)

    async def test_one_that_was_used_is_not_given_back(self, clock):
        pacer = pacer_of(clock, 1, burst=2, daily=9)
        pacer.reserve()
        turn = pacer.begin()
        await pacer.acquire()
        pacer.end(turn)
        assert (pacer.free(), pacer.spent.requests) == (1, 1)

    async def test_what_is_given_back_never_exceeds_the_burst(self, clock):
        pacer = pacer_of(clock, 1, burst=1)
        pacer.reserve()
        turn = pacer.begin()
        await clock.advance(10)
        pacer.end(turn)
        assert pacer.free() == 1

    async def test_each_task_has_its_own_and_so_has_each_call_of_a_task(self, clock):
        pacer = pacer_of(clock, 1, burst=4)
        requested = []

        async def call(name):
            pacer.reserve()
            turn = pacer.begin()
            await asyncio.sleep(0)
            await pacer.acquire()
            requested.append((name, clock.time() - MIDNIGHT))
            pacer.end(turn)

        async def calls(name):
            await call(name)
            await call(name)

        await asyncio.gather(calls("a"), calls("b"))
        assert requested == [("a", 0), ("b", 0), ("a", 0), ("b", 0)]
        assert pacer.free() == 0

    async def test_what_a_call_leaves_running_waits_its_own_turn_once_the_call_has_ended(self, clock):
        pacer = pacer_of(clock, 1, burst=1)
        ended, left = asyncio.Event(), []

        async def straggler():
            await ended.wait()
            left.append(await waits(pacer, clock))

        async def call():
            pacer.reserve()
            turn = pacer.begin()
            running = asyncio.create_task(straggler())
            pacer.end(turn)
            return running

        running = await asyncio.create_task(call())
        pacer.reserve()
        ended.set()
        await running
        assert left == [1]


class TestATurnThatIsFarOff:
    async def test_it_is_refused_and_says_when_to_come_again_and_costs_nothing(self, clock):
        pacer = pacer_of(clock, 0.1, burst=1, daily=5)
        await pacer.acquire()
        with pytest.raises(RateLimited, match="pace leaves no room") as refused:
            await pacer.acquire()
        assert refused.value.retry_after == pytest.approx(10)
        assert pacer.spent.requests == 1
        await clock.advance(10)
        assert await waits(pacer, clock) == 0

    async def test_one_that_is_near_is_waited_for(self, clock):
        pacer = pacer_of(clock, 1 / LONGEST_TURN_S, burst=1)
        await pacer.acquire()
        assert await waits(pacer, clock) == LONGEST_TURN_S


class TestTheBudgetOfADay:
    async def test_it_counts_what_calls_reserve_and_what_they_ask_for_beyond(self, clock):
        pacer = pacer_of(clock, daily=3)
        pacer.reserve()
        turn = pacer.begin()
        await pacer.acquire()
        await pacer.acquire()
        pacer.end(turn)
        assert pacer.spent == Spent(day=20_000, requests=2)
        assert pacer.free() == 1

    async def test_it_begins_anew_at_midnight(self, clock):
        pacer = pacer_of(clock, daily=2)
        pacer.reserve()
        pacer.reserve()
        await clock.advance(DAY - 1)
        assert (pacer.free(), pacer.next_free_s()) == (0, 1)
        await clock.advance(1)
        assert (pacer.free(), pacer.next_free_s()) == (2, None)
        assert pacer.spent == Spent(day=20_001, requests=0)

    async def test_what_an_earlier_process_spent_counts_on_the_same_day_alone(self, clock):
        pacer = pacer_of(clock, daily=5)
        pacer.reserve()
        pacer.spent = Spent(day=20_000, requests=3)
        assert pacer.free() == 1
        pacer.spent = Spent(day=19_999, requests=3)
        assert pacer.free() == 1

    async def test_what_was_spent_beyond_a_budget_that_was_lowered_is_no_debt(self, clock):
        pacer = pacer_of(clock, daily=2)
        pacer.spent = Spent(day=20_000, requests=5)
        assert (pacer.free(), pacer.next_free_s()) == (0, DAY)
        await clock.advance(DAY)
        assert pacer.free() == 2

    async def test_what_is_given_back_after_midnight_is_nothing_of_the_new_day(self, clock):
        pacer = pacer_of(clock, daily=2)
        pacer.reserve()
        turn = pacer.begin()
        await clock.advance(DAY)
        assert pacer.free() == 2
        for _ in range(2):
            pacer.reserve()
        pacer.end(turn)
        assert pacer.free() == 0


moves = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.booleans()),
        st.tuples(st.just("request"), st.integers(0, 4)),
        st.tuples(st.just("end"), st.integers(0, 4)),
        st.tuples(st.just("pass"), st.floats(0, 3)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(rate=st.floats(0.2, 20), burst=st.integers(1, 5), daily=st.none() | st.integers(1, 30), story=moves)
async def test_whatever_calls_do_there_are_never_more_requests_than_the_burst_and_the_rate_allow(
    rate, burst, daily, story
):
    clock = FakeClock(MIDNIGHT)
    pacer = pacer_of(clock, rate, burst=burst, daily=daily)
    sent, calls = [], []

    async def call(asked):
        """One call of a lane: it has a reservation, and makes as many requests as it is told to."""
        turn = pacer.begin()
        while await asked.get():
            with contextlib.suppress(RateLimited):
                await pacer.acquire()
                sent.append(clock.time())
        pacer.end(turn)

    for move in story:
        match move:
            case ("start", greedy) if pacer.free() > 0:
                pacer.reserve()
                asked = asyncio.Queue()
                calls.append((asked, asyncio.create_task(call(asked))))
                if greedy:
                    asked.put_nowait("a request")
            case ("request", which) if calls:
                calls[which % len(calls)][0].put_nowait("a request")
            case ("end", which) if calls:
                calls.pop(which % len(calls))[0].put_nowait(None)
            case ("pass", seconds):
                await clock.advance(seconds)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(sent) <= burst + rate * (clock.time() - MIDNIGHT) + 1e-3
        assert daily is None or len(sent) <= daily
    for asked, _ in calls:
        asked.put_nowait(None)
    await clock.advance(10_000)
    assert len(sent) <= burst + rate * (max(sent, default=MIDNIGHT) - MIDNIGHT) + 1e-3


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
