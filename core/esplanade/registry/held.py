"""The connectors that are in use, each one pluggy plugin under its own name in connectors.yaml."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pluggy

from esplanade import hookspecs
from esplanade.connector import Connector, methods_of
from esplanade.errors import PluginLoadError

from .judge import HOOKS, judge_hooks

Hook: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


class _Plugins(pluggy.PluginManager):
    """pluggy, told by name what a hook is, so that it looks at no other attribute."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if name not in HOOKS:
            return None
        return {
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        }


class Registry:
    """Holds one pluggy plugin per connector and hands out its hooks. Dispatch is the core's: pluggy never awaits."""

    def __init__(self) -> None:
        self.plugins = _Plugins(hookspecs.PROJECT)
        self.plugins.add_hookspecs(hookspecs)
        self._hooks: dict[str, dict[str, Hook]] = {}

    def register(self, name: str, connector: Connector[Any]) -> None:
        """Take a connector in under its name. Raises PluginLoadError, and keeps nothing of it, when a hook is wrong."""
        plugin = type(connector)
        who = f"connector {name}: plugin {plugin.__module__}:{plugin.__qualname__}"
        hooks = judge_hooks(plugin, who)
        for attribute in vars(connector):
            if attribute.startswith("on_"):
                raise PluginLoadError(f"{who}: {attribute} is set on the instance; define it in the class")
        if name in self._hooks:
            raise PluginLoadError(f"{who}: the name {name} is taken; unregister it first")
        try:
            self.plugins.register(connector, name)
            self.plugins.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if self.plugins.get_plugin(name) is connector:
                self.plugins.unregister(name=name)
            raise PluginLoadError(f"{who}: {' '.join(str(error).split())}; build one instance per connector") from error
        self._hooks[name] = {hook: getattr(connector, hook) for hook in hooks}

    def unregister(self, name: str) -> None:
        """Let a connector go; a name that is not held is no error."""
        if self._hooks.pop(name, None) is not None:
            self.plugins.unregister(name=name)

    def names(self) -> list[str]:
        """The names of the connectors that are held, in the order in which they came."""
        return list(self._hooks)

    def connector(self, name: str) -> Connector[Any] | None:
        """The connector of that name, None when it is not held."""
        found: Connector[Any] | None = self.plugins.get_plugin(name)
        return found

    def hook(self, name: str, hook: str) -> Hook | None:
        """The connector's bound coroutine function for a hook, None when it has none. Two dictionary look-ups."""
        hooks = self._hooks.get(name)
        return None if hooks is None else hooks.get(hook)

    def capabilities(self, name: str) -> dict[str, list[str]]:
        """The hooks and the optional methods of a connector; both empty when it is not held."""
        connector = self.connector(name)
        return {
            "hooks": list(self._hooks.get(name, {})),
            "methods": methods_of(type(connector)) if connector is not None else [],
        }
