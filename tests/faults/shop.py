"""A shop that speaks to a hub over HTTP: of each person in order, of all at once, and again whatever was not answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import aiohttp
from tests.faults.crashing import TOKEN
from tests.faults.story import Said

PATIENCE_S, POLL_S = 30.0, 0.01
AS_SHOP = {"Authorization": f"Bearer {TOKEN}"}


async def post(url: str, kind: str, body: Any) -> None:
    """Say one thing, or a list of things of a kind, to a hub that takes them."""
    async with (
        aiohttp.ClientSession(url, headers=AS_SHOP) as session,
        session.post(f"/v1/{kind}s", json=body) as answer,
    ):
        assert answer.status == 202, await answer.text()


async def knows(url: str, email: str) -> None:
    """Return once a hub has folded what was said of somebody; fails after a while."""
    async with aiohttp.ClientSession(url) as session, asyncio.timeout(PATIENCE_S):
        while True:
            async with session.get(f"/v1/people/{email}") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(POLL_S)


class Shop:
    """What it has to say, and how far it came."""

    def __init__(self, said: Sequence[Said]) -> None:
        self.said = list(said)
        self.taken = 0
        """How much was answered with 202; it is not said again."""
        self._left: dict[str, deque[Said]] = {}
        for each in said:
            self._left.setdefault(each.email, deque()).append(each)
        self._answered = asyncio.Event()

    @property
    def done(self) -> bool:
        """Whether all was taken."""
        return self.taken == len(self.said)

    async def tell(self, url: str) -> None:
        """Return once all was taken, or nobody answers any more."""
        if not url:
            return
        async with aiohttp.ClientSession(url, headers=AS_SHOP) as session:
            await asyncio.gather(*(self._tell(session, left) for left in self._left.values()))

    async def has_told(self, many: int) -> None:
        """Return once so much was taken."""
        async with asyncio.timeout(PATIENCE_S):
            while self.taken < many:
                self._answered.clear()
                await self._answered.wait()

    async def _tell(self, session: aiohttp.ClientSession, left: deque[Said]) -> None:
        while left:
            try:
                async with session.post(f"/v1/{left[0].kind}s", json=left[0].body()) as answer:
                    status, words = answer.status, await answer.text()
            except aiohttp.ClientError:
                return
            assert status == 202, words
            left.popleft()
            self.taken += 1
            self._answered.set()
