"""Making one person of two: who survives, what they hold, and what each vendor must then be told."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Struct, field

from esplanade.records import Clocked, Delivery, Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import contacts
from esplanade.sync.identity import normalise
from esplanade.sync.plan import TriggerBody

from .changes import Cause, Changes, skip
from .consents import decide
from .retire import retire
from .world import World

_trigger = msgspec.msgpack.Decoder(TriggerBody).decode


class Merged(Struct, kw_only=True):
    """Who is left, what may differ for a vendor, and what vendors held of those who are not."""

    person: Person
    changes: Changes
    remotes: list[Remote] = field(default_factory=list)


def merge(unit: Unit, world: World, one: Person, other: Person, cause: Cause) -> Merged:
    """Merge two people who are one. The caller saves who is left, and joins the contacts once their address is known.

    The one with a CDP id survives, else the older. Each field and membership takes its newest value, and the consent law
    runs over what both ever said, so nobody is granted what neither was. The newer statement of an address is the current one.
    """
    kept, gone = _by_rank(one, other)
    _values(kept.fields, gone.fields)
    _values(kept.audiences, gone.audiences)
    _addresses(kept, gone)
    kept.cdp_id = kept.cdp_id or gone.cdp_id
    kept.created_at = min(kept.created_at, gone.created_at)
    for purpose, vendors in gone.doubted.items():
        kept.doubted[purpose] = {**vendors, **kept.doubted.get(purpose, {})}
    kept.lineage = [*kept.lineage, *gone.lineage, gone.id]
    remotes = unit.remotes(gone.id)
    purposes = kept.consents.keys() | gone.consents.keys()
    unit.merge_person(gone.id, kept.id, cause.now)
    unit.save_person(Person(id=gone.id, email="", email_key="", created_at=gone.created_at, merged_into=kept.id))
    for purpose in sorted(purposes):
        decide(unit, world, kept, purpose)
    _drop_repeats(unit, kept, cause)
    unit.note(cause.note(kept, "merged", reason="merged", detail=f"{gone.name} is the same person"))
    fields, audiences = set(kept.fields), set(kept.audiences)
    changes = Changes(fields=fields, audiences=audiences, consents=set(purposes), renamed=True)
    return Merged(person=kept, changes=changes, remotes=remotes)


def join_contacts(unit: Unit, world: World, person: Person, remotes: list[Remote], cause: Cause) -> None:
    """Give a person the contacts of those who were merged into them: one stays theirs, the others leave every list."""
    for theirs in remotes:
        mine = unit.remote(person.id, theirs.connector) or Remote(person=person.id, connector=theirs.connector)
        left = contacts.join(mine, theirs, person)
        unit.save_remote(mine)
        connector = world.connectors.get(theirs.connector)
        for contact in left:
            if connector is not None:
                retire(unit, person, connector, contact, cause.chain)


def _by_rank(one: Person, other: Person) -> tuple[Person, Person]:
    older, younger = sorted((one, other), key=lambda person: (person.created_at, person.id))
    if younger.cdp_id is not None and older.cdp_id is None:
        return younger, older
    return older, younger


def _values(kept: dict[str, Clocked], gone: dict[str, Clocked]) -> None:
    for name, theirs in gone.items():
        mine = kept.get(name)
        if mine is None or theirs.at > mine.at:
            kept[name] = theirs


def _addresses(kept: Person, gone: Person) -> None:
    current, other = kept, gone
    if not kept.email or (gone.email and gone.email_at > kept.email_at):
        current, other = gone, kept
    earlier = [*other.emails, *([other.email] if other.email else []), *current.emails]
    kept.email, kept.email_key, kept.email_at = current.email, current.email_key, current.email_at
    keys = {normalise(each).key: each for each in earlier}
    keys.pop(kept.email_key, None)
    kept.emails = list(keys.values())


def _drop_repeats(unit: Unit, person: Person, cause: Cause) -> None:
    """A trigger that was queued for both of two people who are one is sent once, and never where one of them has it already."""
    same = defaultdict[tuple[str, str, str, str], list[Delivery]](list)
    for delivery in unit.triggers(person.id):
        body = _trigger(delivery.payload)
        same[delivery.lane, body.origin, delivery.subject, body.trigger_id].append(delivery)
    for (lane, *_, trigger_id), both in same.items():
        for delivery in sorted(both, key=_how_far)[1:]:
            if delivery.state in {"pending", "parked", "dead"}:
                delivery.state, delivery.outcome, delivery.reason = "done", "unchanged", "duplicate"
                delivery.due_at = cause.now
                unit.save_delivery(delivery)
                skip(unit, cause, person, lane, "duplicate", trigger_id)


def _how_far(delivery: Delivery) -> tuple[int, int]:
    """Orders repeats of a trigger: what the person has or may have, then what waits, then what a human must look at."""
    if delivery.state == "in_flight" or delivery.outcome == "delivered" or delivery.reason == "outcome-unknown":
        return 0, delivery.id
    return {"pending": 1, "parked": 2, "dead": 2, "done": 3}[delivery.state], delivery.id
