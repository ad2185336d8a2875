"""The state of each connector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from esplanade.records import ConnectorState, QueueCounts
from esplanade.store.port import Reader

from .times import moment

INBOUND = ":in"


class ConnectorFacts(Struct, frozen=True, kw_only=True):
    """What is true of a connector right now, beside what the store keeps."""

    name: str
    plugin: str
    version: str
    enabled: bool
    failure: str | None
    """Why the plugin could not be loaded or started; None when it runs."""
    hook_url: str | None
    breaker: str
    next_pull: float | None


def connectors_view(facts: Iterable[ConnectorFacts], reader: Reader, now: float) -> dict[str, Any]:
    """The state of each connector: its queues, lag, breaker and last error."""
    counts = reader.counts(now)
    return {"connectors": [_connector(each, counts, reader.connector_state(each.name), now) for each in facts]}


def _connector(
    facts: ConnectorFacts, counts: dict[str, QueueCounts], kept: ConnectorState, now: float
) -> dict[str, Any]:
    queue = counts.get(facts.name, QueueCounts())
    state, reason = standing(facts, kept)
    return {
        "name": facts.name,
        "plugin": facts.plugin,
        "version": facts.version,
        "state": state,
        "reason": reason,
        "hook_url": facts.hook_url,
        "queue": _queue(queue),
        "inbound": _queue(counts.get(facts.name + INBOUND, QueueCounts())),
        "lag_s": 0.0 if queue.oldest_due_at is None else round(max(0.0, now - queue.oldest_due_at), 3),
        "breaker": facts.breaker,
        "last_error": kept.last_error,
        "last_error_at": moment(kept.last_error_at),
        "next_pull": moment(facts.next_pull),
    }


def standing(facts: ConnectorFacts, kept: ConnectorState) -> tuple[str, str | None]:
    """The state of a connector, and why it is so."""
    if facts.failure is not None:
        return "failed", facts.failure
    if not facts.enabled:
        return "disabled", None
    if kept.state == "gone":
        return "paused", "gone"
    return kept.state, kept.reason


def _queue(counts: QueueCounts) -> dict[str, int]:
    return {
        "due": counts.due,
        "scheduled": counts.scheduled,
        "in_flight": counts.in_flight,
        "parked": counts.parked,
        "dead": counts.dead,
    }
