"""An import into a vendor who allows few requests and many people in each: SmartEmailing's twin at its limits, by a fake clock."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from esplanade import runtime
from esplanade.testing import FakeClock

RATE = 4.0
"""Requests a second that the vendor allows on end (fact sheet, section 9)."""
BATCH = 500
"""People that one import of the vendor's takes."""
POSTED = 5_000
CONNECTOR: dict[str, Any] = {
    "plugin": "smartemailing",
    "twin": True,
    "webhooks": "manual",
    "settings": {"username": "demo@shop.example", "api_key": "demo-key-of-smartemailing"},
    "fields": {"firstname": "name", "city": "town", "tier": "loyalty_tier"},
    "consents": {"newsletter": {"list": 7, "purpose": 2}},
    "pace": {"rate": "4/s", "burst": 10, "daily": 100_000},
}


class Imported(Struct, frozen=True, kw_only=True):
    """What an import took: requests and seconds by the vendor's clock, seconds of this machine, and who is not there as said."""

    requests: int
    refused: int
    """Requests that the vendor found too many."""
    vendor_s: float
    machine_s: float
    lost: int

    @property
    def ideal_s(self) -> float:
        """The time that so many requests take at least, at the vendor's rate."""
        return self.requests / RATE


async def measure(people: int) -> Imported:
    """Say of each person their fields and a grant, and wait until the vendor holds both."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "connectors.yaml"
        content = {
            "hub": {"listen": "127.0.0.1:0", "store": "sqlite:bench.db"},
            "sources": {"shop": {"token": "dev"}},
            "connectors": {"smartemailing": CONNECTOR},
        }
        config.write_text(json.dumps(content), "utf-8")
        hub = await runtime.Hub.start(runtime.load(config, {}), clock=clock)
        try:
            return await _measured(hub, clock, people)
        finally:
            await hub.stop()


async def _measured(hub: runtime.Hub, clock: FakeClock, people: int) -> Imported:
    twin: Any = hub.connections["smartemailing"].twin
    began, before = time.monotonic(), clock.time()
    said = {f"person.{number}@load.example": f"Person {number}" for number in range(people)}
    everybody = list(said.items())
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer dev"}) as session:
        for start in range(0, people, POSTED):
            events = [_event(email, name) for email, name in everybody[start : start + POSTED]]
            async with session.post(f"{hub.url}/v1/profiles", json=events) as answer:
                assert answer.status == 202, await answer.text()
    while True:
        await hub.still()
        counts = await hub.store.read(lambda reader: reader.counts(clock.time()))
        if not sum(lane.due + lane.scheduled + lane.in_flight for lane in counts.values()):
            break
        await clock.advance(1 / RATE)
    held = twin.snapshot()["contacts"]
    lost = sum(not _is_held(held.get(email), name) for email, name in everybody)
    return Imported(
        requests=twin.request_count,
        refused=twin.gate.refused,
        vendor_s=clock.time() - before,
        machine_s=time.monotonic() - began,
        lost=lost,
    )


def _event(email: str, name: str) -> dict[str, Any]:
    fields = {"firstname": name, "city": "Brno", "tier": "gold"}
    return {"email": email, "fields": fields, "consents": {"newsletter": "granted"}}


def _is_held(contact: dict[str, Any] | None, name: str) -> bool:
    wanted = {"name": name, "town": "Brno", "loyalty_tier": "gold"}
    return contact is not None and contact["fields"] == wanted and contact["lists"] == {"7": "confirmed"}
