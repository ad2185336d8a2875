"""A hub as operators run it, with its vendors beside it, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from tests.bench.load import HEADERS, WORKERS, event, rate
from tests.e2e.processes import Running, free_port, start_hub, until

from esplanade import runtime

PLUGIN = """
from esplanade import Connector, ConsentTarget, Endpoint, Manifest, Origin, Outcome, hookimpl
from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True):
    base_url: Origin


class {name}(Connector[Settings]):
    manifest = Manifest(title="{name}", vendor_api="1", owner="bench", homepage="https://vendor.example")
    Settings = Settings
    Consent = ConsentTarget
    all_fields = True
    batch_items = 500

    def endpoint(self):
        return Endpoint(base_url=self.settings.base_url)

{hooks}
"""
SINGLE = """
    @hookimpl
    async def on_profile(self, event, ctx):
        await ctx.http.put("/people", json={"key": event.email, "fields": event.desired})
        return Outcome()

    @hookimpl
    async def on_consent(self, event, ctx):
        await ctx.http.put("/people", json={"key": f"{event.email} {event.state}"})
        return Outcome()
"""
BULK = """
    @hookimpl
    async def on_profile_batch(self, events, ctx):
        people = [{"key": event.email, "fields": event.desired} for event in events]
        await ctx.http.post("/people/bulk", json=people, repeatable=True)
        return [Outcome()] * len(events)
"""
CONNECTOR = """
  {name}:
    plugin: ./{plugin}.py
    settings: {{base_url: "http://127.0.0.1:{vendor}"}}
    consents: {{newsletter: {{}}}}
    pace: {pace}
"""


class House:
    """One hub and its vendors."""

    under: ClassVar[Sequence[str]] = ()
    """The command that starts the hub and watches it, if any."""

    def __init__(self, folder: Path, port: int, vendors: list[int], *, bulk: bool, pace: str) -> None:
        self.folder = folder
        self.vendors = [f"http://127.0.0.1:{vendor}" for vendor in vendors]
        self.names = [f"vendor{number}" for number in range(len(vendors))]
        self.hub: Running | None = None
        self._port = port
        self._session: aiohttp.ClientSession | None = None
        plugin = "bulk" if bulk else "single"
        hooks = BULK if bulk else SINGLE
        (folder / f"{plugin}.py").write_text(PLUGIN.format(name=plugin.title(), hooks=hooks), "utf-8")
        connectors = "".join(
            CONNECTOR.format(name=name, plugin=plugin, vendor=vendor, pace=pace)
            for name, vendor in zip(self.names, vendors, strict=True)
        )
        head = (
            f'hub: {{listen: "127.0.0.1:{port}", store: "sqlite:bench.db", egress: {{allow: ["127.0.0.0/8"]}}}}\n'
            "sources: {shop: {token: dev}}\nconnectors:"
        )
        self.config = folder / "connectors.yaml"
        self.config.write_text(head + connectors, "utf-8")

    @property
    def url(self) -> str:
        assert self.hub is not None
        return self.hub.url

    async def start(self) -> None:
        """Run the hub."""
        self.hub = await start_hub(self.config, self._port, under=self.under)
        self._session = aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORKERS))

    async def stop(self) -> None:
        """End the hub in order."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self.hub is not None:
            if self.under:  # whoever watches the hub ends with it, and has something to say then
                os.kill(self._pid(), signal.SIGTERM)
                await self.hub.process.wait()
            else:
                await self.hub.stop()
            self.hub = None

    def empty(self) -> None:
        """Forget everything; the hub must not run."""
        for file in self.folder.glob("bench.db*"):
            file.unlink()

    async def fill(self, people: int) -> None:
        """Leave a backlog of so many people in the store, for the next hub to deliver; no hub may run."""
        quiet = await runtime.Hub.start(runtime.load(self.config, os.environ), listen=False, deliver=False)
        for first in range(0, people, 5_000):
            items = [event(number) for number in range(first, min(first + 5_000, people))]
            admission = quiet.intake.admit("shop", "profile", items, may={"profile"}, backfill=True)
            await quiet.intake.accept(admission.entries)
            await quiet.settled()
        await quiet.stop()

    # What goes in.

    async def post(self, kind: str, body: Any) -> None:
        """One request of the shop."""
        assert self._session is not None
        async with self._session.post(f"{self.url}/v1/{kind}", data=body) as answer:
            assert answer.status == 202, await answer.text()
            await answer.read()

    async def singles(self, many: int, first: int = 0) -> float:
        """One profile a request from all workers; requests a second."""
        return await rate(lambda number: self.post("profiles", event(number)), many, first=first)

    async def order(self, connector: str, what: str) -> None:
        """Pause or resume a connector."""
        assert self._session is not None
        async with self._session.post(f"{self.url}/v1/connectors/{connector}/{what}") as answer:
            assert answer.status == 200, await answer.text()

    # What comes out.

    async def queued(self) -> int:
        """How many deliveries wait, in all connectors."""
        assert self._session is not None
        async with self._session.get(f"{self.url}/v1/connectors") as answer:
            rows = (await answer.json())["connectors"]
        return sum(row["queue"][state] for row in rows for state in ("due", "scheduled", "in_flight"))

    async def until_queued(self, many: int) -> None:
        """Return once so many deliveries wait."""

        async def reached() -> bool:
            return await self.queued() >= many

        await until(reached)

    async def until_delivered(self, many: int, patience_s: float = 600.0) -> list[dict[str, Any]]:
        """Return once each vendor has so many people: what they say."""
        async with asyncio.timeout(patience_s):
            while True:
                said = [await self.said(vendor) for vendor in self.vendors]
                if all(each["people"] >= many for each in said):
                    return said
                await asyncio.sleep(0.1)

    async def said(self, vendor: str) -> dict[str, Any]:
        """What one vendor says of itself."""
        async with aiohttp.ClientSession() as session, session.get(f"{vendor}/stats") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def reset(self, *, arrivals: bool = False) -> None:
        """Let the vendors begin to count anew."""
        async with aiohttp.ClientSession() as session:
            for vendor in self.vendors:
                async with session.post(f"{vendor}/reset{'?arrivals' if arrivals else ''}"):
                    pass

    # What it costs.

    def cpu_s(self) -> float:
        """The CPU time that the hub has used, on all its threads."""
        return cpu_s(self._pid())

    def resident_bytes(self) -> int:
        """The memory that the hub holds."""
        pages = int(Path(f"/proc/{self._pid()}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _pid(self) -> int:
        assert self.hub is not None
        pid = self.hub.process.pid
        if self.under:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()[0])
        return pid


@asynccontextmanager
async def house(
    *, vendors: int = 1, delay_s: float = 0.0, bulk: bool = False, pace: str = "{concurrency: 64}"
) -> AsyncIterator[House]:
    """A house whose hub is not started yet."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = [await stack.enter_async_context(process("tests.bench.vendor", str(delay_s))) for _ in range(vendors)]
        made = House(folder, free_port(), ports, bulk=bulk, pace=pace)
        stack.push_async_callback(made.stop)
        yield made


@asynccontextmanager
async def process(module: str, *arguments: str) -> AsyncIterator[int]:
    """A server in a process of its own; its port, once it listens."""
    port = free_port()
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(port), *arguments)
    try:

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listens)
        yield port
    finally:
        running.terminate()
        await running.wait()


def cpu_s(pid: int) -> float:
    """The CPU time of a process on all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fsync_s(folder: Path, times: int = 200) -> list[float]:
    """How long the disk takes to keep 4 KiB: what no durable answer can be faster than."""
    took = []
    with (folder / "probe").open("wb") as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)
