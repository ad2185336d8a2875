"""Queueing work, claiming it, and writing down what became of it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from esplanade.records import Attempt, Delivery, DeliveryFilter, Place, Urgency

from .deliveries import IN_FLIGHT as CLAIMED
from .deliveries import LANES, NAMES, NEXT_DUE, PARKED, SELECT, TRIGGERS, DeliveryReads, made
from .many import Many
from .shelf import Shelf

_rows = msgspec.json.Decoder(list[list[Any]]).decode
_encode = msgspec.json.Encoder().encode

ROOM = 8_192
"""How many people's open work the writer remembers."""
ATTEMPTS_KEPT = 20

TIMES = ("due_at", "first_at", "expires_at", "took_s")
_AS_JSON = SELECT.replace("d.payload", "hex(d.payload)")
for _name in TIMES:  # JSON's numbers lose the last digits of a REAL in SQLite; quote() keeps them
    _AS_JSON = _AS_JSON.replace(f"d.{_name}", f"iif(d.{_name} IS NULL, NULL, quote(d.{_name}))")
_WHAT, _, _WHENCE = _AS_JSON.partition(" FROM ")
TOGETHER = (
    f"SELECT json_group_array(json_array({_WHAT})) FROM {_WHENCE} "
    "WHERE d.state = 'pending' AND d.person IN (SELECT value FROM json_each(?1)) "
    "AND d.lane IN (SELECT value FROM json_each(?2))"
)
OF_ONE = f"SELECT {SELECT} WHERE d.state = 'pending' AND d.person = ? AND d.lane = ?"
PLACES = (
    "SELECT json_group_array(json_array(urgency, quote(due_at), id, person)) FROM (SELECT urgency, due_at, id, person "
    "FROM deliveries WHERE state = 'pending' AND lane = ? AND urgency = ? AND (due_at, id) > (?, ?) AND due_at <= ? "
    "ORDER BY due_at, id LIMIT ?)"
)
_CHANGING = [
    name for name in NAMES if name not in {"id", "lane", "kind", "subject", "first_at", "expires_at", "payload"}
]
SAVE = Many(
    f"INSERT INTO deliveries ({', '.join(NAMES)}, done_at)",
    len(NAMES) + 1,
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in [*_CHANGING, "done_at"] if name != "person"),
)
CLAIM = Many("INSERT OR IGNORE INTO claims (delivery, lane)", 2)
UNCLAIM = "DELETE FROM claims WHERE delivery IN (SELECT value FROM json_each(?))"
IN_CLAIMS = "SELECT delivery FROM claims"
BRING_FORWARD = "UPDATE deliveries SET due_at = max(:now, due_at - :by) WHERE state = 'pending' AND due_at > :now"
ADD_GUARD = "INSERT OR IGNORE INTO guards (lane, key, at) VALUES (?, ?, ?)"
ADD_ATTEMPTS = Many("INSERT INTO attempts (delivery, at, took_s, outcome, error, exchange)", 6)
CUT_ATTEMPTS = (
    "DELETE FROM attempts WHERE id IN (SELECT id FROM ("
    "SELECT id, row_number() OVER (PARTITION BY delivery ORDER BY id DESC) AS nth FROM attempts "
    f"WHERE delivery IN (SELECT value FROM json_each(?))) WHERE nth > {ATTEMPTS_KEPT})"
)

Group: TypeAlias = dict[int, Delivery]


class DeliveryWrites(DeliveryReads):
    """Queueing, claiming and settling. Rows are written together, when the unit ends or asks past what it remembers."""

    _newborn: set[int]

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._open: Shelf[tuple[str, int], Group] = Shelf(ROOM)
        """What waits or is under way, by lane and person."""
        self._begun: set[tuple[str, int]] = set()
        """For which of the newborn something was queued."""
        self._unwritten: dict[int, Delivery] = {}
        self._claims: dict[int, str] = {}
        self._unclaimed: list[int] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._places: dict[str, list[Place]] = {}
        self._shuffled: set[str] = set()
        self._in_flight = {row[0] for row in db.execute(IN_CLAIMS)}
        self._last_delivery = super().last_delivery()

    def expect_work(self, people: Iterable[int], lanes: Iterable[str]) -> None:
        """Read at once what waits or is under way for these people in these lanes."""
        lanes = list(lanes)
        keys = [(lane, person) for person in people if person not in self._newborn for lane in lanes]
        unknown = [key for key in keys if key not in self._open]
        if not unknown:
            return
        self._write_rows()
        groups: dict[tuple[str, int], Group] = {key: {} for key in unknown}
        given = (json.dumps(sorted({person for _, person in unknown})), json.dumps(lanes))
        for row in _rows(self.db.execute(TOGETHER, given).fetchone()[0]):
            row[_PAYLOAD] = bytes.fromhex(row[_PAYLOAD])
            for at in _TIMES:
                row[at] = None if row[at] is None else float(row[at])
            delivery = made(row)
            if (group := groups.get((delivery.lane, delivery.person or 0))) is not None:
                group[delivery.id] = delivery
        for key, group in groups.items():
            self._open.learn(key, group)

    # Questions, answered with what is still to be written.

    def delivery(self, delivery: int) -> Delivery | None:
        known = self._unwritten.get(delivery)
        if known is not None:
            return replace(known)
        self._write_claims()
        return super().delivery(delivery)

    def waiting(self, lane: str, person: int) -> list[Delivery]:
        return [replace(each) for each in self._in_order(lane, person)]

    def last_delivery(self) -> int:
        return self._last_delivery

    def parked(self, lane: str, person: int, reason: str) -> list[Delivery]:
        self._write_rows()
        return [made(row) for row in self.db.execute(PARKED, (person, lane, reason))]

    def triggers(self, person: int) -> list[Delivery]:
        self._write_rows()
        return [made(row) for row in self.db.execute(TRIGGERS, (person,))]

    def in_flight(self, lane: str) -> list[Delivery]:
        self._write_rows()
        return [made(row) for row in self.db.execute(CLAIMED, (lane,))]

    def places(self, lane: str, urgency: int, after: tuple[float, int], until: float, limit: int) -> list[Place]:
        self._write_rows()
        (found,) = self.db.execute(PLACES, (lane, urgency, *after, until, limit)).fetchone()
        return [Place(urgency, float(due_at), number, person) for urgency, due_at, number, person in _rows(found)]

    def next_due_at(self, lane: str, urgency: int, after: float) -> float | None:
        self._write_rows()
        (at,) = self.db.execute(NEXT_DUE, (lane, urgency, after)).fetchone()
        return at if at is None else float(at)

    def deliveries(
        self, wanted: DeliveryFilter, *, after: int = 0, limit: int = 100
    ) -> list[tuple[Delivery, str | None]]:
        self._write_rows()
        return super().deliveries(wanted, after=after, limit=limit)

    def open_deliveries(self, person: int) -> dict[str, int]:
        self._write_rows()
        return super().open_deliveries(person)

    def attempts(self, delivery: int) -> list[Attempt]:
        self._write_rows()
        self._write_attempts()
        return super().attempts(delivery)

    # Changes.

    def enqueue_state(self, delivery: Delivery) -> int:
        waiting = self._in_order(delivery.lane, delivery.person or 0)
        kept = []
        if delivery.state == "parked":
            kept = self.parked(delivery.lane, delivery.person or 0, delivery.reason or "")
        for other in (*waiting, *kept):
            if (other.kind, other.subject, other.payload) == (delivery.kind, delivery.subject, delivery.payload):
                raised = replace(other)
                raised.rev += 1
                raised.urgency = min(raised.urgency, delivery.urgency)
                raised.root, raised.hops, raised.event_id = delivery.root, delivery.hops, delivery.event_id
                if delivery.urgency == Urgency.OPT_OUT:
                    raised.due_at = delivery.due_at
                self._put(raised)
                if raised.urgency == Urgency.OPT_OUT and raised.state == "in_flight":
                    self._show(raised)  # what was claimed of it says what it said before
                return raised.id
        if delivery.urgency > Urgency.OPT_OUT:
            delivery.due_at = max([delivery.due_at, *(other.due_at for other in waiting)])
        return self._add(delivery)

    def enqueue(self, delivery: Delivery) -> int:
        waiting = self._in_order(delivery.lane, delivery.person) if delivery.person is not None else []
        delivery.due_at = max([delivery.due_at, *(other.due_at for other in waiting)])
        for other in waiting:
            if other.urgency > delivery.urgency:
                lifted = replace(other)
                lifted.urgency = delivery.urgency
                self._put(lifted)
        return self._add(delivery)

    def park(self, delivery: Delivery) -> bool:
        same = (delivery.kind, delivery.subject)
        waiting = self.parked(delivery.lane, delivery.person or 0, delivery.reason or "")
        if any((other.kind, other.subject) == same for other in waiting):
            return False
        delivery.state = "parked"
        self._add(delivery)
        return True

    def claim(self, delivery: Delivery) -> None:
        delivery.state = "in_flight"
        delivery.attempts += 1
        claimed = replace(delivery)
        self._in_flight.add(delivery.id)
        self._claims[delivery.id] = delivery.lane
        if delivery.id in self._unwritten:
            self._unwritten[delivery.id] = claimed
        self._regroup(claimed)

    def save_delivery(self, delivery: Delivery) -> None:
        under_way = delivery.id in self._in_flight
        if delivery.state == "in_flight" and not under_way:
            self._in_flight.add(delivery.id)
            self._claims[delivery.id] = delivery.lane
        elif delivery.state != "in_flight" and under_way:
            self._in_flight.discard(delivery.id)
            if self._claims.pop(delivery.id, None) is None:
                self._unclaimed.append(delivery.id)
        self._put(replace(delivery))

    def hold_back(self, lane: str, person: int, until: float, after: int) -> None:
        for each in self._in_order(lane, person):
            if each.state == "pending" and each.id > after and each.due_at < until and each.urgency > Urgency.OPT_OUT:
                self._put_off(each, until)

    def bring_forward(self, seconds: float, now: float) -> None:
        self._write_rows()
        self._open.forget()
        self.db.execute(BRING_FORWARD, {"by": seconds, "now": now})
        self._shuffled.update(lane for (lane,) in self.db.execute(LANES))

    def release(self, lane: str, person: int, now: float) -> None:
        for each in self._in_order(lane, person):
            if each.state == "pending" and each.due_at > now and each.attempts == 0:
                self._put_off(each, now)

    def remind(self, lane: str, person: int) -> None:
        for each in self._in_order(lane, person):
            if each.state == "pending":
                self._show(each)

    def guard(self, lane: str, key: str, now: float) -> bool:
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        return self.db.execute(ADD_GUARD, (lane, digest, now)).rowcount == 1

    def add_attempt(self, attempt: Attempt) -> None:
        exchange = None if attempt.exchange is None else _encode(attempt.exchange).decode()
        self._attempts.append((attempt.delivery, attempt.at, attempt.took_s, attempt.outcome, attempt.error, exchange))

    # Between units.

    def write_work(self) -> None:
        """Write what is still to be written of work."""
        self._write_rows()
        self._write_attempts()
        self._begun.clear()

    def forget_work(self) -> None:
        """What is remembered may be wrong, and what was to be written was undone."""
        self._open.forget()
        self._begun.clear()
        self._unwritten.clear()
        self._claims.clear()
        self._unclaimed.clear()
        self._attempts.clear()
        self._in_flight = {row[0] for row in self.db.execute(IN_CLAIMS)}

    def shuffled(self, lane: str) -> None:
        """Say that work in a lane may have become due in a way that left no trace here."""
        self._shuffled.add(lane)

    def take_places(self) -> tuple[dict[str, list[Place]], set[str]]:
        """What may have become due since this was last asked, by lane, and the lanes in which anything may."""
        taken = self._places, self._shuffled
        self._places, self._shuffled = {}, set()
        return taken

    # Inside.

    def _in_order(self, lane: str, person: int) -> list[Delivery]:
        group = self._open.get((lane, person))
        if group is None:
            group = {}
            if not self._has_none(lane, person):
                self._write_rows()
                group = {row[0]: made(row) for row in self.db.execute(OF_ONE, (person, lane))}
            self._open.learn((lane, person), group)
        return list(group.values()) if len(group) < 2 else sorted(group.values(), key=_number)

    def _add(self, delivery: Delivery) -> int:
        self._last_delivery += 1
        delivery.id = self._last_delivery
        self._put(replace(delivery))
        return delivery.id

    def _put_off(self, delivery: Delivery, until: float) -> None:
        moved = replace(delivery)
        moved.due_at = until
        self._put(moved)

    def _put(self, delivery: Delivery) -> None:
        self._unwritten[delivery.id] = delivery
        self._regroup(delivery)
        if delivery.state == "pending":
            self._show(delivery)

    def _regroup(self, delivery: Delivery) -> None:
        if delivery.person is None:
            return
        key = (delivery.lane, delivery.person)
        group = self._open.get(key)
        if group is None:
            if not self._has_none(*key):
                return
            group = {}
            self._open.learn(key, group)
        if delivery.state in {"pending", "in_flight"}:
            group[delivery.id] = delivery
        else:
            group.pop(delivery.id, None)
        if delivery.person in self._newborn:
            self._begun.add(key)

    def _has_none(self, lane: str, person: int) -> bool:
        """Whether nothing can be open for somebody in a lane, because the store has only just come to know them."""
        return person in self._newborn and (lane, person) not in self._begun

    def _show(self, delivery: Delivery) -> None:
        place = Place(delivery.urgency, delivery.due_at, delivery.id, delivery.person)
        self._places.setdefault(delivery.lane, []).append(place)

    def _write_rows(self) -> None:
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, {}
            SAVE.write(self.db, [_row(each) for each in unwritten.values()])
        self._write_claims()

    def _write_claims(self) -> None:
        if self._unclaimed:
            self.db.execute(UNCLAIM, (json.dumps(self._unclaimed),))
            self._unclaimed.clear()
        if self._claims:
            CLAIM.write(self.db, list(self._claims.items()))
            self._claims.clear()

    def _write_attempts(self) -> None:
        if self._attempts:
            attempts, self._attempts = self._attempts, []
            ADD_ATTEMPTS.write(self.db, attempts)
            self.db.execute(CUT_ATTEMPTS, (json.dumps([attempt[0] for attempt in attempts]),))


_PAYLOAD = NAMES.index("payload")
_TIMES = [NAMES.index(name) for name in TIMES]


def _number(delivery: Delivery) -> int:
    return delivery.id


def _row(delivery: Delivery) -> tuple[Any, ...]:
    """A delivery as it is stored: one that is under way waits as far as its row knows, and its claim says the rest."""
    under_way = delivery.state == "in_flight"
    return (
        delivery.id,
        delivery.lane,
        delivery.kind,
        delivery.person,
        delivery.subject,
        delivery.urgency,
        "pending" if under_way else delivery.state,
        delivery.rev,
        delivery.due_at,
        delivery.first_at,
        delivery.attempts - under_way,
        delivery.root,
        delivery.hops,
        delivery.event_id,
        delivery.expires_at,
        delivery.payload,
        delivery.outcome,
        delivery.reason,
        delivery.last_error,
        delivery.force,
        delivery.unsure,
        delivery.took_s,
        delivery.due_at if delivery.state == "done" else None,
    )
