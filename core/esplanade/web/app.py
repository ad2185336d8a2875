"""The hub's HTTP application, and the server around it that answers problems even to what is not HTTP."""

import time
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from esplanade.errors import StoreError

from .access import Doors
from .api import Events
from .inbound import Hooks
from .operators import Operators
from .port import HubPort
from .problems import HEADERS, Problem, of_http, of_store

_log = structlog.get_logger("esplanade.web")
_API_HEADERS = {**HEADERS, "Cache-Control": "no-store"}


def make_app(hub: HubPort) -> web.Application:
    """Everything the hub serves. Run it with ``make_runner``."""
    doors = Doors(hub)
    events = Events(hub, doors)
    app = web.Application(middlewares=[_answering_problems()])
    app.add_routes(events.routes())
    app.add_routes(Hooks(hub).routes())
    app.add_routes(Operators(hub, doors, events).routes())
    app.add_routes(_health(hub))
    return app


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """A runner that leaves bodies as they came, logs no addresses, and never answers in HTML or plain text."""
    return _Runner(app, access_log=None, auto_decompress=False, **options)


def _health(hub: HubPort) -> list[web.RouteDef]:
    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        if not hub.ready:
            raise Problem(503, "the hub is starting or stopping", kind="not-ready", headers={"Retry-After": "1"})
        return web.json_response({"status": "ok"})

    return [web.get("/healthz", alive), web.get("/readyz", ready)]


def _answering_problems() -> Middleware:
    log = _log.bind()  # once: an unbound logger binds anew for every line, written or not

    @web.middleware
    async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            answer = await handler(request)
        except Problem as problem:
            answer = problem.response()
        except web.HTTPException as error:
            answer = of_http(error).response()
        except StoreError as error:
            answer = of_store(error).response()
        except Exception:
            log.exception("request failed", route=_route(request), method=request.method)
            answer = Problem(500, "an unexpected error; the hub's log has it").response()
        answer.headers.update(_API_HEADERS if request.path.startswith("/v1/") else HEADERS)
        if answer.status == 413:
            answer.force_close()
        took_ms = (time.perf_counter() - began) * 1000
        log.debug("request", method=request.method, route=_route(request), status=answer.status, took_ms=took_ms)
        return answer

    return answer_problems


def _route(request: web.Request) -> str:
    """The template of the path, which holds nobody's address and no key."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


class _Protocol(web.RequestHandler):
    """Answers a problem where the library would answer plain text: to what is not HTTP, and when all else failed."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            _log.error("request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        detail = "this is not well-formed HTTP" if status < 500 else "an unexpected error; the hub's log has it"
        answer = Problem(status, detail).response()
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # raised before any middleware: an Expect that nobody can meet
            resp = of_http(resp).response()
        return await super().finish_response(request, resp, start_time)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
