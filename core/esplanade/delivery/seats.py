"""How claimed work fits into calls: by kind, by number and by bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from esplanade.records import Delivery, Urgency

from .desk import NONE_OPEN, OPEN_CALL, Free, Group
from .dispatch import Dispatch

_bytes_of = msgspec.json.Encoder(enc_hook=str).encode  # targets hold words of connectors.yaml, such as durations


class Seat(NamedTuple):
    """The call that carries an event, and what the event weighs there, in bytes; 0 where nobody asks."""

    call: int
    weight: int


class NoSeat(NamedTuple):
    """The calls that may start now are full for work that is so urgent."""

    urgency: int


class _Open:
    """A call that is being filled."""

    __slots__ = ("free_bytes", "free_items", "number")

    def __init__(self, number: int, items: int, size: int) -> None:
        self.number = number
        self.free_items = items
        self.free_bytes = size


class Seats:
    """The seats of one visit. A call carries one kind; opt-outs share none with anything else.

    ``room``: how many calls may be begun for work that is at least so urgent, by urgency. ``open_calls``: what those still take
    that an earlier visit began to fill.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        room: Sequence[int],
        open_calls: Mapping[Group, Free] = NONE_OPEN,
    ) -> None:
        self._dispatch = dispatch
        self._room = room
        self._opened = 0
        self._open = {group: _Open(OPEN_CALL, free.items, free.size) for group, free in open_calls.items()}

    def any_for(self, delivery: Delivery) -> bool:
        """Whether there may be a seat for a delivery; its size is not known yet."""
        if self._may_open(delivery):
            return True
        call = self._open.get(group_of(delivery))
        return call is not None and call.free_items > 0

    def take(self, delivery: Delivery, event: Any) -> Seat | None:
        """A seat for this event; None: there is none."""
        at_once = self._dispatch.at_once(delivery.kind, unsure=delivery.unsure)
        if at_once == 1:
            return Seat(self._begin(), 0) if self._may_open(delivery) else None
        weight, group = len(_bytes_of(event)), group_of(delivery)
        call = self._open.get(group)
        if call is None or not call.free_items or (weight > call.free_bytes and call.free_items < at_once):
            if not self._may_open(delivery):
                return None
            call = self._open[group] = _Open(self._begin(), at_once, self._dispatch.max_bytes)
        call.free_items -= 1
        call.free_bytes -= weight
        return Seat(call.number, weight)

    def _may_open(self, delivery: Delivery) -> bool:
        return self._opened < self._room[delivery.urgency]

    def _begin(self) -> int:
        self._opened += 1
        return self._opened


def group_of(delivery: Delivery) -> Group:
    """What may share a call."""
    return delivery.kind, delivery.urgency == Urgency.OPT_OUT
