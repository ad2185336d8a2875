"""The one source of time: everything that asks what time it is, or waits, does so through a Clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the hub sees it, in seconds. Tests and rehearsals pass one that they move by hand."""

    def time(self) -> float:
        """Seconds since the epoch, never running backwards."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never running backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock."""
        ...


class SystemClock:
    """The machine's own clock, except that its time never goes back and never stands still.

    What waits until a moment would else wait for as long again as the clock was set back by. Where it was set back, this one
    goes on at half speed until the machine's has caught up; where it was set forward, this one goes along at once.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last = (0.0, monotonic())

    def time(self) -> float:
        last, at = self._last
        now = self._monotonic()
        found = max(self._wall(), last + (now - at) / 2)
        self._last = (found, now)
        return found

    def monotonic(self) -> float:
        return self._monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def as_datetime(seconds: float) -> datetime:
    """Epoch seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def rfc3339(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC, with milliseconds: ``2026-01-15T10:00:00.000Z``."""
    return as_datetime(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
