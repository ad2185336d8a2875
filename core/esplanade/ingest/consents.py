"""Recording what was said about consent, and letting the law say where the person stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from esplanade.model import State
from esplanade.records import LedgerRow, Person, Standing
from esplanade.store.port import Unit
from esplanade.sync import consent, mapping

from . import doubt
from .world import World

Recorded = Literal["changed", "unchanged", "not-evidenced", "stale"]


class Said(Struct, frozen=True, kw_only=True):
    """One thing that a source said about a person's consent."""

    purpose: str
    state: State
    method: str | None
    evidence: Mapping[str, Any]
    origin: consent.Origin
    source: str
    at: float


def record_said(unit: Unit, world: World, person: Person, said: Said, now: float) -> Recorded:
    """Append what a source said to the ledger and update the person. The caller saves them."""
    standing = person.consents.get(said.purpose)
    lifts = said.state != "denied" and consent.lifts(said.origin, said.method, said.evidence)
    state = _asked(world, person, said, standing, now) if said.state == "granted" else said.state
    waiting = standing is not None and standing.state == "pending" and _waiting(unit, world, person, said.purpose, now)
    if _says_nothing_new(state, said, standing, lifts=lifts, waiting=waiting):
        return "unchanged"
    row = LedgerRow(
        person=person.id,
        purpose=said.purpose,
        state=state,
        method=said.method or ("import" if said.origin == "import" else "single"),
        source=said.source,
        evidence=dict(said.evidence),
        said_at=said.at,
        recorded_at=now,
        lifts=lifts,
    )
    after = append(unit, world, person, row)
    asks = state == after.state == "pending" and not waiting and _waiting(unit, world, person, said.purpose, now)
    if asks:
        _ask_anew(unit, world, person, said.purpose)
    taken = (
        said.state == "denied" or consent.effective(after) == "granted" or (state == "pending" and (waiting or asks))
    )
    if not taken:
        return "stale" if lifts else "not-evidenced"
    return "changed" if asks or after != standing else "unchanged"


def append(unit: Unit, world: World, person: Person, row: LedgerRow) -> Standing:
    """Append one row to the ledger and recompute where the person stands. The caller saves them."""
    unit.append_ledger(row)
    standing = decide(unit, world, person, row.purpose)
    proven = row.state == "granted" and (row.lifts or row.method == "double")
    doubted_at = max(person.doubted.get(row.purpose, {}).values(), default=math.inf)
    if standing.state == "denied" or (proven and row.said_at >= doubted_at):
        for connector in doubt.settle(unit, person, row.purpose, row.recorded_at):
            if standing.state != "denied" and connector != row.source:
                _forget_base(unit, person, connector, row.purpose)
    return standing


def _forget_base(unit: Unit, person: Person, connector: str, purpose: str) -> None:
    """A vendor that no longer lists somebody who has said yes again is told so, whatever it was thought to hold."""
    remote = unit.remote(person.id, connector)
    if remote is not None:
        remote.consents.pop(purpose, None)
        unit.save_remote(remote)


def decide(unit: Unit, world: World, person: Person, purpose: str) -> Standing:
    """Let the law say where a person stands, from everything the ledger has of them. The caller saves them."""
    standing = consent.stand(unit.ledger(person.id, purpose), pending_expiry=world.hub.pending_expiry)
    assert standing is not None
    person.consents[purpose] = standing
    unit.set_pending(person.id, purpose, pending=standing.state == "pending")
    return standing


def _waiting(unit: Unit, world: World, person: Person, purpose: str, now: float) -> bool:
    rows = unit.ledger(person.id, purpose)
    return consent.waiting(rows, now=now, pending_expiry=world.hub.pending_expiry)


def _asked(world: World, person: Person, said: Said, standing: Standing | None, now: float) -> State:
    """What a grant becomes: pending where the vendor must ask the person first, as it is everywhere else."""
    confirmed_elsewhere = said.method == "double" and bool(said.evidence)
    if said.origin == "import" or confirmed_elsewhere or consent.effective(standing) == "granted":
        return "granted"
    return "pending" if mapping.asker(world.connectors, said.purpose) is not None else "granted"


def _says_nothing_new(state: State, said: Said, standing: Standing | None, *, lifts: bool, waiting: bool) -> bool:
    if standing is None:
        return False
    match state:
        case "denied":
            return standing.state == "denied" and said.at <= standing.at
        case "granted":
            return consent.effective(standing) == "granted" and not lifts
        case "pending":
            return (waiting and not lifts) or consent.effective(standing) == "granted"


def _ask_anew(unit: Unit, world: World, person: Person, purpose: str) -> None:
    """Forget that the vendor was asked before, so that this new grant asks once more."""
    asker = mapping.asker(world.connectors, purpose)
    remote = unit.remote(person.id, asker.name) if asker else None
    if remote is not None and remote.consents.get(purpose) == "pending":
        before = remote.asked.pop(purpose, None)
        remote.consents.pop(purpose)
        if before is not None:
            remote.consents[purpose] = before
        unit.save_remote(remote)
