"""Journal entries folded: each by its kind's own rules, or kept for a human where that cannot be done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias, assert_never

import msgspec
from msgspec import Struct

from esplanade.errors import EsplanadeError
from esplanade.records import FOLD_LANE, Delivery, Entry, inbound_lane
from esplanade.store.port import Unit
from esplanade.sync.identity import address_key, normalise

from .changes import cause_of, skip, skip_nobody
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

Body: TypeAlias = JournalledProfile | ConsentIn | TriggerIn | ReportIn | HappeningIn | None
"""What an entry says; None: a webhook, which is read later."""
Alerts = dict[str, str]
"""What a human must hear of once it is committed, by the key that says which ones are the same."""


class _Addressed(Struct):
    email: str | None = None
    id: str | None = None


_addressed = msgspec.msgpack.Decoder(_Addressed).decode


def fold_together(
    unit: Unit, world: World, entries: Sequence[Entry], alerts: Alerts, *, until: float
) -> tuple[int, list[str]]:
    """Fold some entries, as many as there is time for, and at least one; how many, and why those failed that were kept.

    They are folded as one, which is much cheaper. Where one of them fails, all are undone and folded again, that one alone.
    ``until`` is on the monotonic clock.
    """
    bodies = [_try(entry) for entry in entries]
    _expect(unit, world, entries, bodies)
    own, done = Alerts(), 0

    def fold() -> None:
        nonlocal done
        for entry, body in zip(entries, bodies, strict=True):
            if done and time.monotonic() > until:
                return
            fold_entry(unit, world, entry, own, body)
            done += 1

    if unit.attempt(fold) is None:
        alerts |= own
        return done, []
    problems = list[str]()
    if done:
        _, problems = fold_together(unit, world, entries[:done], alerts, until=float("inf"))
    why = fold_or_park(unit, world, entries[done], alerts)
    if why is not None:
        problems.append(f"{entries[done].kind} {entries[done].id} from {entries[done].origin}: {why}")
    return done + 1, problems


def _try(entry: Entry) -> Body:
    try:
        return read(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # it fails once more when it is folded


def _expect(unit: Unit, world: World, entries: Sequence[Entry], bodies: Sequence[Body]) -> None:
    """Let everybody be read at once who is spoken of."""
    emails, cdp_ids, contacts = set[str](), set[str](), set[tuple[str, str]]()
    for entry, body in zip(entries, bodies, strict=True):
        match body:
            case JournalledProfile() | ConsentIn() | TriggerIn():
                emails.add(body.email or "")
                if body.id is not None:
                    cdp_ids.add(body.id)
                if isinstance(body, JournalledProfile) and body.previous_email:
                    emails.add(body.previous_email)
            case ReportIn():
                emails.update((body.email or "", body.previous_email or ""))
                if body.remote_id is not None:
                    contacts.add((entry.origin, body.remote_id))
            case HappeningIn():
                emails.add(body.email)
            case None:
                pass
            case _:
                assert_never(body)
    unit.expect(
        email_keys={key for email in emails if email and (key := address_key(email))},
        cdp_ids=cdp_ids,
        contacts=contacts,
        event_ids=[entry.id for entry in entries if entry.dedupe],
        lanes=list(world.connectors),
    )


def fold_or_park(unit: Unit, world: World, entry: Entry, alerts: Alerts) -> str | None:
    """Fold one entry; one that cannot be folded is kept for a human, its opt-outs apart. Returns why, without personal data."""
    own = Alerts()
    problem = unit.attempt(lambda: fold_entry(unit, world, entry, own))
    if problem is None:
        alerts |= own
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
        _note_conflict(unit, world, entry, problem)
    return str(problem) if isinstance(problem, EsplanadeError) else type(problem).__name__


def _note_conflict(unit: Unit, world: World, entry: Entry, problem: IdentityConflict) -> None:
    """Say so to everybody whom it may be about; an opt-out in it counts for each of them, for nobody may be mailed in doubt."""
    cause = cause_of(entry, entry.at)
    denials = _denials(world, entry)
    for person in problem.people:
        unit.note(cause.note(person, "failed", reason="identity-conflict", detail=str(problem)))
        for purpose, said_at in denials.items():
            opt_out(unit, world, person, purpose, said_at, cause)


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
            denials = dict.fromkeys(gone, _said(report.at, entry))
            if report.word is not None:
                left = {name for name, state in report.word.consents.items() if state == "denied" and name in mapped}
                denials |= dict.fromkeys(left, _said(report.word.at, entry))
            return denials
        case _:
            return {}


def _said(at: object, entry: Entry) -> float:
    return min(float(at), entry.at) if isinstance(at, int | float) else entry.at


def read(entry: Entry) -> Body:
    """What an entry says. Raises msgspec.MsgspecError for what no version of this program has written."""
    match entry.kind:
        case "profile":
            return _profile(entry.body)
        case "consent":
            return _consent(entry.body)
        case "trigger":
            return _trigger(entry.body)
        case "report":
            return _report(entry.body)
        case "happening":
            return _happening(entry.body)
        case "webhook":
            return None


def fold_entry(unit: Unit, world: World, entry: Entry, alerts: Alerts, body: Body = None) -> None:
    """Fold one entry; ``body`` is what it says, where that was read. Raises IdentityConflict, EsplanadeError."""
    body = read(entry) if body is None else body
    if entry.dedupe and not unit.first_time(entry.id, entry.at):
        _note_repeat(unit, entry)
        if isinstance(body, ReportIn):
            doubt_repeat(unit, world, entry, body)
        return
    match body:
        case JournalledProfile():
            fold_profile(unit, world, entry, body)
        case ConsentIn():
            fold_consent(unit, world, entry, body)
        case TriggerIn():
            fold_trigger(unit, world, entry, body)
        case ReportIn():
            fold_report(unit, world, entry, body, alerts)
        case HappeningIn():
            fold_happening(unit, world, entry, body, alerts)
        case None:
            unit.enqueue(webhook_delivery(entry))
        case _:
            assert_never(body)


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
