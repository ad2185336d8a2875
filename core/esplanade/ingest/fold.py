"""The fold: from journal entries to people and to work in the lanes, behind the answer, in the order of acceptance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field

from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.store.port import Store, Unit

from .accept import Intake
from .entries import fold_together
from .world import World

SMALLEST, LARGEST = 16, 512
"""How many entries a step takes up."""
BUDGET_S = 0.004
"""How long one step may keep the writer from the next commit."""
AHEAD = 4
"""How many steps wait at the writer while the fold is behind, so that it never idles until a busy event loop asks again."""
RETRY_S = 1.0


class Step(Struct, kw_only=True):
    """What one step of the fold did."""

    folded: int = 0
    alerts: dict[str, str] = field(default_factory=dict)
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
        alert: Callable[[str, str], None],
    ) -> None:
        self.world = world
        self.done = 0
        """How many entries were folded since the start."""
        self._store = store
        self._intake = intake
        self._log = log
        self._alert = alert
        self._slice = SMALLEST
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
        for key, message in step.alerts.items():
            self._alert(key, message)
        return step

    def _step(self, unit: Unit) -> Step:
        began = time.monotonic()
        step, entries = Step(), list(unit.next_entries(self._slice))
        while step.folded < len(entries) and (not step.folded or time.monotonic() < began + BUDGET_S):
            part = [entry for _, entry in entries[step.folded :]]
            done, problems = fold_together(unit, self.world, part, step.alerts, until=began + BUDGET_S)
            step.folded += done
            step.failed += problems
        if step.folded:
            unit.move_cursor(entries[step.folded - 1][0])
        step.more = step.folded < len(entries) or len(entries) == self._slice
        self._learn(step.folded, len(entries), time.monotonic() - began)
        return step

    def _learn(self, folded: int, taken: int, took_s: float) -> None:
        """Take as many entries next time as a step has time for: what is read and not folded was read for nothing."""
        if folded < taken:
            self._slice = max(folded, SMALLEST)
        elif taken == self._slice and took_s < BUDGET_S / 2:
            self._slice = min(self._slice * 2, LARGEST)
