"""What the file says, with the place of every key and value, before anybody knows its types."""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct, field

from .problems import Place, Where

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Scalar(Struct, frozen=True, kw_only=True):
    """One value as it was written, after interpolation."""

    place: Place
    text: str
    plain: bool = True
    """Written without quotes, so that it may be a number, a boolean or nothing."""
    interpolated: bool = False
    """Something was put in; then the field's type decides what the text is."""
    defaulted: bool = False
    """What was put in is a default that everybody can read in the file."""
    broken: bool = False
    """A problem of this value was already noted."""


class Sequence(Struct, frozen=True, kw_only=True):
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


class Entry(Struct, frozen=True, kw_only=True):
    """One key and its value."""

    place: Place
    value: Node


class Mapping(Struct, frozen=True, kw_only=True):
    """Keys and values in the order of the file."""

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)


Node: TypeAlias = Scalar | Sequence | Mapping


def resolved(scalar: Scalar) -> str | int | float | bool | None:
    """What YAML 1.2 takes a plain scalar for: ``no`` is text, ``0135`` is 135."""
    text = scalar.text
    if not scalar.plain and not scalar.interpolated:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _integer(text: str) -> int | str:
    """Digits as a number; more digits than any field can mean stay text."""
    return int(text) if len(text) <= 40 else text


def find(root: Node | None, where: Where) -> Entry | None:
    """The entry at a path, or None."""
    entry: Entry | None = None
    node = root
    for part in where:
        if isinstance(node, Mapping) and part in node.entries:
            entry = node.entries[part]
        elif isinstance(node, Sequence) and part.startswith("[") and int(part[1:-1]) < len(node.items):
            item = node.items[int(part[1:-1])]
            entry = Entry(place=item.place, value=item)
        else:
            return None
        node = entry.value
    return entry


def place_at(entry: Entry) -> Place:
    """Where a human should look for what is wrong with a value: at it, or at the key of what spans lines."""
    return entry.value.place if isinstance(entry.value, Scalar) else entry.place


def place_of(root: Node | None, where: Where) -> Place:
    """Where a human should look: the value at a path, else the key of the nearest thing around it that exists."""
    if entry := find(root, where):
        return place_at(entry)
    while where:
        where = where[:-1]
        if entry := find(root, where):
            return entry.place
    return Place()
