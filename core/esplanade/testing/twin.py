"""The base of every vendor's twin: a stateful HTTP program on loopback that behaves like the vendor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import aiohttp
from aiohttp import web
from msgspec import Struct, field

from esplanade.clock import Clock, SystemClock
from esplanade.model import AudienceTarget, ConsentTarget, TriggerTarget

from .faults import Fault

if TYPE_CHECKING:
    from .side import VendorSide

S = TypeVar("S", bound=Struct)
_USUAL = frozenset({"Host", "Accept", "Accept-Encoding", "User-Agent", "Content-Length", "Content-Type"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Headers = dict[str, str] | Callable[[], dict[str, str]]


class Furnishing(Struct, frozen=True, kw_only=True):
    """What must exist in the account before the hub can use it: what a connector's configuration points at."""

    fields: list[str] = field(default_factory=list)
    """The vendor's field names."""
    consents: dict[str, ConsentTarget] = field(default_factory=dict)
    audiences: dict[str, AudienceTarget] = field(default_factory=dict)
    triggers: dict[str, TriggerTarget] = field(default_factory=dict)


class Outgoing(Struct, frozen=True, kw_only=True):
    """One webhook that the twin would have sent."""

    method: str
    headers: dict[str, str]
    body: bytes


class Recorded(Struct, frozen=True, kw_only=True):
    """One request that the twin answered."""

    method: str
    path: str
    query: str
    body: bytes
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    """When it came, by the twin's clock."""


class Twin(Generic[S]):
    """One account at one vendor, in memory, as strict as the vendor.

    A plugin's twin sets ``name``, lists its ``routes`` and keeps its state in plain attributes. ``settings`` are those of the
    connector whose place it takes: the credentials in them are the only ones it accepts.
    """

    name: ClassVar[str]

    def __init__(self, settings: S, *, clock: Clock | None = None, faults: Iterable[Fault] = ()) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.faults = list(faults)
        self.requests: list[Recorded] = []
        self.keep_requests = False
        self.request_count = 0
        self.under_way = 0
        """How many requests have come and are not answered yet."""
        self.most_under_way = 0
        """How many there were at once at most."""
        self._arrived = asyncio.Event()
        self.hook_url: str | None = None
        """Where this vendor sends its webhooks, once the hub has told it."""
        self.origin = ""
        self._stopped = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._held_back = 0
        self.outbox: list[Outgoing] | None = None
        """Where webhooks are put instead of being sent; None: they are sent."""

    # What a plugin's twin says of itself.

    @classmethod
    def demo_settings(cls) -> S:
        """Settings for a twin that runs on its own, ``esplanade twin NAME``."""
        raise NotImplementedError

    def routes(self) -> Sequence[web.RouteDef]:
        """The vendor's API."""
        raise NotImplementedError

    def rewired(self, settings: S) -> S:
        """The same settings, pointed at this twin's origin. Called after ``start``."""
        raise NotImplementedError

    def furnish(self, furnishing: Furnishing) -> None:
        """Make what the configuration points at exist in the account."""

    def credentials(self) -> dict[str, Any]:
        """What ``esplanade twin`` prints beside the base URL, so that a connector can be pointed here."""
        raise NotImplementedError

    def side(self, furnishing: Furnishing) -> VendorSide[Any]:
        """The account as people at the vendor see it and work in it; what ``furnishing`` names is called as there."""
        raise NotImplementedError(f"the twin {self.name} has no side; override Twin.side")

    def snapshot(self) -> dict[str, Any]:
        """Everything the account holds, as JSON can hold it, in stable order: what tests and the demo compare."""
        raise NotImplementedError

    # Running it.

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the origin, such as ``http://127.0.0.1:40123``."""
        self._stopped.clear()
        app = web.Application(middlewares=[self._misbehave], client_max_size=64 * 1024 * 1024)
        app.add_routes(self.routes())
        app.router.add_get("/__twin__/snapshot", self._get_snapshot)
        app.router.add_put("/__twin__/hook", self._put_hook)
        app.router.add_post("/__twin__/faults", self._post_faults)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.origin = f"http://{host}:{bound}"
        return self.origin

    async def stop(self) -> None:
        """Close the listener, the webhooks under way and every connection."""
        self._stopped.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def open_connections(self) -> int:
        """How many connections callers hold open."""
        server = self._runner.server if self._runner is not None else None
        held = server.connections if isinstance(server, web.Server) else []
        return sum(each.transport is not None for each in held)

    async def reached(self, many: int) -> None:
        """Return once so many requests are under way."""
        while self.under_way < many:
            await self._arrived.wait()

    # Webhooks to the hub.

    def emit(
        self, body: bytes, headers: Headers | None = None, method: str = "POST", *, url: str | None = None
    ) -> None:
        """Send a webhook in the background, as the vendor would, and try again until it is taken or the twin stops.

        ``headers`` may be a function, for a vendor that signs each try anew.
        """
        if self.hook_url is None and url is None:
            return
        if self.outbox is not None:
            made = headers() if callable(headers) else headers or {}
            self.outbox.append(Outgoing(method=method, headers=made, body=body))
            return
        task = asyncio.get_running_loop().create_task(self._emit_until_taken(method, body, headers or {}, url=url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(
        self, body: bytes, headers: dict[str, str] | None = None, method: str = "POST", *, url: str | None = None
    ) -> int:
        """Send a webhook once, to ``hook_url`` or another URL that was registered, and return the hub's status."""
        where = url or self.hook_url
        if where is None:
            raise RuntimeError(f"twin {self.name}: no hook_url to send a webhook to")
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        async with self._client.request(method, where, data=body, headers=headers or {}) as answer:
            await answer.read()
            return answer.status

    def hold(self) -> None:
        """Keep webhooks back from now on, as a vendor does whose queue is slow."""
        self._may_send.clear()

    def release(self) -> None:
        """Send what was kept back, and what comes."""
        self._may_send.set()

    async def settled(self) -> None:
        """Return once no webhook is under way but those that are kept back."""
        await asyncio.sleep(0)  # those that were begun just now come as far as that
        while len(self._tasks) > self._held_back:
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def _emit_until_taken(self, method: str, body: bytes, headers: Headers, *, url: str | None = None) -> None:
        made = headers if callable(headers) else lambda: headers
        if not self._may_send.is_set():
            self._held_back += 1
            await self._may_send.wait()
            self._held_back -= 1
        delay = 0.05
        while True:
            try:
                if await self.send(body, made(), method, url=url) == 200:
                    return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await self.clock.sleep(delay)
            delay = min(delay * 2, 5.0)

    # Scripted faults, and the twin's own doors, which no vendor has.

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/__twin__/"):
            return await handler(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self._arrived.set()
        self._arrived = asyncio.Event()
        try:
            return await self._serve(request, handler)
        finally:
            self.under_way -= 1

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        at = self.clock.time()
        line = f"{request.method} {request.path_qs}"
        body = await request.read()
        fault = next((each for each in self.faults if each.hits(line)), None)
        if fault is not None and fault.delay_s:
            await self.clock.sleep(fault.delay_s)
        answer: web.StreamResponse | web.HTTPException
        try:
            answer = await self._answer(request, handler, fault)
        except web.HTTPException as refusal:  # there is no such call
            answer = refusal
        self.request_count += 1
        if self.keep_requests:
            self.requests.append(
                Recorded(
                    method=request.method,
                    path=request.path,
                    query=request.query_string,
                    body=body,
                    status=answer.status,
                    headers=dict(request.headers),
                    at=at,
                )
            )
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    async def _answer(self, request: web.Request, handler: Handler, fault: Fault | None) -> web.StreamResponse:
        if fault is None or fault.action == "pass":
            return await handler(request)
        if fault.action in {"after", "cut-after", "hang-after"}:
            answer = await handler(request)
            if fault.action == "after" and fault.status < 400 <= answer.status:
                return answer  # it did not act
        if fault.action in {"cut-before", "cut-after"}:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=500)
        if fault.action in {"hang", "hang-after"}:
            await self._stopped.wait()
            return web.Response(status=503)
        headers = {"Content-Type": "application/json", **fault.headers}
        body = await _quoted(request) if fault.echo else fault.body
        return web.Response(status=fault.status, headers=headers, body=body.encode())

    async def _get_snapshot(self, request: web.Request) -> web.Response:
        return web.json_response(self.snapshot())

    async def _put_hook(self, request: web.Request) -> web.Response:
        self.hook_url = (await request.json())["url"]
        return web.Response(status=204)

    async def _post_faults(self, request: web.Request) -> web.Response:
        import msgspec

        self.faults.extend(msgspec.json.decode(await request.read(), type=list[Fault]))
        return web.Response(status=204)


async def _quoted(request: web.Request) -> str:
    """A request as JSON that quotes its headers, what it calls, and its body."""
    headers = " ".join(f"{name}: {value};" for name, value in request.headers.items() if name not in _USUAL)
    body = (await request.read()).decode("utf-8", "replace")
    return json.dumps({"error": f"cannot take {headers} {request.method} {request.path_qs} {body}"})
