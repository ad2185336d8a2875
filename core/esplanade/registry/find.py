"""Plugins by their entry point's name or their file, imported behind a guard, so that a broken one is one error."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import sys
import sysconfig
import traceback
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from msgspec import Struct

from esplanade.config.model import PluginTypes
from esplanade.connector import Connector, methods_of, traits_of
from esplanade.errors import PluginLoadError
from esplanade.model import KINDS

from .judge import hooks_of, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROUP = "esplanade"
T = TypeVar("T")


class Installed(Struct, frozen=True, kw_only=True):
    """A plugin that some distribution in this environment offers, read without importing it."""

    name: str
    distribution: str
    version: str
    target: str
    """Where it is, such as ``esplanade_webhook.plugin:WebhookConnector``."""


def find(reference: str, base: Path) -> type[Connector[Any]]:
    """Return the plugin that ``plugin:`` of connectors.yaml means: an entry point's name, or a file below ``base``.

    ``base`` is the directory of connectors.yaml. Raises PluginLoadError, whatever goes wrong in the plugin.
    """
    who = f"plugin {reference}"
    if is_file(reference):
        return judge(_only_connector(base / reference, who), who)
    return judge(_guarded(_entry_point(reference, who).load, who), who)


def is_file(reference: str) -> bool:
    """Whether a reference is a path, such as ``./plugins/crm.py``, and not the name of an entry point."""
    return reference.endswith(".py") or reference.startswith(("./", "../", "/"))


def types_of(plugin: type[Connector[Any]]) -> PluginTypes:
    """Return what the configuration reader must know of a plugin."""
    hooks = hooks_of(plugin)
    return PluginTypes(
        settings=plugin.Settings,
        consent=plugin.Consent,
        audience=plugin.Audience,
        trigger=plugin.Trigger,
        receives=[kind for kind in KINDS if f"on_{kind}" in hooks or f"on_{kind}_batch" in hooks],
        all_fields=plugin.all_fields,
        methods=methods_of(plugin),
        can_fetch=lambda settings: _can_fetch(plugin, settings),
    )


def _can_fetch(plugin: type[Connector[Any]], settings: Any) -> bool:
    """What an instance says of itself; one that cannot be made is told of where it is to run."""
    try:
        return traits_of(plugin(settings)).can_fetch
    except Exception:  # noqa: BLE001 - it is the plugin's own code
        return True


def installed() -> list[Installed]:
    """Return the plugins of this environment by name, from the distributions' metadata alone."""
    found = [
        Installed(name=entry.name, distribution=dist.name or "?", version=dist.version or "?", target=entry.value)
        for dist, entry in _entry_points()
    ]
    return sorted(found, key=lambda each: (each.name, each.distribution))


def version_of(reference: str) -> str:
    """Return the version of the distribution that offers a plugin, or ``local`` for a file or an unknown name."""
    if is_file(reference):
        return "local"
    return next((each.version for each in installed() if each.name == reference), "local")


def _entry_points() -> Iterator[tuple[importlib.metadata.Distribution, importlib.metadata.EntryPoint]]:
    # importlib.metadata.entry_points() raises for all when one distribution has a malformed file; this skips that one.
    seen = set()
    for dist in importlib.metadata.distributions():
        try:
            entries = [entry for entry in dist.entry_points if entry.group == GROUP]
            key = (dist.name or "?").lower().replace("_", "-") if entries else ""
        except Exception:  # noqa: BLE001, S112 - malformed metadata of one distribution hides only its own plugins
            continue
        if entries and key not in seen:
            seen.add(key)
            yield from ((dist, entry) for entry in entries)


def _entry_point(name: str, who: str) -> importlib.metadata.EntryPoint:
    everything = list(_entry_points())
    found = [(dist, entry) for dist, entry in everything if entry.name == name]
    if len(found) > 1:
        offered = " and ".join(sorted(dist.name or "?" for dist, _ in found))
        raise PluginLoadError(f"{who}: is offered by {offered}; uninstall all but one")
    if found:
        return found[0][1]
    names = sorted({entry.name for _, entry in everything})
    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean {near[0]}? Else run: pip install" if near else "run: pip install"
    raise PluginLoadError(
        f"{who}: is not installed; installed are {', '.join(names) or 'none'}; {remedy} esplanade-{name}"
    )


class _FreshLoader(SourceFileLoader):
    """Reads the source each time: a .pyc is told by whole seconds, which would hide a quick edit, and litters."""

    def path_stats(self, path: Any) -> NoReturn:
        raise OSError(f"no bytecode for {path}")


def _only_connector(path: Path, who: str) -> object:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PluginLoadError(
            f"{who}: cannot be read from {path} ({error.strerror}); paths begin at the directory of connectors.yaml"
        ) from error
    path = path.resolve()
    # Named by path and content: the same file gives the same class, an edited one a new class after SIGHUP.
    unique = hashlib.sha256(str(path).encode() + b"\0" + content).hexdigest()[:12]
    name = f"esplanade_local_{path.stem}_{unique}"
    if name not in sys.modules:
        _guarded(lambda: _load(name, path), who)
    classes = [
        each
        for each in vars(sys.modules[name]).values()
        if isinstance(each, type) and issubclass(each, Connector) and each.__module__ == name
    ]
    public = {each.__name__: each for each in classes if not each.__name__.startswith("_")}
    if not public:
        raise PluginLoadError(f"{who}: defines no public Connector class; write: class Name(Connector[Settings])")
    if len(public) > 1:
        names = " and ".join(sorted(public))
        raise PluginLoadError(f"{who}: defines {names}; begin all names but one with an underscore")
    return next(iter(public.values()))


def _load(name: str, path: Path) -> None:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # before it runs, because msgspec resolves annotations through sys.modules
    try:
        _FreshLoader(name, str(path)).exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _guarded(load: Callable[[], T], who: str) -> T:
    try:
        return load()
    except (Exception, SystemExit) as error:
        words = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
        said = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise PluginLoadError(
            f"{who}: importing it raised {said}{_place(error)}; repair the plugin or set enabled: false"
        ) from error


def _place(error: BaseException) -> str:
    """Where it happened: the innermost line that is neither ours nor the standard library's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = ((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__))
    theirs = [f"{file}:{line}" for file, line in frames if not _is_ours(file)]
    return f" ({theirs[-1]})" if theirs else ""


def _is_ours(file: str) -> bool:
    in_stdlib = file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return file.startswith("<") or file == __file__ or in_stdlib
