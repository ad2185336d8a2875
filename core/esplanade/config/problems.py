"""What is wrong with a connectors.yaml, each with its place, in words that say what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

Where = tuple[str, ...]
"""The way to a key, such as ``("connectors", "webpower", "settings", "client_id")``."""


class Place(Struct, frozen=True):
    """A line and a column, both counted from 1."""

    line: int = 1
    column: int = 1


class Problem(Struct, frozen=True):
    """One thing that is wrong (or unwise), where, and the remedy. Never holds a value that may be secret."""

    place: Place
    where: Where
    what: str

    def line(self, file: str) -> str:
        """One printable line: ``file:line:column: dotted.path: what``."""
        path = dotted(self.where)
        text = f"{path}: {self.what}" if path else self.what
        return f"{file}:{self.place.line}:{self.place.column}: {printable(text)}"


class Problems:
    """Collects problems, so that one run finds them all."""

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        self.found: list[Problem] = list(found)

    def add(self, place: Place, where: Where, what: str) -> None:
        """Note one problem."""
        self.found.append(Problem(place, where, what))

    def under(self, *where: str) -> bool:
        """Whether something at or beneath this path is wrong, so that a further check of it would only repeat."""
        return any(problem.where[: len(where)] == where for problem in self.found)

    def lines(self, file: str) -> list[str]:
        """Every problem as a printable line, in the order of the file, each said once."""
        ordered = sorted(self.found, key=lambda problem: (problem.place.line, problem.place.column))
        return list(dict.fromkeys(problem.line(file) for problem in ordered))


def dotted(where: Where) -> str:
    """A path as a human writes it; keys that hold dots, spaces or what cannot be printed are quoted."""
    path = ""
    for part in where:
        if part.startswith("["):
            path += part
        else:
            plain = part and part.isprintable() and not any(letter in part for letter in " .:")
            path += ("." if path else "") + (part if plain else repr(part))
    return path


def printable(text: str) -> str:
    """The same text on one line, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The valid word that was probably meant."""
    known = {each.lower(): each for each in words}
    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def remedy(word: str, words: Iterable[str], *, otherwise: str = "expected one of") -> str:
    """``did you mean X?``, or the list of what is valid."""
    valid = list(words)
    if near := nearest(word, valid):
        return f"did you mean {near}?"
    return f"{otherwise} {', '.join(valid)}" if valid else "remove it"
