"""What a hub must know of the one before it: whether it closed the store in order, and whether its clock was ahead."""

from __future__ import annotations

from esplanade.store.port import Unit

CLEAN, DOUBTFUL = "closed_in_order", "doubtful_before"


def opened(unit: Unit, now: float) -> float:
    """Note that the store is in use; returns the moment before which work was queued that is to be sent in any case.

    What vendors acknowledged last is not waited for on the disk. After a power cut the hub may think that a vendor holds
    something older than it does, so whatever state was still to be sent then is sent, even if nothing seems to differ.
    """
    ahead = unit.last_accepted_at() - now
    if ahead > 0:  # the machine's clock was set back since
        unit.bring_forward(ahead, now)
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
