"""A lane: keeps as many works of one desk going as the connector allows, and lets no sick vendor touch another's lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from esplanade.clock import Clock
from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.store.port import Store

from .breaker import Breaker
from .desk import Desk, Finished, Round, Work
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict

STORE_RETRY_S = 1.0
LAST_WORD_S = 0.5
"""How long calls that are given up when the hub stops may take to notice."""
LINGER_S = 0.002
"""How long a busy lane waits for more calls to end, so that one visit to the store serves several."""
GRACE_SWEEPS = 2
"""How many sweeps a cancelled call may take to end before its place is given away."""


class _Call:
    __slots__ = ("began_at", "began_mono", "overdue_for", "task", "work")

    def __init__(self, work: Work, task: asyncio.Task[None], began_at: float, began_mono: float) -> None:
        self.work = work
        self.task = task
        self.began_at = began_at
        self.began_mono = began_mono
        self.overdue_for = 0


class Lane:
    """Scheduling in memory over durable work: claims what is due, starts it, settles it."""

    def __init__(
        self,
        desk: Desk,
        store: Store,
        *,
        clock: Clock,
        log: Log,
        concurrency: int,
        timeout_s: float,
        breaker: Breaker,
        on_pause: Callable[[Pause], None],
        on_journalled: Callable[[int], None],
        alert: Callable[[str, str], None],
    ) -> None:
        self.name = desk.lane
        self.breaker = breaker
        self.paused = False
        self.done = 0
        """How many works were settled since the start."""
        self._desk = desk
        self._store = store
        self._clock = clock
        self._log = log
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._on_pause = on_pause
        self._on_journalled = on_journalled
        self._alert = alert
        self._calls: dict[int, _Call] = {}
        self._finished: list[Finished] = []
        self._woken = asyncio.Event()
        self._quiet = asyncio.Event()
        self._drained = asyncio.Event()
        self._due = True
        self._next_due_at: float | None = None
        self._draining = False
        self._ailing = False

    def wake(self) -> None:
        """There may be work that is due."""
        self._due = True
        self._quiet.clear()
        self._woken.set()

    async def quiet(self) -> None:
        """Return once nothing is under way, and nothing is due or the lane is paused."""
        self.wake()
        await self._quiet.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        recovered = await self._store.run(lambda unit: self._desk.recover(unit, self._clock.time()))
        if recovered:
            self._log.warning("recovered", lane=self.name, deliveries=recovered)
        while True:
            if self._is_busy():
                await asyncio.sleep(LINGER_S)
            self._woken.clear()
            try:
                await self._visit()
            except StoreError as problem:
                self._log.error("lane_store_failed", lane=self.name, error=str(problem))
                await self._clock.sleep(STORE_RETRY_S)
                continue
            except Exception as problem:  # noqa: BLE001 - a lane that ended would keep its work for ever
                self._log.error("lane_failed", lane=self.name, error=type(problem).__name__)
                await self._clock.sleep(STORE_RETRY_S)
                continue
            if self._draining and not self._calls and not self._finished:
                self._drained.set()
            if not self._woken.is_set():
                await self._rest()

    def _is_busy(self) -> bool:
        """Whether more than half of the places are taken and only few calls have ended since the last visit."""
        return len(self._calls) * 2 > self._concurrency and len(self._finished) * 4 < self._concurrency

    async def drain(self) -> None:
        """Start nothing more and return once everything under way is settled."""
        self._draining = True
        self._woken.set()
        await self._drained.wait()

    async def abandon(self) -> None:
        """Cancel what did not end in time; the next start finds it claimed."""
        tasks = [call.task for call in self._calls.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORD_S)

    def sweep(self) -> None:
        """Cancel calls that take too long; give up on those that do not end even then."""
        now = self._clock.monotonic()
        for key, call in list(self._calls.items()):
            if now - call.began_mono <= self._timeout_s:
                continue
            call.overdue_for += 1
            if call.overdue_for <= GRACE_SWEEPS:
                call.task.cancel()
                continue
            self._log.error("hook_does_not_end", lane=self.name, delivery=call.work.delivery)
            self._calls.pop(key)
            self._end(call, self._desk.overdue(call.work), [])

    async def _visit(self) -> None:
        """One transaction: settle what ended, claim what there is room for."""
        now = self._clock.time()
        finished, self._finished = self._finished, []
        want = self._room(now) if self._due or self._is_time(now) else 0
        if not finished and not want:
            return
        if want:
            self._due = False  # before the visit: a wake during it is not lost
        busy = set(self._calls)
        try:
            round_ = await self._store.run(
                lambda unit: self._desk.round(unit, finished, want, busy, now), durable=False
            )
        except Exception:
            self._finished[:0] = finished
            self._due = True
            raise
        if round_.barrier:
            await self._reach_the_disk()
        for one in finished:
            self._after(one)
        for key, message in round_.alerts.items():
            self._alert(key, message)
        self.done += len(finished)
        if round_.journalled:
            self._on_journalled(round_.journalled)
        self._start(round_, want)

    async def _reach_the_disk(self) -> None:
        while True:
            try:
                return await self._store.run(lambda _: None)
            except StoreError as problem:
                self._log.error("lane_store_failed", lane=self.name, error=str(problem))
                await self._clock.sleep(STORE_RETRY_S)

    def _start(self, round_: Round, want: int) -> None:
        if want:
            self._due = self._due or round_.more
            blocked = round_.next_due_at is not None and round_.next_due_at <= self._clock.time()
            # what is due and was not claimed waits for a call under way, whose end looks again
            self._next_due_at = None if blocked else round_.next_due_at
        elif round_.next_due_at is not None:
            self._next_due_at = min(round_.next_due_at, self._next_due_at or round_.next_due_at)
        loop = asyncio.get_running_loop()
        for work in round_.work:
            self.breaker.started(self._clock.time())
            call = _Call(work, loop.create_task(self._do(work)), self._clock.time(), self._clock.monotonic())
            self._calls[work.key] = call

    async def _do(self, work: Work) -> None:
        verdict: Verdict
        try:
            verdict, yields = await self._desk.do(work)
        except asyncio.CancelledError:
            call = self._calls.get(work.key)
            if call is None or not call.overdue_for:
                raise
            verdict, yields = self._desk.overdue(work), []
        call = self._calls.get(work.key)
        if call is not None and call.work is work:
            self._calls.pop(work.key)
            self._end(call, verdict, yields)

    def _end(self, call: _Call, verdict: Verdict, yields: list[object]) -> None:
        self._feel(verdict)
        took_s = self._clock.monotonic() - call.began_mono
        self._finished.append(
            Finished(work=call.work, verdict=verdict, began_at=call.began_at, took_s=took_s, yields=yields)
        )
        self._woken.set()

    def _feel(self, verdict: Verdict) -> None:
        """What a verdict says about the vendor counts at once, before anything more is claimed."""
        match verdict:
            case RetryAt(told_to_wait=True):
                self.breaker.succeeded()
            case RetryAt(error=error) | Park(error=error) | Reject(reason="gave-up", error=error):
                self.breaker.failed(self._clock.time())
                self._ails(error)
            case Done() | Reject():
                self.breaker.succeeded()
                self._recovered()
            case Pause():
                self.breaker.succeeded()
                self.paused = True

    def _after(self, one: Finished) -> None:
        """The log, and the pause, that follow from a verdict once it is on disk."""
        now = self._clock.time()
        self._due = True
        fields = {"lane": self.name, "delivery": one.work.delivery, "took_ms": round(one.took_s * 1000, 1)}
        match one.verdict:
            case Done(outcome=outcome):
                self._log.debug("delivered", outcome=outcome.status, **fields)
            case RetryAt(at=at, error=error):
                self._next_due_at = min(at, self._next_due_at or at)
                self._log.debug("retried", error=error, retry_in_s=round(at - now, 3), **fields)
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                self._log.warning("not_delivered", reason=reason, error=error, **fields)
            case Pause():
                self.paused = True
                self._on_pause(one.verdict)

    def _room(self, now: float) -> int:
        if self.paused or self._draining:
            return 0
        return self.breaker.allows(now, max(self._concurrency - len(self._calls), 0))

    def _is_time(self, now: float) -> bool:
        return self._next_due_at is not None and self._next_due_at <= now

    async def _rest(self) -> None:
        """Wait for a wake, for the next due moment, or for the breaker."""
        if self._finished:
            return
        idle = not self._due and not self._is_time(self._clock.time())
        if not self._calls and (idle or self.paused or self._draining):
            self._quiet.set()
        until = self._alarm()
        if until is None:
            await self._woken.wait()
            return
        alarm = asyncio.get_running_loop().create_task(self._clock.sleep(max(until - self._clock.time(), 0.0)))
        woken = asyncio.get_running_loop().create_task(self._woken.wait())
        try:
            await asyncio.wait({alarm, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            woken.cancel()

    def _alarm(self) -> float | None:
        """The moment at which there may be something to do without a wake."""
        if self.paused or self._draining:
            return None
        now = self._clock.time()
        reopens = self.breaker.reopens_at()
        if reopens is not None and reopens > now:
            return reopens if self._due or self._next_due_at is not None else None
        if len(self._calls) >= self._concurrency or self._room(now) == 0:
            return None  # a call that ends wakes the lane
        return now if self._due else self._next_due_at

    def _ails(self, error: str) -> None:
        if not self._ailing and self.breaker.state(self._clock.time()) != "closed":
            self._ailing = True
            self._log.warning("vendor_unavailable", lane=self.name, error=error)

    def _recovered(self) -> None:
        if self._ailing:
            self._ailing = False
            self._log.info("vendor_available", lane=self.name)

    @property
    def health(self) -> Literal["closed", "open", "half-open"]:
        """The breaker's state now."""
        return self.breaker.state(self._clock.time())
