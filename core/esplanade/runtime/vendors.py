"""Erasing a person at the vendors, once the hub itself has: each connector by itself, and none for longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from esplanade.connector import methods_of
from esplanade.context import Log
from esplanade.delivery.verdict import words
from esplanade.errors import (
    DeliveryError,
    EsplanadeError,
    MissingMethodError,
    PermanentError,
    PluginError,
    PluginLoadError,
    TemporaryError,
)
from esplanade.http import redact
from esplanade.model import PersonRef, Report
from esplanade.web.port import Certified

from . import certificate
from .certificate import Asked, Known
from .connection import GRACE_S, Connection, asked
from .load import Loaded

R = TypeVar("R")

SETTLE_S = 1.0
"""So much longer than a call may take is waited for its end: a lane looks only now and then whether one is overdue."""
STILL_THERE = "the vendor says that it is erased, and still shows it"


class Vendors:
    """Asks the vendors to erase somebody, and certifies what they answered."""

    def __init__(
        self,
        loaded: Callable[[], Loaded],
        connection: Callable[[str], Awaitable[Connection]],
        log: Log,
    ) -> None:
        self._loaded = loaded
        self._connection = connection
        self._log = log
        self._turns: dict[str, asyncio.Lock] = {}

    async def erase(self, known: Known, known_at: Iterable[str]) -> list[Certified]:
        """What became of a person at every vendor; those named in ``known_at`` may know them, the others do not."""
        at = set(known_at)
        names = sorted({*self._loaded().config.connectors, *at})
        return list(await asyncio.gather(*[self._at(name, known, may_know=name in at) for name in names]))

    async def _at(self, name: str, known: Known, *, may_know: bool) -> Certified:
        if not may_know:
            found = Certified(connector=name, result="not-found", detail=certificate.NEVER)
        else:
            try:
                found = await self._asked(await self._eraser(name), known)
            except MissingMethodError as why:
                todo = certificate.by_hand(known, name)
                found = Certified(connector=name, result="unsupported", detail=f"{todo}: {why}")
            except PluginError as why:
                found = certificate.not_asked(name, redact(str(why)), known)
        told = self._log.warning if found.result == "failed" else self._log.info
        told("erased_at_vendor", person=known.name, connector=name, result=found.result)
        return found

    async def _eraser(self, name: str) -> Connection:
        """The connection of one that can erase. Raises MissingMethodError where it cannot, PluginError where it does not run."""
        config = self._loaded().config.connectors.get(name)
        if config is None:
            raise MissingMethodError("the connector is no longer in connectors.yaml")
        plugin = self._loaded().plugins[config.plugin]
        if not isinstance(plugin, PluginLoadError) and "erase" not in methods_of(plugin):
            raise MissingMethodError(f"the plugin {config.plugin} cannot do it")
        return await self._connection(name)

    async def _asked(self, connection: Connection, known: Known) -> Certified:
        """Ask about every contact, one after the other; what fails with one is no reason to leave the others."""
        name = connection.config.name
        erased: list[Asked] = []
        missing: list[Asked] = []
        left: list[tuple[Asked, str]] = []
        async with self._turns.setdefault(name, asyncio.Lock()):
            quiet = await _calls_ended(connection, {known.person, *known.lineage})
            for one in certificate.contacts(known, name):
                try:
                    (erased if await _erased(connection, one) else missing).append(one)
                except (EsplanadeError, TimeoutError) as problem:
                    left.append((one, _told_of(problem, connection)))
                else:
                    if not quiet:
                        left.append((one, "a call for this person has not ended, and may make it anew"))
        if left:
            return certificate.failed(name, left, erased)
        return certificate.answered(name, erased, missing)


async def _calls_ended(connection: Connection, people: set[int]) -> bool:
    """Whether all calls for a person have ended. None is begun any more: the hub no longer knows them."""
    try:
        async with asyncio.timeout(connection.config.timeout + GRACE_S + SETTLE_S):
            await connection.outbound.calls_ended(people)
    except TimeoutError:
        return False
    return True


async def _erased(connection: Connection, one: Asked) -> bool:
    """Have one contact erased and see that it is; whether there was one. Raises DeliveryError, PluginError, TimeoutError."""
    ref = one.ref
    by_address = PersonRef(person=ref.person, email=ref.email)
    found = await _erase(connection, ref)
    if not one.by_address:
        return found
    is_there = await _is_there(connection, by_address)
    if ref.remote_id is not None and (is_there or not found):  # it may have another id by now, or not be the only one
        found = await _erase(connection, by_address) or found
        is_there = await _is_there(connection, by_address)
    if is_there:
        raise PermanentError(STILL_THERE)
    return found


async def _is_there(connection: Connection, by_address: PersonRef) -> bool:
    """Whether the vendor still has somebody with an address, as far as it can be read."""
    if not connection.traits.can_fetch:
        return False
    try:
        report = await _within(connection, lambda: connection.plugin.fetch(by_address, connection.ctx))
    except DeliveryError as problem:
        raise TemporaryError(f"the vendor took it, and could not be read back: {words(problem)}") from problem
    return isinstance(report, Report) and not report.deleted


async def _erase(connection: Connection, ref: PersonRef) -> bool:
    found: object = await _within(connection, lambda: connection.plugin.erase(ref, connection.ctx))
    if not isinstance(found, bool):
        raise PluginError(f"erase must return True or False, not {type(found).__name__}")
    return found


async def _within(connection: Connection, method: Callable[[], Awaitable[R]]) -> R:
    """Have a plugin's method called and answered in time; one that is not async may raise as soon as it is called."""

    async def answer() -> R:
        return await method()

    async with asyncio.timeout(connection.config.timeout + GRACE_S):
        return await asked(answer())


def _told_of(problem: Exception, connection: Connection) -> str:
    """An error as the certificate shows it: nothing of the vendor's that may be somebody's, of a plugin's own only the type."""
    if isinstance(problem, TimeoutError):
        return f"no answer within {connection.config.timeout:g} s"
    if isinstance(problem, PluginError) and problem.__cause__ is not None:
        return redact(words(problem.__cause__))
    return redact(words(problem))
