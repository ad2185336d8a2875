"""What a call told in a person's name, by the operator's rule: the person's news, which says nothing of the vendor's base."""

from __future__ import annotations

from typing import Literal

from esplanade.records import Clocked, Entry
from esplanade.store.port import Unit
from esplanade.sync import consent

from .consents import append
from .reading import Reading
from .reported_consents import row_of
from .world import World


def read_told(unit: Unit, world: World, reading: Reading, entry: Entry) -> None:
    """Take over what was told, as far as the connector's ``sends`` goes and nothing later is known."""
    report, sends = reading.report, reading.connector.sends
    said = {"profile": report.fields, "consent": report.consents}
    left_out = [kind for kind in said if said[kind] and kind not in sends]
    reading.notes += [("not-mapped", f"`sends` leaves out {kind}") for kind in left_out]
    if "profile" in sends:
        _read_fields(reading)
    for purpose, state in report.consents.items() if "consent" in sends else ():
        _read_consent(unit, world, reading, entry, purpose, granted=state == "granted")


def _read_fields(reading: Reading) -> None:
    person, at = reading.person, reading.telling.at
    for name, value in reading.report.fields.items():
        held = person.fields.get(name)
        if held is not None and held.at > at:
            reading.notes.append(("stale", f"said earlier than what is held: {name}"))
            continue
        person.fields[name] = Clocked(value, at)
        if held is not None and type(held.value) is type(value) and held.value == value:
            reading.echoes.append(name)
        else:
            reading.changes.fields.add(name)


def _read_consent(unit: Unit, world: World, reading: Reading, entry: Entry, purpose: str, *, granted: bool) -> None:
    """An opt-out counts. A grant is told only where the vendor shows it too; then it is the person's own confirmation."""
    target = reading.connector.consents.get(purpose)
    if target is None:
        reading.notes.append(("not-mapped", purpose))
        return
    state: Literal["granted", "denied"] = "granted" if granted else "denied"
    before = reading.person.consents.get(purpose)
    if before is not None and (consent.effective(before) if granted else before.state) == state:
        reading.echoes.append(purpose)
        after = before
    else:
        said_at = reading.telling.at
        lifts = granted and consent.report_lifts(
            target.regrant, confirmed=True, said_at=said_at, denial_acked_at=said_at
        )
        how = "double" if granted else "vendor"
        evidence = {"reported_by": reading.connector.name, "event": entry.id, **reading.report.evidence}
        row = row_of(reading, entry, purpose, state, how, evidence, lifts=lifts)
        after = append(unit, world, reading.person, row)
    if after != before:
        reading.changes.consents.add(purpose)
    if granted and consent.effective(after) != "granted":
        reading.notes.append(("not-evidenced", f"{purpose} stays {after.state}"))
    elif not granted and after.state != "denied":
        reading.notes.append(("conflict", f"{purpose}: a later grant stands"))
    elif not granted and reading.remote.consents.get(purpose) != "denied":
        reading.back.consents.add(purpose)  # the vendor, which made the call, may still have them as subscribed
