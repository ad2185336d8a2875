"""What a vendor reports of consent, under the law: an opt-out always counts, a grant as far as ``regrant`` lets it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace

from esplanade.records import Entry, LedgerRow, Standing
from esplanade.store.port import Unit
from esplanade.sync import consent, contacts, mapping, merge

from . import doubt
from .consents import append
from .reading import Reading
from .world import World


def read_consents(unit: Unit, world: World, reading: Reading, entry: Entry) -> None:
    """Record what a report says of each mapped purpose, and let the law say where the person stands."""
    for purpose, held in reading.report.consents.items():
        if purpose not in reading.connector.consents:
            reading.notes.append(("not-mapped", purpose))
            continue
        match held:
            case "granted":
                _granted(unit, world, reading, purpose, entry)
            case "denied":
                denied(unit, world, reading, purpose, entry, "denied")
            case "absent":
                if reading.remote.consents.get(purpose) == "granted":
                    _left(unit, world, reading, purpose, entry)
                else:
                    reading.echoes.append(purpose)
            case "pending":
                reading.echoes.append(purpose)
                reading.remote.consents.setdefault(purpose, "pending")


def _left(unit: Unit, world: World, reading: Reading, purpose: str, entry: Entry) -> None:
    """Record that a vendor no longer lists somebody, unless that may be from before the hub told it to."""
    if not merge.is_perhaps_older(reading.remote, f"consent:{purpose}", reading.telling):
        denied(unit, world, reading, purpose, entry, "left")
    elif reading.traits.can_fetch:
        reading.asks.add(purpose)
    elif reading.telling.has_clock:
        reading.echoes.append(purpose)
    else:
        denied(unit, world, reading, purpose, entry, "left")


def denied(
    unit: Unit,
    world: World,
    reading: Reading,
    purpose: str,
    entry: Entry,
    how: Literal["denied", "left", "former"],
) -> None:
    """Record a reported opt-out. It counts at once, whatever else may be asked of the vendor first."""
    remote, person, telling = reading.remote, reading.person, reading.telling
    standing = person.consents.get(purpose)
    if how != "former":
        known = remote.consents.get(purpose) == "denied"
        later = telling.has_clock and standing is not None and telling.at > standing.at
        since = standing is not None and standing.state != "denied" and (later or _may_hold(reading, purpose, standing))
        if known and not since:  # else it is the person's newest word, whatever the vendor held before
            reading.echoes.append(purpose)
            return
        if contacts.was_retired(remote, purpose, telling.at if telling.has_clock else None):
            reading.echoes.append(purpose)
            remote.consents[purpose] = "denied"
            reading.back.consents.add(purpose)
            return
        if _was_overtaken(reading, purpose):
            remote.consents.pop(purpose, None)
            reading.back.consents.add(purpose)
        else:
            remote.consents[purpose] = "denied"
        remote.asked.pop(purpose, None)
    evidence = {"reported_by": reading.connector.name, "event": entry.id, "how": how, **reading.report.evidence}
    after = append(unit, world, person, row_of(reading, entry, purpose, "denied", "vendor", evidence, lifts=False))
    if after != standing:
        reading.changes.consents.add(purpose)
    if after.state != "denied":
        reading.notes.append(("conflict", f"{purpose}: a later grant stands"))
        reading.back.consents.add(purpose)


def _may_hold(reading: Reading, purpose: str, grant: Standing) -> bool:
    """Whether this grant was sent and nobody knows what came of it: the opt-out that the base has may be over by now."""
    sent = reading.remote.sent.get(f"consent:{purpose}", [])
    return reading.remote.unknown and bool(sent) and sent[-1].value == "granted" and sent[-1].at >= grant.at


def _was_overtaken(reading: Reading, purpose: str) -> bool:
    """Whether what we sent lately may have undone an opt-out at the vendor. Two clocks that differ a little decide nothing."""
    sent, telling = reading.remote.sent.get(f"consent:{purpose}"), reading.telling
    if not sent or telling.fresh or telling.now - sent[-1].at > telling.window:
        return False
    return sent[-1].value == "granted"


def _granted(unit: Unit, world: World, reading: Reading, purpose: str, entry: Entry) -> None:
    remote, person, report, telling = reading.remote, reading.person, reading.report, reading.telling
    base, standing = remote.consents.get(purpose), person.consents.get(purpose)
    key = f"consent:{purpose}"
    if doubt.settle_by(unit, person, purpose, reading.connector.name, telling.at, entry.at):
        reading.changes.consents.add(purpose)  # whoever was not told of their consent meanwhile is told now
    if base == "granted" and not remote.unknown:
        reading.echoes.append(purpose)
        return
    sent = merge.echoed(remote, key, "granted", telling)
    if sent is not None and sent.at > remote.acked_at:
        reading.echoes.append(purpose)
        return
    in_doubt = sent is not None or merge.is_perhaps_older(remote, key, telling)
    if in_doubt and reading.traits.can_fetch and not report.confirmed:
        reading.asks.add(purpose)
        return
    if sent is not None:
        reading.echoes.append(purpose)
        return
    over = remote.asked.get(purpose)
    absent = over in {"absent", "denied"} or (over is None and consent.effective(standing) is None)
    asked = base == "pending" and absent
    if base == "pending":
        _was_asked(unit, reading, purpose, entry.at)
    confirmed = report.confirmed or asked
    remote.consents[purpose] = "granted"
    remote.perhaps_denied = [each for each in remote.perhaps_denied if each != purpose]
    remote.asked.pop(purpose, None)
    contacts.forget_retirement(remote, purpose)
    if consent.effective(standing) == "granted" and not confirmed:
        reading.echoes.append(purpose)
        return
    said_at = _confirmed_at(unit, reading, purpose) if report.confirmed else telling.at
    lifts = consent.report_lifts(
        reading.connector.consents[purpose].regrant,
        confirmed=confirmed,
        said_at=said_at,
        denial_acked_at=remote.acked_at if base == "denied" else math.inf,  # it was never told of the denial
    )
    evidence = {"reported_by": reading.connector.name, "event": entry.id, **report.evidence}
    row = row_of(reading, entry, purpose, "granted", "double" if confirmed else "vendor", evidence, lifts=lifts)
    row = replace(row, said_at=said_at)
    after = append(unit, world, person, row)
    if after != standing:
        reading.changes.consents.add(purpose)
    if consent.effective(after) != "granted":
        reading.notes.append(("not-evidenced", f"{purpose} stays {after.state}"))
        if mapping.desired_consent(person, reading.connector, purpose) == "denied":
            reading.back.consents.add(purpose)


def _was_asked(unit: Unit, reading: Reading, purpose: str, now: float) -> None:
    """The person has answered, so nobody need find out any more whether the vendor asked them."""
    for delivery in unit.parked(reading.connector.name, reading.person.id, "outcome-unknown"):
        if (delivery.kind, delivery.subject) == ("consent", purpose):
            delivery.state, delivery.outcome, delivery.due_at = "done", "delivered", now
            unit.save_delivery(delivery)


def _confirmed_at(unit: Unit, reading: Reading, purpose: str) -> float:
    """When a confirmation was given. One without a clock answers the last request: an opt-out since then came perhaps later."""
    if reading.telling.has_clock:
        return reading.telling.at
    rows = unit.ledger(reading.person.id, purpose)
    requested = max((row.said_at for row in rows if row.state == "pending"), default=None)
    denied_at = max((row.said_at for row in rows if row.state == "denied"), default=None)
    if requested is not None and denied_at is not None and requested <= denied_at:
        return requested
    return reading.telling.at


def row_of(
    reading: Reading,
    entry: Entry,
    purpose: str,
    state: Literal["granted", "denied"],
    method: str,
    evidence: Mapping[str, object],
    *,
    lifts: bool,
) -> LedgerRow:
    """What a connector reports of a purpose, as the ledger keeps it."""
    return LedgerRow(
        person=reading.person.id,
        purpose=purpose,
        state=state,
        method=method,
        source=reading.connector.name,
        evidence=dict(evidence),
        said_at=reading.telling.at,
        recorded_at=entry.at,
        lifts=lifts,
    )
