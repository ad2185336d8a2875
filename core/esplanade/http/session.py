"""A connector's HTTP session: the only way in which a plugin reaches its vendor."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import ClientTimeout
from yarl import URL

from esplanade import __version__
from esplanade.connector import Endpoint, HeaderAuth, OAuth2ClientCredentials, TokenExchange
from esplanade.context import Response
from esplanade.errors import DeliveryError, EgressRefused, PermanentError, TemporaryError

from . import reading
from .answers import error_for, excerpt
from .failures import failure_for
from .grants import ClientCredentials, Exchange
from .quoting import without_values
from .redact import Redactor, path_template
from .ssrf import EgressGuard, GuardedConnector, current_call
from .sweep import Limit, Sweep
from .telling import Teller
from .tokens import Tokens
from .wire import TRANSPORT_ERRORS, Request, TooLarge, distinct, encoded, payload, require_clean

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from esplanade.clock import Clock
    from esplanade.context import Log

_NOT_REPEATABLE = frozenset({"POST", "PATCH"})
_READS = frozenset({"GET", "HEAD"})
_CONNECTIONS = 100
# Vendors close idle connections after a minute or so; a POST that meets the closing is one whose outcome is unknown.
_KEEPALIVE_S = 15.0
_OUR_NAME = f"Esplanade/{__version__}"

# An id or address from outside, put into a path unquoted, must not climb to another resource.
_DOT_SEGMENT = re.compile(r"(?i)[/\\](?:\.|%2e){1,2}(?:[/\\]|$)")


class Session:
    """The ``Http`` of one connector, on one pool of connections. Make it inside a running loop, and close it."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connector: str,
        timeout_s: float,
        guard: EgressGuard,
        clock: Clock,
        log: Log,
        max_bytes: int = 10 * 1024 * 1024,
        connections: int = _CONNECTIONS,
    ) -> None:
        base = URL(endpoint.base_url)
        self._connector = connector
        self._base = endpoint.base_url.rstrip("/")
        self._trusted = {base.origin(), *(URL(each).origin() for each in endpoint.origins)}
        self._reachable = set(self._trusted)
        self._clock = clock
        self._max_bytes = max_bytes
        self._redactor = Redactor(_secrets(endpoint))
        self._teller = Teller(log, self._redactor, log_paths=endpoint.log_paths)
        self._tokens: Tokens | None = None
        headers = distinct({"User-Agent": _OUR_NAME}, endpoint.headers)
        match endpoint.auth:
            case HeaderAuth(name=name, value=value):
                headers = distinct(headers, {name: value})
            case OAuth2ClientCredentials() | TokenExchange() as auth:
                self._reachable.add(URL(auth.token_url).origin())
                grant = Exchange(auth) if isinstance(auth, TokenExchange) else ClientCredentials(auth)
                self._tokens = Tokens(grant, self._carry_out, clock, self._redactor, self._teller)
            case None:
                pass
        require_clean(headers)
        self._loop = asyncio.get_running_loop()
        self._sweep = Sweep(timeout_s)
        # One connection carries one request at a time, so that nobody who asks makes more of them than the vendor allows.
        self._pool = GuardedConnector(guard, limit=connections, keepalive_timeout_s=_KEEPALIVE_S)
        # Two clients on one pool, so that what is secret cannot go where it must not.
        self._clients = {
            True: _client(self._pool, headers),
            False: _client(self._pool, {"User-Agent": _OUR_NAME}),
        }

    async def close(self) -> None:
        """Close every connection. Calls under way end as cut."""
        self._sweep.close()
        for client in self._clients.values():
            await client.close()
        await self._pool.close()

    # The Http protocol.

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
        repeatable: bool | None = None,
    ) -> Response:
        """Send one request and read its whole answer; see ``Http.request``."""
        method = method.upper()
        text, url, trusted = self._target(path)
        if params:
            url = url.extend_query(params)
            text = str(url)
        if headers:
            require_clean(headers)
        body, kind = encoded(json, data)
        request = Request(
            method=method,
            url=url,
            text=text,
            plain=url.scheme == "http",
            trusted=trusted,
            headers=headers,
            body=body,
            kind=kind,
            content=data if json is None else json,
            allow=allow,
            repeatable=method not in _NOT_REPEATABLE if repeatable is None else repeatable,
            reads=method in _READS or (method in _NOT_REPEATABLE and bool(repeatable)),
            began=self._loop.time(),
        )
        answer = await self._carry_out(request)
        if 200 <= answer.status < 300 or answer.status in allow:
            return answer
        raise self._refusal(request, answer)

    # These hand on the coroutine of ``request`` as it is: one more around it would cost each call something.

    def get(
        self, path: str, *, params: Mapping[str, str | int] | None = None, allow: tuple[int, ...] = ()
    ) -> Coroutine[Any, Any, Response]:
        """GET; see ``request``."""
        return self.request("GET", path, params=params, allow=allow)

    def post(
        self, path: str, *, json: Any = None, allow: tuple[int, ...] = (), repeatable: bool = False
    ) -> Coroutine[Any, Any, Response]:
        """POST a JSON body; see ``request``."""
        return self.request("POST", path, json=json, allow=allow, repeatable=repeatable)

    def put(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Coroutine[Any, Any, Response]:
        """PUT a JSON body; see ``request``."""
        return self.request("PUT", path, json=json, allow=allow)

    def delete(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Coroutine[Any, Any, Response]:
        """DELETE; see ``request``."""
        return self.request("DELETE", path, json=json, allow=allow)

    # Where to.

    def _target(self, path: str) -> tuple[str, URL, bool]:
        """The URL of a path as text, as aiohttp takes it, and whether credentials may go there."""
        try:
            if path.startswith("/") or not path:
                if _DOT_SEGMENT.search(path.partition("?")[0]):
                    raise EgressRefused(f"egress-refused: the path {path_template(path)} holds a dot segment")
                text = self._base + path
                return text, URL(text), True
            url = URL(path)
            origin = url.origin()
        except ValueError:
            raise PermanentError(f"{self._connector}: a path must begin with / or be an absolute URL") from None
        if url.user is not None or url.password is not None or origin not in self._reachable:
            raise EgressRefused(
                f"egress-refused: {url.host} is not among the hosts of connector {self._connector}; "
                "its plugin must name it in Endpoint.origins"
            )
        return path, url, origin in self._trusted

    # One call.

    async def _carry_out(self, request: Request) -> Response:
        """Any answer, whole where it is a success or allowed. Raises what the lack of an answer means."""
        if self._pool.closed:
            raise TemporaryError(f"{self._connector}: the session is closed, because the hub is stopping")
        outer = current_call.set(request)
        exchange = self._exchange_told if self._teller.is_wanted() else self._exchange
        try:
            with self._sweep.limit(request.began) as limit:
                tokens = self._tokens
                if tokens is None or not request.trusted:
                    return await exchange(request, limit, request.headers)
                token = await tokens.token()
                answer = await exchange(request, limit, _signed(request, token), unread=tokens.unread)
                if answer.status < 400 or not tokens.refuses(answer.status, answer.body):
                    return answer
                # What is refused for its token was not acted on, so even a POST may go out again, with a new one and only once.
                request.sent, request.status = False, None
                tokens.drop(token)
                return await exchange(request, limit, _signed(request, await tokens.token()))
        except TRANSPORT_ERRORS as error:
            failure = failure_for(error, request, timeout_s=self._sweep.limit_s, max_bytes=self._max_bytes)
        finally:
            current_call.reset(outer)
        failure.exchange = self._teller.exchange(request)
        # Raised out here, so that no traceback chains to aiohttp's exception, which holds the request's headers.
        raise failure

    async def _exchange(
        self, request: Request, limit: Limit, headers: Mapping[str, str] | None, *, unread: int | None = None
    ) -> Response:
        """One exchange. The body of an answer with the status ``unread`` is left where it is."""
        answer = await self._clients[request.trusted].request(
            request.method, request.url, headers=headers, data=payload(request), allow_redirects=False
        )
        request.status = status = answer.status
        wanted = 200 <= status < 300 or status in request.allow
        if status == unread:
            content = b""
            await reading.left(answer)
        elif answer.content.is_eof() and answer.content.exception() is None:
            # The usual answer came whole, with its head; then its connection is back in the pool already.
            content = answer.content.read_nowait()
            if answer.connection is not None:
                await reading.left(answer)
        else:
            content = await reading.body(answer, limit, wanted=wanted, max_bytes=self._max_bytes)
        whole = not wanted or len(content) <= self._max_bytes
        if not whole and request.reads:
            raise TooLarge
        return Response(
            status=status,
            headers=reading.headers(answer),
            body=content if whole else b"",
            url=request.text,
            whole=whole,
        )

    async def _exchange_told(
        self, request: Request, limit: Limit, headers: Mapping[str, str] | None, *, unread: int | None = None
    ) -> Response:
        """One exchange and its debug line."""
        began = self._loop.time()
        came_of_it: int | str = "cancelled"
        try:
            answer = await self._exchange(request, limit, headers, unread=unread)
            came_of_it = answer.status
            return answer
        except TRANSPORT_ERRORS as error:
            came_of_it = request.status or type(error).__name__
            raise
        finally:
            self._teller.line(request, came_of_it, self._loop.time() - began)

    def _refusal(self, request: Request, answer: Response) -> DeliveryError:
        words = excerpt(answer.body, partial(self._hidden, request)) if answer.status >= 400 else ""
        path = self._teller.path(request.url)
        error = error_for(
            answer.status,
            answer.headers,
            what=f"{request.url.host} answered {answer.status} to {request.method} {path}",
            words=words,
            repeatable=request.repeatable,
            now=self._clock.time(),
        )
        assert error is not None  # a success was returned
        error.exchange = self._teller.exchange(request, words)
        return error

    def _hidden(self, request: Request, words: str) -> str:
        """A vendor's words without secrets, and without what it was sent."""
        return self._redactor(without_values(words, request.content, request.url.query.values()))


def _client(pool: GuardedConnector, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=pool,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=ClientTimeout(total=None),  # the sweep sees to it
        trust_env=False,
    )


def _signed(request: Request, token: str) -> dict[str, str]:
    return {**(request.headers or {}), "Authorization": f"Bearer {token}"}


def _secrets(endpoint: Endpoint) -> list[str]:
    match endpoint.auth:
        case HeaderAuth(value=value):
            # "Bearer abc": the vendor may quote the second half alone.
            return [value, value.rpartition(" ")[2], *endpoint.headers.values()]
        case OAuth2ClientCredentials(client_secret=secret):
            return [secret, *endpoint.headers.values()]
        case TokenExchange(form=form):
            return [*form.values(), *endpoint.headers.values()]
        case None:
            return list(endpoint.headers.values())
