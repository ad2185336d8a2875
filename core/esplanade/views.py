"""What operators are shown: connectors, a person, why, deliveries. The shapes are the same for HTTP and ``--json``.

Questions to a store's reader, answered as JSON can hold them; whoever asks runs them where the reader lives.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from esplanade.clock import rfc3339
from esplanade.errors import EventError
from esplanade.records import (
    URGENCIES,
    Clocked,
    ConnectorState,
    Delivery,
    DeliveryFilter,
    DeliveryKind,
    LedgerRow,
    Note,
    Person,
    QueueCounts,
    Remote,
)
from esplanade.store.port import Reader
from esplanade.sync.identity import normalise

KINDS: tuple[DeliveryKind, ...] = ("profile", "consent", "trigger", "webhook")
STATES = ("due", "scheduled", "in_flight", "parked", "dead", "done")
MAX_PAGE = 1_000
_INBOUND = ":in"


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


def person_view(reader: Reader, email: str) -> dict[str, Any] | None:
    """Who has this address, or had it, and what each vendor is known to hold. None: nobody. Raises EventError."""
    person = reader.person_by_email(normalise(email).key)
    if person is None:
        return None
    pending = _pending(reader, person.id)
    connectors = {remote.connector: _remote(remote) for remote in reader.remotes(person.id)}
    for name in pending:
        connectors.setdefault(name, _remote(Remote(person=person.id, connector=name)))
    return {
        **_identity(person),
        "fields": _values(person.fields),
        "audiences": _values(person.audiences),
        "consents": {
            purpose: {
                "state": standing.state,
                "under": standing.under,
                "method": standing.method,
                "at": _time(standing.at),
                "source": standing.source,
                "evidence": standing.evidence,
            }
            for purpose, standing in sorted(person.consents.items())
        },
        "connectors": {name: {**base, "pending": pending.get(name, 0)} for name, base in sorted(connectors.items())},
    }


def explain_view(reader: Reader, email: str, connector: str | None = None) -> dict[str, Any] | None:
    """What happened to this person and why, perhaps towards one connector only. None: nobody. Raises EventError."""
    person = reader.person_by_email(normalise(email).key)
    if person is None:
        return None
    wanted = {connector, ""} if connector is not None else None
    decisions = [
        {"connector": name, "kind": kind, "reason": reason, "times": times, "at": _time(at)}
        for name, kind, reason, times, at in reader.decisions(person.id)
        if wanted is None or name in wanted
    ]
    pending = _pending(reader, person.id)
    return {
        **_identity(person),
        "timeline": [_note(note) for note in reader.timeline(person.id) if wanted is None or note.connector in wanted],
        "decisions": decisions,
        "consents": [_said(row) for row in reader.ledger(person.id)],
        "pending": {name: many for name, many in pending.items() if wanted is None or name in wanted},
    }


def deliveries_view(
    reader: Reader,
    wanted: DeliveryFilter,
    *,
    now: float,
    state: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> dict[str, Any]:
    """Deliveries in order of their id, and where the next page begins. ``state`` is one of ``STATES``."""
    if state is not None:
        wanted = replace(wanted, states=["pending"] if state in {"due", "scheduled"} else [state])
    found: list[tuple[Delivery, str | None]] = []
    while len(found) <= limit:
        page = reader.deliveries(wanted, after=after, limit=limit + 1)
        found += [row for row in page if state is None or _state(row[0], now) == state]
        if len(page) <= limit:
            break
        after = page[-1][0].id
    shown = found[:limit]
    following = f"d-{shown[-1][0].id}" if len(found) > limit and shown else None
    return {"deliveries": [_delivery(*row, now) for row in shown], "next": following}


def delivery_filter(
    *,
    ids: Sequence[str] | None = None,
    connector: str | None = None,
    kind: str | None = None,
    email: str | None = None,
    reason: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> DeliveryFilter:
    """The deliveries that an operator's words mean. Raises EventError naming the word that means nothing."""
    known = next((each for each in KINDS if each == kind), None)
    if kind is not None and known is None:
        raise EventError("$.kind", f"no such kind; give one of {', '.join(KINDS)}")
    return DeliveryFilter(
        ids=None if ids is None else [delivery_number(each, f"$.ids[{index}]") for index, each in enumerate(ids)],
        connector=connector,
        kind=known,
        email_key=None if email is None else normalise(email).key,
        reason=reason,
        since=since,
        until=until,
    )


def delivery_number(text: str, path: str = "$.id") -> int:
    """The number in a delivery's id, such as ``d-12``. Raises EventError at ``path``."""
    digits = text.removeprefix("d-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise EventError(path, "not the id of a delivery; they look like d-12")
    return int(digits)


def _connector(
    facts: ConnectorFacts, counts: dict[str, QueueCounts], kept: ConnectorState, now: float
) -> dict[str, Any]:
    queue = counts.get(facts.name, QueueCounts())
    state, reason = _standing(facts, kept)
    return {
        "name": facts.name,
        "plugin": facts.plugin,
        "version": facts.version,
        "state": state,
        "reason": reason,
        "hook_url": facts.hook_url,
        "queue": _queue(queue),
        "inbound": _queue(counts.get(facts.name + _INBOUND, QueueCounts())),
        "lag_s": 0.0 if queue.oldest_due_at is None else round(max(0.0, now - queue.oldest_due_at), 3),
        "breaker": facts.breaker,
        "last_error": kept.last_error,
        "last_error_at": _time(kept.last_error_at),
        "next_pull": _time(facts.next_pull),
    }


def _standing(facts: ConnectorFacts, kept: ConnectorState) -> tuple[str, str | None]:
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


def _identity(person: Person) -> dict[str, Any]:
    return {
        "person": person.name,
        "email": person.email or None,
        "id": person.cdp_id,
        "emails": [*([person.email] if person.email else []), *reversed(person.emails)],
    }


def _values(clocked: dict[str, Clocked]) -> dict[str, Any]:
    return {name: each.value for name, each in sorted(clocked.items()) if each.value is not None}


def _remote(remote: Remote) -> dict[str, Any]:
    return {
        "remote_id": remote.remote_id,
        "email": remote.email,
        "unknown": remote.unknown,
        "base": {"fields": remote.fields, "consents": remote.consents, "audiences": remote.audiences},
        "synced_at": _time(remote.acked_at),
    }


def _pending(reader: Reader, person: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for lane, many in sorted(reader.open_deliveries(person).items()):
        name = lane.removesuffix(_INBOUND)
        found[name] = found.get(name, 0) + many
    return found


def _note(note: Note) -> dict[str, Any]:
    return {
        "at": _time(note.at),
        "what": note.what,
        "connector": note.connector or None,
        "kind": note.kind or None,
        "event_id": note.event_id or None,
        "reason": note.reason,
        "detail": note.detail,
    }


def _said(row: LedgerRow) -> dict[str, Any]:
    return {
        "purpose": row.purpose,
        "state": row.state,
        "method": row.method,
        "source": row.source,
        "said_at": _time(row.said_at),
        "recorded_at": _time(row.recorded_at),
        "lifts": row.lifts,
        "evidence": row.evidence,
    }


def _delivery(delivery: Delivery, email: str | None, now: float) -> dict[str, Any]:
    return {
        "id": f"d-{delivery.id}",
        "connector": delivery.lane.removesuffix(_INBOUND),
        "kind": delivery.kind,
        "subject": delivery.subject or None,
        "email": email,
        "state": _state(delivery, now),
        "urgency": URGENCIES[delivery.urgency],
        "outcome": delivery.outcome,
        "attempts": delivery.attempts,
        "due_at": _time(delivery.due_at),
        "first_at": _time(delivery.first_at),
        "expires_at": _time(delivery.expires_at),
        "reason": delivery.reason,
        "last_error": delivery.last_error,
    }


def _state(delivery: Delivery, now: float) -> str:
    if delivery.state != "pending":
        return delivery.state
    return "due" if delivery.due_at <= now else "scheduled"


def _time(at: float | None) -> str | None:
    return rfc3339(at) if at and math.isfinite(at) else None
