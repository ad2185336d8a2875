"""How the hub is: for whoever watches over it. No token is asked, and nothing personal is told."""

from aiohttp import hdrs, web

from esplanade.views import standings

from .port import HubPort
from .problems import Problem


def operations(hub: HubPort) -> list[web.RouteDef]:
    """What to serve."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        if not hub.ready:
            raise Problem(503, "the hub is starting or stopping", kind="not-ready", headers={"Retry-After": "1"})
        return web.json_response({"status": "ok"})

    async def metrics(request: web.Request) -> web.Response:
        facts, now = hub.connectors(), hub.clock.time()
        found = await hub.store.read(lambda reader: standings(facts, reader, now))
        body, content_type = hub.metrics.exposition(found, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    return [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]
