"""Sending work again by hand: dead letters, parked triggers, and state whatever the vendor is thought to hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Struct, field

from esplanade.records import Delivery, DeliveryFilter, Entry
from esplanade.store.port import Reader, Store, Unit

SLICE = 100
"""Deliveries that one unit goes through: few enough that it does not keep the writer from the next commit."""


class Progress(Struct, kw_only=True):
    """How far a replay has come."""

    after: int = 0
    replayed: int = 0
    journalled: int = 0
    """How many of them are events that were put into the journal again."""
    finished: dict[tuple[str, int | None, str, str], int] = field(default_factory=dict)
    """The last finished delivery of each state, by lane, person, kind and subject: those before it said the same or less."""


async def replay(
    store: Store,
    wanted: DeliveryFilter,
    *,
    force: bool,
    now: float,
    on_journalled: Callable[[int], None] = lambda _entries: None,
) -> int:
    """Make what matches due again; how much.

    ``force``, with ids, also repeats triggers that were delivered, and triggers and questions whose outcome is unknown. Of a
    person's finished state deliveries only the last is repeated. What is queued while this runs is not repeated.
    """
    force = force and wanted.ids is not None
    progress = Progress()
    last = await store.read(lambda reader: reader.last_delivery())
    while numbers := await store.read(partial(_matching, wanted=wanted, after=progress.after, last=last)):
        before = progress.journalled
        await store.run(partial(_go_through, numbers=numbers, wanted=wanted, progress=progress, force=force, now=now))
        on_journalled(progress.journalled - before)
    finished = sorted(progress.finished.values())
    for start in range(0, len(finished), SLICE):
        await store.run(partial(_repeat, finished=finished[start : start + SLICE], now=now))
    return progress.replayed + len(finished)


def _matching(reader: Reader, wanted: DeliveryFilter, after: int, last: int) -> list[int]:
    """The next few. They are looked for beside the writer, which has no time to go through all that does not match."""
    found = reader.deliveries(wanted, after=after, limit=SLICE)
    return [delivery.id for delivery, _ in found if delivery.id <= last]


def _go_through(
    unit: Unit, numbers: list[int], wanted: DeliveryFilter, progress: Progress, *, force: bool, now: float
) -> None:
    again = 0
    for number in numbers:
        delivery = unit.delivery(number)
        if delivery is None or not _still_matches(delivery, wanted):
            continue
        if delivery.state == "done" and delivery.kind in {"profile", "consent"}:
            progress.finished[delivery.lane, delivery.person, delivery.kind, delivery.subject] = delivery.id
        elif _may_replay(delivery, force=force):
            _again(unit, delivery, now, force=force)
            again += 1
            progress.journalled += delivery.kind == "fold"
    progress.replayed += again
    progress.after = numbers[-1]


def _still_matches(delivery: Delivery, wanted: DeliveryFilter) -> bool:
    """Whether what may have changed since it was found has not."""
    return (wanted.states is None or delivery.state in wanted.states) and wanted.reason in {None, delivery.reason}


def _repeat(unit: Unit, finished: list[int], now: float) -> None:
    for number in finished:
        delivery = unit.delivery(number)
        if delivery is not None and delivery.state == "done":
            _again(unit, delivery, now, force=False)


def _may_replay(delivery: Delivery, *, force: bool) -> bool:
    match delivery.state:
        case "in_flight":
            return False
        case "pending":
            return True
        case "dead" | "parked":
            unknown = delivery.reason == "outcome-unknown" or (delivery.kind == "trigger" and delivery.unsure)
            return force or not unknown
        case "done":
            return force


def _again(unit: Unit, delivery: Delivery, now: float, *, force: bool) -> None:
    """Make one due again. A trigger that waits is brought forward, and stays what it is unless that is forced."""
    if delivery.kind == "trigger" and delivery.state == "pending" and not force:
        delivery.due_at = now
        unit.save_delivery(delivery)
        return
    if delivery.kind == "fold":
        unit.append([msgspec.msgpack.decode(delivery.payload, type=Entry)])
        delivery.state, delivery.outcome = "done", "delivered"
        unit.save_delivery(delivery)
        return
    remote = unit.remote(delivery.person, delivery.lane) if delivery.person is not None else None
    if remote is not None and remote.rejected:
        remote.rejected = {}
        unit.save_remote(remote)
    delivery.state, delivery.due_at, delivery.force, delivery.unsure = "pending", now, True, False
    delivery.attempts, delivery.reason, delivery.outcome = 0, None, None
    unit.save_delivery(delivery)
