"""Settings as a connectors.yaml says them, and the keys that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from esplanade.config.build import TARGETS, target_type
from esplanade.config.kinds import LISTS, Key, is_secret, is_struct, keys_of, literal, members, origin_of, unwrap
from esplanade.config.model import PluginTypes
from esplanade.values import Duration, Percent, Rate, Secret


def written(value: Any) -> Any:
    """A value of a setting as JSON can hold it and the reader takes it."""
    match value:
        case None | bool():
            return value
        case Secret():
            return escaped(value.reveal())
        case Duration() | Percent() | Rate():
            return literal(value)
        case str() | Path():
            return escaped(str(value))
        case int() | float():
            return value
        case Struct():
            return {key.name: written(getattr(value, key.attribute)) for key in keys_of(type(value))}
        case Mapping():
            return {str(name): written(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [written(each) for each in value]
    return msgspec.to_builtins(value)


def escaped(text: str) -> str:
    """Text in which nothing is interpolated."""
    return text.replace("$", "$$")


def sections(types: PluginTypes) -> dict[str, type[Struct]]:
    """The parts of a connector that are the plugin's: ``settings`` and those kinds of targets that it has."""
    targets = {name: target_type(types, name) for name in TARGETS}
    return {"settings": types.settings, **{name: each for name, each in targets.items() if each is not None}}


def all_keys(struct: type[Struct], path: str) -> Iterator[tuple[str, Key]]:
    """Every key of a Struct with its dotted path, and those of the Structs in it."""
    for key in keys_of(struct):
        where = f"{path}.{key.name}"
        yield where, key
        for inner in _inner(key.kind):
            yield from all_keys(inner, where)


def holds_text(kind: Any) -> bool:
    """Whether a value may be free text, or hold some."""
    bare = unwrap(kind)[0]
    options = members(bare)
    if len(options) > 1:
        return any(holds_text(each) for each in options)
    return bare in {str, object, Any} or any(
        holds_text(each) for each in getattr(bare, "__args__", ()) if _is_type(each)
    )


def holds_secrets(kind: Any) -> bool:
    """Whether a value is a secret, or holds nothing but secrets."""
    bare = unwrap(kind)[0]
    return is_secret(bare) or any(is_secret(each) for each in getattr(bare, "__args__", ()))


def _inner(kind: Any) -> list[type[Struct]]:
    found: list[type[Struct]] = []
    for each in members(kind):
        bare = unwrap(each)[0]
        found += [bare] if is_struct(bare) else [arg for arg in getattr(bare, "__args__", ()) if is_struct(arg)]
    return found


def _is_type(each: Any) -> bool:
    return not isinstance(each, str | int | float | bool)


def with_secrets(said: Mapping[str, Any], struct: type[Struct], put: Callable[[str, str], Any]) -> dict[str, Any]:
    """A copy of what a file says of a Struct, with ``put(name, text)`` in the place of each secret's text."""
    kinds = {key.name: key.kind for key in keys_of(struct)}
    return {name: _put(value, kinds.get(name, Any), name, put) for name, value in said.items()}


def _put(value: Any, kind: Any, name: str, put: Callable[[str, str], Any]) -> Any:
    for each in members(kind):
        bare = unwrap(each)[0]
        match value:
            case str() | int() | float() if bare is Secret:
                return put(name, str(value))
            case dict() if is_struct(bare):
                return with_secrets(value, bare, lambda inner, text: put(f"{name}.{inner}", text))
            case dict() if origin_of(bare) is dict and get_args(bare):
                return {key: _put(one, get_args(bare)[1], f"{name}.{key}", put) for key, one in value.items()}
            case list() if origin_of(bare) in LISTS and get_args(bare):
                return [_put(one, get_args(bare)[0], f"{name}.{at}", put) for at, one in enumerate(value)]
    return value
