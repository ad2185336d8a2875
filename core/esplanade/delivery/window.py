"""What of a lane's work is in memory: who waits, in the order in which they are served, and who is under way.

A lane's backlog may be any length; here are only the first of it. The rest is in the store, behind a cursor for each urgency:
whatever is due and not behind the cursor is here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush

from msgspec import Struct

from esplanade.records import Place, Urgency

ROOM = 2_048
"""How many may wait here for each urgency."""
PAGE = 1_024
"""How many are read from the store at once."""
START = (-math.inf, 0)


class Page(Struct, frozen=True, kw_only=True):
    """What to read from the store: places of one urgency behind ``after`` (due time and id) that are due at ``until``."""

    urgency: int
    after: tuple[float, int]
    until: float
    limit: int


class Window:
    """The places of those who wait for one lane. A key, the person or the single delivery, is served once at a time."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._heaps: list[list[tuple[float, int, int]]] = [[] for _ in Urgency]
        self._busy: dict[int, Place | None] = {}
        self._waiting = [0] * len(Urgency)
        self._cursors = [START] * len(Urgency)
        self._left: list[tuple[float, int] | None] = [None] * len(Urgency)
        """Where the cursor must stand at the latest, because of what was left behind since a page was last asked for."""
        self._behind = [True] * len(Urgency)
        """Whether the store may hold more that is due, behind the cursor."""
        self._later: list[float | None] = [None] * len(Urgency)

    def __len__(self) -> int:
        return len(self._places)

    def offer(self, key: int, place: Place, now: float) -> None:
        """Work stands there now. What there is no room for is left to be read from the store."""
        if place.due_at > now:
            later = self._later[place.urgency]
            self._later[place.urgency] = place.due_at if later is None else min(later, place.due_at)
            self._leave(place)
        elif key in self._busy:
            before = self._busy[key]
            self._busy[key] = place if before is None else min(before, place)
        elif self._waiting[place.urgency] >= ROOM and key not in self._places:
            self._leave(place)
            self._behind[place.urgency] = True
        else:
            self._add(key, place)

    def take(self, room: Sequence[int]) -> list[tuple[int, Place]]:
        """The next to be served, who are under way from now on. None, while the store may hold somebody more urgent.

        ``room``: for how many that are at least so urgent, by urgency.
        """
        taken: list[tuple[int, Place]] = []
        for urgency, (heap, many) in enumerate(zip(self._heaps, room, strict=True)):
            while heap and len(taken) < many:
                due_at, delivery, key = heappop(heap)
                place = self._places.get(key)
                if place is None or (place.urgency, place.due_at, place.delivery) != (urgency, due_at, delivery):
                    continue  # it stands somewhere else by now
                self._remove(key, place)
                self._busy[key] = None
                taken.append((key, place))
            if self._behind[urgency]:
                break
        return taken

    def done(self, key: int, now: float) -> None:
        """A key is no longer under way; what was offered for it meanwhile waits."""
        place = self._busy.pop(key, None)
        if place is not None:
            self.offer(key, place, now)

    def give_back(self, taken: Sequence[tuple[int, Place]], now: float) -> None:
        """Those who were taken and are not served after all."""
        for key, place in taken:
            self.done(key, now)
            self.offer(key, place, now)

    # What is in the store.

    def pages(self, now: float) -> list[Page]:
        """What should be read now: of each urgency of which little is here and more may be there."""
        for urgency, at in enumerate(self._later):
            if at is not None and at <= now:
                self._behind[urgency], self._later[urgency] = True, None
        wanted = [
            urgency for urgency, behind in enumerate(self._behind) if behind and self._waiting[urgency] <= ROOM - PAGE
        ]
        for urgency in wanted:
            self._left[urgency] = None
        return [Page(urgency=each, after=self._cursors[each], until=now, limit=PAGE) for each in wanted]

    def loaded(self, page: Page, found: Sequence[tuple[int, Place]], later: float | None, now: float) -> None:
        """A page was read; ``later`` is when the first of its urgency falls due that is not yet due."""
        urgency, left = page.urgency, self._left[page.urgency]
        cursor = (found[-1][1].due_at, found[-1][1].delivery) if found else page.after
        self._cursors[urgency] = cursor if left is None else min(cursor, left)
        self._behind[urgency] = len(found) == page.limit or left is not None
        for key, place in found:
            if key not in self._busy:
                self._add(key, place)
        if later is not None:
            self._later[urgency] = min(later, self._later[urgency] or later)

    def rescan(self) -> None:
        """Anything may have changed: read all of it anew."""
        for urgency in range(len(Urgency)):
            self._cursors[urgency] = self._left[urgency] = START
            self._behind[urgency] = True

    def next_due_at(self) -> float | None:
        """When something falls due that is not due now."""
        return min((at for at in self._later if at is not None), default=None)

    def is_due(self, now: float) -> bool:
        """Whether anything waits that is due, here or, as far as is known, in the store."""
        return bool(self._places) or any(self._behind) or any(at is not None and at <= now for at in self._later)

    def holds(self, urgency: int) -> bool:
        """Whether anything so urgent waits here."""
        return self._waiting[urgency] > 0

    # Inside.

    def _add(self, key: int, place: Place) -> None:
        before = self._places.get(key)
        if before is not None:
            if before <= place:
                return
            self._remove(key, before)
        self._places[key] = place
        self._waiting[place.urgency] += 1
        heappush(self._heaps[place.urgency], (place.due_at, place.delivery, key))

    def _remove(self, key: int, place: Place) -> None:
        del self._places[key]
        self._waiting[place.urgency] -= 1

    def _leave(self, place: Place) -> None:
        """Let the cursor stand before a place, so that it is read from the store when it is its turn."""
        before, left = (place.due_at, place.delivery - 1), self._left[place.urgency]
        self._cursors[place.urgency] = min(self._cursors[place.urgency], before)
        self._left[place.urgency] = before if left is None else min(before, left)
