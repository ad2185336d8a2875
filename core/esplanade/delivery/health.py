"""What calls tell of their vendor: whether more of them may be made, and when."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, assert_never

from esplanade.config.model import Retry
from esplanade.context import Log

from . import backoff
from .breaker import Breaker
from .verdict import Done, Park, Pause, Reject, RetryAt, Verdict, Wait, Withdrawn


class Health:
    """The breaker, the pause, and the patience that the vendor asks for.

    The log has one line when the vendor falls ill, and one when it is well again.
    """

    def __init__(self, breaker: Breaker, *, lane: str, retry: Retry, rng: Random, log: Log) -> None:
        self.paused = False
        self._breaker = breaker
        self._lane = lane
        self._retry = retry
        self._rng = rng
        self._log = log
        self._waits = 0
        """How often in a row the vendor asked for patience and did not say for how long."""
        self._waits_until = 0.0
        self._ailing = False

    def resume(self) -> None:
        """Wait no longer: somebody says that the vendor may be called."""
        self.paused, self._waits_until = False, 0.0

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """Where the breaker stands."""
        return self._breaker.state(now)

    def allows(self, now: float, free: int) -> int:
        """How many calls may start, of those for which there is room."""
        return 0 if self.paused or now < self._waits_until else self._breaker.allows(now, free)

    def is_sound(self, now: float) -> bool:
        """Whether nothing speaks against calls that are yet to come."""
        return not self.paused and now >= self._waits_until and self._breaker.state(now) == "closed"

    def changes_at(self) -> float:
        """The moment before which nothing may start; one that has passed says nothing."""
        return max(self._waits_until, self._breaker.reopens_at() or 0.0)

    def started(self, now: float) -> None:
        """A call begins."""
        self._breaker.started(now)

    def feel(self, verdicts: Sequence[Verdict], now: float) -> None:
        """What one call says counts at once, before anything more is claimed, and once, however many works it carried."""
        ailment = None
        for verdict in sorted(verdicts, key=_weight) if len(verdicts) > 1 else verdicts:
            match verdict:
                case Done(outcome=outcome) if outcome.status == "unchanged":
                    pass  # there was nothing to do, so that perhaps nobody was called
                case Done():
                    self._waits = 0
                    self._is_well()
                    return
                case RetryAt(error=error) | Park(error=error) | Reject(reason="gave-up", error=error):
                    ailment = ailment or error
                case Reject():
                    self._is_well()
                    return
                case Wait():
                    self._breaker.succeeded()
                    for each in verdicts:
                        if isinstance(each, Wait):
                            self._wait(each.at, now)
                    return
                case Pause():
                    self._breaker.succeeded()
                    self.paused = True
                    return
                case Withdrawn():
                    pass
                case _:
                    assert_never(verdict)
        if ailment is None:
            self._breaker.learned_nothing()
        else:
            self._is_ill(ailment, now)

    def _wait(self, until: float | None, now: float) -> None:
        """Start nothing before the time that the vendor names; where it names none, wait longer each time in a row."""
        if until is None or until <= now:  # a moment that has passed says nothing either
            if now < self._waits_until:
                return  # calls that were under way together were refused together
            self._waits += 1
            wait_s = backoff.delay(self._waits, self._retry, self._rng)
            until = now + max(wait_s, float(self._retry.base) / 2)
        self._waits_until = max(self._waits_until, until)

    def _is_ill(self, ailment: str, now: float) -> None:
        self._breaker.failed(now)
        if not self._ailing and self._breaker.state(now) != "closed":
            self._ailing = True
            self._log.warning("vendor_unavailable", lane=self._lane, error=ailment)

    def _is_well(self) -> None:
        self._breaker.succeeded()
        if self._ailing:
            self._ailing = False
            self._log.info("vendor_available", lane=self._lane)


class Unmoved(Health):
    """Of work that calls no vendor by itself: where one fails or must wait, that says nothing of the others."""

    def feel(self, verdicts: Sequence[Verdict], now: float) -> None:
        """Nothing follows."""


def _weight(verdict: Verdict) -> int:
    """What of one call counts before the rest of it: that the vendor does not want to be called."""
    return 0 if isinstance(verdict, Pause) else 1 if isinstance(verdict, Wait) else 2
