"""From a changed person to work in the lanes of the connectors that it concerns."""

from __future__ import annotations

import msgspec

from esplanade.config.model import ConnectorConfig
from esplanade.reasons import Reason
from esplanade.records import Person, Remote, Urgency
from esplanade.store.port import Unit
from esplanade.sync import consent, mapping, merge
from esplanade.sync.plan import TriggerBody, trigger_target

from .changes import Cause, Changes, skip, work
from .retire import move_on
from .world import World

_encode = msgspec.msgpack.Encoder().encode


def fan_out(
    unit: Unit,
    world: World,
    person: Person,
    changes: Changes,
    cause: Cause,
    *,
    back: Changes | None = None,
) -> None:
    """Queue what each connector must now be told, and note for the others why they are not.

    ``back`` is what the connector that reported all this must be told: only that in which the hub's word stands.
    """
    for connector in world.connectors.values():
        news = back if back is not None and connector.name == cause.entry.origin else changes
        remote = unit.remote(person.id, connector.name)
        if remote is not None and move_on(unit, person, remote, connector, world.trait(connector.name), cause.chain):
            continue
        if "profile" in connector.receives:
            _profile(unit, world, person, news, cause, connector, remote)
        if "consent" in connector.receives:
            for purpose in sorted(news.consents & connector.consents.keys()):
                _consent(unit, person, purpose, cause, connector, remote)


def fan_out_trigger(unit: Unit, world: World, person: Person, trigger: str, body: TriggerBody, cause: Cause) -> None:
    """Queue a trigger for every connector that maps it, once for each trigger id and person, for ever."""
    mapped = False
    reporter = cause.entry.origin if cause.entry.kind == "happening" else None
    for connector in world.connectors.values():
        target = trigger_target(connector, trigger)
        if target is None or "trigger" not in connector.receives or connector.name == reporter:
            continue
        if connector.source == cause.entry.origin and trigger not in connector.triggers:
            continue  # its own event, which it did not ask to have back
        mapped = True
        if not _first_time(unit, connector.name, trigger, body, person, cause.now):
            skip(unit, cause, person, connector.name, "duplicate", body.trigger_id)
            continue
        until = [body.expires_at, body.at + target.expires if target.expires else None]
        delivery = work(connector.name, "trigger", person, trigger, Urgency.TRIGGER, cause.chain)
        delivery.expires_at = min((at for at in until if at is not None), default=None)
        delivery.payload = _encode(body)
        unit.enqueue(delivery)
    if not mapped:
        skip(unit, cause, person, "", "not-mapped", trigger)


def _first_time(unit: Unit, lane: str, trigger: str, body: TriggerBody, person: Person, now: float) -> bool:
    """Whether this trigger was never queued for this person, nor for one of those who turned out to be them."""
    key = f"{body.origin}\0{trigger}\0{body.trigger_id}\0"
    kept = [unit.guard(lane, f"{key}{one}", now) for one in (person.id, *person.lineage)]
    return all(kept)


def _profile(
    unit: Unit,
    world: World,
    person: Person,
    changes: Changes,
    cause: Cause,
    connector: ConnectorConfig,
    remote: Remote | None,
) -> None:
    admitted = connector.requires in changes.consents and consent.granted(person, connector.requires or "")
    its_own = connector.source == cause.entry.origin and cause.entry.kind == "profile"
    touched = its_own or mapping.touches(connector, changes.fields, changes.audiences)
    if not (touched or changes.created or changes.renamed or admitted):
        return
    if connector.requires and not consent.granted(person, connector.requires):
        skip(unit, cause, person, connector.name, "no-consent", f"requires {connector.requires}")
        return
    if remote is not None and remote.email is not None and not remote.unknown:
        wanted = _delta(world, person, connector, remote)
        if wanted.is_empty() and not under_way(unit, connector, person, "profile", ""):
            reason: Reason = "not-owned" if wanted.not_owned else "unchanged"
            skip(unit, cause, person, connector.name, reason, ", ".join(wanted.not_owned))
            return
    urgency = Urgency.BACKFILL if cause.entry.backfill else Urgency.LIVE
    unit.enqueue_state(work(connector.name, "profile", person, "", urgency, cause.chain))


def _consent(
    unit: Unit,
    person: Person,
    purpose: str,
    cause: Cause,
    connector: ConnectorConfig,
    remote: Remote | None,
) -> None:
    wanted = mapping.desired_consent(person, connector, purpose)
    if wanted is None:
        why = "in doubt" if purpose in person.doubted else "pending"
        skip(unit, cause, person, connector.name, "no-consent", f"{purpose} is {why}")
        return
    is_sure = remote is not None and not remote.unknown and not merge.is_gone(remote)
    held = remote.consents.get(purpose) if remote is not None and is_sure else None
    if held == wanted and not under_way(unit, connector, person, "consent", purpose):
        skip(unit, cause, person, connector.name, "unchanged", purpose)
        return
    urgency = Urgency.OPT_OUT if wanted == "denied" else Urgency.BACKFILL if cause.entry.backfill else Urgency.LIVE
    delivery = work(connector.name, "consent", person, purpose, urgency, cause.chain)
    if cause.parked and connector.name == cause.entry.origin and delivery.state == "pending":
        # it was told so often, and says otherwise each time, that telling it again only feeds the loop
        delivery.state, delivery.reason = "parked", "loop"
    unit.enqueue_state(delivery)


def _delta(world: World, person: Person, connector: ConnectorConfig, remote: Remote) -> merge.Delta:
    desired = mapping.desired_fields(person, connector, world.trait(connector.name).read_only)
    audiences = mapping.desired_audiences(person, connector)
    return merge.delta(person.email, desired, audiences, remote, world.trait(connector.name))


def under_way(unit: Unit, connector: ConnectorConfig, person: Person, kind: str, subject: str) -> bool:
    """Whether a call is in flight that is about to change what the vendor holds."""
    return any(
        other.state == "in_flight" and other.kind == kind and other.subject == subject
        for other in unit.waiting(connector.name, person.id)
    )
