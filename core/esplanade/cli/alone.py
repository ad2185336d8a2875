"""One connector by itself, for what needs no store: its check, and what its vendor offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from esplanade.clock import SystemClock
from esplanade.context import Context
from esplanade.errors import PluginLoadError

from .operator import OperationError

if TYPE_CHECKING:
    from esplanade.connector import Connector
    from esplanade.runtime import Loaded


@asynccontextmanager
async def alone(loaded: Loaded, name: str) -> AsyncIterator[tuple[Connector[Any], Context]]:
    """A connector and its context within a block, with a fresh twin when that is what the configuration asks for.

    Raises OperationError when its plugin could not be loaded.
    """
    from esplanade.http.session import Session
    from esplanade.http.ssrf import EgressGuard
    from esplanade.testing.harness import MemoryKeyValue

    config = loaded.config.connectors[name]
    plugin = loaded.plugins[config.plugin]
    if isinstance(plugin, PluginLoadError):
        raise OperationError(f"connector {name} cannot run: {plugin}")
    settings, exempt, twin = config.settings, [], None
    if config.twin:
        twin = await _twin(plugin, loaded, name)
        settings, exempt = twin.rewired(settings), [twin.origin]
    connector = plugin(settings)
    log = structlog.get_logger("esplanade.connector").bind(connector=name)
    clock = SystemClock()
    session = Session(
        connector.endpoint(),
        connector=name,
        timeout_s=config.timeout,
        guard=EgressGuard(loaded.config.hub.egress.allow, exempt=exempt),
        clock=clock,
        log=log,
    )
    try:
        yield (
            connector,
            Context(
                connector=name,
                http=session,
                kv=MemoryKeyValue(),
                log=log,
                clock=clock,
                fields=config.fields,
                consents=config.consents,
                audiences=config.audiences,
                triggers=config.triggers,
                language=loaded.config.hub.language,
                timezone=loaded.config.hub.timezone,
            ),
        )
    finally:
        await session.close()
        if twin is not None:
            await twin.stop()


async def _twin(plugin: type[Connector[Any]], loaded: Loaded, name: str) -> Any:
    from esplanade.testing.twin import Furnishing

    config = loaded.config.connectors[name]
    made = plugin.twin()
    if made is None:
        raise OperationError(
            f"connector {name} asks for a twin, and the plugin {config.plugin} has none; remove `twin: true`"
        )
    twin = made(config.settings)
    await twin.start()
    twin.furnish(
        Furnishing(
            fields=sorted(config.fields.values()),
            consents=config.consents,
            audiences=config.audiences,
            triggers=config.triggers,
        )
    )
    return twin
