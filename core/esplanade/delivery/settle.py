"""Settling outbound work: from the verdict on a call to the base, the queue, the timeline and the attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, assert_never

import msgspec

from esplanade.config.model import ConnectorConfig
from esplanade.ingest.changes import Chain
from esplanade.ingest.retire import chain_of, former_ref, retire, tell_all
from esplanade.model import Held, Outcome, ProfileEvent
from esplanade.reasons import PluginReason, Reason
from esplanade.records import Attempt, ConnectorState, Contact, Delivery, Note, Person, Remote, Urgency
from esplanade.store.port import Unit
from esplanade.sync import contacts, merge
from esplanade.sync.plan import Send

from .desk import Finished, Work
from .verdict import Done, Park, Pause, Reject, RetryAt, Wait, Withdrawn


class Settlement:
    """Writes down what came of one connector's calls. On the writer."""

    def __init__(self, connector: ConnectorConfig, *, max_hops: Callable[[], int] = lambda: 0) -> None:
        self.lane = connector.name
        self._max_hops = max_hops
        self._connector = connector

    def settle(self, unit: Unit, one: Finished[Send], now: float) -> int | None:
        """Write down what came of one call; returns whose it was, None when it is gone, as after an erasure."""
        delivery = self._ended(unit, one, now)
        if delivery is None:
            return None
        send = one.work.job
        rev = one.work.delivery.rev
        error: str | None = None
        match one.answer.verdict:
            case Done(outcome=outcome):
                if self._acknowledge(unit, delivery, send, outcome, now):
                    delivery = self._claimed(unit, one.work) or delivery  # what follows may be the same work again
                delivery.took_s = one.took_s
                self._done(unit, delivery, rev, outcome, now)
            case RetryAt(at=at, error=error, unknown=unknown):
                if delivery.urgency == Urgency.OPT_OUT and delivery.rev != rev:
                    at = now  # an opt-out came in meanwhile, which waits only for the call that was under way
                delivery.unsure = delivery.unsure or unknown
                self._again(unit, delivery, at, error)
                unit.note(self.note(delivery, now, "failed", reason="retried", detail=error))
            case Wait(at=at_, error=error):
                delivery.attempts -= 1
                self._again(unit, delivery, now if at_ is None else at_, error)
                unit.note(self.note(delivery, now, "failed", reason="quota", detail=error))
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                delivery.state = "dead" if isinstance(one.answer.verdict, Reject) else "parked"
                delivery.reason, delivery.last_error = reason, error
                self._refused(unit, delivery, send, rev, now)
                unit.note(self.note(delivery, now, "failed", reason=reason, detail=error))
            case Pause(error=error):
                delivery.attempts -= 1
                self._again(unit, delivery, now, error)
                unit.note(self.note(delivery, now, "failed", reason="paused", detail=error))
            case Withdrawn():
                delivery.state, delivery.attempts = "pending", delivery.attempts - 1
                unit.save_delivery(delivery)
            case _:
                assert_never(one.answer.verdict)
        if error is not None:
            unit.add_attempt(attempt(one, error))
            unit.save_connector_state(
                msgspec.structs.replace(unit.connector_state(self.lane), last_error=error, last_error_at=now)
            )
        return delivery.person

    def set_aside(self, unit: Unit, delivery: Delivery, error: str, now: float) -> None:
        """Keep work of which the hub itself cannot make anything, so that it holds up nobody."""
        delivery.state, delivery.reason, delivery.last_error = "dead", "not-planned", error
        unit.save_delivery(delivery)
        unit.note(self.note(delivery, now, "failed", reason="not-planned", detail=error))
        unit.release(self.lane, delivery.person or 0, now)

    def _ended(self, unit: Unit, one: Finished[Send], now: float) -> Delivery | None:
        """The delivery of a call that has ended, with what follows however it did; None when it is in hand no more."""
        verdict = one.answer.verdict
        if isinstance(verdict, Pause):  # even when whom it was about is gone
            self._pause(unit, verdict.state, verdict.error, now)
        delivery = self._claimed(unit, one.work)
        if delivery is not None and not isinstance(verdict, Done | Withdrawn):
            # the hook may have made several requests, and a vendor acts before it fails
            self.lose_base(unit, delivery, asked=one.work.job.asks and isinstance(verdict, Park))
        return delivery

    def _claimed(self, unit: Unit, work: Work[Send]) -> Delivery | None:
        """The delivery of a call that has ended, as it is now; None when it is in hand no more."""
        waiting = unit.waiting(self.lane, work.key)
        found = next((each for each in waiting if each.id == work.delivery.id), None) or unit.delivery(work.delivery.id)
        return found if found is not None and found.state == "in_flight" else None

    def _again(self, unit: Unit, delivery: Delivery, at: float, error: str) -> None:
        delivery.state, delivery.due_at, delivery.last_error = "pending", at, error
        unit.save_delivery(delivery)
        unit.hold_back(self.lane, delivery.person or 0, at, delivery.id)

    def _acknowledge(self, unit: Unit, delivery: Delivery, send: Send, outcome: Outcome, now: float) -> bool:
        """base := what was acknowledged. Whether more must be told now."""
        person = unit.person(delivery.person or 0)
        assert person is not None
        remote = unit.remote(person.id, self.lane) or Remote(person=person.id, connector=self.lane)
        held = outcome.status == "delivered" or (
            outcome.status == "unchanged" and outcome.reason in {None, "unchanged"}
        )
        chain = chain_of(delivery, now)
        known = list(remote.former)
        contact = self._other_contact(person, remote, send, outcome)
        if contact is None and send.former is not None and not contacts.is_own(remote, send.former):
            return False  # the hub has forgotten it meanwhile
        if contact is not None:
            self._count(unit, contact.audiences, send)
            _hold(contact, send, held=held)
            unit.save_remote(remote)
            return send.former is None and retire(unit, person, self._connector, contact, chain)
        left = _left_behind(remote, send, outcome) or next((one for one in remote.former if one not in known), None)
        another = None not in {remote.remote_id, outcome.remote_id} and remote.remote_id != outcome.remote_id
        remade = held and left is None and (another or merge.is_gone(remote))
        remade = remade and delivery.hops <= self._max_hops()
        if remade:
            self._lose_contact(unit, delivery, remote, now)
        remote.remote_id = outcome.remote_id or remote.remote_id
        if held and delivery.kind == "profile":
            self._count(unit, remote.owned, send)
            _hold_profile(remote, send)
        elif held and delivery.kind == "trigger":
            remote.email = remote.email or send.email
        if outcome.acknowledged:
            remote.fields.update(outcome.acknowledged)
        if send.consent is not None and (outcome.status != "unchanged" or outcome.reason != "no-consent"):
            _hold_consent(remote, send.email, *send.consent)
        return self._follow_up(unit, person, remote, send, left, chain, held=held, remade=remade)

    def _follow_up(
        self,
        unit: Unit,
        person: Person,
        remote: Remote,
        send: Send,
        left: Contact | None,
        chain: Chain,
        *,
        held: bool,
        remade: bool,
    ) -> bool:
        """What the vendor must be told next, once it has said which of its contacts the person is; whether there is any."""
        moved_from = _moved_from(send) if held else None
        absorbed = left is None and contacts.forget(remote, moved_from, None)
        joined = contacts.take_back(remote, remote.email, remote.remote_id) and moved_from is not None
        if absorbed or joined:  # whose subscriptions the one contact has kept that is left of two, nobody knows
            remote.consents, remote.perhaps_denied = {}, []
        if joined or "profile" not in self._connector.receives:
            remote.unknown = joined  # without ids, nor whose fields
        remote.acked_at = chain.now
        unit.save_remote(remote)
        if left is not None:
            retire(unit, person, self._connector, left, chain)
        if left is None and not absorbed and not joined and not remade:
            return False
        if remade:
            chain = msgspec.structs.replace(chain, hops=chain.hops + 1)  # a vendor may name another contact each time
        tell_all(unit, person, self._connector, chain)
        return True

    def _lose_contact(self, unit: Unit, delivery: Delivery, remote: Remote, now: float) -> None:
        """The vendor has made the contact anew, so the one that the hub knew was deleted there, and nothing of it is left."""
        for name in remote.owned:
            run = unit.audience(self.lane, name)
            run.members = max(run.members - 1, 0)
            unit.save_audience(self.lane, name, run)
        remote.fields, remote.audiences, remote.owned, remote.perhaps_denied = {}, {}, [], []
        remote.consents = {purpose: state for purpose, state in remote.consents.items() if state == "pending"}
        detail = "the vendor no longer had this contact, and made another one"
        unit.note(self.note(delivery, now, "reported", reason="drift", detail=detail))

    def _count(self, unit: Unit, owned: list[str], send: Send) -> None:
        """Keep count of the members whom the hub has put into each audience, for the guard."""
        for name, more in [(name, 1) for name in send.joined] + [(name, -1) for name in send.left]:
            if (name in owned) == (more < 0):
                run = unit.audience(self.lane, name)
                run.members = max(run.members + more, 0)
                unit.save_audience(self.lane, name, run)

    def _other_contact(self, person: Person, remote: Remote, send: Send, outcome: Outcome) -> Contact | None:
        """The contact that was written, when it is not, or while the call was under way ceased to be, the person's own."""
        if send.former is not None:
            return contacts.former_of(remote, send.former.email, send.former.remote_id)
        return contacts.about(remote, person, send.email, outcome.remote_id or send.event.remote_id, _moved_from(send))

    def _done(self, unit: Unit, delivery: Delivery, rev: int, outcome: Outcome, now: float) -> None:
        sent = outcome.status != "unchanged"
        if sent:
            unit.note(self.note(delivery, now, "sent"))
        else:
            reason: Reason | PluginReason = PluginReason(outcome.reason) if outcome.reason else "unchanged"
            unit.note(self.note(delivery, now, "not-sent", reason=reason))
        if delivery.rev != rev:  # changed while it was being sent: what is due now is computed anew
            delivery.state, delivery.due_at, delivery.attempts, delivery.force = "pending", now, 0, False
            unit.save_delivery(delivery)
            return
        self.finish(unit, delivery, now, outcome="delivered" if sent else "unchanged")

    def finish(self, unit: Unit, delivery: Delivery, now: float, *, outcome: str) -> None:
        delivery.state, delivery.outcome, delivery.due_at, delivery.last_error = "done", outcome, now, None
        unit.save_delivery(delivery)
        unit.release(self.lane, delivery.person or 0, now)

    def _refused(self, unit: Unit, delivery: Delivery, send: Send, rev: int, now: float) -> None:
        more_left = delivery.rev != rev and delivery.kind != "trigger"  # something newer came meanwhile
        if delivery.kind == "profile" and delivery.reason == "rejected":
            remote = unit.remote(delivery.person or 0, self.lane)
            if remote is not None:
                remote.rejected.update(send.fields)
                unit.save_remote(remote)
            # a value that the vendor does not take keeps nobody out of an audience, or in one
            more_left = more_left or bool(send.fields and (send.joined or send.left))
        unit.save_delivery(delivery)
        unit.release(self.lane, delivery.person or 0, now)
        if more_left:
            unit.enqueue_state(
                msgspec.structs.replace(
                    delivery,
                    state="pending",
                    due_at=now,
                    first_at=now,
                    reason=None,
                    attempts=0,
                    rev=0,
                    last_error=None,
                    force=False,
                )
            )

    def asked(self, unit: Unit, delivery: Delivery) -> bool:
        """Whether a call that was claimed was to make the vendor ask the person to confirm."""
        if delivery.kind != "consent" or former_ref(delivery) is not None:
            return False
        remote = unit.remote(delivery.person or 0, self.lane)
        sent = remote.sent.get(f"consent:{delivery.subject}", []) if remote is not None else []
        return bool(sent) and sent[-1].value == "pending"

    def lose_base(self, unit: Unit, delivery: Delivery, *, asked: bool) -> None:
        """Nobody knows any more what the vendor holds. ``asked``: it has perhaps asked the person, and is not told to again."""
        if delivery.kind == "trigger" or delivery.person is None:
            return
        remote = unit.remote(delivery.person, self.lane) or Remote(person=delivery.person, connector=self.lane)
        if delivery.kind != "consent" or remote.email is None:  # else it writes no fields: the contact is there
            remote.unknown = True
        if delivery.kind == "consent" and former_ref(delivery) is None:
            # what else is acknowledged says nothing of this purpose
            before = remote.consents.pop(delivery.subject, None)
            last = remote.sent.get(f"consent:{delivery.subject}", [])[-1:]
            if before == "denied" or any(sent.value == "denied" for sent in last):
                remote.perhaps_denied = sorted({*remote.perhaps_denied, delivery.subject})
            if asked:
                remote.asked[delivery.subject], remote.consents[delivery.subject] = before, "pending"
        tried = remote.sent.get("address", [])
        if remote.email is None and tried:  # it may have made a contact there
            remote.email = str(tried[-1].value)
        remote.owned = sorted({*remote.owned, *_perhaps_joined(remote)})
        unit.save_remote(remote)

    def _pause(self, unit: Unit, state: Literal["auth", "gone"], error: str, now: float) -> None:
        held = unit.connector_state(self.lane)
        if held.state == "ok":
            unit.save_connector_state(ConnectorState(name=self.lane, state=state, reason=error, since=now))

    def note(
        self,
        delivery: Delivery,
        now: float,
        what: Literal["sent", "not-sent", "failed", "reported"],
        *,
        reason: Reason | PluginReason | None = None,
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


def attempt(one: Finished[Any], error: str) -> Attempt:
    """A call that failed, for the log of attempts."""
    return Attempt(
        delivery=one.work.delivery.id,
        at=one.began_at,
        took_s=one.took_s,
        outcome=one.answer.verdict.word,
        error=error,
        exchange=one.answer.exchange,
    )


def _hold(contact: Contact, send: Send, *, held: bool) -> None:
    """Note what a contact that is not the person's own holds now."""
    if send.consent is not None:
        purpose, state = send.consent
        contact.consents[purpose] = state
        if state != "denied":
            contact.told.pop(purpose, None)
    elif held:
        contact.fields.update(send.fields)
        contact.audiences = sorted((set(contact.audiences) | set(send.joined)) - set(send.left))


def _moved_from(send: Send) -> str | None:
    """The address from which the vendor was told to move a contact."""
    return send.event.previous_email if isinstance(send.event, ProfileEvent) else None


def _perhaps_joined(remote: Remote) -> list[str]:
    """The audiences into which a call may have put the person that was never acknowledged."""
    return [
        key.removeprefix("audience:")
        for key, sent in remote.sent.items()
        if key.startswith("audience:") and sent[-1].value is True and sent[-1].at >= remote.acked_at
    ]


def _left_behind(remote: Remote, send: Send, outcome: Outcome) -> Contact | None:
    """The person's contact until now, when the vendor had another one at the new address and wrote to that."""
    if (
        _moved_from(send) is None
        or None in {outcome.remote_id, remote.remote_id}
        or outcome.remote_id == remote.remote_id
    ):
        return None
    return contacts.part(remote)


def _hold_consent(remote: Remote, email: str, purpose: str, state: Held) -> None:
    if state == "pending":
        remote.asked[purpose] = remote.consents.get(purpose)
    remote.consents[purpose] = state
    remote.perhaps_denied = [each for each in remote.perhaps_denied if each != purpose]
    if state != "denied":
        remote.email = remote.email or email


def _hold_profile(remote: Remote, send: Send) -> None:
    remote.email, remote.unknown = send.email, False
    remote.fields.update(send.fields)
    remote.audiences.update(dict.fromkeys(send.joined, True))
    remote.audiences.update(dict.fromkeys(send.left, False))
    remote.owned = sorted((set(remote.owned) | set(send.joined)) - set(send.left))
    for name in send.fields:
        remote.rejected.pop(name, None)
