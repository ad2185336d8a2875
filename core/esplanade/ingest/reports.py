"""Folding what a connector reports: remote change = reported - base; equal is an echo, which stops here."""

from __future__ import annotations

import msgspec

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.records import Entry, Note, Person, Remote, Urgency, inbound_lane
from esplanade.store.port import Unit
from esplanade.sync import contacts, mapping
from esplanade.sync.identity import normalise

from . import suppression
from .chains import cause_of_report, went_round
from .changes import Cause, Changes, skip, work
from .fanout import fan_out, under_way
from .reading import Reading, telling_of
from .reported_consents import read_consents
from .reported_contacts import read_former, take_identity
from .reported_values import read_audiences, read_fields
from .resolve import Identifiers, Suppressed, resolve
from .retire import retire, tell_all
from .rows import differs
from .shapes import ReportIn
from .told import Before, read_word
from .world import World


def fold_report(unit: Unit, world: World, entry: Entry, body: ReportIn, alerts: dict[str, str]) -> None:
    """Compare a report with the base, take over what is a change, and tell the others. Raises IdentityConflict.

    ``alerts`` takes what a human must hear of once this is committed.
    """
    reading = _begin(unit, world, entry, body)
    if reading is None:
        return
    person, remote, connector = reading.person, reading.remote, reading.connector
    cause = cause_of_report(world, entry, body, remote, reading.traits)
    before = Before.of(reading)
    known, was_known = list(remote.former), contacts.is_known(remote)
    former = contacts.about(remote, person, body.email, body.remote_id, body.previous_email)
    left = [contact for contact in remote.former if contact is not former and contact not in known]
    if former is not None:
        read_former(unit, world, reading, former, entry, cause)
    elif body.pulled and not reading.telling.fresh:
        skip(unit, cause, person, connector.name, "stale", "read before the last acknowledgement")
        _ask(unit, reading.person, reading.connector, reading.traits, cause)
        if body.word is None:
            return
    elif (former := take_identity(unit, world, reading, cause)) is not None:
        read_former(unit, world, reading, former, entry, cause)
    else:
        if "profile" in connector.sends:
            read_fields(reading)
            read_audiences(reading)
        elif body.fields or body.audiences:
            reading.notes.append(("not-mapped", "`sends` leaves out profile"))
        if "consent" in connector.sends:
            read_consents(unit, world, reading, entry)
        elif body.consents:
            reading.notes.append(("not-mapped", "`sends` leaves out consent"))
        _tell_opt_outs(reading, was_known=was_known)
    if body.word is not None:
        read_word(unit, world, reading, entry, body.word, before, is_former=former is not None)
    _finish(unit, world, reading, cause, alerts, is_former=former is not None)
    for contact in left:
        retire(unit, reading.person, connector, contact, cause.chain)
        tell_all(unit, reading.person, connector, cause.chain)


def _begin(unit: Unit, world: World, entry: Entry, body: ReportIn) -> Reading | None:
    """Whom a report is about, made if need be; None for nobody, which is noted. Raises Suppressed for somebody who was erased."""
    connector = world.connector(entry.origin)
    person = _find(unit, connector, body)
    created = person is None
    if person is None:
        if not body.email or body.deleted:
            unit.note(_of_nobody(entry))
            return None
        remote_id = None if body.remote_id is None else (connector.name, body.remote_id)
        if suppression.suppressed(unit, remote=remote_id) is not None:
            raise Suppressed("the vendor's contact is somebody who was erased")
        first = Cause(entry=entry, root=entry.id, hops=1, now=entry.at)
        person, _ = resolve(unit, world, first, Identifiers.of(body.email), entry.at)
    remote = unit.remote(person.id, connector.name) or Remote(person=person.id, connector=connector.name)
    return Reading(
        person=person,
        remote=remote,
        connector=connector,
        traits=world.trait(connector.name),
        report=body,
        telling=telling_of(world, entry, body, remote),
        changes=Changes(created=created),
    )


def doubt_repeat(unit: Unit, world: World, entry: Entry, body: ReportIn) -> None:
    """A report that was seen before, of what the vendor is no longer thought to hold: told again, or true again. It is asked."""
    connector = world.connectors.get(entry.origin)
    if connector is None:
        return
    person = _find(unit, connector, body)
    remote = unit.remote(person.id, connector.name) if person is not None else None
    if person is None or remote is None or not differs(person, remote, connector, body, world):
        return
    traits = world.trait(connector.name)
    cause = cause_of_report(world, entry, body, remote, traits)
    _ask(unit, person, connector, traits, cause)


def _find(unit: Unit, connector: ConnectorConfig, report: ReportIn) -> Person | None:
    found = unit.person_by_remote(connector.name, report.remote_id) if report.remote_id is not None else None
    for email in (report.email, report.previous_email):
        if found is None and email:
            found = unit.person_by_email(normalise(email).key)
    return found


def _tell_opt_outs(reading: Reading, *, was_known: bool) -> None:
    """A vendor that has a contact of which the hub did not know must hear what the person has opted out of."""
    denied = {
        purpose
        for purpose in reading.connector.consents
        if mapping.desired_consent(reading.person, reading.connector, purpose) == "denied"
    }
    if not was_known:
        reading.back.consents |= {purpose for purpose in denied if reading.remote.consents.get(purpose) != "denied"}


def _of_nobody(entry: Entry) -> Note:
    """A report about somebody whom the hub does not know, with nothing to know them by."""
    return Note(
        person=0,
        at=entry.at,
        what="reported",
        connector=entry.origin,
        kind=entry.kind,
        event_id=entry.id,
        reason="not-known",
    )


def _ask(unit: Unit, person: Person, connector: ConnectorConfig, traits: Traits, cause: Cause) -> None:
    """Let the vendor be asked what it holds of this person now."""
    if traits.can_fetch and person.email:
        lane = inbound_lane(connector.name)
        chain = msgspec.structs.replace(cause.chain, parked=False)  # reading feeds no loop, and what it finds is judged
        unit.enqueue_state(work(lane, "fetch", person, "", Urgency.LIVE, chain))


def _finish(
    unit: Unit, world: World, reading: Reading, cause: Cause, alerts: dict[str, str], *, is_former: bool
) -> None:
    person, changes, name = reading.person, reading.changes, reading.connector.name
    unit.save_remote(reading.remote)
    unit.save_person(person)
    for audience in reading.lost:
        run = unit.audience(name, audience)
        run.members = max(run.members - 1, 0)
        unit.save_audience(name, audience, run)
    for reason, detail in reading.notes:
        unit.note(cause.note(person, "reported", connector=name, reason=reason, detail=detail))
    if reading.asks:
        detail = f"perhaps older than what was sent: {', '.join(sorted(reading.asks))}"
        unit.note(cause.note(person, "reported", connector=name, reason="unconfirmed", detail=detail))
        _ask(unit, reading.person, reading.connector, reading.traits, cause)
    if not changes and not reading.back:
        if not reading.asks and not is_former and (reading.echoes or not reading.notes):
            detail = ", ".join(sorted(reading.echoes))
            unit.note(cause.note(person, "reported", connector=name, reason="echo", detail=detail))
        return
    if changes:
        detail = ", ".join(sorted(changes.fields | changes.audiences | changes.consents))
        unit.note(cause.note(person, "merged", connector=name, detail=detail))
    if cause.parked:
        skip(unit, cause, person, name, "loop", f"{cause.hops} hops from {cause.root}")
        alerts[f"loop:{name}"] = went_round(cause, person, name)
    if under_way(unit, reading.connector, person, "profile", ""):  # what it acknowledges will be older than this
        reading.back.fields |= changes.fields
        reading.back.audiences |= changes.audiences
    reading.back.consents |= {
        purpose for purpose in changes.consents if under_way(unit, reading.connector, person, "consent", purpose)
    }
    fan_out(unit, world, person, changes, cause, back=reading.back)
