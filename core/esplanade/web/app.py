"""The hub's HTTP application, and the server around it that answers problems even to what is not HTTP."""

import logging
import time
from collections.abc import Coroutine
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from esplanade.errors import StoreError

from .access import Doors
from .api import Events
from .inbound import Hooks
from .operations import operations
from .operators import Operators
from .port import HubPort
from .problems import API_HEADERS, HEADERS, Problem, of_http, of_store

_log = structlog.get_logger("esplanade.web")


def make_app(hub: HubPort) -> web.Application:
    """Everything the hub serves. Run it with ``make_runner``."""
    doors = Doors(hub)
    events = Events(hub, doors)
    routes = [*events.routes(), *Hooks(hub).routes(), *Operators(hub, doors, events).routes(), *operations(hub)]
    answers = _Answers()
    app = web.Application()
    app.add_routes([web.route(each.method, each.path, answers.of(each.handler), **each.kwargs) for each in routes])
    return app


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """A runner that leaves bodies as they came, logs no addresses, and never answers in HTML or plain text."""
    return _Runner(app, access_log=None, auto_decompress=False, **options)


class _Answers:
    """What a sender hears, whatever a handler does. Put around each handler: a middleware is threaded anew per request."""

    def __init__(self) -> None:
        self._log = _log.bind()  # once: an unbound logger binds anew for every line, written or not

    def of(self, handler: Handler) -> Handler:
        """A handler that raises nothing, and is noted in the log."""

        async def answering(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            try:
                answer = await handler(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the sender hears of it
                answer = self._problem(request, error).response()
            if self._log.is_enabled_for(logging.DEBUG):
                self._note(request, answer, began)
            return answer

        return answering

    def _problem(self, request: web.Request, error: Exception) -> Problem:
        match error:
            case Problem():
                return error
            case web.HTTPException():
                return of_http(error)
            case StoreError():
                return of_store(error)
            case _:
                self._log.exception("request failed", route=_route(request), method=request.method)
                return Problem(500, "an unexpected error; the hub's log has it")

    def _note(self, request: web.Request, answer: web.StreamResponse, began: float) -> None:
        took_ms = (time.perf_counter() - began) * 1000
        self._log.debug("request", method=request.method, route=_route(request), status=answer.status, took_ms=took_ms)


def _route(request: web.Request) -> str:
    """The template of the path, which holds nobody's address and no key."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


async def listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Serve from now on. Returns the origin, with the port that was found where 0 was asked for. Raises OSError."""
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    at, number = runner.addresses[0][:2]
    return f"http://[{at}]:{number}" if ":" in at else f"http://{at}:{number}"


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

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if hdrs.SERVER not in resp.headers:
            if isinstance(resp, web.HTTPException):  # of no handler of ours: no such route, an Expect nobody can meet
                resp = of_http(resp).response()
                _log.debug("request", method=request.method, route="unknown", status=resp.status)
            resp.headers.update(API_HEADERS if request.path.startswith("/v1/") else HEADERS)
        return super().finish_response(request, resp, start_time)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
