"""How many people one run may take out of an audience, or opt out, before a human is asked."""

from __future__ import annotations

import math

from esplanade.records import AudienceRun

FLOOR = 10
"""The guard never binds below so many people."""
RUN_S = 3600.0
"""Removals by live events, imports and pulls within an hour of the first count as one run."""


def limit(people: int, share: float) -> int:
    """How many of so many people one run may touch; rounded up."""
    return max(FLOOR, math.ceil(people * share))


def admit(run: AudienceRun, now: float, share: float) -> bool:
    """Count one more removal in the run; False when it would be one too many, and then it is not counted."""
    if not run.began_at <= now < run.began_at + RUN_S:
        run.began_at, run.began_with, run.removed = now, run.members, 0
    if run.removed >= limit(run.began_with, share):
        return False
    run.removed += 1
    return True
