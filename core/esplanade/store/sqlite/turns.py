"""When the fold has its turn at the writer: behind the requests that come in a crowd, but not for long."""

from __future__ import annotations

CROWD = 8
"""So many requests in one commit say that they come faster than they could be folded beside."""
LULL_S = 0.02
"""How long after a crowd the fold waits for the next one."""
PATIENCE_S = 1.0
"""How long the fold lets one crowd after the other go first. Then it takes its share until it has caught up."""
REST_S = 1.0
"""How long it rests when it got no further, or failed."""


class Turns:
    """Times are of the monotonic clock, in seconds.

    Folding beside a busy event loop slows both down, and what was accepted is safe. So a burst is taken in first.
    """

    def __init__(self) -> None:
        self._at = 0.0
        self._crowded_since: float | None = None

    def wait_s(self, now: float) -> float:
        """How long it is until the fold's turn; 0.0: it is now."""
        return max(self._at - now, 0.0)

    def committed(self, requests: int, now: float, *, urgent: bool) -> None:
        """So many requests shared a commit; ``urgent``: what one of them says must not wait for others."""
        if urgent:
            self._crowded_since = now - PATIENCE_S
        if requests < CROWD and not urgent:
            return
        if self._crowded_since is None:
            self._crowded_since = now
        self._at = now + LULL_S if now < self._crowded_since + PATIENCE_S else 0.0

    def caught_up(self) -> None:
        """Nothing is left to be folded."""
        self._crowded_since = None

    def rest(self, now: float) -> None:
        """The fold got no further, or failed."""
        self._at = now + REST_S
