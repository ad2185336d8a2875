"""Why a person got what they got, and why not the rest: the three versions of them at each connector, and what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from esplanade.config.model import ConnectorConfig
from esplanade.ingest.world import World
from esplanade.model import ProfileEvent
from esplanade.reasons import meaning
from esplanade.records import (
    FOLD_LANE,
    Contact,
    Delivery,
    DeliveryFilter,
    DeliveryKind,
    LedgerRow,
    Note,
    Person,
    Remote,
)
from esplanade.store.port import Reader
from esplanade.sync import mapping
from esplanade.sync.identity import normalise
from esplanade.sync.plan import Plan, Send, Skip, plan

from .connectors import INBOUND, ConnectorFacts, standing
from .deliveries import delivery_view
from .people import held_view, identity, person_view
from .times import moment

OPEN = ["pending", "in_flight", "parked", "dead"]
MOST = 200
"""So many open deliveries of one person are shown."""


def explain_view(
    reader: Reader,
    world: World,
    email: str,
    *,
    facts: Iterable[ConnectorFacts],
    now: float,
    connector: str | None = None,
) -> dict[str, Any] | None:
    """What is known of this person and why, perhaps towards one connector only. None: nobody. Raises EventError.

    What differs from what a vendor holds is what the next call would carry: it is computed as a delivery would be.
    """
    profile, key = person_view(reader, email), normalise(email).key
    person = reader.person_by_email(key)
    if profile is None or person is None:
        return None
    decided = [
        {"connector": name, "kind": kind, "reason": reason, "times": times, "at": moment(at), **_words(reason)}
        for name, kind, reason, times, at in reader.decisions(person.id)
    ]
    found = reader.deliveries(DeliveryFilter(email_key=key, states=OPEN), limit=MOST)
    waiting = [(each.lane.removesuffix(INBOUND), _delivery(each, address, now)) for each, address in found]
    remotes = {remote.connector: remote for remote in reader.remotes(person.id)}
    known = {*world.connectors, *remotes, *(one["connector"] for one in decided), *(name for name, _ in waiting)}
    facts_of = {each.name: each for each in facts}
    named = sorted(known - {"", FOLD_LANE}) if connector is None else [connector]
    return {
        **identity(person),
        "since": moment(person.email_at),
        "known_since": moment(person.created_at),
        "merged": [f"p-{each}" for each in person.lineage],
        "doubted": {
            purpose: {vendor: moment(at) for vendor, at in sorted(since.items())}
            for purpose, since in sorted(person.doubted.items())
        },
        "profile": profile,
        "consents": [_said(row) for row in reader.ledger(person.id)],
        "connectors": {
            name: {
                **_towards(
                    reader,
                    world,
                    facts_of.get(name),
                    person,
                    remotes.get(name) or Remote(person=person.id, connector=name),
                    now,
                ),
                "deliveries": [each for lane, each in waiting if lane == name],
                "decisions": [each for each in decided if each["connector"] == name],
            }
            for name in named
        },
        "kept": [each for lane, each in waiting if lane == FOLD_LANE],
        "decisions": [each for each in decided if connector is None or each["connector"] in {connector, ""}],
        "pending": {
            name: held["pending"]
            for name, held in profile["connectors"].items()
            if held["pending"] and connector in {None, name}
        },
        "timeline": [
            _note(note) for note in reader.timeline(person.id) if connector is None or note.connector in {connector, ""}
        ],
    }


def _towards(
    reader: Reader, world: World, facts: ConnectorFacts | None, person: Person, remote: Remote, now: float
) -> dict[str, Any]:
    """One connector: what its vendor holds, what differs from that, and what is kept from it."""
    connector = world.connectors.get(remote.connector)
    state, why = standing(facts, reader.connector_state(remote.connector)) if facts is not None else ("unknown", None)
    shown: dict[str, Any] = {
        "state": state,
        "state_reason": why,
        **held_view(remote),
        "former": [_former(contact) for contact in remote.former],
        "refused": remote.rejected,
        "doubted": {
            purpose: moment(since[remote.connector])
            for purpose, since in sorted(person.doubted.items())
            if remote.connector in since
        },
        "differs": {},
        "replayable": False,
        "withheld": [],
        "not_mapped": [],
    }
    if connector is None:
        return shown
    lacking = set()
    for kind, subject, decided in _plans(world, connector, person, remote, now):
        if isinstance(decided, Send):
            lacking.add((kind, subject))
            for part, values in _differs(decided, remote).items():
                shown["differs"].setdefault(part, {}).update(values)
        elif decided.reason != "unchanged":
            shown["withheld"].append(
                {
                    "kind": kind,
                    "subject": subject or None,
                    "reason": decided.reason,
                    "detail": decided.detail,
                    **_words(decided.reason),
                }
            )
    shown["not_mapped"] = _not_mapped(connector, person)
    shown["replayable"] = bool(lacking) and lacking <= _sent_before(reader, connector.name, person)
    return shown


def _sent_before(reader: Reader, connector: str, person: Person) -> set[tuple[str, str]]:
    """What there are finished deliveries of, which can be sent again."""
    kinds: tuple[DeliveryKind, ...] = ("profile", "consent")
    wanted = [
        DeliveryFilter(connector=connector, kind=kind, email_key=person.email_key, states=["done"]) for kind in kinds
    ]
    return {(each.kind, each.subject) for one in wanted for each, _ in reader.deliveries(one, limit=MOST)}


def _plans(
    world: World, connector: ConnectorConfig, person: Person, remote: Remote, now: float
) -> Iterator[tuple[str, str, Plan]]:
    """What a delivery of each kind would come to now."""
    probes = [Delivery(id=0, lane=connector.name, kind="profile", person=person.id)]
    probes += [
        Delivery(id=0, lane=connector.name, kind="consent", person=person.id, subject=purpose)
        for purpose in sorted(connector.consents)
    ]
    for probe in probes:
        decided: Plan
        if probe.kind not in connector.receives:
            decided = Skip(reason="not-mapped", detail=f"`receives` leaves out {probe.kind}")
        elif not person.email:
            decided = Skip(reason="no-email")
        else:
            decided = plan(probe, person, remote, connector, traits=world.trait(connector.name), now=now)
        yield probe.kind, probe.subject, decided


def _differs(send: Send, held: Remote) -> dict[str, dict[str, Any]]:
    """What a call would change, beside what the vendor is known to hold."""
    found: dict[str, dict[str, Any]] = {}
    if isinstance(send.event, ProfileEvent) and (held.email is None or send.event.previous_email is not None):
        found["address"] = {"email": _change(held.email, send.email)}
    found |= {
        "fields": {name: _change(held.fields.get(name), value) for name, value in send.fields.items()},
        "audiences": {
            **{name: _change(held.audiences.get(name), wanted=True) for name in send.joined},
            **{name: _change(held.audiences.get(name), wanted=False) for name in send.left},
        },
    }
    if send.consent is not None:
        purpose, wanted = send.consent
        found["consents"] = {purpose: _change(held.consents.get(purpose), wanted)}
    return {part: values for part, values in found.items() if values}


def _change(held: Any, wanted: Any) -> dict[str, Any]:
    return {"held": held, "wanted": wanted}


def _not_mapped(connector: ConnectorConfig, person: Person) -> list[str]:
    """The hub's fields and audiences that have no place at this connector."""
    fields = [name for name in person.fields if mapping.vendor_name(connector, name) is None]
    return sorted(fields) + sorted(f"audience {name}" for name in person.audiences if name not in connector.audiences)


def _words(reason: str | None) -> dict[str, Any]:
    found = meaning(reason) if reason is not None else None
    return {"means": found.means if found else None, "remedy": found.remedy if found else None}


def _delivery(delivery: Delivery, address: str | None, now: float) -> dict[str, Any]:
    return {**delivery_view(delivery, address, now), **_words(delivery.reason)}


def _former(contact: Contact) -> dict[str, Any]:
    return {
        "email": contact.email,
        "remote_id": contact.remote_id,
        "consents": contact.consents,
        "audiences": contact.audiences,
        "told": {purpose: moment(at) for purpose, at in sorted(contact.told.items())},
    }


def _note(note: Note) -> dict[str, Any]:
    return {
        "at": moment(note.at),
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
        "said_at": moment(row.said_at),
        "recorded_at": moment(row.recorded_at),
        "lifts": row.lifts,
        "evidence": row.evidence,
    }
