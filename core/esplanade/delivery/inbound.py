"""Inbound work: stored webhooks are read by their plugin, people are read again, and what is said goes into the journal."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import TypeAlias, assert_never

import msgspec
from msgspec import Struct

from esplanade.clock import Clock, as_datetime
from esplanade.config.model import ConnectorConfig
from esplanade.context import Context
from esplanade.errors import AuthenticationError, EndpointGone, PermanentError, PluginError, TemporaryError
from esplanade.ingest.shapes import HappeningIn, ReportIn, WebhookIn, WordIn
from esplanade.model import Happening, Inbound, InboundRequest, Outcome, PersonRef, Report
from esplanade.records import Delivery, Entry, Place, Remote
from esplanade.store.port import Unit

from . import backoff, declared
from .desk import Answer, Finished, Free, Turn, Visit, Work
from .settle import attempt
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict, Wait, Withdrawn, exchange_of, verdict_on

_webhook = msgspec.msgpack.Decoder(WebhookIn).decode
_encode = msgspec.msgpack.Encoder().encode
_report = msgspec.msgpack.Decoder(ReportIn).decode
_happening = msgspec.msgpack.Decoder(HappeningIn).decode

Reads = Callable[[InboundRequest, Context], Awaitable[list[Inbound]]]
Verifies = Callable[[InboundRequest, Context], Awaitable[bool]]
Fetches = Callable[[PersonRef, Context], Awaitable[Report | None]]


class Fetch(Struct, frozen=True, kw_only=True):
    """A person to read again, and when the reading was begun."""

    delivery: Delivery
    person: PersonRef
    began_at: float


Job: TypeAlias = Delivery | Fetch


class InboundDesk:
    """Reads the stored webhooks of one connector, and people again where a webhook left a doubt.

    Oldest first; one that fails waits without holding up the others.
    """

    def __init__(
        self,
        connector: ConnectorConfig,
        *,
        hook: Reads | None,
        verify: Verifies | None,
        fetch: Fetches | None,
        ctx: Context,
        clock: Clock,
        rng: Random,
        hook_key: str = "",
    ) -> None:
        self.lane = f"{connector.name}:in"
        self.at_once = 1
        self.may_wait = True
        self.connector = connector
        self._hook = hook
        self._verify = verify
        self._fetch = fetch
        self._ctx = ctx
        self._clock = clock
        self._rng = rng
        self._hook_key = hook_key

    def recover(self, unit: Unit, now: float) -> int:
        claimed = unit.in_flight(self.lane)
        for delivery in claimed:
            delivery.state, delivery.due_at = "pending", now
            unit.save_delivery(delivery)
        return len(claimed)

    def visit(self, unit: Unit, turn: Turn[Job], *, careful: bool) -> Visit[Job]:
        visit: Visit[Job] = Visit()
        now = turn.now
        for one in turn.finished:
            self._do(unit, one.work.delivery.id, partial(self._settle, unit, one, visit, now), now, careful=careful)
        for number, _ in turn.taken:
            self._do(unit, number, partial(self._claim, unit, number, visit, now), now, careful=careful)
        return visit

    def _do(self, unit: Unit, number: int, work: Callable[[], None], now: float, *, careful: bool) -> None:
        """Do one thing of a visit; carefully: undone alone where it raises, and what it is about set aside."""
        if not careful:
            work()
            return
        problem = unit.attempt(work)
        delivery = unit.delivery(number) if problem is not None else None
        if delivery is not None:
            delivery.state, delivery.reason, delivery.due_at = "dead", "not-planned", now
            delivery.last_error = f"the hub could not work out what to do with this: {type(problem).__name__}"
            unit.save_delivery(delivery)

    def _claim(self, unit: Unit, number: int, visit: Visit[Job], now: float) -> None:
        delivery = unit.delivery(number)
        if delivery is None or delivery.state != "pending" or delivery.due_at > now:
            return
        job = self._reading(unit, delivery, now) if delivery.kind == "fetch" else delivery
        if job is None:
            delivery.state, delivery.outcome = "done", "unchanged"
            delivery.reason, delivery.due_at = "no-email", now
            unit.save_delivery(delivery)
            return
        unit.claim(delivery)
        visit.work.append(Work(delivery=delivery, key=number, job=job, call=number))

    def _reading(self, unit: Unit, delivery: Delivery, now: float) -> Fetch | None:
        person = unit.person(delivery.person or 0)
        if person is None or not person.email:
            return None
        remote = unit.remote(person.id, self.connector.name) or Remote(person=person.id, connector=self.connector.name)
        ref = PersonRef(person=person.name, email=remote.email or person.email, remote_id=remote.remote_id)
        # it begins after whatever is acknowledged by now, even within the same tick of the clock
        return Fetch(delivery=delivery, person=ref, began_at=max(now, math.nextafter(remote.acked_at, math.inf)))

    def key(self, place: Place) -> int:
        return place.delivery

    def free(self, call: Sequence[Work[Job]]) -> Free | None:
        return None

    async def do(self, call: Sequence[Work[Job]]) -> list[Answer]:
        (work,) = call
        delivery = work.delivery
        said: list[Entry] = []
        result: Outcome | Exception
        try:
            said = await self._read_again(work.job) if isinstance(work.job, Fetch) else await self._read(delivery)
            result = Outcome()
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises becomes a verdict
            result = problem
        except SystemExit:  # asyncio would let it end the hub
            result = PluginError("the plugin raised SystemExit")
        return [Answer(verdict=self._verdict(result, delivery), exchange=exchange_of(result), yields=said)]

    def overdue(self, call: Sequence[Work[Job]]) -> list[Answer]:
        (work,) = call
        slow = TemporaryError(f"the {work.delivery.kind} was not read within {self.connector.timeout:g} s")
        return [Answer(verdict=self._verdict(slow, work.delivery))]

    async def _read_again(self, job: Fetch) -> list[Entry]:
        """What the vendor holds of a person now; a person whom it does not have is reported as deleted there."""
        report = await self._held(job.person)
        if report is None:
            report = Report(email=job.person.email, remote_id=job.person.remote_id, deleted=True)
        return [self._as_read(report, job.began_at)]

    async def _held(self, person: PersonRef) -> Report | None:
        if self._fetch is None:
            raise PermanentError("this connector's plugin cannot read one person")
        report = await self._fetch(person, self._ctx)
        if report is not None and not isinstance(report, Report):
            raise PluginError(f"fetch must return a Report or None, not {type(report).__name__}")
        return report

    def _as_read(self, report: Report, began_at: float, word: WordIn | None = None) -> Entry:
        body = report_body(report, read_at=began_at, pulled=True, word=word)
        return entry(self.connector.name, report, body, self._clock.time(), once=False)

    async def _read(self, delivery: Delivery) -> list[Entry]:
        stored = _webhook(delivery.payload)
        request = InboundRequest(
            method=stored.method,
            path=stored.path,
            query=stored.query,
            headers=stored.headers,
            body=stored.body,
            received_at=as_datetime(delivery.first_at),
        )
        webhook = self.connector.webhook
        if self._hook is None and webhook is None:
            raise PermanentError("this connector's plugin reads no webhooks")
        if not stored.verified and self._verify is not None and not await self._verify(request, self._ctx):
            raise PermanentError("the webhook is not the vendor's: its signature or token is wrong")
        if webhook is not None:
            call = declared.read_call(webhook, request, others_read=self._hook is not None).call
            if call is not None:
                return await self._believe(call, delivery)
            if self._hook is None:
                raise declared.no_rule(webhook)
        assert self._hook is not None
        said = await self._hook(request, self._ctx)
        if not isinstance(said, list):
            raise PluginError("on_inbound_webhook must return a list of Report and Happening")
        return [self._entry(one, delivery) for one in said]

    async def _believe(self, call: declared.Call, delivery: Delivery) -> list[Entry]:
        """What a call comes to that a rule of ``webhook:`` reads: its contact as it is now, and then what the rule lets count."""
        began_at = self._clock.time()
        contact = declared.check_contact(call, await self._held(PersonRef(person="", email=call.email)))
        said = declared.told(call, contact, self.connector, delivery.first_at, hook_key=self._hook_key)
        read = self._as_read(contact, began_at, said.word)
        return [read] if said.trigger is None else [read, self._entry(said.trigger, delivery)]

    def _entry(self, said: Inbound, delivery: Delivery) -> Entry:
        body: ReportIn | HappeningIn
        match said:
            case Report(read_at=read_at) if read_at is not None:
                return self._as_read(said, min(read_at.timestamp(), self._clock.time()))
            case Report():
                body = report_body(said, read_at=delivery.first_at, pulled=False)
            case Happening():
                event_id = said.event_id or delivery.event_id
                at = said.at.timestamp() if said.at is not None else None
                body = HappeningIn(name=said.name, email=said.email, trigger_id=event_id, data=said.data, at=at)
            case _:
                raise PluginError(f"on_inbound_webhook returned a {type(said).__name__}")
        return entry(self.connector.name, said, body, self._clock.time())

    def _verdict(self, result: Outcome | Exception, delivery: Delivery) -> Verdict:
        if isinstance(result, AuthenticationError | EndpointGone):
            result = TemporaryError(str(result))  # the outbound lane finds out by itself and pauses
        return verdict_on(
            result, delivery, now=self._clock.time(), retry=self.connector.retry, rng=self._rng, repeat="safe"
        )

    def _settle(self, unit: Unit, one: Finished[Job], visit: Visit[Job], now: float) -> None:
        delivery = unit.delivery(one.work.delivery.id)
        if delivery is None or delivery.state != "in_flight":
            return
        error: str | None = None
        match one.answer.verdict:
            case Done():
                unit.append(one.answer.yields)
                again = delivery.rev != one.work.delivery.rev  # somebody asked once more, after this reading was begun
                delivery.state, delivery.outcome = ("pending", None) if again else ("done", "delivered")
                delivery.due_at, delivery.last_error, delivery.took_s = now, None, one.took_s
            case RetryAt(at=at, error=error):
                delivery.state, delivery.due_at, delivery.last_error = "pending", at, error
            case Wait(at=at_, error=error):
                if at_ is None:
                    at_ = now + backoff.delay(delivery.attempts, self.connector.retry, self._rng)
                else:
                    delivery.attempts -= 1
                delivery.state, delivery.due_at, delivery.last_error = "pending", at_, error
            case Reject(reason=reason, error=error) | Park(reason=reason, error=error):
                delivery.state, delivery.reason, delivery.last_error = "dead", reason, error
            case Pause(error=error):
                delivery.state, delivery.due_at, delivery.last_error = "pending", now + 60, error
            case Withdrawn():
                delivery.state, delivery.attempts = "pending", delivery.attempts - 1
            case _:
                assert_never(one.answer.verdict)
        unit.save_delivery(delivery)
        visit.journalled += len(one.answer.yields)
        if error is not None:
            unit.add_attempt(attempt(one, error))
            held = unit.connector_state(self.connector.name)
            unit.save_connector_state(msgspec.structs.replace(held, last_error=error, last_error_at=now))


def report_body(report: Report, *, read_at: float, pulled: bool, word: WordIn | None = None) -> ReportIn:
    """A Report as the journal keeps it, with what was told in the call for which it was read."""
    return ReportIn(
        email=report.email,
        previous_email=report.previous_email,
        remote_id=report.remote_id,
        fields=report.fields,
        consents=report.consents,
        audiences=report.audiences,
        at=report.at.timestamp() if report.at is not None else None,
        read_at=read_at,
        pulled=pulled,
        confirmed=report.confirmed,
        evidence=report.evidence,
        deleted=report.deleted,
        word=word,
    )


def entry(connector: str, said: Inbound, body: ReportIn | HappeningIn, now: float, *, once: bool = True) -> Entry:
    """What a connector said as a journal entry; the vendor's own event id makes a repeat count once, unless not ``once``.

    Raises PluginError for what the fold could not read again.
    """
    try:
        encoded = _encode(body)
        _report(encoded) if isinstance(body, ReportIn) else _happening(encoded)
    except (msgspec.MsgspecError, TypeError, OverflowError) as problem:
        raise PluginError(f"the plugin gave a {type(said).__name__} that is none: {problem}") from None
    if said.event_id is not None and once:
        digest = hashlib.blake2b(f"{connector}\0{_name(said)}\0{said.event_id}".encode(), digest_size=16).hexdigest()
    else:
        digest = os.urandom(16).hex()
    return Entry(
        kind="report" if isinstance(body, ReportIn) else "happening",
        origin=connector,
        id=f"e-{digest}",
        at=now,
        body=encoded,
        dedupe=said.event_id is not None and once,
    )


def _name(said: Inbound) -> str:
    # one vendor event may report two people and a happening: each counts once
    return f"happening {said.name}" if isinstance(said, Happening) else f"report {said.email or said.remote_id}"
