"""What the fold and the lanes must know of the configuration, as one value that a reload replaces whole."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from esplanade.config.model import Config, ConnectorConfig, Hub
from esplanade.connector import Traits
from esplanade.errors import EsplanadeError


class World(Struct, frozen=True, kw_only=True):
    """The hub's settings and its enabled connectors, also those whose plugin failed: work for them waits until it loads."""

    hub: Hub
    connectors: Mapping[str, ConnectorConfig]
    traits: Mapping[str, Traits] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, traits: Mapping[str, Traits]) -> World:
        """The world that a configuration describes."""
        enabled = {name: connector for name, connector in config.connectors.items() if connector.enabled}
        return cls(hub=config.hub, connectors=enabled, traits=traits)

    def connector(self, name: str) -> ConnectorConfig:
        """An enabled connector. Raises EsplanadeError when there is none of that name, or no longer."""
        try:
            return self.connectors[name]
        except KeyError:
            raise EsplanadeError(
                f"connector {name} is not in connectors.yaml or not enabled; enable it, then replay"
            ) from None

    def trait(self, connector: str) -> Traits:
        """What a connector's plugin says of itself."""
        return self.traits.get(connector, UNKNOWN)


UNKNOWN = Traits()
