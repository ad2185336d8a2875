"""What a Struct's fields are called, may hold and default to, in one shape for checks, schema and docs."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from esplanade.values import Duration, Percent, Rate, Secret

LISTS = (list, tuple, set, frozenset)
_ACRONYMS = frozenset({"api", "dns", "id", "uri", "url", "uuid"})
Kind = Any
"""A type as a field is annotated with it."""


class Key(Struct, frozen=True, kw_only=True):
    """One key of a mapping: its name in the file, the attribute it fills, its type and its default."""

    name: str
    attribute: str
    kind: Kind
    required: bool = False
    default: Any = None
    help: str = ""
    vendor: bool = False
    """A vendor's value: numbers where text is due keep their source text."""


@cache
def keys_of(struct: type[Struct]) -> tuple[Key, ...]:
    """The keys of a Struct, in the order of its source."""
    helps = _docstrings(struct)
    keys = []
    for each in msgspec.structs.fields(struct):
        default = each.default if each.default is not NODEFAULT else None
        if each.default_factory is not NODEFAULT:
            default = each.default_factory()
        keys.append(
            Key(
                name=each.encode_name,
                attribute=each.name,
                kind=each.type,
                required=each.required,
                default=default,
                help=helps.get(each.name, ""),
            )
        )
    return tuple(keys)


def summary(struct: type) -> str:
    """The docstring of a class as one paragraph."""
    return " ".join((struct.__doc__ or "").split()) if "__doc__" in vars(struct) else ""


def _docstrings(struct: type) -> dict[str, str]:
    """The text that follows each field in the source of a class and of what it inherits from."""
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if owner in {object, Struct} or not issubclass(owner, Struct):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        except (OSError, TypeError, SyntaxError):  # made without a source file
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for here, after in pairwise(body):
            match here, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def label(name: str) -> str:
    """What a form calls a key: ``Client ID`` of ``client_id``."""
    words = [word.upper() if word in _ACRONYMS else word for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def examples(key: Key) -> list[Any]:
    """Values that the file may have, as ``Annotated[…, Meta(examples=[…])]`` declares them; of a secret, a reference to it."""
    if is_secret(key.kind):
        return [f"${{{key.name.upper()}}}"]
    kinds = [key.kind, *members(key.kind)]
    return list(
        {repr(each): each for kind in kinds for meta in unwrap(kind)[1] for each in meta.examples or []}.values()
    )


def origin_of(kind: Kind) -> Any:
    """``list`` of ``list[str]``, and the type itself where it has no parameters."""
    origin: Any = get_origin(kind)
    return kind if origin is None else origin


def unwrap(kind: Kind) -> tuple[Kind, list[Meta]]:
    """A type without its Annotated, and the constraints that were on it."""
    metas: list[Meta] = []
    while origin_of(kind) is Annotated:
        kind, *extras = get_args(kind)
        metas += [extra for extra in extras if isinstance(extra, Meta)]
    return kind, metas


def members(kind: Kind) -> list[Kind]:
    """The members of a union, nested ones flattened; a list of itself for any other type."""
    bare, _ = unwrap(kind)
    if origin_of(bare) in {Union, types.UnionType}:
        return [inner for each in get_args(bare) for inner in members(each)]
    return [kind]


def nullable(kind: Kind) -> bool:
    """Whether nothing is a valid value."""
    return type(None) in members(kind)


def is_struct(kind: Kind) -> bool:
    """Whether a type is a Struct, generic or not."""
    return isinstance(kind, type) and issubclass(kind, Struct)


def is_parsed(kind: Kind) -> bool:
    """Whether a type reads itself, as Duration and Secret do: a class with ``parse``."""
    return isinstance(kind, type) and callable(getattr(kind, "parse", None))


def is_secret(kind: Kind) -> bool:
    """Whether a type, or a member of it, must never be shown."""
    return any(unwrap(each)[0] is Secret for each in members(kind))


def named(kind: Kind) -> str:
    """What a human calls a type: ``whole number``, ``one of single, double``, ``duration, such as 15m``."""
    return " or ".join(dict.fromkeys(_named(unwrap(each)[0]) for each in members(kind) if each is not type(None)))


def _named(kind: Kind) -> str:
    simple = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind in simple:
        return simple[kind]
    if is_parsed(kind):
        name = getattr(kind, "noun", kind.__name__.lower())
        noun = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        return f"{noun} such as {kind.example}" if getattr(kind, "pattern", "") else noun
    if is_struct(kind):
        return "keys"
    origin = origin_of(kind)
    if origin is Literal:
        return "one of " + ", ".join(literal(each) for each in get_args(kind))
    if origin in LISTS:
        return f"a list of {_plural(next(iter(get_args(kind)), Any))}"
    return "keys" if origin is dict else "any value"


def _plural(kind: Kind) -> str:
    said = named(kind)
    return said.removeprefix("a ").removeprefix("one of ")


def literal(value: object) -> str:
    """A value as the file would write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Duration():
            return _duration(value)
        case Percent():
            return f"{value * 100:g}%"
        case Rate():
            return f"{value:g}/s"
        case Secret():
            return '""'
        case None:
            return "null"
        case "":
            return '""'
    return str(value)


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"
