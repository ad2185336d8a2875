"""The hub's own webhooks at the vendors: registered at start, after a reload, when a connector resumes, and once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from esplanade.clock import Clock
from esplanade.config.egress import loopback
from esplanade.context import Log
from esplanade.errors import DeliveryError, EsplanadeError, NoPublicUrl, PluginError, TemporaryError
from esplanade.model import Webhooks
from esplanade.store.port import Store

from .alerts import Alerts
from .connection import Connection, asked
from .tasks import Tasks

FIRST_S, CAP_S = 60.0, 3600.0
"""How far apart a vendor that failed is asked again."""
LIMIT_S = 600.0
"""How long all calls of one registration may take together, so that a plugin that hangs ends some day."""


class Registering:
    """Has webhooks made, mended and removed by the plugins that can, one connector at a time and never twice at once."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        store: Store,
        clock: Clock,
        alert: Alerts,
        tasks: Tasks,
        log: Log,
        url: Callable[[Connection], str | None],
    ) -> None:
        self._connections = connections
        self._store = store
        self._clock = clock
        self._alert = alert
        self._tasks = tasks
        self._log = log
        self._url = url
        self._turns: dict[str, asyncio.Lock] = {}
        self._tries: dict[str, asyncio.Task[Any]] = {}
        self._calling: set[str] = set()
        """Whose vendor is being asked by one of ``_tries``."""
        self._told: set[str] = set()

    def is_kept(self, connection: Connection) -> bool:
        """Whether its webhooks are seen to without anybody's bidding. That only the address is missing is logged, once."""
        name, url = connection.config.name, self._url(connection)
        if not connection.traits.registers_webhooks or connection.config.webhooks == "manual":
            return False
        if connection.twin is not None:
            return url is not None
        if url is not None and (not _is_here(url) or _is_here(connection.plugin.endpoint().base_url)):
            return True
        if name not in self._told:
            self._told.add(name)
            why = "hub.public_url is not set" if url is None else "hub.public_url is an address of this machine only"
            advice = (
                "set hub.public_url to where the vendor reaches this hub; or register them by hand, with the URL that "
                "`esplanade connectors` shows, and set `webhooks: manual`"
            )
            self._log.info("webhooks_not_registered", connector=name, reason=why, remedy=advice)
        return False

    def begin(self, name: str) -> None:
        """Register in the background, now, and until it has succeeded. What is being asked already is left to end."""
        connection = self._connections.get(name)
        if connection is not None and name not in self._calling and self.is_kept(connection):
            self._stop(name)
            self._tries[name] = self._tasks.spawn(self._until_done(connection))

    def leave(self, connection: Connection) -> None:
        """Ask nothing more for a connection that is about to close."""
        self._stop(connection.config.name)
        self._told.discard(connection.config.name)

    async def register(self, connection: Connection) -> Webhooks:
        """Register now. Raises MissingMethodError, NoPublicUrl, DeliveryError, PluginError."""
        connection.require_webhooks()
        url = self._url(connection)
        if url is None:
            raise NoPublicUrl(
                f"{connection.config.name}: its vendor cannot be told where to call this hub; set hub.public_url"
            )
        found = await self._ask(connection, lambda: connection.plugin.register_webhooks(url, connection.ctx))
        self._alert.clear(_alert_key(connection))
        told = {"kept": found.kept, "made": found.made, "mended": found.mended, "removed": found.removed}
        self._log.info("webhooks_registered", connector=connection.config.name, **told)
        return found

    async def remove(self, connection: Connection) -> Webhooks:
        """Remove now what was registered. Raises MissingMethodError, DeliveryError, PluginError."""
        connection.require_webhooks()
        self._stop(connection.config.name)
        self._alert.clear(_alert_key(connection))
        found = await self._ask(connection, lambda: connection.plugin.remove_webhooks(connection.ctx))
        self._log.info("webhooks_removed", connector=connection.config.name, removed=found.removed)
        return found

    def _stop(self, name: str) -> None:
        if name in self._tries:
            self._tries.pop(name).cancel()

    async def _until_done(self, connection: Connection) -> None:
        wait = FIRST_S
        while (patience := await self._try(connection)) is not None:
            await self._clock.sleep(max(wait, patience))
            wait = min(wait * 2, CAP_S)

    async def _try(self, connection: Connection) -> float | None:
        """Ask once. None: it is done, or is not to be asked now; else for how long the vendor wants to be left alone."""
        name = connection.config.name
        try:
            state = await self._store.read(lambda reader: reader.connector_state(name))
            if state.state != "ok":
                return None  # `begin` is called again when it resumes
            self._calling.add(name)
            await self.register(connection)
        except EsplanadeError as problem:
            what = _told_of(problem, self._url(connection) or "")
            self._log.warning("webhooks_failed", connector=name, error=what)
            self._alert(
                _alert_key(connection),
                f"{name}: its webhooks could not be registered, so that the hub may not hear what changes there: {what}. "
                f"It is tried again; `esplanade webhooks {name}` tries now",
            )
            return (problem.retry_after if isinstance(problem, DeliveryError) else None) or 0.0
        finally:
            self._calling.discard(name)
        return None

    async def _ask(self, connection: Connection, question: Callable[[], Awaitable[object]]) -> Webhooks:
        name = connection.config.name
        try:
            async with asyncio.timeout(LIMIT_S), self._turns.setdefault(name, asyncio.Lock()):
                found = await asked(question())
        except TimeoutError:
            raise TemporaryError(f"{name}: its webhooks took longer than {LIMIT_S:g} s") from None
        if not isinstance(found, Webhooks):
            raise PluginError(f"the plugin {connection.config.plugin} must return Webhooks, not {type(found).__name__}")
        return found


def _is_here(url: str) -> bool:
    """Whether a URL leads to this machine, so that only what is here too can call it."""
    return loopback(urlsplit(url).hostname or "")


def _alert_key(connection: Connection) -> str:
    return f"webhooks:{connection.config.name}"


def _told_of(problem: EsplanadeError, url: str) -> str:
    """An error for log and alert: without the hub's URL, which a vendor may quote, and of a plugin's own only the type."""
    if isinstance(problem, PluginError) and problem.__cause__:
        return type(problem.__cause__).__name__
    return str(problem).replace(url.rpartition("/")[2] or "\0", "***")
