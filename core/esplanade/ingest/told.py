"""What a call told in a person's name, by the operator's rule: the person's news, which says nothing of the vendor's base.

Its contact was read again first, and is folded first: what a word is worth hangs on what that reading came to.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from esplanade.model import Held
from esplanade.reasons import Reason
from esplanade.records import Clocked, Entry
from esplanade.store.port import Unit
from esplanade.sync import consent

from .consents import append
from .reading import Reading
from .reported_consents import row_of
from .shapes import WordIn
from .world import World


class Before(Struct, frozen=True, kw_only=True):
    """What was known of the contact before it was read again for a call."""

    person: int
    consents: dict[str, Held]
    """Of each purpose what the vendor was known for sure to hold."""
    acked_at: float

    @classmethod
    def of(cls, reading: Reading) -> Before:
        """Nothing is known for sure where a call was cut."""
        remote = reading.remote
        held = {} if remote.unknown else dict(remote.consents)
        return cls(person=reading.person.id, consents=held, acked_at=remote.acked_at)


def read_word(
    unit: Unit, world: World, reading: Reading, entry: Entry, word: WordIn, before: Before, *, is_former: bool
) -> None:
    """Take over what was told, as far as the connector's ``sends`` goes and nothing later is known.

    A repeat says nothing but its opt-outs: somebody who opts out twice has done so twice.
    """
    sends = reading.connector.sends
    said = {"profile": word.fields, "consent": word.consents}
    left_out = [kind for kind in said if said[kind] and kind not in sends]
    reading.notes += [("not-mapped", f"`sends` leaves out {kind}") for kind in left_out]
    repeats = word.event_id is not None and not unit.first_time(word.event_id, entry.at)
    if repeats:
        reading.notes.append(("duplicate", "told before"))
    word = replace(word, at=min(word.at, entry.at))
    if "profile" in sends and not repeats:
        _read_fields(reading, word)
    for purpose, state in word.consents.items() if "consent" in sends else ():
        if purpose not in reading.connector.consents:
            reading.notes.append(("not-mapped", purpose))
        elif state == "denied":
            _denied(unit, world, reading, entry, word, purpose)
        elif state == "granted" and not repeats:
            is_shown = _is_shown(reading, purpose, is_former=is_former)
            lifts = is_shown and _has_come_back(unit, reading, purpose, before)
            _granted(unit, world, reading, entry, word, purpose, is_shown=is_shown, lifts=lifts)


def _read_fields(reading: Reading, word: WordIn) -> None:
    person = reading.person
    for name, value in word.fields.items():
        held = person.fields.get(name)
        if held is not None and held.at > word.at:
            reading.notes.append(("stale", f"said earlier than what is held: {name}"))
            continue
        person.fields[name] = Clocked(value, word.at)
        if held is not None and type(held.value) is type(value) and held.value == value:
            reading.echoes.append(name)
        else:
            reading.changes.fields.add(name)


def _is_shown(reading: Reading, purpose: str, *, is_former: bool) -> bool:
    """Whether the contact, as it is now, has the grant; a reading that is overtaken, or of another contact, shows nothing."""
    return (
        not is_former
        and reading.telling.fresh
        and purpose not in reading.asks
        and reading.report.consents.get(purpose) == "granted"
    )


def _has_come_back(unit: Unit, reading: Reading, purpose: str, before: Before) -> bool:
    """Whether the vendor was known to hold the opt-out, and holds a grant now.

    A vendor that was not told of an opt-out shows the grant from before it, which says nothing of the person's mind.
    """
    if before.person != reading.person.id or before.consents.get(purpose) != "denied":
        return False
    if reading.remote.consents.get(purpose) != "granted":
        return False
    its_own = {reading.connector.name, reading.connector.source}
    denials = [row for row in unit.ledger(reading.person.id, purpose) if row.state == "denied"]
    return all(row.recorded_at <= before.acked_at or row.source in its_own for row in denials)


def _granted(
    unit: Unit,
    world: World,
    reading: Reading,
    entry: Entry,
    word: WordIn,
    purpose: str,
    *,
    is_shown: bool,
    lifts: bool,
) -> None:
    """A grant that the contact shows is the person's own confirmation. It lifts an opt-out only of somebody who has come back."""
    person = reading.person
    if consent.effective(person.consents.get(purpose)) == "granted":
        reading.echoes.append(purpose)
        return
    was_denied = any(row.state == "denied" for row in unit.ledger(person.id, purpose))
    lifts = lifts and reading.connector.consents[purpose].regrant != "never"
    if lifts or (is_shown and not was_denied):
        _append(unit, world, reading, entry, word, purpose, "granted", lifts=lifts)
    after = person.consents.get(purpose)
    stays: tuple[Reason, str] = ("not-evidenced", f"{purpose} stays {after.state if after is not None else 'unknown'}")
    if consent.effective(after) != "granted":
        reading.notes += [stays] if stays not in reading.notes else []
        return
    # the reading by itself had not been enough
    reading.notes = [
        each for each in reading.notes if each[0] != "not-evidenced" or not each[1].startswith(f"{purpose} ")
    ]
    reading.back.consents.discard(purpose)


def _denied(unit: Unit, world: World, reading: Reading, entry: Entry, word: WordIn, purpose: str) -> None:
    """An opt-out counts, and the vendor, which made the call, may still have them as subscribed."""
    before = reading.person.consents.get(purpose)
    if before is not None and before.state == "denied":
        reading.echoes.append(purpose)
    else:
        _append(unit, world, reading, entry, word, purpose, "denied", lifts=False)
    after = reading.person.consents[purpose]
    if after.state != "denied":
        reading.notes.append(("conflict", f"{purpose}: a later grant stands"))
    elif reading.remote.consents.get(purpose) != "denied":
        reading.back.consents.add(purpose)


def _append(
    unit: Unit,
    world: World,
    reading: Reading,
    entry: Entry,
    word: WordIn,
    purpose: str,
    state: Literal["granted", "denied"],
    *,
    lifts: bool,
) -> None:
    person = reading.person
    before = person.consents.get(purpose)
    evidence = {"reported_by": reading.connector.name, "event": entry.id, **word.evidence}
    method = "double" if state == "granted" else "vendor"
    row = replace(row_of(reading, entry, purpose, state, method, evidence, lifts=lifts), said_at=word.at)
    if append(unit, world, person, row) != before:
        reading.changes.consents.add(purpose)
