"""What the writer has read or written lately, so that it neither asks for it again nor writes it one by one."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Unknown:
    """Nothing is known of a key; the file must be asked."""


UNKNOWN: Final = Unknown()


class Shelf(Generic[K, V]):
    """Values by key: those that are still to be written, and as many of the latest others as there is room for.

    Nobody but the writer changes the file, so what stands here is what the file holds, or will hold once it is written. A value of
    None says that the file has none. Values are never changed in place.
    """

    def __init__(self, room: int) -> None:
        self._unwritten: dict[K, V] = {}
        self._room = room
        self._latest: dict[K, V] = {}
        self._before: dict[K, V] = {}

    def get(self, key: K) -> V | Unknown:
        """The value, or UNKNOWN."""
        found: V | Unknown = self._latest.get(key, UNKNOWN)
        return found if found is not UNKNOWN else self._look_further(key)

    def learn(self, key: K, value: V) -> None:
        """The file holds this."""
        self._latest[key] = value
        if len(self._latest) >= self._room:  # two halves that change places: what nobody asks for meanwhile goes
            self._before, self._latest = self._latest, {}

    def put(self, key: K, value: V) -> None:
        """This is to be written."""
        self._unwritten[key] = value
        self.learn(key, value)

    def drop(self, key: K) -> None:
        """Nothing is known of this key any more."""
        self._latest.pop(key, None)
        self._before.pop(key, None)

    def take(self) -> dict[K, V]:
        """What is to be written, which counts as written from now on."""
        taken, self._unwritten = self._unwritten, {}
        return taken

    def forget(self) -> None:
        """Nothing is known any more, and nothing is to be written."""
        self._unwritten.clear()
        self._latest.clear()
        self._before.clear()

    def _look_further(self, key: K) -> V | Unknown:
        found: V | Unknown = self._before.get(key, UNKNOWN)
        if isinstance(found, Unknown):
            found = self._unwritten.get(key, UNKNOWN)
        if not isinstance(found, Unknown):
            self.learn(key, found)
        return found
