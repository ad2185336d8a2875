"""What a waiting delivery comes to, now: the event for the plugin, or the reason why nothing is sent."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from msgspec import Struct, field

from esplanade.clock import as_datetime
from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.model import (
    AudienceChange,
    ConsentEvent,
    Held,
    ProductSet,
    ProfileEvent,
    TriggerEvent,
    TriggerTarget,
    Value,
)
from esplanade.reasons import Reason
from esplanade.records import Delivery, Person, Remote

from . import consent, mapping, merge

Event: TypeAlias = ProfileEvent[Any] | ConsentEvent[Any] | TriggerEvent[Any]


class FormerRef(Struct, frozen=True, array_like=True):
    """Names a former contact in the payload of the delivery that takes it off a list."""

    email: str | None
    remote_id: str | None


class Send(Struct, frozen=True, kw_only=True):
    """Call the plugin with this event; what follows is what the vendor holds once it acknowledges."""

    event: Event
    fields: dict[str, Value] = field(default_factory=dict)
    consent: tuple[str, Held] | None = None
    joined: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    email: str
    former: FormerRef | None = None
    """Not the person's own contact, but this one, which is to leave a list."""

    @property
    def asks(self) -> bool:
        """Whether it makes the vendor send the person a mail that asks them to confirm."""
        return self.consent is not None and self.consent[1] == "pending"


class Skip(Struct, frozen=True, kw_only=True):
    """Send nothing, for this reason."""

    reason: Reason
    detail: str = ""


Plan: TypeAlias = Send | Skip


class TriggerBody(Struct, kw_only=True, omit_defaults=True):
    """What a trigger carries while it waits, as the store keeps it."""

    trigger_id: str
    at: float
    origin: str = ""
    """Within whose scope the id counts."""
    language: str | None = None
    expires_at: float | None = None
    data: dict[str, Any] = field(default_factory=dict)
    products: ProductSet | None = None


def plan(
    delivery: Delivery,
    person: Person,
    remote: Remote | None,
    connector: ConnectorConfig,
    *,
    traits: Traits,
    now: float,
    trigger: TriggerBody | None = None,
    staying: frozenset[str] = frozenset(),
) -> Plan:
    """Compute one delivery from the person's current state and the vendor's base. ``trigger`` belongs to kind trigger.

    ``staying`` are audiences that the person must not be taken out of just now.
    """
    match delivery.kind:
        case "profile":
            return _profile(delivery, person, remote, connector, traits, staying)
        case "consent":
            return _consent(delivery, person, remote, connector, traits)
        case "trigger":
            assert trigger is not None
            return _trigger(delivery, person, remote, connector, traits, now, trigger)
        case _:
            raise ValueError(f"a delivery of kind {delivery.kind} has no plan")


def is_urgent_denial(person: Person, connector: ConnectorConfig, purpose: str) -> bool:
    """Whether what is due for a purpose is an opt-out, which overtakes everything."""
    return mapping.desired_consent(person, connector, purpose) == "denied"


def _profile(
    delivery: Delivery,
    person: Person,
    remote: Remote | None,
    connector: ConnectorConfig,
    traits: Traits,
    staying: frozenset[str],
) -> Plan:
    if connector.requires and not consent.granted(person, connector.requires):
        return Skip(reason="no-consent", detail=f"requires {connector.requires}")
    desired = mapping.desired_fields(person, connector, traits.read_only)
    memberships = mapping.desired_audiences(person, connector)
    audiences = {name: member for name, member in memberships.items() if name not in staying}
    wanted = merge.delta(person.email, desired, audiences, remote, traits)
    known = remote is not None and remote.email is not None
    if known and not delivery.force and wanted.is_empty() and not (remote and remote.unknown):
        return Skip(reason="not-owned" if wanted.not_owned else "unchanged", detail=", ".join(wanted.not_owned))
    changed = wanted.desired if delivery.force else wanted.changed
    event = ProfileEvent(
        delivery_id=f"{delivery.id}.{delivery.rev}",
        person=person.name,
        cdp_id=person.cdp_id,
        email=person.email,
        previous_email=wanted.renamed_from,
        remote_id=remote.remote_id if remote else None,
        changed=changed,
        cleared=wanted.cleared,
        desired=wanted.desired,
        audiences=AudienceChange(
            add={name: connector.audiences[name] for name in wanted.add},
            remove={name: connector.audiences[name] for name in wanted.remove},
        ),
        held=dict(remote.consents) if remote else {},
        at=as_datetime(delivery.first_at),
    )
    fields = {**changed, **dict.fromkeys(wanted.cleared)}
    return Send(event=event, fields=fields, joined=wanted.add, left=wanted.remove, email=person.email)


def _consent(
    delivery: Delivery,
    person: Person,
    remote: Remote | None,
    connector: ConnectorConfig,
    traits: Traits,
) -> Plan:
    purpose = delivery.subject
    wanted = mapping.desired_consent(person, connector, purpose)
    if wanted is None:
        if purpose not in connector.consents:
            return Skip(reason="not-mapped")
        return Skip(reason="no-consent", detail=_nothing_granted(person, purpose))
    held = remote.consents.get(purpose) if remote and not merge.is_gone(remote) else None
    unknown = remote.unknown if remote else False
    if held == wanted and not delivery.force and (not unknown or wanted == "pending"):
        return Skip(reason="unchanged")
    if connector.requires and not consent.granted(person, connector.requires):
        if wanted != "denied" and not (wanted == "pending" and purpose == connector.requires):
            return Skip(reason="no-consent", detail=f"requires {connector.requires}")
        if wanted == "denied" and not _may_hold(remote, purpose):
            return Skip(reason="no-consent", detail="never told of this person")
    standing = person.consents[purpose]
    event = ConsentEvent(
        delivery_id=f"{delivery.id}.{delivery.rev}",
        person=person.name,
        email=remote.email if wanted == "denied" and remote and remote.email else person.email,
        remote_id=remote.remote_id if remote else None,
        purpose=purpose,
        target=connector.consents[purpose],
        state=wanted,
        method=standing.method,
        desired=_present(mapping.desired_fields(person, connector, traits.read_only)),
        held={**dict.fromkeys(remote.perhaps_denied, "denied"), **remote.consents} if remote else {},
        said_at=as_datetime(standing.at),
        at=as_datetime(delivery.first_at),
    )
    return Send(event=event, consent=(purpose, wanted), email=event.email)


def _trigger(
    delivery: Delivery,
    person: Person,
    remote: Remote | None,
    connector: ConnectorConfig,
    traits: Traits,
    now: float,
    body: TriggerBody,
) -> Plan:
    target = trigger_target(connector, delivery.subject)
    if target is None:
        return Skip(reason="not-mapped")
    if delivery.expires_at is not None and now >= delivery.expires_at and not delivery.force:
        return Skip(reason="expired")
    for purpose in (target.requires, connector.requires):
        if purpose and not consent.granted(person, purpose):
            return Skip(reason="no-consent", detail=f"requires {purpose}")
    event = TriggerEvent(
        delivery_id=f"{delivery.id}.{delivery.rev}",
        person=person.name,
        email=person.email,
        remote_id=remote.remote_id if remote else None,
        trigger=delivery.subject,
        target=target,
        trigger_id=body.trigger_id,
        language=body.language,
        data=body.data,
        products=body.products,
        desired=_present(mapping.desired_fields(person, connector, traits.read_only)),
        expires_at=as_datetime(delivery.expires_at) if delivery.expires_at is not None else None,
        at=as_datetime(body.at),
    )
    return Send(event=event, email=person.email)


def _nothing_granted(person: Person, purpose: str) -> str:
    standing = person.consents.get(purpose)
    if standing is None:
        return f"nothing was said about {purpose}"
    return f"{purpose} is {'in doubt' if purpose in person.doubted else standing.state}"


def trigger_target(connector: ConnectorConfig, trigger: str) -> TriggerTarget | None:
    """What a trigger starts at a connector; ``*`` stands for every trigger not named."""
    return connector.triggers.get(trigger) or connector.triggers.get("*")


def _may_hold(remote: Remote | None, purpose: str) -> bool:
    return remote is not None and (remote.email is not None or remote.unknown or purpose in remote.consents)


def _present(fields: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if not merge.is_empty(value)}


def sent_values(send: Send) -> dict[str, Value]:
    """What leaves with a Send, under the keys by which echoes are told."""
    if send.former is not None:
        return {}
    makes_none = isinstance(send.event, TriggerEvent) or (send.consent is not None and send.consent[1] == "denied")
    values: dict[str, Value] = {} if makes_none else {"address": send.email}
    values |= {f"field:{name}": value for name, value in send.fields.items()}
    values.update({f"audience:{name}": True for name in send.joined})
    values.update({f"audience:{name}": False for name in send.left})
    if send.consent is not None:
        values[f"consent:{send.consent[0]}"] = cast("str", send.consent[1])
    if isinstance(send.event, TriggerEvent):
        values["trigger"] = send.event.trigger  # no echo comes of it, but what happens soon after belongs to its chain
    return values
