"""The processes that a benchmark runs beside itself, so that the hub has a core of its own."""

from __future__ import annotations

import sys

import msgspec
from aiohttp import web


def bare_app() -> web.Application:
    """The limit of ingest: decodes a JSON body and answers 202, nothing else. Also the vendor that answers at once."""

    async def take(request: web.Request) -> web.Response:
        msgspec.json.decode(await request.read())
        return web.json_response({"accepted": 1}, status=202)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    return app


def bare_server(port: int) -> None:
    """Serve ``bare_app`` until ended."""
    web.run_app(bare_app(), host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    bare_server(int(sys.argv[1]))
