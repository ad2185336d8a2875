"""Folding what sources send: profiles, consents, triggers, and what happened at a vendor."""

from __future__ import annotations

from esplanade.model import Value
from esplanade.records import Clocked, Entry, Person
from esplanade.store.port import Unit
from esplanade.sync.consent import effective
from esplanade.sync.identity import normalise
from esplanade.sync.plan import TriggerBody

from . import base
from .chains import cause_of_happening, went_round
from .changes import Cause, Changes, cause_of, skip, skip_nobody
from .consents import Said, record_said
from .fanout import fan_out, fan_out_trigger
from .resolve import Identifiers, resolve
from .shapes import ConsentIn, HappeningIn, JournalledProfile, TriggerIn
from .world import World


def fold_profile(unit: Unit, world: World, entry: Entry, body: JournalledProfile) -> None:
    """Merge a profile into its person, newest value first, and tell whom it concerns."""
    cause, said_at = cause_of(entry, entry.at), _said_at(body.at, entry)
    named = Identifiers.of(body.email, body.id, body.previous_email)
    person, changes = resolve(unit, world, cause, named, said_at)
    late = [name for name in body.fields if _said_later(person.fields, name, said_at)]
    late += [name for name in body.audiences if _said_later(person.audiences, name, said_at)]
    changes.fields.update(name for name, value in body.fields.items() if _newer(person.fields, name, value, said_at))
    changes.audiences.update(
        name for name, member in body.audiences.items() if _newer(person.audiences, name, member, said_at)
    )
    if late:
        skip(unit, cause, person, "", "stale", f"said earlier than what is held: {', '.join(late)}")
    elif not changes and not body.consents:
        skip(unit, cause, person, "", "unchanged")
    for purpose, state in body.consents.items():
        said = Said(
            purpose=purpose,
            state=state,
            method=None,
            evidence={},
            origin="import" if body.imported else "profile",
            source=entry.origin,
            at=said_at,
        )
        _record(unit, world, person, said, changes, cause)
    base.source_reports_profile(unit, world, person, body, cause)
    _finish(unit, world, person, changes, cause)


def fold_consent(unit: Unit, world: World, entry: Entry, body: ConsentIn) -> None:
    """Record what somebody said about one purpose, and tell whom it concerns."""
    cause, said_at = cause_of(entry, entry.at), _said_at(body.at, entry)
    returns = body.state == "granted" and bool(body.evidence)
    person, changes = resolve(unit, world, cause, Identifiers.of(body.email, body.id), said_at, returns=returns)
    said = Said(
        purpose=body.purpose,
        state=body.state,
        method=body.method,
        evidence=body.evidence,
        origin="event",
        source=entry.origin,
        at=said_at,
    )
    _record(unit, world, person, said, changes, cause)
    base.source_reports_consent(unit, world, person, body.purpose, body.state, cause)
    _finish(unit, world, person, changes, cause)


def fold_trigger(unit: Unit, world: World, entry: Entry, body: TriggerIn) -> None:
    """Queue a trigger for the connectors that map it."""
    cause, said_at = cause_of(entry, entry.at), _said_at(body.at, entry)
    person, changes = resolve(unit, world, cause, Identifiers.of(body.email, body.id), said_at)
    waiting = TriggerBody(
        trigger_id=body.trigger_id or body.event_id or entry.id,
        at=said_at,
        origin=entry.origin,
        language=body.language,
        expires_at=float(body.expires_at) if isinstance(body.expires_at, int | float) else None,
        data=body.data,
        products=body.products,
    )
    _finish(unit, world, person, changes, cause)
    fan_out_trigger(unit, world, person, body.trigger, waiting, cause)


def fold_happening(unit: Unit, world: World, entry: Entry, body: HappeningIn, alerts: dict[str, str]) -> None:
    """Queue what happened at a vendor for the other connectors that map it.

    ``alerts`` takes what a human must hear of once this is committed.
    """
    name, known = entry.origin, unit.person_by_email(normalise(body.email).key)
    cause = cause_of_happening(world, entry, unit.remote(known.id, name) if known is not None else None)
    if "trigger" not in world.connector(name).sends:
        why = f"`sends` leaves out trigger: {body.name}"
        if known is None:
            skip_nobody(unit, entry, "not-mapped", connector=entry.origin, detail=why)
        else:
            skip(unit, cause, known, entry.origin, "not-mapped", why)
        return
    at = min(body.at or entry.at, entry.at)
    person, changes = resolve(unit, world, cause, Identifiers.of(body.email), at)
    waiting = TriggerBody(trigger_id=body.trigger_id, at=at, origin=entry.origin, data=body.data)
    if cause.parked:
        skip(unit, cause, person, name, "loop", f"{cause.hops} hops from {cause.root}")
        alerts[f"loop:{name}"] = went_round(cause, person, name)
    _finish(unit, world, person, changes, cause)
    fan_out_trigger(unit, world, person, body.name, waiting, cause)


def opt_out(unit: Unit, world: World, person: Person, purpose: str, said_at: float, cause: Cause) -> None:
    """Record one opt-out of an event that is otherwise kept for a human."""
    changes = Changes()
    said = Said(
        purpose=purpose,
        state="denied",
        method=None,
        evidence={},
        origin="event",
        source=cause.entry.origin,
        at=said_at,
    )
    _record(unit, world, person, said, changes, cause)
    unit.save_person(person)
    fan_out(unit, world, person, changes, cause)


def _record(unit: Unit, world: World, person: Person, said: Said, changes: Changes, cause: Cause) -> None:
    match record_said(unit, world, person, said, cause.now):
        case "changed":
            changes.consents.add(said.purpose)
        case "unchanged":
            skip(unit, cause, person, "", "unchanged", said.purpose)
            if effective(person.consents.get(said.purpose)) not in {None, said.state}:
                changes.consents.add(said.purpose)  # whoever said otherwise is told what stands
        case "not-evidenced" | "stale" as reason:
            skip(unit, cause, person, "", reason, f"{said.purpose} stays {person.consents[said.purpose].state}")
            changes.consents.add(said.purpose)  # whoever said so is told what stands


def _finish(unit: Unit, world: World, person: Person, changes: Changes, cause: Cause) -> None:
    unit.save_person(person)
    unit.note(cause.note(person, "accepted", detail=cause.entry.origin))
    fan_out(unit, world, person, changes, cause)


def _said_later(held: dict[str, Clocked], name: str, said_at: float) -> bool:
    current = held.get(name)
    return current is not None and said_at < current.at


def _newer(held: dict[str, Clocked], name: str, value: Value, said_at: float) -> bool:
    """Take a value over unless the one held was said later; True when that changes it."""
    if _said_later(held, name, said_at):
        return False
    current = held.get(name)
    changed = current is None or type(current.value) is not type(value) or current.value != value
    held[name] = Clocked(value, said_at)
    return changed


def _said_at(at: object, entry: Entry) -> float:
    return float(at) if isinstance(at, int | float) else entry.at
