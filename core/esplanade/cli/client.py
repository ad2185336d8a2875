"""The running hub, over its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from esplanade.model import Kind, Webhooks

from .operator import OperationError, Pulled, Taken, Wanted

if TYPE_CHECKING:
    from esplanade.config import Config

PATIENCE_S = 600.0
"""How long sending waits for a hub that is behind before it gives up."""
_WAIT_S = 30.0
NOT_SUPPORTED = "not-supported"
"""The type of the problem that says, in words for a human, why a connector cannot do what was asked."""
_PATHS: dict[Kind, str] = {"profile": "/v1/profiles", "consent": "/v1/consents", "trigger": "/v1/triggers"}
_NDJSON = "application/x-ndjson"


class Answer(Struct, frozen=True, kw_only=True):
    """What the hub answered; ``body`` is its JSON, or None."""

    status: int
    headers: Mapping[str, str]
    body: Any


class RunningHub:
    """An Operator that asks the hub at ``url``, with the tokens of the same configuration."""

    def __init__(self, url: str, config: Config, client: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._config = config
        self._client = client

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, config: Config) -> AsyncIterator[RunningHub]:
        """A hub to talk to, within a block."""
        # No total limit: a pull takes as long as it takes, and whoever waits can press Ctrl-C.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(timeout=limits, trust_env=False) as client:
            yield cls(_reachable(url), config, client)

    # Operator.

    async def send(self, source: str, kind: Kind, items: Sequence[bytes]) -> Taken:
        token = self._config.sources[source].token.reveal()
        body = b"\n".join(items)
        return await self._patiently(lambda: self._call("POST", _PATHS[kind], token=token, data=body, form=_NDJSON))

    async def take_people(self, items: Sequence[bytes]) -> Taken:
        body = b"\n".join(items)
        return await self._patiently(lambda: self._admin("POST", "/v1/import", data=body, form=_NDJSON))

    async def pause(self, connector: str) -> None:
        await self._connector(connector, "pause")

    async def resume(self, connector: str) -> None:
        await self._connector(connector, "resume")

    async def pull(self, connector: str, said: Callable[[str], None]) -> Pulled:
        return msgspec.convert(await self._connector(connector, "pull") or {}, Pulled)

    async def webhooks(self, connector: str, *, remove: bool) -> Webhooks:
        method = "DELETE" if remove else "POST"
        return msgspec.convert(await self._connector(connector, "webhooks", method), Webhooks)

    async def replay(self, wanted: Wanted, *, force: bool) -> int:
        body = msgspec.to_builtins(wanted) | ({"force": True} if force else {})
        answer = await self._admin("POST", "/v1/deliveries/replay", data=msgspec.json.encode(body))
        return int(self._good(answer)["replayed"])

    async def erase(self, email: str) -> dict[str, Any] | None:
        answer = await self._admin("DELETE", f"/v1/people/{quote(email, safe='')}")
        return None if answer.status == 404 else dict(self._good(answer))

    # What only a running hub can tell.

    async def connectors(self) -> Any:
        """``GET /v1/connectors``."""
        return self._good(await self._admin("GET", "/v1/connectors"))

    async def discover(self, connector: str) -> Any:
        """What the connector's vendor offers, as the hub sees it."""
        return await self._connector(connector, "discover")

    async def check(self, connector: str) -> Any:
        """How the connector's check went, as the hub sees it; None when that hub or that plugin has no such check."""
        answer = await self._admin("POST", f"/v1/connectors/{quote(connector)}/check")
        return None if answer.status in {404, 405} or _problem(answer) == NOT_SUPPORTED else self._good(answer)

    # Below.

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Taken:
        """Ask again for as long as the hub says that it is behind."""
        waited = 0.0
        while True:
            answer = await ask()
            if answer.status not in {429, 503} or _problem(answer).endswith("storage-full") or waited >= PATIENCE_S:
                return self._taken(answer)
            delay = min(_retry_after(answer), _WAIT_S)
            waited += max(delay, 1.0)
            await asyncio.sleep(delay)

    async def _connector(self, connector: str, verb: str, method: str = "POST") -> Any:
        return self._good(await self._admin(method, f"/v1/connectors/{quote(connector)}/{verb}"))

    async def _admin(
        self, method: str, path: str, *, data: bytes | None = None, form: str = "application/json"
    ) -> Answer:
        return await self._call(method, path, token=self._config.hub.admin_token.reveal(), data=data, form=form)

    async def _call(self, method: str, path: str, *, token: str, data: bytes | None, form: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if data is not None:
            headers["Content-Type"] = form
        try:
            async with self._client.request(
                method, self.url + path, data=data, headers=headers, allow_redirects=False
            ) as response:
                return Answer(status=response.status, headers=response.headers, body=_json(await response.read()))
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise OperationError(
                f"the hub at {self.url} does not answer ({type(problem).__name__}: {problem}); is it stopping?"
            ) from None

    def _taken(self, answer: Answer) -> Taken:
        if answer.status == 422 and isinstance(answer.body, dict) and "rejected" in answer.body:
            return msgspec.convert(answer.body, Taken)
        return msgspec.convert(self._good(answer), Taken)

    def _good(self, answer: Answer) -> Any:
        if 200 <= answer.status < 300:
            return answer.body
        said = answer.body if isinstance(answer.body, dict) else {}
        why = said.get("detail") or said.get("title") or "without a reason"
        if answer.status == 401:
            why = f"{why}; it runs with another token than {self._config.path} says: set the same one, or restart it"
        if _problem(answer) == NOT_SUPPORTED:
            raise OperationError(why)
        raise OperationError(f"the hub at {self.url} answered {answer.status}: {why}")


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except ValueError:
        return None


def _problem(answer: Answer) -> str:
    return str(answer.body.get("type", "")) if isinstance(answer.body, dict) else ""


def _retry_after(answer: Answer) -> float:
    try:
        return max(0.0, float(answer.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0


def _reachable(url: str) -> str:
    """A hub that listens on every address answers on loopback."""
    return url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
