"""The four forms of a body, each read into a tree. What is no such form is a ValueError that says why, without quoting it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl
from xml.parsers import expat

from .paths import Repeated, Tree

MAX_DEPTH = 64
MAX_VALUES = 50_000
"""More than any webhook says. It bounds the time that reading takes, in which the hub does nothing else."""
_WHOLE_DIGITS = 18
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_LINE = re.compile(r"\s*([^\s:=][^:=]{0,98}[^\s:=]|[^\s:=])\s*[:=](.*)")
_BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")


class Refused(ValueError):
    """What is not read whatever else could be made of it, since only an attack looks so."""


def _too_many() -> Refused:
    return Refused(f"it has more than {MAX_VALUES} values")


def clean(text: str) -> str:
    """The same text as every store can keep it: without NUL and without halves of characters."""
    return _UNKEEPABLE.sub("\ufffd", text)


def add(tree: dict[str, Any], key: str, value: Tree) -> None:
    """Put a value under a key; a key that comes again has a list of all its values."""
    if key not in tree:
        tree[key] = value
    elif isinstance(tree[key], Repeated):
        tree[key].append(value)
    else:
        tree[key] = Repeated([tree[key], value])


# JSON.


def read_json(text: str) -> Tree:
    """JSON, of any top level. Whole numbers past 64 bits, and fractions past what a float holds, stay the text that they were."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise _too_many()
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_float=_fraction,
            parse_constant=_no_constant,
        )
        return _kept(tree, 0)
    except RecursionError:
        raise Refused(f"it is nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as problem:
        raise ValueError(f"it is not JSON: {problem.msg} in line {problem.lineno}, column {problem.colno}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        add(tree, clean(key), value)
    return tree


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _WHOLE_DIGITS else digits


def _fraction(digits: str) -> float | str:
    number = float(digits)
    return digits if number in (float("inf"), float("-inf")) else number


def _no_constant(word: str) -> None:
    raise ValueError(f"it is not JSON: {word} is no number there")


def _kept(tree: Any, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise RecursionError
    match tree:
        case str():
            return clean(tree)
        case list():
            return type(tree)(_kept(each, depth + 1) for each in tree)
        case dict():
            return {key: _kept(each, depth + 1) for key, each in tree.items()}
    single: Tree = tree
    return single


# Forms.


def read_form(text: str, charset: str = "utf-8") -> dict[str, Tree]:
    """``a=1&b=2``, percent-encoded. ``contact[email]`` and ``items[0][id]`` nest, ``tags[]`` and a repeated key make a list."""
    try:
        pairs = parse_qsl(
            text.strip(), keep_blank_values=True, encoding=charset, errors="replace", max_num_fields=MAX_VALUES
        )
    except ValueError:
        raise _too_many() from None
    if sum(key.count("[") for key, _ in pairs) > MAX_VALUES:
        raise _too_many()
    tree: dict[str, Any] = {}
    for key, value in pairs:
        _put(tree, _ways(clean(key)), clean(key), clean(value))
    return tree


def _ways(key: str) -> list[str]:
    found = _BRACKETS.fullmatch(key)
    ways = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])] if found else [key]
    while len(ways) > 1 and not ways[-1]:  # tags[] is a list by being repeated
        ways.pop()
    return ways if len(ways) <= MAX_DEPTH else [key]


def _put(tree: dict[str, Any], ways: list[str], key: str, value: str) -> None:
    inside = tree
    for way in ways[:-1]:
        below = inside.setdefault(way, {})
        if not isinstance(below, dict):  # a value and keys beneath it: the second stays as it was written
            add(tree, key, value)
            return
        inside = below
    add(inside, ways[-1], value)


# XML.


def read_xml(text: str) -> dict[str, Tree]:
    """XML: what is in its root. Names are local names; attributes are keys too; an element that comes again makes a list.

    The text of an element that has attributes or elements is its key ``text``. A root that holds text alone is a key itself.
    A document type is refused, and with it every entity that somebody might define.
    """
    elements: list[tuple[str, dict[str, Any], list[str]]] = [("", {}, [])]
    if text.count("<") + text.count("=") > 2 * MAX_VALUES:
        raise _too_many()

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(elements) > MAX_DEPTH:
            raise Refused(f"it is nested more than {MAX_DEPTH} deep")
        own: dict[str, Any] = {}
        for key, value in attributes.items():
            if key != "xmlns" and not key.startswith("xmlns:"):
                add(own, _local(key), clean(value))
        elements.append((_local(name), own, []))

    def end(_: str) -> None:
        name, own, texts = elements.pop()
        said = clean("".join(texts)).strip()
        if own and said:
            add(own, "text", said)
        add(elements[-1][1], name, own or said)

    def take(said: str) -> None:
        elements[-1][2].append(said)

    def no_document_type(*_: object) -> None:
        raise Refused("it has a document type (DOCTYPE), which is never read")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = take
    parser.StartDoctypeDeclHandler = no_document_type
    parser.EntityDeclHandler = no_document_type
    try:
        parser.Parse(text.strip().encode("utf-8", "replace").decode("utf-8"), True)  # noqa: FBT003 - it has no name
    except expat.ExpatError as problem:
        what = expat.ErrorString(problem.code)
        raise ValueError(f"it is not XML: {what} in line {problem.lineno}, column {problem.offset}") from None
    root = elements[0][1]
    (inside,) = root.values()
    return inside if isinstance(inside, dict) else root


def _local(name: str) -> str:
    return name.rpartition(":")[2] or name


# Plain text.


def read_text(text: str) -> dict[str, Tree]:
    """Plain text: its lines ``key: value`` and ``key=value``. Other lines say nothing to a path."""
    tree: dict[str, Any] = {}
    for line in clean(text).splitlines()[:MAX_VALUES]:
        if found := _LINE.fullmatch(line):
            add(tree, found[1], found[2].strip())
    return tree
