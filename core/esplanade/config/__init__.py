"""Reading connectors.yaml: ``read`` the file, load the plugins that it names, ``build`` the Config.

    document = read(Path("connectors.yaml"), os.environ)
    types = {reference: ... for reference in document.plugins().values()}
    config = build(document, types)

Everything wrong in the file is found in one run and raised as one ConfigError.
"""

from __future__ import annotations

from .build import build
from .model import (
    Alert,
    BreakerConfig,
    Config,
    Conflict,
    ConnectorConfig,
    Egress,
    Guard,
    Hub,
    Pace,
    PluginTypes,
    Retry,
    Schedule,
    Source,
)
from .reader import Document, read
from .reference import reference
from .schema import as_json, load_schema

__all__ = [
    "Alert",
    "BreakerConfig",
    "Config",
    "Conflict",
    "ConnectorConfig",
    "Document",
    "Egress",
    "Guard",
    "Hub",
    "Pace",
    "PluginTypes",
    "Retry",
    "Schedule",
    "Source",
    "as_json",
    "build",
    "load_schema",
    "read",
    "reference",
]
