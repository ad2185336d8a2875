"""What a lane needs of the work that it carries: to claim it, to do it, and to settle what came of it."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from esplanade.store.port import Unit

from .verdict import Verdict


class Work(Struct, kw_only=True):
    """One delivery that was claimed. ``key`` is held by one work at a time: the person, or the webhook itself."""

    delivery: int
    rev: int
    key: int
    job: Any


class Finished(Struct, kw_only=True):
    """A work that ended, how long it took, and what follows."""

    work: Work
    verdict: Verdict
    began_at: float
    took_s: float
    yields: list[Any] = field(default_factory=list)
    """What a webhook said, for the journal."""


class Round(Struct, kw_only=True):
    """What one visit to the store brought: work to start, whether more is due now, and when the next will be."""

    work: list[Work]
    more: bool
    next_due_at: float | None
    journalled: int = 0
    barrier: bool = False
    """The claims must be on disk before the first byte leaves: a power cut must not let this work be done twice."""
    alerts: dict[str, str] = field(default_factory=dict)
    """What a human must hear of, by the key that says which ones are the same."""


class Desk(Protocol):
    """One kind of work: outbound deliveries, or inbound webhooks."""

    lane: str

    def recover(self, unit: Unit, now: float) -> int:
        """Put back what an earlier process had claimed; returns how much."""
        ...

    def round(self, unit: Unit, finished: list[Finished], want: int, busy: set[int], now: float) -> Round:
        """Settle what ended and claim up to ``want`` more, for keys that are not busy. One transaction."""
        ...

    async def do(self, work: Work) -> tuple[Verdict, list[Any]]:
        """Do one work. Never raises but for cancellation."""
        ...

    def overdue(self, work: Work) -> Verdict:
        """What follows for a work that was cancelled because it took too long."""
        ...
