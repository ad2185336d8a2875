"""Alerts: always logged, and told to whom ``hub.alerts`` names; the same one not again within an hour."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import msgspec

from esplanade.clock import Clock, rfc3339
from esplanade.config.model import Alert, Hub
from esplanade.connector import Endpoint
from esplanade.context import Log
from esplanade.errors import DeliveryError
from esplanade.http.session import Session
from esplanade.http.ssrf import EgressGuard

QUIET_S = 3600.0
COMMAND_S = 10.0
"""How long a command that is told of an alert may take."""


class Alerts:
    """Raises alerts. Their texts hold no personal data."""

    def __init__(self, hub: Hub, clock: Clock, log: Log) -> None:
        self.hub = hub
        self._clock = clock
        self._log = log
        self._raised: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, key: str, message: str) -> None:
        """Raise an alert; ``key`` says which ones are the same."""
        now = self._clock.time()
        if now - self._raised.get(key, float("-inf")) < QUIET_S:
            return
        self._raised[key] = now
        self._log.error("alert", key=key, message=message)
        body = msgspec.json.encode({"alert": key, "message": message, "at": rfc3339(now)})
        for target in self.hub.alerts:
            task = asyncio.get_running_loop().create_task(self._tell(target, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def clear(self, key: str) -> None:
        """The matter is settled: the next time is news again."""
        self._raised.pop(key, None)

    async def close(self) -> None:
        """Wait for alerts under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, target: Alert, body: bytes) -> None:
        try:
            if target.webhook is not None:
                await self._post(target.webhook, body)
            if target.command is not None:
                await self._run(target.command, body)
        except (DeliveryError, OSError) as problem:
            self._log.error("alert_not_told", error=str(problem))

    async def _post(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        endpoint = Endpoint(base_url=f"{parts.scheme}://{parts.netloc}")
        guard = EgressGuard(self.hub.egress.allow)
        session = Session(endpoint, connector="alerts", timeout_s=10, guard=guard, clock=self._clock, log=self._log)
        try:
            headers = {"Content-Type": "application/json"}
            await session.request("POST", url, data=body, headers=headers)
        finally:
            await session.close()

    async def _run(self, command: list[str], body: bytes) -> None:
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(COMMAND_S):
                await process.communicate(body)
        except TimeoutError:
            process.kill()
            await process.wait()
        if process.returncode:
            self._log.error("alert_not_told", error=f"the command ended with {process.returncode}")
