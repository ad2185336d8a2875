"""Whether the store was closed in order, or may have lost to a power cut what its last moments knew."""

from __future__ import annotations

from esplanade.store.port import Unit

CLEAN, DOUBTFUL = "closed_in_order", "doubtful_before"


def opened(unit: Unit, now: float) -> float:
    """Note that the store is in use; returns the moment before which work was queued that is to be sent in any case.

    What vendors acknowledged last is not waited for on the disk. After a power cut the hub may think that a vendor holds
    something older than it does, so whatever state was still to be sent then is sent, even if nothing seems to differ.
    """
    clean = unit.meta(CLEAN) != "no"
    before = float(unit.meta(DOUBTFUL) or 0.0)
    if not clean:
        before = max(now, unit.last_accepted_at(), before)
        unit.set_meta(DOUBTFUL, str(before))
    unit.set_meta(CLEAN, "no")
    return before


def closed(unit: Unit) -> None:
    """Note that the store is closed in order."""
    unit.set_meta(CLEAN, "yes")
