"""A connector's HTTP session: the only way in which a plugin reaches its vendor."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import ClientMiddlewareType, ClientTimeout
from yarl import URL

from esplanade import __version__
from esplanade.connector import Endpoint, HeaderAuth, OAuth2ClientCredentials
from esplanade.context import Log, Response
from esplanade.errors import DeliveryError, EgressRefused, OutcomeUnknown, PermanentError, TemporaryError

from .answers import error_for, excerpt
from .middlewares import Failed, account_for
from .oauth2 import OAuth2
from .redact import Redactor, path_template
from .ssrf import Call, EgressGuard, GuardedConnector, current_call
from .wire import TRANSPORT_ERRORS, encoded, lowered, merged, reason, require_clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esplanade.clock import Clock

_NOT_REPEATABLE = frozenset({"POST", "PATCH"})
_CONNECTIONS = 100
# Vendors close idle connections after a minute or so; a POST that meets the closing is one whose outcome is unknown.
_KEEPALIVE_S = 15.0
_ERROR_BODY_BYTES = 64 * 1024
# aiohttp warns about raw bytes beyond this size and wants a file-like body.
_LARGE_BODY_BYTES = 1024 * 1024

# An id or address from outside, put into a path unquoted, must not climb to another resource.
_DOT_SEGMENT = re.compile(r"(?i)[/\\](?:\.|%2e){1,2}(?:[/\\]|$)")


class _TooLarge(Exception):
    """The answer is longer than the session reads."""


class Session:
    """The ``Http`` of one connector, on one aiohttp session. Make it inside a running loop, and close it."""

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
    ) -> None:
        base = URL(endpoint.base_url)
        self._connector = connector
        self._base = endpoint.base_url.rstrip("/")
        self._trusted = {base.origin(), *(URL(each).origin() for each in endpoint.origins)}
        self._reachable = set(self._trusted)
        self._timeout_s = timeout_s
        self._clock = clock
        self._max_bytes = max_bytes
        self._headers = dict(endpoint.headers)
        self._log_paths = endpoint.log_paths
        self._redactor = Redactor(_secrets(endpoint))
        self._bare: Sequence[ClientMiddlewareType] = (account_for(log, log_paths=endpoint.log_paths),)
        self._signed: Sequence[ClientMiddlewareType] = self._bare
        match endpoint.auth:
            case HeaderAuth(name=name, value=value):
                self._headers[name] = value
            case OAuth2ClientCredentials() as auth:
                self._reachable.add(URL(auth.token_url).origin())
                self._signed = (OAuth2(auth, self._send_form, clock, self._redactor), *self._bare)
            case None:
                pass
        require_clean(self._headers)
        self._client = aiohttp.ClientSession(
            connector=GuardedConnector(guard, limit=_CONNECTIONS, keepalive_timeout_s=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"Esplanade/{__version__}"},
            timeout=ClientTimeout(total=timeout_s),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection. Calls under way end as cut."""
        await self._client.close()

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
        if repeatable is None:
            repeatable = method not in _NOT_REPEATABLE
        url, trusted = self._target(path)
        if params:
            url = url.extend_query(params)
        body, sent_headers = encoded(json, data)
        if trusted:
            sent_headers = {**self._headers, **sent_headers}
        if headers:
            require_clean(headers)
            sent_headers = merged(sent_headers, headers)
        middlewares = self._signed if trusted else self._bare
        answer = await self._exchange(method, url, sent_headers, body, middlewares, allow, repeatable=repeatable)
        if answer.status in allow:
            return answer
        words = excerpt(answer.body, self._redactor) if answer.status >= 400 else ""
        error = error_for(
            answer.status,
            answer.headers,
            what=f"{url.host} answered {answer.status} to {method} {path_template(url.raw_path) if self._log_paths else '***'}",
            words=words,
            repeatable=repeatable,
            now=self._clock.time(),
        )
        if error is not None:
            raise error
        return answer

    async def get(
        self, path: str, *, params: Mapping[str, str | int] | None = None, allow: tuple[int, ...] = ()
    ) -> Response:
        """GET; see ``request``."""
        return await self.request("GET", path, params=params, allow=allow)

    async def post(
        self, path: str, *, json: Any = None, allow: tuple[int, ...] = (), repeatable: bool = False
    ) -> Response:
        """POST a JSON body; see ``request``."""
        return await self.request("POST", path, json=json, allow=allow, repeatable=repeatable)

    async def put(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """PUT a JSON body; see ``request``."""
        return await self.request("PUT", path, json=json, allow=allow)

    async def delete(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """DELETE; see ``request``."""
        return await self.request("DELETE", path, json=json, allow=allow)

    # Where to.

    def _target(self, path: str) -> tuple[URL, bool]:
        """The URL of a path and whether credentials may go there."""
        try:
            if path.startswith("/") or not path:
                if _DOT_SEGMENT.search(path.partition("?")[0]):
                    raise EgressRefused(f"egress-refused: the path {path_template(path)} holds a dot segment")
                return URL(self._base + path), True
            url = URL(path)
            origin = url.origin()
        except ValueError:
            raise PermanentError(f"{self._connector}: a path must begin with / or be an absolute URL") from None
        if url.user is not None or url.password is not None or origin not in self._reachable:
            raise EgressRefused(
                f"egress-refused: {url.host} is not among the hosts of connector {self._connector}; "
                "its plugin must name it in Endpoint.origins"
            )
        return url, origin in self._trusted

    # One exchange.

    async def _exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        middlewares: Sequence[ClientMiddlewareType],
        allow: tuple[int, ...] = (),
        *,
        repeatable: bool,
    ) -> Response:
        """Any answer, whole where it is a success or allowed. Raises what the lack of an answer means."""
        if self._client.closed:
            raise TemporaryError(f"{self._connector}: the session is closed, because the hub is stopping")
        call = Call(plain=url.scheme == "http")
        outer = current_call.set(call)
        try:
            async with self._client.request(
                method,
                url,
                headers=headers,
                data=io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY_BYTES else body,
                allow_redirects=False,
                middlewares=middlewares,
            ) as answer:
                content = await self._read(answer, allow)
                return Response(status=answer.status, headers=lowered(answer), body=content, url=str(url))
        except DeliveryError:
            raise
        except (Failed, _TooLarge, *TRANSPORT_ERRORS) as error:
            failure = self._failure(
                call, error.error if isinstance(error, Failed) else error, url, repeatable=repeatable
            )
        finally:
            current_call.reset(outer)
        # Raised out here, so that no traceback chains to aiohttp's exception, which holds the request's headers.
        raise failure

    async def _read(self, answer: aiohttp.ClientResponse, allow: tuple[int, ...]) -> bytes:
        """The body, after decompression. Of an error answer, as much as can be had: its status counts without."""
        wanted = 200 <= answer.status < 300 or answer.status in allow
        limit = self._max_bytes if wanted else _ERROR_BODY_BYTES
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := await answer.content.readany():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    answer.close()
                    if wanted:
                        raise _TooLarge
                    break
        except TRANSPORT_ERRORS:
            answer.close()
            if wanted:
                raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _failure(self, call: Call, error: Exception, url: URL, *, repeatable: bool) -> DeliveryError:
        host = url.host
        if isinstance(error, _TooLarge):
            message = f"{host} answered with more than {self._max_bytes} bytes, which is more than is read"
            return PermanentError(message) if repeatable else OutcomeUnknown(message)
        if call.sent:
            message = f"{host}: {reason(error, self._timeout_s)}"
            return TemporaryError(message) if repeatable else OutcomeUnknown(message)
        if call.refused is not None and not call.tried:
            return EgressRefused(
                f"egress-refused: {host} {call.refused}; if this connector shall call it, "
                "add its address range to hub.egress.allow"
            )
        if isinstance(error, aiohttp.InvalidURL):
            return EgressRefused(f"egress-refused: {host} is not a canonical address, so hub.egress.allow cannot hold")
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            return PermanentError(f"the request to {host} cannot be built: {type(error).__name__}")
        return TemporaryError(f"{host} cannot be reached: {reason(error, self._timeout_s)}")

    async def _send_form(self, url: str, form: dict[str, str]) -> Response:
        body, headers = encoded(None, form)
        return await self._exchange("POST", URL(url), headers, body, self._bare, repeatable=True)


def _secrets(endpoint: Endpoint) -> list[str]:
    match endpoint.auth:
        case HeaderAuth(value=value):
            # "Bearer abc": the vendor may quote the second half alone.
            return [value, value.rpartition(" ")[2], *endpoint.headers.values()]
        case OAuth2ClientCredentials(client_secret=secret):
            return [secret, *endpoint.headers.values()]
        case None:
            return list(endpoint.headers.values())
