"""The token of a session: one for all callers, fetched when it is needed and renewed before it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from yarl import URL

from esplanade.errors import AuthenticationError, DeliveryError, TemporaryError

from .answers import error_for, excerpt
from .grants import object_in
from .wire import Request, encoded

if TYPE_CHECKING:
    from esplanade.clock import Clock
    from esplanade.context import Response

    from .grants import Grant
    from .redact import Redactor
    from .telling import Teller

_LONGEST_LIFETIME_S = 30 * 86_400.0

Send = Callable[[Request], Awaitable["Response"]]
"""Carry out a request without credentials; returns any answer, raises TemporaryError when there is none."""


class Tokens:
    """Fetched once, renewed early, fetched anew when the vendor refuses one."""

    def __init__(self, grant: Grant, send: Send, clock: Clock, redactor: Redactor, teller: Teller) -> None:
        self.unread = grant.unread
        self.refuses = grant.refuses
        self._grant = grant
        self._send = send
        self._clock = clock
        self._redactor = redactor
        self._teller = teller
        self._token: str | None = None
        self._good_until = 0.0
        self._fetching = asyncio.Lock()
        self._failures = 0
        self._last_failure: DeliveryError | None = None

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
                raise _again(self._last_failure)
            try:
                return await self._fetch()
            except DeliveryError as failure:
                self._failures += 1
                self._last_failure = failure
                raise

    def drop(self, token: str) -> None:
        """The vendor refuses this token: fetch a new one, unless somebody else already did."""
        if self._token == token:
            self._token, self._good_until = None, 0.0

    def _fresh(self) -> str | None:
        return self._token if self._clock.monotonic() < self._good_until else None

    async def _fetch(self) -> str:
        request = _token_request(self._grant)
        answer = await self._send(request)
        words = ""
        if 200 <= answer.status < 300:
            granted = self._grant.read(answer.body, self._clock.time())
            if granted is not None:
                self._redactor.remember(granted.token)
                self._token = granted.token
                self._good_until = self._clock.monotonic() + _good_for(granted.lifetime_s, self._grant.early_s)
                return granted.token
            # Its words stay untold: what is not called a token may be one.
            failure: DeliveryError = AuthenticationError(
                f"the token endpoint answered without a usable {self._grant.wanted}; check its URL"
            )
        else:
            words = self._words(answer)
            failure = self._refusal(answer, words)
        failure.exchange = self._teller.exchange(request, words)
        raise failure

    def _words(self, answer: Response) -> str:
        said = object_in(answer.body)
        reason = said.get("error_description") or said.get("error")
        return excerpt(reason.encode("utf-8", "replace") if isinstance(reason, str) else answer.body, self._redactor)

    def _refusal(self, answer: Response, words: str) -> DeliveryError:
        what = f"the token endpoint answered {answer.status}"
        error = error_for(
            answer.status, answer.headers, what=what, words=words, repeatable=True, now=self._clock.time()
        )
        if isinstance(error, TemporaryError):
            return error
        return AuthenticationError(f"{what}: {words}; {self._grant.remedy}")


def _token_request(grant: Grant) -> Request:
    form = grant.form()
    body, kind = encoded(None, form)
    url = URL(grant.token_url)
    return Request(
        plain=url.scheme == "http",
        method="POST",
        url=url,
        text=str(url),
        headers=None,
        body=body,
        kind=kind,
        content=form,
        repeatable=True,
        reads=True,
        trusted=False,
        began=asyncio.get_running_loop().time(),
    )


def _again(failure: DeliveryError) -> DeliveryError:
    """The same failure for another caller."""
    error = type(failure)(str(failure), retry_after=failure.retry_after)
    error.exchange = failure.exchange
    return error


def _good_for(lifetime_s: float, early_s: float) -> float:
    """How many seconds to use a token. Never less than one, or every request would fetch its own."""
    lifetime = min(lifetime_s, _LONGEST_LIFETIME_S)
    return max(lifetime - early_s, lifetime / 2, 1.0) if lifetime < 2 * early_s else lifetime - early_s
