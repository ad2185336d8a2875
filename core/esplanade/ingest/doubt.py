"""People whom a vendor no longer lists, too many at once to believe it: not opted out, and not mailed, until a human decides."""

from __future__ import annotations

import math

import msgspec

from esplanade.reasons import Reason
from esplanade.records import Delivery, Entry, Note, Person, inbound_lane
from esplanade.store.port import Unit

GUARD: Reason = "guard"

_encode = msgspec.msgpack.Encoder().encode


def raise_(unit: Unit, person: int, purpose: str, absence: Entry, now: float) -> None:
    """Keep a reported absence for a human to decide on; replayed, it becomes the opt-out that it says."""
    found = unit.person(person)
    if found is None or absence.origin in found.doubted.get(purpose, {}):
        return
    found.doubted.setdefault(purpose, {})[absence.origin] = now
    unit.save_person(found)
    unit.enqueue(
        Delivery(
            id=0,
            lane=inbound_lane(absence.origin),
            kind="fold",
            state="parked",
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


def settle(unit: Unit, person: Person, purpose: str, now: float) -> list[str]:
    """Nobody need decide any more: something newer was said, or the person has opted out. Returns whose doubt it was."""
    vendors = person.doubted.pop(purpose, None)
    if vendors is None:
        return []
    unit.save_person(person)
    for connector in vendors:
        _let_go(unit, person, purpose, connector, now)
    return list(vendors)


def settle_by(unit: Unit, person: Person, purpose: str, connector: str, said_at: float, now: float) -> bool:
    """A vendor lists the person again: true when nobody doubts any more.

    What it said before it no longer listed them settles nothing, nor does the word of another vendor, which may only repeat the
    hub's own.
    """
    vendors = person.doubted.get(purpose, {})
    if said_at <= vendors.get(connector, math.inf):
        return False
    del vendors[connector]
    if not vendors:
        del person.doubted[purpose]
    unit.save_person(person)
    _let_go(unit, person, purpose, connector, now)
    return not vendors


def _let_go(unit: Unit, person: Person, purpose: str, connector: str, now: float) -> None:
    for delivery in unit.parked(inbound_lane(connector), person.id, GUARD):
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
