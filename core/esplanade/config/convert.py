"""Turns nodes into typed values, finding every mistake on the way instead of stopping at the first."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from .kinds import LISTS, Key, Kind, is_parsed, is_struct, keys_of, literal, members, named, nullable, origin_of, unwrap
from .nodes import Mapping, Node, Scalar, Sequence, place_at, resolved
from .problems import Place, Problems, Where, remedy

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Items

    from msgspec import Meta, Struct

_OLD_BOOLEANS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}


class _Failed:
    """Stands for a value that could not be read; its problem was noted."""


FAILED: Final = _Failed()


class Converter:
    """Reads nodes as types. A failed field that has a default takes it, so that further checks can go on."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def value(self, node: Node, kind: Kind, where: Where, *, vendor: bool = False, place: Place | None = None) -> Any:
        """The node as ``kind``, or FAILED. In ``vendor`` values, text also takes numbers, as they were written.

        ``place`` is that of the key, where keys that are missing beneath it are reported.
        """
        if isinstance(node, Scalar) and node.broken:
            return FAILED
        options = members(kind)
        if len(options) == 1:
            return self._one(node, options[0], where, vendor=vendor, place=place)
        if (
            isinstance(node, Scalar)
            and nullable(kind)
            and (resolved(node) is None or (node.interpolated and not node.text))
        ):
            return None
        fitting = [each for each in _ordered(options) if _fits(node, unwrap(each)[0])]
        if len(fitting) == 1:
            return self._one(node, fitting[0], where, vendor=vendor, place=place, exact=str in options)
        best: Problems | None = None
        for each in fitting:
            attempt = Problems()
            trial = Converter(attempt)
            found = trial._one(node, each, where, vendor=vendor, place=place, exact=str in options)
            if not attempt.found:
                return found
            best = attempt if best is None or len(attempt.found) < len(best.found) else best
        if best is not None and not isinstance(node, Scalar):
            self.problems.found += best.found
            return FAILED
        return self._wrong(node, where, f"expected {named(kind)}")

    def struct(
        self,
        node: Node,
        struct: type[Struct],
        where: Where,
        *,
        keys: Items[Key] | None = None,
        vendor: bool = False,
        place: Place | None = None,
        given: dict[str, Any] | None = None,
        lenient: bool = False,
    ) -> Any:
        """A mapping as a Struct. ``keys`` replaces the Struct's own, ``given`` holds attributes that are no keys.

        ``place`` is where a missing key is reported. ``lenient`` ignores unknown keys.
        """
        if not isinstance(node, Mapping):
            return self._wrong(node, where, "expected keys beneath it; write {} for none")
        keys = keys_of(struct) if keys is None else keys
        known = {key.name: key for key in keys}
        values: dict[str, Any] = dict(given or {})
        whole = True
        for name, unknown in node.entries.items():
            if name not in known and not lenient:
                self.problems.add(unknown.place, (*where, name), f"unknown key; {remedy(name, known)}")
                whole = False
        for key in keys:
            entry = node.entries.get(key.name)
            if entry is None:
                if key.required:
                    self.problems.add(
                        place or node.place, (*where, key.name), f"missing; add it with {named(key.kind)}"
                    )
                    whole = False
                continue
            path = (*where, key.name)
            found = self.value(entry.value, key.kind, path, vendor=vendor or key.vendor, place=entry.place)
            if found is not FAILED:
                values[key.attribute] = found
            elif key.required:
                whole = False
        if not whole and any(key.required and key.attribute not in values for key in keys):
            return FAILED
        try:
            return struct(**values)
        except (ValueError, TypeError) as error:
            return self._own_rule(node, struct, where, str(error), place)

    def _own_rule(self, node: Mapping, struct: type[Struct], where: Where, said: str, place: Place | None) -> Any:
        """A rule that a Struct has for itself. ``key: what`` is put at that key."""
        found = re.match(r"(\w+)(?:\.(\w+))?: (.+)", said, re.DOTALL)
        named_key = found is not None and found[1] in {key.name for key in keys_of(struct)}
        if found is None or not named_key:
            return FAILED if self.problems.under(*where) else self._wrong(node, where, said, place=place)
        if self.problems.under(*where, found[1]):
            return FAILED  # its value could not be read, which says enough
        where = (*where, found[1], *([found[2]] if found[2] else []))
        entry = node.entries.get(found[1])
        if entry is not None and isinstance(entry.value, Mapping) and found[2] in entry.value.entries:
            entry = entry.value.entries[found[2]]
        self.problems.add(place_at(entry) if entry else place or node.place, where, found[3])
        return FAILED

    def _one(
        self, node: Node, kind: Kind, where: Where, *, vendor: bool, place: Place | None = None, exact: bool = False
    ) -> Any:
        bare, metas = unwrap(kind)
        found: Any
        if is_struct(bare):
            return self.struct(node, bare, where, vendor=vendor, place=place)
        origin = origin_of(bare)
        if origin is dict:
            found = self._dict(node, bare, where, vendor=vendor)
        elif origin in LISTS:
            found = self._list(node, bare, origin, where, vendor=vendor)
        elif bare in {Any, object}:
            return self._anything(node)
        elif not isinstance(node, Scalar):
            return self._wrong(node, where, f"expected {named(kind)}")
        else:
            found = self._scalar(node, bare, where, vendor=vendor, exact=exact)
        if found is not FAILED and (broken := _constraint(found, metas)):
            return self._wrong(node, where, f"expected {broken}")
        return found

    def _dict(self, node: Node, kind: Kind, where: Where, *, vendor: bool) -> Any:
        if not isinstance(node, Mapping):
            return self._wrong(node, where, "expected keys beneath it; write {} for none")
        key_kind, value_kind = get_args(kind) or (str, Any)
        found: dict[Any, Any] = {}
        for name, entry in node.entries.items():
            key: Any = name
            if key_kind not in {str, Any}:
                key = self.value(Scalar(place=entry.place, text=name), key_kind, (*where, name), vendor=vendor)
            value = self.value(entry.value, value_kind, (*where, name), vendor=vendor, place=entry.place)
            if key is not FAILED and value is not FAILED:
                found[key] = value
        return found

    def _list(self, node: Node, kind: Kind, origin: Any, where: Where, *, vendor: bool) -> Any:
        if not isinstance(node, Sequence):
            return self._wrong(node, where, f"expected {named(kind)}, in [ ]")
        args = get_args(kind)
        inner = args[0] if args else Any
        if origin is tuple and args and args[-1] is not Ellipsis:
            if len(args) != len(node.items):
                return self._wrong(node, where, f"expected {len(args)} items")
            each = [self.value(item, args[i], (*where, f"[{i}]"), vendor=vendor) for i, item in enumerate(node.items)]
        else:
            each = [self.value(item, inner, (*where, f"[{i}]"), vendor=vendor) for i, item in enumerate(node.items)]
        return origin([item for item in each if item is not FAILED])

    def _scalar(self, node: Scalar, kind: Kind, where: Where, *, vendor: bool, exact: bool) -> Any:
        said = resolved(node)
        if said is None and not (node.interpolated and (kind is str or is_parsed(kind))) and kind is not type(None):
            return self._wrong(node, where, f"has no value; expected {named(kind)}, or leave the key out")
        if kind is str:
            return self._text(node, said, where, vendor=vendor)
        if is_parsed(kind):
            return self._parsed(node, said, kind, where)
        if origin_of(kind) is Literal:
            return self._literal(node, said, kind, where)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._enum(node, kind, where)
        if kind is Path and isinstance(said, str):
            return Path(said)
        fits = _matches(said, kind) and not (exact and str(said) != node.text and kind in {int, float})
        if not fits:
            if kind is bool and (meant := _OLD_BOOLEANS.get(node.text.lower())):
                return self._wrong(node, where, f"expected true or false; write {meant}")
            quoted = not node.plain and not node.interpolated and kind in {int, float, bool}
            unquote = "; remove the quotes" if quoted and _matches(resolved(_unquoted(node)), kind) else ""
            return self._wrong(node, where, f"expected {named(kind)}{unquote}")
        return float(said) if kind is float and isinstance(said, int) else said

    def _text(self, node: Scalar, said: object, where: Where, *, vendor: bool) -> Any:
        number = isinstance(said, int | float) and not isinstance(said, bool)
        if node.interpolated or isinstance(said, str) or (vendor and number):
            return node.text
        return self._wrong(node, where, "expected text; put it in quotes")

    def _parsed(self, node: Scalar, said: object, kind: Any, where: Where) -> Any:
        if isinstance(said, bool) and not node.interpolated:
            return self._wrong(node, where, f"expected {named(kind)}; put it in quotes if it is text")
        try:
            return kind.parse(node.text)
        except ValueError as error:
            return self._wrong(node, where, str(error))

    def _literal(self, node: Scalar, said: object, kind: Any, where: Where) -> Any:
        for choice in get_args(kind):
            if said == choice and type(said) is type(choice):
                return choice
            if isinstance(choice, str) and node.text == choice:
                return choice
        choices = [literal(choice) for choice in get_args(kind)]
        shown = "not" if node.interpolated else f"{node.text!r} is not"
        near = remedy(node.text, choices)
        return self._wrong(
            node, where, f"{shown} one of {', '.join(choices)}" + (f"; {near}" if "mean" in near else "")
        )

    def _enum(self, node: Scalar, kind: type[Enum], where: Where) -> Any:
        for member in kind:
            if str(member.value) == node.text:
                return member
        return self._wrong(node, where, f"expected one of {', '.join(str(member.value) for member in kind)}")

    def _anything(self, node: Node) -> Any:
        match node:
            case Mapping():
                return {name: self._anything(entry.value) for name, entry in node.entries.items()}
            case Sequence():
                return [self._anything(item) for item in node.items]
            case Scalar():
                return node.text if node.interpolated else resolved(node)

    def _wrong(self, node: Node, where: Where, what: str, *, place: Place | None = None) -> _Failed:
        if not (isinstance(node, Scalar) and node.broken):
            self.problems.add(place or node.place, where, what)
        return FAILED


def _unquoted(node: Scalar) -> Scalar:
    return Scalar(place=node.place, text=node.text)


def _matches(said: object, kind: Kind) -> bool:
    if kind is bool:
        return isinstance(said, bool)
    if kind is int:
        return isinstance(said, int) and not isinstance(said, bool)
    if kind is float:
        return isinstance(said, int | float) and not isinstance(said, bool)
    return kind is type(None) and said is None


def _ordered(options: list[Kind]) -> list[Kind]:
    """Members of a union, the narrowest first, text last."""
    order = {bool: 1, int: 2, float: 3, str: 9}
    return sorted((each for each in options if each is not type(None)), key=lambda each: order.get(unwrap(each)[0], 0))


def _fits(node: Node, kind: Kind) -> bool:
    """Whether a node has the shape that a type is written in."""
    origin = origin_of(kind)
    if kind in {Any, object}:
        return True
    if is_struct(kind) or origin is dict:
        return isinstance(node, Mapping)
    if origin in LISTS:
        return isinstance(node, Sequence)
    return isinstance(node, Scalar)


def _constraint(value: Any, metas: list[Meta]) -> str | None:
    """The first constraint that a value breaks, in words."""
    for meta in metas:
        numbers: list[tuple[Any, Callable[[Any, Any], bool], str]] = [
            (meta.ge, lambda a, b: a >= b, "{} or more"),
            (meta.gt, lambda a, b: a > b, "more than {}"),
            (meta.le, lambda a, b: a <= b, "{} or less"),
            (meta.lt, lambda a, b: a < b, "less than {}"),
            (meta.multiple_of, lambda a, b: a % b == 0, "a multiple of {}"),
            (meta.min_length, lambda a, b: len(a) >= b, "at least {} long"),
            (meta.max_length, lambda a, b: len(a) <= b, "at most {} long"),
        ]
        for limit, holds, words in numbers:
            if limit is not None and not holds(value, limit):
                return words.format(limit)
        if meta.pattern is not None and not re.search(meta.pattern, value):
            return f"text that matches {meta.pattern}"
    return None
