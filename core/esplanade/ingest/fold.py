"""The fold: from journal entries to people and to work in the lanes, behind the answer, in the order of acceptance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field

from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.records import Entry
from esplanade.store.port import Store, Unit

from .accept import Intake
from .changes import Effects
from .entries import fold_or_park
from .world import World

SLICE = 200
BUDGET_S = 0.004
"""How long one step may keep the writer from the next commit."""
AHEAD = 4
"""How many steps wait at the writer while the fold is behind, so that it never idles until a busy event loop asks again."""
RETRY_S = 1.0


class Step(Struct, kw_only=True):
    """What one step of the fold did."""

    folded: int = 0
    effects: Effects = field(default_factory=Effects)
    failed: list[str] = field(default_factory=list)
    more: bool = False
    """Whether it stopped before the end of the journal."""


class Fold:
    """Runs behind the journal until it is folded to its end, then waits to be woken."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        world: World,
        log: Log,
        *,
        on_work: Callable[[set[str]], None],
        alert: Callable[[str, str], None],
    ) -> None:
        self.world = world
        self.done = 0
        """How many entries were folded since the start."""
        self._store = store
        self._intake = intake
        self._log = log
        self._on_work = on_work
        self._alert = alert
        self._woken = asyncio.Event()
        self._caught_up = asyncio.Event()

    def wake(self) -> None:
        """There is something new in the journal."""
        self._caught_up.clear()
        self._woken.set()

    async def caught_up(self) -> None:
        """Return once everything accepted before this call is folded."""
        self.wake()
        await self._caught_up.wait()

    async def run(self) -> None:
        """Fold until cancelled. A store that fails is asked again; nothing is skipped."""
        ahead = 1
        while True:
            self._woken.clear()
            # undone with its cursor, a step is done again
            asked = [self._store.run(self._step, durable=False) for _ in range(ahead)]
            told = await asyncio.gather(*asked, return_exceptions=True)
            steps = [self._heed(step) for step in told if isinstance(step, Step)]
            problems = [problem for problem in told if isinstance(problem, BaseException)]
            for problem in problems:
                if not isinstance(problem, StoreError):
                    raise problem
                self._log.error("fold_failed", error=str(problem))
            ahead = AHEAD if steps and all(step.more for step in steps) else 1
            if problems:
                await asyncio.sleep(RETRY_S)
                self._woken.set()
            elif not any(step.folded for step in steps) and not self._woken.is_set():
                self._caught_up.set()
                await self._woken.wait()

    def _heed(self, step: Step) -> Step:
        for why in step.failed:
            self._log.error("fold_parked", error=why)
        if step.folded:
            self.done += step.folded
            self._intake.folded(step.folded)
            self._on_work(step.effects.lanes)
        for key, message in step.effects.alerts.items():
            self._alert(key, message)
        return step

    def _step(self, unit: Unit) -> Step:
        began = time.monotonic()
        step = Step()
        position = None
        for following, entry in unit.next_entries(SLICE):
            self._fold(unit, entry, step)
            position = following
            step.folded += 1
            if time.monotonic() - began > BUDGET_S:
                step.more = True
                break
        if position is not None:
            unit.move_cursor(position, step.folded)
        step.more = step.more or step.folded == SLICE
        return step

    def _fold(self, unit: Unit, entry: Entry, step: Step) -> None:
        problem = fold_or_park(unit, self.world, entry, step.effects)
        if problem is not None:
            step.failed.append(f"{entry.kind} {entry.id} from {entry.origin}: {problem}")
