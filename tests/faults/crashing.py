"""A hub in a process of its own that kills itself at one commit, and notes of each commit whether the disk holds it.

All else is as in ``esplanade run``: the hub, its HTTP server, its store. Processes are forked from one that has loaded everything.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sqlite3
import sys
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from esplanade import runtime

from .vendor import HUB, Vendor, connector, plugin

TOKEN = "a-token-of-the-shop-1"
PATIENCE_S = 60.0
ANY = "commit"
STEPS = [
    "note",
    "accept",
    "fold",
    *(f"{step} {kind}" for kind in ("profile", "consent", "trigger") for step in ("claim", "settle")),
]
"""What a commit may do; a note: anything beside the way of an event. Migrations are steps of their own."""


class Point(NamedTuple):
    """Where a hub dies: just before or just after a commit takes effect, the nth of those that do this, from 1."""

    when: Literal["before", "after"]
    what: str = ANY
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.nth}"


class Commit(Struct, frozen=True, kw_only=True):
    """What a commit did, and where the WAL ended behind it."""

    what: list[str]
    synced: bool
    """Whether it took the WAL to the disk. SQLite does that when ``synchronous`` is FULL and something was written."""
    salt: str
    """The WAL's: another one when it was begun anew, because the database file holds all of it."""
    pages: int
    """How many pages the WAL holds."""


# What a commit does.


class State(NamedTuple):
    """What tells the steps apart."""

    version: int
    journal: int = 0
    cursor: tuple[int, int] = (0, 0)
    under_way: frozenset[tuple[int, str]] = frozenset()


def state_of(ask: Any) -> State:
    """The state within the present transaction."""
    (version,) = ask("PRAGMA user_version").fetchone()
    if version < 5:
        return State(version)
    (journal,) = ask("SELECT coalesce(max(id), 0) FROM journal").fetchone()
    cursor = ask("SELECT segment, done FROM fold_cursor").fetchone()
    under_way = ask("SELECT d.id, d.kind FROM claims c JOIN deliveries d ON d.id = c.delivery").fetchall()
    return State(version, journal, cursor, frozenset(under_way))


def steps_between(before: State, after: State) -> list[str]:
    """What was done between two states."""
    if after.version != before.version:
        return [f"migration {after.version}"]
    steps = ["accept"] * (after.journal != before.journal) + ["fold"] * (after.cursor != before.cursor)
    steps += sorted({f"claim {kind}" for _, kind in after.under_way - before.under_way})
    steps += sorted({f"settle {kind}" for _, kind in before.under_way - after.under_way})
    return steps or ["note"]


class Watched(sqlite3.Connection):
    """A connection that kills its process at a point."""

    folder: ClassVar[Path]
    point: ClassVar[Point | None]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._counts: Counter[str] = Counter()
        self._state: State | None = None
        self._index = -1

    def executescript(self, script: str) -> sqlite3.Cursor:
        self._look()
        return super().executescript(script)

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            self._look()
        return super().execute(sql, *given) if sql != "COMMIT" else self._commit()

    def _look(self) -> None:
        self._state = self._state or state_of(super().execute)

    def _commit(self) -> sqlite3.Cursor:
        before, self._state = self._state, state_of(super().execute)
        assert before is not None
        what = steps_between(before, self._state)
        self._counts.update([ANY, *what])
        self._die_at("before", what)
        wal, (level,) = self._wal(), super().execute("PRAGMA synchronous").fetchone()
        done = super().execute("COMMIT")
        salt, pages = self._wal()
        note(self.folder, Commit(what=what, synced=level == FULL and (salt, pages) != wal, salt=salt, pages=pages))
        self._die_at("after", what)
        return done

    def _die_at(self, when: str, what: list[str]) -> None:
        point = self.point
        if (
            point is not None
            and point.when == when
            and point.what in {ANY, *what}
            and self._counts[point.what] == point.nth
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    def _wal(self) -> tuple[str, int]:
        if self._index < 0:  # it stays open: closing any file of a database drops the locks that SQLite has on it
            self._index = os.open(self.folder / "hub.db-shm", os.O_RDONLY)
        index = WalIndex(os.pread(self._index, WalIndex.BYTES, 0))
        return index.salt, index.pages


FULL = 2


class WalIndex:
    """The head of the file ``-shm`` (https://www.sqlite.org/walformat.html#walidxfmt)."""

    BYTES = 136

    def __init__(self, raw: bytes) -> None:
        self.salt = raw[32:40].hex()
        self.pages = int.from_bytes(raw[16:20], sys.byteorder)
        """How many pages the WAL holds."""
        self.in_file = int.from_bytes(raw[128:132], sys.byteorder)
        """How many of them the database file may hold as well. Before that they were taken to the disk in the WAL."""


def note(folder: Path, commit: Commit) -> None:
    """Add to what is known of the commits of a store."""
    with (folder / "commits").open("ab") as notes:
        notes.write(msgspec.json.encode(commit) + b"\n")


def commits(folder: Path) -> list[Commit]:
    """All commits that a store has seen, over all lives of its hub."""
    return [msgspec.json.decode(line, type=Commit) for line in (folder / "commits").read_bytes().splitlines()]


# Its process.


def live(folder: Path, point: Point | None, told: Connection) -> None:
    """Run a hub until it dies, or is told to stop and has done what is due."""
    Watched.folder, Watched.point = folder, point
    sqlite3.connect = partial(sqlite3.connect, factory=Watched)  # type: ignore[assignment]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    asyncio.run(_live(folder, told))


async def _live(folder: Path, told: Connection) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    hub = await runtime.Hub.start(runtime.load(folder / "connectors.yaml", {}))
    told.send(hub.url)
    await stop.wait()
    await hub.settled()
    await hub.stop()


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "esplanade.cli.commands.run"])


class Life:
    """A hub from its start to its death."""

    def __init__(self, process: Any, url: str) -> None:
        self.url = url
        """Where it answers; empty when it died before it did."""
        self._process = process

    @classmethod
    async def begin(cls, folder: Path, point: Point | None = None) -> Life:
        """Start one that will die at a point."""
        hears, told = _forks.Pipe(duplex=False)
        process = _forks.Process(target=live, args=(folder, point, told), daemon=True)
        await asyncio.to_thread(process.start)
        told.close()
        try:
            url = await asyncio.to_thread(hears.recv)
        except EOFError:
            url = ""
        hears.close()
        return cls(process, url)

    async def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        assert await self._ended()

    async def end(self) -> bool:
        """Let it do what is due, and stop it; whether it was dead or died meanwhile."""
        self._process.terminate()
        return await self._ended()

    async def _ended(self) -> bool:
        await asyncio.to_thread(self._process.join, PATIENCE_S)
        code = self._process.exitcode
        assert code in {0, -signal.SIGKILL}, code
        self._process.close()
        return bool(code)


# Its folder.


def furnish(
    folder: Path, vendor: Vendor, *, repeat: Any = "never", batch: bool = False, port: int = 0, **keys: Any
) -> Path:
    """Write a connectors.yaml and the plugin that it names; ``keys`` are those of its connector."""
    folder.mkdir(exist_ok=True)
    (folder / "vendor.py").write_text(plugin(repeat, batch=batch))
    content = {
        "hub": {**HUB, "listen": f"127.0.0.1:{port}"},
        "sources": {"shop": {"token": TOKEN}},
        "connectors": {"vendor": connector(vendor.origin, **keys)},
    }
    (folder / "connectors.yaml").write_text(json.dumps(content))
    return folder / "connectors.yaml"
