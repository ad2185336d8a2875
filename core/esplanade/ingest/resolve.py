"""Which person an event is about: by address, by earlier address, by the CDP's id, by a vendor's id."""

from __future__ import annotations

from msgspec import Struct

from esplanade.errors import EventError
from esplanade.records import Person
from esplanade.store.port import Unit
from esplanade.sync.identity import Address, normalise


class Resolved(Struct, kw_only=True):
    """The person, and how this event changed who they are. ``conflict`` says why it may not be applied."""

    person: Person
    created: bool = False
    renamed: bool = False
    conflict: str | None = None
    other: Person | None = None
    """Who else holds the earlier address. People are not merged yet, so both stay as they are."""


def resolve(
    unit: Unit, *, email: str | None, cdp_id: str | None = None, previous_email: str | None = None, now: float
) -> Resolved:
    """Find or make the person of an event. The caller saves them. Raises EventError for an address that is none."""
    address = normalise(email) if email else None
    if address is None and cdp_id is None:
        raise EventError("$.email", "an event needs an email or an id")
    by_email = unit.person_by_email(address.key) if address else None
    by_id = unit.person_by_cdp_id(cdp_id) if cdp_id is not None else None
    by_previous = unit.person_by_email(normalise(previous_email).key) if previous_email else None
    person = by_email or by_id or by_previous
    if person is None:
        person = unit.add_person(address.given if address else "", address.key if address else "", cdp_id, now)
        return Resolved(person=person, created=True)
    if by_email and by_id and by_email.id != by_id.id:
        return Resolved(person=by_email, conflict="the address and the id belong to two different people")
    if cdp_id is not None and person.cdp_id not in {None, cdp_id}:
        return Resolved(person=person, conflict="the address belongs to somebody with another id")
    other = by_previous if by_previous is not None and by_previous.id != person.id else None
    if other is not None and other.cdp_id is not None and (cdp_id or person.cdp_id) not in {None, other.cdp_id}:
        return Resolved(person=person, conflict="the address and the earlier one belong to people with different ids")
    person.cdp_id = person.cdp_id or cdp_id
    moves = by_email is None or (previous_email is not None and normalise(previous_email).key == person.email_key)
    renamed = address is not None and moves and rename(unit, person, address)
    return Resolved(person=person, renamed=renamed, other=other)


def rename(unit: Unit, person: Person, address: Address) -> bool:
    """Give a person another current address, and keep the old one as a way to find them. False when it is the same."""
    if person.email_key == address.key:
        return False
    person.emails = [old for old in person.emails if normalise(old).key not in {person.email_key, address.key}]
    if person.email:
        person.emails.append(person.email)
    person.email, person.email_key = address.given, address.key
    unit.add_email(person.id, address.key)
    return True
