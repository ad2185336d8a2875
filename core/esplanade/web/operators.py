"""What operators ask and order, for the command line and scripts: the operator API of CONTRACT section 4."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from esplanade.errors import DeliveryError, EventError, MissingMethodError, NoPublicUrl, PluginError
from esplanade.ingest.accept import IMPORT
from esplanade.model import KINDS
from esplanade.store.port import Reader
from esplanade.views import (
    MAX_PAGE,
    STATES,
    connectors_view,
    deliveries_view,
    delivery_filter,
    delivery_number,
    explain_view,
    nobody,
    one_delivery_view,
    person_view,
)

from .access import Doors
from .api import Events, Sender
from .body import read_body
from .port import HubPort
from .problems import Problem

R = TypeVar("R")
T = TypeVar("T", bound=Struct)
_Time = Annotated[datetime, Meta(tz=True)] | float | None


class ReplayIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries to send again."""

    ids: Annotated[list[str], Meta(max_length=10_000)] | None = None
    connector: str | None = None
    kind: str | None = None
    email: str | None = None
    reason: str | None = None
    since: _Time = None
    until: _Time = None
    force: bool = False


class PauseIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a connector is paused."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)] = "by hand"


class Operators:
    """The routes that need the admin token, or this machine."""

    def __init__(self, hub: HubPort, doors: Doors, events: Events) -> None:
        self._hub = hub
        self._doors = doors
        self._events = events

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        own = self._for_operators
        return [
            web.get("/v1/connectors", own(self._connectors)),
            web.get("/v1/people/{email}", own(self._person)),
            web.delete("/v1/people/{email}", own(self._erase)),
            web.get("/v1/people/{email}/explain", own(self._explain)),
            web.get("/v1/deliveries", own(self._deliveries)),
            web.get("/v1/deliveries/{id}", own(self._delivery)),
            web.post("/v1/deliveries/replay", own(self._replay)),
            web.post("/v1/import", own(self._import)),
            web.post("/v1/connectors/{name}/pause", own(self._pause)),
            web.post("/v1/connectors/{name}/resume", own(self._resume)),
            web.post("/v1/connectors/{name}/pull", own(self._pull)),
            web.post("/v1/connectors/{name}/discover", own(self._discover)),
            web.post("/v1/connectors/{name}/check", own(self._check)),
            web.post("/v1/connectors/{name}/webhooks", own(self._register)),
            web.delete("/v1/connectors/{name}/webhooks", own(self._unregister)),
        ]

    def _for_operators(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            self._doors.operator(request)
            try:
                return await handler(request)
            except EventError as why:
                raise Problem(422, why.message, kind="not-valid", path=why.path) from why

        return checked

    # What is.

    async def _connectors(self, request: web.Request) -> web.Response:
        _query(request)
        facts, now = self._hub.connectors(), self._hub.clock.time()
        return _json(await self._hub.store.read(lambda reader: connectors_view(facts, reader, now)))

    async def _person(self, request: web.Request) -> web.Response:
        _query(request)
        email = request.match_info["email"]
        return await self._one(email, lambda reader: person_view(reader, email))

    async def _explain(self, request: web.Request) -> web.Response:
        connector = _query(request, "connector").get("connector")
        email = request.match_info["email"]
        if connector is not None:
            self._known(connector)
        world, facts, now = self._hub.world, self._hub.connectors(), self._hub.clock.time()
        return await self._one(
            email, lambda reader: explain_view(reader, world, email, facts=facts, now=now, connector=connector)
        )

    async def _one(self, email: str, question: Callable[[Reader], dict[str, Any] | None]) -> web.Response:
        content = await self._hub.store.read(question)
        if content is None:
            raise Problem(404, await self._hub.store.read(lambda reader: nobody(reader, email)))
        return _json(content)

    async def _deliveries(self, request: web.Request) -> web.Response:
        asked = _query(request, "connector", "kind", "email", "state", "reason", "after", "limit")
        state = asked.pop("state", None)
        if state is not None and state not in STATES:
            raise EventError("$.state", f"no such state; give one of {', '.join(STATES)}")
        after = delivery_number(asked.pop("after", "0"), "$.after")
        limit = _limit(asked.pop("limit", "100"))
        wanted = delivery_filter(**asked)  # type: ignore[arg-type]  # what is left are its texts
        now = self._hub.clock.time()
        return _json(
            await self._hub.store.read(
                lambda reader: deliveries_view(reader, wanted, now=now, state=state, after=after, limit=limit)
            )
        )

    async def _delivery(self, request: web.Request) -> web.Response:
        _query(request)
        number, now = request.match_info["id"], self._hub.clock.time()
        found = await self._hub.store.read(lambda reader: one_delivery_view(reader, number, now=now))
        if found is None:
            raise Problem(404, f"there is no delivery {number}; it may be older than hub.retention")
        return _json(found)

    # What shall be.

    async def _replay(self, request: web.Request) -> web.Response:
        asked = await _body(request, ReplayIn)
        if asked.force and asked.ids is None:
            raise EventError("$.force", "goes with ids only, so that no mail is sent twice by accident")
        wanted = delivery_filter(
            ids=asked.ids,
            connector=asked.connector,
            kind=asked.kind,
            email=asked.email,
            reason=asked.reason,
            since=_seconds(asked.since),
            until=_seconds(asked.until),
        )
        if wanted.is_empty():
            raise EventError("$", "an empty filter means everything; say which deliveries to send again")
        return _json({"replayed": await self._hub.replay(wanted, force=asked.force)})

    async def _erase(self, request: web.Request) -> web.Response:
        _query(request)
        erased = await self._hub.erase(request.match_info["email"])
        if erased is None:
            raise Problem(404, "nobody with this address is known here")
        return _json(erased)

    async def _import(self, request: web.Request) -> web.Response:
        sender = Sender(source=IMPORT, kind="profile", may=KINDS, backfill=True, imported=True)
        return await self._events.take(request, sender)

    async def _pause(self, request: web.Request) -> web.Response:
        name = self._name(request)
        await self._hub.pause(name, (await _body(request, PauseIn)).reason)
        return await self._state_of(name)

    async def _resume(self, request: web.Request) -> web.Response:
        name = self._name(request)
        await self._hub.resume(name)
        return await self._state_of(name)

    async def _pull(self, request: web.Request) -> web.Response:
        return _json(await _asking(self._hub.pull(self._running(request))))

    async def _discover(self, request: web.Request) -> web.Response:
        return _json(await _asking(self._hub.discover(self._running(request))))

    async def _check(self, request: web.Request) -> web.Response:
        return _json(await _asking(self._hub.check(self._running(request))))

    async def _register(self, request: web.Request) -> web.Response:
        return _json(await _asking(self._hub.webhooks(self._running(request), remove=False)))

    async def _unregister(self, request: web.Request) -> web.Response:
        return _json(await _asking(self._hub.webhooks(self._running(request), remove=True)))

    def _name(self, request: web.Request) -> str:
        return self._known(request.match_info["name"])

    def _known(self, name: str) -> str:
        known = sorted(each.name for each in self._hub.connectors())
        if name not in known:
            raise Problem(404, f"there is no connector {name[:100]!r}; there are: {', '.join(known) or 'none'}")
        return name

    def _running(self, request: web.Request) -> str:
        name = self._name(request)
        facts = next(each for each in self._hub.connectors() if each.name == name)
        if facts.failure is not None or not facts.enabled:
            why = facts.failure or "it is disabled in connectors.yaml"
            raise Problem(409, f"{name} does not run: {why}", kind="not-running")
        return name

    async def _state_of(self, name: str) -> web.Response:
        facts, now = self._hub.connectors(), self._hub.clock.time()
        one = [each for each in facts if each.name == name]
        return _json(await self._hub.store.read(lambda reader: connectors_view(one, reader, now)["connectors"][0]))


async def _asking(question: Awaitable[R]) -> R:
    try:
        return await question
    except (MissingMethodError, NoPublicUrl) as why:
        raise Problem(409, str(why), kind="not-supported") from why
    except (DeliveryError, PluginError) as why:
        name = type(why).__name__
        retry_after_s = why.retry_after if isinstance(why, DeliveryError) else None
        raise Problem(502, f"{name}: {why}", error=name, retry_after_s=retry_after_s) from why


async def _body(request: web.Request, shape: type[T]) -> T:
    """A small JSON body; none means an empty object. Raises Problem 400, 413, 422."""
    raw = await read_body(request, 1024 * 1024) or b"{}"
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as why:
        what, _, path = str(why).partition(" - at ")
        raise EventError(path.strip("`") or "$", what) from why
    except (ValueError, RecursionError) as why:
        raise Problem(400, f"not JSON: {why}") from why


def _query(request: web.Request, *known: str) -> dict[str, str]:
    for name in request.query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise EventError("$", f"unknown query parameter {name[:100]!r}; this address takes: {allowed}")
    return dict(request.query)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and 0 < int(text) <= MAX_PAGE):
        raise EventError("$.limit", f"give a number from 1 to {MAX_PAGE}")
    return int(text)


def _seconds(at: datetime | float | None) -> float | None:
    return at.timestamp() if isinstance(at, datetime) else at


def _json(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")
