"""Real processes for end-to-end tests: twins and hubs as an operator starts them, each on its own port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE_S = 60.0
POLL_S = 0.02


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "esplanade.cli", *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A process that was started, and what it said of itself."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, said: dict[str, Any]) -> None:
        self.process = process
        self.url = url
        self.said = said

    async def kill(self) -> None:
        """kill -9: nothing is flushed, nothing is said goodbye to."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code that follows."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        return self.process.returncode or 0


@asynccontextmanager
async def running_twin(name: str) -> AsyncIterator[Running]:
    """A vendor's twin in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *command("twin", name), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    said = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
    running = Running(process, said["base_url"], said)
    try:
        yield running
    finally:
        await running.stop()


async def start_hub(config: Path, port: int, *, under: Sequence[str] = ()) -> Running:
    """A hub in a process of its own, perhaps started by another command; returns once it is ready."""
    log = (config.parent / "hub.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *under,
        *command("--config", str(config), "run"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=log,
        env=dict(os.environ),
    )
    log.close()
    url = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        assert process.returncode is None, (config.parent / "hub.log").read_text()
        return (await get(f"{url}/readyz"))[0] == 200

    await until(ready)
    return Running(process, url, {})


async def until(holds: Any) -> None:
    """Return once an async predicate holds; fails after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(POLL_S)


async def get(url: str) -> tuple[int, Any]:
    """Status and JSON of an answer; status 0 while nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.json(content_type=None)
    except aiohttp.ClientError:
        return 0, None


async def post(url: str, body: Any, token: str = "dev") -> tuple[int, Any]:
    """Post JSON as the shop; status 0 when nobody answers any more."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as answer:
            return answer.status, await answer.json(content_type=None)
    except aiohttp.ClientError:
        return 0, None


async def at_rest(hub: Running) -> bool:
    """Whether nothing waits in any lane, inbound or outbound, now or later."""
    status, body = await get(f"{hub.url}/v1/connectors")
    if status != 200:
        return False
    queues = [row[part] for row in body["connectors"] for part in ("queue", "inbound")]
    return not any(queue["due"] + queue["scheduled"] + queue["in_flight"] for queue in queues)


def write_config(folder: Path, port: int, twins: dict[str, Running]) -> Path:
    """A connectors.yaml whose vendors are the given twins, reached as real vendors are."""
    config = folder / "connectors.yaml"
    incoming = twins["sparkloop"].said["incoming_webhook_url"]
    config.write_text(
        f"""
hub:
  listen: 127.0.0.1:{port}
  store: sqlite:hub.db
  language: nl
  secret: a-secret-that-stays-the-same
  egress: {{allow: ["127.0.0.0/8"]}}
sources:
  shop: {{token: dev}}
connectors:
  webpower:
    plugin: webpower
    settings: {{base_url: "{twins["webpower"].url}", client_id: demo, client_secret: demo, campaign_id: 42}}
    fields: {{firstname: firstname, city: city, rh_reflink: RH_REFLINK, rh_totref: RH_TOTREF, rh_lastreward: RH_LASTREWARD}}
    consents: {{newsletter: {{group: 135}}, service: {{group: 136}}}}
    audiences: {{vip: {{group: 140}}}}
    triggers: {{abandoned-cart: {{mailing: 318, requires: newsletter}}}}
    retry: {{base: 50ms, cap: 1s}}
  sparkloop:
    plugin: sparkloop
    settings: {{outbound_mode: incoming_webhook, incoming_webhook_url: "{incoming}", webhook_token: tok_demo}}
    requires: newsletter
    fields: {{firstname: first_name, rh_reflink: RH_REFLINK, rh_totref: RH_TOTREF, rh_lastreward: RH_LASTREWARD}}
    consents: {{newsletter: {{}}}}
    retry: {{base: 50ms, cap: 1s}}
  cdp:
    plugin: webhook
    source: shop
    settings: {{url: "{twins["webhook"].url}/hooks/esplanade", secret: "{twins["webhook"].said["secret"]}"}}
    consents: {{newsletter: {{}}, service: {{}}}}
    audiences: {{vip: {{}}}}
    triggers: {{"*": {{}}}}
    retry: {{base: 50ms, cap: 1s}}
""",
        "utf-8",
    )
    return config
