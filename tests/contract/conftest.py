"""The backends that must keep the contract of store/port.py. A new one is a class and a line in BACKENDS."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from esplanade.store.locate import open_store
from esplanade.store.sqlite.writer import BUDGET_S


class Sqlite:
    """One file below a folder of its own."""

    def __init__(self, folder):
        self.url = "sqlite:esplanade.db"
        self.folder = folder

    async def open(self, what="the contract tests"):
        return await open_store(self.url, self.folder, what=what)

    @staticmethod
    def commits(store):
        return store.commits


BACKENDS = {"sqlite": Sqlite}


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path):
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
async def store(backend):
    opened = await backend.open()
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def busy(store, work=lambda unit: None):
    """Keep the writer in the middle of a unit, after ``work``, while the block runs, and long enough to commit it alone."""
    begun, go_on = threading.Event(), threading.Event()

    def unit(unit):
        until = time.monotonic() + 2 * BUDGET_S
        work(unit)
        begun.set()
        go_on.wait(10)
        while time.monotonic() < until:
            pass

    running = asyncio.create_task(store.run(unit))
    try:
        await asyncio.to_thread(begun.wait, 10)
        yield
    finally:
        go_on.set()
        await running


@pytest.fixture(name="busy")
def busy_():
    return busy
