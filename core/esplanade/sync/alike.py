"""When two values are the same at a vendor: what it is known to do to values is no change.

Nobody says of which type a field is, so the values do: a list, else true or false, else a number, else two texts that are
both dates, else text. Without a declaration: nothing is like empty, a number like its text, true like ``yes``, a list
like its choices in any order, and a date or time like the same moment written otherwise.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from types import MappingProxyType
from typing import TypeAlias

from esplanade.model import Alters, Scalar, Value, ValueType

from .moments import same_moment

Declared: TypeAlias = Mapping[ValueType, Alters]

AS_GIVEN: Declared = MappingProxyType({})
"""What is declared of a vendor that is not known to alter anything."""

_NOTHING = Alters()
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?(\d+),(\d+)", re.ASCII)
_LONGEST_NUMBER = 400
_MOST_BITS = 1_100  # the widest float needs 1,024
_ROUNDINGS = (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_HALF_DOWN)
_EXACTLY = Context(prec=1_200, traps=[])  # what cannot be rounded becomes NaN, which is like nothing


def alike(one: Value, other: Value, alters: Declared = AS_GIVEN) -> bool:
    """Whether two values mean the same to a vendor that alters values as declared. Never raises."""
    if one is other or one == other:
        return True
    first: Scalar | list[Scalar] = "" if one is None else one
    second: Scalar | list[Scalar] = "" if other is None else other
    if isinstance(first, str) and isinstance(second, str):
        return _texts_alike(first, second, alters)
    if isinstance(first, list) or isinstance(second, list):
        rules = alters.get("multi-select", _NOTHING)
        return _choices(first, rules) == _choices(second, rules)
    if isinstance(first, bool):
        return _says(second, first, alters.get("boolean", _NOTHING))
    if isinstance(second, bool):
        return _says(first, second, alters.get("boolean", _NOTHING))
    return _numbers_alike(first, second, alters.get("number", _NOTHING).decimals)


def _texts_alike(one: str, other: str, alters: Declared) -> bool:
    rules = alters.get("text", _NOTHING)
    first, second = (one.strip(), other.strip()) if rules.trim else (one, other)
    if not first or not second:
        return first == second
    moments = same_moment(first, second, alters)
    if moments or (moments is False and not _may_be_cut(first, second, rules)):
        return moments
    return held(one, rules) == held(other, rules)


def _may_be_cut(one: str, other: str, rules: Alters) -> bool:
    """Whether one of two dates may be what was left of the other; those longer than what is kept were not cut."""
    return rules.max_length is not None and min(len(one), len(other)) <= rules.max_length


def held(text: str, rules: Alters = _NOTHING) -> str:
    """The text that stands for all those of which a vendor makes the same."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if rules.trim:
        text = " ".join(text.split())
    if rules.ignores_case:  # by their capitals, which the two kinds of i share
        text = unicodedata.normalize("NFC", text.upper().casefold())
    if rules.max_length is not None and len(text) > rules.max_length:
        text = text[: rules.max_length]
        return text.rstrip() if rules.trim else text
    return text


def _choices(value: Scalar | list[Scalar], rules: Alters) -> frozenset[str]:
    items = value if isinstance(value, list) else [value]
    pieces = (piece.strip() for item in items for piece in _text(item).split(rules.separator))
    return frozenset(held(piece, rules) for piece in pieces if piece)


def _says(said: Scalar, meant: Scalar, rules: Alters) -> bool:
    """Whether a text says true or false, as it is meant. A number that does is equal to it anyway."""
    if not isinstance(said, str):
        return False
    word = said.strip().casefold()
    known, declared = (_TRUE, rules.true) if meant else (_FALSE, rules.false)
    return word in known or any(word == each.strip().casefold() for each in declared)


def _numbers_alike(one: Scalar, other: Scalar, decimals: int | None) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return False  # they differ, and have nothing to round
    if _text(one) == _text(other):
        return True
    first, second = _number(one), _number(other)
    if first is None or second is None:
        return False
    if first == second:
        return True
    if (isinstance(one, float) or isinstance(other, float)) and float(first) == float(second):
        return True  # no nearer to each other than a float can tell
    return decimals is not None and any(
        _rounded(first, decimals, way) == _rounded(second, decimals, way) for way in _ROUNDINGS
    )


def _number(value: Scalar) -> Decimal | None:
    """The number as it is written, not as binary has it; None for what is none."""
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, int):
        return Decimal(value) if value.bit_length() <= _MOST_BITS else None
    text = value.strip()
    if len(text) > _LONGEST_NUMBER:
        return None
    comma = _WITH_COMMA.fullmatch(text)
    if comma is not None and not _may_be_thousands(comma[1], comma[2]):
        text = text.replace(",", ".")
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _may_be_thousands(before: str, after: str) -> bool:
    return len(after) == 3 and len(before) <= 3 and not before.startswith("0")


def _rounded(number: Decimal, decimals: int, way: str) -> Decimal:
    return number.quantize(Decimal((0, (1,), -decimals)), rounding=way, context=_EXACTLY)


def _text(value: Scalar) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            try:
                return str(value)
            except ValueError:  # an integer that Python finds too long to write out in decimals
                return hex(int(value))
