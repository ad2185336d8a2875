"""The alarm clock: APScheduler rings, the store decides. Each tick is claimed once, and what was missed is caught up."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from msgspec import Struct

from .clock import Clock, as_datetime
from .config.cron import named_weekdays
from .context import Log
from .errors import EsplanadeError, PluginError
from .store.port import Store
from .values import Duration

_BACKWARDS = 400
"""How many moments of a cron expression are walked through at most to find the last missed one."""


class Timing:
    """When a job is due: at the moments of a cron expression in a time zone, or every so often since the epoch."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._every: float | None = None
        self._cron: Any = None
        if re.fullmatch(r"\d+(\.\d+)?(ms|s|m|h|d)", expression):
            self._every = float(Duration.parse(expression))
        else:
            self._cron = CronTrigger.from_crontab(named_weekdays(expression), timezone=ZoneInfo(timezone))

    def next_after(self, moment: float) -> float:
        """The first slot after a moment, in epoch seconds."""
        if self._every is not None:
            return (moment // self._every + 1) * self._every
        found = self._cron.get_next_fire_time(None, as_datetime(moment) + timedelta(microseconds=1))
        return float(found.timestamp()) if found is not None else float("inf")

    def last_before(self, since: float, now: float) -> float | None:
        """The latest slot after ``since`` and not after ``now``; None when there was none."""
        if self._every is not None:
            slot = now // self._every * self._every
            return slot if slot > since else None
        slot = self.next_after(since)
        if slot > now:
            return None
        for _ in range(_BACKWARDS):
            following = self.next_after(slot)
            if following > now:
                break
            slot = following
        return slot


class Job(Struct, kw_only=True):
    """Something a connector does from time to time."""

    connector: str
    name: str
    timing: Any
    action: Callable[[], Awaitable[object]]


class Schedule:
    """Rings for each job at its next slot, claims the slot, and runs the job."""

    def __init__(self, store: Store, clock: Clock, log: Log) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._jobs: dict[tuple[str, str], Job] = {}
        self._next: dict[tuple[str, str], float] = {}

    async def start(self, jobs: list[Job]) -> None:
        """Catch up what was missed while nobody was there, then ring on time."""
        self._scheduler.start()
        await self.replace(jobs)

    async def replace(self, jobs: list[Job]) -> None:
        """Forget the jobs there were, and take these."""
        self._scheduler.remove_all_jobs()
        self._jobs = {(job.connector, job.name): job for job in jobs}
        self._next.clear()
        for job in jobs:
            await self._begin(job)

    def stop(self) -> None:
        """Ring no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def next_slot(self, connector: str, name: str) -> float | None:
        """When a job rings next."""
        return self._next.get((connector, name))

    async def tick(self, job: Job, slot: float) -> bool:
        """Claim one slot and run the job; False when somebody else has claimed it."""
        claimed = await self._store.run(lambda unit: unit.claim_tick(job.connector, job.name, slot))
        if not claimed:
            return False
        try:
            await job.action()
        except EsplanadeError as problem:
            own = isinstance(problem, PluginError) and problem.__cause__  # a plugin's own words may quote anybody
            error = type(own).__name__ if own else str(problem)
            self._log.error("job_failed", connector=job.connector, job=job.name, error=error)
        except Exception as problem:  # noqa: BLE001 - a plugin's bug must not stop the clock
            self._log.error("job_failed", connector=job.connector, job=job.name, error=type(problem).__name__)
        return True

    async def _begin(self, job: Job) -> None:
        now = self._clock.time()
        last = await self._store.read(lambda reader: reader.last_tick(job.connector, job.name))
        if last is None:  # never seen before: from now on
            await self._store.run(lambda unit: unit.claim_tick(job.connector, job.name, now))
            last = now
        missed = job.timing.last_before(last, now)
        self._ring_at(job, missed if missed is not None else job.timing.next_after(now))

    def _ring_at(self, job: Job, slot: float) -> None:
        if slot == float("inf"):  # a date that never comes, such as the 30th of February
            self._next.pop((job.connector, job.name), None)
            return
        self._next[job.connector, job.name] = slot
        wait = max(slot - self._clock.time(), 0.0)
        self._scheduler.add_job(
            self._ring,
            "date",
            run_date=datetime.now(UTC) + timedelta(seconds=wait),
            args=[job, slot],
            id=f"{job.connector}/{job.name}",
            replace_existing=True,
            misfire_grace_time=None,
        )

    async def _ring(self, job: Job, slot: float) -> None:
        try:
            await self.tick(job, slot)
        finally:
            current = self._jobs.get((job.connector, job.name))  # a reload may have changed it, or taken it away
            if current is not None:
                self._ring_at(current, current.timing.next_after(max(self._clock.time(), slot)))
