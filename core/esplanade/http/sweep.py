"""Time limits without a timer for each call: one timer serves all calls of a session, while any is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

EVERY_S = 0.25


class Limit:
    """The time that one call may take, from ``Sweep.limit`` until the ``with`` statement around the call ends.

    It behaves as ``asyncio.timeout`` does: a cancellation that came from the sweep alone becomes its error; one that
    anybody else asked for too, in the same moment even, goes on as a cancellation.
    """

    __slots__ = ("_cancelled", "_cancelling", "_error", "_task", "_underway", "began")

    def __init__(self, underway: dict[Limit, None], task: asyncio.Task[Any], began: float) -> None:
        self.began = began
        self._underway = underway
        self._task = task
        self._cancelling = task.cancelling()
        self._cancelled = False
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        self._underway[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._underway[self]
        if self._cancelled and self.forgive() and self._error is not None and kind is asyncio.CancelledError:
            raise self._error from None

    def end(self, error: Exception) -> None:
        """Cancel the task, once; leave the ``with`` statement by this error."""
        if self._error is None:
            self._error = error
            self._cancelled = True
            self._task.cancel()

    def forgive(self) -> bool:
        """Whether a CancelledError just caught came from the sweep alone; then it may be dropped. Asked once."""
        if not self._cancelled:
            return False
        self._cancelled = False
        return self._task.uncancel() <= self._cancelling


class Sweep:
    """Ends the calls that take longer than ``limit_s`` seconds with TimeoutError. Make it inside a running loop.

    It looks every 250 ms, and four times within a limit shorter than a second; so late a call may end.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._every_s = min(EVERY_S, limit_s / 4)
        self._loop = asyncio.get_running_loop()
        # All have the same limit, so whoever began first is overdue first.
        self._underway: dict[Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, began: float) -> Limit:
        """The limit of a call that begins now, to be entered at once by a ``with`` statement."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._every_s, self._look)
        task = asyncio.current_task(self._loop)
        assert task is not None  # a call is awaited, so a task is running
        return Limit(self._underway, task, began)

    def close(self) -> None:
        """End the calls under way as cut, and look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for limit in self._underway:
            limit.end(ConnectionAbortedError())

    def _look(self) -> None:
        overdue = self._loop.time() - self.limit_s
        for limit in self._underway:
            if limit.began > overdue:
                break
            limit.end(TimeoutError())
        self._timer = self._loop.call_later(self._every_s, self._look) if self._underway else None
