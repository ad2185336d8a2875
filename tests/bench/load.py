"""The load that every benchmark puts on: profiles of about 400 bytes, and 64 workers that send them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

WORKERS = 64
HEADERS = {"Authorization": "Bearer dev", "Content-Type": "application/json"}


def event(number: int) -> bytes:
    """One profile of about 400 bytes."""
    fields = {f"field{at}": f"value {at} of person {number}, of some length" for at in range(6)}
    return msgspec.json.encode({"email": f"person.{number}@load.example", "id": f"u-{number}", "fields": fields})


async def rate(work: Callable[[int], Awaitable[None]], count: int, *, first: int = 0) -> float:
    """How many a second, with 64 workers."""
    numbers = iter(range(first, first + count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return count / (time.perf_counter() - began)


async def ingest(url: str, count: int, *, first: int = 0) -> float:
    """Single profiles a second into a server."""
    connector = aiohttp.TCPConnector(limit=WORKERS)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:

        async def one(number: int) -> None:
            async with session.post(url, data=event(number)) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()

        return await rate(one, count, first=first)
