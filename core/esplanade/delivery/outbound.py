"""Outbound work: from due deliveries to a plugin's hooks, and from its outcomes to the base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from msgspec.structs import replace

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig
from esplanade.connector import TriggerRepeat
from esplanade.errors import OutcomeUnknown, PermanentError
from esplanade.ingest.changes import work
from esplanade.ingest.retire import chain_of, move_on
from esplanade.ingest.world import World
from esplanade.observe.metrics import Ended
from esplanade.records import Delivery, Person, Place, Remote, Urgency
from esplanade.store.port import Unit
from esplanade.sync import merge
from esplanade.sync.plan import Send, Skip, sent_values

from .desk import Answer, Finished, Free, Turn, Visit, Work
from .dispatch import Dispatch, Result
from .planning import Decision, Planner
from .seats import NoSeat, Seats
from .settle import Settlement
from .verdict import exchange_of, verdict_on


class OutboundDesk:
    """Claims, sends and settles the deliveries of one connector."""

    def __init__(
        self,
        connector: ConnectorConfig,
        dispatch: Dispatch,
        *,
        world: Callable[[], World],
        clock: Clock,
        repeat: TriggerRepeat,
        rng: Random,
        doubtful_before: float = 0.0,
    ) -> None:
        self.lane = connector.name
        self.connector = connector
        self.at_once = max(dispatch.at_once(kind) for kind in ("profile", "consent", "trigger"))
        # an opt-out takes back what waits, where this lane hears of it; and whoever finds a claim after a crash cannot tell
        # whether its call had begun
        asks = any(target.asks_to_confirm() for target in connector.consents.values())
        self.may_wait = _needed(connector) <= set(connector.consents) and not (
            (repeat == "never" and "trigger" in connector.receives) or (asks and "consent" in connector.receives)
        )
        self._dispatch = dispatch
        self._world = world
        self._clock = clock
        self._repeat = repeat
        self._rng = rng
        self._doubtful_before = doubtful_before
        self._planner = Planner(connector, world)
        self._settlement = Settlement(connector, max_hops=lambda: world().hub.max_hops)
        self._alerts: dict[str, str] = {}
        self._uncalled: dict[tuple[str, Ended], int] = {}

    def key(self, place: Place) -> int:
        return place.person or 0

    # On the writer.

    def recover(self, unit: Unit, now: float) -> int:
        claimed = unit.in_flight(self.lane)
        for delivery in claimed:
            error = "the hub stopped while this was being sent"
            asked = self._settlement.asked(unit, delivery)
            if asked or (delivery.kind == "trigger" and self._repeat == "never"):
                delivery.state, delivery.reason, delivery.last_error = "parked", "outcome-unknown", error
                told = self._settlement.note(delivery, now, "failed", reason="outcome-unknown", detail=error)
                unit.note(told)
            else:
                delivery.state, delivery.due_at = "pending", now
                if delivery.kind == "trigger":
                    delivery.unsure = True
                    delivery.due_at += self.connector.timeout if self._repeat == "check" else 0.0
            self._settlement.lose_base(unit, delivery, asked=asked)
            unit.save_delivery(delivery)
        return len(claimed)

    def visit(self, unit: Unit, turn: Turn[Send], *, careful: bool) -> Visit[Send]:
        people = {one.work.key for one in turn.finished} | {key for key, _ in turn.taken}
        unit.expect(people=people, lanes=(self.lane,))
        self._alerts, self._uncalled = {}, {}
        visit: Visit[Send] = Visit()
        seats = Seats(self._dispatch, turn.room, turn.open_calls)
        if careful:
            people |= self._carefully(unit, turn, seats, visit)
        else:
            settled = set[int]()
            self._settle_all(unit, turn.finished, turn.now, settled)
            people |= settled
            self._claim_all(unit, self._in_turn(unit, settled, turn.taken, turn.now), seats, visit, turn.now)
        for person in people - {one.key for one in visit.work}:
            if not any(each.state == "in_flight" for each in unit.waiting(self.lane, person)):
                unit.remind(self.lane, person)  # else the end of that call, under another number, does
        visit.alerts, visit.uncalled = self._alerts, self._uncalled
        if any(one.delivery.kind == "trigger" or one.job.joined for one in visit.work):
            unit.make_durable()  # a power cut must neither let a trigger go out twice nor hide a membership that was given
        return visit

    def _settle_all(self, unit: Unit, finished: Sequence[Finished[Send]], now: float, settled: set[int]) -> None:
        """Adds whose they were: somebody else's, when two people turned out to be one meanwhile."""
        for one in finished:
            person = self._settlement.settle(unit, one, now)
            if person is not None:
                settled.add(person)

    def _in_turn(
        self, unit: Unit, settled: set[int], taken: Sequence[tuple[int, Place]], now: float
    ) -> Sequence[tuple[int, Place]]:
        """Those who were taken, and those with whom a call has just ended and who have more that is due, in their order."""
        again = [(person, place) for person in settled if (place := self._next_place(unit, person, now)) is not None]
        return sorted([*again, *taken], key=_by_place) if again else taken

    def _next_place(self, unit: Unit, person: int, now: float) -> Place | None:
        places = [
            Place(each.urgency, each.due_at, each.id, person)
            for each in unit.waiting(self.lane, person)
            if each.state == "pending" and each.due_at <= now
        ]
        return min(places, default=None)

    def _claim_all(
        self, unit: Unit, taken: Sequence[tuple[int, Place]], seats: Seats, visit: Visit[Send], now: float
    ) -> None:
        for person, place in taken:
            claimed = self._claim_next(unit, person, max(place.urgency, Urgency.TRIGGER), seats, now)
            if isinstance(claimed, Work):
                visit.work.append(claimed)
            elif claimed is not None:  # as urgent as what found no seat: the window would offer it again at once
                visit.returned.append((person, place._replace(urgency=max(place.urgency, claimed.urgency))))

    def _carefully(self, unit: Unit, turn: Turn[Send], seats: Seats, visit: Visit[Send]) -> set[int]:
        """One by one, each undone alone: one of them raises, and the others shall not suffer for it. Whose they were."""
        now, settled = turn.now, set[int]()
        for one in turn.finished:
            problem = unit.attempt(partial(self._settle_all, unit, [one], now, settled))
            if problem is not None:
                self._set_aside(unit, unit.delivery(one.work.delivery.id), problem, now)
        for person, place in turn.taken:
            alone: Visit[Send] = Visit()
            problem = unit.attempt(partial(self._claim_all, unit, [(person, place)], seats, alone, now))
            if problem is not None:
                self._set_aside(unit, self._head(unit, person, now), problem, now)
                continue
            visit.work += alone.work
            visit.returned += alone.returned
        return settled

    def _claim_next(
        self, unit: Unit, person: int, urgency: int, seats: Seats, now: float
    ) -> Work[Send] | NoSeat | None:
        """What goes first for a person; what needs no call is done with on the way. None: nothing, now.

        ``urgency``: that of the work for which the person was taken; earlier work goes along with it.
        """
        while True:
            delivery = self._head(unit, person, now)
            if delivery is None:
                return None
            delivery.urgency = min(delivery.urgency, urgency)
            if not seats.any_for(delivery):
                return NoSeat(delivery.urgency)
            claimed = self._claim(unit, delivery, seats, now)
            if claimed is not None:
                return claimed

    def _head(self, unit: Unit, person: int, now: float) -> Delivery | None:
        """What goes first for a person: an opt-out at once, else the oldest."""
        waiting = unit.waiting(self.lane, person)
        if any(other.state == "in_flight" for other in waiting):
            return None  # under another number too, when two people turned out to be one meanwhile
        opt_out = next((each for each in waiting if each.urgency == Urgency.OPT_OUT and each.due_at <= now), None)
        if opt_out is not None or not waiting:
            return opt_out
        head = waiting[0]
        if head.due_at > now:
            unit.hold_back(self.lane, person, head.due_at, head.id)
            return None
        return head

    def _claim(self, unit: Unit, delivery: Delivery, seats: Seats, now: float) -> Work[Send] | NoSeat | None:
        person = unit.person(delivery.person or 0)
        assert person is not None
        remote = self._remote(unit, delivery, person, now)
        decision = self._planner.decide(unit, delivery, person, remote, now)
        decided = decision.plan
        if isinstance(decided, Skip):
            self._heed_the_guard(unit, delivery, decision, now)
            if decision.told_with_profile:
                unit.enqueue_state(work(self.lane, "profile", person, "", Urgency.LIVE, chain_of(delivery, now)))
            self._skip(unit, delivery, decided, now)
            return None
        seat = seats.take(delivery, decided.event)
        if seat is None:
            return NoSeat(delivery.urgency)
        self._heed_the_guard(unit, delivery, decision, now)
        remote = remote or Remote(person=person.id, connector=self.lane)
        merge.remember_sent(remote, sent_values(decided), now, self._world().hub.echo_window)
        if decision.contact is not None and decided.consent is not None:
            decision.contact.told[decided.consent[0]] = now
        remote.root, remote.hops = delivery.root, delivery.hops
        unit.save_remote(remote)
        unit.claim(delivery)
        return Work(delivery=delivery, key=person.id, job=decided, call=seat.call, weight=seat.weight)

    def _remote(self, unit: Unit, delivery: Delivery, person: Person, now: float) -> Remote | None:
        """What the vendor holds of a person, who goes on to a new contact where the former cannot follow to a new address."""
        remote = unit.remote(person.id, self.lane)
        if delivery.first_at <= self._doubtful_before:  # the power may have taken what an earlier process knew
            remote = remote or Remote(person=person.id, connector=self.lane)
            remote.unknown = True
        if remote is not None:
            traits = self._world().trait(self.lane)
            move_on(unit, person, remote, self.connector, traits, chain_of(delivery, now))
        return remote

    def _skip(self, unit: Unit, delivery: Delivery, decided: Skip, now: float) -> None:
        outcome: Ended = "expired" if decided.reason == "expired" else "unchanged"
        self._uncalled[delivery.kind, outcome] = self._uncalled.get((delivery.kind, outcome), 0) + 1
        self._settlement.finish(unit, delivery, now, outcome=outcome)
        unit.note(self._settlement.note(delivery, now, "not-sent", reason=decided.reason, detail=decided.detail))

    def _heed_the_guard(self, unit: Unit, delivery: Delivery, decision: Decision, now: float) -> None:
        """Count who leaves; what nobody may leave now is kept for a human to decide on."""
        for name, run in decision.runs.items():
            unit.save_audience(self.lane, name, run)
        if decision.kept:
            self._alerts.update({f"guard:{self.lane}:{name}": why for name, why in decision.kept.items()})
            unit.park(replace(delivery, id=0, rev=0, reason="guard", due_at=now, first_at=now, last_error=None))
            detail = ", ".join(sorted(decision.kept))
            unit.note(self._settlement.note(delivery, now, "not-sent", reason="guard", detail=detail))

    def _set_aside(self, unit: Unit, delivery: Delivery | None, problem: Exception, now: float) -> None:
        if delivery is not None:
            error = f"the hub could not work out what to do with this: {type(problem).__name__}"
            self._settlement.set_aside(unit, delivery, error, now)

    # On the event loop.

    def free(self, call: Sequence[Work[Send]]) -> Free | None:
        first = call[0].delivery
        items = self._dispatch.at_once(first.kind) - len(call)
        size = self._dispatch.max_bytes - sum(one.weight for one in call)
        if items <= 0 or size <= 0 or first.kind == "trigger" or first.urgency == Urgency.OPT_OUT:
            return None  # a trigger that waits, claimed, is one more in doubt when the hub is killed
        return Free(items, size)

    async def do(self, call: Sequence[Work[Send]]) -> list[Answer]:
        first = call[0].delivery
        if first.kind == "trigger" and first.unsure and self._repeat == "check":  # it is alone in its call
            found = await self._dispatch.look_up(call[0].job.event)
            if found is not None:
                no_word = isinstance(found, OutcomeUnknown | PermanentError)
                return [self._answer(found, call[0], lost=no_word)]
        results = await self._dispatch.call(first.kind, [one.job.event for one in call])
        return [self._answer(result, one) for one, result in zip(call, results, strict=True)]

    def overdue(self, call: Sequence[Work[Send]]) -> list[Answer]:
        late = OutcomeUnknown(f"no answer from the plugin within {self.connector.timeout:g} s")
        return [self._answer(late, one) for one in call]

    def _answer(self, result: Result, work: Work[Send], *, lost: bool = False) -> Answer:
        if lost and isinstance(result, PermanentError):
            result = OutcomeUnknown(f"whether it was sent cannot be told: {result}")
        verdict = verdict_on(
            result,
            work.delivery,
            now=self._clock.time(),
            retry=self.connector.retry,
            rng=self._rng,
            repeat="never" if lost else self._repeat,
            look_up_after_s=self.connector.timeout,
            asks=work.job.asks,
        )
        return Answer(verdict=verdict, exchange=exchange_of(result))


def _by_place(one: tuple[int, Place]) -> Place:
    return one[1]


def _needed(connector: ConnectorConfig) -> set[str]:
    """The purposes without which something is not sent there."""
    needed = {connector.requires, *(target.requires for target in connector.triggers.values())}
    return {purpose for purpose in needed if purpose is not None}
