"""How fast a connector calls its vendor: a token bucket over requests, and a budget for the day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esplanade.clock import Clock
from esplanade.config.model import Pace
from esplanade.context import Http, Response
from esplanade.errors import RateLimited

LONGEST_TURN_S = 5.0
"""A turn further off than this is no wait within a call, whose time limit it would use up."""
_DAY_S = 86_400.0


class Pacer:
    """Lets requests through at the configured rate. One for all callers of a connector."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self._tokens = float(pace.burst)
        self._filled_at = clock.monotonic()
        self._day = int(clock.time() // _DAY_S)
        self._spent = 0

    async def acquire(self) -> None:
        """Return when one request may be sent.

        Raises RateLimited when that is not soon, or the day's budget is spent: nothing was sent then, so nothing is unknown.
        """
        self._spend_budget()
        if self._pace.rate is None:
            return
        now = self._clock.monotonic()
        self._tokens = min(float(self._pace.burst), self._tokens + (now - self._filled_at) * self._pace.rate)
        self._filled_at = now
        self._tokens -= 1  # may go below zero: then this caller waits its turn, and later ones wait longer
        wait = -self._tokens / self._pace.rate
        if wait > LONGEST_TURN_S:
            self._tokens += 1
            raise RateLimited("the connector's own pace leaves no room just now", retry_after=wait)
        if wait > 0:
            await self._clock.sleep(wait)

    def _spend_budget(self) -> None:
        if self._pace.daily is None:
            return
        now = self._clock.time()
        day = int(now // _DAY_S)
        if day != self._day:
            self._day, self._spent = day, 0
        if self._spent >= self._pace.daily:
            raise RateLimited("the day's budget of requests is spent", retry_after=(day + 1) * _DAY_S - now)
        self._spent += 1


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
