"""Ingest and delivery beside their limits. Prints one table; the ratios are what counts, the rates are this machine's."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from tests.bench import accept, fold
from tests.bench.load import event, ingest, rate
from tests.e2e.processes import free_port, start_hub

from esplanade import runtime
from esplanade.observe.logging import configure

EVENTS = 6_000
BULK = 20_000

PLUGIN = """
from esplanade import Connector, Endpoint, Manifest, Origin, Outcome, hookimpl
from msgspec import Struct


class Settings(Struct, frozen=True, kw_only=True):
    base_url: Origin


class Vendor(Connector[Settings]):
    manifest = Manifest(title="Vendor", vendor_api="1", owner="bench", homepage="https://vendor.example")
    Settings = Settings
    all_fields = True

    def endpoint(self):
        return Endpoint(base_url=self.settings.base_url)

    @hookimpl
    async def on_profile(self, event, ctx):
        await ctx.http.put("/people", json=event.desired)
        return Outcome()
"""

CONFIG = """
hub: {{listen: "127.0.0.1:{port}", store: "sqlite:bench.db", egress: {{allow: ["127.0.0.0/8"]}}}}
sources: {{shop: {{token: dev}}}}
connectors:
  vendor:
    plugin: ./vendor.py
    enabled: {enabled}
    settings: {{base_url: "http://127.0.0.1:{vendor}"}}
    pace: {{concurrency: 64}}
"""


async def bulk(url: str) -> float:
    """Profiles a second, 500 in a request."""
    headers = {"Authorization": "Bearer dev", "Content-Type": "application/x-ndjson"}
    bodies = [b"\n".join(event(start + at) for at in range(500)) for start in range(0, BULK, 500)]
    began = time.perf_counter()
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in bodies:
            async with session.post(url, data=body) as answer:
                assert answer.status == 202, await answer.text()
    return BULK / (time.perf_counter() - began)


async def deliver(folder: Path, vendor: int) -> float:
    """Deliveries a second of a stored backlog, in this process, to a vendor that answers at once."""
    (folder / "connectors.yaml").write_text(CONFIG.format(port=0, vendor=vendor, enabled="true"), "utf-8")
    loaded = runtime.load(folder / "connectors.yaml", os.environ)
    quiet = await runtime.Hub.start(loaded, listen=False, deliver=False)
    items = [event(number) for number in range(EVENTS)]
    admission = quiet.intake.admit("shop", "profile", items, may={"profile"})
    await quiet.intake.accept(admission.entries)
    await quiet.settled()
    await quiet.stop()
    hub = await runtime.Hub.start(loaded, listen=False)
    began = time.perf_counter()
    await hub.settled()
    took = time.perf_counter() - began
    await hub.stop()
    return EVENTS / took


async def client(vendor: int) -> float:
    """The limit of delivery: a bare client of 64 workers."""
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            async with session.put(f"http://127.0.0.1:{vendor}/people", data=event(number)) as answer:
                await answer.read()

        return await rate(one, EVENTS)


async def bench() -> None:
    """Measure everything in turn and print the table."""
    vendor = free_port()
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.processes", str(vendor))
    try:
        await _until_listening(vendor)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "vendor.py").write_text(PLUGIN, "utf-8")
            port = free_port()
            (folder / "connectors.yaml").write_text(CONFIG.format(port=port, vendor=vendor, enabled="false"), "utf-8")
            hub = await start_hub(folder / "connectors.yaml", port)
            limit = await ingest(f"http://127.0.0.1:{vendor}/v1/profiles", EVENTS)
            single = await ingest(f"{hub.url}/v1/profiles", EVENTS)
            many = await bulk(f"{hub.url}/v1/profiles")
            await hub.stop()
            for file in folder.glob("bench.db*"):
                file.unlink()
            bare = await client(vendor)
            delivered = await deliver(folder, vendor)
    finally:
        server.terminate()
        await server.wait()
    rows = [
        ("bare aiohttp server, one profile a request", limit, 1.0, "the limit of ingest"),
        ("ingest, one profile a request, on disk before 202", single, single / limit, "of the bare server"),
        ("ingest, 500 profiles a request, accepted", many, many / limit, "of the bare server"),
        ("bare aiohttp client, 64 workers", bare, 1.0, "the limit of delivery"),
        ("delivery of a stored backlog, vendor answers at once", delivered, delivered / bare, "of the bare client"),
    ]
    for what, speed, ratio, of in rows:
        sys.stdout.write(f"{what:55} {speed:10,.0f}/s  {ratio:6.2f} {of}\n")
    sys.stdout.write("\nbefore the answer, CPU time:\n")
    for line in accept.table(await accept.measure()):
        sys.stdout.write(f"{line}\n")
    costs = fold.measure()
    share = costs.changed / (1e6 / single + costs.changed)
    sys.stdout.write("\nbehind the answer, on the writer's thread:\n")
    for line in fold.table(costs):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{'the fold, of the time from a request to its fold':60} {share:8.0%}\n")


async def _until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


if __name__ == "__main__":
    import uvloop

    configure("error", as_json=True)
    uvloop.run(bench())
