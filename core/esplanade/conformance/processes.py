"""A hub in a process of its own, as an operator starts it, that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from .check import CheckFailed
from .trial import TOKEN

PATIENCE_S = 45.0
LOOK_S = 0.02
KEPT_LINES = 20
_ANSWERS = "esplanade answers at "


class Life:
    """A hub from its start to its death."""

    def __init__(self, process: asyncio.subprocess.Process, client: aiohttp.ClientSession) -> None:
        self.url = ""
        self._process = process
        self._client = client
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._ready = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def ready(self) -> None:
        """Return once it takes events."""
        async with asyncio.timeout(PATIENCE_S):
            await self._ready.wait()
        if not self.url:
            raise CheckFailed(f"the hub did not start: {' | '.join(self._said)}")

    async def kill(self) -> None:
        """``kill -9``: nothing is flushed, nothing is said goodbye to."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def say(self, kind: str, event: dict[str, Any]) -> bool:
        """Tell it something as the shop does; whether it was accepted. False when it died before it had said so."""
        try:
            async with self._client.post(f"{self.url}/v1/{kind}s", json=event) as answer:
                if answer.status != 202:
                    raise CheckFailed(f"the hub refused an event ({answer.status}): {await answer.text()}")
                return True
        except (aiohttp.ClientError, ConnectionError):
            return False

    async def shown(self, path: str) -> Any:
        """What an operator is shown."""
        async with self._client.get(f"{self.url}{path}") as answer:
            return json.loads(await answer.read())

    async def at_rest(self) -> bool:
        """Whether nothing waits, now or later."""
        rows = (await self.shown("/v1/connectors"))["connectors"]
        queues = [row[part] for row in rows for part in ("queue", "inbound") if part in row]
        return not any(queue["due"] + queue["scheduled"] + queue["in_flight"] for queue in queues)

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        try:
            async for line in self._process.stderr:
                text = line.decode("utf-8", "replace").strip()
                self._said.append(text)
                if text.startswith(_ANSWERS):
                    self.url = text.removeprefix(_ANSWERS)
                    self._ready.set()
        finally:
            self._ready.set()  # it has died


@asynccontextmanager
async def hub_process(config: Path) -> AsyncIterator[Life]:
    """A hub that runs until it is killed, or until the end of this."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "esplanade.cli", "--config", str(config), "run"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
        env=dict(os.environ),
    )
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        life = Life(process, client)
        try:
            await life.ready()
            yield life
        finally:
            await life.kill()


async def until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Return once something holds; a failure of the check where it does not within a fair time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await holds():  # noqa: ASYNC110 - it is another process that it looks at
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise CheckFailed(otherwise) from None
