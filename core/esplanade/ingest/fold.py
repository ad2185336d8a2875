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


class Step(Struct, kw_only=True):
    """What one step of the fold did."""

    folded: int = 0
    alerts: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Fold:
    """Follows the journal on the writer, step by step."""

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
        self._moved = asyncio.Event()
        """Set, and then another one, whenever what is left to fold has changed: several may wait, each for the next time."""

    def start(self) -> None:
        """Fold what there is, and from now on whatever is accepted. A store that fails is asked again; nothing is skipped."""
        self._store.follow(self._step, self._heed)

    async def caught_up(self) -> None:
        """Return once everything accepted before this call is folded."""
        end = await self._store.run(lambda unit: unit.journal_end(), durable=False)
        while True:
            moved = self._moved
            if not await self._store.run(lambda unit: unit.is_behind(end), durable=False):
                return
            await moved.wait()

    def dropped(self, many: int) -> None:
        """So many entries will not be folded any more, because whom they are about is erased."""
        self._intake.folded(many)
        self._move()

    # On the writer.

    def _step(self, unit: Unit) -> Step | None:
        """One step; None where there was nothing to fold."""
        began = time.monotonic()
        step, entries = Step(), list(unit.next_entries(self._slice))
        while step.folded < len(entries) and (not step.folded or time.monotonic() < began + BUDGET_S):
            part = [entry for _, entry in entries[step.folded :]]
            done, problems = fold_together(unit, self.world, part, step.alerts, until=began + BUDGET_S)
            step.folded += done
            step.failed += problems
        if not step.folded:
            return None
        unit.move_cursor(entries[step.folded - 1][0])
        self._learn(step.folded, len(entries), time.monotonic() - began)
        return step

    def _learn(self, folded: int, taken: int, took_s: float) -> None:
        """Take as many entries next time as a step has time for: what is read and not folded was read for nothing."""
        if folded < taken:
            self._slice = max(folded, SMALLEST)
        elif taken == self._slice and took_s < BUDGET_S / 2:
            self._slice = min(self._slice * 2, LARGEST)

    # On the event loop.

    def _heed(self, step: Step | None, problem: BaseException | None) -> None:
        self._move()  # first: whoever waits looks for themselves
        if problem is not None:
            error = str(problem) if isinstance(problem, StoreError) else type(problem).__name__
            self._log.error("fold_failed", error=error)
            return
        assert step is not None
        for why in step.failed:
            self._log.error("fold_parked", error=why)
        self.done += step.folded
        self._intake.folded(step.folded)
        for key, message in step.alerts.items():
            self._alert(key, message)

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
