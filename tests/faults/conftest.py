"""Hubs whose connectors call vendors on loopback that misbehave."""

import asyncio
import json

import pytest
import structlog
from tests.faults.invariants import rows_of
from tests.faults.vendor import HUB, connector, plugin

from esplanade import runtime
from esplanade.testing.clock import FakeClock

PATIENCE_S = 30.0


class Place:
    """A folder with a connectors.yaml, the plugin of its vendors and its store, and the hubs that run there."""

    def __init__(self, path):
        self.path = path
        self.hubs = []

    async def start(self, vendors, *, repeat="never", batch=False, clock=None, listen=False, hub=None, **keys):
        """Run a hub whose connectors bear the names of their vendors; ``keys`` are those of each connector."""
        if len(vendors) > 1:
            keys["triggers"] = {"order": {"fanout": True}, "cart": {"requires": "newsletter", "fanout": True}}
        (self.path / "vendor.py").write_text(plugin(repeat, batch=batch))
        content = {
            "hub": {**HUB, **(hub or {})},
            "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
            "connectors": {name: connector(vendor.origin, **keys) for name, vendor in vendors.items()},
        }
        (self.path / "connectors.yaml").write_text(json.dumps(content))
        started = await runtime.Hub.start(runtime.load(self.path / "connectors.yaml", {}), clock=clock, listen=listen)
        self.hubs.append(started)
        return started

    async def close(self):
        for hub in self.hubs:
            await hub.stop()


@pytest.fixture
def quiet():
    """Write no line for each of thousands of calls."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def place(tmp_path, quiet):
    place = Place(tmp_path)
    yield place
    async with asyncio.timeout(20):
        await place.close()


@pytest.fixture
def clock():
    return FakeClock()


async def later(hub, clock, seconds):
    """Be that much later while no call is under way, and have done what is due by then."""
    clock.set(clock.time() + seconds)
    async with asyncio.timeout(10):
        await hub.settled()


async def at_rest(hub, connector="vendor"):
    """Return once everything is folded, and a lane has nobody under way and waits for a moment to come."""
    lane = hub.connections[connector].outbound
    await hub._fold.caught_up()
    looks = 0
    while looks < 3:  # what the lane asked of the store before a look is done by the next one
        await hub.store.run(lambda _: None, durable=False)
        looks = 0 if lane._window._busy or lane._calls.finished or lane._woken.is_set() else looks + 1


async def calls_of(hub, vendor, *, enough=40):
    """How many calls the vendor has had once the hub leaves it alone; where it does not, at least ``enough`` more than before."""
    resting = asyncio.create_task(at_rest(hub))
    hammered = asyncio.create_task(vendor.heard(lambda _, most=vendor.calls + enough: vendor.calls >= most))
    async with asyncio.timeout(10):
        await asyncio.wait({resting, hammered}, return_when=asyncio.FIRST_COMPLETED)
    for task in (resting, hammered):
        task.cancel()
    await asyncio.gather(resting, hammered, return_exceptions=True)
    return vendor.calls


async def all_done(hub, connector="vendor"):
    """Return what became of everything, once nothing waits or is under way any more, now or later."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await hub.settled()
            rows = await hub.store.read(lambda reader: rows_of(reader, connector))
            if all(row.state in {"done", "parked", "dead"} for row in rows):
                return rows
            await asyncio.sleep(0.01)  # some wait for their next attempt
