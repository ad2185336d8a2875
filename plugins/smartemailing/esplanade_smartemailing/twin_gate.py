"""Who may call the twin, and how often: what stands before every call, and what becomes of its refusals (sections 1 and 9)."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from esplanade.http import same

from .settings import API
from .twin_answers import refusal
from .twin_habits import Habits
from .twin_values import RefusedError

Call = Callable[[web.Request], Awaitable[web.Response]]
Route = tuple[str, str, Call]
_PART = re.compile(r"\{\w+(?::([^}]*))?\}")


class Gate:
    """HTTP Basic with the login address and the API key, then the limits of the account."""

    def __init__(self, username: str, api_key: str, habits: Habits, now: Callable[[], float]) -> None:
        self.username = username
        self.api_key = api_key
        self.habits = habits
        self.now = now
        self.refused = 0
        """How many calls were too many."""
        self._tokens = math.inf
        self._at = now()
        self._today = ""
        self._calls_today = 0

    def open(self, call: Call) -> Call:
        """A call that needs no credentials and counts for nothing: the ping."""
        return self._answering(call)

    def guarded(self, call: Call) -> Call:
        """A call that is made only with the credentials and within the limits."""

        async def handle(request: web.Request) -> web.Response:
            try:
                self._check_credentials(request)
                wait_s = self._wait_s()
                if wait_s:
                    self.refused += 1
                    return refusal("Rate limit exceeded.", 429, {"Retry-After": str(wait_s)})
                if not self.habits.has_rights:
                    raise RefusedError("Access denied.", 403)
            except RefusedError as error:
                return refusal(error.message, error.status)
            return await answering(request)

        answering = self._answering(call)
        return handle

    def _answering(self, call: Call) -> Call:
        async def handle(request: web.Request) -> web.Response:
            try:
                return await call(request)
            except RefusedError as error:
                is_hidden = self.habits.errors_in_200 == "always" or (
                    self.habits.errors_in_200 == "reads" and request.method == "GET" and error.status == 404
                )
                is_hidden = is_hidden and error.status != 429 and "tail" not in request.match_info
                return refusal(error.message, 200 if is_hidden else error.status)

        return handle

    def _check_credentials(self, request: web.Request) -> None:
        scheme, _, said = request.headers.get("Authorization", "").partition(" ")
        try:
            login, _, key = base64.b64decode(said, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            login, key = "", ""
        if scheme != "Basic" or not (same(login, self.username) & same(key, self.api_key)):
            raise RefusedError("Authentication failed. Check your username and API key.", 401)

    # Limits.

    def _wait_s(self) -> int:
        """Whole seconds until a call is allowed again; 0 where it is allowed now, and counted. Refused calls do not count."""
        now, habits = self.now(), self.habits
        if habits.daily is not None:
            then = datetime.fromtimestamp(now, ZoneInfo(habits.timezone))
            day = then.date().isoformat()
            if day != self._today:
                self._today, self._calls_today = day, 0
            if self._calls_today >= habits.daily:
                midnight = (then + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
                return math.ceil(midnight.timestamp() - now)
        if habits.burst is not None:
            self._tokens = min(float(habits.burst), self._tokens + (now - self._at) * habits.per_second)
            self._at = now
            if self._tokens < 1:
                return math.ceil((1 - self._tokens) / habits.per_second)
            self._tokens -= 1
        self._calls_today += 1
        return 0

    # Routes and bodies.

    def routes(self, calls: Sequence[Route]) -> list[web.RouteDef]:
        """The routes of a table of calls, each behind the gate."""
        return [web.route(method, f"{API}/{path}", self.guarded(call)) for method, path, call in calls]

    def rest(self, calls: Sequence[Route]) -> web.RouteDef:
        """The route of whatever is none of these calls: 405 where only the method is wrong, 404 otherwise."""
        known = [re.compile(_PART.sub(lambda part: part[1] or "[^/]+", path)) for _, path, _ in calls]

        async def missing(request: web.Request) -> web.Response:
            is_known = any(each.fullmatch(request.match_info["tail"]) for each in known)
            raise RefusedError("Method not allowed.", 405) if is_known else RefusedError("Not found.", 404)

        return web.route("*", f"{API}/{{tail:.*}}", self.guarded(missing))

    async def body(self, request: web.Request) -> Any:
        """The body as JSON; 413 where it is too large, 400 for anything that is no JSON or does not say so."""
        raw = await request.read()
        if self.habits.max_request_bytes is not None and len(raw) > self.habits.max_request_bytes:
            raise RefusedError("Request is too large.", 413)
        try:
            if request.content_type == "application/json":
                return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise RefusedError("Request body is not valid JSON.", 400)
