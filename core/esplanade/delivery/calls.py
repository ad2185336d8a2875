"""The calls of one lane: as many at once as the connector allows, the next ones ready, and none for longer than it may take."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from esplanade.clock import Clock
from esplanade.context import Log
from esplanade.records import Urgency

from .desk import OPEN_CALL, Answer, Desk, Finished, Free, Group, Work
from .health import Health
from .pace import Pacer
from .seats import group_of
from .verdict import Withdrawn

LAST_WORD_S = 0.5
"""How long calls that are given up when the hub stops may take to notice."""
GRACE_SWEEPS = 2
"""How many sweeps a cancelled call may take to end before its place is given away."""


class _Call:
    __slots__ = ("began_at", "began_mono", "overdue_for", "task", "work")

    def __init__(
        self, work: list[Work[Any]], began_at: float, began_mono: float, task: asyncio.Task[None] | None
    ) -> None:
        self.work = work
        self.began_at = began_at
        self.began_mono = began_mono
        self.task = task
        self.overdue_for = 0


class Calls:
    """Claimed work, from its claim until it is finished.

    What was claimed waits here, the most urgent first, until there is room. A task makes one call after the other for as long as
    something waits, so that a busy lane makes no task for a call.
    """

    def __init__(
        self,
        desk: Desk[Any],
        *,
        pacer: Pacer,
        health: Health,
        clock: Clock,
        log: Log,
        concurrency: int,
        timeout_s: float,
        on_end: Callable[[], None],
    ) -> None:
        self.finished: list[Finished[Any]] = []
        self.concurrency = concurrency
        self._ahead = concurrency if desk.may_wait and pacer.unlimited else 0
        """How many calls may wait here for their turn; at a pace none, for who is most urgent may be another by then."""
        self._desk = desk
        self._pacer = pacer
        self._health = health
        self._clock = clock
        self._log = log
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._running: set[_Call] = set()
        self._waiting: list[deque[list[Work[Any]]]] = [deque() for _ in Urgency]
        self._waits = 0
        self._filling: dict[Group, list[Work[Any]]] = {}
        """Calls that wait for more of their kind before they start."""
        self._awaited: list[asyncio.Future[None]] = []
        """Those who wait for a call to end."""

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many calls wait, for their turn or to be filled."""
        return self._waits + len(self._filling)

    @property
    def open_calls(self) -> dict[Group, Free]:
        """What the calls still take that wait to be filled."""
        found = {group: self._desk.free(call) for group, call in self._filling.items()}
        return {group: free for group, free in found.items() if free is not None}

    def take_finished(self, most: int) -> list[Finished[Any]]:
        """The first so many works that have ended, to be settled."""
        taken, self.finished = self.finished[:most], self.finished[most:]
        return taken

    def put_back(self, finished: Sequence[Finished[Any]]) -> None:
        """They were not settled after all."""
        self.finished[:0] = finished

    def room(self, now: float) -> list[int]:
        """How many more calls may be filled with work that is at least so urgent, by urgency."""
        places = self.concurrency - len(self._running)
        may_start = self._health.allows(now, min(places, self._pacer.free())) if places > 0 else 0
        many = may_start + (self._ahead if self._health.is_sound(now) else 0)
        room = []
        filling = [min(work.delivery.urgency for work in call) for call in self._filling.values()]
        for urgency, waiting in enumerate(self._waiting):  # those that are less urgent give way
            many -= len(waiting) + filling.count(urgency)
            room.append(max(many, 0))
        return room

    def add(self, works: Iterable[Work[Any]], *, more: bool) -> None:
        """Claimed work, to be done in the order of its urgency. Where there is ``more``, a call that has room waits for it."""
        calls: dict[tuple[Group, int], list[Work[Any]]] = {}
        grown = set[Group]()
        for work in works:
            group = group_of(work.delivery)
            grown.add(group)
            if work.call == OPEN_CALL:
                self._filling.setdefault(group, []).append(work)
            else:
                calls.setdefault((group, work.call), []).append(work)
        for (group, _), call in calls.items():
            self._ripe(self._filling.pop(group, None))  # it was full, or this one had not been begun
            self._filling[group] = call
        for group in list(self._filling):
            if not more or group not in grown or self._desk.free(self._filling[group]) is None:
                self._ripe(self._filling.pop(group))

    def _ripe(self, call: list[Work[Any]] | None) -> None:
        if call is not None:
            self._waiting[min(work.delivery.urgency for work in call)].append(call)
            self._waits += 1

    def fill(self, now: float) -> None:
        """Start what may start."""
        while self._waits and self.concurrency > len(self._running) and self._may_start(now):
            call = self._begin(now)
            call.task = asyncio.get_running_loop().create_task(self._go_on(call))

    def withdraw(self, keys: set[int] | None = None) -> None:
        """Take back what waits for its turn, all or that of some keys: it was claimed, and is not called after all."""
        for group in list(self._filling):
            self._ripe(self._filling.pop(group))
        for calls in self._waiting:
            for _ in range(len(calls)):
                call = calls.popleft()
                gone = [work for work in call if keys is None or work.key in keys]
                left = [work for work in call if keys is not None and work.key not in keys]
                self.finished += [_withdrawn(work, self._clock.time()) for work in gone]
                if left:
                    calls.append(left)
                else:
                    self._waits -= 1

    async def ended(self, keys: Collection[int]) -> None:
        """Return once no call is under way for any of these."""
        while any(work.key in keys for call in self._running for work in call.work):
            end = asyncio.get_running_loop().create_future()
            self._awaited.append(end)
            await end

    def sweep(self) -> None:
        """Cancel calls that take too long; give up on those that do not end even then."""
        now = self._clock.monotonic()
        for call in list(self._running):
            if now - call.began_mono <= self._timeout_s:
                continue
            call.overdue_for += 1
            if call.overdue_for <= GRACE_SWEEPS:
                assert call.task is not None
                call.task.cancel()
                continue
            self._log.error("hook_does_not_end", lane=self._desk.lane, delivery=call.work[0].delivery.id)
            self._end(call, self._desk.overdue(call.work))

    async def abandon(self) -> None:
        """Cancel what did not end in time; the next start finds it claimed."""
        tasks = [call.task for call in self._running if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORD_S)

    def _may_start(self, now: float) -> bool:
        return self._pacer.free() > 0 and self._health.allows(now, 1) > 0

    def _begin(self, now: float) -> _Call:
        self._health.started(now)
        self._pacer.reserve()
        self._waits -= 1
        work = next(calls for calls in self._waiting if calls).popleft()
        call = _Call(work, now, self._clock.monotonic(), None)
        self._running.add(call)
        return call

    async def _go_on(self, call: _Call) -> None:
        """Make one call after the other, as long as one waits that may start."""
        task = call.task
        while True:
            turn = self._pacer.begin()
            try:
                answers = await self._desk.do(call.work)
            except asyncio.CancelledError:
                if not call.overdue_for:
                    raise
                answers = self._desk.overdue(call.work)
            finally:
                self._pacer.end(turn)
            for _ in range(call.overdue_for):
                asyncio.current_task().uncancel()  # type: ignore[union-attr]  # it is this one
            if not self._end(call, answers):
                return  # it was given up, and its place given away
            now = self._clock.time()
            if not self._waits or not self._may_start(now):
                return
            call = self._begin(now)
            call.task = task

    def _end(self, call: _Call, answers: Sequence[Answer]) -> bool:
        """Note how a call has ended; False when it was given up before."""
        if call not in self._running:
            return False
        self._running.discard(call)
        self._health.feel([answer.verdict for answer in answers], self._clock.time())
        took_s = self._clock.monotonic() - call.began_mono
        for work, answer in zip(call.work, answers, strict=True):
            self.finished.append(Finished(work=work, answer=answer, began_at=call.began_at, took_s=took_s))
        while self._awaited:
            end = self._awaited.pop()
            if not end.done():
                end.set_result(None)
        self._on_end()
        return True


def _withdrawn(work: Work[Any], now: float) -> Finished[Any]:
    return Finished(work=work, answer=Answer(verdict=Withdrawn()), began_at=now, took_s=0.0)
