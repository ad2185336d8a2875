"""Taking a former contact of a person off every list of a vendor, so that only one contact is mailed."""

from __future__ import annotations

from esplanade.clock import as_datetime
from esplanade.config.model import ConnectorConfig
from esplanade.model import AudienceChange, ConsentEvent, ProfileEvent
from esplanade.records import Contact, Delivery, Person

from .identity import same_address
from .plan import FormerRef, Plan, Send, Skip


def purposes_to_leave(contact: Contact, connector: ConnectorConfig) -> list[str]:
    """The purposes for which the vendor may still mail a contact. What the hub never learnt counts as one."""
    return [
        purpose
        for purpose in sorted(connector.consents)
        if contact.consents.get(purpose) not in {"denied", "absent"} and purpose not in contact.told
    ]


def audiences_to_leave(contact: Contact, connector: ConnectorConfig) -> list[str]:
    """The memberships that the hub itself gave a contact."""
    return [name for name in contact.audiences if name in connector.audiences]


def plan_retirement(
    delivery: Delivery, person: Person, contact: Contact | None, connector: ConnectorConfig, *, address_change: str
) -> Plan:
    """What to tell the vendor about a former contact. ``contact`` is None once the hub has forgotten it."""
    if contact is None or (contact.email is not None and same_address(contact.email, person.email)):
        return Skip(reason="unchanged", detail="the former contact is the person's own again, or gone")
    if address_change == "merge":
        return Skip(reason="unchanged", detail="this vendor is told of the former address with the profile")
    ref, email = FormerRef(contact.email, contact.remote_id), contact.email or person.email
    at, delivery_id = as_datetime(delivery.first_at), f"{delivery.id}.{delivery.rev}"
    if delivery.kind == "consent":
        purpose = delivery.subject
        if purpose not in connector.consents:
            return Skip(reason="not-mapped")
        told = ConsentEvent(
            delivery_id=delivery_id,
            person=person.name,
            email=email,
            remote_id=contact.remote_id,
            purpose=purpose,
            target=connector.consents[purpose],
            state="denied",
            held=dict(contact.consents),
            said_at=at,
            at=at,
        )
        return Send(event=told, consent=(purpose, "denied"), email=email, former=ref)
    leaving = audiences_to_leave(contact, connector)
    if not leaving:
        return Skip(reason="unchanged")
    event = ProfileEvent(
        delivery_id=delivery_id,
        person=person.name,
        email=email,
        remote_id=contact.remote_id,
        desired=dict(contact.fields),
        audiences=AudienceChange(remove={name: connector.audiences[name] for name in leaving}),
        held=dict(contact.consents),
        at=at,
    )
    return Send(event=event, left=leaving, email=email, former=ref)
