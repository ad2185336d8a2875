"""What follows the journal: done behind it again and again, whoever else asks, and undone alone when it fails."""

import asyncio

import pytest

from esplanade.records import Entry


def entries(*names, kind="profile"):
    return [Entry(kind=kind, origin="shop", id=name, at=1.0, body=b"") for name in names]


class Follower:
    """Follows one entry at a time; ``fails`` says at which it raises, once each."""

    def __init__(self, store, *, fails=(), stands_still=()):
        self.store = store
        self.fails, self.stands_still = set(fails), set(stands_still)
        self.followed, self.problems = [], []
        self._told = asyncio.Event()

    def start(self):
        self.store.follow(self._work, self._hear)
        return self

    def _work(self, unit):
        place, entry = next(iter(unit.next_entries(1)))
        unit.set_meta("latest", entry.id)
        unit.move_cursor(place)
        for names, act in ((self.fails, self._fail), (self.stands_still, self._stand_still)):
            if entry.id in names:
                names.remove(entry.id)
                return act(unit)
        return entry.id

    def _fail(self, _unit):
        raise LookupError("not now")

    def _stand_still(self, unit):
        unit.move_cursor((0, 0))

    def _hear(self, name, problem):
        self.followed += [] if name is None else [name]
        self.problems += [] if problem is None else [problem]
        self._told.set()

    async def through(self, *names):
        """Return once these were followed, in this order."""
        async with asyncio.timeout(10):
            while self.followed != list(names):
                self._told.clear()
                await self._told.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("esplanade.store.sqlite.turns.REST_S", 0.01)


async def test_what_was_there_is_followed_and_then_whatever_comes(store):
    await store.accept(entries("a", "b"))
    follower = Follower(store).start()
    await follower.through("a", "b")
    await store.accept(entries("c"))
    await store.run(lambda unit: unit.append(entries("d")))
    await follower.through("a", "b", "c", "d")
    assert await store.run(lambda unit: unit.is_behind()) is False
    assert await store.read(lambda reader: reader.backlog()) == 0


async def test_it_is_not_asked_while_there_is_nothing_to_follow(store):
    follower = Follower(store).start()
    for number in range(20):
        await store.run(lambda unit, number=number: unit.set_meta("number", str(number)))
    assert (follower.followed, follower.problems) == ([], [])


async def test_where_it_fails_it_is_undone_alone_told_and_done_again(store):
    follower = Follower(store, fails={"b"}).start()
    await store.accept(entries("a", "b", "c"))
    asked = [store.run(lambda unit, number=number: unit.set_meta(f"m{number}", "x")) for number in range(5)]
    await asyncio.gather(*asked)
    await follower.through("a", "b", "c")
    assert [type(each) for each in follower.problems] == [LookupError]
    assert await store.read(lambda reader: [reader.meta(f"m{number}") for number in range(5)]) == ["x"] * 5
    assert await store.read(lambda reader: reader.meta("latest")) == "c"


async def test_where_it_gets_no_further_it_rests_and_tells_nobody(store):
    follower = Follower(store, stands_still={"a"}).start()
    await store.accept(entries("a", "b"))
    await follower.through("a", "b")
    assert follower.problems == []


async def test_units_are_done_between_its_steps(store):
    """However long the journal: who asks for a unit waits for a step, never for the end."""
    names = [f"e{number}" for number in range(3_000)]
    await store.run(lambda unit: unit.append(entries(*names)))
    follower = Follower(store).start()
    seen = []
    while len(seen) < 20:
        seen.append(await store.run(lambda unit: unit.meta("latest")))
    assert seen[-1] != names[-1]
    await follower.through(*names)


async def test_another_follower_takes_over_where_the_first_has_come_to(store):
    first = Follower(store).start()
    await store.accept(entries("a"))
    await first.through("a")
    second = Follower(store).start()
    await store.accept(entries("b"))
    await second.through("b")
    assert first.followed == ["a"]


async def test_a_store_that_is_closed_is_followed_on_by_whoever_opens_it_next(backend):
    store = await backend.open()
    await store.accept(entries("a", "b"))
    await store.close()
    again = await backend.open()
    follower = Follower(again).start()
    await follower.through("a", "b")
    await again.close()
