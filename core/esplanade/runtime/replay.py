"""Sending work again by hand: dead letters, parked triggers, and state whatever the vendor is thought to hold."""

from __future__ import annotations

import msgspec

from esplanade.records import Delivery, DeliveryFilter, Entry
from esplanade.store.port import Unit

PAGE = 500


def replay(unit: Unit, wanted: DeliveryFilter, *, force: bool, now: float) -> tuple[int, set[str]]:
    """Make what matches due again; how much, and in which lanes.

    ``force``, with ids, also repeats triggers that were delivered or whose outcome is unknown. Of a person's finished state
    deliveries only the last is repeated: the ones before it said the same or less.
    """
    replayed, after, lanes = 0, 0, set[str]()
    force = force and wanted.ids is not None
    finished: dict[tuple[str, int | None, str, str], Delivery] = {}
    while page := unit.deliveries(wanted, after=after, limit=PAGE):
        for delivery, _ in page:
            after = delivery.id
            if delivery.state == "done" and delivery.kind in {"profile", "consent"}:
                finished[delivery.lane, delivery.person, delivery.kind, delivery.subject] = delivery
            elif _may_replay(delivery, force=force):
                _again(unit, delivery, now)
                lanes.add(delivery.lane)
                replayed += 1
    for delivery in finished.values():
        _again(unit, delivery, now)
        lanes.add(delivery.lane)
    return replayed + len(finished), lanes


def _may_replay(delivery: Delivery, *, force: bool) -> bool:
    match delivery.state:
        case "in_flight":
            return False
        case "pending":
            return True
        case "dead" | "parked":
            unknown = delivery.kind == "trigger" and delivery.reason == "outcome-unknown"
            return force or not unknown
        case "done":
            return force


def _again(unit: Unit, delivery: Delivery, now: float) -> None:
    if delivery.kind == "fold":
        unit.append([msgspec.msgpack.decode(delivery.payload, type=Entry)])
        delivery.state, delivery.outcome = "done", "delivered"
        unit.save_delivery(delivery)
        return
    remote = unit.remote(delivery.person, delivery.lane) if delivery.person is not None else None
    if remote is not None and remote.rejected:
        remote.rejected = {}
        unit.save_remote(remote)
    delivery.state, delivery.due_at, delivery.force = "pending", now, True
    delivery.attempts, delivery.reason, delivery.outcome = 0, None, None
    unit.save_delivery(delivery)
