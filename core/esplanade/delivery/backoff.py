"""When to try again: exponential with full jitter, and when to give up."""

from __future__ import annotations

from random import Random

from esplanade.config.model import Retry
from esplanade.errors import LONGEST_WAIT_S


def delay(attempts: int, retry: Retry, rng: Random, *, asked_for: float | None = None) -> float:
    """Seconds until the next attempt, after ``attempts`` of them. A vendor's own wish counts, up to 24 hours."""
    if asked_for is not None:
        return granted(asked_for)
    exponent = min(max(attempts - 1, 0), 40)
    return rng.uniform(0.0, min(float(retry.cap), float(retry.base) * 2.0**exponent))


def granted(asked_for: float) -> float:
    """Of the seconds that a vendor asks for, those that it gets."""
    return min(max(asked_for, 0.0), LONGEST_WAIT_S)


def is_spent(attempts: int, first_at: float, now: float, retry: Retry) -> bool:
    """Whether to give up: only once the window has passed and enough attempts were made."""
    return now - first_at > retry.window and attempts >= retry.min_attempts
