"""Who may call the twin, and how often: the exchange of the API token, and what stands before every call."""

from __future__ import annotations

import base64
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from esplanade.http import hmac_hex

from .twin_answers import as_version_2, refusal
from .twin_fields import RefusedError

TOKEN_LIFE_S = 24 * 3600
Call = Callable[[web.Request], Awaitable[web.Response]]


class Habits(Struct, kw_only=True):
    """How this account behaves where the vendor does not say, or says two things."""

    quota: int | None = None
    """Requests per second; more are answered 429. The vendor publishes no number."""
    mail_path_style: Literal["draganddrop", "ms"] = "draganddrop"
    """Names of the mailing calls: draganddrop and html, or ms and publisher. The others are an invalid method."""
    refused_status: int = 401
    """Status for a wrong or expired token of version 4. Older versions of the API answer 400 with the same words."""


class Gate:
    """The vendor's authentication: an API token is exchanged for a JWT of 24 hours; several may be alive."""

    def __init__(self, api_token: str, habits: Habits, now: Callable[[], float]) -> None:
        self.api_token = api_token
        self.habits = habits
        self.now = now
        self.tokens: dict[str, float] = {}
        """When each JWT ends."""
        self.calls = 0
        """How many calls of the API were let in: what the account is billed for."""
        self._key = secrets.token_hex(16)
        self._recent: deque[float] = deque()

    def route(self) -> web.RouteDef:
        return web.post("/authenticate", self._authenticate)

    def guarded(self, call: Call) -> Call:
        """A call that is made only with a token and within the quota, and whose refusals become the vendor's error."""

        async def handle(request: web.Request) -> web.Response:
            version = request.match_info["version"]
            try:
                if self._is_too_fast():
                    return web.Response(status=429, headers={"Retry-After": "1"}, text="Too many requests")
                if version == "v4":
                    self.check_bearer(request)
                else:
                    self.check_query(request)
                self.calls += 1
                answer = await call(request)
            except RefusedError as error:
                return refusal(error.message, error.status)
            return as_version_2(request.method, answer) if version == "v2" else answer

        return handle

    def check_bearer(self, request: web.Request) -> None:
        """v4: ``Authorization: Bearer <JWT>``, known and not yet ended."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0.0) <= self.now():
            raise RefusedError("Invalid access token", self.habits.refused_status)

    def check_query(self, request: web.Request) -> None:
        """Up to v3: the API token itself as query parameter, on every call."""
        if request.query.get("access_token") != self.api_token:
            raise RefusedError("Invalid access token")

    async def _authenticate(self, request: web.Request) -> web.Response:
        is_form = request.content_type == "application/x-www-form-urlencoded"
        form = await request.post() if is_form else {}
        if form.get("access_token") != self.api_token:
            return refusal("Invalid access token", self.habits.refused_status)
        return web.Response(text=self._issue(), content_type="text/plain")

    def _issue(self) -> str:
        now = int(self.now())
        head = _part({"alg": "HS256", "typ": "JWT"})
        said = _part({"iat": now, "exp": now + TOKEN_LIFE_S, "jti": secrets.token_hex(8)})
        token = f"{head}.{said}.{_encoded(bytes.fromhex(hmac_hex(self._key, f'{head}.{said}'.encode())))}"
        self.tokens[token] = now + TOKEN_LIFE_S
        return token

    def _is_too_fast(self) -> bool:
        if self.habits.quota is None:
            return False
        now = self.now()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.habits.quota:
            return True
        self._recent.append(now)
        return False


def routes_of(calls: Sequence[tuple[str, str, Call]], gate: Gate, versions: str = "v2|v3|v4") -> list[web.RouteDef]:
    """The routes of a table of calls, each behind the gate and in each of these versions of the API."""
    return [web.route(method, f"/{{version:{versions}}}{path}", gate.guarded(call)) for method, path, call in calls]


def _part(said: dict[str, Any]) -> str:
    return _encoded(msgspec.json.encode(said))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
