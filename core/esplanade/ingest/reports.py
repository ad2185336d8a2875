"""Folding what a connector reports: remote change = reported - base; equal is an echo, which stops here."""

from __future__ import annotations

from copy import deepcopy

import msgspec

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.model import Held
from esplanade.records import Contact, Entry, Note, Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import contacts, mapping, merge
from esplanade.sync.alike import Declared, alike
from esplanade.sync.identity import normalise, same_address
from esplanade.sync.plan import FormerRef

from . import suppression
from .changes import LIVE, Cause, Effects, skip, work
from .fanout import fan_out, under_way
from .merging import join_contacts
from .merging import merge as merge_people
from .reading import Reading, telling_of
from .reported_consents import denied, read_consents
from .reported_values import read_audiences, read_fields
from .resolve import Identifiers, IdentityConflict, Suppressed, resolve, state_address
from .retire import retire, tell_all
from .shapes import ReportIn
from .world import World

ADDRESS = "address"
CHAIN_S = 86_400.0
"""How long after a write of ours a vendor's contradiction belongs to its chain: two who contradict each other slowly loop too."""


def fold_report(unit: Unit, world: World, entry: Entry, body: ReportIn, effects: Effects) -> None:
    """Compare a report with the base, take over what is a change, and tell the others. Raises IdentityConflict."""
    connector = world.connector(entry.origin)
    person = _find(unit, connector, body)
    created = person is None
    if person is None:
        if not body.email or body.deleted:
            unit.note(_of_nobody(entry))
            return
        remote_id = None if body.remote_id is None else (connector.name, body.remote_id)
        if suppression.suppressed(unit, remote=remote_id) is not None:
            raise Suppressed("the vendor's contact is somebody who was erased")
        first = Cause(entry=entry, root=entry.id, hops=1, now=entry.at)
        person, _ = resolve(unit, world, first, Identifiers.of(body.email), entry.at)
    remote = unit.remote(person.id, connector.name) or Remote(person=person.id, connector=connector.name)
    reading = Reading(
        person=person,
        remote=remote,
        connector=connector,
        traits=world.trait(connector.name),
        report=body,
        telling=telling_of(world, entry, body, remote),
    )
    reading.changes.created = created
    cause = _cause(world, entry, body, remote, reading.traits)
    known = list(remote.former)
    former = contacts.about(remote, person, body.email, body.remote_id, body.previous_email)
    left = [contact for contact in remote.former if contact is not former and contact not in known]
    if former is not None:
        _about_former(unit, world, reading, former, entry, cause)
    elif body.pulled and not reading.telling.fresh:
        skip(unit, cause, person, connector.name, "stale", "read before the last acknowledgement")
        _read_again(unit, reading, cause, effects)
        return
    elif (former := _identity(unit, world, reading, cause)) is not None:
        _about_former(unit, world, reading, former, entry, cause)
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
    _finish(unit, world, reading, cause, effects, is_former=former is not None)
    for contact in left:
        retire(unit, reading.person, connector, contact, cause.chain)
        tell_all(unit, reading.person, connector, cause.chain)


def differs(
    person: Person | None, remote: Remote | None, connector: ConnectorConfig, report: ReportIn, world: World
) -> bool:
    """Whether a pulled row says anything that the base does not and that it may change: only such rows are journalled."""
    if person is None or remote is None or remote.email is None or remote.unknown:
        return True
    if any(held == "granted" and purpose in person.doubted for purpose, held in report.consents.items()):
        return True
    former = contacts.former_of(remote, report.email, report.remote_id)
    if former is not None and not _is_own(remote, report):
        return any(
            held == "granted" or (purpose not in former.told and _unlike(held, former.consents.get(purpose)))
            for purpose, held in report.consents.items()
        )
    if report.remote_id is not None and report.remote_id != remote.remote_id:
        return True
    if report.email is not None and not same_address(report.email, remote.email):
        return True
    profile, consent_too = "profile" in connector.sends, "consent" in connector.sends
    alters = world.trait(connector.name).alters
    fields = profile and any(
        not alike(value, remote.fields.get(name), alters)
        for name, value in report.fields.items()
        if mapping.hub_name(connector, name) is not None
    )
    consents = consent_too and any(
        _unlike(held, remote.consents.get(purpose)) for purpose, held in report.consents.items()
    )
    audiences = profile and any(remote.audiences.get(name) != member for name, member in report.audiences.items())
    return fields or consents or audiences or report.deleted


def seen_whole(remote: Remote, report: ReportIn, alters: Declared) -> bool:
    """Note which writes a row that equals the base shows to be whole; True when there were any that nobody knew of."""
    if report.read_at <= remote.acked_at:
        return False
    known = len(remote.confirmed)
    for name, reported in report.fields.items():
        merge.confirm(remote, f"field:{name}", reported, alters)
    return len(remote.confirmed) > known


def _is_own(remote: Remote, report: ReportIn) -> bool:
    return report.remote_id is not None and report.remote_id == remote.remote_id


def _unlike(held: Held, base: Held | None) -> bool:
    if held == "absent":
        return base == "granted"
    return held != base


def _find(unit: Unit, connector: ConnectorConfig, report: ReportIn) -> Person | None:
    found = unit.person_by_remote(connector.name, report.remote_id) if report.remote_id is not None else None
    for email in (report.email, report.previous_email):
        if found is None and email:
            found = unit.person_by_email(normalise(email).key)
    return found


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


def _cause(world: World, entry: Entry, report: ReportIn, remote: Remote, traits: Traits) -> Cause:
    """A report soon after a write of ours belongs to that write's chain, one hop further; so does one that contradicts it later."""
    last = max((sent[-1].at for sent in remote.sent.values() if sent), default=0.0)
    lately = entry.at - last <= world.hub.echo_window
    answers_us = bool(remote.root) and (lately or _contradicts(report, remote, traits, entry.at))
    hops = remote.hops + 1 if answers_us else 1
    root = remote.root if answers_us else entry.id
    return Cause(entry=entry, root=root, hops=hops, now=entry.at, parked=hops > world.hub.max_hops)


def _contradicts(report: ReportIn, remote: Remote, traits: Traits, now: float) -> bool:
    """Whether a report changes something that we wrote within a day."""

    def ours(key: str) -> bool:
        sent = remote.sent.get(key, [])
        return bool(sent) and now - sent[-1].at <= CHAIN_S

    return (
        any(
            ours(f"field:{name}") and not alike(value, remote.fields.get(name), traits.alters)
            for name, value in report.fields.items()
        )
        or any(
            ours(f"audience:{name}") and remote.audiences.get(name) != member
            for name, member in report.audiences.items()
        )
        or any(
            ours(f"consent:{purpose}") and _unlike(held, remote.consents.get(purpose))
            for purpose, held in report.consents.items()
        )
    )


def _identity(unit: Unit, world: World, reading: Reading, cause: Cause) -> Contact | None:
    """Take over the vendor's id of the contact, and a new address of it; returns the former contact that it now turns out to be."""
    report, remote = reading.report, reading.remote
    if report.remote_id is not None:
        remote.remote_id = report.remote_id
    if report.deleted:
        remote.email, remote.remote_id = None, None
        remote.fields, remote.audiences, remote.owned = {}, {}, []
        reading.notes.append(("drift", "the vendor no longer has this contact"))
        return None
    if not report.email:
        return None
    known = remote.email
    if known is not None and not same_address(known, report.email) and "profile" in reading.connector.sends:
        if merge.is_perhaps_older(remote, ADDRESS, reading.telling) and reading.traits.can_fetch:
            reading.asks.add(ADDRESS)
            return None
        _renamed(unit, world, reading, report.email, cause)
        if not contacts.is_own(remote, FormerRef(report.email, report.remote_id)):
            former = contacts.former_of(remote, report.email, report.remote_id)
            if former is not None:
                return former
    remote.email = report.email
    return None


def _renamed(unit: Unit, world: World, reading: Reading, email: str, cause: Cause) -> None:
    """The contact has another address at the vendor. Who has that address already is the same person."""
    address, person, telling = normalise(email), reading.person, reading.telling
    if person.email_key == address.key:
        return
    holder = unit.person_by_email(address.key)
    if holder is not None and holder.id != person.id:
        if None not in {holder.cdp_id, person.cdp_id} and holder.cdp_id != person.cdp_id:
            raise IdentityConflict("the vendor's new address belongs to somebody with another id", [person, holder])
        _turned_out_to_be(unit, world, reading, holder, email, cause)
        return
    earlier = holder is not None  # it was theirs before: without a clock that is no news
    said_at = telling.at if telling.has_clock or telling.fresh or not earlier else None
    reading.changes.renamed |= state_address(unit, person, address, said_at)
    reading.back.renamed = not reading.changes.renamed


def _turned_out_to_be(unit: Unit, world: World, reading: Reading, holder: Person, email: str, cause: Cause) -> None:
    """Merge the contact's person with the one who has its new address. What the vendor has at that address is their contact."""
    own = reading.remote
    merged = merge_people(unit, world, reading.person, holder, cause)
    person, remotes = merged.person, {each.connector: each for each in merged.remotes}
    state_address(unit, person, normalise(email), reading.telling.at)
    other = remotes.pop(own.connector, None) if person is reading.person else unit.remote(person.id, own.connector)
    remotes.pop(own.connector, None)
    own.person, own.email = person.id, email
    if other is not None:
        for contact in contacts.join(own, other, person):
            retire(unit, person, reading.connector, contact, cause.chain)
    join_contacts(unit, world, person, list(remotes.values()), cause)
    reading.person, reading.changes = person, merged.changes
    reading.back = deepcopy(merged.changes)  # the vendor knew only half of this person


def _about_former(unit: Unit, world: World, reading: Reading, contact: Contact, entry: Entry, cause: Cause) -> None:
    """A former contact has no say but to opt out. Where it is on a list again, it leaves it again."""
    report, telling = reading.report, reading.telling
    reading.notes.append(("former-address", ", ".join(sorted(report.consents)) or "nothing of it is taken over"))
    if report.deleted:
        contact.consents = dict.fromkeys(reading.connector.consents, "absent")
        contact.audiences = []
        return
    contact.remote_id, contact.email = report.remote_id or contact.remote_id, report.email or contact.email
    for purpose, held in report.consents.items():
        if purpose not in reading.connector.consents:
            continue
        before, told = contact.consents.get(purpose), contact.told.get(purpose)
        contact.consents[purpose] = held
        if held == "granted":
            contact.told.pop(purpose, None)
        elif held == "denied" or (held == "absent" and before == "granted"):
            is_news = before not in {"denied", "absent"} or told is not None
            ours = told is not None and not contacts.is_before(telling.at if telling.has_clock else None, told)
            if is_news and not ours and "consent" in reading.connector.sends and not _is_denied(unit, reading, purpose):
                denied(unit, world, reading, purpose, entry, "former")
                reading.back.consents.add(purpose)  # of the person's own contact the vendor does not know it
    retire(unit, reading.person, reading.connector, contact, cause.chain)


def _is_denied(unit: Unit, reading: Reading, purpose: str) -> bool:
    """Whether an opt-out as late as this one is on record already."""
    rows = unit.ledger(reading.person.id, purpose)
    return any(row.state == "denied" and row.said_at >= reading.telling.at for row in rows)


def _read_again(unit: Unit, reading: Reading, cause: Cause, effects: Effects) -> None:
    """Let the vendor be asked what it holds of this person now."""
    if reading.traits.can_fetch and reading.person.email:
        lane = f"{reading.connector.name}:in"
        chain = msgspec.structs.replace(cause.chain, parked=False)  # reading feeds no loop, and what it finds is judged
        unit.enqueue_state(work(lane, "fetch", reading.person, "", LIVE, chain))
        effects.lanes.add(lane)


def _finish(unit: Unit, world: World, reading: Reading, cause: Cause, effects: Effects, *, is_former: bool) -> None:
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
        _read_again(unit, reading, cause, effects)
    if not changes and not reading.back:
        if not reading.asks and not is_former and (reading.echoes or not reading.notes):
            detail = ", ".join(sorted(reading.echoes))
            unit.note(cause.note(person, "reported", connector=name, reason="echo", detail=detail))
        effects.lanes.add(name)
        return
    if changes:
        detail = ", ".join(sorted(changes.fields | changes.audiences | changes.consents))
        unit.note(cause.note(person, "merged", connector=name, detail=detail))
    if cause.parked:
        skip(unit, cause, person, name, "loop", f"{cause.hops} hops from {cause.root}")
        effects.alerts[f"loop:{name}"] = (
            f"what {name} reports of {person.name} has gone round {cause.hops} times, more than hub.max_hops allows; it is kept "
            f"and not passed on. `esplanade queue --state parked` shows it; root event {cause.root}"
        )
    if under_way(unit, reading.connector, person, "profile", ""):  # what it acknowledges will be older than this
        reading.back.fields |= changes.fields
        reading.back.audiences |= changes.audiences
    reading.back.consents |= {
        purpose for purpose in changes.consents if under_way(unit, reading.connector, person, "consent", purpose)
    }
    fan_out(unit, world, person, changes, cause, effects, back=reading.back)
