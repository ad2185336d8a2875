"""A lane: claims what is due of one desk, has it called, settles it, and lets no sick vendor touch another's lane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal, assert_never

from msgspec import Struct

from esplanade.clock import Clock
from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.observe.metrics import Ended, Metrics
from esplanade.records import Place, Urgency, connector_of
from esplanade.store.port import Store, Unit

from .calls import Calls
from .desk import Desk, Finished, Turn, Visit, Work
from .health import Health
from .pace import Pacer
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict, Wait, Withdrawn
from .window import Page, Window

STORE_RETRY_S = 1.0
LINGER_S = 0.002
"""How long a busy lane waits for more calls to end, so that one visit to the store serves several."""
BATCH_LINGER_S = 0.004
"""How long a lane waits for a batch to fill."""
SMALLEST, LARGEST = 32, 512
"""How many works one visit settles and claims, when the writer has little or much time for them."""
BUDGET_S = 0.008
"""How long a visit should keep the writer at most."""
NO_ROOM = [0] * len(Urgency)

Taken = list[tuple[int, Place]]


class Listeners(Struct, frozen=True, kw_only=True):
    """Who hears of what comes of a lane's work, once it is on disk."""

    on_pause: Callable[[Pause], None]
    on_journalled: Callable[[int], None]
    """How many entries were added to the journal."""
    alert: Callable[[str, str], None]
    """What a human must hear of: what tells alerts of the same thing apart, and the message."""
    metrics: Metrics


class Lane:
    """Scheduling in memory over durable work."""

    def __init__(
        self,
        desk: Desk[Any],
        store: Store,
        *,
        clock: Clock,
        log: Log,
        pacer: Pacer,
        health: Health,
        concurrency: int,
        timeout_s: float,
        listeners: Listeners,
    ) -> None:
        self.name = desk.lane
        self.done = 0
        """How many works were settled since the start."""
        self._connector = connector_of(desk.lane)
        self._desk = desk
        self._store = store
        self._clock = clock
        self._log = log
        self._pacer = pacer
        self._health = health
        self._listeners = listeners
        self._window = Window()
        self._bite = SMALLEST
        self._opted_out: set[int] = set()
        """Who has opted out since the visit began whose claims are on their way."""
        self._rescanned = False
        """Whether anything may have changed since then, so that none of those claims may be called."""
        self._woken = asyncio.Event()
        self._quiet = asyncio.Event()
        self._still = asyncio.Event()
        self._drained = asyncio.Event()
        self._draining = False
        self._calls = Calls(
            desk,
            pacer=pacer,
            health=health,
            clock=clock,
            log=log,
            concurrency=concurrency,
            timeout_s=timeout_s,
            on_end=self._woken.set,
        )

    # What the hub says.

    @property
    def paused(self) -> bool:
        """Whether nothing is called, until somebody resumes it."""
        return self._health.paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._health.paused = paused
        self.wake()  # what is claimed and not yet called is given back

    def resume(self) -> None:
        """Go on, whatever the vendor has asked for."""
        self._health.resume()
        self.wake()

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return self._calls.running

    @property
    def health(self) -> Literal["closed", "open", "half-open"]:
        """The breaker's state now."""
        return self._health.state(self._clock.time())

    def offer(self, places: Sequence[Place]) -> None:
        """Work stands there now."""
        now, key_of = self._clock.time(), self._desk.key
        for place in places:
            self._window.offer(key_of(place), place, now)
        gone = {key_of(place) for place in places if place.urgency == Urgency.OPT_OUT and place.due_at <= now}
        if gone:  # who opts out gets nothing more that is not yet under way
            self._opted_out |= gone
            self._calls.withdraw(gone)
        self.wake()

    def rescan(self) -> None:
        """Anything may have changed: read all that waits anew."""
        self._rescanned = True
        self._window.rescan()
        self._calls.withdraw()  # two may be one by now, and what was claimed for either be another's
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._quiet.clear()
        self._still.clear()
        self._woken.set()

    async def quiet(self) -> None:
        """Return once nothing is under way, and nothing is due or the lane is paused."""
        self.wake()
        await self._quiet.wait()

    async def still(self) -> None:
        """Return once nothing is under way, and nothing will be before time passes: for its due moment, or a vendor's patience."""
        self.wake()
        await self._still.wait()

    async def calls_ended(self, keys: Collection[int]) -> None:
        """Return once no call is under way for any of these."""
        await self._calls.ended(keys)

    async def drain(self) -> None:
        """Start nothing more and return once everything under way is settled."""
        self._draining = True
        self._woken.set()
        await self._drained.wait()

    async def abandon(self) -> None:
        """Cancel what did not end in time; the next start finds it claimed."""
        await self._calls.abandon()

    def sweep(self) -> None:
        """Let no call take longer than it may."""
        self._calls.sweep()

    # The lane's own task.

    async def run(self) -> None:
        """Work until cancelled."""
        recovered = False
        while True:
            await self._linger()
            self._woken.clear()
            try:
                if not recovered:
                    await self._recover()
                    recovered = True
                await self._visit()
            except StoreError as problem:
                self._log.error("lane_store_failed", lane=self.name, error=str(problem))
                await self._clock.sleep(STORE_RETRY_S)
                continue
            except Exception as problem:  # noqa: BLE001 - a lane that ended would keep its work for ever
                self._log.error("lane_failed", lane=self.name, error=type(problem).__name__)
                await self._clock.sleep(STORE_RETRY_S)
                continue
            if self._draining and not (self._calls.running or self._calls.waiting or self._calls.finished):
                self._drained.set()
            if not self._woken.is_set():
                await self._rest()

    async def _recover(self) -> None:
        many = await self._store.run(lambda unit: self._desk.recover(unit, self._clock.time()))
        if many:
            self._log.warning("recovered", lane=self.name, deliveries=many)

    async def _linger(self) -> None:
        """Wait a moment where that makes one visit, or one call, out of several, and keeps nobody waiting."""
        if self._draining or self._window.holds(Urgency.OPT_OUT) or self._window.holds(Urgency.TRIGGER):
            return
        calls = self._calls
        if self._desk.at_once > 1 and 0 < len(self._window) < self._desk.at_once:
            await asyncio.sleep(BATCH_LINGER_S)
        elif calls.waiting * 2 > calls.concurrency and len(calls.finished) * 2 < calls.concurrency:
            await asyncio.sleep(LINGER_S)

    async def _visit(self) -> None:
        """One transaction: settle what ended, claim what there is room for, read more of what waits."""
        now = self._clock.time()
        self._opted_out.clear()
        self._rescanned = False
        if self._draining or not self._health.is_sound(now):
            self._calls.withdraw()
        finished = self._calls.take_finished(self._bite)
        room = NO_ROOM if self._draining else self._calls.room(now)
        open_calls = self._calls.open_calls
        seats = sum(free.items for free in open_calls.values())
        pages = self._window.pages(now) if any(room) or seats else []
        taken = self._window.take(
            [min(many * self._desk.at_once + seats, max(self._bite - len(finished), SMALLEST)) for many in room]
        )
        if not (finished or taken or pages):
            self._begin([], more=False)
            return
        ask = partial(
            self._ask,
            turn=Turn(finished=finished, taken=taken, room=room, open_calls=open_calls, now=now),
            pages=pages,
        )
        try:
            try:
                visit, read = await self._store.run(partial(ask, careful=False), durable=False)
            except StoreError:
                raise
            except Exception as problem:  # noqa: BLE001 - a bug of the hub in one of them must not keep the others
                self._log.error("lane_failed", lane=self.name, error=type(problem).__name__)
                visit, read = await self._store.run(partial(ask, careful=True), durable=False)
        except BaseException:
            self._calls.put_back(finished)
            self._window.give_back(taken, now)
            raise
        for page, places, later in read:
            self._window.loaded(page, [(self._desk.key(place), place) for place in places], later, now)
        if pages:
            self._woken.set()
        self._heed(visit, finished, taken, now)

    def _ask(
        self,
        unit: Unit,
        *,
        turn: Turn[Any],
        pages: list[Page],
        careful: bool,
    ) -> tuple[Visit[Any], list[tuple[Page, list[Place], float | None]]]:
        """On the writer."""
        began = time.monotonic()
        visit = self._desk.visit(unit, turn, careful=careful)
        self._learn(len(turn.finished) + len(turn.taken) - len(visit.returned), time.monotonic() - began)
        read = [
            (
                page,
                unit.places(self.name, page.urgency, page.after, page.until, page.limit),
                unit.next_due_at(self.name, page.urgency, page.until),
            )
            for page in pages
        ]
        return visit, read

    def _learn(self, works: int, took_s: float) -> None:
        """Bite off so much next time as the writer has time for: others wait for it."""
        if took_s > BUDGET_S:
            self._bite = max(int(works * BUDGET_S / took_s), SMALLEST)
        elif works >= self._bite:
            self._bite = min(self._bite * 2, LARGEST)

    def _heed(self, visit: Visit[Any], finished: list[Finished[Any]], taken: Taken, now: float) -> None:
        claimed = {work.key for work in visit.work}
        for one in finished:
            if one.work.key not in claimed:
                self._window.done(one.work.key, now)
        for key, _ in taken:
            if key not in claimed:
                self._window.done(key, now)
        for key, place in visit.returned:
            self._window.offer(key, place, now)
        self.done += len(finished)
        went_on = bool(finished) or len(visit.returned) < len(taken)
        if finished or len(claimed) + len(visit.returned) < len(taken):
            self._woken.set()  # there is room for more
        self._begin(visit.work, more=went_on and self._window.is_due(now))
        self._tell(visit, finished, now)  # last, so that nobody who raises keeps what was claimed from being called

    def _tell(self, visit: Visit[Any], finished: list[Finished[Any]], now: float) -> None:
        if visit.journalled:
            self._listeners.on_journalled(visit.journalled)
        for one in finished:
            self._after(one, now)
        for (kind, outcome), many in visit.uncalled.items():
            self._listeners.metrics.ended(self._connector, kind, outcome, many)
        for about, message in visit.alerts.items():
            self._listeners.alert(about, message)

    def _begin(self, works: Sequence[Work[Any]], *, more: bool) -> None:
        """Start what may start; come again at once where there is more for which there is room."""
        now = self._clock.time()
        self._calls.add(works, more=more and self._health.is_sound(now))  # a probe does not wait to be filled
        gone = {one.key for one in works if one.delivery.urgency > Urgency.OPT_OUT and one.key in self._opted_out}
        if self._rescanned or self._draining:
            gone = {one.key for one in works}
        if gone:
            self._calls.withdraw(gone)  # it was said while the claim was on its way
            self._woken.set()
        self._calls.fill(now)
        if more and (self._calls.open_calls or any(self._calls.room(now))):
            self._woken.set()

    def _after(self, one: Finished[Any], now: float) -> None:
        """The counts, the log and the pause that follow from a verdict once it is on disk."""
        verdict, kind = one.answer.verdict, one.work.delivery.kind
        if isinstance(verdict, Withdrawn):
            return
        self._listeners.metrics.called(self._connector, kind, one.took_s)
        self._listeners.metrics.ended(self._connector, kind, _ended(verdict))
        self._log_verdict(verdict, one.work.delivery.id, one.took_s, now)
        if isinstance(verdict, Pause):
            self.paused = True
            self._listeners.on_pause(verdict)

    def _log_verdict(self, verdict: Verdict, delivery: int, took_s: float, now: float) -> None:
        """One line of the log for each call."""
        match verdict:
            case Done(outcome=outcome):
                self._log.debug("delivered", lane=self.name, delivery=delivery, took_s=took_s, outcome=outcome.status)
            case RetryAt(at=at, error=error):
                self._log.debug(
                    "retried", lane=self.name, delivery=delivery, took_s=took_s, error=error, retry_in_s=at - now
                )
            case Wait(error=error):
                self._log.debug("waits", lane=self.name, delivery=delivery, took_s=took_s, error=error)
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                self._log.warning(
                    "not_delivered", lane=self.name, delivery=delivery, took_s=took_s, reason=reason, error=error
                )
            case Pause() | Withdrawn():
                pass
            case _:
                assert_never(verdict)

    async def _rest(self) -> None:
        """Wait for a wake, for the next due moment, for the breaker, or for the vendor's patience."""
        if self._calls.finished:
            return
        now = self._clock.time()
        idle = self.paused or self._draining or not self._window.is_due(now)
        until = self._alarm(now)
        if not self._calls.running:
            if idle and not self._calls.waiting:
                self._quiet.set()
                self._still.set()
            elif until is not None and until > now:
                self._still.set()
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
        if self.paused or self._draining or self._calls.running >= self._calls.concurrency:
            return None  # a call that ends wakes the lane
        at = now if self._window.is_due(now) or self._calls.waiting else self._window.next_due_at()
        if at is None:
            return None
        at = max(at, self._health.changes_at())
        if at <= now and not any(self._calls.room(now)):  # the pace leaves no room, or a probe is under way
            wait_s = self._pacer.next_free_s()
            return None if wait_s is None else now + wait_s
        return at


def _ended(verdict: Verdict) -> Ended:
    """A verdict as metrics tell it."""
    match verdict:
        case Done(outcome=outcome):
            return "unchanged" if outcome.status == "unchanged" else "delivered"
        case RetryAt() | Wait() | Pause() | Withdrawn():
            return "retried"
        case Park():
            return "parked"
        case Reject():
            return "rejected"
        case _:
            assert_never(verdict)
