"""How fast a connector calls its vendor: a token bucket over requests, and a budget for the day."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

from esplanade.clock import Clock
from esplanade.config.model import Pace
from esplanade.context import Http, Response
from esplanade.errors import RateLimited

LONGEST_TURN_S = 5.0
"""A turn further off than this is no wait within a call, whose time limit it would use up."""
_DAY_S = 86_400.0
_SLACK = 1e-6
"""So much of a token is forgiven to the rounding of clocks."""


class Turn:
    """The right of one call to its first request, which the lane has waited for before it started the call."""

    __slots__ = ("day", "used")

    def __init__(self, day: int) -> None:
        self.day = day
        self.used = False


class Spent(Struct, frozen=True):
    """How many requests were sent on a day, which is UTC's and counts from the epoch."""

    day: int
    requests: int


_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Pacer:
    """Lets requests through at the configured rate. One for all callers of a connector.

    A lane asks how much is ``free`` before it starts a call, so that whoever is most urgent by then goes next; what a call
    requests beyond its first waits within the call, ahead of calls that are yet to start.
    """

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self._tokens = float(pace.burst)
        self._filled_at = clock.monotonic()
        self._day = self._today()
        self._spent = 0
        self.asleep = 0
        """How many calls are under way and wait for the time of their next request."""

    @property
    def unlimited(self) -> bool:
        """Whether nobody ever waits."""
        return self._pace.rate is None and self._pace.daily is None

    @property
    def spent(self) -> Spent | None:
        """What was spent of the day's budget; None where there is none."""
        return None if self._pace.daily is None else Spent(day=self._day, requests=self._spent)

    @spent.setter
    def spent(self, spent: Spent) -> None:
        if spent.day == self._day:
            self._spent += spent.requests

    def free(self) -> int:
        """How many calls may start now."""
        many = math.inf
        if self._pace.rate is not None:
            self._fill()
            many = math.floor(self._tokens + _SLACK)
        if self._pace.daily is not None:
            many = min(many, self._budget())
        return 1_000_000 if many == math.inf else max(int(many), 0)

    def next_free_s(self) -> float | None:
        """Seconds until a call may start; None when one may start now."""
        if self._pace.daily is not None and self._budget() <= 0:
            return (self._day + 1) * _DAY_S - self._clock.time()
        if self._pace.rate is None:
            return None
        self._fill()
        return None if self._tokens + _SLACK >= 1 else (1 - self._tokens) / self._pace.rate

    def reserve(self) -> None:
        """A call starts, and with it its first request."""
        if not self.unlimited:
            self._take()

    def begin(self) -> Turn | None:
        """Let the task that runs now use what was reserved for it."""
        if self.unlimited:
            return None
        turn = Turn(self._day)
        _turn.set(turn)
        return turn

    def end(self, turn: Turn | None) -> None:
        """A call has ended; what it did not use goes back."""
        if turn is not None and not turn.used:
            turn.used = True
            self._tokens = min(self._tokens + 1, float(self._pace.burst))
            if turn.day == self._day:
                self._spent = max(self._spent - 1, 0)

    async def acquire(self) -> None:
        """Return when one request may be sent.

        Raises RateLimited when that is not soon, or the day's budget is spent: nothing was sent then, so nothing is unknown.
        """
        if self.unlimited:
            return
        turn = _turn.get()
        if turn is not None and not turn.used:
            turn.used = True
            return
        if self._pace.daily is not None and self._budget() <= 0:
            wait = (self._day + 1) * _DAY_S - self._clock.time()
            raise RateLimited("the day's budget of requests is spent", retry_after=wait)
        wait = self._take()
        if wait > LONGEST_TURN_S:
            self._tokens += 1
            self._spent -= 1
            raise RateLimited("the connector's own pace leaves no room just now", retry_after=wait)
        if wait > 0:
            self.asleep += 1
            try:
                await self._clock.sleep(wait)
            finally:
                self.asleep -= 1

    def _take(self) -> float:
        """Spend one request; the seconds until it may leave. The tokens may go below zero: later ones wait longer."""
        self._spent += 1
        if self._pace.rate is None:
            return 0.0
        self._fill()
        self._tokens -= 1
        return max(-self._tokens / self._pace.rate, 0.0)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        assert self._pace.rate is not None
        self._tokens = min(float(self._pace.burst), self._tokens + (now - self._filled_at) * self._pace.rate)
        self._filled_at = now

    def _budget(self) -> int:
        """How many requests are left of the day, which is UTC's."""
        assert self._pace.daily is not None
        today = self._today()
        if today != self._day:
            self._day, self._spent = today, 0
        return self._pace.daily - self._spent

    def _today(self) -> int:
        return int(self._clock.time() // _DAY_S)


class PacedHttp:
    """A connector's session whose every request waits its turn."""

    def __init__(self, http: Http, pacer: Pacer) -> None:
        self._http = http
        self._pacer = pacer

    async def request(self, method: str, path: str, **options: Any) -> Response:
        """See ``Http.request``."""
        await self._pacer.acquire()
        return await self._http.request(method, path, **options)

    async def get(
        self, path: str, *, params: Mapping[str, str | int] | None = None, allow: tuple[int, ...] = ()
    ) -> Response:
        """See ``Http.get``."""
        return await self.request("GET", path, params=params, allow=allow)

    async def post(
        self, path: str, *, json: Any = None, allow: tuple[int, ...] = (), repeatable: bool = False
    ) -> Response:
        """See ``Http.post``."""
        return await self.request("POST", path, json=json, allow=allow, repeatable=repeatable)

    async def put(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """See ``Http.put``."""
        return await self.request("PUT", path, json=json, allow=allow)

    async def delete(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """See ``Http.delete``."""
        return await self.request("DELETE", path, json=json, allow=allow)
