"""PK and VS2: the plugin as it is installed, imported, judged and versioned."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from esplanade.config.egress import refused
from esplanade.config.model import NAME_PATTERN
from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.readme import changes_of
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.connector import Connector
from esplanade.errors import PluginLoadError
from esplanade.registry import installed
from esplanade.registry.judge import HOOKS, judge

if TYPE_CHECKING:
    from packaging.requirements import Requirement

EMAIL = "noor@example.net"
IMPORT_MS = 300.0
TRIES = 3

_CHILD = """
import contextlib, gc, io, json, logging, os, signal, socket, sys, threading, time, warnings
from pathlib import Path
asked = json.loads(sys.argv[1])
import esplanade

def state():
    made = logging.Logger.manager.loggerDict.values()
    loggers = [logging.getLogger(), *(each for each in made if isinstance(each, logging.Logger))]
    return {
        "threads": sorted(each.name for each in threading.enumerate()),
        "sockets": sum(isinstance(each, socket.socket) for each in gc.get_objects()),
        "logging": sorted(repr(handler) for each in loggers for handler in each.handlers) + [logging.getLogger().level],
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),
        "sys.path": list(sys.path),
        "signal handlers": {str(each): repr(signal.getsignal(each)) for each in signal.valid_signals()},
        "warning filters": [repr(each) for each in warnings.filters],
    }

def others():
    from esplanade.registry import find, installed
    failed = {}
    for name in sorted({each.name for each in installed()} - {asked["name"]}):
        try:
            find(name, Path())
        except Exception as problem:
            failed[name] = str(problem)
    return failed

def load():
    if asked["module"]:
        __import__(asked["module"])
    else:
        from esplanade.registry import find
        find(asked["name"], Path())

found = {}
if not asked["alone"]:
    found["failed"] = others()
elif not asked["module"]:
    import esplanade.registry  # which reads the file
said = io.StringIO()
with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    warnings.simplefilter("always")
    before = state()
    began = time.perf_counter()
    load()
    found["ms"] = (time.perf_counter() - began) * 1000
    after = state()
found["changed"] = [name for name in before if after[name] != before[name]]
found["said"] = said.getvalue()
found["warned"] = [f"{each.category.__name__}: {each.message}" for each in warned]
if asked["alone"]:
    found["failed"] = others()
print(json.dumps(found))
"""

_BROKEN = 'raise RuntimeError("broken on purpose")\n'
_RAISING = """
from pathlib import Path

from esplanade.registry import find

_Base = find({name!r}, Path())


class Raising(_Base):
    def __init__(self, settings):
        raise RuntimeError("broken on purpose")
"""


# Installed and imported.


@check("PK1")
async def what_it_requires_is_there(trial: Trial) -> None:
    """The requirements of its distribution hold for what is installed."""
    for wanted in (await asyncio.to_thread(_shipped, trial)).requirements:
        try:
            have = await asyncio.to_thread(importlib.metadata.version, wanted.name)
        except importlib.metadata.PackageNotFoundError:
            raise CheckFailed(f"it requires {wanted}, which is not installed") from None
        require(wanted.specifier.contains(have, prereleases=True), f"it requires {wanted}, and {have} is installed")


@check("PK1")
async def importing_it_is_quick_and_quiet(trial: Trial) -> None:
    """In a process of its own, after ``import esplanade``: at once, and nothing of the process is changed by it."""
    runs = [await _imported(trial, alone=True) for _ in range(TRIES)]
    first = runs[0]
    require(not first["changed"], f"importing it changes {', '.join(first['changed'])}")
    require(not first["said"], f"importing it prints {first['said'][:200]!r}")
    require(not first["warned"], f"importing it warns: {'; '.join(first['warned'][:3])}")
    best = min(each["ms"] for each in runs)
    require(
        best < IMPORT_MS,
        f"importing it takes {best:.0f} ms at best, more than {IMPORT_MS:.0f} ms: import later what is rarely used",
    )


@check("PK1")
async def it_lives_beside_the_others(trial: Trial) -> None:
    """In one process with every plugin that is installed, before them and after them: whoever loads without it loads with it."""
    after = await _imported(trial, alone=False)
    before = await _imported(trial, alone=True)
    hindered = {name: why for name, why in before["failed"].items() if name not in after["failed"]}
    require(not hindered, f"once it is imported, others cannot be: {hindered}")


# What it says of itself.


@check("PK2")
async def the_manifest_is_whole(trial: Trial) -> None:
    """Title, vendor API, owner, homepage, licence, name, hooks."""
    manifest = trial.plugin.manifest
    for name in ("title", "vendor_api", "owner", "homepage", "licence", "core"):
        require(str(getattr(manifest, name)).strip(), f"manifest.{name} is empty")
    require(
        re.search(r"\d", manifest.vendor_api), "manifest.vendor_api: give the version or the date of the vendor's API"
    )
    parts = urlsplit(manifest.homepage)
    require(parts.scheme == "https" and "." in (parts.hostname or ""), "manifest.homepage: expected an https URL")
    require(
        re.fullmatch(NAME_PATTERN, trial.name),
        f"the name {trial.name!r} cannot be an entry point's: small letters, digits, - and _",
    )
    require(trial.hooks or trial.methods, "it has no hook and no method, so it can do nothing")


@check("PK2")
async def the_manifest_agrees_with_the_distribution(trial: Trial) -> None:
    """Version, licence, Python and core range, as the installed distribution has them."""
    shipped, manifest = await asyncio.to_thread(_shipped, trial), trial.plugin.manifest
    require(_is_version(shipped.version), f"the version {shipped.version!r} is none (PEP 440)")
    licence = shipped.metadata.get("license_expression") or shipped.metadata.get("license") or ""
    same(licence, manifest.licence, "license in pyproject.toml, beside manifest.licence")
    require(shipped.metadata.get("requires_python"), "pyproject.toml has no requires-python")
    ranges = [str(each.specifier) for each in shipped.requirements if each.name == "esplanade"]
    require(ranges, "pyproject.toml does not depend on esplanade")
    same(_clauses(ranges[0]), _clauses(manifest.core), "the range of esplanade in pyproject.toml, beside manifest.core")


@check("PK2")
async def its_hosts_are_public(trial: Trial) -> None:
    """The endpoint, with the sample's settings and without a twin: https, and no private address."""
    loaded = await trial.load(connector={"twin": False})
    endpoint = trial.plugin(loaded.config.connectors[NAME].settings).endpoint()
    token = getattr(endpoint.auth, "token_url", None)
    for url in [endpoint.base_url, *endpoint.origins, *([token] if token else [])]:
        wrong = refused(url, [])
        require(not wrong, f"the endpoint's host: {wrong}")


# Judged.


@check("PK3")
async def its_hooks_are_known(trial: Trial) -> None:
    """The rules that the core judges by; and that a hook with a wrong name, form or signature is refused by name."""
    who = f"plugin {trial.name}"
    try:
        judge(trial.plugin, who)
    except PluginLoadError as problem:
        raise CheckFailed(str(problem)) from None
    require(trial.hooks, f"it has none of the hooks, which are {', '.join(HOOKS)}")

    async def misspelt(self: Any, event: Any, ctx: Any) -> None: ...

    async def narrow(self: Any, event: Any) -> None: ...

    def blocking(self: Any, event: Any, ctx: Any) -> None: ...

    hook = trial.hooks[0]
    for name, body in ((f"{hook}s", misspelt), (hook, narrow), (hook, blocking)):
        wrong = type(f"Wrong{trial.plugin.__name__}", (trial.plugin,), {name: body})
        require(name in _judged(wrong, who), f"a {name} that is wrong ({body.__name__}) is not refused by name")


@check("PK4")
async def a_broken_plugin_stops_nobody(trial: Trial) -> None:
    """Beside one that cannot be imported, one that is not installed, and this one made to raise: the hub runs and delivers."""
    settings = trial.sample().get("settings", {})
    beside: dict[str, dict[str, Any]] = {
        "broken": {"plugin": "./broken.py"},
        "absent": {"plugin": "a-plugin-that-nobody-has"},
        "raising": {"plugin": "./raising.py", "twin": True, "settings": settings},
    }
    files = {"broken.py": _BROKEN, "raising.py": _RAISING.format(name=trial.name)}
    async with trial.hub(beside=beside, files=files) as rig:
        for name, remedy in (("broken", "enabled: false"), ("absent", "pip install"), ("raising", "enabled: false")):
            said = rig.hub.failures.get(name, "")
            plugin = beside[name]["plugin"]
            require(
                plugin in said and remedy in said,
                f"the failure of {name} names no plugin or no remedy: {said or 'none'}",
            )
        await rig.welcome(EMAIL)
        done = [each.outcome for each in await rig.deliveries(states=["done"])]
        require("delivered" in done, "beside a broken plugin nothing is delivered")


@check("PK5")
async def it_pins_nothing_of_the_core(trial: Trial) -> None:
    """A range for esplanade itself, and none that binds the core's own libraries to one version."""
    requirements = (await asyncio.to_thread(_shipped, trial)).requirements
    own = await asyncio.to_thread(lambda: _requirements(importlib.metadata.distribution("esplanade")))
    shared = {_bare(each.name) for each in own} | {"esplanade"}
    for wanted in requirements:
        require(not wanted.url, f"it requires {wanted} from a URL; name a version range")
        pins = [each for each in wanted.specifier if each.operator in {"==", "==="}]
        require(not (pins and _bare(wanted.name) in shared), f"it pins {wanted}, which is the core's own; give a range")
    core = next((each for each in requirements if each.name == "esplanade"), None)
    signs = {each.operator for each in core.specifier} if core else set[str]()
    require(
        signs & {">=", ">", "~="} and signs & {"<", "<=", "~="},
        "give esplanade a range with both ends, such as >=0.1,<0.2",
    )


@check("VS2")
async def its_version_has_a_note(trial: Trial) -> None:
    """The changes of each version, the newest first; and where one may break something, what to do about it."""
    shipped = await asyncio.to_thread(_shipped, trial)
    notes = await asyncio.to_thread(changes_of, trial.plugin, str(shipped.metadata.get("description", "")))
    require(notes, "neither a CHANGELOG.md nor a section Changes of the README has a heading for any version")
    versions = [version for version, _ in notes]
    same(versions[0], shipped.version, "the version of the newest note, beside that of the distribution")
    same(versions, sorted(versions, key=_release, reverse=True), "versions in the order of their notes")
    for (version, text), (older, _) in pairwise(notes):
        breaks = _compatible(version) != _compatible(older)
        require(
            not breaks or re.search(r"(?i)\bmigrat|nothing to do\b", text),
            f"{version} may break what worked with {older}; its note needs a word on migrating, or that there is nothing to do",
        )


# Inside.


class _Shipped(Struct, frozen=True, kw_only=True):
    """A distribution, as its metadata has it."""

    version: str
    metadata: dict[str, Any]
    requirements: list[Requirement]


def _shipped(trial: Trial) -> _Shipped:
    name = next((each.distribution for each in installed() if each.name == trial.name), None)
    if name is None:
        raise CheckFailed(f"{trial.name} is a file and not installed; give it a pyproject.toml with an entry point")
    dist = importlib.metadata.distribution(name)
    return _Shipped(version=dist.version, metadata=dist.metadata.json, requirements=_requirements(dist))


def _requirements(dist: importlib.metadata.Distribution) -> list[Requirement]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise CheckFailed("this check needs a library that reads requirements; run: pip install packaging") from None
    found = [Requirement(each) for each in dist.requires or []]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _clauses(specifier: str) -> list[str]:
    return sorted(each.replace(" ", "") for each in specifier.split(","))


def _bare(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])


def _compatible(version: str) -> tuple[int, ...]:
    """The part of a version that changes when something may break: the first number, and the second while that is 0."""
    release = _release(version)
    return release[:2] if release[:1] == (0,) else release[:1]


def _judged(plugin: type[Connector[Any]], who: str) -> str:
    try:
        judge(plugin, who)
    except PluginLoadError as problem:
        return str(problem)
    return ""


async def _imported(trial: Trial, *, alone: bool) -> dict[str, Any]:
    """Import the plugin in a process of its own: before all others, or after them."""
    package = trial.plugin.__module__
    is_file = not hasattr(sys.modules[package.partition(".")[0]], "__path__")
    asked = {"name": trial.name, "module": "" if is_file else package, "alone": alone}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, json.dumps(asked), stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    if process.returncode:
        raise CheckFailed(f"it cannot be imported: {' '.join(err.decode().split())[-500:]}")
    found: dict[str, Any] = json.loads(out)
    return found
