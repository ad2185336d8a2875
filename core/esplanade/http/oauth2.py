"""OAuth2 client credentials (https://www.rfc-editor.org/rfc/rfc6749#section-4.4) as an aiohttp client middleware."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from esplanade.context import Response
from esplanade.errors import AuthenticationError, DeliveryError, TemporaryError

from .answers import error_for, excerpt
from .ssrf import current_call

if TYPE_CHECKING:
    from esplanade.clock import Clock
    from esplanade.connector import OAuth2ClientCredentials

    from .redact import Redactor

ASSUMED_LIFETIME_S = 3600.0
_LONGEST_LIFETIME_S = 30 * 86_400.0

SendForm = Callable[[str, dict[str, str]], Awaitable[Response]]
"""POST a form to an absolute URL without credentials; returns any answer, raises TemporaryError when there is none."""


class OAuth2:
    """Puts the token on each request: fetched once for all callers, renewed early, fetched anew once after a 401."""

    def __init__(self, auth: OAuth2ClientCredentials, send: SendForm, clock: Clock, redactor: Redactor) -> None:
        self._auth = auth
        self._send = send
        self._clock = clock
        self._redactor = redactor
        self._token: str | None = None
        self._good_until = 0.0
        self._fetching = asyncio.Lock()
        self._failures = 0
        self._last_failure: DeliveryError | None = None

    async def __call__(self, req: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        token = await self.token()
        req.headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
        response = await handler(req)
        if response.status != 401:
            return response
        # A 401 was not acted on, so even a POST may go out again, with a new token and only once.
        response.release()
        current_call.get().sent = False
        self._drop(token)
        req.headers[hdrs.AUTHORIZATION] = f"Bearer {await self.token()}"
        return await handler(req)

    async def token(self) -> str:
        """A token that is still good. Raises AuthenticationError or TemporaryError; nothing was acted on then."""
        token = self._fresh()
        if token is not None:
            return token
        failures = self._failures
        async with self._fetching:
            token = self._fresh()
            if token is not None:
                return token
            if self._failures != failures and self._last_failure is not None:
                # The fetch that we waited for failed; asking again for each waiter would only hammer the vendor.
                raise type(self._last_failure)(str(self._last_failure), retry_after=self._last_failure.retry_after)
            try:
                return await self._fetch()
            except DeliveryError as failure:
                self._failures += 1
                self._last_failure = failure
                raise

    def _fresh(self) -> str | None:
        return self._token if self._clock.monotonic() < self._good_until else None

    def _drop(self, token: str) -> None:
        # Somebody else may have fetched a new one in the meantime; that one stays.
        if self._token == token:
            self._token, self._good_until = None, 0.0

    async def _fetch(self) -> str:
        asked = {
            "grant_type": "client_credentials",
            "client_id": self._auth.client_id,
            "client_secret": self._auth.client_secret,
        }
        if self._auth.scope:
            asked["scope"] = self._auth.scope
        answer = await self._send(self._auth.token_url, asked)
        self._raise_for(answer)
        granted = _object(answer.body)
        token = granted.get("access_token")
        if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
            raise AuthenticationError("the token endpoint answered without a usable access_token; check token_url")
        self._redactor.remember(token)
        self._token = token
        self._good_until = self._clock.monotonic() + _good_for(granted.get("expires_in"), self._auth.early_s)
        return token

    def _raise_for(self, answer: Response) -> None:
        if 200 <= answer.status < 300:
            return
        said = _object(answer.body)
        reason = said.get("error_description") or said.get("error")
        words = excerpt(reason.encode("utf-8", "replace") if isinstance(reason, str) else answer.body, self._redactor)
        what = f"the token endpoint answered {answer.status}"
        error = error_for(
            answer.status, answer.headers, what=what, words=words, repeatable=True, now=self._clock.time()
        )
        if isinstance(error, TemporaryError):
            raise error
        raise AuthenticationError(f"{what}: {words}; check client id, client secret, scope and token_url")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _good_for(expires_in: object, early_s: float) -> float:
    """How many seconds to use a token. Never less than one, or every request would fetch its own."""
    try:
        lifetime = float(expires_in) if isinstance(expires_in, (int, float, str)) else ASSUMED_LIFETIME_S
    except (ValueError, OverflowError):
        lifetime = ASSUMED_LIFETIME_S
    if math.isnan(lifetime):
        lifetime = ASSUMED_LIFETIME_S
    lifetime = min(lifetime, _LONGEST_LIFETIME_S)
    return max(lifetime - early_s, lifetime / 2, 1.0) if lifetime < 2 * early_s else lifetime - early_s
