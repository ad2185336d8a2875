"""Where in an item the mistake is, and what to do about it. Runs once something is wrong, or looks as if it might be.

msgspec stops at the first mistake and hides the keys of dictionaries in its paths; here they are found, by halving.
"""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import Raw

from esplanade.errors import EventError
from esplanade.model import Product, ProductSet

from .shapes import ConsentIn, Incoming, TriggerIn

MAX_DEPTH = 32
MAX_OBJECT_BYTES = 65_536

_SAID = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(unknown|missing required) field `(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMES = ("id", "event_id", "purpose", "method", "trigger", "trigger_id", "language")
_KEYED = ("fields", "audiences", "consents")
_INNER = {"$.products": ProductSet, "$.products.items[...]": Product}
_REMEDIES = {
    "Expected `datetime` with a timezone component": "the time has no zone; give one, such as 2026-01-15T10:00:00Z",
    "Invalid RFC3339 encoded datetime": "not an RFC 3339 time; give one such as 2026-01-15T10:00:00Z, or epoch seconds",
}


class MalformedError(EventError):
    """An item that is not JSON, so that there is nothing in it to judge."""


def readable(raw: bytes) -> None:
    """Raises MalformedError when a text is not JSON in UTF-8, or nested past all reason."""
    try:
        msgspec.json.decode(raw, type=Raw)
        raw.decode()
    except RecursionError as why:
        raise MalformedError("$", "nested too deeply to be read") from why
    except UnicodeDecodeError as why:
        raise MalformedError("$", "not UTF-8; send JSON in UTF-8") from why
    except ValueError as why:
        raise MalformedError("$", f"not JSON: {why}") from why


def blame(raw: bytes, decoder: msgspec.json.Decoder[Any], why: Exception) -> EventError:
    """The error to answer for an item that ``decoder`` refused with ``why``."""
    try:
        readable(raw)
    except MalformedError as unreadable:
        return unreadable
    if isinstance(why, RecursionError):
        return EventError("$", f"nested more than {MAX_DEPTH} levels deep")
    said = _SAID.match(str(why))
    what, path = (said["what"], said["path"] or "$") if said else (str(why), "$")
    if said and said["key"]:
        path += "[...]"
    found = _FIELD.search(what)
    if found and found[1] == "unknown":
        near = get_close_matches(found[2][:100], _keys_at(decoder, path), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else "; leave it out"
        return EventError(_below(path, found[2]), "unknown key" + hint)
    path = _with_keys(raw, path, lambda text: _same_mistake(decoder, text, what))
    if found:
        return EventError(_below(path, found[2]), "required, and missing")
    return EventError(path, _REMEDIES.get(what, what))


def _keys_at(decoder: msgspec.json.Decoder[Any], path: str) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    shape = _INNER.get(re.sub(r"\[\d+\]", "[...]", path), decoder.type)
    return sorted(getattr(shape, "__struct_fields__", ()))


def refuse_controls(item: Incoming) -> None:
    """Raises EventError when a name holds a control character."""
    for name in _NAMES:
        text = getattr(item, name, None)
        if text is not None and _CONTROL.search(text):
            raise EventError(f"$.{name}", "holds a control character; leave it out")
    for name in _KEYED:
        for key in getattr(item, name, ()):
            if _CONTROL.search(key):
                raise EventError(_below(f"$.{name}", key), "this name holds a control character; leave it out")


def refuse_bulky(raw: bytes, item: Incoming) -> None:
    """Raises EventError when ``evidence`` or ``data`` is too large or too deep to be carried along."""
    if len(raw) <= MAX_OBJECT_BYTES and raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    for path, free in _free_parts(item):
        for place, value, depth in _walk(path, free):
            if depth > MAX_DEPTH and isinstance(value, dict | list):
                raise EventError(place, f"nested more than {MAX_DEPTH} levels deep")
        if len(msgspec.json.encode(free)) > MAX_OBJECT_BYTES:
            raise EventError(path, f"larger than {MAX_OBJECT_BYTES} bytes; send a link to it instead")


def refuse_huge(item: Incoming) -> None:
    """Raises EventError when an integer does not fit into 64 bits with a sign."""
    parts = list(_free_parts(item))
    if isinstance(item, TriggerIn) and item.products is not None:
        parts.append(("$.products", msgspec.to_builtins(item.products)))
    for path, free in parts:
        for place, value, _ in _walk(path, free):
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise EventError(place, "integers must fit into 64 bits; send it as text")


def _free_parts(item: Incoming) -> Iterator[tuple[str, Any]]:
    if isinstance(item, ConsentIn) and item.evidence:
        yield "$.evidence", item.evidence
    if isinstance(item, TriggerIn) and item.data:
        yield "$.data", item.data


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value within, with its path and depth. Does not recurse, whatever the depth."""
    waiting = [(path, value, 1)]
    while waiting:
        place, each, depth = waiting.pop()
        yield place, each, depth
        if depth > MAX_DEPTH:
            continue
        if isinstance(each, dict):
            waiting += [(_below(place, key), within, depth + 1) for key, within in each.items()]
        elif isinstance(each, list):
            waiting += [(f"{place}[{index}]", within, depth + 1) for index, within in enumerate(each)]


def _below(path: str, key: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w-]{0,99}", key):
        return f"{path}.{key}"
    shown = key if len(key) <= 100 else key[:99] + "…"
    return f"{path}[{shown!r}]"


def _same_mistake(decoder: msgspec.json.Decoder[Any], text: bytes, what: str) -> bool:
    try:
        decoder.decode(text)
    except (ValueError, RecursionError) as why:
        said = _SAID.match(str(why))
        return said is not None and said["what"] == what
    return False


def _with_keys(raw: bytes, path: str, mistaken: Callable[[bytes], bool]) -> str:
    """The path with each ``[...]`` replaced by the key it stands for, as far as that can be told."""
    shown, inner, before, after = "$", Raw(raw), b"", b""
    for step in _STEP.finditer(path):
        name, index = step[1], step[2]
        if index is not None and index != "...":
            shown += f"[{index}]"
            inner = msgspec.json.decode(inner, type=list[Raw])[int(index)]
            before, after = before + b"[", b"]" + after
            continue
        members = msgspec.json.decode(inner, type=dict[str, Raw])
        key = name if name is not None else _culprit(members, mistaken, before, after)
        if key is None:
            return shown
        shown = _below(shown, key)
        inner = members[key]
        before, after = before + b"{" + msgspec.json.encode(key) + b":", b"}" + after
    return shown


def _culprit(members: dict[str, Raw], mistaken: Callable[[bytes], bool], before: bytes, after: bytes) -> str | None:
    """The key of the member that makes the mistake, by halving."""
    keys = list(members)
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        keys = half if mistaken(before + _object(half, members) + after) else keys[len(half) :]
    return keys[0] if keys and mistaken(before + _object(keys, members) + after) else None


def _object(keys: list[str], members: dict[str, Raw]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + bytes(members[key]) for key in keys) + b"}"
