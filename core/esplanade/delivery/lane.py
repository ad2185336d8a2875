"""A lane: keeps as many calls of one desk going as the connector allows, and lets no sick vendor touch another's lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Literal, assert_never

from esplanade.clock import Clock
from esplanade.config.model import Retry
from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.observe.metrics import Ended, Metrics
from esplanade.records import Place, connector_of
from esplanade.store.port import Store, Unit

from . import backoff
from .breaker import Breaker
from .desk import Answer, Desk, Finished, Visit, Work
from .pace import Pacer
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict, Wait
from .window import Page, Window

STORE_RETRY_S = 1.0
LAST_WORD_S = 0.5
"""How long calls that are given up when the hub stops may take to notice."""
LINGER_S = 0.002
"""How long a busy lane waits for more calls to end, so that one visit to the store serves several."""
BATCH_LINGER_S = 0.004
"""How long a lane waits for a batch to fill."""
GRACE_SWEEPS = 2
"""How many sweeps a cancelled call may take to end before its place is given away."""
URGENT = 0

Taken = list[tuple[int, Place]]


class _Call:
    __slots__ = ("began_at", "began_mono", "overdue_for", "task", "work")

    def __init__(self, work: list[Work], began_at: float, began_mono: float) -> None:
        self.work = work
        self.began_at = began_at
        self.began_mono = began_mono
        self.overdue_for = 0
        self.task: asyncio.Task[None] | None = None


class Lane:
    """Scheduling in memory over durable work: claims what is due, starts it, settles it."""

    def __init__(
        self,
        desk: Desk,
        store: Store,
        *,
        clock: Clock,
        log: Log,
        pacer: Pacer,
        concurrency: int,
        timeout_s: float,
        breaker: Breaker,
        retry: Retry,
        rng: Random,
        on_pause: Callable[[Pause], None],
        on_journalled: Callable[[int], None],
        alert: Callable[[str, str], None],
        metrics: Metrics,
    ) -> None:
        self.name = desk.lane
        self._connector = connector_of(desk.lane)
        self.breaker = breaker
        self.paused = False
        self.done = 0
        """How many works were settled since the start."""
        self._desk = desk
        self._store = store
        self._clock = clock
        self._log = log
        self._pacer = pacer
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._retry = retry
        self._rng = rng
        self._on_pause = on_pause
        self._on_journalled = on_journalled
        self._alert = alert
        self._metrics = metrics
        self._window = Window()
        self._calls: set[_Call] = set()
        self._finished: list[Finished] = []
        self._woken = asyncio.Event()
        self._quiet = asyncio.Event()
        self._drained = asyncio.Event()
        self._waits = 0
        """How often in a row the vendor asked for patience."""
        self._waits_until = 0.0
        self._draining = False
        self._ailing = False

    # What the hub says.

    def offer(self, places: Sequence[Place] | None) -> None:
        """Work stands there now; None: anything may have changed."""
        if places is None:
            self._window.rescan()
        else:
            now = self._clock.time()
            for place in places:
                self._window.offer(self._desk.key(place), place, now)
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._quiet.clear()
        self._woken.set()

    async def quiet(self) -> None:
        """Return once nothing is under way, and nothing is due or the lane is paused."""
        self.wake()
        await self._quiet.wait()

    async def drain(self) -> None:
        """Start nothing more and return once everything under way is settled."""
        self._draining = True
        self._woken.set()
        await self._drained.wait()

    async def abandon(self) -> None:
        """Cancel what did not end in time; the next start finds it claimed."""
        tasks = [call.task for call in self._calls if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORD_S)

    def sweep(self) -> None:
        """Cancel calls that take too long; give up on those that do not end even then."""
        now = self._clock.monotonic()
        for call in list(self._calls):
            if now - call.began_mono <= self._timeout_s:
                continue
            call.overdue_for += 1
            if call.overdue_for <= GRACE_SWEEPS:
                assert call.task is not None
                call.task.cancel()
                continue
            self._log.error("hook_does_not_end", lane=self.name, delivery=call.work[0].delivery.id)
            self._end(call, self._desk.overdue(call.work))

    @property
    def health(self) -> Literal["closed", "open", "half-open"]:
        """The breaker's state now."""
        return self.breaker.state(self._clock.time())

    # The lane's own task.

    async def run(self) -> None:
        """Work until cancelled."""
        recovered = await self._store.run(lambda unit: self._desk.recover(unit, self._clock.time()))
        if recovered:
            self._log.warning("recovered", lane=self.name, deliveries=recovered)
        while True:
            await self._linger()
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

    async def _linger(self) -> None:
        """Wait a moment where that makes one visit, or one call, out of several."""
        if self._window.holds(URGENT) or self._draining:
            return
        calls, ended = len(self._calls), len(self._finished)
        if self._desk.at_once > 1:
            if calls < self._concurrency and 0 < len(self._window) < self._desk.at_once:
                await asyncio.sleep(BATCH_LINGER_S)
        elif calls * 2 > self._concurrency and ended * 4 < self._concurrency:
            await asyncio.sleep(LINGER_S)

    async def _visit(self) -> None:
        """One transaction: settle what ended, claim what there is room for, read more of what waits."""
        now = self._clock.time()
        finished, self._finished = self._finished, []
        room = self._room(now)
        pages = self._window.pages(now) if room else []
        taken = self._window.take(room * self._desk.at_once)
        if not (finished or taken or pages):
            return
        durable = any(place.urgency <= 1 for _, place in taken)  # a trigger's claim must reach the disk
        ask = partial(self._ask, finished=finished, taken=taken, room=room, pages=pages, now=now)
        try:
            try:
                visit, read = await self._store.run(partial(ask, careful=False), durable=durable)
            except StoreError:
                raise
            except Exception as problem:  # noqa: BLE001 - a bug of the hub in one of them must not keep the others
                self._log.error("lane_failed", lane=self.name, error=type(problem).__name__)
                visit, read = await self._store.run(partial(ask, careful=True), durable=durable)
        except BaseException:
            self._finished[:0] = finished
            self._window.give_back(taken, now)
            raise
        if visit.barrier and not durable:
            await self._reach_the_disk()
        for page, places, later in read:
            self._window.loaded(page, [(self._desk.key(place), place) for place in places], later, now)
        if pages:
            self._woken.set()
        self._heed(visit, finished, taken, now)

    def _ask(
        self,
        unit: Unit,
        *,
        finished: list[Finished],
        taken: Taken,
        room: int,
        pages: list[Page],
        now: float,
        careful: bool,
    ) -> tuple[Visit, list[tuple[Page, list[Place], float | None]]]:
        """On the writer."""
        visit = self._desk.visit(unit, finished, taken, room, now, careful=careful)
        read = [
            (
                page,
                unit.places(self.name, page.urgency, page.after, page.until, page.limit),
                unit.next_due_at(self.name, page.urgency, page.until),
            )
            for page in pages
        ]
        return visit, read

    def _heed(self, visit: Visit, finished: list[Finished], taken: Taken, now: float) -> None:
        claimed = {work.key for work in visit.work}
        for one in finished:
            self._after(one, now)
            if one.work.key not in claimed:
                self._window.done(one.work.key, now)
        for key, _ in taken:
            if key not in claimed:
                self._window.done(key, now)
        for key, place in visit.returned:
            self._window.offer(key, place, now)
        self.done += len(finished)
        for (kind, outcome), many in visit.uncalled.items():
            self._metrics.ended(self._connector, kind, outcome, many)
        for about, message in visit.alerts.items():
            self._alert(about, message)
        if visit.journalled:
            self._on_journalled(visit.journalled)
        if finished or len(claimed) < len(taken):
            self._woken.set()  # there is room for more
        calls: dict[int, list[Work]] = {}
        for work in visit.work:
            calls.setdefault(work.call, []).append(work)
        for call in calls.values():
            self._start(call)

    async def _reach_the_disk(self) -> None:
        while True:
            try:
                return await self._store.run(lambda _: None)
            except StoreError as problem:
                self._log.error("lane_store_failed", lane=self.name, error=str(problem))
                await self._clock.sleep(STORE_RETRY_S)

    # Calls.

    def _start(self, work: list[Work]) -> None:
        self.breaker.started(self._clock.time())
        self._pacer.reserve()
        call = _Call(work, self._clock.time(), self._clock.monotonic())
        self._calls.add(call)
        call.task = asyncio.get_running_loop().create_task(self._do(call))

    async def _do(self, call: _Call) -> None:
        turn = self._pacer.begin()
        try:
            answers = await self._desk.do(call.work)
        except asyncio.CancelledError:
            if not call.overdue_for:
                raise
            answers = self._desk.overdue(call.work)
        finally:
            self._pacer.end(turn)
        self._end(call, answers)

    def _end(self, call: _Call, answers: Sequence[Answer]) -> None:
        if call not in self._calls:  # it was given up before
            return
        self._calls.discard(call)
        self._feel([answer.verdict for answer in answers])
        took_s = self._clock.monotonic() - call.began_mono
        for work, answer in zip(call.work, answers, strict=True):
            self._finished.append(Finished(work=work, answer=answer, began_at=call.began_at, took_s=took_s))
        self._woken.set()

    def _feel(self, verdicts: Sequence[Verdict]) -> None:
        """What a call says about the vendor counts at once, before anything more is claimed. A call counts once."""
        now = self._clock.time()
        ailment = None
        for verdict in verdicts:
            match verdict:
                case RetryAt(error=error) | Park(error=error) | Reject(reason="gave-up", error=error):
                    ailment = ailment or error
                case Done() | Reject():
                    self._waits = 0
                    self.breaker.succeeded()
                    self._recovered()
                    return
                case Wait(at=at):
                    self.breaker.succeeded()
                    self._wait(at, now)
                    return
                case Pause():
                    self.breaker.succeeded()
                    self.paused = True
                    return
                case _:
                    assert_never(verdict)
        if ailment is not None:
            self.breaker.failed(now)
            self._ails(ailment, now)

    def _wait(self, until: float | None, now: float) -> None:
        """Start nothing before the time that the vendor names; where it names none, wait longer each time in a row."""
        if until is None:
            if now < self._waits_until:
                return  # calls that were under way together were refused together
            self._waits += 1
            until = now + max(backoff.delay(self._waits, self._retry, self._rng), float(self._retry.base) / 2)
        self._waits_until = max(self._waits_until, until)

    def _after(self, one: Finished, now: float) -> None:
        """The log, and the pause, that follow from a verdict once it is on disk."""
        delivery, took_ms = one.work.delivery.id, round(one.took_s * 1000, 1)
        self._metrics.called(self._connector, one.work.delivery.kind, one.took_s)
        self._metrics.ended(self._connector, one.work.delivery.kind, _ended(one.answer.verdict))
        match one.answer.verdict:
            case Done(outcome=outcome):
                self._log.debug("delivered", lane=self.name, delivery=delivery, took_ms=took_ms, outcome=outcome.status)
            case RetryAt(at=at, error=error):
                wait = round(at - now, 3)
                self._log.debug(
                    "retried", lane=self.name, delivery=delivery, took_ms=took_ms, error=error, retry_in_s=wait
                )
            case Wait(error=error):
                self._log.debug("waits", lane=self.name, delivery=delivery, took_ms=took_ms, error=error)
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                self._log.warning(
                    "not_delivered", lane=self.name, delivery=delivery, took_ms=took_ms, reason=reason, error=error
                )
            case Pause() as pause:
                self.paused = True
                self._on_pause(pause)

    # When to do what.

    def _room(self, now: float) -> int:
        """How many calls may start now."""
        if self.paused or self._draining or now < self._waits_until:
            return 0
        free = min(max(self._concurrency - len(self._calls), 0), self._pacer.free())
        return self.breaker.allows(now, free)

    async def _rest(self) -> None:
        """Wait for a wake, for the next due moment, for the breaker, or for the vendor's patience."""
        if self._finished:
            return
        now = self._clock.time()
        if not self._calls and (self.paused or self._draining or not self._window.is_due(now)):
            self._quiet.set()
        until = self._alarm(now)
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

    def _alarm(self, now: float) -> float | None:
        """The moment at which there may be something to do without a wake."""
        if self.paused or self._draining or len(self._calls) >= self._concurrency:
            return None  # a call that ends wakes the lane
        next_due_at = self._window.next_due_at()
        at = now if self._window.is_due(now) else next_due_at
        if at is None:
            return None
        at = max(at, self._waits_until, self.breaker.reopens_at() or 0.0)
        if at <= now and self._room(now) == 0:  # the pace leaves no room, or a probe is under way
            wait_s = self._pacer.next_free_s()
            return None if wait_s is None else now + wait_s
        return at

    def _ails(self, error: str, now: float) -> None:
        if not self._ailing and self.breaker.state(now) != "closed":
            self._ailing = True
            self._log.warning("vendor_unavailable", lane=self.name, error=error)

    def _recovered(self) -> None:
        if self._ailing:
            self._ailing = False
            self._log.info("vendor_available", lane=self.name)


def _ended(verdict: Verdict) -> Ended:
    """A verdict as metrics tell it."""
    match verdict:
        case Done(outcome=outcome):
            return "unchanged" if outcome.status == "unchanged" else "delivered"
        case RetryAt() | Wait() | Pause():
            return "retried"
        case Park():
            return "parked"
        case Reject():
            return "rejected"
        case _:
            assert_never(verdict)
