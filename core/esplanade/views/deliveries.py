"""Deliveries, page by page, and which of them an operator means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from esplanade.errors import EventError
from esplanade.records import Attempt, Delivery, DeliveryFilter, DeliveryKind, Urgency
from esplanade.store.port import Reader
from esplanade.sync.identity import normalise

from .connectors import INBOUND
from .times import moment

KINDS: tuple[DeliveryKind, ...] = ("profile", "consent", "trigger", "webhook", "fetch", "fold")
STATES = ("due", "scheduled", "in_flight", "parked", "dead", "done")
MAX_PAGE = 1_000


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
    return {"deliveries": [delivery_view(*row, now) for row in shown], "next": following}


def one_delivery_view(reader: Reader, text: str, *, now: float) -> dict[str, Any] | None:
    """One delivery with the log of its attempts, oldest first; None when there is none. Raises EventError for no id."""
    number = delivery_number(text)
    found = reader.deliveries(DeliveryFilter(ids=[number]), after=number - 1, limit=1)
    if not found:
        return None
    log = [_attempt(attempt) for attempt in reader.attempts(number)]
    return {**delivery_view(*found[0], now), "log": log}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": moment(attempt.at),
        "took_s": round(attempt.took_s, 3),
        "outcome": attempt.outcome,
        "error": attempt.error,
        "exchange": None if attempt.exchange is None else msgspec.to_builtins(attempt.exchange),
    }


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


def delivery_view(delivery: Delivery, email: str | None, now: float) -> dict[str, Any]:
    """One delivery, with its person's address."""
    return {
        "id": f"d-{delivery.id}",
        "connector": delivery.lane.removesuffix(INBOUND),
        "kind": delivery.kind,
        "subject": delivery.subject or None,
        "email": email,
        "state": _state(delivery, now),
        "urgency": Urgency(delivery.urgency).word,
        "outcome": delivery.outcome,
        "attempts": delivery.attempts,
        "due_at": moment(delivery.due_at),
        "first_at": moment(delivery.first_at),
        "expires_at": moment(delivery.expires_at),
        "reason": delivery.reason,
        "last_error": delivery.last_error,
    }


def _state(delivery: Delivery, now: float) -> str:
    if delivery.state != "pending":
        return delivery.state
    return "due" if delivery.due_at <= now else "scheduled"
