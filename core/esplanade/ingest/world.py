"""What the fold and the lanes must know of the configuration, as one value that a reload replaces whole."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from esplanade.config.model import Config, ConnectorConfig, Hub
from esplanade.errors import EsplanadeError


class World(Struct, frozen=True, kw_only=True):
    """The hub's settings and its enabled connectors, also those whose plugin failed: work for them waits until it loads."""

    hub: Hub
    connectors: Mapping[str, ConnectorConfig]
    read_only: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, read_only: Mapping[str, frozenset[str]]) -> World:
        """The world that a configuration describes."""
        enabled = {name: connector for name, connector in config.connectors.items() if connector.enabled}
        return cls(hub=config.hub, connectors=enabled, read_only=read_only)

    def connector(self, name: str) -> ConnectorConfig:
        """An enabled connector. Raises EsplanadeError when there is none of that name, or no longer."""
        try:
            return self.connectors[name]
        except KeyError:
            raise EsplanadeError(
                f"connector {name} is not in connectors.yaml or not enabled; enable it, then replay"
            ) from None

    def hidden(self, connector: str) -> frozenset[str]:
        """Vendor fields that are never sent to a connector."""
        return self.read_only.get(connector, frozenset())
