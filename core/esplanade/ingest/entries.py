"""One journal entry folded: to its kind's own rules, or kept for a human where that cannot be done."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from esplanade.errors import EsplanadeError
from esplanade.records import FOLD_LANE, Delivery, Entry, inbound_lane
from esplanade.store.port import Unit
from esplanade.sync.identity import normalise

from .changes import Effects, cause_of, skip, skip_nobody
from .events import fold_consent, fold_happening, fold_profile, fold_trigger, opt_out
from .reports import doubt_repeat, fold_report
from .resolve import IdentityConflict, Suppressed
from .shapes import ConsentIn, HappeningIn, JournalledProfile, ReportIn, TriggerIn
from .world import World

_profile = msgspec.msgpack.Decoder(JournalledProfile).decode
_consent = msgspec.msgpack.Decoder(ConsentIn).decode
_trigger = msgspec.msgpack.Decoder(TriggerIn).decode
_report = msgspec.msgpack.Decoder(ReportIn).decode
_happening = msgspec.msgpack.Decoder(HappeningIn).decode
_encode = msgspec.msgpack.Encoder().encode


class _Addressed(Struct):
    email: str | None = None
    id: str | None = None


_addressed = msgspec.msgpack.Decoder(_Addressed).decode


def fold_or_park(unit: Unit, world: World, entry: Entry, effects: Effects) -> str | None:
    """Fold one entry; one that cannot be folded is kept for a human, its opt-outs apart. Returns why, without personal data."""
    own = Effects()
    problem = unit.attempt(lambda: fold_entry(unit, world, entry, own))
    if problem is None:
        effects.lanes |= own.lanes
        effects.alerts |= own.alerts
        return None
    if isinstance(problem, Suppressed):
        skip_nobody(unit, entry, "suppressed")
        return None
    conflict = isinstance(problem, IdentityConflict)
    unit.enqueue(
        Delivery(
            id=0,
            lane=inbound_lane(entry.origin) if entry.kind in {"report", "happening"} else FOLD_LANE,
            kind="fold",
            state="parked",
            person=problem.people[0].id if isinstance(problem, IdentityConflict) else None,
            reason="identity-conflict" if conflict else "fold-failed",
            due_at=entry.at,
            first_at=entry.at,
            event_id=entry.id,
            payload=_encode(entry),
        )
    )
    if isinstance(problem, IdentityConflict):
        _note_conflict(unit, world, entry, problem, effects)
    return str(problem) if isinstance(problem, EsplanadeError) else type(problem).__name__


def _note_conflict(unit: Unit, world: World, entry: Entry, problem: IdentityConflict, effects: Effects) -> None:
    """Say so to everybody whom it may be about; an opt-out in it counts for each of them, for nobody may be mailed in doubt."""
    cause = cause_of(entry, entry.at)
    denials = _denials(world, entry)
    for person in problem.people:
        unit.note(cause.note(person, "failed", reason="identity-conflict", detail=str(problem)))
        for purpose, said_at in denials.items():
            opt_out(unit, world, person, purpose, said_at, cause, effects)


def _denials(world: World, entry: Entry) -> dict[str, float]:
    """The opt-outs in an event, with when they were said."""
    match entry.kind:
        case "profile":
            profile = _profile(entry.body)
            return {name: _said(profile.at, entry) for name, state in profile.consents.items() if state == "denied"}
        case "consent":
            said = _consent(entry.body)
            return {said.purpose: _said(said.at, entry)} if said.state == "denied" else {}
        case "report":
            report = _report(entry.body)
            connector = world.connectors.get(entry.origin)
            mapped = connector.consents if connector is not None and "consent" in connector.sends else {}
            gone = {name for name, held in report.consents.items() if held == "denied" and name in mapped}
            return dict.fromkeys(gone, _said(report.at, entry))
        case _:
            return {}


def _said(at: object, entry: Entry) -> float:
    return min(float(at), entry.at) if isinstance(at, int | float) else entry.at


def fold_entry(unit: Unit, world: World, entry: Entry, effects: Effects) -> None:
    """Fold one entry. Raises IdentityConflict, EsplanadeError for one that cannot be folded."""
    if entry.dedupe and not unit.first_time(entry.id, entry.at):
        _note_repeat(unit, entry)
        if entry.kind == "report":
            doubt_repeat(unit, world, entry, _report(entry.body), effects)
        return
    match entry.kind:
        case "profile":
            fold_profile(unit, world, entry, _profile(entry.body), effects)
        case "consent":
            fold_consent(unit, world, entry, _consent(entry.body), effects)
        case "trigger":
            fold_trigger(unit, world, entry, _trigger(entry.body), effects)
        case "report":
            fold_report(unit, world, entry, _report(entry.body), effects)
        case "happening":
            fold_happening(unit, world, entry, _happening(entry.body), effects)
        case "webhook":
            unit.enqueue(webhook_delivery(entry))
            effects.lanes.add(inbound_lane(entry.origin))


def webhook_delivery(entry: Entry) -> Delivery:
    """A vendor's request as work for its connector's inbound lane."""
    return Delivery(
        id=0,
        lane=inbound_lane(entry.origin),
        kind="webhook",
        due_at=entry.at,
        first_at=entry.at,
        root=entry.id,
        event_id=entry.id,
        payload=entry.body,
    )


def _note_repeat(unit: Unit, entry: Entry) -> None:
    said = _addressed(entry.body)
    person = unit.person_by_email(normalise(said.email).key) if said.email else None
    if person is None and said.id:
        person = unit.person_by_cdp_id(said.id)
    if person is None:
        skip_nobody(unit, entry, "duplicate")
        return
    skip(unit, cause_of(entry, entry.at), person, "", "duplicate")
