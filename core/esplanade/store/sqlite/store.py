"""The writer thread and its group commit, and the reader beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from esplanade.errors import StorageFull, StoreError
from esplanade.records import Answered, Entry
from esplanade.store.port import Committed, Reader, Unit

from .connection import FileLock, open_reader, open_writer
from .pages import Pages, emptied
from .turns import Turns
from .unit import SqliteReader, SqliteUnit

R = TypeVar("R")

BUDGET_S = 0.005
"""How long one transaction may go on taking up units while requests wait for the next commit."""
SCRUB_RETRY_S = 0.05
"""How long a scrub waits for those who still read what it would overwrite."""
SOILED_A_LOOK, CLEANED_A_TURN = 2_000, 200
BARRIER = "INSERT INTO meta (key, value) VALUES ('barrier', '1') ON CONFLICT (key) DO UPDATE SET value = value + 1"
"""Takes earlier commits that were spared the disk there along with this one: a commit without a change would sync nothing."""


Settled = list[tuple["asyncio.Future[Any] | _Follower", Any, BaseException | None]]


class _Accept:
    __slots__ = ("answered", "entries", "future")

    def __init__(self, entries: list[Entry], answered: Answered | None, future: asyncio.Future[None]) -> None:
        self.entries = entries
        self.answered = answered
        self.future = future


class _Follower:
    """What is done behind the journal, and who hears of it. It is told as a future would be."""

    __slots__ = ("stands_in_line", "told", "work")

    def __init__(self, work: Callable[[Unit], Any], told: Callable[[Any, BaseException | None], None]) -> None:
        self.work = work
        self.told = told
        self.stands_in_line = False

    def done(self) -> bool:
        return False

    def set_result(self, result: Any) -> None:
        if result is not None:
            self.told(result, None)

    def set_exception(self, problem: BaseException) -> None:
        self.told(None, problem)


class SqliteStore:
    """A Store on one SQLite file. Made by ``open``; one process at a time."""

    def __init__(self, path: Path, unit: SqliteUnit, pages: Pages, lock: FileLock) -> None:
        self.path = path
        self._db = unit.db
        self._unit = unit
        self._pages = pages
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._accepts: deque[_Accept] = deque()
        self._units: deque[tuple[Callable[[Unit], Any], asyncio.Future[Any] | _Follower, bool]] = deque()
        self._chores: deque[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = deque()
        self._follower: _Follower | None = None
        self._turns = Turns()
        self._full = True
        self._behind = False
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = False
        self.on_commit: Callable[[Committed], None] = lambda _: None
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        self._reader: SqliteReader | None = None
        self.commits = 0
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, *, what: str = "esplanade") -> SqliteStore:
        """Lock, open and migrate the file. Raises StoreLocked naming the holder, StoreError."""
        lock = FileLock(path)
        lock.take(path, {"pid": os.getpid(), "what": what})
        try:
            unit, pages = await asyncio.get_running_loop().run_in_executor(None, _opened, path)
        except BaseException:
            lock.release()
            raise
        return cls(path, unit, pages, lock)

    def describe(self, what: str, url: str | None) -> None:
        """Write beside the store who holds it and where it answers, for the commands that look for a running hub."""
        self._lock.describe({"pid": os.getpid(), "what": what, "url": url})

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        """Append to the journal; returns once it is on disk. Requests in flight share one commit."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._submit(self._accepts, _Accept(entries, answered, future))
        await future

    async def run(self, work: Callable[[Unit], R], *, durable: bool = True) -> R:
        """Do a unit of work on the writer; returns once it is on disk, or, if not ``durable``, once it outlives this process."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._submit(self._units, (work, future, durable))
        return await future

    def follow(self, work: Callable[[Unit], R | None], told: Callable[[R | None, BaseException | None], None]) -> None:
        """Do ``work`` again and again, for as long as the journal holds more than is folded, behind what others ask for."""
        self._follower = _Follower(work, told)
        self._signals.put(None)

    async def read(self, question: Callable[[Reader], R]) -> R:
        """Ask on the reader's thread."""
        return await self._beside(self._ask, question)

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is left in the files. Others go on meanwhile."""
        await self._insist(emptied)
        first = 0
        while (soiled := await self._beside(self._pages.soiled, first, SOILED_A_LOOK)) is not None:
            first += SOILED_A_LOOK
            for start in range(0, len(soiled), CLEANED_A_TURN):
                turn = soiled[start : start + CLEANED_A_TURN]
                await self._insist(partial(self._pages.clean, numbers=turn))
        await self._beside(self._pages.sync)

    async def close(self) -> None:
        """Finish what was submitted, close the file and let go of the lock."""
        if self._closing:
            return
        self._closing = True
        self._signals.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        if self._reader is not None:
            self._reader.db.close()
        await self._loop.run_in_executor(None, self._pages.close)
        self._lock.release()

    def _settle(self, settled: Settled, committed: Committed | None) -> None:
        if committed is not None:
            self.on_commit(committed)
        for future, result, error in settled:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    def _submit(self, waiting: deque[Any], item: Any) -> None:
        if self._closing:
            raise StoreError("the store is closed")
        waiting.append(item)
        self._signals.put(None)  # neither call ever waits for the writer

    async def _beside(self, work: Callable[..., R], *arguments: Any) -> R:
        """Do something on the reader's thread."""
        if self._closing:
            raise StoreError("the store is closed")
        return await self._loop.run_in_executor(self._readers, work, *arguments)

    async def _insist(self, chore: Callable[[sqlite3.Connection], bool]) -> None:
        """Do a chore once nobody reads what is in its way."""
        while True:
            if await self._outside(chore):
                return
            await asyncio.sleep(SCRUB_RETRY_S)

    async def _outside(self, chore: Callable[[sqlite3.Connection], R]) -> R:
        """Do something on the writer's thread, outside a transaction."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._submit(self._chores, (chore, future))
        return await future

    def _ask(self, question: Callable[[Reader], R]) -> R:
        if self._reader is None:
            self._reader = SqliteReader(open_reader(self.path))
        return question(self._reader)

    # On the writer's thread.

    def _write(self) -> None:
        while True:
            wait_s = self._queue_the_fold()
            if not (self._accepts or self._units or self._chores):
                if self._closing:
                    break
                with contextlib.suppress(queue.Empty):
                    self._signals.get(timeout=wait_s)
                continue
            try:
                if self._accepts:  # alone, so that no answer waits for anything else
                    self._tell(*self._accept_all([self._accepts.popleft() for _ in range(len(self._accepts))]))
                if self._units:
                    settled, committed = self._do_units()
                    self._heed_the_fold(settled)
                    self._tell(settled, committed)
                if self._chores:
                    self._tell([self._chore(*self._chores.popleft())])
            except RuntimeError:  # the loop is gone: nobody waits any more
                break
        self._db.close()

    def _tell(self, settled: Settled, committed: Committed | None = None) -> None:
        self._loop.call_soon_threadsafe(self._settle, settled, committed)

    def _accept_all(self, accepts: list[_Accept]) -> tuple[Settled, Committed | None]:
        try:
            self._begin(durable=True)
            self._unit.append([entry for accept in accepts for entry in accept.entries])
            for accept in accepts:
                if accept.answered is not None:
                    at = accept.entries[0].at if accept.entries else time.time()
                    self._unit.keep_answer(accept.answered, at)
            took_s = self._commit(durable=True)
            urgent = any(accept.entries and accept.entries[0].kind == "consent" for accept in accepts)
            self._turns.committed(len(accepts), time.monotonic(), urgent=urgent)
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            self._undo()
            error = _translated(problem)
            return [(accept.future, None, error) for accept in accepts], None
        return [(accept.future, None, None) for accept in accepts], Committed(took_s=took_s)

    def _queue_the_fold(self) -> float | None:
        """Let what follows the journal stand in line once it is its turn; how long until then, None: nothing says when."""
        follower = self._follower
        if follower is None or follower.stands_in_line or self._closing:
            return None
        try:
            if not self._unit.is_behind():
                self._turns.caught_up()
                return None
        except sqlite3.Error:
            self._turns.rest(time.monotonic())
        wait_s = self._turns.wait_s(time.monotonic())
        if wait_s == 0.0:
            follower.stands_in_line = True
            self._units.append((follower.work, follower, False))
        return wait_s

    def _heed_the_fold(self, settled: Settled) -> None:
        for whose, result, problem in settled:
            if isinstance(whose, _Follower):
                whose.stands_in_line = False
                if result is None or problem is not None:
                    self._turns.rest(time.monotonic())

    def _do_units(self) -> tuple[Settled, Committed | None]:
        """Some units in one transaction: until requests wait for a commit, or it has gone on long enough."""
        settled: Settled = []
        durable = self._units[0][2]
        until = time.monotonic() + BUDGET_S
        try:
            self._begin(durable=durable)
            while self._units and not (settled and (self._accepts or time.monotonic() > until)):
                if self._units[0][2] and not durable:
                    break  # it needs a commit that reaches the disk: the next one
                work, future, _ = self._units.popleft()
                settled.append((future, None, None))
                settled[-1] = (future, *self._savepoint(work))
            noted = self._unit.write_outcomes()
            if durable and self._behind:
                self._db.execute(BARRIER)
            took_s = self._commit(durable=durable)
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            self._undo()
            if not settled:  # it could not even begin
                settled.append((self._units.popleft()[1], None, None))
            error = _translated(problem)
            return [(future, None, error) for future, _, _ in settled], None
        return settled, Committed(took_s=took_s, places=self._unit.take_places(), noted=noted)

    def _begin(self, *, durable: bool) -> None:
        self._synchronise(full=durable)
        self._db.execute("BEGIN IMMEDIATE")

    def _commit(self, *, durable: bool) -> float:
        began = time.monotonic()
        self._db.execute("COMMIT")
        self._behind = not durable
        self.commits += 1
        return time.monotonic() - began

    def _chore(
        self, chore: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]
    ) -> tuple[asyncio.Future[Any], Any, BaseException | None]:
        try:
            return future, chore(self._db), None
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            return future, None, _translated(problem)

    def _synchronise(self, *, full: bool) -> None:
        # A commit that is not full outlives this process, not the power; the next full one takes it to the disk as well.
        if full != self._full:
            self._db.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = NORMAL")
            self._full = full

    def _savepoint(self, work: Callable[[Unit], Any]) -> tuple[Any, BaseException | None]:
        self._db.execute("SAVEPOINT unit")
        before = self._unit.outcomes_so_far()
        try:
            result = work(self._unit)
            self._unit.write()
        except BaseException as problem:
            if not self._db.in_transaction:  # SQLite gave up the whole of it, as it may when the disk is full
                raise
            self._db.execute("ROLLBACK TO unit")
            self._db.execute("RELEASE unit")
            self._unit.forget()
            self._unit.restore_outcomes(before)
            return None, _translated(problem) if isinstance(problem, sqlite3.Error) else problem
        self._db.execute("RELEASE unit")
        return result, None

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._unit = SqliteUnit(self._db)


def _opened(path: Path) -> tuple[SqliteUnit, Pages]:
    return SqliteUnit(open_writer(path)), Pages(path)


def _translated(problem: BaseException) -> StoreError:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("the disk is full: nothing was accepted")
    return StoreError(f"the store failed: {problem}")
