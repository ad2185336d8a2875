"""What a vendor reports of fields and memberships: echoes of our own writes end here, changes are taken over."""

from __future__ import annotations

from esplanade.config.model import Conflict, ConnectorConfig
from esplanade.records import Clocked
from esplanade.sync import mapping, merge

from .reading import Reading


def read_fields(reading: Reading) -> None:
    """Compare each reported field with the base, and take over what changed at the vendor."""
    person, remote, connector = reading.person, reading.remote, reading.connector
    unmapped = []
    for vendor, reported in reading.report.fields.items():
        name = mapping.hub_name(connector, vendor)
        if name is None:
            unmapped.append(vendor)
            continue
        known = vendor in remote.fields
        verdict = merge.weigh(
            reported,
            key=vendor,
            remote=remote,
            hub=person.fields.get(name),
            telling=reading.telling,
            conflict=_policy(connector, name),
            traits=reading.traits,
        )
        match verdict:
            case "echo":
                merge.confirm(remote, f"field:{vendor}", reported, reading.traits.alters)
                reading.echoes.append(vendor)
            case "ask" | "returned":
                if reading.traits.can_fetch:
                    reading.asks.add(vendor)
                else:
                    reading.echoes.append(vendor)
            case "same":
                remote.fields[vendor] = reported
                reading.echoes.append(vendor)
            case "cut":
                remote.rejected[vendor] = remote.sent[f"field:{vendor}"][-1].value
                remote.fields[vendor] = reported
                reading.notes.append(("drift", f"{vendor} was altered, cut or refused"))
            case "keep":
                remote.fields[vendor] = reported
                reading.back.fields.add(name)
                if known or not merge.is_empty(reported):  # what a vendor never had contradicts nothing
                    reading.notes.append(("conflict", f"{vendor}: the hub's value stands"))
            case "take":
                remote.fields[vendor] = reported
                remote.rejected.pop(vendor, None)
                if name not in person.fields and merge.is_empty(reported):
                    reading.echoes.append(vendor)
                    continue
                person.fields[name] = Clocked(reported, reading.telling.at)
                reading.changes.fields.add(name)
    _note_unmapped(reading, unmapped)


def read_audiences(reading: Reading) -> None:
    """The same for memberships."""
    person, remote, telling = reading.person, reading.remote, reading.telling
    unmapped = []
    for name, member in reading.report.audiences.items():
        if name not in reading.connector.audiences:
            unmapped.append(name)
            continue
        key = f"audience:{name}"
        if remote.audiences.get(name) == member and not remote.unknown:
            reading.echoes.append(name)
            continue
        sent = merge.echoed(remote, key, member, telling)
        if sent is not None and sent.at > remote.acked_at:
            reading.echoes.append(name)
            continue
        if reading.traits.can_fetch and (sent is not None or merge.is_perhaps_older(remote, key, telling)):
            reading.asks.add(name)
            continue
        if sent is not None:
            reading.echoes.append(name)
            continue
        older = telling.has_clock and merge.is_perhaps_older(remote, key, telling)
        remote.audiences[name] = member
        if not member and name in remote.owned and not merge.is_perhaps_older(remote, key, telling):
            # whoever puts them back there is their new owner
            remote.owned.remove(name)
            reading.lost.append(name)
        held = person.audiences.get(name)
        if held is None and not member:
            reading.echoes.append(name)  # that somebody was never a member is no news of theirs
        elif older and held is not None and bool(held.value) != member:
            reading.back.audiences.add(name)
            reading.notes.append(("conflict", f"{name}: the hub's membership stands"))
        elif held is None or (bool(held.value) != member and held.at < telling.at):
            person.audiences[name] = Clocked(member, telling.at)
            reading.changes.audiences.add(name)
        elif bool(held.value) != member:
            reading.back.audiences.add(name)
            reading.notes.append(("conflict", f"{name}: the hub's membership stands"))
        else:
            reading.echoes.append(name)
    _note_unmapped(reading, unmapped)


def _note_unmapped(reading: Reading, names: list[str]) -> None:
    if names:  # one note for all of them: a vendor tells the same dozens with every report
        reading.notes.append(("not-mapped", ", ".join(names)))


def _policy(connector: ConnectorConfig, name: str) -> Conflict:
    if isinstance(connector.conflict, dict):
        return connector.conflict.get(name, "newest")
    return connector.conflict
