"""DC and QT: the README, its examples, types, and who answers for the plugin."""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.quality import folders_of, modules_of
from esplanade.conformance.readme import blocks_of, readme_of, sections_of
from esplanade.conformance.trial import PACE, Trial
from esplanade.errors import ConfigError, EsplanadeError
from esplanade.registry import installed
from esplanade.registry.find import is_file
from esplanade.runtime import Hub, load
from esplanade.testing import FakeClock

SECTIONS = ("setup", "permissions", "fields", "limits", "known limitations", "troubleshooting", "removal")
REFERENCE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
"""A variable that has no default."""
OTHERWISE = "an-example-value"


@check("DC1")
async def the_readme_is_whole(trial: Trial) -> None:
    """Each section that the template has, by its heading, with something in it; and every required setting by its name."""
    readme = await asyncio.to_thread(_readme, trial)
    sections = sections_of(readme)
    for name in SECTIONS:
        found = [each for each in sections if re.search(rf"(?i)\b{name}\b", each.title)]
        require(found, f"the README has no section {name.capitalize()}")
        require(any(each.text for each in found), f"the section {name.capitalize()} of the README is empty")
    unnamed = [each for each in trial.quality.required if each.rpartition(".")[2] not in readme]
    require(not unnamed, f"the README does not name {', '.join(unnamed)}, which must be set")


@check("DC2")
async def every_example_works(trial: Trial) -> None:
    """Every example of the README that has connectors, as a connectors.yaml with the twin: it loads, starts, passes its check."""
    examples = await asyncio.to_thread(lambda: list(_examples(trial)))
    require(examples, "the README has no example, a block of YAML with a connector of this plugin under `connectors:`")
    for each in examples:
        await each.run()


@check("QT1")
async def it_is_typed(trial: Trial) -> None:
    """The package says that it is typed, and every public function of it is annotated."""
    folders = await asyncio.to_thread(folders_of, trial.plugin)
    if not is_file(trial.name):
        marked = await asyncio.to_thread(lambda: any((each / "py.typed").is_file() for each in folders))
        require(marked, "the package has no py.typed, so nobody's type checker looks at it")
    bare = await asyncio.to_thread(lambda: list(_unannotated(trial)))
    require(not bare, f"not annotated throughout: {', '.join(bare[:10])}")


@check("QT2")
async def its_owner_can_be_reached(trial: Trial) -> None:
    """Owner and contact in quality.yaml, and the same owner in the manifest."""
    quality = trial.quality
    require(quality.owner.strip(), "quality.yaml names no owner")
    same(trial.plugin.manifest.owner, quality.owner, "manifest.owner, beside the owner of quality.yaml")
    require(_is_contact(quality.contact), f"contact: {quality.contact!r} is neither an e-mail address nor an https URL")


# Inside.


class _Example:
    """One example of the README, made a connectors.yaml that runs on twins."""

    def __init__(self, trial: Trial, said: Mapping[str, Any], number: int) -> None:
        self.trial = trial
        self.said = said
        self.number = number
        connectors = said.get("connectors") or {}
        self.mine = [name for name, each in connectors.items() if self._is_ours(name, each or {})]

    def _is_ours(self, name: str, entry: Mapping[str, Any]) -> bool:
        reference, own = str(entry.get("plugin", name)), self.trial.name
        return Path(reference).name == Path(own).name if is_file(own) else reference == own

    async def run(self) -> None:
        """Run a hub on it. Raises CheckFailed for what does not work."""
        what = f"example {self.number} of the README"
        try:
            loaded = await asyncio.to_thread(self._load)
        except ConfigError as problem:
            raise CheckFailed(f"{what} is refused: {'; '.join(problem.problems)}") from None
        hub = await Hub.start(loaded, clock=FakeClock())
        try:
            for name in self.mine:
                require(name in hub.connections, f"{what} does not start: {hub.failures.get(name)}")
                if "check" in self.trial.methods:
                    await self._check(hub, name, what)
        finally:
            await hub.stop()

    async def _check(self, hub: Hub, name: str, what: str) -> None:
        try:
            found = await hub.check(name)
        except EsplanadeError as problem:
            raise CheckFailed(f"{what}: the check of {name} raises {problem!r}") from None
        same(found.status, "ok", f"{what}: the check of {name} ({found.detail})")

    def _load(self) -> Any:
        own = self.said["connectors"]
        connectors = {
            name: {**(own[name] or {}), "plugin": self.trial.name, "twin": True, "enabled": True, "pace": PACE}
            for name in self.mine
        }
        for name, each in own.items():
            if name not in self.mine and not any(REFERENCE.search(text) for _, text in _texts(each)):
                connectors[name] = {
                    **(each or {}),
                    "enabled": False,
                }  # others are read, as far as their secrets are known
        hub = {**(self.said.get("hub") or {}), "listen": "127.0.0.1:0", "store": "sqlite:hub.db"}
        folder = self.trial.folder / f"example-{self.number}"
        folder.mkdir()
        path = folder / "connectors.yaml"
        path.write_text(json.dumps({**self.said, "hub": hub, "connectors": connectors}, default=str), "utf-8")
        return load(path, self._environment())

    def _environment(self) -> dict[str, str]:
        """A value for every variable without a default: the sample's for that key where there is one."""
        sample = self.trial.quality.sample.get("settings", {})
        found = dict(os.environ)
        for key, text in _texts(self.said):
            for match in REFERENCE.finditer(text):
                found[match[1]] = str(sample.get(key, OTHERWISE))
        return found


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a document, with the key that it stands under."""
    match node:
        case str():
            yield key, node
        case dict():
            for name, each in node.items():
                yield from _texts(each, str(name))
        case list():
            for each in node:
                yield from _texts(each, key)


def _examples(trial: Trial) -> Iterator[_Example]:
    """Those of the README that have a connector of this plugin."""
    blocks = [each for each in blocks_of(_readme(trial), "ya?ml") if re.search(r"^connectors:", each, re.MULTILINE)]
    for number, text in enumerate(blocks, start=1):
        example = _Example(trial, _parsed(text, number), number)
        if example.mine:
            yield example


def _parsed(text: str, number: int) -> Mapping[str, Any]:
    try:
        found = YAML(typ="safe", pure=True).load(text)
    except YAMLError as problem:
        raise CheckFailed(f"example {number} of the README is not YAML: {' '.join(str(problem).split())}") from None
    return found if isinstance(found, dict) else {}


def _readme(trial: Trial) -> str:
    name = next((each.distribution for each in installed() if each.name == trial.name), None)
    shipped = importlib.metadata.distribution(name).metadata.json if name is not None else {}
    found = readme_of(trial.plugin, str(shipped.get("description", "")))
    if not found:
        raise CheckFailed("there is no README.md beside quality.yaml, and the distribution has no description")
    return found


def _unannotated(trial: Trial) -> Iterator[str]:
    for path in modules_of(trial.plugin):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                given = node.args
                parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                bare = [each.arg for each in parameters if each is not None and each.annotation is None]
                if set(bare) - {"self", "cls"} or node.returns is None:
                    yield f"{path.name}:{node.lineno} {node.name}"


def _is_contact(text: str) -> bool:
    parts = urlsplit(text)
    if parts.scheme:
        return parts.scheme == "https" and "." in (parts.hostname or "")
    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True
