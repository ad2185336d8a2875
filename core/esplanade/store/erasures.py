"""An erasure as the store keeps it while it is under way, and how it is carried through slice by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from .words import Words

if TYPE_CHECKING:
    from .port import Reader, Store, Unit

Stage = Literal["work", "person", "letters", "journal", "answers", "values", "states", "files", "done"]
STAGES: tuple[Stage, ...] = ("work", "person", "letters", "journal", "answers", "values", "states", "files", "done")
"""First the person's deliveries, then all that is theirs at once, then what was stored as it came, at last the file itself."""


class Erasure(Struct, frozen=True, kw_only=True):
    """How far the erasure of one person has come. Once it is done it holds no word of theirs."""

    person: int
    at: float
    """When the person was first erased."""
    stage: Stage = "work"
    after: list[Any] = field(default_factory=list)
    """Where the next look begins within the stage; empty: at its start."""
    words: Words = Words()
    known_at: tuple[str, ...] = ()
    """The connectors whose vendors may know the person."""
    last_delivery: int = 0
    last_segment: int = 0
    """What came later is no trace: the person, or somebody, has spoken anew."""
    kept: int = 0
    """Webhooks that wait to be read and speak of other people too."""


class Cut(Struct, frozen=True, kw_only=True):
    """A journal segment without the entries at the places ``gone``."""

    segment: int
    entries: int
    """How many it had."""
    gone: list[int]
    payload: bytes


class Traces(Struct, kw_only=True):
    """What one look has found, and where the next one begins; ``after`` None: the stage holds nothing more."""

    after: list[Any] | None = None
    letters: list[int] = field(default_factory=list)
    """Deliveries of nobody: raw webhooks, and events that could not be folded."""
    segments: list[Cut] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    cursors: list[tuple[str, str]] = field(default_factory=list)
    kept: int = 0


class Suppression(Struct, frozen=True, kw_only=True):
    """Somebody was erased who was known by this."""

    person: int
    at: float


async def carry_through(store: Store, erasure: Erasure, *, dropped: Callable[[int], None] = lambda _: None) -> Erasure:
    """Erase to the end, in slices that leave the writer to others; what was done before a kill is not done again.

    ``dropped`` hears of journal entries that will not be folded any more.
    """
    while erasure.stage != "files":
        traces = await store.read(_look(erasure))
        erasure, unfolded = await store.run(_remove(erasure, traces), durable=False)
        dropped(unfolded)
        await asyncio.sleep(0)
    await store.scrub()
    return await store.run(lambda unit: unit.end_erasure(erasure))


def _look(erasure: Erasure) -> Callable[[Reader], Traces]:
    return lambda reader: reader.traces(erasure)


def _remove(erasure: Erasure, traces: Traces) -> Callable[[Unit], tuple[Erasure, int]]:
    return lambda unit: unit.erase(erasure, traces)
