"""One connector by itself, for what needs no store: its check, and what its vendor offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from esplanade.clock import SystemClock
from esplanade.config import ConnectorConfig
from esplanade.connector import Connector
from esplanade.context import Context
from esplanade.errors import PluginLoadError

from .operator import OperationError

if TYPE_CHECKING:
    from esplanade.runtime import Loaded
    from esplanade.testing.twin import Twin


@asynccontextmanager
async def alone(loaded: Loaded, name: str) -> AsyncIterator[tuple[Connector[Any], Context]]:
    """A connector and its context within a block, with a fresh twin when that is what the configuration asks for.

    Raises OperationError when its plugin cannot be loaded or started.
    """
    from esplanade.http.session import Session
    from esplanade.http.ssrf import EgressGuard
    from esplanade.testing.harness import MemoryKeyValue

    config, hub = loaded.config.connectors[name], loaded.config.hub
    plugin = loaded.plugins[config.plugin]
    if isinstance(plugin, PluginLoadError):
        raise OperationError(f"connector {name} cannot run: {plugin}")
    log = structlog.get_logger("esplanade.connector").bind(connector=name)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        settings, exempt = config.settings, []
        if config.twin:
            twin = _twin(plugin, config)
            stack.push_async_callback(twin.stop)
            exempt.append(await twin.start())
            settings = twin.rewired(settings)
        try:
            connector = plugin(settings)
            endpoint = connector.endpoint()
        except Exception as problem:
            what = f"its plugin {config.plugin} raised {type(problem).__name__}: {problem}"
            raise OperationError(f"connector {name} cannot run: {what}") from problem
        guard = EgressGuard(hub.egress.allow, exempt=exempt)
        session = Session(endpoint, connector=name, timeout_s=config.timeout, guard=guard, clock=clock, log=log)
        stack.push_async_callback(session.close)
        context = Context(
            connector=name,
            http=session,
            kv=MemoryKeyValue(),
            log=log,
            clock=clock,
            fields=config.fields,
            consents=config.consents,
            audiences=config.audiences,
            triggers=config.triggers,
            language=hub.language,
            timezone=hub.timezone,
        )
        yield connector, context


def _twin(plugin: type[Connector[Any]], config: ConnectorConfig) -> Twin[Any]:
    from esplanade.testing.twin import Furnishing

    made = plugin.twin()
    if made is None:
        what = f"connector {config.name} asks for a twin, and the plugin {config.plugin} has none"
        raise OperationError(f"{what}; set `twin: false`")
    twin = made(config.settings)
    twin.furnish(
        Furnishing(
            fields=list(config.fields.values()),
            consents=config.consents,
            audiences=config.audiences,
            triggers=config.triggers,
        )
    )
    return twin
