"""A clock that stands still until somebody moves it, so that months pass in milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """A Clock moved by hand. Sleepers wake in order of their time as ``advance`` passes it."""

    def __init__(self, start: float = 1_768_471_200.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), wake))
        await wake

    def set(self, seconds: float) -> None:
        """Jump to a time without waking anybody on the way, as a machine's clock does when it is corrected."""
        self._now = seconds

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its own time and letting it run before the next."""
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, wake = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not wake.done():
                wake.set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self._now = end
        await asyncio.sleep(0)
