"""One timer for the time limits of many calls, and cancellations told apart."""

import asyncio

import pytest

from esplanade.http.sweep import Sweep


def now():
    return asyncio.get_running_loop().time()


def timers():
    """How many things the loop would still do by itself, later."""
    return sum(not handle.cancelled() for handle in asyncio.get_running_loop()._scheduled)


async def wait_for_ever(sweep, limits=None):
    with sweep.limit(now()) as limit:
        if limits is not None:
            limits.append(limit)
        await asyncio.Event().wait()


async def under_way(sweep):
    """A task that waits for ever within a limit, and that limit."""
    limits = []
    task = asyncio.create_task(wait_for_ever(sweep, limits))
    await asyncio.sleep(0)
    return task, limits[0]


async def test_what_takes_too_long_ends_by_a_timeout_and_is_no_longer_cancelled():
    began = now()
    with pytest.raises(TimeoutError):
        await wait_for_ever(Sweep(0.1))
    assert now() - began >= 0.1
    assert asyncio.current_task().cancelling() == 0


async def test_what_ends_in_time_is_left_alone():
    sweep = Sweep(1.0)
    with sweep.limit(now()):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while sweep._timer is not None:  # until it has looked
            await asyncio.sleep(0.01)
    assert asyncio.current_task().cancelling() == 0


async def test_one_timer_serves_all_and_none_is_left_once_nothing_is_under_way():
    before = timers()
    sweep = Sweep(0.1)
    tasks = [(await under_way(sweep))[0] for _ in range(50)]
    assert timers() == before + 1
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {TimeoutError}
    for _ in range(200):
        if timers() == before:
            break
        await asyncio.sleep(0.01)
    assert timers() == before


async def test_one_task_may_be_limited_again_and_again():
    sweep = Sweep(0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await wait_for_ever(sweep)
    with sweep.limit(now()):
        await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("first", ["sweep", "somebody"])
async def test_a_cancellation_by_somebody_else_in_the_same_moment_is_not_swallowed(first):
    sweep = Sweep(20)
    task, limit = await under_way(sweep)
    if first == "somebody":
        task.cancel()
    limit.end(TimeoutError())
    if first == "sweep":
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert task.cancelling() == 1
    sweep.close()


async def test_a_task_that_is_being_cancelled_may_still_make_a_call_with_a_limit():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await wait_for_ever(Sweep(0.05))
            except TimeoutError as error:
                ended.append(error)
            raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(ended) == 1
    assert task.cancelling() == 1


async def test_of_two_limits_in_one_task_the_outer_one_tells_of_the_end():
    sweep = Sweep(0.05)
    inner = []

    async def work():
        with sweep.limit(now()):
            try:
                await wait_for_ever(sweep)
            except BaseException as error:
                inner.append(type(error))
                raise

    with pytest.raises(TimeoutError):
        await work()
    assert inner == [asyncio.CancelledError]
    assert asyncio.current_task().cancelling() == 0


async def test_a_callers_own_timeout_stays_the_callers():
    sweep = Sweep(20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02) as own:
            await wait_for_ever(sweep)
    assert own.expired()
    assert asyncio.current_task().cancelling() == 0
    sweep.close()


async def test_another_error_that_comes_with_the_end_is_not_covered_up():
    async def work():
        with Sweep(0.05).limit(now()):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        await work()
    assert asyncio.current_task().cancelling() == 0


async def test_an_end_that_is_forgiven_is_none():
    with Sweep(0.05).limit(now()) as limit:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        assert limit.forgive()
        assert not limit.forgive()
        await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


async def test_an_end_that_somebody_else_wanted_too_is_not_forgiven():
    limits = []

    async def work(sweep):
        with sweep.limit(now()) as limit:
            limits.append(limit)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert not limit.forgive()
                raise

    sweep = Sweep(20)
    task = asyncio.create_task(work(sweep))
    await asyncio.sleep(0)
    limits[0].end(TimeoutError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1
    sweep.close()


async def test_closing_ends_what_is_under_way_as_cut_and_takes_the_timer_along():
    before = timers()
    sweep = Sweep(20)
    tasks = [(await under_way(sweep))[0] for _ in range(3)]
    sweep.close()
    assert timers() == before
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {ConnectionAbortedError}
    assert timers() == before
