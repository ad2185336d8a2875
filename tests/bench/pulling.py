"""A pull of everything that a vendor holds, beside a bare client that reads the same pages."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from tests.bench.house import process
from tests.e2e.processes import free_port, start_hub

CONNECTOR: dict[str, Any] = {
    "plugin": "copernica",
    "fields": {"firstname": "Firstname", "lastname": "Lastname", "city": "City"},
    "consents": {"newsletter": {"field": "Newsletter"}},
}


class Pulled(Struct, frozen=True, kw_only=True):
    """How long each took, in seconds, and what the pulls found."""

    bare_s: float
    first_s: float
    second_s: float
    first: dict[str, int]
    second: dict[str, int]
    resident_mb: float


async def measure(people: int) -> Pulled:
    """The first pull, in which everybody is new, until all are folded; and a second one, in which nothing is."""
    async with _place(people) as (hub_url, vendor_url, pid):
        bare_s = await _bare(vendor_url)
        last = f"person.{people - 1}@load.example"
        first_s, first = await _pull(hub_url, last)
        second_s, second = await _pull(hub_url, last)
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    resident_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Pulled(
        bare_s=bare_s, first_s=first_s, second_s=second_s, first=first, second=second, resident_mb=resident_mb
    )


@asynccontextmanager
async def _place(people: int) -> AsyncIterator[tuple[str, str, int]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendor = f"http://127.0.0.1:{await stack.enter_async_context(process('tests.bench.copernica', str(people)))}"
        port = free_port()
        settings = {
            "api_token": "demo-api-token",
            "database_id": 31,
            "base_url": vendor,
            "auth_url": f"{vendor}/authenticate",
        }
        content = {
            "hub": {"listen": f"127.0.0.1:{port}", "store": "sqlite:bench.db", "egress": {"allow": ["127.0.0.0/8"]}},
            "sources": {"shop": {"token": "dev"}},
            "connectors": {"copernica": {**CONNECTOR, "settings": settings}},
        }
        config = folder / "connectors.yaml"
        config.write_text(json.dumps(content), "utf-8")
        hub = await start_hub(config, port)
        stack.push_async_callback(hub.stop)
        yield hub.url, vendor, hub.process.pid


async def _bare(vendor: str) -> float:
    """The limit: the same pages, one after the other, read and decoded."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{vendor}/authenticate", data={"access_token": "demo-api-token"}) as answer:
            token = await answer.text()
        headers, after, began = {"Authorization": f"Bearer {token}"}, 0, time.monotonic()
        while True:
            query = f"fields[]=id%3E{after}&limit=1000&total=false&dataonly=true&orderby=id&order=asc"
            async with session.get(f"{vendor}/v4/database/31/profiles?{query}", headers=headers) as answer:
                rows = msgspec.json.decode(await answer.read())["data"]
            if len(rows) < 1000:
                return time.monotonic() - began
            after = int(rows[-1]["ID"])


async def _pull(hub: str, last: str) -> tuple[float, dict[str, int]]:
    """Pull through the operator API, and wait until the last person that it may have found is known."""
    patience = aiohttp.ClientTimeout(total=1_200)
    async with aiohttp.ClientSession(timeout=patience) as session:
        began = time.monotonic()
        async with session.post(f"{hub}/v1/connectors/copernica/pull") as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, int] = await answer.json()
        while True:
            async with session.get(f"{hub}/v1/people/{last}") as answer:
                if answer.status == 200:
                    return time.monotonic() - began, found
            await asyncio.sleep(0.02)
