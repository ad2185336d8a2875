"""Driving a lane's desk by hand: what is due, claimed in one visit, without the lane's clockwork around it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from esplanade.delivery.desk import Desk, Finished, Turn, Visit, Work
from esplanade.records import Place, Urgency
from esplanade.store.port import Unit

BEFORE_ALL = (-math.inf, 0)
MANY = 500


def due(desk: Desk, unit: Unit, now: float, busy: Collection[int] = ()) -> list[tuple[int, Place]]:
    """Who is next, the most urgent first, each once."""
    found: dict[int, Place] = {}
    for urgency in range(len(Urgency)):
        for place in unit.places(desk.lane, urgency, BEFORE_ALL, now, MANY):
            if desk.key(place) not in busy:
                found.setdefault(desk.key(place), place)
    return list(found.items())


def claim(desk: Desk, unit: Unit, calls: int, now: float, busy: Collection[int] = ()) -> list[Work]:
    """Put up to so many works in flight."""
    turn = Turn(taken=due(desk, unit, now, busy), room=[calls] * len(Urgency), now=now)
    return desk.visit(unit, turn, careful=False).work


def settle(desk: Desk, unit: Unit, finished: Sequence[Finished], now: float) -> Visit:
    """Write down what came of calls."""
    return desk.visit(unit, Turn(finished=finished, room=[0] * len(Urgency), now=now), careful=False)


async def call(desk: Desk, work: Work, now: float) -> Finished:
    """Make the call of one work."""
    (answer,) = await desk.do([work])
    return Finished(work=work, answer=answer, began_at=now, took_s=0.0)


def next_due_at(desk: Desk, unit: Unit) -> float | None:
    """When the first that waits is due, or was."""
    found = [unit.next_due_at(desk.lane, urgency, -math.inf) for urgency in range(len(Urgency))]
    return min((at for at in found if at is not None), default=None)
