"""What is true of connectors while no hub runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from esplanade.errors import PluginLoadError

if TYPE_CHECKING:
    from esplanade.runtime import Loaded
    from esplanade.views import ConnectorFacts

EMPTY: Mapping[str, str | None] = MappingProxyType({})


def facts(loaded: Loaded, hook_urls: Mapping[str, str | None] = EMPTY) -> list[ConnectorFacts]:
    """One for each connector of the configuration."""
    from esplanade.registry import version_of
    from esplanade.views import ConnectorFacts

    found = []
    for name, config in loaded.config.connectors.items():
        plugin = loaded.plugins.get(config.plugin)
        found.append(
            ConnectorFacts(
                name=name,
                plugin=config.plugin,
                version=version_of(config.plugin),
                enabled=config.enabled,
                failure=str(plugin) if isinstance(plugin, PluginLoadError) else None,
                hook_url=hook_urls.get(name),
                breaker="closed",
                next_pull=None,
            )
        )
    return found
