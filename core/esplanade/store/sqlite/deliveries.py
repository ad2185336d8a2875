"""Questions about work: what waits in which lane, whose it is, and what became of it.

A row says ``pending`` while its call is under way as well: ``claims`` names those that are ``in_flight``.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import msgspec

from esplanade.model import Exchange
from esplanade.records import Attempt, Delivery, DeliveryFilter, QueueCounts

_exchange = msgspec.json.Decoder(Exchange).decode

NAMES = (
    "id",
    "lane",
    "kind",
    "person",
    "subject",
    "urgency",
    "state",
    "rev",
    "due_at",
    "first_at",
    "attempts",
    "root",
    "hops",
    "event_id",
    "expires_at",
    "payload",
    "outcome",
    "reason",
    "last_error",
    "force",
    "unsure",
    "took_s",
)
"""The columns, which are the fields of a Delivery in their order."""

_STORED = ", ".join(f"d.{name}" for name in NAMES)
SELECT = (
    _STORED.replace("d.state", "iif(c.delivery IS NULL, d.state, 'in_flight')").replace(
        "d.attempts", "d.attempts + (c.delivery IS NOT NULL)"
    )
    + " FROM deliveries d LEFT JOIN claims c ON c.delivery = d.id"
)
DELIVERY = f"SELECT {SELECT} WHERE d.id = ?"
WAITING = f"SELECT {SELECT} WHERE d.state = 'pending' AND d.person = ? AND d.lane = ? ORDER BY d.id"
TRIGGERS = f"SELECT {SELECT} WHERE d.person = ? AND d.kind = 'trigger' ORDER BY d.id"
PARKED = f"SELECT {SELECT} WHERE d.state = 'parked' AND d.person = ? AND d.lane = ? AND d.reason = ? ORDER BY d.id"
IN_FLIGHT = f"SELECT {SELECT} WHERE d.id IN (SELECT delivery FROM claims WHERE lane = ?) ORDER BY d.id"
OLDEST_DUE = (
    "SELECT min(due_at) FROM deliveries d WHERE state = 'pending' AND lane = ? AND urgency = ? AND due_at <= ? "
    "AND NOT EXISTS (SELECT 1 FROM claims WHERE delivery = d.id)"
)
NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE state = 'pending' AND lane = ? AND urgency = ? AND due_at > ?"
ATTEMPTS = (
    "SELECT delivery, at, took_s, outcome, error, exchange FROM attempts WHERE delivery = ?1 UNION ALL "
    "SELECT id, done_at - took_s, took_s, outcome, NULL, NULL FROM deliveries "
    "WHERE id = ?1 AND state = 'done' AND took_s IS NOT NULL"
)
"""Those that failed, in order, and the one that did not."""
LANES = "SELECT DISTINCT lane FROM deliveries"
DURATIONS = "SELECT took_s FROM deliveries WHERE lane = ? AND took_s IS NOT NULL ORDER BY id DESC LIMIT 1000"
COUNTS = (
    "SELECT lane, 'pending', count(*), NULL FROM deliveries WHERE state = 'pending' GROUP BY lane "
    "UNION ALL SELECT lane, state, count(*), NULL FROM deliveries WHERE state IN ('parked', 'dead') GROUP BY lane, state "
    "UNION ALL SELECT lane, 'in_flight', count(*), NULL FROM claims GROUP BY lane "
    "UNION ALL SELECT lane, 'due', count(*), min(due_at) FROM deliveries d WHERE state = 'pending' AND due_at <= ? "
    "AND NOT EXISTS (SELECT 1 FROM claims WHERE delivery = d.id) GROUP BY lane"
)
"""One statement, and so of one moment."""
OPEN = "SELECT lane, count(*) FROM deliveries WHERE person = ? AND state = 'pending' GROUP BY lane"
_SEARCH = (
    f"SELECT {SELECT} WHERE d.id > :after AND {{}} "
    "AND (:lane IS NULL OR d.lane = :lane OR d.lane = :lane || ':in') AND (:kind IS NULL OR d.kind = :kind) "
    "AND (:reason IS NULL OR d.reason = :reason) "
    "AND (:since IS NULL OR d.first_at >= :since) AND (:until IS NULL OR d.first_at < :until) "
    "AND (:ids IS NULL OR d.id IN (SELECT value FROM json_each(:ids))) "
    "AND (:states IS NULL OR iif(c.delivery IS NULL, d.state, 'in_flight') IN (SELECT value FROM json_each(:states))) "
    "ORDER BY d.id LIMIT :limit"
)
SEARCH = _SEARCH.format(":person IS NULL")
SEARCH_PERSON = _SEARCH.format("d.person = :person")  # said outright, so that only their own are read
HOLDER = "SELECT person FROM emails WHERE email_key = ?"
LAST_DELIVERY = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'deliveries'"
FIRST_WAITING = "SELECT min(id) FROM deliveries WHERE state = 'pending'"
FIRST_KEPT = "SELECT min(id) FROM deliveries WHERE state IN ('parked', 'dead')"


class DeliveryReads:
    """Questions about deliveries."""

    db: sqlite3.Connection

    def delivery(self, delivery: int) -> Delivery | None:
        row = self.db.execute(DELIVERY, (delivery,)).fetchone()
        return made(row) if row else None

    def deliveries(
        self, wanted: DeliveryFilter, *, after: int = 0, limit: int = 100
    ) -> list[tuple[Delivery, str | None]]:
        person = None
        if wanted.email_key is not None:
            found = self.db.execute(HOLDER, (wanted.email_key,)).fetchone()
            if found is None:
                return []
            person = found[0]
        values = {
            "after": max(after, self._before_the_first(wanted.states)),
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
        found_ones = [made(row) for row in rows]
        return [(delivery, self._address(delivery.person)) for delivery in found_ones]

    def last_delivery(self) -> int:
        (number,) = self.db.execute(LAST_DELIVERY).fetchone()
        return int(number)

    def open_deliveries(self, person: int) -> dict[str, int]:
        return dict(self.db.execute(OPEN, (person,)).fetchall())

    def waiting(self, lane: str, person: int) -> list[Delivery]:
        return [made(row) for row in self.db.execute(WAITING, (person, lane))]

    def attempts(self, delivery: int) -> list[Attempt]:
        return [
            Attempt(
                delivery=row[0],
                at=row[1],
                took_s=row[2],
                outcome=row[3],
                error=row[4],
                exchange=None if row[5] is None else _exchange(row[5]),
            )
            for row in self.db.execute(ATTEMPTS, (delivery,))
        ]

    def durations(self) -> dict[str, list[float]]:
        lanes = [lane for (lane,) in self.db.execute(LANES)]
        return {lane: [row[0] for row in self.db.execute(DURATIONS, (lane,))] for lane in lanes}

    def oldest_due_at(self, lane: str, urgency: int, now: float) -> float | None:
        (at,) = self.db.execute(OLDEST_DUE, (lane, urgency, now)).fetchone()
        return at if at is None else float(at)

    def counts(self, now: float) -> dict[str, QueueCounts]:
        counts: dict[str, QueueCounts] = {}
        for lane, state, many, oldest in self.db.execute(COUNTS, (now,)):
            found = counts.setdefault(lane, QueueCounts())
            if state == "pending":
                found.scheduled += many
                continue
            setattr(found, state, many)
            if state == "due":
                found.oldest_due_at = oldest
            if state in {"due", "in_flight"}:  # both are among those that are pending
                found.scheduled -= many
        return counts

    def _before_the_first(self, states: list[str] | None) -> int:
        """The number before which no delivery is in one of these states; finished ones may be many."""
        if states is None:
            return 0
        if set(states) <= {"pending", "in_flight"}:
            question = FIRST_WAITING
        elif set(states) <= {"parked", "dead"}:
            question = FIRST_KEPT
        else:
            return 0
        (first,) = self.db.execute(question).fetchone()
        return (first or 1) - 1

    def _address(self, person: int | None) -> str | None:
        found = self.person(person) if person is not None else None  # type: ignore[attr-defined]  # from PeopleReads
        return found.email if found else None


def made(row: tuple[Any, ...] | list[Any]) -> Delivery:
    """A row as a Delivery."""
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
        unsure=bool(row[20]),
        took_s=row[21],
    )
