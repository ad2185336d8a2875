"""The rules that a plugin's class must keep before the core uses it. Pure; each broken rule is a PluginLoadError.

pluggy alone would not do: it does not see a hook without its marker, lets a hook take fewer arguments than it is given,
and never awaits. So every public ``on_*`` counts as a hook here, and must be exactly what ``hookspecs.py`` says.
"""

from __future__ import annotations

import difflib
import inspect
import re
from types import FunctionType
from typing import Any

import msgspec

from esplanade import __version__, hookspecs
from esplanade.connector import Connector, Manifest
from esplanade.errors import PluginLoadError
from esplanade.model import AudienceTarget, ConsentTarget, TriggerTarget

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("on_"))
"""The names of the hooks, in the order of ``hookspecs.py``."""

_MARKER = f"{hookspecs.PROJECT}_impl"
_TARGETS = {"Consent": ConsentTarget, "Audience": AudienceTarget, "Trigger": TriggerTarget}


def judge(plugin: object, who: str) -> type[Connector[Any]]:
    """Return ``plugin`` as the class that it must be, every rule of this module kept; ``who`` begins the messages."""
    if not isinstance(plugin, type) or not issubclass(plugin, Connector):
        raise PluginLoadError(
            f"{who}: {_named(plugin)} is not a Connector class; write: class Name(Connector[Settings])"
        )
    _judge_declarations(plugin, who)
    _judge_core(str(plugin.manifest.core), who)
    judge_hooks(plugin, who)
    return plugin


def hooks_of(plugin: type[Connector[Any]]) -> list[str]:
    """The hooks that a plugin implements, in the order of ``hookspecs.py``."""
    return [name for name in HOOKS if hasattr(plugin, name)]


def judge_hooks(plugin: type[Connector[Any]], who: str) -> list[str]:
    """Return the hooks of a plugin, or raise PluginLoadError naming the one that breaks a rule."""
    for name in dir(plugin):
        found = inspect.getattr_static(plugin, name)
        if name.startswith("on_") or hasattr(found, _MARKER):
            _judge_hook(name, found, who)
    hooks = hooks_of(plugin)
    for name in hooks:
        if f"{name}_batch" in hooks:
            raise PluginLoadError(
                f"{who}: has both {name} and {name}_batch; keep the one that fits the vendor's API better"
            )
    return hooks


def _judge_hook(name: str, found: object, who: str) -> None:
    if name not in HOOKS:
        near = difflib.get_close_matches(name, HOOKS, n=1)
        offer = f"did you mean {near[0]}?" if near else "begin its name with an underscore if it is none."
        raise PluginLoadError(f"{who}: {name} is not a hook; {offer} The hooks are {', '.join(HOOKS)}")
    arguments = list(inspect.signature(getattr(hookspecs, name)).parameters)
    remedy = f"write: async def {name}(self, {', '.join(arguments)})"
    if not isinstance(found, FunctionType) or not inspect.iscoroutinefunction(found):
        raise PluginLoadError(f"{who}: {name} is not a coroutine method; {remedy}")
    signature = inspect.signature(found)
    plain = all(
        each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty for each in signature.parameters.values()
    )
    if not plain or list(signature.parameters)[1:] != arguments:
        taken = ", ".join(str(each.replace(annotation=each.empty)) for each in signature.parameters.values())
        raise PluginLoadError(f"{who}: {name} takes ({taken}); {remedy}, exactly these and without defaults")
    marker: dict[str, object] | None = getattr(found, _MARKER, None)
    if marker is None:
        raise PluginLoadError(f"{who}: {name} is not marked as a hook; write @hookimpl above it")
    options = sorted(option for option, value in marker.items() if value)
    if options:
        raise PluginLoadError(f"{who}: {name} asks pluggy for {', '.join(options)}; write @hookimpl without options")


def _judge_declarations(plugin: type[Connector[Any]], who: str) -> None:
    name = plugin.__name__
    if not isinstance(getattr(plugin, "manifest", None), Manifest):
        raise PluginLoadError(
            f"{who}: {name} has no manifest; write: manifest = Manifest(title=…, vendor_api=…, owner=…, homepage=…)"
        )
    settings = getattr(plugin, "Settings", None)
    if not isinstance(settings, type) or not issubclass(settings, msgspec.Struct):
        remedy = f"write: Settings = {name.removesuffix('Connector')}Settings, a frozen msgspec Struct"
        raise PluginLoadError(f"{who}: {name} has no Settings; {remedy}")
    if not settings.__struct_config__.frozen:
        raise PluginLoadError(
            f"{who}: {settings.__name__} can be changed; write: class {settings.__name__}(Struct, frozen=True)"
        )
    for attribute, base in _TARGETS.items():
        target = getattr(plugin, attribute)
        if target is not None and not (isinstance(target, type) and issubclass(target, base)):
            raise PluginLoadError(
                f"{who}: {name}.{attribute} is not a {base.__name__}; derive it from esplanade.{base.__name__}"
            )


def _judge_core(wanted: str, who: str) -> None:
    for clause in wanted.split(","):
        found = re.fullmatch(r"\s*(>=|<=|==|!=|<|>)\s*(\d+(?:\.\d+)*)\s*", clause)
        if not found:
            raise PluginLoadError(f"{who}: manifest.core is {wanted!r}; write a range such as '>=0.1,<0.2'")
        if not _holds(_release(__version__), found[1], _release(found[2])):
            raise PluginLoadError(
                f"{who}: needs esplanade {wanted}, and this is {__version__}; "
                f"install a version of the plugin that fits, or esplanade {wanted}"
            )


def _holds(have: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    return {
        ">=": have >= bound,
        "<=": have <= bound,
        "==": have == bound,
        "!=": have != bound,
        "<": have < bound,
        ">": have > bound,
    }[sign]


def _release(version: str) -> tuple[int, ...]:
    digits = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in digits[0].split(".")] if digits else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _named(thing: object) -> str:
    return f"the class {thing.__qualname__}" if isinstance(thing, type) else f"the {type(thing).__name__} it names"
