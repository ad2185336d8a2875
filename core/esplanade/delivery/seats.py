"""How claimed work fits into the calls that may start now: by kind, by number and by bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from esplanade.records import Delivery

from .dispatch import Dispatch

_bytes_of = msgspec.json.Encoder().encode


class NoSeat:
    """The calls that may start now are full."""


NO_SEAT: Final = NoSeat()


class _Open:
    """A call that is being filled."""

    __slots__ = ("free_bytes", "free_items", "number")

    def __init__(self, number: int, items: int, size: int) -> None:
        self.number = number
        self.free_items = items
        self.free_bytes = size


class Seats:
    """The seats of one visit. A call carries one kind; opt-outs share none with anything else."""

    def __init__(self, dispatch: Dispatch, room: Sequence[int]) -> None:
        self._dispatch = dispatch
        self._room = room
        self._opened = 0
        self._open: dict[tuple[str, bool], _Open] = {}

    def any_for(self, delivery: Delivery) -> bool:
        """Whether there may be a seat for a delivery; its size is not known yet."""
        if self._may_open(delivery):
            return True
        call = self._open.get(_group(delivery))
        return call is not None and call.free_items > 0

    def take(self, delivery: Delivery, event: Any) -> int | None:
        """The number of the call that carries this event; None: there is no seat."""
        at_once = self._dispatch.at_once(delivery.kind)
        if at_once == 1:
            return self._begin() if self._may_open(delivery) else None
        size, group = len(_bytes_of(event)), _group(delivery)
        call = self._open.get(group)
        if call is None or not call.free_items or (size > call.free_bytes and call.free_items < at_once):
            if not self._may_open(delivery):
                return None
            call = self._open[group] = _Open(self._begin(), at_once, self._dispatch.max_bytes)
        call.free_items -= 1
        call.free_bytes -= size
        return call.number

    def _may_open(self, delivery: Delivery) -> bool:
        return self._opened < self._room[delivery.urgency]

    def _begin(self) -> int:
        self._opened += 1
        return self._opened


def _group(delivery: Delivery) -> tuple[str, bool]:
    return delivery.kind, delivery.urgency == 0
