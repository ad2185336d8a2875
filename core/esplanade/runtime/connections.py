"""The connectors that run: opened, closed, and told of the work that comes to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Connector, Traits
from esplanade.context import Log
from esplanade.delivery.lane import Lane
from esplanade.errors import PluginLoadError, StoreError
from esplanade.records import connector_of
from esplanade.registry import Registry
from esplanade.store.port import Committed

from .budgets import Budgets
from .connection import Connection, Shared
from .pausing import Pausing


class Connections:
    """Those that run, and why others of the file do not."""

    def __init__(
        self,
        running: dict[str, Connection],
        *,
        registry: Registry,
        pausing: Pausing,
        budgets: Budgets,
        log: Log,
        shared: Callable[[], Shared],
    ) -> None:
        self.running = running
        self.failures: dict[str, str] = {}
        self._registry = registry
        self._pausing = pausing
        self._budgets = budgets
        self._log = log
        self._shared = shared

    @property
    def traits(self) -> Mapping[str, Traits]:
        """What the plugins of those that run say of themselves."""
        return {name: connection.present_traits for name, connection in self.running.items()}

    @property
    def lanes(self) -> Iterator[Lane]:
        """All lanes."""
        for connection in self.running.values():
            yield from (connection.outbound, connection.inbound)

    async def open(
        self, connector: ConnectorConfig, plugin: type[Connector[Any]] | PluginLoadError
    ) -> Connection | None:
        """Connect one, if it is enabled, as it was left; its lanes do not run yet. None: the log and ``failures`` say why."""
        if not connector.enabled:
            return None
        try:
            if isinstance(plugin, PluginLoadError):
                raise plugin
            connection = await Connection.open(connector, plugin, self._shared())
        except PluginLoadError as problem:
            self.failures[connector.name] = str(problem)
            self._log.error("connector_failed", connector=connector.name, error=str(problem))
            return None
        self.failures.pop(connector.name, None)
        self.running[connector.name] = connection
        await self._pausing.restore(connection)
        await self._budgets.restore(connection)
        return connection

    async def close(self, connections: Iterable[Connection], *, within_s: float) -> None:
        """Stop connections, all at once; they are swept until they have stopped."""

        async def stop(connection: Connection) -> None:
            try:
                await connection.stop(self._registry, within_s=within_s)
                await self._budgets.save_one(connection)
            except StoreError as problem:
                self._log.error("budget_not_kept", connector=connection.config.name, error=str(problem))
            finally:
                self.running.pop(connection.config.name, None)

        await asyncio.gather(*[stop(connection) for connection in connections])

    async def quiet(self) -> None:
        """Return once each lane has had nothing under way, and nothing due, or is paused."""
        for lane in list(self.lanes):
            await lane.quiet()

    async def still(self) -> None:
        """Return once each lane has had nothing under way, and nothing that may be before time passes."""
        for lane in list(self.lanes):
            await lane.still()

    def tell(self, committed: Committed) -> None:
        """Tell the lanes what work has come to them, or may go now."""
        for name, places in committed.places.items():
            connection = self.running.get(connector_of(name))
            if connection is not None:
                connection.lane(name).offer(places)
        for name in committed.shuffled:
            connection = self.running.get(connector_of(name))
            if connection is not None:
                connection.lane(name).rescan()

    def sweep(self) -> None:
        """Let no call take longer than it may."""
        for lane in self.lanes:
            lane.sweep()
