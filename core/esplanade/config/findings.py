"""Where cross checks write what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nodes import Entry, find, place_of
from .problems import Problems, Where

if TYPE_CHECKING:
    from .reader import Document


class Findings:
    """Problems and warnings of checks that run after every value was read."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._root = document.root
        self._unreadable = Problems(problems.found)
        self.problems = problems
        self.warnings = Problems()

    def entry(self, *where: str) -> Entry | None:
        """What the file says at a path."""
        return find(self._root, where)

    def names(self, *where: str) -> list[str]:
        """The keys beneath a path as the file has them, also where what is beneath them could not be read."""
        entry = self.entry(*where)
        return list(getattr(entry.value, "entries", {})) if entry else []

    def readable(self, *where: str) -> bool:
        """Whether everything beneath a path was read without a problem."""
        return not self._unreadable.under(*where)

    def refuse(self, where: Where, what: str) -> None:
        """Note a problem, unless the value could not even be read, which says enough."""
        if self.readable(*where):
            self.problems.add(place_of(self._root, where), where, what)

    def warn(self, where: Where, what: str) -> None:
        """Note what is valid but unwise."""
        if self.readable(*where):
            self.warnings.add(place_of(self._root, where), where, what)
