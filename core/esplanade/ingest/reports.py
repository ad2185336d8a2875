"""Folding what a connector reports: remote change = reported - base; equal is an echo, which stops here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, field

from esplanade.config.model import Conflict, ConnectorConfig
from esplanade.model import Held
from esplanade.records import Clocked, Entry, LedgerRow, Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import consent, mapping, merge
from esplanade.sync.identity import normalise, same_address

from .changes import Cause, Changes, skip
from .consents import append
from .fanout import fan_out
from .resolve import rename, resolve
from .shapes import ReportIn
from .world import World


class Reading(Struct, kw_only=True):
    """One report being folded: who it is about, what the vendor was known to hold, and what has come of it so far."""

    person: Person
    remote: Remote
    connector: ConnectorConfig
    report: ReportIn
    said_at: float
    changes: Changes = field(default_factory=Changes)
    back: Changes = field(default_factory=Changes)
    """What the vendor itself must be told, because the hub's word stands against it."""
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def has_clock(self) -> bool:
        """Whether the vendor said when it changed."""
        return self.report.at is not None


def fold_report(unit: Unit, world: World, entry: Entry, body: ReportIn, lanes: set[str]) -> None:
    """Compare a report with the base, take over what is a change, and tell the others."""
    connector = world.connector(entry.origin)
    found = _find(unit, connector, body, entry.at)
    if found is None:
        return
    person, created = found
    remote = unit.remote(person.id, connector.name) or Remote(person=person.id, connector=connector.name)
    reading = Reading(
        person=person,
        remote=remote,
        connector=connector,
        report=body,
        said_at=min(body.at, entry.at) if body.at is not None else body.read_at or entry.at,
    )
    reading.changes.created = created
    cause = _cause(world, entry, remote)
    if body.pulled and body.read_at <= remote.acked_at:
        skip(unit, cause, person, connector.name, "stale", "read before the last acknowledgement")
        return
    _identity(unit, reading)
    if "profile" in connector.sends:
        _fields(world, reading, entry.at)
        _audiences(world, reading, entry.at)
    if "consent" in connector.sends:
        _consents(unit, world, reading, entry)
    _finish(unit, world, reading, cause, lanes)


def differs(person: Person | None, remote: Remote | None, connector: ConnectorConfig, report: ReportIn) -> bool:
    """Whether a pulled row says anything that the base does not and that it may change: only such rows are journalled."""
    if person is None or remote is None or remote.email is None or remote.unknown:
        return True
    if report.remote_id is not None and report.remote_id != remote.remote_id:
        return True
    if report.email is not None and not same_address(report.email, remote.email):
        return True
    profile, consent_too = "profile" in connector.sends, "consent" in connector.sends
    fields = profile and any(
        not merge.same(value, remote.fields.get(name))
        for name, value in report.fields.items()
        if mapping.hub_name(connector, name) is not None
    )
    consents = consent_too and any(
        _unlike(held, remote.consents.get(purpose)) for purpose, held in report.consents.items()
    )
    audiences = profile and any(remote.audiences.get(name) != member for name, member in report.audiences.items())
    return fields or consents or audiences or report.deleted


def _unlike(held: Held, base: Held | None) -> bool:
    if held == "absent":
        return base == "granted"
    return held != base


def _find(unit: Unit, connector: ConnectorConfig, report: ReportIn, now: float) -> tuple[Person, bool] | None:
    if report.remote_id is not None:
        known = unit.person_by_remote(connector.name, report.remote_id)
        if known is not None:
            return known, False
    for email in (report.email, report.previous_email):
        by_email = unit.person_by_email(normalise(email).key) if email else None
        if by_email is not None:
            return by_email, False
    if not report.email or report.deleted:
        return None
    return resolve(unit, email=report.email, now=now).person, True


def _cause(world: World, entry: Entry, remote: Remote) -> Cause:
    """A report soon after a write of ours belongs to that write's chain, one hop further."""
    last = max((sent[-1].at for sent in remote.sent.values() if sent), default=0.0)
    answers_us = bool(remote.root) and entry.at - last <= world.hub.echo_window
    hops = remote.hops + 1 if answers_us else 1
    root = remote.root if answers_us else entry.id
    return Cause(entry=entry, root=root, hops=hops, now=entry.at, parked=hops > world.hub.max_hops)


def _identity(unit: Unit, reading: Reading) -> None:
    report, remote, person = reading.report, reading.remote, reading.person
    if report.remote_id is not None:
        remote.remote_id = report.remote_id
    if report.deleted:
        remote.email, remote.remote_id = None, None
        remote.fields, remote.audiences, remote.owned = {}, {}, []
        return
    if not report.email:
        return
    address = normalise(report.email)
    ours = remote.email is not None and normalise(remote.email).key == address.key
    if not ours and "profile" in reading.connector.sends and address.key != person.email_key:
        older = address.given in person.emails or any(normalise(old).key == address.key for old in person.emails)
        if not older and unit.person_by_email(address.key) is None:
            reading.changes.renamed = rename(unit, person, address)
    remote.email = report.email


def _fields(world: World, reading: Reading, now: float) -> None:
    person, remote, connector = reading.person, reading.remote, reading.connector
    for vendor, reported in reading.report.fields.items():
        name = mapping.hub_name(connector, vendor)
        if name is None:
            reading.notes.append(("not-mapped", vendor))
            continue
        known = vendor in remote.fields
        verdict = merge.judge(
            reported,
            key=vendor,
            remote=remote,
            hub=person.fields.get(name),
            said_at=reading.said_at,
            has_clock=reading.has_clock,
            now=now,
            window=world.hub.echo_window,
            conflict=_policy(connector, name),
        )
        match verdict:
            case "echo":
                merge.confirm(remote, f"field:{vendor}", reported)
            case "same":
                remote.fields[vendor] = reported
            case "cut":
                remote.rejected[vendor] = remote.sent[f"field:{vendor}"][-1].value
                remote.fields[vendor] = reported
                reading.notes.append(("drift", f"{vendor} was cut or refused"))
            case "keep":
                remote.fields[vendor] = reported
                reading.back.fields.add(name)
                if known or not merge.same(reported, None):  # what a vendor never had contradicts nothing
                    reading.notes.append(("conflict", f"{vendor}: the hub's value stands"))
            case "take":
                remote.fields[vendor] = reported
                remote.rejected.pop(vendor, None)
                if name not in person.fields and merge.same(reported, None):
                    continue
                person.fields[name] = Clocked(reported, reading.said_at)
                reading.changes.fields.add(name)


def _audiences(world: World, reading: Reading, now: float) -> None:
    person, remote = reading.person, reading.remote
    for name, member in reading.report.audiences.items():
        if name not in reading.connector.audiences:
            reading.notes.append(("not-mapped", name))
            continue
        window = world.hub.echo_window
        clock = reading.said_at if reading.has_clock else None
        in_flight = merge.in_flight(remote, f"audience:{name}", member, now=now, window=window, said_at=clock)
        if remote.audiences.get(name) == member or in_flight:
            continue
        remote.audiences[name] = member
        held = person.audiences.get(name)
        if held is None or (bool(held.value) != member and held.at < reading.said_at):
            person.audiences[name] = Clocked(member, reading.said_at)
            reading.changes.audiences.add(name)
        elif bool(held.value) != member:
            reading.back.audiences.add(name)
            reading.notes.append(("conflict", f"{name}: the hub's membership stands"))


def _consents(unit: Unit, world: World, reading: Reading, entry: Entry) -> None:
    for purpose, held in reading.report.consents.items():
        if purpose not in reading.connector.consents:
            reading.notes.append(("not-mapped", purpose))
            continue
        match held:
            case "granted":
                _reported_grant(unit, world, reading, purpose, entry)
            case "denied":
                _reported_denial(unit, reading, purpose, entry, "denied")
            case "absent":
                if reading.remote.consents.get(purpose) == "granted":
                    _reported_denial(unit, reading, purpose, entry, "left")
            case "pending":
                reading.remote.consents.setdefault(purpose, "pending")


def _reported_grant(unit: Unit, world: World, reading: Reading, purpose: str, entry: Entry) -> None:
    remote, person, report = reading.remote, reading.person, reading.report
    base, standing = remote.consents.get(purpose), person.consents.get(purpose)
    clock = reading.said_at if reading.has_clock else None
    window = world.hub.echo_window
    key = f"consent:{purpose}"
    if base == "granted" or merge.in_flight(remote, key, "granted", now=entry.at, window=window, said_at=clock):
        return
    over = remote.asked.get(purpose)
    asked = base == "pending" and (over in {"absent", "denied"} or consent.effective(standing) is None)
    confirmed = report.confirmed or asked
    remote.consents[purpose] = "granted"
    remote.asked.pop(purpose, None)
    if consent.effective(standing) == "granted" and not confirmed:
        return
    lifts = consent.report_lifts(
        reading.connector.consents[purpose].regrant,
        confirmed=confirmed,
        said_at=reading.said_at,
        denial_acked_at=remote.acked_at if base == "denied" else math.inf,  # it was never told of the denial
    )
    evidence = {"reported_by": reading.connector.name, "event": entry.id, **report.evidence}
    row = _row(reading, entry, purpose, "granted", "double" if confirmed else "vendor", evidence, lifts=lifts)
    after = append(unit, person, row)
    if after != standing:
        reading.changes.consents.add(purpose)
    if after.state == "denied":
        reading.notes.append(("not-evidenced", f"{purpose} stays denied"))
        reading.back.consents.add(purpose)


def _reported_denial(unit: Unit, reading: Reading, purpose: str, entry: Entry, how: str) -> None:
    remote, person = reading.remote, reading.person
    standing = person.consents.get(purpose)
    known = remote.consents.get(purpose) == "denied"
    since = reading.has_clock and standing is not None and standing.state != "denied" and reading.said_at > standing.at
    if known and not since:  # by its own clock it is the person's newest word, whatever the vendor held before
        return
    remote.consents[purpose] = "denied"
    remote.asked.pop(purpose, None)
    evidence = {"reported_by": reading.connector.name, "event": entry.id, "how": how, **reading.report.evidence}
    after = append(unit, person, _row(reading, entry, purpose, "denied", "vendor", evidence, lifts=False))
    if after != standing:
        reading.changes.consents.add(purpose)
    if after.state != "denied":
        reading.notes.append(("conflict", f"{purpose}: a later grant stands"))
        reading.back.consents.add(purpose)


def _row(
    reading: Reading,
    entry: Entry,
    purpose: str,
    state: str,
    method: str,
    evidence: Mapping[str, object],
    *,
    lifts: bool,
) -> LedgerRow:
    return LedgerRow(
        person=reading.person.id,
        purpose=purpose,
        state=state,  # type: ignore[arg-type]  # both callers pass a literal
        method=method,
        source=reading.connector.name,
        evidence=dict(evidence),
        said_at=reading.said_at,
        recorded_at=entry.at,
        lifts=lifts,
    )


def _finish(unit: Unit, world: World, reading: Reading, cause: Cause, lanes: set[str]) -> None:
    person, changes = reading.person, reading.changes
    unit.save_remote(reading.remote)
    unit.save_person(person)
    for reason, detail in reading.notes:
        unit.note(cause.note(person, "reported", connector=reading.connector.name, reason=reason, detail=detail))
    if not changes and not reading.back:
        unit.note(cause.note(person, "reported", connector=reading.connector.name, reason="echo"))
        return
    if changes:
        detail = ", ".join(sorted(changes.fields | changes.audiences | changes.consents))
        unit.note(cause.note(person, "merged", connector=reading.connector.name, detail=detail))
    if cause.parked:
        skip(unit, cause, person, reading.connector.name, "loop", f"{cause.hops} hops from {cause.root}")
    fan_out(unit, world, person, changes, cause, lanes, back=reading.back)


def _policy(connector: ConnectorConfig, name: str) -> Conflict:
    if isinstance(connector.conflict, dict):
        return connector.conflict.get(name, "newest")
    return connector.conflict
