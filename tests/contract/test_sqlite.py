"""What is SQLite's own: the file, its lock, its schema, and a disk that is full."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from esplanade.errors import StorageFull, StoreError, StoreLocked
from esplanade.records import Entry, Note
from esplanade.store import migrate
from esplanade.store.locate import holder, open_store, reading, sqlite_path
from esplanade.store.sqlite import writer
from esplanade.store.sqlite.store import SqliteStore
from esplanade.store.sqlite.writer import Writer


def entry(name, size=1):
    return Entry(kind="profile", origin="shop", id=name, at=1.0, body=b"x" * size)


def journalled(unit):
    return [found.id for _, found in unit.next_entries(1_000)]


@pytest.fixture
async def store(tmp_path):
    opened = await SqliteStore.open(tmp_path / "esplanade.db", what="the first hub")
    yield opened
    await opened.close()


# A disk that is full.


@pytest.fixture
def disk(store):
    """Lets the file grow by a few pages more, or as it likes."""

    class Disk:
        async def leave(self, pages):
            def limit(unit):
                (held,) = unit.db.execute("PRAGMA page_count").fetchone()
                unit.db.execute(f"PRAGMA max_page_count = {held + pages}")

            await store.run(limit)

        async def free(self):
            await store.run(lambda unit: unit.db.execute("PRAGMA max_page_count = 1073741823").fetchone())

    return Disk()


async def test_a_full_disk_accepts_nothing_of_the_request_and_goes_on_when_there_is_room(store, disk):
    await store.accept([entry("e-1")])
    await disk.leave(2)
    with pytest.raises(StorageFull, match="disk is full"):
        await store.accept([entry("e-2"), entry("e-3", 1_000_000)])
    assert await store.run(journalled) == ["e-1"]
    assert await store.read(lambda reader: reader.backlog()) == 1
    await disk.free()
    await store.accept([entry("e-4", 1_000_000)])
    assert await store.run(journalled) == ["e-1", "e-4"]


async def test_a_full_disk_is_told_to_every_request_of_the_commit(store, disk, busy):
    await disk.leave(2)
    async with busy(store):
        accepts = [asyncio.create_task(store.accept([entry(f"e-{number}", 500_000)])) for number in range(3)]
        await asyncio.sleep(0)
    told = await asyncio.gather(*accepts, return_exceptions=True)
    assert [type(each) for each in told] == [StorageFull] * 3


async def test_a_unit_that_finds_the_disk_full_is_told_so_and_undone(store, disk):
    def fill(unit):
        unit.set_meta("k", "v")
        unit.note(Note(person=1, at=1.0, what="accepted"))
        unit.append([entry("e-1", 1_000_000)])

    await disk.leave(2)
    with pytest.raises(StorageFull):
        await store.run(fill)
    await disk.free()
    assert await store.run(journalled) == []
    assert await store.read(lambda reader: (reader.meta("k"), reader.outcomes())) == (None, {})


async def test_a_part_of_a_unit_that_finds_the_disk_full_ends_the_whole_unit(store, disk):
    def fill(unit):
        unit.set_meta("k", "v")
        unit.attempt(lambda: unit.append([entry("e-1", 1_000_000)]))

    await disk.leave(2)
    with pytest.raises(StorageFull):
        await store.run(fill)
    assert await store.read(lambda reader: reader.meta("k")) is None


async def test_a_unit_is_told_when_its_transaction_is_gone(store):
    def lose(unit):
        unit.set_meta("k", "v")
        unit.db.execute("ROLLBACK")  # as SQLite itself may, when the disk fails
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreError, match="disk I/O error"):
        await asyncio.wait_for(store.run(lose), 5)
    await store.accept([entry("e-1")])
    assert await store.run(journalled) == ["e-1"]


async def test_a_unit_that_loses_its_transaction_takes_other_units_with_it_and_no_request(store, busy):
    def lose(unit):
        unit.db.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    async with busy(store):
        other = asyncio.create_task(store.run(lambda unit: unit.set_meta("k", "v")))
        unit = asyncio.create_task(store.run(lose))
        await asyncio.sleep(0)
    told = await asyncio.wait_for(asyncio.gather(other, unit, return_exceptions=True), 5)
    assert [type(each) for each in told] == [StoreError] * 2
    async with busy(store):
        accept = asyncio.create_task(store.accept([entry("e-1")]))
        unit = asyncio.create_task(store.run(lose))
        await asyncio.sleep(0)
    told = await asyncio.wait_for(asyncio.gather(accept, unit, return_exceptions=True), 5)
    assert [type(each) for each in told] == [type(None), StoreError]
    assert await store.run(journalled) == ["e-1"]


# The schema.


async def test_a_store_of_a_newer_program_is_refused_and_left_alone(store):
    await store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match=r"written by a newer Esplanade \(schema 999.*install that version again"):
        await SqliteStore.open(store.path)
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)
    assert holder("sqlite:esplanade.db", store.path.parent) is None


async def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "esplanade.db"
    path.write_bytes(b"not a database" * 500)
    with pytest.raises(StoreError, match="cannot be used"):
        await SqliteStore.open(path)


async def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match="missing"):
        await SqliteStore.open(tmp_path / "missing" / "esplanade.db")


async def test_migrations_are_applied_once_and_in_order(store):
    numbers = [step.number for step in migrate.migrations("sqlite")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert migrate.due("sqlite", len(numbers)) == []
    assert [step.number for step in migrate.due("sqlite", 0)] == numbers
    assert await store.run(lambda unit: unit.db.execute("PRAGMA user_version").fetchone()) == (len(numbers),)


async def test_what_is_acknowledged_survives_a_power_cut(store):
    pragmas = await store.run(
        lambda unit: [unit.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    assert pragmas == ["wal", 2]  # 2: FULL


async def test_only_work_that_need_not_be_durable_is_spared_the_disk(store):
    def mode(unit):
        return unit.db.execute("PRAGMA synchronous").fetchone()[0]

    modes = [await store.run(mode, durable=durable) for durable in (True, False, False, True)]
    assert modes == [2, 1, 1, 2]  # 2: FULL, 1: NORMAL


async def test_a_durable_unit_takes_what_was_spared_to_the_disk_though_it_changes_nothing_itself(store):
    def written():
        return store.path.with_name("esplanade.db-wal").stat().st_size

    await store.run(lambda unit: unit.set_meta("k", "v"), durable=False)
    before = written()
    await store.run(lambda unit: None)
    barrier = written()
    await store.run(lambda unit: None)
    assert before < barrier == written()


async def test_a_unit_that_must_last_is_on_disk_before_it_is_told_and_those_beside_it_do_not_wait(store, busy):
    def written():
        return store.path.with_name("esplanade.db-wal").stat().st_size

    told = []

    async def ask(name, work):
        await store.run(work, durable=False)
        told.append((name, written()))

    before = written()
    async with busy(store):
        asked = [ask("lasts", lambda unit: unit.make_durable()), ask("does not", lambda unit: unit.set_meta("k", "v"))]
        running = [asyncio.create_task(each) for each in asked]
        await asyncio.sleep(0)
    await asyncio.gather(*running)
    assert [name for name, _ in told] == ["does not", "lasts"]
    assert before < told[-1][1]
    assert await store.run(lambda unit: unit.db.execute("PRAGMA synchronous").fetchone()[0], durable=False) == 1
    assert store._writer._behind


async def test_a_unit_that_must_last_and_is_undone_is_told_at_once(store):
    def fails(unit):
        unit.make_durable()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.run(fails, durable=False)
    assert store._writer._owed == []


@pytest.mark.parametrize("way", ["by itself", "by a request"])
async def test_a_unit_that_must_last_is_told_once_it_reaches_the_disk_however_often_that_fails(store, monkeypatch, way):
    failing, tried = True, threading.Event()

    def begin(self, *, durable, real=Writer._begin):
        if durable and failing:
            tried.set()
            raise sqlite3.OperationalError("no room for it")
        real(self, durable=durable)

    monkeypatch.setattr(Writer, "_begin", begin)
    monkeypatch.setattr(writer, "SYNC_RETRY_S", 0.01 if way == "by itself" else 60.0)
    lasting = asyncio.create_task(store.run(lambda unit: unit.make_durable(), durable=False))
    assert await asyncio.to_thread(tried.wait, 10)
    assert await store.run(lambda unit: unit.set_meta("k", "v"), durable=False) is None
    assert not lasting.done()
    failing = False
    if way == "by a request":
        await store.accept([entry("e-1")])
    async with asyncio.timeout(10):
        await lasting


async def test_what_others_make_of_a_commit_keeps_nobody_waiting(store):
    def heed(_):
        raise ZeroDivisionError

    raised = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(type(context["exception"])))
    store.on_commit = heed
    async with asyncio.timeout(10):
        await store.accept([entry("e-1")])
        await store.run(lambda unit: unit.set_meta("k", "v"))
    assert raised == [ZeroDivisionError] * 2


async def test_a_writer_that_cannot_even_undo_tells_everybody_and_takes_nothing_more(tmp_path, busy):
    store = await SqliteStore.open(tmp_path / "esplanade.db")
    async with busy(store):
        waiting = [
            asyncio.create_task(store._outside(lambda db: db.close())),
            asyncio.create_task(store.accept([entry("e-1")])),
            asyncio.create_task(store.run(lambda unit: unit.set_meta("k", "v"))),
            asyncio.create_task(store.run(lambda unit: unit.make_durable(), durable=False)),
        ]
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting, return_exceptions=True)
        for work in (store.accept([entry("e-2")]), store.run(lambda unit: None)):
            with pytest.raises(StoreError, match="can no longer be written, until the hub is restarted"):
                await work
    assert "can no longer be written" in str(store.failed)
    await store.close()
    again = await SqliteStore.open(tmp_path / "esplanade.db")
    assert again.failed is None
    await again.close()


async def test_a_follower_that_raises_keeps_nobody_of_its_commit_waiting(store, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def fold(unit):
        found = list(unit.next_entries(10))
        if found:
            unit.move_cursor(found[-1][0])
            begun.set()
            go_on.wait(10)
        return len(found) or None

    def told(_result, _problem):
        raise BrokenPipeError

    monkeypatch.setattr(writer, "BUDGET_S", 60.0)
    await store.accept([entry("e-1")])
    store.follow(fold, told)
    assert await asyncio.to_thread(begun.wait, 10)
    other = asyncio.create_task(store.run(lambda unit: 7, durable=False))
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(10):
        assert await other == 7


async def test_a_request_takes_to_the_disk_what_was_spared_it_though_it_writes_nothing(store):
    def written():
        return store.path.with_name("esplanade.db-wal").stat().st_size

    await store.run(lambda unit: unit.set_meta("k", "v"), durable=False)
    before = written()
    await store.accept([])
    assert before < written()


async def test_a_unit_that_cannot_even_begin_is_told(store):
    await store.run(lambda unit: unit.db.execute("PRAGMA busy_timeout = 0").fetchone())
    with closing(sqlite3.connect(store.path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await asyncio.wait_for(store.run(lambda unit: unit.set_meta("k", "v")), 5)
        with pytest.raises(StoreError, match="locked"):
            await asyncio.wait_for(store.accept([entry("e-1")]), 5)
    await store.run(lambda unit: unit.set_meta("k", "w"))
    assert await store.read(lambda reader: reader.meta("k")) == "w"


# The lock.


async def test_a_second_hub_is_refused_and_the_holder_named(store):
    with pytest.raises(StoreLocked, match="the first hub") as refused:
        await SqliteStore.open(store.path, what="a second hub")
    assert refused.value.path == str(store.path)
    await store.accept([entry("e-1")])


async def test_the_lock_says_where_its_holder_answers(store, tmp_path):
    store.describe("the first hub", "http://127.0.0.1:8600")
    found = holder("sqlite:esplanade.db", tmp_path)
    assert (found["what"], found["url"]) == ("the first hub", "http://127.0.0.1:8600")
    await store.close()
    assert holder("sqlite:esplanade.db", tmp_path) is None


async def test_a_lock_without_words_still_holds(store):
    (store.path.parent / "esplanade.db.lock").write_text("")
    with pytest.raises(StoreLocked, match="process unknown"):
        await SqliteStore.open(store.path)


# Beside the hub.


def word(url, folder, key):
    """What a command finds, which opens the file, asks and goes."""
    with reading(url, folder) as reader:
        return reader.meta(key)


async def test_a_command_reads_beside_a_hub_that_writes(store, tmp_path):
    for value in ("v", "w"):
        await store.run(lambda unit, value=value: unit.set_meta("k", value))
        assert await asyncio.to_thread(word, "sqlite:esplanade.db", tmp_path, "k") == value


async def test_a_command_cannot_write_through_a_reader(store, tmp_path):
    def write():
        with reading("sqlite:esplanade.db", tmp_path) as reader:
            reader.db.execute("DELETE FROM meta")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await asyncio.to_thread(write)


def test_a_command_that_reads_no_store_is_told_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="esplanade run"), reading("sqlite:esplanade.db", tmp_path):
        pass


def test_a_command_that_reads_something_else_is_told_so(tmp_path):
    (tmp_path / "esplanade.db").write_bytes(b"not a database" * 500)
    with pytest.raises(StoreError, match="cannot be read"), reading("sqlite:esplanade.db", tmp_path):
        pass


@pytest.mark.parametrize("folder", ["with space", "50% off", "why?", "a#b", "été"])
async def test_a_folder_may_have_any_name(tmp_path, folder):
    (tmp_path / folder).mkdir()
    url = f"sqlite:{folder}/esplanade.db"
    store = await open_store(url, tmp_path, what="tests")
    await store.run(lambda unit: unit.set_meta("k", "v"))
    assert await store.read(lambda reader: reader.meta("k")) == "v"
    assert await asyncio.to_thread(word, url, tmp_path, "k") == "v"
    await store.close()


@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:", "postgresql://user@host/db", "esplanade.db"])
def test_a_store_that_this_version_does_not_know_is_refused(tmp_path, url):
    with pytest.raises(StoreError, match="this version knows sqlite:PATH"):
        sqlite_path(url, tmp_path)


def test_a_relative_store_lies_beside_its_configuration(tmp_path):
    assert sqlite_path("sqlite:data/hub.db", tmp_path) == tmp_path / "data" / "hub.db"
    assert sqlite_path("sqlite:/var/lib/hub.db", tmp_path).as_posix() == "/var/lib/hub.db"
