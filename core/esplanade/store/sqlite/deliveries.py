"""Work to do: queues per lane, order per person, attempts, and the guards of triggers."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection
from typing import Any

from esplanade.records import Attempt, Delivery, DeliveryFilter, QueueCounts

_COLUMNS = (
    "id, lane, kind, person, subject, urgency, state, rev, due_at, first_at, attempts, root, hops, event_id, "
    "expires_at, payload, outcome, reason, last_error, force"
)
DELIVERY = f"SELECT {_COLUMNS} FROM deliveries WHERE id = ?"
_DUE_OF_URGENCY = (
    f"SELECT * FROM (SELECT {_COLUMNS} FROM deliveries "
    "WHERE state = 'pending' AND lane = :lane AND urgency = {} AND due_at <= :now "
    "AND (person IS NULL OR person NOT IN (SELECT value FROM json_each(:busy))) ORDER BY due_at, id LIMIT :limit)"
)
DUE = " UNION ALL ".join(_DUE_OF_URGENCY.format(urgency) for urgency in range(4)) + " LIMIT :limit"
WAITING = (
    f"SELECT {_COLUMNS} FROM deliveries WHERE state IN ('pending', 'in_flight') AND lane = ? AND person = ? ORDER BY id"
)
TRIGGERS = f"SELECT {_COLUMNS} FROM deliveries WHERE person = ? AND kind = 'trigger' ORDER BY id"
PARKED = (
    f"SELECT {_COLUMNS} FROM deliveries WHERE state = 'parked' AND lane = ? AND person = ? AND reason = ? ORDER BY id"
)
IN_FLIGHT = f"SELECT {_COLUMNS} FROM deliveries WHERE state = 'in_flight' AND lane = ? ORDER BY id"
_NEXT_OF_URGENCY = "SELECT min(due_at) AS at FROM deliveries WHERE state = 'pending' AND lane = ?1 AND urgency = {}"
NEXT_DUE = f"SELECT min(at) FROM ({' UNION ALL '.join(_NEXT_OF_URGENCY.format(urgency) for urgency in range(4))})"
ADD = (
    "INSERT INTO deliveries (lane, kind, person, subject, urgency, state, rev, due_at, first_at, attempts, root, hops, "
    "event_id, expires_at, payload, reason) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, 0, ?, ?, ?, ?, ?, ?)"
)
RAISE = "UPDATE deliveries SET rev = rev + 1, urgency = min(urgency, ?), due_at = ?, root = ?, hops = ?, event_id = ? WHERE id = ?"
LIFT = (
    "UPDATE deliveries SET urgency = ?4 WHERE state IN ('pending', 'in_flight') AND lane = ?1 AND person = ?2 "
    "AND urgency > ?4 AND id < ?3"
)
SAVE = (
    "UPDATE deliveries SET state = ?, urgency = ?, rev = ?, due_at = ?, attempts = ?, outcome = ?, reason = ?, "
    "last_error = ?, force = ?, done_at = ? WHERE id = ?"
)
HOLD_BACK = (
    "UPDATE deliveries SET due_at = ?3 WHERE state = 'pending' AND lane = ?1 AND person = ?2 AND id > ?4 "
    "AND due_at < ?3 AND urgency > 0"
)
RELEASE = "UPDATE deliveries SET due_at = ?3 WHERE state = 'pending' AND lane = ?1 AND person = ?2 AND due_at > ?3 AND attempts = 0"
ADD_GUARD = "INSERT OR IGNORE INTO guards (lane, key, at) VALUES (?, ?, ?)"
ADD_ATTEMPT = "INSERT INTO attempts (delivery, at, took_s, outcome, error) VALUES (?, ?, ?, ?, ?)"
CUT_ATTEMPTS = (
    "DELETE FROM attempts WHERE delivery = ?1 AND id <= "
    "(SELECT id FROM attempts WHERE delivery = ?1 ORDER BY id DESC LIMIT 1 OFFSET 20)"
)
ATTEMPTS = "SELECT delivery, at, took_s, outcome, error FROM attempts WHERE delivery = ? ORDER BY id"
LANES = "SELECT DISTINCT lane FROM deliveries"
DURATIONS = "SELECT a.took_s FROM attempts a JOIN deliveries d ON d.id = a.delivery WHERE d.lane = ? ORDER BY a.id DESC LIMIT 1000"
COUNTS = "SELECT lane, state, count(*) FROM deliveries WHERE state <> 'done' GROUP BY lane, state"
COUNT_DUE = "SELECT lane, count(*), min(due_at) FROM deliveries WHERE state = 'pending' AND due_at <= ? GROUP BY lane"
OPEN = "SELECT lane, count(*) FROM deliveries WHERE person = ? AND state IN ('pending', 'in_flight') GROUP BY lane"
_SEARCH = (
    f"SELECT {_COLUMNS}, person FROM deliveries WHERE id > :after AND {{}} "
    "AND (:lane IS NULL OR lane = :lane OR lane = :lane || ':in') AND (:kind IS NULL OR kind = :kind) "
    "AND (:reason IS NULL OR reason = :reason) "
    "AND (:since IS NULL OR first_at >= :since) AND (:until IS NULL OR first_at < :until) "
    "AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids))) "
    "AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states))) ORDER BY id LIMIT :limit"
)
SEARCH = _SEARCH.format(":person IS NULL")
SEARCH_PERSON = _SEARCH.format("person = :person")  # said outright, so that only their own are read
ADDRESSES = "SELECT person FROM emails WHERE email_key = ?"


class DeliveryReads:
    """Questions about deliveries."""

    db: sqlite3.Connection

    def delivery(self, delivery: int) -> Delivery | None:
        row = self.db.execute(DELIVERY, (delivery,)).fetchone()
        return _delivery(row) if row else None

    def deliveries(
        self, wanted: DeliveryFilter, *, after: int = 0, limit: int = 100
    ) -> list[tuple[Delivery, str | None]]:
        person = None
        if wanted.email_key is not None:
            found = self.db.execute(ADDRESSES, (wanted.email_key,)).fetchone()
            if found is None:
                return []
            person = found[0]
        values = {
            "after": after,
            "limit": limit,
            "lane": wanted.connector,
            "kind": wanted.kind,
            "person": person,
            "reason": wanted.reason,
            "since": wanted.since,
            "until": wanted.until,
            "ids": None if wanted.ids is None else json.dumps(wanted.ids),
            "states": None if wanted.states is None else json.dumps(wanted.states),
        }
        rows = self.db.execute(SEARCH if person is None else SEARCH_PERSON, values).fetchall()
        return [(_delivery(row), self._address(row[-1])) for row in rows]

    def open_deliveries(self, person: int) -> dict[str, int]:
        return dict(self.db.execute(OPEN, (person,)).fetchall())

    def attempts(self, delivery: int) -> list[Attempt]:
        return [
            Attempt(delivery=row[0], at=row[1], took_s=row[2], outcome=row[3], error=row[4])
            for row in self.db.execute(ATTEMPTS, (delivery,))
        ]

    def durations(self) -> dict[str, list[float]]:
        took: dict[str, list[float]] = {}
        for (lane,) in self.db.execute(LANES).fetchall():
            took[lane] = [row[0] for row in self.db.execute(DURATIONS, (lane,))]
        return took

    def counts(self, now: float) -> dict[str, QueueCounts]:
        counts: dict[str, QueueCounts] = {}
        for lane, state, many in self.db.execute(COUNTS):
            found = counts.setdefault(lane, QueueCounts())
            setattr(found, "scheduled" if state == "pending" else state, many)
        for lane, many, oldest in self.db.execute(COUNT_DUE, (now,)):
            found = counts.setdefault(lane, QueueCounts())
            found.due, found.oldest_due_at = many, oldest
            found.scheduled -= many
        return counts

    def _address(self, person: int | None) -> str | None:
        found = self.person(person) if person is not None else None  # type: ignore[attr-defined]  # from PeopleReads
        return found.email if found else None


class DeliveryWrites(DeliveryReads):
    """Queueing, claiming and settling."""

    def enqueue_state(self, delivery: Delivery) -> int:
        waiting = self.waiting(delivery.lane, delivery.person or 0)
        kept = []
        if delivery.state == "parked":
            kept = self.parked(delivery.lane, delivery.person or 0, delivery.reason or "")
        for other in (*waiting, *kept):
            if (other.kind, other.subject, other.payload) == (delivery.kind, delivery.subject, delivery.payload):
                due_at = delivery.due_at if delivery.urgency == 0 else other.due_at
                row = (delivery.urgency, due_at, delivery.root, delivery.hops, delivery.event_id, other.id)
                self.db.execute(RAISE, row)
                return other.id
        if delivery.urgency > 0:
            delivery.due_at = max([delivery.due_at, *(other.due_at for other in waiting)])
        return self._add(delivery)

    def enqueue(self, delivery: Delivery) -> int:
        if delivery.person is not None:
            waiting = self.waiting(delivery.lane, delivery.person)
            delivery.due_at = max([delivery.due_at, *(other.due_at for other in waiting)])
        number = self._add(delivery)
        if delivery.person is not None:
            self.db.execute(LIFT, (delivery.lane, delivery.person, number, delivery.urgency))
        return number

    def park(self, delivery: Delivery) -> bool:
        same = (delivery.kind, delivery.subject)
        waiting = self.parked(delivery.lane, delivery.person or 0, delivery.reason or "")
        if any((other.kind, other.subject) == same for other in waiting):
            return False
        delivery.state = "parked"
        self._add(delivery)
        return True

    def parked(self, lane: str, person: int, reason: str) -> list[Delivery]:
        return [_delivery(row) for row in self.db.execute(PARKED, (lane, person, reason))]

    def guard(self, lane: str, key: str, now: float) -> bool:
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        return self.db.execute(ADD_GUARD, (lane, digest, now)).rowcount == 1

    def due(self, lane: str, now: float, limit: int, busy: Collection[int] = ()) -> list[Delivery]:
        values = {"lane": lane, "now": now, "busy": json.dumps(list(busy)), "limit": limit}
        return [_delivery(row) for row in self.db.execute(DUE, values)]

    def waiting(self, lane: str, person: int) -> list[Delivery]:
        return [_delivery(row) for row in self.db.execute(WAITING, (lane, person))]

    def triggers(self, person: int) -> list[Delivery]:
        return [_delivery(row) for row in self.db.execute(TRIGGERS, (person,))]

    def next_due_at(self, lane: str) -> float | None:
        (at,) = self.db.execute(NEXT_DUE, (lane,)).fetchone()
        return at if at is None else float(at)

    def save_delivery(self, delivery: Delivery) -> None:
        done_at = delivery.due_at if delivery.state == "done" else None
        row = (
            delivery.state,
            delivery.urgency,
            delivery.rev,
            delivery.due_at,
            delivery.attempts,
            delivery.outcome,
            delivery.reason,
            delivery.last_error,
            delivery.force,
            done_at,
            delivery.id,
        )
        self.db.execute(SAVE, row)

    def hold_back(self, lane: str, person: int, until: float, after: int) -> None:
        self.db.execute(HOLD_BACK, (lane, person, until, after))

    def release(self, lane: str, person: int, now: float) -> None:
        self.db.execute(RELEASE, (lane, person, now))

    def in_flight(self, lane: str) -> list[Delivery]:
        return [_delivery(row) for row in self.db.execute(IN_FLIGHT, (lane,))]

    def add_attempt(self, attempt: Attempt) -> None:
        row = (attempt.delivery, attempt.at, attempt.took_s, attempt.outcome, attempt.error)
        if (self.db.execute(ADD_ATTEMPT, row).lastrowid or 0) % 16 == 0:
            self.db.execute(CUT_ATTEMPTS, (attempt.delivery,))

    def _add(self, delivery: Delivery) -> int:
        row = (
            delivery.lane,
            delivery.kind,
            delivery.person,
            delivery.subject,
            delivery.urgency,
            delivery.state,
            delivery.due_at,
            delivery.first_at,
            delivery.root,
            delivery.hops,
            delivery.event_id,
            delivery.expires_at,
            delivery.payload,
            delivery.reason,
        )
        delivery.id = self.db.execute(ADD, row).lastrowid or 0
        return delivery.id


def _delivery(row: tuple[Any, ...]) -> Delivery:
    return Delivery(
        id=row[0],
        lane=row[1],
        kind=row[2],
        person=row[3],
        subject=row[4],
        urgency=row[5],
        state=row[6],
        rev=row[7],
        due_at=row[8],
        first_at=row[9],
        attempts=row[10],
        root=row[11],
        hops=row[12],
        event_id=row[13],
        expires_at=row[14],
        payload=row[15],
        outcome=row[16],
        reason=row[17],
        last_error=row[18],
        force=bool(row[19]),
    )
