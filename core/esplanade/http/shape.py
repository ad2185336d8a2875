"""The shape of a body: which fields of which types, and none of their values. Its cost does not grow with the body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

SHAPE_CHARS = 500
DEEPEST = 16
_LONGEST_KEY = 64
_READABLE_BYTES = 64 * 1024
"""A body given as text or bytes is looked into up to this size; decoding a longer one would cost too much."""


def shape(content: Any, hide: Callable[[str], str]) -> str:
    """What a body looks like, at most 500 characters; empty when there is none.

    Scalars are named by their type (``{"email":"text","age":"number"}``), a list shows its first item and how many more
    there are. The whole passes ``hide``, because some bodies name people by their fields. ``content`` is what the plugin
    handed over: anything that goes out as JSON, a form's mapping, or text and bytes.
    """
    if content is None:
        return ""
    if isinstance(content, (bytes, str, msgspec.Raw)):
        content = decoded(content)
    text = ""
    for piece in _pieces(content, 0):
        text += piece
        if len(text) > SHAPE_CHARS:
            break
    # Cut only now: half an address would not have been recognised as one.
    text = hide(text)
    return text if len(text) <= SHAPE_CHARS else text[: SHAPE_CHARS - 1] + "…"


def decoded(content: bytes | str | msgspec.Raw) -> Any:
    """The JSON that text or bytes hold, where they are short enough to look; else themselves."""
    size = memoryview(content).nbytes if isinstance(content, msgspec.Raw) else len(content)
    if size > _READABLE_BYTES:
        return content
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return content


def _pieces(value: Any, depth: int) -> Iterator[str]:
    fields = fields_of(value)
    if depth > DEEPEST:
        yield "…"
    elif fields is not None:
        yield "{"
        for at, (name, each) in enumerate(fields):
            yield f'{"," if at else ""}"{_key(name)}":'
            yield from _pieces(each, depth + 1)
        yield "}"
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield "["
        for first in value:
            yield from _pieces(first, depth + 1)
            break
        yield f',"and {len(value) - 1} more"]' if len(value) > 1 else "]"
    else:
        yield f'"{_kind(value)}"'


def fields_of(value: Any) -> Iterator[tuple[Any, Any]] | None:
    if isinstance(value, Mapping):
        return iter(value.items())
    if isinstance(value, msgspec.Struct):
        pairs = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return ((sent, getattr(value, name)) for name, sent in pairs)
    return None


def _key(name: Any) -> str:
    text = str(name) if isinstance(name, (str, int)) else "…"
    if len(text) > _LONGEST_KEY:
        return "…"
    return "".join(each if each.isprintable() else " " for each in text).replace('"', "'")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case bytes():
            return f"{len(value)} bytes"
        case _:
            return "text"
