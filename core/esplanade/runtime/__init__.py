"""The hub put together: configuration and plugins, connectors and their twins, lanes, schedule, web."""

from .hub import Hub
from .load import Loaded, load, plugin_report, world_of
from .serve import serve

__all__ = ["Hub", "Loaded", "load", "plugin_report", "serve", "world_of"]
