"""An erasure as the store keeps it while it is under way, and what it has found."""

from __future__ import annotations

from typing import Any, Literal, get_args

from msgspec import Struct, field

from .words import Words

Stage = Literal["work", "person", "letters", "journal", "answers", "values", "states", "files", "vendors", "done"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""First the person's deliveries, then all that is theirs at once, then what was stored as it came, then the file itself; at last
the vendors are asked, of which the store only knows that it is still to be done."""


class Erasure(Struct, frozen=True, kw_only=True):
    """How far the erasure of one person has come. Once the files are clean it holds no word of theirs."""

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
