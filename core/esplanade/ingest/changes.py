"""What one event did to one person, gathered while it is folded, and the notes that say so."""

from __future__ import annotations

from msgspec import Struct, field

from esplanade.records import Entry, Note, Person
from esplanade.store.port import Unit


class Changes(Struct, kw_only=True):
    """What differs about a person after an event."""

    fields: set[str] = field(default_factory=set)
    audiences: set[str] = field(default_factory=set)
    consents: set[str] = field(default_factory=set)
    created: bool = False
    renamed: bool = False

    def __bool__(self) -> bool:
        return bool(self.fields or self.audiences or self.consents or self.created or self.renamed)


class Cause(Struct, frozen=True, kw_only=True):
    """Where the work that an event makes comes from."""

    entry: Entry
    root: str
    hops: int
    now: float
    parked: bool = False
    """Too many hops: what follows is kept, not sent."""

    def note(
        self, person: Person, what: str, *, connector: str = "", reason: str | None = None, detail: str = ""
    ) -> Note:
        """A row for the person's timeline about this event."""
        return Note(
            person=person.id,
            at=self.now,
            what=what,  # type: ignore[arg-type]  # every caller passes a literal
            connector=connector,
            kind=self.entry.kind,
            event_id=self.entry.id,
            reason=reason,
            detail=detail,
        )


def cause_of(entry: Entry, now: float) -> Cause:
    """The cause that a source's event is: the first of its chain."""
    return Cause(entry=entry, root=entry.root or entry.id, hops=entry.hops, now=now)


def skip(unit: Unit, cause: Cause, person: Person, connector: str, reason: str, detail: str = "") -> None:
    """Record why nothing is sent."""
    unit.note(cause.note(person, "not-sent", connector=connector, reason=reason, detail=detail))
