"""Outbound work: from due deliveries to a plugin's hook, and from its outcome to the base."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Literal, cast

import msgspec
from msgspec.structs import replace

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig
from esplanade.context import Context
from esplanade.errors import OutcomeUnknown, PluginError
from esplanade.ingest.changes import LIVE, work
from esplanade.ingest.retire import chain_of, former_ref, move_on
from esplanade.ingest.world import World
from esplanade.model import Outcome
from esplanade.records import Contact, Delivery, Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import contacts, mapping, merge
from esplanade.sync.guard import admit, limit
from esplanade.sync.identity import address_key
from esplanade.sync.plan import Plan, Send, Skip, TriggerBody, plan, sent_values
from esplanade.sync.retirement import plan_retirement

from .desk import Finished, Round, Work
from .settle import Settlement
from .verdict import Verdict, judge

_trigger = msgspec.msgpack.Decoder(TriggerBody).decode
_encode = msgspec.msgpack.Encoder().encode
_outcome = msgspec.msgpack.Decoder(Outcome).decode

Hook = Callable[[Any, Context], Awaitable[Any]]


class OutboundDesk:
    """Claims, sends and settles the deliveries of one connector."""

    def __init__(
        self,
        connector: ConnectorConfig,
        *,
        world: Callable[[], World],
        hooks: dict[str, Hook],
        ctx: Context,
        clock: Clock,
        repeat: Literal["safe", "never"],
        rng: Random,
    ) -> None:
        self.lane = connector.name
        self.connector = connector
        self._world = world
        self._hooks = hooks
        self._ctx = ctx
        self._clock = clock
        self._repeat = repeat
        self._rng = rng
        self._settlement = Settlement(connector)
        self._alerts: dict[str, str] = {}

    # On the writer.

    def recover(self, unit: Unit, now: float) -> int:
        claimed = unit.in_flight(self.lane)
        for delivery in claimed:
            if delivery.kind == "trigger" and self._repeat == "never":
                delivery.state, delivery.reason = "parked", "outcome-unknown"
                delivery.last_error = "the hub stopped while this was being sent"
                told = self._settlement.note(
                    delivery, now, "failed", reason="outcome-unknown", detail=delivery.last_error
                )
                unit.note(told)
            else:
                delivery.state, delivery.due_at = "pending", now
                self._settlement.lose_base(unit, delivery)
            unit.save_delivery(delivery)
        return len(claimed)

    def round(self, unit: Unit, finished: list[Finished], want: int, busy: set[int], now: float) -> Round:
        self._alerts = {}
        for one in finished:
            self._settlement.settle(unit, one, now)
        work: list[Work] = []
        more = False
        taken = set(busy)
        if want:
            due = unit.due(self.lane, now, want * 2, busy)
            more = len(due) == want * 2
            for delivery in due:
                if len(work) == want:
                    more = True
                    break
                person = delivery.person or 0
                if person in taken:
                    continue
                taken.add(person)
                head = self._head(unit, delivery, now)
                if head is None:
                    continue
                claimed = self._claim(unit, head, now)
                if claimed is not None:
                    work.append(claimed)
                else:
                    more = True
        return Round(
            work=work,
            more=more,
            next_due_at=unit.next_due_at(self.lane) if not more else now,
            barrier=any(claimed.job[1].kind == "trigger" for claimed in work),
            alerts=self._alerts,
        )

    def _head(self, unit: Unit, delivery: Delivery, now: float) -> Delivery | None:
        """What goes first for the person of a due delivery: an opt-out at once, else the oldest."""
        waiting = unit.waiting(self.lane, delivery.person or 0)
        if any(other.state == "in_flight" for other in waiting):
            return None  # under another number too, when two people turned out to be one meanwhile
        if delivery.urgency == 0:
            return delivery
        head = waiting[0]
        if head.due_at > now:
            unit.hold_back(self.lane, delivery.person or 0, head.due_at, head.id)
            return None
        return head

    def _claim(self, unit: Unit, delivery: Delivery, now: float) -> Work | None:
        person = unit.person(delivery.person or 0)
        assert person is not None
        world = self._world()
        traits = world.trait(self.lane)
        remote = unit.remote(person.id, self.lane)
        if remote is not None:
            move_on(unit, person, remote, self.connector, traits, chain_of(delivery, now))
        former = former_ref(delivery)
        contact = contacts.former_of(remote, former.email, former.remote_id) if former and remote else None
        body = _trigger(delivery.payload) if delivery.kind == "trigger" else None
        decided: Plan
        if not person.email:
            decided = Skip(reason="no-email")
        elif delivery.kind not in self.connector.receives:  # queued before a reload took it away
            decided = Skip(reason="not-mapped", detail=f"{self.lane} no longer receives this kind")
        elif former is not None:
            if contact is not None and self._is_anothers(unit, contact, person, delivery.subject):
                contact = None
            if contact is not None and traits.address_change == "merge" and "profile" in self.connector.receives:
                unit.enqueue_state(work(self.lane, "profile", person, "", LIVE, chain_of(delivery, now)))
            decided = plan_retirement(delivery, person, contact, self.connector, address_change=traits.address_change)
        else:
            decided = plan(delivery, person, remote, self.connector, traits=traits, now=now, trigger=body)
            staying = self._staying(unit, delivery, remote, decided, now)
            if staying:
                decided = plan(delivery, person, remote, self.connector, traits=traits, now=now, staying=staying)
        if isinstance(decided, Skip):
            self._settlement.finish(
                unit, delivery, now, outcome="expired" if decided.reason == "expired" else "unchanged"
            )
            unit.note(self._settlement.note(delivery, now, "not-sent", reason=decided.reason, detail=decided.detail))
            return None
        remote = remote or Remote(person=person.id, connector=self.lane)
        window = world.hub.echo_window
        for key, value in sent_values(decided).items():
            merge.remember_sent(remote, key, value, now, window)
        if contact is not None and decided.consent is not None:
            contact.told[decided.consent[0]] = now
        remote.root, remote.hops = delivery.root, delivery.hops
        unit.save_remote(remote)
        delivery.state = "in_flight"
        delivery.attempts += 1
        unit.save_delivery(delivery)
        return Work(delivery=delivery.id, rev=delivery.rev, key=person.id, job=(decided, delivery))

    def _is_anothers(self, unit: Unit, contact: Contact, person: Person, purpose: str) -> bool:
        """Whether the address of a former contact is by now that of somebody else, who is to have what it would lose."""
        key = address_key(contact.email or "")
        holder = unit.person_by_email(key) if key else None
        if holder is None or holder.id == person.id:
            return False
        if purpose:
            return mapping.desired_consent(holder, self.connector, purpose) in {"granted", "pending"}
        return any(mapping.desired_audiences(holder, self.connector).get(name) for name in contact.audiences)

    def _staying(
        self, unit: Unit, delivery: Delivery, remote: Remote | None, decided: Plan, now: float
    ) -> frozenset[str]:
        """The audiences out of which the guard lets nobody more be taken now; that is kept for a human to decide on."""
        if not isinstance(decided, Send) or delivery.force:
            return frozenset()
        share = self._world().hub.guard.max_removals
        staying = set()
        for name in decided.left:
            if delivery.attempts and _was_sent_away(remote, name):
                continue  # let through before its call failed
            run = unit.audience(self.lane, name)
            if admit(run, now, share):
                unit.save_audience(self.lane, name, run)
                continue
            staying.add(name)
            allowed = limit(run.began_with, share)
            self._alerts[f"guard:{self.lane}:{name}"] = (
                f"more than {allowed} of {run.began_with} people would leave the audience {name} at {self.lane} within an hour, "
                "and hub.guard.max_removals allows no more; the others stay for now. Look at who removes them; then "
                f"`esplanade replay --connector {self.lane} --reason guard` takes them out"
            )
        if staying:
            unit.park(replace(delivery, id=0, rev=0, reason="guard", due_at=now, first_at=now, last_error=None))
            unit.note(
                self._settlement.note(delivery, now, "not-sent", reason="guard", detail=", ".join(sorted(staying)))
            )
        return frozenset(staying)

    # On the event loop.

    async def do(self, work: Work) -> tuple[Verdict, list[Any]]:
        send, delivery = cast("tuple[Send, Delivery]", work.job)
        result: Outcome | Exception
        try:
            result = await self._call(delivery.kind, send.event)
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises becomes a verdict
            result = problem
        except SystemExit:  # asyncio would let it end the hub
            result = PluginError("the plugin raised SystemExit")
        return self._judge(result, delivery), []

    def overdue(self, work: Work) -> Verdict:
        _, delivery = cast("tuple[Send, Delivery]", work.job)
        return self._judge(OutcomeUnknown(f"no answer from the plugin within {self.connector.timeout:g} s"), delivery)

    async def _call(self, kind: str, event: Any) -> Outcome:
        hook = self._hooks.get(f"on_{kind}")
        if hook is not None:
            result = await hook(event, self._ctx)
        else:
            answers = await self._hooks[f"on_{kind}_batch"]([event], self._ctx)
            if not isinstance(answers, list) or len(answers) != 1:
                raise PluginError(f"on_{kind}_batch must return a list with one outcome per event")
            result = answers[0]
            if isinstance(result, Exception):
                raise result
        if not isinstance(result, Outcome):
            raise PluginError(f"on_{kind} must return an Outcome, not {type(result).__name__}")
        try:  # what is no Outcome in its parts could be written into the base, and never be read again
            return _outcome(_encode(result))
        except (msgspec.MsgspecError, TypeError, OverflowError) as problem:
            raise PluginError(f"on_{kind} returned an Outcome that is none: {problem}") from None

    def _judge(self, result: Outcome | Exception, delivery: Delivery) -> Verdict:
        now = self._clock.time()
        return judge(result, delivery, now=now, retry=self.connector.retry, rng=self._rng, repeat=self._repeat)


def _was_sent_away(remote: Remote | None, audience: str) -> bool:
    """Whether the last that was sent of a membership is its end."""
    sent = remote.sent.get(f"audience:{audience}", []) if remote is not None else []
    return bool(sent) and sent[-1].value is False
