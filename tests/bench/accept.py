"""What taking one profile costs the event loop, beside a bare server that decodes it and answers 202.

Three servers, each in a process of its own, take turns under the same load: the bare one; the hub's application over a
store that has everything on disk at the next turn of the loop, which leaves the hub's own work; and the same over a real
SQLite file. Each says what its loop's thread has used, so only CPU time counts and the ratios of one run mean something.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from tests.bench.load import event, ingest
from tests.bench.processes import bare_app

from esplanade.clock import SystemClock
from esplanade.config.model import Config, Hub, Source
from esplanade.ingest.accept import Intake
from esplanade.observe.logging import configure
from esplanade.records import Answered, Entry
from esplanade.store.sqlite.store import SqliteStore
from esplanade.values import Secret
from esplanade.web.app import make_app, make_runner

ROUNDS = 7
REQUESTS = 3_000
ITEMS = 500
SERVERS = ("bare", "hub", "disk")


class Costs(msgspec.Struct, frozen=True):
    """Microseconds of CPU per request by server, on the loop's thread and on all of them; and per item of a large request."""

    loop: dict[str, float]
    process: dict[str, float]
    ratio: dict[str, float]
    """Of the loop's time to the bare server's, round by round, the median."""
    rate: dict[str, float]
    """Requests a second, likewise of the bare server's."""
    decode: float
    admit: float


async def measure() -> Costs:
    """All servers in turn, several times over."""
    async with _server("bare") as bare, _server("hub") as hub, _server("disk") as disk:
        urls = dict(zip(SERVERS, (bare, hub, disk), strict=True))
        for url in urls.values():
            await _round(url, 0)
        rounds = [{name: await _round(url, number) for name, url in urls.items()} for number in range(1, ROUNDS + 1)]
    decode, admit = _each_item()

    def middle(of: Callable[[dict[str, tuple[float, float, float]], str], float]) -> dict[str, float]:
        return {name: median(of(one, name) for one in rounds) for name in SERVERS}

    return Costs(
        loop=middle(lambda one, name: one[name][0]),
        process=middle(lambda one, name: one[name][1]),
        ratio=middle(lambda one, name: one[name][0] / one["bare"][0]),
        rate=middle(lambda one, name: one[name][2] / one["bare"][2]),
        decode=decode,
        admit=admit,
    )


def table(costs: Costs) -> list[str]:
    """The lines to print."""
    what = {
        "bare": "bare aiohttp server",
        "hub": "the hub over a store that is done at once",
        "disk": "the hub over SQLite, on disk before 202",
    }
    lines = [f"{'one profile a request':45} {'loop':>8}    {'all threads':>8}    {'loop':>5} {'rate':>5} of bare"]
    lines += [
        f"{words:45} {costs.loop[name]:8.1f} µs {costs.process[name]:8.1f} µs"
        f" {costs.ratio[name]:8.2f} {costs.rate[name]:5.2f}"
        for name, words in what.items()
    ]
    lines.append(f"{f'decoding each of {ITEMS} items, for comparison':45} {costs.decode:8.2f} µs")
    lines.append(
        f"{f'judging each of {ITEMS} items':45} {costs.admit:8.2f} µs {costs.admit / costs.decode:20.2f} of decoding"
    )
    return lines


async def _round(url: str, number: int) -> tuple[float, float, float]:
    """CPU a request on the loop and on all threads in microseconds, and requests a second."""
    before = await _used(url)
    rate = await ingest(f"{url}/v1/profiles", REQUESTS, first=number * REQUESTS)
    after = await _used(url)
    loop, process = ((then - first) / REQUESTS * 1e6 for first, then in zip(before, after, strict=True))
    return loop, process, rate


async def _used(url: str) -> tuple[float, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/cpu") as answer:
        loop, process = await answer.json()
        return loop, process


@asynccontextmanager
async def _server(name: str) -> AsyncIterator[str]:
    """One of the servers, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.accept", name, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


# What the servers' processes do.


class _Prompt:
    """A store that has everything on disk at the next turn of the loop."""

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        loop.call_soon(written.set_result, None)
        await written


class _Hub:
    """As much of a hub as taking events needs; what it takes counts as folded at once."""

    def __init__(self, store: Any) -> None:
        sources = {"shop": Source(token=Secret("dev"))}
        self.config = Config(path=Path("connectors.yaml"), hub=Hub(), sources=sources, connectors={})
        self.store = store
        self.clock = SystemClock()
        self.intake = Intake(store, self.clock, on_accepted=lambda _source, _kind, many: self.intake.folded(many))
        self.ready = True


async def _cpu(_: web.Request) -> web.Response:
    return web.json_response([time.thread_time(), time.process_time()])


async def _serve(name: str) -> None:
    """Serve one of them, say where, and stop once nobody listens any more."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "hub.db") if name == "disk" else _Prompt()
        app = bare_app() if name == "bare" else make_app(_Hub(store))  # type: ignore[arg-type]  # asked for nothing more
        app.router.add_get("/cpu", _cpu)
        runner = web.AppRunner(app, access_log=None) if name == "bare" else make_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await runner.cleanup()
        if isinstance(store, SqliteStore):
            await store.close()


def _each_item() -> tuple[float, float]:
    """Decoding and judging an item of a large request of people not seen before, the best of several."""
    intake = Intake(_Prompt(), SystemClock())  # type: ignore[arg-type]  # only judges here
    decoding, judging = [], []
    for number in range(10 * ROUNDS):
        items = [event(number * ITEMS + at) for at in range(ITEMS)]
        began = time.perf_counter()
        for item in items:
            msgspec.json.decode(item)
        between = time.perf_counter()
        admission = intake.admit("shop", "profile", items, may={"profile"})
        judging.append((time.perf_counter() - between) / ITEMS * 1e6)
        decoding.append((between - began) / ITEMS * 1e6)
        assert len(admission.entries) == ITEMS
    return min(decoding), min(judging)


if __name__ == "__main__":
    import uvloop

    configure("info", as_json=True)
    if sys.argv[1:]:
        uvloop.run(_serve(sys.argv[1]))
    else:
        for line in table(uvloop.run(measure())):
            sys.stdout.write(f"{line}\n")
