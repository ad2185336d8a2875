"""What the core hands to every hook and method of a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from .clock import Clock
from .errors import UnreadableAnswer
from .model import AudienceTarget, ConsentTarget, TriggerTarget


class Response(Struct, frozen=True, kw_only=True):
    """A vendor's answer, read whole and within the size limit. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str
    whole: bool = True
    """False when the vendor acted and answered more than is read: then the body is empty."""

    def json(self) -> Any:
        """The body as JSON; raises UnreadableAnswer naming the status when it is none."""
        self._require_whole()
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UnreadableAnswer(f"the vendor answered {self.status} with a body that is not JSON") from None

    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced. Raises UnreadableAnswer when it was not read."""
        self._require_whole()
        return self.body.decode("utf-8", "replace")

    def _require_whole(self) -> None:
        if not self.whole:
            raise UnreadableAnswer(f"the vendor answered {self.status} with more than is read")


class Http(Protocol):
    """The connector's HTTP session: base URL, credentials, time limit, size limits, guards and logs are seen to.

    Raises what the answer means: RateLimited for 429 and for 503 with Retry-After, AuthenticationError for 401 and 403,
    EndpointGone for 410, PermanentError for other 4xx. A refused connection is a TemporaryError. For 500, 502, 504, 503
    without Retry-After, a timeout or a cut: TemporaryError when the call is ``repeatable``, else OutcomeUnknown.
    Statuses named in ``allow`` are returned instead. An answer over the size limit is a PermanentError where it is what the
    call is for, as with GET; where the vendor has acted, it is returned unread. Each error tells of its ``exchange``.
    """

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
        """Send one request. ``path`` is below the base URL, or an absolute URL on an allowed host.

        ``repeatable`` says that doing it twice does no harm; by default that holds for all methods but POST and PATCH.
        """
        ...

    async def get(
        self, path: str, *, params: Mapping[str, str | int] | None = None, allow: tuple[int, ...] = ()
    ) -> Response:
        """GET; see ``request``."""
        ...

    async def post(
        self, path: str, *, json: Any = None, allow: tuple[int, ...] = (), repeatable: bool = False
    ) -> Response:
        """POST a JSON body; see ``request``."""
        ...

    async def put(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """PUT a JSON body; see ``request``."""
        ...

    async def delete(self, path: str, *, json: Any = None, allow: tuple[int, ...] = ()) -> Response:
        """DELETE; see ``request``."""
        ...


class KeyValue(Protocol):
    """A small durable store of the connector's own. Values are whatever JSON can hold."""

    async def get(self, key: str) -> Any:
        """The value, or None."""
        ...

    async def set(self, key: str, value: Any) -> None:
        """Keep a value; None removes it. Durable once this returns."""
        ...


class Log(Protocol):
    """A structlog logger bound to the connector. Never pass addresses, names or secrets."""

    def is_enabled_for(self, level: int) -> bool:
        """Whether lines of a level are written; 10 is debug, 20 info."""
        ...

    def debug(self, event: str, **values: Any) -> Any: ...
    def info(self, event: str, **values: Any) -> Any: ...
    def warning(self, event: str, **values: Any) -> Any: ...
    def error(self, event: str, **values: Any) -> Any: ...


class Context(Struct, frozen=True, kw_only=True):
    """What a hook or method may use besides its event."""

    connector: str
    """The connector's name in connectors.yaml."""
    http: Http
    kv: KeyValue
    log: Log
    clock: Clock
    fields: Mapping[str, str]
    """Hub field: vendor field."""
    consents: Mapping[str, ConsentTarget]
    audiences: Mapping[str, AudienceTarget]
    triggers: Mapping[str, TriggerTarget]
    language: str
    """The hub's language, for triggers and product sets that name none."""
    timezone: str
