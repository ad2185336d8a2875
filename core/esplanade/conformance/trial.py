"""What a check is given: the plugin, and hubs in which it runs against its twin, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig
from esplanade.connector import Connector, methods_of
from esplanade.errors import ConfigError
from esplanade.model import KINDS, Kind
from esplanade.registry.judge import hooks_of
from esplanade.runtime import Hub, Loaded, load
from esplanade.runtime.connection import furnishing_of
from esplanade.testing import FakeClock, Twin

from . import witness
from .quality import Quality
from .rig import NAME, Rig
from .witness import WITNESS

TOKEN = "a-token-of-the-conformance-shop"  # noqa: S105 - of a hub that lives as long as a check
PACE = {"rate": "5000/s", "burst": 1000, "concurrency": 4}


class Trial:
    """One try of one rule. Hubs of one trial share a folder, and so a store, unless they are given another."""

    def __init__(self, name: str, plugin: type[Connector[Any]], quality: Quality, folder: Path) -> None:
        self.name = name
        self.plugin = plugin
        self.quality = quality
        self.folder = folder
        self.hooks = hooks_of(plugin)
        self.methods = methods_of(plugin)

    # The sample, and what it names.

    def sample(self, **changes: Any) -> dict[str, Any]:
        """A copy of the sample, with some of its keys replaced; None takes a key away."""
        found = {**copy.deepcopy(self.quality.sample), **changes}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def kinds(self) -> list[Kind]:
        """What the plugin takes of the hub."""
        return [each for each in KINDS if f"on_{each}" in self.hooks or f"on_{each}_batch" in self.hooks]

    @property
    def hears_of_consent(self) -> bool:
        """Whether the vendor tells what people have consented to; where not, ``CO1 reports`` declares it."""
        return "reports" not in self.declared("CO1")

    def declared(self, rule: str) -> dict[str, str]:
        """What ``quality.yaml`` declares to be otherwise than a rule expects, with the reasons."""
        words = [(*what.partition(" "), reason) for what, reason in self.quality.declared.items()]
        return {about.strip(): reason for id_, _, about, reason in words if id_ == rule}

    @property
    def fields(self) -> dict[str, str]:
        """Hub field: vendor field."""
        return dict(self.quality.sample.get("fields", {}))

    @property
    def text(self) -> str:
        """A hub field that holds text."""
        return next(name for name in self.fields if self.quality.types.get(name, "text") == "text")

    @property
    def texts(self) -> list[str]:
        """The hub fields that hold text, in the order of the sample; the vendor's own may be among them."""
        return [name for name in self.fields if self.quality.types.get(name, "text") == "text"]

    @property
    def purposes(self) -> list[str]:
        """The purposes, in the order of the sample."""
        return list(self.quality.sample.get("consents", {}))

    @property
    def audiences(self) -> list[str]:
        """The audiences, in the order of the sample."""
        return list(self.quality.sample.get("audiences", {}))

    @property
    def triggers(self) -> list[str]:
        """The triggers, in the order of the sample."""
        return list(self.quality.sample.get("triggers", {}))

    @property
    def witness(self) -> dict[str, dict[str, Any]]:
        """A connector for ``hub(beside=…)`` that is told everything, so that its deliveries show what the hub took over."""
        targets: dict[str, Any] = {"consents": {each: {} for each in self.purposes}, "triggers": {"*": {}}}
        return {WITNESS: {"plugin": witness.__file__, "settings": {}, **targets}}

    def target(self, kind: Literal["consents", "audiences", "triggers"], name: str) -> dict[str, Any]:
        """What the sample says of one purpose, audience or trigger."""
        return dict(self.quality.sample[kind][name])

    # Hubs.

    @asynccontextmanager
    async def hub(
        self,
        *,
        clock: FakeClock | None = None,
        connector: Mapping[str, Any] | None = None,
        beside: Mapping[str, Mapping[str, Any]] | None = None,
        files: Mapping[str, str] | None = None,
        at: Twin[Any] | None = None,
        folder: Path | None = None,
        **hub: Any,
    ) -> AsyncIterator[Rig]:
        """Run a hub with the sample and its twin, and stop both.

        ``connector``: keys of the connector in place of the sample's (see ``sample``); ``beside``: further connectors;
        ``files``: files to write beside connectors.yaml, such as plugins; ``at``: a twin that runs already and goes on after
        the hub; other keywords: keys of ``hub:``.
        """
        clock = clock or FakeClock()
        loaded = await self.load(connector=connector, beside=beside, files=files, at=at, folder=folder, **hub)
        started = await Hub.start(loaded, clock=clock)
        try:
            twin = at or self._twin_of(started)
            if at is None and started.connections[NAME].traits.registers_webhooks:
                await started.webhooks(NAME)  # what the hub does by itself after its start is done, then
                twin.requests.clear()
            if at is not None:
                at.hook_url = next(each.hook_url for each in started.connectors() if each.name == NAME)
            twin.keep_requests = True
            rig = Rig(self, started, twin, clock)
            try:
                yield rig
            finally:
                await rig.close()
        finally:
            await started.stop()

    async def load(
        self,
        *,
        connector: Mapping[str, Any] | None = None,
        beside: Mapping[str, Mapping[str, Any]] | None = None,
        files: Mapping[str, str] | None = None,
        at: Twin[Any] | None = None,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **hub: Any,
    ) -> Loaded:
        """Write connectors.yaml and load it. Raises ConfigError."""
        place = folder or self.folder
        content = {
            "hub": {
                "listen": "127.0.0.1:0",
                "store": "sqlite:hub.db",
                "drain_timeout": "2s",
                "egress": {"allow": ["127.0.0.0/8"]},
                **hub,
            },
            "sources": {"shop": {"token": TOKEN}},
            "connectors": {NAME: self._entry(connector or {}, at), **(beside or {})},
        }

        def write_and_load() -> Loaded:
            place.mkdir(exist_ok=True)
            for name, text in (files or {}).items():
                (place / name).write_text(text, "utf-8")
            path = place / "connectors.yaml"
            path.write_text(json.dumps(content), "utf-8")
            return load(path, environ or {})

        return await asyncio.to_thread(write_and_load)

    async def problems(self, **given: Any) -> list[str]:
        """What is wrong with a connectors.yaml, one line each; see ``load``."""
        try:
            await self.load(**given)
        except ConfigError as problem:
            return problem.problems
        return []

    async def config(self, **given: Any) -> ConnectorConfig:
        """The connector as the reader makes it of a connectors.yaml; see ``load``. Raises ConfigError."""
        return (await self.load(**given)).config.connectors[NAME]

    def _entry(self, changes: Mapping[str, Any], at: Twin[Any] | None) -> dict[str, Any]:
        entry = {"plugin": self.name, "twin": True, "pace": PACE, **self.sample(**changes)}
        if at is not None:
            entry |= {"twin": False, "settings": {**entry.get("settings", {}), **reach(at)}}
        return entry

    def _twin_of(self, hub: Hub) -> Twin[Any]:
        connection = hub.connections.get(NAME)
        if connection is None or connection.twin is None:
            raise RuntimeError(hub.failures.get(NAME, f"the connector {NAME} does not run on a twin"))
        return connection.twin

    @asynccontextmanager
    async def twin(self, clock: Clock) -> AsyncIterator[Twin[Any]]:
        """Run the twin by itself, for hubs that come and go (``hub(at=…)``)."""
        loaded = await self.load()
        config = loaded.config.connectors[NAME]
        kind = self.plugin.twin()
        if kind is None:
            raise RuntimeError(f"plugin {self.name} has no twin")
        made = kind(config.settings, clock=clock)
        made.furnish(furnishing_of(config))
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


def reach(twin: Twin[Any]) -> dict[str, Any]:
    """The settings that point a connector at a twin that runs: those that differ from the ones it was made with."""
    wired, own = twin.rewired(twin.settings), twin.settings
    differs = {
        name: getattr(wired, name) for name in own.__struct_fields__ if getattr(wired, name) != getattr(own, name)
    }
    return {name: _plain(value) for name, value in differs.items()}


def _plain(value: Any) -> Any:
    reveal = getattr(value, "reveal", None)
    if reveal is not None:
        return reveal()
    return str(value) if isinstance(value, str) else msgspec.to_builtins(value, str_keys=True)
