"""What a waiting delivery comes to once it is its turn: read from the store and computed; nothing is written yet."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct, field

from esplanade.config.model import ConnectorConfig
from esplanade.ingest.retire import former_ref
from esplanade.ingest.world import World
from esplanade.records import AudienceRun, Contact, Delivery, Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import contacts, mapping
from esplanade.sync.guard import admit, limit
from esplanade.sync.identity import address_key
from esplanade.sync.plan import FormerRef, Plan, Send, Skip, TriggerBody, plan
from esplanade.sync.retirement import plan_retirement

_trigger = msgspec.msgpack.Decoder(TriggerBody).decode


class Decision(Struct, frozen=True, kw_only=True):
    """What to send, or why nothing is sent, and what is to be written along with either."""

    plan: Plan
    contact: Contact | None = None
    """The former contact that it is about."""
    told_with_profile: bool = False
    """The vendor hears of the former contact with the person's profile, which is due then."""
    runs: dict[str, AudienceRun] = field(default_factory=dict)
    """How the guard counts, once this is sent, by audience."""
    kept: dict[str, str] = field(default_factory=dict)
    """The audiences out of which the guard lets nobody more be taken now, each with what a human is told of it."""


class Planner:
    """Decides for one connector."""

    def __init__(self, connector: ConnectorConfig, world: Callable[[], World]) -> None:
        self._connector = connector
        self._world = world

    def decide(self, unit: Unit, delivery: Delivery, person: Person, remote: Remote | None, now: float) -> Decision:
        """What a delivery comes to, for what is known of the person and of what the vendor holds of them."""
        connector = self._connector
        if not person.email:
            return Decision(plan=Skip(reason="no-email"))
        if delivery.kind not in connector.receives:  # queued before a reload took it away
            detail = f"{connector.name} no longer receives this kind"
            return Decision(plan=Skip(reason="not-mapped", detail=detail))
        former = former_ref(delivery)
        if former is not None:
            return self._retirement(unit, delivery, person, remote, former)
        traits = self._world().trait(connector.name)
        body = _trigger(delivery.payload) if delivery.kind == "trigger" else None
        decided = plan(delivery, person, remote, connector, traits=traits, now=now, trigger=body)
        if not isinstance(decided, Send) or not decided.left or delivery.force:
            return Decision(plan=decided)  # a human who replays a removal has been asked
        runs, kept = self._guarded(unit, remote, decided, now)
        if kept:
            decided = plan(delivery, person, remote, connector, traits=traits, now=now, staying=frozenset(kept))
        return Decision(plan=decided, runs=runs, kept=kept)

    def _retirement(
        self, unit: Unit, delivery: Delivery, person: Person, remote: Remote | None, former: FormerRef
    ) -> Decision:
        change = self._world().trait(self._connector.name).address_change
        contact = contacts.former_of(remote, former.email, former.remote_id) if remote else None
        if contact is not None and self._is_anothers(unit, contact, person, delivery.subject):
            contact = None
        return Decision(
            plan=plan_retirement(delivery, person, contact, self._connector, address_change=change),
            contact=contact,
            told_with_profile=contact is not None and change == "merge" and "profile" in self._connector.receives,
        )

    def _is_anothers(self, unit: Unit, contact: Contact, person: Person, purpose: str) -> bool:
        """Whether the address of a former contact is by now that of somebody else, who is to have what it would lose."""
        key = address_key(contact.email or "")
        holder = unit.person_by_email(key) if key else None
        if holder is None or holder.id == person.id:
            return False
        if purpose:
            return mapping.desired_consent(holder, self._connector, purpose) in {"granted", "pending"}
        return any(mapping.desired_audiences(holder, self._connector).get(name) for name in contact.audiences)

    def _guarded(
        self, unit: Unit, remote: Remote | None, decided: Send, now: float
    ) -> tuple[dict[str, AudienceRun], dict[str, str]]:
        """Which removals the guard counts, and which it does not let happen now."""
        share = self._world().hub.guard.max_removals
        runs: dict[str, AudienceRun] = {}
        kept: dict[str, str] = {}
        for name in decided.left:
            if _was_sent_away(remote, name):
                continue  # let through before its call failed
            run = unit.audience(self._connector.name, name)
            if admit(run, now, share):
                runs[name] = run
            else:
                kept[name] = _asks(self._connector.name, name, run, share)
        return runs, kept


def _asks(connector: str, audience: str, run: AudienceRun, share: float) -> str:
    return (
        f"more than {limit(run.began_with, share)} of {run.began_with} people would leave the audience {audience} at "
        f"{connector} within an hour, and hub.guard.max_removals allows no more; the others stay for now. Look at who "
        f"removes them; then `esplanade replay --connector {connector} --reason guard` takes them out"
    )


def _was_sent_away(remote: Remote | None, audience: str) -> bool:
    """Whether the last that was sent of a membership is its end."""
    sent = remote.sent.get(f"audience:{audience}", []) if remote is not None else []
    return remote is not None and bool(sent) and sent[-1].value is False and sent[-1].at >= remote.acked_at
