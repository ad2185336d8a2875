"""Moments as operators are shown them."""

from __future__ import annotations

import math

from esplanade.clock import rfc3339


def moment(at: float | None) -> str | None:
    """RFC 3339; None for one that is not known."""
    return rfc3339(at) if at and math.isfinite(at) else None
