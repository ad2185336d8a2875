"""Which of a vendor's contacts a person is: the one at their current address, and former ones, which are to leave every list."""

from __future__ import annotations

from collections.abc import Iterable

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.records import Clocked, Contact, Person, Remote

from .identity import same_address
from .plan import FormerRef

KEPT = 20
"""So many former contacts are remembered, so that a late word about one is not taken for the person's own contact."""

SKEW_S = 60.0
"""So far may a vendor's clock be behind, or cut to whole minutes: within that, an opt-out of ours may seem older than it is."""


def is_known(remote: Remote | None) -> bool:
    """Whether the vendor has a contact of this person, as far as the hub knows."""
    return remote is not None and (remote.email is not None or remote.unknown or bool(remote.consents))


def is_own(remote: Remote, contact: Contact | FormerRef) -> bool:
    """Whether that is the person's present contact."""
    if None not in {remote.remote_id, contact.remote_id}:
        return remote.remote_id == contact.remote_id
    return _is_same(remote.email, contact.email)


def can_move(connector: ConnectorConfig, traits: Traits) -> bool:
    """Whether the contact itself goes along to a new address."""
    return traits.address_change != "new-contact" and "profile" in connector.receives


def part(remote: Remote) -> Contact | None:
    """Make the person's contact a former one, so that the next write makes or finds another. None: there was none."""
    if remote.email is None and remote.remote_id is None:
        return None
    contact = Contact(
        email=remote.email,
        remote_id=remote.remote_id,
        fields=remote.fields,
        consents={} if remote.unknown else remote.consents,
        audiences=remote.owned,
    )
    remote.former = [*remote.former, contact][-KEPT:]
    remote.email, remote.remote_id, remote.unknown = None, None, False
    remote.fields, remote.consents, remote.audiences, remote.owned = {}, {}, {}, []
    remote.sent, remote.confirmed, remote.asked, remote.rejected = {}, [], {}, {}
    remote.perhaps_denied = []
    return contact


def join(kept: Remote, other: Remote, person: Person) -> list[Contact]:
    """Bring what a vendor holds of two people who are one into ``kept``; the former contacts to take off the lists.

    The contact at the person's current address is theirs; else the one that ``kept`` has.
    """
    if not is_known(kept) or (_is_at(other, person) and not _is_at(kept, person)):
        mine, theirs = other, kept
    else:
        mine, theirs = kept, other
    found = [*kept.former, *other.former]
    owned = theirs.owned
    parted = part(theirs)
    for name in ("remote_id", "email", "unknown", "fields", "consents", "audiences", "owned", "sent", "confirmed"):
        setattr(kept, name, getattr(mine, name))
    for name in ("asked", "rejected", "acked_at"):
        setattr(kept, name, getattr(mine, name))
    if parted is not None and is_own(kept, parted):  # both knew the same contact
        kept.owned = sorted({*kept.owned, *owned})
        parted = None
    kept.former = [*found, *([parted] if parted is not None else [])][-KEPT:]
    forget(kept, kept.email, kept.remote_id)
    return kept.former


def former_of(remote: Remote, email: str | None, remote_id: str | None) -> Contact | None:
    """The former contact that goes by this id, or by this address."""
    if not remote.former:
        return None
    by_id = (each for each in remote.former if remote_id is not None and each.remote_id == remote_id)
    by_address = (each for each in remote.former if email is not None and _is_same(each.email, email))
    return next(by_id, None) or next((each for each in by_address if not (each.remote_id and remote_id)), None)


def forget(remote: Remote, email: str | None, remote_id: str | None) -> bool:
    """Drop the former contact that the vendor has merged into the present one; False when there is none."""
    contact = former_of(remote, email, remote_id)
    if contact is not None:
        remote.former.remove(contact)
    return contact is not None


def take_back(remote: Remote, email: str | None, remote_id: str | None) -> bool:
    """Let the former contact of this address or id be the person's own again; False when there is none.

    What it holds is not taken for granted: its fields are sent anew, and so are consents that the vendor never confirmed.
    That the hub has opted it out is remembered, so that a late word of that is not taken for the person's.
    """
    contact = former_of(remote, email, remote_id)
    if contact is None:
        return False
    remote.former.remove(contact)
    if remote.email is None and remote.remote_id is None:
        remote.email, remote.remote_id = contact.email, contact.remote_id
    for purpose, held in contact.consents.items():
        if held in {"denied", "absent"} or purpose not in contact.told:
            remote.consents.setdefault(purpose, held)
    for purpose, at in contact.told.items():
        remote.sent[f"retired:{purpose}"] = [Clocked("denied", at)]
    for name in contact.audiences:
        remote.audiences.setdefault(name, True)
    remote.owned = sorted({*remote.owned, *(name for name in contact.audiences if remote.audiences[name])})
    return True


def is_before(at: float | None, told: float) -> bool:
    """Whether an opt-out was surely made before the hub told the vendor of one. ``at`` is the vendor's clock, None: it has none."""
    return at is not None and at < told - SKEW_S


def was_retired(remote: Remote, purpose: str, at: float | None) -> bool:
    """Whether an opt-out that the vendor tells of is the hub's own, from when this contact was a former one.

    ``at`` is the vendor's own clock for it. Once the hub has granted it anew, what comes without a clock counts.
    """
    retired = remote.sent.get(f"retired:{purpose}")
    if not retired or is_before(at, retired[-1].at):
        return False
    return not any(
        sent.value == "granted" and (at is None or sent.at <= at) for sent in remote.sent.get(f"consent:{purpose}", ())
    )


def forget_retirement(remote: Remote, purpose: str) -> None:
    """The vendor holds a grant again: whoever opts out after this does so themselves."""
    remote.sent.pop(f"retired:{purpose}", None)


def about(
    remote: Remote, person: Person, email: str | None, remote_id: str | None, previous_email: str | None = None
) -> Contact | None:
    """The former contact that a vendor's word is about; None: it is about the person's own.

    A contact that the hub did not know becomes the person's own if it is the one at their current address, and a former one
    if it has an earlier address while the person's own is known.
    """
    own_id, own = remote.remote_id, remote.email
    if remote_id is not None and remote_id == own_id:
        return None
    if previous_email is not None and _is_same(own, previous_email):
        return None  # the vendor itself says that the person's contact has moved
    current = email is not None and _is_same(email, person.email)
    found = former_of(remote, email, remote_id)
    if own is None and own_id is None:
        if current:
            take_back(remote, email, remote_id)
        return None if found is None or current else found
    if current:
        other = remote_id is not None or found is not None or (own_id is None and not _was_moved(remote, person))
        two = found is not None and None not in {remote_id, own_id}  # both known, and only one can have the address
        if two or (other and not _is_same(own, person.email)):
            part(remote)
        take_back(remote, email, remote_id)
        return None
    if found is not None:
        return found
    if email is None or _is_same(own, email):
        return None
    if remote_id is None or own_id is None:
        return _stranger(remote, email, remote_id) if _is_earlier(person, email) else None
    return _stranger(remote, email, remote_id)


def _stranger(remote: Remote, email: str, remote_id: str | None) -> Contact:
    contact = Contact(email=email, remote_id=remote_id)
    remote.former = [*remote.former, contact][-KEPT:]
    return contact


def _was_moved(remote: Remote, person: Person) -> bool:
    """Whether the vendor was lately told to give the person's contact their current address."""
    return any(_is_same(str(sent.value), person.email) for sent in remote.sent.get("address", ()))


def _is_at(remote: Remote, person: Person) -> bool:
    return _is_same(remote.email, person.email)


def _is_earlier(person: Person, email: str) -> bool:
    return _any_same(person.emails, email)


def _any_same(addresses: Iterable[str], email: str) -> bool:
    return any(_is_same(each, email) for each in addresses)


def _is_same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and same_address(one, other)
