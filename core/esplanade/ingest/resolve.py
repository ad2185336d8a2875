"""Which person an event is about: by address, by earlier address, by the CDP's id. Two people who turn out to be one are merged."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from esplanade.errors import EsplanadeError, EventError
from esplanade.records import Person, Remote
from esplanade.store.port import Unit
from esplanade.sync.identity import Address, normalise

from . import suppression
from .changes import Cause, Changes, skip
from .merging import join_contacts, merge
from .world import World


class IdentityConflict(EsplanadeError):
    """An event speaks of people with different CDP ids as of one: nobody is merged, and the event is kept for a human."""

    def __init__(self, why: str, people: list[Person]) -> None:
        self.people = people
        super().__init__(why)


class Suppressed(EsplanadeError):
    """An event would bring back somebody who was erased, and who has not asked for it since."""


class Identifiers(Struct, frozen=True, kw_only=True):
    """Everything by which an event names its person. Raises EventError for an address that is none."""

    address: Address | None
    previous: Address | None = None
    cdp_id: str | None = None

    @classmethod
    def of(cls, email: str | None, cdp_id: str | None = None, previous_email: str | None = None) -> Identifiers:
        """What an event gives."""
        address = normalise(email) if email else None
        if address is None and cdp_id is None:
            raise EventError("$.email", "an event needs an email or an id")
        return cls(address=address, previous=normalise(previous_email) if previous_email else None, cdp_id=cdp_id)


def resolve(
    unit: Unit, world: World, cause: Cause, named: Identifiers, said_at: float, *, returns: bool = False
) -> tuple[Person, Changes]:
    """Find, merge or make the person of an event, and what that changed about them. The caller saves them.

    ``returns``: it is a proven grant, by which somebody who was erased before comes back. Raises IdentityConflict for people
    with different CDP ids, Suppressed for somebody who was erased.
    """
    by_id, by_address, by_previous = _known(unit, named)
    named = _without_the_erased(unit, named, by_id, by_address, by_previous, said_at if returns else None)
    if named.address is not None and by_address is not None and _has_left(by_address, named.address, named.cdp_id):
        by_address.emails = [old for old in by_address.emails if normalise(old).key != named.address.key]
        unit.save_person(by_address)
        by_address = None
    people = list({one.id: one for one in (by_id, by_address, by_previous) if one is not None}.values())
    if not people:
        return _make(unit, named, said_at, cause.now), Changes(created=True)
    person, changes = people[0], Changes()
    if len({*(each.cdp_id for each in people), named.cdp_id} - {None}) > 1:
        raise IdentityConflict(_conflict(people, named), people)
    remotes = list[Remote]()
    for other in people[1:]:
        merged = merge(unit, world, person, other, cause)
        person, changes = merged.person, merged.changes
        remotes += merged.remotes
    person.cdp_id = person.cdp_id or named.cdp_id
    if named.address is not None:
        stated = named.previous is not None or named.cdp_id is not None
        changes.renamed |= state_address(unit, person, named.address, said_at if stated else None)
        if stated and person.email_key != named.address.key:
            skip(unit, cause, person, "", "stale", "another address was stated later")
    if named.previous is not None:
        _remember(unit, person, named.previous)
    join_contacts(unit, world, person, remotes, cause)
    return person, changes


def state_address(unit: Unit, person: Person, address: Address, said_at: float | None) -> bool:
    """Take an address as the person's current one, unless that was stated later; ``said_at`` None: it is only mentioned.

    The old address stays a way to find them. True when the current address is another one now.
    """
    if not person.email_key:
        person.email, person.email_key, person.email_at = address.given, address.key, said_at or 0.0
        person.emails = [old for old in person.emails if normalise(old).key != address.key]
        unit.add_email(person.id, address.key)
        return True
    if person.email_key == address.key:
        person.email_at = max(person.email_at, said_at or 0.0)
        return False
    if said_at is None or said_at < person.email_at:
        _remember(unit, person, address)
        return False
    person.emails = [old for old in person.emails if normalise(old).key not in {person.email_key, address.key}]
    person.emails.append(person.email)
    person.email, person.email_key, person.email_at = address.given, address.key, said_at
    unit.add_email(person.id, address.key)
    return True


def _known(unit: Unit, named: Identifiers) -> tuple[Person | None, Person | None, Person | None]:
    """Those known by the CDP's id, by the address and by the earlier address."""
    return (
        unit.person_by_cdp_id(named.cdp_id) if named.cdp_id is not None else None,
        unit.person_by_email(named.address.key) if named.address else None,
        unit.person_by_email(named.previous.key) if named.previous else None,
    )


def _has_left(holder: Person, address: Address, cdp_id: str | None) -> bool:
    """Whether an address is free for the person with this id: its holder, who has another id, has another address by now."""
    return cdp_id is not None and holder.cdp_id not in {None, cdp_id} and holder.email_key not in {"", address.key}


def _without_the_erased(
    unit: Unit,
    named: Identifiers,
    by_id: Person | None,
    by_address: Person | None,
    by_previous: Person | None,
    returns_at: float | None,
) -> Identifiers:
    """What an event gives, less an earlier address that is nobody's since its person was erased.

    Raises Suppressed where it would bring that person back without their own word for it.
    """
    erased_before = None
    if named.previous is not None and by_previous is None:
        erased_before = suppression.suppressed(unit, email_key=named.previous.key)
    key = named.address.key if named.address is not None and by_address is None else None
    cdp_id = named.cdp_id if by_id is None else None
    found = (
        suppression.suppressed(unit, email_key=key, cdp_id=cdp_id) if key is not None or cdp_id is not None else None
    )
    if erased_before is not None and by_id is None and by_address is None:
        found = found or erased_before
    if found is not None:
        if named.address is None or returns_at is None or returns_at <= found.at:
            raise Suppressed("the person was erased, and has not asked to be known again")
        suppression.lift(unit, found, named.address.key)
    return named if erased_before is None else replace(named, previous=None)


def _make(unit: Unit, named: Identifiers, said_at: float, now: float) -> Person:
    given, key = (named.address.given, named.address.key) if named.address else ("", "")
    person = unit.add_person(given, key, named.cdp_id, now)
    if named.cdp_id is not None or named.previous is not None:
        person.email_at = said_at
    if named.previous is not None:
        _remember(unit, person, named.previous)
    return person


def _remember(unit: Unit, person: Person, address: Address) -> None:
    """Let an earlier address find the person."""
    if address.key != person.email_key and all(normalise(old).key != address.key for old in person.emails):
        person.emails.insert(0, address.given)
        unit.add_email(person.id, address.key)


def _conflict(people: list[Person], named: Identifiers) -> str:
    if len(people) == 1:
        return "the address belongs to somebody with another id"
    if named.previous is not None and len({person.cdp_id for person in people}) > 1:
        return "the address and the earlier one belong to people with different ids"
    return "the address and the id belong to two different people"
