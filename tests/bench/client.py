"""What one call through a connector's Session costs, beside the same call through aiohttp alone."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import structlog
import uvloop
from tests.e2e.processes import free_port

from esplanade.clock import SystemClock
from esplanade.connector import Endpoint, HeaderAuth
from esplanade.http.session import Session
from esplanade.http.ssrf import EgressGuard

WORKERS = 64
CALLS = 500
ROUNDS = 41

Call = Callable[[int], Awaitable[Any]]


class Costs(msgspec.Struct, frozen=True):
    """Microseconds of this process's CPU per call: medians of rounds that took turns."""

    bare: float
    """``session.put(url, data=bytes)`` with aiohttp's own settings."""
    lean: float
    """The same without a time limit, cookies and redirects: the least that aiohttp can do."""
    session: float
    """``Session.put(path, json=…)``, to the same URL each time."""
    people: float
    """The same, to another URL each time."""
    bare_people: float
    """``bare``, to another URL each time: what is to be compared with ``people``."""


def measure() -> Costs:
    """Against a server in a process of its own that answers at once, with as many calls under way as a busy lane has."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "tests.bench.processes", str(port)])
    try:
        return uvloop.run(_measured(f"http://127.0.0.1:{port}"))
    finally:
        server.terminate()
        server.wait()


def table(costs: Costs) -> list[str]:
    """The lines to print."""
    rows = [
        ("aiohttp alone, as it comes", costs.bare, costs.bare),
        ("aiohttp alone, without time limit, cookies and redirects", costs.lean, costs.bare),
        ("a connector's session", costs.session, costs.bare),
        ("aiohttp alone, another URL each time", costs.bare_people, costs.bare_people),
        ("a connector's session, another URL each time", costs.people, costs.bare_people),
    ]
    return [f"{what:60} {cost:8.1f} µs  {cost / bare:5.2f} of the bare client" for what, cost, bare in rows]


async def _measured(origin: str) -> Costs:
    log = structlog.make_filtering_bound_logger(20)(structlog.PrintLogger(), [], {})  # as a hub has it: no debug lines
    session = Session(
        Endpoint(base_url=origin, auth=HeaderAuth(name="Authorization", value="Bearer key")),
        connector="bench",
        timeout_s=20,
        guard=EgressGuard(["127.0.0.0/8"]),
        clock=SystemClock(),
        log=log,
    )
    bare = aiohttp.ClientSession()
    lean = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar())
    ways: dict[str, Call] = {
        "bare": _bare(bare, lambda _: f"{origin}/people"),
        "bare_people": _bare(bare, lambda number: f"{origin}/people/{number}"),
        "lean": _bare(lean, lambda _: f"{origin}/people", allow_redirects=False),
        "session": lambda number: session.put("/people", json=_BODY),
        "people": lambda number: session.put(f"/people/{number}", json=_BODY),
    }
    costs: dict[str, list[float]] = {name: [] for name in ways}
    try:
        await _until_it_answers(ways["bare"])
        for way in ways.values():
            await _cost(way)  # opens the connections
        for _ in range(ROUNDS):
            for name, way in ways.items():
                costs[name].append(await _cost(way))
    finally:
        await session.close()
        await bare.close()
        await lean.close()
    return Costs(**{name: statistics.median(each) for name, each in costs.items()})


_BODY = {
    "email": "person.1@load.example",
    "id": "u-1",
    "fields": {f"field{at}": f"value {at} of person 1, of some length" for at in range(6)},
}
_NUMBERS = itertools.count()  # never the same again: aiohttp remembers URLs
_BYTES = msgspec.json.encode(_BODY)


def _bare(session: aiohttp.ClientSession, url: Callable[[int], str], **options: Any) -> Call:
    async def call(number: int) -> None:
        async with session.put(url(number), data=_BYTES, **options) as answer:
            await answer.read()

    return call


async def _cost(way: Call) -> float:
    numbers = itertools.islice(_NUMBERS, CALLS)

    async def worker() -> None:
        for number in numbers:
            await way(number)

    gc.collect()  # or whoever is at its turn pays for the garbage of all
    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return (time.process_time() - began) / CALLS * 1e6


async def _until_it_answers(way: Call) -> None:
    while True:
        try:
            return await way(0)
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    for line in table(measure()):
        sys.stdout.write(f"{line}\n")
