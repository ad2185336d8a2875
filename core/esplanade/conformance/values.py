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
"""Two values of each type that any system takes, and that are not alike."""

VALUES: Mapping[ValueType, tuple[Value, ...]] = {
    "text": (
        '\'s-Gravenhage & <b>Żółć</b> "ěščřžýáíé" ÿ',
        "☕ 👩‍👩‍👧 🇳🇱",
        "cafe\u0301",
        "שלום عليكم",
        "007",
        "yes",
        "null",
        "1,500",
        "2026-01-15",
        "two\nlines",
        "a, b; c|d",
        "x" * 200,
    ),
    "number": (0, -7, 12.5, 0.1, 1_000_000),
    "boolean": (),
    "date": ("2000-02-29", "1969-12-31"),
    "datetime": ("2026-03-29T02:30:00+01:00", "2026-07-01T00:00:00+14:00", "1999-12-31T23:59:59Z"),
    "multi-select": (["blue", "red"], ["red"]),
}
"""More of each type: what tends to go wrong on the way to a vendor and back."""
