"""From connectors.yaml and the installed plugins to a configuration that can be run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from esplanade import registry
from esplanade.config import Config, build, read
from esplanade.connector import Connector, methods_of, traits_of
from esplanade.errors import PluginLoadError
from esplanade.ingest.world import World

Plugin = type[Connector[Any]] | PluginLoadError


class Loaded(Struct, frozen=True, kw_only=True):
    """A valid configuration with the plugins that it names, or why they could not be loaded."""

    config: Config
    plugins: dict[str, Plugin]

    @property
    def folder(self) -> Path:
        """Where connectors.yaml lies; relative paths in it start here."""
        return self.config.path.parent


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read connectors.yaml and load the plugins that it names. Raises ConfigError with every problem."""
    document = read(path, environ)
    plugins = {reference: find(reference, path.parent) for reference in sorted(set(document.plugins().values()))}
    types = {
        reference: str(plugin) if isinstance(plugin, PluginLoadError) else registry.types_of(plugin)
        for reference, plugin in plugins.items()
    }
    return Loaded(config=build(document, types), plugins=plugins)


def find(reference: str, folder: Path) -> Plugin:
    """A plugin's class, or the error that says why it cannot be had."""
    try:
        return registry.find(reference, folder)
    except PluginLoadError as problem:
        return problem


def world_of(loaded: Loaded) -> World:
    """What a hub on this configuration would send where, without one. Of a plugin that cannot be started nothing is known."""
    traits = {}
    for name, connector in loaded.config.connectors.items():
        plugin = loaded.plugins[connector.plugin]
        if not isinstance(plugin, PluginLoadError):
            with contextlib.suppress(Exception, SystemExit):  # the boundary: a plugin's constructor may raise anything
                traits[name] = traits_of(plugin(connector.settings))
    return World.of(loaded.config, traits)


def plugin_report(loaded: Loaded) -> list[dict[str, Any]]:
    """Every plugin, installed or named in the file: version, hooks, methods, and how it is."""
    used = {connector.plugin for connector in loaded.config.connectors.values()}
    names = sorted(used | {each.name for each in registry.installed()})
    return [_report(name, loaded, used=name in used) for name in names]


def _report(name: str, loaded: Loaded, *, used: bool) -> dict[str, Any]:
    plugin = loaded.plugins[name] if used else find(name, loaded.folder)
    row: dict[str, Any] = {
        "name": name,
        "version": registry.version_of(name),
        "hooks": [],
        "methods": [],
        "tier": None,
        "state": "ok" if used else "unused",
        "reason": None,
    }
    if isinstance(plugin, PluginLoadError):
        return {**row, "state": "failed", "reason": str(plugin)}
    hooks = sorted(hook for hook in dir(plugin) if hook.startswith("on_"))
    return {**row, "hooks": hooks, "methods": methods_of(plugin)}
