"""From a document and the types of its plugins to a Config, or to every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from esplanade.errors import ConfigError
from esplanade.model import KINDS, AudienceTarget, ConsentTarget, TriggerTarget

from .check import cross_check
from .convert import FAILED, Converter
from .findings import Findings
from .kinds import Key, keys_of
from .model import Config, ConnectorConfig, Hub, PluginTypes, Source
from .nodes import Entry, Mapping
from .problems import Problems, Where, remedy

if TYPE_CHECKING:
    from collections.abc import Mapping as Table

    from .reader import Document

SECTIONS: Final = {
    "hub": "The hub itself.",
    "sources": "Who may send events in, by name.",
    "connectors": "The accounts at vendors, by name.",
}
TARGETS: dict[str, type[Struct]] = {"consents": ConsentTarget, "audiences": AudienceTarget, "triggers": TriggerTarget}
_NOT_KEYS = {"name", "all_fields"}


def build(document: Document, types: Table[str, PluginTypes | str]) -> Config:
    """Check everything and give the configuration.

    ``types`` goes by plugin reference. Text instead of types is the reason why that plugin could not be loaded: then
    the core keys of its connectors are still checked, and their ``settings`` are None.
    Raises ConfigError with every problem.
    """
    problems = Problems(document.problems)
    config = _Building(document, types, problems).config()
    file = str(document.path)
    if config is None:
        raise ConfigError(problems.lines(file))
    findings = Findings(document, problems)
    cross_check(config, types, findings)
    if problems.found:
        raise ConfigError(problems.lines(file))
    return msgspec.structs.replace(config, warnings=findings.warnings.lines(file))


def connector_keys(types: PluginTypes | None) -> tuple[Key, ...]:
    """The keys of a connector's section. With a plugin's types, its own parts have those types."""
    keys = []
    for key in keys_of(ConnectorConfig):
        if key.name in _NOT_KEYS:
            continue
        kind, vendor = key.kind, key.name == "fields"
        if types is not None and key.name == "settings":
            kind, vendor = types.settings, True
        elif types is not None and key.name in TARGETS:
            target = target_type(types, key.name)
            kind, vendor = (dict[str, target] if target else None), True  # type: ignore[valid-type]
        keys.append(
            Key(
                name=key.name,
                attribute=key.attribute,
                kind=kind,
                required=False,
                default=key.default,
                help=key.help,
                vendor=vendor,
            )
        )
    return tuple(keys)


def target_type(types: PluginTypes, section: str) -> type[Struct] | None:
    """What a plugin's consents, audiences or triggers point at; None when it has none."""
    return {"consents": types.consent, "audiences": types.audience, "triggers": types.trigger}[section]


class _Building:
    """One run of ``build``."""

    def __init__(self, document: Document, types: Table[str, PluginTypes | str], problems: Problems) -> None:
        self._document = document
        self._types = types
        self._problems = problems
        self._convert = Converter(problems)
        self._references = document.plugins()

    def config(self) -> Config | None:
        root = self._document.root
        if root is None:
            return None
        for name, entry in root.entries.items():
            if name not in SECTIONS:
                self._problems.add(entry.place, (name,), f"unknown key; {remedy(name, SECTIONS)}")
        hub = Hub()
        if own := root.entries.get("hub"):
            found = self._convert.struct(own.value, Hub, ("hub",), place=own.place)
            hub = hub if found is FAILED else found
        sources = {}
        for name, entry in self._section("sources").items():
            found = self._convert.struct(entry.value, Source, ("sources", name), place=entry.place)
            if found is not FAILED:
                sources[name] = found
        connectors = {}
        for name, entry in self._section("connectors").items():
            found = self._connector(name, entry)
            if found is not FAILED:
                connectors[name] = found
        return Config(path=self._document.path, hub=hub, sources=sources, connectors=connectors)

    def _section(self, name: str) -> dict[str, Entry]:
        root = self._document.root
        entry = root.entries.get(name) if root else None
        if entry is None:
            return {}
        if not isinstance(entry.value, Mapping):
            self._problems.add(entry.value.place, (name,), "expected names beneath it; write {} for none")
            return {}
        return entry.value.entries

    def _connector(self, name: str, entry: Entry) -> Any:
        where: Where = ("connectors", name)
        reference = self._references.get(name, name)
        types = self._types.get(reference, "no plugin of this name was given")
        if isinstance(types, str) or not isinstance(entry.value, Mapping):
            return self._unloaded(entry, where, reference)
        skipped = {section for section in TARGETS if target_type(types, section) is None}
        for section in skipped:
            self._no_targets(entry.value, where, section, reference)
        keys = [key for key in connector_keys(types) if key.name not in skipped]
        given: dict[str, Any] = {
            "name": name,
            "plugin": reference,
            "receives": list(types.receives),
            "sends": list(KINDS),
            "all_fields": types.all_fields and "fields" not in entry.value.entries,
        }
        settings = Entry(place=entry.place, value=Mapping(place=entry.place))
        own = Mapping(place=entry.value.place, entries={"settings": settings, **_without(entry.value, skipped)})
        return self._convert.struct(own, ConnectorConfig, where, keys=keys, place=entry.place, given=given)

    def _no_targets(self, section: Mapping, where: Where, name: str, reference: str) -> None:
        entry = section.entries.get(name)
        if entry is None or (isinstance(entry.value, Mapping) and not entry.value.entries):
            return
        self._problems.add(entry.place, (*where, name), f"the plugin {reference} has no {name}; remove the key")

    def _unloaded(self, entry: Entry, where: Where, reference: str) -> Any:
        """A connector whose plugin could not be loaded: its core keys, and of its targets what every target has."""
        if not isinstance(entry.value, Mapping):
            return self._convert.struct(entry.value, ConnectorConfig, where)
        skipped = {*TARGETS, "settings"}
        keys = [key for key in connector_keys(None) if key.name not in skipped]
        given: dict[str, Any] = {
            "name": where[1],
            "plugin": reference,
            "receives": list(KINDS),
            "sends": list(KINDS),
            **{name: self._base_targets(entry.value, where, name) for name in TARGETS},
        }
        core = Mapping(place=entry.value.place, entries=_without(entry.value, skipped))
        return self._convert.struct(core, ConnectorConfig, where, keys=keys, place=entry.place, given=given)

    def _base_targets(self, section: Mapping, where: Where, name: str) -> dict[str, Any]:
        entry = section.entries.get(name)
        if entry is None:
            return {}
        if not isinstance(entry.value, Mapping):
            self._convert.struct(entry.value, ConsentTarget, (*where, name))
            return {}
        found = {}
        for target, each in entry.value.entries.items():
            value = self._convert.struct(each.value, TARGETS[name], (*where, name, target), vendor=True, lenient=True)
            if value is not FAILED:
                found[target] = value
        return found


def _without(section: Mapping, names: set[str]) -> dict[str, Entry]:
    return {name: entry for name, entry in section.entries.items() if name not in names}
