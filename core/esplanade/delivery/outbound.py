"""Outbound work: from due deliveries to a plugin's hook, and from its outcome to the base."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Literal, cast

import msgspec

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig
from esplanade.context import Context
from esplanade.errors import OutcomeUnknown, PluginError
from esplanade.ingest.world import World
from esplanade.model import Outcome
from esplanade.records import Attempt, ConnectorState, Delivery, Note, Remote
from esplanade.store.port import Unit
from esplanade.sync import merge
from esplanade.sync.plan import Plan, Send, Skip, TriggerBody, plan, sent_values

from .desk import Finished, Round, Work
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict, judge

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

    # On the writer.

    def recover(self, unit: Unit, now: float) -> int:
        claimed = unit.in_flight(self.lane)
        for delivery in claimed:
            if delivery.kind == "trigger" and self._repeat == "never":
                delivery.state, delivery.reason = "parked", "outcome-unknown"
                delivery.last_error = "the hub stopped while this was being sent"
            else:
                delivery.state, delivery.due_at = "pending", now
                self._lose_base(unit, delivery)
            unit.save_delivery(delivery)
        return len(claimed)

    def round(self, unit: Unit, finished: list[Finished], want: int, busy: set[int], now: float) -> Round:
        for one in finished:
            self._settle(unit, one, now)
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
        )

    def _head(self, unit: Unit, delivery: Delivery, now: float) -> Delivery | None:
        """What goes first for the person of a due delivery: an opt-out at once, else the oldest."""
        if delivery.urgency == 0:
            return delivery
        waiting = unit.waiting(self.lane, delivery.person or 0)
        if any(other.state == "in_flight" for other in waiting):
            return None
        head = waiting[0]
        if head.due_at > now:
            unit.hold_back(self.lane, delivery.person or 0, head.due_at, head.id)
            return None
        return head

    def _claim(self, unit: Unit, delivery: Delivery, now: float) -> Work | None:
        person = unit.person(delivery.person or 0)
        assert person is not None
        remote = unit.remote(person.id, self.lane)
        body = _trigger(delivery.payload) if delivery.kind == "trigger" else None
        world = self._world()
        decided: Plan
        if not person.email:
            decided = Skip(reason="no-email")
        elif delivery.kind not in self.connector.receives:  # queued before a reload took it away
            decided = Skip(reason="not-mapped", detail=f"{self.lane} no longer receives this kind")
        else:
            traits = world.trait(self.lane)
            decided = plan(delivery, person, remote, self.connector, read_only=traits.read_only, now=now, trigger=body)
        if isinstance(decided, Skip):
            self._finish(unit, delivery, now, outcome="expired" if decided.reason == "expired" else "unchanged")
            unit.note(self._note(delivery, now, "not-sent", reason=decided.reason, detail=decided.detail))
            return None
        remote = remote or Remote(person=person.id, connector=self.lane)
        window = world.hub.echo_window
        for key, value in sent_values(decided).items():
            merge.remember_sent(remote, key, value, now, window)
        remote.root, remote.hops = delivery.root, delivery.hops
        unit.save_remote(remote)
        delivery.state = "in_flight"
        delivery.attempts += 1
        unit.save_delivery(delivery)
        return Work(delivery=delivery.id, rev=delivery.rev, key=person.id, job=(decided, delivery))

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

    # Settling, on the writer.

    def _settle(self, unit: Unit, one: Finished, now: float) -> None:
        delivery = unit.delivery(one.work.delivery)
        if delivery is None or delivery.state != "in_flight":
            return
        send, _ = cast("tuple[Send, Delivery]", one.work.job)
        error: str | None = None
        label: str
        match one.verdict:
            case Done(outcome=outcome):
                self._acknowledge(unit, delivery, send, outcome, now)
                self._done(unit, delivery, one.work.rev, outcome, now)
                label = outcome.status
            case RetryAt(at=at, error=error, base_unknown=unknown):
                label = "retried"
                if delivery.urgency == 0 and delivery.rev != one.work.rev:
                    at = now  # an opt-out came in meanwhile, which waits only for the call that was under way
                delivery.state, delivery.due_at, delivery.last_error = "pending", at, error
                if unknown:
                    self._lose_base(unit, delivery)
                unit.save_delivery(delivery)
                unit.hold_back(self.lane, delivery.person or 0, at, delivery.id)
                unit.note(self._note(delivery, now, "failed", detail=error))
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                label = "rejected" if isinstance(one.verdict, Reject) else "parked"
                delivery.state = "dead" if isinstance(one.verdict, Reject) else "parked"
                delivery.reason, delivery.last_error = reason, error
                self._refused(unit, delivery, send, one.work.rev, now)
                unit.note(self._note(delivery, now, "failed", reason=reason, detail=error))
            case Pause(state=state, error=error):
                label = "paused"
                delivery.state, delivery.due_at, delivery.last_error = "pending", now, error
                delivery.attempts -= 1
                unit.save_delivery(delivery)
                self._pause(unit, state, error, now)
        attempt = Attempt(delivery=delivery.id, at=one.began_at, took_s=one.took_s, outcome=label, error=error)
        unit.add_attempt(attempt)
        if error is not None:
            unit.save_connector_state(
                msgspec.structs.replace(unit.connector_state(self.lane), last_error=error, last_error_at=now)
            )

    def _acknowledge(self, unit: Unit, delivery: Delivery, send: Send, outcome: Outcome, now: float) -> None:
        """base := what was acknowledged."""
        remote = unit.remote(delivery.person or 0, self.lane) or Remote(
            person=delivery.person or 0, connector=self.lane
        )
        remote.remote_id = outcome.remote_id or remote.remote_id
        held = outcome.status == "delivered" or (
            outcome.status == "unchanged" and outcome.reason in {None, "unchanged"}
        )
        if held and delivery.kind == "profile":
            remote.email, remote.unknown = send.email, False
            remote.fields.update(send.fields)
            remote.audiences.update(dict.fromkeys(send.joined, True))
            remote.audiences.update(dict.fromkeys(send.left, False))
            remote.owned = sorted((set(remote.owned) | set(send.joined)) - set(send.left))
            for name in send.fields:
                remote.rejected.pop(name, None)
        elif held and delivery.kind == "trigger":
            remote.email = remote.email or send.email
        if outcome.acknowledged:
            remote.fields.update(outcome.acknowledged)
        if send.consent is not None and (outcome.status != "unchanged" or outcome.reason != "no-consent"):
            purpose, state = send.consent
            if state == "pending":
                remote.asked[purpose] = remote.consents.get(purpose)
            remote.consents[purpose] = state
            if state != "denied":
                remote.email = remote.email or send.email
        remote.acked_at = now
        unit.save_remote(remote)

    def _done(self, unit: Unit, delivery: Delivery, rev: int, outcome: Outcome, now: float) -> None:
        sent = outcome.status != "unchanged"
        unit.note(
            self._note(
                delivery, now, "sent" if sent else "not-sent", reason=None if sent else outcome.reason or "unchanged"
            )
        )
        if delivery.rev != rev:  # changed while it was being sent: what is due now is computed anew
            delivery.state, delivery.due_at, delivery.attempts, delivery.force = "pending", now, 0, False
            unit.save_delivery(delivery)
            return
        self._finish(unit, delivery, now, outcome="delivered" if sent else "unchanged")

    def _finish(self, unit: Unit, delivery: Delivery, now: float, *, outcome: str) -> None:
        delivery.state, delivery.outcome, delivery.due_at, delivery.last_error = "done", outcome, now, None
        unit.save_delivery(delivery)
        unit.release(self.lane, delivery.person or 0, now)

    def _refused(self, unit: Unit, delivery: Delivery, send: Send, rev: int, now: float) -> None:
        if delivery.kind == "profile" and delivery.reason == "rejected":
            remote = unit.remote(delivery.person or 0, self.lane)
            if remote is not None:
                remote.rejected.update(send.fields)
                unit.save_remote(remote)
        unit.save_delivery(delivery)
        unit.release(self.lane, delivery.person or 0, now)
        if delivery.rev != rev and delivery.kind != "trigger":  # something newer came meanwhile and is still to be sent
            unit.enqueue_state(
                msgspec.structs.replace(delivery, state="pending", due_at=now, first_at=now, reason=None)
            )

    def _lose_base(self, unit: Unit, delivery: Delivery) -> None:
        if delivery.kind == "trigger" or delivery.person is None:
            return
        remote = unit.remote(delivery.person, self.lane) or Remote(person=delivery.person, connector=self.lane)
        remote.unknown = True
        unit.save_remote(remote)

    def _pause(self, unit: Unit, state: Literal["auth", "gone"], error: str, now: float) -> None:
        held = unit.connector_state(self.lane)
        if held.state == "ok":
            unit.save_connector_state(ConnectorState(name=self.lane, state=state, reason=error, since=now))

    def _note(
        self,
        delivery: Delivery,
        now: float,
        what: Literal["sent", "not-sent", "failed"],
        *,
        reason: str | None = None,
        detail: str = "",
    ) -> Note:
        return Note(
            person=delivery.person or 0,
            at=now,
            what=what,
            connector=self.lane,
            kind=delivery.kind,
            event_id=delivery.event_id,
            reason=reason,
            detail=detail or delivery.subject,
        )
