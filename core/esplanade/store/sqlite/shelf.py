"""What the writer has read or written lately, so that it neither asks for it again nor writes it one by one."""

from __future__ import annotations

from itertools import islice
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Unknown:
    """Nothing is known of a key; the file must be asked."""


UNKNOWN: Final = Unknown()


class Shelf(dict[K, V]):
    """Values by key: those that are still to be written, and as many of the latest others as there is room for.

    Nobody but the writer changes the file, so what stands here is what the file holds, or will hold once it is written. A value of
    None says that the file has none; of a key that is not here nothing is known.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self._unwritten: dict[K, V] = {}
        self._room = room

    def learn(self, key: K, value: V) -> None:
        """The file holds this."""
        self[key] = value
        if len(self) > self._room:
            self._make_room()

    def put(self, key: K, value: V) -> None:
        """This is to be written."""
        self._unwritten[key] = value
        self.learn(key, value)

    def take(self) -> dict[K, V]:
        """What is to be written, which counts as written from now on."""
        taken, self._unwritten = self._unwritten, {}
        return taken

    def forget(self) -> None:
        """Nothing is known any more, and nothing is to be written."""
        self._unwritten.clear()
        self.clear()

    def _make_room(self) -> None:
        for key in list(islice(self, self._room // 2)):
            if key not in self._unwritten:
                del self[key]
