"""What stands in each connector's lanes, for metrics."""

from __future__ import annotations

from collections.abc import Iterable

from esplanade.observe.metrics import Standing
from esplanade.records import QueueCounts, Urgency, inbound_lane
from esplanade.store.port import Reader

from .connectors import ConnectorFacts


def standings(facts: Iterable[ConnectorFacts], reader: Reader, now: float) -> list[Standing]:
    """The queues of every connector, in both directions."""
    counts = reader.counts(now)
    found = []
    for each in facts:
        lag_s: dict[str, float] = {urgency.word: _lag(reader, each.name, urgency, now) for urgency in Urgency}
        queue = _by_state(counts.get(each.name, QueueCounts()))
        inbound = _by_state(counts.get(inbound_lane(each.name), QueueCounts()))
        found.append(Standing(connector=each.name, queue=queue, lag_s=lag_s, breaker=each.breaker))
        found.append(Standing(connector=each.name, queue=inbound, inbound=True))
    return found


def _lag(reader: Reader, lane: str, urgency: int, now: float) -> float:
    due_at = reader.oldest_due_at(lane, urgency, now)
    return 0.0 if due_at is None else max(now - due_at, 0.0)


def _by_state(counts: QueueCounts) -> dict[str, int]:
    return {state: getattr(counts, state) for state in ("due", "scheduled", "in_flight", "parked", "dead")}
