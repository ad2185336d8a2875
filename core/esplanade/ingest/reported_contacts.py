"""Whose contact a report is about: a new address or id of it is taken over, and a former contact has no say but to opt out."""

from __future__ import annotations

from copy import deepcopy

from esplanade.records import Contact, Entry, Person
from esplanade.store.port import Unit
from esplanade.sync import contacts, merge
from esplanade.sync.identity import normalise, same_address
from esplanade.sync.plan import FormerRef

from .changes import Cause
from .merging import join_contacts
from .merging import merge as merge_people
from .reading import Reading
from .reported_consents import denied
from .resolve import IdentityConflict, state_address
from .retire import retire
from .world import World

ADDRESS = "address"


def take_identity(unit: Unit, world: World, reading: Reading, cause: Cause) -> Contact | None:
    """Take over the vendor's id of the contact, and a new address of it; returns the former contact that it now turns out to be."""
    report, remote = reading.report, reading.remote
    if report.remote_id is not None:
        remote.remote_id = report.remote_id
    if report.deleted:
        reading.lost += remote.owned
        remote.email, remote.remote_id = None, None
        remote.fields, remote.audiences, remote.owned = {}, {}, []
        # a grant stays until a pull says what became of it; a contact that is made anew must hear of an opt-out again
        remote.consents = {purpose: held for purpose, held in remote.consents.items() if held != "denied"}
        reading.notes.append(("drift", "the vendor no longer has this contact"))
        return None
    if not report.email:
        return None
    known = remote.email
    if known is not None and not same_address(known, report.email) and "profile" in reading.connector.sends:
        older = merge.is_perhaps_older(remote, ADDRESS, reading.telling)
        if older and reading.traits.can_fetch:
            reading.asks.add(ADDRESS)
            return None
        _renamed(unit, world, reading, report.email, cause)
        if older and reading.telling.has_clock and reading.remote.email == known:
            reading.back.renamed = True  # at the vendor stands what we have written since
            return None
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


def read_former(unit: Unit, world: World, reading: Reading, contact: Contact, entry: Entry, cause: Cause) -> None:
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
