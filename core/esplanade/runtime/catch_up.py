"""Telling a connector that is enabled again what it has missed: nothing is queued for one that is disabled."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from esplanade.clock import Clock
from esplanade.config.model import Config, ConnectorConfig
from esplanade.connector import Traits
from esplanade.context import Log
from esplanade.errors import StoreError
from esplanade.ingest.changes import Chain, work
from esplanade.ingest.fold import BUDGET_S
from esplanade.ingest.retire import move_on, retire
from esplanade.ingest.world import World
from esplanade.records import Delivery, Note, Person, Remote, Urgency
from esplanade.store.port import Store, Unit
from esplanade.sync import contacts
from esplanade.sync.plan import Send, is_urgent_denial, plan

from .tasks import Tasks

JOB = "catch-up"
"""The cursor of this name says behind which person to go on; a connector has one as long as it may have missed something."""
LISTENING = "listening"
"""Under this key are the connectors that the fold last queued work for."""
CHUNK = 50
RETRY_S = 5.0


class Part(Struct, kw_only=True):
    """What came of comparing some of the people whom a vendor holds."""

    compared: int = 0
    differ: int = 0
    failed: list[str] = field(default_factory=list)


class CatchUp:
    """Remembers which connectors are told nothing, and compares everybody whom their vendors hold once they are back."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        log: Log,
        tasks: Tasks,
        world: Callable[[], World],
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._tasks = tasks
        self._world = world
        self._running: set[asyncio.Task[Any]] = set()

    async def mark(self, config: Config) -> None:
        """Remember who misses what comes from now on. To be called before anything is folded under this configuration.

        What is under way is broken off, to be begun again: a connector that misses more has to be compared from the start.
        """
        for task in self._running:
            task.cancel()
        await self.done()
        enabled = {connector.name for connector in config.connectors.values() if connector.enabled}
        await self._store.run(partial(_mark, enabled=enabled, named=set(config.connectors)))

    async def again(self, connector: str, lost: list[str]) -> None:
        """Compare everybody whom a vendor holds: of these fields it holds nothing any more, whatever it was told."""
        await self._store.run(partial(_mark_lost, connector=connector, lost=lost))
        self.begin([connector])

    def begin(self, connectors: Iterable[str]) -> None:
        """Go through what those that run have missed, behind all that is urgent."""
        for name in connectors:
            task = self._tasks.spawn(self._run(name))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def done(self) -> None:
        """Return once nothing is under way."""
        if self._running:
            await asyncio.wait(self._running)

    async def _run(self, name: str) -> None:
        compared = differ = 0
        while True:
            try:
                part = await self._store.run(partial(self._compare, name=name), durable=False)
            except StoreError as problem:
                self._log.error("catch_up_failed", connector=name, error=str(problem))
                await self._clock.sleep(RETRY_S)
                continue
            if part is None:
                break
            compared, differ = compared + part.compared, differ + part.differ
            for why in part.failed:
                self._log.error("catch_up_failed", connector=name, error=why)
        if compared:
            self._log.info("caught_up", connector=name, compared=compared, differ=differ)

    def _compare(self, unit: Unit, name: str) -> Part | None:
        """The next few people; None: it is through. The cursor moves in the same transaction."""
        began = time.monotonic()
        cursor = unit.cursor(name, JOB)
        if cursor is None:
            return None
        held = unit.held_by(name, after=int(cursor), limit=CHUNK)
        if not held:
            unit.set_cursor(name, JOB, None)
            unit.set_meta(_lost_key(name), "[]")
            return None
        lost = _lost(unit, name)
        world, part = self._world(), Part()
        for remote in held:
            if lost:
                _forget(unit, remote, lost)
            problem = unit.attempt(partial(self._compare_one, unit, world, remote, part))
            if problem is not None:
                part.failed.append(f"p-{remote.person}: {type(problem).__name__}")
            part.compared += 1
            unit.set_cursor(name, JOB, str(remote.person))
            if time.monotonic() - began > BUDGET_S:
                break
        return part

    def _compare_one(self, unit: Unit, world: World, remote: Remote, part: Part) -> None:
        person = unit.person(remote.person)
        if person is None or not person.email:  # merged into somebody else, or known by the CDP's id only
            return
        connector, traits = world.connector(remote.connector), world.trait(remote.connector)
        if tell_difference(unit, person, remote, connector, traits, self._clock.time()):
            part.differ += 1


def tell_difference(
    unit: Unit, person: Person, remote: Remote, connector: ConnectorConfig, traits: Traits, now: float
) -> bool:
    """Queue what a vendor must be told of a person so that it holds what the hub holds, and note it; False: it does already."""
    event_id = f"e-{os.urandom(16).hex()}"
    chain = Chain(root=event_id, hops=0, event_id=event_id, now=now)
    differs = move_on(unit, person, remote, connector, traits, chain)
    if not differs:
        for kind, subject in _differing(person, remote, connector, traits, now):
            denial = kind == "consent" and is_urgent_denial(person, connector, subject)
            unit.enqueue_state(
                work(connector.name, kind, person, subject, Urgency.OPT_OUT if denial else Urgency.BACKFILL, chain)
            )
            differs = True
    if traits.address_change != "merge":  # there the profile itself tells of a former address
        for contact in remote.former:
            differs = retire(unit, person, connector, contact, chain) or differs
    if differs:
        detail = "the vendor holds something else than the hub: seen when the connector was enabled again"
        unit.note(
            Note(person=person.id, at=now, what="accepted", connector=connector.name, event_id=event_id, detail=detail)
        )
    return differs


def _differing(
    person: Person, remote: Remote, connector: ConnectorConfig, traits: Traits, now: float
) -> Iterator[tuple[str, str]]:
    """The kind and subject of all work that would lead to a call now. Who was never told of stays so."""
    if not contacts.is_known(remote):
        return
    probes = [Delivery(id=0, lane=connector.name, kind="consent", subject=name) for name in sorted(connector.consents)]
    if remote.email is not None:
        probes.insert(0, Delivery(id=0, lane=connector.name, kind="profile"))
    for probe in probes:
        if probe.kind not in connector.receives:
            continue
        if isinstance(plan(probe, person, remote, connector, traits=traits, now=now), Send):
            yield probe.kind, probe.subject


def _forget(unit: Unit, remote: Remote, lost: list[str]) -> None:
    for name in lost:
        remote.fields.pop(name, None)
        remote.rejected.pop(name, None)
    unit.save_remote(remote)


def _lost_key(connector: str) -> str:
    return f"lost-fields:{connector}"


def _lost(unit: Unit, connector: str) -> list[str]:
    return msgspec.json.decode(unit.meta(_lost_key(connector)) or "[]", type=list[str])


def _mark_lost(unit: Unit, *, connector: str, lost: list[str]) -> None:
    unit.set_meta(_lost_key(connector), msgspec.json.encode(sorted({*lost, *_lost(unit, connector)})).decode())
    unit.set_cursor(connector, JOB, "0")


def _mark(unit: Unit, *, enabled: set[str], named: set[str]) -> None:
    kept = unit.meta(LISTENING)
    before: set[str] = set(msgspec.json.decode(kept, type=list[str])) if kept is not None else set()
    for name in (before | named) - enabled:
        unit.set_cursor(name, JOB, "0")
    unit.set_meta(LISTENING, msgspec.json.encode(sorted(enabled)).decode())
