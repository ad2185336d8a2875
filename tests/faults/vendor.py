"""A vendor on loopback that misbehaves by script or by chance, and remembers what it was asked and what it acted on.

In the process of a test: ``async with running_vendor() as vendor``. On its own: ``python tests/faults/vendor.py``, which prints
its base URL as a line of JSON and runs until it is stopped; ``account_at`` reads from there what it remembers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct, field

from esplanade.connector import TriggerRepeat
from esplanade.testing.faults import Fault, load_faults
from esplanade.testing.twin import Twin

START = 1_750_000_000.0
"""The moment from which numbers count, in seconds: consent number 7 was said 7 seconds after it. No clock of a test lies before."""

PLUGIN = '''
from msgspec import Struct

from esplanade import *
from esplanade import hookimpl


class VendorSettings(Struct, frozen=True):
    base_url: str


class Vendor(Connector[VendorSettings]):
    """Tells the vendor of ``tests/faults/vendor.py`` everything."""

    manifest = Manifest(title="Vendor", vendor_api="1", owner="me", homepage="https://vendor.example")
    Settings = VendorSettings
    Consent = ConsentTarget
    Audience = AudienceTarget
    Trigger = TriggerTarget

    def endpoint(self):
        return Endpoint(base_url=self.settings.base_url)

    async def was_sent(self, event, ctx):
        answer = await ctx.http.get(f"/triggers/{event.trigger_id}")
        return answer.json()["sent"]

    def profile(self, event):
        joined, left = list(event.audiences.add), list(event.audiences.remove)
        return {"email": event.email, "seq": event.desired.get("Seq"), "fields": event.changed, "joined": joined, "left": left}

    def consent(self, event):
        at = event.said_at.timestamp()
        return {"email": event.email, "purpose": event.purpose, "state": event.state, "said_at": at}

    def trigger(self, event):
        return {"email": event.email, "seq": event.data.get("seq"), "trigger_id": event.trigger_id}
'''
"""A connector's plugin for this vendor, without its hooks."""
ONE_BY_ONE = """
    @hookimpl
    async def on_profile(self, event, ctx):
        await ctx.http.post("/profiles", json=self.profile(event), repeatable=True)
        return Outcome()

    @hookimpl
    async def on_consent(self, event, ctx):
        await ctx.http.post("/consents", json=self.consent(event), repeatable=True)
        return Outcome()

    @hookimpl
    async def on_trigger(self, event, ctx):
        await ctx.http.post("/triggers", json=self.trigger(event))
        return Outcome()
"""
MANY_AT_ONCE = """
    batch_items = 8

    @hookimpl
    async def on_profile_batch(self, events, ctx):
        answer = await ctx.http.post("/profiles", json=[self.profile(event) for event in events], repeatable=True)
        return [RESULTS[status]() for status in answer.json()["results"]]

    @hookimpl
    async def on_consent_batch(self, events, ctx):
        answer = await ctx.http.post("/consents", json=[self.consent(event) for event in events], repeatable=True)
        return [RESULTS[status]() for status in answer.json()["results"]]

    @hookimpl
    async def on_trigger_batch(self, events, ctx):
        answer = await ctx.http.post("/triggers", json=[self.trigger(event) for event in events])
        return [RESULTS[status]() for status in answer.json()["results"]]


RESULTS = {200: Outcome, 400: PermanentError, 429: RateLimited, 500: OutcomeUnknown, 503: TemporaryError}
"""


def plugin(repeat: TriggerRepeat = "never", *, batch: bool = False) -> str:
    """The text of a plugin: what it does with triggers in doubt, and whether it has a call for many at once."""
    return PLUGIN + f'\n    trigger_repeat = "{repeat}"\n' + (MANY_AT_ONCE if batch else ONE_BY_ONE)


def connector(base_url: str, **keys: Any) -> dict[str, Any]:
    """A connector of connectors.yaml whose plugin is ``./vendor.py``; it has no patience, so that a test takes no time."""
    return {
        "plugin": "./vendor.py",
        "settings": {"base_url": base_url},
        "fields": {"seq": "Seq", "town": "Town"},
        "consents": {"newsletter": {}, "service": {}},
        "audiences": {"vip": {}},
        "triggers": {"order": {}, "cart": {"requires": "newsletter"}},
        "pace": {"concurrency": 16},
        "retry": {"base": "1ms", "cap": "20ms"},
        "timeout": "150ms",
        "breaker": {"open": "10ms"},
        **keys,
    }


HUB = {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "drain_timeout": "2s", "egress": {"allow": ["127.0.0.0/8"]}}
"""The part ``hub`` of a connectors.yaml that may call vendors on loopback."""

# What it is asked, and what it remembers.


class Item(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is asked for one person."""

    email: str
    seq: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    purpose: str = ""
    state: str = ""
    said_at: float = START
    trigger_id: str = ""


class Consent(Struct, kw_only=True):
    """A purpose as the vendor holds it, and the number of what was said of it."""

    state: str
    seq: float


class Held(Struct, kw_only=True):
    """What the vendor holds of one person."""

    seq: float = 0
    fields: dict[str, Any] = field(default_factory=dict)
    audiences: list[str] = field(default_factory=list)
    consents: dict[str, Consent] = field(default_factory=dict)


class Line(Struct, kw_only=True):
    """One thing that the vendor was asked, alone or with others in one call."""

    call: int
    kind: Literal["profile", "consent", "trigger", "look-up"]
    email: str = ""
    seq: float | None = None
    """The number of what it is about; None: it has none, as a profile without a mapped field."""
    purpose: str = ""
    state: str = ""
    trigger_id: str = ""
    fault: str = ""
    """How the vendor misbehaved; empty: it did not."""
    acted: bool = False
    position: int = 0
    """Counts what was acted on, from 1; 0: it was not."""
    held: Held | None = None
    """What the vendor held of the person just before it acted."""


class Asked(Struct, kw_only=True):
    """One call."""

    items: list[tuple[Line, Item]]
    many: bool = False
    """Whether it is a call for many at once, each of which is answered."""


class Account(Struct, kw_only=True):
    """Everything the vendor remembers."""

    lines: list[Line] = field(default_factory=list)
    people: dict[str, Held] = field(default_factory=dict)

    def acted(self, kind: str | None = None) -> list[Line]:
        """What it acted on, in order: all, or all of a kind."""
        found = [line for line in self.lines if line.acted and kind in {None, line.kind}]
        return sorted(found, key=lambda line: line.position)

    def held(self, email: str) -> Held:
        return self.people.get(email, Held())


_asked: ContextVar[Asked] = ContextVar("asked")

# How it misbehaves.


class Stream(Fault, kw_only=True):
    """It acts if ``status`` is a success, and its answer comes in pieces: its own words first, then ``pieces`` times ``piece``.

    An answer that is encoded, as ``headers`` say, is the pieces alone.
    """

    status: int = 200
    piece: bytes = b" "
    pieces: int | None = 4
    """None: without end."""
    every_s: float = 0.0
    cut: bool = False
    """Whether the connection is cut instead of the answer being ended."""


Plan: TypeAlias = Callable[[Sequence[Line]], Fault | None]
"""Says how the vendor misbehaves over what one call asks; None: it does not."""

SOON = "0.01"
REFUSED = [Fault(status=400, body="no"), Fault(status=404), Fault(status=422)]
PATIENCE = [
    Fault(status=429),
    Fault(status=429, headers={"Retry-After": SOON}),
    Fault(status=429, headers={"Retry-After": "Thu, 01 Jan 2004 00:00:00 GMT"}),
    Fault(status=429, headers={"X-RateLimit-Reset": SOON}),
    Fault(status=503, headers={"Retry-After": SOON}),
]
BROKEN = [Fault(action=action, status=status) for action in ("before", "after") for status in (500, 502, 503, 504)]
LATER = [Fault(status=408), Fault(status=425)]
CUT: list[Fault] = [Fault(action="cut-before"), Fault(action="cut-after"), Stream(cut=True)]
SLOW: list[Fault] = [Stream(every_s=0.005), Stream(every_s=0.005, status=503, headers={"Retry-After": SOON})]
HANGS: list[Fault] = [Fault(action="hang"), Fault(action="hang-after"), Stream(pieces=None, every_s=0.05)]
FATES: list[tuple[list[Fault], float]] = [
    (REFUSED, 0.02), (PATIENCE, 0.06), (BROKEN, 0.12), (LATER, 0.02), (CUT, 0.08), (SLOW, 0.03), (HANGS, 0.01),
]  # fmt: skip
"""Every way in which it misbehaves, and the share of calls that each of these groups meets."""
ITEM_FATES = [(400, 0.02), (429, 0.03), (500, 0.03), (503, 0.05)]
"""The status of one item among many, and the share of items that meets it; at 500 it was acted on, now and then."""


class Chance:
    """Misbehaves by a seed: what is asked for the nth time always meets the same, in whatever order calls come."""

    def __init__(self, seed: int, fates: Sequence[tuple[list[Fault], float]] = FATES) -> None:
        self._seed = seed
        self._fates = fates
        self._asked: dict[str, int] = {}

    def __call__(self, lines: Sequence[Line]) -> Fault | None:
        """How the vendor misbehaves over a whole call."""
        if not lines:
            return None
        rng = self._dice("call", lines[0])
        groups, shares = [group for group, _ in self._fates], [share for _, share in self._fates]
        met = rng.choices([None, *groups], [1 - sum(shares), *shares])[0]
        return None if met is None else rng.choice(met)

    def item(self, line: Line) -> tuple[int, bool]:
        """The status of one item of a call for many, and whether it is acted on."""
        rng = self._dice("item", line)
        shares = [share for _, share in ITEM_FATES]
        status = rng.choices([200, *(status for status, _ in ITEM_FATES)], [1 - sum(shares), *shares])[0]
        return status, status == 200 or (status == 500 and rng.random() < 0.5)

    def _dice(self, what: str, line: Line) -> Random:
        key = f"{what} {line.kind} {line.email} {line.seq} {line.purpose} {line.trigger_id}"
        self._asked[key] = self._asked.get(key, 0) + 1
        return Random(f"{self._seed} {key} {self._asked[key]}")


def describe(fault: Fault) -> str:
    """A fault in two words."""
    return f"stream {fault.status}" if isinstance(fault, Stream) else f"{fault.action} {fault.status}"


class Vendor(Twin[Any]):
    """Keeps profiles and consents and sends what it is told to send; at first it is well.

    ``faults`` is a script; what it leaves alone is up to ``plan``. A fault that cuts, refuses or hangs ``before`` acts on nothing,
    and neither does a vendor whose caller is gone by the time it reads the request.
    """

    name = "faulty"

    def __init__(self, plan: Plan | None = None) -> None:
        super().__init__(None)
        self.plan = plan
        self.account = Account()
        self.calls = 0
        """How many requests came, look-ups among them."""
        self.open = asyncio.Event()
        """While it is not set, the vendor answers nobody, and acts only then."""
        self.open.set()
        self._positions = itertools.count(1)
        self._heard = asyncio.Event()

    def heal(self) -> None:
        """Be well from now on."""
        self.faults.clear()
        self.plan = None
        self.open.set()

    async def heard(self, holds: Callable[[Account], bool]) -> None:
        """Return once something holds of what it has heard; fails after 10 seconds."""
        async with asyncio.timeout(10):
            while not holds(self.account):
                self._heard.clear()
                await self._heard.wait()

    # What a twin tells of itself.

    def routes(self) -> Sequence[web.RouteDef]:
        posts = [web.post(f"/{kind}s", self._take) for kind in ("profile", "consent", "trigger")]
        return [*posts, web.get("/triggers/{id}", self._look_up)]

    def snapshot(self) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(self.account)
        return told

    # One request.

    async def _answer(self, request: web.Request, handler: Any, fault: Fault | None) -> web.StreamResponse:
        asked = self._hear(request, await request.read())
        _asked.set(asked)
        lines = [line for line, _ in asked.items]
        fault = fault or (self.plan(lines) if self.plan is not None else None)
        for line in lines:
            line.fault = describe(fault) if fault is not None else ""
        await self.open.wait()
        if request.transport is None or request.transport.is_closing():
            return web.Response(status=499)
        try:
            if isinstance(fault, Stream):
                return await self._stream(request, handler, fault)
            return await super()._answer(request, handler, fault)
        finally:
            self._heard.set()

    def _hear(self, request: web.Request, body: bytes) -> Asked:
        self.calls += 1
        if request.method == "GET":
            wanted = Item(email="", trigger_id=request.match_info["id"])
            asked = Asked(items=[(self._line("look-up", wanted), wanted)])
        else:
            kind, found = request.path.strip("/").removesuffix("s"), msgspec.json.decode(body, type=Item | list[Item])
            items = found if isinstance(found, list) else [found]
            asked = Asked(items=[(self._line(kind, item), item) for item in items], many=isinstance(found, list))
        self.account.lines += [line for line, _ in asked.items]
        self._heard.set()
        return asked

    def _line(self, kind: Any, item: Item) -> Line:
        seq = item.said_at - START if kind == "consent" else item.seq
        line = Line(call=self.calls, kind=kind, email=item.email, seq=seq, trigger_id=item.trigger_id)
        line.purpose, line.state = item.purpose, item.state
        return line

    async def _take(self, request: web.Request) -> web.Response:
        results, asked = [], _asked.get()
        for line, item in asked.items:
            status, acts = 200, True
            if asked.many and isinstance(self.plan, Chance):
                status, acts = self.plan.item(line)
            if acts:
                self._act(line, item)
            results.append(status)
        return web.json_response({"results": results})

    def _act(self, line: Line, item: Item) -> None:
        held = self.account.people.setdefault(item.email, Held())
        line.acted, line.position, line.held = True, next(self._positions), _copy(held)
        if line.kind == "profile":
            held.seq = held.seq if item.seq is None else item.seq
            held.fields.update(item.fields)
            held.audiences = sorted({*held.audiences, *item.joined} - set(item.left))
        elif line.kind == "consent":
            assert line.seq is not None
            held.consents[item.purpose] = Consent(state=item.state, seq=line.seq)

    async def _look_up(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        sent = any(line.trigger_id == wanted for line in self.account.lines if line.acted)
        return web.json_response({"sent": sent})

    async def _stream(self, request: web.Request, handler: Any, fault: Stream) -> web.StreamResponse:
        own = (await handler(request)).body if fault.status < 300 else b"later"
        if "Content-Encoding" in fault.headers:
            own = b""
        answer = web.StreamResponse(status=fault.status, headers=fault.headers)
        answer.enable_chunked_encoding()
        with contextlib.suppress(ConnectionError):  # the caller has had enough
            await answer.prepare(request)
            if own:
                await answer.write(own)
            for _ in itertools.count() if fault.pieces is None else range(fault.pieces):
                await asyncio.sleep(fault.every_s)
                await answer.write(fault.piece)
            if not fault.cut:
                await answer.write_eof()
            elif request.transport is not None:
                request.transport.close()
        return answer


def _copy(held: Held) -> Held:
    return msgspec.convert(msgspec.to_builtins(held), Held)


@contextlib.asynccontextmanager
async def running_vendor(plan: Plan | None = None, *, faults: Sequence[Fault] = ()) -> AsyncIterator[Vendor]:
    """A vendor that listens; its URL is ``origin``."""
    vendor = Vendor(plan)
    vendor.faults += faults
    await vendor.start()
    try:
        yield vendor
    finally:
        await vendor.stop()


async def account_at(base_url: str) -> Account:
    """What a vendor in another process remembers."""
    async with aiohttp.ClientSession() as session, session.get(f"{base_url}/__twin__/snapshot") as answer:
        return msgspec.json.decode(await answer.read(), type=Account)


async def main() -> None:
    """Run until a signal ends it."""
    arguments = argparse.ArgumentParser(description="run the vendor on its own")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--seed", type=int, help="misbehave by chance")
    arguments.add_argument("--faults", type=Path, help="misbehave by the script in this file")
    given = arguments.parse_args()
    vendor = Vendor(None if given.seed is None else Chance(given.seed))
    vendor.faults += [] if given.faults is None else load_faults(given.faults)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(json.dumps({"base_url": await vendor.start(port=given.port)}), flush=True)
    await stopped.wait()
    await vendor.stop()


if __name__ == "__main__":
    asyncio.run(main())
