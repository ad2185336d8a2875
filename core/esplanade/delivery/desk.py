"""What a lane needs of the work that it carries: to claim it, to do it, and to settle what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct, field

from esplanade.model import Exchange
from esplanade.observe.metrics import Ended
from esplanade.records import Delivery, Place
from esplanade.store.port import Unit

from .verdict import Verdict

Job = TypeVar("Job")
"""What a work is about, as its desk knows it."""
Group: TypeAlias = tuple[str, bool]
"""What may share a call: its kind, and whether it is an opt-out."""
OPEN_CALL = 0


class Free(Struct, frozen=True):
    """What a call that is being filled still takes, in works and in bytes."""

    items: int
    size: int


NONE_OPEN: Mapping[Group, Free] = MappingProxyType({})


class Work(Struct, Generic[Job], kw_only=True):
    """One delivery that was claimed. ``key`` is held by one work at a time: the person, or the webhook itself."""

    delivery: Delivery
    key: int
    job: Job
    call: int = 0
    """Works of one visit with the same number go in one call; ``OPEN_CALL``: in the one of their group that is being filled."""
    weight: int = 0
    """How many bytes it adds to its call, where calls have a limit."""


class Answer(Struct, kw_only=True):
    """What follows for one work of a call."""

    verdict: Verdict
    exchange: Exchange | None = None
    """The request that failed, where one did."""
    yields: list[Any] = field(default_factory=list)
    """What a webhook said, for the journal."""


class Finished(Struct, Generic[Job], kw_only=True):
    """A work that ended, how long it took, and what follows."""

    work: Work[Job]
    answer: Answer
    began_at: float
    took_s: float


class Turn(Struct, Generic[Job], frozen=True, kw_only=True):
    """What one visit to the store is to do."""

    finished: Sequence[Finished[Job]] = ()
    taken: Sequence[tuple[int, Place]] = ()
    """The keys that may be served, each with the place for which it was taken."""
    room: Sequence[int]
    """How many calls may be begun for work that is at least so urgent, by urgency."""
    open_calls: Mapping[Group, Free] = NONE_OPEN
    """The calls that an earlier visit began to fill and that wait for more."""
    now: float


class Visit(Struct, Generic[Job], kw_only=True):
    """What one visit to the store brought: work to start, and what others must hear of."""

    work: list[Work[Job]] = field(default_factory=list)
    returned: list[tuple[int, Place]] = field(default_factory=list)
    """Those who were taken and for whom there was no room."""
    journalled: int = 0
    alerts: dict[str, str] = field(default_factory=dict)
    """What a human must hear of, by the key that says which ones are the same."""
    uncalled: dict[tuple[str, Ended], int] = field(default_factory=dict)
    """How much ended without a call, by kind and outcome."""


class Desk(Protocol[Job]):
    """One kind of work: outbound deliveries, or inbound webhooks."""

    lane: str
    at_once: int
    """How many works one call may carry at most."""
    may_wait: bool
    """Whether any work may be claimed before there is room for its call."""

    def key(self, place: Place) -> int:
        """What is served once at a time."""
        ...

    # On the writer.

    def recover(self, unit: Unit, now: float) -> int:
        """Put back what an earlier process had claimed; returns how much."""
        ...

    def visit(
        self,
        unit: Unit,
        turn: Turn[Job],
        *,
        careful: bool,
    ) -> Visit[Job]:
        """Settle what ended and claim what is next for the keys that were taken. One transaction.

        What it raises undoes it; then it is done again, ``careful``, so that only that is set aside which cannot be done.
        """
        ...

    # On the event loop.

    def free(self, call: Sequence[Work[Job]]) -> Free | None:
        """What a call still takes that had better wait for more of its kind; None: it may start as it is."""
        ...

    async def do(self, call: Sequence[Work[Job]]) -> list[Answer]:
        """Make one call; an answer for each of its works. Never raises but for cancellation."""
        ...

    def overdue(self, call: Sequence[Work[Job]]) -> list[Answer]:
        """What follows for a call that was cancelled because it took too long."""
        ...
