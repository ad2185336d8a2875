"""The promises of delivery, checked by counting: what was said, what the vendor did of it, and what the hub says became of it.

Each check returns its complaints, one sentence each; ``promises_are_kept`` fails with those of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from tests.faults.story import REQUIRES, Said
from tests.faults.vendor import Account, Line

from esplanade.connector import TriggerRepeat
from esplanade.records import DeliveryFilter
from esplanade.store.port import Reader
from esplanade.sync.plan import TriggerBody

SHOWN = 30
"""How many complaints a failure shows."""
_trigger = msgspec.msgpack.Decoder(TriggerBody).decode


class Row(Struct, frozen=True, kw_only=True):
    """What the hub says became of one delivery."""

    kind: str
    email: str
    event_id: str
    """The last event that it stands for."""
    subject: str = ""
    trigger_id: str = ""
    state: str = "pending"
    outcome: str | None = None
    reason: str | None = None
    unsure: bool = False
    """Whether a call of it may have been acted on that the vendor did not acknowledge."""

    @property
    def is_given_up(self) -> bool:
        """Whether it is kept with a reason, for a person to decide on."""
        return self.state in {"parked", "dead"} and self.reason is not None


def rows_of(reader: Reader, connector: str = "vendor") -> list[Row]:
    """All deliveries of a connector: ``await hub.store.read(rows_of)``."""
    rows: list[Row] = []
    after = 0
    while page := reader.deliveries(DeliveryFilter(connector=connector), after=after, limit=1_000):
        after = page[-1][0].id
        rows += [
            Row(
                kind=found.kind,
                email=email or "",
                event_id=found.event_id,
                subject=found.subject,
                trigger_id=_trigger(found.payload).trigger_id if found.kind == "trigger" else "",
                state=found.state,
                outcome=found.outcome,
                reason=found.reason,
                unsure=found.unsure,
            )
            for found, email in page
        ]
    return rows


class Case:
    """What was said, what the vendor did, and what the hub says, in the order that the checks need."""

    def __init__(self, said: Sequence[Said], account: Account, rows: Sequence[Row]) -> None:
        self.account = account
        self.rows = rows
        self.triggers = {row.trigger_id: row for row in rows if row.kind == "trigger"}
        self._seqs = {each.id: each.seq for each in said}
        self.said: dict[str, list[Said]] = {}
        for each in said:
            self.said.setdefault(each.email, []).append(each)
        self.acted: dict[str, list[Line]] = {email: [] for email in self.said}
        for line in account.acted():
            self.acted.setdefault(line.email, []).append(line)
        self._given_up: dict[tuple[str, str, str], int] = {}
        for row in rows:
            if row.is_given_up and row.kind != "trigger":
                key = (row.email, row.kind, row.subject)
                self._given_up[key] = max(self._given_up.get(key, 0), self._seqs.get(row.event_id, 0))

    def last(self, email: str, kind: str, subject: str = "", before: float = float("inf")) -> Said | None:
        """The last of a kind that was said of a person, before another event of theirs."""
        found = [
            each for each in self.said[email] if (each.kind, each.purpose) == (kind, subject) and each.seq < before
        ]
        return found[-1] if found else None

    def purposes(self, email: str) -> list[str]:
        return sorted({each.purpose for each in self.said[email] if each.kind == "consent"})

    def states_since(self, said: Said) -> set[str]:
        """What a purpose has been since something was said of it: the vendor may hold what came later already."""
        return {each.state for each in self.said[said.email] if each.purpose == said.purpose and each.seq >= said.seq}

    def is_given_up(self, said: Said) -> bool:
        """Whether the hub keeps some state that was said, or a later one in its place, as parked or dead."""
        return self._given_up.get((said.email, said.kind, said.purpose), 0) >= said.seq


# Of state, the last value arrives and versions never go back.


def versions_never_go_back(case: Case) -> Iterator[str]:
    """The numbers that the vendor acted on never fall, for the profile of a person and for each of their purposes."""
    for email, lines in case.acted.items():
        highest: dict[tuple[str, str], float] = {}
        for line in lines:
            key = (line.kind, line.purpose)
            if line.kind == "trigger" or line.seq is None:
                continue
            if line.seq < highest.get(key, 0):
                yield f"{email}: {line.kind} {line.purpose} went back from {highest[key]:g} to {line.seq:g} in call {line.call}"
            highest[key] = max(line.seq, highest.get(key, 0))


def the_last_state_arrives(case: Case) -> Iterator[str]:
    """The vendor ends with the last that was said of each person's profile and purposes, unless the hub keeps that as given up."""
    for email in case.said:
        held = case.account.held(email)
        profile = case.last(email, "profile")
        if profile is not None and held.seq != profile.seq and not case.is_given_up(profile):
            yield f"{email}: the vendor ends with profile {held.seq:g}, and {profile.seq} was said last{_rows(case, email)}"
        for purpose in case.purposes(email):
            said, has = case.last(email, "consent", purpose), held.consents.get(purpose)
            if said is not None and (has is None or has.state != said.state) and not case.is_given_up(said):
                yield (
                    f"{email}: the vendor ends with {purpose} {has.state if has else 'unknown'}, "
                    f"and {said.state} was said last ({said.seq}){_rows(case, email)}"
                )


# Triggers: each one, in order, none twice unless its class allows.


def every_trigger_is_accounted_for(case: Case) -> Iterator[str]:
    """Each was acted on, or is kept with a reason, or was dropped for a consent that was not given."""
    acted = {line.trigger_id for line in case.account.acted("trigger")}
    for said in _triggers(case):
        row = case.triggers.get(said.trigger_id)
        if row is None:
            yield f"{said.trigger_id}: it was accepted, and there is no delivery of it"
        elif row.state not in {"done", "parked", "dead"}:
            yield f"{said.trigger_id}: it is still {row.state}"
        elif row.state == "done" and row.outcome == "delivered" and said.trigger_id not in acted:
            yield f"{said.trigger_id}: the hub says that it was delivered, and the vendor never acted on it"
        elif row.state == "done" and row.outcome != "delivered" and not _may_be_dropped(case, said):
            yield f"{said.trigger_id}: it was dropped ({row.outcome}), and nobody took back the consent that it needs"
        elif row.state != "done" and not row.is_given_up:
            yield f"{said.trigger_id}: it is {row.state} without a reason"


def triggers_keep_their_order(case: Case) -> Iterator[str]:
    """The vendor acted on the triggers of each person in the order in which they were said."""
    for email, lines in case.acted.items():
        latest = 0.0
        for line in lines:
            if line.kind != "trigger" or line.seq is None:
                continue
            if line.seq < latest:
                yield f"{email}: trigger {line.trigger_id} was acted on after {latest:g}, in call {line.call}"
            latest = max(latest, line.seq)


def no_trigger_is_acted_on_twice(case: Case, repeat: TriggerRepeat) -> Iterator[str]:
    """None was acted on more than once, unless the vendor itself tells repeats apart."""
    seen: dict[str, Line] = {}
    for line in case.account.acted("trigger"):
        first = seen.setdefault(line.trigger_id, line)
        if first is not line and repeat != "safe":
            yield (
                f"{line.trigger_id}: it was acted on twice, in call {first.call} ({first.fault or 'answered'}) "
                f"and in call {line.call}"
            )


# Order per person, across profile, consent and trigger.


def triggers_find_what_was_said_before_them(case: Case) -> Iterator[str]:
    """When the vendor acts on a trigger it holds what was said of the person before it, or something later."""
    said_by_id = {said.trigger_id: said for said in _triggers(case)}
    for line in case.account.acted("trigger"):
        said, held = said_by_id[line.trigger_id], line.held
        assert held is not None
        profile = case.last(said.email, "profile", before=said.seq)
        if profile is not None and held.seq < profile.seq and not case.is_given_up(profile):
            yield f"{line.trigger_id}: it came while the vendor held profile {held.seq:g}, and {profile.seq} was said before it"
        for purpose in case.purposes(said.email):
            before, has = case.last(said.email, "consent", purpose, said.seq), held.consents.get(purpose)
            if before is None or case.is_given_up(before) or (has and has.state in case.states_since(before)):
                continue
            yield (
                f"{line.trigger_id}: it came while the vendor held {purpose} {has.state if has else 'unknown'}, "
                f"and {before.state} was said before it ({before.seq})"
            )


def nothing_is_left_undone(case: Case) -> Iterator[str]:
    """No delivery waits or is under way any more."""
    for row in case.rows:
        if row.state not in {"done", "parked", "dead"}:
            yield f"{row.email}: {row.kind} {row.subject} is still {row.state}"


def complaints(
    said: Sequence[Said], account: Account, rows: Sequence[Row], *, repeat: TriggerRepeat, replayed: bool = False
) -> list[str]:
    """All that is wrong. ``replayed``: dead letters were sent again since, so that order says nothing any more."""
    case = Case(said, account, rows)
    found = [
        *nothing_is_left_undone(case),
        *versions_never_go_back(case),
        *the_last_state_arrives(case),
        *every_trigger_is_accounted_for(case),
        *no_trigger_is_acted_on_twice(case, repeat),
    ]
    if not replayed:
        found += [*triggers_keep_their_order(case), *triggers_find_what_was_said_before_them(case)]
    return found


def promises_are_kept(
    said: Sequence[Said], account: Account, rows: Sequence[Row], *, repeat: TriggerRepeat, replayed: bool = False
) -> None:
    """Fail unless every promise was kept."""
    found = complaints(said, account, rows, repeat=repeat, replayed=replayed)
    if found:
        more = f"\n… and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise AssertionError("\n".join(found[:SHOWN]) + more)


def _triggers(case: Case) -> list[Said]:
    return [each for told in case.said.values() for each in told if each.kind == "trigger"]


def _may_be_dropped(case: Case, said: Said) -> bool:
    """Whether the consent that a trigger needs was not in force at some moment since it was said."""
    purpose = REQUIRES.get(said.trigger)
    if purpose is None:
        return False
    before = case.last(said.email, "consent", purpose, said.seq)
    later = [each for each in case.said[said.email] if each.purpose == purpose and each.seq > said.seq]
    return before is None or before.state != "granted" or any(each.state != "granted" for each in later)


def _rows(case: Case, email: str) -> str:
    """What the hub has of a person that is not done with, for a message."""
    found = [
        f"{row.kind} {row.subject} {row.state} {row.reason}"
        for row in case.rows
        if row.email == email and row.state != "done"
    ]
    return f"; open: {', '.join(found)}" if found else ""
