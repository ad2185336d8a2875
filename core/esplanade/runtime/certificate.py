"""What a vendor may hold of an erased person, and how the certificate words what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from esplanade.model import PersonRef
from esplanade.records import Remote
from esplanade.sync.identity import Address, address_key
from esplanade.web.port import Certified

NEVER = "the vendor was never told of this person, as far as the hub knows"

BY_HAND = " (asked again, it is not found by an address: erase it by hand)"


class Asked(Struct, frozen=True, kw_only=True):
    """What a vendor is asked to erase."""

    ref: PersonRef
    by_address: bool = True
    """Whether it is looked for by its address, too. Not where the hub knows no address of it that is the person's: then its id
    must do, and the address in ``ref`` is the person's own."""

    @property
    def name(self) -> str:
        """What it is called in the certificate."""
        return _named(self.ref.remote_id, self.ref.email if self.by_address else None)


class Known(Struct, frozen=True, kw_only=True):
    """Who is meant by an address: somebody who is there, or of whom only the number is left."""

    person: int
    asked_by: Address
    """The address by which the erasure was ordered."""
    lineage: frozenset[int] = frozenset()
    """Those who were merged into them."""
    emails: tuple[str, ...] = ()
    """Every address that they have, or had and nobody else has now, the present one first."""
    remotes: list[Remote] = field(default_factory=list)
    """What vendors hold, less the addresses and contacts that are by now somebody else's."""

    @property
    def name(self) -> str:
        """The person's id as it appears outside, safe in logs."""
        return f"p-{self.person}"

    def remote(self, connector: str) -> Remote | None:
        """What the connector's vendor held."""
        return next((each for each in self.remotes if each.connector == connector), None)


def contacts(known: Known, connector: str) -> list[Asked]:
    """Everything by which a vendor may know the person: its contacts, then the addresses that none of them has."""
    emails = [*known.emails, known.asked_by.given]
    found = [
        Asked(
            ref=PersonRef(person=known.name, email=email or emails[0], remote_id=theirs),
            by_address=email is not None,
        )
        for theirs, email in _told(known.remote(connector))
    ]
    keys = {address_key(email) for _, email in _told(known.remote(connector)) if email}
    for email in emails:
        key = address_key(email)
        if key not in keys:
            keys.add(key)
            found.append(Asked(ref=PersonRef(person=known.name, email=email)))
    return found


def by_hand(known: Known, connector: str) -> str:
    """What a human must do at a vendor that cannot be asked."""
    said = [_named(theirs, email) for theirs, email in _told(known.remote(connector))]
    if said:
        return f"erase {' and '.join(said)} at the vendor by hand"
    return f"if {known.asked_by.given} is there at the vendor, erase it by hand"


def answered(connector: str, erased: Sequence[Asked], missing: Sequence[Asked]) -> Certified:
    """What a vendor that was asked has answered."""
    if not erased:
        return Certified(connector=connector, result="not-found", detail=f"not there at the vendor: {_all(missing)}")
    return Certified(connector=connector, result="erased", detail=f"erased at the vendor: {_all(erased)}")


def failed(connector: str, left: Sequence[tuple[Asked, str]], erased: Sequence[Asked]) -> Certified:
    """What could not be erased, each with the reason."""
    said = "; ".join(f"{one.name}: {why}{'' if one.by_address else BY_HAND}" for one, why in left)
    addresses = ", ".join(dict.fromkeys(one.ref.email for one, _ in left))
    also = f" Erased: {_all(erased)}." if erased else ""
    return Certified(
        connector=connector,
        result="failed",
        detail=f"not erased at the vendor: {said}. Ask again, by {addresses}.{also}",
    )


def not_asked(connector: str, why: str, known: Known) -> Certified:
    """A vendor that could be asked, were its connector running."""
    todo = by_hand(known, connector)
    return Certified(
        connector=connector, result="failed", detail=f"not asked: {why}. See to that and ask again; else {todo}"
    )


def _told(remote: Remote | None) -> list[tuple[str | None, str | None]]:
    """Ids and addresses of the contacts that a vendor is known to hold."""
    if remote is None:
        return []
    every = [(remote.remote_id, remote.email), *((each.remote_id, each.email) for each in remote.former)]
    return [(theirs, email) for theirs, email in every if theirs or email]


def _all(every: Iterable[Asked]) -> str:
    return " and ".join(each.name for each in every)


def _named(theirs: str | None, email: str | None) -> str:
    if not theirs:
        return f"the contact with the address {email}"
    return f"contact {theirs} ({email})" if email else f"contact {theirs}"
