"""Values to try a field with, by its type."""

from __future__ import annotations

from collections.abc import Mapping

from esplanade.model import Value, ValueType

ORDINARY: Mapping[ValueType, tuple[Value, Value]] = {
    "text": ("Delft", "Breda"),
    "number": (12, 13),
    "boolean": (True, False),
    "date": ("1990-12-10", "1991-01-02"),
    "datetime": ("2026-01-15T10:00:00Z", "2026-02-16T11:30:00Z"),
    "multi-select": (["red", "blue"], ["green"]),
}
"""Two values of each type that any system takes, and that no two of them are alike."""
