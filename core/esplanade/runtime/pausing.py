"""Connectors that are paused: by an operator, because their credentials are refused, or because the vendor says it is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from esplanade.clock import Clock
from esplanade.context import Log
from esplanade.delivery.verdict import Pause
from esplanade.errors import EsplanadeError
from esplanade.store.port import Store, Unit

from .alerts import Alerts
from .connection import Connection, asked
from .tasks import Tasks

PROBE_FIRST_S, PROBE_CAP_S = 60.0, 3600.0
"""How far apart a connector that is paused for its credentials is tried."""


class Pausing:
    """Pauses connectors and resumes them; those paused for their credentials by itself, once these are taken again."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        store: Store,
        clock: Clock,
        alert: Alerts,
        tasks: Tasks,
        log: Log,
        on_resume: Callable[[str], None],
    ) -> None:
        self._connections = connections
        self._store = store
        self._clock = clock
        self._alert = alert
        self._tasks = tasks
        self._log = log
        self._on_resume = on_resume
        self._probes: dict[str, asyncio.Task[Any]] = {}

    async def pause(self, connector: str, reason: str) -> None:
        """Stop calling a vendor; what is due for it is kept."""
        await self._set_state(connector, "paused", reason)
        if connector in self._connections:
            self._connections[connector].outbound.paused = True

    async def resume(self, connector: str) -> None:
        """Go on calling a vendor."""
        self._alert.clear(f"paused:{connector}")
        await self._resume(connector)

    async def restore(self, connection: Connection) -> None:
        """Let a connector that was paused before a restart be paused after it."""
        name = connection.config.name
        state = await self._store.read(lambda reader: reader.connector_state(name))
        if state.state != "ok":
            connection.outbound.paused = True
            if state.state == "auth":
                self._start_probe(name, first_s=0.0)  # the operator may have mended the credentials

    def on_verdict(self, connector: str, verdict: Pause) -> None:
        """A lane has paused itself."""
        self._alert(f"paused:{connector}", f"{connector} is paused ({verdict.state}): {verdict.error}")
        if verdict.state == "auth":
            self._start_probe(connector)

    async def _resume(self, connector: str, *, only_from: str | None = None) -> bool:
        changed = await self._set_state(connector, "ok", None, only_from=only_from)
        if changed and connector in self._connections:
            self._connections[connector].outbound.resume()
            self._on_resume(connector)
        return changed

    def _start_probe(self, connector: str, first_s: float = PROBE_FIRST_S) -> None:
        """One probe for each: several calls may be refused at once."""
        if connector in self._probes:
            self._probes.pop(connector).cancel()
        self._probes[connector] = self._tasks.spawn(self._probe(connector, first_s))

    async def _probe(self, connector: str, wait: float) -> None:
        """Try the credentials of a paused connector until they are taken again."""
        while True:
            await self._clock.sleep(wait)
            state = await self._store.read(lambda reader: reader.connector_state(connector))
            if connector not in self._connections or state.state != "auth":
                return
            if await _takes_credentials(self._connections[connector]):
                if await self._resume(connector, only_from="auth"):
                    self._log.info(
                        "resumed", connector=connector
                    )  # the alert stays: refused again, it would be no news
                return
            wait = min(max(wait * 2, PROBE_FIRST_S), PROBE_CAP_S)

    async def _set_state(
        self, connector: str, state: Literal["ok", "paused"], reason: str | None, *, only_from: str | None = None
    ) -> bool:
        now = self._clock.time()

        def keep(unit: Unit) -> bool:
            held = unit.connector_state(connector)
            if only_from is not None and held.state != only_from:
                return False  # an operator has said something else meanwhile
            unit.save_connector_state(msgspec.structs.replace(held, state=state, reason=reason, since=now))
            return True

        return await self._store.run(keep)


async def _takes_credentials(connection: Connection) -> bool:
    if "check" not in connection.methods:
        return True  # the next call shows
    with contextlib.suppress(EsplanadeError, TimeoutError):
        async with asyncio.timeout(connection.config.timeout):
            return (await asked(connection.plugin.check(connection.ctx))).status == "ok"
    return False
