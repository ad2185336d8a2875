"""The store on one SQLite file: its writer, and the reader beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from esplanade.errors import StoreError
from esplanade.records import Answered, Entry
from esplanade.store.port import Committed, Reader, Unit

from .connection import FileLock, open_reader, open_writer
from .pages import Pages, emptied
from .unit import SqliteReader, SqliteUnit
from .writer import Writer

R = TypeVar("R")

SCRUB_RETRY_S = 0.05
"""How long a scrub waits for those who still read what it would overwrite."""
SOILED_A_LOOK, CLEANED_A_TURN = 2_000, 200


class SqliteStore:
    """A Store on one SQLite file. Made by ``open``; one process at a time."""

    def __init__(self, path: Path, unit: SqliteUnit, pages: Pages, lock: FileLock) -> None:
        self.path = path
        self._pages = pages
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        self._reader: SqliteReader | None = None
        self._writer = Writer(unit)

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

    @property
    def on_commit(self) -> Callable[[Committed], None]:
        """Called on the event loop after each commit, before whoever asked for it hears of it."""
        return self._writer.on_commit

    @on_commit.setter
    def on_commit(self, heed: Callable[[Committed], None]) -> None:
        self._writer.on_commit = heed

    @property
    def failed(self) -> StoreError | None:
        """Why nothing is written any more, where that is so."""
        return self._writer.failed

    @property
    def commits(self) -> int:
        """How many there were since it was opened."""
        return self._writer.commits

    def describe(self, what: str, url: str | None) -> None:
        """Write beside the store who holds it and where it answers, for the commands that look for a running hub."""
        self._lock.describe({"pid": os.getpid(), "what": what, "url": url})

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        """Append to the journal; returns once it is on disk. Requests in flight share one commit."""
        self._require_open()
        await self._writer.accept(entries, answered)

    async def run(self, work: Callable[[Unit], R], *, durable: bool = True) -> R:
        """Do a unit of work on the writer; returns once it is on disk, or, if not ``durable``, once it outlives this process."""
        self._require_open()
        return await self._writer.run(work, durable=durable)

    def follow(self, work: Callable[[Unit], R | None], told: Callable[[R | None, BaseException | None], None]) -> None:
        """Do ``work`` again and again, for as long as the journal holds more than is folded, behind what others ask for."""
        self._writer.follow(work, told)

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
        await self._loop.run_in_executor(None, self._writer.close)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        if self._reader is not None:
            self._reader.db.close()
        await self._loop.run_in_executor(None, self._pages.close)
        self._lock.release()

    async def _beside(self, work: Callable[..., R], *arguments: object) -> R:
        """Do something on the reader's thread."""
        self._require_open()
        return await self._loop.run_in_executor(self._readers, work, *arguments)

    async def _insist(self, chore: Callable[[sqlite3.Connection], bool]) -> None:
        """Do a chore once nobody reads what is in its way."""
        while True:
            if await self._outside(chore):
                return
            await asyncio.sleep(SCRUB_RETRY_S)

    async def _outside(self, chore: Callable[[sqlite3.Connection], R]) -> R:
        """Do something on the writer's thread, outside a transaction."""
        self._require_open()
        return await self._writer.outside(chore)

    def _require_open(self) -> None:
        if self._closing:
            raise StoreError("the store is closed")

    def _ask(self, question: Callable[[Reader], R]) -> R:
        if self._reader is None:
            self._reader = SqliteReader(open_reader(self.path))
        return question(self._reader)


def _opened(path: Path) -> tuple[SqliteUnit, Pages]:
    return SqliteUnit(open_writer(path)), Pages(path)
