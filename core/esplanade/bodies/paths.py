"""Ways into a tree of words, such as ``contact.email`` or ``data[0].id``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

Tree: TypeAlias = dict[str, "Tree"] | list["Tree"] | str | int | float | bool | None
"""What a body says: keys, lists and single values, as JSON has them. Whole numbers fit into 64 bits, text holds no NUL."""


class Repeated(list[Any]):
    """The values of a key that came more than once, told apart from a list that was written as one."""


_KEY = r"[^.\[\]\s](?:[^.\[\]]*[^.\[\]\s])?"
_INDEX = r"\[\d{1,6}\]"


class BodyPath(str):
    """Where a value is in a webhook's body: keys with dots between them, and ``[0]`` for the first of a list."""

    __slots__ = ()
    pattern: ClassVar[str] = rf"^({_KEY}|{_INDEX})({_INDEX}|\.{_KEY})*$"
    example: ClassVar[str] = "contact.email"
    noun: ClassVar[str] = "path"

    @classmethod
    def parse(cls, text: object) -> BodyPath:
        """Read a path. Raises ValueError for what cannot lead anywhere."""
        if not re.fullmatch(cls.pattern[1:-1], str(text)):
            raise ValueError(
                "expected the way to a value in the body, such as email, contact.email or data[0].email: "
                "keys with dots between them, and [0] for the first of a list"
            )
        return cls(text)

    def look_up(self, tree: Tree) -> Tree:
        """What the path leads to; None where it leads nowhere.

        A key that is written like the whole path comes first (``contact.email=…`` of a form). Keys match as they are written, else
        in any case where only one does. ``[0]`` of what is no list is the thing itself: XML does not tell one item from a list.
        """
        for step in _steps(self, tree):
            key = _key(tree, step)
            if key is None:
                return None
            tree = _at(tree, key)
        return tree

    def values(self, tree: Tree) -> list[Tree]:
        """All that the path can be taken to lead to, where keys came more than once, in several cases, or dots are ambiguous."""
        parts = _parts(self)
        whole = _values(tree, (str(self),)) if len(parts) > 1 else []
        return [*whole, *_values(tree, parts)]

    def without(self, tree: Tree) -> Tree:
        """The same tree less what the path leads to, and less the keys that had nothing else beneath them."""
        return _without(tree, _steps(self, tree))


_ITSELF = -1


def _steps(path: str, tree: Tree) -> tuple[str | int, ...]:
    return (path,) if _key(tree, path) is not None else _parts(path)


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str | int, ...]:
    return tuple(int(part[1:-1]) if part[0] == "[" else part for part in re.findall(rf"{_INDEX}|[^.\[\]]+", path))


def _key(tree: Tree, step: str | int) -> str | int | None:
    """What a step is called in a tree, _ITSELF where it stays there, None where there is nothing."""
    match tree, step:
        case dict(), str():
            if step in tree:
                return step
            alike = [each for each in tree if each.lower() == step.lower()]
            return alike[0] if len(alike) == 1 else None
        case dict(), int() if str(step) in tree:  # a form's items[0]
            return str(step)
        case list(), int():
            return step if step < len(tree) else None
        case _, 0:
            return _ITSELF
    return None


def _values(tree: Tree, steps: tuple[str | int, ...]) -> list[Tree]:
    if not steps:
        return [tree]
    step, rest = steps[0], steps[1:]
    if isinstance(step, str) and isinstance(tree, Repeated):
        return [value for each in tree for value in _values(each, steps)]
    if isinstance(step, str) and isinstance(tree, dict):
        alike = [each for key, each in tree.items() if key.lower() == step.lower()]
        return [value for each in alike for value in _values(each, rest)]
    key = _key(tree, step)
    if key is None:
        return []
    return _values(_at(tree, key), rest)


def _at(tree: Tree, key: str | int) -> Tree:
    """What is under a key that ``_key`` has found."""
    if key == _ITSELF:
        return tree
    match tree, key:
        case dict(), str():
            return tree[key]
        case list(), int():
            return tree[key]
    raise LookupError(key)


def _without(tree: Tree, steps: tuple[str | int, ...]) -> Tree:
    if not steps:
        return None
    key = _key(tree, steps[0])
    if key is None:
        return tree
    if key == _ITSELF:
        return _without(tree, steps[1:])
    left = _without(_at(tree, key), steps[1:])
    gone = left is None or left in ({}, [])
    if isinstance(tree, list):
        return [left if at == key else each for at, each in enumerate(tree) if at != key or not gone]
    assert isinstance(tree, dict)
    return {each: left if each == key else value for each, value in tree.items() if each != key or not gone}
