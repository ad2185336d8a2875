"""``quality.yaml``: what a plugin says of itself to the conformance suite."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from esplanade.connector import Connector
from esplanade.errors import PluginLoadError
from esplanade.model import ValueType

from .catalogue import RULES

NAME = "quality.yaml"


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connector to try the plugin with, and why checks do not apply."""

    owner: str
    """Who keeps the plugin."""
    contact: str
    """Where the owner is reached: an e-mail address or an https URL."""
    sample: dict[str, Any]
    """A connector as in connectors.yaml, without ``plugin`` and ``twin``: settings, fields, consents, audiences, triggers."""
    types: dict[str, ValueType] = field(default_factory=dict)
    """The types of hub fields of the sample that are not text."""
    required: list[str] = field(default_factory=list)
    """The settings that the first released version required, and keys of targets such as ``consents.group``; later versions
    may require no other. What is required only because another setting is left out belongs here too."""
    older: list[dict[str, Any]] = field(default_factory=list)
    """Samples of earlier versions, as ``sample``."""
    skips: dict[str, str] = field(default_factory=dict)
    """Ids of checks that do not apply, with the reason."""
    declared: dict[str, str] = field(default_factory=dict)
    """What is on purpose otherwise than a check expects: ``RULE what``, such as ``CN3 dns.resolver``, with the reason."""


def load_quality(plugin: type[Connector[Any]]) -> Quality:
    """The quality file of a plugin: in its package, or beside it in a checkout. Raises PluginLoadError naming the file."""
    path = _find(plugin)
    try:
        found = msgspec.convert(YAML(typ="safe", pure=True).load(path.read_text("utf-8")), Quality)
    except (YAMLError, msgspec.ValidationError, UnicodeDecodeError) as problem:
        raise PluginLoadError(f"{path}: {' '.join(str(problem).split())}") from None
    for id_, reason in found.skips.items():
        if id_ not in RULES:
            raise PluginLoadError(f"{path}: skips: there is no check {id_!r}")
        if len(reason.split()) < 3:
            raise PluginLoadError(f"{path}: skips.{id_}: say why it does not apply")
    for what, reason in found.declared.items():
        id_, _, about = what.partition(" ")
        if id_ not in RULES or not about.strip():
            raise PluginLoadError(f"{path}: declared: {what!r} is not the id of a rule and what it is about")
        if len(reason.split()) < 3:
            raise PluginLoadError(f"{path}: declared.{what}: say why it is so")
    return found


def _find(plugin: type[Connector[Any]]) -> Path:
    if (path := paper_of(plugin, NAME)) is not None:
        return path
    package = plugin.__module__.partition(".")[0]
    raise PluginLoadError(
        f"plugin {plugin.__module__}:{plugin.__qualname__} has no {NAME}; write one into {package}/ or beside it, "
        "with owner, contact, sample and skips"
    )


def paper_of(plugin: type[Connector[Any]], name: str) -> Path | None:
    """A file of a plugin that is no module: in its package, or in a checkout beside it."""
    for folder in folders_of(plugin):
        homes = [folder, *([folder.parent] if (folder.parent / "pyproject.toml").is_file() else [])]
        for path in (home / name for home in homes):
            if path.is_file():
                return path
    return None


def folders_of(plugin: type[Connector[Any]]) -> list[Path]:
    """Where the package of a plugin lies; of a plugin that is one file, the folder that it lies in."""
    package = plugin.__module__.partition(".")[0]
    module = sys.modules.get(package)
    if module is not None and not hasattr(module, "__path__"):
        return [Path(module.__file__).parent] if module.__file__ else []
    spec = importlib.util.find_spec(package)
    return [Path(each) for each in (spec.submodule_search_locations or [])] if spec is not None else []


def modules_of(plugin: type[Connector[Any]]) -> list[Path]:
    """The files of a plugin's modules, in a stable order."""
    module = sys.modules[plugin.__module__.partition(".")[0]]
    if not hasattr(module, "__path__"):
        return [Path(module.__file__)] if module.__file__ else []
    return [path for folder in folders_of(plugin) for path in sorted(folder.rglob("*.py"))]
