"""One store, whose hubs die one after the other while a shop speaks to them; then a last one that must make all good."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.conftest import all_done
from tests.faults.crashing import Life, Point, furnish
from tests.faults.cutting import cut_power
from tests.faults.invariants import Row, promises_are_kept, rows_of
from tests.faults.shop import Shop
from tests.faults.story import REQUIRES, Said
from tests.faults.vendor import Account, Stream, Vendor

from esplanade import runtime
from esplanade.connector import TriggerRepeat
from esplanade.errors import StoreError
from esplanade.store.locate import reading

FLAVOURS: dict[str, dict[str, Any]] = {
    "triggers that are never repeated": {"repeat": "never"},
    "triggers that are looked up": {"repeat": "check"},
    "triggers that may be repeated": {"repeat": "safe"},
    "batches": {"repeat": "never", "batch": True},
}
TIMEOUT = {"never": "20s", "check": "500ms", "safe": "20s"}
"""Of a call. So long after a crash the vendor is asked at the earliest whether it has acted."""


def days_of(name: str) -> list[Said]:
    """What is said of one person: who they are, an opt-in, triggers, a change, an opt-out, and a trigger that comes too late."""
    return [
        Said(kind="profile", name=name, seq=1),
        Said(kind="consent", name=name, seq=2, purpose="newsletter", state="granted"),
        Said(kind="trigger", name=name, seq=3, trigger="order"),
        Said(kind="profile", name=name, seq=4),
        Said(kind="trigger", name=name, seq=5, trigger="cart"),
        Said(kind="consent", name=name, seq=6, purpose="newsletter", state="denied"),
        Said(kind="trigger", name=name, seq=7, trigger="cart"),
        Said(kind="trigger", name=name, seq=8, trigger="order"),
    ]


SAID = [said for name in ("ada", "bob", "cyd") for said in days_of(name)]


class Trial:
    """A shop, a vendor that takes a moment for each answer, and the hubs between them."""

    def __init__(
        self,
        folder: Path,
        vendor: Vendor,
        said: Sequence[Said] = SAID,
        *,
        repeat: TriggerRepeat = "never",
        batch: bool = False,
    ) -> None:
        furnish(folder, vendor, repeat=repeat, batch=batch, timeout=TIMEOUT[repeat])
        vendor.plan = lambda _: Stream(every_s=0.002, pieces=1)
        self.shop = Shop(said)
        self.in_doubt: set[str] = set()
        """Triggers of which a dead hub had noted that it was about to send them, and not what came of it."""
        self._folder = folder
        self._vendor = vendor
        self._repeat = repeat

    async def live(self, point: Point) -> bool:
        """Let a hub take in and do what it can; whether it died at the point, and did not live to its end."""
        died = await self._live(point)
        await self._look()
        return died

    async def lose_power(self, point: Point, torn: Random | None = None) -> bool:
        """The same, and the power goes with it."""
        died = await self._live(point)
        await asyncio.to_thread(cut_power, self._folder, torn)
        await self._look()
        return died

    async def lose_power_once_told(self, many: int, torn: Random | None = None) -> None:
        """Let a hub take in so much, and do meanwhile what it can; then the power goes."""
        life = await Life.begin(self._folder)
        telling = asyncio.create_task(self.shop.tell(life.url))
        await self.shop.has_told(many)
        await life.kill()
        await telling
        await asyncio.to_thread(cut_power, self._folder, torn)
        await self._look()

    async def ends_well(self) -> list[Row]:
        """Let a hub finish, and fail unless every promise was kept. Returns what became of everything."""
        async with started(self._folder) as hub:
            await self.shop.tell(hub.url)
            rows = await all_done(hub)
        assert self.shop.done
        promises_are_kept(self.shop.said, self._vendor.account, rows, repeat=self._repeat)
        assert list(sent_without_consent(self.shop.said, self._vendor.account)) == []
        assert repeated(self._vendor.account) <= (self.in_doubt if self._repeat == "safe" else set())
        assert given_up(rows) == {(one, "outcome-unknown") for one in self.in_doubt if self._repeat == "never"}
        return rows

    async def _live(self, point: Point) -> bool:
        life = await Life.begin(self._folder, point)
        await self.shop.tell(life.url)
        return await life.end()

    async def _look(self) -> None:
        self.in_doubt |= await asyncio.to_thread(under_way, self._folder)


@asynccontextmanager
async def started(folder: Path, *, deliver: bool = True) -> AsyncIterator[runtime.Hub]:
    """A hub in this process, on what another one left."""
    hub = await runtime.Hub.start(runtime.load(folder / "connectors.yaml", {}), deliver=deliver)
    try:
        yield hub
    finally:
        await hub.stop()


def left_in(folder: Path) -> list[Row]:
    """The deliveries in the store of a dead hub. A copy is read, for to read it is to recover it."""
    with tempfile.TemporaryDirectory() as copy, suppress(StoreError, sqlite3.OperationalError):  # it died too young
        for file in folder.glob("hub.db*"):
            shutil.copy(file, copy)
        with reading("sqlite:hub.db", Path(copy)) as reader:
            return rows_of(reader)
    return []


def under_way(folder: Path) -> set[str]:
    """The triggers that are claimed in the store of a dead hub."""
    return {row.trigger_id for row in left_in(folder) if row.kind == "trigger" and row.state == "in_flight"}


def given_up(rows: Sequence[Row]) -> set[tuple[str, str | None]]:
    """What is kept for a person to decide on: its trigger or event, and why."""
    return {(row.trigger_id or row.event_id, row.reason) for row in rows if row.state != "done"}


def repeated(account: Account) -> set[str]:
    """The triggers on which a vendor acted more than once."""
    acted = [line.trigger_id for line in account.acted("trigger")]
    return {one for one in acted if acted.count(one) > 1}


def sent_without_consent(said: Sequence[Said], account: Account) -> Iterator[str]:
    """The triggers on which a vendor acted although the consent that they need was given neither before nor later."""
    triggers = {each.trigger_id: each for each in said if each.kind == "trigger"}
    for line in account.acted("trigger"):
        trigger = triggers[line.trigger_id]
        purpose = REQUIRES.get(trigger.trigger)
        about = [
            each for each in said if each.email == trigger.email and each.kind == "consent" and each.purpose == purpose
        ]
        states = [each.state for each in about if each.seq < trigger.seq][-1:]
        states += [each.state for each in about if each.seq > trigger.seq]
        if purpose and "granted" not in states:
            yield line.trigger_id
