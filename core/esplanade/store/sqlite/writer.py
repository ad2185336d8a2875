"""The writer's thread: everybody's work in few transactions, requests first, and the journal followed behind them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import structlog

from esplanade.errors import StorageFull, StoreError
from esplanade.records import Answered, Entry
from esplanade.store.port import Committed, Unit

from .turns import Turns
from .unit import SqliteUnit

R = TypeVar("R")
_log = structlog.get_logger("esplanade.store")

BUDGET_S = 0.005
"""How long one transaction may go on taking up units while requests wait for the next commit."""
SYNC_RETRY_S = 1.0
"""How long the writer waits before it tries anew to take to the disk what was committed."""
BARRIER = "INSERT INTO meta (key, value) VALUES ('barrier', '1') ON CONFLICT (key) DO UPDATE SET value = value + 1"
"""Takes earlier commits that were spared the disk there along with this one: a commit without a change would sync nothing."""


class Waiter(Protocol):
    """Who hears on the event loop what came of something."""

    def tell(self, result: Any, problem: BaseException | None) -> None: ...


Told: TypeAlias = tuple[Waiter, Any, BaseException | None]


class _Asked:
    """Somebody who awaits a future."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future

    def tell(self, result: Any, problem: BaseException | None) -> None:
        if self.future.done():
            return  # whoever asked has gone away
        if problem is not None:
            self.future.set_exception(problem)
        else:
            self.future.set_result(result)


class _Accept(_Asked):
    __slots__ = ("answered", "entries")

    def __init__(self, future: asyncio.Future[Any], entries: list[Entry], answered: Answered | None) -> None:
        super().__init__(future)
        self.entries = entries
        self.answered = answered


class _Work(_Asked):
    __slots__ = ("durable", "work")

    def __init__(self, future: asyncio.Future[Any], work: Callable[[Unit], Any], *, durable: bool) -> None:
        super().__init__(future)
        self.work = work
        self.durable = durable


class _Chore(_Asked):
    __slots__ = ("work",)

    def __init__(self, future: asyncio.Future[Any], work: Callable[[sqlite3.Connection], Any]) -> None:
        super().__init__(future)
        self.work = work


class _Follower:
    """What is done behind the journal, and who hears of it."""

    durable = False

    def __init__(self, work: Callable[[Unit], Any], told: Callable[[Any, BaseException | None], None]) -> None:
        self.work = work
        self.told = told
        self.stands_in_line = False

    def tell(self, result: Any, problem: BaseException | None) -> None:
        if result is None and problem is None:
            return
        try:
            self.told(result, problem)
        except Exception as raised:  # noqa: BLE001 - the others of the same commit are still to be told
            _log.error("follower_failed", error=type(raised).__name__)


class Writer:
    """Does on one thread whatever changes the file. Its public methods are called on the event loop, and none of them waits."""

    def __init__(self, unit: SqliteUnit) -> None:
        self.on_commit: Callable[[Committed], None] = lambda _: None
        self.commits = 0
        self.failed: StoreError | None = None
        """Why nothing is written any more, where that is so."""
        self._db = unit.db
        self._unit = unit
        self._loop = asyncio.get_running_loop()
        self._accepts: deque[_Accept] = deque()
        self._works: deque[_Work | _Follower] = deque()
        self._chores: deque[_Chore] = deque()
        self._in_hand: Sequence[Waiter] = ()
        self._owed: list[Told] = []
        """What is done and committed, and awaits the commit that takes it to the disk."""
        self._follower: _Follower | None = None
        self._turns = Turns()
        self._full = True
        self._behind = False
        """Whether there are commits that are not on the disk yet."""
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def accept(self, entries: list[Entry], answered: Answered | None) -> asyncio.Future[None]:
        """Append to the journal."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._submit(self._accepts, _Accept(future, entries, answered))
        return future

    def run(self, work: Callable[[Unit], R], *, durable: bool) -> asyncio.Future[R]:
        """Do a unit of work."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._submit(self._works, _Work(future, work, durable=durable))
        return future

    def outside(self, chore: Callable[[sqlite3.Connection], R]) -> asyncio.Future[R]:
        """Do something outside a transaction."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._submit(self._chores, _Chore(future, chore))
        return future

    def follow(self, work: Callable[[Unit], Any], told: Callable[[Any, BaseException | None], None]) -> None:
        """Do ``work`` for as long as the journal holds more than is folded, in its turn."""
        self._follower = _Follower(work, told)
        self._signals.put(None)

    def close(self) -> None:
        """Finish what was submitted, then close the file. Waits; not on the event loop."""
        self._closing = True
        self._signals.put(None)
        self._thread.join()

    def _submit(self, waiting: deque[Any], item: Any) -> None:
        if self.failed is not None:
            raise self.failed
        waiting.append(item)
        self._signals.put(None)

    def _settle(self, told: Sequence[Told], committed: Committed | None) -> None:
        try:
            if committed is not None:
                self.on_commit(committed)
        finally:  # whoever waits hears of it, whatever others make of it
            for waiter, result, problem in told:
                waiter.tell(result, problem)

    def _give_up(self) -> None:
        waiting: list[Waiter] = [*self._in_hand, *(waiter for waiter, _, _ in self._owed)]
        if self._follower is not None and not self._follower.stands_in_line:
            waiting.append(self._follower)
        for line in (self._accepts, self._works, self._chores):
            waiting += line
            line.clear()
        for waiter in waiting:
            waiter.tell(None, self.failed)

    # On the writer's thread.

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._db.close()
        except Exception as problem:  # noqa: BLE001 - not even undoing worked: nobody shall wait for ever
            self.failed = StoreError(f"the store can no longer be written, until the hub is restarted: {problem}")
            self._on_loop(self._give_up)

    def _turn(self) -> bool:
        """Do what waits, or wait; False once the store is closed and nothing is left."""
        wait_s = self._queue_the_fold()
        if not (self._accepts or self._works or self._chores):
            if self._owed and not self._sync():
                wait_s = SYNC_RETRY_S
            if self._closing:
                self._tell([(waiter, None, StoreError("the store is closed")) for waiter, _, _ in self._owed])
                return False
            with contextlib.suppress(queue.Empty):
                self._signals.get(timeout=wait_s)
            return True
        if self._accepts:  # alone, so that no answer waits for anything else
            accepts = [self._accepts.popleft() for _ in range(len(self._accepts))]
            self._tell(*self._accept_all(accepts))
        if self._works:
            told, committed = self._work_off()
            self._heed_the_fold([*told, *self._owed])
            self._tell(told, committed)
            if self._owed and not self._accepts:
                self._sync()
        if self._chores:
            self._tell([self._do_chore(self._chores.popleft())])
        return True

    def _tell(self, told: Sequence[Told], committed: Committed | None = None) -> None:
        self._in_hand = ()
        self._on_loop(self._settle, told, committed)

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _accept_all(self, accepts: list[_Accept]) -> tuple[list[Told], Committed | None]:
        self._in_hand = accepts
        try:
            self._begin(durable=True)
            self._unit.append([entry for accept in accepts for entry in accept.entries])
            for accept in accepts:
                if accept.answered is not None:
                    at = accept.entries[0].at if accept.entries else time.time()
                    self._unit.keep_answer(accept.answered, at)
            if self._behind:
                self._db.execute(BARRIER)
            took_s = self._commit(durable=True)
            urgent = any(accept.entries and accept.entries[0].kind == "consent" for accept in accepts)
            self._turns.committed(len(accepts), time.monotonic(), urgent=urgent)
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            self._undo()
            error = _translated(problem)
            return [(accept, None, error) for accept in accepts], None
        return [(accept, None, None) for accept in accepts], Committed(took_s=took_s)

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
            self._works.append(follower)
        return wait_s

    def _heed_the_fold(self, told: Sequence[Told]) -> None:
        for waiter, result, problem in told:
            if isinstance(waiter, _Follower):
                waiter.stands_in_line = False
                if result is None or problem is not None:
                    self._turns.rest(time.monotonic())

    def _work_off(self) -> tuple[list[Told], Committed | None]:
        """Some units in one transaction: until requests wait for a commit, or it has gone on long enough."""
        told: list[Told] = []
        owed: list[Told] = []
        durable = self._works[0].durable
        until = time.monotonic() + BUDGET_S
        in_hand: list[Waiter] = []
        self._in_hand = in_hand
        try:
            self._begin(durable=durable)
            while self._works and not (in_hand and (self._accepts or time.monotonic() > until)):
                if self._works[0].durable and not durable:
                    break  # it needs a commit that reaches the disk: the next one
                piece = self._works.popleft()
                in_hand.append(piece)
                result, problem = self._savepoint(piece.work)
                must_last = problem is None and self._unit.must_last and not durable
                (owed if must_last else told).append((piece, result, problem))
            noted = self._unit.write_outcomes()
            if durable and self._behind:
                self._db.execute(BARRIER)
            took_s = self._commit(durable=durable)
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            self._undo()
            if not in_hand:  # it could not even begin
                in_hand.append(self._works.popleft())
            error = _translated(problem)
            return [(piece, None, error) for piece in in_hand], None
        self._owed += owed
        places, shuffled = self._unit.take_places()
        return told, Committed(took_s=took_s, places=places, shuffled=shuffled, noted=noted)

    def _begin(self, *, durable: bool) -> None:
        # A commit that is not full outlives this process, not the power; the next full one takes it to the disk as well.
        if durable != self._full:
            self._db.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            self._full = durable
        self._db.execute("BEGIN IMMEDIATE")

    def _commit(self, *, durable: bool) -> float:
        began = time.monotonic()
        self._db.execute("COMMIT")
        self._behind = not durable
        self.commits += 1
        if durable and self._owed:
            owed, self._owed = self._owed, []
            self._on_loop(self._settle, owed, None)
        return time.monotonic() - began

    def _sync(self) -> bool:
        """Take to the disk what was committed; False where that failed, and is to be tried again."""
        try:
            self._begin(durable=True)
            self._db.execute(BARRIER)
            self._commit(durable=True)
        except sqlite3.Error as problem:
            self._undo()
            _log.error("sync_failed", error=str(_translated(problem)))
            return False
        return True

    def _do_chore(self, chore: _Chore) -> Told:
        self._in_hand = [chore]
        try:
            return chore, chore.work(self._db), None
        except Exception as problem:  # noqa: BLE001 - whoever waits is told, and the writer goes on
            return chore, None, _translated(problem)

    def _savepoint(self, work: Callable[[Unit], Any]) -> tuple[Any, BaseException | None]:
        self._db.execute("SAVEPOINT unit")
        before = self._unit.outcomes_so_far()
        self._unit.must_last = False
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


def _translated(problem: BaseException) -> StoreError:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("the disk is full: nothing was accepted")
    return StoreError(f"the store failed: {problem}")
