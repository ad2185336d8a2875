"""A vendor of benchmarks: takes people one by one or in bulk, after a while or at once, and says who came when.

Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
from aiohttp import web


class Vendor:
    """What has come in since the last reset."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.people = 0
        self.first = self.last = 0.0
        self.arrivals: dict[str, float] = {}
        self.keeps_arrivals = False

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_put("/people", self._one)
        app.router.add_post("/people/bulk", self._many)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/reset", self._reset)
        return app

    async def _one(self, request: web.Request) -> web.Response:
        person = msgspec.json.decode(await request.read())
        self._count(1)
        if self.keeps_arrivals:
            self.arrivals[person["key"]] = time.monotonic()
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return web.json_response({"accepted": 1})

    async def _many(self, request: web.Request) -> web.Response:
        people = msgspec.json.decode(await request.read())
        self._count(len(people))
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return web.json_response({"accepted": len(people)})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"people": self.people, "first": self.first, "last": self.last, "arrivals": self.arrivals}
        )

    async def _reset(self, request: web.Request) -> web.Response:
        self.people, self.first, self.last, self.arrivals = 0, 0.0, 0.0, {}
        self.keeps_arrivals = "arrivals" in request.query
        return web.Response(status=204)

    def _count(self, many: int) -> None:
        now = time.monotonic()
        self.first = self.first or now
        self.last = now
        self.people += many


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    web.run_app(Vendor(float(sys.argv[2])).app(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
