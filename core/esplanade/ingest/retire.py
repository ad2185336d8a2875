"""Queueing what takes a person's former contacts off a vendor's lists, and what their present contact must then be told."""

from __future__ import annotations

import msgspec

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.records import Contact, Delivery, Person, Remote, Urgency
from esplanade.store.port import Unit
from esplanade.sync import contacts, mapping
from esplanade.sync.identity import same_address
from esplanade.sync.plan import FormerRef
from esplanade.sync.retirement import audiences_to_leave, purposes_to_leave

from .changes import Chain, work

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FormerRef).decode


def former_ref(delivery: Delivery) -> FormerRef | None:
    """The former contact that a delivery is about; None: it is about the person's own."""
    return _decode(delivery.payload) if delivery.kind in {"profile", "consent"} and delivery.payload else None


def chain_of(delivery: Delivery, now: float) -> Chain:
    """The chain that a delivery belongs to, for what follows from it."""
    return Chain(root=delivery.root, hops=delivery.hops, event_id=delivery.event_id, now=now)


def retire(unit: Unit, person: Person, connector: ConnectorConfig, contact: Contact, chain: Chain) -> bool:
    """Take one former contact off every list; False when it is on none that the hub may touch."""
    payload = _encode(FormerRef(contact.email, contact.remote_id))
    queued = False
    if "consent" in connector.receives:
        for purpose in purposes_to_leave(contact, connector):
            unit.enqueue_state(
                work(connector.name, "consent", person, purpose, Urgency.OPT_OUT, chain, payload=payload)
            )
            queued = True
    if "profile" in connector.receives and audiences_to_leave(contact, connector):
        unit.enqueue_state(work(connector.name, "profile", person, "", Urgency.LIVE, chain, payload=payload))
        queued = True
    return queued


def move_on(
    unit: Unit, person: Person, remote: Remote, connector: ConnectorConfig, traits: Traits, chain: Chain
) -> bool:
    """Leave a contact behind that cannot go along to the person's new address: it leaves every list, and a new one is told all.

    At an address that they had before, the vendor still has their contact, which is theirs again.
    """
    if remote.email is None or same_address(remote.email, person.email) or contacts.can_move(connector, traits):
        return False
    former = contacts.part(remote)
    assert former is not None
    contacts.take_back(remote, person.email, None)
    retire(unit, person, connector, former, chain)
    unit.save_remote(remote)
    tell_all(unit, person, connector, chain)
    return True


def tell_all(unit: Unit, person: Person, connector: ConnectorConfig, chain: Chain) -> None:
    """Queue everything that a vendor should hold of a person, for a contact of which it holds nothing yet."""
    if "profile" in connector.receives:
        unit.enqueue_state(work(connector.name, "profile", person, "", Urgency.LIVE, chain))
    if "consent" in connector.receives:
        for purpose in sorted(connector.consents):
            wanted = mapping.desired_consent(person, connector, purpose)
            if wanted is not None:
                urgency = Urgency.OPT_OUT if wanted == "denied" else Urgency.LIVE
                unit.enqueue_state(work(connector.name, "consent", person, purpose, urgency, chain))
