"""People whom a vendor no longer lists, too many at once to believe it: not opted out, and not mailed, until a human decides."""

from __future__ import annotations

import msgspec

from esplanade.reasons import Reason
from esplanade.records import FOLD_LANE, Delivery, Entry, Note, Person
from esplanade.store.port import Unit

GUARD: Reason = "guard"

_encode = msgspec.msgpack.Encoder().encode


def raise_(unit: Unit, person: int, purpose: str, absence: Entry, now: float) -> None:
    """Keep a reported absence for a human to decide on; replayed, it becomes the opt-out that it says."""
    found = unit.person(person)
    if found is None or purpose in found.doubted:
        return
    found.doubted[purpose] = now
    unit.save_person(found)
    unit.park(
        Delivery(
            id=0,
            lane=FOLD_LANE,
            kind="fold",
            person=person,
            subject=purpose,
            reason=GUARD,
            due_at=now,
            first_at=now,
            event_id=absence.id,
            payload=_encode(absence),
        )
    )
    unit.note(_note(person, absence.origin, purpose, absence.id, now))


def settle(unit: Unit, person: Person, purpose: str, now: float) -> None:
    """The doubt is gone: the vendor lists the person again, or something newer was said."""
    if person.doubted.pop(purpose, None) is None:
        return
    unit.save_person(person)
    for delivery in unit.parked(FOLD_LANE, person.id, GUARD):
        if delivery.subject == purpose:
            delivery.state, delivery.outcome, delivery.due_at = "done", "unchanged", now
            unit.save_delivery(delivery)


def _note(person: int, connector: str, purpose: str, event_id: str, now: float) -> Note:
    return Note(
        person=person,
        at=now,
        what="reported",
        connector=connector,
        kind="report",
        event_id=event_id,
        reason=GUARD,
        detail=f"no longer listed for {purpose}; not mailed for it until that is settled",
    )
