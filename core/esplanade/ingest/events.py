"""Folding what sources send: profiles, consents, triggers, and what happened at a vendor."""

from __future__ import annotations

from esplanade.model import Value
from esplanade.records import Clocked, Entry, Person
from esplanade.store.port import Unit
from esplanade.sync.consent import effective
from esplanade.sync.plan import TriggerBody

from . import base
from .changes import Cause, Changes, cause_of, skip
from .consents import Said, record_said
from .fanout import fan_out, fan_out_trigger
from .resolve import Resolved, resolve
from .shapes import ConsentIn, HappeningIn, JournalledProfile, TriggerIn
from .world import World


def fold_profile(unit: Unit, world: World, entry: Entry, body: JournalledProfile, lanes: set[str]) -> None:
    """Merge a profile into its person, newest value first, and tell whom it concerns."""
    cause = cause_of(entry, entry.at)
    found = resolve(unit, email=body.email, cdp_id=body.id, previous_email=body.previous_email, now=entry.at)
    if _conflicted(unit, cause, found):
        return
    person, said_at = found.person, _said_at(body.at, entry)
    if found.other is not None:
        detail = "the earlier address belongs to somebody else; nobody was merged"
        for one in (person, found.other):
            skip(unit, cause, one, "", "identity-conflict", detail)
    changes = Changes(created=found.created, renamed=found.renamed)
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
    _finish(unit, world, person, changes, cause, lanes)


def fold_consent(unit: Unit, world: World, entry: Entry, body: ConsentIn, lanes: set[str]) -> None:
    """Record what somebody said about one purpose, and tell whom it concerns."""
    cause = cause_of(entry, entry.at)
    found = resolve(unit, email=body.email, cdp_id=body.id, now=entry.at)
    if _conflicted(unit, cause, found):
        return
    changes = Changes(created=found.created, renamed=found.renamed)
    said = Said(
        purpose=body.purpose,
        state=body.state,
        method=body.method,
        evidence=body.evidence,
        origin="event",
        source=entry.origin,
        at=_said_at(body.at, entry),
    )
    _record(unit, world, found.person, said, changes, cause)
    base.source_reports_consent(unit, world, found.person, body.purpose, body.state, cause)
    _finish(unit, world, found.person, changes, cause, lanes)


def fold_trigger(unit: Unit, world: World, entry: Entry, body: TriggerIn, lanes: set[str]) -> None:
    """Queue a trigger for the connectors that map it."""
    cause = cause_of(entry, entry.at)
    found = resolve(unit, email=body.email, cdp_id=body.id, now=entry.at)
    if _conflicted(unit, cause, found):
        return
    waiting = TriggerBody(
        trigger_id=body.trigger_id or body.event_id or entry.id,
        at=_said_at(body.at, entry),
        language=body.language,
        expires_at=float(body.expires_at) if isinstance(body.expires_at, int | float) else None,
        data=body.data,
        products=body.products,
    )
    _finish(unit, world, found.person, Changes(created=found.created, renamed=found.renamed), cause, lanes)
    fan_out_trigger(unit, world, found.person, body.trigger, waiting, cause, lanes)


def fold_happening(unit: Unit, world: World, entry: Entry, body: HappeningIn, lanes: set[str]) -> None:
    """Queue what happened at a vendor for the other connectors that map it."""
    cause = cause_of(entry, entry.at)
    if "trigger" not in world.connector(entry.origin).sends:
        return
    found = resolve(unit, email=body.email, now=entry.at)
    waiting = TriggerBody(trigger_id=body.trigger_id, at=min(body.at or entry.at, entry.at), data=body.data)
    _finish(unit, world, found.person, Changes(created=found.created), cause, lanes)
    fan_out_trigger(unit, world, found.person, body.name, waiting, cause, lanes)


def _record(unit: Unit, world: World, person: Person, said: Said, changes: Changes, cause: Cause) -> None:
    match record_said(unit, world, person, said, cause.now):
        case "changed":
            changes.consents.add(said.purpose)
        case "unchanged":
            skip(unit, cause, person, "", "unchanged", said.purpose)
            if effective(person.consents.get(said.purpose)) not in {None, said.state}:
                changes.consents.add(said.purpose)  # whoever said otherwise is told what stands
        case "not-evidenced":
            skip(unit, cause, person, "", "not-evidenced", f"{said.purpose} stays denied")
            changes.consents.add(said.purpose)  # whoever said so is told that it stays denied


def _finish(unit: Unit, world: World, person: Person, changes: Changes, cause: Cause, lanes: set[str]) -> None:
    unit.save_person(person)
    unit.note(cause.note(person, "accepted", detail=cause.entry.origin))
    fan_out(unit, world, person, changes, cause, lanes)


def _conflicted(unit: Unit, cause: Cause, found: Resolved) -> bool:
    if found.conflict is None:
        return False
    unit.note(cause.note(found.person, "failed", reason="identity-conflict", detail=found.conflict))
    return True


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
