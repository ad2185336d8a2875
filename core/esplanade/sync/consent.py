"""The consent law: where a person stands on a purpose, as a function of the set of things ever said about it.

The order in which they arrived does not matter. In words: an opt-out holds unless a grant that may lift it was said later; a
tie goes to the opt-out; a request that waits for its confirmation is pending, keeps the state under it, and counts for
nothing; what is said while it is open grants only with proof; where nobody opted out or was asked, any grant holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from esplanade.model import Regrant
from esplanade.records import LedgerRow, Person, Standing

Origin = Literal["event", "profile", "import"]


def lifts(origin: Origin, method: str | None, evidence: Mapping[str, Any]) -> bool:
    """Whether a grant from a source may stand over an earlier denial: explicit, with evidence, and no import."""
    return origin == "event" and method != "import" and bool(evidence)


def report_lifts(regrant: Regrant, *, confirmed: bool, said_at: float, denial_acked_at: float) -> bool:
    """Whether a vendor's grant may stand over an earlier denial, as the operator decided with ``regrant``."""
    match regrant:
        case "never":
            return False
        case "confirmed":
            return confirmed
        case "reported":
            return confirmed or said_at > denial_acked_at


def stand(rows: Iterable[LedgerRow], *, pending_expiry: float) -> Standing | None:
    """Where the person stands on one purpose, given everything said about it; None when that is nothing.

    ``pending_expiry`` is how many seconds a request stays open. No clock is read: a request that nobody answered is still
    pending here, and a grant that was said in its time never comes to count because that time is over.
    """
    rows = list(rows)
    denial = max((row for row in rows if row.state == "denied"), key=_order, default=None)
    requests = [row for row in rows if row.state == "pending"]
    grants = [
        row
        for row in rows
        if row.state == "granted" and _counts(row, denial) and not _unproven(row, requests, pending_expiry)
    ]
    under = max(grants, key=_order, default=None) or denial
    if under is None or under.state == "denied":
        asked = max((row for row in requests if _counts(row, denial)), key=_order, default=None)
        if asked is not None:
            return _standing(asked, under)
    return _standing(under, None) if under is not None else None


def waiting(rows: Iterable[LedgerRow], *, now: float, pending_expiry: float) -> bool:
    """Whether the person may still answer a request for confirmation, so that nobody need ask them again."""
    rows = list(rows)
    standing = stand(rows, pending_expiry=pending_expiry)
    if standing is None or standing.state != "pending":
        return False
    denial = max((row for row in rows if row.state == "denied"), key=_order, default=None)
    return any(
        row.state == "pending" and _counts(row, denial) and now < row.recorded_at + pending_expiry for row in rows
    )


def granted(person: Person, purpose: str) -> bool:
    """Whether there is a recorded grant now that nobody doubts. Pending is none, unless a grant holds under it."""
    standing = person.consents.get(purpose)
    return standing is not None and "granted" in (standing.state, standing.under) and purpose not in person.doubted


def effective(standing: Standing | None) -> Literal["granted", "denied"] | None:
    """The state that counts for sending: under a pending one, what holds beneath it."""
    if standing is None:
        return None
    return standing.under if standing.state == "pending" else standing.state


def _counts(row: LedgerRow, denial: LedgerRow | None) -> bool:
    return denial is None or (row.lifts and row.said_at > denial.said_at)


def _unproven(grant: LedgerRow, requests: Iterable[LedgerRow], pending_expiry: float) -> bool:
    """Whether a grant was said while the person was being asked, and is no answer of theirs."""
    # an answer counts also where the vendor's word may not lift a denial
    if grant.lifts or (grant.method == "double" and grant.evidence):
        return False
    return any(asked.said_at <= grant.said_at < asked.recorded_at + pending_expiry for asked in requests)


def _order(row: LedgerRow) -> tuple[float, bool, float, str, str, str]:
    words = repr(sorted(row.evidence.items()))  # last, so that no two different rows tie
    return (row.said_at, row.lifts, row.recorded_at, row.source, row.method or "", words)


def _standing(row: LedgerRow, under: LedgerRow | None) -> Standing:
    return Standing(
        state=row.state,
        under=None if under is None or under.state == "pending" else under.state,
        method=row.method,
        at=row.said_at,
        source=row.source,
        evidence=row.evidence,
    )
