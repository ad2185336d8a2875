"""What a hub learns of the one before it when it opens the store: how it ended, and whether its clock was ahead."""

from functools import partial

import pytest

from esplanade.records import Delivery, Entry
from esplanade.runtime.stopping import closed, opened
from esplanade.store.locate import open_store

NOW = 1_768_471_200.0
HOUR = 3_600.0


class Folder:
    """A store that hubs open one after the other, each at its own time."""

    def __init__(self, path):
        self.path, self.store = path, None

    async def open(self, now):
        """Open the store as a hub that starts; returns the moment before which work is doubtful."""
        await self.leave()
        self.store = await open_store("sqlite:hub.db", self.path, what="tests")
        return await self.store.run(partial(opened, now=now))

    async def close_in_order(self):
        await self.store.run(closed)

    async def leave(self):
        """End as a hub that was killed does, as far as the store can tell."""
        if self.store is not None:
            await self.store.close()

    async def accept(self, at):
        await self.store.accept([Entry(kind="profile", origin="shop", id=f"e-{at}", at=at, body=b"")])

    async def queue(self, *due):
        def work(unit):
            return [
                unit.enqueue(Delivery(id=0, lane="crm", kind="trigger", person=None, due_at=at, first_at=NOW))
                for at in due
            ]

        return await self.store.run(work)

    async def due(self, *numbers):
        return await self.store.run(lambda unit: [unit.delivery(number).due_at for number in numbers])


@pytest.fixture
async def folder(tmp_path):
    found = Folder(tmp_path)
    yield found
    await found.leave()


# How it ended.


async def test_of_a_new_store_nothing_is_doubtful(folder):
    assert await folder.open(NOW) == 0.0


async def test_after_a_hub_that_closed_in_order_nothing_is_doubtful(folder):
    for day in range(3):
        assert await folder.open(NOW + day * 24 * HOUR) == 0.0
        await folder.close_in_order()


async def test_after_one_that_did_not_all_that_was_queued_until_now_is_doubtful(folder):
    await folder.open(NOW)
    assert await folder.open(NOW + HOUR) == NOW + HOUR


async def test_what_is_doubtful_stays_so_though_later_hubs_close_in_order(folder):
    await folder.open(NOW)
    await folder.open(NOW + HOUR)
    await folder.close_in_order()
    assert await folder.open(NOW + 2 * HOUR) == NOW + HOUR
    await folder.close_in_order()
    assert await folder.open(NOW + 3 * HOUR) == NOW + HOUR


async def test_each_that_does_not_close_in_order_moves_the_moment_on(folder):
    await folder.open(NOW)
    await folder.open(NOW + HOUR)
    await folder.close_in_order()
    await folder.open(NOW + 2 * HOUR)
    assert await folder.open(NOW + 3 * HOUR) == NOW + 3 * HOUR


async def test_the_moment_never_moves_back_with_the_clock(folder):
    await folder.open(NOW)
    await folder.open(NOW + HOUR)
    assert await folder.open(NOW - HOUR) == NOW + HOUR


async def test_what_was_accepted_by_a_clock_that_ran_ahead_is_doubtful_too(folder):
    await folder.open(NOW)
    await folder.accept(NOW + HOUR)
    assert await folder.open(NOW) == NOW + HOUR


async def test_a_hub_that_opened_and_was_killed_before_it_did_anything_counts(folder):
    await folder.open(NOW)
    await folder.close_in_order()
    await folder.open(NOW + HOUR)
    assert await folder.open(NOW + 2 * HOUR) == NOW + 2 * HOUR


# Its clock.


async def test_what_waits_by_a_clock_that_ran_ahead_waits_as_long_as_it_was_to_wait(folder):
    await folder.open(NOW)
    await folder.accept(NOW)
    numbers = await folder.queue(NOW - 5, NOW + 1, NOW + 90)
    await folder.close_in_order()
    await folder.open(NOW - HOUR)
    # what was due is due, and the rest is due in a second and in ninety, from now on
    assert await folder.due(*numbers) == [NOW - HOUR, NOW - HOUR + 1, NOW - HOUR + 90]


@pytest.mark.parametrize("later", [0.0, 1.0, 30 * 24 * HOUR])
async def test_a_clock_that_went_on_changes_nothing(folder, later):
    await folder.open(NOW)
    await folder.accept(NOW)
    numbers = await folder.queue(NOW - 5, NOW + HOUR)
    await folder.close_in_order()
    await folder.open(NOW + later)
    assert await folder.due(*numbers) == [NOW - 5, NOW + HOUR]


async def test_with_a_clock_set_back_nothing_is_put_off(folder):
    await folder.open(NOW)
    numbers = await folder.queue(NOW - 2 * HOUR)
    await folder.accept(NOW)
    await folder.close_in_order()
    await folder.open(NOW - HOUR)
    assert await folder.due(*numbers) == [NOW - 2 * HOUR]
