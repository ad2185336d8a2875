"""A server in the vendor's place that answers some requests as no vendor should, and hands on the others to its twin."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp
from aiohttp import web

Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

GIGABYTE = 1 << 30
CHUNK = b" " * (1 << 16)
NESTED = 100_000
HOPS = {"transfer-encoding", "content-length", "connection", "date", "server", "host"}
"""Headers that each of two connections has for itself."""


class Foe:
    """The server. ``answering`` says how it answers the requests that ``spoils`` picks, by method and path."""

    def __init__(self, origin: str) -> None:
        self.origin = ""
        self.answering: Answering | None = None
        self.spoils: Callable[[str, str], bool] = lambda _method, _path: True
        self.met = asyncio.Event()
        """Set once it has answered as no vendor should, or begun to."""
        self.most_sent = 0
        """How many bytes a caller took at most before it hung up."""
        self._there = origin
        self._stopped = asyncio.Event()
        self._client: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on loopback until the end of this."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{anything:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._client = aiohttp.ClientSession(auto_decompress=False)
        try:
            yield
        finally:
            self._stopped.set()
            await self._client.close()
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if self.answering is None or not self.spoils(request.method, request.path):
            return await self._hand_on(request)
        self.met.set()
        return await self.answering(request)

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        assert self._client is not None
        url, headers = f"{self._there}{request.path_qs}", _own(request.headers.items())
        body = await request.read() or None
        async with self._client.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            return web.Response(status=answer.status, headers=_own(answer.headers.items()), body=await answer.read())

    # How it answers.

    async def much(self, request: web.Request) -> web.StreamResponse:
        """A body of 1 GB that says so."""
        return await self._pour(request, {"Content-Length": str(GIGABYTE)}, GIGABYTE)

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """A body that goes on for as long as somebody listens."""
        return await self._pour(request, {}, None)

    async def stalling(self, request: web.Request) -> web.StreamResponse:
        """Half a body, and then nothing more."""
        answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"id": ')
        await self._stopped.wait()
        if request.transport is not None:
            request.transport.close()
        return answer

    async def bomb(self, request: web.Request) -> web.StreamResponse:
        """1 MB that is 1 GB once it is unpacked."""
        return web.Response(body=_bomb(), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})

    async def _pour(self, request: web.Request, headers: dict[str, str], size: int | None) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
        await answer.prepare(request)
        sent = 0
        try:
            while (size is None or sent < size) and not self._stopped.is_set():
                await answer.write(CHUNK)
                sent += len(CHUNK)
                self.most_sent = max(self.most_sent, sent)
        except ConnectionError:
            pass  # whoever asked has had enough
        return answer


def plain(body: bytes, kind: str = "application/json", **headers: str) -> Answering:
    """An answer with the status 200."""

    async def answering(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": kind, **headers})

    return answering


def refusing(status: int) -> Answering:
    """An answer without a body."""

    async def answering(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    return answering


def _bomb() -> bytes:
    """Gzip, but for its end, of 1 GB of blanks: one packed piece, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * (GIGABYTE >> 20)


def _own(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in HOPS}
