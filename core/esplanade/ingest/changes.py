"""What one event did to one person, gathered while it is folded, and the notes that say so."""

from __future__ import annotations

from msgspec import Struct, field

from esplanade.reasons import Reason
from esplanade.records import Delivery, Entry, Note, Person, Urgency
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


class Chain(Struct, frozen=True, kw_only=True):
    """The chain of events that a piece of work belongs to."""

    root: str
    hops: int
    event_id: str
    now: float
    parked: bool = False
    """Too many hops: what follows is kept, not sent."""


class Cause(Struct, frozen=True, kw_only=True):
    """Where the work that an event makes comes from."""

    entry: Entry
    root: str
    hops: int
    now: float
    parked: bool = False
    """Too many hops: what follows is kept, not sent."""

    @property
    def chain(self) -> Chain:
        """The chain that this event belongs to."""
        return Chain(root=self.root, hops=self.hops, event_id=self.entry.id, now=self.now, parked=self.parked)

    def note(
        self, person: Person, what: str, *, connector: str = "", reason: Reason | None = None, detail: str = ""
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


def work(
    lane: str, kind: str, person: Person, subject: str, urgency: int, chain: Chain, *, payload: bytes = b""
) -> Delivery:
    """A delivery that is due now, or parked where its chain has had too many hops."""
    parked = chain.parked and urgency != Urgency.OPT_OUT  # an opt-out ends a loop, it does not feed one
    return Delivery(
        id=0,
        lane=lane,
        kind=kind,  # type: ignore[arg-type]  # every caller passes a literal
        person=person.id,
        subject=subject,
        urgency=urgency,
        state="parked" if parked else "pending",
        reason="loop" if parked else None,
        due_at=chain.now,
        first_at=chain.now,
        root=chain.root,
        hops=chain.hops,
        event_id=chain.event_id,
        payload=payload,
    )


def cause_of(entry: Entry, now: float) -> Cause:
    """The cause that a source's event is: the first of its chain."""
    return Cause(entry=entry, root=entry.root or entry.id, hops=entry.hops, now=now)


def skip(unit: Unit, cause: Cause, person: Person, connector: str, reason: Reason, detail: str = "") -> None:
    """Record why nothing is sent."""
    unit.note(cause.note(person, "not-sent", connector=connector, reason=reason, detail=detail))


def skip_nobody(unit: Unit, entry: Entry, reason: Reason, *, connector: str = "", detail: str = "") -> None:
    """The same for an event about nobody who is known here."""
    unit.note(
        Note(
            person=0,
            at=entry.at,
            what="not-sent",
            connector=connector,
            kind=entry.kind,
            event_id=entry.id,
            reason=reason,
            detail=detail,
        )
    )
