"""A person as the hub knows them, and what each vendor is known to hold."""

from __future__ import annotations

from typing import Any

from esplanade.ingest.suppression import suppressed
from esplanade.records import Clocked, Person, Remote
from esplanade.store.port import Reader
from esplanade.sync.identity import normalise

from .connectors import INBOUND
from .times import moment


def nobody(reader: Reader, email: str) -> str:
    """Why there is nobody to show for an address: unknown, or erased. Raises EventError."""
    erased = suppressed(reader, email_key=normalise(email).key)
    if erased is None:
        return "nobody with this address is known here"
    return (
        f"whoever had this address was erased on {moment(erased.at)}; what is said of it is not taken in, until a grant with "
        "evidence that was given since"
    )


def person_view(reader: Reader, email: str) -> dict[str, Any] | None:
    """Who has this address, or had it, and what each vendor is known to hold. None: nobody. Raises EventError."""
    person = reader.person_by_email(normalise(email).key)
    if person is None:
        return None
    pending = pending_of(reader, person.id)
    connectors = {remote.connector: held_view(remote) for remote in reader.remotes(person.id)}
    for name in pending:
        connectors.setdefault(name, held_view(Remote(person=person.id, connector=name)))
    return {
        **identity(person),
        "fields": _values(person.fields),
        "audiences": _values(person.audiences),
        "consents": {
            purpose: {
                "state": standing.state,
                "under": standing.under,
                "method": standing.method,
                "at": moment(standing.at),
                "source": standing.source,
                "evidence": standing.evidence,
            }
            for purpose, standing in sorted(person.consents.items())
        },
        "connectors": {name: {**base, "pending": pending.get(name, 0)} for name, base in sorted(connectors.items())},
    }


def identity(person: Person) -> dict[str, Any]:
    """By what a person is known, the current address first."""
    return {
        "person": person.name,
        "email": person.email or None,
        "id": person.cdp_id,
        "emails": [*([person.email] if person.email else []), *reversed(person.emails)],
    }


def _values(clocked: dict[str, Clocked]) -> dict[str, Any]:
    return {name: each.value for name, each in sorted(clocked.items()) if each.value is not None}


def held_view(remote: Remote) -> dict[str, Any]:
    """What one vendor is known to hold."""
    return {
        "remote_id": remote.remote_id,
        "email": remote.email,
        "unknown": remote.unknown,
        "base": {"fields": remote.fields, "consents": remote.consents, "audiences": remote.audiences},
        "synced_at": moment(remote.acked_at),
    }


def pending_of(reader: Reader, person: int) -> dict[str, int]:
    """How many deliveries wait or run, by connector, in both directions."""
    found: dict[str, int] = {}
    for lane, many in sorted(reader.open_deliveries(person).items()):
        name = lane.removesuffix(INBOUND)
        found[name] = found.get(name, 0) + many
    return found
