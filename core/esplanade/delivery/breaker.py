"""The circuit breaker of a connector: a state machine over moments and results, with no clock of its own."""

from __future__ import annotations

from typing import Literal

from esplanade.config.model import BreakerConfig


class Breaker:
    """Opens after so many failures in a row; half-open, it lets one probe through, whose result closes or opens it again."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """Where it stands."""
        if self._opened_at is None:
            return "closed"
        return "open" if now - self._opened_at < self._config.open else "half-open"

    def allows(self, now: float, free: int) -> int:
        """How many calls may start, of those for which there is room."""
        match self.state(now):
            case "closed":
                return free
            case "open":
                return 0
            case "half-open":
                return 0 if self._probing else min(free, 1)

    def started(self, now: float) -> None:
        """A call began."""
        self._probing = self.state(now) == "half-open"

    def succeeded(self) -> None:
        """The vendor answered, whatever it said."""
        self._failures, self._opened_at, self._probing = 0, None, False

    def failed(self, now: float) -> None:
        """The vendor did not answer, or said that it cannot."""
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._config.failures:
            self._opened_at = now
        self._probing = False

    def learned_nothing(self) -> None:
        """A call ended that says nothing of the vendor; another may be the probe."""
        self._probing = False

    def reopens_at(self) -> float | None:
        """When an open breaker lets a probe through; None while closed."""
        return None if self._opened_at is None else self._opened_at + self._config.open
