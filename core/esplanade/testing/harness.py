"""Trying a plugin against its twin without the rest of the hub."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from esplanade.clock import Clock, SystemClock
from esplanade.context import Context
from esplanade.http.session import Session
from esplanade.http.ssrf import EgressGuard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from esplanade.connector import Connector
    from esplanade.model import AudienceTarget, ConsentTarget, TriggerTarget


class MemoryKeyValue:
    """A KeyValue that forgets. Values pass through JSON, as they do in the hub's own."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return msgspec.json.decode(self._values[key]) if key in self._values else None

    async def set(self, key: str, value: Any) -> None:
        """Keep a value; None removes it."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = msgspec.json.encode(value)


@asynccontextmanager
async def open_context(
    connector: Connector[Any],
    *,
    fields: Mapping[str, str] | None = None,
    consents: Mapping[str, ConsentTarget] | None = None,
    audiences: Mapping[str, AudienceTarget] | None = None,
    triggers: Mapping[str, TriggerTarget] | None = None,
    clock: Clock | None = None,
    language: str = "en",
    timeout_s: float = 5.0,
    exempt: Iterable[str] = (),
) -> AsyncIterator[Context]:
    """A Context with a real HTTP session for ``connector``, closed at the end.

    The guard lets the session call the origin of the connector's endpoint and of its token, wherever they are, besides
    ``exempt``; so a connector whose settings point at a twin reaches it.

        async with open_context(connector) as ctx:
            outcome = await connector.on_profile(event, ctx)
    """
    endpoint = connector.endpoint()
    now = clock or SystemClock()
    log = structlog.get_logger("esplanade.connector").bind(connector="test")
    token_url = getattr(endpoint.auth, "token_url", None)
    own = [endpoint.base_url, *endpoint.origins, *([token_url] if token_url else [])]
    session = Session(
        endpoint,
        connector="test",
        timeout_s=timeout_s,
        guard=EgressGuard([], exempt=[*own, *exempt]),
        clock=now,
        log=log,
    )
    try:
        yield Context(
            connector="test",
            http=session,
            kv=MemoryKeyValue(),
            log=log,
            clock=now,
            fields=fields or {},
            consents=consents or {},
            audiences=audiences or {},
            triggers=triggers or {},
            language=language,
            timezone="UTC",
        )
    finally:
        await session.close()
