"""Web-hooks that the hub's own imports set off: after a large one they would have every contact of it read again, one by one.

A large import is expected to set off one call for each contact of it, and that one call is not read. Changes of a few contacts
are always read again, and so is every opt-out, which has a web-hook of its own. What somebody changes at the vendor while such a
call is awaited, the next pull tells.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import Clock

LARGE = 50
"""So many contacts make an import a large one."""
AWAITED_S = 300.0
"""For so long a call is awaited."""
EXPECTED = frozenset({"new_contact", "updated_contact"})
"""What an import sets off."""


RECENT_S, MOST_RECENT = 600.0, 100_000
"""For so long an import is taken to be how things stand, and so many contacts are remembered."""
KEPT = 10_000
"""So many readings are remembered."""


class Reads:
    """When contacts were read upon a call: calls that came before that need no reading of their own.

    A call that is read a second time, since the first one came to nothing, is not covered by its own first reading.
    """

    def __init__(self) -> None:
        self._read: dict[str, tuple[float, float]] = {}
        """When a reading began, and when the call came that it was for."""

    def covers(self, name: str, came_at: float) -> bool:
        """Whether this contact was read after a call about it came, for another call."""
        began_at, of = self._read.get(name.lower(), (came_at, came_at))
        return began_at > came_at != of

    def note(self, name: str, began_at: float, came_at: float) -> None:
        """A contact was read for a call."""
        self._read.pop(name.lower(), None)
        self._read[name.lower()] = (began_at, came_at)
        while len(self._read) > KEPT:
            del self._read[next(iter(self._read))]


class Recent:
    """Contacts that the hub itself has imported lately: they are there, under that address."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}
        """Their ids, and when that was, the longest ago in front."""

    def note(self, ids: Mapping[str, str], clock: Clock) -> None:
        """An import has made or found these contacts, by address in small letters."""
        now = clock.monotonic()
        for email, contact in ids.items():
            self._seen.pop(email, None)
            self._seen[email] = (contact, now)
        while self._seen and (len(self._seen) > MOST_RECENT or next(iter(self._seen.values()))[1] < now - RECENT_S):
            del self._seen[next(iter(self._seen))]

    def has(self, email: str, contact: str, clock: Clock) -> bool:
        """Whether a contact was lately imported under an address."""
        known, at = self._seen.get(email.lower(), ("", 0.0))
        return known == contact and clock.monotonic() - at < RECENT_S


class Echoes:
    """The calls that are awaited, by address and by contact."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[float]] = {}
        """Until when each call is awaited, the one that was expected first in front."""
        self._lapses: deque[tuple[float, list[str]]] = deque()
        """What is no longer awaited from when on, the first in front."""

    def expect(self, names: Iterable[str], clock: Clock) -> None:
        """An import of these addresses is about to be made, or has made these contacts."""
        self._lapse(clock.monotonic())
        until, expected = clock.monotonic() + AWAITED_S, [name.lower() for name in names]
        for name in expected:
            self._awaited.setdefault(name, []).append(until)
        self._lapses.append((until, expected))

    def forget(self, names: Iterable[str]) -> None:
        """The import was refused, so nothing comes of it."""
        for name in names:
            awaited = self._awaited.get(name.lower())
            if awaited:
                awaited.pop()

    def is_one(self, event: str, name: str, clock: Clock) -> bool:
        """Whether a call is one of those that are awaited; it no longer is then."""
        self._lapse(clock.monotonic())
        awaited = self._awaited.get(name.lower()) if event in EXPECTED else None
        if not awaited:
            return False
        awaited.pop(0)
        return True

    def _lapse(self, now: float) -> None:
        while self._lapses and self._lapses[0][0] <= now:
            for name in self._lapses.popleft()[1]:
                left = [until for until in self._awaited.pop(name, ()) if until > now]
                if left:
                    self._awaited[name] = left
