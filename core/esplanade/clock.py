"""The one source of time: everything that asks what time it is, or waits, does so through a Clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the hub sees it, in seconds. Tests and rehearsals pass one that they move by hand."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never running backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have passed on this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def as_datetime(seconds: float) -> datetime:
    """Epoch seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def rfc3339(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC, with milliseconds: ``2026-01-15T10:00:00.000Z``."""
    return as_datetime(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
