"""Values as text, for vendors that keep nothing else."""

from __future__ import annotations

import msgspec

_EXACT = 1e15
"""Up to here a whole number is exact as a float, and written without a point."""


def as_text(value: object, *, true: str = "true", false: str = "false", separator: str = ",") -> str:
    """Any JSON value as one text: None is empty, 7.0 is ``7``, a list its items with ``separator`` between, an object its JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return true if value else false
        case float() if value.is_integer() and abs(value) < _EXACT:
            return str(int(value))
        case int() | float():
            return str(value)
        case list() if not any(isinstance(item, list | dict) for item in value):
            return separator.join(as_text(item, true=true, false=false, separator=separator) for item in value)
        case _:
            return msgspec.json.encode(value).decode()
