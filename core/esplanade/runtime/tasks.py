"""The hub's background tasks: started, watched, and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from esplanade.clock import Clock
from esplanade.context import Log
from esplanade.errors import EsplanadeError


class Tasks:
    """Tasks that live as long as the hub. One that dies is logged."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def every(self, seconds: float, action: Callable[[], Any]) -> None:
        """Do something from time to time; an action may be a coroutine function."""
        self.spawn(self._repeat(seconds, action))

    async def stop(self) -> None:
        """Cancel all of them and wait until they have ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, seconds: float, action: Callable[[], Any]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                result = action()
                if asyncio.iscoroutine(result):
                    await result
            except EsplanadeError as problem:
                self._log.error("housekeeping_failed", error=str(problem))
            except Exception as problem:  # noqa: BLE001 - what is done from time to time is done the next time
                self._log.error("housekeeping_failed", error=type(problem).__name__)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("task_died", error=repr(task.exception()))
