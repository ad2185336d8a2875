"""The limit of ingest, in a process of its own so that it has a core of its own."""

from __future__ import annotations

import os
import sys

import msgspec
from aiohttp import web


def bare_app() -> web.Application:
    """Decodes a JSON body and answers 202, nothing else."""

    async def take(request: web.Request) -> web.Response:
        msgspec.json.decode(await request.read())
        return web.json_response({"accepted": 1}, status=202)

    async def pid(_: web.Request) -> web.Response:
        return web.Response(text=str(os.getpid()))

    app = web.Application()
    app.router.add_get("/pid", pid)
    app.router.add_route("*", "/{path:.*}", take)
    return app


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    web.run_app(bare_app(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
